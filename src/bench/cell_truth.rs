//! The held-out cells as metrics of sets want them, worked out once a task and not once a model.

use super::{Observed, ObservedCells, predict::MOST_CELLS};
use crate::eval::sets::{EDistance, GeneMoments, edistance, knn_retrieval, median_gamma, subsample};
use ndarray::{Array2, Axis, concatenate};
use rayon::prelude::*;

/// Neighbours of a predicted cell, as ReconEval's kNN purity has it.
const NEIGHBOURS: usize = 20;
/// Most cells a condition gives to the pool of neighbours.
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

impl Observed {
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
    fn new(observed: &Observed) -> Result<Self, String> {
        let cells = observed.cells.as_ref().ok_or("the dataset holds effects, so there are no cells to compare")?;
        // Asked for once before the threads start, so that they do not all fit it.
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
    pub(super) fn retrieval(&self, observed: &Observed, index: usize, own: &Array2<f32>) -> Result<f64, String> {
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
        let queries = own.select(Axis(0), &subsample(&(0..own.nrows()).collect::<Vec<_>>(), QUERIES, SEED));
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
    fn new(observed: &Observed, cells: &ObservedCells, context: Option<String>) -> Result<Self, String> {
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
