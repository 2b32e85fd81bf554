//! Splits of unseen doses, and the baselines for them.

use super::{cells, simulation};
use genailab::{
    bench::{Benchmark, chosen_for},
    data::{Conditions, Perturbation, SplitPlan, dose::name_and_dose},
};
use std::collections::BTreeSet;

fn split(name: &str, seed: u64) -> genailab::data::NamedSplit {
    let conditions = Conditions::of(cells(), None).expect("no context");
    SplitPlan::parse(name, seed).and_then(|plan| plan.divide(&conditions)).expect("it fits")
}

fn name_of(perturbation: &Perturbation) -> (&str, f64) {
    name_and_dose(&perturbation.genes()[0])
}

#[test]
fn one_dose_of_each_name_is_held_out() {
    let middle = split("doses", 0);
    assert_eq!((middle.test.len(), middle.train.len()), (10, 40));
    let dose = |condition: &genailab::data::Condition| name_of(&condition.perturbation).1;
    assert!(middle.test.iter().all(|condition| dose(condition) > 0.1 && dose(condition) < 10.0));
    assert_ne!(middle.test, split("doses", 1).test, "another seed, other doses");
    let highest = split("doses:highest", 0);
    assert!(highest.test.len() == 10 && highest.test.iter().all(|condition| dose(condition) == 10.0));
    assert!(SplitPlan::parse("doses:low", 0).is_err());
}

#[test]
fn names_are_held_out_at_all_their_doses() {
    let whole = split("perturbations", 0);
    let of = |part: &[genailab::data::Condition]| -> BTreeSet<String> {
        part.iter().map(|condition| name_of(&condition.perturbation).0.to_owned()).collect()
    };
    let (train, test) = (of(&whole.train), of(&whole.test));
    assert!(train.is_disjoint(&test) && !test.is_empty());
    assert_eq!(whole.test.len(), 5 * test.len(), "five doses of each");
}

#[test]
fn interpolation_beats_the_mean_of_the_other_doses_on_middle_doses() {
    let models = ["dose_interpolation"];
    let found = Benchmark::run(cells().clone(), "doses", 1, &models).expect("it runs");
    let l2 = |model: &str| found.summary_of(model, "l2").unwrap_or_else(|| panic!("{model} has no l2")).mean;
    let (between, mean, nothing) = (l2("dose_interpolation"), l2("dose_mean"), l2("no_change"));
    assert!(between < mean && mean < nothing, "interpolation {between}, mean {mean}, no change {nothing}");
    assert!(!simulation().truth.dose_curves.is_empty());
}

#[test]
fn baselines_of_doses_are_chosen_for_splits_of_doses_alone() {
    let names = |split: &str| -> Vec<String> {
        let plan = SplitPlan::parse(split, 0).expect("it is one");
        chosen_for(&[], &plan).expect("baselines").iter().map(|model| model.name().to_owned()).collect()
    };
    assert!(names("doses").contains(&"dose_mean".to_owned()));
    assert!(!names("doubles").iter().any(|name| name.starts_with("dose_")));
}
