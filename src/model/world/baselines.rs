//! Dynamics to compare the world model with, and the comparison.

use super::space::{Sequence, SequenceBatch, Sequences};
use crate::{
    Error, Result,
    math::cholesky,
    nn::{Activation, Backend, EmaMomentum, Frozen, Linear, Matrix, ema_update, ops, vicreg, walk_params},
    train::{Loss, Run, StepContext, TrainConfig, Trainable, fit_on, portable},
};
use dfdx::prelude::{Cpu, NoneTape, PutTape, Tape};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Something that says how states go on.
pub trait Dynamics {
    /// The states after those seen `(seen, dims)`, of which the first is the start: `(actions + 1 - seen, dims)`, for the actions
    /// `(actions, width)` from the start on.
    ///
    /// # Errors
    /// No state seen; widths that do not fit.
    fn rollout(&self, seen: ArrayView2<'_, f32>, actions: &Array2<f32>) -> Result<Array2<f32>>;
}

/// Root-mean-square error of the states that are rolled out from the first `seen` states of each sequence, per number of a state.
///
/// # Errors
/// Those of the roll-out; no sequence that goes on.
pub fn rollout_error(dynamics: &dyn Dynamics, sequences: &[Sequence], seen: usize) -> Result<f64> {
    let (mut squares, mut numbers) = (0.0, 0_usize);
    for sequence in sequences.iter().filter(|sequence| sequence.states.nrows() > seen) {
        let predicted = dynamics.rollout(sequence.states.slice(s![..seen, ..]), &sequence.actions)?;
        let errors = &predicted - &sequence.states.slice(s![seen.., ..]);
        squares += errors.iter().map(|e| f64::from(*e).powi(2)).sum::<f64>();
        numbers += errors.len();
    }
    match numbers {
        0 => Err(Error::data("no held-out sequence goes on after what is seen of it")),
        n => Ok((squares / n as f64).sqrt()),
    }
}

/// Nothing changes: each later state is the last one seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Persistence;

impl Dynamics for Persistence {
    fn rollout(&self, seen: ArrayView2<'_, f32>, actions: &Array2<f32>) -> Result<Array2<f32>> {
        let last = last_of(seen)?;
        let steps = (actions.nrows() + 1).saturating_sub(seen.nrows());
        Ok(Array2::from_shape_fn((steps, last.len()), |(_, k)| last[k]))
    }
}

/// Linear dynamics `x_t = A x_{t-1} + B a_t + c`, by ridge regression over the steps of the training sequences.
#[derive(Debug, Clone)]
pub struct LinearDynamics {
    /// A' above B', `(dims + actions, dims)`.
    pub weights: Array2<f64>,
    /// c, `(dims,)`.
    pub offset: Array1<f64>,
}

/// Strengths of the ridge that are tried.
const RIDGES: [f64; 5] = [0.01, 0.1, 1.0, 10.0, 100.0];
/// Parts of the courses that choose among them.
const FOLDS: usize = 4;

impl LinearDynamics {
    /// Fits with the strength, among 0.01 to 100, whose roll-outs of left-out courses have the least error.
    ///
    /// # Errors
    /// No sequence.
    pub fn fit(sequences: &[Sequence]) -> Result<Self> {
        let mut courses: Vec<&str> = sequences.iter().map(|sequence| sequence.course.as_str()).collect();
        courses.sort_unstable();
        courses.dedup();
        let fold = |sequence: &Sequence| courses.binary_search(&sequence.course.as_str()).unwrap_or(0) % FOLDS;
        let mut best = (f64::INFINITY, 1.0);
        for ridge in RIDGES.into_iter().filter(|_| courses.len() >= FOLDS) {
            let mut sum = 0.0;
            for out in 0..FOLDS {
                let (left_out, kept): (Vec<_>, Vec<_>) = sequences.iter().cloned().partition(|s| fold(s) == out);
                sum += rollout_error(&Self::with_ridge(&kept, ridge)?, &left_out, 1)?.powi(2);
            }
            if sum < best.0 {
                best = (sum, ridge);
            }
        }
        Self::with_ridge(sequences, best.1)
    }

    /// Fits with a ridge of this strength.
    ///
    /// # Errors
    /// No sequence.
    pub fn with_ridge(sequences: &[Sequence], ridge: f64) -> Result<Self> {
        let pair = |sequence: &Sequence| {
            let before = concatenate(Axis(1), &[sequence.states.slice(s![..-1, ..]), sequence.actions.view()]);
            (before.expect("one action per step"), sequence.states.slice(s![1.., ..]).to_owned())
        };
        Self::regress(&sequences.iter().map(pair).collect::<Vec<_>>(), ridge)
    }

