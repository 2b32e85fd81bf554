//! Bottleneck adapters: a narrow detour beside the identity, put into a network that is not trained further.
//!
//! ```text
//! y = x + GELU(x D + d) U + u        D (width, bottleneck),  U (bottleneck, width)
//! ```
//!
//! x and y `(rows, width)`. U and u start at 0, so that the network starts as it was. Houlsby et al. 2019,
//! *Parameter-Efficient Transfer Learning for NLP*, figure 2, where a near-identity start is required; theirs is a small
//! normal U. Unlike a low-rank addition it is not linear and cannot be merged into a weight.

use super::{Activation, Backend, Linear, Matrix, init, walk_params};
use crate::Result;
use dfdx::prelude::{PutTape, SplitTape, Tape};
use rand_chacha::ChaCha8Rng;

/// `x + GELU(x D + d) U + u`.
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::{Bottleneck, seeded}};
///
/// let dev = Cpu::default();
/// let adapter = Bottleneck::new(&dev, 8, 2, &mut seeded(0))?;
/// let x = dev.ones_like(&(3, 8));
/// assert_eq!(adapter.forward(x.clone())?.as_vec(), x.as_vec()); // U = 0
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bottleneck<D: Backend> {
    /// D and d.
    pub down: Linear<D>,
    /// U and u.
    pub up: Linear<D>,
}

walk_params!(Bottleneck { params: [], buffers: [], layers: [down, up] });

impl<D: Backend> Bottleneck<D> {
    /// The identity over rows of `width` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, width: usize, bottleneck: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let up = Linear {
            weight: init::constant(device, (bottleneck, width), 0.0)?,
            bias: init::constant(device, (width,), 0.0)?,
        };
        Ok(Self { down: Linear::new(device, width, bottleneck, rng)?, up })
    }

    /// `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let (x, tape) = x.split_tape();
        let h = Activation::Gelu.forward(self.down.forward(x.clone().put_tape(tape))?)?;
        D::residual(self.up.forward(h)?, x)
    }
}
