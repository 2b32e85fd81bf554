//! What the trainer does with a model, and what it says when it cannot.

use super::{
    model::{Batch, Line, Rows},
    python,
};
use genailab::{
    ErrorKind, Result,
    dfdx::prelude::{Backward, Cpu, NoneTape, PutTape, SumTo, Tape},
    nn::{Adam, GradientBuffers, Params, Visitor, VisitorMut},
    train::{
        BatchSource, Callback, EpochRecord, History, LearningRateSchedule, Loss, Progress, Run, StepContext,
        StepRecord, TrainConfig, Trainable, fit,
    },
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    cell::RefCell,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

pub fn config() -> TrainConfig {
    TrainConfig {
        epochs: 5,
        batch_size: 16,
        validation_batch_size: 7,
        learning_rate: 0.05,
        seed: 3,
        ..TrainConfig::default()
    }
}

pub fn silent<'a>() -> Run<'a> {
    Run { progress: Progress::Silent, ..Run::default() }
}

fn run(config: &TrainConfig, options: &mut Run<'_>) -> (Line<Cpu>, Result<History>) {
    let device = Cpu::default();
    let mut line = Line::new(&device);
    let history = fit(&mut line, &Rows::new(100, 1), Some(&Rows::new(30, 2)), &device, config, options);
    (line, history)
}

#[test]
fn a_line_is_learnt_and_recorded() {
    let (line, history) = run(&TrainConfig { epochs: 40, ..config() }, &mut silent());
    let history = history.unwrap();
    assert_eq!(history.epochs.len(), 40);
    let last = history.last().unwrap();
    assert!(last.validation.as_ref().unwrap().loss < 0.1, "{last:?}");
    let weight = line.weight.as_vec();
    assert!((weight[0] - 2.0).abs() < 0.4 && (weight[3] - 1.0).abs() < 0.4, "{weight:?}");
    assert_eq!((last.epoch, last.steps, line.after_steps), (40, 280, 280));
    assert_eq!(line.seen.as_vec(), [4000.0]);
    assert!(last.gradient_norm > 0.0 && last.cells_per_second > 0.0 && last.seconds > 0.0);
    assert!(history.best().unwrap().monitored_loss() <= last.monitored_loss());
}

/// The first step of the first epoch, by hand: same rows, same noise, same update.
#[test]
fn a_step_is_what_it_should_be() {
    let device = Cpu::default();
    let rows = Rows::new(16, 1);
    let one = TrainConfig { epochs: 1, ..config() };
    let mut trained = Line::new(&device);
    trained.dropout = 0.0;
    let history = fit(&mut trained, &rows, None, &device, &one, &mut silent()).unwrap();

    let mut line = Line::new(&device);
    line.dropout = 0.0;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut context = StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: true, rng: &mut rng };
    let batch = rows.batch(&(0..16).collect::<Vec<_>>()).unwrap();
    let tape = GradientBuffers::default().tape(&line, &device).unwrap();
    let loss = line.loss(&batch, tape, &mut context).unwrap();
    let value = f64::from(loss.total.as_vec()[0]);
    let mut gradients = loss.total.backward();
    let norm = Adam::new(one.adam()).unwrap().step(&mut line, &mut gradients, 0.05, None).unwrap();
    let record = &history.epochs[0];
    // The rows come in another order, so sums differ in their last bits.
    assert!((record.train.loss / value - 1.0).abs() < 1e-5 && (record.gradient_norm / norm - 1.0).abs() < 1e-5);
    assert!((record.train.parts["half"] * 2.0 / value - 1.0).abs() < 1e-5);
    for (a, b) in trained.weight.as_vec().iter().zip(line.weight.as_vec()) {
        assert!((a - b).abs() < 1e-5, "{a}, {b} expected");
    }
}

