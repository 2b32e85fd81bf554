//! The trainer: epochs of shuffled batches, each a forward pass, a backward pass and a step of Adam.
//!
//! It knows no model ([`Trainable`] is all it asks for) and is deterministic: the order of the rows and the randomness
//! of each step come from the seed and the step's number alone, so that a resumed training is the same bit for bit.

use super::{
    BatchSource, EpochRecord, History, Loss, Metrics, Run, StepContext, StepRecord, TrainConfig, Trainable,
    events::EventFile, progress::Reporter, state::State,
};
use crate::{
    Error, ErrorKind, Result,
    nn::{Adam, Backend, GradientBuffers, Scalar, Snapshot},
    notebook,
};
use dfdx::prelude::{Backward, NoneTape, Tape};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    path::PathBuf,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

pub(crate) const HISTORY: &str = "history.jsonl";
/// TensorBoard reads every file whose name holds `tfevents`.
pub(crate) const EVENTS: &str = "events.out.tfevents.genailab";
/// Cells of a batch that an error names.
const NAMED_CELLS: usize = 3;

/// What a generator is for: each purpose has its own streams of random numbers.
#[derive(Clone, Copy)]
enum Purpose {
    Shuffle,
    Step,
    Validation,
}

/// Trains `model` on `train` and gives the record of each epoch.
///
/// With [`TrainConfig::early_stopping`] the model ends with the weights of its best epoch, else with the last ones.
///
/// # Errors
/// Settings out of range; no rows; a loss, a part of it or a gradient that is not finite
/// ([`ErrorKind::Numeric`], naming the batch); an interruption ([`ErrorKind::Interrupted`]); a folder that cannot be
/// written; a checkpoint that does not fit; whatever the model or the data report.
pub fn fit<D, M, B>(
    model: &mut M,
    train: &B,
    validation: Option<&B>,
    device: &D,
    config: &TrainConfig,
    options: &mut Run<'_>,
) -> Result<History>
where
    D: Backend,
    M: Trainable<D, Batch = B::Batch>,
    B: BatchSource,
{
    config.validate()?;
    let _on = D::enter(options.device)?;
    let validation = validation.filter(|source| !source.is_empty());
    let steps_per_epoch = config.steps_per_epoch(train.len());
    if steps_per_epoch == 0 {
        let (rows, size) = (train.len(), config.batch_size);
        return Err(Error::config(format!("{rows} training cells do not fill one batch of {size}; make it smaller")));
    }
    if config.early_stopping.is_some() && validation.is_none() {
        return Err(Error::config("early_stopping watches the validation loss, but there are no validation cells"));
    }
    let mut state = State::new(config, train.len(), validation.map_or(0, BatchSource::len));
    let mut adam = Adam::new(config.adam())?;
    let mut best = None;
    if options.resume {
        let dir = options.dir.as_deref().ok_or_else(|| Error::config("to resume, give the folder of the training"))?;
        (state, best) = State::resume(dir, &state, model, &mut adam, device)?;
    }
    let trainer = Trainer {
        model,
        train,
        validation,
        device,
        config,
        total_steps: steps_per_epoch * config.epochs,
        reporter: Reporter::new(options.progress, config.epochs, steps_per_epoch),
        options,
        adam,
        buffers: GradientBuffers::default(),
        state,
        best,
    };
    trainer.run()
}

struct Trainer<'a, 'o, D: Backend, M, B> {
    model: &'a mut M,
    train: &'a B,
    validation: Option<&'a B>,
    device: &'a D,
    config: &'a TrainConfig,
    options: &'a mut Run<'o>,
    total_steps: usize,
    reporter: Reporter,
    adam: Adam<D>,
    buffers: GradientBuffers<D>,
    state: State,
    /// The weights of the best epoch, if early stopping goes back to them.
    best: Option<Snapshot>,
}

