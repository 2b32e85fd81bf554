//! The network in training: its rows, its examples, its moving average (which is what samples are made with), its device.
//!
//! # Loss and moving average
//!
//! ```text
//! loss = mean over rows and dimensions of w (f(x_t, t, c) - target)^2
//! average <- m average + (1 - m) f            after each step; m = min(ema, (1 + step) / (10 + step))
//! ```
//!
//! What x_t, target and w are, a [`Corruption`] says: denoising for a diffusion, a velocity for a flow. Conditions are
//! dropped at random while training. The warm-up of m is TensorFlow's (`ExponentialMovingAverage`): early weights are
//! forgotten fast, however short the training.
//!
//! # Denoising
//!
//! Denoising score matching: samples with noise on them, and what a network shall say of it.
//!
//! ```text
//! x_t = m(t) x_0 + s(t) epsilon,   t in (t_min, 1),   epsilon ~ N(0, 1)        seen as x_t / sqrt(m^2 + s^2)
//! target = p x_0 + q epsilon                                                     by the parameterisation
//! ```
//!
//! Vincent 2011; Ho et al. 2020, eq. 14; Song et al. 2021, eq. 7. What the network sees is of unit size at every time
//! (Karras et al. 2022, section 5), which only matters where the noise explodes.

use super::{
    Denoiser, LossWeight, Parameterization, Sde,
    net::{Given, ScoreNet, ScoreNetConfig},
    prediction::{Answers, Guide},
};
use crate::{
    Error, Result,
    device::Device,
    model::State,
    nn::{Backend, EmbeddingLoss, Frozen, count_params, ema_update, gpu, ops, walk_params},
    train::{BatchSource, History, Loss, Run, StepContext, TrainConfig, Trainable, fit, fit_on, portable},
};
use dfdx::prelude::{Cpu, PutTape, Tape};
use ndarray::{Array2, Axis, Zip, concatenate, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::{fmt::Debug, ops::Range, sync::Arc};

/// Where a flow begins; a diffusion needs none.
#[derive(Clone)]
pub(crate) enum Source {
    /// At noise, drawn anew for each batch.
    Noise,
    /// At rows drawn from these, `(source rows, dims)`, for each batch.
    Drawn(Arc<Array2<f32>>),
    /// Each row of x at its own, `(rows, dims)`.
    Paired(Array2<f32>),
}

/// Rows in the network's units.
pub(crate) struct Rows {
    /// `(rows, dims)`.
    pub x: Array2<f32>,
    pub source: Source,
    /// `(rows, condition)`.
    pub condition: Option<Array2<f32>>,
}

impl BatchSource for Rows {
    type Batch = Rows;

    fn len(&self) -> usize {
        self.x.nrows()
    }

    fn batch(&self, rows: &[usize]) -> Result<Rows> {
        let select = |values: &Array2<f32>| values.select(Axis(0), rows);
        let source = match &self.source {
            Source::Paired(source) => Source::Paired(select(source)),
            other => other.clone(),
        };
        Ok(Rows { x: select(&self.x), source, condition: self.condition.as_ref().map(select) })
    }

    fn name(&self, row: usize) -> String {
        format!("row {row}")
    }
}

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
    /// Numbers at the end of a condition that are never dropped.
    pub kept: usize,
    pub ema: f64,
    pub corruption: Arc<dyn Corruption>,
}

/// What [`fit`] trains.
#[derive(Debug, Clone)]
pub(crate) struct Learner<D: Backend> {
    device: D,
    net: ScoreNet<D>,
    average: Frozen<ScoreNet<D>>,
    config: LearnerConfig,
}

walk_params!(Learner { params: [], buffers: [], layers: [net, average], kept: [config], device_field: device });

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

    /// See [`ScoreNet::set_gene_groups`].
    pub fn set_gene_groups(&mut self, group_of: &[u32]) -> Result<()> {
        self.net.set_gene_groups(group_of)?;
        self.average.0.set_gene_groups(group_of)
    }

    /// The averaged network's answer, `(rows, dims)`.
    pub fn output(&self, x: &Array2<f32>, given: &Given) -> Result<Array2<f32>> {
        Ok(ops::download(&self.average.0.forward(ops::upload(&self.device, x)?, given)?))
    }
}

