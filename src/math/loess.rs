//! Local quadratic regression of one variable (loess), as Cleveland and Grosse compute it.
//!
//! At a point `v`, the `q = floor(n * span)` nearest observations get tricube weights, and a parabola is fitted to
//! them:
//!
//! ```text
//! w_i = (1 - (|x_i - v| / h)^3)^3,   h = distance to the q-th nearest
//! minimise sum_i w_i (y_i - b_0 - b_1 (x_i - v) - b_2 (x_i - v)^2)^2      value b_0 and slope b_1 at v
//! ```
//!
//! This is done at a few vertices only: the ends of the range, widened by 0.5 % at each side, and the medians at which
//! cells of more than `floor(0.2 * n * span)` observations are cut in two. Between neighbouring vertices the fit is
//! the cubic with their values and slopes. That interpolation is the default of every common implementation, so
//! numbers that are to agree with theirs need it too.
//!
//! Source: Cleveland & Grosse, "Computational methods for local regression", Statistics and Computing 1, 1991.

use crate::{Error, Result};

/// A cell with at most this fraction of `n * span` observations is not cut.
const CELL: f64 = 0.2;
/// By how much the range is widened at each side.
const MARGIN: f64 = 0.005;
/// Coefficients of a parabola.
const COEFFICIENTS: usize = 3;
/// Singular values below this many units of rounding, relative to the largest, count as zero.
const SINGULAR: f64 = 100.0 * f64::EPSILON;

