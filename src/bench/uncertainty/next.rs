//! Which experiment should be made next.

use crate::{
    Result,
    bench::Task,
    data::{Condition, Perturbation},
    model::{
        combination::CombinationModel,
        latent_diffusion::{Novelty, Spread},
    },
};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Most pairs of perturbed genes that are ranked for the next experiment, in the order of their names.
const MOST_PAIRS: usize = 20_000;
/// Pairs that are predicted at once.
const PAIRS_AT_ONCE: usize = 256;

/// The pairs of perturbed genes that were not trained on, the least known first; none where no spread is known.
///
/// The expected error of a [`Spread`] depends on the size of the predicted effect and on its novelty, which is the same for all
/// pairs. So the order is that of the sizes, whatever the slope; with a slope near 0 the errors themselves are nearly equal, see
/// [`order_note`].
pub(super) fn next(
    model: &CombinationModel,
    spread: Result<&Spread, &str>,
    task: &Task,
) -> Result<Vec<NextExperiment>> {
    let Ok(spread) = spread else { return Ok(Vec::new()) };
    let genes: Vec<&String> = model.perturbed().collect();
    let known: HashSet<&Perturbation> = task.training.effects()?.conditions.iter().map(|c| &c.perturbation).collect();
    let all = genes.iter().enumerate().flat_map(|(i, a)| genes[i + 1..].iter().map(move |b| [a.as_str(), b.as_str()]));
    let pairs: Vec<Condition> =
        all.map(Perturbation::of).filter(|pair| !known.contains(pair)).map(Condition::of).take(MOST_PAIRS).collect();
    let mut candidates = Vec::with_capacity(pairs.len());
    for pairs in pairs.chunks(PAIRS_AT_ONCE) {
        for (pair, effect) in pairs.iter().zip(model.effects(pairs)?.rows()) {
            // Without a combination in training no spread of one is known, and none can be ranked.
            let Ok(error) = spread.expected_error(effect, Novelty::Combination) else { return Ok(Vec::new()) };
            let size = (effect.dot(&effect) / effect.len().max(1) as f64).sqrt();
            candidates.push((pair.to_string(), error, size));
        }
    }
    Ok(next_experiments(candidates))
}

/// A perturbation that was not measured, and how informative its experiment would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextExperiment {
    /// Its name.
    pub perturbation: String,
    /// How far the prediction is expected to be off, root mean square over genes.
    pub expected_error: f64,
    /// Size of the predicted effect, root mean square over genes.
    pub effect: f64,
    /// `expected_error` as a share of `effect`: near or above 1 the prediction says little.
    pub relative: f64,
}

/// Expected errors that differ by no more than this share of the largest are called nearly the same; a choice.
const EQUAL_ERRORS: f64 = 0.05;

/// What to know before the first experiments of a ranking are made, one sentence: that the order is by predicted effect alone
/// where all expected errors are nearly the same (the slope of the error on the effect is near 0). `None` where they differ.
pub fn order_note(ranked: &[NextExperiment]) -> Option<String> {
    let errors = || ranked.iter().map(|next| next.expected_error);
    let (low, high) = (errors().fold(f64::INFINITY, f64::min), errors().fold(f64::NEG_INFINITY, f64::max));
    (ranked.len() > 1 && high - low <= EQUAL_ERRORS * high).then(|| {
        format!(
            "The expected errors are nearly the same for all {} pairs ({low:.3} to {high:.3}): the order is that of the predicted \
             effects, the largest first, and says nothing of what is least known.",
            ranked.len()
        )
    })
}

/// Perturbations by how informative their experiment would be, most first. An experiment removes the expected error of the
/// prediction (in units of expression), so the largest error comes first (uncertainty sampling; Settles 2009), and among equal
/// errors the larger effect.
///
/// Each is a name, an expected error and the size of the predicted effect, root mean squares over genes; those that are
/// not finite are left out.
pub fn next_experiments(candidates: impl IntoIterator<Item = (String, f64, f64)>) -> Vec<NextExperiment> {
    let mut ranked: Vec<NextExperiment> = candidates
        .into_iter()
        .filter(|(_, error, effect)| error.is_finite() && effect.is_finite())
        .map(|(perturbation, expected_error, effect)| {
            let relative = expected_error / effect.max(1e-12);
            NextExperiment { perturbation, expected_error, effect, relative }
        })
        .collect();
    ranked.sort_by(|a, b| {
        let by_error = b.expected_error.total_cmp(&a.expected_error);
        by_error.then(b.effect.total_cmp(&a.effect)).then(a.perturbation.cmp(&b.perturbation))
    });
    ranked
}
