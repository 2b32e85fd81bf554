//! Low-rank adaptation: a trained weight W stays as it is, and a product of two thin matrices is added to it.
//!
//! ```text
//! y = x W + b + (alpha / r) (x A) B        A (in, r) normal,  B (r, out) zero at the start
//! W' = W + (alpha / r) A B                 the same as one weight: merged
//! ```
//!
//! x `(rows, in)`, W `(in, out)`, r the rank. Only A and B are trained: `r (in + out)` numbers in place of `in * out`. With
//! B = 0 the layer starts as the base layer, bit for bit. Hu et al. 2021, *LoRA: Low-Rank Adaptation of Large Language
//! Models*, equation 3; A starts as N(0, 1 / r), so that a row of x A has the scale of x whatever the rank.
//!
//! [`LoraLinear`] computes the two terms apart, as in the first line. [`Adapted`](super::Adapted) puts the merged weight into
//! any model, layer by layer, and sends the gradient on to A and B.

use super::{Backend, Frozen, Linear, Matrix, init, ops, walk_params};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, NoneTape, PutTape, SplitTape, Tape, TryMul};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Rank and scale of a low-rank addition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// r. Default 8 (Hu et al. 2021, table 6: ranks above it gained nothing).
    pub rank: usize,
    /// alpha: the addition is multiplied by alpha / r. Default 16.
    pub alpha: f32,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0 }
    }
}

impl LoraConfig {
    /// # Errors
    /// A rank of 0, or an alpha that is not a positive number.
    pub fn validate(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::config("rank = 0, but it must be at least 1"));
        }
        match self.alpha > 0.0 && self.alpha.is_finite() {
            true => Ok(()),
            false => Err(Error::config(format!("alpha = {}, but it must be a positive number", self.alpha))),
        }
    }

    /// alpha / r.
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }
}

/// The addition to one weight: A, B and the scale.
#[derive(Debug, Clone)]
pub struct Lora<D: Backend> {
    /// A, `(in, r)`.
    pub a: Matrix<D>,
    /// B, `(r, out)`.
    pub b: Matrix<D>,
    scale: f32,
}

walk_params!(Lora { params: [a, b], buffers: [], layers: [], kept: [scale] });

impl<D: Backend> Lora<D> {
    /// An addition of zero to a weight `(inputs, outputs)`.
    ///
    /// # Errors
    /// A rank or a scale out of range; a device without memory for it.
    pub fn new(
        device: &D,
        (inputs, outputs): (usize, usize),
        config: LoraConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        config.validate()?;
        let sd = 1.0 / (config.rank as f32).sqrt();
        Ok(Self {
            a: init::normal(device, (inputs, config.rank), sd, rng)?,
            b: init::constant(device, (config.rank, outputs), 0.0)?,
            scale: config.scale(),
        })
    }

    /// `(alpha / r) (x A) B`: `(rows, in)` to `(rows, out)`.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let h = product(x, &self.a)?; // (rows, r)
        product(h, &self.b)?.try_mul(self.scale).map_err(|e| Error::device("scale of a low-rank addition", e))
    }

    /// `W + (alpha / r) A B`, `(in, out)`; gradients reach A and B and not W.
    ///
    /// # Errors
    /// A weight of another shape.
    pub fn merged<T: Tape<f32, D>>(&self, weight: &Matrix<D>, tape: T) -> Result<Matrix<D, T>> {
        if *weight.shape() != (self.a.shape().0, self.b.shape().1) {
            return Err(Error::shape(
                "merging a low-rank addition",
                (self.a.shape().0, self.b.shape().1),
                *weight.shape(),
            ));
        }
        let ab = product(self.a.clone().put_tape(tape), &self.b)?;
        let ab = ab.try_mul(self.scale).map_err(|e| Error::device("scale of a low-rank addition", e))?;
        D::residual(ab, weight.clone())
    }
}

/// `x M` without a bias.
fn product<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, m: &Matrix<D>) -> Result<Matrix<D, T>> {
    let zero = init::constant(x.device(), (m.shape().1,), 0.0)?;
    D::linear(x, m, &zero)
}

/// A trained dense layer that is not trained further, and what is added to its output.
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::{Linear, LoraConfig, LoraLinear, seeded}};
///
/// let (dev, mut rng) = (Cpu::default(), seeded(0));
/// let base = Linear::new(&dev, 6, 4, &mut rng)?;
/// let layer = LoraLinear::new(base.clone(), LoraConfig { rank: 2, alpha: 4.0 }, &mut rng)?;
/// let x = dev.sample_uniform_like(&(5, 6)); // (rows, in)
/// assert_eq!(layer.forward(x.clone())?.as_vec(), base.forward(x)?.as_vec()); // B = 0
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LoraLinear<D: Backend> {
    /// W and b.
    pub base: Frozen<Linear<D>>,
    /// A and B.
    pub lora: Lora<D>,
}

walk_params!(LoraLinear { params: [], buffers: [], layers: [base, lora] });

impl<D: Backend> LoraLinear<D> {
    /// The layer with an addition of zero.
    ///
    /// # Errors
    /// As [`Lora::new`].
    pub fn new(base: Linear<D>, config: LoraConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let lora = Lora::new(base.weight.device(), *base.weight.shape(), config, rng)?;
        Ok(Self { base: Frozen(base), lora })
    }

    /// `x W + b + (alpha / r) (x A) B`: `(rows, in)` to `(rows, out)`.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let (x, tape) = x.split_tape();
        let addition = self.lora.forward(x.clone().put_tape(tape))?;
        ops::add(addition, self.base.0.forward(x.put_tape(T::default()))?)
    }

    /// One dense layer that does the same.
    ///
    /// # Errors
    /// A device that fails.
    pub fn merge(&self) -> Result<Linear<D>> {
        let Linear { weight, bias } = &self.base.0;
        Ok(Linear { weight: self.lora.merged(weight, NoneTape)?, bias: bias.clone() })
    }
}
