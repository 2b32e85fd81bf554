//! Softmax, library size and NB or ZINB likelihood of a batch in one pass over its cells, on the CPU.
//!
//! For a cell with library size L: `ln mu_g = l_g - ln sum_k e^(l_k) + ln L` (the sum with one more term `e^0` for the
//! remainder class), `nll = sum_g nll_g`. With `d_g = d nll / d ln mu_g`, the gradient through the softmax is `d nll /
//! d l_g = d_g - rho_g sum_k d_k`, `rho = mu / L`.
//!
//! A cell is computed in three steps on rows that stay in the first-level cache: all genes as if they were 0 (7 of 8
//! are; no gamma function), then the genes that were seen, gathered so that they fill vectors, then the sums. The
//! backward pass does the cell again with derivatives and writes them, times the incoming gradient, where they belong:
//! that is faster than keeping two or three matrices `(cells, genes)` from the forward pass, and needs no memory.
//!
//! Gradients of a dispersion that cells share are summed over blocks of cells, then over the blocks in order: the
//! result does not depend on the number of threads.

use super::{
    Matrix, Vector,
    nb_cell::{Cell, CellTheta, Scratch},
    vmath::exp,
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
use rayon::prelude::*;
use std::{borrow::Cow, sync::Arc};

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

/// Cells that one task takes.
const CELL_BLOCK: usize = 8;

/// The dispersion without its tape.
enum Theta {
    Gene(Vector<Cpu>),
    CellGene(Matrix<Cpu>),
}

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
    let theta = match log_theta {
        Dispersion::Gene(theta) => Theta::Gene(super::weight("count_nll", theta, &mut tape)?),
        Dispersion::CellGene(theta) => Theta::CellGene(join_tape(theta, &mut tape)?),
    };
    let zero_logits = zero_logits.map(|zero_logits| join_tape(zero_logits, &mut tape)).transpose()?;
    let inputs = Inputs { logits, theta, zero_logits, target: target.clone() };
    let nll = super::tensor("count_nll", inputs.forward(), (target.counts.n_cells(),), inputs.logits.device())?;
    if T::OWNS_TAPE {
        let ghost = nll.ghost();
        tape.add_backward_op(move |grads| {
            let d_nll = std::mem::take(&mut **grads.get_or_alloc_mut(&ghost)?);
            let mut d_logits = std::mem::take(&mut **grads.get_or_alloc_mut(&inputs.logits)?);
            let (d_theta, d_zero) = inputs.backward(&d_nll, &mut d_logits);
            **grads.get_or_alloc_mut(&inputs.logits)? = d_logits;
            **grads.get_or_alloc_mut(&ghost)? = d_nll;
            let sum = match &inputs.theta {
                Theta::Gene(theta) => grads.get_or_alloc_mut(theta)?,
                Theta::CellGene(theta) => grads.get_or_alloc_mut(theta)?,
            };
            add(sum, &d_theta);
            if let Some(zero_logits) = &inputs.zero_logits {
                add(grads.get_or_alloc_mut(zero_logits)?, &d_zero);
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

/// `sum += values`.
fn add(sum: &mut [f32], values: &[f32]) {
    dispatch!(add_scaled(sum, values, 1.0));
}

/// `sum += scale * values`; to be called inside [`dispatch!`].
#[inline(always)]
fn add_scaled(sum: &mut [f32], values: &[f32], scale: f32) {
    sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += scale * value);
}

/// theta of every gene, for all cells.
struct GeneTheta {
    log_theta: Vec<f32>,
    theta: Vec<f32>,
    inverse: Vec<f32>,
}

/// The input slices, and what all cells share.
struct Views<'a> {
    genes: usize,
    logits: Cow<'a, [f32]>,
    log_theta: Cow<'a, [f32]>,
    gene_theta: Option<GeneTheta>,
    zero_logits: Option<Cow<'a, [f32]>>,
    target: &'a CountTarget,
}

impl Inputs {
    fn views(&self) -> Views<'_> {
        let log_theta = match &self.theta {
            Theta::Gene(theta) => raw::slice(theta),
            Theta::CellGene(theta) => raw::slice(theta),
        };
        let gene_theta = matches!(self.theta, Theta::Gene(_)).then(|| {
            dispatch!({
                let clamped: Vec<f32> = log_theta.iter().map(|l| l.clamp(LOG_THETA_MIN, LOG_THETA_MAX)).collect();
                let theta: Vec<f32> = clamped.iter().map(|&l| exp(l)).collect();
                let inverse = theta.iter().map(|theta| 1.0 / theta).collect();
                GeneTheta { log_theta: clamped, theta, inverse }
            })
        });
        Views {
            genes: self.logits.shape().1,
            logits: raw::slice(&self.logits),
            log_theta,
            gene_theta,
            zero_logits: self.zero_logits.as_ref().map(raw::slice),
            target: &self.target,
        }
    }

    /// Negative log-likelihood of each cell.
    fn forward(&self) -> Vec<f32> {
        let views = self.views();
        let scratch = || Scratch::new(views.genes);
        let cells = 0..self.logits.shape().0;
        cells
            .into_par_iter()
            .with_min_len(CELL_BLOCK)
            .map_init(scratch, |scratch, cell| dispatch!(views.cell(cell).nll::<false>(scratch) as f32))
            .collect()
    }

    /// Adds to the gradient of the logits; returns those of log_theta (in its own shape) and of the zero logits.
    fn backward(&self, d_nll: &[f32], d_logits: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
        let views = self.views();
        let (genes, is_shared) = (views.genes, views.gene_theta.is_some());
        if genes == 0 || d_nll.is_empty() {
            return (vec![0.0; views.log_theta.len()], vec![0.0; d_logits.len()]);
        }
        // One row per cell; or one row per block of cells, summed below.
        let rows = if is_shared { d_nll.len().div_ceil(CELL_BLOCK) } else { d_nll.len() };
        let mut d_theta = vec![0.0; rows * genes];
        let mut d_zero = vec![0.0; if self.zero_logits.is_some() { d_logits.len() } else { 0 }];
        let theta_rows = if is_shared { 1 } else { CELL_BLOCK };
        // Without zero inflation the zip needs empty chunks.
        let mut zero_blocks: Vec<&mut [f32]> = d_zero.chunks_mut(CELL_BLOCK * genes).collect();
        zero_blocks.resize_with(d_nll.len().div_ceil(CELL_BLOCK), Default::default);
        d_logits
            .par_chunks_mut(CELL_BLOCK * genes)
            .zip(d_theta.par_chunks_mut(theta_rows * genes))
            .zip(zero_blocks)
            .enumerate()
            .for_each_init(
                || Scratch::new(genes),
                |scratch, (block, ((d_logits, d_theta), d_zero))| {
                    for (i, d_logits) in d_logits.chunks_exact_mut(genes).enumerate() {
                        let cell = block * CELL_BLOCK + i;
                        let theta_row = if is_shared { 0 } else { i };
                        dispatch!({
                            views.cell(cell).nll::<true>(scratch);
                            add_scaled(d_logits, scratch.d_logits(), d_nll[cell]);
                            add_scaled(&mut d_theta[theta_row * genes..], scratch.d_log_theta(), d_nll[cell]);
                            if !d_zero.is_empty() {
                                add_scaled(&mut d_zero[i * genes..], scratch.d_zero_logits(), d_nll[cell]);
                            }
                        });
                    }
                },
            );
        if is_shared {
            let (first, others) = d_theta.split_at_mut(genes);
            others.chunks_exact(genes).for_each(|block| add(first, block));
            d_theta.truncate(genes);
        }
        // Beyond the bounds theta is a constant.
        for (d, log_theta) in d_theta.iter_mut().zip(views.log_theta.iter()) {
            if *log_theta < LOG_THETA_MIN || *log_theta > LOG_THETA_MAX {
                *d = 0.0;
            }
        }
        (d_theta, d_zero)
    }
}

impl<'a> Views<'a> {
    /// One cell's rows.
    fn cell(&'a self, cell: usize) -> Cell<'a> {
        let row = cell * self.genes..(cell + 1) * self.genes;
        let (seen, counts) = self.target.counts.row(cell);
        Cell {
            logits: &self.logits[row.clone()],
            theta: match &self.gene_theta {
                Some(shared) => {
                    CellTheta::Shared { log_theta: &shared.log_theta, theta: &shared.theta, inverse: &shared.inverse }
                }
                None => CellTheta::Own { log_theta: &self.log_theta[row.clone()] },
            },
            zero_logits: self.zero_logits.as_ref().map(|zero_logits| &zero_logits[row]),
            seen,
            counts,
            library_size: self.target.library_size[cell],
            with_remainder: self.target.with_remainder,
        }
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
