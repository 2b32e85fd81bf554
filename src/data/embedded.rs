//! An embedding that a file holds, with the perturbation of each of its cells.

use super::{AnnData, Counts, Dataset, Expression, OpenOptions, Table, open::Front};
use crate::{Error, Result};
use ndarray::{Array2, Axis};

impl Dataset {
    /// The cells of a file that have a label, without their counts and genes, and the embedding `name` (`obsm`) of these cells,
    /// `(cells, dimensions)`.
    ///
    /// # Errors
    /// As [`Dataset::open_with`], but for the counts, which are not read; no such embedding.
    pub fn with_embedding(file: &AnnData, options: &OpenOptions, name: &str) -> Result<(Self, Array2<f32>)> {
        let scores = file.read_obsm(name)?;
        if scores.nrows() != file.n_obs() {
            return Err(Error::data(format!(
                "{}: obsm/{name} has {} rows, but there are {} cells",
                file.path().display(),
                scores.nrows(),
                file.n_obs()
            )));
        }
        let none = Counts::new(0, vec![0; file.n_obs() + 1], Vec::new(), Vec::new())?;
        let unknown = vec![f32::NAN; file.n_obs()];
        let (cells, rows) = Front::of(file, options)?.dataset((none, Expression::Counts), Table::default(), unknown)?;
        Ok((cells, scores.select(Axis(0), &rows)))
    }
}
