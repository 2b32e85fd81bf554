//! `genailab train`.

mod embedding_report;
mod settings;

pub use self::settings::shared;
use self::settings::{PREDICTED_COLUMNS, check_settings, settings, usual_split};
use crate::{
    contexts::check_controls,
    features::FeatureArgs,
    options::{DataArgs, Fractions, GenesArg, interrupt_flag, say, say_division, say_labels, usual_training_cells},
    output::OutputFolder,
    provenance,
    sources::DataFiles,
};
use genailab::{
    Error, ErrorKind, Result,
    bench::{evaluate_effects, evaluate_metadata},
    data::{Condition, ContextColumns, DataKind, Dataset, Effects, Opened, QcConfig, Split, SplitPlan, TrainingData},
    device::{Device, Resources},
    model::{
        HoldOut, SettingsFile, Trained, check_folder,
        presets::{largest_for, suited},
        registry::{Family, Registry, Settings},
    },
    ndarray::{Array2, Axis},
    train::{Run, write_atomically},
};
use rand::{SeedableRng, seq::SliceRandom};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Said where a configuration has the table `[qc]` and the data no cells.
pub const QC_WITHOUT_CELLS: &str = "note: [qc] has no meaning for an effects dataset, which holds no cells";
/// Draws behind the expected error of a predicted effect.
const DRAWS: usize = 100;

/// Train a model on a cells or an effects dataset
///
/// A file with one cell per row and counts is a cells dataset; one with one perturbation per row and uns["effect"] is an
/// effects dataset.
///
/// Writes model.json and model.safetensors (the model), last.safetensors (the checkpoint of the last epoch, for
/// --resume; models that consist of several trainings keep theirs in folders of their own), training.json, split.json,
/// metrics.json, history.jsonl and TensorBoard events into --out; for a jepa of --phase a also report.html and figures.
/// `genailab predict` and `genailab embed` use the model.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// Which model; `genailab doctor` lists them with what they predict
    #[arg(long, value_name = "NAME", default_value = "vae")]
    model: String,
    /// Folder for the model; made if it is not there. A finished training in it is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings: a TOML file with the model's tables (mostly [model] and [train]; jepa: [encoder], [pretraining] and
    /// [response]; world-model: [courses], [model] and [train]; static-dynamic: [courses], [profiles], [flow], [profiles_train] and [train]; mean-residual: [metadata], [mean], [residual], [train] and [flow_train]; diffusion: [effects], [cells], [vae] and [train]; ebm: [space], [model], [train] and [vae]; expression-flow:
    /// [model], [modules], [sampling] and [train]) and the
    /// tables [split] and [qc]; training.json of a training shows what can be set
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// Size of a model that comes in sizes (jepa): tiny, small, medium, large, or auto, which is that of the data as far as this
    /// machine is meant for it (see `genailab doctor`); --config changes single settings of it [default: by the number of cells]
    #[arg(long, value_name = "SIZE")]
    preset: Option<String>,
    /// jepa: `a` trains the encoder alone, without labels, and reports what its embeddings tell; `ab` then trains predictor and
    /// decoder with it; `b` does so from an encoder of random weights, for comparison, or from that of --from [default: ab]
    #[arg(long, value_name = "PHASE")]
    phase: Option<String>,
    /// jepa, jepa-diffusion, causal-vae, world-model, static-dynamic: the column of cells that names their context (cell type,
    /// donor, stimulation). `genailab predict` then predicts for one of these contexts or (jepa, jepa-diffusion, causal-vae) for a
    /// new one from its control cells. jepa, jepa-diffusion: may be given several times (--context cell_type --context donor), in
    /// any order; a context is then a combination of levels, and each level is learned by itself
    #[arg(long, value_name = "COLUMN")]
    context: Vec<String>,
    /// vae: a column of cells that is a condition beside the perturbation (cell type, donor, time); may be given several times.
    /// Text is categorical, numbers are continuous where there are more than 10 of them; COLUMN:categorical and COLUMN:continuous
    /// say it. `genailab predict --at COLUMN=VALUE` asks for one value
    #[arg(long, value_name = "COLUMN")]
    covariate: Vec<String>,
    /// world-model, static-dynamic: the column of cells that gives the time at which each was sampled [default: time, time_point, timepoint]
    #[arg(long, value_name = "COLUMN")]
    time_column: Option<String>,
    /// world-model, static-dynamic: the column that says which cells of a perturbation are one course, where its dose changes in time [default:
    /// course, if it is there; else cells of one dose]
    #[arg(long, value_name = "COLUMN")]
    course_column: Option<String>,
    /// static-dynamic: a file of profiles without a time (bulk samples, cells that were measured once), trained on beside the courses of
    /// --data; may be given several times. Genes and perturbations are matched by name
    #[arg(long = "static", value_name = "FILE")]
    static_files: Vec<PathBuf>,
    /// mean-residual: the columns of obs that expression is predicted from. Text is categorical, numbers are continuous where there
    /// are more than 10 of them; COLUMN:categorical and COLUMN:continuous say it
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    metadata: Vec<String>,
    /// mean-residual: what is held out to judge the model by, and what its folds divide: single rows, or all rows of a combination of
    /// categorical values [default: rows]
    #[arg(long, value_name = "WHAT")]
    hold_out: Option<HeldOutArg>,
    /// jepa: folder of a jepa that was trained on other data: begin with its encoder. Genes are matched by name, and those that
    /// this data does not have are hidden. Trains phase b, unless --phase says ab or a
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    #[command(flatten)]
    features: FeatureArgs,
    /// Passes over the training data, of each phase; the later trainings of a jepa make at most N passes too [default: the configuration's]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of the split, the weights and the training [default: the configuration's]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// Go on from the last checkpoint in --out, with the other arguments as they were; only --epochs may differ
    #[arg(long)]
    resume: bool,
    /// --phase a: the column of obs that embeddings are probed for, and that colours the pictures [default: the
    /// perturbation]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// --phase a: folder of a VAE that was trained on the same cells, to compare its latent with
    #[arg(long, value_name = "DIR")]
    compare_vae: Option<PathBuf>,
    #[command(flatten)]
    genes: GenesArg,
    #[command(flatten)]
    columns: DataArgs,
}

