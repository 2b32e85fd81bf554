//! `genailab run`: from cells to a trained model and a report.

mod effects;
mod embeddings;
mod stages;
mod story;

use crate::{
    options::{
        DataArgs, Fractions, GenesArg, check_interrupt, data_file, interrupt_flag, say, say_labels,
        usual_training_cells,
    },
    output::OutputFolder,
    provenance,
    sources::DataFiles,
    train::{shared, write_json},
};
use genailab::{
    Error, ErrorKind, Result,
    bench::{HeldOut, TruthAgreement, evaluate_vae, truth_agreement},
    data::{
        DataKind, Dataset, MIN_CELLS_TO_DIVIDE, Opened, QcConfig, QcReport, Simulation, SimulationConfig, Split,
        SplitPlan, TrainingData, Truth, qc::detected_genes,
    },
    device::Device,
    eval::{GuideAgreement, Guides, guides},
    model::{
        Collapse, CountVae, ModelConfig, SettingsFile, VaeSettings, check_folder, forget_checkpoints, registry::train,
    },
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
/// Cells that a training passes where nothing says how often: 60 passes over 15,000 cells. More cells are passed less often, so that
/// a run takes as long.
const CELLS_PASSED: usize = 900_000;
/// But at least so often: the weight of the KL term rises over the first 10 passes.
const FEWEST_PASSES: usize = 12;
/// Seed of the built-in dataset, so that everybody's first report is the same.
const BUILT_IN_SEED: u64 = 7;

/// Do the main job: train the stages on cells (or effects), judge each on what was held out, write a report
///
/// The stages are the count VAE, the JEPA, and diffusion in the JEPA's space and in the VAE's (is its spread the true one?); JEPA and
/// combination model are then trained anew and judged on doubles that they have not seen, beside the baselines. Without a file, cells are simulated.
///
/// Writes report.html, results.json, split.json and the models (folders vae, jepa, jepa-diffusion, diffusion and, trained without the
/// doubles that judge it, unseen) into --out; what an earlier run left there is replaced. Open report.html in a browser. `genailab predict
/// --model DIR/diffusion` uses the models.
///
/// An effects dataset (one row per perturbation, uns["effect"]) is taken too: the models are then judged on perturbations
/// of two genes that they have not seen, beside the sum of the two single effects.
#[derive(clap::Args)]
pub struct Args {
    /// The file to use, or a name of `genailab datasets`, which is fetched; several are put together on the genes that they share
    /// [default: the built-in simulated dataset of 6000 cells]
    #[arg(long, value_name = "FILE", value_parser = data_file)]
    data: Vec<PathBuf>,
    /// Folder for report.html, results.json and the model
    #[arg(long, value_name = "DIR", default_value = "genailab-run")]
    out: PathBuf,
    /// Settings: a TOML file with the tables [model], [train], [split] and [qc]
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// Most passes over the training data, of the VAE, the JEPA and diffusion on cells; the VAE's training stops earlier when what it
    /// watches gains nothing any more [default: 60, fewer beyond 15,000 training cells (of the JEPA's second phase 20, fewer beyond
    /// 45,000); 200 for the VAE of an effects dataset]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of the split, the weights, the training and the draws [default: the configuration's, else 0]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// Go on with a run that was stopped, from its last checkpoint in --out
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    genes: GenesArg,
    #[command(flatten)]
    columns: DataArgs,
}

/// Everything that a run found out; the report tells it.
struct Outcome {
    source: String,
    data: Arc<Dataset>,
    raw: Raw,
    qc: QcReport,
    split: Split,
    model: CountVae,
    train_config: TrainConfig,
    history: History,
    held_out: HeldOut,
    collapse: Collapse,
    truth: Option<Vec<TruthAgreement>>,
    guides: Option<Guides>,
    later: stages::Later,
    seconds: f64,
}

/// What the report tells of the data before quality control, whose counts would be a second copy in memory.
struct Raw {
    library_size: Vec<f64>,
    /// Genes detected in each cell.
    detected: Vec<f64>,
    genes: usize,
    notes: Vec<String>,
}

impl Raw {
    fn of(data: &Dataset) -> Self {
        Self {
            library_size: data.library_size.iter().map(|&size| f64::from(size)).collect(),
            detected: match data.genes_in_file {
                Some(_) => detected_genes(data),
                None => (0..data.n_cells()).map(|cell| data.counts.row(cell).0.len() as f64).collect(),
            },
            genes: data.genes_in_file.unwrap_or(data.n_genes()),
            notes: data.notes.clone(),
        }
    }
}

/// The settings of a run.
struct Settings {
    vae: VaeSettings,
    /// Whether `--epochs` or the configuration says how often the training data is passed.
    epochs_given: bool,
    split: Fractions,
    qc: Option<QcConfig>,
    seed: u64,
}

/// What the stages of a run have in common.
struct Stages<'a> {
    args: &'a Args,
    settings: Settings,
    interrupt: Arc<AtomicBool>,
    start: Instant,
}

