//! `genailab fetch`.

/// (to be written)
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> genailab::Result<()> {
    Err(genailab::Error::config("fetch is not built yet"))
}
