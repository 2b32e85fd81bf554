//! Doses between those that were trained on.
//!
//! Each dose of a name is a token of its own, with its own measured effect. At a dose d between the neighbours `d_1 < d < d_2` that
//! were trained on, the shift of control cells is interpolated in the space of embeddings:
//!
//! ```text
//! D(d | z, c) = (1 - w) D(d_1 | z, c) + w D(d_2 | z, c),   w = ln(d / d_1) / ln(d_2 / d_1)
//! ```
//!
//! and so is what is added to the decoder's logits. Outside the doses of training nothing is known, and nothing is predicted.

use super::measured::{Hidden, Measured};
use crate::{
    Error, Result,
    data::{
        Condition, Perturbation,
        dose::{name_and_dose, with_dose},
    },
};

impl Measured {
    /// The doses at which a name was perturbed alone, the lowest first.
    fn doses(&self, base: &str) -> Vec<f64> {
        let of_base =
            |gene: &String| Some(name_and_dose(gene)).filter(|(other, _)| *other == base).map(|(_, dose)| dose);
        let mut doses: Vec<f64> = self.genes.iter().filter_map(of_base).collect();
        doses.sort_by(f64::total_cmp);
        doses
    }

    /// The lowest and the highest dose of a name; `None` where it was perturbed at dose 1 only, or never.
    pub fn dose_range(&self, base: &str) -> Option<(f64, f64)> {
        let doses = self.doses(base);
        let (&low, &high) = (doses.first()?, doses.last()?);
        ((low, high) != (1.0, 1.0)).then_some((low, high))
    }

    /// Whether a name was perturbed alone, at this dose or on both sides of it.
    pub fn reaches(&self, name: &str) -> bool {
        let (base, dose) = name_and_dose(name);
        self.knows(name) || self.dose_range(base).is_some_and(|(low, high)| low < dose && dose < high)
    }

    /// For a condition with a dose that was not trained on: the same at the neighbouring doses, with their shares. `None` where all
    /// of its doses were, or a name is unknown altogether.
    ///
    /// # Errors
    /// A dose beyond those of training: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn between(&self, condition: &Condition) -> Result<Option<[(Condition, f32); 2]>> {
        let names = condition.perturbation.genes();
        let Some(unknown) = names.iter().find(|name| !self.knows(name)) else { return Ok(None) };
        let (base, dose) = name_and_dose(unknown);
        let doses = self.doses(base);
        let above = doses.partition_point(|&known| known < dose);
        let (low, high) = match (above.checked_sub(1).map(|below| doses[below]), doses.get(above)) {
            (Some(low), Some(&high)) => (low, high),
            (None, None) => return Ok(None),
            _ => {
                return Err(Error::inapplicable(format!(
                    "{unknown} is beyond the doses of {base} that were trained on ({} to {}), between which alone a jepa predicts",
                    doses[0],
                    doses[doses.len() - 1]
                )));
            }
        };
        let at = |dose: f64| {
            let others = names.iter().filter(|name| *name != unknown).cloned();
            let perturbation = Perturbation::of(others.chain([with_dose(base, dose)]));
            Condition { perturbation, context: condition.context.clone() }
        };
        let share = ((dose / low).ln() / (high / low).ln()) as f32;
        Ok(Some([(at(low), 1.0 - share), (at(high), share)]))
    }

    /// Checks that a condition can be predicted.
    ///
    /// # Errors
    /// As [`Self::tokens`] and [`Self::between`].
    pub fn check(&self, condition: &Condition) -> Result<()> {
        match self.between(condition)? {
            Some(neighbours) => neighbours.iter().try_for_each(|(condition, _)| self.check(condition)),
            None => self.tokens(condition, Hidden::Nothing).map(drop),
        }
    }
}
