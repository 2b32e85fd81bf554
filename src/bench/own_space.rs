//! Predicted embeddings in a model's own space: the model beside simple opponents in that space.
//!
//! For a model that predicts embeddings
//! ([`Trained::predicted_embeddings`](crate::model::Trained::predicted_embeddings)), the mean of the embeddings that it predicts
//! for the control cells of a context is compared with the mean of its embeddings of the held-out cells (of a JEPA: those of
//! its teacher), by the scores of `measure/embedding`. The opponents are baselines, fitted to the shifts of the training
//! conditions in this space: mean embedding of the condition's training cells less that of the control cells of its context.
//!
//! | row | prediction |
//! |---|---|
//! | the model | the mean of its predicted embeddings |
//! | `no_change` | a copy of control |
//! | `mean` | control plus the mean shift of the training conditions |
//! | `additive` | control plus the sum of the shifts of the single perturbations; in an unseen context the mean of the other contexts' |
//! | `similarity_weighted` | the same, where a context is held out, with near contexts first (by the distance of control's mean embeddings) |
//! | `ridge` | control plus ridge regression of the shifts on the multi-hot of genes |
//! | `noise_ceiling` | the mean of half of the held-out cells, against that of the other half |
//!
//! Rows of one space can be compared. Two models' own spaces cannot: each has its own scale and its own directions, and a space
//! in which all cells are alike is easy to predict. That is what the effective rank beside them warns of, and what the common
//! space is for.

use super::{
    Absent, Benchmark, BenchmarkCells, CEILING, Comparison, MOST_CELLS, MetricSummary, ObservedEffects, Predicted, Row,
    Scores, Task,
    measure::embedding::{METRICS, ObservedMeans},
    predict::{FEWEST_HALVED, reasoned, too_few_to_halve},
    task::draw,
};
use crate::{
    Error, Result,
    data::{Condition, Controls, EffectTable, Perturbation, TrainingCells, TrainingData, rows_by_condition, shuffle},
    model::{Trained, jepa::effective_rank},
    predict::{
        Predictor,
        baselines::{Additive, Mean, NoChange, Ridge, SimilarityWeighted},
    },
};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// A model's own space: its predictions beside those of opponents, over all seeds.
///
/// The rows of one space can be compared with each other; the spaces of two models cannot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OwnSpace {
    /// The model whose embeddings these are.
    pub model: String,
    /// Number of features of an embedding.
    pub width: usize,
    /// Effective rank of the embeddings of the training cells (Roy and Vetterli 2007), mean over the seeds: 1 when all cells
    /// lie on a line, the width when all directions are used alike.
    pub effective_rank: f64,
    /// One per predictor and metric: mean and standard deviation over (seed, condition).
    pub summary: Vec<MetricSummary>,
    /// Each predictor against the reference, by every metric.
    pub comparisons: Vec<Comparison>,
    /// What does not exist, and why.
    pub absent: Vec<Absent>,
    /// One per predictor, seed, condition and metric. `model` is the predictor.
    pub rows: Vec<Row>,
    /// Mean embeddings of the first seed, for figures; not written.
    #[serde(skip)]
    pub points: Option<MeanPoints>,
}

/// Mean embeddings of the judged conditions of one split in one space, for figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MeanPoints {
    /// Of the held-out cells of each condition, `d` values each.
    pub observed: Vec<Vec<f32>>,
    /// Of the control cells of each condition's context.
    pub controls: Vec<Vec<f32>>,
    /// What each predictor predicts for each condition; `None` where it predicts nothing.
    pub predicted: Vec<(String, Vec<Option<Vec<f32>>>)>,
}

impl MeanPoints {
    /// The observed side in the common space; `None` where there is no such space.
    pub(super) fn observed(observed: &ObservedEffects) -> Option<Self> {
        let means = observed.means().ok()?;
        Some(Self { observed: lists(&means.conditions), controls: lists(&means.controls), predicted: Vec::new() })
    }

