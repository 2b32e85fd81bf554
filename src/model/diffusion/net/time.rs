//! The time of a diffusion as features, and through a small network as an embedding.
//!
//! ```text
//! e(t) = (cos(w_0 s), .., cos(w_{h-1} s), sin(w_0 s), .., sin(w_{h-1} s))     s = 1000 t, w_i = 10000^{-i / h}
//! T(t) = W_2 SiLU(W_1 e(t) + b_1) + b_2
//! ```
//!
//! Vaswani et al. 2017, section 3.5; Ho et al. 2020, *DDPM*, appendix B, whose steps are 0 to 999. Our t runs from 0 to 1,
//! and of an unscaled t in [0, 1] all but the first few features would be constant: hence the 1000.

use crate::{
    Result,
    nn::{Activation, Backend, Linear, Matrix, ops, walk_params},
};
use dfdx::prelude::{PutTape, Tape};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;

/// Steps of the discrete process that a t of 1 stands for; Ho et al. 2020.
pub const TIME_SCALE: f64 = 1000.0;
/// The longest period, in steps over 2 pi; Vaswani et al. 2017.
const LONGEST: f64 = 10_000.0;
/// Features of a time, half of them cosines.
const FEATURES: usize = 64;

/// The features of each time, `(times, width)`; `width` is even.
pub fn sinusoidal(times: &[f32], width: usize) -> Array2<f32> {
    let half = width / 2;
    Array2::from_shape_fn((times.len(), 2 * half), |(row, column)| {
        let frequency = (-LONGEST.ln() * (column % half) as f64 / half as f64).exp();
        let angle = TIME_SCALE * f64::from(times[row]) * frequency;
        (if column < half { angle.cos() } else { angle.sin() }) as f32
    })
}

/// Times to embeddings.
#[derive(Debug, Clone)]
pub struct TimeEmbedding<D: Backend> {
    /// W_1, b_1.
    pub up: Linear<D>,
    /// W_2, b_2.
    pub down: Linear<D>,
    device: D,
}

walk_params!(TimeEmbedding { params: [], buffers: [], layers: [up, down] });

impl<D: Backend> TimeEmbedding<D> {
    /// Embeddings of `width` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let up = Linear::new(device, FEATURES, width, rng)?;
        Ok(Self { up, down: Linear::new(device, width, width, rng)?, device: device.clone() })
    }

    /// `(times,)` to `(times, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward<T: Tape<f32, D>>(&self, times: &[f32], tape: T) -> Result<Matrix<D, T>> {
        let features = ops::upload(&self.device, &sinusoidal(times, FEATURES))?.put_tape(tape);
        self.down.forward(Activation::Silu.forward(self.up.forward(features)?)?)
    }
}
