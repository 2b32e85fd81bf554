//! A gated recurrent unit.

use super::{Backend, Linear, Matrix, init, walk_params};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Tape, TryAdd, TryMul, TrySub};
use rand_chacha::ChaCha8Rng;

/// A gated recurrent unit (Cho et al. 2014), in the form of PyTorch's `nn.GRUCell`, where the reset gate acts behind the
/// recurrent weights:
///
/// ```text
/// r  = sigmoid(x W_ir + b_ir + h W_hr + b_hr)
/// z  = sigmoid(x W_iz + b_iz + h W_hz + b_hz)
/// n  = tanh(x W_in + b_in + r * (h W_hn + b_hn))
/// h' = (1 - z) * n + z * h
/// ```
///
/// x `(rows, inputs)`, h and h' `(rows, hidden)`. All weights start uniform in `[-1/sqrt(hidden), 1/sqrt(hidden)]`, as in
/// PyTorch.
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::{GruCell, seeded}};
///
/// let dev = Cpu::default();
/// let cell = GruCell::new(&dev, 3, 4, &mut seeded(0))?;
/// let h = cell.forward(dev.ones_like(&(2, 3)), dev.zeros_like(&(2, 4)))?;
/// assert_eq!(*h.shape(), (2, 4)); // (rows, hidden)
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GruCell<D: Backend> {
    /// W_ir, b_ir.
    pub input_reset: Linear<D>,
    /// W_iz, b_iz.
    pub input_update: Linear<D>,
    /// W_in, b_in.
    pub input_new: Linear<D>,
    /// W_hr, b_hr.
    pub hidden_reset: Linear<D>,
    /// W_hz, b_hz.
    pub hidden_update: Linear<D>,
    /// W_hn, b_hn.
    pub hidden_new: Linear<D>,
}

walk_params!(GruCell {
    params: [],
    buffers: [],
    layers: [input_reset, input_update, input_new, hidden_reset, hidden_update, hidden_new]
});

impl<D: Backend> GruCell<D> {
    /// A unit of `hidden` numbers that reads `inputs` numbers.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, inputs: usize, hidden: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let bound = init::kaiming_bound(hidden);
        let mut layer = |from: usize| {
            Ok::<_, Error>(Linear {
                weight: init::uniform(device, (from, hidden), bound, rng)?,
                bias: init::uniform(device, (hidden,), bound, rng)?,
            })
        };
        Ok(Self {
            input_reset: layer(inputs)?,
            input_update: layer(inputs)?,
            input_new: layer(inputs)?,
            hidden_reset: layer(hidden)?,
            hidden_update: layer(hidden)?,
            hidden_new: layer(hidden)?,
        })
    }

    /// h' of x and h.
    ///
    /// # Errors
    /// An x or h of another width, or of different numbers of rows.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, h: Matrix<D, T>) -> Result<Matrix<D, T>> {
        if x.shape().0 != h.shape().0 {
            return Err(Error::shape("GRU: x and h", x.shape(), h.shape()));
        }
        let failed = |e: D::Err| Error::device("GRU", e);
        let pair = |input: &Linear<D>, hidden: &Linear<D>| {
            Ok::<_, Error>((input.forward(x.retaped::<T>())?, hidden.forward(h.retaped::<T>())?))
        };
        let (a, b) = pair(&self.input_reset, &self.hidden_reset)?;
        let reset = a.try_add(b).and_then(|sum| sum.try_sigmoid()).map_err(failed)?;
        let (a, b) = pair(&self.input_update, &self.hidden_update)?;
        let update = a.try_add(b).and_then(|sum| sum.try_sigmoid()).map_err(failed)?;
        let recurrent = self.hidden_new.forward(h.retaped::<T>())?;
        let input = self.input_new.forward(x)?;
        let run = || {
            let new = input.try_add(reset.try_mul(recurrent)?)?.try_tanh()?;
            // (1 - z) n + z h = n + z (h - n)
            let change = h.try_sub(new.retaped::<T>())?.try_mul(update)?;
            new.try_add(change)
        };
        run().map_err(failed)
    }
}
