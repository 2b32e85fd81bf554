//! Mean embeddings in a model's own space: of the training conditions, of the held-out cells, and as predicted by the model
//! and by baselines that are fitted to the shifts of the training conditions.

use super::super::{
    BenchmarkCells, MOST_CELLS, Task,
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
use std::collections::BTreeMap;

/// The predicted mean embedding `(width,)` of each judged condition, or the reason why there is none.
pub(super) type PredictedMeans = Vec<std::result::Result<Array1<f32>, String>>;

/// The training cells in the model's space.
pub(super) struct TrainingSpace {
    /// Mean embedding of each condition of training and validation, control among them.
    means: BTreeMap<Condition, Array1<f32>>,
    /// The control cells of each context, which predictions start from.
    control_rows: BTreeMap<Option<String>, Vec<usize>>,
    /// Shifts of the training conditions from control, `(conditions, width)`.
    shifts: EffectTable,
    /// Mean embedding of control in each context, `(contexts, width)`.
    controls: Controls,
    pub(super) width: usize,
    pub(super) effective_rank: f64,
}

impl TrainingSpace {
    /// Of at most [`MOST_CELLS`] cells of each condition.
    pub(super) fn new(cells: &TrainingCells, model: &dyn Trained, seed: u64) -> Result<Self> {
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
    pub(super) fn control(&self, condition: &Condition) -> Result<Array1<f32>> {
        self.controls.of(condition.context.as_deref()).map(|mean| mean.to_owned()).ok_or_else(|| no_control(condition))
    }

    /// Mean embeddings of all conditions that are not judged.
    pub(super) fn others(&self, judged: &[Condition]) -> Vec<Array1<f32>> {
        self.means.iter().filter(|(known, _)| !judged.contains(known)).map(|(_, mean)| mean.clone()).collect()
    }

    /// The model's own predictions.
    pub(super) fn predictions(
        &self,
        cells: &TrainingCells,
        model: &dyn Trained,
        judged: &[Condition],
    ) -> Result<PredictedMeans> {
        let predict = |condition: &Condition| {
            model.check(std::slice::from_ref(condition))?;
            let rows = self.control_rows.get(&condition.context).ok_or_else(|| no_control(condition))?;
            Ok(mean(model.predicted_embeddings(&cells.data, rows, condition)?.view()))
        };
        judged.iter().map(|condition| reasoned(predict(condition))).collect()
    }

    /// Baselines on the shifts; one that does not apply to any condition is left out.
    pub(super) fn opponents(
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
pub(super) struct HeldOut {
    pub(super) all: Vec<Array1<f32>>,
    /// Of half of the cells.
    pub(super) first_half: PredictedMeans,
    /// Of the other half; of all cells where they are too few to be halved.
    pub(super) second_half: Vec<Array1<f32>>,
}

impl HeldOut {
    pub(super) fn new(task: &Task, cells: &BenchmarkCells, model: &dyn Trained) -> Result<Self> {
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
pub(super) fn stacked(rows: &[Array1<f32>]) -> Array2<f32> {
    Array2::from_shape_fn((rows.len(), rows.first().map_or(0, Array1::len)), |(row, column)| rows[row][column])
}
