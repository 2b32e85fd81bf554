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

#[test]
fn linear_reaches_measured_genes_and_no_others() {
    let training = two_contexts();
    let linear = Linear { components: 2, ridge: 0.1 };
    let unseen = effect(&linear, &training, &condition("C", "y")).expect("C is measured");
    assert!(unseen.iter().all(|value| value.is_finite()));
    assert!(reason(&linear, &training, &condition("D", "y")).contains("D is not among the measured genes"));
    assert!(reason(&Linear::default(), &training, &condition("A", "z")).contains("10 components"));
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