portable!(Learner);

impl<D: Backend> Trainable<D> for Learner<D> {
    type Batch = Rows;

    fn loss<T: Tape<f32, D>>(&mut self, batch: &Rows, tape: T, context: &mut StepContext<'_>) -> Result<Loss<D, T>> {
        let Examples { x, t, mut target, weight } = self.config.corruption.examples(batch, context.rng)?;
        let dropped: Vec<bool> = match context.training {
            true => t.iter().map(|_| context.rng.random::<f64>() < self.config.condition_dropout).collect(),
            false => Vec::new(),
        };
        let given = Given::keeping(self.config.kept, &t, batch.condition.as_ref(), &dropped)?;
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

/// How examples are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denoising {
    pub sde: Sde,
    pub parameterization: Parameterization,
    pub weight: LossWeight,
    pub t_min: f64,
}

/// What x at time t is multiplied by before the network sees it.
pub(crate) fn input_scale(sde: &Sde, t: f64) -> f64 {
    1.0 / sde.mean(t).hypot(sde.std(t))
}

impl Corruption for Denoising {
    fn examples(&self, batch: &Rows, rng: &mut ChaCha8Rng) -> Result<Examples> {
        let (rows, dims) = batch.x.dim();
        let times = stratified_times(rows, self.t_min, rng);
        let epsilon = normal((rows, dims), rng);
        let (mut x, mut target) = (Array2::zeros((rows, dims)), Array2::zeros((rows, dims)));
        let mut weight = Vec::with_capacity(rows);
        for (row, &t) in times.iter().enumerate() {
            let (m, s) = (self.sde.mean(t), self.sde.std(t));
            let (p, q) = self.parameterization.target_coefficients(m, s);
            let scale = input_scale(&self.sde, t);
            weight.push(self.weight.weight(self.parameterization, m, s) as f32);
            let [signal, noise, p, q] = [scale * m, scale * s, p, q].map(|v| v as f32);
            Zip::from(x.row_mut(row)).and(target.row_mut(row)).and(batch.x.row(row)).and(epsilon.row(row)).for_each(
                |x, target, &x0, &epsilon| {
                    *x = signal * x0 + noise * epsilon;
                    *target = p * x0 + q * epsilon;
                },
            );
        }
        let t = times.into_iter().map(|t| t as f32).collect();
        Ok(Examples { x, t, target, weight: (self.weight != LossWeight::Uniform).then_some(weight) })
    }
}

/// Step of the central differences of a divergence: the cube root of the rounding error of `f32`.
pub(crate) const DIFFERENCE_STEP: f64 = 5e-3;

/// A network, its condition, and what its output means. Samples are in the network's units.
pub(crate) struct LearnedDenoiser<'a> {
    pub net: &'a dyn Answers,
    pub dims: usize,
    pub training: Denoising,
    pub guide: Guide,
}

impl Denoiser for LearnedDenoiser<'_> {
    fn dims(&self) -> usize {
        self.dims
    }

    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let Denoising { sde, parameterization, .. } = self.training;
        let scale = input_scale(&sde, t);
        let output = self.guide.output(self.net, &x.mapv(|v| (v * scale) as f32), t)?;
        parameterization.to_epsilon(&output, x, t, &sde)
    }

    fn difference_step(&self) -> f64 {
        DIFFERENCE_STEP
    }
}

/// Rows that go through the network at once: its activations stay in a core's cache.
const BLOCK: usize = 256;

#[derive(Debug, Clone)]
pub(crate) enum Placed {
    Cpu(Learner<Cpu>),
    /// Tensors of the CPU, operations of a GPU: see [`nn::gpu`](crate::nn::gpu).
    Offload(Learner<Cpu>),
    #[cfg(feature = "cuda")]
    Cuda(Learner<dfdx::prelude::Cuda>),
}

/// Runs `$body` with `$net` bound to the learner, whatever device it is on.
macro_rules! on_device {
    ($on:expr, $net:ident => $body:expr) => {
        match $on {
            Placed::Cpu($net) => $body,
            Placed::Offload($net) => {
                let _on = gpu::enter().expect("it was opened when the network was made");
                $body
            }
            #[cfg(feature = "cuda")]
            Placed::Cuda($net) => $body,
        }
    };
}

