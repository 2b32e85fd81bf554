//! Splits of unseen doses, and the baselines for them.

use super::{cells, simulation};
use genailab::{
    bench::{Benchmark, chosen_for},
    data::{
        Condition, Conditions, EffectTable, NamedSplit, Perturbation, SplitPlan, TrainingData, dose::name_and_dose,
    },
    ndarray::Axis,
    predict::baselines::predictor,
};
use std::collections::BTreeSet;

fn split(name: &str, seed: u64) -> NamedSplit {
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
    let dose = |condition: &Condition| name_of(&condition.perturbation).1;
    assert!(middle.test.iter().all(|condition| dose(condition) > 0.1 && dose(condition) < 10.0));
    assert_ne!(middle.test, split("doses", 1).test, "another seed, other doses");
    let highest = split("doses:highest", 0);
    assert!(highest.test.len() == 10 && highest.test.iter().all(|condition| dose(condition) == 10.0));
    assert!(SplitPlan::parse("doses:low", 0).is_err());
}

#[test]
fn names_are_held_out_at_all_their_doses() {
    let whole = split("perturbations", 0);
    let of = |part: &[Condition]| -> BTreeSet<String> {
        part.iter().map(|condition| name_of(&condition.perturbation).0.to_owned()).collect()
    };
    let (train, test) = (of(&whole.train), of(&whole.test));
    assert!(train.is_disjoint(&test) && !test.is_empty());
    assert_eq!(whole.test.len(), 5 * test.len(), "five doses of each");
}

/// The true effects, in log expected counts: without the noise of measured cells, which a mean of several doses averages out.
fn true_effects() -> EffectTable {
    let truth = &simulation().truth;
    let control = truth.mean_of(&Perturbation::control()).expect("control").mapv(f32::ln);
    let rows: Vec<usize> =
        (0..truth.perturbations.len()).filter(|&row| !truth.perturbations[row].is_control()).collect();
    EffectTable {
        genes: truth.genes.clone().into(),
        conditions: rows.iter().map(|&row| Condition::of(truth.perturbations[row].clone())).collect(),
        effects: truth.means.select(Axis(0), &rows).mapv(f32::ln) - &control,
        n_cells: vec![0; rows.len()],
    }
}

#[test]
fn interpolation_beats_the_mean_of_the_other_doses_on_middle_doses() {
    let (all, split) = (true_effects(), split("doses", 0));
    let (test, train): (Vec<usize>, Vec<usize>) =
        (0..all.len()).partition(|&row| split.test.contains(&all.conditions[row]));
    let data = TrainingData::of_table(all.select(&train), None, 0);
    let error = |name: &str| -> f32 {
        let fitted = predictor(name).expect("it is there").fit(&data).expect("names have doses");
        let off = |&row: &usize| {
            let predicted = fitted.effect(&all.conditions[row]).expect("trained at other doses");
            (predicted - all.effects.row(row)).mapv(|x| x * x).sum().sqrt()
        };
        test.iter().map(off).sum()
    };
    let (between, mean, nothing) = (error("dose_interpolation"), error("dose_mean"), error("no_change"));
    assert!(between < 0.5 * mean && mean < nothing, "interpolation {between}, mean {mean}, no change {nothing}");
}

#[test]
fn a_benchmark_of_doses_measures_the_baselines_of_doses() {
    let found = Benchmark::run(cells().clone(), "doses", 1, &["dose_mean"]).expect("it runs");
    let l2 = |model: &str| found.summary_of(model, "l2").unwrap_or_else(|| panic!("{model} has no l2")).mean;
    assert!(l2("dose_mean") < l2("no_change") && l2("dose_interpolation") < l2("no_change"));
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
