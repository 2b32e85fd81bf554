//! [`TokenOps`](crate::nn::TokenOps) composed of dfdx's own operations, over padded sets.

use super::failed;
use crate::{
    Result,
    nn::{AttentionSpec, Backend, Matrix, RowSets, Vector},
};
use dfdx::prelude::*;

/// What a score of a padded key becomes before the softmax: e^-1e30 is 0.
const MASKED: f32 = -1e30;

/// Row r of the result is row `rows[r]` of x.
pub fn take_rows<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, rows: &[u32]) -> Result<Matrix<D, T>> {
    let rows: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
    let index: Tensor<(usize,), usize, D> =
        x.device().try_tensor_from_vec(rows.clone(), (rows.len(),)).map_err(failed("take_rows"))?;
    x.try_gather::<(usize, usize), (usize,)>(index).map_err(failed("take_rows"))
}

/// softmax(Q K^T / sqrt(w)) V of each set and head, all sets padded to the longest.
pub fn attention<D: Backend, T: Tape<f32, D>>(
    q: Matrix<D, T>,
    kv: Matrix<D, T>,
    spec: &AttentionSpec,
) -> Result<Matrix<D, T>> {
    let (rows, width) = *q.shape();
    let (sets, heads) = (spec.queries.len(), spec.heads);
    let (n, m, w) = (spec.queries.longest(), spec.keys.longest(), width / heads);
    if rows == 0 || m == 0 {
        // No key at all: zeros, of which q and kv get no gradient.
        let (device, tape) = (q.device().clone(), q.split_tape().1.merge(kv.split_tape().1));
        return Ok(device.try_zeros_like(&(rows, width)).map_err(failed("attention"))?.put_tape(tape));
    }
    let q = take_rows(q, &padded(&spec.queries))?;
    let kv = take_rows(kv, &padded(&spec.keys))?;
    let factors = factors(spec, n, m);
    let run = || -> Result<Matrix<D, T>, D::Err> {
        let device = q.device().clone();
        let q = q.try_reshape_like(&(sets, n, heads, w))?.try_permute::<_, Axes4<0, 2, 1, 3>>()?; // (sets, heads, n, w)
        let kv = kv.try_reshape_like(&(sets, m, 2 * heads, w))?;
        let (kv, tape) = kv.split_tape();
        let k = kv.clone().put_tape(tape).try_slice((0..sets, 0..m, 0..heads, 0..w))?;
        let v = kv.retaped::<T>().try_slice((0..sets, 0..m, heads..2 * heads, 0..w))?;
        let k = k.try_permute::<(usize, usize, usize, usize), Axes4<0, 2, 3, 1>>()?; // (sets, heads, w, m)
        let v = v.try_permute::<(usize, usize, usize, usize), Axes4<0, 2, 1, 3>>()?; // (sets, heads, m, w)
        let scores = q.try_contiguous()?.try_matmul(k.try_contiguous()?)?.try_mul(spec.scale(width))?;
        let shape = *scores.shape(); // (sets, heads, n, m)
        let mask = device.try_tensor_from_vec(factors.mask, shape)?;
        let weights = scores.try_add(mask)?.try_softmax::<Axis<3>>()?;
        let weights = weights.try_mul(device.try_tensor_from_vec(factors.kept, shape)?)?;
        let heads_last = weights
            .try_matmul(v.try_contiguous()?)?
            .try_permute::<(usize, usize, usize, usize), Axes4<0, 2, 1, 3>>()?;
        heads_last.try_contiguous()?.try_reshape_like(&(sets * n, width))
    };
    let out = run().map_err(failed("attention"))?;
    // Back to rows without padding.
    let rows = (0..sets).flat_map(|set| (0..spec.queries.size(set)).map(move |row| (set * n + row) as u32));
    take_rows(out, &rows.collect::<Vec<_>>())
}

/// The rows of all sets, each padded to the longest with row 0.
fn padded(sets: &RowSets) -> Vec<u32> {
    let longest = sets.longest();
    let row = |range: std::ops::Range<usize>, at| if at < range.len() { (range.start + at) as u32 } else { 0 };
    sets.ranges().flat_map(|range| (0..longest).map(move |at| row(range.clone(), at))).collect()
}

/// What is added to the scores, and what the weights are multiplied by: `(sets, heads, n, m)` each.
struct Factors {
    mask: Vec<f32>,
    kept: Vec<f32>,
}

fn factors(spec: &AttentionSpec, n: usize, m: usize) -> Factors {
    let size = spec.queries.len() * spec.heads * n * m;
    let mut factors = Factors { mask: Vec::with_capacity(size), kept: Vec::with_capacity(size) };
    for (set, keys) in spec.keys.ranges().enumerate() {
        for (head, row) in (0..spec.heads).flat_map(|head| (0..n).map(move |row| (head, row))) {
            let there = |j: usize| j < keys.len();
            factors.mask.extend((0..m).map(|j| if there(j) { 0.0 } else { MASKED }));
            let drop = spec.dropout.map(|dropout| (dropout, dropout.key(set, head, row)));
            let factor = |j| drop.map_or(1.0, |(dropout, key)| dropout.factor(key, j));
            factors.kept.extend((0..m).map(|j| if there(j) { factor(j) } else { 0.0 }));
        }
    }
    factors
}

/// The mean of each set's rows, as a product with a dense matrix of shares.
pub fn set_mean<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, sets: &RowSets) -> Result<Matrix<D, T>> {
    let rows = x.shape().0;
    let mut shares = vec![0.0; sets.len() * rows];
    for (set, range) in sets.ranges().enumerate() {
        let share = 1.0 / range.len() as f32;
        shares[set * rows..][range].fill(share);
    }
    let run = || -> Result<Matrix<D, T>, D::Err> {
        let (x, tape) = x.split_tape();
        let shares = x.device().try_tensor_from_vec(shares, (sets.len(), rows))?;
        shares.put_tape(tape).try_matmul(x)
    };
    run().map_err(failed("set_mean"))
}

/// `(1 + gamma) * x + beta`, each row with the gamma and beta of its set.
pub fn film<D: Backend, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    gamma_beta: Matrix<D, T>,
    sets: &RowSets,
) -> Result<Matrix<D, T>> {
    let (rows, width) = *x.shape();
    let gamma_beta = take_rows(gamma_beta, &sets.owners())?; // (rows, 2 width)
    let run = || -> Result<Matrix<D, T>, D::Err> {
        let gamma = gamma_beta.with_empty_tape().try_slice((0..rows, 0..width))?;
        let beta = gamma_beta.try_slice((0..rows, width..2 * width))?;
        gamma.try_add(1.0)?.try_mul(x)?.try_add(beta)
    };
    run().map_err(failed("film"))
}

/// Sines and cosines of `2 pi x f`.
pub fn fourier<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, frequencies: &Vector<D>) -> Result<Matrix<D, T>> {
    let shape = (x.shape().0, frequencies.shape().0);
    let run = || -> Result<Matrix<D, T>, D::Err> {
        let x: Vector<D, T> = x.try_reshape_like(&(shape.0,))?;
        let x: Matrix<D, T> = x.try_broadcast_like::<_, Axis<1>>(&shape)?;
        let frequencies = frequencies.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
        let angle = x.try_mul(frequencies)?.try_mul(std::f32::consts::TAU)?;
        let sines = angle.with_empty_tape().try_sin()?;
        (sines, angle.try_cos()?).try_concat_along(Axis::<1>)
    };
    run().map_err(failed("fourier"))
}