impl<D, M, B> Trainer<'_, '_, D, M, B>
where
    D: Backend,
    M: Trainable<D, Batch = B::Batch>,
    B: BatchSource,
{
    fn run(mut self) -> Result<History> {
        let mut log = Log::open(self.options.dir.clone(), &self.state.history)?;
        while self.state.epochs < self.config.epochs && !self.state.stopping.is_over(self.config) {
            let record = match self.epoch() {
                // Whoever stops a cell of a notebook wants to look at what there is.
                Err(error) if error.kind() == ErrorKind::Interrupted && self.can_end_early() => break,
                record => record?,
            };
            if let Some(dir) = &self.options.dir {
                self.state.save(dir, &*self.model, self.best.as_ref(), &self.adam)?;
            }
            log.write(&self.state.history)?;
            self.reporter.epoch(&record);
            let mut ends = false;
            // Each is told of the epoch, also after one has ended the training.
            for callback in &mut self.options.callbacks {
                ends |= callback.on_epoch_end(&record)?.is_break();
            }
            if ends {
                break;
            }
        }
        if let Some(best) = self.best.filter(|_| self.state.stopping.best_epoch != self.state.epochs) {
            best.restore(self.model)?;
        }
        Ok(self.state.history)
    }

    fn epoch(&mut self) -> Result<EpochRecord> {
        let begin = Instant::now();
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        if self.config.shuffle {
            order.shuffle(&mut self.stream(Purpose::Shuffle, self.state.epochs));
        }
        let mut means = Means::default();
        let (mut norms, mut learning_rate) = (0.0, 0.0);
        let steps = self.config.steps_per_epoch(order.len());
        for (number, rows) in order.chunks(self.config.batch_size).take(steps).enumerate() {
            let step = self.step(number, rows, &mut means).map_err(|error| with_smaller_batch(error, rows.len()))?;
            norms += step.gradient_norm;
            learning_rate = step.learning_rate;
        }
        let train_seconds = begin.elapsed().as_secs_f64();
        let rows = means.rows;
        let validation = self.validation.map(|source| self.validate(source)).transpose()?;
        let record = EpochRecord {
            epoch: self.state.epochs + 1,
            steps: self.state.steps,
            learning_rate,
            train: means.figures(),
            validation,
            gradient_norm: norms / steps as f64,
            seconds: begin.elapsed().as_secs_f64(),
            cells_per_second: rows / train_seconds.max(f64::MIN_POSITIVE),
            unix_time: unix_time(),
        };
        let state = &mut self.state;
        state.epochs += 1;
        state.plateau.observe(&self.config.schedule, record.monitored_loss());
        if self.config.early_stopping.is_some()
            && state.stopping.observe(self.config, record.epoch, record.monitored_loss())
        {
            self.best = Some(Snapshot::of(&*self.model)?);
        }
        state.history.epochs.push(record.clone());
        Ok(record)
    }

    fn step(&mut self, number: usize, rows: &[usize], means: &mut Means) -> Result<StepRecord> {
        self.check_interrupt()?;
        let batch = self.train.batch(rows)?;
        let tape = self.buffers.tape(&*self.model, self.device)?;
        let mut rng = self.stream(Purpose::Step, self.state.steps);
        let mut context = self.context(true, &mut rng);
        let Loss { total, parts } = self.model.loss(&batch, tape, &mut context)?;
        let place = |error: Error| error.at(self.place("batch", number, self.train, rows));
        let loss = means.add(&total, &parts, rows.len()).map_err(place)?;
        let mut gradients = total.try_backward().map_err(|e| D::failure("backward pass", e))?;
        let (config, state) = (self.config, &self.state);
        let learning_rate = config.schedule.learning_rate(
            config.learning_rate,
            state.epochs,
            state.steps,
            self.total_steps,
            &state.plateau,
        );
        // The tape is gone by now, and with it every other holder of the weights: they are updated in place.
        let gradient_norm = self.adam.step(self.model, &mut gradients, learning_rate, config.clip_norm);
        let gradient_norm = gradient_norm.map_err(|error| error.at(self.place("batch", number, self.train, rows)))?;
        self.buffers.keep(gradients);
        self.model.after_step(&context)?;
        self.state.steps += 1;
        let (epoch, steps) = (self.state.epochs + 1, self.state.steps);
        let record = StepRecord { epoch, steps, rows: rows.len(), loss, gradient_norm, learning_rate };
        self.reporter.step(epoch, loss);
        self.options.callbacks.iter_mut().try_for_each(|callback| callback.on_step(&record))?;
        Ok(record)
    }

    fn validate(&mut self, source: &B) -> Result<Metrics> {
        let rows: Vec<usize> = (0..source.len()).collect();
        let mut means = Means::default();
        for (number, rows) in rows.chunks(self.config.validation_batch_size).enumerate() {
            self.check_interrupt()?;
            let batch = source.batch(rows)?;
            // The same noise in every epoch, so that epochs are compared by their weights alone.
            let mut rng = self.stream(Purpose::Validation, number);
            let mut context = self.context(false, &mut rng);
            let Loss { total, parts } = self.model.loss(&batch, NoneTape, &mut context)?;
            means
                .add(&total, &parts, rows.len())
                .map_err(|error| error.at(self.place("validation batch", number, source, rows)))?;
        }
        Ok(means.figures())
    }

    fn context<'r>(&self, training: bool, rng: &'r mut ChaCha8Rng) -> StepContext<'r> {
        let State { epochs, steps, .. } = self.state;
        let (total_steps, total_epochs) = (self.total_steps, self.config.epochs);
        StepContext { epoch: epochs, step: steps, total_steps, total_epochs, training, rng }
    }

    fn stream(&self, purpose: Purpose, index: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream((purpose as u64) << 62 | index as u64);
        rng
    }

    /// `epoch 3, batch 17 (cells AAAC-1, AAAG-1, AACC-1, …)`
    fn place(&self, what: &str, number: usize, source: &B, rows: &[usize]) -> String {
        let mut cells: Vec<String> = rows.iter().take(NAMED_CELLS).map(|&row| source.name(row)).collect();
        if rows.len() > NAMED_CELLS {
            cells.push("…".to_owned());
        }
        format!("epoch {}, {what} {} (cells {})", self.state.epochs + 1, number + 1, cells.join(", "))
    }

    /// Whether an interrupted training gives its unfinished model: in a notebook, after an epoch at least.
    fn can_end_early(&self) -> bool {
        notebook::is_interrupted() && self.state.epochs > 0
    }

    fn check_interrupt(&self) -> Result<()> {
        if !self.options.is_interrupted() {
            return Ok(());
        }
        let State { epochs, .. } = self.state;
        let kept = match &self.options.dir {
            None => "nothing was saved, as no folder was given for checkpoints".to_owned(),
            Some(_) if epochs == 0 => "nothing was saved, as no epoch was finished".to_owned(),
            Some(dir) => format!(
                "the checkpoint of epoch {epochs} is kept in {}: go on from there with the same command and `--resume`",
                State::path(dir).display()
            ),
        };
        let now = format!("interrupted in epoch {} of {}; {kept}", epochs + 1, self.config.epochs);
        Err(Error::new(ErrorKind::Interrupted, now))
    }
}

