//! The count likelihoods of a batch, cell by cell and on all cores: what [`count_nll`](super::count_nll) and
//! [`output_head`](super::output_head) share. One cell is computed by [`nb_cell`](super::nb_cell).
//!
//! Gradients of a dispersion that cells share are summed over blocks of cells, then over the blocks in order: the
//! result does not depend on the number of threads.

use super::{
    CountTarget, Dispersion, LOG_THETA_MAX, LOG_THETA_MIN, Matrix, Vector,
    count_nll::join_tape,
    nb_cell::{Cell, CellTheta, Scratch},
    vmath::exp,
};
use crate::{
    Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, Tape};
use rayon::prelude::*;
use std::borrow::Cow;

/// Cells that one task takes.
const CELL_BLOCK: usize = 8;

/// The dispersion without its tape.
pub(super) enum Theta {
    Gene(Vector<Cpu>),
    CellGene(Matrix<Cpu>),
}

impl Theta {
    /// The tape of the dispersion joins `tape`.
    pub(super) fn new<T: Tape<f32, Cpu>>(
        operation: &str,
        log_theta: Dispersion<'_, Cpu, T>,
        tape: &mut T,
    ) -> Result<Self> {
        Ok(match log_theta {
            Dispersion::Gene(theta) => Self::Gene(super::weight(operation, theta, tape)?),
            Dispersion::CellGene(theta) => Self::CellGene(join_tape(theta, tape)?),
        })
    }
}

/// theta of every gene, for all cells.
struct GeneTheta {
    log_theta: Vec<f32>,
    theta: Vec<f32>,
    inverse: Vec<f32>,
}

/// What the likelihoods of a batch depend on besides the logits.
pub(super) struct CountCells<'a> {
    genes: usize,
    log_theta: Cow<'a, [f32]>,
    gene_theta: Option<GeneTheta>,
    zero_logits: Option<Cow<'a, [f32]>>,
    target: &'a CountTarget,
}

