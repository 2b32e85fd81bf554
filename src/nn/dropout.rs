//! Dropout: while training, each value is set to zero with probability p, and the others are divided by 1 - p.
//!
//! `y = x * m / (1 - p)`, m drawn from {0, 1} with P(m = 1) = 1 - p, so that the expectation of y is x and nothing
//! needs to be scaled at inference, where the layer is left out. Srivastava et al. 2014, *Dropout*.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::Dropout};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let x = Cpu::default().tensor_from_vec(vec![1.0; 8], (2, 4));
//! let y = Dropout::new(0.5)?.forward(x, &mut ChaCha8Rng::seed_from_u64(0))?;
//! assert!(y.as_vec().iter().all(|&v| v == 0.0 || v == 2.0));
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Shape, Tape};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;

/// Sets values to zero at random while training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    p: f32,
}

impl Dropout {
    /// A layer that drops with probability `p`.
    ///
    /// # Errors
    /// A `p` outside [0, 1).
    pub fn new(p: f32) -> Result<Self> {
        if (0.0..1.0).contains(&p) {
            return Ok(Self { p });
        }
        Err(Error::config(format!("dropout: the probability is {p}; it must be at least 0 and below 1")))
    }

    /// The probability of a zero.
    pub fn p(&self) -> f32 {
        self.p
    }

    /// Drops; to be left out at inference. Any shape `(rows, width)`; draws one number a value in row-major order, or
    /// none where p = 0.
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward<D: Backend, T: Tape<f32, D>>(&self, x: Matrix<D, T>, rng: &mut ChaCha8Rng) -> Result<Matrix<D, T>> {
        if self.p == 0.0 {
            return Ok(x);
        }
        let kept = 1.0 / (1.0 - self.p);
        let threshold = (f64::from(self.p) * 2f64.powi(32)) as u32;
        let factors = (0..x.shape().num_elements()).map(|_| if rng.next_u32() < threshold { 0.0 } else { kept });
        D::multiply(x, factors.collect())
    }
}
