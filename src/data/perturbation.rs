//! A perturbation is a set of genes: `A+B` is `B+A`, and control is the empty set.

use std::fmt;

/// A set of perturbed genes, sorted; empty for control.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Perturbation(Vec<String>);

impl Perturbation {
    /// The unperturbed cell.
    pub fn control() -> Self {
        Self::default()
    }

    /// The set of these genes; order and repetition do not matter.
    pub fn of<S: Into<String>>(genes: impl IntoIterator<Item = S>) -> Self {
        let mut genes: Vec<String> = genes.into_iter().map(Into::into).collect();
        genes.sort();
        genes.dedup();
        Self(genes)
    }

    /// The perturbed genes, sorted.
    pub fn genes(&self) -> &[String] {
        &self.0
    }

    /// Whether nothing is perturbed.
    pub fn is_control(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_control() { f.write_str("control") } else { f.write_str(&self.0.join("+")) }
    }
}
