//! Means, spreads and intervals of scores.

use super::common::Uniform;
use genailab::bench::{Benchmark, MeanInterval, Row};
use std::collections::HashMap;

fn row(seed: u64, model: &str, perturbation: &str, value: f64) -> Row {
    let (model, perturbation) = (model.to_owned(), perturbation.to_owned());
    Row { seed, model, perturbation, metric: "l2".to_owned(), value }
}

#[test]
fn means_spreads_and_groups() {
    let rows = vec![row(0, "b", "X", 1.0), row(0, "b", "Y", 3.0), row(1, "b", "X", 8.0), row(1, "a", "X", 5.0)];
    let groups = [((0, "X".to_owned()), "seen0".to_owned()), ((1, "X".to_owned()), "seen1".to_owned())].into();
    let found = Benchmark::of_rows(rows, &groups);
    let [b, a] = &found.summary[..] else { panic!("{:?}", found.summary) };
    assert_eq!((b.model.as_str(), a.model.as_str()), ("b", "a"), "the order of the rows");
    assert_eq!((b.mean, b.median, b.n), (4.0, 3.0, 3));
    // numpy.std([1, 3, 8], ddof=1), and of the seeds' means 2 and 8.
    assert!((b.sd.unwrap() - 3.605_551_275_463_989).abs() < 1e-12);
    assert!((b.sd_of_seeds.unwrap() - 18.0_f64.sqrt()).abs() < 1e-12);
    assert_eq!((a.sd, a.sd_of_seeds), (None, None), "one value has no spread");
    let named: Vec<_> = found.groups.iter().map(|g| (g.group.as_str(), g.summary.mean, g.summary.n)).collect();
    assert_eq!(named, [("seen0", 1.0, 1), ("seen1", 8.0, 1), ("seen1", 5.0, 1)]);
}

#[test]
fn the_interval_of_a_mean_is_as_wide_as_its_theory() {
    // 400 conditions with a value of unit variance each: the standard error of the mean is 1 / 20.
    let mut random = Uniform(3);
    let values: Vec<f64> = (0..400).map(|_| (f64::from(random.next()) - 0.5) * 12.0_f64.sqrt()).collect();
    let under = |seeds: u64| -> MeanInterval {
        let of_seed = |seed| values.iter().enumerate().map(move |(i, &value)| row(seed, "a", &format!("P{i}"), value));
        let rows = (0..seeds).flat_map(of_seed).collect();
        Benchmark::of_rows(rows, &HashMap::new()).mean_where("a", "l2", |_| true).expect("there are values")
    };
    let ends = |of: MeanInterval| (of.low.expect("enough conditions"), of.high.expect("enough conditions"));
    let (low, high) = ends(under(1));
    let expected = 2.0 * 1.96 / 20.0;
    assert!(((high - low) / expected - 1.0).abs() < 0.1, "{low} to {high}, expected a width of {expected}");
    // The same values under twenty seeds are no more evidence: the interval must not shrink.
    let (low_of_20, high_of_20) = ends(under(20));
    assert!((low_of_20 - low).abs() < 1e-12 && (high_of_20 - high).abs() < 1e-12);
}
