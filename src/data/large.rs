//! A file whose counts do not fit into memory: they are streamed, or read some genes at a time.
//!
//! Norman 2019 at full size has half a billion counts that are not zero (111,445 cells x 33,694 genes), 4.4 GB as they are read. What
//! needs all genes, but not together (a test gene by gene, the mean of each perturbation), reads them from here.

use super::{
    AnnData, Dataset, GeneChoice, OpenOptions, Table,
    narrow::{Scanned, without_counts},
};
use crate::Result;
use std::ops::{ControlFlow, Range};

/// A file of more stored values is large.
const LARGE: usize = 150_000_000;
/// About as many values are read at a time: 1 GB of counts.
const AT_ONCE: usize = 128_000_000;

/// A large file of cells, of which everything but the counts is in memory.
pub struct LargeFile {
    file: AnnData,
    scanned: Scanned,
    cells: Dataset,
    /// The dataset's cell of each row of the file; `None` for rows without a label.
    cell_of: Vec<Option<u32>>,
    at_once: usize,
}

impl LargeFile {
    /// Whether the file is large.
    ///
    /// # Errors
    /// A damaged file.
    pub fn is_one(file: &AnnData) -> Result<bool> {
        Ok(file.has_matrix("X") && file.n_stored("X")?.is_some_and(|stored| stored > LARGE))
    }

    /// Lets the counts pass by once. `None` where there are none that can be read so (real values, fractions that are to be rounded):
    /// [`Dataset::from_anndata`] reads those, or says what is wrong.
    ///
    /// # Errors
    /// As [`Dataset::open_with`].
    pub fn open(file: AnnData, options: &OpenOptions) -> Result<Option<Self>> {
        let all = 0..file.n_obs();
        let Some((scanned, cells, rows)) = without_counts(&file, options, &GeneChoice::Named(Vec::new()), &[all])?
        else {
            return Ok(None);
        };
        let mut cell_of = vec![None; file.n_obs()];
        rows.iter().zip(0..).for_each(|(&row, cell)| cell_of[row] = Some(cell));
        let parts = file.n_stored(&scanned.matrix)?.map_or(1, |stored| stored.div_ceil(AT_ONCE).max(1));
        let at_once = scanned.genes.len().div_ceil(parts).max(1);
        Ok(Some(Self { file, scanned, cells, cell_of, at_once }))
    }

    /// Everything but the counts and the genes.
    pub fn cells(&self) -> &Dataset {
        &self.cells
    }

    /// All genes.
    pub fn genes(&self) -> &Table {
        &self.scanned.genes
    }

    /// All genes, as many together as are to be read at a time.
    pub fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let n = self.genes().len();
        (0..n).step_by(self.at_once).map(move |start| start..(start + self.at_once).min(n))
    }

    /// The dataset with some of the genes.
    ///
    /// # Errors
    /// A damaged file.
    pub fn read(&self, genes: Range<usize>) -> Result<Dataset> {
        let kept: Vec<usize> = genes.collect();
        let columns: Vec<usize> = kept.iter().map(|&gene| self.scanned.columns[gene]).collect();
        let mut counts = self.file.read_columns(&self.scanned.matrix, &columns)?;
        if self.cells.n_cells() < counts.n_cells() {
            counts.retain_cells(&self.cell_of.iter().map(Option::is_some).collect::<Vec<_>>());
        }
        Ok(Dataset { counts, genes: self.genes().select(&kept), ..self.cells.clone() })
    }

    /// Hands every count to `each`, with its cell and gene: the cells one after the other, or the genes where the file stores them
    /// so.
    ///
    /// # Errors
    /// A damaged file.
    pub fn for_each_count(&self, mut each: impl FnMut(usize, usize, f32)) -> Result<()> {
        let most = self.scanned.columns.last().map_or(0, |&column| column + 1);
        let mut gene_of = vec![None; most];
        self.scanned.columns.iter().zip(0..).for_each(|(&column, gene)| gene_of[column] = Some(gene));
        let all = 0..self.file.n_obs();
        self.file.for_each_entry(&self.scanned.matrix, &[all], |row, column, value| {
            if let (Some(cell), Some(Some(gene))) = (self.cell_of[row], gene_of.get(column as usize)) {
                each(cell as usize, *gene, value);
            }
            ControlFlow::Continue(())
        })
    }
}