/// Sums over the rows of an epoch.
#[derive(Default)]
struct Means {
    rows: f64,
    figures: Metrics,
}

impl Means {
    /// Adds a batch of `rows` rows and gives its loss.
    fn add<D: Backend, T: Tape<f32, D>>(
        &mut self,
        total: &Scalar<D, T>,
        parts: &[(&'static str, f32)],
        rows: usize,
    ) -> Result<f64> {
        let loss = total.as_vec()[0];
        if !loss.is_finite() || parts.iter().any(|(_, value)| !value.is_finite()) {
            let parts: Vec<_> = parts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            return Err(Error::new(
                ErrorKind::Numeric,
                format!(
                    "the loss is {loss} ({}); lower `learning_rate`, set `clip_norm`, or look for outliers among these \
                     cells",
                    parts.join(", ")
                ),
            ));
        }
        let weight = rows as f64;
        self.rows += weight;
        self.figures.loss += weight * f64::from(loss);
        for (name, value) in parts {
            *self.figures.parts.entry((*name).to_owned()).or_default() += weight * f64::from(*value);
        }
        Ok(f64::from(loss))
    }

    fn figures(mut self) -> Metrics {
        self.figures.loss /= self.rows;
        self.figures.parts.values_mut().for_each(|sum| *sum /= self.rows);
        self.figures
    }
}

/// The files beside the checkpoint; written to once at the start, so that a folder that cannot be written is known
/// before the first epoch and not after it.
struct Log(Option<(PathBuf, EventFile)>);

impl Log {
    fn open(dir: Option<PathBuf>, history: &History) -> Result<Self> {
        let Some(dir) = dir else { return Ok(Self(None)) };
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("create the folder", &dir, e))?;
        history.write(&dir.join(HISTORY))?;
        let events = EventFile::create(&dir.join(EVENTS), history, unix_time())?;
        Ok(Self(Some((dir.join(HISTORY), events))))
    }

    fn write(&mut self, history: &History) -> Result<()> {
        match (&mut self.0, history.last()) {
            (Some((path, events)), Some(last)) => history.write(path).and_then(|()| events.append(last)),
            _ => Ok(()),
        }
    }
}

/// An error of a device without memory says which batch size to try.
fn with_smaller_batch(error: Error, rows: usize) -> Error {
    match error.kind() {
        ErrorKind::OutOfMemory => Error::new(error.kind(), format!("{error}; try batch_size = {}", (rows / 2).max(1))),
        _ => error,
    }
}

fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
