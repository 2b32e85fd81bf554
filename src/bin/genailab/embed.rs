//! `genailab embed`: cells as points in the space of a trained model.

use crate::options::{DataArgs, check_output_file, say};
use genailab::{
    Error, ErrorKind, Result,
    data::{Dataset, Opened},
    device::Device,
    model::{CountVae, TrainedOn, jepa::CellJepa, saved_kind},
};
use std::path::PathBuf;

/// Write the embedding of every cell by a trained model
///
/// Writes an .h5ad that scanpy opens: the cells of --data with their counts and columns, and the embedding in
/// obsm["X_jepa"] (a cell-jepa) or obsm["X_vae"] (a vae; each cell is read as a control cell, so that what its
/// perturbation did stays in the embedding). Genes are matched by name; --data must have all of the model's.
#[derive(clap::Args)]
pub struct Args {
    /// Folder that `genailab train` wrote: of a cell-jepa or a vae of cells
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The .h5ad file with the cells
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The .h5ad to write
    #[arg(long, value_name = "FILE.h5ad")]
    out: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal
    #[arg(long, default_value = "auto")]
    device: Device,
    #[command(flatten)]
    columns: DataArgs,
}

/// A model that embeds cells.
enum Encoder {
    Jepa(Box<CellJepa>),
    Vae(Box<CountVae>),
}

impl Encoder {
    fn load(args: &Args) -> Result<Self> {
        let effects = || {
            Error::config(format!(
                "{} holds a model of mean effects, which embeds no cells; give the folder of a cell-jepa or of a vae of \
                 cells",
                args.model.display()
            ))
        };
        match saved_kind(&args.model)?.as_str() {
            "cell-jepa" => Ok(Self::Jepa(Box::new(CellJepa::load(&args.model, args.device)?))),
            "jepa" => Err(effects()),
            // Whatever else it is, the count VAE's reader says so.
            _ => match CountVae::load(&args.model, args.device)? {
                vae if vae.trained_on() == TrainedOn::Cells => Ok(Self::Vae(Box::new(vae))),
                _ => Err(effects()),
            },
        }
    }

    fn genes(&self) -> &[String] {
        match self {
            Self::Jepa(model) => model.genes(),
            Self::Vae(model) => &model.vocabulary().genes,
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.device.check()?;
    check_output_file(&args.out)?;
    let encoder = Encoder::load(args)?;
    let Opened::Cells(data) = args.columns.open(&args.data)? else {
        return Err(Error::config(format!("{} is an effects dataset; give one of cells", args.data.display())));
    };
    let located = |e: Error| if e.kind() == ErrorKind::Data { e.at(args.data.display()) } else { e };
    let known = aligned(&data, encoder.genes()).map_err(located)?;
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    let (name, z) = match &encoder {
        Encoder::Jepa(model) => ("X_jepa", model.embed(&known)),
        Encoder::Vae(model) => ("X_vae", model.embed_as_control(&known, &rows)),
    };
    let z = z.map_err(located)?;
    data.write_with(&args.out, &[(name, &z)])?;
    say(format_args!("{} cells in {} dimensions, obsm[{name:?}]: {}", z.nrows(), z.ncols(), args.out.display()))
}

/// The genes of the model, in its order.
fn aligned(data: &Dataset, genes: &[String]) -> Result<Dataset> {
    if data.genes.names == genes {
        return Ok(data.clone());
    }
    let known: std::collections::HashMap<&str, usize> = data.genes.names.iter().map(String::as_str).zip(0..).collect();
    let places: Vec<usize> = genes.iter().filter_map(|gene| known.get(gene.as_str()).copied()).collect();
    match genes.iter().find(|gene| !known.contains_key(gene.as_str())) {
        None => data.select_genes(&places),
        Some(first) => Err(Error::data(format!(
            "it lacks {} of the model's {} genes, {first} among them; the model cannot read its cells",
            genes.len() - places.len(),
            genes.len()
        ))),
    }
}
