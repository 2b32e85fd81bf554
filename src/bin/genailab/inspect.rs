//! `genailab inspect`: what an `.h5ad` file holds.

use crate::options::{DataArgs, data_file, fetch_if_public};
use genailab::{
    Error, Result,
    data::{AnnData, Dataset, Effects, MatrixKind, OpenOptions, is_effects},
};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// Names shown of a long list.
const SHOWN: usize = 12;

/// Show what an .h5ad file holds, and what genailab would train on
#[derive(clap::Args)]
pub struct Args {
    /// Any .h5ad file, or a name of `genailab datasets`, which is fetched
    #[arg(value_parser = data_file)]
    file: PathBuf,
    /// Print one line of JSON: shape, number of stored values and sum of X, names of columns, layers and embeddings
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    columns: DataArgs,
}

/// The JSON that scripts rely on.
#[derive(serde::Serialize)]
struct Summary<'a> {
    n_obs: usize,
    n_vars: usize,
    nnz: usize,
    sum: f64,
    x: String,
    obs: &'a [String],
    var: &'a [String],
    layers: &'a [String],
    obsm: Vec<&'a str>,
}

pub fn run(args: &Args) -> Result<()> {
    fetch_if_public(&args.file)?;
    let options = args.columns.options(&args.file)?;
    let file = AnnData::open_with_obs(&args.file, options.obs.as_deref())?;
    let text = if args.json { json(&file)? } else { describe(&file, &args.file, &options)? };
    // A reader that has seen enough (`| head`) closes the pipe: no mistake of the user's.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("write to", "stdout", error)),
        _ => Ok(()),
    }
}

fn json(file: &AnnData) -> Result<String> {
    let x = file.summarize("X")?;
    let summary = Summary {
        n_obs: file.n_obs(),
        n_vars: file.n_vars(),
        nnz: x.nnz,
        sum: x.sum,
        x: file.x_kind().to_string(),
        obs: file.obs_columns(),
        var: file.var_columns(),
        layers: file.layers(),
        obsm: file.obsm().iter().map(|(name, _)| name.as_str()).collect(),
    };
    serde_json::to_string(&summary).map(|line| line + "\n").map_err(|e| Error::data(e.to_string()))
}

fn describe(file: &AnnData, path: &Path, options: &OpenOptions) -> Result<String> {
    let x = file.summarize("X")?;
    let values = match file.x_kind() {
        MatrixKind::None => "none".to_owned(),
        kind => {
            let size = (file.n_obs() * file.n_vars()).max(1);
            let nonzero = x.nnz - x.zeros;
            let density = 100.0 * nonzero as f64 / size as f64;
            let stored = if x.zeros > 0 { format!(", {} stored zeros", x.zeros) } else { String::new() };
            format!("{kind}, {nonzero} values that are not zero ({density:.1} %){stored}, sum {}", x.sum)
        }
    };
    let obsm: Vec<String> = file
        .obsm()
        .iter()
        .map(|(name, shape)| format!("{name} {}", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")))
        .collect();
    let rows = if is_effects(file) { "perturbations" } else { "cells" };
    let mut text = format!("{}\n  {} {rows} x {} genes\n", path.display(), file.n_obs(), file.n_vars());
    let mut line = |name: &str, value: String| text += &format!("  {name:<15}{value}\n");
    line("X", values);
    line("obs", list(file.obs_columns()));
    line("var", list(file.var_columns()));
    line("layers", list(file.layers()));
    line("obsm", list(&obsm));
    line("uns", list(file.uns_keys()));
    line("raw", if file.has_raw() { "yes" } else { "no" }.to_owned());
    let used = if is_effects(file) {
        Effects::from_anndata(file, options).map(|effects| describe_effects(&effects))
    } else {
        Dataset::outline(file, options).map(|data| describe_cells(&data))
    };
    text += "\nFor genailab\n";
    let here = format!("{}: ", path.display());
    let failed = used.is_err();
    text += &used.unwrap_or_else(|error| format!("  cannot be trained on: {}\n", error.to_string().replace(&here, "")));
    if let Ok(read) = Dataset::read_as(file, options) {
        // Of data that can be used they are among its notes.
        let notes = read.notes.iter().filter(|_| failed).map(|note| format!("  {:<15}{note}\n", "note"));
        text.extend(notes);
        text += &read.to_string();
    }
    Ok(text)
}

fn describe_effects(effects: &Effects) -> String {
    let doubles = effects.perturbations.iter().filter(|perturbation| perturbation.genes().len() > 1).count();
    let singles = effects.perturbations.len() - doubles;
    format!("  effects of {singles} single and {doubles} combined perturbations on {} genes\n", effects.genes.len())
}

fn describe_cells(data: &Dataset) -> String {
    let per_perturbation = data.cells_per_perturbation();
    let perturbed = || data.perturbations.iter().zip(&per_perturbation).filter(|(set, n)| !set.is_control() && **n > 0);
    let combined = perturbed().filter(|(set, _)| set.genes().len() > 1).count();
    let names: Vec<String> = perturbed().map(|(set, n)| format!("{set} ({n})")).collect();
    let mut sizes = data.library_size.clone();
    sizes.sort_by(f32::total_cmp);
    let median = sizes.get(sizes.len() / 2).copied().unwrap_or(0.0);
    let (least, most) = (sizes.first().copied().unwrap_or(0.0), sizes.last().copied().unwrap_or(0.0));
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("  {name:<15}{value}\n");
    line("cells", format!("{}, of which {} control", data.n_cells(), data.control_cells().len()));
    line("perturbations", format!("{} single, {combined} combined (cells): {}", names.len() - combined, list(&names)));
    line("lanes", list(&data.lanes));
    match data.expression.is_counts() {
        true => line("library size", format!("median {median}, from {least} to {most} counts a cell")),
        false => line("expression", format!("{}, used as it is", data.expression)),
    }
    data.notes.iter().for_each(|note| line("note", note.clone()));
    text
}

fn list(names: &[String]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        n if n > SHOWN => format!("{}, … ({n} in all)", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}
