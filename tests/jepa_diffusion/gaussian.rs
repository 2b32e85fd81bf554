//! The optimal denoiser of Gaussian data, against plain linear algebra, and the examples that a network is trained on around it.

use genailab::{
    model::{
        diffusion::{Denoiser, GaussianMixture, Schedule, Sde, gaussian_noise, seeded},
        jepa_diffusion::{Axes, anchored_examples, gaussian_denoised},
    },
    ndarray::{Array1, Array2, Axis, array},
};

fn covariance() -> Array2<f64> {
    array![[2.0, 0.6, -0.3], [0.6, 0.5, 0.1], [-0.3, 0.1, 0.9]]
}

fn axes() -> Axes {
    Axes::of_covariance(covariance()).expect("it varies")
}

/// Solves `A y = b` by elimination.
fn solved(mut a: Array2<f64>, mut b: Array1<f64>) -> Array1<f64> {
    let n = b.len();
    for pivot in 0..n {
        for row in pivot + 1..n {
            let factor = a[[row, pivot]] / a[[pivot, pivot]];
            for column in pivot..n {
                a[[row, column]] -= factor * a[[pivot, column]];
            }
            b[row] -= factor * b[pivot];
        }
    }
    for row in (0..n).rev() {
        for column in row + 1..n {
            b[row] -= a[[row, column]] * b[column];
        }
        b[row] /= a[[row, row]];
    }
    b
}

#[test]
fn the_gaussian_denoiser_is_that_of_plain_linear_algebra() {
    let (s, x) = (covariance(), array![[0.3, -1.0, 2.0], [1.5, 0.2, -0.7]]);
    let mean = array![[1.0, 0.0, -1.0], [0.5, 0.5, 0.0]];
    for (a, noise) in [(0.99, 0.1), (0.6, 0.8), (0.05, 1.0)] {
        let found = gaussian_denoised(&x, &mean, &axes(), (a, noise));
        let noised = &s * (a * a) + Array2::<f64>::eye(3) * (noise * noise);
        for row in 0..2 {
            let off = &x.row(row) - &(&mean.row(row) * a);
            let expected = &mean.row(row) + &(s.dot(&solved(noised.clone(), off)) * a);
            for (found, expected) in found.row(row).iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-10, "{found}, expected {expected}");
            }
        }
    }
}

#[test]
fn the_gaussian_denoiser_is_that_of_a_mixture_of_one() {
    let sde = Sde::Vp(Schedule::cosine());
    let mean = array![0.4, -0.2, 1.0];
    let mixture = GaussianMixture::new(&[1.0], std::slice::from_ref(&mean), &[covariance()]).expect("a covariance");
    let exact = mixture.denoiser(sde);
    let x = gaussian_noise(5, 3, 1.0, &mut seeded(1));
    for t in [0.1, 0.5, 0.9] {
        let (a, s) = (sde.mean(t), sde.std(t));
        let expected = (&x - &(exact.noise(&x, t).expect("it fits") * s)) / a;
        let means = mean.broadcast((5, 3)).expect("one row for all").to_owned();
        let off = (gaussian_denoised(&x, &means, &axes(), (a, s)) - expected).mapv(f64::abs);
        assert!(off.iter().all(|off| *off < 1e-8), "{off}");
    }
}

#[test]
fn the_expected_loss_is_the_trace_of_the_posterior_covariance() {
    let s = covariance();
    for (a, noise) in [(0.9, 0.4), (0.3, 0.95)] {
        let noised = &s * (a * a) + Array2::<f64>::eye(3) * (noise * noise);
        let explained = |axis: usize| s.row(axis).dot(&solved(noised.clone(), s.column(axis).to_owned())) * a * a;
        let expected = (0..3).map(|axis| s[[axis, axis]] - explained(axis)).sum::<f64>() / 3.0;
        assert!((axes().expected_loss(a, noise) - expected).abs() < 1e-10);
    }
}

#[test]
fn examples_are_what_the_gaussian_part_leaves_and_of_unit_size() {
    let (sde, axes) = (Sde::Vp(Schedule::cosine()), axes());
    let n = 4000;
    let unit = |seed| gaussian_noise(n, 3, 1.0, &mut seeded(seed));
    let r = (unit(1) * &axes.variances.mapv(f64::sqrt)).mapv(|v| v as f32);
    let epsilon = unit(2).mapv(|v| v as f32);
    for t in [0.05, 0.5, 0.95] {
        let (input, target) = anchored_examples(&r, &vec![t; n], &epsilon, &sde, &axes);
        let (a, s) = (sde.mean(t), sde.std(t));
        let (gains, scale) = (axes.gains(a, s), axes.expected_loss(a, s).sqrt());
        let x = input.mapv(f64::from) * &axes.noised_deviations(a, s);
        // What the network answers, and the Gaussian part, are the data together.
        let together = &x * &gains + target.mapv(f64::from) * scale;
        let off = (together - r.mapv(f64::from)).mapv(f64::abs);
        assert!(off.iter().all(|off| *off < 1e-4), "t = {t}");
        let size = |values: &Array2<f32>| values.mapv(|v| f64::from(v * v)).mean().expect("there are values");
        assert!((size(&input) - 1.0).abs() < 0.1, "t = {t}: the input has a mean square of {}", size(&input));
        assert!((size(&target) - 1.0).abs() < 0.1, "t = {t}: the target has a mean square of {}", size(&target));
    }
}

#[test]
fn axes_of_few_rows_have_a_variance_and_those_of_none_are_refused() {
    let few = array![[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]];
    let axes = Axes::of_deviations(&few, 1).expect("it varies");
    assert!(axes.variances.iter().all(|v| *v > 0.0), "{}", axes.variances);
    assert_eq!(axes.back(&axes.along(&few)).sum_axis(Axis(0)).len(), 3);
    let error = Axes::of_deviations(&Array2::zeros((4, 3)), 1).expect_err("nothing varies").to_string();
    assert!(error.contains("do not vary"), "{error}");
}
