//! The reference table of the double-perturbation task on real Norman effects.

use super::common::norman;
use genailab::{
    bench::{BenchmarkData, Task},
    data::{Opened, SplitPlan},
    eval::{l2, pearson},
    predict::baselines::{baselines, predictor},
};

const SPLITS: u64 = 20;

/// Name, mean L2, ratio to additive, median Pearson, as the project's design states them (20 random splits of its own).
const TABLE: [(&str, f64, f64, Option<f64>); 6] = [
    ("no_change", 23.7, 1.22, None),
    ("mean_doubles", 21.9, 1.13, Some(0.39)),
    ("additive", 19.4, 1.00, Some(0.705)),
    ("scaled_additive", 16.6, 0.852, Some(0.705)),
    ("kernel_ridge", 16.0, 0.825, Some(0.730)),
    ("kernel_ridge_per_gene", 15.9, 0.819, Some(0.735)),
];

/// Mean L2 and median Pearson of each split, and the seconds of fitting and predicting all.
fn scores(data: &BenchmarkData, model: &str) -> (Vec<(f64, Option<f64>)>, f64) {
    let model = predictor(model).expect("it exists");
    let mut seconds = 0.0;
    let scores = (0..SPLITS)
        .map(|seed| {
            let task = Task::of_plan(data, &SplitPlan::doubles(seed), seed).expect("there are doubles");
            let answer = task.answer(model.as_ref()).expect("it fits");
            seconds += answer.fit_seconds + answer.predict_seconds;
            let predicted = answer.predicted;
            let (mut errors, mut correlations) = (Vec::new(), Vec::new());
            for (i, observed) in task.observed.effects.rows().into_iter().enumerate() {
                let Ok(effect) = &predicted.effects[i] else { continue };
                let (effect, observed) = (effect.to_vec(), observed.to_vec());
                errors.push(l2(&effect, &observed).expect("same length"));
                correlations.extend(pearson(&effect, &observed));
            }
            correlations.sort_unstable_by(f64::total_cmp);
            let n = correlations.len();
            let median = (n > 0).then(|| f64::midpoint(correlations[(n - 1) / 2], correlations[n / 2]));
            (errors.iter().sum::<f64>() / errors.len() as f64, median)
        })
        .collect();
    (scores, seconds)
}

#[test]
fn the_reference_table_is_reproduced_within_the_spread_of_the_splits() {
    let Some(data) = norman() else { return };
    let data = BenchmarkData::new(Opened::Effects(data), None).expect("effects need nothing");
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let additive: Vec<f64> = scores(&data, "additive").0.iter().map(|score| score.0).collect();
    for model in baselines() {
        let (scores, seconds) = scores(&data, model.name());
        let model = model.name();
        let errors: Vec<f64> = scores.iter().map(|score| score.0).collect();
        let got = mean(&errors);
        let spread = (errors.iter().map(|e| (e - got).powi(2)).sum::<f64>() / (SPLITS - 1) as f64).sqrt();
        let got_ratio = got / mean(&additive);
        let medians: Vec<f64> = scores.iter().filter_map(|score| score.1).collect();
        let median = (!medians.is_empty()).then(|| mean(&medians));
        eprintln!(
            "{model:<22} L2 {got:.2} (sd {spread:.2})  ratio {got_ratio:.3}  Pearson {median:.3?}  {:.1} ms a split",
            1e3 * seconds / SPLITS as f64
        );
        let Some(&(_, error, ratio, correlation)) = TABLE.iter().find(|row| row.0 == model) else { continue };
        assert!((got - error).abs() < spread, "{model}: L2 {got:.2}, the table has {error}, spread {spread:.2}");
        assert!((got_ratio - ratio).abs() < 0.015, "{model}: ratio {got_ratio:.3}, the table has {ratio}");
        match (median, correlation) {
            (Some(median), Some(correlation)) => {
                assert!((median - correlation).abs() < 0.02, "{model}: Pearson {median:.3}, not {correlation}");
            }
            (median, correlation) => assert_eq!(median, correlation, "{model}: Pearson of a constant does not exist"),
        }
    }
}
