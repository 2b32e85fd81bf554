//! `genailab distances`: how far apart the cells of perturbations lie.

use crate::{
    options::{DataArgs, GenesArg, say, warn},
    output::{check_output_file, csv_field},
    scores,
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    data::{Counts, Dataset, Opened, TargetSum, normalize::into_log_normalized},
    eval::sets::{
        EDistance, edistance, edistance_matrix, energy_test, holm_sidak, median_gamma, mmd_rbf, sliced_wasserstein,
        subsample,
    },
    model::NORMALISED_TOTAL,
    ndarray::{Array2, Axis},
    train::write_atomically,
};
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

/// Measure how far apart the cells of perturbations lie: all pairs, or each against control
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// Distance between two sets of cells
    #[arg(long, value_enum, default_value = "edistance")]
    metric: Metric,
    /// Each perturbation against control with an energy test (permutation, Holm-Sidak), instead of all pairs
    #[arg(long)]
    test: bool,
    /// Each perturbation against control, instead of all pairs
    #[arg(long)]
    to_control: bool,
    /// Shuffles of the energy test
    #[arg(long, value_name = "N", default_value_t = 1000)]
    permutations: usize,
    /// Embedding of the file (obsm) to measure in [default: principal components of log-normalised expression]
    #[arg(long, value_name = "NAME")]
    embedding: Option<String>,
    /// Principal components, or as many as are possible
    #[arg(long, value_name = "N", default_value_t = 50)]
    components: usize,
    /// Most cells of a perturbation that are used, drawn at random
    #[arg(long, value_name = "N", default_value_t = 2000)]
    cells: usize,
    /// Seed of whatever is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The table to write, CSV
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    genes: GenesArg,
    #[command(flatten)]
    columns: DataArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Metric {
    /// Squared E-distance, unbiased (scPerturb)
    Edistance,
    /// E-distance of plain Euclidean distances (pertpy)
    EdistancePlain,
    /// Squared maximum mean discrepancy, five RBF widths around the median distance
    Mmd,
    /// Sliced Wasserstein distance of order 1, 100 directions
    Wasserstein,
}

/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 100;

pub fn run(args: &Args) -> Result<()> {
    check_output_file(&args.out)?;
    if args.cells < 2 || args.permutations == 0 || args.components == 0 {
        return Err(Error::config("--cells must be at least 2, --permutations and --components at least 1"));
    }
    let form = match args.metric {
        Metric::Edistance => Some(EDistance::Squared),
        Metric::EdistancePlain => Some(EDistance::Plain),
        Metric::Mmd | Metric::Wasserstein if args.test => {
            return Err(Error::config("--test is an energy test: use it with --metric edistance or edistance-plain"));
        }
        Metric::Mmd | Metric::Wasserstein => None,
    };
    let started = Instant::now();
    let (data, scores) = match &args.embedding {
        Some(name) => {
            args.genes.refuse("the embedding is used as it is, and no counts are read")?;
            args.columns.open_embedding(&args.data, name)?
        }
        None => principal_components(cells(args)?, args)?,
    };
    let embedded = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let groups = Groups::new(&data, scores, args.cells, args.seed);
    groups.say_left_out(&args.data)?;
    let (table, n) = match (args.test, args.to_control, form) {
        (true, _, Some(form)) => groups.tested(form, args.permutations, args.seed)?,
        (_, true, _) => groups.to_control(args.metric, args.seed)?,
        _ => groups.all_pairs(args.metric, form, args.seed)?,
    };
    let seconds = started.elapsed().as_secs_f64();
    write_atomically(&args.out, table.as_bytes())?;
    let names = groups.names.len();
    if args.json {
        return say(json!({
            "groups": names, "cells": groups.cells.nrows(), "dimensions": groups.cells.ncols(), "distances": n,
            "embedding_seconds": embedded, "seconds": seconds,
        }));
    }
    say(format_args!(
        "{n} distances of {names} groups of cells in {} dimensions: {seconds:.3} s (embedding {embedded:.3} s): {}",
        groups.cells.ncols(),
        args.out.display()
    ))
}

fn cells(args: &Args) -> Result<Dataset> {
    let every_cell = |data: &Dataset| Ok((0..data.n_cells()).collect());
    match args.columns.open_genes(&args.data, &args.genes.choice()?, false, every_cell)? {
        Opened::Cells(data) => Ok(data),
        Opened::Effects(_) => Err(Error::config(format!(
            "{}: an effects dataset has one row per perturbation, so there are no sets of cells",
            args.data.display()
        ))),
    }
}

/// The cells without their counts, and their principal components, `(cells, components)`.
fn principal_components(data: Dataset, args: &Args) -> Result<(Dataset, Array2<f32>)> {
    let bare = Dataset { counts: Counts::default(), ..data.clone() };
    let expression = into_log_normalized(data, TargetSum::Fixed(NORMALISED_TOTAL))?;
    Ok((bare, scores::principal_components(&expression, args.components, args.seed)?))
}

/// The cells of each perturbation that are used.
struct Groups {
    /// Perturbations with two cells or more, in the dataset's order.
    names: Vec<String>,
    control: Option<usize>,
    /// Those with one cell, which has no distance within.
    single: Vec<String>,
    /// Scores of the cells that are used, `(cells, d)`.
    cells: Array2<f32>,
    /// Index into `names`, one a cell.
    labels: Vec<u32>,
}

/// The distance of two sets of cells `(cells, d)`; `None` where it is not defined.
type Distance = dyn Fn(&Array2<f32>, &Array2<f32>) -> Option<f64>;

