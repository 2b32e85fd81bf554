//! `genailab bench`: predictors on held-out conditions, measured side by side.

use crate::{
    features::FeatureArgs,
    options::{DataArgs, GenesArg, interrupt_flag, say, say_labels, warn},
    output::OutputFolder,
    provenance,
    sources::DataFiles,
};
use genailab::{
    Error, ErrorKind, Result,
    bench::{self, MeasureOptions, PartProgress, PredictionFile, PredictionKind, PredictionSource, RunOptions, Setup},
    data::{GeneSets, SplitPlan},
    device::Device,
    model::SettingsFile,
    predict::{Predictor, baselines::predictor},
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Progress is told at most this often.
const PATIENCE: Duration = Duration::from_secs(2);

/// Measure predictors on conditions that they have not seen
///
/// Every model is fitted to the training part of each split and judged on the rest, by every metric that applies. The
/// floor (no_change), the additive model and the noise ceiling (half of a condition's cells against the other half;
/// cells datasets only) are always measured, and similarity_weighted where the split holds a context out: models are compared
/// with it there, and with the additive model elsewhere. Effects are scored in the unit of the file; cells as log1p of 10,000
/// counts.
///
/// A model that predicts embeddings (jepa) is also measured in its own space, beside a copy of control, sums and means of shifts, and
/// ridge in the same space.
///
/// Writes results.json, report.html, models/NAME.html (a card each), splits/SEED.json and parts/ into --out. Stopped or not, the same command with the same --out goes
/// on: finished parts (a model on a split) are read, and a changed setting computes again what it changes.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// What is held out: doubles, triples, constae, simulation, perturbations, combos, doses[:middle|highest],
    /// context:COLUMN[=VALUE], context:COLUMN+COLUMN, cross-dataset:FILE, stratified
    #[arg(long, value_name = "NAME")]
    split: String,
    /// Number of splits, with the seeds 0 to N - 1
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u64,
    /// Models, separated by commas, or all [default: the baselines that have a closed form]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    models: Vec<String>,
    /// Settings of models (TOML), one table per model of --models: [vae_conditional.train], [combination], …; what the
    /// file leaves out has its default
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Where models are trained: auto, cpu, cuda, cuda:N, metal or vulkan; a model that cannot be trained there is refused
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: Device,
    /// Predictions that were made elsewhere, an .h5ad with perturbations in obs; may be given several times. The model is
    /// called as the file, or NAME; KIND says what its rows are: effects, profiles (mean log1p expression) or cells. After a
    /// further colon, layer=NAME or obsm=NAME says where the values are if not in X, and column=NAME which column of obs names
    /// perturbations. Where a file has some of the genes, all models are compared on those; what cannot be scored is listed with
    /// its reason
    #[arg(long, value_name = "[NAME=]FILE.h5ad[:KIND]")]
    predictions: Vec<String>,
    /// What the rows of all --predictions without a KIND are: effects, profiles or cells [default: as the file says]
    #[arg(long, value_name = "KIND")]
    predictions_are: Option<PredictionKind>,
    #[command(flatten)]
    features: FeatureArgs,
    /// Threads to use [default: all cores]; the results do not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "genailab-bench")]
    out: PathBuf,
    #[command(flatten)]
    genes: GenesArg,
    #[command(flatten)]
    columns: DataArgs,
}

