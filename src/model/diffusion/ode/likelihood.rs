//! Log densities by the instantaneous change of variables (Chen et al. 2018, theorem 1; Song et al. 2021, eq. 39):
//!
//! ```text
//! ln p_from(x) = ln p_to(x_to) + int_from^to div v(x_t, t) dt
//! ```
//!
//! along the solution that starts at `x_from = x`, whichever of the two times is the later. The integral is one more column beside
//! the samples, so that an adaptive solver holds it to the same tolerance.

use super::{OdeConfig, integrate};
use crate::{
    Error, Result,
    model::diffusion::{Velocity, hutchinson},
};
use ndarray::{Array1, Array2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the divergence of a velocity is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Divergence {
    /// Along each axis; see [`Velocity::divergence`].
    #[default]
    Exact,
    /// By random probes; see [`hutchinson`].
    Hutchinson {
        /// Number of probes, two evaluations each.
        probes: usize,
        /// Of their random signs.
        seed: u64,
    },
}

/// Log densities and where they were read off.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowLikelihood {
    /// In nats, `(rows,)`.
    pub log_density: Array1<f64>,
    /// The samples at the other end, `(rows, dims)`.
    pub latent: Array2<f64>,
    /// Steps of the solver.
    pub steps: usize,
}

/// Log density at time `from` of the rows of `x`, for a velocity that carries them to time `to`, where `log_density` `(rows,)` is
/// known.
///
/// # Errors
/// Those of [`integrate`]; no probes.
pub fn log_likelihood(
    field: &dyn Velocity,
    x: &Array2<f64>,
    from: f64,
    to: f64,
    log_density: &dyn Fn(&Array2<f64>) -> Array1<f64>,
    divergence: Divergence,
    config: &OdeConfig,
) -> Result<FlowLikelihood> {
    if x.ncols() != field.dims() {
        return Err(Error::shape("likelihood: samples, and the model's width", x.dim(), field.dims()));
    }
    let start = concatenate![Axis(1), *x, Array2::zeros((x.nrows(), 1))];
    let solution = integrate(&WithDivergence { field, divergence }, start, from, to, config)?;
    let latent = solution.x.slice(s![.., ..-1]).to_owned();
    let log_density = log_density(&latent) + solution.x.column(field.dims());
    Ok(FlowLikelihood { log_density, latent, steps: solution.steps })
}

/// Log density of centred normal samples `x` `(rows, dims)` of standard deviation `std`, in nats, `(rows,)`.
pub fn standard_normal_log_density(x: &Array2<f64>, std: f64) -> Array1<f64> {
    let constant = -0.5 * x.ncols() as f64 * (2.0 * PI * std * std).ln();
    x.map_axis(Axis(1), |row| constant - 0.5 * row.dot(&row) / (std * std))
}

/// Samples with the integral of the divergence as one more column.
struct WithDivergence<'a> {
    field: &'a dyn Velocity,
    divergence: Divergence,
}

impl Velocity for WithDivergence<'_> {
    fn dims(&self) -> usize {
        self.field.dims() + 1
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let x = x.slice(s![.., ..-1]).to_owned();
        let divergence = match self.divergence {
            Divergence::Exact => self.field.divergence(&x, t)?,
            Divergence::Hutchinson { probes, seed } => hutchinson(self.field, &x, t, probes, seed)?,
        };
        Ok(concatenate![Axis(1), self.field.velocity(&x, t)?, divergence.insert_axis(Axis(1))])
    }
}
