//! `genailab pseudotime`: how far along a process each cell is, seen from a root.

use crate::{
    options::{DataArgs, GenesArg, say, warn},
    output::check_output_file,
    plan::chosen,
    provenance,
    scores::{Embedded, embedded, principal_components},
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    data::{Column, Dataset, Opened, TargetSum, column_numbers, normalize::log_normalize},
    device::Device,
    eval::{Pseudotime, PseudotimeConfig, diffusion_pseudotime, pearson, sets::subsample, spearman},
    model::NORMALISED_TOTAL,
    show::{Align, Grid},
};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Instant};

/// Principal components, if none are asked for.
const COMPONENTS: usize = 50;
/// The column of obs that is written.
const COLUMN: &str = "pseudotime";

/// Order cells along a process (diffusion pseudotime), from root cells
///
/// Writes an .h5ad that scanpy opens: the cells of --data, obs["pseudotime"] (0 at the root, 1 at the farthest cell; no unit), the
/// space in obsm["X_pca"], or that of --model, and the eigenvectors of the random walk over similar cells in obsm["X_diffmap"].
/// Prints the median pseudotime of each perturbation. A cell without a path of neighbours to the root has no pseudotime.
///
/// Pseudotime is an order by similarity: it does not say that a cell comes from another, and whatever else makes cells differ (the
/// cell cycle, lanes) is in it. Compare it with a known time by --compare.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// Where the process starts: a perturbation or control, or COLUMN=VALUE of obs (time=0); the mean of these cells is the root
    #[arg(long, value_name = "NAME|COLUMN=VALUE")]
    root: String,
    /// Folder that `genailab train` wrote: order cells in the embedding of this jepa, vae or causal-vae [default: principal components
    /// of log-normalised expression]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// A column of numbers in obs to compare with, such as the true time
    #[arg(long, value_name = "COLUMN")]
    compare: Option<String>,
    /// Nearest neighbours of a cell, itself included
    #[arg(long, value_name = "N", default_value_t = 15)]
    neighbours: usize,
    /// Eigenvectors that distances are measured in
    #[arg(long, value_name = "N", default_value_t = 15)]
    eigenvectors: usize,
    /// Principal components, or as many as are possible [default: 50]
    #[arg(long, value_name = "N")]
    components: Option<usize>,
    /// Most cells that are ordered, drawn at random; time grows with the square of their number
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    cells: usize,
    /// Seed of whatever is drawn
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The .h5ad to write
    #[arg(long, value_name = "FILE.h5ad")]
    out: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Where to compute the embedding of --model: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, requires = "model")]
    device: Option<Device>,
    #[command(flatten)]
    genes: GenesArg,
    #[command(flatten)]
    columns: DataArgs,
}

impl Args {
    /// Where the embedding of --model is computed; principal components are of the CPU.
    pub fn device(&self) -> Option<Device> {
        self.model.as_ref().map(|_| self.device.unwrap_or_else(Device::auto))
    }
}

pub fn run(args: &Args) -> Result<()> {
    check(args)?;
    check_output_file(&args.out)?;
    let started = Instant::now();
    let Embedded { name, mut data, z } = space(args)?;
    let embedded_in = started.elapsed().as_secs_f64();
    let roots = root_cells(&data, &args.root)?;
    let known = args.compare.as_deref().map(|column| known_values(&data, column)).transpose()?;
    let config = PseudotimeConfig { neighbours: args.neighbours, components: args.eigenvectors, seed: args.seed };
    let started = Instant::now();
    let found = diffusion_pseudotime(z.view(), &roots, &config)?;
    let seconds = started.elapsed().as_secs_f64();
    note_limits(&found, &data, &roots);
    if data.cells.column(COLUMN).is_some() {
        warn(format_args!("note: the column {COLUMN} of obs is replaced in the new file"));
    }
    data.cells.set(COLUMN, Column::Float(found.values.clone()));
    data.write_with(&args.out, &[(name, &z), ("X_diffmap", &found.components)], Some(provenance::entry()?))?;
    let medians = medians(&data, &found.values);
    let compared = args.compare.as_deref().zip(known.map(|known| Compared::of(&found.values, &known)));
    if args.json {
        let perturbations: Vec<Value> = medians.iter().map(Ordered::to_json).collect();
        return say(json!({
            "cells": data.n_cells(), "reached": found.reached, "parts": found.parts, "root": args.root, "root_cells": roots.len(),
            "space": name, "dimensions": z.ncols(), "eigenvalues": found.eigenvalues, "converged": found.converged,
            "perturbations": perturbations, "compare": compared.map(|(column, compared)| compared.to_json(column)),
            "embedding_seconds": embedded_in, "seconds": seconds,
        }));
    }
    say(table(&medians)?)?;
    if let Some((column, compared)) = compared {
        say(compared.text(column))?;
    }
    say(format_args!(
        "{} of {} cells ordered from {} root cells, in {} dimensions of {name}: {seconds:.1} s (space {embedded_in:.1} s): {}",
        found.reached,
        data.n_cells(),
        roots.len(),
        z.ncols(),
        args.out.display()
    ))
}

