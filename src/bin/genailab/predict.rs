//! `genailab predict`.

use genailab::{
    Error, Result,
    data::{AnnDataWriter, Column, Counts, Perturbation, Table},
    device::Device,
    model::{CountVae, TrainedOn},
    ndarray::{ArrayView2, Axis, concatenate},
};
use std::path::PathBuf;

/// Predict perturbed cells, or effects, with a trained model
///
/// Writes an .h5ad that scanpy opens: for a model of cells, counts in X and the perturbation of each cell in
/// obs["perturbation"]; for a model of effects, one row a perturbation.
#[derive(clap::Args)]
pub struct Args {
    /// Folder that `genailab train` wrote
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Perturbations, separated by commas: A+B,C,control
    #[arg(long, value_name = "A+B,C", value_delimiter = ',', required = true)]
    perturbations: Vec<String>,
    /// Control cells that each perturbation starts from (models of cells)
    #[arg(long, default_value_t = 200)]
    cells: usize,
    /// Draws from the predicted distribution for each of those cells
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The .h5ad to write
    #[arg(long, value_name = "FILE.h5ad")]
    out: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal
    #[arg(long, default_value = "auto")]
    device: Device,
}

pub fn run(args: &Args) -> Result<()> {
    if args.cells == 0 || args.samples == 0 {
        return Err(Error::config("--cells and --samples must be at least 1"));
    }
    let model = CountVae::load(&args.model, args.device)?;
    let perturbations = args.perturbations.iter().map(|name| name.parse()).collect::<Result<Vec<Perturbation>>>()?;
    match model.trained_on() {
        TrainedOn::Cells => predict_cells(&model, &perturbations, args),
        TrainedOn::Effects => predict_effects(&model, &perturbations, args),
    }?;
    println!("{}", args.out.display());
    Ok(())
}

fn predict_cells(model: &CountVae, perturbations: &[Perturbation], args: &Args) -> Result<()> {
    let blocks = perturbations
        .iter()
        .map(|perturbation| model.sample(perturbation, args.cells * args.samples, args.seed))
        .collect::<Result<Vec<_>>>()?;
    let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.values.view()).collect();
    let values = concatenate(Axis(0), &views).expect("every block has the model's genes");
    let names: Vec<String> = perturbations
        .iter()
        .flat_map(|perturbation| (0..args.cells * args.samples).map(move |cell| format!("{perturbation}-{cell}")))
        .collect();
    let mut cells = Table::from_names(names);
    let rows_each = args.cells * args.samples;
    cells.set("perturbation", categories(perturbations, rows_each));
    let library = blocks.iter().flat_map(|block| block.library_size.iter().map(|&size| f64::from(size)));
    cells.set("ncounts", Column::Float(library.collect()));
    let genes = Table::from_names(model.vocabulary().genes.clone());
    let writer = AnnDataWriter::new(&cells, &genes).uns("predicted_by", "genailab count VAE");
    if blocks.iter().all(|block| block.are_counts) {
        writer.x(&Counts::from_dense(&values)).write(&args.out)
    } else {
        writer.x(&values).write(&args.out)
    }
}

fn predict_effects(model: &CountVae, perturbations: &[Perturbation], args: &Args) -> Result<()> {
    let effects = model.predict_effects(perturbations)?;
    let mut table = Table::from_names(perturbations.iter().map(ToString::to_string).collect());
    table.set("perturbation", categories(perturbations, 1));
    let genes = Table::from_names(model.vocabulary().genes.clone());
    AnnDataWriter::new(&table, &genes)
        .uns("effect", "predicted difference to control, in the units of the training data")
        .x(&effects)
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