/// The fitted values of a local quadratic regression of `y` on `x`, in the order given.
///
/// # Errors
/// Fewer than four observations, arrays of unequal length, values that are not finite, or a span outside (0, 1].
pub fn loess(x: &[f64], y: &[f64], span: f64) -> Result<Vec<f64>> {
    if x.len() != y.len() {
        return Err(Error::shape("loess", x.len(), y.len()));
    }
    if !(span > 0.0 && span <= 1.0) {
        return Err(Error::config(format!("the span of loess is {span}; it must be above 0 and at most 1")));
    }
    let n = x.len();
    if n <= COEFFICIENTS || x.iter().chain(y).any(|value| !value.is_finite()) {
        return Err(Error::data(format!(
            "loess needs at least {} observations, all of them finite; there are {n}",
            COEFFICIENTS + 1
        )));
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let sorted: Vec<(f64, f64)> = order.iter().map(|&i| (x[i], y[i])).collect();

    // The small number undoes rounding in n * span, where the product is meant to be whole.
    let nearest = ((n as f64 * span + 1e-5).floor() as usize).clamp(COEFFICIENTS + 1, n);
    let vertices = vertices(&sorted, (n as f64 * span * CELL).floor() as usize);
    let fits: Vec<(f64, f64)> = vertices.iter().map(|&vertex| fit_at(&sorted, vertex, nearest)).collect();
    Ok(x.iter()
        .map(|&at| {
            // The first vertex lies below every observation and the last above.
            let right = vertices.partition_point(|&vertex| vertex < at).clamp(1, vertices.len() - 1);
            hermite(at, (vertices[right - 1], fits[right - 1]), (vertices[right], fits[right]))
        })
        .collect())
}

/// Where parabolas are fitted, increasing.
fn vertices(sorted: &[(f64, f64)], largest_cell: usize) -> Vec<f64> {
    let (low, high) = (sorted[0].0, sorted[sorted.len() - 1].0);
    let margin = MARGIN * (high - low).max(1e-10 * low.abs().max(high.abs()) + 1e-30);
    let mut found = vec![low - margin, high + margin];
    // First and last observation of a cell, and its two vertices.
    let mut cells = vec![(0, sorted.len() - 1, found[0], found[1])];
    while let Some((first, last, left, right)) = cells.pop() {
        if last - first < largest_cell {
            continue;
        }
        let middle = between_ties(sorted, first, last, usize::midpoint(first + 1, last + 1) - 1);
        let cut = sorted[middle].0;
        if cut == left || cut == right {
            continue;
        }
        found.push(cut);
        cells.push((first, middle, left, cut));
        if middle < last {
            cells.push((middle + 1, last, cut, right));
        }
    }
    found.sort_unstable_by(f64::total_cmp);
    found.dedup();
    found
}

/// The place nearest to `middle` (looked for in turn above and below) whose next observation differs; `middle` itself
/// if there is none.
fn between_ties(sorted: &[(f64, f64)], first: usize, last: usize, middle: usize) -> usize {
    let differs = |i: usize| sorted[i].0 != sorted[i + 1].0;
    for offset in 0.. {
        let (above, below) = (middle + offset, middle.checked_sub(offset).filter(|&i| i >= first));
        if above >= last {
            return middle;
        }
        if differs(above) {
            return above;
        }
        match below {
            Some(below) if differs(below) => return below,
            Some(_) => {}
            None => return middle,
        }
    }
    middle
}

/// Value and slope at `vertex` of the parabola through its `nearest` observations.
fn fit_at(sorted: &[(f64, f64)], vertex: f64, nearest: usize) -> (f64, f64) {
    // The window of `nearest` sorted observations whose farther end is nearest.
    let mut start = 0;
    while start + nearest < sorted.len() && sorted[start + nearest].0 - vertex < vertex - sorted[start].0 {
        start += 1;
    }
    let window = &sorted[start..start + nearest];
    let width = (window[0].0 - vertex).abs().max((window[nearest - 1].0 - vertex).abs());
    if width == 0.0 {
        // All observations lie on the vertex: there is a mean, but no slope.
        return (window.iter().map(|point| point.1).sum::<f64>() / nearest as f64, 0.0);
    }
    let mut columns = [const { Vec::new() }; COEFFICIENTS];
    let mut target = Vec::with_capacity(nearest);
    for &(x, y) in window {
        let distance = x - vertex;
        let weight = (1.0 - (distance.abs() / width).powi(3)).powi(3).max(0.0).sqrt();
        columns[0].push(weight);
        columns[1].push(weight * distance);
        columns[2].push(weight * distance * distance);
        target.push(weight * y);
    }
    let solution = least_squares(columns, &target);
    (solution[0], solution[1])
}

/// The solution of smallest norm of `columns * b = target` in the sense of least squares, by one-sided Jacobi rotations
/// of the columns, each scaled to length 1 before.
fn least_squares(mut columns: [Vec<f64>; COEFFICIENTS], target: &[f64]) -> [f64; COEFFICIENTS] {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = columns.each_ref().map(|column| dot(column, column).sqrt()).map(|l| if l > 0.0 { l } else { 1.0 });
    for (column, length) in columns.iter_mut().zip(lengths) {
        column.iter_mut().for_each(|value| *value /= length);
    }
    let mut rotation = [[0.0; COEFFICIENTS]; COEFFICIENTS];
    (0..COEFFICIENTS).for_each(|i| rotation[i][i] = 1.0);
    // Convergence is quadratic; three columns need a handful of sweeps.
    for _ in 0..30 {
        let mut largest = 0.0_f64;
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            let (pp, qq) = (dot(&columns[p], &columns[p]), dot(&columns[q], &columns[q]));
            let pq = dot(&columns[p], &columns[q]);
            if pq == 0.0 {
                continue;
            }
            largest = largest.max(pq.abs() / (pp * qq).sqrt());
            let zeta = (qq - pp) / (2.0 * pq);
            let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
            let cosine = 1.0 / tangent.hypot(1.0);
            let sine = cosine * tangent;
            let rotate = |a: &mut f64, b: &mut f64| (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
            let [low, high] = columns.get_disjoint_mut([p, q]).expect("two different columns");
            low.iter_mut().zip(high).for_each(|(a, b)| rotate(a, b));
            for row in &mut rotation {
                let [a, b] = row.get_disjoint_mut([p, q]).expect("two different columns");
                rotate(a, b);
            }
        }
        if largest <= f64::EPSILON {
            break;
        }
    }
    // columns = U S, and the least-squares solution is V S^+ U^T target.
    let sizes = columns.each_ref().map(|column| dot(column, column).sqrt());
    let limit = SINGULAR * sizes.iter().copied().fold(0.0, f64::max);
    let mut solution = [0.0; COEFFICIENTS];
    for ((j, column), size) in columns.iter().enumerate().zip(sizes).filter(|(_, size)| *size > limit) {
        let share = dot(column, target) / (size * size);
        (0..COEFFICIENTS).for_each(|i| solution[i] += rotation[i][j] * share);
    }
    std::array::from_fn(|i| solution[i] / lengths[i])
}

/// The cubic that has these values and slopes at two vertices, at a point between them.
fn hermite(at: f64, left: (f64, (f64, f64)), right: (f64, (f64, f64))) -> f64 {
    let ((x0, (y0, slope0)), (x1, (y1, slope1))) = (left, right);
    let width = x1 - x0;
    let t = (at - x0) / width;
    let s = 1.0 - t;
    s * s * (1.0 + 2.0 * t) * y0 + t * t * (3.0 - 2.0 * t) * y1 + width * (t * s * s * slope0 - t * t * s * slope1)
}
