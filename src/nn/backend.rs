//! The device a model runs on: dfdx's operations, plus the fused ones.

use super::{Activation, IndexSets, LossOps, OptimStep, TokenOps, composed, fused};
use crate::{Error, Result, data::Counts};
use dfdx::{
    prelude::{Cpu, HasShape, NoneTape, Rank0, Tape, Tensor},
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
    /// Size factor of each cell (UMI counts, > 0), `(cells,)`.
    pub library_size: Arc<[f32]>,
    /// If true, `library_size` counts more genes than are modelled: the softmax gets one more class, of logit 0, that
    /// stands for all the others. `rho_g = exp(l_g) / (1 + sum_k exp(l_k))` instead of `exp(l_g) / sum_k exp(l_k)`.
    pub with_remainder: bool,
}

/// Log of the inverse dispersion theta of a negative binomial (variance = mu + mu^2 / theta), taken as clamped to
/// [`LOG_THETA_MIN`], [`LOG_THETA_MAX`].
pub enum Dispersion<'a, D: Backend, T: Tape<f32, D>> {
    /// One value a gene, `(genes,)`: a weight of the model.
    Gene(&'a Vector<D>),
    /// One value a cell and gene, `(cells, genes)`: an output of the decoder.
    CellGene(Matrix<D, T>),
}

/// Bounds of `log_theta`: theta between 1e-6 (variance a million times mu^2) and 3e8 (a Poisson distribution for any
/// count that a cell can have). Beyond them the gradient is zero.
pub const LOG_THETA_MIN: f32 = -13.8;
/// See [`LOG_THETA_MIN`].
pub const LOG_THETA_MAX: f32 = 19.5;

/// Mean and population variance of each feature over a batch, `(width,)`.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchMoments {
    /// Mean over the rows.
    pub mean: Vec<f32>,
    /// Mean squared distance from the mean.
    pub variance: Vec<f32>,
}

