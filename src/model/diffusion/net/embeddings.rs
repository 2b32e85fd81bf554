//! How time and condition enter a network.
//!
//! # Time
//!
//! It enters as features, and through a small network as an embedding.
//!
//! ```text
//! e(t) = (cos(w_0 s), .., cos(w_{h-1} s), sin(w_0 s), .., sin(w_{h-1} s))     s = 1000 t, w_i = 10000^{-i / h}
//! T(t) = W_2 SiLU(W_1 e(t) + b_1) + b_2
//! ```
//!
//! Vaswani et al. 2017, section 3.5; Ho et al. 2020, *DDPM*, appendix B, whose steps are 0 to 999. Our t runs from 0 to 1,
//! and of an unscaled t in [0, 1] all but the first few features would be constant: hence the 1000.
//!
//! # Condition
//!
//! A condition c is a vector of numbers: a perturbation's embedding, a control state, a label's one-hot code. Of a row
//! whose condition is dropped the embedding is a learned vector of its own, "no condition": a network that has seen both
//! in training can be guided without a classifier (Ho and Salimans 2022, *Classifier-Free Diffusion Guidance*).
//!
//! ```text
//! C(c) = W_2 SiLU(W_1 c + b_1) + b_2,   or n where c is dropped
//! ```
//!
//! Guidance by a part of the condition needs a network that always knows the rest, such as the library size of a cell beside
//! its perturbation. Of the last k numbers of c that are kept, and c' with 0 (the mean) for the others:
//!
//! ```text
//! C(c) = n + W_2 SiLU(W_1 c' + b_1) + b_2   where c is dropped but for these
//! ```

use crate::{
    Error, Result,
    nn::{Activation, Backend, Embedding, IndexSets, Linear, Matrix, RowSets, init, ops, walk_params},
};
use dfdx::prelude::{HasShape, PutTape, Tape};
use ndarray::{Array2, Axis, s};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Steps of the discrete process that a t of 1 stands for; Ho et al. 2020.
pub const TIME_SCALE: f64 = 1000.0;
/// The longest period, in steps over 2 pi; Vaswani et al. 2017.
const LONGEST: f64 = 10_000.0;
/// Features of a time, half of them cosines.
const FEATURES: usize = 64;

/// The features of each time, `(times, width)`; `width` is even.
pub fn sinusoidal(times: &[f32], width: usize) -> Array2<f32> {
    let half = width / 2;
    Array2::from_shape_fn((times.len(), 2 * half), |(row, column)| {
        let frequency = (-LONGEST.ln() * (column % half) as f64 / half as f64).exp();
        let angle = TIME_SCALE * f64::from(times[row]) * frequency;
        (if column < half { angle.cos() } else { angle.sin() }) as f32
    })
}

/// Times to embeddings.
#[derive(Debug, Clone)]
pub struct TimeEmbedding<D: Backend> {
    /// W_1, b_1.
    pub up: Linear<D>,
    /// W_2, b_2.
    pub down: Linear<D>,
    device: D,
}

walk_params!(TimeEmbedding { params: [], buffers: [], layers: [up, down], device_field: device });

impl<D: Backend> TimeEmbedding<D> {
    /// Embeddings of `width` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let up = Linear::new(device, FEATURES, width, rng)?;
        Ok(Self { up, down: Linear::new(device, width, width, rng)?, device: device.clone() })
    }

    /// `(times,)` to `(times, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward<T: Tape<f32, D>>(&self, times: &[f32], tape: T) -> Result<Matrix<D, T>> {
        let features = ops::upload(&self.device, &sinusoidal(times, FEATURES))?.put_tape(tape);
        self.down.forward(Activation::Silu.forward(self.up.forward(features)?)?)
    }
}

/// Spread of the learned vector at the start, as DiT's table of labels (Peebles and Xie 2023).
const NULL_SPREAD: f32 = 0.02;

/// Time and condition of each row of a batch. Consecutive rows that share both are embedded once: in sampling all rows share
/// their time and often their condition.
#[derive(Debug, Clone)]
pub struct Given {
    runs: RowSets,
    times: Vec<f32>,
    /// `(runs, condition)`; 0 where a number is dropped.
    condition: Option<Array2<f32>>,
    dropped: Vec<bool>,
    /// Numbers at the end of a condition that the network sees though it is dropped.
    kept: usize,
}

impl Given {
    /// Of rows with the times `t` `(rows,)`, conditions `(rows, condition)` and whether each is dropped `(rows,)`, or an
    /// empty slice for none. Without `condition` every row's is dropped.
    ///
    /// # Errors
    /// Lengths that differ.
    pub fn new(t: &[f32], condition: Option<&Array2<f32>>, dropped: &[bool]) -> Result<Self> {
        Self::keeping(0, t, condition, dropped)
    }

