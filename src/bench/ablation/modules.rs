//! Modules of genes from files, by which masks hide genes that belong together.

use crate::{
    Result,
    data::GeneSets,
    model::jepa::{MaskKind, Regulons},
};
use std::path::PathBuf;

/// Fewest and most measured genes of a gene set that masks are made of: fewer are hardly a module, and more do not fit into a target
/// of a few hundred genes.
const SET_SIZES: (usize, usize) = (5, 200);
/// Fewest measured targets of a transcription factor.
const FEWEST_TARGETS: usize = 5;

/// The variants of each file, of gene sets and of regulons: on the tokens of the unchanged model, and with a token for each gene, where
/// the genes of a module are hidden and no others with them.
pub(super) const MODULE_VARIANTS: [[&str; 2]; 2] = [
    ["masks by gene sets", "gene tokens masked by gene sets"],
    ["masks by regulons", "gene tokens masked by regulons"],
];
/// The options that name these files.
const OPTIONS: [&str; 2] = ["--gene-sets FILE.gmt", "--regulons FILE.tsv"];

/// Files of gene modules, which masks of phase A can be made of in place of random genes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskModules {
    /// Gene sets, a GMT file.
    pub gene_sets: Option<PathBuf>,
    /// Transcription factors and their targets, a TSV file.
    pub regulons: Option<PathBuf>,
}

impl MaskModules {
    /// The masks of the files that are given, in the order of [`MODULE_VARIANTS`].
    pub(super) fn kinds(&self) -> [Option<MaskKind>; 2] {
        let (min_size, max_size) = SET_SIZES;
        let gene_sets = self.gene_sets.clone().map(|file| MaskKind::GeneSets { file, min_size, max_size });
        let regulons = self.regulons.clone().map(|file| MaskKind::Regulons { file, min_size: FEWEST_TARGETS });
        [gene_sets, regulons]
    }

    /// How many modules of each file masks of these genes can be made of, one sentence per file.
    ///
    /// # Errors
    /// A file that cannot be read, or that has no module of these genes.
    pub fn notes(&self, genes: &[String]) -> Result<Vec<String>> {
        let (least, most) = SET_SIZES;
        let mut notes = Vec::new();
        if let Some(file) = &self.gene_sets {
            let sets = GeneSets::open(file)?.measured(genes, least, most).map_err(|e| e.at(file.display()))?;
            notes.push(format!("masks by gene sets: {} sets of {least} to {most} measured genes", sets.columns.len()));
        }
        if let Some(file) = &self.regulons {
            let regulons = Regulons::open(file)?.measured(genes, FEWEST_TARGETS).map_err(|e| e.at(file.display()))?;
            notes.push(format!(
                "masks by regulons: {} transcription factors with {FEWEST_TARGETS} measured targets or more",
                regulons.len()
            ));
        }
        Ok(notes)
    }
}

/// The option that names the file of a variant which needs one.
pub fn option_of_jepa_variant(name: &str) -> Option<&'static str> {
    MODULE_VARIANTS.iter().zip(OPTIONS).find(|(names, _)| names.contains(&name)).map(|(_, option)| option)
}
