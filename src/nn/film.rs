//! FiLM: features scaled and shifted by a condition.
//!
//! `y = (1 + gamma) * x + beta` with `(gamma, beta) = c W + b`; x and y `(rows, width)`, c `(sets, condition)`, W
//! `(condition, 2 width)`: all rows of a set share their condition. Perez et al. 2018, *FiLM: Visual Reasoning with a
//! General Conditioning Layer*, section 3, with gamma as the difference from 1. W and b start at 0, so that the layer
//! starts as the identity (as the adaptive norms of Peebles and Xie 2023, *DiT*, section 3.2).
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{Film, RowSets}};
//!
//! let dev = Cpu::default();
//! let mut film = Film::new(&dev, 1, 2)?;
//! film.projection.bias = dev.tensor_from_vec(vec![1.0, 0.0, 0.0, 5.0], (4,)); // gamma 1 and 0, beta 0 and 5
//! let x = dev.tensor_from_vec(vec![1.0, 2.0, 3.0, 4.0], (2, 2));
//! let y = film.forward(x, dev.zeros_like(&(1, 1)), &RowSets::uniform(1, 2))?; // one condition, two rows
//! assert_eq!(y.as_vec(), [2.0, 7.0, 6.0, 9.0]);
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Linear, Matrix, RowSets, init, walk_params};
use crate::Result;
use dfdx::prelude::Tape;

/// `(1 + gamma(c)) * x + beta(c)`.
#[derive(Debug, Clone)]
pub struct Film<D: Backend> {
    /// From the condition to gamma (first half of the columns) and beta, `(condition, 2 width)`; starts at 0.
    pub projection: Linear<D>,
}

walk_params!(Film { params: [], buffers: [], layers: [projection] });

impl<D: Backend> Film<D> {
    /// A layer over rows of `width` features and conditions of `condition`. It draws nothing at random.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, condition: usize, width: usize) -> Result<Self> {
        let weight = init::constant(device, (condition, 2 * width), 0.0)?;
        Ok(Self { projection: Linear { weight, bias: init::constant(device, (2 * width,), 0.0)? } })
    }

    /// x `(rows, width)` and the condition of each set `(sets, condition)` to `(rows, width)`; `RowSets::uniform(rows,
    /// 1)` where each row has its own.
    ///
    /// # Errors
    /// Widths or sets that do not fit.
    pub fn forward<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        condition: Matrix<D, T>,
        sets: &RowSets,
    ) -> Result<Matrix<D, T>> {
        D::film(x, self.projection.forward(condition)?, sets)
    }
}