/// [`HoldOut`] as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum HeldOutArg {
    /// Single rows.
    Rows,
    /// Combinations of categorical values.
    Combinations,
}

impl HeldOutArg {
    fn into_hold_out(self) -> HoldOut {
        match self {
            Self::Rows => HoldOut::Rows,
            Self::Combinations => HoldOut::Combinations,
        }
    }
}

/// A training about to begin.
struct Training<'a> {
    args: &'a Args,
    family: &'a dyn Family,
    settings: Box<dyn Settings>,
    split: Fractions,
    seed: u64,
    out: OutputFolder,
}

pub fn run(args: &Args) -> Result<()> {
    args.config
        .iter()
        .chain(&args.from)
        .chain(&args.compare_vae)
        .chain(&args.static_files)
        .try_for_each(|file| provenance::reads(file))?;
    args.features.check()?;
    // Cheap questions first: a large file takes long to read.
    let registry = Registry::default();
    let family = registry.family(&args.model)?;
    family.check_device(args.device)?;
    check_context(args, family, &registry)?;
    let file = args.config.as_deref().map(SettingsFile::read).transpose()?;
    let (split, qc) = shared(file.as_ref())?;
    check_settings(family, file.as_ref(), args)?;
    // Before its checkpoints are looked at, which may be those of a training at work there.
    let out = OutputFolder::new(&args.out)?;
    check_folder(&args.out, args.resume)?;
    let of_file = |e: Error| match e.kind() {
        ErrorKind::Data | ErrorKind::Inapplicable => e.at(args.data.display()),
        _ => e,
    };
    let of_cells = family.learns_from().contains(&DataKind::Cells);
    let needs_labels = !of_cells || settings(family, file.as_ref(), (DataKind::Cells, 1), args)?.needs_labels();
    if !needs_labels && args.columns.dose_column.is_some() {
        return Err(Error::config(format!(
            "--dose-column: {} is trained without labels; where it reads metadata, name the column in --metadata",
            family.kind()
        )));
    }
    let opened = args.labels_of(family).open_genes(&args.data, &args.genes.choice()?, !needs_labels, |cells| {
        let settings = settings(family, file.as_ref(), (DataKind::Cells, cells.n_cells()), args)?;
        let seed = args.seed.unwrap_or_else(|| settings.seed());
        let split = split.unwrap_or_else(|| usual_split(settings.as_ref()));
        match settings.divide(cells, split.held_out(), seed).map_err(of_file)? {
            Some(split) => Ok(split.train),
            None => usual_training_cells(cells, qc.as_ref(), split, seed).map_err(of_file),
        }
    })?;
    args.genes.check(&opened)?;
    args.note_without_time(&opened, family)?;
    let opened = args.beside_static(opened, family).map_err(of_file)?;
    if needs_labels {
        say_labels(&opened).map_err(of_file)?;
    }
    let opened = prepared(opened, family, qc.as_ref(), args).map_err(of_file)?;
    if let (Opened::Cells(cells), true) = (&opened, family.needs_counts()) {
        cells.require_counts(family.kind()).map_err(of_file)?;
    }
    let kind = match &opened {
        Opened::Cells(_) => DataKind::Cells,
        Opened::Effects(_) => DataKind::Effects,
    };
    let cells = match &opened {
        Opened::Cells(data) => data.n_cells(),
        Opened::Effects(_) => 0,
    };
    let settings = settings(family, file.as_ref(), (kind, cells), args)?;
    if let (Some("auto"), Some(by_data)) = (args.preset.as_deref(), settings.size_for(cells)) {
        let (largest, why) = largest_for(args.device, Resources::detect());
        let size = suited(by_data, largest);
        say(format_args!(
            "preset: {size} ({cells} cells ask for {by_data}; this machine, {why}, is meant for {largest})"
        ))?;
    }
    let seed = args.seed.unwrap_or_else(|| settings.seed());
    let split = split.unwrap_or_else(|| usual_split(settings.as_ref()));
    let training = Training { args, family, settings, split, seed, out };
    let metrics = match opened {
        Opened::Cells(data) => training.on_cells(data),
        Opened::Effects(data) => training.on_effects(&data),
    }
    .map_err(of_file)?;
    write_json(&training.out.join("metrics.json"), &metrics)?;
    say(format_args!("model: {}", training.out.display()))
}

