//! `genailab train --model diffusion`: the spread around the JEPA's mean, of cells or of mean effects.

use super::{Args, split_effects, write_json};
use crate::options::{Fractions, OutputFolder, interrupt_flag, read_toml, say};
use genailab::{
    Error, ErrorKind, Result,
    data::{Condition, Dataset, Effects, Opened, QcConfig, SplitPlan},
    model::{
        CountVae, VaeConfig,
        combination::CombinationData,
        latent_diffusion::{EffectDiffusion, EffectDiffusionConfig, FoldCells, LatentDiffusion, LatentDiffusionConfig},
    },
    train::{EpochRecord, FitOptions, Progress, TrainConfig},
};
use serde::Deserialize;
use serde_json::json;
use std::time::Instant;

/// A configuration file: every key may be left out, an unknown one is refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Effects datasets.
    effects: EffectDiffusionConfig,
    /// Cells datasets: the diffusion, with its own training.
    cells: LatentDiffusionConfig,
    /// Cells datasets: the VAE whose latents are drawn.
    vae: VaeConfig,
    /// Its training.
    train: TrainConfig,
    split: Fractions,
    qc: Option<QcConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            effects: EffectDiffusionConfig::default(),
            cells: LatentDiffusionConfig::default(),
            vae: VaeConfig::default(),
            train: TrainConfig {
                epochs: 60,
                early_stopping: Some(8),
                clip_norm: Some(100.0),
                ..TrainConfig::default()
            },
            split: Fractions::default(),
            qc: None,
        }
    }
}

impl Config {
    fn validate(&self) -> Result<()> {
        self.split.validate()?;
        self.vae.validate()?;
        self.train.validate()?;
        self.effects.jepa.validate()?;
        self.effects.spread.validate()?;
        self.cells.validate()
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.device.check()?;
    if args.resume {
        return Err(Error::config("diffusion is a chain of short trainings and is not resumed; leave out --resume"));
    }
    let mut config =
        args.config.as_deref().map(|path| read_toml(path, Config::validate)).transpose()?.unwrap_or_default();
    if let Some(epochs) = args.epochs {
        config.cells.training.epochs = epochs;
        config.effects.spread.training.epochs = epochs;
    }
    config.validate()?;
    let seed = args.seed.unwrap_or(config.train.seed);
    let opened = args.columns.open(&args.data)?;
    let out = OutputFolder::new(&args.out)?;
    let done = match opened {
        Opened::Effects(data) => train_effects(&data, &config, seed, args, &out),
        Opened::Cells(data) => train_cells(data, &config, seed, args, &out),
    };
    done.map_err(|e| match e.kind() {
        ErrorKind::Data | ErrorKind::Inapplicable => e.at(args.data.display()),
        ErrorKind::Interrupted => Error::new(
            ErrorKind::Interrupted,
            "interrupted; no model is kept: the same command begins anew, and takes a minute or two",
        ),
        _ => e,
    })?;
    say(format_args!("model: {}", out.display()))
}

fn train_effects(data: &Effects, config: &Config, seed: u64, args: &Args, out: &OutputFolder) -> Result<()> {
    let split = split_effects(data, config.split, seed);
    let mut rows = [split.train.clone(), split.validation.clone()].concat();
    rows.sort_unstable();
    say(format_args!(
        "{} perturbations x {} genes; {} to train on, {} doubles held out",
        data.perturbations.len(),
        data.genes.len(),
        rows.len(),
        split.test.len()
    ))?;
    let mut options = quiet()?;
    let model = EffectDiffusion::fit(&CombinationData::of_effects(data, &rows), &config.effects, seed, &mut options)?;
    model.save(out)?;
    split.save(out.join("split.json"))?;
    let held_out: Vec<Condition> =
        split.test.iter().map(|&row| Condition::of(data.perturbations[row].clone())).collect();
    let expected = held_out.iter().map(|condition| model.expected_error(condition)).collect::<Result<Vec<f64>>>()?;
    let named: serde_json::Map<String, serde_json::Value> =
        held_out.iter().zip(&expected).map(|(condition, error)| (condition.to_string(), json!(error))).collect();
    write_json(&out.join("metrics.json"), &json!({ "expected_error": named }))?;
    say(format_args!("judge it with: genailab calibrate --data {} --split doubles", args.data.display()))
}

fn train_cells(mut data: Dataset, config: &Config, seed: u64, args: &Args, out: &OutputFolder) -> Result<()> {
    if let Some(qc) = &config.qc {
        let report;
        (data, report) = qc.apply(&data)?;
        say(report)?;
    }
    let Fractions { validation, test } = config.split;
    let split = data.split(&SplitPlan::Stratified { validation, test, seed })?;
    say(format_args!(
        "{} cells x {} genes, {} perturbations; {} cells to train on, {} to watch, {} held out",
        data.n_cells(),
        data.n_genes(),
        data.perturbations.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len()
    ))?;
    say("the VAE that gives the latents")?;
    let mut vae = CountVae::new(&data, &split, config.vae.clone(), seed, args.device)?;
    let mut options = FitOptions { interrupt: Some(interrupt_flag()?), ..FitOptions::default() };
    let early_stopping = config.train.early_stopping.filter(|_| !split.validation.is_empty());
    let train = TrainConfig { seed, early_stopping, ..config.train.clone() };
    vae.fit_with(&data, &split, &train, &mut options)?;
    say("the diffusion in them")?;
    let start = Instant::now();
    let conditions: Vec<Condition> =
        (0..data.n_cells()).map(|cell| Condition::of(data.perturbation_of(cell).clone())).collect();
    let fold = FoldCells { data: &data, conditions: &conditions, split: &split };
    let (model, history) = LatentDiffusion::fit(fold, vae, &config.cells, seed, &mut options)?;
    let seconds = start.elapsed().as_secs_f64();
    model.save(out)?;
    split.save(out.join("split.json"))?;
    history.write(&out.join("history.jsonl"))?;
    if let Err(reason) = model.spread() {
        say(format_args!("note: how far predicted means are off is not known: {reason}"))?;
    }
    let best = history.best().map(EpochRecord::monitored_loss);
    write_json(&out.join("metrics.json"), &json!({ "best_monitored_loss": best, "seconds_of_diffusion": seconds }))
}

fn quiet() -> Result<FitOptions<'static>> {
    Ok(FitOptions { interrupt: Some(interrupt_flag()?), progress: Progress::Silent, ..FitOptions::default() })
}
