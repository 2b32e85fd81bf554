//! `genailab run`: from cells to a trained model and a report.

mod story;

use crate::{
    options::{Config, DataArgs, interrupt_flag, output_folder},
    train::{train_effects, write_json},
};
use genailab::{
    Result,
    data::{AnnData, Dataset, Opened, QcConfig, QcReport, Simulation, SimulationConfig, Split, SplitPlan, Truth},
    device::Device,
    eval::{HeldOut, TruthAgreement, evaluate_vae, truth_agreement},
    model::{Collapse, CountVae, VaeConfig},
    train::{FitOptions, History, TrainConfig},
};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

/// Cells drawn for each predicted mean effect.
const CELLS_PER_PREDICTION: usize = 1000;
/// Seed of the built-in dataset, so that everybody's first report is the same.
const BUILT_IN_SEED: u64 = 7;

/// Do the main job: read (or simulate) cells, train the count VAE, judge it on held-out cells, write a report
#[derive(clap::Args)]
pub struct Args {
    /// The .h5ad file to use [default: the built-in simulated dataset]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Folder for report.html, results.json and the model
    #[arg(long, value_name = "DIR", default_value = "genailab-run")]
    out: PathBuf,
    /// Most passes over the training data; training stops earlier when held-out cells gain nothing any more
    #[arg(long, default_value_t = 60)]
    epochs: usize,
    /// Seed of the split, the weights, the training and the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal
    #[arg(long, default_value = "auto")]
    device: Device,
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
    seconds: f64,
}

pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let out = output_folder(&args.out)?;
    let mut options =
        FitOptions { dir: Some(out.join("vae")), interrupt: Some(interrupt_flag()?), ..FitOptions::default() };
    let (source, raw, truth) = match &args.data {
        None => {
            let config = SimulationConfig { seed: BUILT_IN_SEED, ..SimulationConfig::default() };
            let Simulation { dataset, truth } = Simulation::new(&config)?;
            ("the built-in simulated dataset".to_owned(), dataset, Some(truth))
        }
        Some(file) => match args.columns.open(file).map_err(|e| e.at(file.display()))? {
            Opened::Cells(data) => {
                let simulated = AnnData::open(file)?.uns_keys().iter().any(|key| key == "truth");
                let truth = simulated.then(|| Truth::read(file)).transpose()?;
                (file.display().to_string(), data, truth)
            }
            Opened::Effects(data) => {
                let mut config = Config::for_effects();
                config.train.seed = args.seed;
                return train_effects(&data, &config, args.device, &out, &mut options);
            }
        },
    };
    println!("data: {source}: {} cells x {} genes", raw.n_cells(), raw.n_genes());
    let (data, qc) = QcConfig::for_dataset(&raw).apply(&raw)?;
    println!("{qc}");

    let split = data.split(&SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: args.seed })?;
    let train_config = TrainConfig {
        epochs: args.epochs,
        early_stopping: Some(8),
        clip_norm: Some(100.0),
        seed: args.seed,
        ..TrainConfig::default()
    };
    let mut model = CountVae::new(&data, &split, VaeConfig::default(), args.seed, args.device)?;
    let history = model.fit_with(&data, &split, &train_config, &mut options)?;
    model.save(&out.join("vae"))?;
    split.save(out.join("split.json"))?;

    println!("judging the model on {} held-out cells", split.test.len());
    let held_out = evaluate_vae(&model, &data, &split.test, CELLS_PER_PREDICTION, args.seed)?;
    let collapse = model.collapse(&data, &split.test)?;
    let controls: Vec<usize> =
        split.test.iter().copied().filter(|&row| data.perturbation_of(row).is_control()).collect();
    let truth = truth.map(|truth| truth_agreement(&model, &data, &controls, &truth)).transpose()?;

    let seconds = start.elapsed().as_secs_f64();
    let outcome =
        Outcome { source, data, raw, qc, split, model, train_config, history, held_out, collapse, truth, seconds };
    write_json(&out.join("results.json"), &results(&outcome))?;
    let figures = story::Figures::of(&outcome)?;
    figures.save(&out.join("figures"))?;
    story::report(&outcome, figures)?.save(out.join("report.html"))?;
    println!("\n{}", outcome.held_out.evaluation);
    story::verdicts(&outcome).iter().for_each(|(_, line)| println!("{line}"));
    println!("\nreport: {}", out.join("report.html").display());
    Ok(())
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
        "seconds": outcome.seconds,
    })
}
