//! What a VAE is made from, as `model.json` holds it.

use super::{
    config::{Likelihood, VaeConfig},
    encoding::DoseRange,
    vocabulary::Vocabulary,
};
use crate::{Error, Result, data::DataKind};
use serde::{Deserialize, Serialize};

/// The description in `model.json`, and what a new network is made from.
#[derive(Serialize, Deserialize)]
pub(super) struct Description {
    pub config: VaeConfig,
    pub vocabulary: Vocabulary,
    pub trained_on: DataKind,
    pub with_remainder: bool,
}

impl Description {
    /// Checks a description from a file whose arrays hold `n_values` values in total, before a network is made from it.
    pub fn check(&self, n_values: usize) -> Result<()> {
        let edited = |what: &str| Err(Error::data(format!("model.json is damaged or was edited: {what}; train again")));
        self.config.validate()?;
        if self.trained_on == DataKind::Effects && self.config.likelihood != Likelihood::Gaussian {
            return edited("a model of effects has a likelihood of counts");
        }
        let (mean, deviation) = self.vocabulary.log_library;
        if !(mean.is_finite() && deviation.is_finite() && deviation > 0.0) {
            return edited("log_library must be finite, with a deviation above 0");
        }
        let doses = &self.vocabulary.doses;
        let is_range =
            |range: &DoseRange| range.lowest > 0.0 && range.lowest <= range.highest && range.highest.is_finite();
        if !doses.is_empty() && (doses.len() != self.vocabulary.perturbed.len() || !doses.iter().all(is_range)) {
            return edited("the doses are no range above 0 for each perturbed gene");
        }
        if !self.vocabulary.covariates.is_sound() {
            return edited("a covariate has no level, or a deviation that is not above 0");
        }
        if !self.vocabulary.perturbed.is_sorted() {
            return edited("the perturbed genes are not sorted");
        }
        match self.n_main_weights() {
            Some(weights) if weights <= n_values => Ok(()),
            _ => edited("the network that it describes is larger than its arrays"),
        }
    }

    /// Weights of the largest layers; `None` if there are more than can be counted.
    fn n_main_weights(&self) -> Option<usize> {
        let VaeConfig { latent, condition, hidden, .. } = &self.config;
        let (genes, perturbed) = (self.vocabulary.genes.len(), self.vocabulary.perturbed.len());
        let inputs = [(perturbed.max(1), *condition), (self.vocabulary.covariates.width(), *condition)];
        let mut layers = vec![(genes, *hidden.first()?), (*latent, *hidden.last()?)];
        layers.extend(inputs);
        layers.extend(hidden.windows(2).map(|pair| (pair[0], pair[1])));
        layers.into_iter().try_fold(0_usize, |sum, (rows, columns)| sum.checked_add(rows.checked_mul(columns)?))
    }
}
