//! Whose observed cells surround a predicted one?

use super::pairs::{Cloud, squared_distances};
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

/// Predicted cells whose distances to the whole pool are held at once by a thread.
const BLOCK: usize = 64;

/// Share of the `k` nearest observed cells of each predicted cell that belong to `own`, the predicted condition, averaged
/// over the predicted cells.
///
/// `pool` `(observed cells, d)` are observed cells of several conditions, `labels` the condition of each; let each
/// condition have the same number of cells, then a prediction that says nothing gets `1 / conditions`. Equal distances
/// go by the order of the pool. This is ReconEval's kNN purity (its pool: the true cells and control, k = 20) with every
/// other condition in the pool, so that a prediction must be specific and not only unlike control. Not symmetric.
///
/// `None` where a set is empty, the columns differ, a label is missing, a value is not finite, or `k` is 0 or larger
/// than the pool.
pub fn knn_retrieval(
    predicted: ArrayView2<'_, f32>,
    own: u32,
    pool: ArrayView2<'_, f32>,
    labels: &[u32],
    k: usize,
) -> Option<f64> {
    if k == 0 || k > pool.nrows() || labels.len() != pool.nrows() {
        return None;
    }
    let (predicted, pool) = Cloud::pair(predicted, pool)?;
    let found: usize = predicted
        .cells
        .axis_chunks_iter(Axis(0), BLOCK)
        .into_par_iter()
        .zip(predicted.squares.axis_chunks_iter(Axis(0), BLOCK))
        .map(|(cells, squares)| {
            let block = Cloud { cells: cells.to_owned(), squares: squares.to_owned() };
            let distances = squared_distances(&block, &pool); // (block, pool)
            let mut order: Vec<u32> = (0..pool.len() as u32).collect();
            let mut own_cells = 0;
            for distances in distances.rows() {
                let nearer =
                    |a: &u32, b: &u32| distances[*a as usize].total_cmp(&distances[*b as usize]).then(a.cmp(b));
                order.select_nth_unstable_by(k - 1, nearer);
                own_cells += order[..k].iter().filter(|&&cell| labels[cell as usize] == own).count();
            }
            own_cells
        })
        .sum();
    Some(found as f64 / (k * predicted.len()) as f64)
}
