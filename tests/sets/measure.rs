//! What the benchmark makes of sets of cells: cheating, blind and absent predictions.

use genailab::{
    bench::{ALL, BenchmarkData, MeasureOptions, Predicted, Scores, Task, measure},
    data::{Effects, Opened, Simulation, SimulationConfig, SplitPlan, Table},
    ndarray::{Array2, Axis},
    predict::baselines::NoChange,
};
use std::collections::BTreeSet;

fn task() -> Task {
    let config = SimulationConfig {
        n_cells: 1500,
        n_genes: 150,
        n_singles: 10,
        doubles_per_class: 1,
        damaged_fraction: 0.0,
        density: 0.3,
        ..SimulationConfig::default()
    };
    let data = Simulation::new(&config).expect("a simulation").dataset;
    let data = BenchmarkData::new(Opened::Cells(data), None).expect("library sizes");
    split(&data)
}

fn split(data: &BenchmarkData) -> Task {
    let conditions = data.rows();
    let split = SplitPlan::doubles(1).divide(&conditions).expect("there are doubles");
    let rows = split.split(&conditions).expect("a split of these");
    Task::new(data, &rows, &split.groups, 1).expect("something to judge")
}

fn predicted(task: &Task, cells: impl Fn(Array2<f32>) -> Result<Array2<f32>, String>) -> Predicted {
    let observed = task.observed.cells.as_ref().expect("cells");
    let truth = observed.rows.iter().map(|rows| observed.expression.select_cells(rows).to_dense());
    Predicted {
        model: "model".to_owned(),
        effects: task.observed.effects.rows().into_iter().map(|row| Ok(row.to_owned())).collect(),
        cells: truth.map(cells).collect(),
    }
}

fn scored(task: &Task, predicted: &Predicted) -> Scores {
    measure(&task.observed, predicted, &MeasureOptions::default(), 1)
}

fn values(scores: &Scores, metric: &str) -> Vec<f64> {
    scores.rows.iter().filter(|row| row.metric == metric).map(|row| row.value).collect()
}

fn mean(scores: &Scores, metric: &str) -> f64 {
    let values = values(scores, metric);
    assert!(!values.is_empty(), "{metric} is absent: {:?}", scores.absent);
    values.iter().sum::<f64>() / values.len() as f64
}

const SETS: [&str; 10] = [
    "edistance",
    "edistance_plain",
    "mmd_rbf",
    "mmd_energy",
    "sliced_wasserstein",
    "variance_correlation",
    "zero_fraction_error",
    "knn_retrieval",
    "etest_p_adjusted",
    "control_separation",
];

#[test]
fn the_truth_scores_best_and_no_change_as_control() {
    let task = task();
    let truth = scored(&task, &predicted(&task, Ok));
    let floor = scored(&task, &task.predict(&NoChange).expect("a prediction"));
    for metric in SETS {
        assert_eq!(values(&truth, metric).len(), task.observed.conditions.len(), "{metric}: {:?}", truth.absent);
    }
    // The same cells on both sides: unbiased, so a little below 0.
    assert!(values(&truth, "edistance").iter().all(|&e| e < 0.0));
    for metric in ["edistance_plain", "mmd_rbf", "mmd_energy", "sliced_wasserstein", "zero_fraction_error"] {
        assert!(mean(&truth, metric).abs() < 1e-6, "{metric}");
        assert!(mean(&floor, metric) > mean(&truth, metric), "{metric}");
    }
    assert!((mean(&truth, "variance_correlation") - 1.0).abs() < 1e-6);
    assert_eq!(values(&truth, "energy_test_rejected"), [0.0]);
    // Its cells are control cells, so that it is as far off as control is, but for which cells were drawn.
    let (e, separation) = (mean(&floor, "edistance"), mean(&floor, "control_separation"));
    assert!((e - separation).abs() < 0.25 * separation, "{e} for no change, {separation} for control");
    assert_eq!(mean(&floor, "control_separation"), mean(&truth, "control_separation"));
    let chance = 1.0 / (task.observed.conditions.len() + 1) as f64;
    assert!(mean(&truth, "knn_retrieval") > 1.5 * chance, "{} at a chance of {chance}", mean(&truth, "knn_retrieval"));
    assert!(mean(&floor, "knn_retrieval") < 1.3 * chance);
    assert!(mean(&floor, "energy_test_rejected") > 0.0, "perturbed cells are not control cells");
    let once = |scores: &Scores| scores.rows.iter().filter(|row| row.perturbation == ALL).count();
    assert!(once(&truth) >= 1);
}

