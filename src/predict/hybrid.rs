//! Cells of the JEPA, shifted gene by gene by the difference of two predicted effects and cut off at 0.
//!
//! ```text
//! y = max(0, y_jepa + (effect_other - effect_jepa))        (cells, genes), log-normalised expression
//! ```
//!
//! The spread and shape of a population are the JEPA's. Its effect is that of a predictor that is strong in means: the
//! combination model for several genes, and for one gene the effects measured in other contexts, weighted by the similarity of
//! their control cells ([`SimilarityWeighted`]; the measured effect itself where there is one, or where there is one context).

use super::{
    Fitted, ModelPredictor, Predictor,
    baselines::{Additive, SimilarityWeighted},
};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, DataKind, FeatureSources, TrainingData},
    device::Device,
    model::{SettingsFile, combination::CombinationModel, jepa::Jepa},
};
use ndarray::{Array1, Array2};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// The hybrid as a predictor: see the module.
pub struct Hybrid {
    jepa: ModelPredictor,
    combination: ModelPredictor,
}

impl Default for Hybrid {
    fn default() -> Self {
        Self {
            jepa: ModelPredictor::new::<Jepa>("jepa", &[DataKind::Cells]),
            combination: ModelPredictor::new::<CombinationModel>("combination", &[DataKind::Effects, DataKind::Cells]),
        }
    }
}

impl Predictor for Hybrid {
    fn name(&self) -> &str {
        "jepa_hybrid"
    }

    fn description(&self) -> &str {
        "The JEPA's cells, moved to the mean of the combination model or of similarity_weighted"
    }

    fn settings(&self) -> Value {
        json!({ "jepa": self.jepa.settings(), "combination": self.combination.settings() })
    }

    /// Settings are the JEPA's.
    fn configure(&mut self, file: &SettingsFile) -> Result<()> {
        self.jepa.configure(file)
    }

    fn set_gene_sets(&mut self, file: &Path) {
        self.combination.set_gene_sets(file);
    }

    fn set_features(&mut self, sources: &FeatureSources) {
        self.jepa.set_features(sources);
        self.combination.set_features(sources);
    }

    fn set_device(&mut self, device: Device) -> Result<()> {
        self.jepa.set_device(device)?;
        self.combination.set_device(device)
    }

    fn set_interrupt(&mut self, flag: &Arc<AtomicBool>) {
        self.jepa.set_interrupt(flag);
        self.combination.set_interrupt(flag);
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        if data.cells.is_none() {
            return Err(Error::inapplicable("an effects dataset has no cells to train a model of cells on"));
        }
        let of_one = match SimilarityWeighted.fit(data) {
            // With one context a single perturbation has its measured effect.
            Err(error) if error.kind() == ErrorKind::Inapplicable => Additive.fit(data)?,
            fitted => fitted?,
        };
        Ok(Box::new(FittedHybrid { cells: self.jepa.fit(data)?, of_several: self.combination.fit(data)?, of_one }))
    }
}

struct FittedHybrid {
    cells: Box<dyn Fitted>,
    of_several: Box<dyn Fitted>,
    of_one: Box<dyn Fitted>,
}

impl Fitted for FittedHybrid {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        match condition.perturbation.genes().len() {
            0 | 1 => self.of_one.effect(condition),
            _ => self.of_several.effect(condition),
        }
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let cells = self.cells.cells(condition, n, seed)?;
        let moved = || {
            let shift = self.effect(condition)? - self.cells.effect(condition)?;
            Ok((cells? + &shift).mapv(|value| value.max(0.0)))
        };
        Some(moved())
    }
}