    /// The same, where the last `kept` numbers of a dropped condition are kept.
    ///
    /// # Errors
    /// Lengths that differ; more numbers than a condition has.
    pub fn keeping(kept: usize, t: &[f32], condition: Option<&Array2<f32>>, dropped: &[bool]) -> Result<Self> {
        let rows = t.len();
        if let Some(condition) = condition.filter(|condition| condition.nrows() != rows) {
            return Err(Error::shape("times and conditions", (rows,), condition.dim()));
        }
        if !dropped.is_empty() && dropped.len() != rows {
            return Err(Error::shape("times and dropped conditions", (rows,), (dropped.len(),)));
        }
        let width = condition.map_or(0, Array2::ncols);
        if kept > width {
            return Err(Error::shape("numbers of a condition that are kept", width, kept));
        }
        let is_dropped = |row: usize| condition.is_none() || dropped.get(row).copied().unwrap_or(false);
        // What the network sees of a row's condition.
        let seen = |row: usize| if is_dropped(row) { width - kept..width } else { 0..width };
        let same = |a: usize, b: usize| {
            let conditions = || condition.is_none_or(|c| c.slice(s![a, seen(a)]) == c.slice(s![b, seen(b)]));
            t[a] == t[b] && is_dropped(a) == is_dropped(b) && conditions()
        };
        let starts: Vec<usize> = (0..rows).filter(|&row| row == 0 || !same(row - 1, row)).collect();
        let ends = starts.iter().skip(1).copied().chain((rows > 0).then_some(rows));
        let mut condition = condition.map(|condition| condition.select(Axis(0), &starts));
        for (run, &row) in starts.iter().enumerate().filter(|(_, row)| is_dropped(**row)) {
            condition.iter_mut().for_each(|c| c.slice_mut(s![run, ..seen(row).start]).fill(0.0));
        }
        Ok(Self {
            runs: RowSets::from_sizes(starts.iter().zip(ends).map(|(start, end)| end - start)),
            times: starts.iter().map(|&row| t[row]).collect(),
            condition,
            dropped: starts.iter().map(|&row| is_dropped(row)).collect(),
            kept,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.runs.rows()
    }

    /// The runs of rows that share time and condition.
    pub fn runs(&self) -> &RowSets {
        &self.runs
    }

    /// The same runs where each row is `size` tokens.
    pub fn runs_of_tokens(&self, size: usize) -> RowSets {
        RowSets::from_sizes(self.runs.ranges().map(|run| run.len() * size))
    }

    /// The time of each run.
    pub fn times(&self) -> &[f32] {
        &self.times
    }

    /// Checks that the rows are `rows` and the condition is of `width` numbers, 0 where the network takes none.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&self, rows: usize, width: usize) -> Result<()> {
        if self.rows() != rows {
            return Err(Error::shape("score network: x and times", rows, self.rows()));
        }
        match &self.condition {
            Some(_) if width == 0 => Err(Error::config(
                "a condition is given to a network that was made without one (condition = 0); leave it out",
            )),
            Some(condition) if condition.ncols() != width => Err(Error::config(format!(
                "the condition has {} columns, but the network was made for {width}",
                condition.ncols()
            ))),
            _ => Ok(()),
        }
    }
}

/// Conditions to embeddings.
#[derive(Debug, Clone)]
pub struct ConditionEmbedding<D: Backend> {
    /// W_1, b_1.
    pub up: Linear<D>,
    /// W_2, b_2.
    pub down: Linear<D>,
    /// n, one row.
    pub null: Embedding<D>,
    device: D,
}

walk_params!(ConditionEmbedding { params: [], buffers: [], layers: [up, down, null], device_field: device });

impl<D: Backend> ConditionEmbedding<D> {
    /// Conditions of `condition` numbers through `hidden` to embeddings of `width`.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, condition: usize, hidden: usize, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        Ok(Self {
            up: Linear::new(device, condition, hidden, rng)?,
            down: Linear::new(device, hidden, width, rng)?,
            null: Embedding { weight: init::normal(device, (1, width), NULL_SPREAD, rng)? },
            device: device.clone(),
        })
    }

    /// The embedding of each run, `(runs, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A condition of another width.
    pub fn forward<T: Tape<f32, D>>(&self, given: &Given, tape: T) -> Result<Matrix<D, T>> {
        let null = |dropped: bool| if dropped { &[0][..] } else { &[] };
        let sets = Arc::new(IndexSets::from_sets(given.dropped.iter().map(|&dropped| null(dropped))));
        let nulls = self.null.forward(&sets, tape)?; // (runs, width), 0 where the condition is there
        let all_dropped = given.kept == 0 && given.dropped.iter().all(|&dropped| dropped);
        let Some(condition) = given.condition.as_ref().filter(|_| !all_dropped) else { return Ok(nulls) };
        let condition = ops::upload(&self.device, condition)?.put_tape(T::default());
        let embedded = self.down.forward(Activation::Silu.forward(self.up.forward(condition)?)?)?;
        if given.kept > 0 || !given.dropped.iter().any(|&dropped| dropped) {
            // Where the learned vector has no part in it, it keeps its place on the tape.
            return ops::add(nulls, embedded);
        }
        let width = embedded.shape().1;
        let kept =
            given.dropped.iter().flat_map(|&dropped| std::iter::repeat_n(if dropped { 0.0 } else { 1.0 }, width));
        ops::add(nulls, D::multiply(embedded, kept.collect())?)
    }
}
