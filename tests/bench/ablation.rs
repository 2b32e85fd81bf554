//! The table of an ablation.

use genailab::bench::{
    Row,
    ablation::{Ablation, Trial},
};

#[test]
fn a_row_a_variant_and_failures_are_counted() {
    let trial = |variant: &str, seed, value: Option<f64>| Trial {
        variant: variant.to_owned(),
        seed,
        figures: value.map(|value| ("L2".to_owned(), value)).into_iter().collect(),
        failure: value.is_none().then(|| "collapsed".to_owned()),
        ..Trial::default()
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

#[test]
fn a_variant_is_compared_on_the_conditions_of_the_unchanged_model() {
    let trial = |variant: &str, seed: u64, off: f64, conditions: usize| {
        let row = |condition: usize| Row {
            seed,
            model: variant.to_owned(),
            perturbation: format!("C{condition}"),
            metric: "l2".to_owned(),
            // Conditions differ by far more than variants do.
            value: 10.0 * condition as f64 + off + 0.01 * (condition % 3) as f64,
        };
        let scores = (0..conditions).map(row).collect();
        let sizes = (variant == "as it is").then_some([3, 7, 40]);
        Trial { variant: variant.to_owned(), seed, scores, token_sizes: sizes, ..Trial::default() }
    };
    // One condition more than the unchanged model has, which must not count.
    let trials = vec![trial("as it is", 0, 0.0, 8), trial("worse", 0, 0.5, 9), trial("few", 0, -0.25, 3)];
    let ablation = Ablation { dataset: "x".to_owned(), settings: serde_json::Value::Null, trials };
    let differences = ablation.differences();
    let of = |name: &str| differences.iter().find(|of| of.model == name).expect("compared");
    assert_eq!((of("worse").conditions, of("few").conditions, differences.len()), (8, 3, 2));
    assert!((of("worse").difference - 0.5).abs() < 1e-9 && (of("few").difference + 0.25).abs() < 1e-9);
    let (low, high) = (of("worse").low.expect("eight conditions"), of("worse").high.expect("eight conditions"));
    assert!(
        (low - 0.5).abs() < 1e-9 && (high - 0.5).abs() < 1e-9,
        "{low} {high}: the same difference on every condition"
    );
    assert_eq!(of("few").low, None);
    let text = ablation.table().expect("a table").to_string();
    for part in ["l2: difference", "+0.500 (+0.500 to +0.500)", "-0.250 (3 conditions)", "3 to 40, median 7"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let alone = Ablation { trials: ablation.trials[1..].to_vec(), ..ablation };
    assert!(alone.differences().is_empty(), "there is no unchanged model to compare with");
}
