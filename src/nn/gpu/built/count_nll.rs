//! Softmax, library size and NB or ZINB likelihood of a batch, one workgroup per cell. Nothing of a cell is kept between
//! the passes: the backward pass computes it again.

use super::{
    commands::spread,
    kernels::{COUNT_NLL, COUNT_NLL_BACKWARD},
    product::linear,
    session::{self, Session, backward, id, with},
};
use crate::{
    Result,
    nn::{
        CountTarget, Dispersion, LinearLogits, Matrix, Scalar, Vector,
        ops::{self, cpu},
        raw,
    },
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use wgpu::Buffer;

/// The dispersion without its tape.
enum Theta {
    Gene(Vector<Cpu>),
    CellGene(Matrix<Cpu>),
}

/// What both passes read.
struct There {
    logits: Buffer,
    log_theta: Buffer,
    zero_logits: Buffer,
    entries: Buffer,
    numbers: [u32; 5],
}

/// See [`Backend::count_nll`](crate::nn::Backend::count_nll).
pub(crate) fn count_nll<T: Tape<f32, Cpu>>(
    logits: Matrix<Cpu, T>,
    log_theta: Dispersion<'_, Cpu, T>,
    zero_logits: Option<Matrix<Cpu, T>>,
    target: &CountTarget,
) -> Result<Vector<Cpu, T>> {
    ops::check_count_nll(*logits.shape(), &log_theta, zero_logits.as_ref(), target)?;
    let (cells, genes) = *logits.shape();
    let is_view = matches!(log_theta, Dispersion::Gene(theta) if !raw::is_row_major(theta));
    if cells * genes == 0 || is_view {
        return cpu::count_nll(logits, log_theta, zero_logits, target);
    }
    let (logits, mut tape) = ops::input("count_nll", logits)?;
    let theta = match log_theta {
        Dispersion::Gene(theta) => Theta::Gene(theta.clone()),
        Dispersion::CellGene(theta) => Theta::CellGene(ops::join_tape(theta, &mut tape)?),
    };
    let zero_logits = zero_logits.map(|zero_logits| ops::join_tape(zero_logits, &mut tape)).transpose()?;
    let (nll, there) = with(|s| {
        let there = There::new(s, &logits, &theta, zero_logits.as_ref(), target)?;
        let nll = s.array(cells)?;
        let rows = rows_of(target, &vec![0.0; cells]);
        let rows = s.upload(&rows)?;
        let There { logits: l, log_theta, zero_logits, entries, numbers } = &there;
        s.run(&COUNT_NLL, numbers, &[l, log_theta, zero_logits, &rows, entries, &nll], spread(cells, 1))?;
        Ok((s.output("count_nll", nll, (cells,), logits.device(), T::OWNS_TAPE)?, there))
    })?;
    if T::OWNS_TAPE {
        let (nll, logits, target) = (nll.ghost(), logits.ghost(), target.clone());
        // A shared theta is a weight, whose gradient stays on the GPU; one per cell is an activation.
        let (shared, own) = match theta {
            Theta::Gene(theta) => (Some(id(&theta)), None),
            Theta::CellGene(theta) => (None, Some(theta.ghost())),
        };
        let zero_logits = zero_logits.map(|zero| zero.ghost());
        tape.add_backward_op(move |grads| {
            let rows = rows_of(&target, grads.get_or_alloc_mut(&nll)?);
            let [d_logits, d_theta, d_zero] = backward(|s| {
                let [d_logits, d_theta, d_zero] = there.backward(s, &rows, zero_logits.is_some())?;
                if let Some(theta) = shared {
                    let sum = s.gradient(theta)?;
                    s.add_column_sums(&sum, &d_theta, cells, genes)?;
                }
                let len = |is_read: bool| if is_read { cells * genes } else { 0 };
                let arrays =
                    [(&d_logits, cells * genes), (&d_theta, len(own.is_some())), (&d_zero, len(zero_logits.is_some()))];
                Ok(s.read_all(&arrays)?.try_into().expect("three arrays were asked for"))
            })?;
            session::add_to(grads.get_or_alloc_mut(&logits)?, &d_logits);
            if let Some(theta) = &own {
                session::add_to(grads.get_or_alloc_mut(theta)?, &d_theta);
            }
            if let Some(zero_logits) = &zero_logits {
                session::add_to(grads.get_or_alloc_mut(zero_logits)?, &d_zero);
            }
            Ok(())
        });
    }
    Ok(nll.put_tape(tape))
}

/// See [`Backend::output_head`](crate::nn::Backend::output_head): the linear layer, then the likelihood, then the mean.
pub(crate) fn output_head<T: Tape<f32, Cpu>>(
    logits: LinearLogits<'_, Cpu, T>,
    log_theta: Dispersion<'_, Cpu, T>,
    zero_logits: Option<Matrix<Cpu, T>>,
    target: &CountTarget,
) -> Result<Scalar<Cpu, T>> {
    let logits = linear(logits.h, logits.weight, logits.bias)?;
    ops::mean(count_nll(logits, log_theta, zero_logits, target)?)
}

impl There {
    fn new(
        s: &mut Session,
        logits: &Matrix<Cpu>,
        theta: &Theta,
        zero_logits: Option<&Matrix<Cpu>>,
        target: &CountTarget,
    ) -> Result<Self> {
        let (cells, genes) = *logits.shape();
        let logits = s.activation(logits)?;
        let (log_theta, is_per_cell) = match theta {
            Theta::Gene(theta) => (s.weight(theta)?, 0),
            Theta::CellGene(theta) => (s.activation(theta)?, 1),
        };
        let (zero_logits, is_inflated) = match zero_logits {
            Some(zero_logits) => (s.activation(zero_logits)?, 1),
            // Bound, and not read.
            None => (logits.clone(), 0),
        };
        let entries = target.counts.indices().iter().zip(target.counts.values());
        let entries: Vec<[u32; 2]> = entries.map(|(&gene, count)| [gene, count.to_bits()]).collect();
        let entries = s.upload(if entries.is_empty() { &[[0, 0]] } else { &entries[..] })?;
        let numbers = [cells as u32, genes as u32, is_per_cell, is_inflated, u32::from(target.with_remainder)];
        Ok(Self { logits, log_theta, zero_logits, entries, numbers })
    }

    /// The gradients of logits, log theta (for each cell and gene) and zero logits.
    fn backward(&self, s: &mut Session, rows: &[[u32; 4]], is_inflated: bool) -> Result<[Buffer; 3]> {
        let Self { logits, log_theta, zero_logits, entries, numbers } = self;
        let [cells, genes, ..] = *numbers;
        let len = cells as usize * genes as usize;
        let rows = s.upload(rows)?;
        let (d_logits, d_theta) = (s.array(len)?, s.array(len)?);
        let d_zero = s.array(if is_inflated { len } else { 0 })?;
        let arrays = [logits, log_theta, zero_logits, &rows, entries, &d_logits, &d_theta, &d_zero];
        s.run(&COUNT_NLL_BACKWARD, numbers, &arrays, spread(cells as usize, 1))?;
        Ok([d_logits, d_theta, d_zero])
    }
}

/// `Cell` of the shader: the cell's first entry and the end of them, its library size, its likelihood's gradient.
fn rows_of(target: &CountTarget, d_nll: &[f32]) -> Vec<[u32; 4]> {
    let ends = target.counts.indptr().windows(2);
    ends.zip(target.library_size.iter().zip(d_nll))
        .map(|(ends, (size, d_nll))| [ends[0] as u32, ends[1] as u32, size.to_bits(), d_nll.to_bits()])
        .collect()
}
