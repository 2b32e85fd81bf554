//! What each label of a file was read as: the table that a user checks before anything is trained.

use super::rules::Reading;
use std::fmt;

/// Labels shown because they are frequent.
const FREQUENT: usize = 8;
/// Labels shown because they were read as something else than they say.
const ODD: usize = 12;

/// The labels of the perturbation column and what they were read as.
#[derive(Debug, Clone)]
pub struct ReadAs {
    /// The column of `obs`.
    pub column: String,
    /// The distinct labels, the most frequent first.
    pub labels: Vec<ReadLabel>,
    /// What was found out about the column and its labels, a sentence each.
    pub notes: Vec<String>,
}

/// One label.
#[derive(Debug, Clone)]
pub struct ReadLabel {
    /// As it stands in the file; `None` where missing.
    pub label: Option<String>,
    /// `A+B`, `control`, `no label` or `left out`.
    pub read_as: String,
    /// Number of cells with it.
    pub cells: usize,
    /// Number of genes; 0 for control; `None` for cells that are not used.
    pub genes: Option<usize>,
}

impl ReadLabel {
    pub(super) fn new(label: Option<String>, cells: usize, reading: &Reading) -> Self {
        let (read_as, genes) = match reading {
            Reading::Perturbed(read) => (read.to_string(), Some(read.genes().len())),
            Reading::Unlabelled => ("no label".to_owned(), None),
            Reading::Dropped => ("left out".to_owned(), None),
        };
        Self { label, read_as, cells, genes }
    }

    /// The label as a user would type it.
    pub(super) fn shown(&self) -> String {
        self.label.as_deref().map_or_else(|| "NaN".to_owned(), |label| format!("{label:?}"))
    }
}

impl ReadAs {
    /// Labels and cells of those with a number of genes that `fits`.
    fn number(&self, fits: impl Fn(Option<usize>) -> bool) -> (usize, usize) {
        let of = || self.labels.iter().filter(|label| fits(label.genes));
        (of().count(), of().map(|label| label.cells).sum())
    }

    /// One line: how many labels and cells are single and combined perturbations, control, and without a label.
    pub fn summary(&self) -> String {
        let part = |name: &str, fits: &dyn Fn(Option<usize>) -> bool| {
            let (labels, cells) = self.number(fits);
            format!("{labels} {name} ({cells} cells)")
        };
        [
            part("single", &|genes| genes == Some(1)),
            part("combined", &|genes| genes.is_some_and(|n| n > 1)),
            part("control", &|genes| genes == Some(0)),
            part("without a label or left out", &|genes| genes.is_none()),
        ]
        .join(", ")
    }
}

impl fmt::Display for ReadAs {
    /// The most frequent labels, then those that were read as something else than they say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let odd = |label: &&ReadLabel| label.label.as_deref() != Some(label.read_as.as_str());
        let (first, rest) = self.labels.split_at(self.labels.len().min(FREQUENT));
        let shown: Vec<&ReadLabel> = first.iter().chain(rest.iter().filter(odd).take(ODD)).collect();
        let width = shown.iter().map(|label| label.shown().chars().count()).max().unwrap_or(0).clamp(5, 40);
        writeln!(f, "  labels of `{}`: {}", self.column, self.summary())?;
        writeln!(f, "    {:<width$}  {:>7}  read as", "label", "cells")?;
        for label in &shown {
            writeln!(f, "    {:<width$}  {:>7}  {}", label.shown(), label.cells, label.read_as)?;
        }
        match self.labels.len() - shown.len() {
            0 => Ok(()),
            more => writeln!(f, "    … and {more} more"),
        }
    }
}