    /// Ridge regression of the second of each pair on the first, row by row; the offset is not penalised.
    fn regress(pairs: &[(Array2<f32>, Array2<f32>)], ridge: f64) -> Result<Self> {
        let firsts: Vec<_> = pairs.iter().map(|(first, _)| first.view()).collect();
        let seconds: Vec<_> = pairs.iter().map(|(_, second)| second.view()).collect();
        let stack = |views: &[ArrayView2<'_, f32>]| {
            concatenate(Axis(0), views)
                .map(|rows| rows.mapv(f64::from))
                .map_err(|_| Error::data("there is no sequence to learn from"))
        };
        let (before, after) = (stack(&firsts)?, stack(&seconds)?);
        let mean = |rows: &Array2<f64>| rows.mean_axis(Axis(0)).ok_or_else(|| Error::data("there is no step to fit"));
        let (from, to) = (mean(&before)?, mean(&after)?);
        let (before, after) = (before - &from, after - &to);
        let gram = before.t().dot(&before) + Array2::<f64>::eye(before.ncols()) * ridge;
        let weights = cholesky::solve(&gram, &before.t().dot(&after))?;
        Ok(Self { offset: to - from.dot(&weights), weights })
    }
}

impl Dynamics for LinearDynamics {
    fn rollout(&self, seen: ArrayView2<'_, f32>, actions: &Array2<f32>) -> Result<Array2<f32>> {
        let mut state = last_of(seen)?;
        let mut states = Array2::zeros((0, state.len()));
        for action in actions.rows().into_iter().skip(seen.nrows() - 1) {
            let before = beside(state.view().insert_axis(Axis(0)), action.insert_axis(Axis(0)));
            state = (before.dot(&self.weights).row(0).to_owned() + &self.offset).mapv(|value| value as f32);
            states.push_row(state.view()).expect("a state has the width of the states before");
        }
        Ok(states)
    }
}

fn beside(states: ArrayView2<'_, f32>, actions: ArrayView2<'_, f32>) -> Array2<f64> {
    concatenate(Axis(1), &[states, actions]).expect("one action per state").mapv(f64::from)
}

fn last_of(seen: ArrayView2<'_, f32>) -> Result<Array1<f32>> {
    let last = seen.rows().into_iter().next_back().map(|row| row.to_owned());
    last.ok_or_else(|| Error::data("a roll-out needs the state that it starts from"))
}

/// Settings of a [`TimeJepa`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeJepaConfig {
    /// Numbers of an embedding. Default 32.
    pub embedding: usize,
    /// Width of the hidden layers. Default 48.
    pub width: usize,
    /// Weight of VICReg's variance term, which keeps embeddings from collapsing. Default 1.
    pub variance: f64,
    /// Momentum of the teacher. Default: 0.98 to 1 along a line.
    pub momentum: EmaMomentum,
}

impl Default for TimeJepaConfig {
    fn default() -> Self {
        Self { embedding: 32, width: 48, variance: 1.0, momentum: EmaMomentum::Ramp { from: 0.98 } }
    }
}

/// A joint-embedding predictive architecture along time: the embedding of the start and the actions predict the embeddings that an
/// EMA teacher gives to the later states; a ridge from embeddings to states reads the predictions.
#[derive(Debug, Clone)]
pub struct TimeJepa {
    learner: Learner<Cpu>,
    readout: LinearDynamics,
}

#[derive(Debug, Clone)]
struct Learner<D: Backend> {
    config: TimeJepaConfig,
    encoder: [Linear<D>; 2],
    teacher: Frozen<[Linear<D>; 2]>,
    from_embedding: Linear<D>,
    from_action: Linear<D>,
    output: Linear<D>,
}

walk_params!(Learner {
    params: [],
    buffers: [],
    layers: [encoder, teacher, from_embedding, from_action, output],
    kept: [config]
});

fn encode<D: Backend, T: Tape<f32, D>>(layers: &[Linear<D>; 2], x: Matrix<D, T>) -> Result<Matrix<D, T>> {
    layers[1].forward(Activation::Silu.forward(layers[0].forward(x)?)?)
}

impl<D: Backend> Learner<D> {
    /// The embedding one step later: `e + W silu(U e + V a)`.
    fn step<T: Tape<f32, D>>(&self, e: Matrix<D, T>, action: &Array2<f32>) -> Result<Matrix<D, T>> {
        let action = ops::upload(e.device(), action)?.retaped::<T>();
        let hidden = ops::add(self.from_embedding.forward(e.retaped::<T>())?, self.from_action.forward(action)?)?;
        ops::add(self.output.forward(Activation::Silu.forward(hidden)?)?, e)
    }
}

portable!(Learner);

impl<D: Backend> Trainable<D> for Learner<D> {
    type Batch = SequenceBatch;