impl Placed {
    /// # Errors
    /// A device that is not there; settings that make no network.
    pub fn new(config: LearnerConfig, seed: u64, device: Device) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        device.check()?;
        Ok(match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(number) => Self::Cuda(Learner::new(&crate::nn::cuda(number)?, config, &mut rng)?),
            _ => {
                let net = Learner::new(&Cpu::seed_from_u64(seed), config, &mut rng)?;
                match device.is_offload() {
                    true => gpu::enter().map(|_| Self::Offload(net))?,
                    false => Self::Cpu(net),
                }
            }
        })
    }

    pub fn n_params(&self) -> Result<usize> {
        on_device!(self, net => count_params(net))
    }

    pub fn fit(
        &mut self,
        train: &Rows,
        validation: Option<&Rows>,
        config: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<History> {
        // A network of host memory goes wherever the run is.
        if let Self::Cpu(net) = self {
            return fit_on(net, train, validation, config, options);
        }
        on_device!(self, net => {
            let device = net.device().clone();
            fit(net, train, validation, &device, config, options)
        })
    }

    /// See [`ScoreNet::set_gene_groups`].
    pub fn set_gene_groups(&mut self, group_of: &[u32]) -> Result<()> {
        on_device!(self, net => net.set_gene_groups(group_of))
    }

    /// Adds the weights to a state.
    pub fn add_to(&self, state: State) -> Result<State> {
        on_device!(self, net => state.with_network("net", net))
    }

    /// Takes the weights from a state.
    pub fn fill_from(&mut self, state: &State) -> Result<()> {
        on_device!(self, net => state.fill("net", net))
    }

    /// Runs `f` with the averaged network on each block of `rows` rows, its number and its range, and puts the results
    /// together by rows. On the CPU blocks run side by side; their size does not depend on the number of threads.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn in_blocks(&self, rows: usize, f: BlockTask<'_>) -> Result<Array2<f64>> {
        match self {
            Self::Cpu(net) => {
                let starts: Vec<usize> = (0..rows.max(1)).step_by(BLOCK).collect();
                let block = |(number, &start): (usize, &usize)| f(net, number, start..rows.min(start + BLOCK));
                let blocks = starts.par_iter().enumerate().map(block).collect::<Result<Vec<_>>>()?;
                let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
                Ok(concatenate(Axis(0), &views).expect("every block has the same number of columns"))
            }
            Self::Offload(net) => {
                let _on = gpu::enter()?;
                f(net, 0, 0..rows)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(net) => f(net, 0, 0..rows),
        }
    }
}

/// What is done with a block of rows: the network, the block's number, its rows; to one row each.
pub(crate) type BlockTask<'a> = &'a (dyn Fn(&dyn Answers, usize, Range<usize>) -> Result<Array2<f64>> + Sync);

impl<D: Backend> Answers for Learner<D> {
    fn answer(&self, x: &Array2<f32>, t: f64, condition: Option<&Array2<f32>>, dropped: bool) -> Result<Array2<f64>> {
        let (t, dropped) = (vec![t as f32; x.nrows()], vec![dropped; x.nrows()]);
        let given = Given::keeping(self.config.kept, &t, condition, &dropped)?;
        Ok(self.output(x, &given)?.mapv(f64::from))
    }
}

impl Answers for Placed {
    fn answer(&self, x: &Array2<f32>, t: f64, condition: Option<&Array2<f32>>, dropped: bool) -> Result<Array2<f64>> {
        if let Some(condition) = condition.filter(|condition| condition.nrows() != x.nrows()) {
            return Err(Error::shape("score network: x and conditions", x.dim(), condition.dim()));
        }
        self.in_blocks(x.nrows(), &|net, _, rows| {
            let condition = condition.map(|condition| condition.slice(s![rows.clone(), ..]).to_owned());
            net.answer(&x.slice(s![rows, ..]).to_owned(), t, condition.as_ref(), dropped)
        })
    }
}
