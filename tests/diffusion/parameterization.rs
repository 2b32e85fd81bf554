//! Conversions lose nothing, and weights are those of the papers.

use super::common::{diffusions, largest, matrix, mixture, reference, rng};
use genailab::model::diffusion::{GaussianMixture, LossWeight, Parameterization, Sde, gaussian_noise};
use genailab::ndarray::Array1;

const ALL: [Parameterization; 4] =
    [Parameterization::Epsilon, Parameterization::X0, Parameterization::V, Parameterization::Score];

#[test]
fn every_prediction_converts_into_every_other_and_back() {
    let (x0, epsilon) = (mixture().sample(50, &mut rng(0)).0, gaussian_noise(50, 2, 1.0, &mut rng(1)));
    for (name, sde) in diffusions() {
        for t in [0.01, 0.2, 0.5, 0.8, 1.0] {
            let x = &x0 * sde.mean(t) + &epsilon * sde.std(t);
            for from in ALL {
                let output = from.target(&x0, &epsilon, t, &sde);
                let back = from.to_epsilon(&output, &x, t, &sde).expect("a time with noise");
                assert!(
                    largest(&back, &epsilon) < 1e-8,
                    "{name} {from:?} at {t}: epsilon is off by {}",
                    largest(&back, &epsilon)
                );
                for to in ALL {
                    let converted = from.convert(to, &output, &x, t, &sde).expect("a time with noise");
                    let wanted = to.target(&x0, &epsilon, t, &sde);
                    // x0 = (x - s epsilon) / m loses the digits that m < 1 takes: up to 1 / m(1) = 150.
                    let scale = wanted.iter().fold(1.0, |top: f64, v| top.max(v.abs()));
                    let off = largest(&converted, &wanted) / scale;
                    assert!(off < 1e-10, "{name} {from:?} to {to:?} at {t}: off by {off}");
                }
            }
        }
    }
}

#[test]
fn v_is_that_of_salimans_and_ho_under_vp_and_of_unit_size_under_ve() {
    let (x0, epsilon) = (gaussian_noise(20_000, 1, 1.0, &mut rng(0)), gaussian_noise(20_000, 1, 1.0, &mut rng(1)));
    let sde = Sde::default();
    let v = Parameterization::V.target(&x0, &epsilon, 0.3, &sde);
    let wanted = &epsilon * sde.mean(0.3) - &x0 * sde.std(0.3);
    assert!(largest(&v, &wanted) < 1e-12);
    for (name, sde) in diffusions() {
        for t in [0.01, 0.5, 1.0] {
            let v = Parameterization::V.target(&x0, &epsilon, t, &sde);
            let variance = v.iter().map(|v| v * v).sum::<f64>() / v.len() as f64;
            // The standard error of a variance of 1 is sqrt(2 / 20000) = 0.01.
            assert!((variance - 1.0).abs() < 0.04, "{name} at {t}: {variance}");
        }
    }
}

#[test]
fn weights_are_those_of_the_papers() {
    let (m, s) = (0.8_f64, 0.6_f64);
    let snr = (m / s).powi(2);
    for gamma in [0.5, 5.0] {
        let weight = LossWeight::MinSnr { gamma };
        // Hang et al. 2023, section 3.4.
        for (parameterization, wanted) in [
            (Parameterization::X0, snr.min(gamma)),
            (Parameterization::Epsilon, snr.min(gamma) / snr),
            (Parameterization::V, snr.min(gamma) / (snr + 1.0)),
        ] {
            let found = weight.weight(parameterization, m, s);
            assert!((found - wanted).abs() < 1e-12, "{parameterization:?}, gamma {gamma}: {found} for {wanted}");
        }
    }
    for parameterization in ALL {
        assert_eq!(LossWeight::Uniform.weight(parameterization, m, s), 1.0);
    }
    assert!((LossWeight::Snr.weight(Parameterization::X0, m, s) - snr).abs() < 1e-12);
    assert!((LossWeight::Snr.weight(Parameterization::Epsilon, m, s) - 1.0).abs() < 1e-12);
    // Song et al. 2021: std^2 |score error|^2 is the loss of the noise.
    assert!((LossWeight::Variance.weight(Parameterization::Score, m, s) - s * s).abs() < 1e-12);
    assert!((LossWeight::Snr.weight(Parameterization::Score, m, s) - s * s).abs() < 1e-12);
}

#[test]
fn mixtures_have_the_densities_and_scores_of_scipy_and_torch() {
    let known = reference().mixture;
    let means: Vec<Array1<f64>> = known.means.iter().map(|mean| Array1::from(mean.clone())).collect();
    let covariances: Vec<_> = known.covariances.iter().map(|covariance| matrix(covariance)).collect();
    let mixture = GaussianMixture::new(&known.weights, &means, &covariances).expect("a mixture");
    let x = matrix(&known.points);
    for case in &known.cases {
        let (_, noise) = mixture.expectations(&x, case.a, case.b).expect("fits");
        if case.b > 0.0 {
            let off = largest(&(noise / -case.b), &matrix(&case.score));
            assert!(off < 1e-9, "score at ({}, {}): off by {off}", case.a, case.b);
        } else {
            let found = mixture.log_density(&x).expect("fits");
            let off = (&found - &Array1::from(case.log_density.clone())).mapv(f64::abs);
            assert!(off.iter().all(|v| *v < 1e-9), "log density: {off}");
        }
    }
    // At any time, through a diffusion whose coefficients are those of a case.
    let vp = Sde::default();
    let t = vp.time_of_log_snr((0.8_f64 / 0.6).powi(2).ln(), 1e-6);
    let found = mixture.log_density_at(&x, &vp, t).expect("fits");
    let off = (&found - &Array1::from(known.cases[1].log_density.clone())).mapv(f64::abs);
    assert!(off.iter().all(|v| *v < 1e-9), "log density at {t}: {off}");
}
