//! `genailab train`.

mod cell_jepa;
mod cell_report;
mod diffusion;
mod jepa;
mod sets;

use crate::options::{Config, DataArgs, Fractions, OutputFolder, interrupt_flag, say};
use genailab::{
    Error, ErrorKind, Result,
    bench::{Evaluation, evaluate_effects},
    data::{Dataset, Effects, Opened, Split, SplitPlan},
    device::Device,
    model::CountVae,
    train::write_atomically,
    train::{History, Run},
};
use rand::{SeedableRng, seq::SliceRandom};
use serde_json::json;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// The checkpoint of a training that runs, or was stopped, or is done.
const CHECKPOINT: &str = "last.safetensors";
/// The weights of a training that is done.
const WEIGHTS: &str = "model.safetensors";

/// Train a model on a cells or an effects dataset
///
/// A file with one cell a row and counts is a cells dataset; one with one perturbation a row and uns["effect"] is an
/// effects dataset.
///
/// Writes model.json and model.safetensors (the model), last.safetensors (the checkpoint of the last epoch, for
/// --resume), split.json, metrics.json, history.jsonl and TensorBoard events into --out; of a cell-jepa also report.html
/// and figures. `genailab predict` uses a vae, a jepa or a diffusion, `genailab embed` a vae or a cell-jepa.
#[derive(clap::Args)]
pub struct Args {
    /// The .h5ad file to train on
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Which model: vae, the count VAE; jepa, the JEPA of mean effects (cells are summed up to mean effects first);
    /// cell-jepa, an encoder of cells that is trained without labels; jepa-sets and jepa-pairs, the JEPA of sets of cells
    /// (levels 1 and 2); diffusion, the spread around the JEPA's mean: of cells (with a VAE of its own) or of mean effects
    #[arg(long, value_name = "NAME", default_value = "vae")]
    model: String,
    /// Folder for the model; made if it is not there. A finished training in it is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings: a TOML file with the tables [model], [train], [split] and [qc] (diffusion: [effects], [cells], [vae],
    /// [train], [split] and [qc]); model.json and split.json of a training show what can be set
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// Passes over the training data [default: the configuration's]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of the split, the weights and the training [default: the configuration's]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Go on from the last checkpoint in --out, with the other arguments as they were; only --epochs may differ
    #[arg(long)]
    resume: bool,
    /// cell-jepa: the column of obs that its embeddings are asked for, and that colours the pictures [default: the
    /// perturbation]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// cell-jepa: folder of a VAE that was trained on the same cells, to compare its latent with
    #[arg(long, value_name = "DIR")]
    compare_vae: Option<PathBuf>,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    if args.model != "cell-jepa" && (args.label.is_some() || args.compare_vae.is_some()) {
        return Err(Error::config("--label and --compare-vae are for --model cell-jepa; leave them out"));
    }
    match args.model.as_str() {
        "vae" | "count-vae" => {}
        "jepa" => return jepa::run(args),
        "cell-jepa" => return cell_jepa::run(args),
        "jepa-sets" | "jepa-pairs" => return sets::run(args),
        "diffusion" => return diffusion::run(args),
        other => {
            return Err(Error::config(format!(
                "model {other:?} is unknown; this version trains: vae, jepa, cell-jepa, jepa-sets, jepa-pairs, diffusion"
            )));
        }
    }
    args.device.check()?;
    // Cheap questions first: a large file takes long to read.
    let given = args.config.as_deref().map(Config::read).transpose()?;
    check_folder(&args.out, args.resume)?;
    let opened = args.columns.open(&args.data)?;
    let mut config = given.unwrap_or_else(|| match &opened {
        Opened::Effects(_) => Config::for_effects(),
        Opened::Cells(_) => Config::default(),
    });
    config.train.epochs = args.epochs.unwrap_or(config.train.epochs);
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    config.validate()?;

    let out = OutputFolder::new(&args.out)?;
    let mut options =
        Run { dir: Some(out.to_owned()), resume: args.resume, interrupt: Some(interrupt_flag()?), ..Run::default() };
    let metrics = match opened {
        Opened::Cells(data) => train_cells(data, &config, args, &mut options),
        Opened::Effects(data) => train_effects(&data, &config, args, &mut options),
    }
    .map_err(|e| if e.kind() == ErrorKind::Data { e.at(args.data.display()) } else { e })?;
    write_json(&out.join("metrics.json"), &metrics)?;
    say(format_args!("model: {}", out.display()))
}

/// Whether a training may begin in `dir`, or be resumed there.
pub fn check_folder(dir: &Path, resume: bool) -> Result<()> {
    let (begun, done) = (dir.join(CHECKPOINT).exists(), dir.join(WEIGHTS).exists());
    match (resume, begun) {
        (true, false) => Err(Error::config(format!(
            "nothing to resume: there is no {}; give the folder of the training that was stopped, or leave out --resume",
            dir.join(CHECKPOINT).display()
        ))),
        (false, true) if !done => Err(Error::config(format!(
            "{} holds the checkpoint of a training that was stopped: add --resume to go on with it, or give another \
             --out",
            dir.display()
        ))),
        _ => Ok(()),
    }
}

