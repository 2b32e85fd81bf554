//! Held-out cells in embedding space: predicted embeddings beside those that the teacher gives the cells.
//!
//! For a perturbation in its context, with the control cells x of that context that the model keeps:
//!
//! | prediction | of the embedding under the perturbation, from control cell x |
//! |---|---|
//! | `jepa` | the model's `z_hat(x)` |
//! | `no_change` | `E'(x)` |
//! | `mean_shift` | `E'(x)` plus the mean difference to control of all training conditions |
//!
//! *Of means*: the mean prediction and the mean embedding of the held-out cells, by the formulas of `bench`'s `embedding_cosine`,
//! `embedding_cosine_shift` and `embedding_l2`. *Of cells*: cosine and L2 of each held-out cell and one predicted embedding. No cell
//! is measured both before and after, so that a held-out cell has a control cell by chance, the same for every prediction. These hold
//! the spread of both cells; predictions are compared by the means.

use super::{Jepa, response::StartCells};
use crate::{
    Result,
    data::{Condition, Dataset},
    eval::{cosine, difference, l2, sets::subsample},
    model::{HeldOutScore, Trained},
};
use ndarray::{Array1, Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, slice};

/// Most held-out cells of a condition; more move its mean little.
const MOST_CELLS: usize = 200;

/// Mean and sample standard deviation of some values; the deviation of one value is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanAndDeviation {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: f64,
}

impl MeanAndDeviation {
    /// `None` of no values.
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Array1<f64> = values.into_iter().collect();
        let mean = values.mean()?;
        Some(Self { mean, sd: if values.len() > 1 { values.std(1.0) } else { 0.0 } })
    }
}

/// Scores of a predicted and an observed mean embedding; `None` where a vector is zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanScores {
    /// Cosine of the two.
    pub cosine: Option<f64>,
    /// Cosine of their shifts from control.
    pub cosine_shift: Option<f64>,
    /// Euclidean distance of the two.
    pub l2: Option<f64>,
}

/// A prediction on all held-out cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionScores {
    /// `jepa`, `no_change` or `mean_shift`.
    pub prediction: String,
    /// Cosine of means, over conditions.
    pub cosine: Option<MeanAndDeviation>,
    /// Cosine of the means' shifts from control, over conditions.
    pub cosine_shift: Option<MeanAndDeviation>,
    /// Euclidean distance of means, over conditions.
    pub l2: Option<MeanAndDeviation>,
    /// Cosine of each held-out cell and a predicted embedding, over cells.
    pub cell_cosine: Option<MeanAndDeviation>,
    /// Euclidean distance of the same, over cells.
    pub cell_l2: Option<MeanAndDeviation>,
}

/// The means of one condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionScores {
    /// Perturbation and context.
    pub condition: String,
    /// Held-out cells.
    pub cells: usize,
    /// By prediction.
    pub scores: BTreeMap<String, MeanScores>,
}

/// Held-out cells in the space of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutEmbeddings {
    /// Conditions that were judged, each a perturbation in a context.
    pub conditions: usize,
    /// Their held-out cells.
    pub cells: usize,
    /// Conditions that the model cannot predict.
    pub left_out: usize,
    /// The model, and what it is compared with; no `mean_shift` of a model that was saved without one.
    pub predictions: Vec<PredictionScores>,
    /// Each condition, in order.
    pub by_condition: Vec<ConditionScores>,
}

