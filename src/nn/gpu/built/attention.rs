//! Scaled dot-product attention of each set and head. The weights P stay on the GPU for the backward pass, as one list
//! over sets, queries and heads; with long sets that is the largest array of a step.

use super::{
    commands::spread,
    kernels::{ATTENTION_BACKWARD, ATTENTION_DKV, ATTENTION_DQ, ATTENTION_OUTPUT, ATTENTION_WEIGHTS},
    session::{self, Session, backward, with},
};
use crate::{
    Result,
    nn::{
        AttentionSpec, Matrix,
        ops::{self, cpu},
    },
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use wgpu::Buffer;

/// Which rows belong together, as the shaders read it.
struct Layout {
    rows: usize,
    n_keys: usize,
    heads: usize,
    width: usize,
    /// Attention weights of all sets and heads.
    n_weights: usize,
    queries: Buffer,
    keys: Buffer,
    dropout: Buffer,
    numbers: [u32; 7],
}

/// See [`Backend::attention`](crate::nn::Backend::attention).
pub(crate) fn attention<T: Tape<f32, Cpu>>(
    q: Matrix<Cpu, T>,
    kv: Matrix<Cpu, T>,
    spec: &AttentionSpec,
) -> Result<Matrix<Cpu, T>> {
    ops::check_attention(*q.shape(), *kv.shape(), spec)?;
    let (shape @ (rows, width), (n_keys, _)) = (*q.shape(), *kv.shape());
    if rows * n_keys * width == 0 {
        return cpu::attention(q, kv, spec);
    }
    let (q, tape) = ops::input("attention", q)?;
    let (kv, other) = ops::input("attention", kv)?;
    let mut tape = tape.merge(other);
    let (y, layout, [q_there, kv_there, p, out]) = with(|s| {
        let layout = Layout::new(s, spec, width)?;
        let (q_there, kv_there) = (s.activation(&q)?, s.activation(&kv)?);
        let (p, out) = (s.array(layout.n_weights)?, s.array(rows * width)?);
        let Layout { queries, dropout, numbers, .. } = &layout;
        s.run(&ATTENTION_WEIGHTS, numbers, &[queries, &q_there, &kv_there, &p], spread(rows * spec.heads, 1))?;
        s.run(&ATTENTION_OUTPUT, numbers, &[queries, dropout, &p, &kv_there, &out], spread(rows * width, 64))?;
        let y = s.output("attention", out.clone(), shape, q.device(), T::OWNS_TAPE)?;
        Ok((y, layout, [q_there, kv_there, p, out]))
    })?;
    if T::OWNS_TAPE {
        let (y, q, kv) = (y.ghost(), q.ghost(), kv.ghost());
        tape.add_backward_op(move |grads| {
            let dy = grads.get_or_alloc_mut(&y)?;
            let [dq, dkv] = backward(|s| {
                let dy = s.upload(dy)?;
                layout.backward(s, [&q_there, &kv_there, &p, &out, &dy])
            })?;
            session::add_to(grads.get_or_alloc_mut(&q)?, &dq);
            session::add_to(grads.get_or_alloc_mut(&kv)?, &dkv);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

impl Layout {
    fn new(s: &mut Session, spec: &AttentionSpec, width: usize) -> Result<Self> {
        let (rows, n_keys, heads) = (spec.queries.rows(), spec.keys.rows(), spec.heads);
        let (mut queries, mut keys, mut dropout) = (Vec::new(), Vec::new(), Vec::new());
        let mut n_weights = 0;
        for (set, (of_set, keys_of_set)) in spec.queries.ranges().zip(spec.keys.ranges()).enumerate() {
            for row in 0..of_set.len() {
                queries.push([n_weights as u32, keys_of_set.start as u32, keys_of_set.len() as u32, 0]);
                n_weights += heads * keys_of_set.len();
                dropout.extend((0..heads).map(|head| spec.dropout.map_or(0, |dropout| dropout.key(set, head, row))));
            }
            keys.extend((0..keys_of_set.len()).map(|j| [of_set.start as u32, of_set.len() as u32, j as u32, 0]));
        }
        let (threshold, kept) = spec.dropout.map_or((0, 1.0), |dropout| dropout.parts());
        let head = (width / heads) as u32;
        let scale = spec.scale(width).to_bits();
        Ok(Self {
            rows,
            n_keys,
            heads,
            width,
            n_weights,
            queries: s.upload(&queries)?,
            keys: s.upload(&keys)?,
            dropout: s.upload(&dropout)?,
            numbers: [rows as u32, heads as u32, head, n_keys as u32, scale, threshold, kept.to_bits()],
        })
    }

    /// The gradients of q and kv.
    fn backward(&self, s: &mut Session, [q, kv, p, out, dy]: [&Buffer; 5]) -> Result<[Vec<f32>; 2]> {
        let Self { rows, n_keys, heads, width, n_weights, queries, keys, dropout, numbers } = self;
        let (dq_len, dkv_len) = (rows * width, n_keys * 2 * width);
        let (ds, dq, dkv) = (s.array(*n_weights)?, s.array(dq_len)?, s.array(dkv_len)?);
        let arrays = [queries, dropout, p, kv, out, dy, &ds];
        s.run(&ATTENTION_BACKWARD, numbers, &arrays, spread(rows * heads, 1))?;
        s.run(&ATTENTION_DQ, numbers, &[queries, &ds, kv, &dq], spread(dq_len, 64))?;
        let arrays = [queries, keys, dropout, p, &ds, q, dy, &dkv];
        s.run(&ATTENTION_DKV, numbers, &arrays, spread(dkv_len, 64))?;
        Ok(s.read_all(&[(&dq, dq_len), (&dkv, dkv_len)])?.try_into().expect("two arrays were asked for"))
    }
}
