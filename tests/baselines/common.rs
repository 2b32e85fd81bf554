//! What the tests share.

use crate::common::real_data;
use genailab::{
    ErrorKind,
    bench::{BenchmarkData, Task},
    data::{Condition, Controls, EffectTable, Effects, Opened, Perturbation, Split, TrainingData},
    ndarray::{Array1, Array2, Axis},
    predict::Predictor,
};
use std::collections::BTreeMap;

/// The effects of Norman 2019.
pub fn norman() -> Option<Effects> {
    real_data("norman_pseudobulk.h5ad").map(|path| Effects::open(path).expect("a valid effects dataset"))
}

/// The task that trains on all perturbations but those of `test`.
pub fn task(data: &Effects, test: &[Perturbation], left_out: &[Perturbation]) -> Task {
    let mut data = data.clone();
    let kept: Vec<usize> =
        (0..data.perturbations.len()).filter(|&row| !left_out.contains(&data.perturbations[row])).collect();
    data.values = data.values.select(Axis(0), &kept);
    data.perturbations = kept.iter().map(|&row| data.perturbations[row].clone()).collect();
    data.table = data.table.select(&kept);
    let (test, train) = (0..kept.len()).partition(|&row| test.contains(&data.perturbations[row]));
    let split = Split { train, validation: Vec::new(), test };
    let data = BenchmarkData::new(Opened::Effects(data), None).expect("effects need nothing");
    Task::new(&data, &split, &BTreeMap::new(), 0).expect("the split fits")
}

/// A perturbation in a context, or in the only one (`""`).
pub fn condition(name: &str, context: &str) -> Condition {
    let context = (!context.is_empty()).then(|| context.to_owned());
    Condition { perturbation: Perturbation::of(name.split('+')), context }
}

/// A training fold by hand: effects of conditions, and a control profile of each context (none for effects).
pub fn training<const GENES: usize>(
    genes: &[&str; GENES],
    conditions: &[(Condition, [f32; GENES])],
    controls: &[(&str, [f32; GENES])],
) -> TrainingData {
    let table = |rows: Vec<[f32; GENES]>| Array2::from_shape_fn((rows.len(), GENES), |(row, gene)| rows[row][gene]);
    let controls = (!controls.is_empty()).then(|| Controls {
        contexts: controls.iter().map(|(name, _)| Some((*name).to_owned())).collect(),
        profiles: table(controls.iter().map(|(_, profile)| *profile).collect()),
    });
    let effects = EffectTable {
        genes: genes.iter().map(|gene| (*gene).to_owned()).collect::<Vec<_>>().into(),
        conditions: conditions.iter().map(|(condition, _)| condition.clone()).collect(),
        effects: table(conditions.iter().map(|(_, effect)| *effect).collect()),
        n_cells: vec![0; conditions.len()],
    };
    TrainingData::of_table(effects, controls, 0)
}

/// The effect that a predictor gives after training.
pub fn effect(model: &dyn Predictor, training: &TrainingData, condition: &Condition) -> genailab::Result<Array1<f32>> {
    model.fit(training)?.effect(condition)
}

/// Why a predictor does not apply.
#[track_caller]
pub fn reason(model: &dyn Predictor, training: &TrainingData, condition: &Condition) -> String {
    let error = effect(model, training, condition).expect_err("it must not apply");
    assert_eq!(error.kind(), ErrorKind::Inapplicable, "{}: {error}", model.name());
    error.to_string()
}
