//! `genailab inspect`: what an `.h5ad` file holds.

use crate::options::{DataArgs, data_file, fetch_if_public};
use genailab::{
    Error, Result,
    data::{AnnData, Dataset, Effects, MatrixKind, OpenOptions, is_effects},
};
use std::{io::Write, ops::Range, path::PathBuf};

/// Names shown of a long list.
const SHOWN: usize = 12;
/// More stored counts than this take seconds to read.
const LARGE: usize = 20_000_000;
/// Blocks of cells that are looked at in a large file, and cells of each.
const BLOCKS: usize = 16;
const BLOCK: usize = 256;

/// Show what an .h5ad file holds, and what genailab would train on
#[derive(clap::Args)]
pub struct Args {
    /// Any .h5ad file, or a name of `genailab datasets`, which is fetched
    #[arg(value_parser = data_file)]
    file: PathBuf,
    /// Look at every count, which takes as long as reading them; otherwise, of a file of more than 20 million counts that are stored by
    /// rows (CSR), at those of some 4,000 cells
    #[arg(long)]
    all: bool,
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
    let text = if args.json { json(&file)? } else { describe(&file, args, &options)? };
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

/// The cells whose counts are looked at: all, or blocks that are spread evenly over a large file. Of columns that are stored one
/// after the other some cells take as long as all.
fn looked_at(file: &AnnData, all: bool) -> Result<Vec<Range<usize>>> {
    let n = file.n_obs();
    let is_large = file.x_kind() == MatrixKind::Csr && file.n_stored("X")?.is_some_and(|stored| stored > LARGE);
    if all || !is_large || n <= BLOCKS * BLOCK {
        let whole = 0..n;
        return Ok(vec![whole]);
    }
    Ok((0..BLOCKS).map(|block| block * (n - BLOCK) / (BLOCKS - 1)).map(|start| start..start + BLOCK).collect())
}

/// The matrix X in words; of a large one, of which only some is looked at, without its sum.
fn values(file: &AnnData, is_sample: bool) -> Result<String> {
    let (kind, size) = (file.x_kind(), (file.n_obs() * file.n_vars()).max(1));
    let percent = |n: usize| 100.0 * n as f64 / size as f64;
    match (kind, file.n_stored("X")?) {
        (MatrixKind::None, _) => Ok("none".to_owned()),
        (_, Some(stored)) if is_sample => Ok(format!("{kind}, {stored} stored values ({:.1} %)", percent(stored))),
        _ => {
            let x = file.summarize("X")?;
            let nonzero = x.nnz - x.zeros;
            let stored = if x.zeros > 0 { format!(", {} stored zeros", x.zeros) } else { String::new() };
            Ok(format!("{kind}, {nonzero} values that are not zero ({:.1} %){stored}, sum {}", percent(nonzero), x.sum))
        }
    }
}

fn describe(file: &AnnData, args: &Args, options: &OpenOptions) -> Result<String> {
    let path = &args.file;
    let cells = looked_at(file, args.all)?;
    let n_looked_at: usize = cells.iter().map(Range::len).sum();
    let is_sample = n_looked_at < file.n_obs();
    let values = values(file, is_sample)?;
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
        Dataset::outline(file, options, &cells).map(|data| describe_cells(&data))
    };
    text += "\nFor genailab\n";
    if is_sample && !is_effects(file) {
        text += &format!(
            "  {:<15}of {n_looked_at} of {} cells, in blocks over the whole file; --all looks at all\n",
            "counts",
            file.n_obs()
        );
    }
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
    let mut sizes: Vec<f32> = data.library_size.iter().copied().filter(|size| !size.is_nan()).collect();
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
