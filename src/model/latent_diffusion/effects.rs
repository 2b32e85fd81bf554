//! Mean effects with their uncertainty: the combination model's prediction, and draws around it.

use super::spread::{MeanPredictor, Novelty, Spread, SpreadConfig, leave_out};
use crate::{
    Error, Result,
    data::{Condition, EffectTable},
    model::combination::{CombinationConfig, CombinationModel},
    train::{History, Run},
};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Settings of an [`EffectDiffusion`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EffectDiffusionConfig {
    /// What predicts the mean.
    pub combination: CombinationConfig,
    /// What predicts how far it is off.
    pub spread: SpreadConfig,
}

impl EffectDiffusionConfig {
    /// Fits the combination model to mean effects, and ends between two fits once `run` is interrupted.
    pub(super) fn fit_mean(&self, data: &EffectTable, run: &Run<'_>) -> Result<CombinationModel> {
        run.check_interrupt()?;
        let inner = Run { interrupt: run.interrupt.clone(), ..Run::quiet(run.seed) };
        CombinationModel::fit_table(data, &self.combination, &inner)
    }

    /// Fits the distribution of what the combination model misses where it has to predict; as the part `spread` of `run`.
    pub(super) fn fit_spread(&self, data: &EffectTable, run: &Run<'_>) -> Result<(Spread, History)> {
        let left = leave_out(data, self.spread.folds, run.seed, |fold| self.fit_mean(fold, run))?;
        Spread::fit(&left, &self.spread, run.seed, &mut run.part("spread"))
    }
}

/// The combination model of mean effects, and the distribution of what it misses.
///
/// The draws are about the *mean* effect of a perturbation: what the predictor does not know (epistemic), not how cells
/// differ from each other.
#[derive(Debug, Clone)]
pub struct EffectDiffusion {
    pub(super) combination: CombinationModel,
    pub(super) spread: Spread,
}

impl EffectDiffusion {
    /// Fits to mean effects. The diffusion's training is the part `spread` of `run`.
    ///
    /// # Errors
    /// As [`CombinationModel::fit_table`] and [`Spread::fit`].
    pub fn fit(data: &EffectTable, config: &EffectDiffusionConfig, run: &Run<'_>) -> Result<Self> {
        Ok(Self::around(config.fit_mean(data, run)?, data, config, run)?.0)
    }

    /// As [`Self::fit`], around a combination model that was fitted to the same data. The history is that of the spread's
    /// diffusion, which is all that is trained here.
    ///
    /// # Errors
    /// As [`Spread::fit`].
    pub fn around(
        combination: CombinationModel,
        data: &EffectTable,
        config: &EffectDiffusionConfig,
        run: &Run<'_>,
    ) -> Result<(Self, History)> {
        let (spread, history) = config.fit_spread(data, run)?;
        Ok((Self { combination, spread }, history))
    }

    /// What predicts the mean.
    pub fn mean(&self) -> &CombinationModel {
        &self.combination
    }

    /// What is drawn around it.
    pub fn spread(&self) -> &Spread {
        &self.spread
    }

    /// Why a condition has to be predicted; `None` where it has not: control, and single perturbations that were
    /// trained on.
    ///
    /// # Errors
    /// Genes that nothing is known of, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn novelty(&self, condition: &Condition) -> Result<Option<Novelty>> {
        self.combination.check(std::slice::from_ref(condition))?;
        let perturbed: BTreeSet<&String> = self.combination.perturbed().collect();
        let genes = condition.perturbation.genes();
        Ok(match genes {
            genes if genes.iter().any(|gene| !perturbed.contains(gene)) => Some(Novelty::UnseenGene),
            [] | [_] => None,
            _ => Some(Novelty::Combination),
        })
    }

    /// Draws of the mean effect of a condition, `(n, genes)`; their mean is the combination model's prediction.
    ///
    /// # Errors
    /// Genes that nothing is known of; a condition whose effect was measured in training, so that there is nothing to
    /// draw: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn draws(&self, condition: &Condition, n: usize, seed: u64) -> Result<Array2<f64>> {
        let Some(novelty) = self.novelty(condition)? else {
            return Err(Error::inapplicable(format!(
                "{condition} is control or was trained on as a single perturbation: its effect is the measured one, and \
                 has no predicted spread"
            )));
        };
        let predicted = MeanPredictor::effects(&self.combination, std::slice::from_ref(condition))?;
        self.spread.draws(predicted.row(0), novelty, n, seed)
    }

    /// How far the prediction of a condition is expected to be off, root mean square over genes: 0 where its effect was
    /// measured in training.
    ///
    /// # Errors
    /// Genes that nothing is known of: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn expected_error(&self, condition: &Condition) -> Result<f64> {
        match self.novelty(condition)? {
            None => Ok(0.0),
            Some(novelty) => {
                let predicted: Array1<f64> = self.combination.effect(condition)?;
                self.spread.expected_error(predicted.view(), novelty)
            }
        }
    }
}