/// Options that are out of range, or of no effect.
fn check(args: &Args) -> Result<()> {
    for (name, value, least) in [
        ("--cells", args.cells, genailab::eval::FEWEST_CELLS_TO_ORDER),
        ("--neighbours", args.neighbours, 3),
        ("--eigenvectors", args.eigenvectors, 1),
        ("--components", args.components.unwrap_or(COMPONENTS), 1),
    ] {
        if value < least {
            return Err(Error::config(format!("{name} {value}: give {least} or more")));
        }
    }
    if args.model.is_some() {
        args.genes.refuse("the model says which genes are read")?;
        if args.components.is_some() {
            return Err(Error::config(
                "--components has no effect here: cells are ordered in the space of --model; leave it out",
            ));
        }
    }
    args.device().map_or(Ok(()), Device::check)
}

/// The cells, and where they lie.
fn space(args: &Args) -> Result<Embedded> {
    if let (Some(folder), Some(device)) = (&args.model, args.device()) {
        return embedded(folder, (&args.data, &args.columns), (&[], device), |data| Ok(thinned(data, args)));
    }
    let every_cell = |data: &Dataset| Ok((0..data.n_cells()).collect());
    let data = match args.columns.open_genes(&args.data, &args.genes.choice()?, true, every_cell)? {
        Opened::Cells(data) => thinned(data, args),
        Opened::Effects(_) => {
            return Err(Error::config(format!("{} is an effects dataset; give one of cells", args.data.display())));
        }
    };
    let expression = log_normalize(&data, TargetSum::Fixed(NORMALISED_TOTAL)).map_err(|e| e.at(args.data.display()))?;
    let z = principal_components(&expression, args.components.unwrap_or(COMPONENTS), args.seed)?;
    Ok(Embedded { name: "X_pca", data, z })
}

/// At most --cells of the cells.
fn thinned(data: Dataset, args: &Args) -> Dataset {
    let all: Vec<usize> = (0..data.n_cells()).collect();
    if all.len() <= args.cells {
        return data;
    }
    warn(format_args!("note: {} of {} cells are ordered, drawn at random; --cells takes more", args.cells, all.len()));
    data.select_cells(&subsample(&all, args.cells, args.seed))
}

/// The cells that --root names.
fn root_cells(data: &Dataset, root: &str) -> Result<Vec<usize>> {
    let of = |label: u32| (0..data.n_cells()).filter(|&cell| data.labels[cell] == label).collect::<Vec<usize>>();
    let found = match (data.perturbation(root), root.split_once('=')) {
        (Ok(label), _) => of(label),
        (Err(_), Some((column, value))) => chosen(data, "--root", &[(column.to_owned(), value.to_owned())])?,
        (Err(error), None) => return Err(error.at(format_args!("--root {root}"))),
    };
    match found.is_empty() {
        true => Err(Error::config(format!("--root {root}: none of the cells has it; name another root"))),
        false => Ok(found),
    }
}

