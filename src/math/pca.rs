//! Principal component analysis of a dense array `(cells, d)`.
//!
//! With X the array whose column means are taken off, the components are the leading eigenvectors of the covariance
//! `C = X' X / (n - 1)`; a score is `X v`, an explained variance the eigenvalue. They are found by subspace iteration
//! (Halko, Martinsson and Tropp, SIAM Review 2011): a random block is multiplied by C and orthonormalised until the
//! eigenvalues inside the block settle. For many columns C itself is not formed, so memory is that of X.
//!
//! The sign of each component is such that its entry of largest absolute value is positive, as scikit-learn's PCA does.

use crate::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Directions carried along beyond those asked for; they speed up convergence (Halko et al., section 4.2).
const OVERSAMPLING: usize = 10;
/// Iteration ends when no eigenvalue asked for moves by more than this share of the first one.
const TOLERANCE: f64 = 1e-7;
/// A spectrum so flat that it has not settled by then has no distinguished directions.
const MAX_ITERATIONS: usize = 80;
/// Up to this many columns the covariance is formed once (34 MB at most), which makes an iteration almost free.
const COVARIANCE_COLUMNS: usize = 2048;
/// Rows a thread works on. Fixed, so that sums are taken in the same order on any number of threads.
const CHUNK: usize = 512;
/// Most chunks that are worked on, and held, at once. The sum does not depend on it.
const WAVE: usize = 8;
/// Jacobi sweeps; convergence is quadratic and needs fewer than ten.
const MAX_SWEEPS: usize = 60;

/// A fitted PCA.
#[derive(Debug, Clone)]
pub struct Pca {
    /// Column means, `(d,)`.
    pub mean: Array1<f64>,
    /// Orthonormal directions, `(components, d)`, by falling variance. A direction without variance may be all zero.
    pub components: Array2<f64>,
    /// Variance of the scores (n - 1 in the denominator), `(components,)`.
    pub explained_variance: Array1<f64>,
    /// The same as a share of the total variance; 0 for an array that does not vary.
    pub explained_variance_ratio: Array1<f64>,
}

impl Pca {
    /// Finds the first `n_components` of `data` `(cells, d)`. `seed` is where the iteration starts from; it does not
    /// change a result whose eigenvalues are apart.
    ///
    /// # Errors
    /// Fewer than two rows, no or more than `min(cells - 1, d)` components, a value that is not finite.
    pub fn fit(data: ArrayView2<'_, f32>, n_components: usize, seed: u64) -> Result<Self> {
        let (n, d) = data.dim();
        let most = d.min(n.saturating_sub(1));
        if n_components == 0 || n_components > most {
            return Err(Error::config(format!(
                "PCA: {n_components} components are asked of an array of {n} rows and {d} columns; between 1 and {most} \
                 are possible"
            )));
        }
        if let Some(((row, column), value)) = data.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::data(format!("PCA: row {row}, column {column} is {value}; it must be finite")));
        }
        let mean = data.fold_axis(Axis(0), 0.0, |sum, &v| sum + f64::from(v)) / n as f64;
        let total = sum_chunks(data, |rows| {
            let centred = centre(rows, &mean);
            Array1::from_elem(1, (&centred * &centred).sum())
        })[0]
            / (n as f64 - 1.0);

        let covariance = (d <= COVARIANCE_COLUMNS).then(|| {
            sum_chunks(data, |rows| {
                let centred = centre(rows, &mean);
                centred.t().dot(&centred) / (n as f64 - 1.0)
            })
        });

        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let width = most.min(n_components + OVERSAMPLING);
        let mut basis = Array2::from_shape_simple_fn((d, width), || StandardNormal.sample(&mut rng));
        orthonormalise(&mut basis);
        let mut previous = Array1::<f64>::zeros(n_components);
        for _ in 0..MAX_ITERATIONS {
            // C Q, (d, width)
            let mut next = match &covariance {
                Some(covariance) => covariance.dot(&basis),
                None => sum_chunks(data, |rows| {
                    let centred = centre(rows, &mean);
                    centred.t().dot(&centred.dot(&basis)) / (n as f64 - 1.0)
                }),
            };
            // Eigenvalues of Q' C Q, (width, width), and the rotation that sorts the basis by them.
            let (values, rotation) = symmetric_eigen(basis.t().dot(&next));
            next = next.dot(&rotation);
            let leading = values.slice(s![..n_components]).to_owned();
            let moved = (&leading - &previous).mapv(f64::abs).fold(0.0_f64, |a, &b| a.max(b));
            basis = basis.dot(&rotation);
            let settled = moved <= TOLERANCE * leading[0].max(f64::MIN_POSITIVE);
            previous = leading;
            if settled {
                break;
            }
            basis = next;
            orthonormalise(&mut basis);
        }
        let mut components = basis.slice(s![.., ..n_components]).t().to_owned();
        for mut row in components.rows_mut() {
            let largest = row.iter().copied().fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
            if largest < 0.0 {
                row.mapv_inplace(|v| -v);
            }
        }
        let explained_variance = previous.mapv(|value| value.max(0.0));
        let explained_variance_ratio =
            if total > 0.0 { &explained_variance / total } else { Array1::zeros(n_components) };
        Ok(Self { mean, components, explained_variance, explained_variance_ratio })
    }

    /// Scores of `data` `(cells, d)` on the components, `(cells, components)`.
    ///
    /// # Errors
    /// Another number of columns than the PCA was fitted on.
    pub fn transform(&self, data: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        if data.ncols() != self.mean.len() {
            return Err(Error::shape("PCA transform: data, and components", data.dim(), self.components.dim()));
        }
        let mut scores = Array2::zeros((data.nrows(), self.components.nrows()));
        for (rows, mut out) in data.axis_chunks_iter(Axis(0), CHUNK).zip(scores.axis_chunks_iter_mut(Axis(0), CHUNK)) {
            out.assign(&centre(rows, &self.mean).dot(&self.components.t()).mapv(|v| v as f32));
        }
        Ok(scores)
    }
}

