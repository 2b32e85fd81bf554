//! How far embeddings are from a collapse, and the alarm.
//!
//! - *standard deviation*: of each feature over cells, averaged over features.
//! - *spread*: the same after each row was brought to mean 0 and variance 1 over its features: between 0 (all cells alike)
//!   and 1, whatever the scale. Without it a network that blows up looks healthy.
//! - *effective rank*: `exp(-sum_k p_k ln p_k)`, `p_k` the eigenvalues of the covariance over their sum (Roy and Vetterli
//!   2007, *The effective rank*): 1 when all cells lie on a line, the width when all directions are used alike.

use super::config::{CollapseAlarm, OnCollapse};
use crate::{Error, ErrorKind, Result};
use ndarray::{Array2, ArrayView2, Axis};

/// Added to a row's variance, as in a layer norm.
const EPSILON: f64 = 1e-5;
/// QL steps for one eigenvalue; two or three are usual.
const MAX_STEPS: usize = 60;

/// How much the embeddings of some cells differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Mean over features of the standard deviation over cells.
    pub std: f64,
    /// The same of layer-normed embeddings, between 0 and 1.
    pub spread: f64,
}

/// Standard deviation and spread of embeddings `(cells, width)`.
pub fn spread(z: ArrayView2<'_, f32>) -> Spread {
    let raw = z.mapv(f64::from);
    let mut normed = raw.clone();
    for mut row in normed.axis_iter_mut(Axis(0)) {
        let mean = row.mean().unwrap_or(0.0);
        let scale = 1.0 / (row.var(0.0) + EPSILON).sqrt();
        row.mapv_inplace(|value| (value - mean) * scale);
    }
    let mean_std = |z: &Array2<f64>| z.std_axis(Axis(0), 0.0).mean().unwrap_or(0.0);
    Spread { std: mean_std(&raw), spread: mean_std(&normed) }
}

/// The effective rank of the covariance of embeddings `(cells, width)`; 0 where nothing varies.
pub fn effective_rank(z: ArrayView2<'_, f32>) -> f64 {
    let mut z = z.mapv(f64::from);
    let Some(mean) = z.mean_axis(Axis(0)) else { return 0.0 };
    z -= &mean;
    // Rows or columns, whichever are fewer: the eigenvalues that are not zero are the same.
    let product = if z.nrows() < z.ncols() { z.dot(&z.t()) } else { z.t().dot(&z) };
    let values: Vec<f64> = eigenvalues(product).into_iter().map(|value| value.max(0.0)).collect();
    let total: f64 = values.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let entropy: f64 = values.iter().map(|value| value / total).filter(|&p| p > 0.0).map(|p: f64| -p * p.ln()).sum();
    entropy.exp()
}

/// Eigenvalues of a symmetric matrix, in no order: Householder reflections to tridiagonal form, then implicit QL steps
/// (Golub and Van Loan, sections 8.3.1 and 8.3.3).
fn eigenvalues(mut a: Array2<f64>) -> Vec<f64> {
    let n = a.nrows();
    for k in 0..n.saturating_sub(2) {
        let mut v = a.slice(ndarray::s![k + 1.., k]).to_owned();
        let norm = v.dot(&v).sqrt();
        v[0] += norm.copysign(v[0]);
        let length = v.dot(&v).sqrt();
        if length == 0.0 {
            continue;
        }
        v /= length;
        a[[k + 1, k]] = -norm.copysign(a[[k + 1, k]]);
        let mut rest = a.slice_mut(ndarray::s![k + 1.., k + 1..]);
        let mut q = rest.dot(&v);
        let overlap = q.dot(&v);
        q.scaled_add(-overlap, &v);
        for (i, mut row) in rest.rows_mut().into_iter().enumerate() {
            row.scaled_add(-2.0 * v[i], &q);
            row.scaled_add(-2.0 * q[i], &v);
        }
    }
    let mut diagonal: Vec<f64> = a.diag().to_vec();
    let mut beside: Vec<f64> = (1..n).map(|i| a[[i, i - 1]]).collect();
    for first in 0..n.saturating_sub(1) {
        for _ in 0..MAX_STEPS {
            let negligible = |&i: &usize| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs());
            let last = (first..n - 1).find(negligible).unwrap_or(n - 1);
            if last == first {
                break;
            }
            ql_step(&mut diagonal, &mut beside, first, last);
        }
    }
    diagonal
}

