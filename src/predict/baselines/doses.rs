//! What is known of an unseen dose without a model: the effects of the same name at other doses.
//!
//! With the training doses `d_1 < … < d_n` of a name and its effects `e_i` there:
//!
//! | predictor | effect at dose d |
//! |---|---|
//! | [`DoseInterpolation`] | between neighbours linear in ln d; below `d_1` `e_1 d / d_1`, as nothing happens at dose 0; above `d_n` `e_n` |
//! | [`DoseMean`] | the mean of the `e_i` |
//!
//! A combination is the sum of its names. A dose that was trained on has its own effect in the first, and no more than its share in
//! the second.

use super::answer;
use crate::{
    Error, Result,
    data::{Condition, EffectTable, Perturbation, TrainingData, dose::name_and_dose, not_trained_alone},
    predict::{Fitted, Predictor},
};
use ndarray::Array1;

/// Interpolation between the neighbouring doses: see the module's equations.
#[derive(Debug, Clone, Copy)]
pub struct DoseInterpolation;

/// The mean effect of the other doses.
#[derive(Debug, Clone, Copy)]
pub struct DoseMean;

impl Predictor for DoseInterpolation {
    fn name(&self) -> &str {
        "dose_interpolation"
    }

    fn description(&self) -> &str {
        "The effect between those of the neighbouring doses of the same name, linear in the log dose"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = dosed(data)?;
        answer(move |condition| sum_over_names(&training, condition, interpolated))
    }
}

impl Predictor for DoseMean {
    fn name(&self) -> &str {
        "dose_mean"
    }

    fn description(&self) -> &str {
        "The mean effect of the same name at its other doses"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = dosed(data)?;
        answer(move |condition| {
            sum_over_names(&training, condition, |_, known| {
                let sum =
                    known.iter().fold(Array1::zeros(known[0].1.len()), |sum: Array1<f64>, (_, effect)| sum + effect);
                sum / known.len() as f64
            })
        })
    }
}

/// The training effects, where names have doses.
fn dosed(data: &TrainingData) -> Result<EffectTable> {
    match data.dosed() {
        Some(_) => Ok(data.effects()?.clone()),
        None => Err(Error::inapplicable("no name has a dose")),
    }
}

/// The sum over the names of a condition of what `at` makes of a dose and the known doses and effects, the lowest first.
fn sum_over_names(
    training: &EffectTable,
    condition: &Condition,
    at: impl Fn(f64, &[(f64, Array1<f64>)]) -> Array1<f64>,
) -> Result<Array1<f64>> {
    let mut sum = Array1::zeros(training.genes.len());
    for name in condition.perturbation.genes() {
        let (base, dose) = name_and_dose(name);
        let known = effects_of(training, base, condition.context.as_deref());
        if known.is_empty() {
            return Err(not_trained_alone(base));
        }
        sum += &at(dose, &known);
    }
    Ok(sum)
}

/// The doses of a name that were trained alone, and their effects.
fn effects_of(training: &EffectTable, base: &str, context: Option<&str>) -> Vec<(f64, Array1<f64>)> {
    let mut singles: Vec<(f64, &Perturbation)> = Vec::new();
    for condition in &training.conditions {
        let [name] = condition.perturbation.genes() else { continue };
        let (other, dose) = name_and_dose(name);
        if other == base && singles.iter().all(|(_, known)| **known != condition.perturbation) {
            singles.push((dose, &condition.perturbation));
        }
    }
    singles.sort_by(|a, b| a.0.total_cmp(&b.0));
    let effect = |perturbation| training.effect_of(perturbation, context).map(|effect| effect.mapv(f64::from));
    singles.into_iter().filter_map(|(dose, perturbation)| Some((dose, effect(perturbation)?))).collect()
}

fn interpolated(dose: f64, known: &[(f64, Array1<f64>)]) -> Array1<f64> {
    let above = known.partition_point(|(at, _)| *at < dose);
    match (above.checked_sub(1).map(|below| &known[below]), known.get(above)) {
        (Some((low, before)), Some((high, after))) => {
            let share = (dose / low).ln() / (high / low).ln();
            before * (1.0 - share) + after * share
        }
        (None, Some((lowest, effect))) => effect * (dose / lowest),
        (Some((_, highest)), None) => highest.clone(),
        (None, None) => unreachable!("the caller has checked that a dose is known"),
    }
}

#[cfg(test)]
mod tests {
    use super::interpolated;
    use ndarray::array;

    #[test]
    fn between_below_and_above() {
        let known = [(1.0, array![1.0]), (100.0, array![5.0])];
        let at = |dose| interpolated(dose, &known)[0];
        for (dose, effect) in [(10.0, 3.0), (1.0, 1.0), (100.0, 5.0), (0.5, 0.5), (1000.0, 5.0)] {
            assert!((at(dose) - effect).abs() < 1e-12, "{dose}: {}", at(dose));
        }
    }
}