/// Refuses contexts that the model does not know, several columns where it knows one, and names that predictions use for columns of
/// their own.
fn check_context(args: &Args, family: &dyn Family, registry: &Registry) -> Result<()> {
    let kinds = |knows: fn(&dyn Family) -> bool| {
        registry.families().filter(|&family| knows(family)).map(Family::kind).collect::<Vec<_>>().join(" or ")
    };
    match args.context.as_slice() {
        [] => Ok(()),
        [column, ..] if !family.knows_contexts() => Err(Error::config(format!(
            "--context {column}: {} knows no contexts; leave the option out, or train {}",
            family.kind(),
            kinds(|family| family.knows_contexts())
        ))),
        [_] => Ok(()),
        [_, second, ..] if !family.combines_contexts() => Err(Error::config(format!(
            "--context {second}: {} takes one column as the context; give the option once, or train {}",
            family.kind(),
            kinds(|family| family.combines_contexts())
        ))),
        columns => match columns.iter().find(|name| PREDICTED_COLUMNS.contains(&name.as_str())) {
            Some(name) => Err(Error::config(format!(
                "--context {name}: predictions have a column of this name of their own, beside the columns of a context; rename it"
            ))),
            None => Ok(()),
        },
    }
}

/// The data after quality control, in the form that the model learns from best: cells are averaged for a model of mean
/// effects.
fn prepared(opened: Opened, family: &dyn Family, qc: Option<&QcConfig>, args: &Args) -> Result<Opened> {
    let opened = match (opened, qc) {
        (Opened::Cells(cells), Some(qc)) => {
            let (kept, report) = qc.apply(&cells)?;
            say(report)?;
            Opened::Cells(kept)
        }
        (opened, Some(_)) => {
            say(QC_WITHOUT_CELLS)?;
            opened
        }
        (opened, None) => opened,
    };
    match (opened, family.learns_from()) {
        (Opened::Cells(cells), [DataKind::Effects, ..]) => {
            say("a dataset of cells: trained on the mean effect of each perturbation")?;
            Ok(Opened::Effects(Effects::of_cells(&cells)?))
        }
        (Opened::Effects(_), [DataKind::Cells]) => Err(Error::config(format!(
            "{} is an effects dataset, and {} learns from single cells; give a cells dataset, or train --model combination",
            args.data.display(),
            family.kind()
        ))),
        (opened, _) => Ok(opened),
    }
}

