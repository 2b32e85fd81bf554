//! Which matrix of a file holds counts, or where there are none, other expression.
//!
//! The layer that the caller names; else the layer `counts`, `X`, `raw/X`, or any other layer, the first that holds counts.
//! Without counts, and where the caller does not ask for them: `X`, if it looks like logarithms or like values around 0
//! ([`Expression`]).

use super::{AnnData, Counts, Expression, OpenOptions, Table};
use crate::{Error, Result};
use std::collections::HashSet;

/// Layers of whole numbers that are only a part of the counts.
const PARTS_OF_COUNTS: [&str; 6] = ["spliced", "unspliced", "ambiguous", "mature", "nascent", "velocity"];
/// Log-normalised expression hardly ever exceeds this.
const MOST_LOG: f32 = 20.0;
/// Counts with a few damaged values hold few distinct ones; real expression holds more than these.
const FEWEST_DISTINCT: usize = 100;
/// Of values that are fractions for the most part, this share may be whole by chance.
const FEW_WHOLE: f64 = 0.2;

/// The values, what they are, the genes of their columns, and notes on the choice.
pub(super) struct Picked {
    pub(super) values: Counts,
    pub(super) expression: Expression,
    pub(super) genes: Table,
    pub(super) notes: Vec<String>,
}

/// Finds the matrix of counts, or of other expression.
pub(super) fn expression(
    file: &AnnData,
    cells: &[String],
    (options, asked): (&OpenOptions, Option<Expression>),
) -> Result<Picked> {
    let candidates = in_question(file, options);
    if let Some(expression @ (Expression::Log | Expression::Z)) = asked {
        let name = if options.counts_layer.is_some() { candidates[0].as_str() } else { "X" };
        return real_values(file, cells, name, expression);
    }
    let mut found: Vec<String> = Vec::new();
    let mut fractions: Option<(Counts, Table, String)> = None;
    let mut detected = None;
    for name in candidates {
        let counts = file.read_matrix(&name)?;
        let genes = if name == "raw/X" { file.raw_var()? } else { file.var()? };
        let Some((cell, gene, value)) = counts.first_non_count() else {
            // A layer that is not called counts must look like them: a mask of zeros and ones is none.
            if !is_called_counts(&name, options) && counts.values().iter().all(|&value| value <= 1.0) {
                continue;
            }
            let notes = (name != "X").then(|| said(file, &name, &genes, &found)).into_iter().collect();
            return Ok(Picked { values: counts, expression: Expression::Counts, genes, notes });
        };
        let place = format!("(cell {:?}, gene {:?})", cells[cell], genes.names[gene]);
        let fault = fault(value, &counts);
        found.push(format!("`{name}` holds {} such as {value} {place}", fault.text()));
        let is_main = name == "X" || options.counts_layer.is_some();
        if is_main && asked.is_none() && !options.round_counts {
            detected = fault.expression(&counts).map(|expression| (expression, name.clone()));
        }
        if fractions.is_none() && counts.values().iter().all(|value| value.is_finite() && *value >= 0.0) {
            fractions = Some((counts, genes, name));
        }
    }
    if let (true, Some((counts, genes, name))) = (options.round_counts, fractions) {
        let note = format!("the fractions of `{name}` were rounded to whole counts, as asked for");
        let values = counts.map_values(f32::round);
        return Ok(Picked { values, expression: Expression::Counts, genes, notes: vec![note] });
    }
    if let Some((expression, name)) = detected {
        let mut picked = real_values(file, cells, &name, expression)?;
        let what = match expression {
            Expression::Z => "values around 0 (z-scores?)",
            _ => "logarithms of expression",
        };
        picked.notes.push(format!(
            "no counts were found, and `{name}` is read as {what}: used as they are, by what needs no counts; --expression counts, \
             log or z says otherwise"
        ));
        return Ok(picked);
    }
    let what =
        if found.is_empty() { "it has no X, no layer `counts` and no raw/X".to_owned() } else { found.join(", ") };
    Err(Error::data(format!(
        "no counts were found: {what}; counts are whole numbers from 0 up, in a layer, in X or in raw/X; --round-counts rounds \
         ambient-corrected counts (SoupX, CellBender), --expression log or z takes real values as they are"
    ))
    .at(file.path().display()))
}

/// The matrices that may hold counts: the one that the caller names, else all in order.
pub(super) fn in_question(file: &AnnData, options: &OpenOptions) -> Vec<String> {
    match options.counts_layer.as_deref() {
        Some(name @ ("X" | "raw/X")) => vec![name.to_owned()],
        Some(layer) => vec![format!("layers/{}", layer.trim_start_matches("layers/"))],
        None => candidates(file),
    }
}

