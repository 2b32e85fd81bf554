//! `genailab bench-train`.

/// (to be written)
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> genailab::Result<()> {
    Err(genailab::Error::config("bench_train is not built yet"))
}