impl Args {
    /// The settings of the file, if there is one, over the usual ones of a run, and those of the command line.
    fn settings(&self, usual: VaeSettings, split: Fractions) -> Result<Settings> {
        let file = self.config.as_deref().map(SettingsFile::read).transpose()?;
        let (given, qc) = shared(file.as_ref())?;
        let mut vae = file.as_ref().map_or(Ok(usual.clone()), |file| file.over(&usual, VaeSettings::validate))?;
        vae.train.epochs = self.epochs.unwrap_or(vae.train.epochs);
        vae.validate()?;
        let seed = self.seed.unwrap_or(vae.train.seed);
        let epochs_given = self.epochs.is_some() || file.is_some_and(|file| file.gives(&["train", "epochs"]));
        Ok(Settings { vae, epochs_given, split: given.unwrap_or(split), qc, seed })
    }

    fn settings_for_cells(&self) -> Result<Settings> {
        let vae = VaeSettings {
            train: TrainConfig {
                epochs: 60,
                early_stopping: Some(8),
                clip_norm: Some(100.0),
                ..TrainConfig::default()
            },
            ..VaeSettings::default_for(DataKind::Cells)
        };
        self.settings(vae, Fractions { validation: 0.1, test: 0.2 })
    }
}

impl Stages<'_> {
    /// How often a training that passes usual cells `usual` times passes this many of them.
    fn passes(&self, usual: usize, cells: usize) -> usize {
        match self.settings.epochs_given {
            true => usual,
            false => usual.min((CELLS_PASSED / cells.max(1)).max(FEWEST_PASSES)),
        }
    }

    /// The run of a stage in its folder: resumed where the whole run is resumed and the stage was begun.
    fn run(&self, folder: &str) -> Run<'static> {
        let dir = self.args.out.join(folder);
        Run {
            seed: self.settings.seed,
            device: self.args.device,
            resume: self.args.resume && check_folder(&dir, true).is_ok(),
            dir: Some(dir),
            interrupt: Some(Arc::clone(&self.interrupt)),
            ..Run::default()
        }
    }

    /// Ends the run between two of its parts if Ctrl-C was pressed.
    fn check_interrupt(&self) -> Result<()> {
        let kept = format!("what is trained is kept in {}: go on with `--resume`", self.args.out.display());
        check_interrupt(&self.interrupt, kept)
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.config.iter().try_for_each(|file| provenance::reads(file))?;
    let start = Instant::now();
    args.device.check()?;
    // A setting that is wrong is said before anything is read or made.
    let settings = args.settings_for_cells()?;
    // Before its checkpoints are looked at, which may be those of a run at work there.
    let out = OutputFolder::new(&args.out)?;
    check_folder(&args.out.join("vae"), args.resume)?;
    let genes = args.genes.choice()?;
    let files = DataFiles::of(&args.data);
    let open = |files: &DataFiles| {
        let opened = args.columns.open_genes(files, &genes, false, |cells| {
            let qc = settings.qc.clone().unwrap_or_else(|| QcConfig::for_dataset(cells));
            usual_training_cells(cells, Some(&qc), settings.split, settings.seed).map_err(|e| e.at(files.display()))
        })?;
        args.genes.check(&opened).map(|()| opened)
    };
    let data = files.as_ref().map(open).transpose()?;
    if let (Some(data), Some(file)) = (&data, &files) {
        say_labels(data).map_err(|e| e.at(file.display()))?;
        if let Opened::Cells(cells) = data {
            cells.require_counts("`genailab run`").map_err(|e| e.at(file.display()))?;
        }
    }
    if !args.resume {
        forget_checkpoints(&out)?;
    }
    let stages = Stages { args, settings, interrupt: interrupt_flag(), start };
    let done = match (data, &files) {
        (Some(Opened::Effects(data)), Some(file)) => effects::run(&data, file, stages),
        (Some(Opened::Cells(data)), Some(file)) => {
            let truth = file.truth()?;
            run_cells(file.display().to_string(), data, truth, &stages)
        }
        _ => {
            let config = SimulationConfig { seed: BUILT_IN_SEED, ..SimulationConfig::default() };
            let Simulation { dataset, truth, .. } = Simulation::new(&config)?;
            run_cells("the built-in simulated dataset".to_owned(), dataset, Some(truth), &stages)
        }
    };
    done.map_err(|e| match &files {
        Some(file) if e.kind() == ErrorKind::Data => e.at(file.display()),
        _ => e,
    })?;
    say(format_args!("\nreport: {}", out.join("report.html").display()))
}

