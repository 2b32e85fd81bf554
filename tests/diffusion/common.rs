//! Targets whose densities are known, and comparisons.

use genailab::{
    model::diffusion::{GaussianMixture, Schedule, Sde},
    ndarray::{Array1, Array2, Axis, array},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
pub struct Reference {
    pub times: Vec<f64>,
    pub schedules: Schedules,
    pub moments: BTreeMap<String, Moments>,
    pub mixture: Mixture,
    pub assignments: Vec<Assigned>,
    pub lotka_volterra: LotkaVolterra,
}

#[derive(Deserialize)]
pub struct Schedules {
    pub cosine_discrete: Vec<f64>,
    #[serde(flatten)]
    pub rates: BTreeMap<String, Rates>,
}

#[derive(Deserialize)]
pub struct Rates {
    pub beta: Vec<f64>,
    pub integral: Vec<f64>,
    pub alpha_bar: Vec<f64>,
}

#[derive(Deserialize)]
pub struct Moments {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

#[derive(Deserialize)]
pub struct Mixture {
    pub weights: Vec<f64>,
    pub means: Vec<Vec<f64>>,
    pub covariances: Vec<Vec<Vec<f64>>>,
    pub points: Vec<Vec<f64>>,
    pub cases: Vec<Noised>,
}

#[derive(Deserialize)]
pub struct Noised {
    pub a: f64,
    pub b: f64,
    pub log_density: Vec<f64>,
    pub score: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
pub struct Assigned {
    pub rows: usize,
    pub columns: usize,
    pub cost: i64,
}

#[derive(Deserialize)]
pub struct LotkaVolterra {
    pub end: Vec<f64>,
    pub evaluations: usize,
}

pub fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/diffusion.json")).expect("its script's form")
}

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

pub fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

pub fn gaussian() -> GaussianMixture {
    GaussianMixture::new(&[1.0], &[array![0.8, -0.5]], &[array![[0.5, 0.2], [0.2, 0.3]]]).expect("a Gaussian")
}

/// Two well separated, unequal, slanted components.
pub fn mixture() -> GaussianMixture {
    let means = [array![1.5, -0.5], array![-1.0, 1.0]];
    let covariances = [array![[0.20, 0.10], [0.10, 0.15]], array![[0.10, -0.05], [-0.05, 0.25]]];
    GaussianMixture::new(&[0.3, 0.7], &means, &covariances).expect("a mixture")
}

pub const VE: Sde = Sde::Ve { sigma_min: 0.01, sigma_max: 20.0 };

pub fn diffusions() -> [(&'static str, Sde); 4] {
    [
        ("VP", Sde::Vp(Schedule::linear())),
        ("VP cosine", Sde::Vp(Schedule::cosine())),
        ("sub-VP", Sde::SubVp(Schedule::linear())),
        ("VE", VE),
    ]
}

pub fn largest(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

pub fn mean(x: &Array2<f64>) -> Array1<f64> {
    x.mean_axis(Axis(0)).expect("rows")
}

pub fn covariance(x: &Array2<f64>) -> Array2<f64> {
    let centred = x - &mean(x);
    centred.t().dot(&centred) / x.nrows() as f64
}

/// `x` has the mean and covariance of `target` to `standard_errors` of a sample of its size, plus `bias` times the target's
/// largest variance for what a sampler's finite steps do.
pub fn assert_moments(what: &str, x: &Array2<f64>, target: &GaussianMixture, standard_errors: f64, bias: f64) {
    let (found, wanted) = (covariance(x), target.covariance());
    let size = wanted.diag().iter().copied().fold(0.0, f64::max);
    let n = x.nrows() as f64;
    let off = (&mean(x) - &target.mean()).mapv(f64::abs).iter().copied().fold(0.0, f64::max);
    // Of a mean: sd / sqrt n; of a variance of a normal: variance sqrt(2 / n), and less for two clumps.
    let allowed = standard_errors * (size / n).sqrt() + bias * size.sqrt();
    assert!(off <= allowed, "{what}: the mean is off by {off:.4}, allowed {allowed:.4}");
    let off = largest(&found, &wanted);
    let allowed = (standard_errors * (2.0 / n).sqrt() + bias) * size;
    assert!(
        off <= allowed,
        "{what}: the covariance is off by {off:.4}, allowed {allowed:.4}: {found:.4} for {wanted:.4}"
    );
}
