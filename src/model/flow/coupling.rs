//! Which source sample goes to which data sample.
//!
//! Drawn independently, the paths of a minibatch cross, and the velocity, their mean, is curved. Pairing the minibatch by optimal
//! transport uncrosses most of them, which straightens the flow and steadies its training (OT-CFM: Tong et al. 2024; Pooladian et al.
//! 2023). Reflow straightens a flow that is already trained, by pairing each source sample with where the flow takes it (Liu et al.
//! 2023).

use super::assignment::assignment;
use crate::{
    Error, Result,
    math::{SinkhornConfig, sinkhorn},
    model::diffusion::{OdeConfig, Velocity, integrate},
};
use ndarray::{Array1, Array2, Axis};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Largest minibatch for the exact assignment, whose time grows with the third power of its size; larger ones have Sinkhorn.
pub const EXACT_ROWS: usize = 1024;

/// How the samples of a minibatch are paired.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pairing {
    /// By chance.
    Independent,
    /// By the assignment of the least sum of squared distances.
    #[default]
    OptimalTransport,
    /// By draws from the entropic optimal transport plan: faster for large minibatches, and a sample may be taken twice.
    Sinkhorn {
        /// The regularisation, as a part of the mean cost.
        epsilon: f64,
    },
}

impl Pairing {
    /// # Errors
    /// A regularisation that is not positive.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Sinkhorn { epsilon } if !(epsilon > 0.0 && epsilon.is_finite()) => Err(Error::config(format!(
                "pairing: the regularisation epsilon is {epsilon}; it must be a positive number"
            ))),
            _ => Ok(()),
        }
    }

    /// For each row of `data` `(rows, dims)`, the row of `source` `(at least as many, dims)` it is paired with. Each data row is used
    /// once, so that the data keep their distribution.
    ///
    /// # Errors
    /// Different widths; fewer source rows than data rows; too many rows for the exact assignment; values that are not finite.
    pub fn pair(&self, source: &Array2<f64>, data: &Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Vec<usize>> {
        self.validate()?;
        if source.ncols() != data.ncols() || source.nrows() < data.nrows() {
            return Err(Error::shape("pairing: source and data", source.dim(), data.dim()));
        }
        match *self {
            Self::Independent => {
                let mut rows: Vec<usize> = (0..source.nrows()).collect();
                rows.shuffle(rng);
                rows.truncate(data.nrows());
                Ok(rows)
            }
            Self::OptimalTransport if source.nrows() > EXACT_ROWS => Err(Error::config(format!(
                "pairing: {} samples are too many for the exact assignment (at most {EXACT_ROWS}); take smaller minibatches \
                 or the pairing sinkhorn",
                source.nrows()
            ))),
            Self::OptimalTransport => assignment(&squared_distances(data, source)),
            Self::Sinkhorn { epsilon } => from_plan(&squared_distances(data, source), epsilon, rng),
        }
    }
}

/// Squared Euclidean distances between the rows of x and y, `(rows of x, rows of y)`.
pub fn squared_distances(x: &Array2<f64>, y: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), y.nrows()), |(i, j)| {
        x.row(i).iter().zip(y.row(j)).map(|(a, b)| (a - b).powi(2)).sum()
    })
}

/// Draws a column for each row, by the plan's row.
fn from_plan(cost: &Array2<f64>, epsilon: f64, rng: &mut ChaCha8Rng) -> Result<Vec<usize>> {
    let (n, m) = cost.dim();
    let scale = cost.mean().unwrap_or(0.0);
    let uniform = |count: usize| Array1::from_elem(count, 1.0 / count as f64);
    // A plan for a minibatch is itself an estimate: a percent of the weights is exact enough.
    let config = SinkhornConfig { iterations: 200, tolerance: 1e-2 };
    let epsilon = if scale > 0.0 { epsilon * scale } else { epsilon };
    let plan = sinkhorn(cost.view(), &uniform(n), &uniform(m), epsilon, &config)?.plan;
    Ok(plan
        .axis_iter(Axis(0))
        .map(|row| {
            let mut left = rng.random::<f64>() * row.sum();
            let drawn = row.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            drawn.unwrap_or(m - 1)
        })
        .collect())
}

/// Where a velocity takes each row of `source` `(rows, dims)`: the pairs of the next, straighter flow.
///
/// # Errors
/// See [`integrate`].
pub fn reflow(velocity: &dyn Velocity, source: &Array2<f64>, config: &OdeConfig) -> Result<Array2<f64>> {
    Ok(integrate(velocity, source.clone(), 0.0, 1.0, config)?.x)
}
