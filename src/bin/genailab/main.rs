//! The command line. Exit codes: 0 done, 1 a mistake that the message explains, 2 wrong usage.

mod ablate;
mod adapt;
mod bench;
mod bench_train;
mod calibrate;
mod convert;
mod datasets;
mod de;
mod distances;
mod doctor;
mod dose_response;
mod embed;
mod enrich;
mod fetch;
mod inspect;
mod options;
mod output;
mod plan;
mod plausibility;
mod predict;
mod provenance;
mod reading;
mod run;
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
    Screen(screen::Args),
    Split(split::Args),
    Synthetic(synthetic::Args),
    Simulate(simulate::Args),
    Fetch(fetch::Args),
    Datasets(datasets::Args),
    Doctor(doctor::Args),
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
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Adapt(args) => adapt::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Ablate(args) => ablate::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Enrich(args) => enrich::run(&args),
        Command::BenchTrain(args) => bench_train::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::De(args) => de::run(&args),
        Command::Distances(args) => distances::run(&args),
        Command::DoseResponse(args) => dose_response::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Plausibility(args) => plausibility::run(&args),
        Command::Screen(args) => screen::run(&args),
        Command::Split(args) => split::run(&args),
        Command::Synthetic(args) => synthetic::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::Datasets(args) => datasets::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    match result.and_then(|()| provenance::write()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            options::warn(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
