//! The adaptation curve: how far predictions of a target's held-out perturbations are off, against the number of perturbations
//! that a model was adapted by.
//!
//! A third of the target's conditions (a perturbation; where there is one only, a perturbation in a context) is held out, by the
//! seed; of the others, the first n of a random order are seen. Every method starts from the same base and sees the same cells:
//! those of the n conditions and all control cells. The error of a held-out condition is the L2 norm, over the genes that both
//! datasets have, of the predicted less the observed effect on mean log-normalised expression. Both are differences to the same
//! control cells.
//!
//! Two lines to compare with: predicting no change, and the noise ceiling, the error that the noise of the held-out cells leaves
//! to the true effect. It is half of the L2 distance between the means of two halves of the held-out cells: the variance of the
//! difference of two halves is four times that of the mean of all. (The `noise_ceiling` of a benchmark is the whole distance.) The
//! noise of the control cells is not in it: it would add the variance of their mean, little where there are many.

use crate::{
    Error, Result,
    data::{Condition, Counts, NORMALISED_TOTAL, Perturbation, TargetSum, mean_expression, normalize, shuffle},
    eval::metrics::pearson,
    model::{
        Trained,
        jepa::{AdaptConfig, AdaptMethod, Jepa, Target},
    },
    show::{Figure, Panel, Series, training_curves},
    train::Run,
};
use ndarray::Array1;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Share of the conditions that is held out.
const HELD_OUT: f64 = 1.0 / 3.0;
/// Control cells that a prediction starts from.
const STARTS: usize = 200;

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct CurveConfig {
    /// Ways to adapt.
    pub methods: Vec<AdaptMethod>,
    /// Numbers of conditions that are seen; those above what is there are left out. None: 1, 2, 4, … and all.
    pub seen: Vec<usize>,
    /// Number of seeds, from 0.
    pub seeds: u64,
    /// The settings of every method.
    pub adapt: AdaptConfig,
}

/// One adaptation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurveRow {
    /// Seed of what is held out, of the order of what is seen, and of the training.
    pub seed: u64,
    /// What was trained.
    pub method: AdaptMethod,
    /// Conditions that it was trained on.
    pub seen: usize,
    /// Mean L2 error of the held-out conditions.
    pub l2: f64,
    /// Mean Pearson correlation of their predicted and observed effects.
    pub pearson: f64,
    /// Numbers that were trained per weight of the base.
    pub trained_share: f64,
    /// The chosen learning rate; `None` where the base was kept.
    pub learning_rate: Option<f64>,
    /// Seconds that the adaptation took.
    pub seconds: f64,
}

/// An adaptation curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// All adaptations.
    pub rows: Vec<CurveRow>,
    /// Mean L2 error of predicting no change, of each seed.
    pub no_change: Vec<f64>,
    /// Mean L2 error that the true effects would have by the noise of the perturbed cells alone, of each seed.
    pub ceiling: Vec<f64>,
    /// Conditions that are held out.
    pub held_out: usize,
    /// Conditions that can be seen.
    pub pool: usize,
}

/// The held-out conditions of a seed.
struct HeldOut<'a> {
    target: &'a Target,
    expression: &'a Counts,
    conditions: Vec<Condition>,
}

impl HeldOut<'_> {
    fn controls(&self, condition: &Condition) -> Vec<usize> {
        self.target.rows(&Condition { perturbation: Perturbation::control(), context: condition.context.clone() })
    }

    fn mean(&self, rows: &[usize]) -> Array1<f32> {
        let mean = mean_expression(self.expression, rows);
        self.target.present.iter().map(|&gene| mean[gene]).collect()
    }

    fn observed(&self, condition: &Condition) -> Array1<f32> {
        self.mean(&self.target.rows(condition)) - self.mean(&self.controls(condition))
    }

    /// L2 error and correlation of the effects that a model predicts, means over conditions.
    fn errors(&self, model: &Jepa) -> Result<(f64, f64)> {
        let (mut l2, mut r) = (0.0, 0.0);
        for condition in &self.conditions {
            let mut starts = self.controls(condition);
            starts.truncate(STARTS);
            let control = Condition { perturbation: Perturbation::control(), context: condition.context.clone() };
            let of = |condition| model.mean_from(&self.target.data, &starts, condition, 0);
            let effect = of(condition)? - of(&control)?;
            let predicted: Array1<f32> = self.target.present.iter().map(|&gene| effect[gene] as f32).collect();
            let observed = self.observed(condition);
            l2 += norm(&(&predicted - &observed));
            r += pearson(&predicted.to_vec(), &observed.to_vec()).unwrap_or(0.0);
        }
        let n = self.conditions.len() as f64;
        Ok((l2 / n, r / n))
    }

    fn no_change(&self) -> f64 {
        let sum: f64 = self.conditions.iter().map(|condition| norm(&self.observed(condition))).sum();
        sum / self.conditions.len() as f64
    }

    /// Half of the distance between the halves of each condition's cells, mean over conditions; 0 for a single cell.
    fn ceiling(&self, seed: u64) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let half_of = |condition: &Condition| {
            let mut rows = self.target.rows(condition);
            shuffle(&mut rows, &mut rng);
            let (first, second) = rows.split_at(rows.len() / 2);
            if first.is_empty() { 0.0 } else { norm(&(self.mean(first) - self.mean(second))) / 2.0 }
        };
        let sum: f64 = self.conditions.iter().map(half_of).sum();
        sum / self.conditions.len() as f64
    }
}