/// Whether a matrix is taken for counts even if none is above 1.
pub(super) fn is_called_counts(name: &str, options: &OpenOptions) -> bool {
    options.counts_layer.is_some() || !name.starts_with("layers/") || name == "layers/counts"
}

/// A matrix of real values, as it stands.
fn real_values(file: &AnnData, cells: &[String], name: &str, expression: Expression) -> Result<Picked> {
    let values = file.read_matrix(name)?;
    let genes = if name == "raw/X" { file.raw_var()? } else { file.var()? };
    let wrong = |value: f32| !value.is_finite() || expression == Expression::Log && value < 0.0;
    for (cell, cell_name) in cells.iter().enumerate() {
        let (columns, row) = values.row(cell);
        let Some(place) = row.iter().position(|&value| wrong(value)) else { continue };
        let (gene, value) = (&genes.names[columns[place] as usize], row[place]);
        let way_out = match value.is_finite() {
            true => "logarithms of expression are 0 or more; --expression z takes values around 0",
            false => "every value must be a finite number; fill in or leave out what is missing",
        };
        return Err(Error::data(format!("`{name}` holds {value} (cell {cell_name:?}, gene {gene:?}); {way_out}"))
            .at(file.path().display()));
    }
    Ok(Picked { values, expression, genes, notes: Vec::new() })
}

fn candidates(file: &AnnData) -> Vec<String> {
    let layers = file.layers().iter().filter(|name| name.as_str() != "counts");
    let layers = layers.filter(|name| !PARTS_OF_COUNTS.contains(&name.to_lowercase().as_str()));
    ["layers/counts", "X", "raw/X"]
        .into_iter()
        .map(str::to_owned)
        .chain(layers.map(|name| format!("layers/{name}")))
        .filter(|name| file.has_matrix(name))
        .collect()
}

/// Which matrix is read instead of X.
pub(super) fn said(file: &AnnData, name: &str, genes: &Table, found: &[String]) -> String {
    let instead = if found.iter().any(|what| what.starts_with("`X`")) { ", because X holds none" } else { "" };
    let genes = match file.n_vars() == genes.len() {
        true => String::new(),
        false => format!("; it has {} genes where X has {}", genes.len(), file.n_vars()),
    };
    format!("counts are read from `{name}`{instead}{genes}")
}

/// Why values are no counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Missing,
    Infinite,
    Negative,
    SameTotal,
    AmbientCorrected,
    LogNormalised,
}

impl Fault {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "NaN (missing) values,",
            Self::Infinite => "infinite values",
            Self::Negative => "negative values (scaled?)",
            Self::SameTotal => "fractions (normalised to the same total per cell?)",
            Self::AmbientCorrected => "fractions (ambient-corrected counts?)",
            Self::LogNormalised => "fractions (log-normalised?)",
        }
    }

    /// What the values are if they are no counts; `None` where they may be damaged or unfinished counts.
    fn expression(self, values: &Counts) -> Option<Expression> {
        let distinct = || values.values().iter().map(|value| value.to_bits()).collect::<HashSet<u32>>().len();
        let finite = values.values().iter().all(|value| value.is_finite());
        match self {
            Self::Negative if finite && distinct() > FEWEST_DISTINCT => Some(Expression::Z),
            Self::LogNormalised if finite && distinct() > FEWEST_DISTINCT => {
                Some(if values.values().iter().any(|&value| value < 0.0) { Expression::Z } else { Expression::Log })
            }
            _ => None,
        }
    }
}

/// Why a value is not a count.
fn fault(value: f32, counts: &Counts) -> Fault {
    if value.is_nan() {
        return Fault::Missing;
    }
    if value.is_infinite() {
        return Fault::Infinite;
    }
    if value < 0.0 {
        return Fault::Negative;
    }
    let values = counts.values();
    let whole = values.iter().filter(|value| value.fract() == 0.0 && **value != 0.0).count();
    let most = values.iter().copied().fold(0.0, f32::max);
    let sums = counts.row_sums();
    let equal = sums.iter().all(|sum| (sum - sums[0]).abs() <= 1e-3 * sums[0]);
    if most > MOST_LOG && equal {
        Fault::SameTotal
    } else if most > MOST_LOG || whole as f64 > FEW_WHOLE * values.len() as f64 {
        Fault::AmbientCorrected
    } else {
        Fault::LogNormalised
    }
}
