//! Scaled dot-product attention; on the CPU, one task per set and head.
//!
//! For the queries Q `(n, w)`, keys K and values V `(m, w)` of one set and head, w = width / heads: `P = softmax(Q K^T /
//! sqrt(w))` by row, `O = (M * P) V`, M the dropout factors (1 without). Backward, with dO: `dV = (M * P)^T dO`, `dS = P
//! * (M * dO V^T - delta) / sqrt(w)` with `delta_i = dO_i . O_i`, `dQ = dS K`, `dK = dS^T Q`.
//!
//! P is never kept: the forward pass keeps the logarithm of each row's sum, from which the backward pass computes it
//! again, a block of queries at a time (Dao et al. 2022, *FlashAttention*, algorithm 4, without its blocks of keys). A
//! task holds two matrices of [`QUERY_BLOCK`] x m.

use super::{
    Matrix, RowSets,
    gemm::{MatMut, MatRef, add_product_here, set_product},
    rows::check_sets,
    vmath::{exp, max, sum},
};
use crate::{
    Error, Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;
use std::ops::Range;

/// The settings of one attention operation: its sets, heads and dropout.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// The sets of the queries.
    pub queries: RowSets,
    /// The sets of the keys and values; as many as sets of queries.
    pub keys: RowSets,
    /// Number of heads; divides the width.
    pub heads: usize,
    /// Drops attention weights; only while training.
    pub dropout: Option<WeightDropout>,
}

impl AttentionSpec {
    /// `1 / sqrt(w)` with w features per head.
    pub(in crate::nn) fn scale(&self, width: usize) -> f32 {
        1.0 / ((width / self.heads) as f32).sqrt()
    }
}

/// Which attention weights are dropped, as a function of a seed: the backward pass computes them again instead of keeping
/// them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightDropout {
    threshold: u32,
    kept: f32,
    seed: u64,
}

impl WeightDropout {
    /// Drops each weight with probability `p`; `seed` decides which.
    ///
    /// # Errors
    /// A `p` outside [0, 1).
    pub fn new(p: f32, seed: u64) -> Result<Self> {
        if (0.0..1.0).contains(&p) {
            let threshold = (f64::from(p) * 2f64.powi(32)) as u32;
            return Ok(Self { threshold, kept: 1.0 / (1.0 - p), seed });
        }
        Err(Error::config(format!("attention: the dropout probability is {p}; it must be at least 0 and below 1")))
    }

    /// The largest mixed number plus one of a weight that is dropped, and the factor of the others.
    #[cfg(any(feature = "metal", target_os = "macos"))]
    pub(in crate::nn) fn parts(&self) -> (u32, f32) {
        (self.threshold, self.kept)
    }

