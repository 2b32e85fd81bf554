//! Which genes of a file are used: those that are asked for, or those of a model.

use super::refuse_given;
use genailab::{
    Error, Result,
    data::{Dataset, GeneChoice, Opened},
};
use std::collections::HashMap;

/// Which genes of a file of cells are used.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct GenesArg {
    /// Genes of a cells dataset that are used: the N that vary most among the training cells (and the perturbed ones), all, or a
    /// FILE with a gene a line [default: 5000, where the file has more]
    #[arg(long, value_name = "N|all|FILE")]
    genes: Option<String>,
}

impl GenesArg {
    /// What is asked for, the default where nothing is.
    pub fn choice(&self) -> Result<GeneChoice> {
        self.genes.as_deref().map_or_else(|| Ok(GeneChoice::default()), str::parse)
    }

    /// As it was typed.
    pub fn asked(&self) -> Option<&str> {
        self.genes.as_deref()
    }

    /// Refuses the option where it has no effect.
    pub fn refuse(&self, why: &str) -> Result<()> {
        refuse_given([("--genes", self.genes.is_some())].into_iter(), why)
    }

    /// Refuses the option for data that has no cells.
    pub fn check(&self, opened: &Opened) -> Result<()> {
        match (&self.genes, opened) {
            (Some(genes), Opened::Effects(_)) => Err(Error::config(format!(
                "--genes {genes}: an effects dataset has no cells to choose genes by, and all its genes are used; leave the option \
                 out"
            ))),
            _ => Ok(()),
        }
    }
}

/// A dataset with the genes of a model, in its order.
///
/// # Errors
/// Genes that it lacks.
pub fn aligned(data: &Dataset, genes: &[String]) -> Result<Dataset> {
    data.require_counts("the model")?;
    with_genes(data, genes)
}

/// The genes of a model, in its order, of counts or of other values.
pub fn with_genes(data: &Dataset, genes: &[String]) -> Result<Dataset> {
    if data.genes.names == genes {
        return Ok(data.clone());
    }
    let known: HashMap<&str, usize> = data.genes.names.iter().map(String::as_str).zip(0..).collect();
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
