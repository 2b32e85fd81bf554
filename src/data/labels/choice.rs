//! Which column of `obs` names the perturbations, where the user does not say.
//!
//! Candidates are known by their names. Of several that hold text, the one with control labels wins over those without, then
//! the one that names more measured genes, then the one with more targets, then the more usual name; the choice is said.

use super::{
    few,
    rules::{LabelCounts, Reading, Rules},
};
use crate::{
    Error, Result,
    data::{Column, Naming, Table, perturbation::without_guide},
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Names of columns that hold perturbations, the more usual first, in lower case: those of this library and scPerturb, of
/// GEARS, of Cell Ranger (`feature_call`), CELLxGENE (`genetic_perturbation_id`), Tahoe-100M and others.
const COLUMNS: [&str; 43] = [
    "perturbation",
    "condition",
    "perturbation_name",
    "perturbations",
    "target_gene",
    "gene_target",
    "target",
    "gene",
    "target_gene_name",
    "perturbed_gene",
    "gene_name",
    "targets",
    "genes",
    "perturbation_label",
    "genetic_perturbation_id",
    "genetic_perturbation",
    "guide_identity",
    "guide_ids",
    "guide_id",
    "guide",
    "guides",
    "guide_name",
    "guide_target",
    "sgrna_target",
    "sgrna",
    "sgrnas",
    "sgrna_id",
    "sgrna_name",
    "sgid_ab",
    "grna",
    "grna_id",
    "grna_name",
    "feature_call",
    "assigned_guide",
    "protospacer",
    "knockout",
    "ko",
    "cell_label",
    "drug",
    "compound",
    "drugname_drugconc",
    "treatment",
    "pert_name",
];
/// The two endings of a pair of columns, one guide or gene each.
const PAIRS: [(&str, &str); 4] = [("_1", "_2"), ("_a", "_b"), ("1", "2"), ("_A", "_B")];

/// A column, or a pair of them, and the label of each row.
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) values: Vec<Option<String>>,
    pub(super) notes: Vec<String>,
}

/// The column that the user or the file names; `A,B` is a pair of columns.
pub(super) fn named(name: &str, obs: &Table) -> Result<Chosen> {
    let notes = Vec::new();
    if let Some(column) = obs.column(name) {
        if let Column::Float(_) = column {
            return Err(Error::data(format!(
                "column `{name}` of obs holds numbers, not perturbation names; give another by --perturbation-column: {}",
                listed(obs)
            )));
        }
        return Ok(Chosen { name: name.to_owned(), values: column.to_text(), notes });
    }
    if let Some((left, right)) = name.split_once(',')
        && let (Some(left), Some(right)) = (obs.column(left.trim()), obs.column(right.trim()))
    {
        return Ok(Chosen { name: name.to_owned(), values: paired(left, right), notes });
    }
    Err(Error::config(format!("there is no column `{name}` in obs; {}", listed(obs))))
}

/// The best of the columns whose names are known.
pub(super) fn best(obs: &Table, genes: &HashSet<&str>, naming: &Naming) -> Result<Chosen> {
    let mut candidates = Vec::new();
    for usual in COLUMNS {
        for (name, column) in obs.columns.iter().filter(|(name, _)| name.to_lowercase() == usual) {
            candidates.push((name.clone(), column.clone()));
        }
    }
    let (text, numbers): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|(_, column)| matches!(column, Column::Categorical { .. } | Column::Text(_)));
    let mut text: Vec<(String, Vec<Option<String>>)> =
        text.into_iter().map(|(name, column)| (name, column.to_text())).collect();
    text.extend(pairs(obs));
    let judged: Vec<Judged> = text.iter().map(|(name, values)| Judged::of(name, values, genes, naming)).collect();
    let no_names: Vec<String> =
        numbers.iter().map(|(name, column)| format!("`{name}` holds {}", kind(column))).collect();
    let Some(place) =
        (0..judged.len()).reduce(|best, next| if judged[next].rank() > judged[best].rank() { next } else { best })
    else {
        return Err(none(obs, genes, naming, &no_names));
    };
    let (name, values) = text.swap_remove(place);
    let mut notes = Vec::new();
    if !no_names.is_empty() {
        notes.push(format!("{}, not names of perturbations; `{name}` is read", no_names.join(", ")));
    }
    let others: Vec<String> = judged
        .iter()
        .enumerate()
        .filter(|(other, judged)| *other != place && judged.has_control)
        .map(|(_, judged)| format!("`{}` ({})", judged.name, judged.found()))
        .collect();
    if judged[place].has_control && !others.is_empty() {
        notes.push(format!(
            "`{name}` is read as the perturbation ({}); if {} is meant, name it by --perturbation-column",
            judged[place].found(),
            others.join(" or ")
        ));
    }
    Ok(Chosen { name, values, notes })
}

/// How well a column fits.
struct Judged {
    name: String,
    has_control: bool,
    /// Distinct targets, guides of one gene as one.
    targets: usize,
    /// Those that are measured genes.
    measured: usize,
}

