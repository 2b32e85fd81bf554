//! `genailab embed`: cells as points in the space of a trained model.

use crate::{
    options::{DataArgs, aligned, say},
    output::check_output_file,
    predict::covariates,
    provenance,
    sources::DataFiles,
};
use genailab::{
    Error, ErrorKind, Result,
    data::{GeneChoice, Opened},
    device::Device,
    model::registry::Registry,
};
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
    provenance::reads(&args.model)?;
    let model = covariates::at(Registry::default().load(&args.model, args.device)?, &args.at)?;
    let Some(name) = model.abilities().embeddings else {
        return Err(Error::config(format!(
            "{} holds a model of kind {}, which embeds no cells (or was trained on mean effects); give the folder of a \
             jepa, a vae of cells or a causal-vae",
            args.model.display(),
            model.kind()
        )));
    };
    let choice = GeneChoice::Named(model.genes().to_vec());
    let Opened::Cells(data) = args.columns.open_genes(&args.data, &choice, true, |_| Ok(Vec::new()))? else {
        return Err(Error::config(format!("{} is an effects dataset; give one of cells", args.data.display())));
    };
    let located = |e: Error| if e.kind() == ErrorKind::Data { e.at(args.data.display()) } else { e };
    let known = aligned(&data, model.genes()).map_err(located)?;
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    let z = model.embed(&known, &rows).map_err(located)?;
    data.write_with(&args.out, &[(name, &z)], Some(provenance::entry()?))?;
    say(format_args!("{} cells in {} dimensions, obsm[{name:?}]: {}", z.nrows(), z.ncols(), args.out.display()))
}
