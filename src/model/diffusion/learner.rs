//! The network in training, and its moving average, which is what samples are made with.
//!
//! ```text
//! loss = mean over rows and dimensions of w (f(x_t, t, c) - target)^2
//! average <- m average + (1 - m) f            after each step; m = min(ema, (1 + step) / (10 + step))
//! ```
//!
//! What x_t, target and w are, a [`Corruption`] says: denoising for a diffusion, a velocity for a flow. Conditions are
//! dropped at random while training. The warm-up of m is TensorFlow's (`ExponentialMovingAverage`): early weights are
//! forgotten fast, however short the training.

use super::{
    net::{Given, ScoreNet, ScoreNetConfig},
    rows::Rows,
};
use crate::{
    Result,
    nn::{Backend, EmbeddingLoss, Frozen, ema_update, ops, walk_params},
    train::{Loss, StepContext, Trainable},
};
use dfdx::prelude::{PutTape, Tape};
use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{fmt::Debug, sync::Arc};

/// What a network is shown, and what it shall answer: one batch.
pub(crate) struct Examples {
    /// As the network sees it, `(rows, dims)`.
    pub x: Array2<f32>,
    /// `(rows,)`.
    pub t: Vec<f32>,
    /// `(rows, dims)`.
    pub target: Array2<f32>,
    /// Weight of each row's squared error, where they differ.
    pub weight: Option<Vec<f32>>,
}

/// Makes examples of samples.
pub(crate) trait Corruption: Debug + Send + Sync {
    /// Examples of a batch, in the order of its rows.
    fn examples(&self, batch: &Rows, rng: &mut ChaCha8Rng) -> Result<Examples>;
}

/// What a [`Learner`] is made of.
#[derive(Debug, Clone)]
pub(crate) struct LearnerConfig {
    pub dims: usize,
    pub condition: usize,
    pub net: ScoreNetConfig,
    pub condition_dropout: f64,
    pub ema: f64,
    pub corruption: Arc<dyn Corruption>,
}

/// What [`fit`](crate::train::fit) trains.
#[derive(Debug, Clone)]
pub(crate) struct Learner<D: Backend> {
    device: D,
    net: ScoreNet<D>,
    average: Frozen<ScoreNet<D>>,
    config: LearnerConfig,
}

walk_params!(Learner { params: [], buffers: [], layers: [net, average] });

impl<D: Backend> Learner<D> {
    pub fn new(device: &D, config: LearnerConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let net = ScoreNet::new(device, config.dims, config.condition, &config.net, rng)?;
        // A copy of its own memory: a shared tensor would be copied at every step of the optimizer.
        let mut average = ScoreNet::new(device, config.dims, config.condition, &config.net, rng)?;
        ema_update(&mut average, &net, 0.0)?;
        Ok(Self { device: device.clone(), net, average: Frozen(average), config })
    }

    pub fn device(&self) -> &D {
        &self.device
    }

    /// The averaged network's answer, `(rows, dims)`.
    pub fn output(&self, x: &Array2<f32>, given: &Given) -> Result<Array2<f32>> {
        Ok(ops::download(&self.average.0.forward(ops::upload(&self.device, x)?, given)?))
    }
}

impl<D: Backend> Trainable<D> for Learner<D> {
    type Batch = Rows;

    fn loss<T: Tape<f32, D>>(&mut self, batch: &Rows, tape: T, context: &mut StepContext<'_>) -> Result<Loss<D, T>> {
        let Examples { x, t, mut target, weight } = self.config.corruption.examples(batch, context.rng)?;
        let dropped: Vec<bool> = match context.training {
            true => t.iter().map(|_| context.rng.random::<f64>() < self.config.condition_dropout).collect(),
            false => Vec::new(),
        };
        let given = Given::new(&t, batch.condition.as_ref(), &dropped)?;
        let x = ops::upload(&self.device, &x)?.put_tape(tape);
        // Validation is of the weights that samples will be made with.
        let net = if context.training { &self.net } else { &self.average.0 };
        let mut output = net.forward(x, &given)?;
        if let Some(weight) = weight {
            let dims = target.ncols();
            let factors: Vec<f32> = weight.iter().flat_map(|w| std::iter::repeat_n(w.sqrt(), dims)).collect();
            target.iter_mut().zip(&factors).for_each(|(target, factor)| *target *= factor);
            output = D::multiply(output, factors)?;
        }
        let total = EmbeddingLoss::L2.forward(output, &ops::upload(&self.device, &target)?)?;
        Ok(Loss { total, parts: Vec::new() })
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        let step = context.step as f64;
        ema_update(&mut self.average.0, &self.net, self.config.ema.min((1.0 + step) / (10.0 + step)))
    }
}

/// `rows` times, one in each of as many equal parts of `from` to 1, in random order, with one random offset for all: the
/// low-discrepancy sampler of Kingma et al. 2021 (*Variational Diffusion Models*, appendix I.1), which makes the loss of a
/// batch vary less.
pub(crate) fn stratified_times(rows: usize, from: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    use rand::seq::SliceRandom;
    let offset: f64 = rng.random();
    let mut times: Vec<f64> =
        (0..rows).map(|row| from + (1.0 - from) * (offset + row as f64 / rows as f64).fract()).collect();
    times.shuffle(rng);
    times
}

/// `(rows, dims)` of independent N(0, 1).
pub(crate) fn normal(shape: (usize, usize), rng: &mut ChaCha8Rng) -> Array2<f32> {
    Array2::from_shape_simple_fn(shape, || rng.sample(rand_distr::StandardNormal))
}
