//! Predictors whose scores are known beforehand.

use super::common::{cells_data, cheat, constant, effects_data, mean, plans, random, scores};
use genailab::{
    bench::{ALL, Benchmark, Better, Significance, better, chosen, run},
    data::Condition,
    predict::Predictor,
};

const SEEDS: u64 = 3;

fn measured(cells: bool) -> Benchmark {
    let data = if cells { cells_data() } else { effects_data() };
    let mut models: Vec<Box<dyn Predictor>> = chosen(&["additive"]).unwrap();
    models.extend([cheat(&data, SEEDS), random(), constant()]);
    run(&data, &plans(SEEDS), &models).unwrap()
}

#[test]
fn who_knows_the_truth_is_perfect() {
    for cells in [false, true] {
        let found = measured(cells);
        for metric in ["l2", "mse", "mae", "rmse"] {
            assert_eq!(mean(&found, "cheat", metric), 0.0, "{metric}");
        }
        for metric in ["pearson", "spearman", "cosine", "r2"] {
            assert!((mean(&found, "cheat", metric) - 1.0).abs() < 1e-6, "{metric}");
        }
        let comparison = found.comparison_of("cheat", "l2").unwrap();
        assert_eq!((comparison.won, comparison.verdict), (Some(1.0), Significance::Better));
        assert!(comparison.high.unwrap() < 0.0 && comparison.ratio == Some(0.0), "{comparison:?}");
    }
}

#[test]
fn noise_correlates_with_nothing_and_loses() {
    let found = measured(false);
    // 30 conditions of 120 genes: the standard error of the mean correlation is 1 / sqrt(30 * 120) = 0.017.
    assert!(mean(&found, "random", "pearson").abs() < 0.07, "{}", mean(&found, "random", "pearson"));
    assert!(mean(&found, "random", "l2") > mean(&found, "no_change", "l2"));
    assert_eq!(found.comparison_of("random", "l2").unwrap().verdict, Significance::Worse);
}

#[test]
fn what_is_constant_has_no_correlation_and_says_so() {
    for cells in [false, true] {
        let found = measured(cells);
        for model in ["constant", "no_change"] {
            assert!(found.summary_of(model, "pearson").is_none());
            let absent = found.absent.iter().find(|a| a.model == model && a.metric == "pearson").unwrap();
            assert!(absent.reason.contains("constant"), "{absent:?}");
            let conditions: usize = found.splits.iter().map(|split| split.test).sum();
            assert_eq!(absent.n, conditions, "absent for every condition of every seed");
            assert!(mean(&found, model, "l2") > 0.0);
        }
    }
}

#[test]
fn the_ceiling_is_near_the_truth_and_absent_without_cells() {
    let found = measured(true);
    assert!(mean(&found, "noise_ceiling", "l2") < mean(&found, "no_change", "l2"));
    assert!(mean(&found, "noise_ceiling", "pearson") > 0.8, "{}", mean(&found, "noise_ceiling", "pearson"));
    let found = measured(false);
    assert!(found.rows.iter().all(|row| row.model != "noise_ceiling"));
    let absent: Vec<_> = found.absent.iter().filter(|absent| absent.model == "noise_ceiling").collect();
    let l2 = absent.iter().find(|absent| absent.metric == "l2").unwrap();
    assert!(l2.reason.contains("holds no cells that could be halved"), "{l2:?}");
}

#[test]
fn every_value_is_finite_and_no_condition_was_trained_on() {
    for cells in [false, true] {
        let found = measured(cells);
        let data = if cells { cells_data() } else { effects_data() };
        assert!(found.rows.iter().all(|row| row.value.is_finite()));
        assert!(found.rows.len() > 500);
        for (seed, plan) in plans(SEEDS) {
            let task = crate::bench::common::task(&data, &plan, seed);
            let training = task.training.effects().expect("effects");
            let trained = |condition: &Condition| training.conditions.contains(condition);
            assert!(!task.observed.conditions.iter().any(trained), "a judged condition was trained on");
            if let Some(cells) = &task.training.cells {
                assert!(
                    !cells.conditions.iter().any(|c| task.observed.conditions.contains(c)),
                    "and none of its cells"
                );
            }
            let judged: Vec<String> = task.observed.conditions.iter().map(Condition::to_string).collect();
            let rows = found.rows.iter().filter(|row| row.seed == seed && row.perturbation != ALL);
            assert!(rows.into_iter().all(|row| judged.contains(&row.perturbation)));
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let on = |threads: usize, cells| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        scores(&pool.install(|| measured(cells)))
    };
    for cells in [false, true] {
        assert_eq!(on(1, cells), on(3, cells));
    }
}

/// A metric of which nobody says whether low or high is good is left out of every comparison; that must be on purpose.
#[test]
fn directions_are_known() {
    assert_eq!((better("l2"), better("pearson")), (Some(Better::Lower), Some(Better::Higher)));
    let found = measured(true);
    let cheat = |metric: &str| found.summary_of("cheat", metric).map(|summary| summary.mean);
    let noise = |metric: &str| found.summary_of("random", metric).map(|summary| summary.mean);
    let mut metrics: Vec<&str> = found.summary.iter().map(|summary| summary.metric.as_str()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    // Both answer with means, to which the same control cells are moved: how cells spread is not theirs to get right.
    for metric in metrics.into_iter().filter(|metric| *metric != "variance_correlation") {
        let (Some(cheat), Some(noise), Some(direction)) = (cheat(metric), noise(metric), better(metric)) else {
            continue;
        };
        let lost = if direction == Better::Lower { cheat > noise } else { cheat < noise };
        assert!(!lost, "{metric} is said to be better when {direction:?}, but the truth has {cheat} and noise {noise}");
    }
}