#[test]
fn validation_has_no_noise_and_means_are_over_rows() {
    let (mut line, history) = run(&config(), &mut silent());
    let rows = Rows::new(30, 2);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut context =
        StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: false, rng: &mut rng };
    let whole = rows.batch(&(0..30).collect::<Vec<_>>()).unwrap();
    let expected = f64::from(line.loss(&whole, NoneTape, &mut context).unwrap().total.as_vec()[0]);
    // 30 rows in batches of 7: the last has 2, and a mean over batches would be another.
    let found = history.unwrap().last().unwrap().validation.clone().unwrap();
    assert!((found.loss / expected - 1.0).abs() < 1e-5, "{}, {expected} expected", found.loss);
    assert_eq!(line.seen.as_vec(), [500.0], "a validation pass trained");
}

#[test]
fn the_seed_decides_and_every_epoch_shuffles_anew() {
    struct Watch {
        rows: Rows,
        seen: RefCell<Vec<Vec<usize>>>,
    }
    impl BatchSource for Watch {
        type Batch = <Rows as BatchSource>::Batch;
        fn len(&self) -> usize {
            self.rows.len()
        }
        fn batch(&self, rows: &[usize]) -> Result<Self::Batch> {
            self.seen.borrow_mut().push(rows.to_vec());
            self.rows.batch(rows)
        }
        fn name(&self, row: usize) -> String {
            self.rows.name(row)
        }
    }
    let device = Cpu::default();
    let run = |seed, drop_last| {
        let rows = Watch { rows: Rows::new(50, 1), seen: RefCell::default() };
        let mut line = Line::new(&device);
        let config = TrainConfig { epochs: 2, seed, drop_last, ..config() };
        fit(&mut line, &rows, None, &device, &config, &mut silent()).unwrap();
        (line.snapshot(), rows.seen.into_inner())
    };
    let (weights, order) = run(3, false);
    assert_eq!((weights, order.clone()), run(3, false));
    assert_ne!(order, run(4, false).1);
    assert_eq!(order.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 16, 2, 16, 16, 16, 2]);
    let epoch = |batches: &[Vec<usize>]| batches.concat();
    let (first, second) = (epoch(&order[..4]), epoch(&order[4..]));
    assert_ne!(first, second);
    for mut rows in [first, second] {
        rows.sort_unstable();
        assert_eq!(rows, (0..50).collect::<Vec<_>>());
    }
    assert_eq!(run(3, true).1.iter().map(Vec::len).collect::<Vec<_>>(), [16; 6]);
}

#[test]
fn early_stopping_goes_back_to_the_best_weights() {
    // A learning rate that grows: the loss falls first and rises then.
    let config = TrainConfig {
        epochs: 60,
        learning_rate: 1e-3,
        schedule: LearningRateSchedule::Exponential { factor: 1.6 },
        early_stopping: Some(3),
        ..config()
    };
    let mut at_epoch_end = Vec::new();
    let device = Cpu::default();
    let (train, validation) = (Rows::new(100, 1), Rows::new(30, 2));
    let mut line = Line::new(&device);
    let mut options = silent();
    options.callbacks.push(Box::new(|record: &EpochRecord| {
        at_epoch_end.push(record.monitored_loss());
        ControlFlow::Continue(())
    }));
    let history = fit(&mut line, &train, Some(&validation), &device, &config, &mut options).unwrap();
    drop(options);
    let best = history.best().unwrap();
    assert!(best.epoch > 5, "the loss never fell");
    assert_eq!(history.epochs.len(), best.epoch + 3);
    assert_eq!(at_epoch_end.len(), history.epochs.len());
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut context =
        StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: false, rng: &mut rng };
    let whole = validation.batch(&(0..30).collect::<Vec<_>>()).unwrap();
    let now = f64::from(line.loss(&whole, NoneTape, &mut context).unwrap().total.as_vec()[0]);
    assert!((now / best.monitored_loss() - 1.0).abs() < 1e-5, "{now}, {} expected", best.monitored_loss());
}

