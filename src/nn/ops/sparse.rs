//! `y = V W + b` on the CPU for a sparse V: the first layer over counts, and sums of embeddings.
//!
//! V is CSR `(rows, inputs)`; no gradient is taken of it. Forward, a row of y is the sum of the rows of W that it
//! names; backward, `dW[i] = sum_r V[r, i] dy[r]`, which walks the columns of V (CSC). Both are sums in a fixed order,
//! and each output row belongs to one task, so nothing depends on the number of threads.

use super::{
    Matrix, Vector,
    linear::{add_column_sums, check_linear, repeat},
    vmath::log1p,
};
use crate::{
    Error, Result,
    data::Counts,
    nn::{raw, simd::dispatch},
};
use dfdx::{
    prelude::{Cpu, Gradients, HasShape, PutTape, Tape},
    tensor_ops::Device,
};
use rayon::prelude::*;
use std::sync::Arc;

/// A batch of sets of indices, as offsets into one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSets {
    offsets: Vec<usize>,
    indices: Vec<u32>,
}

impl IndexSets {
    /// One set per row. An index that occurs twice in a set counts once; the order within a set does not matter.
    pub fn from_sets<S: AsRef<[u32]>>(sets: impl IntoIterator<Item = S>) -> Self {
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for set in sets {
            let mut set = set.as_ref().to_vec();
            set.sort_unstable();
            set.dedup();
            indices.append(&mut set);
            offsets.push(indices.len());
        }
        Self { offsets, indices }
    }

    /// Sets of one index each: a plain look-up.
    pub fn from_indices(indices: Vec<u32>) -> Self {
        Self { offsets: (0..=indices.len()).collect(), indices }
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no sets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices of one set, ascending.
    pub fn set(&self, row: usize) -> &[u32] {
        &self.indices[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Where each set starts and ends in [`indices`](Self::indices): `len + 1` offsets.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The indices of all sets, one after the other.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }
}

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
pub(in crate::nn) trait Rows: Send + Sync + 'static {
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

/// See [`Backend::sparse_linear`](crate::nn::Backend::sparse_linear).
pub(crate) fn sparse_linear<T: Tape<f32, Cpu>>(
    x: &Arc<Counts>,
    w: &Matrix<Cpu>,
    b: &Vector<Cpu>,
    mut tape: T,
) -> Result<Matrix<Cpu, T>> {
    check_linear("sparse_linear", (x.n_cells(), x.n_genes()), w, b)?;
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

/// See [`Backend::embedding_sum`](crate::nn::Backend::embedding_sum).
pub(crate) fn embedding_sum<T: Tape<f32, Cpu>>(
    w: &Matrix<Cpu>,
    sets: &Arc<IndexSets>,
    mut tape: T,
) -> Result<Matrix<Cpu, T>> {
    check_embedding(w, sets)?;
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
    // The result does not depend on how rows are distributed: the sum of each row has its own order.
    let row_block = v.n_rows().div_ceil(rayon::current_num_threads()).min(ROW_BLOCK);
    y.par_chunks_mut(row_block * width).enumerate().for_each(|(block, y)| {
        let rows = block * row_block..v.n_rows().min((block + 1) * row_block);
        // The position of each row of the block in its sorted list of inputs.
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
pub(in crate::nn) fn transpose(v: &impl Rows, factors: &[f32], inputs: usize) -> (Vec<usize>, Vec<u32>, Vec<f32>) {
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

/// Every index is a row of W.
pub(in crate::nn) fn check_embedding<D: Device<f32>>(w: &Matrix<D>, sets: &IndexSets) -> Result<()> {
    let entries = w.shape().0;
    match sets.indices().iter().max() {
        Some(&largest) if largest as usize >= entries => {
            Err(Error::config(format!("embedding: there is no entry {largest}; the table has {entries} entries")))
        }
        _ => Ok(()),
    }
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use crate::nn::ops::linear::composed::linear;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// `log1p(x) W + b` with a dense copy of x.
    pub fn sparse_linear<D: Device<f32>, T: Tape<f32, D>>(
        x: &Counts,
        w: &Matrix<D>,
        b: &Vector<D>,
        tape: T,
    ) -> Result<Matrix<D, T>> {
        check_linear("sparse_linear", (x.n_cells(), x.n_genes()), w, b)?;
        let shape = (x.n_cells(), x.n_genes());
        let dense = x.to_dense().mapv_into(f32::ln_1p).into_raw_vec_and_offset().0;
        let x = w.device().try_tensor_from_vec(dense, shape).map_err(failed("sparse_linear"))?;
        linear(x.put_tape(tape), w, b)
    }

    /// `V W` with a dense 0/1 matrix V, `(sets, entries)`.
    pub fn embedding_sum<D: Device<f32>, T: Tape<f32, D>>(
        w: &Matrix<D>,
        sets: &IndexSets,
        tape: T,
    ) -> Result<Matrix<D, T>> {
        check_embedding(w, sets)?;
        let entries = w.shape().0;
        let mut dense = vec![0.0; sets.len() * entries];
        for row in 0..sets.len() {
            sets.set(row).iter().for_each(|&index| dense[row * entries + index as usize] = 1.0);
        }
        let v = w.device().try_tensor_from_vec(dense, (sets.len(), entries)).map_err(failed("embedding"))?;
        v.put_tape(tape).try_matmul(w.clone()).map_err(failed("embedding"))
    }
}
