//! Expression of samples that are described by metadata.

use super::{Args, HINTS, MOST_CELLS, of_kind};
use crate::{
    options::{fetch_if_public, say},
    provenance,
};
use genailab::{
    Error, Result,
    data::{AnnData, AnnDataWriter, Column, Counts, Table, Uns, read_table},
    model::{ExpectedExpression, FromMetadata, Trained},
};
use std::collections::BTreeSet;

/// Predicts the rows of metadata and writes them: with `--cells N` that many samples of each row, else its mean with the interval of
/// 90 % in the layers `lower` and `upper`.
pub fn predict(model: &dyn Trained, args: &Args) -> Result<()> {
    let known = model.metadata_model().ok_or_else(|| {
        Error::config(format!(
            "--metadata-file and --like are for a model of metadata (mean-residual), but {}; leave them out",
            of_kind(model, args)
        ))
    })?;
    args.refuse_options_of_perturbations()?;
    if args.cells.is_none() && args.samples > 1 {
        return Err(Error::config(
            "--samples: without --cells the mean of each row is written; add --cells N to draw samples",
        ));
    }
    let (rows, file) = read_rows(args)?;
    let here = |e: Error| e.at(file.display());
    if rows.is_empty() {
        return Err(here(Error::data("there are no rows to predict")));
    }
    match args.cells {
        None => write_means(model, known.expected(&rows).map_err(here)?, &columns_of(known, &rows), args),
        Some(n) => {
            let n = n * args.samples;
            if rows.len().checked_mul(n).is_none_or(|all| all > MOST_CELLS) {
                return Err(Error::config(format!(
                    "--cells: {n} samples of each of {} rows are more than {MOST_CELLS}; ask for fewer",
                    rows.len()
                )));
            }
            write_draws(model, known, (&rows, n), args).map_err(here)
        }
    }?;
    say(format_args!(
        "{} rows of metadata; {}",
        rows.len(),
        match args.cells {
            None =>
                "X is the mean of log expression, the layers lower and upper the interval of 90 % (--cells N draws samples)",
            Some(_) => "X holds samples around the mean",
        }
    ))
}

fn read_rows(args: &Args) -> Result<(Table, &std::path::Path)> {
    match (&args.metadata_file, &args.like) {
        (Some(file), _) => {
            provenance::reads(file)?;
            Ok((with_own_names(read_table(file)?), file))
        }
        (None, Some(file)) => {
            fetch_if_public(file)?;
            Ok((AnnData::open(file)?.obs()?, file))
        }
        (None, None) => Err(Error::config(
            "the model predicts samples from their metadata: give rows of it by --metadata-file FILE.csv or --like FILE.h5ad",
        )),
    }
}

/// Rows whose names are not their own, as where a table has no column of names, are numbered.
fn with_own_names(mut rows: Table) -> Table {
    let own: BTreeSet<&String> = rows.names.iter().collect();
    if own.len() < rows.names.len() {
        rows.names = (1..=rows.names.len()).map(|row| row.to_string()).collect();
    }
    rows
}

/// The columns that the model reads.
fn columns_of(known: &dyn FromMetadata, rows: &Table) -> Table {
    let names = known.encoder().columns.iter().map(|column| &column.name);
    let columns = names.filter_map(|name| Some((name.clone(), rows.column(name)?.clone()))).collect();
    Table { names: rows.names.clone(), columns }
}

fn write_means(model: &dyn Trained, expected: ExpectedExpression, rows: &Table, args: &Args) -> Result<()> {
    let genes = Table::from_names(model.genes().to_vec());
    let writer = AnnDataWriter::new(rows, &genes).x(&expected.mean);
    let writer = writer.layer("lower", &expected.lower).layer("upper", &expected.upper);
    finish(writer, model, ("expression", "log"), args)
}

fn write_draws(model: &dyn Trained, known: &dyn FromMetadata, (rows, n): (&Table, usize), args: &Args) -> Result<()> {
    let drawn = known.draw(rows, n, args.seed)?;
    let of_draw: Vec<usize> = (0..rows.len() * n).map(|draw| draw / n).collect();
    let mut samples = columns_of(known, rows).select(&of_draw);
    samples.names =
        of_draw.iter().enumerate().map(|(draw, &row)| format!("{}-{}", rows.names[row], draw % n)).collect();
    samples.set("metadata_row", Column::Text(of_draw.iter().map(|&row| Some(rows.names[row].clone())).collect()));
    let genes = Table::from_names(model.genes().to_vec());
    if !drawn.are_counts {
        return finish(AnnDataWriter::new(&samples, &genes).x(&drawn.values), model, ("expression", "log"), args);
    }
    let sizes =
        drawn.values.rows().into_iter().zip(&drawn.library_size).map(|(row, &size)| f64::from(size.max(row.sum())));
    samples.set("ncounts", Column::Float(sizes.collect()));
    let counts = Counts::from_dense(&drawn.values);
    finish(AnnDataWriter::new(&samples, &genes).x(&counts), model, ("library_size_column", "ncounts"), args)
}

fn finish(writer: AnnDataWriter<'_>, model: &dyn Trained, hint: (&str, &str), args: &Args) -> Result<()> {
    let by = format!("genailab {}", model.kind());
    let (provenance, record) = provenance::entry()?;
    writer
        .uns("predicted_by", by.as_str())
        .uns(provenance, record)
        .uns(HINTS, [hint].into_iter().collect::<Uns>())
        .write(&args.out)
}
