//! The space in which sets of cells are compared: principal components of the training cells.

use crate::{Error, Result, data::Counts, eval::sets::subsample, math::Pca};
use ndarray::{Array1, Array2, ArrayView2};
use std::sync::OnceLock;

/// Components, or as many as the training cells allow; scPerturb and scanpy take 50.
const COMPONENTS: usize = 50;
/// Training cells that the components are found on; more are thinned at random. 2,000 genes in f32 are then 40 MB.
const MOST_CELLS: usize = 5000;

/// Principal components of the training cells, found when first asked for. No test cell has a part in them: a space that
/// knew the held-out cells would favour whatever they differ in.
#[derive(Debug)]
pub struct PcaSpace {
    rows: Vec<usize>,
    basis: OnceLock<Result<Basis, String>>,
}

#[derive(Debug)]
struct Basis {
    pca: Pca,
    /// The components, `(genes, components)`: a sparse cell touches a few rows of it.
    directions: Array2<f64>,
    /// Scores of a cell without any expression, `(components,)`.
    origin: Array1<f64>,
}

impl PcaSpace {
    /// Of these rows of the expression matrix, which must be training cells.
    pub fn of_training(rows: &[usize]) -> Self {
        Self { rows: subsample(rows, MOST_CELLS, 0), basis: OnceLock::new() }
    }

    /// The fitted components. `expression` is the matrix that the rows are of, `(cells, genes)`.
    ///
    /// # Errors
    /// Fewer than two training cells, or values that are not finite.
    pub fn pca(&self, expression: &Counts) -> Result<&Pca> {
        self.basis(expression).map(|basis| &basis.pca)
    }

    /// Scores of some rows of the expression matrix, `(rows, components)`.
    ///
    /// # Errors
    /// As [`PcaSpace::pca`].
    pub fn of_rows(&self, expression: &Counts, rows: &[usize]) -> Result<Array2<f32>> {
        let basis = self.basis(expression)?;
        let mut scores = Array2::zeros((rows.len(), basis.origin.len()));
        for (mut out, &row) in scores.rows_mut().into_iter().zip(rows) {
            let (genes, values) = expression.row(row);
            let mut sum = basis.origin.clone();
            for (&gene, &value) in genes.iter().zip(values) {
                sum.scaled_add(f64::from(value), &basis.directions.row(gene as usize));
            }
            out.assign(&sum.mapv(|score| score as f32));
        }
        Ok(scores)
    }

    /// Scores of cells `(cells, genes)`, `(cells, components)`.
    ///
    /// # Errors
    /// As [`PcaSpace::pca`]; other genes.
    pub fn of_cells(&self, expression: &Counts, cells: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        self.basis(expression)?.pca.transform(cells)
    }

    fn basis(&self, expression: &Counts) -> Result<&Basis> {
        // Not inside the lock: a thread that waits for others there might be given work that wants the lock.
        if self.basis.get().is_none() {
            let _ = self.basis.set(Basis::fit(expression, &self.rows).map_err(|error| error.to_string()));
        }
        let fitted = self.basis.get().expect("set above, here or by another thread");
        fitted.as_ref().map_err(|reason| Error::data(reason.clone()))
    }
}

impl Basis {
    fn fit(expression: &Counts, rows: &[usize]) -> Result<Self> {
        if rows.len() < 2 {
            return Err(Error::data("fewer than two training cells, so no principal components"));
        }
        let cells = expression.select_cells(rows).to_dense();
        let components = COMPONENTS.min(cells.ncols()).min(cells.nrows() - 1);
        let pca = Pca::fit(cells.view(), components, 0)?;
        let directions = pca.components.t().as_standard_layout().into_owned();
        let origin = -pca.mean.dot(&directions);
        Ok(Self { pca, directions, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Axis;
    use rayon::prelude::*;

    fn cells() -> Counts {
        Counts::from_dense(&Array2::from_shape_fn((60, 9), |(cell, gene)| ((cell * 7 + gene * gene * 3) % 5) as f32))
    }

    #[test]
    fn sparse_and_dense_cells_get_the_same_scores() {
        let expression = cells();
        let space = PcaSpace::of_training(&(0..40).collect::<Vec<_>>());
        let rows: Vec<usize> = (35..60).collect();
        let sparse = space.of_rows(&expression, &rows).expect("a space");
        let dense = space.of_cells(&expression, expression.to_dense().select(Axis(0), &rows).view()).expect("a space");
        assert_eq!(sparse.dim(), (25, 9));
        assert!((&sparse - &dense).iter().all(|difference| difference.abs() < 1e-5));
    }

    #[test]
    fn test_cells_have_no_part_in_it() {
        let rows: Vec<usize> = (0..40).collect();
        let mut other = cells().to_dense();
        other.slice_mut(ndarray::s![40.., ..]).fill(100.0);
        let (space, changed) = (PcaSpace::of_training(&rows), PcaSpace::of_training(&rows));
        let expected = &space.pca(&cells()).expect("a space").components;
        assert_eq!(expected, changed.pca(&Counts::from_dense(&other)).expect("a space").components);
    }

    #[test]
    fn workers_that_all_ask_at_once_do_not_wait_for_each_other() {
        let expression = cells();
        for _ in 0..20 {
            let space = PcaSpace::of_training(&(0..60).collect::<Vec<_>>());
            let all: Vec<usize> =
                (0..64).into_par_iter().map(|_| space.pca(&expression).expect("a space").mean.len()).collect();
            assert!(all.iter().all(|&genes| genes == 9));
        }
    }

    #[test]
    fn one_cell_is_no_space() {
        let error = PcaSpace::of_training(&[3]).pca(&cells()).expect_err("one cell").to_string();
        assert!(error.contains("fewer than two training cells"), "{error}");
    }
}
