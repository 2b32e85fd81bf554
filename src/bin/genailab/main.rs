//! The command line. Exit codes: 0 done, 1 a mistake that the message explains, 2 wrong usage.

mod ablate;
mod adapt;
mod bench;
mod bench_train;
mod calibrate;
mod contexts;
mod convert;
mod cuda;
mod datasets;
mod de;
mod distances;
mod doctor;
mod dose_response;
mod embed;
mod enrich;
mod features;
mod fetch;
mod inspect;
mod options;
mod output;
mod plan;
mod plausibility;
mod predict;
mod provenance;
mod pseudotime;
mod reading;
mod run;
mod scores;
mod screen;
mod simulate;
mod sources;
mod split;
mod synthetic;
mod train;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Predict what a genetic perturbation does to a cell, and measure honestly how well.
#[derive(Parser)]
#[command(name = "genailab", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Inspect(inspect::Args),
    Convert(convert::Args),
    Train(train::Args),
    Adapt(adapt::Args),
    Predict(predict::Args),
    Embed(embed::Args),
    Bench(bench::Args),
    Ablate(ablate::Args),
    Enrich(enrich::Args),
    BenchTrain(bench_train::Args),
    Calibrate(calibrate::Args),
    De(de::Args),
    Distances(distances::Args),
    DoseResponse(dose_response::Args),
    Plan(plan::Args),
    Plausibility(plausibility::Args),
    Pseudotime(pseudotime::Args),
    Screen(screen::Args),
    Split(split::Args),
    Synthetic(synthetic::Args),
    Simulate(simulate::Args),
    Fetch(fetch::Args),
    Datasets(datasets::Args),
    Doctor(doctor::Args),
}

impl Command {
    /// Where it computes, of the commands that can be told.
    fn device(&self) -> Option<genailab::device::Device> {
        match self {
            Self::Run(args) => Some(args.device),
            Self::Train(args) => Some(args.device),
            Self::Predict(args) => Some(args.device),
            Self::Embed(args) => Some(args.device),
            Self::Bench(args) => Some(args.device),
            Self::BenchTrain(args) => Some(args.device),
            Self::DoseResponse(args) => Some(args.device),
            Self::Plausibility(args) => Some(args.device),
            Self::Pseudotime(args) => args.device(),
            _ => None,
        }
    }

    fn run(&self) -> genailab::Result<()> {
        cuda::hand_over(self.device())?;
        match self {
            Self::Run(args) => run::run(args),
            Self::Inspect(args) => inspect::run(args),
            Self::Convert(args) => convert::run(args),
            Self::Train(args) => train::run(args),
            Self::Adapt(args) => adapt::run(args),
            Self::Predict(args) => predict::run(args),
            Self::Embed(args) => embed::run(args),
            Self::Ablate(args) => ablate::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Enrich(args) => enrich::run(args),
            Self::BenchTrain(args) => bench_train::run(args),
            Self::Calibrate(args) => calibrate::run(args),
            Self::De(args) => de::run(args),
            Self::Distances(args) => distances::run(args),
            Self::DoseResponse(args) => dose_response::run(args),
            Self::Plan(args) => plan::run(args),
            Self::Plausibility(args) => plausibility::run(args),
            Self::Pseudotime(args) => pseudotime::run(args),
            Self::Screen(args) => screen::run(args),
            Self::Split(args) => split::run(args),
            Self::Synthetic(args) => synthetic::run(args),
            Self::Simulate(args) => simulate::run(args),
            Self::Fetch(args) => fetch::run(args),
            Self::Datasets(args) => datasets::run(args),
            Self::Doctor(args) => doctor::run(args),
        }
    }
}

/// Writes to stdout; a reader that has seen enough (`| head`) is no mistake.
fn print(text: &str) -> genailab::Result<()> {
    match std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(genailab::Error::io("write to", "stdout", error))
        }
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    // Mesa's layer that sorts GPUs complains on stderr where there is no display; they are sorted here anyway.
    #[cfg(feature = "metal")]
    // SAFETY: there is no other thread yet.
    unsafe {
        std::env::set_var("NODEVICE_SELECT", "1");
    }
    genailab::guard::end_cleanly();
    options::listen_for_interrupts();
    match Cli::parse().command.run().and_then(|()| provenance::write()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            options::warn(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
