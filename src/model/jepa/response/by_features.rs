//! Predictions of perturbations that were never measured alone, by the weights of [`Unseen`](super::Unseen).

use super::{
    decoder::GAIN,
    fit::Response,
    measured::Hidden,
    source::{Asked, StartCells},
    unseen::{FeatureChoice, alone, kinds},
};
use crate::{
    Error, Result,
    data::{Condition, Perturbation, dose::name_and_dose},
    nn::ops,
};
use dfdx::prelude::NoneTape;
use ndarray::{Array1, Array2, Axis};

/// What features are given by.
const OPTIONS: &str = "--gene-sets, --regulons, --co-expression or --perturbation-features";

/// Perturbations of a condition apart.
struct Parts {
    /// With those that were measured only.
    known: Condition,
    /// The rows of the others.
    unseen: Vec<usize>,
}

impl Response {
    /// The perturbations of a condition that were measured, and those that are known by features alone; `None` where there is none
    /// of the latter.
    fn parted(&self, condition: &Condition) -> Option<Parts> {
        let unseen = self.unseen.as_ref()?;
        let row = |name: &String| if self.measured.reaches(name) { None } else { unseen.row(name) };
        let names = condition.perturbation.genes();
        let rows: Vec<usize> = names.iter().filter_map(row).collect();
        let known = Perturbation::of(names.iter().filter(|name| row(name).is_none()).cloned());
        let known = Condition { perturbation: known, context: condition.context.clone() };
        (!rows.is_empty()).then_some(Parts { known, unseen: rows })
    }

    /// Whether a perturbation can be predicted: it was measured alone, or has features.
    pub(in crate::model::jepa) fn reaches(&self, name: &str) -> bool {
        self.measured.reaches(name) || self.unseen.as_ref().is_some_and(|unseen| unseen.row(name).is_some())
    }

    /// Checks that a condition can be predicted.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind): genes that were never perturbed alone and have no features, all named, with
    /// what to do; a dose beyond those of training.
    pub(in crate::model::jepa) fn check(&self, condition: &Condition) -> Result<()> {
        let known = self.parted(condition).map_or_else(|| condition.clone(), |parts| parts.known);
        let beyond_doses = |name: &str| self.measured.dose_range(name_and_dose(name).0).is_some();
        let is_unknown = |name: &String| !self.measured.reaches(name) && !beyond_doses(name);
        let unknown = known.perturbation.genes().iter().any(is_unknown);
        self.measured.check(&known).map_err(|error| match (unknown, &self.unseen) {
            (false, _) => error,
            (true, None) => Error::inapplicable(format!(
                "{error}; a jepa knows what was never perturbed by its features only: train with {OPTIONS}"
            )),
            (true, Some(unseen)) => Error::inapplicable(format!(
                "{error}, and the features that the model was trained with ({}) do not name it: train with others, by {OPTIONS}",
                kinds(&unseen.choice.given)
            )),
        })
    }

    /// What the prediction of a perturbation that was never measured rests on; `None` for one that was.
    pub(in crate::model::jepa) fn rests_on(&self, name: &str) -> Option<String> {
        let unseen = self.unseen.as_ref().filter(|_| !self.measured.reaches(name))?;
        let row = unseen.row(name)?;
        let numbers = unseen.nearest.row(row);
        let alike: Vec<&str> = numbers
            .iter()
            .filter(|number| **number >= 0.0)
            .map(|&number| self.measured.genes[number as usize].as_str())
            .collect();
        let FeatureChoice { used, trained, .. } = &unseen.choice;
        Some(match alike.as_slice() {
            [] => format!(
                "{name} was never perturbed in training: predicted by the mean effect of the {trained} perturbations that were"
            ),
            alike => format!(
                "{name} was never perturbed in training: predicted by {}, in which it is most like {}",
                kinds(used),
                alike.join(", ")
            ),
        })
    }

    /// As [`Self::moved`], for a condition with perturbations that are known by features alone; `None` for another.
    ///
    /// # Errors
    /// As there.
    pub(super) fn moved_by_features(&self, start: &StartCells, condition: &Condition) -> Result<Option<Array2<f32>>> {
        let (Some(parts), Some(unseen)) = (self.parted(condition), &self.unseen) else { return Ok(None) };
        let several = condition.perturbation.genes().len() > 1;
        let factor = if several { self.share.factor as f32 } else { 1.0 };
        // A combination of the known ones has the factor already.
        let of_known = if parts.known.perturbation.genes().len() == 1 { factor } else { 1.0 };
        let mut moved = &start.z + &((self.moved(start, &parts.known)? - &start.z) * of_known);
        let weights = unseen.weights.select(Axis(0), &parts.unseen).sum_axis(Axis(0)); // (trained genes,)
        for (gene, &weight) in self.measured.genes.iter().zip(&weights) {
            let shift = self.moved(start, &alone(gene, &condition.context))? - &start.z;
            moved.scaled_add(factor * weight, &shift);
        }
        Ok(Some(moved))
    }

    /// As [`Self::own`], for the same conditions.
    ///
    /// # Errors
    /// As there.
    pub(super) fn own_by_features(&self, condition: &Condition) -> Result<Option<Array1<f32>>> {
        let (Some(parts), Some(unseen)) = (self.parted(condition), &self.unseen) else { return Ok(None) };
        let mut own = self.own(&parts.known)?;
        let measured = self.reference.data.gene_names();
        for &row in &parts.unseen {
            if let Some(column) = measured.iter().position(|gene| *gene == unseen.names[row]) {
                own[column] += GAIN * unseen.own;
            }
        }
        Ok(Some(own))
    }

    /// e of a condition, of `width` features, summed over its perturbations; an unseen one has the weighted sum of the trained genes'.
    ///
    /// # Errors
    /// As [`Self::moved`].
    pub(in crate::model::jepa) fn embedding(&self, condition: &Condition, width: usize) -> Result<Array1<f32>> {
        let of = |condition: &Condition| -> Result<Array1<f32>> {
            let tokens = self.measured.tokens(condition, Hidden::Nothing)?;
            let embedded = self.predictor.embedded::<NoneTape>(&Asked::of([(1, &tokens)]))?; // (genes, width)
            Ok(ops::download(&embedded).sum_axis(Axis(0)))
        };
        let (known, weights) = match (self.parted(condition), &self.unseen) {
            (Some(parts), Some(unseen)) => {
                (parts.known, Some(unseen.weights.select(Axis(0), &parts.unseen).sum_axis(Axis(0))))
            }
            _ => (condition.clone(), None),
        };
        let mut sum = match known.perturbation.is_control() {
            true => Array1::zeros(width),
            false => of(&known)?,
        };
        for (gene, &weight) in self.measured.genes.iter().zip(weights.iter().flatten()) {
            sum.scaled_add(weight, &of(&alone(gene, &condition.context))?);
        }
        Ok(sum)
    }
}