/// One implicit QL step with Wilkinson's shift on the block from `first` to `last`; `beside[i]` stands between the
/// diagonal's `i` and `i + 1`.
fn ql_step(diagonal: &mut [f64], beside: &mut [f64], first: usize, last: usize) {
    let half = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
    let shift = diagonal[first] - beside[first] / (half + half.hypot(1.0).copysign(half));
    let (mut sin, mut cos, mut moved) = (1.0, 1.0, 0.0);
    let mut g = diagonal[last] - shift;
    for i in (first..last).rev() {
        let (bulge, kept) = (sin * beside[i], cos * beside[i]);
        let r = bulge.hypot(g);
        if i + 1 < last {
            beside[i + 1] = r;
        }
        if r == 0.0 {
            // The block falls apart here: the next step starts on its part.
            diagonal[i + 1] -= moved;
            return;
        }
        (sin, cos) = (bulge / r, g / r);
        g = diagonal[i + 1] - moved;
        let t = (diagonal[i] - g) * sin + 2.0 * cos * kept;
        moved = sin * t;
        diagonal[i + 1] = g + moved;
        g = cos * t - kept;
    }
    diagonal[first] -= moved;
    beside[first] = g;
}

/// Sums of an epoch's figures, and how often the regulariser was raised.
#[derive(Debug, Clone, Default)]
pub(super) struct Monitor {
    steps: usize,
    std: f64,
    spread: f64,
    rank: f64,
    /// The rank that was measured last; it is not measured at every step.
    pub last_rank: f64,
    /// As `last_rank`.
    pub last_distance: f64,
}

impl Monitor {
    pub fn add(&mut self, spread: Spread) {
        self.steps += 1;
        self.std += spread.std;
        self.spread += spread.spread;
        self.rank += self.last_rank;
    }

    /// Judges epoch `epoch` (from 0), forgets its figures, and gives the factor by which to raise the regulariser if it is
    /// to be raised; `raised` is the product of the factors so far.
    pub fn judge(&mut self, alarm: &CollapseAlarm, epoch: usize, raised: f32) -> Result<Option<f32>> {
        let n = self.steps.max(1) as f64;
        let (std, spread, rank) = (self.std / n, self.spread / n, self.rank / n);
        *self = Self { last_rank: self.last_rank, last_distance: self.last_distance, ..Self::default() };
        let collapsed = spread < alarm.min_spread || rank < alarm.min_rank;
        if !collapsed || epoch < alarm.grace_epochs {
            return Ok(None);
        }
        let so_far = match alarm.then {
            OnCollapse::Ignore => return Ok(None),
            OnCollapse::Raise { factor, times }
                if f64::from(raised).ln() / f64::from(factor).ln() < times as f64 - 0.5 =>
            {
                return Ok(Some(factor));
            }
            OnCollapse::Raise { .. } => format!(" although the anti-collapse terms were raised {raised} times"),
            OnCollapse::Stop => String::new(),
        };
        Err(Error::new(
            ErrorKind::Numeric,
            format!(
                "the embeddings have collapsed in epoch {}{so_far}: their spread over cells is {spread:.4} (alarm below \
                 {}) and their effective rank {rank:.2} (alarm below {}), at a standard deviation of {std:.3e}; set \
                 anti_collapse to vicreg, use an EMA teacher (teacher.ema), or lower learning_rate",
                epoch + 1,
                alarm.min_spread,
                alarm.min_rank,
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn effective_rank_counts_the_directions_used() {
        // Four points on the axes of a plane, twice as far out on the first: variances 4 : 1.
        let z = array![[2.0_f32, 0.0, 5.0], [-2.0, 0.0, 5.0], [0.0, 1.0, 5.0], [0.0, -1.0, 5.0]];
        let (p, q): (f64, f64) = (0.8, 0.2);
        let expected = (-p * p.ln() - q * q.ln()).exp();
        assert!((effective_rank(z.view()) - expected).abs() < 1e-9);
        assert_eq!(effective_rank(array![[1.0_f32, 2.0], [1.0, 2.0]].view()), 0.0);
        let line = Array2::from_shape_fn((30, 5), |(i, j)| (i * (j + 1)) as f32);
        assert!((effective_rank(line.view()) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn rank_and_spread_of_noise_are_near_their_most() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let z = Array2::from_shape_simple_fn((4000, 12), || rng.random_range(-1.0..1.0_f32));
        let rank = effective_rank(z.view());
        assert!((11.9..=12.0).contains(&rank), "{rank}");
        // Fewer cells than features: the same eigenvalues from the other product.
        let few = z.slice(ndarray::s![..8, ..]);
        let values = |z: Array2<f64>| {
            let mut v = eigenvalues(z);
            v.sort_by(|a, b| b.total_cmp(a));
            v
        };
        let few = few.mapv(f64::from);
        for (a, b) in values(few.dot(&few.t())).iter().zip(values(few.t().dot(&few))) {
            assert!((a - b).abs() < 1e-9);
        }
        let large = spread((&z * 1e4).view());
        assert!(large.spread > 0.9 && large.spread <= 1.0, "{large:?}");
        // A large common part: the raw deviation does not fall, the spread does.
        let shifted = spread((&z + &Array2::from_shape_fn((1, 12), |(_, j)| 1e3 * j as f32)).view());
        assert!((shifted.std - spread(z.view()).std).abs() < 1e-3 && shifted.spread < 1e-2, "{shifted:?}");
    }
}
