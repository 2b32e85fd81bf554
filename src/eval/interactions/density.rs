//! A smooth density of many values: histogram counts as Poisson counts whose log is a natural cubic spline.
//!
//! ```text
//! y_k ~ Poisson(f(x_k)),   log f(x) = sum_j beta_j N_j(x)
//! ```
//!
//! with x_k the middles of equal bins over the range of the values, and N the natural cubic splines with knots at the ends
//! and at the quantiles i / df of the x. Source: Lindsey's method as in Efron, JASA 2004, section 3; the splines are those
//! of Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, eqs. 5.4-5.5, which span what R's `ns` does.

/// Iterations of the weighted least squares; a Poisson regression needs about ten.
const MAX_ITERATIONS: usize = 100;
/// The deviance is settled when it moves by less than this share.
const TOLERANCE: f64 = 1e-12;

/// A fitted histogram.
#[derive(Debug, Clone)]
pub(super) struct Density {
    /// Middles of the bins.
    pub x: Vec<f64>,
    /// Values in each bin.
    pub counts: Vec<f64>,
    /// Expected values in each bin under the fit.
    pub fitted: Vec<f64>,
    /// Degrees of freedom besides the constant.
    df: usize,
}

impl Density {
    /// Fits `bins` bins with `df` degrees of freedom. `None` if the values do not vary or the regression fails.
    pub fn fit(values: &[f64], bins: usize, df: usize) -> Option<Self> {
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
        let width = (high - low) / bins as f64;
        if !(width.is_finite() && width > 0.0) {
            return None;
        }
        let mut counts = vec![0.0; bins];
        for &value in values {
            // Bins are open on the left, as R's `hist` has them.
            let bin = (((value - low) / width).ceil() as usize).clamp(1, bins) - 1;
            counts[bin] += 1.0;
        }
        let x: Vec<f64> = (0..bins).map(|k| low + (k as f64 + 0.5) * width).collect();
        let fitted = poisson_fit(&natural_spline(bins, df), &counts)?;
        Some(Self { x, counts, fitted, df })
    }

    /// Mean squared standardised difference of counts and fit, `sum (y - f)^2 / (f + 1) / (K - 2 - df)` over the inner
    /// bins: about 1 for a good fit; locfdr warns above 1.5.
    pub fn misfit(&self) -> f64 {
        let k = self.counts.len();
        let inner = 1..k - 1;
        let sum: f64 = inner.map(|i| (self.counts[i] - self.fitted[i]).powi(2) / (self.fitted[i] + 1.0)).sum();
        sum / (k - 2 - self.df) as f64
    }
}

/// Orthonormal columns `(df + 1)` of `bins` values that span the natural cubic splines over equally spaced points.
pub fn natural_spline(bins: usize, df: usize) -> Vec<Vec<f64>> {
    let last = (bins - 1) as f64;
    // The points are scaled to 0..1: the space is the same. A quantile of equally spaced points is a point of the line.
    let knots: Vec<f64> = (0..=df).map(|i| i as f64 / df as f64).collect();
    let cube = |x: f64, knot: f64| (x - knot).max(0.0).powi(3);
    let d = |x: f64, k: usize| (cube(x, knots[k]) - cube(x, knots[df])) / (knots[df] - knots[k]);
    let mut columns = vec![vec![1.0; bins], (0..bins).map(|i| i as f64 / last).collect()];
    columns.extend(
        (0..df - 1)
            .map(|k| (0..bins).map(|i| d(i as f64 / last, k) - d(i as f64 / last, df - 1)).collect::<Vec<f64>>()),
    );
    for column in 0..columns.len() {
        // Gram and Schmidt, twice, which is enough for full precision.
        for _ in 0..2 {
            for before in 0..column {
                let share = dot(&columns[before], &columns[column]);
                let (left, right) = columns.split_at_mut(column);
                right[0].iter_mut().zip(&left[before]).for_each(|(value, b)| *value -= share * b);
            }
            let norm = dot(&columns[column], &columns[column]).sqrt();
            columns[column].iter_mut().for_each(|value| *value /= norm);
        }
    }
    columns
}

/// Iteratively reweighted least squares of a Poisson regression with log link; the fitted means.
pub fn poisson_fit(columns: &[Vec<f64>], counts: &[f64]) -> Option<Vec<f64>> {
    let p = columns.len();
    let mut mu: Vec<f64> = counts.iter().map(|y| y + 0.1).collect();
    let mut deviance = f64::INFINITY;
    for _ in 0..MAX_ITERATIONS {
        let target: Vec<f64> = mu.iter().zip(counts).map(|(mu, y)| mu.ln() + (y - mu) / mu).collect();
        let mut gram = vec![vec![0.0; p]; p];
        let mut right = vec![0.0; p];
        for a in 0..p {
            for b in 0..=a {
                gram[a][b] = columns[a].iter().zip(&columns[b]).zip(&mu).map(|((a, b), w)| a * b * w).sum();
            }
            right[a] = columns[a].iter().zip(&target).zip(&mu).map(|((a, z), w)| a * z * w).sum();
        }
        let beta = solve(gram, right)?;
        for (k, mu) in mu.iter_mut().enumerate() {
            *mu = columns.iter().zip(&beta).map(|(column, beta)| column[k] * beta).sum::<f64>().exp();
        }
        if !mu.iter().all(|mu| mu.is_finite() && *mu > 0.0) {
            return None;
        }
        let term = |(y, mu): (&f64, &f64)| if *y > 0.0 { y * (y / mu).ln() - (y - mu) } else { *mu };
        let now = 2.0 * counts.iter().zip(&mu).map(term).sum::<f64>();
        if (now - deviance).abs() <= TOLERANCE * (now.abs() + 0.1) {
            return Some(mu);
        }
        deviance = now;
    }
    None
}

/// Solves a symmetric positive definite system, of which the lower half is given, by Cholesky's factors.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = a[i][j] - (0..j).map(|k| a[i][k] * a[j][k]).sum::<f64>();
            if i == j && sum <= 0.0 {
                return None;
            }
            a[i][j] = if i == j { sum.sqrt() } else { sum / a[j][j] };
        }
        b[i] = (b[i] - (0..i).map(|k| a[i][k] * b[k]).sum::<f64>()) / a[i][i];
    }
    for i in (0..n).rev() {
        b[i] = (b[i] - (i + 1..n).map(|k| a[k][i] * b[k]).sum::<f64>()) / a[i][i];
    }
    Some(b)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