    /// A number for a query, from which [`factor`](Self::factor) makes those of its keys; SplitMix64's finaliser
    /// (Steele et al. 2014) over seed, set, head and row in turn.
    pub(in crate::nn) fn key(&self, set: usize, head: usize, row: usize) -> u32 {
        let mix = |state: u64, value: usize| {
            let mut z = (state ^ value as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        (mix(mix(mix(self.seed, set), head), row) >> 32) as u32
    }

    /// 0, or 1 / (1 - p), for the weight of key `j` of its set; the mixing function `lowbias32` (Wellons 2018), which
    /// is SIMD code in a loop over j.
    #[inline(always)]
    pub(super) fn factor(&self, key: u32, j: usize) -> f32 {
        let mut x = key.wrapping_add((j as u32).wrapping_mul(0x9e37_79b9));
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        if x < self.threshold { 0.0 } else { self.kept }
    }
}

/// Queries whose weights are computed at a time: with 1,000 keys 256 KiB, a part of a core's second-level cache.
const QUERY_BLOCK: usize = 64;

/// See [`TokenOps::attention`](crate::nn::Backend::attention).
pub(crate) fn attention<T: Tape<f32, Cpu>>(
    q: Matrix<Cpu, T>,
    kv: Matrix<Cpu, T>,
    spec: &AttentionSpec,
) -> Result<Matrix<Cpu, T>> {
    check_attention(*q.shape(), *kv.shape(), spec)?;
    let (q, tape) = super::input("attention", q)?;
    let (kv, other) = super::input("attention", kv)?;
    let mut tape = tape.merge(other);
    let shape @ (rows, width) = *q.shape();
    let (mut out, mut log_sums) = (vec![0.0; rows * width], vec![0.0; rows * spec.heads]);
    {
        let (q, kv) = (raw::slice(&q), raw::slice(&kv));
        let tasks = Task::all(spec, width, &q, &kv);
        let outs = MatMut::tiles(&mut out, &spec.queries, spec.heads, width / spec.heads);
        let sums = split_rows(&mut log_sums, spec);
        (tasks, outs, sums).into_par_iter().for_each(|(task, out, log_sums)| task.forward(out, log_sums));
    }
    let out = super::tensor("attention", out, shape, q.device())?;
    if T::OWNS_TAPE {
        let (kept, spec) = (out.clone(), spec.clone());
        tape.add_backward_op(move |grads| {
            let y = kept.ghost();
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            // Both gradients are written at once: take one out of the store too.
            let mut dq = std::mem::take(&mut **grads.get_or_alloc_mut(&q)?);
            let dkv = grads.get_or_alloc_mut(&kv)?;
            {
                let (heads, head) = (spec.heads, width / spec.heads);
                let (q, kv, out) = (raw::slice(&q), raw::slice(&kv), raw::slice(&kept));
                let outs = Task::tiles(&out, &spec, width);
                let dys = Task::tiles(&dy, &spec, width);
                let dqs = MatMut::tiles(&mut dq, &spec.queries, heads, head);
                // A row of dkv is `heads` tiles of keys, then as many of values.
                let mut dks = MatMut::tiles(dkv, &spec.keys, 2 * heads, head).into_iter();
                let mut pairs = Vec::with_capacity(dqs.len());
                for _ in 0..spec.keys.len() {
                    let keys: Vec<_> = dks.by_ref().take(heads).collect();
                    pairs.extend(keys.into_iter().zip(dks.by_ref().take(heads)));
                }
                let gradients = dqs.into_par_iter().zip(pairs);
                (Task::all(&spec, width, &q, &kv), outs, dys, split_rows(&mut log_sums, &spec))
                    .into_par_iter()
                    .zip(gradients)
                    .for_each(|((task, out, dy, log_sums), (dq, (dk, dv)))| {
                        task.backward(out, dy, log_sums, [dq, dk, dv]);
                    });
            }
            **grads.get_or_alloc_mut(&q)? = dq;
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(out.put_tape(tape))
}

/// The queries, keys and values of one set and head.
struct Task<'a> {
    q: MatRef<'a>,
    k: MatRef<'a>,
    v: MatRef<'a>,
    keys: usize,
    scale: f32,
    dropout: Option<WeightDropout>,
    set: usize,
    head: usize,
}

impl<'a> Task<'a> {
    /// Set by set, and head by head within it.
    fn all(spec: &AttentionSpec, width: usize, q: &'a [f32], kv: &'a [f32]) -> Vec<Self> {
        let w = width / spec.heads;
        let tasks = spec.queries.ranges().zip(spec.keys.ranges()).enumerate().flat_map(|(set, (queries, keys))| {
            (0..spec.heads).map(move |head| {
                let keys_at = |column| MatRef::tile(kv, keys.start * 2 * width + column, keys.len(), w, 2 * width);
                Self {
                    q: MatRef::tile(q, queries.start * width + head * w, queries.len(), w, width),
                    k: keys_at(head * w),
                    v: keys_at(width + head * w),
                    keys: keys.len(),
                    scale: spec.scale(width),
                    dropout: spec.dropout,
                    set,
                    head,
                }
            })
        });
        tasks.collect()
    }

    /// The same tiles of a matrix like Q.
    fn tiles(values: &'a [f32], spec: &AttentionSpec, width: usize) -> Vec<MatRef<'a>> {
        let w = width / spec.heads;
        let tile = |rows: Range<usize>, head| MatRef::tile(values, rows.start * width + head * w, rows.len(), w, width);
        spec.queries.ranges().flat_map(|rows| (0..spec.heads).map(move |head| tile(rows.clone(), head))).collect()
    }

    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.q.rows();
        (0..rows).step_by(QUERY_BLOCK).map(move |start| start..rows.min(start + QUERY_BLOCK))
    }

    /// Scratch for one block.
    fn scratch(&self) -> Vec<f32> {
        vec![0.0; QUERY_BLOCK.min(self.q.rows()) * self.keys]
    }

    fn forward(&self, mut out: MatMut<'_>, log_sums: &mut [f32]) {
        if self.keys == 0 {
            return; // No keys: the output stays zero.
        }
        let mut scratch = self.scratch();
        for rows in self.blocks() {
            let p = &mut scratch[..rows.len() * self.keys];
            set_product(MatMut::new(p, rows.len(), self.keys), self.q.row_block(rows.clone()), self.k.t(), self.scale);
            for ((row, p), log_sum) in rows.clone().zip(p.chunks_exact_mut(self.keys)).zip(&mut log_sums[rows.clone()])
            {
                *log_sum = dispatch!(softmax(p));
                if let Some(dropout) = self.dropout {
                    let key = dropout.key(self.set, self.head, row);
                    dispatch!(p.iter_mut().enumerate().for_each(|(j, p)| *p *= dropout.factor(key, j)));
                }
            }
            set_product(out.row_block(rows.clone()), MatRef::new(p, rows.len(), self.keys), self.v, 1.0);
        }
    }

    /// Adds to the gradients of Q, K and V.
    fn backward(&self, out: MatRef<'_>, dy: MatRef<'_>, log_sums: &[f32], [mut dq, mut dk, mut dv]: [MatMut<'_>; 3]) {
        if self.keys == 0 {
            return;
        }
        let (mut p, mut ds) = (self.scratch(), self.scratch());
        for rows in self.blocks() {
            let size = rows.len() * self.keys;
            let (p, ds) = (&mut p[..size], &mut ds[..size]);
            let (q, dy) = (self.q.row_block(rows.clone()), dy.row_block(rows.clone()));
            set_product(MatMut::new(p, rows.len(), self.keys), q, self.k.t(), self.scale);
            set_product(MatMut::new(ds, rows.len(), self.keys), dy, self.v.t(), 1.0);
            for (at, (p, ds)) in p.chunks_exact_mut(self.keys).zip(ds.chunks_exact_mut(self.keys)).enumerate() {
                let row = rows.start + at;
                let delta: f32 = dy.row(at).iter().zip(out.row(row)).map(|(dy, y)| dy * y).sum();
                let (log_sum, scale) = (log_sums[row], self.scale);
                match self.dropout {
                    None => dispatch!(for (p, ds) in p.iter_mut().zip(&mut *ds) {
                        *p = exp(*p - log_sum);
                        *ds = *p * (*ds - delta) * scale;
                    }),
                    Some(dropout) => {
                        let key = dropout.key(self.set, self.head, row);
                        dispatch!(for (j, (p, ds)) in p.iter_mut().zip(&mut *ds).enumerate() {
                            let (weight, factor) = (exp(*p - log_sum), dropout.factor(key, j));
                            *p = weight * factor;
                            *ds = weight * (*ds * factor - delta) * scale;
                        });
                    }
                }
            }
            let (p, ds) = (MatRef::new(p, rows.len(), self.keys), MatRef::new(ds, rows.len(), self.keys));
            add_product_here(dq.row_block(rows.clone()), ds, self.k, 1.0);
            add_product_here(dk.row_block(0..self.keys), ds.t(), q, 1.0);
            add_product_here(dv.row_block(0..self.keys), p.t(), dy, 1.0);
        }
    }
}

/// One piece per set and head.
fn split_rows<'a>(values: &'a mut [f32], spec: &AttentionSpec) -> Vec<&'a mut [f32]> {
    super::pieces(values, spec.queries.ranges().flat_map(|rows| std::iter::repeat_n(rows.len(), spec.heads)))
}

/// Makes a row of scores its softmax; gives the logarithm of the sum of their exponentials.
#[inline(always)]
fn softmax(p: &mut [f32]) -> f32 {
    let largest = max(p);
    for p in &mut *p {
        *p = exp(*p - largest);
    }
    let total = sum(p) as f32;
    let share = 1.0 / total;
    for p in p {
        *p *= share;
    }
    largest + total.ln()
}

/// q `(queries, width)`, kv `(keys, 2 width)`, and sets over them.
pub(in crate::nn) fn check_attention(q: (usize, usize), kv: (usize, usize), spec: &AttentionSpec) -> Result<()> {
    if kv.1 != 2 * q.1 {
        return Err(Error::shape("attention of queries and keys with values", q, kv));
    }
    if spec.heads == 0 || q.1 == 0 || !q.1.is_multiple_of(spec.heads) {
        return Err(Error::config(format!("attention: {} heads do not divide a width of {}", spec.heads, q.1)));
    }
    check_sets("attention: queries", q.0, &spec.queries)?;
    check_sets("attention: keys", kv.0, &spec.keys)?;
    if spec.queries.len() != spec.keys.len() {
        let (queries, keys) = (spec.queries.len(), spec.keys.len());
        return Err(Error::config(format!("attention: {queries} sets of queries, but {keys} sets of keys")));
    }
    Ok(())
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use crate::nn::ops::rows::composed::take_rows;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// What a score of a padded key becomes before the softmax: e^-1e30 is 0.
    const MASKED: f32 = -1e30;

    /// softmax(Q K^T / sqrt(w)) V of each set and head, all sets padded to the longest.
    pub fn attention<D: Device<f32>, T: Tape<f32, D>>(
        q: Matrix<D, T>,
        kv: Matrix<D, T>,
        spec: &AttentionSpec,
    ) -> Result<Matrix<D, T>> {
        check_attention(*q.shape(), *kv.shape(), spec)?;
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
}
