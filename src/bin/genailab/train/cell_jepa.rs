//! `genailab train --model cell-jepa`: an encoder of cells that is trained without labels.

use super::{Args, CHECKPOINT, WEIGHTS, cell_report, write_json};
use crate::options::{Fractions, OutputFolder, interrupt_flag, read_toml, say};
use genailab::{
    Error, ErrorKind, Result,
    data::{Dataset, Opened, QcConfig, Split, SplitPlan},
    model::{
        CountVae, TrainedOn,
        jepa::{CellJepa, CellJepaConfig},
    },
    train::{FitOptions, LearningRateSchedule, TrainConfig},
};
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

/// What a training writes when it is done; an earlier one's must not be taken for this one's.
const RESULTS: [&str; 5] = ["metrics.json", "report.html", "split.json", WEIGHTS, CHECKPOINT];

/// A configuration file: every key may be left out, an unknown one is refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    model: CellJepaConfig,
    train: TrainConfig,
    split: Fractions,
    qc: Option<QcConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: CellJepaConfig::default(),
            // As in `benches/embeddings.rs`, where the model's settings were chosen.
            train: TrainConfig {
                epochs: 20,
                schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 100, final_fraction: 0.01 },
                ..TrainConfig::default()
            },
            split: Fractions { validation: 0.1, test: 0.2 },
            qc: None,
        }
    }
}

impl Config {
    fn validate(&self) -> Result<()> {
        self.split.validate()?;
        self.train.validate()?;
        self.model.validate()
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.device.check()?;
    let mut config =
        args.config.as_deref().map(|path| read_toml(path, Config::validate)).transpose()?.unwrap_or_default();
    config.train.epochs = args.epochs.unwrap_or(config.train.epochs);
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    config.validate()?;
    super::check_folder(&args.out, args.resume)?;
    let located = |e: Error| if e.kind() == ErrorKind::Data { e.at(args.data.display()) } else { e };
    let Opened::Cells(mut data) = args.columns.open(&args.data)? else {
        return Err(Error::config(format!(
            "{} is an effects dataset, and cell-jepa learns from single cells; give a cells dataset, or train jepa, the \
             JEPA of mean effects",
            args.data.display()
        )));
    };
    if let Some(qc) = &config.qc {
        let report;
        (data, report) = qc.apply(&data).map_err(located)?;
        say(report)?;
    }
    let labels = cell_report::Labels::of(&data, args.label.as_deref())?;
    let (validation, test, seed) = (config.split.validation, config.split.test, config.train.seed);
    let split = data.split(&SplitPlan::Stratified { validation, test, seed }).map_err(located)?;
    let vae = args.compare_vae.as_deref().map(|dir| other_model(dir, &data, &split, args)).transpose()?;
    let mut model = CellJepa::new(&data, &split, config.model.clone(), seed, args.device).map_err(located)?;
    let out = OutputFolder::new(&args.out)?;
    begin(&model, &out, args.resume)?;
    say(format_args!(
        "{} cells x {} genes; {} cells to train on, {} to watch, {} held out; no label is used",
        data.n_cells(),
        data.n_genes(),
        split.train.len(),
        split.validation.len(),
        split.test.len()
    ))?;
    let mut options = FitOptions {
        dir: Some(out.to_owned()),
        resume: args.resume,
        interrupt: Some(interrupt_flag()?),
        ..FitOptions::default()
    };
    let history = match model.fit_with(&data, &split, &config.train, &mut options) {
        // What has collapsed cannot be gone on with either.
        Err(e) if e.kind() == ErrorKind::Numeric => {
            remove(&out, &["model.json", CHECKPOINT])?;
            return Err(e.at(format!("no model is kept in {}", out.display())));
        }
        done => done.map_err(located)?,
    };
    model.save(&out)?;
    split.save(out.join("split.json"))?;

    let embeddings = cell_report::Embeddings::of(&data, &split, &model, vae.as_ref())?;
    let comparison = embeddings.compared(&labels, &split);
    match &comparison {
        Ok(comparison) => say(comparison)?,
        Err(reason) => say(format_args!("the embeddings are not compared: {reason}"))?,
    }
    let figures = cell_report::figures(&history, &embeddings, &labels, &split)?;
    for (name, figure) in &figures {
        let folder = out.join("figures");
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("create the folder", &folder, e))?;
        figure.save(folder.join(name).with_extension("svg"))?;
    }
    let last = history.last();
    write_json(
        &out.join("metrics.json"),
        &json!({
            "label": labels.name,
            "held_out_cells": split.test.len(),
            "probe": comparison.as_ref().ok(),
            "no_probe_because": comparison.as_ref().err().map(ToString::to_string),
            "last_epoch": last.map(|record| &record.train.parts),
            "training_seconds": history.epochs.iter().map(|record| record.seconds).sum::<f64>(),
        }),
    )?;
    let facts = cell_report::Facts {
        source: args.data.display().to_string(),
        data: &data,
        split: &split,
        model: &model,
        training: &config.train,
        history: &history,
    };
    cell_report::report(&facts, &labels, &comparison, figures)?.save(out.join("report.html"))?;
    say(format_args!("report: {}", out.join("report.html").display()))?;
    say(format_args!("model: {}", out.display()))
}

/// As [`super::begin`], for a model of another kind.
fn begin(model: &CellJepa, dir: &Path, resume: bool) -> Result<()> {
    if resume {
        return model.check_description(dir);
    }
    remove(dir, &RESULTS)?;
    model.save_description(dir)
}

/// Removes files of a folder that are there.
fn remove(dir: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let file = dir.join(name);
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &file, e)),
            _ => {}
        }
    }
    Ok(())
}

/// A trained VAE to compare with, which must not have been trained on the cells that are held out here.
fn other_model(dir: &Path, data: &Dataset, split: &Split, args: &Args) -> Result<CountVae> {
    let vae = CountVae::load(dir, args.device).map_err(|e| e.at("--compare-vae"))?;
    if vae.trained_on() != TrainedOn::Cells || vae.vocabulary().genes != data.genes.names {
        return Err(Error::config(format!(
            "--compare-vae {}: it was trained on other genes or on effects; train it on the same file, with the same [qc]",
            dir.display()
        )));
    }
    // Beside the weights, or one folder up where `genailab run` writes it.
    let places = [dir.join("split.json"), dir.join("../split.json")];
    let Some(path) = places.iter().find(|path| path.exists()) else {
        return Err(Error::config(format!(
            "--compare-vae {}: there is no split.json that says which cells it was trained on",
            dir.display()
        )));
    };
    let other = Split::load(path)?;
    other.check(data.n_cells()).map_err(|e| e.at(path.display()))?;
    let seen = [other.train, other.validation].concat();
    split.refuse_test_cells("the VAE of --compare-vae", &seen).map_err(|e| {
        Error::config(format!("{e}; train it with the same --seed, and validation = and test = of [split] as here"))
    })?;
    Ok(vae)
}
