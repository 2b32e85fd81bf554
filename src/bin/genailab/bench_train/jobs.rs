//! What `bench-train` measures: two trainings, and the draws of a diffusion model.

use super::{Load, WARM_UP_STEPS};
use genailab::{
    Error, Result,
    data::{Dataset, Split, TrainingData},
    device::Device,
    model::{
        CountVae, KlAnnealing, LibrarySize, Model, VaeConfig, VaeSettings,
        diffusion::{Diffusion, DiffusionConfig, SampleConfig},
        jepa::{CollapseAlarm, OnCollapse, Pretraining, PretrainingConfig, Size},
    },
    ndarray::Array2,
    nn::Norm,
    train::{Callback, EpochRecord, Run, StepRecord, TrainConfig},
};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use std::{cell::Cell, ops::ControlFlow, time::Instant};

/// Numbers of a vector that is drawn by DDIM: the width of a JEPA's default embedding.
const WIDTH: usize = 64;
/// Steps of DDIM.
const DDIM_STEPS: usize = 50;
/// Vectors that the diffusion model is trained on, for one epoch: what it draws does not matter, only how fast.
const VECTORS: usize = 512;

/// What was measured.
pub struct Measured {
    pub seconds: f64,
    /// Of the last step.
    pub loss: Option<f64>,
}

/// Notes when the warm-up and when the last step ended, and the last loss.
#[derive(Default)]
struct Stopwatch {
    warm: Cell<Option<Instant>>,
    last: Cell<Option<(Instant, f64)>>,
}

impl Stopwatch {
    /// Runs a training of one epoch, and takes the time of its steps.
    fn time(&self, device: Device, train: impl FnOnce(&mut Run<'_>) -> Result<()>) -> Result<Measured> {
        train(&mut Run { device, callbacks: vec![Box::new(Watch(self))], ..Run::quiet(0) })?;
        let (Some(warm), Some((end, loss))) = (self.warm.get(), self.last.get()) else {
            return Err(Error::data("no step was made; the file has too few cells"));
        };
        Ok(Measured { seconds: (end - warm).as_secs_f64(), loss: Some(loss) })
    }
}

struct Watch<'a>(&'a Stopwatch);

impl Callback for Watch<'_> {
    fn on_step(&mut self, step: &StepRecord) -> Result<()> {
        if step.steps == WARM_UP_STEPS {
            self.0.warm.set(Some(Instant::now()));
        }
        self.0.last.set(Some((Instant::now(), step.loss)));
        Ok(())
    }

    fn on_epoch_end(&mut self, _: &EpochRecord) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
}

fn one_epoch(batch_size: usize) -> TrainConfig {
    TrainConfig { epochs: 1, batch_size, shuffle: false, ..TrainConfig::default() }
}

/// The count VAE of benches/torch_vae.py.
pub fn vae(data: Dataset, split: &Split, load: Load) -> Result<Measured> {
    let training = TrainingData::of_dataset(data, split, 0)?;
    let model = VaeConfig {
        library_size: LibrarySize::Kept,
        with_lane: false,
        with_library: false,
        norm: Norm::None,
        dropout: 0.0,
        kl_annealing: KlAnnealing::Constant,
        init_output_bias: false,
        ..VaeConfig::default()
    };
    let settings = VaeSettings { model, train: one_epoch(load.batch), ..VaeSettings::default() };
    Stopwatch::default().time(load.device, |run| CountVae::fit(&training, &settings, run).map(drop))
}

/// The JEPA of benches/torch_jepa.py: the perceptron of this size, from visible genes to the embeddings of hidden ones.
pub fn jepa(data: &Dataset, split: &Split, size: Size, load: Load) -> Result<Measured> {
    let mut config = PretrainingConfig::mlp(size);
    // A few steps are no training, and are not judged as one.
    config.alarm = CollapseAlarm { then: OnCollapse::Ignore, ..config.alarm };
    let mut pretraining = Pretraining::new(data, split, config, 0)?;
    Stopwatch::default()
        .time(load.device, |run| pretraining.fit_with(data, split, &one_epoch(load.batch), run).map(drop))
}

/// Draws of the network of benches/torch_ddim.py, without a condition.
pub fn ddim(load: Load) -> Result<Measured> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let x = Array2::from_shape_simple_fn((VECTORS, WIDTH), || StandardNormal.sample(&mut rng));
    let mut diffusion = Diffusion::new(WIDTH, 0, &DiffusionConfig::default(), 0, load.device)?;
    diffusion.fit(&x, None, None, &one_epoch(VECTORS), &mut Run { device: load.device, ..Run::quiet(0) })?;
    let draw = |seed: usize| diffusion.sample(load.batch, None, &SampleConfig::ddim(DDIM_STEPS), seed as u64);
    draw(0)?;
    let start = Instant::now();
    (1..=load.steps).try_for_each(|seed| draw(seed).map(drop))?;
    Ok(Measured { seconds: start.elapsed().as_secs_f64(), loss: None })
}