impl Training<'_> {
    fn run(&self) -> Result<Run<'static>> {
        Ok(Run {
            seed: self.seed,
            device: self.args.device,
            dir: Some(self.out.to_owned()),
            resume: self.args.resume,
            interrupt: Some(interrupt_flag()),
            ..Run::default()
        })
    }

    fn on_cells(&self, data: Dataset) -> Result<Value> {
        let Fractions { validation, test } = self.split;
        let split = match self.settings.divide(&data, self.split.held_out(), self.seed)? {
            Some(split) => split,
            None => data.split(&SplitPlan::Stratified { validation, test, seed: self.seed })?,
        };
        let report = match self.settings.encoder_alone() {
            true => Some(embedding_report::Prepared::new(self.args, &data, &split)?),
            false => None,
        };
        say(format_args!(
            "{} cells x {} genes, {} perturbations; {} cells to train on, {} to validate on, {} held out",
            data.n_cells(),
            data.n_genes(),
            data.perturbations.len(),
            split.train.len(),
            split.validation.len(),
            split.test.len()
        ))?;
        self.args.check_covariates(&data)?;
        let data = Arc::new(data);
        let columns = ContextColumns::new(self.args.context.iter().cloned()).map_err(|e| e.at("--context"))?;
        let training =
            TrainingData::in_columns(Arc::clone(&data), columns, &split, self.seed).map_err(|e| e.at("--context"))?;
        if let (Some(cells), true) = (&training.cells, self.family.combines_contexts()) {
            check_controls(cells)?;
        }
        let (model, history) = self.settings.train(&training, &mut self.run()?)?;
        split.save(self.out.join("split.json"))?;
        model.notes().iter().try_for_each(say)?;
        if let Some(report) = report {
            let facts = embedding_report::Facts {
                source: self.args.data.display().to_string(),
                data: &data,
                split: &split,
                model: model.as_ref(),
                settings: self.settings.to_json(),
                history: &history,
            };
            return report.write(&facts, &self.out);
        }
        if let (Some(known), false) = (model.metadata_model(), split.test.is_empty()) {
            let evaluation = evaluate_metadata(known, &data, &split)?;
            say(evaluation.to_grid())?;
            evaluation.notes().iter().try_for_each(say)?;
            return Ok(json!({ "test": evaluation, "chosen": model.choices() }));
        }
        let score = |rows: &[usize]| match rows.is_empty() {
            true => Ok(None),
            false => model.held_out(&data, rows, self.seed),
        };
        let (validation, test) = (score(&split.validation)?, score(&split.test)?);
        test.iter().try_for_each(|test| say(&test.line))?;
        let best = history.best().map(|record| record.monitored_loss());
        Ok(json!({
            "validation": validation.map(|score| score.json),
            "test": test.map(|score| score.json),
            "best_validation_loss": best,
            "chosen": model.choices(),
        }))
    }

    fn on_effects(&self, data: &Effects) -> Result<Value> {
        let split = split_effects(data, self.split, self.seed);
        say_division(data, &split)?;
        let training = TrainingData::of_effects(data, &split, self.seed)?;
        let (model, _) = self.settings.train(&training, &mut self.run()?)?;
        split.save(self.out.join("split.json"))?;
        model.notes().iter().try_for_each(say)?;
        let predict = |perturbations: &[_]| {
            let conditions: Vec<Condition> = perturbations.iter().cloned().map(Condition::of).collect();
            Ok(model.effects(&conditions)?.mapv(|value| value as f32))
        };
        let scores = evaluate_effects(self.family.kind(), data, &split.test, predict)?;
        scores.iter().flatten().try_for_each(say)?;
        let expected = match model.abilities().effect_draws {
            true => expected_errors(model.as_ref(), data, &split)?,
            false => Value::Null,
        };
        Ok(json!({ "chosen": model.choices(), "test": scores, "expected_error": expected }))
    }
}

/// How far each held-out effect is expected to be off, root mean square over genes of the deviation of its draws.
fn expected_errors(model: &dyn Trained, data: &Effects, split: &Split) -> Result<Value> {
    let mut errors = serde_json::Map::new();
    for &row in &split.test {
        let condition = Condition::of(data.perturbations[row].clone());
        let draws: Array2<f64> = model.effect_draws(&condition, DRAWS, 0)?;
        let error = draws.var_axis(Axis(0), 0.0).mean().unwrap_or(0.0).sqrt();
        errors.insert(condition.to_string(), json!(error));
    }
    Ok(Value::Object(errors))
}

/// Only perturbations whose genes are in the training part can be judged, so doubles are held out. A double with a gene that
/// is in no other perturbation cannot be predicted; it is trained on instead.
pub fn split_effects(data: &Effects, fractions: Fractions, seed: u64) -> Split {
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
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    write_atomically(path, format!("{value:#}\n").as_bytes())
}
