//! The energy network, and its derivatives by the input as operations that can be differentiated once more.
//!
//! ```text
//! h_1 = x W_1 + b_1 + g G          g: what is given beside x (a condition, the logarithm of a noise level)
//! h_l = SiLU(h_{l-1}) W_l + b_l    l = 2..depth
//! f   = SiLU(h_depth) w + b        (rows, 1); w and b start at 0
//! ```
//!
//! Objectives that match scores contain derivatives of f by x, and training needs the gradient of *those* by the weights. dfdx
//! differentiates once, so the derivatives by x are written out as a forward pass of their own:
//!
//! ```text
//! gradient:   d_depth = w' * SiLU'(h_depth),   d_l = (d_{l+1} W_{l+1}') * SiLU'(h_l),   grad f = d_1 W_1'
//! along v:    (h, h', h'') goes through a layer as (h W + b, h' W, h'' W) and through SiLU as
//!             (SiLU(h), SiLU'(h) h', SiLU''(h) h'^2 + SiLU'(h) h''),   from (x, v, 0) to (f, v . grad f, v . Hessian v)
//! ```
//!
//! The second is Taylor-mode differentiation (Griewank and Walther 2008, chapter 13): exact, and as cheap as three forward
//! passes for one direction.

use crate::{
    Error, Result,
    nn::{Activation, Backend, Linear, Matrix, init, ops, walk_params},
};
use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Size of an energy network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnergyNetConfig {
    /// Features of a hidden layer; default 128.
    pub width: usize,
    /// Hidden layers; default 3.
    pub depth: usize,
}

impl Default for EnergyNetConfig {
    fn default() -> Self {
        Self { width: 128, depth: 3 }
    }
}

impl EnergyNetConfig {
    /// # Errors
    /// A size of 0.
    pub fn validate(&self) -> Result<()> {
        match (self.width, self.depth) {
            (0, _) => Err(Error::config("width = 0, but it must be at least 1")),
            (_, 0) => Err(Error::config("depth = 0, but it must be at least 1")),
            _ => Ok(()),
        }
    }
}

/// The network f.
#[derive(Debug, Clone)]
pub struct EnergyNet<D: Backend> {
    /// W_1, b_1.
    pub input: Linear<D>,
    /// G, of a network that is given something beside x.
    pub given: Option<Linear<D>>,
    /// W_l, b_l of the further hidden layers.
    pub hidden: Vec<Linear<D>>,
    /// w, b.
    pub output: Linear<D>,
}

walk_params!(EnergyNet { params: [], buffers: [], layers: [input, given, hidden, output] });

/// First and second derivative along a direction, `(rows, 1)` each.
pub struct Along<D: Backend, T: Tape<f32, D>> {
    /// `v . grad f`.
    pub first: Matrix<D, T>,
    /// `v . Hessian v`.
    pub second: Matrix<D, T>,
}

