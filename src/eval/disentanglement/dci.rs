//! DCI: disentanglement, completeness and informativeness (Eastwood & Williams 2018).

use super::check;
use crate::{Error, Result};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// Settings of [`dci`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DciConfig {
    /// Weight of the lasso's penalty on standardised columns, scikit-learn's `alpha`. Default 0.01.
    pub alpha: f64,
    /// Most sweeps over the latents. Default 1000.
    pub max_iterations: usize,
    /// A fit ends when no coefficient moves by more. Default 1e-8.
    pub tolerance: f64,
}

impl Default for DciConfig {
    fn default() -> Self {
        Self { alpha: 0.01, max_iterations: 1000, tolerance: 1e-8 }
    }
}

/// The scores of [`dci`].
#[derive(Debug, Clone, PartialEq)]
pub struct Dci {
    /// Whether each latent describes one factor: 1 minus the entropy of its row of `importance`, averaged over latents by
    /// their share of all importance.
    pub disentanglement: f64,
    /// Whether each factor is described by one latent: the same of the columns, averaged over factors.
    pub completeness: f64,
    /// How well the latents predict the factors: mean R2 on the held-out cells, each at least 0.
    pub informativeness: f64,
    /// Absolute coefficients on standardised columns, `(latents, factors)`.
    pub importance: Array2<f64>,
}

/// Disentanglement, completeness and informativeness. The regressor is a **lasso** of each factor on all latents, one of the
/// two of the paper (the other, a random forest, sees encodings that are not linear): columns are standardised by the fitted
/// cells, and `importance` is the absolute coefficient. `fitted` cells fit it, all others judge it.
///
/// # Errors
/// Cells that differ in number, values that are not finite, a factor that does not vary among the fitted or the other cells,
/// fewer than 2 of either; an `alpha` that is not positive.
pub fn dci(z: ArrayView2<'_, f32>, factors: ArrayView2<'_, f64>, fitted: usize, config: &DciConfig) -> Result<Dci> {
    check(z, factors)?;
    if !(config.alpha > 0.0 && config.alpha.is_finite()) {
        return Err(Error::config(format!("DCI: alpha is {}; it must be a positive number", config.alpha)));
    }
    if fitted < 2 || fitted + 2 > z.nrows() {
        return Err(Error::config(format!(
            "DCI: {fitted} of {} cells to fit; leave at least 2 on each side",
            z.nrows()
        )));
    }
    let (train, test) = (z.split_at(Axis(0), fitted), factors.split_at(Axis(0), fitted));
    check(train.0, test.0)?;
    check(train.1, test.1)?;
    let scale = Standard::of(&train.0.mapv(f64::from));
    let (x, judged) = (scale.apply(&train.0.mapv(f64::from)), scale.apply(&train.1.mapv(f64::from)));
    let of_factors = Standard::of(&test.0.to_owned());
    let (y, observed) = (of_factors.apply(&test.0.to_owned()), of_factors.apply(&test.1.to_owned()));
    let mut importance = Array2::zeros((z.ncols(), factors.ncols()));
    let mut informativeness = 0.0;
    for (factor, mut column) in importance.columns_mut().into_iter().enumerate() {
        let coefficients = lasso(&x, y.column(factor), config);
        informativeness += r2(&judged.dot(&coefficients), observed.column(factor)).max(0.0);
        column.assign(&coefficients.mapv(f64::abs));
    }
    Ok(Dci {
        disentanglement: disentanglement(&importance),
        completeness: concentration(&importance, Axis(1)).mean().expect("there are factors"),
        informativeness: informativeness / factors.ncols() as f64,
        importance,
    })
}

/// Column means, and one over the standard deviations; 0 of a column that does not vary.
struct Standard {
    mean: Array1<f64>,
    scale: Array1<f64>,
}

impl Standard {
    fn of(values: &Array2<f64>) -> Self {
        let scale = values.std_axis(Axis(0), 0.0).mapv(|sd| if sd > 0.0 { 1.0 / sd } else { 0.0 });
        Self { mean: values.mean_axis(Axis(0)).expect("there are rows"), scale }
    }

    fn apply(&self, values: &Array2<f64>) -> Array2<f64> {
        (values - &self.mean) * &self.scale
    }
}

/// Coefficients that minimise `|y - x w|^2 / (2 n) + alpha |w|_1`, by coordinate descent; columns of x have variance 1 or 0.
fn lasso(x: &Array2<f64>, y: ArrayView1<'_, f64>, config: &DciConfig) -> Array1<f64> {
    let n = x.nrows() as f64;
    let gram = x.t().dot(x) / n;
    let target = x.t().dot(&y) / n;
    let mut w = Array1::<f64>::zeros(x.ncols());
    for _ in 0..config.max_iterations {
        let mut largest = 0.0_f64;
        for k in 0..w.len() {
            if gram[[k, k]] == 0.0 {
                continue;
            }
            let rest = target[k] - gram.row(k).dot(&w) + gram[[k, k]] * w[k];
            let new = rest.signum() * (rest.abs() - config.alpha).max(0.0) / gram[[k, k]];
            largest = largest.max((new - w[k]).abs());
            w[k] = new;
        }
        if largest < config.tolerance {
            break;
        }
    }
    w
}

fn r2(predicted: &Array1<f64>, observed: ArrayView1<'_, f64>) -> f64 {
    let mean = observed.mean().expect("there are cells");
    let spread: f64 = observed.iter().map(|value| (value - mean).powi(2)).sum();
    1.0 - predicted.iter().zip(observed).map(|(p, o)| (p - o).powi(2)).sum::<f64>() / spread
}

/// One minus the entropy of each lane along the other axis, in units of the largest entropy that there can be; 0 of a lane
/// without importance. `along` numbers the lanes: `Axis(0)` for latents, `Axis(1)` for factors.
fn concentration(importance: &Array2<f64>, along: Axis) -> Array1<f64> {
    let others = importance.len() / importance.len_of(along).max(1);
    let of_lane = |lane: ArrayView1<'_, f64>| {
        let total = lane.sum();
        match total > 0.0 {
            false => 0.0,
            // With a single other, there is nothing to be spread over.
            true if others == 1 => 1.0,
            true => {
                let shares = lane.iter().map(|value| value / total).filter(|share| *share > 0.0);
                1.0 + shares.map(|share| share * share.ln()).sum::<f64>() / (others as f64).ln()
            }
        }
    };
    importance.axis_iter(along).map(of_lane).collect()
}

/// The mean concentration of the latents, weighted by their importance.
fn disentanglement(importance: &Array2<f64>) -> f64 {
    let total = importance.sum();
    match total > 0.0 {
        true => concentration(importance, Axis(0)).dot(&importance.sum_axis(Axis(1))) / total,
        false => 0.0,
    }
}