impl Jepa {
    /// Predicted embeddings of the cells `rows` of `data` beside their own; see the module. Control cells are not judged. `None`
    /// for a model of phase A alone, and where no cell is of a condition that the model predicts.
    ///
    /// # Errors
    /// Genes of `data` that are not the model's; a column of contexts that `data` lacks.
    pub fn held_out_embeddings(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutEmbeddings>> {
        let Some(response) = &self.response else { return Ok(None) };
        let contexts = self.context_columns().of_cells(data)?;
        let mut rows_of: BTreeMap<Condition, Vec<usize>> = BTreeMap::new();
        for &row in rows.iter().filter(|&&row| !data.perturbation_of(row).is_control()) {
            let condition =
                Condition { perturbation: data.perturbation_of(row).clone(), context: contexts[row].clone() };
            rows_of.entry(condition).or_default().push(row);
        }
        let starts = self.kept_starts()?;
        let (mut judged, mut left_out) = (Vec::new(), 0);
        for (condition, rows) in rows_of {
            let Some(start) =
                starts.get(&condition.context).filter(|_| self.check(slice::from_ref(&condition)).is_ok())
            else {
                left_out += 1;
                continue;
            };
            let observed = self.embed(data, &subsample(&rows, MOST_CELLS, seed))?;
            let mut predicted = {
                let _on = self.encoder.device.enter()?;
                vec![("jepa", response.moved(start, &condition)?), ("no_change", start.z.clone())]
            };
            predicted.extend(response.mean_shift.as_ref().map(|shift| ("mean_shift", &start.z + shift)));
            judged.push(Judged::new(&condition, &observed, &start.z, &predicted));
        }
        Ok((!judged.is_empty()).then(|| HeldOutEmbeddings::of(judged, left_out)))
    }

    /// The kept control cells of each context.
    fn kept_starts(&self) -> Result<BTreeMap<Option<String>, StartCells>> {
        let (data, contexts) = self.reference()?;
        let mut rows_of: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        for (row, context) in contexts.iter().enumerate() {
            rows_of.entry(context.clone()).or_default().push(row);
        }
        rows_of.into_iter().map(|(context, rows)| Ok((context, self.encoder.start(data, &rows)?))).collect()
    }
}

/// A condition with the scores of its single cells.
struct Judged {
    scores: ConditionScores,
    /// Cosines and distances of the cells by prediction, in the order of the predictions.
    cells: Vec<(&'static str, [Vec<f64>; 2])>,
}

impl Judged {
    fn new(
        condition: &Condition,
        observed: &Array2<f32>,
        control: &Array2<f32>,
        predicted: &[(&'static str, Array2<f32>)],
    ) -> Self {
        let (mean_of_cells, mean_of_control) = (mean(observed), mean(control));
        let scores = predicted.iter().map(|(name, z)| {
            let mean = mean(z);
            let scores = MeanScores {
                cosine: cosine(&mean, &mean_of_cells),
                cosine_shift: cosine(
                    &difference(&mean, &mean_of_control),
                    &difference(&mean_of_cells, &mean_of_control),
                ),
                l2: l2(&mean, &mean_of_cells),
            };
            ((*name).to_owned(), scores)
        });
        let scores = scores.collect();
        let cells = predicted.iter().map(|(name, z)| {
            // The kept control cells are in an order by chance.
            let pairs = || observed.rows().into_iter().zip(z.rows().into_iter().cycle());
            let of = |score: fn(&[f32], &[f32]) -> Option<f64>| {
                let score = |(y, z): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| score(&z.to_vec(), &y.to_vec());
                pairs().filter_map(score).collect()
            };
            (*name, [of(cosine), of(l2)])
        });
        let cells = cells.collect();
        let scores = ConditionScores { condition: condition.to_string(), cells: observed.nrows(), scores };
        Self { scores, cells }
    }
}

/// Mean of some embeddings `(cells, width)`, summed in double precision.
fn mean(z: &Array2<f32>) -> Vec<f32> {
    let sum = z.fold_axis(Axis(0), 0.0_f64, |sum, &value| sum + f64::from(value));
    sum.iter().map(|sum| (sum / z.nrows() as f64) as f32).collect()
}

impl HeldOutEmbeddings {
    fn of(judged: Vec<Judged>, left_out: usize) -> Self {
        let names: Vec<&str> = judged[0].cells.iter().map(|(name, _)| *name).collect();
        let predictions = names.iter().enumerate().map(|(place, name)| {
            let of_means = |score: fn(&MeanScores) -> Option<f64>| {
                MeanAndDeviation::of(judged.iter().filter_map(|one| score(&one.scores.scores[*name])))
            };
            let of_cells = |side: usize| {
                MeanAndDeviation::of(judged.iter().flat_map(|one| one.cells[place].1[side].iter().copied()))
            };
            PredictionScores {
                prediction: (*name).to_owned(),
                cosine: of_means(|scores| scores.cosine),
                cosine_shift: of_means(|scores| scores.cosine_shift),
                l2: of_means(|scores| scores.l2),
                cell_cosine: of_cells(0),
                cell_l2: of_cells(1),
            }
        });
        let predictions = predictions.collect();
        let by_condition: Vec<ConditionScores> = judged.into_iter().map(|one| one.scores).collect();
        let cells = by_condition.iter().map(|one| one.cells).sum();
        Self { conditions: by_condition.len(), cells, left_out, predictions, by_condition }
    }

    /// A heading and one line per prediction.
    fn to_text(&self) -> String {
        let left_out = match self.left_out {
            0 => String::new(),
            n => format!("; {n} more cannot be predicted"),
        };
        let mut text = format!(
            "held-out cells in embedding space: {} conditions, {} cells{left_out}; mean and ± deviation over conditions, or over cells\n\
             {:<12}{:>16}{:>17}{:>16}{:>18}{:>16}",
            self.conditions,
            self.cells,
            "",
            "cosine of means",
            "cosine of shifts",
            "L2 of means",
            "cosine of cells",
            "L2 of cells"
        );
        for of in &self.predictions {
            let shown = |score: Option<MeanAndDeviation>, digits: usize| {
                score.map_or_else(|| "-".to_owned(), |of| format!("{:.digits$} ± {:.digits$}", of.mean, of.sd))
            };
            text += &format!(
                "\n{:<12}{:>16}{:>17}{:>16}{:>18}{:>16}",
                of.prediction.replace('_', " "),
                shown(of.cosine, 3),
                shown(of.cosine_shift, 3),
                shown(of.l2, 2),
                shown(of.cell_cosine, 3),
                shown(of.cell_l2, 2)
            );
        }
        text
    }
}

impl From<HeldOutEmbeddings> for HeldOutScore {
    fn from(found: HeldOutEmbeddings) -> Self {
        Self { line: found.to_text(), json: serde_json::json!({ "embeddings": found }) }
    }
}
