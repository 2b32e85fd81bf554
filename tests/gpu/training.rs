//! Fifty steps on the GPU end where fifty steps on the CPU end, within 1e-3 of the loss; and a model goes from one device
//! to the other.

use super::{DEVICE, is_there};
use genailab::{
    Error, ErrorKind, Result,
    data::{Condition, Dataset, Simulation, SimulationConfig, Split, SplitPlan, TrainingData},
    device::Device,
    dfdx::prelude::{Cpu, Tape},
    model::{
        CountVae, Likelihood, Model, ModelConfig, ThetaScope, Trained, VaeConfig, VaeSettings,
        diffusion::{
            Diffusion, DiffusionConfig,
            net::{DitConditioning, DitConfig, ScoreNetConfig},
        },
        jepa::{EncoderConfig, GroupConfig, Jepa, JepaSettings, Pretraining, PretrainingConfig, Size, TokenConfig},
    },
    ndarray::{Array2, Axis},
    nn::{AttentionConfig, Params, SetEncoderConfig, Visitor, VisitorMut},
    train::{BatchSource, Callback, EpochRecord, Loss, Run, StepContext, StepRecord, TrainConfig, Trainable},
};
use std::{cell::RefCell, ops::ControlFlow, rc::Rc};

const STEPS: usize = 50;
const TOLERANCE: f64 = 1e-3;

/// The loss of each step.
#[derive(Clone, Default)]
struct Losses(Rc<RefCell<Vec<f64>>>);

impl Callback for Losses {
    fn on_step(&mut self, step: &StepRecord) -> Result<()> {
        self.0.borrow_mut().push(step.loss);
        Ok(())
    }
    fn on_epoch_end(&mut self, _: &EpochRecord) -> Result<ControlFlow<()>> {
        Ok(if self.0.borrow().len() < STEPS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }
}

/// Trains on both devices and compares the loss of step 50; there must be something to learn.
#[track_caller]
fn same_loss(what: &str, train: impl Fn(&mut Run<'_>)) {
    let on = |device| {
        let losses = Losses::default();
        train(&mut Run { device, callbacks: vec![Box::new(losses.clone())], ..Run::quiet(0) });
        losses.0.take()
    };
    let (here, there) = (on(Device::Cpu), on(DEVICE));
    let (want, got) = (here[STEPS - 1], there[STEPS - 1]);
    println!("{what}: loss {} at first; after {STEPS} steps {want} on the CPU, {got} on {DEVICE}", here[0]);
    assert!(want < here[0], "{what}: the loss rose from {} to {want}", here[0]);
    assert!(((got - want) / want).abs() < TOLERANCE, "{what}: {got} on {DEVICE}, {want} on the CPU");
}

fn small() -> (Dataset, Split) {
    let config = SimulationConfig { n_cells: 500, n_genes: 120, seed: 3, ..SimulationConfig::default() };
    let data = Simulation::new(&config).expect("valid settings").dataset;
    let split = data.split(&SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: 1 }).expect("enough cells");
    (data, split)
}

fn settings(likelihood: Likelihood, theta: ThetaScope) -> VaeSettings {
    let model = VaeConfig { latent: 4, hidden: vec![32, 16], condition: 6, likelihood, theta, ..VaeConfig::default() };
    let train = TrainConfig { epochs: 50, batch_size: 64, ..TrainConfig::default() };
    VaeSettings { model, train, ..VaeSettings::default() }
}

#[test]
fn the_vae_ends_where_the_cpu_does() {
    if !is_there() {
        return;
    }
    let (data, split) = small();
    let data = TrainingData::of_dataset(data, &split, 0).expect("its own split");
    for (likelihood, theta) in [(Likelihood::Nb, ThetaScope::Gene), (Likelihood::Zinb, ThetaScope::CellGene)] {
        same_loss(&format!("VAE, {likelihood:?}"), |run| {
            CountVae::fit(&data, &settings(likelihood, theta), run).expect("it trains");
        });
    }
}

#[test]
fn jepa_ends_where_the_cpu_does() {
    if !is_there() {
        return;
    }
    let (data, split) = small();
    let config = PretrainingConfig {
        encoder: EncoderConfig::Mlp { hidden: vec![48] },
        width: 24,
        ..PretrainingConfig::mlp(Size::Small)
    };
    let train = TrainConfig { epochs: 50, batch_size: 64, learning_rate: 1e-3, ..TrainConfig::default() };
    let token =
        SetEncoderConfig { width: 16, latents: 4, depth: 1, attention: AttentionConfig { heads: 2, dropout: 0.1 } };
    let tokens = EncoderConfig::Tokens(TokenConfig { identity: 8, frequencies: 4, zeros: 8, set: token });
    for (what, encoder) in [("perceptron", config.encoder.clone()), ("tokens", tokens)] {
        same_loss(&format!("JEPA, {what}"), |run| {
            let config = PretrainingConfig { encoder: encoder.clone(), ..config.clone() };
            let mut model = Pretraining::new(&data, &split, config, 1).expect("a valid configuration");
            model.fit_with(&data, &split, &train, run).expect("it trains");
        });
    }
}

#[test]
fn diffusion_ends_where_the_cpu_does() {
    if !is_there() {
        return;
    }
    let x = Array2::from_shape_fn((256, 4), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 5.0 - 1.0);
    let train = TrainConfig { epochs: 50, batch_size: 64, learning_rate: 3e-3, ..TrainConfig::default() };
    let dit =
        DitConfig { group: 1, width: 16, depth: 1, heads: 2, embedding: 16, conditioning: DitConditioning::AdaLn };
    for net in [DiffusionConfig::default().net, ScoreNetConfig::Dit(dit)] {
        same_loss(&format!("diffusion, {}", net.name()), |run| {
            let config = DiffusionConfig { net, ..DiffusionConfig::default() };
            let mut model = Diffusion::new(4, 0, &config, 0, run.device).expect("it fits");
            model.fit(&x, None, None, &train, run).expect("it trains");
        });
    }
}

/// A JEPA that was trained on the CPU answers there.
#[test]
fn a_jepa_answers_there() {
    if !is_there() {
        return;
    }
    let (data, split) = small();
    let rows: Vec<usize> = (0..30).collect();
    let training = TrainingData::of_dataset(data.clone(), &split, 0).expect("its own split");
    let mut settings = JepaSettings::preset(Size::Tiny);
    let groups = GroupConfig { groups: 6, hidden: 16, tokens: 8, depth: 1, ..GroupConfig::of(Size::Tiny) };
    settings.encoder.encoder = EncoderConfig::Groups(groups);
    settings.encoder.width = 8;
    settings.set_epochs(1);
    settings.response.tuning.epochs = 1;
    settings.response.interaction.epochs = 1;
    settings.response.folds = 2;
    let (jepa, _) = Jepa::fit(&training, &settings, &mut Run::quiet(0)).expect("it trains");
    let folder = tempfile::tempdir().expect("a folder can be made");
    jepa.save(folder.path()).expect("it can be written");
    let moved = Jepa::load(folder.path(), DEVICE).expect("it can be read");
    let perturbed = data.perturbations.iter().find(|p| p.genes().len() == 1).expect("there are perturbations");
    let condition = Condition::of(perturbed.clone());
    close(&moved.embed(&data, &rows).unwrap(), &jepa.embed(&data, &rows).unwrap(), 1e-4);
    let predicted = |model: &Jepa| model.predicted_embeddings(&data, &rows, &condition).expect("it was trained on");
    close(&predicted(&moved), &predicted(&jepa), 1e-4);
    let mean = |model: &Jepa| model.mean_from(&data, &rows, &condition, 0).expect("it decodes").mapv(|v| v as f32);
    close(&mean(&moved).insert_axis(Axis(0)), &mean(&jepa).insert_axis(Axis(0)), 1e-4);
}

#[test]
fn a_model_goes_from_one_device_to_the_other_and_is_resumed_there() {
    if !is_there() {
        return;
    }
    let (data, split) = small();
    let training = TrainingData::of_dataset(data.clone(), &split, 0).expect("its own split");
    let settings = settings(Likelihood::Nb, ThetaScope::Gene);
    let rows: Vec<usize> = (0..40).collect();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let epochs = |epochs| VaeSettings { train: TrainConfig { epochs, ..settings.train.clone() }, ..settings.clone() };
    let run = |device, resume| Run { device, resume, dir: Some(folder.path().join("run")), ..Run::quiet(0) };

    // Two epochs there, the third here.
    CountVae::fit(&training, &epochs(2), &mut run(DEVICE, false)).expect("it trains");
    let (moved, _) = CountVae::fit(&training, &epochs(3), &mut run(Device::Cpu, true)).expect("it goes on");
    let (stayed, _) = CountVae::fit(&training, &epochs(3), &mut Run::quiet(0)).expect("it trains");
    let embedding = |model: &CountVae| model.embed(&data, &rows).expect("its own genes");
    close(&embedding(&moved), &embedding(&stayed), 1e-3);

    // Saved here, read there.
    stayed.save(&folder.path().join("model")).expect("it can be written");
    let there = CountVae::load(&folder.path().join("model"), DEVICE).expect("it can be read");
    close(&embedding(&there), &embedding(&stayed), 1e-4);
}

#[track_caller]
fn close(got: &Array2<f32>, want: &Array2<f32>, tolerance: f32) {
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < tolerance, "they differ by {worst}");
}

