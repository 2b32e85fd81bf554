//! `genailab de`: which genes each perturbation changes.

use crate::{
    options::{DataArgs, say, warn},
    output::{check_output_file, csv_field},
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    data::{Counts, Dataset, LargeFile, Opened, Perturbation, TargetSum, mean_expression, normalize},
    eval::{DeReference, DeTest, DifferentialExpression, RankSum, SIGNIFICANCE, differential_expression},
    model::NORMALISED_TOTAL,
    ndarray::{Array1, Array2},
    train::write_atomically_with,
};
use serde_json::json;
use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Find the genes that each perturbation changes
///
/// Tests every perturbation against control, gene by gene, on log-normalised counts (10,000 a cell), and writes a table:
/// perturbation, gene, score, log2_fold_change, p_value, p_adjusted (Benjamini-Hochberg over a perturbation's genes). The
/// numbers are those of scanpy's rank_genes_groups. Values that are no counts (--expression log, z) are tested as they are, and the
/// column mean_difference stands in place of log2_fold_change. Perturbations of fewer than two cells are left out.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// The .csv to write
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,
    /// wilcoxon, t-test (Welch), or t-test_overestim_var (scanpy's, which doubts a large reference)
    #[arg(long, value_enum, default_value_t = Method::Wilcoxon)]
    method: Method,
    /// What a perturbation is tested against: control, or all other cells (rest)
    #[arg(long, value_enum, default_value_t = Against::Control)]
    against: Against,
    /// Do not correct the rank-sum test's variance for ties, as is scanpy's default
    #[arg(long)]
    no_tie_correction: bool,
    /// Print one line of JSON: perturbations, genes, the seconds that the tests took, and where the table is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    columns: DataArgs,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Method {
    Wilcoxon,
    #[value(name = "t-test")]
    TTest,
    #[value(name = "t-test_overestim_var")]
    TTestOverestimVar,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Against {
    Control,
    Rest,
}

pub fn run(args: &Args) -> Result<()> {
    if args.no_tie_correction && args.method != Method::Wilcoxon {
        return Err(Error::config("--no-tie-correction is of the Wilcoxon test; a t-test has no ties to correct for"));
    }
    check_output_file(&args.out)?;
    let test = match args.method {
        Method::Wilcoxon => DeTest::RankSum(RankSum { tie_correct: !args.no_tie_correction }),
        Method::TTest => DeTest::TTest,
        Method::TTestOverestimVar => DeTest::TTestOverestimVar,
    };
    let (data, de, time) = match args.columns.open_large(&args.data)? {
        Some(large) => tested_in_parts(&large, args, test)?,
        None => tested(args, test)?,
    };
    let seconds = time.as_secs_f64();
    write_atomically_with(&args.out, |file, _| {
        let mut out = BufWriter::new(file);
        write_table(&mut out, &data, &de)?;
        out.flush()
    })?;

    let (groups, genes) = de.scores.dim();
    let changed = de.p_adjusted.iter().filter(|&&p| p < SIGNIFICANCE).count();
    if args.json {
        let line = json!({
            "perturbations": groups, "genes": genes, "cells": data.labels.len(), "changed": changed, "seconds": seconds,
            "threads": rayon::current_num_threads(), "out": args.out,
        });
        return say(line);
    }
    say(format_args!(
        "{groups} perturbations x {genes} genes tested in {seconds:.2} s: {changed} changes at a false discovery rate of \
         {SIGNIFICANCE}\nwritten to {}",
        args.out.display()
    ))
}

/// The cells, without their counts, the tests, and how long these took.
type Tested = (Dataset, DifferentialExpression, Duration);

fn tested(args: &Args, test: DeTest) -> Result<Tested> {
    let Opened::Cells(data) = args.columns.open(&args.data)? else {
        return Err(Error::data(format!(
            "{} is an effects dataset: one row per perturbation; a test needs the cells behind it",
            args.data.display()
        )));
    };
    let reference = reference(&data, args)?;
    say_left_out(&data, &args.data)?;
    let bare = Dataset { counts: Counts::default(), ..data.clone() };
    let expression = normalize::into_log_normalized(data, TargetSum::Fixed(NORMALISED_TOTAL))?;
    let start = Instant::now();
    let mut de = differential_expression(&expression, &bare.labels, reference, test)?;
    if !bare.expression.is_counts() {
        de.log2_fold_changes = differences(&expression, &bare.labels, &de, reference)?;
    }
    Ok((bare, de, start.elapsed()))
}

