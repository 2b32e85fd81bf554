//! What does not apply says why, and never answers with a number.

use super::common::{condition, effect, norman, reason, task, training};
use genailab::{
    data::{Perturbation, TrainingData},
    predict::{Predictor, baselines::*},
};

fn singles_only() -> TrainingData {
    training(&["A", "B"], &[(condition("A", ""), [1.0, 0.0]), (condition("B", ""), [0.0, 2.0])], &[])
}

#[test]
fn what_is_fitted_to_combinations_needs_one() {
    let training = singles_only();
    let models: [&dyn Predictor; 4] = [&ScaledAdditive, &AdditivePca, &KernelRidge::common(), &KernelRidge::per_gene()];
    for model in models {
        let reason = reason(model, &training, &condition("A+B", ""));
        assert!(reason.contains("no perturbation of several genes was trained on"), "{}: {reason}", model.name());
    }
    assert!(reason(&MeanDoubles, &training, &condition("A+B", "")).contains("several genes"));
    assert!(reason(&Nearest, &training, &condition("A+B", "")).contains("no perturbation of 2 genes"));
    assert!(effect(&Additive, &training, &condition("A+B", "")).is_ok());
}

#[test]
fn one_context_has_no_control_mean_beside_no_change() {
    assert!(reason(&SimilarityWeighted, &singles_only(), &condition("A+B", "")).contains("one context"));
    assert!(reason(&ControlMean, &singles_only(), &condition("A+B", "")).contains("one context"));
    let with_control = training(&["A", "B"], &[(condition("A", "x"), [1.0, 0.0])], &[("x", [1.0, 1.0])]);
    assert!(reason(&ControlMean, &with_control, &condition("B", "x")).contains("no_change"));
}

#[test]
fn an_unseen_gene_is_named() {
    let Some(data) = norman() else { return };
    let klf1 = Perturbation::of(["KLF1"]);
    let held: Vec<Perturbation> =
        data.perturbations.iter().filter(|p| p.genes().contains(&"KLF1".to_owned())).cloned().collect();
    let task = task(&data, &held, &[]);
    let measured = task.observed.genes.iter().any(|gene| gene == "KLF1");
    for model in baselines() {
        let predicted = task.predict(model.as_ref()).expect("not applying is no failure");
        for (condition, effect) in task.observed.conditions.iter().zip(&predicted.effects) {
            let applies = match model.name() {
                "no_change" | "mean" | "matching_mean" => true,
                "mean_doubles" => condition.perturbation.genes().len() > 1,
                "linear" => measured && condition.perturbation == klf1,
                _ => false,
            };
            match effect {
                Ok(effect) => assert!(effect.iter().all(|value| value.is_finite()), "{}: {condition}", model.name()),
                Err(reason) if ["control_mean", "similarity_weighted"].contains(&model.name()) => {
                    assert!(reason.contains("one context"), "{reason}")
                }
                Err(reason) if model.name() == "log_rate_sum" => assert!(reason.contains("no counts"), "{reason}"),
                Err(reason) if model.name() == "mean_doubles" => assert!(reason.contains("one gene"), "{reason}"),
                // Of a combination the first missing gene is named.
                Err(reason) if model.name() == "linear" => assert!(reason.contains("measured genes"), "{reason}"),
                Err(reason) => assert!(reason.contains("KLF1"), "{}: {condition}: {reason}", model.name()),
            }
            if applies {
                assert!(effect.is_ok(), "{}: {condition}: {effect:?}", model.name());
            }
        }
    }
}

#[test]
fn a_training_fold_without_effects_is_refused_with_a_reason() {
    let zero = training(
        &["A", "B"],
        &[(condition("A", ""), [0.0, 0.0]), (condition("B", ""), [0.0, 0.0]), (condition("A+B", ""), [0.0, 0.0])],
        &[],
    );
    for model in baselines() {
        match effect(model.as_ref(), &zero, &condition("A+B", "")) {
            Ok(effect) => assert!(effect.iter().all(|&value| value == 0.0), "{}: {effect}", model.name()),
            Err(error) => assert_eq!(error.kind(), genailab::ErrorKind::Inapplicable, "{}: {error}", model.name()),
        }
    }
    let empty = training(&["A", "B"], &[], &[]);
    for model in models() {
        match effect(model.as_ref(), &empty, &condition("A+B", "")) {
            Ok(effect) => assert_eq!((model.name(), effect.sum()), ("no_change", 0.0)),
            Err(error) => assert_eq!(error.kind(), genailab::ErrorKind::Inapplicable, "{}: {error}", model.name()),
        }
    }
}

#[test]
fn names_are_distinct_and_found_again() {
    let models = models();
    for (i, model) in models.iter().enumerate() {
        assert!(models[..i].iter().all(|other| other.name() != model.name()), "{} stands twice", model.name());
        assert_eq!(predictor(model.name()).expect("it is listed").description(), model.description());
        assert!(!model.description().is_empty());
    }
    let error = predictor("addditive").err().expect("there is none").to_string();
    assert!(error.contains("\"addditive\"") && error.contains("scaled_additive, additive_pca"), "{error}");
}
