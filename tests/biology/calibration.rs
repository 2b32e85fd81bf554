//! Coverage, CRPS, reliability, selective prediction.

use super::{close, list, number, reference};
use genailab::eval::calibration::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

fn normal(rng: &mut ChaCha8Rng, sd: f64, n: usize) -> Vec<f64> {
    Normal::new(0.0, sd).expect("a normal").sample_iter(rng).take(n).collect()
}

#[test]
fn scores_agree_with_scoringrules_numpy_and_the_definition() {
    let reference = reference("calibration");
    let sample = Sample::new(list::<f64>(&reference["sample"])).expect("finite");
    let observed: Vec<f64> = list(&reference["observed"]);
    for key in ["crps_integral", "crps_nrg"] {
        for (&y, expected) in observed.iter().zip(list::<f64>(&reference[key])) {
            close(sample.crps(y), expected, 1e-9, key);
        }
    }
    let fair = sample.fair_crps(&observed).expect("defined");
    close(fair, number(&reference["crps_fair_mean"]), 1e-9, "fair CRPS");
    for (level, expected) in reference["coverage"].as_object().expect("an object") {
        let got = sample.coverage(&observed, level.parse().expect("a number")).expect("defined");
        close(got, number(expected), 1e-12, level);
    }
    for (p, expected) in reference["quantiles"].as_object().expect("an object") {
        close(sample.quantile(p.parse().expect("a number")), number(expected), 1e-12, p);
    }
    for case in reference["gaussian"].as_array().expect("a list") {
        let [mean, sigma, y] = ["mean", "sigma", "y"].map(|key| number(&case[key]));
        let got = crps_gaussian(mean, sigma, y).expect("defined");
        close(got, number(&case["crps"]), 1e-9, "CRPS of a normal");
        close(got, number(&case["integral"]), 1e-6, "CRPS of a normal, the integral");
    }
}

#[test]
fn a_true_spread_is_calibrated_and_scores_best() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let observed = normal(&mut rng, 1.0, 4000);
    let mut crps = Vec::new();
    for (sd, at_90) in [(0.5, 0.589), (1.0, 0.9), (2.0, 0.999)] {
        let sample = Sample::new(normal(&mut rng, sd, 4000)).expect("finite");
        let got = sample.coverage(&observed, 0.9).expect("defined");
        // Phi(1.645 sd) - Phi(-1.645 sd)
        assert!((got - at_90).abs() < 0.02, "sd {sd}: coverage {got}, expected {at_90}");
        crps.push(sample.fair_crps(&observed).expect("defined"));
        let pits: Vec<f64> = observed.iter().map(|&y| sample.pit(y, rng.random())).collect();
        let levels = [0.1, 0.5, 0.9];
        let curve = reliability(&pits, &levels).expect("defined");
        let error = calibration_error(&levels, &curve).expect("defined");
        assert_eq!(error < 0.03, sd == 1.0, "sd {sd}: calibration error {error}");
        let histogram = pit_histogram(&pits, 10).expect("defined");
        close(histogram.iter().sum(), 1.0, 1e-9, "shares");
        assert_eq!(histogram[0] > 0.15, sd == 0.5, "too narrow is a U: {histogram:?}");
    }
    assert!(crps[1] < crps[0] && crps[1] < crps[2], "the CRPS is proper: {crps:?}");
    // Between two draws of the same normal the CRPS is E|X - Y| / 2 = 1 / sqrt pi.
    assert!((crps[1] - std::f64::consts::PI.sqrt().recip()).abs() < 0.02, "{}", crps[1]);
}

#[test]
fn fair_crps_does_not_depend_on_the_number_of_draws() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let observed = normal(&mut rng, 1.0, 300);
    let mut mean = |draws: usize| {
        let values = (0..2000)
            .map(|_| Sample::new(normal(&mut rng, 1.0, draws)).expect("finite").fair_crps(&observed).expect("defined"));
        values.sum::<f64>() / 2000.0
    };
    let (few, many) = (mean(3), mean(60));
    assert!((few - many).abs() < 0.02, "{few} {many}");
}

#[test]
fn ties_do_not_spoil_the_transform() {
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let mut counts = |n: usize| -> Vec<f64> { (0..n).map(|_| f64::from(rng.random_range(0..10_u8) / 7)).collect() };
    let (sample, observed) = (Sample::new(counts(20_000)).expect("finite"), counts(20_000));
    let pits: Vec<f64> = observed.iter().map(|&y| sample.pit(y, rng.random())).collect();
    let levels = [0.2, 0.5, 0.8];
    let curve = reliability(&pits, &levels).expect("defined");
    assert!(calibration_error(&levels, &curve).expect("defined") < 0.02, "{curve:?}");
    // The interval itself holds more than its level where 70 % of the values are equal.
    assert!(sample.coverage(&observed, 0.5).expect("defined") > 0.65);
}

#[test]
fn selection_by_a_useful_uncertainty_pays() {
    let errors = [1.0, 2.0, 3.0, 6.0];
    let curve = selective_curve(&errors, &[0.1, 0.2, 0.2, 0.9]).expect("defined");
    assert_eq!(curve, [(0.25, 1.0), (0.75, 2.0), (1.0, 3.0)]);
    assert_eq!(selective_curve(&errors, &[0.5; 4]).expect("defined"), [(1.0, 3.0)]);
    assert_eq!(selective_curve(&errors, &[0.5; 3]), None);
    close(variance_correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]).expect("defined"), 1.0, 1e-12, "variances");
}

#[test]
fn what_is_undefined_is_none() {
    assert!(Sample::new([]).is_none());
    assert!(Sample::new([1.0, f64::NAN]).is_none());
    let one = Sample::new([2.0]).expect("finite");
    assert_eq!((one.crps(5.0), one.fair_crps(&[5.0])), (3.0, None));
    assert_eq!(one.coverage(&[], 0.9), None);
    assert_eq!(crps_gaussian(0.0, -1.0, 0.0), None);
    assert_eq!(crps_gaussian(1.0, 0.0, 3.0), Some(2.0));
    assert_eq!(pit_histogram(&[1.5], 10), None);
    assert_eq!(reliability(&[], &[0.5]), None);
}
