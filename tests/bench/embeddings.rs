//! Mean embeddings: the common space against a plain computation, and a model's own space beside its opponents.

use super::common::{cells_data, cheat, effects_data, mean, plans, scores, task};
use genailab::{
    Result,
    bench::{
        Benchmark, BenchmarkData, MeasureOptions, ObservedEffects, Predicted, RunOptions, Scores, chosen, measure, run,
        run_with,
    },
    data::{Condition, Dataset, TrainingCells, TrainingData},
    model::{Abilities, State, Trained},
    ndarray::{Array1, Array2, Axis},
    predict::{Fitted, Predictor, baselines::Additive},
};

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn less(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The five metrics, plainly: `own` is the place of the right one among the candidates.
fn plain(predicted: &[f64], candidates: &[Vec<f64>], own: usize, control: &[f64]) -> [f64; 5] {
    let right = &candidates[own];
    let mine = distance(predicted, right);
    let others = candidates.iter().enumerate().filter(|(place, _)| *place != own);
    let of_others: Vec<f64> = others.map(|(_, other)| distance(predicted, other)).collect();
    let farther = of_others.iter().map(|&d| if d > mine { 1.0 } else { 0.5 * f64::from(u8::from(d == mine)) });
    [
        cosine(predicted, right),
        cosine(&less(predicted, control), &less(right, control)),
        mine,
        farther.sum::<f64>() / of_others.len() as f64,
        f64::from(u8::from(of_others.iter().all(|&d| d > mine))),
    ]
}

const METRICS: [&str; 5] =
    ["embedding_cosine", "embedding_cosine_shift", "embedding_l2", "embedding_retrieval", "embedding_top1"];

#[track_caller]
fn value(scores: &Scores, condition: &Condition, metric: &str) -> f64 {
    let of = |row: &&genailab::bench::Row| row.perturbation == condition.to_string() && row.metric == metric;
    scores.rows.iter().find(of).unwrap_or_else(|| panic!("no {metric} of {condition}")).value
}

fn profile(observed: &ObservedEffects, index: usize, effect: &Array1<f32>) -> Vec<f64> {
    let controls = observed.controls.as_ref().expect("cells");
    effect.iter().zip(controls.row(index)).map(|(&e, &c)| f64::from(e) + f64::from(c)).collect()
}

#[test]
fn the_common_space_is_that_of_the_training_cells() {
    let data = cells_data();
    let task = task(&data, &plans(1)[0].1, 0);
    let observed = &task.observed;
    let predicted = task.predict(&Additive).expect("it fits");
    let scores = measure(observed, &predicted, &MeasureOptions::default(), 0);
    let cells = observed.cells.as_ref().expect("cells");
    let pca = cells.space.pca(&cells.expression).expect("a space");
    let project = |profile: &[f64]| -> Vec<f64> {
        let centred = Array1::from_iter(profile.iter().zip(&pca.mean).map(|(x, mean)| x - mean));
        pca.components.dot(&centred).to_vec()
    };
    let n = observed.conditions.len();
    let mut candidates: Vec<Vec<f64>> =
        (0..n).map(|i| project(&profile(observed, i, &observed.effects.row(i).to_owned()))).collect();
    // All singles, the doubles that are trained on, and control.
    let trained = task.training.effects().expect("effects").len();
    assert_eq!(observed.others.conditions.len(), trained + 1);
    assert!(observed.others.conditions.iter().all(|other| !observed.conditions.contains(other)));
    candidates.extend(observed.others.profiles.rows().into_iter().map(|p| project(&p.mapv(f64::from).to_vec())));
    for (index, condition) in observed.conditions.iter().enumerate() {
        let effect = predicted.effects[index].as_ref().expect("it applies");
        let control = project(&profile(observed, index, &Array1::zeros(effect.len())));
        let expected = plain(&project(&profile(observed, index, effect)), &candidates, index, &control);
        for (metric, expected) in METRICS.iter().zip(expected) {
            let got = value(&scores, condition, metric);
            assert!((got - expected).abs() < 1e-4, "{condition}, {metric}: {got}, expected {expected}");
        }
    }
}

#[test]
fn the_truth_is_found_and_a_copy_of_control_is_nearest_to_control() {
    let data = cells_data();
    let mut models = chosen(&["additive"]).expect("it exists");
    models.push(cheat(&data, 1));
    let found = run(&data, &plans(1), &models).expect("a run");
    for (metric, best) in METRICS.iter().zip([1.0, 1.0, 0.0, 1.0, 1.0]) {
        assert!((mean(&found, "cheat", metric) - best).abs() < 1e-4, "{metric}: {}", mean(&found, "cheat", metric));
    }
    assert_eq!(mean(&found, "no_change", "embedding_top1"), 0.0, "control itself is nearest");
    assert!(found.summary_of("no_change", "embedding_cosine_shift").is_none(), "no shift has no direction");
    let l2 = |model: &str| mean(&found, model, "embedding_l2");
    assert!(l2("cheat") < l2("additive") && l2("additive") < l2("no_change"));
    assert!(l2("noise_ceiling") < l2("no_change"));
    assert!(found.own_spaces.is_empty(), "no model here predicts embeddings");
    let points = found.example.as_ref().and_then(|example| example.points.as_ref()).expect("cells have a space");
    assert_eq!(points.observed.len(), points.controls.len());
    let names: Vec<&str> = points.predicted.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["no_change", "additive", "cheat"]);
    assert!(found.embedding_plane().expect("points").caption().contains("additive"));
    assert!(found.embedding_bars("embedding_l2").expect("values").caption().contains("no_change"));
}

