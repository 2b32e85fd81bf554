//! The last layer of a count decoder and its loss in one operation: `mean_c nll_c(h W + b)`, on the CPU.
//!
//! With logits `l = h W + b`, the likelihood of [`count_nll`](super::count_nll) and `D = d mean / d l` `(cells, genes)`:
//! `dW = h^T D`, `db = sum over cells of D`, `dh = D W^T`.
//!
//! A linear layer followed by the likelihood keeps the logits, allocates a gradient of the same size beside them, and
//! computes each cell twice, as the weight of a cell in the loss is known in the backward pass only. Of the mean over
//! the cells all gradients are linear in one incoming number, so they are computed in the forward pass, where the
//! logits of a cell are at hand: a row of logits is overwritten by its gradient before it leaves the cache, and the
//! backward pass multiplies by the number. There is one matrix `(cells, genes)`: the product writes logits into it, and D takes
//! their place.
//!
//! D is kept rather than made again from blocks of genes: the softmax needs its normaliser before the first gradient, so
//! every block of logits would be multiplied out twice, a third more arithmetic in a step that the matrix products decide.
//! Validation, which needs no D, goes over blocks of cells and holds one block of logits.

use super::{
    CountTarget, Dispersion, Matrix, Scalar, Vector,
    count_cells::{CountCells, Differentiated, Logits, Theta, add_scaled},
    count_nll::{check_count_nll, join_tape},
    gemm::{MatRef, add_product, add_scaled_product, product_of},
    linear::{add_column_sums, add_input_gradient, check_linear, repeat},
};
use crate::{
    Result,
    nn::{raw, simd::dispatch},
};
use dfdx::{
    prelude::{Cpu, Gradients, HasShape, PutTape, Tape},
    tensor_ops::Device,
};

/// Cells whose logits validation holds at a time: their matrix product still fills all cores.
const CELLS_AT_ONCE: usize = 128;

/// Logits `h W + b` that are not computed yet.
pub struct LinearLogits<'a, D: Device<f32>, T: Tape<f32, D>> {
    /// Last hidden layer of a decoder, `(cells, width)`.
    pub h: Matrix<D, T>,
    /// W, `(width, genes)`.
    pub weight: &'a Matrix<D>,
    /// b, `(genes,)`.
    pub bias: &'a Vector<D>,
}

/// What both passes read.
struct Inputs {
    h: Matrix<Cpu>,
    weight: Matrix<Cpu>,
    bias: Vector<Cpu>,
    theta: Theta,
    zero_logits: Option<Matrix<Cpu>>,
    target: CountTarget,
}

/// See [`Backend::output_head`](crate::nn::Backend::output_head).
pub(crate) fn output_head<T: Tape<f32, Cpu>>(
    logits: LinearLogits<'_, Cpu, T>,
    log_theta: Dispersion<'_, Cpu, T>,
    zero_logits: Option<Matrix<Cpu, T>>,
    target: &CountTarget,
) -> Result<Scalar<Cpu, T>> {
    let LinearLogits { h, weight, bias } = logits;
    check_linear("output_head", *h.shape(), weight, bias)?;
    let shape = (h.shape().0, weight.shape().1);
    check_count_nll(shape, &log_theta, zero_logits.as_ref(), target)?;
    let (h, mut tape) = super::input("output_head", h)?;
    let inputs = Inputs {
        weight: super::weight("output_head", weight, &mut tape)?,
        bias: super::weight("output_head", bias, &mut tape)?,
        theta: Theta::new("output_head", log_theta, &mut tape)?,
        zero_logits: zero_logits.map(|zero_logits| join_tape(zero_logits, &mut tape)).transpose()?,
        target: target.clone(),
        h,
    };
    let device = inputs.h.device().clone();
    let scalar = |nll: &[f32]| super::tensor("output_head", vec![mean(nll)], (), &device);
    if !T::OWNS_TAPE {
        return Ok(scalar(&inputs.nll())?.put_tape(tape));
    }
    let (d_logits, others) = inputs.differentiate();
    let loss: Scalar<Cpu> = scalar(&others.nll)?;
    let ghost = loss.ghost();
    tape.add_backward_op(move |grads| {
        let incoming = grads.get_or_alloc_mut(&ghost)?[0];
        inputs.add_gradients(grads, incoming, &d_logits, &others)
    });
    Ok(loss.put_tape(tape))
}

