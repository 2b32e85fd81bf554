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
