//! `genailab predict`.

mod control_cells;
mod courses;
pub mod covariates;
mod metadata;
mod rows;

use self::rows::{write_cells, write_effects};
use crate::{
    contexts::AskedContext,
    options::{DataArgs, data_file, say},
    output::check_output_file,
    provenance,
};
use genailab::{
    Error, ErrorKind, Result,
    data::{Condition, Naming, Perturbation, dose::name_and_dose},
    device::Device,
    model::{Generated, Sampling, Trained, registry::Registry},
    ndarray::{Array2, Axis, concatenate},
};
use std::{collections::BTreeSet, path::PathBuf};

/// More cells of one perturbation than any experiment has; beyond, memory ends before the work does.
const MOST_CELLS: usize = 10_000_000;
/// Cells of each perturbation where `--cells` is not given.
const USUAL_CELLS: usize = 200;
/// The entry of `uns` that tells this tool which column holds what.
const HINTS: &str = "genailab";

/// Predict perturbed cells, or effects, with a trained model
///
/// Writes an .h5ad that scanpy opens: for a model of cells, counts in X and the perturbation of each cell in
/// obs["perturbation"]; for a model of effects, one row per perturbation. A perturbation may be of genes that were never
/// perturbed together, as long as each was perturbed in training. A gene that was never perturbed is predicted by a jepa or a
/// jepa-diffusion that was trained with features of it (`train` with --gene-sets, --regulons, --co-expression or
/// --perturbation-features), which say what the prediction rests on; and by a combination or a diffusion if it was measured, or is in the
/// gene sets of the training.
#[derive(clap::Args, Clone)]
pub struct Args {
    /// Folder that `genailab train` wrote, or the folder vae of `genailab run`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Perturbations, separated by commas: A+B,C,control. A+B is B+A, and what is named twice is predicted once. May be given
    /// several times. A name of the model that holds a comma is one name; with `--separator ,` the comma joins genes, and each
    /// --perturbations is one perturbation
    #[arg(long, value_name = "A+B,C", required_unless_present_any = ["metadata_file", "like"])]
    perturbations: Vec<String>,
    /// Cells to predict for each perturbation, each from a control cell of the training data [default: 200] (models of cells)
    #[arg(long, value_name = "N")]
    cells: Option<usize>,
    /// Cells to predict from: one for each control cell of this file, in its order and with its library size, in place of
    /// control cells of the training data. obs["control_cell"] names it. With --samples M each has M responses (jepa,
    /// jepa-diffusion, vae)
    #[arg(long, value_name = "FILE.h5ad", conflicts_with_all = ["cells", "steps", "guidance", "library"])]
    control_cells: Option<PathBuf>,
    /// Rows of metadata to predict samples for (mean-residual): a table (.csv, .tsv) with the columns that the model was trained on.
    /// Without --cells the mean of each row is written, with its interval of 90 % in layers; with --cells N as many samples
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["perturbations", "control_cells", "like"])]
    metadata_file: Option<PathBuf>,
    /// The same, for the rows of obs of this file
    #[arg(long, value_name = "FILE.h5ad", conflicts_with_all = ["perturbations", "control_cells"], value_parser = data_file)]
    like: Option<PathBuf>,
    /// Context (cell type, donor) to predict for: one that the model was trained on (`train --context`); with --control-cells, the
    /// context that these are of, which may be a new one (jepa, jepa-diffusion). A model with several columns is asked for the level
    /// of each, in any order: --context "cell_type=CD4 T cells" --context donor=3. What follows the first = is the level, whatever
    /// letters it holds; obs has a column for each
    #[arg(long, value_name = "NAME|COLUMN=LEVEL")]
    context: Vec<String>,
    /// The same, read with the model's columns.
    #[arg(skip)]
    asked_context: AskedContext,
    /// A value of a covariate (`train --covariate`), which all cells are given: cell_type=B. May be given several times. The cells
    /// start from control cells of that value, where the model kept 20 of them, else from all. Without it the cells have the
    /// covariates of the control cells that they start from (vae)
    #[arg(long, value_name = "COLUMN=VALUE")]
    at: Vec<String>,
    /// Times that the cells of a perturbation are drawn, N cells each. A diffusion model draws the mean anew each time where
    /// the mean is not known; of mean effects it draws M of them; a static-dynamic draws M courses.
    /// obs["sample"] is the number of the sample
    #[arg(long, value_name = "M", default_value_t = 1)]
    samples: usize,
    /// The same seed gives the same cells
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Steps of the sampler [default: as the model was trained for] (a diffusion of cells)
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Scale of classifier-free guidance: 1 is the conditional model, 0 ignores the perturbation's latent (a diffusion of cells)
    #[arg(long, value_name = "S")]
    guidance: Option<f64>,
    /// Library size of every cell, in counts over all measured genes [default: those of control cells] (a diffusion of cells)
    #[arg(long, value_name = "COUNTS")]
    library: Option<f32>,
    /// Times to predict, rising and above 0 [default: those of the training data] (world-model, static-dynamic)
    #[arg(long, value_name = "T,…", value_delimiter = ',')]
    times: Vec<f64>,
    /// Dose relative to the largest of training: one for all times, or one for each, which acts in the interval that ends at it
    /// [default: 1] (world-model, static-dynamic)
    #[arg(long, value_name = "D,…", value_delimiter = ',')]
    dose: Vec<f64>,
    /// The .h5ad to write
    #[arg(long, value_name = "FILE.h5ad")]
    out: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, default_value = "auto")]
    pub device: Device,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    args.cells().checked_mul(args.samples).filter(|&rows| (1..=MOST_CELLS).contains(&rows)).ok_or_else(|| {
        Error::config(format!(
            "--cells {} and --samples {} must be at least 1, and their product at most {MOST_CELLS}",
            args.cells(),
            args.samples
        ))
    })?;
    args.device.check()?;
    if args.control_cells.is_none() {
        args.columns.refuse_without_data("it says how a file of --control-cells is read, and none is given")?;
    }
    check_output_file(&args.out)?;
    provenance::reads(&args.model)?;
    let model = covariates::at(Registry::default().load(&args.model, args.device)?, &args.at)?;
    if args.control_cells.is_none() {
        covariates::note_few_control_cells(model.as_ref(), &args.at)?;
    }
    if args.metadata_file.is_some() || args.like.is_some() || model.metadata_model().is_some() {
        metadata::predict(model.as_ref(), args)?;
        return say(args.out.display());
    }
    let abilities = model.abilities();
    if abilities.energies {
        return Err(Error::config(format!(
            "{} holds an energy of cells ({}), which predicts no perturbation: use `genailab plausibility` to judge \
             generated cells by it, or give the folder of another model",
            args.model.display(),
            model.kind()
        )));
    }
    if !abilities.cells && !abilities.effects && !abilities.courses {
        return Err(Error::config(format!(
            "{} holds an encoder of cells ({}), which predicts no perturbation: use `genailab embed` for its embeddings, or \
             give the folder of another model",
            args.model.display(),
            model.kind()
        )));
    }
    if !abilities.courses && (!args.times.is_empty() || !args.dose.is_empty()) {
        return Err(Error::config(format!(
            "--times and --dose are for a model of time courses, but {} holds a model of kind {}; leave them out",
            args.model.display(),
            model.kind()
        )));
    }
    if !abilities.sampler {
        args.refuse_sampler_options(model.kind())?;
    }
    let asked_context = AskedContext::of(model.as_ref(), &args.context, args.control_cells.is_some())?;
    let args = &Args { asked_context, ..args.clone() };
    let naming = Naming { separator: args.columns.separator.clone(), ..Naming::default() };
    let perturbations = perturbations(&args.perturbations, &naming, |gene| model.perturbs(gene))
        .and_then(|read| check(model.as_ref(), &read, args).map(|()| read))
        .map_err(|e| e.at("--perturbations"))?;
    note_extrapolated(model.as_ref(), &perturbations)?;
    note_unseen(model.as_ref(), &perturbations)?;
    if let Some(file) = &args.control_cells {
        control_cells::predict(model.as_ref(), &perturbations, file, args)?;
        return say(args.out.display());
    }
    if abilities.courses {
        courses::predict(model.as_ref(), &perturbations, args)?;
        return say(args.out.display());
    }
    match abilities.cells {
        true => predict_cells(model.as_ref(), &perturbations, args),
        false => predict_effects(model.as_ref(), &perturbations, args),
    }?;
    say(args.out.display())
}