/// In f64; 0/0 of an empty batch.
fn mean(nll: &[f32]) -> f32 {
    (nll.iter().map(|&nll| f64::from(nll)).sum::<f64>() / nll.len() as f64) as f32
}

impl Inputs {
    /// h `(cells, width)` and W `(width, genes)`, to be multiplied.
    fn factors<'a>(&self, h: &'a [f32], weight: &'a [f32]) -> (MatRef<'a>, MatRef<'a>) {
        let (&(cells, width), &(_, genes)) = (self.h.shape(), self.weight.shape());
        (MatRef::new(h, cells, width), MatRef::new(weight, width, genes))
    }

    fn cells(&self) -> CountCells<'_> {
        CountCells::new(self.weight.shape().1, &self.theta, self.zero_logits.as_ref(), &self.target)
    }

    /// Negative log-likelihood of each cell, by blocks of cells.
    fn nll(&self) -> Vec<f32> {
        let (h, weight, bias) = (raw::slice(&self.h), raw::slice(&self.weight), raw::slice(&self.bias));
        let (h, weight) = self.factors(&h, &weight);
        let cells = self.cells();
        let mut nll = Vec::with_capacity(h.rows());
        for first in (0..h.rows()).step_by(CELLS_AT_ONCE) {
            let block = first..h.rows().min(first + CELLS_AT_ONCE);
            let mut logits = repeat(&bias, block.len());
            add_product(&mut logits, h.row_block(block.clone()), weight);
            nll.extend(cells.nll(first, block.len(), &logits));
        }
        nll
    }

    /// D, and what else the mean is differentiated by.
    fn differentiate(&self) -> (Vec<f32>, Differentiated) {
        let (h, weight) = (raw::slice(&self.h), raw::slice(&self.weight));
        let (h, weight) = self.factors(&h, &weight);
        let mut d_logits = product_of(h, weight); // the logits without their bias, until a cell is done
        let weights = vec![1.0 / h.rows() as f32; h.rows()];
        let bias = raw::slice(&self.bias);
        let others = self.cells().differentiate(Logits::InPlace { bias: &bias }, &mut d_logits, &weights);
        (d_logits, others)
    }

    /// Adds `incoming` times each gradient of the mean to the gradient of the loss.
    fn add_gradients(
        &self,
        grads: &mut Gradients<f32, Cpu>,
        incoming: f32,
        d_logits: &[f32],
        others: &Differentiated,
    ) -> std::result::Result<(), dfdx::tensor::CpuError> {
        let (h, weight) = (raw::slice(&self.h), raw::slice(&self.weight));
        let (h, weight) = self.factors(&h, &weight);
        let genes = self.weight.shape().1;
        let d_logits_matrix = MatRef::new(d_logits, h.rows(), genes);
        add_input_gradient(grads.get_or_alloc_mut(&self.h)?, d_logits_matrix, weight, incoming);
        add_scaled_product(grads.get_or_alloc_mut(&self.weight)?, h.t(), d_logits_matrix, incoming);
        let mut d_bias = vec![0.0; genes];
        add_column_sums(&mut d_bias, d_logits);
        let add = |sum: &mut [f32], gradient: &[f32]| dispatch!(add_scaled(sum, gradient, incoming));
        add(grads.get_or_alloc_mut(&self.bias)?, &d_bias);
        match &self.theta {
            Theta::Gene(theta) => add(grads.get_or_alloc_mut(theta)?, &others.d_log_theta),
            Theta::CellGene(theta) => add(grads.get_or_alloc_mut(theta)?, &others.d_log_theta),
        }
        if let Some(zero_logits) = &self.zero_logits {
            add(grads.get_or_alloc_mut(zero_logits)?, &others.d_zero_logits);
        }
        Ok(())
    }
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::{self, composed};

    /// The linear layer, then the likelihood, then the mean.
    pub fn output_head<D: Device<f32>, T: Tape<f32, D>>(
        logits: LinearLogits<'_, D, T>,
        log_theta: Dispersion<'_, D, T>,
        zero_logits: Option<Matrix<D, T>>,
        target: &CountTarget,
    ) -> Result<Scalar<D, T>> {
        let logits = composed::linear(logits.h, logits.weight, logits.bias)?;
        ops::mean(composed::count_nll(logits, log_theta, zero_logits, target)?)
    }
}