    /// A prediction in the common space; `None` where there is no such space.
    pub(super) fn predicted(observed: &ObservedEffects, predicted: &Predicted) -> Option<Self> {
        let points = observed.predicted_means(predicted).ok()?;
        let answered = |(index, point)| predicted.effect(index).is_some().then_some(point);
        let points = lists(&points).into_iter().enumerate().map(answered).collect();
        Some(Self { predicted: vec![(predicted.model.clone(), points)], ..Self::default() })
    }
}

/// The rows of a matrix.
fn lists(matrix: &Array2<f32>) -> Vec<Vec<f32>> {
    matrix.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// A model's own space on one split.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct OwnSpacePart {
    pub(super) width: usize,
    pub(super) effective_rank: f64,
    pub(super) rows: Vec<Row>,
    pub(super) absent: Vec<Absent>,
    pub(super) points: MeanPoints,
}

/// The predicted mean embedding `(width,)` of each judged condition, or the reason why there is none.
type PredictedMeans = Vec<std::result::Result<Array1<f32>, String>>;

/// Measures a model in its own space; `None` for one that predicts no embeddings.
///
/// # Errors
/// Those of the model, but for what does not apply to it.
pub(super) fn measure(
    task: &Task,
    cells: &BenchmarkCells,
    name: &str,
    model: Option<&dyn Trained>,
) -> Result<Option<OwnSpacePart>> {
    let Some(model) = model.filter(|model| model.abilities().predicted_embeddings) else { return Ok(None) };
    let Some(training) = &task.training.cells else { return Ok(None) };
    let (judged, seed) = (&task.observed.conditions, task.training.seed);
    let space = TrainingSpace::new(training, model, seed)?;
    let held_out = HeldOut::new(task, cells, model)?;
    let controls = judged.iter().map(|condition| space.control(condition)).collect::<Result<Vec<_>>>()?;
    let means = ObservedMeans {
        conditions: stacked(&held_out.all),
        controls: stacked(&controls),
        others: stacked(&space.others(judged)),
    };
    let mut rows = vec![(name.to_owned(), space.predictions(training, model, judged)?)];
    rows.extend(space.opponents(judged, &controls, seed)?);

    let mut part = OwnSpacePart { width: space.width, effective_rank: space.effective_rank, ..OwnSpacePart::default() };
    for (predictor, predicted) in &rows {
        part.score(Scores::new(seed, predictor), judged, &means, predicted);
    }
    let halved = ObservedMeans { conditions: stacked(&held_out.second_half), ..means };
    part.score(Scores::new(seed, CEILING), judged, &halved, &held_out.first_half);
    let answers = |of: PredictedMeans| of.into_iter().map(|mean| mean.ok().map(|mean| mean.to_vec())).collect();
    part.points = MeanPoints {
        observed: lists(&stacked(&held_out.all)),
        controls: lists(&halved.controls),
        predicted: rows.into_iter().map(|(predictor, means)| (predictor, answers(means))).collect(),
    };
    Ok(Some(part))
}

impl OwnSpacePart {
    fn score(&mut self, mut scores: Scores, judged: &[Condition], means: &ObservedMeans, predicted: &PredictedMeans) {
        for (index, (condition, predicted)) in judged.iter().zip(predicted).enumerate() {
            match predicted {
                Err(reason) => METRICS.iter().for_each(|metric| scores.absent(metric, reason, 1)),
                Ok(mean) => {
                    for (metric, (value, reason)) in METRICS.iter().zip(means.score(index, mean.view())) {
                        scores.put(metric, &condition.to_string(), value, reason);
                    }
                }
            }
        }
        self.rows.extend(scores.rows);
        self.absent.extend(scores.absent);
    }
}

/// The training cells in the model's space.
struct TrainingSpace {
    /// Mean embedding of each condition of training and validation, control among them.
    means: BTreeMap<Condition, Array1<f32>>,
    /// The control cells of each context, which predictions start from.
    control_rows: BTreeMap<Option<String>, Vec<usize>>,
    /// Shifts of the training conditions from control, `(conditions, width)`.
    shifts: EffectTable,
    /// Mean embedding of control in each context, `(contexts, width)`.
    controls: Controls,
    width: usize,
    effective_rank: f64,
}