/// For messages: `m holds a model of kind vae`.
fn of_kind(model: &dyn Trained, args: &Args) -> String {
    format!("{} holds a model of kind {}", args.model.display(), model.kind())
}

fn check(model: &dyn Trained, perturbations: &[Perturbation], args: &Args) -> Result<()> {
    let conditions: Vec<Condition> = perturbations.iter().map(|perturbation| args.condition(perturbation)).collect();
    model.check(&conditions)
}

/// Says which doses lie outside those that the model was trained on.
fn note_extrapolated(model: &dyn Trained, perturbations: &[Perturbation]) -> Result<()> {
    for name in perturbations.iter().flat_map(Perturbation::genes) {
        let (base, dose) = name_and_dose(name);
        if let Some((low, high)) = model.dose_range(base).filter(|(low, high)| !(*low..=*high).contains(&dose)) {
            say(format_args!("note: {name} is extrapolated; {base} was trained on from {low} to {high}"))?;
        }
    }
    Ok(())
}

/// Says which perturbations were never measured, and what their predictions rest on.
fn note_unseen(model: &dyn Trained, perturbations: &[Perturbation]) -> Result<()> {
    let names: BTreeSet<&String> = perturbations.iter().flat_map(Perturbation::genes).collect();
    names
        .into_iter()
        .filter_map(|name| model.rests_on(name))
        .try_for_each(|rests_on| say(format_args!("note: {rests_on}")))
}