impl Groups {
    fn new(data: &Dataset, scores: Array2<f32>, most: usize, seed: u64) -> Self {
        let mut rows = vec![Vec::new(); data.perturbations.len()];
        data.labels.iter().enumerate().for_each(|(cell, &label)| rows[label as usize].push(cell));
        let (mut names, mut control, mut kept, mut labels) = (Vec::new(), None, Vec::new(), Vec::new());
        let mut single = Vec::new();
        for (perturbation, rows) in data.perturbations.iter().zip(&rows).filter(|(_, rows)| !rows.is_empty()) {
            if rows.len() == 1 {
                single.push(perturbation.to_string());
                continue;
            }
            if perturbation.is_control() {
                control = Some(names.len());
            }
            let rows = subsample(rows, most, seed);
            labels.extend(vec![names.len() as u32; rows.len()]);
            kept.extend(rows);
            names.push(perturbation.to_string());
        }
        Self { names, control, single, cells: scores.select(Axis(0), &kept), labels }
    }

    /// Says which groups have too few cells, and refuses where no two are left.
    fn say_left_out(&self, file: &Path) -> Result<()> {
        if self.names.len() < 2 {
            return Err(Error::data(format!(
                "{}: a distance needs two groups of two cells or more, but {} have as many and {} have one cell",
                file.display(),
                self.names.len(),
                self.single.len()
            )));
        }
        if !self.single.is_empty() {
            warn(format_args!(
                "note: {} groups of one cell were left out: {}",
                self.single.len(),
                self.single.join(", ")
            ));
        }
        Ok(())
    }

    fn of(&self, group: usize) -> Array2<f32> {
        let rows: Vec<usize> = (0..self.labels.len()).filter(|&cell| self.labels[cell] as usize == group).collect();
        self.cells.select(Axis(0), &rows)
    }

    fn control(&self) -> Result<(usize, Array2<f32>)> {
        let control =
            self.control.ok_or_else(|| Error::data("there are fewer than two control cells to compare with"))?;
        Ok((control, self.of(control)))
    }

    fn all_pairs(&self, metric: Metric, form: Option<EDistance>, seed: u64) -> Result<(String, usize)> {
        let n = self.names.len();
        let matrix = match form {
            Some(form) => edistance_matrix(self.cells.view(), &self.labels, n, form)?,
            None => {
                let distance = self.distance(metric, seed)?;
                let sets: Vec<Array2<f32>> = (0..n).map(|group| self.of(group)).collect();
                let mut matrix = Array2::zeros((n, n));
                for (i, j) in pairs(n) {
                    matrix[[i, j]] = defined(distance(&sets[i], &sets[j]), &self.names[i])?;
                }
                matrix
            }
        };
        let mut table = String::from("a,b,distance\n");
        for (i, j) in pairs(n) {
            line(
                &mut table,
                format_args!("{},{},{}", csv_field(&self.names[i]), csv_field(&self.names[j]), matrix[[i, j]]),
            );
        }
        Ok((table, n * n.saturating_sub(1) / 2))
    }

    fn to_control(&self, metric: Metric, seed: u64) -> Result<(String, usize)> {
        let (place, control) = self.control()?;
        let distance = self.distance(metric, seed)?;
        let mut table = String::from("perturbation,cells,distance\n");
        for group in (0..self.names.len()).filter(|&group| group != place) {
            let cells = self.of(group);
            let distance = defined(distance(&cells, &control), &self.names[group])?;
            line(&mut table, format_args!("{},{},{distance}", csv_field(&self.names[group]), cells.nrows()));
        }
        Ok((table, self.names.len() - 1))
    }

    fn tested(&self, form: EDistance, permutations: usize, seed: u64) -> Result<(String, usize)> {
        let (place, control) = self.control()?;
        let groups: Vec<usize> = (0..self.names.len()).filter(|&group| group != place).collect();
        let (mut sizes, mut tests) = (Vec::new(), Vec::new());
        for &group in &groups {
            let cells = self.of(group);
            sizes.push(cells.nrows());
            tests.push(defined(
                energy_test(cells.view(), control.view(), form, permutations, seed),
                &self.names[group],
            )?);
        }
        let adjusted = holm_sidak(&tests.iter().map(|test| test.p_value).collect::<Vec<_>>());
        let mut table = String::from("perturbation,cells,distance,p_value,p_adjusted\n");
        for (((group, cells), test), adjusted) in groups.iter().zip(sizes).zip(&tests).zip(adjusted) {
            let name = csv_field(&self.names[*group]);
            line(&mut table, format_args!("{name},{cells},{},{},{adjusted}", test.statistic, test.p_value));
        }
        Ok((table, groups.len()))
    }

    /// The distance of two sets. One kernel width for all pairs, or they could not be compared: of all cells, thinned.
    fn distance(&self, metric: Metric, seed: u64) -> Result<Box<Distance>> {
        Ok(match metric {
            Metric::Edistance => Box::new(|x, y| edistance(x.view(), y.view(), EDistance::Squared)),
            Metric::EdistancePlain => Box::new(|x, y| edistance(x.view(), y.view(), EDistance::Plain)),
            Metric::Mmd => {
                let gamma = median_gamma(self.cells.view())
                    .ok_or_else(|| Error::data("the cells are all alike, so that the kernel has no width"))?;
                Box::new(move |x, y| mmd_rbf(x.view(), y.view(), gamma))
            }
            Metric::Wasserstein => Box::new(move |x, y| sliced_wasserstein(x.view(), y.view(), DIRECTIONS, seed)),
        })
    }
}

fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (i + 1..n).map(move |j| (i, j)))
}

fn line(table: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(table, "{line}").expect("a string takes any text");
}

fn defined<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| Error::data(format!("{name}: a score is not finite, so there is no distance")))
}