/// The same of a file whose counts do not all fit into memory: some genes at a time.
fn tested_in_parts(file: &LargeFile, args: &Args, test: DeTest) -> Result<Tested> {
    let reference = reference(file.cells(), args)?;
    say_left_out(file.cells(), &args.data)?;
    let (mut parts, mut time) = (Vec::new(), Duration::ZERO);
    for genes in file.parts() {
        let expression = normalize::into_log_normalized(file.read(genes)?, TargetSum::Fixed(NORMALISED_TOTAL))?;
        let start = Instant::now();
        parts.push(differential_expression(&expression, &file.cells().labels, reference, test)?);
        time += start.elapsed();
    }
    let cells = Dataset { genes: file.genes().clone(), ..file.cells().clone() };
    Ok((cells, DifferentialExpression::joined(&parts)?, time))
}

fn reference(data: &Dataset, args: &Args) -> Result<DeReference> {
    let control = || data.perturbations.iter().position(Perturbation::is_control);
    match args.against {
        Against::Rest => Ok(DeReference::Rest),
        Against::Control => control().map(|label| DeReference::Group(label as u32)).ok_or_else(|| {
            Error::data(format!("{} has no control cells; test with --against rest", args.data.display()))
        }),
    }
}

/// Says which perturbations have too few cells for a test, and refuses where none is left.
fn say_left_out(data: &Dataset, file: &Path) -> Result<()> {
    let cells = data.cells_per_perturbation();
    let of = |fits: &dyn Fn(usize) -> bool| -> Vec<String> {
        let all = data.perturbations.iter().zip(&cells).filter(|(set, n)| !set.is_control() && fits(**n));
        all.map(|(set, n)| format!("{set} ({n})")).collect()
    };
    let (few, tested) = (of(&|n| n == 1), of(&|n| n > 1));
    if tested.is_empty() {
        return Err(Error::data(format!(
            "{}: no perturbation has two cells or more ({} have one), so none can be tested",
            file.display(),
            few.len()
        )));
    }
    if !few.is_empty() {
        warn(format_args!("note: {} perturbations of one cell were left out: {}", few.len(), few.join(", ")));
    }
    Ok(())
}

/// Mean of each tested perturbation less the mean of what it is tested against, `(perturbations, genes)`: values whose base is not
/// known, or that lie around 0, have no fold change.
fn differences(
    values: &Counts,
    labels: &[u32],
    de: &DifferentialExpression,
    against: DeReference,
) -> Result<Array2<f64>> {
    let mean = |inside: &dyn Fn(u32) -> bool| -> Array1<f64> {
        let cells: Vec<usize> = (0..labels.len()).filter(|&cell| inside(labels[cell])).collect();
        mean_expression(values, &cells).mapv(f64::from)
    };
    let rows = de.groups.iter().map(|&group| match against {
        DeReference::Group(control) => mean(&|label| label == group) - mean(&|label| label == control),
        DeReference::Rest => mean(&|label| label == group) - mean(&|label| label != group),
    });
    let mut found = Array2::zeros((0, values.n_genes()));
    for row in rows {
        found.push_row(row.view()).expect("one value per gene");
    }
    Ok(found)
}

/// A row per perturbation and gene, in the order of the file's genes.
fn write_table(out: &mut impl Write, data: &Dataset, de: &DifferentialExpression) -> std::io::Result<()> {
    let change = if data.expression.is_counts() { "log2_fold_change" } else { "mean_difference" };
    writeln!(out, "perturbation,gene,score,{change},p_value,p_adjusted")?;
    let genes: Vec<String> = data.gene_names().iter().map(|gene| csv_field(gene)).collect();
    for (row, &label) in de.groups.iter().enumerate() {
        let perturbation = csv_field(&data.perturbations[label as usize].to_string());
        for (gene, name) in genes.iter().enumerate() {
            let [score, fold, p, adjusted] =
                [&de.scores, &de.log2_fold_changes, &de.p_values, &de.p_adjusted].map(|table| table[[row, gene]]);
            writeln!(out, "{perturbation},{name},{score},{fold},{p:e},{adjusted:e}")?;
        }
    }
    Ok(())
}
