//! The distribution around predicted mean effects: diffusion on what predictions of conditions missed that were left out of
//! the fit.
//!
//! A residual r_i (observed minus left-out prediction, `(genes,)`) is taken apart as
//!
//! ```text
//! r_i = sigma_i (B' s_i + u_i),    ln sigma_i = a_novelty + b ln |predicted_i|
//! ```
//!
//! sigma: its size, which grows with the effect; s: its scores on the leading directions B of all `r / sigma`, drawn by
//! diffusion given the direction of the predicted effect; u: what is left, drawn from those of the training residuals.
//! The size is known from as many residuals as there are: each draw's is multiplied by `sqrt(nu / chi^2_nu)`, nu their number
//! less one. Which way a prediction is off is not known beforehand, so r and -r are trained on alike and draws come in such pairs:
//! the mean of an even number of draws is the prediction itself.
//!
//! | file | what |
//! |---|---|
//! | `left_out` | the left-out predictions |
//! | `size` | sigma |

mod left_out;
mod size;

pub(super) use left_out::applicable;
pub use left_out::{LeftOut, MeanPredictor, Novelty, leave_out};
pub(super) use size::Size;

use crate::{
    Error, Result,
    device::Device,
    math::{directions, seeds::derived},
    model::diffusion::{Diffusion, DiffusionConfig, SampleConfig, net::ScoreNetConfig},
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2, ArrayView1, Axis, concatenate, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution};
use serde::{Deserialize, Serialize};
use size::log_norm;

/// Fewer residuals tell no distribution.
const FEWEST: usize = 6;
/// Conditions put aside to stop the training by: one in so many.
const WATCHED: usize = 5;
/// Draws that the variance of a score is corrected by.
const CORRECTION_DRAWS: usize = 2_000;
/// Purpose of the random stream of these draws.
const CORRECTION: u64 = 1;

/// Settings of a [`Spread`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpreadConfig {
    /// Parts that the training perturbations are divided into, each predicted without it.
    pub folds: usize,
    /// Most directions that scores are drawn on; at most a third of the residuals.
    pub directions: usize,
    /// Leading directions on which the network sees the predicted effect.
    pub seen: usize,
    /// The network.
    pub diffusion: DiffusionConfig,
    /// Its training; the seed is that of the task.
    pub training: TrainConfig,
    /// How scores are drawn.
    pub sampling: SampleConfig,
}

impl Default for SpreadConfig {
    fn default() -> Self {
        Self {
            folds: 5,
            directions: 20,
            seen: 5,
            // There are some dozens of residuals: a small network, and few passes over each.
            diffusion: DiffusionConfig { net: ScoreNetConfig::film_mlp(64, 2), ..DiffusionConfig::default() },
            training: TrainConfig { epochs: 300, batch_size: 64, ..DiffusionConfig::training() },
            sampling: SampleConfig::default(),
        }
    }
}

impl SpreadConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// The broken rule.
    pub fn validate(&self) -> Result<()> {
        if self.folds < 2 || self.directions == 0 {
            return Err(Error::config("spread configuration: folds must be at least 2 and directions at least 1"));
        }
        self.diffusion.validate()?;
        self.training.validate()
    }
}

/// The fitted distribution of residuals.
#[derive(Debug, Clone)]
pub struct Spread {
    pub(super) size: Size,
    /// B, `(directions, genes)`.
    pub(super) basis: Array2<f64>,
    /// u of the training residuals, `(residuals, genes)`.
    pub(super) rest: Array2<f64>,
    /// What drawn scores are multiplied by, so that they vary as the training's, `(directions,)`.
    pub(super) correction: Array1<f64>,
    /// Standard deviation of the residuals of each gene, whatever the perturbation, `(genes,)`.
    pub(super) deviation: Array1<f64>,
    pub(super) net: Diffusion,
    pub(super) seen: usize,
    pub(super) sampling: SampleConfig,
}

impl Spread {
    /// Learns from left-out predictions; the history is that of the diffusion of scores.
    ///
    /// # Errors
    /// Fewer than six of them, or residuals that are all zero: [`ErrorKind::Inapplicable`](crate::ErrorKind); a loss
    /// that is not finite; an interruption.
    pub fn fit(left: &LeftOut, config: &SpreadConfig, seed: u64, options: &mut Run<'_>) -> Result<(Self, History)> {
        config.validate()?;
        let n = left.novelty.len();
        if n < FEWEST {
            return Err(Error::inapplicable(format!(
                "{n} perturbations could be left out and predicted; at least {FEWEST} are needed to learn a spread"
            )));
        }
        let mut left = left.clone();
        // A kind with next to no example has no level of its own.
        for kind in [Novelty::Combination, Novelty::UnseenGene] {
            if left.novelty.iter().filter(|&&known| known == kind).count() < FEWEST {
                let kept: Vec<usize> = (0..left.novelty.len()).filter(|&row| left.novelty[row] != kind).collect();
                left.novelty = kept.iter().map(|&row| left.novelty[row]).collect();
                left.predicted = left.predicted.select(Axis(0), &kept);
                left.residuals = left.residuals.select(Axis(0), &kept);
            }
        }
        if left.novelty.is_empty() {
            return Err(Error::inapplicable("too few perturbations of one kind could be left out and predicted"));
        }
        let size = Size::fit(&left);
        let deviation = left.residuals.mapv(|r| r * r).mean_axis(Axis(0)).expect("there are residuals").mapv(f64::sqrt);
        let mut scaled = left.residuals.clone();
        for ((mut row, predicted), &novelty) in
            scaled.rows_mut().into_iter().zip(left.predicted.rows()).zip(&left.novelty)
        {
            row /= size.of(predicted, novelty)?;
        }
        let basis = directions(&scaled, config.directions.min(scaled.nrows().div_ceil(3)))?;
        let scores = scaled.dot(&basis.t()); // (residuals, directions)
        let rest = scaled - scores.dot(&basis);
        let conditions = context(&left.predicted, &left.novelty, &basis, config.seen);
        let (mut trained, mut watched) = (Vec::new(), Vec::new());
        for row in 0..scores.nrows() {
            if row % WATCHED == WATCHED - 1 { watched.push(row) } else { trained.push(row) }
        }
        let both = |rows: &[usize]| {
            let scores = scores.select(Axis(0), rows).mapv(|value| value as f32);
            let seen = conditions.select(Axis(0), rows);
            (concatenate![Axis(0), scores, scores.mapv(|value| -value)], concatenate![Axis(0), seen, seen])
        };
        let (x, seen) = both(&trained);
        let (other_x, other_seen) = both(&watched);
        let mut net = Diffusion::new(basis.nrows(), conditions.ncols(), &config.diffusion, seed, Device::Cpu)?;
        let training = TrainConfig { seed, ..config.training.clone() };
        let history = net.fit(&x, Some(&seen), Some((&other_x, Some(&other_seen))), &training, options)?;
        let mut fitted = Self {
            size,
            correction: Array1::ones(basis.nrows()),
            basis,
            rest,
            deviation,
            net,
            seen: config.seen,
            sampling: config.sampling,
        };
        fitted.correct(&scores, &conditions, seed)?;
        Ok((fitted, history))
    }