#[test]
fn an_effects_dataset_has_no_space() {
    let found = run(&effects_data(), &plans(1), &chosen(&["additive"]).unwrap()).expect("a run");
    for metric in METRICS {
        let absent = found.absent.iter().find(|a| a.model == "additive" && a.metric == metric).expect("a reason");
        assert!(absent.reason.contains("no cells to fit a space on"), "{}", absent.reason);
    }
    assert!(found.embedding_plane().is_err());
}

/// A model whose embedding is the log counts of a few genes, and which predicts a shift by a tenth of the number of
/// perturbed genes in each.
struct Toy(Vec<String>);

const WIDTH: usize = 6;

impl Trained for Toy {
    fn kind(&self) -> &'static str {
        "toy"
    }
    fn abilities(&self) -> Abilities {
        Abilities { embeddings: Some("X_toy"), predicted_embeddings: true, ..Abilities::default() }
    }
    fn genes(&self) -> &[String] {
        &self.0
    }
    fn perturbs(&self, gene: &str) -> bool {
        gene != "G6"
    }
    fn state(&self) -> Result<State> {
        Ok(State::new(&()))
    }
    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        let counts = data.counts.select_cells(rows).to_dense();
        Ok(Array2::from_shape_fn((rows.len(), WIDTH), |(row, gene)| counts[[row, gene]].ln_1p()))
    }
    fn predicted_embeddings(&self, data: &Dataset, rows: &[usize], condition: &Condition) -> Result<Array2<f32>> {
        let shift = 0.1 * condition.perturbation.genes().len() as f32;
        Ok(self.embed(data, rows)? + shift)
    }
}

struct ToyPredictor;

struct FittedToy(Toy);

impl Predictor for ToyPredictor {
    fn name(&self) -> &str {
        "toy"
    }
    fn description(&self) -> &str {
        "a toy"
    }
    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        Ok(Box::new(FittedToy(Toy(data.genes.to_vec()))))
    }
}

impl Fitted for FittedToy {
    fn effect(&self, _: &Condition) -> Result<Array1<f32>> {
        Ok(Array1::zeros(self.0.0.len()))
    }
    fn model(&self) -> Option<&dyn Trained> {
        Some(&self.0)
    }
}

fn toy() -> Vec<Box<dyn Predictor>> {
    let mut models = chosen(&["additive"]).expect("it exists");
    models.push(Box::new(ToyPredictor));
    models
}

/// Mean embedding of the training cells of a condition.
fn center(cells: &TrainingCells, condition: &Condition) -> Vec<f64> {
    let rows: Vec<usize> =
        cells.split.train.iter().copied().filter(|&row| cells.conditions[row] == *condition).collect();
    let z = Toy(Vec::new()).embed(&cells.data, &rows).expect("cells");
    z.mapv(f64::from).mean_axis(Axis(0)).expect("some cells").to_vec()
}

