//! `genailab predict`.

/// (to be written)
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> genailab::Result<()> {
    Err(genailab::Error::config("predict is not built yet"))
}
