//! `y = V W + b` on the CPU for a sparse V: the first layer over counts, and sums of embeddings.
//!
//! V is CSR `(rows, inputs)`; no gradient is taken of it. Forward, a row of y is the sum of the rows of W that it
//! names; backward, `dW[i] = sum_r V[r, i] dy[r]`, which walks the columns of V (CSC). Both are sums in a fixed order,
//! and each output row belongs to one task, so nothing depends on the number of threads.

use super::{
    linear::{add_column_sums, repeat},
    vmath::log1p,
};
use crate::{
    Result,
    data::Counts,
    nn::{IndexSets, Matrix, Vector, raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, Gradients, HasShape, PutTape, Tape};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows of W that stay in the second-level cache while all cells of a task use them: 256 x 512 x 4 bytes = 512 KiB.
const INPUT_BLOCK: usize = 256;
/// Columns summed in registers at a time: four AVX-512 or eight AVX registers.
const TILE: usize = 64;
/// Most rows of V that one forward task takes: their sums, 64 x 512 x 4 bytes = 128 KiB, share the cache with the block
/// of W.
const ROW_BLOCK: usize = 64;
/// Rows of W that one backward task takes.
const GRADIENT_BLOCK: usize = 64;

/// Which inputs each row of V has, and with which factors.
trait Rows: Send + Sync + 'static {
    fn n_rows(&self) -> usize;
    fn indptr(&self) -> &[usize];
    fn indices(&self) -> &[u32];
}

impl Rows for Counts {
    fn n_rows(&self) -> usize {
        self.n_cells()
    }
    fn indptr(&self) -> &[usize] {
        self.indptr()
    }
    fn indices(&self) -> &[u32] {
        self.indices()
    }
}

impl Rows for IndexSets {
    fn n_rows(&self) -> usize {
        self.len()
    }
    fn indptr(&self) -> &[usize] {
        self.offsets()
    }
    fn indices(&self) -> &[u32] {
        self.indices()
    }
}

