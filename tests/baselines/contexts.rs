//! Perturbations in contexts, by hand.

use super::common::{condition, effect, reason, training};
use genailab::{
    data::TrainingData,
    ndarray::array,
    predict::{Predictor, baselines::*},
};

/// Three genes, of which C is never perturbed; contexts x and y are trained on, z has control only.
fn two_contexts() -> TrainingData {
    training(
        &["A", "B", "C"],
        &[
            (condition("A", "x"), [1.0, 0.0, 0.0]),
            (condition("A", "y"), [3.0, 0.0, 0.0]),
            (condition("B", "x"), [0.0, 2.0, 0.0]),
            (condition("A+B", "x"), [1.0, 1.0, 0.0]),
        ],
        &[("x", [1.0, 1.0, 1.0]), ("y", [3.0, 1.0, 1.0]), ("z", [9.0, 9.0, 9.0])],
    )
}

fn close(model: &dyn Predictor, name: &str, context: &str, expected: [f32; 3]) {
    let got = effect(model, &two_contexts(), &condition(name, context)).expect("it applies");
    let near = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-6);
    assert!(near, "{}: {name} in {context}: {got}, expected {expected:?}", model.name());
}

#[test]
fn a_single_effect_is_that_of_the_context_or_the_mean_of_the_others() {
    let data = two_contexts();
    let training = data.effects().expect("effects");
    let single = |gene: &str, context: &str| training.single(gene, Some(context)).map(|effect| effect.to_vec());
    assert_eq!(single("A", "x").expect("trained there"), [1.0, 0.0, 0.0]);
    assert_eq!(single("A", "z").expect("trained in x and y"), [2.0, 0.0, 0.0]);
    assert_eq!(single("B", "y").expect("trained in x"), [0.0, 2.0, 0.0]);
    assert!(single("C", "x").expect_err("never perturbed").to_string().contains("single perturbation of C"));
}

#[test]
fn additive_carries_effects_to_a_held_out_context() {
    close(&Additive, "A", "z", [2.0, 0.0, 0.0]);
    close(&Additive, "A+B", "z", [2.0, 2.0, 0.0]);
    close(&Additive, "A+B", "y", [3.0, 2.0, 0.0]);
    // s = <(1, 1), (1, 2)> / |(1, 2)|^2 = 3/5, for combinations only.
    close(&ScaledAdditive, "A+B", "z", [1.2, 1.2, 0.0]);
    close(&ScaledAdditive, "A", "z", [2.0, 0.0, 0.0]);
}

#[test]
fn means_are_those_of_the_context_where_it_was_trained_on() {
    close(&Mean, "A+B", "x", [2.0 / 3.0, 1.0, 0.0]);
    close(&Mean, "A+B", "z", [1.25, 0.75, 0.0]);
    close(&MeanDoubles, "A+B", "z", [1.0, 1.0, 0.0]);
    close(&MatchingMean, "A+B", "z", [1.0, 1.0, 0.0]);
    close(&MatchingMean, "A+C", "z", [1.625, 0.375, 0.0]);
    close(&MatchingMean, "C", "x", [2.0 / 3.0, 1.0, 0.0]);
}

#[test]
fn control_mean_is_the_mean_control_of_the_trained_contexts() {
    close(&ControlMean, "A", "x", [1.0, 0.0, 0.0]);
    close(&ControlMean, "A", "z", [-7.0, -8.0, -8.0]);
    close(&NoChange, "A", "z", [0.0, 0.0, 0.0]);
}

#[test]
fn the_nearest_to_a_perturbation_is_itself_in_another_context() {
    close(&Nearest, "A", "z", [2.0, 0.0, 0.0]);
    close(&Nearest, "A+B", "z", [1.0, 1.0, 0.0]);
}

/// `sum_k w_k d_k / sum_k w_k` with `w_k = exp(-D_k^2 / (2 min_k D_k^2))`, plainly.
fn weighted(own: &[f64], others: &[(&[f64], &[f64])]) -> Vec<f64> {
    let distances: Vec<f64> =
        others.iter().map(|(m, _)| own.iter().zip(*m).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()).collect();
    let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let weights: Vec<f64> = distances.iter().map(|d| (-d * d / (2.0 * least * least)).exp()).collect();
    let total: f64 = weights.iter().sum();
    (0..own.len()).map(|g| others.iter().zip(&weights).map(|((_, d), w)| w * d[g]).sum::<f64>() / total).collect()
}

