//! One run of a training: everything about it that is neither data nor a setting of the model.

use super::{Callback, Progress};
use crate::{Error, ErrorKind, Result, device::Device, notebook};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Seed, device, folder and interruption of a training. Every model honours all of them.
///
/// The default computes on the CPU with seed 0, keeps nothing on disk and shows progress.
#[derive(Default)]
pub struct Run<'a> {
    /// Seed of the weights, of shuffling and of everything random in the training.
    pub seed: u64,
    /// Where the network is computed.
    pub device: Device,
    /// Folder for `last.safetensors` (the checkpoint), `history.jsonl` and TensorBoard's event file; made if it is not
    /// there. Without it nothing is written, and nothing can be resumed.
    pub dir: Option<PathBuf>,
    /// Go on from the checkpoint in `dir`, bit for bit as if the training had never stopped.
    pub resume: bool,
    /// Once it is true, the training ends before its next step with [`ErrorKind::Interrupted`]. A notebook's user can
    /// interrupt without it: a training that has finished an epoch then ends early, with what it has learned.
    pub interrupt: Option<Arc<AtomicBool>>,
    /// How progress is shown.
    pub progress: Progress,
    /// Called after each step and epoch, in this order.
    pub callbacks: Vec<Box<dyn Callback + 'a>>,
}

impl Run<'_> {
    /// A run with this seed, and the defaults for the rest.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// A run with this seed that shows no progress.
    pub fn quiet(seed: u64) -> Self {
        Self { seed, progress: Progress::Silent, ..Self::default() }
    }

    /// The run of one of several trainings that a model consists of: same seed, device and interruption, without progress
    /// and callbacks, in the folder `name` within this run's folder.
    ///
    /// It is resumed where its folder holds a checkpoint and this run is resumed: parts that are done load their last
    /// state, the part that was interrupted goes on, later ones begin.
    pub fn part(&self, name: &str) -> Run<'static> {
        let dir = self.dir.as_ref().map(|dir| dir.join(name));
        let resume = self.resume && dir.as_ref().is_some_and(|dir| super::has_checkpoint(dir));
        Run {
            seed: self.seed,
            device: self.device,
            dir,
            resume,
            interrupt: self.interrupt.clone(),
            progress: Progress::Silent,
            callbacks: Vec::new(),
        }
    }

    /// Whether the run was interrupted, by its flag or by the user of a notebook.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) || notebook::is_interrupted()
    }

    /// Ends work between trainings once the run was interrupted.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] if it was.
    pub fn check_interrupt(&self) -> Result<()> {
        match self.is_interrupted() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Interrupted, "interrupted between two trainings")),
        }
    }
}
