//! The held-out cells as sets, and the space in which sets of cells are compared; both computed once per task and shared by
//! all models.

use super::{MOST_CELLS, ObservedCells, ObservedEffects};
use crate::{
    Error, Result,
    data::Counts,
    eval::sets::{EDistance, GeneMoments, edistance, knn_retrieval, median_gamma, subsample, subsample_cells},
    math::Pca,
};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Components, or as many as the training cells allow; scPerturb and scanpy take 50.
const COMPONENTS: usize = 50;
/// Training cells that the components are found on; more are thinned at random. 2,000 genes in f32 are then 40 MB.
const SPACE_CELLS: usize = 5000;
/// Neighbours of a predicted cell, as ReconEval's kNN purity has it.
const NEIGHBOURS: usize = 20;
/// Most cells per condition in the pool of neighbours.
const POOL_CELLS: usize = 100;
/// Most predicted cells whose neighbours are looked up.
const QUERIES: usize = 200;
/// What is drawn here is the same for every model and seed of a split.
const SEED: u64 = 0;

/// Everything that metrics of sets take from the observed side.
#[derive(Debug)]
pub(super) struct CellTruth {
    /// The held-out cells of each condition, or the reason why they make no set.
    pub(super) sets: Vec<Result<ObservedSet, String>>,
    pools: Vec<Pool>,
}

/// The held-out cells of one condition.
#[derive(Debug)]
pub(super) struct ObservedSet {
    /// Scores, `(cells, components)`.
    pub(super) scores: Array2<f32>,
    /// Width of the RBF kernels: the median heuristic of these cells, so that no prediction chooses its own.
    pub(super) gamma: Option<f64>,
    /// Moments of each gene in log-normalised expression.
    pub(super) moments: GeneMoments,
    /// Squared E-distance to control.
    pub(super) to_control: Option<f64>,
}

/// The observed cells of one context, the same number of each condition, that neighbours are looked for in.
#[derive(Debug)]
struct Pool {
    context: Option<String>,
    /// Scores, `(cells, components)`.
    cells: Array2<f32>,
    /// The condition of each cell; control is one more.
    labels: Vec<u32>,
    /// Number of conditions in the pool, control among them.
    groups: usize,
}

impl ObservedEffects {
    /// The held-out cells as sets; `Err` with the reason where there are none.
    pub(super) fn cell_truth(&self) -> Result<&CellTruth, &str> {
        // Not inside the lock: a thread that waits for others there might be given work that wants the lock.
        if self.memo.cells.get().is_none() {
            let _ = self.memo.cells.set(CellTruth::new(self));
        }
        self.memo.cells.get().expect("set above, here or by another thread").as_ref().map_err(String::as_str)
    }
}

impl CellTruth {
    fn new(observed: &ObservedEffects) -> Result<Self, String> {
        let cells = observed.cells.as_ref().ok_or("the dataset holds effects, so there are no cells to compare")?;
        // Fitted once before the threads start, so that they do not all fit it.
        cells.space.pca(&cells.expression).map_err(|error| error.to_string())?;
        let n = observed.conditions.len();
        let sets = (0..n).into_par_iter().map(|index| ObservedSet::new(cells, index)).collect();
        let mut contexts: Vec<Option<String>> = observed.conditions.iter().map(|c| c.context.clone()).collect();
        contexts.sort();
        contexts.dedup();
        let pools =
            contexts.into_iter().map(|context| Pool::new(observed, cells, context)).collect::<Result<_, _>>()?;
        Ok(Self { sets, pools })
    }

    /// Share of the neighbours of the predicted cells `(cells, components)` of a condition that are of this condition.
    pub(super) fn retrieval(&self, observed: &ObservedEffects, index: usize, own: &Array2<f32>) -> Result<f64, String> {
        let context = &observed.conditions[index].context;
        let pool = self.pools.iter().find(|pool| pool.context == *context).expect("every context has a pool");
        if !pool.labels.contains(&(index as u32)) {
            return Err(format!("fewer than {NEIGHBOURS} observed cells"));
        }
        if pool.groups < 2 {
            return Err(
                "neither control nor another condition of the context has enough cells to tell it from".to_owned()
            );
        }
        let queries = subsample_cells(own.view(), QUERIES, SEED);
        knn_retrieval(queries.view(), index as u32, pool.cells.view(), &pool.labels, NEIGHBOURS)
            .ok_or_else(|| "a value is not finite".to_owned())
    }
}

impl ObservedSet {
    fn new(cells: &ObservedCells, index: usize) -> Result<Self, String> {
        let rows = &cells.rows[index];
        if rows.len() < 2 {
            return Err("fewer than two observed cells".to_owned());
        }
        let space = |rows: &[usize]| cells.space.of_rows(&cells.expression, rows).map_err(|error| error.to_string());
        let scores = space(rows)?;
        let control = space(&subsample(&cells.control_rows[index], MOST_CELLS, SEED))?;
        Ok(Self {
            gamma: median_gamma(scores.view()),
            moments: GeneMoments::of_sparse(&cells.expression, rows).ok_or("there are no genes")?,
            to_control: edistance(scores.view(), control.view(), EDistance::Squared),
            scores,
        })
    }
}

impl Pool {
    fn new(observed: &ObservedEffects, cells: &ObservedCells, context: Option<String>) -> Result<Self, String> {
        let conditions: Vec<usize> =
            (0..observed.conditions.len()).filter(|&index| observed.conditions[index].context == context).collect();
        let control = (observed.conditions.len() as u32, &*cells.control_rows[conditions[0]]);
        let mut members: Vec<(u32, &[usize])> =
            conditions.iter().map(|&index| (index as u32, cells.rows[index].as_slice())).chain([control]).collect();
        // A condition with fewer cells than neighbours cannot fill a neighbourhood, and would thin all others.
        members.retain(|(_, rows)| rows.len() >= NEIGHBOURS);
        let each = members.iter().map(|(_, rows)| rows.len()).min().unwrap_or(0).min(POOL_CELLS);
        let mut labels = Vec::new();
        let parts = members
            .iter()
            .map(|(label, rows)| {
                labels.extend(vec![*label; each]);
                cells.space.of_rows(&cells.expression, &subsample(rows, each, SEED)).map_err(|error| error.to_string())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let cells = match views.is_empty() {
            true => Array2::zeros((0, 0)),
            false => concatenate(Axis(0), &views).expect("scores on the same components"),
        };
        Ok(Self { context, cells, labels, groups: members.len() })
    }
}

/// Principal components of the training cells, computed at first use. Test cells are left out: a space that knew the
/// held-out cells would favour the directions in which they differ.
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
        Self { rows: subsample(rows, SPACE_CELLS, 0), basis: OnceLock::new() }
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