#[test]
fn similar_contexts_weigh_more() {
    let (x, y, z) = ([1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [9.0, 9.0, 9.0]);
    let expected = |own: &[f64]| -> [f32; 3] {
        let of = weighted(own, &[(&x, &[1.0, 0.0, 0.0]), (&y, &[3.0, 0.0, 0.0])]);
        [of[0] as f32, of[1] as f32, of[2] as f32]
    };
    let in_z = expected(&z);
    // z lies 13.9 from x and 12.8 from y: exp(-0.587) and exp(-0.5).
    assert!((in_z[0] - 2.0435).abs() < 1e-3, "{in_z:?}");
    close(&SimilarityWeighted, "A", "z", in_z);
    // Trained there: the measured effect.
    close(&SimilarityWeighted, "A", "y", [3.0, 0.0, 0.0]);
    // Trained in one other context, its weight does not matter.
    close(&SimilarityWeighted, "A+B", "z", [1.0, 1.0, 0.0]);
    close(&SimilarityWeighted, "B", "y", [0.0, 2.0, 0.0]);
    assert!(reason(&SimilarityWeighted, &two_contexts(), &condition("C", "z")).contains("C"));
    assert!(reason(&SimilarityWeighted, &two_contexts(), &condition("A", "w")).contains("no control"));
}

#[test]
fn a_context_with_the_same_control_is_copied_and_a_new_combination_is_a_sum() {
    let training = training(
        &["A", "B"],
        &[
            (condition("A", "x"), [1.0, 0.0]),
            (condition("A", "y"), [5.0, 1.0]),
            (condition("B", "x"), [0.0, 2.0]),
            (condition("B", "y"), [4.0, 4.0]),
        ],
        &[("x", [1.0, 1.0]), ("y", [2.0, 1.0]), ("z", [2.0, 1.0]), ("v", [3.0, 1.0])],
    );
    let of = |name: &str, context: &str| {
        effect(&SimilarityWeighted, &training, &condition(name, context)).expect("it applies").to_vec()
    };
    assert_eq!(of("A", "z"), [5.0, 1.0], "y has the control profile of z");
    assert_eq!(of("A+B", "z"), [9.0, 5.0]);
    // v lies 1 from y and 2 from x: weights exp(-1/2) and exp(-2).
    let (near, far) = ((-0.5_f64).exp(), (-2.0_f64).exp());
    let expected = ((5.0 * near + far) / (near + far)) as f32;
    assert!((of("A", "v")[0] - expected).abs() < 1e-6, "{:?}, expected {expected}", of("A", "v"));
    let one = [("x", [1.0, 1.0])];
    let alone = super::common::training(&["A", "B"], &[(condition("A", "x"), [1.0, 0.0])], &one);
    assert!(reason(&SimilarityWeighted, &alone, &condition("A", "x")).contains("one context"));
}

#[test]
fn linear_reaches_measured_genes_and_no_others() {
    let training = two_contexts();
    let linear = LinearBaseline { components: 2, ridge: 0.1 };
    let unseen = effect(&linear, &training, &condition("C", "y")).expect("C is measured");
    assert!(unseen.iter().all(|value| value.is_finite()));
    assert!(reason(&linear, &training, &condition("D", "y")).contains("D is not among the measured genes"));
    assert!(reason(&LinearBaseline::default(), &training, &condition("A", "z")).contains("10 components"));
}

#[test]
fn three_genes_are_a_set_too() {
    let training = training(
        &["A", "B", "C"],
        &[
            (condition("A", "x"), [1.0, 0.0, 0.0]),
            (condition("B", "x"), [0.0, 2.0, 0.0]),
            (condition("C", "x"), [0.0, 0.0, 3.0]),
            (condition("A+B", "x"), [1.0, 1.0, 0.0]),
            (condition("A+B+C", "x"), [0.5, 1.0, 1.5]),
        ],
        &[("x", [1.0, 1.0, 1.0])],
    );
    let of = |model: &dyn Predictor, name: &str| effect(model, &training, &condition(name, "x")).expect("applies");
    assert_eq!(of(&Additive, "A+B+C"), array![1.0, 2.0, 3.0]);
    // Trained, so that it is its own nearest; A+C is nearest to the only pair.
    assert_eq!(of(&Nearest, "A+B+C"), array![0.5, 1.0, 1.5]);
    assert_eq!(of(&Nearest, "A+C"), array![1.0, 1.0, 0.0]);
    // Pull towards its own residual: between the scaled sum and the truth.
    let (scaled, kernel) = (of(&ScaledAdditive, "A+B+C"), of(&KernelRidge::common(), "A+B+C"));
    assert!((0.5 - kernel[0]).abs() < (0.5 - scaled[0]).abs(), "{kernel} {scaled}");
}
