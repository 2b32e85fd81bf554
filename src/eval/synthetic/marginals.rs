//! Genes one by one, and in pairs.

use crate::eval::{pearson, sets::wasserstein_1d};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::Serialize;

/// Genes whose correlations are compared: those that vary most among the real records.
const MOST_GENES: usize = 200;

/// How near the distribution of each gene is, and the correlation of each pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Marginals {
    /// Kolmogorov-Smirnov statistic of a gene: mean over genes.
    pub ks: f64,
    /// Wasserstein distance of a gene, in standard deviations of the real records: mean over genes that vary.
    pub wasserstein: f64,
    /// Difference of a gene's share of zeros: mean absolute over genes.
    pub zero_share: f64,
    /// Pearson correlation between the two sets of the gene-gene correlations; `None` where a set has none.
    pub correlation_agreement: Option<f64>,
    /// Root mean square difference of the gene-gene correlations.
    pub correlation_rmse: f64,
}

/// Largest difference between the distribution functions of x and y; 0 where one is empty.
pub fn kolmogorov_smirnov(x: &[f64], y: &[f64]) -> f64 {
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let (x, y) = (sorted(x), sorted(y));
    let (mut i, mut j, mut largest) = (0, 0, 0.0_f64);
    while i < x.len() && j < y.len() {
        let at = x[i].min(y[j]);
        while i < x.len() && x[i] <= at {
            i += 1;
        }
        while j < y.len() && y[j] <= at {
            j += 1;
        }
        largest = largest.max((i as f64 / x.len() as f64 - j as f64 / y.len() as f64).abs());
    }
    largest
}

/// Compares a set with real records, `(records, genes)` each.
pub fn marginals(set: ArrayView2<'_, f32>, real: ArrayView2<'_, f32>) -> Marginals {
    let genes = real.ncols();
    let column = |of: &ArrayView2<'_, f32>, gene: usize| of.column(gene).mapv(f64::from).to_vec();
    let sd = real.mapv(f64::from).std_axis(Axis(0), 0.0);
    let zeros = |values: &[f64]| values.iter().filter(|value| **value == 0.0).count() as f64 / values.len() as f64;
    let (mut ks, mut wasserstein, mut zero_share, mut varying) = (0.0, 0.0, 0.0, 0_usize);
    for gene in 0..genes {
        let (x, y) = (column(&set, gene), column(&real, gene));
        ks += kolmogorov_smirnov(&x, &y);
        zero_share += (zeros(&x) - zeros(&y)).abs();
        if sd[gene] > 0.0 {
            wasserstein += wasserstein_1d(&x, &y).unwrap_or(0.0) / sd[gene];
            varying += 1;
        }
    }
    let mut chosen: Vec<usize> = (0..genes).collect();
    chosen.sort_by(|&a, &b| sd[b].total_cmp(&sd[a]));
    chosen.truncate(MOST_GENES);
    let (of_set, of_real) = (correlations(set, &chosen), correlations(real, &chosen));
    let squares: f64 = of_set.iter().zip(&of_real).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let n = genes.max(1) as f64;
    Marginals {
        ks: ks / n,
        wasserstein: wasserstein / varying.max(1) as f64,
        zero_share: zero_share / n,
        correlation_agreement: pearson(&of_set, &of_real),
        correlation_rmse: (squares / of_set.len().max(1) as f64).sqrt(),
    }
}

/// Pearson correlations of all pairs of the genes `chosen`; 0 of a gene that does not vary.
fn correlations(x: ArrayView2<'_, f32>, chosen: &[usize]) -> Vec<f32> {
    let x = x.select(Axis(1), chosen).mapv(f64::from);
    let mean = x.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(chosen.len()));
    let sd = x.std_axis(Axis(0), 0.0).mapv(|sd| if sd > 0.0 { 1.0 / sd } else { 0.0 });
    let standard = (x - &mean) * &sd;
    let all: Array2<f64> = standard.t().dot(&standard) / standard.nrows().max(1) as f64;
    (0..chosen.len()).flat_map(|a| (a + 1..chosen.len()).map(move |b| (a, b))).map(|pair| all[pair] as f32).collect()
}
