//! Each closed-form baseline against `tests/reference/baselines.py`.

use super::common::{norman, task};
use genailab::{data::Perturbation, eval::l2, predict::baselines::predictor};
use serde_json::Value;

const RELATIVE: f64 = 1e-5;

fn names(value: &Value) -> Vec<Perturbation> {
    let names: Vec<String> = serde_json::from_value(value.clone()).expect("a list of names");
    names.iter().map(|name| Perturbation::of(name.split('+'))).collect()
}

#[test]
fn closed_form_baselines_agree_with_numpy_and_scikit_learn() {
    let Some(data) = norman() else { return };
    let reference: Value = serde_json::from_str(include_str!("../reference/baselines.json")).expect("the file is JSON");
    let left_out = names(&reference["left_out"]);
    let mut wrong = Vec::new();
    for name in ["doubles", "unseen"] {
        let expected = &reference[name];
        let test = names(&expected["test"]);
        let task = task(&data, &test, &left_out);
        let models = expected["models"].as_object().expect("a table of models");
        assert!(models.len() >= 12);
        for (model, expected) in models {
            let predicted = task.predict(predictor(model).expect("it exists").as_ref()).expect("it fits");
            let zero = vec![0.0; task.observed.genes.len()];
            for (i, condition) in task.observed.conditions.iter().enumerate() {
                let place = test.iter().position(|p| *p == condition.perturbation).expect("it is judged");
                let observed = task.observed.effects.row(i).to_vec();
                for (what, other) in [("norm", &zero), ("l2", &observed)] {
                    let expected = expected[what][place].as_f64();
                    let got = predicted.effects[i].as_ref().ok().map(|e| l2(&e.to_vec(), other).expect("same length"));
                    let close = match (got, expected) {
                        (Some(got), Some(expected)) => (got - expected).abs() <= RELATIVE * expected.abs().max(1e-3),
                        (got, expected) => got.is_none() && expected.is_none(),
                    };
                    if !close {
                        wrong.push(format!("{name}: {model}, {condition}, {what}: {got:?}, expected {expected:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}
