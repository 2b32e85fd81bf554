//! The Gaussian operations of the VAE.

use genailab::{
    dfdx::prelude::{Cpu, TensorFromVec},
    nn::{
        Matrix,
        ops::{gaussian_kl, gaussian_nll},
    },
};

fn row(values: &[f32]) -> Matrix<Cpu> {
    Cpu::default().tensor_from_vec(values.to_vec(), (1, values.len()))
}

#[test]
fn kl_of_a_unit_normal_is_zero_and_grows_with_the_mean() {
    assert_eq!(gaussian_kl(row(&[0.0, 0.0]), row(&[0.0, 0.0])).expect("shapes fit").as_vec(), [0.0]);
    // 1/2 (4 + e^1 - 1 - 1) = 1/2 (2 + e)
    let kl = gaussian_kl(row(&[2.0]), row(&[1.0])).expect("shapes fit").as_vec()[0];
    assert!((kl - 0.5 * (2.0 + 1f32.exp())).abs() < 1e-6, "{kl}");
}

#[test]
fn gaussian_nll_matches_the_density() {
    let log_sigma = Cpu::default().tensor_from_vec(vec![0.5, -0.25], (2,));
    let nll = gaussian_nll(row(&[1.0, 2.0]), row(&[0.0, 2.5]), &log_sigma).expect("shapes fit").as_vec()[0];
    let density =
        |x: f64, m: f64, s: f64| 0.5 * ((x - m) / s).powi(2) + s.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln();
    let expected = density(0.0, 1.0, 0.5f64.exp()) + density(2.5, 2.0, (-0.25f64).exp());
    assert!((f64::from(nll) - expected).abs() < 1e-5, "{nll} {expected}");
    assert!(gaussian_nll(row(&[1.0]), row(&[0.0, 2.5]), &log_sigma).is_err());
}
