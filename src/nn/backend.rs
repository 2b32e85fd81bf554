//! The device a model runs on: dfdx's operations, plus the fused ones.

use super::OptimStep;
use crate::{Result, data::Counts};
use dfdx::{
    prelude::{Cpu, NoneTape, Rank0, Tape, Tensor},
    tensor_ops::Device,
};
use std::sync::Arc;

/// A scalar, such as a loss.
pub type Scalar<D, T = NoneTape> = Tensor<Rank0, f32, D, T>;
/// A vector of run-time length.
pub type Vector<D, T = NoneTape> = Tensor<(usize,), f32, D, T>;
/// A matrix of run-time shape, rows x columns; a batch is cells x features.
pub type Matrix<D, T = NoneTape> = Tensor<(usize, usize), f32, D, T>;

/// What a count likelihood is computed against: the counts of a batch and the library size of each of its cells.
#[derive(Debug, Clone)]
pub struct CountTarget {
    /// Observed counts, `(cells, genes)`.
    pub counts: Arc<Counts>,
    /// Size factor of each cell (UMI counts), `(cells,)`.
    pub library_size: Arc<[f32]>,
    /// If true, `library_size` counts more genes than are modelled: the softmax gets one more class, of logit 0, that
    /// stands for all the others. `rho_g = exp(l_g) / (1 + sum_k exp(l_k))` instead of `exp(l_g) / sum_k exp(l_k)`.
    pub with_remainder: bool,
}

/// Log of the inverse dispersion theta of a negative binomial (variance = mu + mu^2 / theta).
pub enum Dispersion<'a, D: Backend, T: Tape<f32, D>> {
    /// One value a gene, `(genes,)`: a weight of the model.
    Gene(&'a Vector<D>),
    /// One value a cell and gene, `(cells, genes)`: an output of the decoder.
    CellGene(Matrix<D, T>),
}

/// A dfdx device with the fused operations. The defaults compose dfdx's own operations.
pub trait Backend: Device<f32> + OptimStep {
    /// `x W + b`; x `(cells, in)`, W `(in, out)`, b `(out,)`.
    fn linear<T: Tape<f32, Self>>(x: Matrix<Self, T>, w: &Matrix<Self>, b: &Vector<Self>) -> Result<Matrix<Self, T>> {
        let _ = (x, w, b);
        unimplemented!()
    }

    /// `log1p(x) W + b` for a sparse x `(cells, in)`; starts a tape.
    fn sparse_linear<T: Tape<f32, Self>>(
        x: &Arc<Counts>,
        w: &Matrix<Self>,
        b: &Vector<Self>,
        tape: T,
    ) -> Result<Matrix<Self, T>> {
        let _ = (x, w, b, tape);
        unimplemented!()
    }

    /// Negative log-likelihood of each cell in nats, `(cells,)`, summed over genes: NB with mean
    /// `softmax(logits) * library_size`, or ZINB if `zero_logits` (logit of the extra-zero probability) are given.
    fn count_nll<T: Tape<f32, Self>>(
        logits: Matrix<Self, T>,
        log_theta: Dispersion<'_, Self, T>,
        zero_logits: Option<Matrix<Self, T>>,
        target: &CountTarget,
    ) -> Result<Vector<Self, T>> {
        let _ = (logits, log_theta, zero_logits, target);
        unimplemented!()
    }
}

impl Backend for Cpu {}
