//! `genailab ablate`: what each part of a model is worth.

use crate::options::{DataArgs, OutputFolder, check_interrupt, interrupt_flag, say};
use genailab::{
    Error, ErrorKind, Result,
    bench::{
        BenchmarkData,
        ablation::{Ablation, Trial, ablate_cells, ablate_effects},
    },
    data::Opened,
    model::{
        combination::CombinationConfig,
        jepa::{CellJepaConfig, Size},
    },
    show::Report,
    train::{TrainConfig, write_atomically},
};
use std::path::PathBuf;

/// Train a model with one part changed at a time, over several seeds
///
/// On an effects dataset: the combination model, judged on doubles that it has not seen. On a cells dataset: the encoder of
/// cells (cell-jepa), judged on held-out cells by how well a linear probe and nearest neighbours tell the perturbation.
///
/// Writes ablation.json and report.html into --out.
#[derive(clap::Args)]
pub struct Args {
    /// The .h5ad file to use: cells or effects
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Number of seeds, from 0
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Passes over the training data [default: 60 for effects, 15 for cells]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "genailab-ablation")]
    out: PathBuf,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    if args.seeds == 0 {
        return Err(Error::config("--seeds is 0; give at least 1"));
    }
    let opened = args.columns.open(&args.data)?;
    let out = OutputFolder::new(&args.out)?;
    let interrupt = interrupt_flag()?;
    let dataset = args.data.display().to_string();
    let mut done = Ablation { dataset, trials: Vec::new() };
    let mut told = |trial: Trial| {
        let figures: Vec<String> = trial.figures.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        let outcome = trial.failure.clone().unwrap_or_else(|| figures.join(", "));
        say(format_args!("seed {}, {}: {outcome}", trial.seed, trial.variant))?;
        done.trials.push(trial);
        let text = serde_json::to_string_pretty(&done).expect("names and numbers always serialise");
        write_atomically(&out.join("ablation.json"), text.as_bytes())?;
        check_interrupt(&interrupt, format_args!("the trials so far are in {}", out.join("ablation.json").display()))
    };
    match opened {
        Opened::Effects(data) => {
            let mut config = CombinationConfig::default();
            config.training.epochs = args.epochs.unwrap_or(config.training.epochs);
            config.training.validate()?;
            ablate_effects(&BenchmarkData::new(Opened::Effects(data), None)?, &config, args.seeds, &mut told)
        }
        Opened::Cells(data) => {
            let config = CellJepaConfig { width: 64, ..CellJepaConfig::mlp(Size::Small) };
            let training = TrainConfig { epochs: args.epochs.unwrap_or(15), ..TrainConfig::default() };
            training.validate()?;
            ablate_cells(&data, &config, &training, args.seeds, Some(&interrupt), &mut told)
        }
    }
    .map_err(|e| if e.kind() == ErrorKind::Data { e.at(args.data.display()) } else { e })?;
    let table = done.table()?;
    say(&table)?;
    let report =
        Report::new("What each part of the JEPA is good for").section("One thing changed at a time").table(table);
    report.save(out.join("report.html"))?;
    say(format_args!("report: {}", out.join("report.html").display()))
}