impl Args {
    /// A perturbation in the context that was asked for.
    fn condition(&self, perturbation: &Perturbation) -> Condition {
        Condition { perturbation: perturbation.clone(), context: self.asked_context.name.clone() }
    }

    fn cells(&self) -> usize {
        self.cells.unwrap_or(USUAL_CELLS)
    }

    /// Refuses the options that mean something for predictions of perturbations alone.
    fn refuse_options_of_perturbations(&self) -> Result<()> {
        let given = [
            ("--perturbations", !self.perturbations.is_empty()),
            ("--control-cells", self.control_cells.is_some()),
            ("--context", !self.context.is_empty()),
            ("--at", !self.at.is_empty()),
            ("--steps", self.steps.is_some()),
            ("--guidance", self.guidance.is_some()),
            ("--library", self.library.is_some()),
            ("--times", !self.times.is_empty()),
            ("--dose", !self.dose.is_empty()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::config(format!(
                "{name}: {} holds a model that predicts samples from their metadata; leave it out, and give rows of metadata by \
                 --metadata-file or --like",
                self.model.display()
            ))),
            None => Ok(()),
        }
    }

    /// Refuses the options that only a model with a sampler has a use for.
    fn refuse_sampler_options(&self, kind: &str) -> Result<()> {
        let given = [
            ("--steps", self.steps.is_some()),
            ("--guidance", self.guidance.is_some()),
            ("--library", self.library.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::config(format!(
                "{name} is for a diffusion of cells, but {} holds a model of kind {kind}; leave it out",
                self.model.display()
            ))),
            None => Ok(()),
        }
    }
}

