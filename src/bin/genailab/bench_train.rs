//! `genailab bench-train`.

mod jobs;
mod numpy_order;

use crate::{
    options::{DataArgs, say},
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    data::{Dataset, Opened, Split},
    device::Device,
};
use jobs::Measured;
use serde_json::json;

/// Measure the training speed of the count VAE or of a JEPA, or the speed of a diffusion model's draws
///
/// The models are those of benches/torch_vae.py (vae), benches/torch_jepa.py (jepa-small, jepa-medium) and
/// benches/torch_ddim.py (ddim) in PyTorch. vae: genes-512-256-64 and back, a 64-wide embedding of the perturbation, SiLU,
/// NB with one theta per gene, Adam at 1e-3. jepa: the perceptron of that size, trained to predict the embeddings of hidden
/// genes. ddim: draws of vectors of 64 numbers by 50 steps of DDIM, which use nothing of the data. Gathering batches is
/// included in the time, as it is there. Five steps warm up, of ddim one batch of draws.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
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
    let data = match args.columns.open(&args.data)? {
        Opened::Cells(data) => {
            data.require_counts("bench-train").map_err(|e| e.at(args.data.display()))?;
            data
        }
        Opened::Effects(_) => {
            let file = args.data.display();
            return Err(Error::config(format!("{file}: bench-train needs cells; this is an effects dataset")));
        }
    };
    let load = Load { batch: args.batch, steps: (args.cells / args.batch).max(3), device: args.device };
    let measured = match args.model {
        Model::Ddim => jobs::ddim(load)?,
        model => {
            let (data, split) = in_order(data, (WARM_UP_STEPS + load.steps) * load.batch);
            match model {
                Model::JepaSmall => jobs::jepa(&data, &split, genailab::model::jepa::Size::Small, load)?,
                Model::JepaMedium => jobs::jepa(&data, &split, genailab::model::jepa::Size::Medium, load)?,
                Model::Vae | Model::Ddim => jobs::vae(data, &split, load)?,
            }
        }
    };
    report(args, load, &measured)
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
