//! All baselines on real cells: doubles, and a held-out context.

use crate::common::real_data;
use genailab::{
    bench::{BenchmarkData, Task},
    data::{SplitPlan, open},
    eval::l2,
    predict::baselines::{baselines, predictor},
};
use std::collections::BTreeMap;

/// Mean L2 of each baseline that applies to all conditions; the others must say why they do not.
fn errors(task: &Task) -> BTreeMap<String, f64> {
    let mut errors = BTreeMap::new();
    for model in baselines() {
        let predicted = task.predict(model.as_ref()).expect("not applying is no failure");
        let observed = task.observed.effects.rows().into_iter();
        let error: Option<Vec<f64>> = observed
            .zip(&predicted.effects)
            .map(|(observed, effect)| match effect {
                Ok(effect) => l2(&effect.to_vec(), &observed.to_vec()),
                Err(reason) => {
                    assert!(!reason.is_empty());
                    None
                }
            })
            .collect();
        if let Some(error) = error {
            let mean = error.iter().sum::<f64>() / error.len() as f64;
            eprintln!("{:<22} {mean:.3}", model.name());
            errors.insert(model.name().to_owned(), mean);
        }
    }
    errors
}

#[test]
fn doubles_of_real_cells() {
    let Some(path) = real_data("norman_cells.h5ad") else { return };
    let data = BenchmarkData::new(open(path).expect("cells"), None).expect("counts");
    let task = Task::of_plan(&data, &SplitPlan::doubles(0), 0).expect("there are doubles");
    let errors = errors(&task);
    // Not control_mean (one context); linear only where all perturbed genes are among the 500 measured ones.
    for model in baselines().iter().map(|model| model.name()).filter(|&name| name != "control_mean" && name != "linear")
    {
        assert!(errors.contains_key(model), "{model} applies to doubles of known singles");
    }
    assert!(errors["scaled_additive"] < errors["no_change"], "{errors:?}");
}

#[test]
fn a_held_out_context_of_real_cells() {
    let Some(path) = real_data("jurkat_tcr_cells.h5ad") else { return };
    let data = BenchmarkData::new(open(path).expect("cells"), Some("perturbation_2")).expect("a column of cells");
    let plan = SplitPlan::context("perturbation_2", Some("stimulated"), 0);
    let task = Task::of_plan(&data, &plan, 0).expect("the column has this value");
    assert!(task.observed.conditions.len() >= 30 && task.training.effects().expect("effects").len() >= 30);
    let errors = errors(&task);
    for model in
        ["no_change", "control_mean", "mean", "matching_mean", "additive", "ridge", "nearest", "latent_additive"]
    {
        assert!(errors.contains_key(model), "{model} applies to singles in a held-out context: {errors:?}");
    }
    assert!((errors["additive"] - errors["nearest"]).abs() < 1e-6, "one effect elsewhere is what both have");
    // The stimulated control is far from the other one: a predictor that ignores the context pays for it.
    assert!(errors["control_mean"] > errors["no_change"], "{errors:?}");
    let additive = task.predict(predictor("additive").expect("exists").as_ref()).expect("it fits");
    for (condition, effect) in task.observed.conditions.iter().zip(&additive.effects) {
        let row = task
            .training
            .effects()
            .expect("effects")
            .row_of(&condition.perturbation, Some("unstimulated"))
            .expect("trained there");
        assert_eq!(
            effect.as_ref().expect("applies").to_vec(),
            task.training.effects().expect("effects").effects.row(row).to_vec()
        );
    }
}
