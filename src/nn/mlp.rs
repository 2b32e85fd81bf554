//! A multilayer perceptron: blocks of linear, norm, activation, dropout.
//!
//! For widths `[w0, w1, ..., wn]`: n blocks, x `(rows, w0)` to y `(rows, wn)`. Every block ends in its activation, so
//! an Mlp is the trunk of an encoder or decoder; the heads are plain [`Linear`] layers. [`Finish`] is what follows the
//! linear layer of a block, on its own, for a first layer of another kind ([`SparseLinear`](super::SparseLinear)).
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{FinishConfig, Mlp}};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let (dev, mut rng) = (Cpu::default(), ChaCha8Rng::seed_from_u64(0));
//! let mut trunk = Mlp::new(&dev, &[8, 16, 4], FinishConfig { dropout: 0.1, ..Default::default() }, &mut rng)?;
//! let y = trunk.forward_training(dev.ones_like(&(5, 8)), &mut rng)?; // (rows, 8) to (rows, 4)
//! assert_eq!(*y.shape(), (5, 4));
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{
    Activation, Backend, BatchNorm, LayerNorm, Linear, Matrix, Params, Visitor, VisitorMut, movable, walk_params,
};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Shape, Tape};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

impl Activation {
    /// The function of each element of x, of any shape `(rows, width)`.
    ///
    /// ```
    /// use genailab::{dfdx::prelude::*, nn::Activation};
    ///
    /// let x = Cpu::default().tensor_from_vec(vec![-1.0, 0.0, 1.0], (1, 3));
    /// assert_eq!(Activation::Relu.forward(x)?.as_vec(), [0.0, 0.0, 1.0]);
    /// # Ok::<(), genailab::Error>(())
    /// ```
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward<D: Backend, T: Tape<f32, D>>(self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        D::activation(x, self)
    }
}

/// Dropout: while training, each value is set to zero with probability p, and the others are divided by 1 - p.
///
/// `y = x * m / (1 - p)`, m drawn from {0, 1} with P(m = 1) = 1 - p, so that the expectation of y is x and nothing
/// needs to be scaled at inference, where the layer is left out. Srivastava et al. 2014, *Dropout*.
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::Dropout};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
///
/// let x = Cpu::default().tensor_from_vec(vec![1.0; 8], (2, 4));
/// let y = Dropout::new(0.5)?.forward(x, &mut ChaCha8Rng::seed_from_u64(0))?;
/// assert!(y.as_vec().iter().all(|&v| v == 0.0 || v == 2.0));
/// # Ok::<(), genailab::Error>(())
/// ```
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

/// What stands between a linear layer and its activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Nothing.
    #[default]
    None,
    /// [`LayerNorm`].
    Layer,
    /// [`BatchNorm`].
    Batch,
}

/// What follows each linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinishConfig {
    /// Normalisation before the activation; default none.
    pub norm: Norm,
    /// Default SiLU.
    pub activation: Activation,
    /// Probability of dropping a value after the activation; default 0.
    pub dropout: f32,
}

/// Norm, activation and dropout, in this order.
#[derive(Debug, Clone)]
pub struct Finish<D: Backend> {
    /// Present for [`Norm::Layer`].
    pub layer_norm: Option<LayerNorm<D>>,
    /// Present for [`Norm::Batch`].
    pub batch_norm: Option<BatchNorm<D>>,
    activation: Activation,
    dropout: Dropout,
}

walk_params!(Finish { params: [], buffers: [], layers: [layer_norm, batch_norm], kept: [activation, dropout] });

impl<D: Backend> Finish<D> {
    /// What follows a linear layer to `width` features. It draws nothing at random.
    ///
    /// # Errors
    /// A dropout probability outside [0, 1); a device without memory for it.
    pub fn new(device: &D, width: usize, config: FinishConfig) -> Result<Self> {
        Ok(Self {
            layer_norm: (config.norm == Norm::Layer).then(|| LayerNorm::new(device, width)).transpose()?,
            batch_norm: (config.norm == Norm::Batch).then(|| BatchNorm::new(device, width)).transpose()?,
            activation: config.activation,
            dropout: Dropout::new(config.dropout)?,
        })
    }

    /// At inference: running moments, no dropout. `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, mut x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        if let Some(norm) = &self.layer_norm {
            x = norm.forward(x)?;
        }
        if let Some(norm) = &self.batch_norm {
            x = norm.forward(x)?;
        }
        self.activation.forward(x)
    }

    /// While training: the batch's moments, dropout. `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width; a batch norm over a single row.
    pub fn forward_training<T: Tape<f32, D>>(
        &mut self,
        mut x: Matrix<D, T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Matrix<D, T>> {
        if let Some(norm) = &self.layer_norm {
            x = norm.forward(x)?;
        }
        if let Some(norm) = &mut self.batch_norm {
            x = norm.forward_training(x)?;
        }
        self.dropout.forward(self.activation.forward(x)?, rng)
    }
}

/// A linear layer and what follows it.
#[derive(Debug, Clone)]
pub struct Block<D: Backend> {
    /// The weights.
    pub linear: Linear<D>,
    /// Norm, activation, dropout.
    pub finish: Finish<D>,
}

walk_params!(Block { params: [], buffers: [], layers: [linear, finish] });

/// Blocks one after the other.
#[derive(Debug, Clone)]
pub struct Mlp<D: Backend> {
    /// From the input to the output.
    pub blocks: Vec<Block<D>>,
}

impl<D: Backend> Params<D> for Mlp<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        self.blocks.walk(path, visitor)
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        self.blocks.walk_mut(path, visitor)
    }
}

movable!(Mlp { moved: [blocks], kept: [] });

impl<D: Backend> Mlp<D> {
    /// Blocks between neighbouring `widths`: the first is the input's. With fewer than two widths there is no block,
    /// and the network is the identity.
    ///
    /// # Errors
    /// A dropout probability outside [0, 1); a device without memory for it.
    pub fn new(device: &D, widths: &[usize], config: FinishConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let block = |pair: &[usize]| {
            Ok(Block {
                linear: Linear::new(device, pair[0], pair[1], rng)?,
                finish: Finish::new(device, pair[1], config)?,
            })
        };
        Ok(Self { blocks: widths.windows(2).map(block).collect::<Result<_>>()? })
    }

    /// At inference: `(rows, in)` to `(rows, out)`.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.blocks.iter().try_fold(x, |x, block| block.finish.forward(block.linear.forward(x)?))
    }

    /// While training: `(rows, in)` to `(rows, out)`.
    ///
    /// # Errors
    /// An x of another width; a batch norm over a single row.
    pub fn forward_training<T: Tape<f32, D>>(&mut self, x: Matrix<D, T>, rng: &mut ChaCha8Rng) -> Result<Matrix<D, T>> {
        self.blocks.iter_mut().try_fold(x, |x, block| block.finish.forward_training(block.linear.forward(x)?, rng))
    }
}