fn centre(rows: ArrayView2<'_, f32>, mean: &Array1<f64>) -> Array2<f64> {
    rows.mapv(f64::from) - mean
}

/// Sum of `f` over chunks of rows: computed in parallel, added up in order.
fn sum_chunks<D>(
    data: ArrayView2<'_, f32>,
    f: impl Fn(ArrayView2<'_, f32>) -> ndarray::Array<f64, D> + Sync + Send,
) -> ndarray::Array<f64, D>
where
    D: ndarray::Dimension,
{
    let chunks: Vec<_> = data.axis_chunks_iter(Axis(0), CHUNK).collect();
    let mut sum: Option<ndarray::Array<f64, D>> = None;
    // A few at a time, so that few parts are held at once.
    for wave in chunks.chunks(WAVE.min(rayon::current_num_threads())) {
        for part in wave.par_iter().map(|chunk| f(*chunk)).collect::<Vec<_>>() {
            sum = Some(match sum {
                Some(sum) => sum + part,
                None => part,
            });
        }
    }
    sum.expect("there are at least two rows, so at least one chunk")
}

/// Modified Gram-Schmidt on the columns, twice, which is enough for machine precision (Giraud et al. 2005). A column
/// that lies in the span of those before it becomes zero.
fn orthonormalise(columns: &mut Array2<f64>) {
    // Side by side in memory, (width, d), a column is read at full speed.
    let mut rows = columns.t().as_standard_layout().into_owned();
    for j in 0..rows.nrows() {
        let (before, mut rest) = rows.view_mut().split_at(Axis(0), j);
        let mut column = rest.row_mut(0);
        let scale = column.dot(&column).sqrt();
        for _ in 0..2 {
            for before in before.rows() {
                let overlap = before.dot(&column);
                column.scaled_add(-overlap, &before);
            }
        }
        let norm = column.dot(&column).sqrt();
        if norm > scale * f64::EPSILON * 16.0 {
            column /= norm;
        } else {
            column.fill(0.0);
        }
    }
    columns.assign(&rows.t());
}

/// Eigenvalues, largest first, and eigenvectors (columns) of a symmetric matrix: cyclic Jacobi rotations.
fn symmetric_eigen(a: Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let n = a.nrows();
    // Rows are slices, and vectors lie in rows until the end: the rotations are most of the work on few columns.
    let mut a: Vec<f64> = a.iter().copied().collect();
    let mut v = Array2::<f64>::eye(n).into_raw_vec_and_offset().0;
    let scale = a.iter().map(|x| x * x).sum::<f64>();
    for _ in 0..MAX_SWEEPS {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i * n + j] * a[i * n + j]).sum();
        if off <= scale * f64::EPSILON * f64::EPSILON {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p * n + q] == 0.0 {
                    continue;
                }
                // The smaller root of t^2 + 2 theta t - 1 = 0 zeroes a_pq (Golub and Van Loan, section 8.5).
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cos = 1.0 / (t * t + 1.0).sqrt();
                let sin = t * cos;
                for row in a.chunks_exact_mut(n) {
                    (row[p], row[q]) = (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
                }
                rotate_rows(&mut a, n, (p, q), (cos, sin));
                rotate_rows(&mut v, n, (p, q), (cos, sin));
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    let vectors = Array2::from_shape_fn((n, n), |(row, column)| v[order[column] * n + row]);
    (values, vectors)
}

/// Rows p < q of a matrix with n columns become `cos p - sin q` and `sin p + cos q`.
fn rotate_rows(matrix: &mut [f64], n: usize, (p, q): (usize, usize), (cos, sin): (f64, f64)) {
    let (before, after) = matrix.split_at_mut(q * n);
    for (x, y) in before[p * n..(p + 1) * n].iter_mut().zip(&mut after[..n]) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
}