impl TrainingSpace {
    /// Of at most [`MOST_CELLS`] cells of each condition.
    fn new(cells: &TrainingCells, model: &dyn Trained, seed: u64) -> Result<Self> {
        let trained = rows_by_condition(&cells.conditions, &cells.split.train);
        let mut validation = rows_by_condition(&cells.conditions, &cells.split.validation);
        validation.retain(|condition, _| !trained.contains_key(condition));
        let drawn = |rows: &Vec<usize>| draw(rows, MOST_CELLS, seed);
        let train: Vec<usize> = trained.values().flat_map(drawn).collect();
        let z = model.embed(&cells.data, &train)?; // (cells, width)
        let mut means = BTreeMap::new();
        let mut shifts = EffectTable {
            genes: (0..z.ncols()).map(|feature| format!("z{feature}")).collect(),
            conditions: Vec::new(),
            effects: Array2::zeros((0, z.ncols())),
            n_cells: Vec::new(),
        };
        let mut controls = Controls { contexts: Vec::new(), profiles: Array2::zeros((0, z.ncols())) };
        let (mut control_rows, mut from) = (BTreeMap::new(), 0);
        for (condition, rows) in &trained {
            let rows = drawn(rows);
            means.insert((*condition).clone(), mean(z.slice(s![from..from + rows.len(), ..])));
            from += rows.len();
            if condition.perturbation.is_control() {
                control_rows.insert(condition.context.clone(), rows);
            }
        }
        for (condition, mean) in &means {
            match condition.perturbation.is_control() {
                true => {
                    controls.profiles.push_row(mean.view()).expect("all have the width of the space");
                    controls.contexts.push(condition.context.clone());
                }
                false => {
                    let control =
                        Condition { perturbation: Perturbation::control(), context: condition.context.clone() };
                    let control = means.get(&control).ok_or_else(|| no_control(condition))?;
                    shifts.effects.push_row((mean - control).view()).expect("all have the width of the space");
                    shifts.conditions.push(condition.clone());
                    shifts.n_cells.push(trained[condition].len());
                }
            }
        }
        for (condition, rows) in validation {
            means.insert(condition.clone(), mean(model.embed(&cells.data, &drawn(&rows))?.view()));
        }
        Ok(Self { means, control_rows, shifts, controls, width: z.ncols(), effective_rank: effective_rank(z.view()) })
    }

    /// Mean embedding of the control cells of a condition's context.
    fn control(&self, condition: &Condition) -> Result<Array1<f32>> {
        self.controls.of(condition.context.as_deref()).map(|mean| mean.to_owned()).ok_or_else(|| no_control(condition))
    }

    /// Mean embeddings of all conditions that are not judged.
    fn others(&self, judged: &[Condition]) -> Vec<Array1<f32>> {
        self.means.iter().filter(|(known, _)| !judged.contains(known)).map(|(_, mean)| mean.clone()).collect()
    }

    /// The model's own predictions.
    fn predictions(&self, cells: &TrainingCells, model: &dyn Trained, judged: &[Condition]) -> Result<PredictedMeans> {
        let predict = |condition: &Condition| {
            model.check(std::slice::from_ref(condition))?;
            let rows = self.control_rows.get(&condition.context).ok_or_else(|| no_control(condition))?;
            Ok(mean(model.predicted_embeddings(&cells.data, rows, condition)?.view()))
        };
        judged.iter().map(|condition| reasoned(predict(condition))).collect()
    }

