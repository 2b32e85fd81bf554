//! Score matching without noise, and noise levels for score matching with it.
//!
//! # Without noise
//!
//! The expected squared distance of the model's score `-grad E` to that of the data is, up to a constant that no weight changes,
//!
//! ```text
//! J        = mean over rows of  -tr(Hessian E) + |grad E|^2 / 2                      explicit (Hyvarinen 2005, eq. 4)
//! J_sliced = mean over rows and directions v of  -v . Hessian E v + (v . grad E)^2 / 2   v ~ N(0, I)   (Song et al. 2019, eq. 8)
//! ```
//!
//! The first needs one pass per dimension, the second one per direction, and both have the same expectation.
//!
//! # With noise
//!
//! A network that is told the noise level learns the scores of the data at all levels (NCSN). Song and Ermon 2020 choose the
//! levels: the largest is the largest distance between two rows (technique 1); they fall in a geometric sequence, in which
//! neighbours overlap enough (technique 2); and the length of Langevin steps follows from the number of steps per level
//! (technique 4).

use super::{net::EnergyNet, sampler::normal};
use crate::{
    Error, Result,
    math::seeds::stream,
    nn::{Backend, Matrix, Scalar, init::seeded, ops},
    notebook,
};
use dfdx::prelude::*;
use ndarray::{Array2, Axis};
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_1_SQRT_2;

/// Rows among which the largest distance is looked for; more are thinned at random.
const DISTANCE_ROWS: usize = 1_000;
/// Overlap of neighbouring noise levels: Song and Ermon 2020, technique 2.
const OVERLAP: f64 = 0.5;
/// Largest ratio of neighbouring noise levels.
const LARGEST_RATIO: f64 = 2.0;
/// Most noise levels; data so wide that more would be needed are not standardised.
const MOST_LEVELS: usize = 1_000;
/// Step lengths that are tried for technique 4.
const TRIED_LENGTHS: usize = 2_000;

/// The loss J of the energy `|x|^2 / 2 + f(x)` over rows x `(rows, dims)`: one pass per dimension.
///
/// # Errors
/// Another width.
pub fn explicit_score_matching<D: Backend, T: Tape<f32, D>>(
    net: &EnergyNet<D>,
    x: &Array2<f32>,
    given: Option<&Matrix<D>>,
    tape: T,
) -> Result<Scalar<D, T>> {
    let axes = (0..x.ncols()).map(|axis| Array2::from_shape_fn(x.dim(), |(_, column)| f32::from(column == axis)));
    let sum = over_directions(net, x, axes, given, tape)?;
    sum.ok_or_else(|| Error::config("score matching: x has no columns"))
}

/// The loss J of the same energy along `projections` random directions per row; its expectation is that of
/// [`explicit_score_matching`].
///
/// # Errors
/// Another width; no projection.
pub fn sliced_score_matching<D: Backend, T: Tape<f32, D>>(
    net: &EnergyNet<D>,
    x: &Array2<f32>,
    given: Option<&Matrix<D>>,
    projections: usize,
    tape: T,
    rng: &mut ChaCha8Rng,
) -> Result<Scalar<D, T>> {
    let directions = (0..projections).map(|_| normal(x.dim(), rng).mapv(|v| v as f32)).collect::<Vec<_>>();
    let sum = over_directions(net, x, directions.into_iter(), given, tape)?;
    let sum = sum.ok_or_else(|| Error::config("projections = 0, but it must be at least 1"))?;
    ops::scaled(sum, 1.0 / projections as f32)
}

/// The sum over directions of the mean over rows of `-v . Hessian E v + (v . grad E)^2 / 2`.
fn over_directions<D: Backend, T: Tape<f32, D>>(
    net: &EnergyNet<D>,
    x: &Array2<f32>,
    directions: impl Iterator<Item = Array2<f32>>,
    given: Option<&Matrix<D>>,
    tape: T,
) -> Result<Option<Scalar<D, T>>> {
    let device = net.input.weight.device();
    let on_device = ops::upload(device, x)?;
    let (mut tape, mut sum) = (Some(tape), None);
    for v in directions {
        // |x|^2 / 2 has the gradient x and the Hessian I.
        let first = (x * &v).sum_axis(Axis(1)).insert_axis(Axis(1));
        let second = (&v * &v).sum_axis(Axis(1)).mean().unwrap_or(0.0);
        let x = on_device.clone().put_tape(tape.take().unwrap_or_default());
        let along = net.along(x, &ops::upload(device, &v)?, given)?;
        let first = ops::add(along.first, ops::upload(device, &first)?.retaped::<T>())?;
        let run = || {
            let bent = along.second.try_negate()?;
            let loss = first.try_square()?.try_mul(0.5)?.try_add(bent)?.try_mean::<Rank0, _>()?;
            loss.try_sub(second)
        };
        let loss = run().map_err(|e: D::Err| Error::device("score matching", e))?;
        sum = Some(match sum {
            None => loss,
            Some(sum) => ops::add_scaled(sum, loss, 1.0)?,
        });
    }
    Ok(sum)
}

/// Standard deviations of noise, falling in a geometric sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NoiseLevels(Vec<f64>);