    fn loss<T: Tape<f32, D>>(&mut self, batch: &SequenceBatch, tape: T, _: &mut StepContext<'_>) -> Result<Loss<D, T>> {
        let device = self.output.bias.device().clone();
        let start = ops::upload(&device, &batch.states[0])?.put_tape(tape);
        let mut e = encode(&self.encoder, start)?;
        let mut views: Vec<_> = batch.states.iter().map(|states| states.view()).collect();
        views.truncate(batch.actions.len() + 1);
        let all = concatenate(Axis(0), &views).expect("all steps have the same width");
        let spread = vicreg::variance(encode(&self.encoder, ops::upload(&device, &all)?.retaped::<T>())?)?;
        let mut total = ops::scaled(spread, self.config.variance as f32)?;
        let collapse = ops::to_f32(&total);
        let steps = batch.actions.len() as f32;
        for ((action, x), weights) in batch.actions.iter().zip(&batch.states[1..]).zip(&batch.weights[1..]) {
            e = self.step(e, action)?;
            let target = encode(&self.teacher.0, ops::upload(&device, x)?)?;
            let width = self.config.embedding;
            let masked =
                |m: Vec<f32>| Array2::from_shape_fn((weights.len(), width), |(r, k)| m[r * width + k] * weights[r]);
            let target = ops::upload(&device, &masked(ops::download(&target).into_raw_vec_and_offset().0))?;
            let factors = weights.iter().flat_map(|w| std::iter::repeat_n(*w, width)).collect();
            let shown = D::multiply(e.retaped::<T>(), factors)?;
            total = ops::add_scaled(total, crate::nn::EmbeddingLoss::L2.forward(shown, &target)?, 1.0 / steps)?;
        }
        let total = ops::keep_tape(total, e)?;
        let parts = vec![("variance", collapse), ("prediction", ops::to_f32(&total) - collapse)];
        Ok(Loss { total, parts })
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        let momentum = self.config.momentum.at(context.step, context.total_steps);
        ema_update(&mut self.teacher.0, &self.encoder, momentum)
    }
}

impl TimeJepa {
    /// Trains on sequences.
    ///
    /// # Errors
    /// No sequence; settings out of range; an interruption.
    pub fn fit(
        sequences: &[Sequence],
        config: TimeJepaConfig,
        training: &TrainConfig,
        run: &mut Run<'_>,
    ) -> Result<Self> {
        let first = sequences.first().ok_or_else(|| Error::data("there is no sequence to learn from"))?;
        let (dims, actions) = (first.states.ncols(), first.actions.ncols());
        let TimeJepaConfig { embedding, width, .. } = config;
        let (device, mut rng) = (Cpu::default(), ChaCha8Rng::seed_from_u64(run.seed));
        let mut layer = |from, to| Linear::new(&device, from, to, &mut rng);
        let encoder = [layer(dims, width)?, layer(width, embedding)?];
        let mut teacher = [layer(dims, width)?, layer(width, embedding)?];
        ema_update(&mut teacher, &encoder, 0.0)?;
        let mut learner = Learner {
            config,
            encoder,
            teacher: Frozen(teacher),
            from_embedding: layer(embedding, width)?,
            from_action: layer(actions, width)?,
            output: layer(width, embedding)?,
        };
        let training = TrainConfig { seed: run.seed, early_stopping: None, ..training.clone() };
        fit_on(&mut learner, &Sequences(sequences.to_vec()), None, &training, run)?;
        // The readout is a regression of states on embeddings: linear dynamics from a "state" to the one "after" it.
        let read = |sequence: &Sequence| {
            let x = ops::upload(&device, &sequence.states)?;
            Ok::<_, Error>((ops::download(&encode(&learner.teacher.0, x)?), sequence.states.clone()))
        };
        let pairs = sequences.iter().map(read).collect::<Result<Vec<_>>>()?;
        let readout = LinearDynamics::regress(&pairs, 1.0)?;
        Ok(Self { learner, readout })
    }
}

impl Dynamics for TimeJepa {
    fn rollout(&self, seen: ArrayView2<'_, f32>, actions: &Array2<f32>) -> Result<Array2<f32>> {
        let start = last_of(seen)?.insert_axis(Axis(0));
        let mut e = encode::<Cpu, NoneTape>(&self.learner.encoder, ops::upload(&Cpu::default(), &start)?)?;
        let mut states = Array2::zeros((0, start.ncols()));
        for action in actions.rows().into_iter().skip(seen.nrows() - 1) {
            e = self.learner.step(e, &action.insert_axis(Axis(0)).to_owned())?;
            let read = ops::download(&e).mapv(f64::from).dot(&self.readout.weights) + &self.readout.offset;
            states.push_row(read.row(0).mapv(|value| value as f32).view()).expect("one width");
        }
        Ok(states)
    }
}
