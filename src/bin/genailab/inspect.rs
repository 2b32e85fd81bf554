//! `genailab inspect`: what an `.h5ad` file holds.

use genailab::{Result, data::AnnData};
use std::path::PathBuf;

/// Show what an .h5ad file holds, and what genailab would train on
#[derive(clap::Args)]
pub struct Args {
    /// Any .h5ad file
    file: PathBuf,
    /// Print one line of JSON: shape, number of stored values and sum of X, names of columns, layers and embeddings
    #[arg(long)]
    json: bool,
}

/// The JSON that scripts rely on.
#[derive(serde::Serialize)]
struct Summary<'a> {
    n_obs: usize,
    n_vars: usize,
    nnz: usize,
    sum: f64,
    x: String,
    obs: &'a [String],
    var: &'a [String],
    layers: &'a [String],
    obsm: Vec<&'a str>,
}

pub fn run(args: &Args) -> Result<()> {
    let file = AnnData::open(&args.file)?;
    let x = file.summarize("X")?;
    let summary = Summary {
        n_obs: file.n_obs(),
        n_vars: file.n_vars(),
        nnz: x.nnz,
        sum: x.sum,
        x: file.x_kind().to_string(),
        obs: file.obs_columns(),
        var: file.var_columns(),
        layers: file.layers(),
        obsm: file.obsm().iter().map(|(name, _)| name.as_str()).collect(),
    };
    if args.json {
        println!("{}", serde_json::to_string(&summary).expect("a summary of names and numbers is valid JSON"));
    }
    Ok(())
}