impl Judged {
    fn of(name: &str, values: &[Option<String>], genes: &HashSet<&str>, naming: &Naming) -> Self {
        let counts = counted(values);
        let rules = Rules::of(name, &counts, genes, (naming, false));
        let (mut targets, mut has_control) = (BTreeSet::new(), false);
        for label in counts.keys() {
            let Ok(Reading::Perturbed(read)) = rules.read(label.as_deref()) else { continue };
            has_control |= read.is_control() && !rules.is_taken_for_control(label.as_deref());
            targets.extend(read.genes().iter().map(|gene| without_guide(gene).to_owned()));
        }
        let measured = targets.iter().filter(|gene| genes.contains(gene.as_str())).count();
        Self { name: name.to_owned(), has_control, targets: targets.len(), measured }
    }

    fn rank(&self) -> (bool, usize, usize) {
        (self.has_control, self.measured, self.targets)
    }

    fn found(&self) -> String {
        format!("{} targets, {} of them measured genes", self.targets, self.measured)
    }
}

/// The number of rows of each label.
pub(super) fn counted(values: &[Option<String>]) -> LabelCounts {
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    values.iter().for_each(|label| *counts.entry(label.clone()).or_default() += 1);
    counts
}

/// Pairs of text columns such as `guide_A` and `guide_B`.
fn pairs(obs: &Table) -> Vec<(String, Vec<Option<String>>)> {
    let is_text = |column: &Column| matches!(column, Column::Categorical { .. } | Column::Text(_));
    let mut found = Vec::new();
    for (left, first) in obs.columns.iter().filter(|(_, column)| is_text(column)) {
        for (one, two) in PAIRS {
            let Some(stem) = left.strip_suffix(one) else { continue };
            let right = format!("{stem}{two}");
            if let Some(second) = obs.column(&right).filter(|column| is_text(column))
                && COLUMNS.contains(&stem.to_lowercase().as_str())
            {
                found.push((format!("{left},{right}"), paired(first, second)));
            }
        }
    }
    found
}

/// `A+B` of two columns; what one of them misses is left out.
fn paired(left: &Column, right: &Column) -> Vec<Option<String>> {
    let pair = |(left, right): (Option<String>, Option<String>)| match (left, right) {
        (Some(left), Some(right)) => Some(format!("{left}+{right}")),
        (one, other) => one.or(other),
    };
    left.to_text().into_iter().zip(right.to_text()).map(pair).collect()
}

/// An error that no column names perturbations, with the columns that hold text or a control label.
fn none(obs: &Table, genes: &HashSet<&str>, naming: &Naming, no_names: &[String]) -> Error {
    let with_control: Vec<String> = obs
        .columns
        .iter()
        .filter(|(_, column)| matches!(column, Column::Categorical { .. } | Column::Text(_)))
        .filter(|(name, column)| Judged::of(name, &column.to_text(), genes, naming).has_control)
        .map(|(name, _)| format!("`{name}` has control labels: --perturbation-column {name}"))
        .collect();
    let found = if no_names.is_empty() { String::new() } else { format!(" ({}, not names)", no_names.join(", ")) };
    let hint = if with_control.is_empty() { String::new() } else { format!(" ({})", with_control.join("; ")) };
    Error::data(format!(
        "there is no perturbation column (`perturbation`, `condition`, `gene`, …){found}; {}{hint}; name the one to use by \
         --perturbation-column",
        listed(obs)
    ))
}

/// What a column holds, in words.
pub(super) fn kind(column: &Column) -> String {
    let what = match column {
        Column::Boolean(_) => "truth values",
        Column::Integer(_) => "whole numbers",
        Column::Float(_) => "numbers",
        Column::Categorical { .. } | Column::Text(_) => "text",
    };
    let mut values: Vec<String> = column.to_text().into_iter().flatten().collect();
    values.sort();
    values.dedup();
    format!("{what} ({})", few(&values))
}

/// The columns of obs, those of text first.
fn listed(obs: &Table) -> String {
    let is_text = |column: &Column| matches!(column, Column::Categorical { .. } | Column::Text(_));
    let names = |text: bool| -> Vec<String> {
        obs.columns.iter().filter(|(_, column)| is_text(column) == text).map(|(name, _)| name.clone()).collect()
    };
    let (text, numbers) = (names(true), names(false));
    match (text.is_empty(), numbers.is_empty()) {
        (true, true) => {
            "the columns of obs are none at all (--obs FILE.csv gives cells the columns of a table)".to_owned()
        }
        (true, false) => format!("the columns of obs hold numbers or truth values ({}), none text", numbers.join(", ")),
        (false, true) => format!("the columns of obs are {}", text.join(", ")),
        (false, false) => {
            format!("the columns of obs are {} (text), {} (numbers)", text.join(", "), numbers.join(", "))
        }
    }
}
