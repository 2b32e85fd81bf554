//! How often each gene has each count: what the choice of variable genes needs of the cells, gathered while they pass by.
//!
//! The variance that `seurat_v3` ranks by clips counts at a limit that follows from the moments of all cells. From these
//! histograms moments and clipped moments are exact, so that one pass over a file is enough.

use super::hvg::{HvgTable, seurat_v3_of};
use crate::Result;
use std::collections::HashMap;

/// Counts from 1 up to this have a place of their own; larger ones are rare.
const SMALL: usize = 32;

/// Histograms of the counts of all genes over some cells; zeros are what is missing.
pub(super) struct CountHistograms {
    n_cells: usize,
    small: Vec<u32>,
    large: Vec<HashMap<u32, u32>>,
}

impl CountHistograms {
    pub(super) fn new(n_genes: usize, n_cells: usize) -> Self {
        Self { n_cells, small: vec![0; n_genes * SMALL], large: vec![HashMap::new(); n_genes] }
    }

    /// Notes a count of a gene in one of the cells.
    pub(super) fn add(&mut self, gene: u32, count: f32) {
        let (gene, count) = (gene as usize, count as u32);
        match count as usize {
            0 => {}
            small @ 1..=SMALL => self.small[gene * SMALL + small - 1] += 1,
            _ => *self.large[gene].entry(count).or_default() += 1,
        }
    }

    /// The `n_top` most variable genes, as [`super::highly_variable`] finds them with all counts in memory.
    ///
    /// # Errors
    /// Fewer than four genes that vary.
    pub(super) fn seurat_v3(&self, n_top: usize) -> Result<HvgTable> {
        let n = self.n_cells as f64;
        let (means, variances) = (0..self.large.len())
            .map(|gene| {
                let mean = self.sum(gene, |count| count) / n;
                let (mut present, mut squares) = (0.0, 0.0);
                self.each(gene, |count, cells| {
                    present += cells;
                    squares += cells * (count - mean).powi(2);
                });
                (mean, ((n - present) * mean * mean + squares) / (n - 1.0))
            })
            .unzip();
        let clipped = |limits: &[f64]| {
            let of = |gene: usize, power: i32| self.sum(gene, |count| count.min(limits[gene]).powi(power));
            (0..limits.len()).map(|gene| (of(gene, 1), of(gene, 2))).unzip()
        };
        seurat_v3_of(n, means, variances, clipped, n_top)
    }

    fn sum(&self, gene: usize, of: impl Fn(f64) -> f64) -> f64 {
        let mut sum = 0.0;
        self.each(gene, |count, cells| sum += cells * of(count));
        sum
    }

    /// Every count of a gene with the number of cells that have it; in a fixed order, so that sums are the same every time.
    fn each(&self, gene: usize, mut each: impl FnMut(f64, f64)) {
        let small = &self.small[gene * SMALL..(gene + 1) * SMALL];
        for (count, &cells) in (1..).zip(small).filter(|(_, cells)| **cells > 0) {
            each(f64::from(count), f64::from(cells));
        }
        let mut large: Vec<(u32, u32)> = self.large[gene].iter().map(|(&count, &cells)| (count, cells)).collect();
        large.sort_unstable();
        large.into_iter().for_each(|(count, cells)| each(f64::from(count), f64::from(cells)));
    }
}
