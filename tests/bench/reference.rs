//! What models are compared with: `similarity_weighted` where a context is held out, else `additive`.

use super::common::{cells, cells_data, plans};
use genailab::{
    bench::{ALWAYS, Benchmark, Row, chosen_for, run},
    data::SplitPlan,
    show::verdict,
};
use std::collections::HashMap;

fn names(asked: &[&str], split: &str) -> Vec<String> {
    let plan = SplitPlan::parse(split, 0).expect("there is such a split");
    chosen_for(asked, &plan).expect("they exist").iter().map(|model| model.name().to_owned()).collect()
}

#[test]
fn the_reference_is_always_measured() {
    assert_eq!(names(&["ridge"], "doubles"), ["no_change", "additive", "ridge"]);
    assert_eq!(names(&["ridge"], "context:batch"), ["no_change", "additive", "similarity_weighted", "ridge"]);
    assert_eq!(names(&["ridge"], "cross-dataset:other.h5ad").len(), 4);
    assert!(ALWAYS.iter().all(|name| names(&[], "doubles").contains(&(*name).to_owned())));
}

#[test]
fn a_held_out_context_is_compared_with_near_contexts() {
    let found = Benchmark::run(cells(), "context:batch", 2, &["mean"]).expect("two batches");
    assert!(!found.comparisons.is_empty());
    for comparison in &found.comparisons {
        let expected = match comparison.metric.as_str() {
            _ if found.summary_of("similarity_weighted", &comparison.metric).is_some() => "similarity_weighted",
            _ => "additive",
        };
        assert_eq!(comparison.reference, expected, "{}", comparison.metric);
    }
    let told = verdict(&found, "l2");
    assert!(told[0].1.contains("A context is held out, so the reference is similarity_weighted"), "{told:?}");
    assert!(!told.iter().any(|(_, text)| text.contains("There is no additive prediction")), "{told:?}");
}

#[test]
fn doubles_are_compared_with_the_sum_of_their_singles() {
    let models = chosen_for(&[], &plans(1)[0].1).expect("they exist");
    let found = run(&cells_data(), &plans(1), &models).expect("a run");
    assert!(found.comparisons.iter().any(|comparison| comparison.metric == "l2"));
    assert!(found.comparisons.iter().filter(|c| c.metric == "l2").all(|c| c.reference == "additive"));
}

#[test]
fn the_strongest_reference_that_has_a_score_is_taken() {
    let row = |model: &str, perturbation: &str, value: f64| Row {
        seed: 0,
        model: model.to_owned(),
        perturbation: perturbation.to_owned(),
        metric: "l2".to_owned(),
        value,
    };
    let reference = |models: &[&str]| {
        let rows = models.iter().chain(&["mine"]).map(|model| row(model, "A in x", 1.0)).collect();
        let found = Benchmark::of_rows(rows, &HashMap::new());
        found.comparison_of("mine", "l2").expect("compared").reference.clone()
    };
    assert_eq!(reference(&["no_change", "additive", "similarity_weighted"]), "similarity_weighted");
    assert_eq!(reference(&["no_change", "mean", "additive"]), "additive");
    assert_eq!(reference(&["no_change", "mean"]), "mean");
}