#[test]
fn a_model_is_measured_in_its_own_space_beside_opponents() {
    let data = cells_data();
    let found = run(&data, &plans(2), &toy()).expect("a run");
    let [space] = &found.own_spaces[..] else { panic!("one model predicts embeddings: {:?}", found.own_spaces) };
    assert_eq!((space.model.as_str(), space.width), ("toy", WIDTH));
    assert!(space.effective_rank > 1.0 && space.effective_rank <= WIDTH as f64, "{}", space.effective_rank);
    let mut predictors: Vec<&str> = space.summary.iter().map(|summary| summary.model.as_str()).collect();
    predictors.dedup();
    assert_eq!(predictors, ["toy", "no_change", "mean", "additive", "ridge", "noise_ceiling"]);
    assert!(space.comparisons.iter().all(|comparison| comparison.reference == "additive"));

    // Plainly: the first split, every condition, three of the rows.
    let task = task(&data, &plans(1)[0].1, 0);
    let training = task.training.cells.as_ref().expect("cells");
    let BenchmarkData::Cells(cells) = &data else { unreachable!() };
    let observed = task.observed.cells.as_ref().expect("cells");
    let control = Condition::of(genailab::data::Perturbation::control());
    let from = center(training, &control);
    let held_out: Vec<Vec<f64>> = observed
        .rows
        .iter()
        .map(|rows| {
            let z = Toy(Vec::new()).embed(&cells.data, rows).expect("cells");
            z.mapv(f64::from).mean_axis(Axis(0)).expect("some").to_vec()
        })
        .collect();
    let mut candidates = held_out.clone();
    candidates.extend(task.observed.others.conditions.iter().map(|other| center(training, other)));
    for (index, condition) in task.observed.conditions.iter().enumerate() {
        let genes = condition.perturbation.genes();
        let mut sum = from.clone();
        for gene in genes {
            let single = center(training, &Condition::of(genailab::data::Perturbation::of([gene.as_str()])));
            sum.iter_mut().zip(less(&single, &from)).for_each(|(sum, shift)| *sum += shift);
        }
        let own: Vec<f64> = from.iter().map(|z| z + 0.1 * genes.len() as f64).collect();
        let own = (!genes.contains(&"G6".to_owned())).then_some(own);
        for (name, predicted) in [("additive", Some(sum)), ("toy", own), ("no_change", Some(from.clone()))] {
            let row = |metric: &str| {
                space.rows.iter().find(|row| {
                    (row.seed, row.model.as_str(), row.metric.as_str()) == (0, name, metric)
                        && row.perturbation == condition.to_string()
                })
            };
            let Some(predicted) = predicted else {
                assert!(
                    METRICS.iter().all(|metric| row(metric).is_none()),
                    "{condition}: its gene is unknown to the toy"
                );
                continue;
            };
            let expected = plain(&predicted, &candidates, index, &from);
            for (metric, expected) in METRICS.iter().zip(expected) {
                match row(metric) {
                    Some(row) => assert!((row.value - expected).abs() < 1e-4, "{name}, {condition}, {metric}"),
                    None => assert_eq!((name, *metric), ("no_change", "embedding_cosine_shift")),
                }
            }
        }
    }
    let reason = &space.absent.iter().find(|absent| absent.model == "toy").expect("G6 is unknown to it").reason;
    assert!(reason.contains("G6"), "{reason}");
    let l2 = |model: &str| {
        space.summary.iter().find(|s| s.model == model && s.metric == "embedding_l2").expect("measured").mean
    };
    assert!(l2("noise_ceiling") < l2("no_change") && l2("additive") < l2("no_change"));

    let report = found.report().expect("a report").to_html();
    assert!(report.contains("In the space of toy") && report.contains("own spaces cannot"));
    assert!(found.to_string().contains("in the space of toy (6 features"), "{found}");
    assert!(space.plane(&found).expect("points").caption().contains("toy"));
    assert!(space.bars("embedding_l2").expect("values").caption().contains("noise_ceiling"));
}

#[test]
fn own_spaces_are_kept_and_written() {
    let data = cells_data();
    let folder = tempfile::tempdir().unwrap();
    let measured = || {
        let options = RunOptions { folder: Some(folder.path()), ..RunOptions::default() };
        run_with(&data, &plans(1), &toy(), &options).unwrap()
    };
    let (first, again) = (measured(), measured());
    let text = |found: &Benchmark| serde_json::to_string(found).unwrap();
    assert_eq!(text(&first), text(&again), "read, not computed");
    assert_eq!(scores(&first), scores(&again));
    assert!(again.own_spaces[0].plane(&again).is_ok(), "the points of figures are kept");
    let back: Benchmark = serde_json::from_str(&text(&first)).unwrap();
    assert_eq!(back.own_spaces[0].rows, first.own_spaces[0].rows);
    assert!(back.own_spaces[0].plane(&back).is_err() && back.own_spaces[0].bars("embedding_l2").is_ok());
    let rank = serde_json::to_value(&first).unwrap()["own_spaces"][0]["effective_rank"].as_f64().unwrap();
    assert!(rank > 1.0, "{rank}");
}

#[test]
fn a_model_without_the_ability_refuses() {
    struct Mute(Vec<String>);
    impl Trained for Mute {
        fn kind(&self) -> &'static str {
            "mute"
        }
        fn abilities(&self) -> Abilities {
            Abilities::default()
        }
        fn genes(&self) -> &[String] {
            &self.0
        }
        fn perturbs(&self, _: &str) -> bool {
            true
        }
        fn state(&self) -> Result<State> {
            Ok(State::new(&()))
        }
    }
    let BenchmarkData::Cells(cells) = cells_data() else { unreachable!() };
    let control = Condition::of(genailab::data::Perturbation::control());
    let error = Mute(Vec::new()).predicted_embeddings(&cells.data, &[0], &control).expect_err("it cannot");
    assert!(error.to_string().contains("predicts no embeddings"), "{error}");
}

#[test]
fn a_prediction_without_an_effect_has_a_reason() {
    let data = cells_data();
    let task = task(&data, &plans(1)[0].1, 0);
    let n = task.observed.conditions.len();
    let predicted = Predicted {
        model: "silent".to_owned(),
        effects: vec![Err("it does not say".to_owned()); n],
        cells: vec![Err("it does not say".to_owned()); n],
    };
    let scores = measure(&task.observed, &predicted, &MeasureOptions::default(), 0);
    for metric in METRICS {
        let absent = scores.absent.iter().find(|absent| absent.metric == metric).expect("absent");
        assert_eq!((absent.reason.as_str(), absent.n), ("it does not say", n));
    }
}
