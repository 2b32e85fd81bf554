//! Does each latent describe one true factor, and each factor one latent?
//!
//! Latents z `(cells, latents)`, true factors v `(cells, factors)` of the same cells. A factor with categories is one column
//! of zeros and ones per category. All scores lie between 0 and 1, the higher the better; a factor that does not vary is an
//! error, a latent that does not vary says nothing.
//!
//! | score | equation | source |
//! |---|---|---|
//! | MIG | `mean_f (I(z_1st; v_f) - I(z_2nd; v_f)) / H(v_f)`, from histograms | Chen et al. 2018, eq. 6 |
//! | SAP | `mean_f (R2_1st - R2_2nd)`, `R2` of the regression of v_f on one latent | Kumar et al. 2018 |
//! | DCI | disentanglement, completeness, informativeness by a lasso; see [`dci`] | Eastwood & Williams 2018 |
//!
//! 1st and 2nd are the two latents with the highest value for the factor. MIG and SAP are 0 where two latents share a factor
//! evenly, as after a rotation; DCI also punishes a latent that describes two factors.

mod dci;

pub use dci::{Dci, DciConfig, dci};

use crate::{Error, Result};
use ndarray::{Array2, ArrayView1, ArrayView2};

/// Refuses shapes and values that no score can be computed from.
fn check(z: ArrayView2<'_, f32>, factors: ArrayView2<'_, f64>) -> Result<()> {
    if z.nrows() != factors.nrows() {
        return Err(Error::shape("disentanglement: latents and factors of the same cells", z.dim(), factors.dim()));
    }
    if z.nrows() < 2 || z.ncols() == 0 || factors.ncols() == 0 {
        return Err(Error::data(format!(
            "disentanglement: {} cells, {} latents and {} factors say nothing; at least 2, 1 and 1 are needed",
            z.nrows(),
            z.ncols(),
            factors.ncols()
        )));
    }
    if z.iter().any(|value| !value.is_finite()) || factors.iter().any(|value| !value.is_finite()) {
        return Err(Error::data("disentanglement: a latent or a factor is not finite"));
    }
    match factors.columns().into_iter().position(|factor| factor.iter().all(|value| *value == factor[0])) {
        Some(flat) => {
            Err(Error::data(format!("disentanglement: factor {flat} is the same in all cells; leave it out")))
        }
        None => Ok(()),
    }
}

/// The bin of each value: `bins` of equal width from the smallest to the largest.
fn histogram_bins(values: &[f64], bins: usize) -> Vec<usize> {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    let width = high - low;
    let bin = |value: f64| if width > 0.0 { (((value - low) / width * bins as f64) as usize).min(bins - 1) } else { 0 };
    values.iter().map(|&value| bin(value)).collect()
}

/// Mutual information of two lists of bins, in nats: the plug-in estimate, `sum p(a,b) ln (p(a,b) / p(a) p(b))`.
fn mutual_information(a: &[usize], b: &[usize], bins: usize) -> f64 {
    let (mut joint, mut of_a, mut of_b) = (vec![0.0; bins * bins], vec![0.0; bins], vec![0.0; bins]);
    let share = 1.0 / a.len() as f64;
    for (&a, &b) in a.iter().zip(b) {
        joint[a * bins + b] += share;
        of_a[a] += share;
        of_b[b] += share;
    }
    let terms = joint.iter().enumerate().filter(|(_, p)| **p > 0.0);
    terms.map(|(at, &p)| p * (p / (of_a[at / bins] * of_b[at % bins])).ln()).sum()
}

/// `(first, second)` largest values; the second of a single value is 0.
fn two_largest(values: ArrayView1<'_, f64>) -> (f64, f64) {
    values.iter().fold((0.0, 0.0), |(first, second), &value| match value > first {
        true => (value, first),
        false => (first, value.max(second)),
    })
}

/// The mean over the columns of the first minus the second largest value.
fn mean_gap(table: &Array2<f64>) -> f64 {
    let gaps = table.columns().into_iter().map(|column| {
        let (first, second) = two_largest(column);
        first - second
    });
    gaps.sum::<f64>() / table.ncols() as f64
}

/// Mutual information of each latent and factor as a share of the factor's entropy, `(latents, factors)`, from histograms
/// with `bins` bins of equal width along both; 20 is usual (Locatello et al. 2019). The plug-in estimate is too high by about
/// `(bins - 1)^2 / (2 cells)` nats for independent variables.
///
/// # Errors
/// Cells that differ in number, values that are not finite, a factor that does not vary; fewer than 2 bins.
pub fn mutual_information_table(
    z: ArrayView2<'_, f32>,
    factors: ArrayView2<'_, f64>,
    bins: usize,
) -> Result<Array2<f64>> {
    check(z, factors)?;
    if bins < 2 {
        return Err(Error::config(format!("mutual information: {bins} bins hold no information; give at least 2")));
    }
    let latents: Vec<Vec<usize>> = z
        .columns()
        .into_iter()
        .map(|latent| histogram_bins(&latent.iter().map(|&value| f64::from(value)).collect::<Vec<_>>(), bins))
        .collect();
    let mut table = Array2::zeros((z.ncols(), factors.ncols()));
    for (factor, mut column) in factors.columns().into_iter().zip(table.columns_mut()) {
        let factor = histogram_bins(&factor.to_vec(), bins);
        let entropy = mutual_information(&factor, &factor, bins);
        for (latent, value) in latents.iter().zip(&mut column) {
            *value = mutual_information(latent, &factor, bins) / entropy;
        }
    }
    Ok(table)
}

/// The mutual information gap: in [`mutual_information_table`], the mean over the factors of the largest value minus the second.
///
/// # Errors
/// As there.
pub fn mutual_information_gap(z: ArrayView2<'_, f32>, factors: ArrayView2<'_, f64>, bins: usize) -> Result<f64> {
    Ok(mean_gap(&mutual_information_table(z, factors, bins)?))
}

/// The separated attribute predictability of factors that are numbers: the mean over the factors of the largest minus the second
/// largest squared correlation with a latent.
///
/// # Errors
/// Cells that differ in number, values that are not finite, a factor that does not vary.
pub fn separated_attribute_predictability(z: ArrayView2<'_, f32>, factors: ArrayView2<'_, f64>) -> Result<f64> {
    check(z, factors)?;
    let centred = |values: ArrayView1<'_, f64>| -> Vec<f64> {
        let mean = values.mean().expect("there are cells");
        values.iter().map(|value| value - mean).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let z = z.mapv(f64::from);
    let latents: Vec<Vec<f64>> = z.columns().into_iter().map(centred).collect();
    let mut table = Array2::zeros((z.ncols(), factors.ncols()));
    for (factor, mut column) in factors.columns().into_iter().zip(table.columns_mut()) {
        let factor = centred(factor);
        for (latent, value) in latents.iter().zip(&mut column) {
            let spread = dot(latent, latent) * dot(&factor, &factor);
            *value = if spread > 0.0 { dot(latent, &factor).powi(2) / spread } else { 0.0 };
        }
    }
    Ok(mean_gap(&table))
}
