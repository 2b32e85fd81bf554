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

mod means;

use super::{
    Absent, Benchmark, BenchmarkCells, CEILING, Comparison, MetricSummary, ObservedEffects, Predicted, Row, Scores,
    Task,
    measure::embedding::{METRICS, ObservedMeans},
};
use crate::{Result, data::Condition, model::Trained};
use means::{HeldOut, PredictedMeans, TrainingSpace, stacked};
use ndarray::Array2;
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
