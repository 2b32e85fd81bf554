//! Paths from a source sample `x_0` at time 0 to a data sample `x_1` at time 1, and the velocities along them.
//!
//! **Time runs from the source (noise, or control cells) at 0 to the data at 1**, against the time of a diffusion.
//!
//! | path | x_t | velocity dx_t/dt |
//! |---|---|---|
//! | linear | `(1 - t) x_0 + t x_1` | `x_1 - x_0` (rectified flow, Liu et al. 2023; Lipman et al. 2023 with sigma_min = 0) |
//! | VP | `cos(pi t / 2) x_0 + sin(pi t / 2) x_1` | `pi/2 (cos(pi t / 2) x_1 - sin(pi t / 2) x_0)` (Albergo and Vanden-Eijnden 2023) |
//!
//! VP keeps the variance of independent ends of variance 1, and starts and ends exactly at them, as a source that is not noise needs;
//! it is the diffusion path of the cosine schedule with s = 0. A network trained on `|v(x_t, t) - dx_t/dt|^2` learns
//! `E[dx_t/dt | x_t]`, which carries the density of the source to that of the data (Lipman et al. 2023, theorems 1 and 2).

use crate::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_PI_2;

/// How a source sample moves to its data sample, from time 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowPath {
    /// A straight line at constant speed.
    #[default]
    Linear,
    /// A quarter of an ellipse.
    Vp,
}

impl FlowPath {
    /// `(of the source, of the data)` in `x_t`.
    pub fn weights(self, t: f64) -> (f64, f64) {
        match self {
            Self::Linear => (1.0 - t, t),
            Self::Vp => ((FRAC_PI_2 * t).cos(), (FRAC_PI_2 * t).sin()),
        }
    }

    /// The derivatives of [`Self::weights`]: `(of the source, of the data)` in the velocity.
    pub fn speeds(self, t: f64) -> (f64, f64) {
        match self {
            Self::Linear => (-1.0, 1.0),
            Self::Vp => (-FRAC_PI_2 * (FRAC_PI_2 * t).sin(), FRAC_PI_2 * (FRAC_PI_2 * t).cos()),
        }
    }

    /// `x_t` of each pair of rows, and the target of the velocity there, `(rows, dims)` each.
    ///
    /// # Errors
    /// Ends of different shapes.
    pub fn point(self, source: &Array2<f64>, data: &Array2<f64>, t: f64) -> Result<(Array2<f64>, Array2<f64>)> {
        if source.dim() != data.dim() {
            return Err(Error::shape("flow: source and data", source.dim(), data.dim()));
        }
        let mix = |(a, b): (f64, f64)| source * a + data * b;
        Ok((mix(self.weights(t)), mix(self.speeds(t))))
    }
}
