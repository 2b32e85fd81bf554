//! `genailab run`: from cells to a trained model and a report.

mod effects;
mod stages;
mod story;

use crate::{
    options::{Config, DataArgs, Fractions, OutputFolder, check_interrupt, interrupt_flag, say},
    train::{begin, check_folder, write_json},
};
use genailab::{
    ErrorKind, Result,
    bench::{HeldOut, TruthAgreement, evaluate_vae, truth_agreement},
    data::{AnnData, Dataset, Opened, QcConfig, QcReport, Simulation, SimulationConfig, Split, SplitPlan, Truth},
    device::Device,
    model::{Collapse, CountVae},
    train::{History, Run, TrainConfig},
};
use serde_json::json;
use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// Cells drawn for each predicted mean effect.
const CELLS_PER_PREDICTION: usize = 1000;
/// Seed of the built-in dataset, so that everybody's first report is the same.
const BUILT_IN_SEED: u64 = 7;

/// Do the main job: train the three stages on cells (or effects), judge each on what was held out, write a report
///
/// The stages are the count VAE, the JEPA (on doubles that it has not seen, beside the baselines) and diffusion around what
/// it predicts (is its spread the true one?). Without a file, cells are simulated.
///
/// Writes report.html, results.json, split.json and the models (folders vae and diffusion) into --out; what an earlier run
/// left there is replaced. Open report.html in a browser. `genailab predict --model DIR/diffusion` uses the models.
///
/// An effects dataset (one row a perturbation, uns["effect"]) is taken too: the models are then judged on perturbations
/// of two genes that they have not seen, beside the sum of the two single effects.
#[derive(clap::Args)]
pub struct Args {
    /// The .h5ad file to use [default: the built-in simulated dataset of 6000 cells]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Folder for report.html, results.json and the model
    #[arg(long, value_name = "DIR", default_value = "genailab-run")]
    out: PathBuf,
    /// Settings: a TOML file with the tables [model], [train], [split] and [qc]
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// Most passes over the training data, of the VAE and of diffusion on cells; the VAE's training stops earlier when what it
    /// watches gains nothing any more [default: 60; 200 for the VAE of an effects dataset]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of the split, the weights, the training and the draws [default: the configuration's, else 0]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Go on with a run that was stopped, from its last checkpoint in --out
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    columns: DataArgs,
}

/// Everything that a run found out; the report tells it.
struct Outcome {
    source: String,
    data: Dataset,
    raw: Dataset,
    qc: QcReport,
    split: Split,
    model: CountVae,
    train_config: TrainConfig,
    history: History,
    held_out: HeldOut,
    collapse: Collapse,
    truth: Option<Vec<TruthAgreement>>,
    later: stages::Later,
    seconds: f64,
}

impl Args {
    /// The settings: the file's if there is one, else `usual`.
    fn config(&self, usual: Config) -> Result<Config> {
        let mut config = self.config.as_deref().map_or(Ok(usual), Config::read)?;
        config.train.epochs = self.epochs.unwrap_or(config.train.epochs);
        config.train.seed = self.seed.unwrap_or(config.train.seed);
        config.validate().map(|()| config)
    }
}

pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    args.device.check()?;
    // A setting that is wrong is said before anything is read or made.
    args.config(Config::default())?;
    if args.resume {
        check_folder(&args.out.join("vae"), true)?;
    }
    let data = args.data.as_ref().map(|file| args.columns.open(file)).transpose()?;
    let out = OutputFolder::new(&args.out)?;
    let interrupt = interrupt_flag()?;
    let options = Run {
        dir: Some(out.join("vae")),
        resume: args.resume,
        interrupt: Some(Arc::clone(&interrupt)),
        ..Run::default()
    };
    let done = match (data, &args.data) {
        (Some(Opened::Effects(data)), Some(file)) => effects::run(&data, file, args, options, &interrupt, start),
        (Some(Opened::Cells(data)), Some(file)) => {
            let simulated = AnnData::open(file)?.uns_keys().iter().any(|key| key == "truth");
            let truth = simulated.then(|| Truth::read(file)).transpose()?;
            run_cells(file.display().to_string(), data, truth, args, options, &interrupt, start)
        }
        _ => {
            let config = SimulationConfig { seed: BUILT_IN_SEED, ..SimulationConfig::default() };
            let Simulation { dataset, truth } = Simulation::new(&config)?;
            let source = "the built-in simulated dataset".to_owned();
            run_cells(source, dataset, Some(truth), args, options, &interrupt, start)
        }
    };
    done.map_err(|e| match &args.data {
        Some(file) if e.kind() == ErrorKind::Data => e.at(file.display()),
        _ => e,
    })?;
    say(format_args!("\nreport: {}", out.join("report.html").display()))
}

