//! `genailab bench-train`.

mod numpy_order;

use crate::{
    options::{DataArgs, say},
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    data::{Opened, Split, TrainingData},
    device::Device,
    model::{CountVae, KlAnnealing, LibrarySize, Model, VaeConfig, VaeSettings},
    nn::Norm,
    train::{Callback, EpochRecord, Flow, Run, StepRecord, TrainConfig},
};
use serde_json::json;
use std::{cell::Cell, time::Instant};

/// Measure the training speed of the count VAE
///
/// The model is the one that benches/torch_vae.py trains in PyTorch: genes-512-256-64 and back, a 64-wide embedding of
/// the perturbation, SiLU, NB with one theta per gene, Adam at 1e-3. Gathering batches is included in the time, as it is
/// there. Five steps warm up.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// Cells in one optimizer step
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch: usize,
    /// Cells to train on after the warm-up, rounded to whole steps (at least three)
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

const WARM_UP_STEPS: usize = 5;

/// Notes when the warm-up and when the last step ended, and the last loss.
#[derive(Default)]
struct Stopwatch {
    warm: Cell<Option<Instant>>,
    last: Cell<Option<(Instant, f64)>>,
}

struct Watch<'a>(&'a Stopwatch);

impl Callback for Watch<'_> {
    fn on_step(&mut self, step: &StepRecord) -> Result<()> {
        if step.steps == WARM_UP_STEPS {
            self.0.warm.set(Some(Instant::now()));
        }
        self.0.last.set(Some((Instant::now(), step.loss)));
        Ok(())
    }

    fn on_epoch_end(&mut self, _: &EpochRecord) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}

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
    let steps = (args.cells / args.batch).max(3);
    let rows = (WARM_UP_STEPS + steps) * args.batch;
    let order = numpy_order::permutation(data.n_cells());
    // Where the file has fewer cells than are trained on, all of them are repeated in the same order.
    let n = order.len();
    let repeats = rows.div_ceil(n.max(1));
    let data = match repeats {
        1 => data,
        _ => data.select_cells(&(0..repeats).flat_map(|_| 0..n).collect::<Vec<_>>()),
    };
    let mut train: Vec<usize> =
        (0..repeats).flat_map(|repeat| order.iter().map(move |cell| repeat * n + cell)).collect();
    let test = train.split_off(rows.min(train.len()));
    let training = TrainingData::of_dataset(data, &Split { train, validation: Vec::new(), test }, 0)?;
    let model = VaeConfig {
        library_size: LibrarySize::Kept,
        with_lane: false,
        with_library: false,
        norm: Norm::None,
        dropout: 0.0,
        kl_annealing: KlAnnealing::Constant,
        init_output_bias: false,
        ..VaeConfig::default()
    };
    let train = TrainConfig { epochs: 1, batch_size: args.batch, shuffle: false, ..TrainConfig::default() };
    let settings = VaeSettings { model, train, ..VaeSettings::default() };
    let stopwatch = Stopwatch::default();
    let mut run = Run { device: args.device, callbacks: vec![Box::new(Watch(&stopwatch))], ..Run::quiet(0) };
    CountVae::fit(&training, &settings, &mut run)?;
    drop(run);

    let (Some(warm), Some((end, loss))) = (stopwatch.warm.get(), stopwatch.last.get()) else {
        return Err(Error::data("no step was made; the file has too few cells"));
    };
    let seconds = (end - warm).as_secs_f64();
    let cells_per_s = (steps * args.batch) as f64 / seconds;
    let ms_per_step = 1e3 * seconds / steps as f64;
    if args.json {
        let figures = json!({
            "model": "vae",
            "device": args.device.to_string(),
            "threads": rayon::current_num_threads(),
            "batch": args.batch,
            "steps": steps,
            "cells_per_s": (cells_per_s * 10.0).round() / 10.0,
            "ms_per_step": (ms_per_step * 100.0).round() / 100.0,
            "loss": (loss * 100.0).round() / 100.0,
        });
        say(figures)
    } else {
        say(format_args!(
            "{cells_per_s:.0} cells/s, {ms_per_step:.1} ms per step of {} cells, last loss {loss:.1}",
            args.batch
        ))
    }
}
