//! How a training shows its progress: a bar in a terminal, a bar and a curve in a notebook of `genailab-kernel`,
//! elsewhere one line per epoch.

use super::{EpochRecord, live::LiveProgress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Progress {
    /// [`Progress::Bar`] if standard error is a terminal; a bar and a growing curve in a notebook whose kernel is
    /// `genailab-kernel`; else [`Progress::Lines`].
    #[default]
    Auto,
    /// A bar for the running epoch and a line for each finished one, on standard error.
    Bar,
    /// A line for each finished epoch, on standard output: for notebooks and log files.
    Lines,
    /// No output.
    Silent,
}

pub(super) struct Reporter {
    epochs: usize,
    show: Show,
}

enum Show {
    Bar(ProgressBar),
    Live(LiveProgress),
    Lines,
    Nothing,
}

impl Reporter {
    pub(super) fn new(progress: Progress, epochs: usize, steps_per_epoch: usize) -> Self {
        let show = match progress {
            Progress::Auto if std::io::stderr().is_terminal() => Show::bar(steps_per_epoch),
            Progress::Bar => Show::bar(steps_per_epoch),
            Progress::Auto => LiveProgress::new(epochs, steps_per_epoch).map_or(Show::Lines, Show::Live),
            Progress::Lines => Show::Lines,
            Progress::Silent => Show::Nothing,
        };
        Self { epochs, show }
    }

    /// A step of `epoch` (from 1) is done; `loss` is that of its batch.
    pub(super) fn step(&mut self, epoch: usize, loss: f64) {
        let epochs = self.epochs;
        match &mut self.show {
            Show::Bar(bar) => {
                bar.set_prefix(format!("epoch {epoch}/{epochs}"));
                bar.set_message(format!("loss {loss:.2}"));
                bar.inc(1);
            }
            Show::Live(live) => live.step(|| format!("epoch {epoch}/{epochs}  loss of the batch {loss:.2}")),
            Show::Lines | Show::Nothing => {}
        }
    }

    /// An epoch is done.
    pub(super) fn epoch(&mut self, record: &EpochRecord) {
        match &mut self.show {
            Show::Bar(bar) => {
                bar.suspend(|| say(std::io::stderr(), record, self.epochs));
                bar.reset();
            }
            Show::Live(live) => {
                let validation = record.validation.as_ref().map(|validation| validation.loss);
                live.epoch(record.train.loss, validation, &line(record, self.epochs));
            }
            Show::Lines => say(std::io::stdout(), record, self.epochs),
            Show::Nothing => {}
        }
    }
}

impl Show {
    fn bar(steps: usize) -> Self {
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len}  {message}  {eta} left")
            .expect("the template names only keys that indicatif has")
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        Self::Bar(bar.with_style(style))
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

/// Writes the line of an epoch. A closed pipe (`| head`) must not stop a training.
fn say(mut to: impl Write, record: &EpochRecord, epochs: usize) {
    let _ = writeln!(to, "{}", line(record, epochs)).and_then(|()| to.flush());
}

/// `epoch  3/20  loss 812.34 (kl 12.10, nll 800.24)  validation 815.20  lr 1.0e-3  9801 cells/s  1.2 s`
fn line(record: &EpochRecord, epochs: usize) -> String {
    let width = epochs.to_string().len();
    let mut line = format!("epoch {:>width$}/{epochs}  loss {:.2}", record.epoch, record.train.loss);
    if !record.train.parts.is_empty() {
        let parts: Vec<_> = record.train.parts.iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
        line += &format!(" ({})", parts.join(", "));
    }
    if let Some(validation) = &record.validation {
        line += &format!("  validation {:.2}", validation.loss);
    }
    let EpochRecord { learning_rate, cells_per_second, seconds, .. } = record;
    line + &format!("  lr {learning_rate:.1e}  {cells_per_second:.0} cells/s  {seconds:.1} s")
}
