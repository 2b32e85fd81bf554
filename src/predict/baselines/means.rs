//! Means of training effects.

use super::answer;
use crate::{
    Error, Result,
    data::Condition,
    data::{EffectTable, TrainingData},
    predict::{Fitted, Predictor},
};
use ndarray::Array1;

/// The mean training effect, for every condition: over the training conditions of the same context, or over all where
/// that context has none. Each condition counts once, whatever its number of cells (systema's centroid; GEARS issue 82
/// shows that it is hard to beat under a Pearson against control).
#[derive(Debug, Clone, Copy)]
pub struct Mean;

impl Predictor for Mean {
    fn name(&self) -> &str {
        "mean"
    }

    fn description(&self) -> &str {
        "The mean effect of the training perturbations, for every condition"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        if training.conditions.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        let training = training.clone();
        answer(move |condition| Ok(mean_near(&training, condition, |_| true).expect("there is a training condition")))
    }
}

/// The mean effect of the training perturbations of several genes, for every condition; contexts as [`Mean`].
#[derive(Debug, Clone, Copy)]
pub struct MeanDoubles;

impl Predictor for MeanDoubles {
    fn name(&self) -> &str {
        "mean_doubles"
    }

    fn description(&self) -> &str {
        "The mean effect of the training perturbations of several genes, for every such condition"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let several = |condition: &Condition| condition.perturbation.genes().len() > 1;
        if !training.conditions.iter().any(several) {
            return Err(Error::inapplicable("no perturbation of several genes was trained on"));
        }
        let training = training.clone();
        answer(move |condition| match several(condition) {
            true => Ok(mean_near(&training, condition, several).expect("there is such a training condition")),
            false => Err(Error::inapplicable("the mean of doubles is no prediction for one gene")),
        })
    }
}

/// The mean (not the sum) of the single effects: systema's matching mean (Vinas Torne et al. 2025,
/// `run_matching-mean.py`). A gene whose single effect was not trained counts as the mean training effect, so that it
/// always has an answer; for one unseen gene that is [`Mean`].
#[derive(Debug, Clone, Copy)]
pub struct MatchingMean;

impl Predictor for MatchingMean {
    fn name(&self) -> &str {
        "matching_mean"
    }

    fn description(&self) -> &str {
        "The mean of the single effects, an unseen gene's being the mean training effect (systema)"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        if training.conditions.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        let training = training.clone();
        answer(move |condition| {
            let genes = condition.perturbation.genes();
            let mut sum = Array1::<f64>::zeros(training.genes.len());
            for gene in genes {
                match training.single(gene, condition.context.as_deref()) {
                    Ok(effect) => sum.zip_mut_with(&effect, |sum, &value| *sum += f64::from(value)),
                    Err(_) => sum += &mean_near(&training, condition, |_| true).expect("there is one"),
                }
            }
            Ok(sum / genes.len().max(1) as f64)
        })
    }
}

/// Mean over the wanted training conditions of the same context, else of all contexts; `None` if there is none.
fn mean_near(training: &EffectTable, to: &Condition, wanted: impl Fn(&Condition) -> bool) -> Option<Array1<f64>> {
    training.mean_where(|c| c.context == to.context && wanted(c)).or_else(|| training.mean_where(&wanted))
}