fn run_cells(
    source: String,
    raw: Dataset,
    truth: Option<Truth>,
    args: &Args,
    mut options: Run<'_>,
    interrupt: &Arc<AtomicBool>,
    start: Instant,
) -> Result<()> {
    let (out, folder) = (&args.out, args.out.join("vae"));
    let config = args.config(Config {
        train: TrainConfig { epochs: 60, early_stopping: Some(8), clip_norm: Some(100.0), ..TrainConfig::default() },
        split: Fractions { validation: 0.1, test: 0.2 },
        ..Config::default()
    })?;
    let seed = config.train.seed;
    say(format_args!("data: {source}: {} cells x {} genes", raw.n_cells(), raw.n_genes()))?;
    let (data, qc) = config.qc.clone().unwrap_or_else(|| QcConfig::for_dataset(&raw)).apply(&raw)?;
    say(&qc)?;

    let Fractions { validation, test } = config.split;
    let split = data.split(&SplitPlan::Stratified { validation, test, seed })?;
    let mut model = CountVae::new(&data, &split, config.model, seed, args.device)?;
    begin(&model, &folder, &options)?;
    let history = model.fit_with(&data, &split, &config.train, &mut options)?;
    model.save(&folder)?;
    split.save(out.join("split.json"))?;

    let kept = format!("the trained model is in {}: run again with `--resume` for its report", folder.display());
    check_interrupt(interrupt, &kept)?;
    say(format_args!("judging the model on {} held-out cells", split.test.len()))?;
    let held_out = evaluate_vae(&model, &data, &split.test, CELLS_PER_PREDICTION, seed)?;
    check_interrupt(interrupt, &kept)?;
    let collapse = model.collapse(&data, &split.test)?;
    let controls: Vec<usize> =
        split.test.iter().copied().filter(|&row| data.perturbation_of(row).is_control()).collect();
    let agreement = truth.as_ref().map(|truth| truth_agreement(&model, &data, &controls, truth)).transpose()?;
    let later = stages::Later::of_cells(&data, &split, &model, truth.as_ref(), (out, seed, args.epochs), interrupt)?;
    check_interrupt(interrupt, &kept)?;

    let seconds = start.elapsed().as_secs_f64();
    let train_config = config.train;
    let truth = agreement;
    let outcome = Outcome {
        source,
        data,
        raw,
        qc,
        split,
        model,
        train_config,
        history,
        held_out,
        collapse,
        truth,
        later,
        seconds,
    };
    let figures = story::Figures::of(&outcome)?;
    check_interrupt(interrupt, &kept)?;
    write_json(&out.join("results.json"), &results(&outcome))?;
    figures.save(&out.join("figures"))?;
    story::report(&outcome, figures)?.save(out.join("report.html"))?;
    say(format_args!("\n{}", outcome.held_out.evaluation))?;
    story::verdicts(&outcome).iter().try_for_each(|(_, line)| say(line))
}

/// The content of `results.json`.
fn results(outcome: &Outcome) -> serde_json::Value {
    let Outcome { data, held_out, .. } = outcome;
    json!({
        "genailab": env!("CARGO_PKG_VERSION"),
        "source": outcome.source,
        "cells": data.n_cells(),
        "genes": data.n_genes(),
        "perturbations": data.perturbations.len(),
        "qc": outcome.qc,
        "split": {
            "train": outcome.split.train.len(),
            "validation": outcome.split.validation.len(),
            "test": outcome.split.test.len(),
        },
        "model": outcome.model.config(),
        "training": outcome.train_config,
        "history": outcome.history.epochs,
        "held_out": {
            "unit": "nats per cell",
            "elbo": held_out.elbo,
            "reconstruction_pearson": held_out.reconstruction,
            "effects": held_out.evaluation,
        },
        "latent": outcome.collapse,
        "truth": outcome.truth,
        "stages": outcome.later.to_json(),
        "seconds": outcome.seconds,
    })
}
