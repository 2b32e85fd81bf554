//! The list of metrics: everything that is measured is declared, once.

use super::common::{cells_data, effects_data, plans};
use genailab::bench::{BenchmarkData, Better, METRICS, Metric, MetricFamily, better, chosen, label, run};
use std::collections::BTreeSet;

/// Names of all metrics that a run measures, or says are absent.
fn measured(data: &BenchmarkData) -> BTreeSet<String> {
    let models = chosen(&["no_change", "additive", "mean", "kernel_ridge"]).expect("there are such models");
    let found = run(data, &plans(1), &models).expect("a run");
    let measured = found.rows.iter().map(|row| &row.metric);
    measured.chain(found.absent.iter().map(|absent| &absent.metric)).cloned().collect()
}

#[test]
fn what_is_measured_is_declared_and_the_other_way_round() {
    let declared: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    for data in [effects_data(), cells_data()] {
        assert_eq!(measured(&data), declared);
    }
}

#[test]
fn nothing_is_declared_twice() {
    let unique = |of: &mut dyn Iterator<Item = String>| {
        let all: Vec<String> = of.collect();
        let different: BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
    };
    unique(&mut METRICS.iter().map(|metric| metric.name.to_owned()));
    unique(&mut METRICS.iter().map(|metric| metric.label.to_owned()));
    unique(&mut METRICS.iter().filter_map(|metric| metric.headline).map(|place| place.to_string()));
    unique(&mut MetricFamily::ALL.iter().map(|family| family.title().to_owned()));
    assert!(METRICS.iter().all(|metric| MetricFamily::ALL.contains(&metric.family)));
}

#[test]
fn headlines_have_a_direction_and_an_order() {
    let names: Vec<&str> = Metric::headlines().iter().map(|metric| metric.name).collect();
    assert_eq!(
        names,
        [
            "l2",
            "l2_top1000",
            "pearson",
            "pearson_systema",
            "r2w",
            "pds_l1",
            "edistance",
            "interaction_auprc",
            "des_by_effect"
        ]
    );
    assert!(Metric::headlines().iter().all(|metric| metric.better.is_some()));
}

#[test]
fn a_metric_of_another_version_has_no_direction() {
    assert_eq!(
        (better("l2"), better("pearson"), better("coverage_90")),
        (Some(Better::Lower), Some(Better::Higher), None)
    );
    assert_eq!((label("l2_top1000"), label("precision_at_20")), ("L2 top 1000", "precision@20"));
    assert_eq!((better("l2_of_tomorrow"), label("l2_of_tomorrow")), (None, "l2_of_tomorrow"));
    assert!(Metric::of("l2_of_tomorrow").is_none());
}
