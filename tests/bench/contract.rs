//! `results.json` as outside scripts read it.

use super::common::{cells_data, effects_data, plans};
use genailab::bench::{Benchmark, RunOptions, chosen, run_with};
use serde_json::Value;

/// Checks the contract of DESIGN section 5, from the text alone.
pub fn check(text: &str) -> Value {
    let results: Value = serde_json::from_str(text).expect("valid JSON, which has no NaN and no infinity");
    let text_of = |value: &Value, key: &str| value[key].as_str().unwrap_or_else(|| panic!("{key}: {value}")).to_owned();
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or_else(|| panic!("{key}: {value}"));
    let list = |key: &str| results[key].as_array().unwrap_or_else(|| panic!("{key} is no list")).clone();
    for key in ["dataset", "split", "genailab"] {
        assert!(!text_of(&results, key).is_empty(), "{key}");
    }
    let rows = list("rows");
    assert!(!rows.is_empty());
    let mut values: std::collections::BTreeMap<(String, String), Vec<f64>> = Default::default();
    for row in &rows {
        assert_eq!(row.as_object().unwrap().len(), 5, "{row}");
        assert!(row["seed"].is_u64() && !text_of(row, "perturbation").is_empty(), "{row}");
        let value = number(row, "value");
        assert!(value.is_finite());
        values.entry((text_of(row, "model"), text_of(row, "metric"))).or_default().push(value);
    }
    let summary = list("summary");
    assert_eq!(summary.len(), values.len(), "one a model and metric");
    for one in &summary {
        let of = &values[&(text_of(one, "model"), text_of(one, "metric"))];
        let n = of.len() as f64;
        assert_eq!(one["n"].as_u64(), Some(of.len() as u64), "{one}");
        let mean = of.iter().sum::<f64>() / n;
        assert!((number(one, "mean") - mean).abs() <= 1e-9 * mean.abs().max(1.0), "{one}");
        match of.len() {
            1 => assert!(one["sd"].is_null(), "{one}"),
            _ => {
                let sd = (of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
                assert!((number(one, "sd") - sd).abs() <= 1e-6 * sd.max(1.0), "{one}");
            }
        }
    }
    for one in list("absent") {
        assert!(!text_of(&one, "reason").is_empty() && one["n"].as_u64() > Some(0), "{one}");
        assert!(!text_of(&one, "model").is_empty() && !text_of(&one, "metric").is_empty(), "{one}");
    }
    for one in list("comparisons") {
        let difference = number(&one, "difference");
        if let (Some(low), Some(high)) = (one["low"].as_f64(), one["high"].as_f64()) {
            let slack = 1e-9 * difference.abs().max(1.0);
            assert!(low <= high && low <= difference + slack && difference <= high + slack, "{one}");
        }
        assert!(one["won"].as_f64().is_none_or(|won| (0.0..=1.0).contains(&won)), "{one}");
        assert_ne!(one["model"], one["reference"]);
    }
    let models: Vec<String> = list("models").iter().map(|model| text_of(model, "name")).collect();
    assert!(models.iter().any(|model| model == "no_change") && models.iter().any(|model| model == "noise_ceiling"));
    assert!(values.keys().all(|(model, _)| models.contains(model)), "a score of a model that is not listed");
    assert_eq!(text_of(&results["data"], "fingerprint").len(), 64);
    results
}

#[test]
fn the_results_keep_the_contract() {
    for data in [effects_data(), cells_data()] {
        let folder = tempfile::tempdir().unwrap();
        let options = RunOptions { dataset: "some.h5ad".into(), split: "doubles".into(), ..RunOptions::default() };
        for seeds in [1, 2] {
            let found = run_with(&data, &plans(seeds), &chosen(&[]).unwrap(), &options).unwrap();
            let file = folder.path().join("results.json");
            found.save(&file).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let results = check(&text);
            assert_eq!(results["split"], "doubles");
            assert_eq!(results["splits"].as_array().unwrap().len() as u64, seeds);
            let back: Benchmark = serde_json::from_str(&text).unwrap();
            assert_eq!((back.rows, back.comparisons), (found.rows, found.comparisons), "read back, bit by bit");
        }
    }
}
