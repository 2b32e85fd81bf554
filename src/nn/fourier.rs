//! Fourier features: a real value as sines and cosines of it at several frequencies.
//!
//! `y = (sin(2 pi f_1 x), ..., sin(2 pi f_k x), cos(2 pi f_1 x), ..., cos(2 pi f_k x))`, x `(rows, 1)`, y `(rows, 2 k)`.
//! With them a network separates values that a linear layer hardly separates (Tancik et al. 2020, *Fourier Features Let
//! Networks Learn High Frequency Functions*). The frequencies start log-spaced, `f_i = 1 / period_i` with the periods
//! geometric from the longest to the shortest (as the position codes of Vaswani et al. 2017), and stay as they are or
//! are learned. For log1p expression, which lies in 0 to about 9, a longest period of 32 keeps the value in less than a
//! third of a turn, so that the slowest pair is almost the value itself, and a shortest one of 0.25 resolves noise.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::FourierFeatures};
//!
//! let dev = Cpu::default();
//! let layer = FourierFeatures::new(&dev, 2, (4.0, 1.0), false)?; // frequencies 1/4 and 1
//! let y = layer.forward(dev.tensor_from_vec(vec![1.0], (1, 1)))?.as_vec();
//! for (y, want) in y.iter().zip([1.0, 0.0, 0.0, 1.0]) { // sin(pi/2), sin(2 pi), cos(pi/2), cos(2 pi)
//!     assert!((y - want).abs() < 1e-6);
//! }
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix, Params, Vector, Visitor, VisitorMut, join, movable};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Tape};

/// Sines and cosines of a value.
#[derive(Debug, Clone)]
pub struct FourierFeatures<D: Backend> {
    /// Turns per unit of x, `(k,)`.
    pub frequencies: Vector<D>,
    learned: bool,
}

impl<D: Backend> Params<D> for FourierFeatures<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        let name = join(path, "frequencies");
        if self.learned { visitor.param(&name, &self.frequencies) } else { visitor.buffer(&name, &self.frequencies) }
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        let name = join(path, "frequencies");
        if self.learned {
            visitor.param(&name, &mut self.frequencies)
        } else {
            visitor.buffer(&name, &mut self.frequencies)
        }
    }
}

movable!(FourierFeatures { moved: [frequencies], kept: [learned] });

impl<D: Backend> FourierFeatures<D> {
    /// `count` frequencies with periods geometric between `(longest, shortest)`, both included; `learned` if they are
    /// weights, else they are saved but not trained. It draws nothing at random.
    ///
    /// # Errors
    /// Periods that are not positive, finite and in this order; no frequency; a device without memory for it.
    pub fn new(device: &D, count: usize, (longest, shortest): (f32, f32), learned: bool) -> Result<Self> {
        if count == 0 || !(shortest > 0.0 && shortest <= longest && longest.is_finite()) {
            return Err(Error::config(format!(
                "Fourier features: {count} periods from {longest} to {shortest}; there must be at least one, and \
                 0 < shortest <= longest"
            )));
        }
        let step = (f64::from(longest) / f64::from(shortest)).ln() / (count.max(2) - 1) as f64;
        let frequencies = (0..count).map(|i| ((i as f64 * step).exp() / f64::from(longest)) as f32).collect();
        let frequencies = device
            .try_tensor_from_vec(frequencies, (count,))
            .map_err(|e| Error::device("allocation of a weight", e))?;
        Ok(Self { frequencies, learned })
    }

    /// `(rows, 1)` to `(rows, 2 k)`.
    ///
    /// # Errors
    /// An x of more than one column.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        D::fourier(x, &self.frequencies)
    }

    /// 2 k, the width of the result.
    pub fn width(&self) -> usize {
        2 * self.frequencies.shape().0
    }
}