fn run_cells(source: String, raw: Dataset, truth: Option<Truth>, stages: &Stages<'_>) -> Result<()> {
    let Stages { args, settings, start, .. } = stages;
    let (out, seed) = (&args.out, settings.seed);
    say(format_args!("data: {source}: {} cells x {} genes", raw.n_cells(), raw.n_genes()))?;
    let (data, qc) = settings.qc.clone().unwrap_or_else(|| QcConfig::for_dataset(&raw)).apply(&raw)?;
    say(&qc)?;
    let before = Raw::of(&raw);
    drop(raw);

    let Fractions { validation, test } = settings.split;
    let split = data.split(&SplitPlan::Stratified { validation, test, seed })?;
    check_judgeable(&data, &split)?;
    let data = Arc::new(data);
    let training = TrainingData::of_dataset(Arc::clone(&data), &split, seed)?;
    let mut vae = settings.vae.clone();
    vae.train.epochs = stages.passes(vae.train.epochs, split.train.len());
    if vae.train.epochs < settings.vae.train.epochs {
        let (passes, usual) = (vae.train.epochs, settings.vae.train.epochs);
        say(format_args!(
            "the VAE passes {} training cells {passes} times, in place of {usual}; --epochs N says otherwise",
            split.train.len()
        ))?;
    }
    let (model, history) = train::<CountVae>(&training, &vae, &mut stages.run("vae"))?;
    split.save(out.join("split.json"))?;

    stages.check_interrupt()?;
    say(format_args!("judging the model on {} held-out cells", split.test.len()))?;
    let held_out = evaluate_vae(&model, &data, &split.test, CELLS_PER_PREDICTION, seed)?;
    stages.check_interrupt()?;
    let collapse = model.collapse(&data, &split.test)?;
    let controls: Vec<usize> =
        split.test.iter().copied().filter(|&row| data.perturbation_of(row).is_control()).collect();
    let agreement = truth.as_ref().map(|truth| truth_agreement(&model, &data, &controls, truth)).transpose()?;
    let guides = guides(&data, seed)?;
    let later = stages::Later::of_cells(&training, &split, &model, truth.as_ref(), stages)?;
    stages.check_interrupt()?;

    let seconds = start.elapsed().as_secs_f64();
    let outcome = Outcome {
        source,
        data,
        raw: before,
        qc,
        split,
        model,
        train_config: vae.train,
        history,
        held_out,
        collapse,
        truth: agreement,
        guides,
        later,
        seconds,
    };
    let figures = story::Figures::of(&outcome)?;
    stages.check_interrupt()?;
    write_json(&out.join("results.json"), &results(&outcome))?;
    figures.save(&out.join("figures"))?;
    story::report(&outcome, figures)?.save(out.join("report.html"))?;
    say(format_args!("\n{}", outcome.held_out.evaluation))?;
    story::verdicts(&outcome).iter().try_for_each(|(_, line)| say(line))
}

/// Refuses data whose held-out cells could judge nothing, before anything is trained.
fn check_judgeable(data: &Dataset, split: &Split) -> Result<()> {
    let held_out = |is_control: bool| {
        split.test.iter().filter(|&&row| data.perturbation_of(row).is_control() == is_control).count()
    };
    let (controls, perturbed) = (held_out(true), held_out(false));
    let mut of_label = vec![0; data.perturbations.len()];
    split.test.iter().for_each(|&row| of_label[data.labels[row] as usize] += 1);
    let has_two = of_label.iter().zip(&data.perturbations).any(|(&cells, of)| cells > 1 && !of.is_control());
    let what = match (controls, perturbed) {
        (0, _) => format!("of the control cells ({}) none can be held out", data.control_cells().len()),
        (_, 0) => "every perturbation has too few cells to hold one out".to_owned(),
        _ if !has_two => "no perturbation has cells enough to hold two out".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::data(format!(
        "{what}: too few, because an effect is judged as the difference of held-out perturbed cells to held-out control cells; \
         a run needs {MIN_CELLS_TO_DIVIDE} cells of each; train one model by `genailab train`, or name more labels as control by \
         --control"
    )))
}

/// How far the guides of each perturbation agree, for `results.json`.
fn of_guides(guides: &Guides) -> serde_json::Value {
    let of = |one: &GuideAgreement| {
        json!({
            "perturbation": one.perturbation.to_string(),
            "guides": one.guides,
            "pearson": one.pearson,
            "at_random": one.at_random,
        })
    };
    json!({ "column": guides.column, "agreement": guides.agreement.iter().map(of).collect::<Vec<_>>() })
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
        "guides": outcome.guides.as_ref().map(of_guides),
        "model": outcome.model.config(),
        "training": outcome.train_config,
        "history": outcome.history.epochs,
        "held_out": {
            "unit": "nats per cell",
            "elbo": held_out.elbo,
            "reconstruction_pearson": held_out.reconstruction,
            "reconstruction_mse": held_out.reconstruction_mse,
            "mean_profile_mse": held_out.mean_profile_mse,
            "effects": held_out.evaluation,
        },
        "latent": outcome.collapse,
        "truth": outcome.truth,
        "stages": outcome.later.to_json(),
        "seconds": outcome.seconds,
    })
}
