//! `eval::sets`: against slow plain versions, against closed forms, and against scperturb, pertpy, geomloss, POT, scipy,
//! scikit-learn and statsmodels (`tests/reference/sets.py`); and what the benchmark makes of it.

mod energy;
mod measure;
mod plain;
mod python;
mod transport;

use genailab::ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

#[track_caller]
fn close(got: impl Into<Option<f64>>, expected: f64, relative: f64, what: &str) {
    let got = got.into().unwrap_or_else(|| panic!("{what}: absent, expected {expected}"));
    let allowed = relative * expected.abs();
    assert!((got - expected).abs() <= allowed, "{what}: {got}, expected {expected} (allowed difference {allowed:e})");
}

fn gaussian(n: usize, d: usize, mean: f64, sd: f64, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let normal = Normal::new(mean, sd).expect("a positive spread");
    Array2::from_shape_simple_fn((n, d), || normal.sample(&mut rng) as f32)
}