    /// Baselines on the shifts; one that does not apply to any condition is left out.
    fn opponents(
        &self,
        judged: &[Condition],
        controls: &[Array1<f32>],
        seed: u64,
    ) -> Result<Vec<(String, PredictedMeans)>> {
        let ridge = Ridge::default();
        let opponents: [&dyn Predictor; 5] = [&NoChange, &Mean, &Additive, &SimilarityWeighted, &ridge];
        let data = TrainingData::of_table(self.shifts.clone(), Some(self.controls.clone()), seed);
        let mut rows = Vec::new();
        for opponent in opponents {
            let Ok(fitted) = reasoned(opponent.fit(&data))? else { continue };
            let of = |(condition, control)| Ok(reasoned(fitted.effect(condition))?.map(|shift| shift + control));
            let predicted = judged.iter().zip(controls).map(of).collect::<Result<PredictedMeans>>()?;
            if predicted.iter().any(|mean| mean.is_ok()) {
                rows.push((opponent.name().to_owned(), predicted));
            }
        }
        Ok(rows)
    }
}

/// The held-out cells in the model's space: the mean embedding of each judged condition.
struct HeldOut {
    all: Vec<Array1<f32>>,
    /// Of half of the cells.
    first_half: PredictedMeans,
    /// Of the other half; of all cells where they are too few to be halved.
    second_half: Vec<Array1<f32>>,
}

impl HeldOut {
    fn new(task: &Task, cells: &BenchmarkCells, model: &dyn Trained) -> Result<Self> {
        let observed = task.observed.cells.as_ref().expect("a dataset of cells");
        let mut held_out = Self { all: Vec::new(), first_half: Vec::new(), second_half: Vec::new() };
        for (index, rows) in observed.rows.iter().enumerate() {
            let z = model.embed(&cells.data, rows)?; // (cells, width)
            let mut order: Vec<usize> = (0..rows.len()).collect();
            shuffle(&mut order, &mut ChaCha8Rng::seed_from_u64(task.seed_of(index, "halves")));
            let other = order.split_off(order.len() / 2);
            let half = |rows: &[usize]| mean(z.select(Axis(0), rows).view());
            let whole = mean(z.view());
            let (first, second) = match rows.len() >= FEWEST_HALVED {
                true => (Ok(half(&order)), half(&other)),
                false => (Err(too_few_to_halve()), whole.clone()),
            };
            held_out.first_half.push(first);
            held_out.second_half.push(second);
            held_out.all.push(whole);
        }
        Ok(held_out)
    }
}

fn no_control(condition: &Condition) -> Error {
    Error::inapplicable(format!("{condition}: no control cell of its context was trained on"))
}

/// Mean of some cells `(cells, width)`, summed in double precision.
fn mean(z: ArrayView2<'_, f32>) -> Array1<f32> {
    let sum = z.fold_axis(Axis(0), 0.0_f64, |sum, &value| sum + f64::from(value));
    sum.mapv(|sum| (sum / z.nrows() as f64) as f32)
}

/// Vectors of one length as rows.
fn stacked(rows: &[Array1<f32>]) -> Array2<f32> {
    Array2::from_shape_fn((rows.len(), rows.first().map_or(0, Array1::len)), |(row, column)| rows[row][column])
}

/// All seeds of a model's own space together.
pub(super) fn assemble(model: &str, parts: Vec<OwnSpacePart>) -> OwnSpace {
    let width = parts.first().map_or(0, |part| part.width);
    let effective_rank = parts.iter().map(|part| part.effective_rank).sum::<f64>() / parts.len().max(1) as f64;
    let points = parts.first().map(|part| part.points.clone());
    let mut absent: BTreeMap<(String, String, String), Absent> = BTreeMap::new();
    let mut rows = Vec::new();
    for part in parts {
        rows.extend(part.rows);
        for one in part.absent {
            let key = (one.model.clone(), one.metric.clone(), one.reason.clone());
            absent.entry(key).and_modify(|known| known.n += one.n).or_insert(one);
        }
    }
    let Benchmark { rows, summary, comparisons, .. } = Benchmark::of_rows(rows, &HashMap::new());
    let absent = absent.into_values().collect();
    OwnSpace { model: model.to_owned(), width, effective_rank, summary, comparisons, absent, rows, points }
}
