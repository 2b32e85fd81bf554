//! `genailab calibrate`: are the predicted distributions the observed ones?

pub mod story;

use crate::{
    options::{DataArgs, GenesArg, check_interrupt, interrupt_flag, say, say_labels, warn},
    output::OutputFolder,
    provenance,
    sources::DataFiles,
    train::write_json,
};
use genailab::{
    Error, Result,
    bench::{BenchmarkData, Setup, Task, uncertainty::Study},
    data::{DataKind, GeneSets, Opened},
    model::{
        Model, SettingsFile,
        latent_diffusion::DiffusionModel,
        registry::{Registry, Settings},
    },
    show::Verdict,
    train::Run,
};
use serde_json::json;
use std::{any::Any, path::PathBuf, time::Instant};

/// Judge the distributions that a model predicts, on conditions (or cells) that it has not seen
///
/// Cells: the model is trained on the training part, and the cells that it draws are compared with held-out cells, gene by
/// gene (coverage, CRPS, variance, zeros) and as sets (E-distance), beside control cells shifted by the same mean and, of a
/// model with an embedding, its decoder fed with noise. Mean effects: draws are compared with the held-out effect, of diffusion
/// and, for combinations, of models that leave the training combinations out (jepa). For diffusion, pairs that were not
/// measured are ranked by what their experiment would tell.
///
/// Writes results.json and report.html into --out. `--split doubles` judges perturbations never seen; `--split
/// stratified` other cells of perturbations that were.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// The model: diffusion, or any other that draws cells
    #[arg(long, value_name = "NAME", default_value = DiffusionModel::KIND)]
    model: String,
    /// What is held out; the names are those of `genailab bench`
    #[arg(long, value_name = "NAME", default_value = "doubles")]
    split: String,
    /// Seed of the split and of the training
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Gene sets (GMT), by which genes are known that were never perturbed
    #[arg(long, value_name = "FILE.gmt")]
    gene_sets: Option<PathBuf>,
    /// Settings: a TOML file with the tables of the model, as for `genailab train`
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "genailab-calibrate")]
    out: PathBuf,
    #[command(flatten)]
    genes: GenesArg,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    args.config.iter().chain(&args.gene_sets).try_for_each(|file| provenance::reads(file))?;
    let plan = Setup::plans(&args.split, args.seed + 1)?.split_off(args.seed as usize);
    args.gene_sets.as_ref().map(GeneSets::open).transpose()?;
    let file = args.config.as_deref().map(SettingsFile::read).transpose()?;
    let registry = Registry::default();
    let family = registry.family(&args.model)?;
    let settings = |kind: DataKind, cells: usize| -> Result<Box<dyn Settings>> {
        let mut settings = family.settings(None, kind)?;
        if let Some(size) = settings.size_for(cells) {
            settings.set_size(size)?;
        }
        if let Some(file) = &file {
            settings.configure(file)?;
        }
        if let Some(file) = &args.gene_sets {
            let without = settings.to_json();
            settings.set_gene_sets(file);
            if settings.to_json() == without {
                return Err(Error::config(format!(
                    "--gene-sets: {} has no use for gene sets; leave it out",
                    family.kind()
                )));
            }
        }
        settings.validate()?;
        if settings.encoder_alone() {
            return Err(Error::config("an encoder that is trained alone draws no cells; take out phase = \"a\""));
        }
        Ok(settings)
    };
    // Refused before the data is read.
    family.learns_from().iter().try_for_each(|&kind| settings(kind, 1).map(drop))?;
    let opened = args.columns.open_genes(&args.data, &args.genes.choice()?, false, |cells| {
        Setup::training_cells(&plan, cells).map_err(|e| e.at(args.data.display()))
    })?;
    args.genes.check(&opened)?;
    if let Opened::Cells(cells) = &opened {
        cells.require_counts(family.kind()).map_err(|e| e.at(args.data.display()))?;
    }
    let settings = match &opened {
        Opened::Cells(cells) => settings(DataKind::Cells, cells.n_cells())?,
        Opened::Effects(_) if family.learns_from().contains(&DataKind::Effects) => settings(DataKind::Effects, 0)?,
        Opened::Effects(_) => {
            let problem = format!("an effects dataset has no cells, and {} learns from cells", family.kind());
            return Err(Error::config(problem).at(args.data.display()));
        }
    };
    let name = args.data.file_stem().unwrap_or_default().to_string_lossy();
    say_labels(&opened).map_err(|e| e.at(args.data.display()))?;
    let columns = args.columns.options(&args.data)?;
    let Setup { data, plans, notes } = Setup::new(opened, &name, &args.split, args.seed + 1, &columns)?;
    notes.iter().for_each(|note| warn(format_args!("note: {note}")));
    let (seed, plan) = plans.last().expect("one plan a seed, and at least one seed");
    let out = OutputFolder::for_results(&args.out)?;
    let task = Task::of_plan(&data, plan, *seed)?;
    let start = Instant::now();
    let mut run = Run { interrupt: Some(interrupt_flag()), ..Run::quiet(task.training.seed) };
    let (model, _) = settings.train(&task.training, &mut run)?;
    let any: &dyn Any = model.as_ref();
    let go_on = || check_interrupt(&interrupt_flag(), "nothing was written");
    let study = match any.downcast_ref::<DiffusionModel>() {
        Some(DiffusionModel::Effects(model)) => Study::of_effects(model, &task)?,
        Some(DiffusionModel::Cells(model)) => {
            let truth = args.data.truth()?;
            Study::of_cells_while(model, &task, truth.as_ref(), &go_on)?
        }
        None if model.abilities().cells => Study::of_model(model, &task, &go_on)?,
        None => {
            return Err(Error::config(format!(
                "--model {}: it draws no cells, and has no spread to judge",
                args.model
            )));
        }
    };
    if study.rows.iter().all(|row| row.cells.is_none() && row.means.is_none()) {
        let reason = study.notes.first().map_or("", String::as_str);
        return Err(Error::data(format!("no held-out condition could be judged: {reason}")));
    }
    let summary = json!({
        "unseen_cells": study.cells(false),
        "seen_cells": study.cells(true),
        "unseen_opponents": study.opponents(false),
        "seen_opponents": study.opponents(true),
        "means": study.effects(),
        "error_correlation": study.error_correlation(),
    });
    write_json(
        &out.join("results.json"),
        &json!({
            "genailab": env!("CARGO_PKG_VERSION"),
            "dataset": args.data.display().to_string(),
            "model": args.model,
            "split": args.split,
            "seed": seed,
            "summary": summary,
            "study": study,
            "seconds": start.elapsed().as_secs_f64(),
        }),
    )?;
    let verdicts = story::verdicts(&study);
    let mut report = story::report(&study, &verdicts)?;
    if let BenchmarkData::Cells(cells) = &data {
        for note in &cells.data.notes {
            report = report.verdict(Verdict::Warning, format!("Data: {note}."));
        }
    }
    report.save(out.join("report.html"))?;
    verdicts.iter().try_for_each(|(_, line)| say(line))?;
    say(format_args!("report: {}", out.join("report.html").display()))
}