/// A model whose device has no memory for its batch.
struct TooLarge;

impl Params<Cpu> for TooLarge {
    fn walk<V: Visitor<Cpu>>(&self, _: &str, _: &mut V) -> Result<()> {
        Ok(())
    }
    fn walk_mut<V: VisitorMut<Cpu>>(&mut self, _: &str, _: &mut V) -> Result<()> {
        Ok(())
    }
}

impl Trainable<Cpu> for TooLarge {
    type Batch = ();
    fn loss<T: Tape<f32, Cpu>>(&mut self, (): &(), _: T, _: &mut StepContext<'_>) -> Result<Loss<Cpu, T>> {
        Err(Error::new(ErrorKind::OutOfMemory, "vulkan: out of device memory"))
    }
}

/// A hundred rows without content.
struct Hundred;

impl BatchSource for Hundred {
    type Batch = ();
    fn len(&self) -> usize {
        100
    }
    fn batch(&self, _: &[usize]) -> Result<()> {
        Ok(())
    }
    fn name(&self, row: usize) -> String {
        row.to_string()
    }
}

#[test]
fn a_device_without_memory_names_the_batch_size_to_try() {
    let config = TrainConfig { batch_size: 64, ..TrainConfig::default() };
    let error =
        genailab::train::fit(&mut TooLarge, &Hundred, None, &Cpu::default(), &config, &mut Run::quiet(0)).unwrap_err();
    assert_eq!(error.to_string(), "vulkan: out of device memory; try batch_size = 32");
}
