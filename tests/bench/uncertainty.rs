//! Drawn cells and drawn means of known distributions, and what to measure next.

use genailab::{
    bench::uncertainty::{GaussianReference, judge_cells, judge_means, next_experiments, order_note, spread_entropy},
    math::Pca,
    ndarray::{Array1, Array2},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

fn normal(rows: usize, mean: f32, sd: f32, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_fn((rows, 8), |_| mean + sd * rng.sample::<f32, _>(StandardNormal))
}

#[test]
fn draws_of_the_truth_are_calibrated_and_others_are_told_from_them() {
    let space = Pca::fit(normal(400, 0.0, 1.0, 9).view(), 3, 0).unwrap();
    let reference = GaussianReference { mean: Array1::zeros(8), deviation: Array1::from_elem(8, 3.0) };
    let observed = normal(300, 0.0, 1.0, 1);
    let judge = |drawn: &Array2<f32>| judge_cells(&observed, drawn, &reference, &space, 0).unwrap();
    let (right, narrow, moved) =
        (judge(&normal(300, 0.0, 1.0, 2)), judge(&normal(300, 0.0, 0.4, 3)), judge(&normal(300, 1.0, 1.0, 4)));
    // 300 x 8 transforms: a standard error of 0.006, and 300 draws put some 0.01 on it.
    assert!((right.coverage[8] - 0.9).abs() < 0.04, "90 % holds {}", right.coverage[8]);
    assert!(narrow.coverage[8] < 0.6, "intervals that are too narrow hold {}", narrow.coverage[8]);
    assert!(right.crps < narrow.crps && right.crps < moved.crps && right.crps < right.crps_point);
    // The closed form of the CRPS of a standard normal at its own distribution is 1 / sqrt pi = 0.564.
    assert!((right.crps - 0.564).abs() < 0.03, "{}", right.crps);
    assert!(right.crps < right.crps_gaussian, "a normal three times too wide is worse");
    let (same, halves) = (right.e_distance.unwrap(), right.e_distance_halves.unwrap());
    assert!(same < 1.5 * halves, "the truth is as far as another half: {same} and {halves}");
    assert!(moved.e_distance.unwrap() > 5.0 * halves);
}

#[test]
fn opponents_are_judged_by_the_same_cells_and_ratios_of_variances_by_control() {
    let space = Pca::fit(normal(400, 0.0, 1.0, 9).view(), 3, 0).unwrap();
    let reference = GaussianReference { mean: Array1::zeros(8), deviation: Array1::ones(8) };
    // Gene g varies (1 + g) times as much as in control.
    let stretched = |seed: u64| {
        let mut cells = normal(300, 0.0, 1.0, seed);
        cells.columns_mut().into_iter().enumerate().for_each(|(gene, mut cells)| cells *= 1.0 + gene as f32);
        cells
    };
    let (observed, drawn, control) = (stretched(1), stretched(2), normal(300, 0.0, 1.0, 3));
    let judged = judge_cells(&observed, &drawn, &reference, &space, 0).unwrap();
    let opponents = [("control", control.clone()), ("other genes", Array2::zeros((300, 5)))];
    let judged = judged.beside((&observed, &drawn), &control, &opponents, &space, 0);
    assert!(judged.log_variance_ratio_correlation.unwrap() > 0.98);
    // Both are spread alike, and wider than control in the components of unstretched cells.
    let [drawn_more, observed_more] = judged.entropy.unwrap();
    assert!((drawn_more - observed_more).abs() < 0.3 && observed_more > 1.0, "{drawn_more}, {observed_more}");
    // ln of the factor, for each column; and the entropy of N(0, I) is 1/2 ln(2 pi e) = 1.4189 a column.
    let points = normal(20_000, 0.0, 1.0, 4);
    let (one, three) = (spread_entropy(points.view()).unwrap(), spread_entropy((points * 3.0).view()).unwrap());
    assert!((one - 8.0 * 1.4189).abs() < 0.1 && (three - one - 8.0 * 3.0_f64.ln()).abs() < 1e-3, "{one}, {three}");
    let [control] = judged.opponents.as_slice() else { panic!("what cannot be judged is left out") };
    assert_eq!(control.name, "control");
    assert!(judged.crps < control.crps && judged.e_distance < control.e_distance);
}

#[test]
fn zeros_that_many_cells_share_do_not_lift_the_coverage_of_transforms() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut cells = || Array2::from_shape_fn((400, 8), |_| if rng.random::<f32>() < 0.93 { 0.0 } else { 1.0 });
    let (observed, drawn) = (cells(), cells());
    let space = Pca::fit(normal(50, 0.0, 1.0, 6).view(), 2, 0).unwrap();
    let reference = GaussianReference { mean: Array1::zeros(8), deviation: Array1::ones(8) };
    let judged = judge_cells(&observed, &drawn, &reference, &space, 0).unwrap();
    assert!(judged.closed_coverage_90 > 0.92, "the closed interval holds all zeros: {}", judged.closed_coverage_90);
    assert!((judged.coverage[8] - 0.9).abs() < 0.03, "{}", judged.coverage[8]);
}

#[test]
fn the_right_spread_has_the_right_coverage_and_the_lowest_crps() {
    let genes = 2000;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut normal = |sd: f64| -> f64 { sd * rng.sample::<f64, _>(StandardNormal) };
    let observed: Array1<f64> = (0..genes).map(|_| normal(1.0)).collect();
    let predicted = Array1::zeros(genes);
    let mut judge = |sd: f64| {
        let draws = Array2::from_shape_fn((200, genes), |_| normal(sd));
        judge_means(&observed, &predicted, &draws, &Array1::from_elem(genes, 3.0), 0).unwrap()
    };
    let (right, narrow) = (judge(1.0), judge(0.3));
    assert!((right.coverage[8] - 0.9).abs() < 0.03, "{}", right.coverage[8]);
    assert!(narrow.coverage[8] < 0.5, "{}", narrow.coverage[8]);
    assert!(right.crps < narrow.crps && right.crps < right.crps_point && right.crps < right.crps_gaussian);
    assert!((right.expected_error / right.error - 1.0).abs() < 0.1);
    assert!((right.mean_of_draws - 1.0).abs() < 0.02, "the mean of 200 draws is the prediction");
}

#[test]
fn the_least_known_come_first_and_what_is_not_a_number_is_left_out() {
    let candidates = [("a", 0.1, 1.0), ("b", 0.4, 0.2), ("c", f64::NAN, 1.0), ("d", 0.1, 2.0)];
    let ranked = next_experiments(candidates.map(|(name, error, effect)| (name.to_owned(), error, effect)));
    let names: Vec<&str> = ranked.iter().map(|next| next.perturbation.as_str()).collect();
    assert_eq!(names, ["b", "d", "a"]);
    assert!((ranked[0].relative - 2.0).abs() < 1e-12);
    assert_eq!(order_note(&ranked), None);
    let alike = [("a", 0.300, 1.0), ("b", 0.301, 2.0)].map(|(name, error, effect)| (name.to_owned(), error, effect));
    let note = order_note(&next_experiments(alike)).expect("the errors are nearly the same");
    assert!(note.contains("all 2 pairs (0.300 to 0.301)"), "{note}");
}
