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
//!
//! **The energy test** ([`energy_test`]): could two sets of cells be samples of one distribution? The cells of both sets are shuffled between them, and the E-distance is taken again (Szekely and Rizzo 2004). As in
//! scPerturb's `etest` (Peidli et al., Nature Methods 2024):
//!
//! ```text
//! p = max(1, number of shuffles with E_shuffled >= E) / number of shuffles
//! ```
//!
//! With the squared form that scPerturb uses it is a test of equal means; with the plain form it is one of equal
//! distributions.

use super::pairs::{Cloud, squared_distances, sum_between, sum_within};
use crate::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
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

/// Shuffles whose E-distance is this share of its terms below the observed one count as equal to it: sums in another
/// order differ in their last bits, and a tie is evidence against a difference.
const ROUNDING: f64 = 1e-12;

/// What an energy test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnergyTest {
    /// The E-distance of the two sets.
    pub statistic: f64,
    /// Share of shuffles that are at least as far apart, and at least one of them.
    pub p_value: f64,
}

/// E of the cells of these rows against the rest, and the scale of its rounding.
type Shuffled = dyn Fn(&[usize]) -> (f64, f64) + Sync;

/// Tests whether two sets `(cells, d)` differ, with `n_permutations` shuffles. Deterministic by `seed`, on any number of
/// threads.
///
/// The squared form costs `O(cells d)` a shuffle. The plain form holds all distances, `8 (n_x + n_y)^2` bytes: subsample
/// first. `None` with fewer than two cells a set, no shuffles, other columns, or values that are not finite.
pub fn energy_test(
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
    form: EDistance,
    n_permutations: usize,
    seed: u64,
) -> Option<EnergyTest> {
    if x.nrows().min(y.nrows()) < 2 || n_permutations == 0 {
        return None;
    }
    // E is symmetric, so the smaller set may be the one that is drawn.
    let (x, y) = if x.nrows() <= y.nrows() { Cloud::pair(x, y)? } else { Cloud::pair(y, x)? };
    let n = x.len();
    let both = concatenate(Axis(0), &[x.cells.view(), y.cells.view()]).expect("Cloud::pair checked the columns");
    let shuffled: Box<Shuffled> = match form {
        EDistance::Squared => {
            let total = Sums::of(&both);
            Box::new(move |rows| total.squared(&both, rows))
        }
        EDistance::Plain => {
            let both = Cloud { squares: concatenate![Axis(0), x.squares, y.squares], cells: both };
            let mut distances = squared_distances(&both, &both).mapv_into(f64::sqrt);
            distances.diag_mut().fill(0.0);
            let total = distances.sum();
            let of_cell = distances.sum_axis(Axis(1));
            Box::new(move |rows| plain(&distances, &of_cell, total, rows))
        }
    };
    let (statistic, _) = shuffled(&(0..n).collect::<Vec<_>>());
    let cells = n + y.len();
    let as_far = (0..n_permutations as u64)
        .into_par_iter()
        .filter(|&permutation| {
            // A stream of its own for each shuffle, so that threads may take them in any order.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(permutation);
            let (value, scale) = shuffled(&index::sample(&mut rng, cells, n).into_vec());
            value >= statistic - ROUNDING * scale
        })
        .count();
    Some(EnergyTest { statistic, p_value: as_far.max(1) as f64 / n_permutations as f64 })
}

/// What does not change when cells are shuffled.
struct Sums {
    /// Sum of all cells, `(d,)`.
    sum: Array1<f64>,
    /// Squared norm of each cell.
    squares: Array1<f64>,
    /// Their sum.
    total: f64,
}

impl Sums {
    fn of(cells: &Array2<f64>) -> Self {
        let squares = cells.map_axis(Axis(1), |cell| cell.dot(&cell));
        Self { sum: cells.sum_axis(Axis(0)), total: squares.sum(), squares }
    }

    /// Squared E-distance of the cells `rows` and all others by its closed form, and the size of its terms.
    fn squared(&self, cells: &Array2<f64>, rows: &[usize]) -> (f64, f64) {
        let mut sum = vec![0.0; cells.ncols()];
        let mut squares = 0.0;
        for &row in rows {
            cells.row(row).iter().zip(&mut sum).for_each(|(value, sum)| *sum += value);
            squares += self.squares[row];
        }
        let (n, m) = (rows.len() as f64, (cells.nrows() - rows.len()) as f64);
        let (mut apart, mut norm_x, mut norm_y) = (0.0, 0.0, 0.0);
        for (x, all) in sum.iter().zip(&self.sum) {
            let y = all - x;
            apart += (x / n - y / m) * (x / n - y / m);
            norm_x += x * x;
            norm_y += y * y;
        }
        let error_x = (squares - norm_x / n) / (n * (n - 1.0));
        let error_y = (self.total - squares - norm_y / m) / (m * (m - 1.0));
        (2.0 * (apart - error_x - error_y), 2.0 * (apart + error_x + error_y))
    }
}

/// Plain E-distance of the cells `rows` and all others, and the size of its terms. `of_cell` are the row sums of the
/// distances, `total` the sum of all: what lies between the sets follows from what lies within the first.
fn plain(distances: &Array2<f64>, of_cell: &Array1<f64>, total: f64, rows: &[usize]) -> (f64, f64) {
    let (n, m) = (rows.len() as f64, (distances.nrows() - rows.len()) as f64);
    let (mut within, mut of_rows) = (0.0, 0.0);
    for (place, &i) in rows.iter().enumerate() {
        of_rows += of_cell[i];
        let distances = distances.row(i);
        within += 2.0 * rows[..place].iter().map(|&j| distances[j]).sum::<f64>();
    }
    let between = of_rows - within;
    let others = total - within - 2.0 * between;
    let (delta, sigma_x, sigma_y) = (between / (n * m), within / (n * n), others / (m * m));
    (2.0 * delta - sigma_x - sigma_y, 2.0 * delta + sigma_x + sigma_y)
}

/// Holm-Sidak adjusted p-values, in the order given, as statsmodels' `multipletests(method="holm-sidak")`.
///
/// With the m p-values sorted ascending, `adjusted_(i) = max over j <= i of 1 - (1 - p_(j))^(m - j + 1)`. Those below
/// `alpha` hold a false one with a probability of at most `alpha` for independent tests (Holm 1979; Sidak 1967).
/// NaN counts as 1.
pub fn holm_sidak(p_values: &[f64]) -> Vec<f64> {
    let value = |i: usize| if p_values[i].is_nan() { 1.0 } else { p_values[i] };
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (place, &i) in order.iter().enumerate() {
        let tests = (p_values.len() - place) as f64;
        // 1 - (1 - p)^tests without losing the digits of a small p.
        largest = largest.max(-(tests * (-value(i)).ln_1p()).exp_m1()).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}
