//! A dense layer: `y = x W + b`.
//!
//! x `(rows, in)`, W `(in, out)`, b `(out,)`, y `(rows, out)`. Weight and bias start uniform in
//! `[-1/sqrt(in), 1/sqrt(in)]`, which is what PyTorch's `nn.Linear` does: He et al. 2015, *Delving Deep into
//! Rectifiers*, with the slope sqrt(5).
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::Linear};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let dev = Cpu::default();
//! let layer = Linear::new(&dev, 3, 2, &mut ChaCha8Rng::seed_from_u64(0))?;
//! let x = dev.zeros_like(&(4, 3)); // (rows, in)
//! let y = layer.forward(x)?;
//! assert_eq!(*y.shape(), (4, 2)); // (rows, out)
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix, Vector, init, walk_params};
use crate::Result;
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;

/// `y = x W + b`.
#[derive(Debug, Clone)]
pub struct Linear<D: Backend> {
    /// W, `(in, out)`.
    pub weight: Matrix<D>,
    /// b, `(out,)`.
    pub bias: Vector<D>,
}

walk_params!(Linear { params: [weight, bias], buffers: [], layers: [] });

impl<D: Backend> Linear<D> {
    /// A layer from `inputs` to `outputs` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let bound = init::kaiming_bound(inputs);
        Ok(Self {
            weight: init::uniform(device, (inputs, outputs), bound, rng)?,
            bias: init::uniform(device, (outputs,), bound, rng)?,
        })
    }

    /// `x W + b`: `(rows, in)` to `(rows, out)`.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        D::linear(x, &self.weight, &self.bias)
    }
}
