//! Softmax, library size and NB or ZINB likelihood of a batch in one pass over its cells, on the CPU.
//!
//! For a cell with library size L: `ln mu_g = l_g - ln sum_k e^(l_k) + ln L` (the sum with one more term `e^0` for the
//! remainder class), `nll = sum_g nll_g`. With `d_g = d nll / d ln mu_g`, the gradient through the softmax is `d nll /
//! d l_g = d_g - rho_g sum_k d_k`, `rho = mu / L`.
//!
//! A cell is computed in three steps on rows that stay in the first-level cache: all genes as if they were 0 (7 of 8
//! are; no gamma function), then the genes that were seen, gathered so that they fill vectors, then the sums. The
//! backward pass does the cell again with derivatives and writes them, times the incoming gradient, where they belong:
//! that is faster than keeping two or three matrices `(cells, genes)` from the forward pass, and needs no memory. Where the
//! logits come out of a linear layer and the mean over the cells is the loss,
//! [`output_head`](crate::nn::Backend::output_head) computes each cell once.

use super::{
    Matrix, Vector,
    count_cells::{CountCells, Logits, Theta, add_scaled},
};
use crate::{
    Error, Result,
    data::Counts,
    nn::{raw, simd::dispatch},
};
use dfdx::{
    prelude::{Cpu, HasShape, PutTape, Tape},
    tensor_ops::Device,
};
use std::sync::Arc;

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
pub enum Dispersion<'a, D: Device<f32>, T: Tape<f32, D>> {
    /// One value per gene, `(genes,)`: a weight of the model.
    Gene(&'a Vector<D>),
    /// One value per cell and gene, `(cells, genes)`: an output of the decoder.
    CellGene(Matrix<D, T>),
}

/// Bounds of `log_theta`: theta between 1e-6 (variance a million times mu^2) and 3e8 (a Poisson distribution for any
/// count that a cell can have). Beyond them the gradient is zero.
pub const LOG_THETA_MIN: f32 = -13.8;
/// See [`LOG_THETA_MIN`].
pub const LOG_THETA_MAX: f32 = 19.5;

/// What both passes read; rows of `genes` values.
struct Inputs {
    logits: Matrix<Cpu>,
    theta: Theta,
    zero_logits: Option<Matrix<Cpu>>,
    target: CountTarget,
}

/// See [`Backend::count_nll`](crate::nn::Backend::count_nll).
pub(crate) fn count_nll<T: Tape<f32, Cpu>>(
    logits: Matrix<Cpu, T>,
    log_theta: Dispersion<'_, Cpu, T>,
    zero_logits: Option<Matrix<Cpu, T>>,
    target: &CountTarget,
) -> Result<Vector<Cpu, T>> {
    check_count_nll(*logits.shape(), &log_theta, zero_logits.as_ref(), target)?;
    let (logits, mut tape) = super::input("count_nll", logits)?;
    let theta = Theta::new("count_nll", log_theta, &mut tape)?;
    let zero_logits = zero_logits.map(|zero_logits| join_tape(zero_logits, &mut tape)).transpose()?;
    let inputs = Inputs { logits, theta, zero_logits, target: target.clone() };
    let nll = inputs.cells().nll(0, target.counts.n_cells(), &raw::slice(&inputs.logits));
    let nll = super::tensor("count_nll", nll, (target.counts.n_cells(),), inputs.logits.device())?;
    if T::OWNS_TAPE {
        let ghost = nll.ghost();
        tape.add_backward_op(move |grads| {
            let d_nll = std::mem::take(&mut **grads.get_or_alloc_mut(&ghost)?);
            let mut d_logits = std::mem::take(&mut **grads.get_or_alloc_mut(&inputs.logits)?);
            let logits = raw::slice(&inputs.logits);
            let of = inputs.cells().differentiate(Logits::Apart(&logits), &mut d_logits, &d_nll);
            **grads.get_or_alloc_mut(&inputs.logits)? = d_logits;
            **grads.get_or_alloc_mut(&ghost)? = d_nll;
            let sum = match &inputs.theta {
                Theta::Gene(theta) => grads.get_or_alloc_mut(theta)?,
                Theta::CellGene(theta) => grads.get_or_alloc_mut(theta)?,
            };
            dispatch!(add_scaled(sum, &of.d_log_theta, 1.0));
            if let Some(zero_logits) = &inputs.zero_logits {
                let sum = grads.get_or_alloc_mut(zero_logits)?;
                dispatch!(add_scaled(sum, &of.d_zero_logits, 1.0));
            }
            Ok(())
        });
    }
    Ok(nll.put_tape(tape))
}

/// The tensor without its tape, which joins `tape`.
pub(in crate::nn) fn join_tape<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, tape: &mut T) -> Result<Matrix<Cpu>> {
    let (x, other) = super::input("count_nll", x)?;
    *tape = std::mem::take(tape).merge(other);
    Ok(x)
}

impl Inputs {
    fn cells(&self) -> CountCells<'_> {
        CountCells::new(self.logits.shape().1, &self.theta, self.zero_logits.as_ref(), &self.target)
    }
}

/// Everything is `(cells, genes)`, except what is `(cells,)` or `(genes,)`.
pub(in crate::nn) fn check_count_nll<D: Device<f32>, T: Tape<f32, D>>(
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