fn norm(x: &Array1<f32>) -> f64 {
    x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}

/// Adapts `base` to parts of the target and predicts the rest; `told` is called after each adaptation.
///
/// # Errors
/// Fewer than three conditions that the base knows; as [`Jepa::adapt`].
pub fn adaptation_curve(
    base: &Jepa,
    target: &Target,
    config: &CurveConfig,
    run: &Run<'_>,
    mut told: impl FnMut(&CurveRow) -> Result<()>,
) -> Result<Curve> {
    let conditions = target.singles(|gene| base.knows(gene));
    if conditions.len() < 3 {
        return Err(Error::data(format!(
            "the target has {} conditions whose perturbation the base knows, and a curve takes three or more: name a column of \
             contexts (--context), or give data with more perturbations",
            conditions.len()
        )));
    }
    let held_out = ((conditions.len() as f64 * HELD_OUT).round() as usize).max(1);
    let pool = conditions.len() - held_out;
    if numbers(&config.seen, pool).is_empty() {
        return Err(Error::config(format!(
            "of the {} perturbations that base and target share {held_out} are held out, so from 1 to {pool} can be seen; give such \
             numbers (--seen)",
            conditions.len()
        )));
    }
    let expression = normalize::log_normalize(&target.data, TargetSum::Fixed(NORMALISED_TOTAL))?;
    let mut curve = Curve { rows: Vec::new(), no_change: Vec::new(), ceiling: Vec::new(), held_out, pool };
    for seed in 0..config.seeds {
        let mut shuffled = conditions.clone();
        shuffle(&mut shuffled, &mut ChaCha8Rng::seed_from_u64(seed));
        let (left, seen) = shuffled.split_at(held_out);
        let truth = HeldOut { target, expression: &expression, conditions: left.to_vec() };
        curve.no_change.push(truth.no_change());
        curve.ceiling.push(truth.ceiling(seed));
        for n in numbers(&config.seen, pool) {
            for &method in &config.methods {
                // Without training, what was seen makes no difference.
                if method == AdaptMethod::None && n != numbers(&config.seen, pool)[0] {
                    continue;
                }
                run.check_interrupt()?;
                let begun = Instant::now();
                let settings = AdaptConfig { method, ..config.adapt.clone() };
                let part = Run { seed, dir: None, ..run.part("curve") };
                let adapted = base.adapt(target, &seen[..n], &settings, &part)?;
                let (l2, pearson) = truth.errors(&adapted.model)?;
                let row = CurveRow {
                    seed,
                    method,
                    seen: n,
                    l2,
                    pearson,
                    trained_share: adapted.report.share.share(),
                    learning_rate: adapted.report.learning_rate,
                    seconds: begun.elapsed().as_secs_f64(),
                };
                told(&row)?;
                curve.rows.push(row);
            }
        }
    }
    Ok(curve)
}

/// The numbers of seen conditions: those asked for, or powers of two and all.
fn numbers(asked: &[usize], pool: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = match asked {
        [] => std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|&n| n < pool).chain([pool]).collect(),
        asked => asked.iter().copied().filter(|&n| (1..=pool).contains(&n)).collect(),
    };
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl Curve {
    /// Numbers of seen conditions, in order.
    pub fn seen(&self) -> Vec<usize> {
        let mut seen: Vec<usize> = self.rows.iter().map(|row| row.seen).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    /// The mean L2 error of a method over seeds; that of `none` is the same for all numbers. `None` where it was not run.
    pub fn l2(&self, method: AdaptMethod, seen: usize) -> Option<f64> {
        let of = |row: &&CurveRow| row.method == method && (row.seen == seen || method == AdaptMethod::None);
        let errors: Vec<f64> = self.rows.iter().filter(of).map(|row| row.l2).collect();
        (!errors.is_empty()).then(|| mean(&errors))
    }

    /// The fewest seen conditions with which a method is as good as another one with all of them; `None` where it never is.
    pub fn needed(&self, method: AdaptMethod, for_error_of: AdaptMethod) -> Option<usize> {
        let seen = self.seen();
        let wanted = self.l2(for_error_of, *seen.last()?)?;
        seen.into_iter().find(|&n| self.l2(method, n).is_some_and(|error| error <= wanted))
    }

    /// The curve as a figure.
    ///
    /// # Errors
    /// No adaptation in it.
    pub fn plot(&self, title: &str) -> Result<Figure> {
        let seen = self.seen();
        let x: Vec<f64> = seen.iter().map(|&n| n as f64).collect();
        let of = |method: AdaptMethod| -> Vec<f64> {
            seen.iter().map(|&n| self.l2(method, n).unwrap_or(f64::NAN)).collect()
        };
        let run = AdaptMethod::ALL.into_iter().filter(|method| self.rows.iter().any(|row| row.method == *method));
        let mut series: Vec<Series> = run.map(|method| Series::new(method.name(), x.clone(), of(method))).collect();
        series.push(Series::new("no change", x.clone(), vec![mean(&self.no_change); x.len()]));
        series.push(Series::new("noise ceiling", x.clone(), vec![mean(&self.ceiling); x.len()]));
        let y_label = "L2 error of held-out effects".to_owned();
        training_curves(title, "target conditions seen", &[Panel { y_label, series }])
    }
}

/// 0 for none.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