#[test]
fn callbacks_see_steps_and_epochs_and_can_stop() {
    struct Watch<'a>(&'a mut Vec<StepRecord>);
    impl Callback for Watch<'_> {
        fn on_step(&mut self, step: &StepRecord) -> Result<()> {
            self.0.push(*step);
            Ok(())
        }
        fn on_epoch_end(&mut self, record: &EpochRecord) -> Result<ControlFlow<()>> {
            Ok(if record.epoch == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        }
    }
    let mut steps = Vec::new();
    let mut options = silent();
    options.callbacks.push(Box::new(Watch(&mut steps)));
    let history = run(&config(), &mut options).1.unwrap();
    drop(options);
    assert_eq!(history.epochs.len(), 2);
    assert_eq!(steps.len(), 14);
    assert_eq!((steps[13].epoch, steps[13].steps, steps[13].rows), (2, 14, 4));
    let mean = steps[..7].iter().map(|step| step.loss * step.rows as f64).sum::<f64>() / 100.0;
    assert!((history.epochs[0].train.loss / mean - 1.0).abs() < 1e-12);
}

#[test]
fn a_loss_that_is_not_finite_names_epoch_batch_and_cells() {
    let device = Cpu::default();
    for (value, says) in [(f32::NAN, "the loss is NaN"), (f32::INFINITY, "the loss is inf")] {
        let mut rows = Rows::new(40, 1);
        rows.y[17][0] = value;
        let batches = TrainConfig { batch_size: 1, ..config() };
        let mut line = Line::new(&device);
        let error = fit(&mut line, &rows, None, &device, &batches, &mut silent()).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Numeric);
        assert!(message.contains("epoch 1, batch ") && message.contains("(cells cell-17)"), "{message}");
        assert!(message.contains(says) && message.contains("half "), "{message}");
        let error = fit(&mut line, &rows, None, &device, &config(), &mut silent()).unwrap_err().to_string();
        assert_eq!(error.matches("cell-").count(), 3, "{error}");
        // In validation rows it is found as well.
        let error = fit(&mut line, &Rows::new(40, 1), Some(&rows), &device, &config(), &mut silent()).unwrap_err();
        assert!(error.to_string().starts_with("epoch 1, validation batch 3 (cells cell-14, cell-15, cell-16, …): "));
    }
}

/// The root of zero is finite, but its slope is not.
#[test]
fn a_gradient_that_is_not_finite_names_weight_and_batch() {
    struct Root(Line<Cpu>);
    impl Params<Cpu> for Root {
        fn walk<V: Visitor<Cpu>>(&self, path: &str, visitor: &mut V) -> Result<()> {
            self.0.walk(path, visitor)
        }
        fn walk_mut<V: VisitorMut<Cpu>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
            self.0.walk_mut(path, visitor)
        }
    }
    impl Trainable<Cpu> for Root {
        type Batch = Batch;
        fn loss<T: Tape<f32, Cpu>>(&mut self, _: &Batch, tape: T, _: &mut StepContext<'_>) -> Result<Loss<Cpu, T>> {
            let zero = self.0.bias.clone().put_tape(tape) * 0.0;
            Ok(Loss { total: zero.sqrt().sum(), parts: Vec::new() })
        }
    }
    let device = Cpu::default();
    let mut root = Root(Line::new(&device));
    let before = root.0.snapshot();
    let error = fit(&mut root, &Rows::new(2, 1), None, &device, &config(), &mut silent()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Numeric);
    let message = error.to_string();
    assert!(message.starts_with("epoch 1, batch 1 (cells cell-"), "{message}");
    assert!(message.ends_with("): the gradient of `bias` is not finite"), "{message}");
    assert_eq!(root.0.snapshot(), before);
}

