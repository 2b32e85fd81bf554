//! Agreement of two sets of cells a gene at a time: spread and zeros, beside the means.
//!
//! A model may meet every mean and still predict the same cell again and again, or cells without the zeros that
//! measured ones are full of. These three numbers show it.

use crate::{data::Counts, eval::metrics::pearson, math::median};
use ndarray::ArrayView2;

/// Moments of each gene over a set of cells, `(genes,)`.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneMoments {
    /// Number of cells.
    pub n: usize,
    /// Mean.
    pub mean: Vec<f64>,
    /// Variance with n in the denominator.
    pub variance: Vec<f64>,
    /// Share of cells in which the gene is exactly 0.
    pub zero_fraction: Vec<f64>,
}

impl GeneMoments {
    /// Of cells `(cells, genes)`; `None` without cells.
    pub fn of_dense(cells: ArrayView2<'_, f32>) -> Option<Self> {
        let every = |row: usize, visit: &mut dyn FnMut(usize, f32)| {
            cells.row(row).iter().enumerate().for_each(|(gene, &value)| visit(gene, value));
        };
        Self::of(cells.nrows(), cells.ncols(), every)
    }

    /// Of the cells `rows` of a sparse matrix `(cells, genes)`; `None` without cells.
    pub fn of_sparse(cells: &Counts, rows: &[usize]) -> Option<Self> {
        let stored = |row: usize, visit: &mut dyn FnMut(usize, f32)| {
            let (genes, values) = cells.row(rows[row]);
            genes.iter().zip(values).for_each(|(&gene, &value)| visit(gene as usize, value));
        };
        Self::of(rows.len(), cells.n_genes(), stored)
    }

    /// `each(row, visit)` hands over the entries of a row; those that it leaves out are 0.
    fn of(n: usize, genes: usize, each: impl Fn(usize, &mut dyn FnMut(usize, f32))) -> Option<Self> {
        if n == 0 {
            return None;
        }
        let (mut mean, mut filled) = (vec![0.0; genes], vec![0_usize; genes]);
        for row in 0..n {
            each(row, &mut |gene, value| {
                mean[gene] += f64::from(value);
                filled[gene] += usize::from(value != 0.0);
            });
        }
        mean.iter_mut().for_each(|sum| *sum /= n as f64);
        // Around the mean, in a second pass; every zero departs from it by the mean itself.
        let mut variance: Vec<f64> =
            mean.iter().zip(&filled).map(|(mean, &filled)| mean * mean * (n - filled) as f64).collect();
        for row in 0..n {
            each(row, &mut |gene, value| {
                if value != 0.0 {
                    variance[gene] += (f64::from(value) - mean[gene]).powi(2);
                }
            });
        }
        variance.iter_mut().for_each(|sum| *sum /= n as f64);
        let zero_fraction = filled.iter().map(|&filled| (n - filled) as f64 / n as f64).collect();
        Some(Self { n, mean, variance, zero_fraction })
    }
}

/// Pearson correlation over genes of the predicted and the observed variance, as in scGen's variance plot (Lotfollahi
/// et al., Nature Methods 2019; its R2 is the square). Control cells moved by an effect keep control's variances and
/// score well where the perturbation leaves them as they are.
///
/// `None` with fewer than two cells, other genes, or where all genes of one side vary alike.
pub fn variance_correlation(predicted: &GeneMoments, observed: &GeneMoments) -> Option<f64> {
    if predicted.n.min(observed.n) < 2 {
        return None;
    }
    let narrow = |moments: &GeneMoments| moments.variance.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    pearson(&narrow(predicted), &narrow(observed))
}

/// Median over genes of `|share of zeros predicted - share of zeros observed|`; 0 is best, 1 worst. Zero means exactly 0:
/// a model of continuous values that never draws a zero is off by the observed share.
///
/// `None` with other genes.
pub fn zero_fraction_error(predicted: &GeneMoments, observed: &GeneMoments) -> Option<f64> {
    let (x, y) = (&predicted.zero_fraction, &observed.zero_fraction);
    if x.len() != y.len() || x.is_empty() {
        return None;
    }
    median(x.iter().zip(y).map(|(x, y)| (x - y).abs()).collect())
}

/// Mean over genes of `KL(x || y) + KL(y || x)` of the normal distributions with their moments, in nats; pertpy's
/// `sym_kldiv`. `epsilon` is added to each standard deviation, 1e-8 there.
///
/// A gene that is silent on one side only has a divergence of about `1 / epsilon^2` and decides the mean alone, so
/// that the benchmark leaves this one out. `None` without cells or with other genes.
pub fn symmetric_kl(x: &GeneMoments, y: &GeneMoments, epsilon: f64) -> Option<f64> {
    if x.mean.len() != y.mean.len() || x.mean.is_empty() {
        return None;
    }
    let sum: f64 = (0..x.mean.len())
        .map(|gene| {
            let (a, b) = (x.variance[gene].sqrt() + epsilon, y.variance[gene].sqrt() + epsilon);
            let apart = (x.mean[gene] - y.mean[gene]).powi(2);
            (a * a + apart) / (2.0 * b * b) + (b * b + apart) / (2.0 * a * a) - 1.0
        })
        .sum();
    let mean = sum / x.mean.len() as f64;
    mean.is_finite().then_some(mean)
}