/// Where the logits `(cells, genes)` of a batch are when their gradients are computed.
#[derive(Clone, Copy)]
pub(super) enum Logits<'a> {
    /// Here; their gradients are added to what is at the place for them.
    Apart(&'a [f32]),
    /// At the place for their gradients, which overwrite them, and still without this bias `(genes,)`.
    InPlace { bias: &'a [f32] },
}

/// What [`CountCells::differentiate`] gives besides the gradient of the logits.
pub(super) struct Differentiated {
    /// Negative log-likelihood of each cell, `(cells,)`.
    pub(super) nll: Vec<f32>,
    /// In the shape of log theta.
    pub(super) d_log_theta: Vec<f32>,
    /// `(cells, genes)`; empty without zero inflation.
    pub(super) d_zero_logits: Vec<f32>,
}

impl<'a> CountCells<'a> {
    pub(super) fn new(
        genes: usize,
        theta: &'a Theta,
        zero_logits: Option<&'a Matrix<Cpu>>,
        target: &'a CountTarget,
    ) -> Self {
        let log_theta = match theta {
            Theta::Gene(theta) => raw::slice(theta),
            Theta::CellGene(theta) => raw::slice(theta),
        };
        let gene_theta = matches!(theta, Theta::Gene(_)).then(|| {
            dispatch!({
                let clamped: Vec<f32> = log_theta.iter().map(|l| l.clamp(LOG_THETA_MIN, LOG_THETA_MAX)).collect();
                let theta: Vec<f32> = clamped.iter().map(|&l| exp(l)).collect();
                let inverse = theta.iter().map(|theta| 1.0 / theta).collect();
                GeneTheta { log_theta: clamped, theta, inverse }
            })
        });
        Self { genes, log_theta, gene_theta, zero_logits: zero_logits.map(raw::slice), target }
    }

    /// One cell of the batch.
    fn cell<'b>(&'b self, cell: usize, logits: &'b [f32]) -> Cell<'b> {
        let row = cell * self.genes..(cell + 1) * self.genes;
        let (seen, counts) = self.target.counts.row(cell);
        Cell {
            logits,
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

    /// Negative log-likelihood of consecutive cells from cell `first` on, by their `logits` `(cells, genes)`.
    pub(super) fn nll(&self, first: usize, cells: usize, logits: &[f32]) -> Vec<f32> {
        let row = |i: usize| &logits[i * self.genes..(i + 1) * self.genes];
        (0..cells)
            .into_par_iter()
            .with_min_len(CELL_BLOCK)
            .map_init(
                || Scratch::new(self.genes),
                |scratch, i| dispatch!(self.cell(first + i, row(i)).nll::<false>(scratch) as f32),
            )
            .collect()
    }

    /// The gradients of `sum_c weights[c] nll_c`; that of the logits is left in `d_logits`.
    pub(super) fn differentiate(&self, logits: Logits<'_>, d_logits: &mut [f32], weights: &[f32]) -> Differentiated {
        let (cells, genes, is_shared) = (weights.len(), self.genes, self.gene_theta.is_some());
        let zero_len = if self.zero_logits.is_some() { d_logits.len() } else { 0 };
        if genes == 0 || cells == 0 {
            let d_log_theta = vec![0.0; self.log_theta.len()];
            return Differentiated { nll: vec![0.0; cells], d_log_theta, d_zero_logits: vec![0.0; zero_len] };
        }
        // One row per cell; or one row per block of cells, summed below.
        let theta_rows = if is_shared { 1 } else { CELL_BLOCK };
        let mut d_log_theta = vec![0.0; if is_shared { cells.div_ceil(CELL_BLOCK) } else { cells } * genes];
        let (mut nll, mut d_zero_logits) = (vec![0.0; cells], vec![0.0; zero_len]);
        // Without zero inflation the zip needs empty chunks.
        let mut zero_blocks: Vec<&mut [f32]> = d_zero_logits.chunks_mut(CELL_BLOCK * genes).collect();
        zero_blocks.resize_with(cells.div_ceil(CELL_BLOCK), Default::default);
        nll.par_chunks_mut(CELL_BLOCK)
            .zip(d_logits.par_chunks_mut(CELL_BLOCK * genes))
            .zip(d_log_theta.par_chunks_mut(theta_rows * genes))
            .zip(zero_blocks)
            .enumerate()
            .for_each_init(
                || Scratch::new(genes),
                |scratch, (block, (((nll, d_logits), d_log_theta), d_zero))| {
                    for (i, d_logits) in d_logits.chunks_exact_mut(genes).enumerate() {
                        let cell = block * CELL_BLOCK + i;
                        let theta_row = if is_shared { 0 } else { i };
                        dispatch!({
                            nll[i] = self.differentiate_cell(cell, logits, d_logits, weights[cell], scratch);
                            add_scaled(&mut d_log_theta[theta_row * genes..], scratch.d_log_theta(), weights[cell]);
                            if !d_zero.is_empty() {
                                add_scaled(&mut d_zero[i * genes..], scratch.d_zero_logits(), weights[cell]);
                            }
                        });
                    }
                },
            );
        self.finish_d_log_theta(&mut d_log_theta);
        Differentiated { nll, d_log_theta, d_zero_logits }
    }

    /// The negative log-likelihood of a cell, and its gradient times `weight` in the row `d_logits`; the other gradients
    /// are left in `scratch`. To be called inside [`dispatch!`].
    #[inline(always)]
    fn differentiate_cell(
        &self,
        cell: usize,
        logits: Logits<'_>,
        d_logits: &mut [f32],
        weight: f32,
        scratch: &mut Scratch,
    ) -> f32 {
        match logits {
            Logits::Apart(logits) => {
                let row = &logits[cell * self.genes..(cell + 1) * self.genes];
                let nll = self.cell(cell, row).nll::<true>(scratch);
                add_scaled(d_logits, scratch.d_logits(), weight);
                nll as f32
            }
            Logits::InPlace { bias } => {
                add_scaled(d_logits, bias, 1.0);
                let nll = self.cell(cell, d_logits).nll::<true>(scratch);
                d_logits.iter_mut().zip(scratch.d_logits()).for_each(|(out, &d)| *out = weight * d);
                nll as f32
            }
        }
    }

    /// Sums the blocks of a shared dispersion into one row, and ends the gradient at the bounds: beyond them theta is a
    /// constant.
    fn finish_d_log_theta(&self, d_log_theta: &mut Vec<f32>) {
        if self.gene_theta.is_some() {
            let (first, others) = d_log_theta.split_at_mut(self.genes);
            others.chunks_exact(self.genes).for_each(|block| dispatch!(add_scaled(first, block, 1.0)));
            d_log_theta.truncate(self.genes);
        }
        for (d, log_theta) in d_log_theta.iter_mut().zip(self.log_theta.iter()) {
            if *log_theta < LOG_THETA_MIN || *log_theta > LOG_THETA_MAX {
                *d = 0.0;
            }
        }
    }
}

/// `sum += scale * values`; to be called inside [`dispatch!`].
#[inline(always)]
pub(super) fn add_scaled(sum: &mut [f32], values: &[f32], scale: f32) {
    sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += scale * value);
}
