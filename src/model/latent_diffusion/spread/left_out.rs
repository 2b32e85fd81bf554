//! Predictions of training conditions that were left out of the fit, beside what was observed of them.

use crate::{
    ErrorKind, Result,
    data::{Condition, EffectTable, part_of, shuffle},
    model::combination::CombinationModel,
};
use ndarray::{Array1, Array2};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What predicts mean effects.
pub trait MeanPredictor {
    /// The mean effects of conditions, `(conditions, genes)`.
    ///
    /// # Errors
    /// A condition that it cannot predict: [`ErrorKind::Inapplicable`].
    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>>;
}

impl MeanPredictor for CombinationModel {
    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.effects(conditions)
    }
}

/// Why a condition has to be predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Novelty {
    /// Its genes were perturbed in training, but never together.
    Combination,
    /// A gene of it was never perturbed in training.
    UnseenGene,
}

/// Observed effects beside what was predicted of them by fits that had not seen them.
#[derive(Debug, Clone)]
pub struct LeftOut {
    /// Why each had to be predicted.
    pub novelty: Vec<Novelty>,
    /// `(conditions, genes)`.
    pub predicted: Array2<f64>,
    /// Observed minus predicted, `(conditions, genes)`.
    pub residuals: Array2<f64>,
}

/// Leaves parts of the training fold out in turn, fits without them and predicts them: the combinations, and the genes
/// (with every condition that perturbs them). What a fit cannot predict is passed over.
///
/// # Errors
/// Those of `fit` and of its predictions, other than being inapplicable.
pub fn leave_out<M: MeanPredictor>(
    data: &EffectTable,
    folds: usize,
    seed: u64,
    fit: impl Fn(&EffectTable) -> Result<M>,
) -> Result<LeftOut> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let genes = |row: usize| data.conditions[row].perturbation.genes();
    let mut combinations: Vec<usize> = (0..data.conditions.len()).filter(|&row| genes(row).len() > 1).collect();
    shuffle(&mut combinations, &mut rng);
    let mut single: Vec<&String> =
        data.conditions.iter().flat_map(|c| c.perturbation.genes()).collect::<BTreeSet<_>>().into_iter().collect();
    shuffle(&mut single, &mut rng);
    let width = data.effects.ncols();
    let mut left =
        LeftOut { novelty: Vec::new(), predicted: Array2::zeros((0, width)), residuals: Array2::zeros((0, width)) };
    for fold in 0..folds {
        let out = part_of(&combinations, fold, folds);
        left.fold(data, &out, &out, Novelty::Combination, &fit)?;
        let unseen: BTreeSet<&String> = part_of(&single, fold, folds).into_iter().collect();
        let hit: Vec<usize> =
            (0..data.conditions.len()).filter(|&row| genes(row).iter().any(|gene| unseen.contains(gene))).collect();
        let alone: Vec<usize> = hit.iter().copied().filter(|&row| genes(row).len() == 1).collect();
        left.fold(data, &hit, &alone, Novelty::UnseenGene, &fit)?;
    }
    Ok(left)
}

impl LeftOut {
    /// Predicts the conditions `judged` by a fit without the conditions `out`.
    fn fold<M: MeanPredictor>(
        &mut self,
        data: &EffectTable,
        out: &[usize],
        judged: &[usize],
        novelty: Novelty,
        fit: &impl Fn(&EffectTable) -> Result<M>,
    ) -> Result<()> {
        let kept: Vec<usize> = (0..data.conditions.len()).filter(|row| !out.contains(row)).collect();
        if judged.is_empty() || kept.is_empty() {
            return Ok(());
        }
        let Some(model) = applicable(fit(&data.select(&kept)))? else { return Ok(()) };
        for &row in judged {
            let Some(predicted) = applicable(model.effects(std::slice::from_ref(&data.conditions[row])))? else {
                continue;
            };
            let predicted = predicted.row(0);
            let residual: Array1<f64> =
                data.effects.row(row).iter().zip(predicted).map(|(&seen, said)| f64::from(seen) - said).collect();
            self.novelty.push(novelty);
            self.predicted.push_row(predicted).expect("an effect has a value per gene");
            self.residuals.push_row(residual.view()).expect("an effect has a value per gene");
        }
        Ok(())
    }
}

/// `None` for what is inapplicable.
pub(in crate::model::latent_diffusion) fn applicable<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::Inapplicable => Ok(None),
        Err(error) => Err(error),
    }
}
