//! Mean embeddings: is the predicted mean near the observed one, and nearer to it than to that of any other condition?
//!
//! With `z^` the predicted and `z` the observed mean embedding of a condition, and `z_c` that of the control cells of its
//! context:
//!
//! | metric | what | best, random |
//! |---|---|---|
//! | `embedding_cosine` | cosine of `z^` and `z` themselves. In a space whose origin is far from the cells it is near 1 for a plain copy of control | 1 |
//! | `embedding_cosine_shift` | cosine of the shifts from control, `z^ - z_c` and `z - z_c` | 1, 0 |
//! | `embedding_l2` | Euclidean distance of `z^` and `z` | 0 |
//! | `embedding_retrieval` | the observed means of all conditions of the dataset, ranked by Euclidean distance to `z^`: share of the others that are farther than the right one, one as far counting half | 1, 0.5 |
//! | `embedding_top1` | 1 where the right one is the nearest of all, else 0: the nearest neighbour (kNN with k = 1) | 1, 1 / conditions |
//!
//! The conditions that are ranked are those that are judged, those of training and validation, and control, each in each of
//! its contexts; of a condition with cells both in training and held out, the held-out mean stands for it.
//!
//! Here the space is the one that predictions of every model share: the [`PcaSpace`](super::super::PcaSpace) of the training
//! cells (50 components), in which the mean of cells is the projection of their mean profile. A predicted mean is control's
//! profile plus the predicted effect. The same scores in a model's own space are computed in `own_space`.

use super::{
    super::{ObservedEffects, Predicted, Scores},
    Sheet, absent_without_effect,
};
use crate::eval::{cosine, difference, l2, perturbench_rank};
use ndarray::{Array2, ArrayView1};

/// Names of the metrics.
pub(in super::super) const METRICS: [&str; 5] =
    ["embedding_cosine", "embedding_cosine_shift", "embedding_l2", "embedding_retrieval", "embedding_top1"];

const NO_SPACE: &str = "the dataset holds effects, so there are no cells to fit a space on";
const ALONE: &str = "a rank needs at least two conditions";

/// Observed mean embeddings.
#[derive(Debug, Clone)]
pub(in super::super) struct ObservedMeans {
    /// Of the judged conditions, `(conditions, d)`.
    pub(in super::super) conditions: Array2<f32>,
    /// Of the control cells of the context of each, `(conditions, d)`.
    pub(in super::super) controls: Array2<f32>,
    /// Of all other conditions of the dataset, control among them, `(others, d)`.
    pub(in super::super) others: Array2<f32>,
}

impl ObservedMeans {
    /// The scores of the predicted mean `(d,)` of a condition, in the order of [`METRICS`], each with the reason why it may
    /// not exist.
    pub(in super::super) fn score(
        &self,
        index: usize,
        predicted: ArrayView1<'_, f32>,
    ) -> [(Option<f64>, &'static str); 5] {
        let (predicted, observed) = (predicted.to_vec(), self.conditions.row(index).to_vec());
        let control = self.controls.row(index).to_vec();
        let shift = |of: &[f32]| difference(of, &control);
        let candidates = self.conditions.rows().into_iter().chain(self.others.rows());
        let distances: Vec<f64> =
            candidates.map(|candidate| l2(&predicted, &candidate.to_vec()).unwrap_or(f64::NAN)).collect();
        let nearest = distances.iter().enumerate().all(|(other, &d)| other == index || d > distances[index]);
        [
            (cosine(&predicted, &observed), "the predicted or the observed mean is the origin"),
            (cosine(&shift(&predicted), &shift(&observed)), "the predicted or the observed shift from control is zero"),
            (l2(&predicted, &observed), "a value is not finite"),
            (perturbench_rank(&distances, index).map(|place| 1.0 - place), ALONE),
            ((distances.len() > 1).then_some(f64::from(u8::from(nearest))), ALONE),
        ]
    }
}

impl ObservedEffects {
    /// The mean profiles in the common space; `Err` with the reason where there is none.
    pub(in super::super) fn means(&self) -> Result<&ObservedMeans, &str> {
        // Not inside the lock: a thread that waits for others there might be given work that wants the lock.
        if self.memo.means.get().is_none() {
            let _ = self.memo.means.set(self.project());
        }
        self.memo.means.get().expect("set above, here or by another thread").as_ref().map_err(String::as_str)
    }

    fn project(&self) -> Result<ObservedMeans, String> {
        let controls = self.controls.as_ref().ok_or(NO_SPACE)?;
        let (conditions, others) = (self.embed(&(&self.effects + controls))?, self.embed(&self.others.profiles)?);
        Ok(ObservedMeans { conditions, controls: self.embed(controls)?, others })
    }

    /// Mean profiles `(rows, genes)` in the common space, `(rows, components)`.
    fn embed(&self, profiles: &Array2<f32>) -> Result<Array2<f32>, String> {
        let cells = self.cells.as_ref().ok_or(NO_SPACE)?;
        cells.space.of_cells(&cells.expression, profiles.view()).map_err(|error| error.to_string())
    }

    /// The predicted means in the common space, `(conditions, components)`; NaN where there is no prediction.
    pub(in super::super) fn predicted_means(&self, predicted: &Predicted) -> Result<Array2<f32>, String> {
        let mut profiles = self.controls.clone().ok_or(NO_SPACE)?;
        for (index, mut profile) in profiles.rows_mut().into_iter().enumerate() {
            if let Some(effect) = predicted.effect(index) {
                profile += &effect;
            }
        }
        let mut points = self.embed(&profiles)?;
        for (index, mut point) in points.rows_mut().into_iter().enumerate() {
            if predicted.effect(index).is_none() {
                point.fill(f32::NAN);
            }
        }
        Ok(points)
    }
}

pub(super) fn measure(observed: &ObservedEffects, predicted: &Predicted, scores: &mut Scores) {
    let found = observed.means().map_err(str::to_owned).and_then(|means| {
        let predicted = observed.predicted_means(predicted)?;
        Ok((means, predicted))
    });
    let (means, points) = match found {
        Ok(found) => found,
        Err(reason) => return METRICS.iter().for_each(|name| scores.absent(name, &reason, observed.conditions.len())),
    };
    for (index, point) in points.rows().into_iter().enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        match predicted.effect(index) {
            None => absent_without_effect(&mut sheet, predicted, index, &METRICS),
            Some(_) => {
                for (name, (value, reason)) in METRICS.iter().zip(means.score(index, point)) {
                    sheet.put(name, value, reason);
                }
            }
        }
    }
}
