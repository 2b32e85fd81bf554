//! The training of an adaptation, and what is chosen for it.

use super::{
    AdaptConfig, AdaptMethod, AdaptReport, LEAST_CHOSEN, Target,
    start::{Net, Start, control_in},
};
use crate::{
    Error, Result,
    data::{Condition, shuffle},
    model::jepa::{
        Jepa,
        response::{SetSize, SetSource},
    },
    nn::AdapterFile,
    train::{BatchSource, History, LearningRateSchedule, Run, StepContext, TrainConfig, Trainable, fit_on},
};
use dfdx::prelude::NoneTape;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::collections::BTreeSet;

/// The part of the target's conditions that settings are chosen on: one in so many.
const LEFT_OUT: usize = 4;
/// Sets that are watched of each of them.
const WATCHED_SETS: usize = 4;

/// A model that was adapted.
pub struct Adaptation {
    /// The model, which knows the target's contexts beside its own.
    pub model: Jepa,
    /// What was chosen and trained.
    pub report: AdaptReport,
    /// What was trained, apart from the base.
    pub adapter: AdapterFile,
    /// The last training; empty where the base was kept.
    pub history: History,
}

/// What is trained, and how long.
struct Choice {
    rate: Option<f64>,
    epochs: usize,
    left_out: Option<(f64, f64)>,
}

impl Jepa {
    /// Whether a perturbation of this gene was measured in the training, so that it can be predicted in a target.
    pub fn knows(&self, gene: &str) -> bool {
        self.response.as_ref().is_some_and(|response| response.measured.knows(gene))
    }

    /// Adapts the model to a target by the conditions `seen`, each the perturbation of one gene that the model knows, and the
    /// target's control cells.
    ///
    /// # Errors
    /// A model of phase A; settings out of range; a condition that the model does not know or that has no cells; no control
    /// cells; a loss that is not finite.
    pub fn adapt(
        &self,
        target: &Target,
        seen: &[Condition],
        config: &AdaptConfig,
        run: &Run<'_>,
    ) -> Result<Adaptation> {
        config.validate()?;
        check_seen(self, target, seen, config.method)?;
        let cells = target.training(seen)?;
        let start = Start::new(self, &cells, config, run)?;
        let choice = choose(&start, seen, config, run)?;
        let (mut net, mut history) = (start.net.clone(), History::default());
        if let Some(rate) = choice.rate {
            let all = source(&start, seen, config, run.seed, None)?;
            let training = TrainConfig {
                epochs: choice.epochs,
                learning_rate: rate,
                early_stopping: None,
                ..steady(config, run.seed)
            };
            let mut part = Run { dir: None, ..run.part("adapt") };
            part.progress = run.progress;
            history = fit_on(&mut net, &all, None, &training, &mut part)?;
        }
        let report = AdaptReport {
            method: config.method,
            share: net.share()?,
            conditions: seen.len(),
            learning_rate: choice.rate,
            epochs: choice.epochs,
            left_out: choice.left_out,
            base: start.hash.clone(),
        };
        let about = serde_json::json!({ "config": config, "report": report });
        let adapter = net.adapter(&start.hash, &about)?;
        let model = start.finish(net, report.to_string(), run.seed)?;
        Ok(Adaptation { model, report, adapter, history })
    }

    /// The model that [`Self::adapt`] gave, from this base, its adapter file and the same target. The target's cells are needed
    /// for its control cells alone.
    ///
    /// # Errors
    /// An adapter of another base, or one that is damaged.
    pub fn with_adapter(&self, target: &Target, adapter: &AdapterFile, run: &Run<'_>) -> Result<(Self, AdaptReport)> {
        let damaged = |e: serde_json::Error| Error::data(format!("the adapter's description is damaged: {e}"));
        let config: AdaptConfig = serde_json::from_value(adapter.about["config"].clone()).map_err(damaged)?;
        let report: AdaptReport = serde_json::from_value(adapter.about["report"].clone()).map_err(damaged)?;
        if !config.method.has_file() {
            return Err(Error::config(format!("the method {} has no adapter file", config.method)));
        }
        let cells = target.training(&[])?;
        let mut start = Start::new(self, &cells, &config, run)?;
        start.net.load(adapter, &start.hash.clone())?;
        let model = start.finish(start.net.clone(), report.to_string(), run.seed)?;
        Ok((model, report))
    }
}

impl std::fmt::Display for AdaptReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = 100.0 * self.share.share();
        write!(
            f,
            "adapted by {} on {} conditions: {} numbers trained, {percent:.1} % of the base's {} weights",
            self.method, self.conditions, self.share.trained, self.share.of
        )?;
        if let Some((before, after)) = self.left_out {
            write!(f, "; loss of conditions left out {before:.3} before, {after:.3} after")?;
        }
        match self.learning_rate {
            Some(rate) => write!(f, "; {} epochs at a learning rate of {rate}", self.epochs),
            None => write!(f, "; the base's weights were kept, but for the offsets of genes"),
        }
    }
}

