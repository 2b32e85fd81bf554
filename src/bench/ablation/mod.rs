//! What is each part of the JEPA good for? The model with one thing changed at a time, over several seeds.
//!
//! | file | data | judged by |
//! |---|---|---|
//! | `effects` | effects: level 0 | unseen doubles: L2, its ratio to additive, median Pearson |
//! | `cells` | cells: pretraining | held-out cells: linear probe, kNN purity, effective rank |
//!
//! A seed draws the split, the weights and the training. Rows are compared over the same seeds.

mod cells;
mod effects;

pub use cells::ablate_cells;
pub use effects::ablate_effects;

use crate::Result;
use crate::show::{Align, Grid};
use serde::Serialize;

/// One variant on one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// What was changed.
    pub variant: String,
    /// Of split, weights and training.
    pub seed: u64,
    /// Name and value of each figure, in the order of the table; none where the training failed.
    pub figures: Vec<(&'static str, f64)>,
    /// Why there are none: a collapse, most likely.
    pub failure: Option<String>,
}

/// All trials of a model on a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablation {
    /// The data file.
    pub dataset: String,
    /// In the order in which they were made: the unchanged model first.
    pub trials: Vec<Trial>,
}

impl Ablation {
    /// A row a variant: mean and standard deviation over the seeds.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn table(&self) -> Result<Grid> {
        let names: Vec<&str> = self
            .trials
            .iter()
            .find(|trial| trial.failure.is_none())
            .map_or(Vec::new(), |trial| trial.figures.iter().map(|(name, _)| *name).collect());
        let headings = std::iter::once(("variant", Align::Left)).chain(names.iter().map(|name| (*name, Align::Right)));
        let mut grid = Grid::new(format!("mean ± standard deviation over seeds, {}", self.dataset), headings);
        for variant in self.variants() {
            let trials = || self.trials.iter().filter(|trial| trial.variant == variant);
            let mut row = vec![variant.to_owned()];
            for name in &names {
                let values: Vec<f64> = trials()
                    .filter_map(|trial| trial.figures.iter().find(|(known, _)| known == name).map(|(_, value)| *value))
                    .collect();
                let failed = trials().filter(|trial| trial.failure.is_some()).count();
                row.push(spread(&values, failed));
            }
            grid.push(row)?;
        }
        Ok(grid)
    }

    /// The variants, in the order of the trials.
    pub fn variants(&self) -> Vec<&str> {
        let mut seen: Vec<&str> = Vec::new();
        for trial in &self.trials {
            if !seen.contains(&trial.variant.as_str()) {
                seen.push(&trial.variant);
            }
        }
        seen
    }
}

/// `0.812 ± 0.004`, or how many trainings failed.
fn spread(values: &[f64], failed: usize) -> String {
    let n = values.len() as f64;
    let note = if failed > 0 { format!(" ({failed} failed)") } else { String::new() };
    if values.is_empty() {
        return if failed > 0 { format!("{failed} failed") } else { "-".to_owned() };
    }
    let mean = values.iter().sum::<f64>() / n;
    let digits = if mean.abs() >= 100.0 { 1 } else { 3 };
    if values.len() < 2 {
        return format!("{mean:.digits$}{note}");
    }
    let sd = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    format!("{mean:.digits$} ± {sd:.digits$}{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_a_variant_and_failures_are_counted() {
        let trial = |variant: &str, seed, value: Option<f64>| Trial {
            variant: variant.to_owned(),
            seed,
            figures: value.map(|value| ("L2", value)).into_iter().collect(),
            failure: value.is_none().then(|| "collapsed".to_owned()),
        };
        let trials = vec![
            trial("all", 0, Some(1.0)),
            trial("no EMA", 0, None),
            trial("all", 1, Some(3.0)),
            trial("no EMA", 1, Some(2.0)),
        ];
        let ablation = Ablation { dataset: "x".to_owned(), trials };
        assert_eq!(ablation.variants(), ["all", "no EMA"]);
        let text = ablation.table().expect("a table").to_string();
        assert!(text.contains("2.000 ± 1.414") && text.contains("2.000 (1 failed)"), "{text}");
    }
}
