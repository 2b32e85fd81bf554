//! How far embeddings are from a collapse, and the alarm.
//!
//! - *standard deviation*: of each feature over cells, averaged over features.
//! - *spread*: the same after each row was brought to mean 0 and variance 1 over its features: between 0 (all cells alike)
//!   and 1, whatever the scale. Without it a network that blows up looks healthy.
//! - *effective rank*: `exp(-sum_k p_k ln p_k)`, `p_k` the eigenvalues of the covariance over their sum (Roy and Vetterli
//!   2007, *The effective rank*): 1 when all cells lie on a line, the width when all directions are used alike.

use super::config::{CollapseAlarm, OnCollapse};
use crate::{Error, ErrorKind, Result, math::symmetric_eigen};
use ndarray::{Array2, ArrayView2, Axis};

/// Added to a row's variance, as in a layer norm.
const EPSILON: f64 = 1e-5;

/// How much the embeddings of some cells differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmbeddingSpread {
    /// Mean over features of the standard deviation over cells.
    pub std: f64,
    /// The same of layer-normed embeddings, between 0 and 1.
    pub spread: f64,
}

/// Standard deviation and spread of embeddings `(cells, width)`.
pub fn spread(z: ArrayView2<'_, f32>) -> EmbeddingSpread {
    let raw = z.mapv(f64::from);
    let mut normed = raw.clone();
    for mut row in normed.axis_iter_mut(Axis(0)) {
        let mean = row.mean().unwrap_or(0.0);
        let scale = 1.0 / (row.var(0.0) + EPSILON).sqrt();
        row.mapv_inplace(|value| (value - mean) * scale);
    }
    let mean_std = |z: &Array2<f64>| z.std_axis(Axis(0), 0.0).mean().unwrap_or(0.0);
    EmbeddingSpread { std: mean_std(&raw), spread: mean_std(&normed) }
}

/// The effective rank of the covariance of embeddings `(cells, width)`; 0 where nothing varies.
pub fn effective_rank(z: ArrayView2<'_, f32>) -> f64 {
    let mut z = z.mapv(f64::from);
    let Some(mean) = z.mean_axis(Axis(0)) else { return 0.0 };
    z -= &mean;
    // Rows or columns, whichever are fewer: the eigenvalues that are not zero are the same.
    let product = if z.nrows() < z.ncols() { z.dot(&z.t()) } else { z.t().dot(&z) };
    let values: Vec<f64> = symmetric_eigen(product).0.into_iter().map(|value| value.max(0.0)).collect();
    let total: f64 = values.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let entropy: f64 = values.iter().map(|value| value / total).filter(|&p| p > 0.0).map(|p: f64| -p * p.ln()).sum();
    entropy.exp()
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
    pub fn add(&mut self, spread: EmbeddingSpread) {
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
            let mut v = symmetric_eigen(z).0.to_vec();
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