impl NoiseLevels {
    /// The levels for rows x `(rows, dims)` down to `smallest` (techniques 1 and 2).
    ///
    /// # Errors
    /// Fewer than two rows, or rows that do not differ; a smallest level that is not above 0.
    pub fn choose(x: &Array2<f32>, smallest: f64, seed: u64) -> Result<Self> {
        if !(smallest > 0.0 && smallest.is_finite()) {
            return Err(Error::config(format!("sigma_min = {smallest}, but it must be above 0")));
        }
        let rows = x.nrows().min(DISTANCE_ROWS);
        let chosen = index::sample(&mut stream(seed, 0, 0), x.nrows(), rows).into_vec();
        let x = x.select(Axis(0), &chosen).mapv(f64::from);
        let square = |i: usize, j: usize| (&x.row(i) - &x.row(j)).mapv(|d| d * d).sum();
        let pairs = (0..rows).flat_map(|i| (0..i).map(move |j| (i, j)));
        let largest = pairs.map(|(i, j)| square(i, j)).fold(0.0, f64::max).sqrt();
        if largest <= 0.0 {
            return Err(Error::data("noise levels: the rows do not differ, so that there is no distance to cover"));
        }
        if largest <= smallest {
            return Ok(Self(vec![smallest]));
        }
        let ratio = overlapping_ratio(x.ncols());
        let count = ((largest / smallest).ln() / ratio.ln()).ceil() as usize + 1;
        if count > MOST_LEVELS {
            return Err(Error::config(format!(
                "noise levels: {count} would be needed from {largest:.3} down to {smallest}; raise sigma_min, or \
                 standardise the data"
            )));
        }
        let share = |i: usize| i as f64 / (count - 1) as f64;
        Ok(Self((0..count).map(|i| largest * (smallest / largest).powf(share(i))).collect()))
    }

    /// The levels, largest first.
    pub fn sigmas(&self) -> &[f64] {
        &self.0
    }

    /// The smallest.
    pub fn smallest(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// Checks levels that were read from a file.
    ///
    /// # Errors
    /// None, or one that is not above 0.
    pub(super) fn check_saved(&self) -> Result<()> {
        match !self.0.is_empty() && self.0.iter().all(|sigma| sigma.is_finite() && *sigma > 0.0) {
            true => Ok(()),
            false => Err(Error::data("model.json was edited: its noise levels are not above 0; train again")),
        }
    }

    /// The length e of a Langevin step at a level sigma, `x <- x + e sigma^2 score + sqrt(2 e) sigma z`, with which `steps` steps
    /// take the noise of one level to that of the next (technique 4, eq. 4 of the paper).
    pub fn step_length(&self, steps: usize) -> f64 {
        let ratio = match self.0.len() {
            1 => 1.0,
            n => self.0[n - 2] / self.0[n - 1],
        };
        let off = |e: f64| {
            let limit = 2.0 * e / (1.0 - (1.0 - e).powi(2));
            let variance = (1.0 - e).powi(2 * steps as i32) * (ratio * ratio - limit) + limit;
            (variance - 1.0).abs()
        };
        let lengths = (1..TRIED_LENGTHS).map(|i| i as f64 / TRIED_LENGTHS as f64);
        lengths.min_by(|a, b| off(*a).total_cmp(&off(*b))).expect("there are lengths to try")
    }
}

/// The ratio of neighbouring levels in `dims` dimensions, with which `Phi(sqrt(2 d) (r - 1) + 3 r) - Phi(sqrt(2 d) (r - 1) - 3 r)` is
/// one half: samples of one level are then likely enough at the next. The formula is for many dimensions; below about 20 it would
/// allow ratios above 2, which are not used.
pub fn overlapping_ratio(dims: usize) -> f64 {
    let phi = |z: f64| 0.5 * libm::erfc(-z * FRAC_1_SQRT_2);
    let overlap = |ratio: f64| {
        let apart = (2.0 * dims as f64).sqrt() * (ratio - 1.0);
        phi(apart + 3.0 * ratio) - phi(apart - 3.0 * ratio)
    };
    let (mut low, mut high) = (1.0, LARGEST_RATIO);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if overlap(middle) > OVERLAP { low = middle } else { high = middle }
    }
    high
}

/// Annealed Langevin dynamics (Song and Ermon 2020, algorithm 1): `steps` steps at each level, from the largest to the smallest,
/// and one step to the expected data at the end. `score` gives the score of rows at a noise level; `start` is usually noise of
/// the largest level, `(rows, dims)`.
///
/// # Errors
/// Those of the score; no steps.
pub fn annealed_langevin(
    score: impl Fn(&Array2<f64>, f64) -> Result<Array2<f64>>,
    levels: &NoiseLevels,
    steps: usize,
    start: Array2<f64>,
    seed: u64,
) -> Result<Array2<f64>> {
    if steps == 0 {
        return Err(Error::config("annealed Langevin: the number of steps per level is 0; it must be at least 1"));
    }
    let (mut x, mut rng, e) = (start, seeded(seed), levels.step_length(steps));
    for &sigma in levels.sigmas() {
        for _ in 0..steps {
            notebook::check_interrupt("sampling")?;
            let noise = normal(x.dim(), &mut rng);
            x = &x + &(score(&x, sigma)? * (e * sigma * sigma)) + noise * ((2.0 * e).sqrt() * sigma);
        }
    }
    let sigma = levels.smallest();
    let denoised = score(&x, sigma)? * (sigma * sigma);
    Ok(x + denoised)
}