/// The numbers of a column of obs; NaN where one is missing.
fn known_values(data: &Dataset, name: &str) -> Result<Vec<f64>> {
    let column = data.cells.column(name).ok_or_else(|| {
        let known = data.cells.column_names().join(", ");
        Error::config(format!("--compare {name}: obs has no such column; there are {known}"))
    })?;
    let numbers = column_numbers(column)
        .ok_or_else(|| Error::config(format!("--compare {name}: the column holds no numbers; name one that does")))?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

/// Says what the order leaves out.
fn note_limits(found: &Pseudotime, data: &Dataset, roots: &[usize]) {
    if found.reached < data.n_cells() {
        warn(format_args!(
            "note: {} of {} cells are not reached from the root, and have no pseudotime: the graph of nearest neighbours falls into \
             {} parts; --neighbours takes more",
            data.n_cells() - found.reached,
            data.n_cells(),
            found.parts
        ));
    }
    if found.roots_reached < roots.len() {
        warn(format_args!(
            "note: {} of {} root cells lie in another part of the graph, and are no root",
            roots.len() - found.roots_reached,
            roots.len()
        ));
    }
    if !found.converged {
        warn(
            "note: the eigenvectors did not settle, so far cells may be out of order; fewer --eigenvectors or more --neighbours may help",
        );
    }
}

/// The pseudotimes of one perturbation.
struct Ordered {
    name: String,
    cells: usize,
    reached: usize,
    /// `None` where no cell is reached.
    median: Option<f64>,
}

impl Ordered {
    fn to_json(&self) -> Value {
        let Self { name, cells, reached, median } = self;
        json!({ "perturbation": name, "cells": cells, "reached": reached, "median": median })
    }
}

/// Each perturbation's pseudotimes, the earliest first.
fn medians(data: &Dataset, values: &[f64]) -> Vec<Ordered> {
    let mut of = vec![Vec::new(); data.perturbations.len()];
    data.labels.iter().zip(values).for_each(|(&label, &value)| of[label as usize].push(value));
    let mut all: Vec<Ordered> = data
        .perturbations
        .iter()
        .zip(of)
        .filter(|(_, values)| !values.is_empty())
        .map(|(perturbation, values)| {
            let reached: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            let (cells, n) = (values.len(), reached.len());
            Ordered { name: perturbation.to_string(), cells, reached: n, median: genailab::math::median(reached) }
        })
        .collect();
    let place = |of: &Ordered| of.median.unwrap_or(f64::INFINITY);
    all.sort_by(|a, b| place(a).total_cmp(&place(b)));
    all
}

fn table(medians: &[Ordered]) -> Result<Grid> {
    let right = |name| (name, Align::Right);
    let headings = [("perturbation", Align::Left), right("cells"), right("reached"), right("median pseudotime")];
    let mut grid = Grid::new("", headings);
    for Ordered { name, cells, reached, median } in medians {
        let median = median.map_or("-".to_owned(), |median| format!("{median:.3}"));
        grid.push([name.clone(), cells.to_string(), reached.to_string(), median])?;
    }
    Ok(grid)
}

/// Pseudotimes beside known values.
struct Compared {
    /// Cells that have both.
    cells: usize,
    /// `None` where either has one value only.
    spearman: Option<f64>,
    pearson: Option<f64>,
}

impl Compared {
    fn of(values: &[f64], known: &[f64]) -> Self {
        let both = values.iter().zip(known).filter(|(value, known)| value.is_finite() && known.is_finite());
        let (own, known): (Vec<f32>, Vec<f32>) = both.map(|(&value, &known)| (value as f32, known as f32)).unzip();
        Self { cells: own.len(), spearman: spearman(&own, &known), pearson: pearson(&own, &known) }
    }

    fn to_json(&self, column: &str) -> Value {
        json!({ "column": column, "cells": self.cells, "spearman": self.spearman, "pearson": self.pearson })
    }

    fn text(&self, column: &str) -> String {
        match (self.spearman, self.pearson) {
            (Some(spearman), Some(pearson)) => format!(
                "correlation with {column}: Spearman {spearman:.3}, Pearson {pearson:.3} ({} cells)",
                self.cells
            ),
            _ => format!(
                "correlation with {column}: not defined, as the {} cells that have both do not vary",
                self.cells
            ),
        }
    }
}
