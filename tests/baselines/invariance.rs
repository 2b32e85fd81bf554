//! The order of genes and of conditions means nothing.

use super::common::{norman, task};
use genailab::{
    bench::Task,
    data::{Effects, Perturbation},
    eval::l2,
    ndarray::Axis,
    predict::baselines::baselines,
};
use std::collections::BTreeMap;

/// The same dataset with its rows and columns in another order, both reversed, and perturbations written B+A.
fn reversed(data: &Effects) -> Effects {
    let rows: Vec<usize> = (0..data.perturbations.len()).rev().collect();
    let columns: Vec<usize> = (0..data.genes.len()).rev().collect();
    Effects {
        values: data.values.select(Axis(0), &rows).select(Axis(1), &columns),
        genes: data.genes.select(&columns),
        perturbations: rows
            .iter()
            .map(|&row| Perturbation::of(data.perturbations[row].genes().iter().rev().cloned()))
            .collect(),
        table: data.table.select(&rows),
    }
}

/// Predictions by condition and gene name.
fn by_name(task: &Task, model: &str) -> BTreeMap<String, Vec<f32>> {
    let model = genailab::predict::baselines::predictor(model).expect("it exists");
    let predicted = task.predict(model.as_ref()).expect("it fits");
    let mut genes: Vec<usize> = (0..task.observed.genes.len()).collect();
    genes.sort_by_key(|&gene| &task.observed.genes[gene]);
    let answers = task.observed.conditions.iter().zip(predicted.effects);
    answers
        .filter_map(|(condition, effect)| {
            let effect = effect.ok()?;
            Some((condition.to_string(), genes.iter().map(|&gene| effect[gene]).collect()))
        })
        .collect()
}

#[test]
fn closed_form_baselines_do_not_depend_on_any_order() {
    let Some(data) = norman() else { return };
    let test: Vec<Perturbation> =
        data.perturbations.iter().filter(|p| p.genes().len() == 2).step_by(3).cloned().collect();
    let (forward, backward) = (task(&data, &test, &[]), task(&reversed(&data), &test, &[]));
    // A trained network sees its rows in an order of their own.
    for model in baselines().iter().map(|model| model.name()).filter(|&name| name != "latent_additive") {
        let (a, b) = (by_name(&forward, model), by_name(&backward, model));
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{model}");
        for (condition, a) in &a {
            let (apart, size) = (l2(a, &b[condition]).expect("same length"), l2(a, &vec![0.0; a.len()]).expect("same"));
            assert!(apart <= 1e-5 * size.max(1.0), "{model}, {condition}: {apart} of {size}");
        }
    }
}
