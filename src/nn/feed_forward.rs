//! The feed-forward part of a transformer block: `W_2 GELU(W_1 x + b_1) + b_2`.
//!
//! x `(rows, width)`, hidden width 4 times as large, output `(rows, width)`; each row on its own (Vaswani et al. 2017,
//! section 3.3, with GELU as in BERT and ViT). Unlike [`Mlp`](super::Mlp) it does not end in its activation.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::FeedForward};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let dev = Cpu::default();
//! let layer = FeedForward::new(&dev, 8, &mut ChaCha8Rng::seed_from_u64(0))?;
//! let y = layer.forward(dev.ones_like(&(3, 8)))?;
//! assert_eq!((*y.shape(), *layer.up.weight.shape()), ((3, 8), (8, 32)));
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Activation, Backend, Linear, Matrix, walk_params};
use crate::Result;
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;

/// Hidden features a feature; Vaswani et al. 2017, section 3.3 (2048 for 512).
const EXPANSION: usize = 4;

/// Two linear layers with GELU between them.
#[derive(Debug, Clone)]
pub struct FeedForward<D: Backend> {
    /// W_1, b_1: `(width, 4 width)`.
    pub up: Linear<D>,
    /// W_2, b_2: `(4 width, width)`.
    pub down: Linear<D>,
}

walk_params!(FeedForward { params: [], buffers: [], layers: [up, down] });

impl<D: Backend> FeedForward<D> {
    /// A layer over rows of `width` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let hidden = EXPANSION * width;
        Ok(Self { up: Linear::new(device, width, hidden, rng)?, down: Linear::new(device, hidden, width, rng)? })
    }

    /// `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.down.forward(Activation::Gelu.forward(self.up.forward(x)?)?)
    }
}
