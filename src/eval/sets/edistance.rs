//! E-distance (Szekely and Rizzo; for perturbations Peidli et al., Nature Methods 2024).
//!
//! With `delta` the mean distance between a cell of x and a cell of y, and `sigma` the mean distance between two cells
//! of one set,
//!
//! ```text
//! E(x, y) = 2 delta - sigma_x - sigma_y
//! ```
//!
//! Tools differ in the distance and in whether a cell counts as its own neighbour; a number without its form cannot be
//! compared. See [`EDistance`].

use super::pairs::{Cloud, sum_between, sum_within};
use crate::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Which E-distance is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EDistance {
    /// Squared Euclidean distances, `sigma` over the `n (n - 1)` ordered pairs of different cells: scPerturb's `edist`
    /// with its defaults. Unbiased, hence a little below 0 as often as above for sets of one distribution. It sees
    /// means only (see the [module](super)). Needs two cells a set.
    Squared,
    /// Euclidean distances, `sigma` over all `n^2` pairs, a cell with itself included: pertpy's `edistance` (1.0).
    /// Never negative; above 0 by about `(sigma_x / n_x + sigma_y / n_y)` for two samples of one distribution.
    Plain,
}

impl EDistance {
    /// The fewest cells a set that it is defined for.
    pub const fn least_cells(self) -> usize {
        match self {
            Self::Squared => 2,
            Self::Plain => 1,
        }
    }
}

/// E-distance of two sets `(cells, d)`; squared units of the embedding for [`EDistance::Squared`], plain ones otherwise.
///
/// `None` with too few cells, other columns, or values that are not finite.
pub fn edistance(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, form: EDistance) -> Option<f64> {
    if x.nrows().min(y.nrows()) < form.least_cells() {
        return None;
    }
    let (x, y) = Cloud::pair(x, y)?;
    Some(match form {
        EDistance::Squared => Moments::of(&x).squared(&Moments::of(&y)),
        EDistance::Plain => 2.0 * delta(&x, &y) - sigma(&x) - sigma(&y),
    })
}

/// E-distances of all pairs of groups, `(groups, groups)`: symmetric, 0 on the diagonal as pertpy and scPerturb have it.
///
/// `labels` holds the group of each row of `data` `(cells, d)`. NaN in the rows of a group with too few cells, so that
/// it cannot pass for a distance. Memory: a copy of `data` in f64 and a block of distances a thread.
///
/// # Errors
/// Labels of another length than there are cells or not below `n_groups`; a value that is not finite.
pub fn edistance_matrix(
    data: ArrayView2<'_, f32>,
    labels: &[u32],
    n_groups: usize,
    form: EDistance,
) -> Result<Array2<f64>> {
    if labels.len() != data.nrows() {
        return Err(Error::shape("edistance_matrix: data, and labels", data.dim(), labels.len()));
    }
    if let Some(cell) = labels.iter().position(|&label| label as usize >= n_groups) {
        return Err(Error::data(format!(
            "edistance_matrix: cell {cell} has the label {}, but there are {n_groups} groups",
            labels[cell]
        )));
    }
    if let Some(((cell, column), value)) = data.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::data(format!(
            "edistance_matrix: cell {cell}, column {column} is {value}; it must be finite"
        )));
    }
    let mut rows = vec![Vec::new(); n_groups];
    labels.iter().enumerate().for_each(|(cell, &label)| rows[label as usize].push(cell));
    let origin = data.fold_axis(Axis(0), 0.0, |sum: &f64, &value| sum + f64::from(value)) / labels.len().max(1) as f64;
    let groups: Vec<Cloud> =
        rows.par_iter().map(|rows| Cloud::new(data.select(Axis(0), rows).view(), origin.view())).collect();
    let usable: Vec<usize> = (0..n_groups).filter(|&group| groups[group].len() >= form.least_cells()).collect();
    let pairs: Vec<(usize, usize)> =
        usable.iter().enumerate().flat_map(|(k, &i)| usable[k + 1..].iter().map(move |&j| (i, j))).collect();
    let distances: Vec<f64> = match form {
        EDistance::Squared => {
            let moments: Vec<Option<Moments>> =
                groups.par_iter().map(|group| (group.len() > 1).then(|| Moments::of(group))).collect();
            let moments = |group: usize| moments[group].as_ref().expect("a usable group has two cells");
            pairs.par_iter().map(|&(i, j)| moments(i).squared(moments(j))).collect()
        }
        EDistance::Plain => {
            let sigmas: Vec<f64> =
                groups.par_iter().map(|group| if group.len() == 0 { f64::NAN } else { sigma(group) }).collect();
            pairs.par_iter().map(|&(i, j)| 2.0 * delta(&groups[i], &groups[j]) - sigmas[i] - sigmas[j]).collect()
        }
    };
    let mut matrix = Array2::from_elem((n_groups, n_groups), f64::NAN);
    usable.iter().for_each(|&group| matrix[[group, group]] = 0.0);
    for (&(i, j), distance) in pairs.iter().zip(distances) {
        matrix[[i, j]] = distance;
        matrix[[j, i]] = distance;
    }
    Ok(matrix)
}

/// Mean Euclidean distance between two sets.
pub(super) fn delta(x: &Cloud, y: &Cloud) -> f64 {
    sum_between(x, y, f64::sqrt) / (x.len() * y.len()) as f64
}

/// Mean Euclidean distance within a set, over all `n^2` pairs.
pub(super) fn sigma(x: &Cloud) -> f64 {
    sum_within(x, f64::sqrt) / (x.len() * x.len()) as f64
}

/// All that the squared form needs of a set, in one pass over its cells.
struct Moments {
    mean: Array1<f64>,
    /// Unbiased total variance over the number of cells: the expected squared error of the mean.
    error: f64,
}

impl Moments {
    /// Of two cells or more.
    fn of(x: &Cloud) -> Self {
        let n = x.len() as f64;
        let mean = x.cells.sum_axis(Axis(0)) / n;
        // Around the set's own mean: no difference of large sums.
        let spread: f64 = x
            .cells
            .rows()
            .into_iter()
            .map(|cell| cell.iter().zip(&mean).map(|(v, m)| (v - m) * (v - m)).sum::<f64>())
            .sum();
        Self { mean, error: spread / (n - 1.0) / n }
    }

    /// `2 delta - sigma_x - sigma_y` of squared distances, by its closed form (see the [module](super)).
    fn squared(&self, other: &Self) -> f64 {
        let apart: f64 = self.mean.iter().zip(&other.mean).map(|(a, b)| (a - b) * (a - b)).sum();
        2.0 * (apart - self.error - other.error)
    }
}
