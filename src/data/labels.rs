//! What a file says of its rows: which columns to read ([`OpenOptions`], or the file's own hints), and the perturbation
//! of each row.

use super::{AnnData, Column, Naming, Perturbation, Table, names, perturbation};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// The columns that may hold perturbations, if the caller names none: those of this library and scPerturb, of GEARS, and
/// of others.
const PERTURBATION_COLUMNS: [&str; 9] = [
    "perturbation",
    "condition",
    "perturbation_name",
    "perturbations",
    "target_gene",
    "gene_target",
    "target",
    "gene",
    "guide_identity",
];
/// The dictionary in `uns` where files of this library say which column holds what.
pub(super) const UNS: &str = "genailab";

/// What to read from a file, where the rules would choose otherwise.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// The column of `obs` that names perturbations. Without it: the first of `perturbation`, `condition`,
    /// `perturbation_name`, `target_gene`, `gene` and like names that holds text and has control cells.
    pub perturbation_column: Option<String>,
    /// The layer that holds counts; `X` and `raw/X` may be named, too.
    pub counts_layer: Option<String>,
    /// The column of `obs` that names lanes. Without it: the first of `gem_group`, `lane`, `batch`, `replicate`.
    pub lane_column: Option<String>,
    /// How labels are read as perturbations.
    pub naming: Naming,
}

/// The perturbation of each row, and the column it was read from.
pub(crate) struct Labels {
    /// One per row; `None` where the label is missing.
    pub(crate) labels: Vec<Option<Perturbation>>,
    /// The column that was chosen.
    pub(crate) column: String,
    /// What the user should know about the choice.
    pub(crate) notes: Vec<String>,
}

/// Chooses the perturbation column of `obs` and reads its labels.
pub(crate) fn perturbation_labels(file: &AnnData, obs: &Table, genes: &Table, options: &OpenOptions) -> Result<Labels> {
    let known = |name: &str| {
        let what = || format!("the columns of obs are {}", listed(file.obs_columns()));
        match obs.column(name) {
            Some(Column::Float(_)) => {
                Err(Error::data(format!("column `{name}` of obs holds numbers, not perturbation names; {}", what())))
            }
            Some(column) => Ok(column),
            None => Err(Error::config(format!("there is no column `{name}` in obs; {}", what()))),
        }
    };
    let own = hint(file, "perturbation_column");
    let chosen = match options.perturbation_column.as_ref().or(own.as_ref()) {
        Some(name) => (name.clone(), known(name)?),
        None => {
            let candidates = || {
                PERTURBATION_COLUMNS.iter().filter_map(|&name| match obs.column(name) {
                    Some(column @ (Column::Categorical { .. } | Column::Text(_))) => Some((name.to_owned(), column)),
                    _ => None,
                })
            };
            let has_control = |column: &Column| distinct(column).iter().any(|label| options.naming.is_control(label));
            candidates().find(|(_, column)| has_control(column)).or_else(|| candidates().next()).ok_or_else(|| {
                Error::data(format!(
                    "there is no perturbation column (`perturbation`, `condition`, `gene`, …): the columns of obs are \
                     {}; name the one to use, or rename it to `perturbation`",
                    listed(file.obs_columns())
                ))
            })?
        }
    };
    let (column, values) = chosen;
    let mut naming = options.naming.clone();
    let mut notes = Vec::new();
    let spelled = distinct(values);
    if naming.separator.is_none() && (own.is_some() || spelled.iter().any(|label| label.contains('+'))) {
        naming.separator = Some('+');
    }
    let measured: HashSet<&str> = genes.names.iter().map(String::as_str).collect();
    let mut parsed: HashMap<String, Perturbation> = HashMap::with_capacity(spelled.len());
    for label in &spelled {
        let read = naming.parse(label, |name| measured.contains(name));
        parsed.insert(label.clone(), read.map_err(|e| e.at(format!("column `{column}`")))?);
    }
    let joined =
        parsed.iter().filter(|(label, set)| set.genes().len() > 1 && !label.contains('+')).map(|(label, _)| label);
    if let Some(example) = joined.min() {
        notes.push(format!("`_` was read as joining two genes in `{column}`, as in {example:?}"));
    }
    let labels: Vec<Option<Perturbation>> =
        values.to_text().into_iter().map(|label| label.and_then(|label| parsed.get(&label).cloned())).collect();
    if labels.iter().all(Option::is_none) {
        return Err(Error::data(format!(
            "column `{column}` of obs holds no perturbation names: all labels are missing"
        )));
    }
    Ok(Labels { labels, column, notes })
}

/// The distinct labels that are not missing, sorted.
fn distinct(column: &Column) -> Vec<String> {
    let mut labels: Vec<String> = match column {
        Column::Categorical { codes, categories } => {
            let mut used = vec![false; categories.len()];
            codes.iter().filter_map(|&code| usize::try_from(code).ok()).for_each(|code| used[code] = true);
            categories.iter().zip(used).filter(|(_, used)| *used).map(|(category, _)| category.clone()).collect()
        }
        other => other.to_text().into_iter().flatten().collect(),
    };
    labels.sort_unstable();
    labels.dedup();
    labels.retain(|label| !perturbation::is_missing(label));
    labels
}

/// An error that no row of `column` is control.
pub(super) fn no_control(column: &str, labels: &[Option<Perturbation>]) -> Error {
    let mut known: Vec<String> = labels.iter().flatten().map(Perturbation::to_string).collect();
    known.sort_unstable();
    known.dedup();
    Error::data(format!(
        "column `{column}` of obs has no control cells (`control`, `ctrl`, `non-targeting`, `NT`, …): its labels are \
         {}; give the control cells the label `control`",
        names::first(&known)
    ))
}

/// What a file that this library wrote says about itself.
pub(super) fn hint(file: &AnnData, key: &str) -> Option<String> {
    file.uns(&format!("{UNS}/{key}")).ok().flatten()?.as_text().map(str::to_owned)
}

/// Names for a message.
pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}