#[test]
fn an_interruption_says_what_is_kept() {
    let flag = Arc::new(AtomicBool::new(true));
    let interrupted = |dir: Option<&Path>, after: usize| {
        flag.store(after == 0, std::sync::atomic::Ordering::Relaxed);
        let mut options = silent();
        options.dir = dir.map(Path::to_path_buf);
        options.interrupt = Some(flag.clone());
        options.callbacks.push(Box::new(|record: &EpochRecord| {
            flag.store(record.epoch == after, std::sync::atomic::Ordering::Relaxed);
            ControlFlow::Continue(())
        }));
        let error = run(&config(), &mut options).1.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        error.to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    assert!(interrupted(None, 2).starts_with("interrupted in epoch 3 of 5; nothing was saved, as no folder"));
    assert!(interrupted(Some(folder.path()), 0).contains("nothing was saved, as no epoch was finished"));
    let message = interrupted(Some(folder.path()), 2);
    let path = folder.path().join("last.safetensors");
    assert!(message.contains(&format!("the checkpoint of epoch 2 is kept in {}", path.display())), "{message}");
    assert!(message.contains("--resume") && path.exists());
}

#[test]
fn settings_and_data_that_do_not_fit_are_told() {
    let device = Cpu::default();
    let (some, none) = (Rows::new(10, 1), Rows::new(0, 1));
    let message = |config: TrainConfig, train: &Rows, validation: Option<&Rows>| {
        let error = fit(&mut Line::new(&device), train, validation, &device, &config, &mut silent()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    assert_eq!(message(TrainConfig { epochs: 0, ..config() }, &some, None), "epochs = 0, but it must be at least 1");
    let zero = TrainConfig { early_stopping: Some(0), ..config() };
    assert!(message(zero, &some, Some(&some)).starts_with("early_stopping = 0"));
    assert!(message(TrainConfig { learning_rate: -1.0, ..config() }, &some, None).starts_with("learning_rate = -1"));
    assert!(message(TrainConfig { clip_norm: Some(0.0), ..config() }, &some, None).starts_with("clip_norm = 0"));
    assert!(message(TrainConfig { beta1: 2.0, ..config() }, &some, None).starts_with("beta1 = 2"));
    assert!(message(config(), &none, None).starts_with("0 training cells do not fill one batch"));
    let drop_last = TrainConfig { drop_last: true, ..config() };
    assert!(message(drop_last, &some, None).starts_with("10 training cells do not fill one batch of 16"));
    let stopping = TrainConfig { early_stopping: Some(2), ..config() };
    assert!(message(stopping, &some, Some(&none)).contains("there are no validation cells"));
}

#[test]
fn settings_read_from_a_file_have_defaults_and_no_strangers() {
    let config: TrainConfig =
        toml::from_str("epochs = 7\n[schedule]\nkind = \"step\"\nevery = 2\nfactor = 0.5").unwrap();
    let schedule = LearningRateSchedule::Step { every: 2, factor: 0.5 };
    assert_eq!(config, TrainConfig { epochs: 7, schedule, ..TrainConfig::default() });
    let error = toml::from_str::<TrainConfig>("learning_rte = 0.1").unwrap_err().to_string();
    assert!(error.contains("learning_rte"), "{error}");
}

#[test]
fn the_history_is_a_file_of_json_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = silent();
    options.dir = Some(folder.path().join("new/folder"));
    let history = run(&config(), &mut options).1.unwrap();
    let path = folder.path().join("new/folder/history.jsonl");
    assert_eq!(History::read(&path).unwrap(), history);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 5);
    std::fs::write(&path, text + "{\"epoch\": 6}\n").unwrap();
    let error = History::read(&path).unwrap_err().to_string();
    assert!(error.contains("line 6"), "{error}");
}

#[test]
fn tensorboard_reads_the_events() {
    const SCRIPT: &str = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]).Reload()
for tag in sorted(events.Tags()['scalars']):
    for event in events.Scalars(tag):
        print(tag, event.step, repr(event.value), event.wall_time)
";
    let folder = tempfile::tempdir().unwrap();
    let mut options = silent();
    options.dir = Some(folder.path().to_path_buf());
    let history = run(&config(), &mut options).1.unwrap();
    let Some(output) = python(&["tensorboard"], SCRIPT, &[folder.path()]) else { return };
    let mut expected = Vec::new();
    for record in &history.epochs {
        for (tag, value) in record.scalars() {
            expected.push((tag, record.epoch, value as f32, record.unix_time));
        }
    }
    let mut found: Vec<(String, usize, f32, f64)> = output
        .lines()
        .map(|line| {
            let [tag, step, value, time] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            (tag.to_owned(), step.parse().unwrap(), value.parse().unwrap(), time.parse().unwrap())
        })
        .collect();
    expected.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    assert_eq!(found, expected);
    assert_eq!(expected.len(), 5 * (3 + 3 + 3));
}