#[test]
fn one_cell_again_and_again_fools_the_squared_distance_only() {
    let task = task();
    let repeated = predicted(&task, |cells| {
        let mean = cells.mean_axis(Axis(0)).expect("some cells");
        Ok(mean.broadcast(cells.dim()).expect("a row").to_owned())
    });
    let (scores, floor) = (scored(&task, &repeated), scored(&task, &task.predict(&NoChange).expect("a prediction")));
    assert!(mean(&scores, "edistance") < mean(&floor, "edistance"), "it is right about every mean");
    for metric in ["edistance_plain", "mmd_rbf", "sliced_wasserstein", "zero_fraction_error"] {
        assert!(mean(&scores, metric) > mean(&floor, metric), "{metric} must see that nothing varies");
    }
    assert!(values(&scores, "variance_correlation").is_empty());
    let absent = scores.absent.iter().find(|absent| absent.metric == "variance_correlation").expect("a reason");
    assert!(absent.reason.contains("vary"), "{}", absent.reason);
}

#[test]
fn the_same_on_any_number_of_threads() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let task = task();
            scored(&task, &task.predict(&NoChange).expect("a prediction")).rows
        })
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn what_does_not_apply_is_absent_with_a_reason() {
    let task = task();
    let n = task.observed.conditions.len();
    let reasons = |scores: &Scores, metric: &str| -> BTreeSet<String> {
        scores.absent.iter().filter(|absent| absent.metric == metric).map(|absent| absent.reason.clone()).collect()
    };
    for (cells, reason) in [
        (predicted(&task, |cells| Ok(cells.select(Axis(0), &[0]))), "fewer than two predicted cells"),
        (predicted(&task, |cells| Ok(cells.mapv(|_| f32::NAN))), "not finite"),
        (predicted(&task, |_| Err("it has no cells".to_owned())), "it has no cells"),
    ] {
        let scores = scored(&task, &cells);
        for metric in SETS.iter().filter(|metric| **metric != "control_separation") {
            assert!(values(&scores, metric).is_empty(), "{metric}");
            assert!(reasons(&scores, metric).iter().any(|found| found.contains(reason)), "{metric}: {reason}");
        }
        assert_eq!(values(&scores, "control_separation").len(), n, "it needs no prediction");
    }

    let mut few = task.clone();
    let rows = &mut few.observed.cells.as_mut().expect("cells").rows;
    rows[0].truncate(1);
    rows[1].truncate(5);
    let scores = scored(&few, &predicted(&task, Ok));
    assert_eq!(values(&scores, "edistance").len(), n - 1);
    assert_eq!(values(&scores, "etest_p_adjusted").len(), n - 2);
    assert!(reasons(&scores, "edistance").contains("fewer than two observed cells"));
    assert!(reasons(&scores, "knn_retrieval").contains("fewer than 20 observed cells"));

    let names = |prefix: &str, n: usize| Table::from_names((0..n).map(|i| format!("{prefix}{i}")).collect());
    let effects = Effects {
        values: Array2::from_shape_fn((6, 4), |(row, gene)| (row * gene) as f32),
        genes: names("g", 4),
        perturbations: ["A", "B", "C", "A+B", "A+C", "B+C"].map(|name| name.parse().expect("a name")).to_vec(),
        table: names("p", 6),
    };
    let effects = split(&BenchmarkData::new(Opened::Effects(effects), None).expect("valid"));
    let scores = scored(&effects, &effects.predict(&NoChange).expect("a prediction"));
    for metric in SETS {
        assert!(values(&scores, metric).is_empty());
        assert!(reasons(&scores, metric).iter().all(|reason| reason.contains("effects")), "{metric}");
    }
}
