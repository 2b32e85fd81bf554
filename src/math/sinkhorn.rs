//! Entropic optimal transport between two weighted sets, by Sinkhorn's iterations in the log domain.
//!
//! For a cost C `(n, m)`, weights a `(n,)` and b `(m,)`, the plan
//!
//! ```text
//! P = argmin_P <P, C> - eps H(P),   P 1 = a,  P^T 1 = b,   H(P) = -sum P (ln P - 1)
//!   = exp((f_i + g_j - C_ij) / eps)
//! f_i = eps (ln a_i - LSE_j((g_j - C_ij) / eps)),  g_j = eps (ln b_j - LSE_i((f_i - C_ij) / eps))
//! ```
//!
//! is unique (Cuturi 2013). Logarithms keep a small eps from underflowing; the potentials start from those of a larger
//! eps, halved until it is the one asked for (Schmitzer 2019), which takes far fewer iterations. As eps goes to 0, P goes to
//! an optimal plan without entropy.

use crate::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

/// Iterations at each eps on the way.
const WARM_UP: usize = 5;

/// When Sinkhorn's iterations end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkhornConfig {
    /// Iterations at the eps asked for.
    pub iterations: usize,
    /// Largest sum over rows of `|P 1 - a|` that counts as converged.
    pub tolerance: f64,
}

impl Default for SinkhornConfig {
    fn default() -> Self {
        Self { iterations: 1000, tolerance: 1e-9 }
    }
}

/// A transport plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Coupling {
    /// P, `(n, m)`.
    pub plan: Array2<f64>,
    /// `sum_i |(P 1)_i - a_i|`; the columns' sums are b to rounding.
    pub error: f64,
    /// Whether the error reached the tolerance.
    pub converged: bool,
}

impl Coupling {
    /// The mean of the rows of y `(m, width)` that each row of the plan goes to, `(n, width)`: the barycentric projection.
    pub fn barycentres(&self, y: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut targets = self.plan.dot(&y.mapv(f64::from));
        for (mut target, row) in targets.rows_mut().into_iter().zip(self.plan.rows()) {
            target /= row.sum().max(f64::MIN_POSITIVE);
        }
        targets.mapv(|v| v as f32)
    }
}

/// The plan between weights a and b, each above 0 and of the same sum.
///
/// # Errors
/// An eps that is not positive; weights that are none, or do not fit the cost; a cost that is not finite.
pub fn sinkhorn(
    cost: ArrayView2<'_, f64>,
    a: &Array1<f64>,
    b: &Array1<f64>,
    epsilon: f64,
    config: &SinkhornConfig,
) -> Result<Coupling> {
    check(cost, a, b, epsilon)?;
    let (rows, columns) = (cost.as_standard_layout(), cost.reversed_axes());
    let columns = columns.as_standard_layout();
    let (log_a, log_b) = (a.mapv(f64::ln), b.mapv(f64::ln));
    let (mut f, mut g) = (Array1::<f64>::zeros(a.len()), Array1::<f64>::zeros(b.len()));
    let mut eps = cost.iter().copied().fold(0.0, f64::max).max(epsilon);
    while eps > epsilon {
        for _ in 0..WARM_UP {
            update(&mut f, &g, rows.view(), &log_a, eps);
            update(&mut g, &f, columns.view(), &log_b, eps);
        }
        eps *= 0.5;
    }
    let mut error = f64::INFINITY;
    for iteration in 0..config.iterations {
        update(&mut f, &g, rows.view(), &log_a, epsilon);
        update(&mut g, &f, columns.view(), &log_b, epsilon);
        // The error costs as much as an update.
        if iteration % 10 == 9 || iteration + 1 == config.iterations {
            error =
                plan(&f, &g, rows.view(), epsilon).sum_axis(Axis(1)).iter().zip(a).map(|(p, a)| (p - a).abs()).sum();
            if error <= config.tolerance {
                break;
            }
        }
    }
    let plan = plan(&f, &g, rows.view(), epsilon);
    Ok(Coupling { plan, error, converged: error <= config.tolerance })
}

fn plan(f: &Array1<f64>, g: &Array1<f64>, cost: ArrayView2<'_, f64>, epsilon: f64) -> Array2<f64> {
    Array2::from_shape_fn(cost.dim(), |(i, j)| ((f[i] + g[j] - cost[[i, j]]) / epsilon).exp())
}

/// `f_i = eps (ln a_i - LSE_j((g_j - C_ij) / eps))`.
fn update(f: &mut Array1<f64>, g: &Array1<f64>, cost: ArrayView2<'_, f64>, log_a: &Array1<f64>, epsilon: f64) {
    for ((f, costs), log_a) in f.iter_mut().zip(cost.rows()).zip(log_a) {
        let exponent = |(g, c): (&f64, &f64)| (g - c) / epsilon;
        let top = g.iter().zip(costs).map(exponent).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = g.iter().zip(costs).map(|pair| (exponent(pair) - top).exp()).sum();
        *f = epsilon * (log_a - top - sum.ln());
    }
}

fn check(cost: ArrayView2<'_, f64>, a: &Array1<f64>, b: &Array1<f64>, epsilon: f64) -> Result<()> {
    let fail = |message: String| Err(Error::config(format!("optimal transport: {message}")));
    if cost.dim() != (a.len(), b.len()) || cost.is_empty() {
        return Err(Error::shape("optimal transport of cost and weights", cost.dim(), (a.len(), b.len())));
    }
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return fail(format!("the regularisation is {epsilon}; it must be a positive number"));
    }
    if !cost.iter().all(|c| c.is_finite() && *c >= 0.0) {
        return fail("a cost is negative or not finite".to_owned());
    }
    if !a.iter().chain(b).all(|w| *w > 0.0 && w.is_finite()) {
        return fail("a weight is not a positive number".to_owned());
    }
    if (a.sum() - b.sum()).abs() > 1e-9 * a.sum() {
        return fail(format!("the weights sum to {} and {}; they must have the same sum", a.sum(), b.sum()));
    }
    Ok(())
}

/// Squared Euclidean distances between the rows of x and y, `(rows of x, rows of y)`.
pub fn squared_distances(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), y.nrows()), |(i, j)| {
        x.row(i).iter().zip(y.row(j)).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    })
}
