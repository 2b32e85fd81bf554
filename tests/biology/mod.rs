//! Genetic interactions, gene-set enrichment and calibration: against planted truths and against Python
//! (`tests/reference/interactions.py`, `enrichment.py`, `calibration.py`).

mod benchmark;
mod calibration;
mod density;
mod enrichment;
mod guides;
mod interactions;

use serde_json::Value;

/// The numbers of `tests/reference/NAME.py`.
fn reference(name: &str) -> Value {
    let path = format!("{}/tests/reference/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).expect("a list of values")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// Relative to the expected value, absolute below 1.
#[track_caller]
fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    let allowed = tolerance * expected.abs().max(1.0);
    assert!((got - expected).abs() <= allowed, "{what}: {got}, expected {expected}");
}
