//! `genailab calibrate`: are the predicted distributions the observed ones?

pub mod story;

use crate::{
    options::{DataArgs, OutputFolder, interrupt_flag, say},
    train::write_json,
};
use genailab::{
    Error, Result,
    bench::{Setup, Task, uncertainty::Study},
    data::{AnnData, DataKind, GeneSets, Truth},
    model::{
        ModelConfig, SettingsFile,
        latent_diffusion::{DiffusionModel, DiffusionSettings},
        registry::train,
    },
    train::Run,
};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

/// Judge the diffusion models' distributions on conditions (or cells) that they have not seen
///
/// Cells: latent diffusion is trained on the training part, and the cells that it draws are compared with held-out cells,
/// gene by gene (coverage, CRPS, variance, zeros) and as sets (E-distance). Effects, and the means of cells: draws of the
/// mean effect are compared with the held-out effect. Pairs that were not measured are ranked by what their experiment
/// would tell.
///
/// Writes results.json and report.html into --out. `--split doubles` judges perturbations never seen; `--split
/// stratified` other cells of perturbations that were.
#[derive(clap::Args)]
pub struct Args {
    /// The .h5ad file to use: cells or effects
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What is held out; the names are those of `genailab bench`
    #[arg(long, value_name = "NAME", default_value = "doubles")]
    split: String,
    /// Seed of the split and of the training
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Gene sets (GMT), by which genes are known that were never perturbed
    #[arg(long, value_name = "FILE.gmt")]
    gene_sets: Option<PathBuf>,
    /// Settings: a TOML file with the tables [effects], [cells], [vae] and [train] (the VAE's training)
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "genailab-calibrate")]
    out: PathBuf,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    Setup::plans(&args.split, 1)?;
    args.gene_sets.as_ref().map(GeneSets::open).transpose()?;
    let file = args.config.as_deref().map(SettingsFile::read).transpose()?;
    let usual = DiffusionSettings::default_for(DataKind::Cells);
    let mut settings = file.map_or(Ok(usual.clone()), |file| file.over(&usual, DiffusionSettings::validate))?;
    if let Some(file) = &args.gene_sets {
        settings.set_gene_sets(file);
    }
    let opened = args.columns.open(&args.data)?;
    let name = args.data.file_stem().unwrap_or_default().to_string_lossy();
    let Setup { data, plans } = Setup::new(opened, &name, &args.split, args.seed + 1, &args.columns.options())?;
    let (seed, plan) = plans.last().expect("one plan a seed, and at least one seed");
    let out = OutputFolder::new(&args.out)?;
    let task = Task::of_plan(&data, plan, *seed)?;
    let start = Instant::now();
    let mut run = Run { interrupt: Some(interrupt_flag()?), ..Run::quiet(task.training.seed) };
    let study = match train::<DiffusionModel>(&task.training, &settings, &mut run)?.0 {
        DiffusionModel::Effects(model) => Study::of_effects(&model, &task)?,
        DiffusionModel::Cells(model) => {
            let simulated = AnnData::open(&args.data)?.uns_keys().iter().any(|key| key == "truth");
            let truth = simulated.then(|| Truth::read(&args.data)).transpose()?;
            Study::of_cells(&model, &task, truth.as_ref())?
        }
    };
    if study.rows.iter().all(|row| row.cells.is_none() && row.means.is_none()) {
        let reason = study.notes.first().map_or("", String::as_str);
        return Err(Error::data(format!("no held-out condition could be judged: {reason}")));
    }
    let summary = json!({
        "unseen_cells": study.cells(false),
        "seen_cells": study.cells(true),
        "means": study.effects(),
        "error_correlation": study.error_correlation(),
    });
    write_json(
        &out.join("results.json"),
        &json!({
            "genailab": env!("CARGO_PKG_VERSION"),
            "dataset": args.data.display().to_string(),
            "split": args.split,
            "seed": seed,
            "summary": summary,
            "study": study,
            "seconds": start.elapsed().as_secs_f64(),
        }),
    )?;
    let verdicts = story::verdicts(&study);
    story::report(&study, &verdicts)?.save(out.join("report.html"))?;
    verdicts.iter().try_for_each(|(_, line)| say(line))?;
    say(format_args!("report: {}", out.join("report.html").display()))
}