/// A dfdx device with the fused operations. The defaults compose dfdx's own operations.
///
/// Every operation checks the shapes of its arguments and returns an error of kind
/// [`Shape`](crate::ErrorKind::Shape) that names it and the shapes.
pub trait Backend: Device<f32> + OptimStep + TokenOps + LossOps {
    /// `x W + b`; x `(rows, in)`, W `(in, out)`, b `(out,)`.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn linear<T: Tape<f32, Self>>(x: Matrix<Self, T>, w: &Matrix<Self>, b: &Vector<Self>) -> Result<Matrix<Self, T>> {
        check_linear("linear", *x.shape(), w, b)?;
        composed::linear(x, w, b)
    }

    /// `log1p(x) W + b` for a sparse x `(cells, in)` of raw counts; starts a tape. No gradient of x.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn sparse_linear<T: Tape<f32, Self>>(
        x: &Arc<Counts>,
        w: &Matrix<Self>,
        b: &Vector<Self>,
        tape: T,
    ) -> Result<Matrix<Self, T>> {
        check_linear("sparse_linear", (x.n_cells(), x.n_genes()), w, b)?;
        composed::sparse_linear(x, w, b, tape)
    }

    /// Row r of the result is the sum of the rows of W `(entries, width)` that set r names, zero for an empty set:
    /// `(sets, width)`; starts a tape.
    ///
    /// # Errors
    /// An index that W has no row for; a device that fails.
    fn embedding_sum<T: Tape<f32, Self>>(w: &Matrix<Self>, sets: &Arc<IndexSets>, tape: T) -> Result<Matrix<Self, T>> {
        check_embedding(w, sets)?;
        composed::embedding_sum(w, sets, tape)
    }

    /// The activation of each element.
    ///
    /// # Errors
    /// A device that fails.
    fn activation<T: Tape<f32, Self>>(x: Matrix<Self, T>, activation: Activation) -> Result<Matrix<Self, T>> {
        composed::activation(x, activation)
    }

    /// Each row minus its mean, over its standard deviation `sqrt(variance + epsilon)`, times `weight` plus `bias`;
    /// x `(rows, width)`, weight and bias `(width,)`.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn layer_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<Matrix<Self, T>> {
        check_widths("layer_norm", *x.shape(), &[weight, bias])?;
        composed::layer_norm(x, weight, bias, epsilon)
    }

    /// Each column minus its mean, over its standard deviation `sqrt(variance + epsilon)`, times `weight` plus `bias`,
    /// and the moments; x `(rows, width)`, weight and bias `(width,)`.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn batch_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<(Matrix<Self, T>, BatchMoments)> {
        check_widths("batch_norm", *x.shape(), &[weight, bias])?;
        composed::batch_norm(x, weight, bias, epsilon)
    }

    /// `(x - mean) / sqrt(variance + epsilon) * weight + bias` by column, moments given; x `(rows, width)`, the others
    /// `(width,)`.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn standardize<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        mean: &Vector<Self>,
        variance: &Vector<Self>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<Matrix<Self, T>> {
        check_widths("batch_norm", *x.shape(), &[mean, variance, weight, bias])?;
        composed::standardize(x, mean, variance, weight, bias, epsilon)
    }

    /// Each element times a constant, `factors` in row-major order.
    ///
    /// # Errors
    /// Another number of factors; a device that fails.
    fn multiply<T: Tape<f32, Self>>(x: Matrix<Self, T>, factors: Vec<f32>) -> Result<Matrix<Self, T>> {
        check_factors(*x.shape(), &factors)?;
        composed::multiply(x, factors)
    }

    /// Negative log-likelihood of each cell in nats, `(cells,)`, summed over genes: NB with mean
    /// `softmax(logits) * library_size`, or ZINB if `zero_logits` (logit of the extra-zero probability) are given.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn count_nll<T: Tape<f32, Self>>(
        logits: Matrix<Self, T>,
        log_theta: Dispersion<'_, Self, T>,
        zero_logits: Option<Matrix<Self, T>>,
        target: &CountTarget,
    ) -> Result<Vector<Self, T>> {
        check_count_nll(*logits.shape(), &log_theta, zero_logits.as_ref(), target)?;
        composed::count_nll(logits, log_theta, zero_logits, target)
    }
}

impl Backend for Cpu {
    fn linear<T: Tape<f32, Self>>(x: Matrix<Self, T>, w: &Matrix<Self>, b: &Vector<Self>) -> Result<Matrix<Self, T>> {
        check_linear("linear", *x.shape(), w, b)?;
        fused::linear::linear(x, w, b)
    }

    fn sparse_linear<T: Tape<f32, Self>>(
        x: &Arc<Counts>,
        w: &Matrix<Self>,
        b: &Vector<Self>,
        tape: T,
    ) -> Result<Matrix<Self, T>> {
        check_linear("sparse_linear", (x.n_cells(), x.n_genes()), w, b)?;
        fused::sparse::sparse_linear(x, w, b, tape)
    }

    fn embedding_sum<T: Tape<f32, Self>>(w: &Matrix<Self>, sets: &Arc<IndexSets>, tape: T) -> Result<Matrix<Self, T>> {
        check_embedding(w, sets)?;
        fused::sparse::embedding_sum(w, sets, tape)
    }

    fn activation<T: Tape<f32, Self>>(x: Matrix<Self, T>, activation: Activation) -> Result<Matrix<Self, T>> {
        fused::activation::activation(x, activation)
    }

    fn layer_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<Matrix<Self, T>> {
        check_widths("layer_norm", *x.shape(), &[weight, bias])?;
        fused::layer_norm::layer_norm(x, weight, bias, epsilon)
    }

    fn batch_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<(Matrix<Self, T>, BatchMoments)> {
        check_widths("batch_norm", *x.shape(), &[weight, bias])?;
        fused::batch_norm::batch_norm(x, weight, bias, epsilon)
    }

