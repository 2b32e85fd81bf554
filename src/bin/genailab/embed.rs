//! `genailab embed`: cells as points in the space of a trained model.

use crate::{
    options::{DataArgs, say},
    output::check_output_file,
    provenance,
    scores::{Embedded, embedded},
    sources::DataFiles,
};
use genailab::{Result, device::Device};
use std::path::PathBuf;

/// Write the embedding of every cell by a trained model
///
/// Writes an .h5ad that scanpy opens: the cells of --data with their columns and their counts of the model's genes, and the embedding in
/// obsm["X_jepa"] (a jepa, of any --phase), obsm["X_vae"] (a vae) or obsm["X_causal_vae"] (its three blocks, one after the other);
/// the VAEs read each cell as a control cell, so that what its perturbation did stays in the embedding. Genes are matched by name; --data must have all of the model's.
#[derive(clap::Args)]
pub struct Args {
    /// Folder that `genailab train` wrote: of a jepa, a vae of cells or a causal-vae
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataFiles,
    /// A value of a covariate (`train --covariate`) that all cells are read with, where --data has no such column: donor=P1. May
    /// be given several times (vae)
    #[arg(long, value_name = "COLUMN=VALUE")]
    at: Vec<String>,
    /// The .h5ad to write
    #[arg(long, value_name = "FILE.h5ad")]
    out: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, default_value = "auto")]
    pub device: Device,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    args.device.check()?;
    check_output_file(&args.out)?;
    let given = (args.at.as_slice(), args.device);
    let Embedded { name, data, z } = embedded(&args.model, (&args.data, &args.columns), given, Ok)?;
    data.write_with(&args.out, &[(name, &z)], Some(provenance::entry()?))?;
    say(format_args!("{} cells in {} dimensions, obsm[{name:?}]: {}", z.nrows(), z.ncols(), args.out.display()))
}
