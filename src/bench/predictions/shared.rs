//! The genes that all prediction files share with the data: models are compared on the same genes, or not at all.

use super::{BenchmarkData, PredictionFile};
use crate::Result;
use std::borrow::Cow;

/// Fewer shared genes make a comparison of a correlation or a distance meaningless; data of fewer genes needs all of them.
const FEWEST: usize = 50;

/// The fewest genes that a file must share with data of `n` genes.
pub(super) fn fewest_genes(n: usize) -> usize {
    FEWEST.min(n)
}

/// The data and the prediction files, all with the same genes.
pub(in crate::bench) struct OnSharedGenes<'a> {
    pub(in crate::bench) data: Cow<'a, BenchmarkData>,
    pub(in crate::bench) files: Vec<PredictionFile>,
    pub(in crate::bench) notes: Vec<String>,
}

impl<'a> OnSharedGenes<'a> {
    /// Leaves the genes that the data and all files have. Files with many shared genes come first; one that would leave too few is
    /// refused, so that it costs the others nothing.
    ///
    /// # Errors
    /// None that a user can cause.
    pub(in crate::bench) fn new(data: &'a BenchmarkData, files: &[PredictionFile]) -> Result<Self> {
        let n = data.genes().len();
        let mut kept: Vec<usize> = (0..n).collect();
        let mut files = files.to_vec();
        let mut order: Vec<usize> = (0..files.len()).filter(|&place| files[place].refusal().is_none()).collect();
        order.sort_by_key(|&place| std::cmp::Reverse(files[place].genes().len()));
        for place in order {
            let left: Vec<usize> =
                kept.iter().copied().filter(|gene| files[place].genes().binary_search(gene).is_ok()).collect();
            if left.len() < fewest_genes(n) {
                files[place].refuse(&format!(
                    "it shares {} genes with the data and the other files of predictions, and at least {} are needed; score it alone",
                    left.len(),
                    fewest_genes(n)
                ));
            } else {
                kept = left;
            }
        }
        if kept.len() == n {
            return Ok(Self { data: Cow::Borrowed(data), files, notes: Vec::new() });
        }
        let limits: Vec<String> = files
            .iter()
            .filter(|file| file.refusal().is_none() && file.genes().len() < n)
            .map(|file| format!("{} has {}", crate::predict::Predictor::name(file), file.genes().len()))
            .collect();
        let note = format!(
            "all models are fitted and compared on the same {} of the data's {n} genes: those that every file of predictions has \
             ({})",
            kept.len(),
            limits.join(", ")
        );
        let data = Cow::Owned(data.select_genes(&kept)?);
        let files = files.iter().map(|file| file.on_genes(&kept)).collect::<Result<_>>()?;
        Ok(Self { data, files, notes: vec![note] })
    }
}
