//! Scaled dot-product attention on the CPU, a set and head a task.
//!
//! For the queries Q `(n, w)`, keys K and values V `(m, w)` of one set and head, w = width / heads: `P = softmax(Q K^T /
//! sqrt(w))` by row, `O = (M * P) V`, M the dropout factors (1 without). Backward, with dO: `dV = (M * P)^T dO`, `dS = P
//! * (M * dO V^T - delta) / sqrt(w)` with `delta_i = dO_i . O_i`, `dQ = dS K`, `dK = dS^T Q`.
//!
//! P is never kept: the forward pass leaves the logarithm of each row's sum, from which the backward pass computes it
//! again, a block of queries at a time (Dao et al. 2022, *FlashAttention*, algorithm 4, without its blocks of keys). A
//! task holds two matrices of [`QUERY_BLOCK`] x m.

use super::{
    gemm::{MatMut, MatRef, add_product_here, set_product},
    vmath::{exp, max, sum},
};
use crate::{
    Result,
    nn::{AttentionSpec, Matrix, attention::WeightDropout, raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;
use std::ops::Range;

/// Queries whose weights are computed at a time: with 1,000 keys 256 KiB, a part of a core's second-level cache.
const QUERY_BLOCK: usize = 64;

/// See [`TokenOps::attention`](crate::nn::TokenOps::attention); the shapes are checked there.
pub(crate) fn attention<T: Tape<f32, Cpu>>(
    q: Matrix<Cpu, T>,
    kv: Matrix<Cpu, T>,
    spec: &AttentionSpec,
) -> Result<Matrix<Cpu, T>> {
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
            return; // Nothing to attend to: the output stays zero.
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

/// One piece a set and head.
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
