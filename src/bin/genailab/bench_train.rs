//! `genailab bench-train`.

mod jobs;
mod numpy_order;

use crate::{
    options::{DataArgs, data_file, say},
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    data::{Dataset, Opened, Split},
    device::Device,
    model::jepa::Size,
};
use jobs::Measured;
use serde_json::json;
use std::path::PathBuf;

/// Measure the training speed of the count VAE or of a JEPA, or the speed of a diffusion model's draws
///
/// The models are those of benches/torch_vae.py (vae), benches/torch_jepa.py (jepa-small, jepa-medium) and
/// benches/torch_ddim.py (ddim) in PyTorch. vae: genes-512-256-64 and back, a 64-wide embedding of the perturbation, SiLU,
/// NB with one theta per gene, Adam at 1e-3. jepa: the perceptron of that size, trained to predict the embeddings of hidden
/// genes. ddim: draws of vectors of 64 numbers by 50 steps of DDIM, without data. Gathering batches is
/// included in the time, as it is there. Five steps warm up, of ddim one batch of draws.
#[derive(clap::Args)]
pub struct Args {
    /// The file of cells to train on, or several of one screen; ddim draws without data
    #[arg(long, value_name = "FILE", value_parser = data_file, required_unless_present = "model",
        required_if_eq_any([("model", "vae"), ("model", "jepa-small"), ("model", "jepa-medium")]))]
    data: Vec<PathBuf>,
    /// What is measured
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Model::Vae)]
    model: Model,
    /// Cells in one optimizer step, or drawn at once
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch: usize,
    /// Cells to train on or to draw after the warm-up, rounded to whole steps (at least three)
    #[arg(long, value_name = "N", default_value_t = 8000)]
    cells: usize,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    columns: DataArgs,
}

/// What is measured.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Vae,
    JepaSmall,
    JepaMedium,
    Ddim,
}

/// How much is measured, and where.
#[derive(Debug, Clone, Copy)]
struct Load {
    batch: usize,
    /// Steps after the warm-up.
    steps: usize,
    device: Device,
}

/// The steps of a training before the time is taken.
const WARM_UP_STEPS: usize = 5;

pub fn run(args: &Args) -> Result<()> {
    if args.batch == 0 {
        return Err(Error::config("--batch must be at least 1"));
    }
    args.device.check()?;
    let load = Load { batch: args.batch, steps: (args.cells / args.batch).max(3), device: args.device };
    let training_cells = || Ok(in_order(cells(args)?, (WARM_UP_STEPS + load.steps) * load.batch));
    let jepa = |size| training_cells().and_then(|(data, split)| jobs::jepa(&data, &split, size, load));
    let measured = match args.model {
        Model::Vae => training_cells().and_then(|(data, split)| jobs::vae(data, &split, load))?,
        Model::JepaSmall => jepa(Size::Small)?,
        Model::JepaMedium => jepa(Size::Medium)?,
        Model::Ddim => {
            let why = "ddim draws without data; leave it out";
            if !args.data.is_empty() {
                return Err(Error::config(format!("--data: {why}")));
            }
            args.columns.refuse_without_data(why)?;
            jobs::ddim(load)?
        }
    };
    report(args, load, &measured)
}

/// The cells to train on.
fn cells(args: &Args) -> Result<Dataset> {
    let files = DataFiles::of(&args.data).expect("only ddim does without");
    match args.columns.open(&files)? {
        Opened::Cells(data) => {
            data.require_counts("bench-train").map_err(|e| e.at(files.display()))?;
            Ok(data)
        }
        Opened::Effects(_) => {
            let file = files.display();
            Err(Error::config(format!("{file}: bench-train needs cells; this is an effects dataset")))
        }
    }
}

/// `rows` training cells in the order of the Python side. Where the file has fewer, all of them are repeated in that order.
fn in_order(data: Dataset, rows: usize) -> (Dataset, Split) {
    let order = numpy_order::permutation(data.n_cells());
    let n = order.len();
    let repeats = rows.div_ceil(n.max(1));
    let data = match repeats {
        1 => data,
        _ => data.select_cells(&(0..repeats).flat_map(|_| 0..n).collect::<Vec<_>>()),
    };
    let mut train: Vec<usize> =
        (0..repeats).flat_map(|repeat| order.iter().map(move |cell| repeat * n + cell)).collect();
    let test = train.split_off(rows.min(train.len()));
    (data, Split { train, validation: Vec::new(), test })
}

fn report(args: &Args, load: Load, measured: &Measured) -> Result<()> {
    let cells_per_s = (load.steps * load.batch) as f64 / measured.seconds;
    let ms_per_step = 1e3 * measured.seconds / load.steps as f64;
    let rounded = |value: f64, places: i32| (value * 10f64.powi(places)).round() / 10f64.powi(places);
    if args.json {
        let model = clap::ValueEnum::to_possible_value(&args.model).expect("no name is hidden");
        return say(json!({
            "model": model.get_name(),
            "device": load.device.to_string(),
            "threads": rayon::current_num_threads(),
            "batch": load.batch,
            "steps": load.steps,
            "cells_per_s": rounded(cells_per_s, 1),
            "ms_per_step": rounded(ms_per_step, 2),
            "loss": measured.loss.map(|loss| rounded(loss, 2)),
        }));
    }
    let loss = measured.loss.map_or_else(String::new, |loss| format!(", last loss {loss:.1}"));
    say(format_args!("{cells_per_s:.0} cells/s, {ms_per_step:.1} ms per step of {} cells{loss}", load.batch))
}