    fn multiply<T: Tape<f32, Self>>(x: Matrix<Self, T>, factors: Vec<f32>) -> Result<Matrix<Self, T>> {
        check_factors(*x.shape(), &factors)?;
        fused::activation::multiply(x, factors)
    }

    fn count_nll<T: Tape<f32, Self>>(
        logits: Matrix<Self, T>,
        log_theta: Dispersion<'_, Self, T>,
        zero_logits: Option<Matrix<Self, T>>,
        target: &CountTarget,
    ) -> Result<Vector<Self, T>> {
        check_count_nll(*logits.shape(), &log_theta, zero_logits.as_ref(), target)?;
        fused::count_nll::count_nll(logits, log_theta, zero_logits, target)
    }
}

#[cfg(feature = "cuda")]
impl Backend for dfdx::prelude::Cuda {}

/// x `(rows, in)`, W `(in, out)`, b `(out,)`.
fn check_linear<D: Backend>(operation: &str, x: (usize, usize), w: &Matrix<D>, b: &Vector<D>) -> Result<()> {
    let (&w, &b) = (w.shape(), b.shape());
    if x.1 != w.0 {
        return Err(Error::shape(operation, x, w));
    }
    if b.0 != w.1 {
        return Err(Error::shape(operation, w, b));
    }
    Ok(())
}

/// Every index is a row of W.
fn check_embedding<D: Backend>(w: &Matrix<D>, sets: &IndexSets) -> Result<()> {
    let entries = w.shape().0;
    match sets.indices().iter().max() {
        Some(&largest) if largest as usize >= entries => {
            Err(Error::config(format!("embedding: index {largest} is asked for, but there are {entries} entries")))
        }
        _ => Ok(()),
    }
}

/// Each of `vectors` is as long as a row of x.
fn check_widths<D: Backend>(operation: &str, x: (usize, usize), vectors: &[&Vector<D>]) -> Result<()> {
    match vectors.iter().find(|v| v.shape().0 != x.1) {
        Some(v) => Err(Error::shape(operation, x, v.shape())),
        None => Ok(()),
    }
}

/// One factor an element.
fn check_factors(x: (usize, usize), factors: &[f32]) -> Result<()> {
    if factors.len() == x.0 * x.1 { Ok(()) } else { Err(Error::shape("multiply", x, (factors.len(),))) }
}

/// Everything is `(cells, genes)`, except what is `(cells,)` or `(genes,)`.
fn check_count_nll<D: Backend, T: Tape<f32, D>>(
    logits: (usize, usize),
    log_theta: &Dispersion<'_, D, T>,
    zero_logits: Option<&Matrix<D, T>>,
    target: &CountTarget,
) -> Result<()> {
    let counts = (target.counts.n_cells(), target.counts.n_genes());
    if counts != logits {
        return Err(Error::shape("count_nll of logits and counts", logits, counts));
    }
    match log_theta {
        Dispersion::Gene(theta) if theta.shape().0 != logits.1 => {
            return Err(Error::shape("count_nll of logits and log_theta", logits, theta.shape()));
        }
        Dispersion::CellGene(theta) if *theta.shape() != logits => {
            return Err(Error::shape("count_nll of logits and log_theta", logits, theta.shape()));
        }
        _ => {}
    }
    if let Some(zero) = zero_logits.filter(|zero| *zero.shape() != logits) {
        return Err(Error::shape("count_nll of logits and zero_logits", logits, zero.shape()));
    }
    if target.library_size.len() != logits.0 {
        return Err(Error::shape("count_nll of logits and library_size", logits, (target.library_size.len(),)));
    }
    if let Some(cell) = target.library_size.iter().position(|size| !(*size > 0.0 && size.is_finite())) {
        return Err(Error::data(format!(
            "count_nll: the library size of cell {cell} of the batch is {}; it must be a positive number, \
             so drop cells without counts first",
            target.library_size[cell]
        )));
    }
    Ok(())
}