    /// Makes drawn scores vary as much as those of the training.
    fn correct(&mut self, scores: &Array2<f64>, conditions: &Array2<f32>, seed: u64) -> Result<()> {
        let rows: Vec<usize> = (0..CORRECTION_DRAWS).map(|draw| draw % conditions.nrows()).collect();
        let seen = conditions.select(Axis(0), &rows);
        let drawn = self.net.sample(rows.len(), Some(&seen), &self.sampling, derived(seed, CORRECTION, 0))?;
        for (k, factor) in self.correction.iter_mut().enumerate() {
            let square = |values: ArrayView1<'_, f64>| values.dot(&values) / values.len() as f64;
            let (wanted, got) = (square(scores.column(k)), square(drawn.column(k).mapv(f64::from).view()));
            *factor = if got > 0.0 { (wanted / got).sqrt() } else { 1.0 };
        }
        Ok(())
    }

    /// Draws of the effect of a condition around its prediction `(genes,)`, `(n, genes)`.
    ///
    /// # Errors
    /// A novelty that was not met in training: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn draws(&self, predicted: ArrayView1<'_, f64>, novelty: Novelty, n: usize, seed: u64) -> Result<Array2<f64>> {
        let sigma = self.size.of(predicted, novelty)?;
        let mut draws = Array2::zeros((n, predicted.len()));
        if n == 0 {
            return Ok(draws);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pairs = n.div_ceil(2);
        let predicted_once = predicted.to_owned().insert_axis(Axis(0));
        let seen = context(&predicted_once, &[novelty], &self.basis, self.seen);
        let seen = seen.select(Axis(0), &vec![0; pairs]);
        let scores = self.net.sample(pairs, Some(&seen), &self.sampling, rng.random())?;
        let scores = scores.mapv(f64::from) * &self.correction;
        let smooth = scores.dot(&self.basis); // (pairs, genes)
        // A size that was learned from n residuals is not known: Student's t in place of a normal distribution, which
        // matters where they are few.
        let n_learned = self.size.level.iter().find(|(known, ..)| *known == novelty).map_or(FEWEST, |level| level.2);
        let freedom = (n_learned.max(FEWEST) - 1) as f64;
        let chi = ChiSquared::new(freedom).expect("at least five degrees of freedom");
        for (pair, smooth) in smooth.rows().into_iter().enumerate() {
            let rest = self.rest.row(rng.random_range(0..self.rest.nrows()));
            let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
            let wider = (freedom / chi.sample(&mut rng).max(f64::MIN_POSITIVE)).sqrt();
            let off = (&smooth + &(&rest * sign)) * (sigma * wider);
            draws.row_mut(2 * pair).assign(&(&predicted + &off));
            if 2 * pair + 1 < n {
                draws.row_mut(2 * pair + 1).assign(&(&predicted - &off));
            }
        }
        Ok(draws)
    }

    /// Standard deviation of the left-out residuals of each gene, whatever the perturbation, `(genes,)`: a spread that knows
    /// nothing of the perturbation at hand.
    pub fn deviation(&self) -> &Array1<f64> {
        &self.deviation
    }

    /// Root mean square over genes of how far a prediction `(genes,)` is expected to be off.
    ///
    /// # Errors
    /// As [`Self::draws`].
    pub fn expected_error(&self, predicted: ArrayView1<'_, f64>, novelty: Novelty) -> Result<f64> {
        Ok(self.size.of(predicted, novelty)? / (predicted.len() as f64).sqrt())
    }
}

/// What the network sees of predictions: their direction on the leading directions of residuals, and why they were made;
/// `(rows, seen + 1)`.
fn context(predicted: &Array2<f64>, novelty: &[Novelty], basis: &Array2<f64>, seen: usize) -> Array2<f32> {
    let scores = predicted.dot(&basis.slice(s![..seen.min(basis.nrows()), ..]).t());
    let mut seen = Array2::zeros((predicted.nrows(), scores.ncols() + 1));
    for (row, mut out) in seen.rows_mut().into_iter().enumerate() {
        let norm = log_norm(predicted.row(row)).exp();
        out.iter_mut().zip(scores.row(row)).for_each(|(out, score)| *out = (score / norm) as f32);
        out[scores.ncols()] = f32::from(novelty[row] == Novelty::UnseenGene);
    }
    seen
}
