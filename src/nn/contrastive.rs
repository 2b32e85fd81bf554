//! Each view of a cell is to be found by the other view of the same cell (InfoNCE, van den Oord et al. 2018; NT-Xent without
//! the negatives of the same view, as in CLIP, Radford et al. 2021).
//!
//! For two views a, b `(rows, width)` of n cells and a temperature t:
//!
//! ```text
//! L_ij = a_i . b_j / (|a_i| |b_j| t)
//! loss = - 1/(2n) sum_i (ln softmax_j(L_ij)[i] + ln softmax_j(L_ji)[i])      ln n where nothing is told apart
//! ```
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{info_nce, ops::to_f32}};
//!
//! let dev = Cpu::default();
//! let a = dev.tensor_from_vec(vec![1.0, 0.0, 0.0, 1.0], (2, 2));
//! let loss = info_nce(a.clone(), a, 1.0)?; // ln(1 + exp(0 - 1))
//! assert!((to_f32(&loss) - (1.0 + (-1.0f32).exp()).ln()).abs() < 1e-5);
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix, Scalar, ops};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Rank0, SumTo, Tape, TryAdd};
use ndarray::{Array2, Axis};

/// Added to the squared norm of a row, so that one of zeros has a gradient.
const EPSILON: f64 = 1e-12;

/// The loss of two batches of embeddings, `(rows, width)` each, with gradients for both.
///
/// # Errors
/// Shapes that differ, no row at all, a temperature that is not positive; a device that fails.
pub fn info_nce<D: Backend, T: Tape<f32, D>>(
    a: Matrix<D, T>,
    b: Matrix<D, T>,
    temperature: f32,
) -> Result<Scalar<D, T>> {
    let (rows, width) = *a.shape();
    if a.shape() != b.shape() {
        return Err(Error::shape("info_nce", a.shape(), b.shape()));
    }
    if rows == 0 || width == 0 {
        return Err(Error::config("info_nce: there is nothing to compare in an empty batch"));
    }
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(Error::config(format!("info_nce: the temperature is {temperature}, and it must be positive")));
    }
    let (x, y) = (Normed::of(&ops::download(&a)), Normed::of(&ops::download(&b)));
    let temperature = f64::from(temperature);
    let logits = x.rows.dot(&y.rows.t()) / temperature; // (rows, rows)
    let ((found, of_found), (back, of_back)) = (told(&logits, Axis(1)), told(&logits, Axis(0)));
    let value = -0.5 * (found + back) / rows as f64;
    // Of the loss by the logits, `(P + Q - 2 I) / 2n`, with the softmax P over each row and Q over each column.
    let mut slope = of_found + of_back;
    slope.diag_mut().mapv_inplace(|v| v - 2.0);
    slope /= 2.0 * rows as f64 * temperature;
    let (of_a, of_b) = (x.back(&slope.dot(&y.rows)), y.back(&slope.t().dot(&x.rows)));

    // The tangent at a and b: its value and its derivatives there are the loss's.
    let at = |x: &Matrix<D, T>, slopes: &Array2<f64>| -> f64 {
        ops::download(x).iter().zip(slopes).map(|(&x, slope)| f64::from(x) * slope).sum()
    };
    let rest = (value - at(&a, &of_a) - at(&b, &of_b)) as f32;
    let times = |x: Matrix<D, T>, slopes: &Array2<f64>| -> Result<Scalar<D, T>> {
        let product = D::multiply(x, slopes.iter().map(|&v| v as f32).collect())?;
        product.try_sum::<Rank0, _>().map_err(|e: D::Err| Error::device("info_nce", e))
    };
    let sum = ops::add_scaled(times(a, &of_a)?, times(b, &of_b)?, 1.0)?;
    sum.try_add(rest).map_err(|e: D::Err| Error::device("info_nce", e))
}

/// Rows of length 1, and what they were divided by.
struct Normed {
    rows: Array2<f64>,
    norms: Vec<f64>,
}

impl Normed {
    fn of(x: &Array2<f32>) -> Self {
        let mut rows = x.mapv(f64::from);
        let norm = |row: ndarray::ArrayView1<'_, f64>| (row.dot(&row) + EPSILON).sqrt();
        let norms: Vec<f64> = rows.rows().into_iter().map(norm).collect();
        rows.rows_mut().into_iter().zip(&norms).for_each(|(mut row, norm)| row /= *norm);
        Self { rows, norms }
    }

    /// From the gradient of the normed rows to that of the rows: what is along a row does not change its direction.
    fn back(&self, gradient: &Array2<f64>) -> Array2<f64> {
        let mut back = gradient.clone();
        for ((mut back, row), norm) in back.rows_mut().into_iter().zip(self.rows.rows()).zip(&self.norms) {
            let along = back.dot(&row);
            back.scaled_add(-along, &row);
            back /= *norm;
        }
        back
    }
}

/// The sum of `ln softmax` over the diagonal, and the softmax, along rows (`Axis(1)`) or columns.
fn told(logits: &Array2<f64>, axis: Axis) -> (f64, Array2<f64>) {
    let mut softmax = logits.clone();
    let mut sum = 0.0;
    for (own, mut lane) in softmax.lanes_mut(axis).into_iter().enumerate() {
        let most = lane.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let of_own = lane[own] - most;
        lane.mapv_inplace(|v| (v - most).exp());
        let total = lane.sum();
        lane /= total;
        sum += of_own - total.ln();
    }
    (sum, softmax)
}
