//! Distances between two sets of vectors as losses: how far a predicted set of cells is from the observed one.
//!
//! For the rows x_i of a predicted set (n of them) and y_j of an observed one (m), each of d features:
//!
//! | name | distance |
//! |---|---|
//! | energy | `2/(nm) sum abs(x_i - y_j) - 1/n^2 sum abs(x_i - x_k) - 1/m^2 sum abs(y_j - y_l)`, Euclidean norms (Szekely and Rizzo 2013) |
//! | MMD | `1/n^2 sum k(x_i, x_k) + 1/m^2 sum k(y_j, y_l) - 2/(nm) sum k(x_i, y_j)`, k the mean over gammas of `exp(-gamma abs(u - v)^2)` (Gretton et al. 2012, the biased estimate of MMD^2) |
//! | sliced Wasserstein | mean over unit directions of the squared 2-Wasserstein distance of the projections (Bonneel et al. 2015) |
//!
//! All sums include the pairs of a row with itself: each is a distance of two empirical distributions, never negative, and
//! 0 where they are the same. Gradients go to the predicted rows. One call takes a batch of pairs of sets, as [`RowSets`] beside the rows, and
//! gives one number per pair.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{RowSets, SetDistance}};
//!
//! let (dev, one) = (Cpu::default(), RowSets::uniform(1, 2));
//! let x: Tensor<_, f32, _> = dev.tensor_from_vec(vec![0.0, 0.0, 3.0, 4.0], (2, 2));
//! let y = dev.tensor_from_vec(vec![0.0, 0.0, 0.0, 0.0], (2, 2));
//! let distance = SetDistance::Energy.forward(x, &one, &y, &one)?; // 2 * 10/4 - 2 * 5/4 - 0
//! assert!((distance[[0]] - 2.5).abs() < 1e-5);
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Matrix, RowSets, Scalar, Vector, rows::check_sets};
use crate::{Error, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::sync::Arc;

/// Which distance.
#[derive(Debug, Clone, PartialEq)]
pub enum SetDistance {
    /// Energy distance with Euclidean norms, twice the value of `geomloss`' "energy".
    Energy,
    /// Squared maximum mean discrepancy with a mean of Gaussian kernels.
    Mmd {
        /// One over twice the squared bandwidth, each above 0. See [`median_gamma`].
        gammas: Arc<[f32]>,
    },
    /// Sliced Wasserstein distance, squared.
    SlicedWasserstein {
        /// Unit vectors as columns, `(width, directions)`, row-major. See [`SetDistance::sliced`].
        directions: Arc<[f32]>,
    },
}

impl SetDistance {
    /// A sliced Wasserstein distance along `count` directions, uniform on the sphere.
    pub fn sliced(width: usize, count: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut directions = vec![0.0f32; width * count];
        for column in 0..count {
            let draw: Vec<f64> = (0..width).map(|_| rng.sample(StandardNormal)).collect();
            let norm = draw.iter().map(|v| v * v).sum::<f64>().sqrt();
            draw.iter().enumerate().for_each(|(row, v)| directions[row * count + column] = (v / norm) as f32);
        }
        Self::SlicedWasserstein { directions: directions.into() }
    }

    pub(super) fn check(&self, x: (usize, usize), x_sets: &RowSets, y: (usize, usize), y_sets: &RowSets) -> Result<()> {
        let fail = |message: String| Err(Error::config(format!("distance of sets: {message}")));
        if x.1 != y.1 {
            return Err(Error::shape("distance of sets", x, y));
        }
        if x.1 == 0 {
            return fail("rows without features have no distance".into());
        }
        check_sets("distance of sets: predicted", x.0, x_sets)?;
        check_sets("distance of sets: observed", y.0, y_sets)?;
        if x_sets.len() != y_sets.len() {
            return fail(format!("{} predicted sets, but {} observed ones", x_sets.len(), y_sets.len()));
        }
        if let Some(set) = (0..x_sets.len()).find(|&set| x_sets.size(set) == 0 || y_sets.size(set) == 0) {
            return fail(format!("set {set} of the batch is empty, and has no distance to anything"));
        }
        match self {
            Self::Mmd { gammas } if gammas.is_empty() || !gammas.iter().all(|g| *g > 0.0 && g.is_finite()) => {
                fail(format!("the gammas are {gammas:?}; there must be at least one, and all positive"))
            }
            Self::SlicedWasserstein { directions }
                if directions.is_empty() || !directions.len().is_multiple_of(x.1) =>
            {
                fail(format!("{} numbers are no directions in {} dimensions", directions.len(), x.1))
            }
            _ => Ok(()),
        }
    }
}

/// One over twice the median squared distance between different rows of y `(rows, width)`: the usual gamma of a Gaussian
/// kernel, whose bandwidth is the median distance (Gretton et al. 2012, section 8). `None` if the median is 0 or there is no pair.
pub fn median_gamma(y: ndarray::ArrayView2<'_, f32>) -> Option<f32> {
    let square =
        |i: usize, j: usize| -> f64 { y.row(i).iter().zip(y.row(j)).map(|(a, b)| f64::from(a - b).powi(2)).sum() };
    let mut squares: Vec<f64> = (0..y.nrows()).flat_map(|i| (0..i).map(move |j| square(i, j))).collect();
    if squares.is_empty() {
        return None;
    }
    let middle = squares.len() / 2;
    let median = *squares.select_nth_unstable_by(middle, f64::total_cmp).1;
    (median > 0.0 && median.is_finite()).then(|| (0.5 / median) as f32)
}

/// The optimal coupling of two sorted samples of sizes n and m on a line: calls `pair(i, j, weight)` for the i-th
/// smallest of one and the j-th smallest of the other; the weights of each i sum to 1/n, those of each j to 1/m.
pub(super) fn couple(n: usize, m: usize, mut pair: impl FnMut(usize, usize, f64)) {
    let total = (n * m) as f64;
    // In units of 1/(nm) each i has mass m and each j has mass n.
    let (mut i, mut j, mut left_i, mut left_j) = (0, 0, m, n);
    while i < n && j < m {
        let mass = left_i.min(left_j);
        pair(i, j, mass as f64 / total);
        (left_i, left_j) = (left_i - mass, left_j - mass);
        if left_i == 0 {
            (i, left_i) = (i + 1, m);
        }
        if left_j == 0 {
            (j, left_j) = (j + 1, n);
        }
    }
}

/// The positions of `values` from the smallest to the largest.
pub(super) fn ranked(values: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| values[a as usize].total_cmp(&values[b as usize]).then(a.cmp(&b)));
    order
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// Smallest squared distance, so that its root has a derivative.
    const SMALLEST_SQUARE: f32 = 1e-12;

    /// See [`SetDistance`].
    pub fn set_distance<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        x_sets: &RowSets,
        y: &Matrix<D>,
        y_sets: &RowSets,
        distance: &SetDistance,
    ) -> Result<Vector<D, T>> {
        distance.check(*x.shape(), x_sets, *y.shape(), y_sets)?;
        let width = x.shape().1;
        let (x, tape) = x.split_tape();
        let run = || -> Result<Vector<D, T>, D::Err> {
            let mut values: Vector<D, T> = x.device().try_zeros_like(&(0,))?.put_tape(tape);
            for (a, b) in x_sets.ranges().zip(y_sets.ranges()) {
                let x: Matrix<D, T> = x.retaped::<T>().try_slice((a, 0..width))?;
                let y = y.clone().try_slice((b, 0..width))?;
                let value = match distance {
                    SetDistance::SlicedWasserstein { directions } => sliced(x, &y, directions)?,
                    _ => radial(x, &y, distance)?,
                };
                values = (values, value.try_reshape_like(&(1,))?).try_concat_along(Axis::<0>)?;
            }
            Ok(values)
        };
        run().map_err(failed("distance of sets"))
    }

    /// `2 mean f(x, y) - mean f(x, x) - mean f(y, y)`.
    fn radial<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        y: &Matrix<D>,
        distance: &SetDistance,
    ) -> Result<Scalar<D, T>, D::Err> {
        let mean = y.clone().try_mean::<(usize,), Axis<0>>()?;
        let x = {
            let shape = *x.shape();
            x.try_sub(mean.clone().try_broadcast_like::<_, Axis<0>>(&shape)?)?
        };
        let y: Matrix<D> = {
            let shape = *y.shape();
            y.clone().try_sub(mean.try_broadcast_like::<_, Axis<0>>(&shape)?)?
        };
        let across = mean_of(squares(x.with_empty_tape(), y.retaped::<T>(), false)?, distance)?;
        let within_y = mean_of(squares(y.clone(), y, true)?, distance)?;
        let within_x = mean_of(squares(x.with_empty_tape(), x, true)?, distance)?;
        across.try_mul(2.0)?.try_sub(within_x)?.try_sub(within_y)
    }

    /// Squared distances `(n, m)`; of a row to itself, where a and b are the same, 0.
    pub(in crate::nn::ops) fn squares<D: Device<f32>, T: Tape<f32, D>>(
        a: Matrix<D, T>,
        b: Matrix<D, T>,
        same: bool,
    ) -> Result<Matrix<D, T>, D::Err> {
        let shape @ (n, m) = (a.shape().0, b.shape().0);
        let factors = (0..n * m).map(|at| if same && at % (m + 1) == 0 { 0.0 } else { 1.0 }).collect();
        let factors = a.device().try_tensor_from_vec(factors, shape)?;
        let norms = |x: &Matrix<D, T>| x.with_empty_tape().try_square()?.try_sum::<(usize,), Axis<1>>();
        let (a_norms, b_norms) = (norms(&a)?, norms(&b)?);
        // Scaled first: a permuted tensor keeps its id, and dfdx multiplies no tensor by itself.
        let products = a.try_matmul(b.try_mul(-2.0)?.try_permute::<(usize, usize), Axes2<1, 0>>()?)?;
        let sum = products.try_add(a_norms.try_broadcast_like::<_, Axis<1>>(&shape)?)?;
        sum.try_add(b_norms.try_broadcast_like::<_, Axis<0>>(&shape)?)?.try_mul(factors)
    }

    /// The mean of f over a matrix of squared distances: the distance, or minus the kernel.
    fn mean_of<D: Device<f32>, T: Tape<f32, D>>(
        squares: Matrix<D, T>,
        distance: &SetDistance,
    ) -> Result<Scalar<D, T>, D::Err> {
        let squares = squares.try_clamp(SMALLEST_SQUARE, f32::MAX)?;
        let SetDistance::Mmd { gammas } = distance else {
            return squares.try_sqrt()?.try_mean();
        };
        let (squares, tape) = squares.split_tape();
        let mut total: Scalar<D, T> = squares.device().try_zeros()?.put_tape(tape);
        for gamma in gammas.iter() {
            let kernel: Scalar<D, T> = squares.retaped::<T>().try_mul(-gamma)?.try_exp()?.try_mean()?;
            total = total.try_sub(kernel)?;
        }
        total.try_div(gammas.len() as f32)
    }

    /// Mean over directions of the squared distance of the sorted projections. dfdx cannot sort, so the host finds for each
    /// projection of x the mean c of the projections of y that the optimal coupling gives it: the distance is the mean of
    /// `(x - c)^2`, plus what does not depend on x.
    fn sliced<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        y: &Matrix<D>,
        directions: &[f32],
    ) -> Result<Scalar<D, T>, D::Err> {
        let (n, width) = *x.shape();
        let (m, count) = (y.shape().0, directions.len() / width);
        let directions = y.device().try_tensor_from_vec(directions.to_vec(), (width, count))?;
        let projected = x.try_matmul(directions.clone())?; // (n, directions)
        let (x_values, y_values) = (projected.as_vec(), y.clone().try_matmul(directions)?.as_vec());
        let (mut partners, mut rest) = (vec![0.0f64; n * count], 0.0);
        for direction in 0..count {
            let column = |values: &[f32]| values.iter().skip(direction).step_by(count).copied().collect::<Vec<_>>();
            let (x, y) = (column(&x_values), column(&y_values));
            let (x_order, y_order) = (ranked(&x), ranked(&y));
            couple(n, m, |i, j, weight| {
                let y = f64::from(y[y_order[j] as usize]);
                partners[x_order[i] as usize * count + direction] += n as f64 * weight * y;
                rest += weight * y * y;
            });
        }
        rest -= partners.iter().map(|c| c * c).sum::<f64>() / n as f64;
        let partners = partners.iter().map(|&c| c as f32).collect();
        let partners = y.device().try_tensor_from_vec(partners, (n, count))?;
        projected.try_sub(partners)?.try_square()?.try_mean()?.try_add((rest / count as f64) as f32)
    }
}
