//! The table of an ablation.

use genailab::bench::ablation::{Ablation, Trial};

#[test]
fn a_row_a_variant_and_failures_are_counted() {
    let trial = |variant: &str, seed, value: Option<f64>| Trial {
        variant: variant.to_owned(),
        seed,
        figures: value.map(|value| ("L2".to_owned(), value)).into_iter().collect(),
        failure: value.is_none().then(|| "collapsed".to_owned()),
    };
    let trials = vec![
        trial("all", 0, Some(1.0)),
        trial("no EMA", 0, None),
        trial("all", 1, Some(3.0)),
        trial("no EMA", 1, Some(2.0)),
    ];
    let ablation = Ablation { dataset: "x".to_owned(), settings: serde_json::Value::Null, trials };
    assert_eq!(ablation.variants(), ["all", "no EMA"]);
    let text = ablation.table().expect("a table").to_string();
    assert!(text.contains("2.000 ± 1.414") && text.contains("2.000 (1 failed)"), "{text}");
}
