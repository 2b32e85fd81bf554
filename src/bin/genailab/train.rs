//! `genailab train`.

use crate::options::{Config, DataArgs, interrupt_flag, output_folder};
use genailab::{
    Error, Result,
    data::{Dataset, Effects, Opened, SplitPlan},
    device::Device,
    model::{CountVae, TrainedOn},
    train::{FitOptions, write_atomically},
};
use rand::{SeedableRng, seq::SliceRandom};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Train a model on a cells or an effects dataset
///
/// Writes model.json and model.safetensors (the model), last.safetensors (the checkpoint of the last epoch, for
/// --resume), split.json, metrics.json, history.jsonl and TensorBoard events into --out.
#[derive(clap::Args)]
pub struct Args {
    /// The .h5ad file to train on
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Which model: vae
    #[arg(long, value_name = "NAME", default_value = "vae")]
    model: String,
    /// Folder for the model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings: a TOML file with the tables [model], [train], [split] and [qc]
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// Passes over the training data [default: the configuration's]
    #[arg(long)]
    epochs: Option<usize>,
    /// Seed of the split, the weights and the training [default: the configuration's]
    #[arg(long)]
    seed: Option<u64>,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Go on from the last checkpoint in --out
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    if !matches!(args.model.as_str(), "vae" | "count-vae") {
        return Err(Error::config(format!("model {:?} is unknown; this version trains: vae", args.model)));
    }
    let opened = args.columns.open(&args.data).map_err(|e| e.at(args.data.display()))?;
    let mut config = match (&args.config, &opened) {
        (Some(file), _) => Config::read(file)?,
        (None, Opened::Effects(_)) => Config::for_effects(),
        (None, Opened::Cells(_)) => Config::default(),
    };
    config.train.epochs = args.epochs.unwrap_or(config.train.epochs);
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    config.train.validate()?;

    let out = output_folder(&args.out)?;
    if !args.resume && out.join("last.safetensors").exists() && !out.join("model.safetensors").exists() {
        return Err(Error::config(format!(
            "{} holds the checkpoint of a training that was stopped: add --resume to go on with it, or give another \
             --out",
            out.display()
        )));
    }
    let mut options = FitOptions {
        dir: Some(out.clone()),
        resume: args.resume,
        interrupt: Some(interrupt_flag()?),
        ..FitOptions::default()
    };
    match opened {
        Opened::Cells(data) => train_cells(data, &config, args.device, &out, &mut options),
        Opened::Effects(data) => train_effects(&data, &config, args.device, &out, &mut options),
    }?;
    println!("model: {}", out.display());
    Ok(())
}

fn train_cells(
    mut data: Dataset,
    config: &Config,
    device: Device,
    out: &Path,
    options: &mut FitOptions<'_>,
) -> Result<()> {
    if let Some(qc) = &config.qc {
        let report;
        (data, report) = qc.apply(&data)?;
        println!("{report}");
    }
    let (validation, test) = (config.split.validation, config.split.test);
    let split = data.split(&SplitPlan::Stratified { validation, test, seed: config.train.seed })?;
    split.save(out.join("split.json"))?;
    let mut model = CountVae::new(&data, &split, config.model.clone(), config.train.seed, device)?;
    println!(
        "{} cells x {} genes, {} perturbations; {} cells to train on, {} to watch, {} held out",
        data.n_cells(),
        data.n_genes(),
        data.perturbations.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len()
    );
    model.fit_with(&data, &split, &config.train, options)?;
    model.save(out)?;
    let elbo = |rows: &[usize]| match rows.is_empty() {
        true => Ok(None),
        false => model.elbo(&data, rows, 5, config.train.seed).map(Some),
    };
    let (validation, test) = (elbo(&split.validation)?, elbo(&split.test)?);
    if let Some(test) = &test {
        println!("held-out ELBO {:.2} nats a cell ({} cells)", test.elbo, test.cells);
    }
    write_json(&out.join("metrics.json"), &json!({ "unit": "nats per cell", "validation": validation, "test": test }))
}

pub fn train_effects(
    data: &Effects,
    config: &Config,
    device: Device,
    out: &Path,
    options: &mut FitOptions<'_>,
) -> Result<()> {
    // Only perturbations whose genes stand in the training part can be judged, so doubles are what is held out.
    let mut doubles: Vec<usize> =
        (0..data.perturbations.len()).filter(|&row| data.perturbations[row].genes().len() > 1).collect();
    doubles.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(config.train.seed));
    let count = |fraction: f64| (fraction * doubles.len() as f64).round() as usize;
    let (n_validation, n_test) = (count(config.split.validation), count(config.split.test));
    if n_validation + n_test > doubles.len() {
        return Err(Error::config("[split] holds out more than there is: validation + test must be at most 1"));
    }
    let (held_out, _) = doubles.split_at(n_validation + n_test);
    let mut train: Vec<usize> = (0..data.perturbations.len()).filter(|row| !held_out.contains(row)).collect();
    let perturbed = |row: &usize| data.perturbations[*row].genes().to_vec();
    let known: std::collections::HashSet<String> = train.iter().flat_map(perturbed).collect();
    let (judged, unknown): (Vec<usize>, Vec<usize>) =
        held_out.iter().partition(|row| perturbed(row).iter().all(|gene| known.contains(gene)));
    // A double with a gene that stands nowhere else cannot be predicted; it is trained on instead.
    train.extend(&unknown);
    train.sort_unstable();
    let (validation, test) = judged.split_at(n_validation.min(judged.len()));
    let split = genailab::data::Split { train, validation: validation.to_vec(), test: test.to_vec() };
    split.save(out.join("split.json"))?;
    let mut model = CountVae::for_effects(data, &split.train, config.model.clone(), config.train.seed, device)?;
    println!(
        "{} perturbations x {} genes; {} to train on, {} doubles to watch, {} held out",
        data.perturbations.len(),
        data.genes.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len()
    );
    debug_assert_eq!(model.trained_on(), TrainedOn::Effects);
    model.fit_effects(data, &split.train, &split.validation, &config.train, options)?;
    model.save(out)?;
    let scores = genailab::eval::evaluate_effects(&model, data, &split.test)?;
    scores.iter().flatten().for_each(|evaluation| println!("{}:\n{evaluation}", evaluation.model));
    write_json(&out.join("metrics.json"), &json!({ "test": scores }))
}

/// Writes a JSON file whole or not at all.
pub fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    write_atomically(path, format!("{value:#}\n").as_bytes())
}