impl Args {
    /// The files of predictions, each with its own KIND or that of all.
    fn sources(&self) -> Result<Vec<PredictionSource>> {
        let read = |given: &String| {
            let source = PredictionSource::parse(given).map_err(|error| error.at("--predictions"))?;
            Ok(PredictionSource { kind: source.kind.or(self.predictions_are), ..source })
        };
        self.predictions.iter().map(read).collect()
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.config.iter().try_for_each(|file| provenance::reads(file))?;
    args.features.check()?;
    // Cheap questions first: a large file takes long to read.
    let plans = Setup::plans(&args.split, args.seeds);
    let plans = plans.map_err(|error| if args.seeds == 0 { error.at("--seeds") } else { error })?;
    if let Some(SplitPlan::CrossDataset { file, .. }) = plans.first().map(|plan| &plan.1) {
        provenance::reads(file)?;
    }
    let sources = args.sources()?;
    sources.iter().try_for_each(|source| provenance::reads(&source.file))?;
    let names: Vec<&str> = args.models.iter().map(String::as_str).collect();
    let mut models = bench::chosen_for(&names, &plans[0].1)?;
    args.device.check()?;
    models.iter_mut().try_for_each(|model| model.set_device(args.device))?;
    if let Some(file) = &args.config {
        configure(&mut models, file)?;
    }
    let gene_sets = args.features.gene_sets.as_ref().map(GeneSets::open).transpose()?;
    let settings = |models: &[Box<dyn Predictor>]| models.iter().map(|model| model.settings()).collect::<Value>();
    let before = settings(&models);
    // Gene sets are asked for by metrics, too.
    args.features.give("none of --models", &["--gene-sets"], before, |sources| {
        models.iter_mut().for_each(|model| model.set_features(sources));
        settings(&models)
    })?;
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|error| Error::config(format!("cannot use {threads} threads: {error}")))?;
    }
    let opened = args.columns.open_genes(&args.data, &args.genes.choice()?, false, |cells| {
        Setup::training_cells(&plans, cells).map_err(|e| e.at(args.data.display()))
    })?;
    args.genes.check(&opened)?;
    let name = args.data.file_stem().unwrap_or_default().to_string_lossy();
    say_labels(&opened).map_err(|e| e.at(args.data.display()))?;
    let columns = args.columns.options(&args.data)?;
    let Setup { data, plans, notes } =
        Setup::new(opened, &name, &args.split, args.seeds, &columns).map_err(|e| e.at(args.data.display()))?;
    notes.iter().for_each(|note| warn(format_args!("note: {note}")));
    let files: Vec<PredictionFile> =
        sources.iter().map(|source| PredictionFile::read_or_refuse(source, &data, &columns)).collect();
    // Now, and not after hours of training: a wrong path is quickly put right.
    for (file, reason) in files.iter().filter_map(|file| Some((file.name(), file.refusal()?))) {
        warn(format_args!("note: {file} cannot be scored: {reason}"));
    }
    let out = OutputFolder::for_results(&args.out)?;
    let interrupt = interrupt_flag();
    models.iter_mut().for_each(|model| model.set_interrupt(&interrupt));
    let told = Mutex::new(Instant::now());
    let tell = |progress: &PartProgress<'_>| {
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.elapsed() >= PATIENCE {
            warn(format_args!(
                "{} of {} parts done: {}, seed {}",
                progress.done, progress.total, progress.model, progress.seed
            ));
            *told = Instant::now();
        }
    };
    let options = RunOptions {
        dataset: args.data.display().to_string(),
        split: args.split.clone(),
        metrics: MeasureOptions { gene_sets },
        files: &files,
        folder: Some(&out),
        interrupt: Some(&interrupt),
        progress: Some(&tell),
    };
    let found = bench::run_with(&data, &plans, &models, &options).map_err(|e| match e.kind() {
        ErrorKind::Inapplicable => e.at(args.data.display()),
        _ => e,
    })?;
    found.save(out.join("results.json"))?;
    found.report()?.save(out.join("report.html"))?;
    let cards = out.join("models");
    std::fs::create_dir_all(&cards).map_err(|error| Error::io("create the folder", &cards, error))?;
    found.model_cards()?.iter().try_for_each(|(name, card)| card.save(cards.join(name)))?;
    found.notes.iter().try_for_each(|note| say(format_args!("note: {note}")))?;
    say(&found)?;
    say(format_args!("results: {}", out.join("results.json").display()))?;
    say(format_args!("report: {}", out.join("report.html").display()))
}

/// Gives each model its table of the file; a table of a model that is not measured is checked all the same.
fn configure(models: &mut [Box<dyn Predictor>], file: &Path) -> Result<()> {
    for (name, settings) in SettingsFile::read(file)?.by_model()? {
        match models.iter_mut().find(|model| model.name() == name) {
            Some(model) => model.configure(&settings)?,
            None => predictor(&name).map_err(|error| error.at(file.display()))?.configure(&settings)?,
        }
    }
    Ok(())
}
