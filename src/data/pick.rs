//! Which matrix of a file holds counts.
//!
//! The layer that the caller names; else the layer `counts`, `X`, `raw/X`, or any other layer, the first that holds counts.

use super::{AnnData, Counts, OpenOptions, Table};
use crate::{Error, Result};

/// Layers of whole numbers that are only a part of the counts.
const PARTS_OF_COUNTS: [&str; 6] = ["spliced", "unspliced", "ambiguous", "mature", "nascent", "velocity"];
/// Log-normalised expression hardly ever exceeds this.
const MOST_LOG: f32 = 20.0;
/// Of values that are fractions for the most part, this share may be whole by chance.
const FEW_WHOLE: f64 = 0.2;

/// Counts, the genes of their columns, and notes on the choice.
pub(super) type Picked = (Counts, Table, Vec<String>);

/// Finds the matrix of counts.
pub(super) fn counts(file: &AnnData, cells: &[String], options: &OpenOptions) -> Result<Picked> {
    let mut found: Vec<String> = Vec::new();
    let mut fractions: Option<(Counts, Table, String)> = None;
    for name in in_question(file, options) {
        let counts = file.read_matrix(&name)?;
        let genes = if name == "raw/X" { file.raw_var()? } else { file.var()? };
        let Some((cell, gene, value)) = counts.first_non_count() else {
            // A layer that is not called counts must look like them: a mask of zeros and ones is none.
            if !is_called_counts(&name, options) && counts.values().iter().all(|&value| value <= 1.0) {
                continue;
            }
            let notes = (name != "X").then(|| said(file, &name, &genes, &found));
            return Ok((counts, genes, notes.into_iter().collect()));
        };
        let place = format!("(cell {:?}, gene {:?})", cells[cell], genes.names[gene]);
        found.push(format!("`{name}` holds {} such as {value} {place}", fault(value, &counts)));
        if fractions.is_none() && counts.values().iter().all(|value| value.is_finite() && *value >= 0.0) {
            fractions = Some((counts, genes, name));
        }
    }
    if let (true, Some((counts, genes, name))) = (options.round_counts, fractions) {
        let note = format!("the fractions of `{name}` were rounded to whole counts, as asked for");
        return Ok((counts.map_values(f32::round), genes, vec![note]));
    }
    let what =
        if found.is_empty() { "it has no X, no layer `counts` and no raw/X".to_owned() } else { found.join(", ") };
    Err(Error::data(format!(
        "no counts were found: {what}; counts are whole numbers from 0 up, in a layer, in X or in raw/X; --round-counts rounds \
         ambient-corrected counts (SoupX, CellBender)"
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

/// Why a value is not a count.
fn fault(value: f32, counts: &Counts) -> &'static str {
    if value.is_nan() {
        return "NaN (missing) values,";
    }
    if value.is_infinite() {
        return "infinite values";
    }
    if value < 0.0 {
        return "negative values (scaled?)";
    }
    let values = counts.values();
    let whole = values.iter().filter(|value| value.fract() == 0.0 && **value != 0.0).count();
    let most = values.iter().copied().fold(0.0, f32::max);
    let sums = counts.row_sums();
    let equal = sums.iter().all(|sum| (sum - sums[0]).abs() <= 1e-3 * sums[0]);
    if most > MOST_LOG && equal {
        "fractions (normalised to the same total per cell?)"
    } else if most > MOST_LOG || whole as f64 > FEW_WHOLE * values.len() as f64 {
        "fractions (ambient-corrected counts?)"
    } else {
        "fractions (log-normalised?)"
    }
}
