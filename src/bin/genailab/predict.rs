//! `genailab predict`.

mod diffusion;

use crate::options::{check_output_file, say};
use genailab::{
    Error, Result,
    data::{AnnDataWriter, Column, Condition, Counts, Naming, Perturbation, Table, Uns},
    device::Device,
    model::{CountVae, Generated, TrainedOn, combination::CombinationModel, jepa::SetsJepa, saved_kind},
    ndarray::{Array2, ArrayView2, Axis, concatenate},
};
use std::path::PathBuf;

/// More cells of one perturbation than any experiment has; beyond, memory ends before the work does.
const MOST_CELLS: usize = 10_000_000;
/// The entry of `uns` that tells this tool which column holds what.
const HINTS: &str = "genailab";

/// Predict perturbed cells, or effects, with a trained model
///
/// Writes an .h5ad that scanpy opens: for a model of cells, counts in X and the perturbation of each cell in
/// obs["perturbation"]; for a model of effects, one row a perturbation. A perturbation may be of genes that were never
/// perturbed together, as long as each was perturbed in training; a JEPA also predicts genes that it knows by features.
#[derive(clap::Args)]
pub struct Args {
    /// Folder that `genailab train` wrote, or the folder vae of `genailab run`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Perturbations, separated by commas: A+B,C,control. A+B is B+A, and what is named twice is predicted once
    #[arg(long, value_name = "A+B,C", value_delimiter = ',', required = true)]
    perturbations: Vec<String>,
    /// Cells to predict for each perturbation, each from a control cell of the training data (models of cells)
    #[arg(long, value_name = "N", default_value_t = 200)]
    cells: usize,
    /// Times that the cells of a perturbation are drawn, N cells each. A diffusion model draws the mean anew each time where
    /// the mean is not known; of mean effects it draws M of them. obs["sample"] is the number of the sample
    #[arg(long, value_name = "M", default_value_t = 1)]
    samples: usize,
    /// The same seed gives the same cells
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Steps of the sampler [default: as the model was trained for] (latent diffusion)
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Scale of classifier-free guidance: 1 is the conditional model, 0 ignores the perturbation's latent (latent diffusion)
    #[arg(long, value_name = "S")]
    guidance: Option<f64>,
    /// Library size of every cell, in counts over all measured genes [default: those of control cells] (latent diffusion)
    #[arg(long, value_name = "COUNTS")]
    library: Option<f32>,
    /// The .h5ad to write
    #[arg(long, value_name = "FILE.h5ad")]
    out: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal
    #[arg(long, default_value = "auto")]
    device: Device,
}