/// Prepares the folder of a training. Anew: what an earlier one left goes, so that its weights are never taken for those
/// of this one, and the description of the model is written. Resumed: the model must be the one described there.
pub fn begin(model: &CountVae, dir: &Path, options: &Run<'_>) -> Result<()> {
    if options.resume {
        return model.check_description(dir);
    }
    for name in [WEIGHTS, CHECKPOINT, "metrics.json"] {
        let file = dir.join(name);
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &file, e)),
            _ => {}
        }
    }
    model.save_description(dir)
}

fn train_cells(mut data: Dataset, config: &Config, args: &Args, options: &mut Run<'_>) -> Result<serde_json::Value> {
    if let Some(qc) = &config.qc {
        let report;
        (data, report) = qc.apply(&data)?;
        say(report)?;
    }
    let (validation, test) = (config.split.validation, config.split.test);
    let split = data.split(&SplitPlan::Stratified { validation, test, seed: config.train.seed })?;
    let mut model = CountVae::new(&data, &split, config.model.clone(), config.train.seed, args.device)?;
    begin(&model, &args.out, options)?;
    say(format_args!(
        "{} cells x {} genes, {} perturbations; {} cells to train on, {} to watch, {} held out",
        data.n_cells(),
        data.n_genes(),
        data.perturbations.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len()
    ))?;
    model.fit_with(&data, &split, &config.train, options)?;
    model.save(&args.out)?;
    split.save(args.out.join("split.json"))?;
    let elbo = |rows: &[usize]| match rows.is_empty() {
        true => Ok(None),
        false => model.elbo(&data, rows, 5, config.train.seed).map(Some),
    };
    let (validation, test) = (elbo(&split.validation)?, elbo(&split.test)?);
    if let Some(test) = &test {
        say(format_args!("held-out ELBO {:.2} nats a cell ({} cells)", test.elbo, test.cells))?;
    }
    Ok(json!({ "unit": "nats per cell", "validation": validation, "test": test }))
}

fn train_effects(data: &Effects, config: &Config, args: &Args, options: &mut Run<'_>) -> Result<serde_json::Value> {
    let fitted = fit_effects(data, config, args.device, &args.out, options)?;
    fitted.split.save(args.out.join("split.json"))?;
    for evaluation in fitted.scores.iter().flatten() {
        say(evaluation)?;
    }
    Ok(json!({ "test": fitted.scores }))
}

/// A trained model of effects, and what the doubles that it has not seen say of it.
pub struct FittedEffects {
    pub model: CountVae,
    pub split: Split,
    pub history: History,
    /// The model and the additive prediction; none where no double was held out.
    pub scores: Option<Vec<Evaluation>>,
}

/// Trains a model of effects into `dir` and judges it on the doubles that were held out.
pub fn fit_effects(
    data: &Effects,
    config: &Config,
    device: Device,
    dir: &Path,
    options: &mut Run<'_>,
) -> Result<FittedEffects> {
    let split = split_effects(data, config.split, config.train.seed);
    let mut model = CountVae::for_effects(data, &split.train, config.model.clone(), config.train.seed, device)?;
    begin(&model, dir, options)?;
    say(format_args!(
        "{} perturbations x {} genes; {} to train on, {} doubles to watch, {} held out",
        data.perturbations.len(),
        data.genes.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len()
    ))?;
    let history = model.fit_effects(data, &split.train, &split.validation, &config.train, options)?;
    model.save(dir)?;
    let scores = evaluate_effects("vae", data, &split.test, |asked| model.predict_effects(asked))?;
    Ok(FittedEffects { model, split, history, scores })
}

/// Only perturbations whose genes stand in the training part can be judged, so doubles are what is held out. A double
/// with a gene that stands nowhere else cannot be predicted; it is trained on instead.
fn split_effects(data: &Effects, fractions: Fractions, seed: u64) -> Split {
    let genes = |row: usize| data.perturbations[row].genes();
    let mut doubles: Vec<usize> = (0..data.perturbations.len()).filter(|&row| genes(row).len() > 1).collect();
    doubles.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
    let count = |fraction: f64| (fraction * doubles.len() as f64).round() as usize;
    let (n_validation, n_test) = (count(fractions.validation), count(fractions.test));
    let held_out = &doubles[..(n_validation + n_test).min(doubles.len())];
    let mut train: Vec<usize> = (0..data.perturbations.len()).filter(|row| !held_out.contains(row)).collect();
    let known: HashSet<&String> = train.iter().flat_map(|&row| genes(row)).collect();
    let (judged, unknown): (Vec<usize>, Vec<usize>) =
        held_out.iter().partition(|&&row| genes(row).iter().all(|gene| known.contains(gene)));
    train.extend(&unknown);
    train.sort_unstable();
    let (validation, test) = judged.split_at(n_validation.min(judged.len()));
    Split { train, validation: validation.to_vec(), test: test.to_vec() }
}

/// Writes a JSON file whole or not at all.
pub fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    write_atomically(path, format!("{value:#}\n").as_bytes())
}