/// See [`Backend::sparse_linear`](crate::nn::Backend::sparse_linear); the shapes are checked there.
pub(crate) fn sparse_linear<T: Tape<f32, Cpu>>(
    x: &Arc<Counts>,
    w: &Matrix<Cpu>,
    b: &Vector<Cpu>,
    mut tape: T,
) -> Result<Matrix<Cpu, T>> {
    let (w, b) = (super::weight("sparse_linear", w, &mut tape)?, super::weight("sparse_linear", b, &mut tape)?);
    let (rows, (_, width)) = (x.n_cells(), *w.shape());
    let factors: Vec<f32> = dispatch!(x.values().iter().map(|&v| log1p(v)).collect());
    let mut y = repeat(&raw::slice(&b), rows);
    add_rows(&mut y, width, &**x, &factors, &raw::slice(&w));
    let y = super::tensor("sparse_linear", y, (rows, width), w.device())?;
    if T::OWNS_TAPE {
        let (y, w, b, x) = (y.ghost(), w.ghost(), b.ghost(), Arc::clone(x));
        tape.add_backward_op(move |grads: &mut Gradients<f32, Cpu>| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            add_weight_gradient(grads.get_or_alloc_mut(&w)?, width, &*x, &factors, &dy);
            add_column_sums(grads.get_or_alloc_mut(&b)?, &dy);
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// See [`Backend::embedding_sum`](crate::nn::Backend::embedding_sum); the indices are checked there.
pub(crate) fn embedding_sum<T: Tape<f32, Cpu>>(
    w: &Matrix<Cpu>,
    sets: &Arc<IndexSets>,
    mut tape: T,
) -> Result<Matrix<Cpu, T>> {
    let w = super::weight("embedding", w, &mut tape)?;
    let (rows, (_, width)) = (sets.len(), *w.shape());
    let factors = vec![1.0; sets.indices().len()];
    let mut y = vec![0.0; rows * width];
    add_rows(&mut y, width, &**sets, &factors, &raw::slice(&w));
    let y = super::tensor("embedding", y, (rows, width), w.device())?;
    if T::OWNS_TAPE {
        let (y, w, sets) = (y.ghost(), w.ghost(), Arc::clone(sets));
        tape.add_backward_op(move |grads: &mut Gradients<f32, Cpu>| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            add_weight_gradient(grads.get_or_alloc_mut(&w)?, width, &*sets, &factors, &dy);
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// `y += V W`; y is `(rows, width)`.
fn add_rows(y: &mut [f32], width: usize, v: &impl Rows, factors: &[f32], w: &[f32]) {
    if y.is_empty() {
        return;
    }
    let (indptr, indices) = (v.indptr(), v.indices());
    // How rows are dealt out changes nothing: each row's sum has its own order.
    let row_block = v.n_rows().div_ceil(rayon::current_num_threads()).min(ROW_BLOCK);
    y.par_chunks_mut(row_block * width).enumerate().for_each(|(block, y)| {
        let rows = block * row_block..v.n_rows().min((block + 1) * row_block);
        // Where each row of the block stands in its sorted list of inputs.
        let mut places: Vec<usize> = indptr[rows.clone()].to_vec();
        let ends = &indptr[rows.start + 1..=rows.end];
        dispatch!(for next_input in (INPUT_BLOCK..w.len() / width + INPUT_BLOCK).step_by(INPUT_BLOCK) {
            for (y, (place, &end)) in y.chunks_exact_mut(width).zip(places.iter_mut().zip(ends)) {
                let count = indices[*place..end].partition_point(|&input| (input as usize) < next_input);
                let range = *place..*place + count;
                *place = range.end;
                add_combination(y, &indices[range.clone()], &factors[range], w);
            }
        });
    });
}

/// `dw += V^T dy`; dw is `(inputs, width)`, dy `(rows, width)`.
fn add_weight_gradient(dw: &mut [f32], width: usize, v: &impl Rows, factors: &[f32], dy: &[f32]) {
    if dw.is_empty() {
        return;
    }
    let (starts, rows, factors) = transpose(v, factors, dw.len() / width);
    dw.par_chunks_mut(GRADIENT_BLOCK * width).enumerate().for_each(|(block, dw)| {
        dispatch!({
            for (i, dw) in dw.chunks_exact_mut(width).enumerate() {
                let input = block * GRADIENT_BLOCK + i;
                let range = starts[input]..starts[input + 1];
                add_combination(dw, &rows[range.clone()], &factors[range], dy);
            }
        });
    });
}

/// `out += sum_i factors[i] * matrix[rows[i]]`, in that order; the rows of `matrix` are as long as `out`.
#[inline(always)]
fn add_combination(out: &mut [f32], rows: &[u32], factors: &[f32], matrix: &[f32]) {
    if rows.is_empty() {
        return;
    }
    let width = out.len();
    let (tiles, rest) = out.as_chunks_mut::<TILE>();
    let n_tiled = tiles.len() * TILE;
    for (t, tile) in tiles.iter_mut().enumerate() {
        let mut sums = *tile;
        for (&row, &factor) in rows.iter().zip(factors) {
            let values = &matrix[row as usize * width + t * TILE..][..TILE];
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += factor * value;
            }
        }
        *tile = sums;
    }
    if !rest.is_empty() {
        for (&row, &factor) in rows.iter().zip(factors) {
            let values = &matrix[row as usize * width + n_tiled..];
            for (sum, &value) in rest.iter_mut().zip(values) {
                *sum += factor * value;
            }
        }
    }
}

/// The columns of V: where each starts, then the row and the factor of each entry, rows ascending (a counting sort).
fn transpose(v: &impl Rows, factors: &[f32], inputs: usize) -> (Vec<usize>, Vec<u32>, Vec<f32>) {
    let (indptr, indices) = (v.indptr(), v.indices());
    let mut starts = vec![0usize; inputs + 1];
    indices.iter().for_each(|&input| starts[input as usize + 1] += 1);
    (0..inputs).for_each(|input| starts[input + 1] += starts[input]);
    let mut next = starts.clone();
    let (mut rows, mut values) = (vec![0u32; indices.len()], vec![0.0f32; indices.len()]);
    for row in 0..v.n_rows() {
        for entry in indptr[row]..indptr[row + 1] {
            let slot = &mut next[indices[entry] as usize];
            (rows[*slot], values[*slot]) = (row as u32, factors[entry]);
            *slot += 1;
        }
    }
    (starts, rows, values)
}