impl Args {
    /// Refuses what only a latent diffusion of cells can do.
    fn refuse_options_of_diffusion(&self, model: &str) -> Result<()> {
        let given = [
            ("--steps", self.steps.is_some()),
            ("--guidance", self.guidance.is_some()),
            ("--library", self.library.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::config(format!(
                "{name} is for latent diffusion, but {} holds {model}; leave it out",
                self.model.display()
            ))),
            None => Ok(()),
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    let rows_each =
        args.cells.checked_mul(args.samples).filter(|&rows| (1..=MOST_CELLS).contains(&rows)).ok_or_else(|| {
            Error::config(format!(
                "--cells {} and --samples {} must be at least 1, and their product at most {MOST_CELLS}",
                args.cells, args.samples
            ))
        })?;
    args.device.check()?;
    check_output_file(&args.out)?;
    match saved_kind(&args.model)?.as_str() {
        "jepa" => {
            args.refuse_options_of_diffusion("the JEPA of mean effects")?;
            return predict_jepa(args);
        }
        "jepa-sets" | "jepa-pairs" => {
            args.refuse_options_of_diffusion("the JEPA of sets of cells")?;
            return predict_sets(args, rows_each);
        }
        "effect-diffusion" => return diffusion::effects(args),
        "latent-diffusion" => return diffusion::cells(args),
        "cell-jepa" => {
            return Err(Error::config(format!(
                "{} holds an encoder of cells (cell-jepa), which predicts no perturbation: use `genailab embed` for its \
                 embeddings, or give the folder of a vae or a jepa",
                args.model.display()
            )));
        }
        // Whatever it is, the count VAE's reader says so.
        _ => {}
    }
    args.refuse_options_of_diffusion("the count VAE")?;
    let model = CountVae::load(&args.model, args.device)?;
    let perturbations = perturbations(&args.perturbations, |gene| model.vocabulary().perturbs(gene)).and_then(|read| {
        model.vocabulary().check(&read)?;
        Ok(read)
    });
    let perturbations = perturbations.map_err(|e| e.at("--perturbations"))?;
    match model.trained_on() {
        TrainedOn::Cells => predict_cells(&model, &perturbations, rows_each, args),
        TrainedOn::Effects => predict_effects(&model, &perturbations, args),
    }?;
    say(args.out.display())
}

/// Reads what was typed, with the model's genes in mind: a name that holds `_` may be one gene.
fn perturbations(typed: &[String], known: impl Fn(&str) -> bool) -> Result<Vec<Perturbation>> {
    let naming = Naming::default();
    let mut read: Vec<Perturbation> = Vec::with_capacity(typed.len());
    for label in typed {
        let perturbation = naming.parse(label, &known)?;
        if !read.contains(&perturbation) {
            read.push(perturbation);
        }
    }
    Ok(read)
}

fn predict_cells(model: &CountVae, perturbations: &[Perturbation], rows_each: usize, args: &Args) -> Result<()> {
    let blocks = perturbations
        .iter()
        .map(|perturbation| model.sample(perturbation, rows_each, args.seed))
        .collect::<Result<Vec<_>>>()?;
    write_cells(perturbations, &blocks, model.vocabulary().genes.clone(), "genailab count VAE", args)
}

/// Cells by a JEPA of sets of cells.
fn predict_sets(args: &Args, rows_each: usize) -> Result<()> {
    let model = SetsJepa::load(&args.model)?;
    let perturbations = perturbations(&args.perturbations, |gene| model.perturbs(gene))?;
    let sample = |perturbation: &Perturbation| {
        let condition = Condition::of(perturbation.clone());
        model.sample(&condition, rows_each, args.seed).map_err(|e| e.at("--perturbations"))
    };
    let blocks = perturbations.iter().map(sample).collect::<Result<Vec<_>>>()?;
    write_cells(&perturbations, &blocks, model.gene_names().to_vec(), "genailab JEPA of sets of cells", args)?;
    say(args.out.display())
}

/// Writes the cells of perturbations, a block each.
fn write_cells(
    perturbations: &[Perturbation],
    blocks: &[Generated],
    genes: Vec<String>,
    by: &str,
    args: &Args,
) -> Result<()> {
    let rows_each = blocks.first().map_or(0, |block| block.library_size.len());
    let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.values.view()).collect();
    let values = concatenate(Axis(0), &views).expect("every block has the model's genes");
    let names: Vec<String> = perturbations
        .iter()
        .flat_map(|perturbation| (0..rows_each).map(move |cell| format!("{perturbation}-{cell}")))
        .collect();
    let mut cells = Table::from_names(names);
    for (name, column) in diffusion::row_columns(perturbations, args.samples, rows_each) {
        cells.set(name, column);
    }
    let are_counts = blocks.iter().all(|block| block.are_counts);
    let library = blocks.iter().flat_map(|block| {
        let rows = block.values.rows().into_iter().zip(&block.library_size);
        // Drawn counts scatter about the library size that they were drawn for; a library holds what was counted.
        rows.map(|(row, &size)| f64::from(if are_counts { size.max(row.sum()) } else { size })).collect::<Vec<_>>()
    });
    cells.set("ncounts", Column::Float(library.collect()));
    let genes = Table::from_names(genes);
    let columns = [("perturbation_column", "perturbation"), ("library_size_column", "ncounts")];
    let writer =
        AnnDataWriter::new(&cells, &genes).uns("predicted_by", by).uns(HINTS, columns.into_iter().collect::<Uns>());
    if are_counts {
        writer.x(&Counts::from_dense(&values)).write(&args.out)
    } else {
        writer.x(&values).write(&args.out)
    }
}

/// Effects by a JEPA of mean effects.
fn predict_jepa(args: &Args) -> Result<()> {
    let model = CombinationModel::load(&args.model)?;
    let perturbations = perturbations(&args.perturbations, |gene| model.represents(gene))?;
    let conditions: Vec<Condition> = perturbations.iter().cloned().map(Condition::of).collect();
    model.check(&conditions).map_err(|e| e.at("--perturbations"))?;
    let effects = model.effects(&conditions)?.mapv(|value| value as f32);
    write_effects(&perturbations, 1, &effects, model.genes().to_vec(), args)?;
    say(args.out.display())
}

fn predict_effects(model: &CountVae, perturbations: &[Perturbation], args: &Args) -> Result<()> {
    write_effects(perturbations, 1, &model.predict_effects(perturbations)?, model.vocabulary().genes.clone(), args)
}

/// Writes effects, `samples` rows a perturbation.
fn write_effects(
    perturbations: &[Perturbation],
    samples: usize,
    effects: &Array2<f32>,
    genes: Vec<String>,
    args: &Args,
) -> Result<()> {
    let names = perturbations.iter().flat_map(|perturbation| {
        (0..samples).map(move |sample| match samples {
            1 => perturbation.to_string(),
            _ => format!("{perturbation}-{sample}"),
        })
    });
    let mut table = Table::from_names(names.collect());
    match samples {
        1 => table.set("perturbation", categories(perturbations, 1)),
        _ => diffusion::row_columns(perturbations, samples, samples)
            .into_iter()
            .for_each(|(name, column)| table.set(name, column)),
    }
    AnnDataWriter::new(&table, &Table::from_names(genes))
        .uns("effect", "predicted difference to control, in the units of the training data")
        .uns(HINTS, [("perturbation_column", "perturbation")].into_iter().collect::<Uns>())
        .x(effects)
        .write(&args.out)
}

/// The perturbation of each row, `rows_each` rows a perturbation.
fn categories(perturbations: &[Perturbation], rows_each: usize) -> Column {
    let mut names: Vec<String> = perturbations.iter().map(ToString::to_string).collect();
    let all = names.clone();
    names.sort();
    names.dedup();
    let code = |name: &String| names.binary_search(name).expect("it was just put there") as i32;
    let codes = all.iter().flat_map(|name| std::iter::repeat_n(code(name), rows_each)).collect();
    Column::Categorical { codes, categories: names }
}