/// Reads what was typed, with the model's genes in mind: a name that holds `_` may be one gene.
fn perturbations(typed: &[String], naming: &Naming, known: impl Fn(&str) -> bool) -> Result<Vec<Perturbation>> {
    let mut read: Vec<Perturbation> = Vec::with_capacity(typed.len());
    let labels = typed.iter().flat_map(|list| match naming.separator.as_deref() {
        Some(",") => vec![list.clone()],
        _ => at_commas(list, &known),
    });
    for label in labels {
        let perturbation = naming.parse(&label, &known)?;
        if !read.contains(&perturbation) {
            read.push(perturbation);
        }
    }
    Ok(read)
}

/// Cuts at commas, but leaves a known name that holds one whole.
pub fn at_commas(list: &str, known: impl Fn(&str) -> bool) -> Vec<String> {
    let pieces: Vec<&str> = list.split(',').collect();
    let (mut labels, mut start) = (Vec::new(), 0);
    while start < pieces.len() {
        let whole = (start + 2..=pieces.len()).rev().find(|&end| known(pieces[start..end].join(",").trim()));
        let end = whole.unwrap_or(start + 1);
        labels.push(pieces[start..end].join(","));
        start = end;
    }
    labels
}

fn predict_cells(model: &dyn Trained, perturbations: &[Perturbation], args: &Args) -> Result<()> {
    let mut blocks = Vec::with_capacity(perturbations.len());
    for perturbation in perturbations {
        let condition = args.condition(perturbation);
        if args.samples > 1
            && let Some(reason) = model.why_mean_is_fixed(&condition)
        {
            say(format_args!("note: all samples of {perturbation} have the same mean: {reason}"))?;
        }
        let sample = |sample: usize| {
            let sampling = Sampling {
                draw_mean: args.samples > 1,
                steps: args.steps,
                guidance: args.guidance,
                library_size: args.library,
                ..Sampling::new(args.cells(), args.seed.wrapping_add(sample as u64))
            };
            // What is not known of a perturbation is the fault of what was asked for.
            model.cells(&condition, &sampling).map_err(|error| match error.kind() {
                ErrorKind::Inapplicable => error.at("--perturbations"),
                _ => error,
            })
        };
        blocks.push(joined((0..args.samples).map(sample).collect::<Result<Vec<Generated>>>()?));
    }
    write_cells(perturbations, &blocks, model, (args, &[]))
}

fn joined(samples: Vec<Generated>) -> Generated {
    let views: Vec<_> = samples.iter().map(|sample| sample.values.view()).collect();
    Generated {
        values: concatenate(Axis(0), &views).expect("every sample has the model's genes"),
        library_size: samples.iter().flat_map(|sample| sample.library_size.iter().copied()).collect(),
        are_counts: samples.iter().all(|sample| sample.are_counts),
    }
}

/// Mean effects; several samples are draws around them.
fn predict_effects(model: &dyn Trained, perturbations: &[Perturbation], args: &Args) -> Result<()> {
    let kind = model.kind();
    if args.cells.is_some() {
        say(format_args!(
            "note: --cells has no meaning for mean effects, which are what this model ({kind}) predicts"
        ))?;
    }
    let samples = if model.abilities().effect_draws { args.samples } else { 1 };
    if samples < args.samples {
        say(format_args!(
            "note: a model of kind {kind} draws no effects: one row per perturbation, not {}",
            args.samples
        ))?;
    }
    let mut effects = Array2::zeros((0, model.genes().len()));
    for perturbation in perturbations {
        let condition = Condition::of(perturbation.clone());
        let rows = match samples {
            1 => model.effects(std::slice::from_ref(&condition)),
            n => model.effect_draws(&condition, n, args.seed),
        };
        effects.append(Axis(0), rows.map_err(|e| e.at("--perturbations"))?.view()).expect("rows of the model's genes");
    }
    write_effects(perturbations, samples, &effects.mapv(|value| value as f32), model.genes().to_vec(), args)
}