/// Refuses conditions that nothing can be learned from.
fn check_seen(base: &Jepa, target: &Target, seen: &[Condition], method: AdaptMethod) -> Result<()> {
    if seen.is_empty() && method != AdaptMethod::None {
        return Err(Error::data(
            "none of the target's perturbations was measured in the base's training data, so there is nothing to adapt by",
        ));
    }
    for condition in seen {
        let known = matches!(condition.perturbation.genes(), [gene] if base.knows(gene));
        if !known || target.rows(condition).is_empty() {
            return Err(Error::inapplicable(format!(
                "{condition}: the base knows no perturbation of this gene alone, or the target has no cells of it"
            )));
        }
    }
    Ok(())
}

/// The training with a constant learning rate, so that a number of epochs means the same however many there are.
fn steady(config: &AdaptConfig, seed: u64) -> TrainConfig {
    TrainConfig { seed, schedule: LearningRateSchedule::Constant, ..config.training.clone() }
}

/// Sets of these conditions and of the control cells of their contexts; `draws` of each, or enough for an epoch.
fn source<'a>(
    start: &'a Start<'_>,
    conditions: &[Condition],
    config: &AdaptConfig,
    seed: u64,
    draws: Option<usize>,
) -> Result<SetSource<'a>> {
    let mut all = conditions.to_vec();
    if draws.is_none() {
        let contexts: BTreeSet<Option<&String>> = conditions.iter().map(|c| c.context.as_ref()).collect();
        all.extend(contexts.into_iter().map(control_in));
    }
    let draws = draws.unwrap_or_else(|| config.sets.div_ceil(all.len()));
    let size = SetSize { cells: config.cells, draws, hidden: None };
    let form = (start.target_sum, start.with_remainder);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    SetSource::new(&start.cells.data, &start.measured, &all, form, size, &mut rng)
}

/// Learning rate and epochs, by the loss of conditions that are left out.
fn choose(start: &Start<'_>, seen: &[Condition], config: &AdaptConfig, run: &Run<'_>) -> Result<Choice> {
    if config.method == AdaptMethod::None {
        return Ok(Choice { rate: None, epochs: 0, left_out: None });
    }
    if seen.len() < LEAST_CHOSEN {
        let epochs = config.training.epochs.div_ceil(2);
        return Ok(Choice { rate: Some(config.learning_rates[0]), epochs, left_out: None });
    }
    let mut shuffled = seen.to_vec();
    shuffle(&mut shuffled, &mut ChaCha8Rng::seed_from_u64(run.seed));
    let (left_out, kept) = shuffled.split_at(seen.len().div_ceil(LEFT_OUT));
    let train = source(start, kept, config, run.seed, None)?;
    let watched = source(start, left_out, config, run.seed, Some(WATCHED_SETS))?;
    let before = loss_of(&mut start.net.clone(), &watched, config, run.seed)?;
    let mut best = Choice { rate: None, epochs: 0, left_out: None };
    let mut least = f64::INFINITY;
    for &rate in &config.learning_rates {
        run.check_interrupt()?;
        let training = TrainConfig { learning_rate: rate, ..steady(config, run.seed) };
        let mut part = Run { dir: None, ..run.part("choice") };
        let history = fit_on(&mut start.net.clone(), &train, Some(&watched), &training, &mut part)?;
        let record = history.best().expect("there is one epoch at least");
        if record.monitored_loss() < least {
            least = record.monitored_loss();
            best = Choice { rate: Some(rate), epochs: record.epoch, left_out: None };
        }
    }
    // Training from scratch has nothing to go back to.
    if least >= before && config.method != AdaptMethod::Scratch {
        best = Choice { rate: None, epochs: 0, left_out: None };
    }
    Ok(Choice { left_out: Some((before, least)), ..best })
}

/// The watched loss of a network, as the trainer computes it.
fn loss_of(net: &mut Net, sets: &SetSource<'_>, config: &AdaptConfig, seed: u64) -> Result<f64> {
    let rows: Vec<usize> = (0..sets.len()).collect();
    let mut sum = 0.0;
    for rows in rows.chunks(config.training.validation_batch_size) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut context =
            StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: false, rng: &mut rng };
        let loss = net.loss(&sets.batch(rows)?, NoneTape, &mut context)?;
        sum += f64::from(crate::nn::ops::to_f32(&loss.total)) * rows.len() as f64;
    }
    Ok(sum / sets.len() as f64)
}
