//! `y = V W + b` for a sparse V: the first layer over counts, and sums of embeddings. One shader for both directions:
//! `dW = V^T dy` is a product of the same form, by the columns of V.

use super::{
    commands::spread,
    kernels::SPARSE,
    session::{Session, backward, id, with},
};
use crate::{
    Result,
    data::Counts,
    nn::{
        IndexSets, Matrix, Vector,
        ops::{self, Rows, cpu},
        raw,
    },
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use std::sync::Arc;
use wgpu::Buffer;

/// A sparse matrix on the GPU: where each row starts, and its (column, factor) pairs.
struct Sparse {
    rows: usize,
    starts: Buffer,
    entries: Buffer,
}

impl Sparse {
    fn new(s: &mut Session, starts: &[usize], columns: &[u32], factors: &[f32]) -> Result<Self> {
        let starts: Vec<u32> = starts.iter().map(|&start| start as u32).collect();
        let pairs = columns.iter().zip(factors).map(|(&column, factor)| [column, factor.to_bits()]);
        // A binding of pairs holds one at least; no row names this one.
        let pairs: Vec<[u32; 2]> = if columns.is_empty() { vec![[0, 0]] } else { pairs.collect() };
        Ok(Self { rows: starts.len() - 1, starts: s.upload(&starts)?, entries: s.upload(&pairs)? })
    }

    /// `out = start + V matrix`, where a bias is the start, or else what is there.
    fn times(&self, s: &mut Session, matrix: &Buffer, bias: Option<&Buffer>, out: &Buffer, width: usize) -> Result<()> {
        let (mode, bias) = bias.map_or((1, matrix), |bias| (2, bias));
        let numbers = [self.rows as u32, width as u32, mode];
        s.run(&SPARSE, &numbers, &[&self.starts, &self.entries, matrix, bias, out], spread(self.rows * width, 64))
    }
}

/// See [`Backend::sparse_linear`](crate::nn::Backend::sparse_linear).
pub(crate) fn sparse_linear<T: Tape<f32, Cpu>>(
    x: &Arc<Counts>,
    w: &Matrix<Cpu>,
    b: &Vector<Cpu>,
    tape: T,
) -> Result<Matrix<Cpu, T>> {
    ops::check_linear("sparse_linear", (x.n_cells(), x.n_genes()), w, b)?;
    if x.n_cells() * w.shape().0 * w.shape().1 == 0 || !raw::is_row_major(w) || !raw::is_row_major(b) {
        return cpu::sparse_linear(x, w, b, tape);
    }
    let factors = x.values().iter().map(|value| value.ln_1p()).collect();
    combine("sparse_linear", Arc::clone(x), factors, w, Some(b), tape)
}

/// See [`Backend::embedding_sum`](crate::nn::Backend::embedding_sum).
pub(crate) fn embedding_sum<T: Tape<f32, Cpu>>(
    w: &Matrix<Cpu>,
    sets: &Arc<IndexSets>,
    tape: T,
) -> Result<Matrix<Cpu, T>> {
    ops::check_embedding(w, sets)?;
    if sets.is_empty() || w.shape().0 * w.shape().1 == 0 || !raw::is_row_major(w) {
        return cpu::embedding_sum(w, sets, tape);
    }
    combine("embedding", Arc::clone(sets), vec![1.0; sets.indices().len()], w, None, tape)
}

fn combine<T: Tape<f32, Cpu>>(
    operation: &'static str,
    v: Arc<impl Rows>,
    factors: Vec<f32>,
    w: &Matrix<Cpu>,
    b: Option<&Vector<Cpu>>,
    mut tape: T,
) -> Result<Matrix<Cpu, T>> {
    let (rows, (inputs, width)) = (v.n_rows(), *w.shape());
    let y = with(|s| {
        let there = Sparse::new(s, v.indptr(), v.indices(), &factors)?;
        let (w_there, b_there) = (s.weight(w)?, b.map(|b| s.weight(b)).transpose()?);
        let y = s.array(rows * width)?;
        there.times(s, &w_there, b_there.as_ref(), &y, width)?;
        s.output(operation, y, (rows, width), w.device(), T::OWNS_TAPE)
    })?;
    if T::OWNS_TAPE {
        let (y, w, b) = (y.ghost(), id(w), b.map(id));
        tape.add_backward_op(move |grads| {
            let dy = grads.get_or_alloc_mut(&y)?;
            backward(|s| {
                let (starts, rows_of, factors) = ops::transpose(&*v, &factors, inputs);
                let turned = Sparse::new(s, &starts, &rows_of, &factors)?;
                let (there, dw) = (s.upload(dy)?, s.gradient(w)?);
                turned.times(s, &there, None, &dw, width)?;
                match b {
                    Some(b) => {
                        let db = s.gradient(b)?;
                        s.add_column_sums(&db, &there, rows, width)
                    }
                    None => Ok(()),
                }
            })
        });
    }
    Ok(y.put_tape(tape))
}
