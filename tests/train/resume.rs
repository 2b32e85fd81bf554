//! A resumed training is the uninterrupted one, bit for bit; and every checkpoint that does not fit is told.

use super::{
    model::{Line, Rows},
    trainer::{config, silent},
};
use crate::common;
use genailab::{
    Error, ErrorKind, Result,
    dfdx::prelude::Cpu,
    nn::{HostTensor, Snapshot, save_params},
    train::{EpochRecord, History, LearningRateSchedule, TrainConfig, fit},
};
use std::{
    ops::ControlFlow,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// Trains, or goes on training, in `dir`; `stop` ends it after that epoch.
fn train(dir: Option<&Path>, config: &TrainConfig, resume: bool, stop: Option<usize>) -> (Snapshot, Result<History>) {
    let device = Cpu::default();
    let mut line = Line::new(&device);
    let mut options = silent();
    options.dir = dir.map(Path::to_path_buf);
    options.resume = resume;
    options.callbacks.push(Box::new(move |record: &EpochRecord| match stop {
        Some(epoch) if record.epoch == epoch => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }));
    let history = fit(&mut line, &Rows::new(100, 1), Some(&Rows::new(30, 2)), &device, config, &mut options);
    (line.snapshot(), history)
}

fn bits(snapshot: &Snapshot) -> Vec<(&String, &Vec<usize>, Vec<u32>)> {
    let values = |tensor: &HostTensor| tensor.values.iter().map(|value| value.to_bits()).collect();
    snapshot.tensors().iter().map(|(name, tensor)| (name, &tensor.shape, values(tensor))).collect()
}

/// Epoch, steps, and the bits of all figures but those of time.
type Figures = (usize, usize, Vec<(String, u64)>);

fn figures(history: &History) -> Vec<Figures> {
    let timeless = |(name, value): (String, f64)| (!name.starts_with("speed/")).then(|| (name, value.to_bits()));
    let record = |record: &EpochRecord| {
        (record.epoch, record.steps, record.scalars().into_iter().filter_map(timeless).collect())
    };
    history.epochs.iter().map(record).collect()
}

fn same_as_uninterrupted(config: &TrainConfig, first: &TrainConfig, stops: &[usize]) {
    let (expected, expected_history) = train(None, config, false, None);
    let folder = tempfile::tempdir().unwrap();
    train(Some(folder.path()), first, false, stops.first().copied()).1.unwrap();
    for stop in &stops[1..] {
        train(Some(folder.path()), config, true, Some(*stop)).1.unwrap();
    }
    let (found, history) = train(Some(folder.path()), config, true, None);
    let (history, expected_history) = (history.unwrap(), expected_history.unwrap());
    assert_eq!(figures(&history), figures(&expected_history));
    assert_eq!(bits(&found), bits(&expected));
    assert_eq!(History::read(&folder.path().join("history.jsonl")).unwrap(), history);
    // Resuming what is finished changes nothing.
    let (again, same) = train(Some(folder.path()), config, true, None);
    assert_eq!((bits(&again), same.unwrap()), (bits(&expected), history));
}

#[test]
fn three_epochs_and_three_more_are_six() {
    let six = TrainConfig { epochs: 6, clip_norm: Some(0.5), weight_decay: 0.01, ..config() };
    same_as_uninterrupted(&six, &TrainConfig { epochs: 3, ..six.clone() }, &[3]);
}

#[test]
fn an_interrupted_cosine_goes_on() {
    let schedule = LearningRateSchedule::WarmupCosine { warmup_steps: 5, final_fraction: 0.01 };
    let six = TrainConfig { epochs: 6, schedule, ..config() };
    same_as_uninterrupted(&six, &six, &[1, 2, 5]);
}

#[test]
fn plateaus_and_early_stopping_go_on() {
    let schedule = LearningRateSchedule::ReduceOnPlateau { factor: 0.5, patience: 0, threshold: 0.05, minimum: 1e-4 };
    let plateau = TrainConfig { epochs: 20, schedule, ..config() };
    same_as_uninterrupted(&plateau, &plateau, &[4, 9, 15]);
    // Growing steps: the best epoch is passed, then patience runs out. One stop lies between the two.
    let schedule = LearningRateSchedule::Exponential { factor: 1.6 };
    let stopping = TrainConfig { epochs: 60, learning_rate: 1e-3, schedule, early_stopping: Some(3), ..config() };
    let history = train(None, &stopping, false, None).1.unwrap();
    let best = history.best().unwrap().epoch;
    assert_eq!(history.epochs.len(), best + 3);
    same_as_uninterrupted(&stopping, &stopping, &[2, best, best + 1]);
}

/// An interruption in the middle of an epoch, which the checkpoint knows nothing of.
#[test]
fn an_epoch_cut_short_is_done_again() {
    let config = config();
    let (expected, _) = train(None, &config, false, None);
    let folder = tempfile::tempdir().unwrap();
    let device = Cpu::default();
    let flag = Arc::new(AtomicBool::new(false));
    struct Cut(Arc<AtomicBool>);
    impl genailab::train::Callback for Cut {
        fn on_step(&mut self, step: &genailab::train::StepRecord) -> Result<()> {
            self.0.store(step.steps == 17, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
        fn on_epoch_end(&mut self, _: &EpochRecord) -> Result<ControlFlow<()>> {
            Ok(ControlFlow::Continue(()))
        }
    }
    let mut options = silent();
    options.dir = Some(folder.path().to_path_buf());
    options.interrupt = Some(flag.clone());
    options.callbacks.push(Box::new(Cut(flag)));
    let (rows, validation) = (Rows::new(100, 1), Rows::new(30, 2));
    let error = fit(&mut Line::new(&device), &rows, Some(&validation), &device, &config, &mut options).unwrap_err();
    assert!(error.to_string().starts_with("interrupted in epoch 3 of 5; the checkpoint of epoch 2 is kept"), "{error}");
    let (found, _) = train(Some(folder.path()), &config, true, None);
    assert_eq!(bits(&found), bits(&expected));
}

fn refused(dir: Option<&Path>, config: &TrainConfig) -> Error {
    let (after, history) = train(dir, config, true, None);
    assert_eq!(bits(&after), bits(&Line::new(&Cpu::default()).snapshot()), "the model was changed");
    history.unwrap_err()
}

#[test]
fn other_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    train(Some(folder.path()), &config(), false, Some(2)).1.unwrap();
    let other = TrainConfig { learning_rate: 0.1, early_stopping: Some(4), epochs: 9, ..config() };
    let error = refused(Some(folder.path()), &other);
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(message.contains("learning_rate was 0.05 and is now 0.1"), "{message}");
    assert!(message.contains("early_stopping was null and is now 4"), "{message}");
    assert!(!message.contains("epochs was"), "{message}");
}

#[test]
fn other_rows_and_other_models_are_told() {
    let folder = tempfile::tempdir().unwrap();
    train(Some(folder.path()), &config(), false, Some(2)).1.unwrap();
    let device = Cpu::default();
    let mut options = silent();
    options.dir = Some(folder.path().to_path_buf());
    options.resume = true;
    let (rows, validation) = (Rows::new(99, 1), Rows::new(30, 2));
    let mut go = |line: &mut Line<Cpu>, rows: &Rows| {
        fit(line, rows, Some(&validation), &device, &config(), &mut options).unwrap_err().to_string()
    };
    let error = go(&mut Line::new(&device), &rows);
    assert!(error.contains("the number of training rows was 100 and is now 99"), "{error}");
    let error = go(&mut Line::with_shape(&device, 7, 2), &Rows::new(100, 1));
    assert!(error.contains("`weight` has shape [6, 2], where the model has [7, 2]"), "{error}");
    assert!(error.contains("last.safetensors"), "{error}");
}

#[test]
fn nothing_to_resume_from_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let message = refused(Some(folder.path()), &config()).to_string();
    assert!(message.starts_with("nothing to resume: there is no "), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files were made");
    assert!(refused(None, &config()).to_string().contains("give the folder"));
    let path = folder.path().join("last.safetensors");
    save_params(&Line::new(&Cpu::default()), &path).unwrap();
    assert!(refused(Some(folder.path()), &config()).to_string().contains("not the state of a training"));
    train(Some(folder.path()), &config(), false, Some(1)).1.unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = refused(Some(folder.path()), &config());
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("cut off"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_known_before_the_first_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let (after, history) = train(Some(&file.join("out")), &config(), false, None);
    let error = history.unwrap_err();
    assert!(error.kind() == ErrorKind::Io && error.to_string().contains("cannot create the folder"), "{error}");
    assert_eq!(after.tensors()["seen"].values, [0.0]);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_keeps_its_checkpoint() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    train(Some(folder.path()), &config(), false, Some(2)).1.unwrap();
    let path = folder.path().join("last.safetensors");
    let before = std::fs::read(&path).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let writable = std::fs::write(folder.path().join("probe"), "").is_ok();
    let result = train(Some(folder.path()), &config(), false, Some(1)).1;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    if writable {
        return common::skip("this user may write to read-only folders");
    }
    let error = result.unwrap_err();
    assert!(error.kind() == ErrorKind::Io && error.to_string().contains("cannot write"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// A checkpoint that cannot be put in its place: here because a folder stands there.
#[test]
fn a_failed_checkpoint_ends_the_training_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("last.safetensors/in the way")).unwrap();
    let error = train(Some(folder.path()), &config(), false, None).1.unwrap_err();
    assert!(error.to_string().contains("last.safetensors: it is a folder"), "{error}");
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["events.out.tfevents.genailab", "history.jsonl", "last.safetensors"]);
}
