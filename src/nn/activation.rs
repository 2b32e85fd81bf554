//! Element-wise nonlinearities.
//!
//! | name | f(x) |
//! |---|---|
//! | SiLU | `x / (1 + e^-x)` (Elfwing et al. 2018) |
//! | GELU | `x Phi(x)` with the exact normal distribution function, not its tanh approximation (Hendrycks and Gimpel 2016) |
//! | ReLU | `max(x, 0)` |
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::Activation};
//!
//! let x = Cpu::default().tensor_from_vec(vec![-1.0, 0.0, 1.0], (1, 3));
//! assert_eq!(Activation::Relu.forward(x)?.as_vec(), [0.0, 0.0, 1.0]);
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix};
use crate::Result;
use dfdx::prelude::Tape;
use serde::{Deserialize, Serialize};

/// `erfc(z) = t (a1 + t (a2 + t (a3 + t (a4 + t a5)))) e^(-z^2)` with `t = 1 / (1 + ERFC_SCALE z)`, z >= 0: absolute
/// error 1.5e-7 (Abramowitz and Stegun 7.1.26).
pub(super) const ERFC_SCALE: f32 = 0.327_591_1;
/// a5 to a1 of [`ERFC_SCALE`]'s formula.
pub(super) const ERFC_COEFFICIENTS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];

/// Which nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `x / (1 + e^-x)`.
    #[default]
    Silu,
    /// `x Phi(x)`, exact.
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// f of each element; any shape `(rows, width)`.
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward<D: Backend, T: Tape<f32, D>>(self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        D::activation(x, self)
    }
}