impl<D: Backend> EnergyNet<D> {
    /// A network over rows of `dims` numbers, with `given` numbers beside them or 0 for none.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(
        device: &D,
        (dims, given): (usize, usize),
        config: EnergyNetConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let EnergyNetConfig { width, depth } = config;
        let weight = init::constant(device, (width, 1), 0.0)?;
        Ok(Self {
            input: Linear::new(device, dims, width, rng)?,
            given: (given > 0).then(|| Linear::new(device, given, width, rng)).transpose()?,
            hidden: (1..depth).map(|_| Linear::new(device, width, width, rng)).collect::<Result<_>>()?,
            output: Linear { weight, bias: init::constant(device, (1,), 0.0)? },
        })
    }

    /// f of each row, `(rows, dims)` to `(rows, 1)`; `given` is `(rows, given)`.
    ///
    /// # Errors
    /// Another width; something given to a network that takes nothing, or the reverse.
    pub fn value<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: Option<&Matrix<D>>) -> Result<Matrix<D, T>> {
        let mut h = self.first(x, given)?;
        for layer in &self.hidden {
            h = layer.forward(Activation::Silu.forward(h)?)?;
        }
        self.output.forward(Activation::Silu.forward(h)?)
    }

    /// The gradient of f by x, `(rows, dims)` to the same shape.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn gradient<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: Option<&Matrix<D>>) -> Result<Matrix<D, T>> {
        let mut h = self.first(x, given)?;
        let mut slopes = Vec::with_capacity(self.hidden.len());
        for layer in &self.hidden {
            slopes.push(slope(h.retaped::<T>())?);
            h = layer.forward(Activation::Silu.forward(h)?)?;
        }
        let shape = *h.shape();
        // The tape of h, on which all layers are, goes on through the last slope.
        let last = slope(h)?;
        let run = || {
            let w = self.output.weight.retaped::<T>().try_reshape_like(&(shape.1,))?;
            let mut d = w.try_broadcast_like::<_, Axis<0>>(&shape)?.try_mul(last)?;
            for (layer, slope) in self.hidden.iter().zip(slopes).rev() {
                d = d.try_matmul(transposed(layer)?)?.try_mul(slope)?;
            }
            d.try_matmul(transposed(&self.input)?)
        };
        run().map_err(|e: D::Err| Error::device("gradient of an energy", e))
    }

    /// The derivatives of f along `direction` `(rows, dims)`, one direction per row.
    ///
    /// # Errors
    /// As [`Self::value`]; directions of another shape.
    pub fn along<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        direction: &Matrix<D>,
        given: Option<&Matrix<D>>,
    ) -> Result<Along<D, T>> {
        if x.shape() != direction.shape() {
            return Err(Error::shape("energy: x and directions", x.shape(), direction.shape()));
        }
        let failed = |e: D::Err| Error::device("derivatives of an energy", e);
        let mut h = self.first(x, given)?;
        let mut first = direction.retaped::<T>().try_matmul(self.input.weight.clone()).map_err(failed)?;
        let mut second: Option<Matrix<D, T>> = None;
        for layer in &self.hidden {
            let (a, b) = through_silu(h.retaped::<T>(), first, second)?;
            first = a.try_matmul(layer.weight.clone()).map_err(failed)?;
            second = Some(b.try_matmul(layer.weight.clone()).map_err(failed)?);
            h = layer.forward(Activation::Silu.forward(h)?)?;
        }
        let (a, b) = through_silu(h, first, second)?;
        let output = |a: Matrix<D, T>| a.try_matmul(self.output.weight.clone()).map_err(failed);
        Ok(Along { first: output(a)?, second: output(b)? })
    }

    fn first<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: Option<&Matrix<D>>) -> Result<Matrix<D, T>> {
        let h = self.input.forward(x)?;
        match (&self.given, given) {
            (None, None) => Ok(h),
            (Some(layer), Some(given)) => ops::add(h, layer.forward(given.retaped::<T>())?),
            (Some(_), None) => Err(Error::config("this energy is conditional: give the condition of each row")),
            (None, Some(_)) => Err(Error::config("this energy is unconditional: leave the condition out")),
        }
    }
}

/// W', which shares W's memory.
fn transposed<D: Backend>(layer: &Linear<D>) -> Result<Matrix<D>, D::Err> {
    layer.weight.clone().try_permute::<(usize, usize), Axes2<1, 0>>()
}

/// First and second derivative behind SiLU, of those before it.
fn through_silu<D: Backend, T: Tape<f32, D>>(
    h: Matrix<D, T>,
    first: Matrix<D, T>,
    second: Option<Matrix<D, T>>,
) -> Result<(Matrix<D, T>, Matrix<D, T>)> {
    let bent = curvature(h.retaped::<T>())?;
    let slope = slope(h)?;
    let run = || {
        let mut curved = bent.try_mul(first.retaped::<T>().try_square()?)?;
        if let Some(second) = second {
            curved = curved.try_add(slope.retaped::<T>().try_mul(second)?)?;
        }
        Ok((slope.try_mul(first)?, curved))
    };
    run().map_err(|e: D::Err| Error::device("derivatives of an energy", e))
}

/// `SiLU'(h) = s (1 + h (1 - s))` with the logistic function s of h.
fn slope<D: Backend, T: Tape<f32, D>>(h: Matrix<D, T>) -> Result<Matrix<D, T>> {
    let run = || {
        let s = h.retaped::<T>().try_sigmoid()?;
        let rest = s.retaped::<T>().try_negate()?.try_add(1.0)?.try_mul(h)?.try_add(1.0)?;
        s.try_mul(rest)
    };
    run().map_err(|e: D::Err| Error::device("SiLU'", e))
}

/// `SiLU''(h) = s (1 - s) (2 + h (1 - 2 s))`.
fn curvature<D: Backend, T: Tape<f32, D>>(h: Matrix<D, T>) -> Result<Matrix<D, T>> {
    let run = || {
        let s = h.retaped::<T>().try_sigmoid()?;
        let rest = s.retaped::<T>().try_mul(-2.0)?.try_add(1.0)?.try_mul(h)?.try_add(2.0)?;
        let both = s.retaped::<T>().try_negate()?.try_add(1.0)?.try_mul(rest)?;
        s.try_mul(both)
    };
    run().map_err(|e: D::Err| Error::device("SiLU''", e))
}
