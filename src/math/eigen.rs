//! Eigenvalues and eigenvectors of a symmetric matrix of some hundred rows.
//!
//! Householder reflections make the matrix tridiagonal, then implicit QL steps with Wilkinson's shift make it diagonal
//! (Golub and Van Loan, sections 8.3.1 and 8.3.3). The leading few directions of a large matrix are the business of
//! [`Pca`](crate::math::Pca).

use ndarray::{Array1, Array2, Axis, Zip, s};

/// QL steps for one eigenvalue; two or three are usual.
const MAX_STEPS: usize = 60;

/// Eigenvalues, largest first, and the eigenvectors as rows, of the symmetric matrix `a`.
pub fn symmetric_eigen(mut a: Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let n = a.nrows();
    let mut vectors = Array2::<f64>::eye(n);
    for k in 0..n.saturating_sub(2) {
        reflect(&mut a, &mut vectors, k);
    }
    let mut diagonal = a.diag().to_owned();
    let mut beside: Vec<f64> = (1..n).map(|i| a[[i, i - 1]]).collect();
    for first in 0..n.saturating_sub(1) {
        for _ in 0..MAX_STEPS {
            let negligible = |&i: &usize| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs());
            let last = (first..n - 1).find(negligible).unwrap_or(n - 1);
            if last == first {
                break;
            }
            step(&mut diagonal, &mut beside, &mut vectors, first, last);
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| diagonal[j].total_cmp(&diagonal[i]));
    (order.iter().map(|&i| diagonal[i]).collect(), vectors.select(Axis(0), &order))
}

/// Reflects rows and columns after `k` so that column `k` is zero below its subdiagonal: `A <- H A H`, `V <- H V` with
/// `H = I - 2 v v'`.
fn reflect(a: &mut Array2<f64>, vectors: &mut Array2<f64>, k: usize) {
    let mut v = a.slice(s![k + 1.., k]).to_owned();
    let norm = v.dot(&v).sqrt();
    v[0] += norm.copysign(v[0]);
    let length = v.dot(&v).sqrt();
    if length == 0.0 {
        return;
    }
    v /= length;
    // H A H = A - 2 v q' - 2 q v' with q = A v - (v' A v) v; rows and columns up to k meet v nowhere but in column k.
    let mut rest = a.slice_mut(s![k + 1.., k..]);
    let column = v.dot(&rest.column(0));
    rest.column_mut(0).scaled_add(-2.0 * column, &v);
    let mut rest = a.slice_mut(s![k + 1.., k + 1..]);
    let mut q = rest.dot(&v);
    let overlap = q.dot(&v);
    q.scaled_add(-overlap, &v);
    for (i, mut row) in rest.rows_mut().into_iter().enumerate() {
        row.scaled_add(-2.0 * v[i], &q);
        row.scaled_add(-2.0 * q[i], &v);
    }
    let mut rest = vectors.slice_mut(s![k + 1.., ..]);
    let along = v.dot(&rest); // (n,)
    for (mut row, v) in rest.rows_mut().into_iter().zip(&v) {
        row.scaled_add(-2.0 * v, &along);
    }
}

/// One implicit QL step on the block from `first` to `last` of a tridiagonal matrix; `beside[i]` stands between the
/// diagonal's `i` and `i + 1`.
fn step(diagonal: &mut Array1<f64>, beside: &mut [f64], vectors: &mut Array2<f64>, first: usize, last: usize) {
    // Wilkinson's shift: the eigenvalue of the leading 2 x 2 block that is nearer to its first entry.
    let half = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
    let shift = diagonal[first] - beside[first] / (half + half.hypot(1.0).copysign(half));
    let (mut sin, mut cos, mut moved) = (1.0, 1.0, 0.0);
    let mut g = diagonal[last] - shift;
    for i in (first..last).rev() {
        let (bulge, kept) = (sin * beside[i], cos * beside[i]);
        let r = bulge.hypot(g);
        if i + 1 < last {
            beside[i + 1] = r;
        }
        if r == 0.0 {
            // The block falls apart here: the next step starts on its part.
            diagonal[i + 1] -= moved;
            return;
        }
        (sin, cos) = (bulge / r, g / r);
        g = diagonal[i + 1] - moved;
        let t = (diagonal[i] - g) * sin + 2.0 * cos * kept;
        moved = sin * t;
        diagonal[i + 1] = g + moved;
        g = cos * t - kept;
        let (low, high) = vectors.multi_slice_mut((s![i, ..], s![i + 1, ..]));
        Zip::from(low).and(high).for_each(|low, high| {
            (*low, *high) = (cos * *low - sin * *high, sin * *low + cos * *high);
        });
    }
    diagonal[first] -= moved;
    beside[first] = g;
}
