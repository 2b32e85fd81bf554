//! Denoising losses of held-out cells, beside those of the closed-form Gaussian denoiser.

use super::gaussian::{Axes, LevelLoss, gaussian_denoised};
use crate::{
    Error, Result,
    data::Condition,
    model::{HeldOutScore, State},
};
use ndarray::{Array1, Array2, Axis};
use serde_json::json;
use std::collections::BTreeMap;

/// Diffusion times at which held-out cells are denoised.
pub(super) const TIMES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// The Gaussian distribution of the training cells of each condition, with one covariance.
#[derive(Debug, Clone)]
pub(super) struct GaussianBaseline {
    /// Mean z and mean ln library size of each condition.
    means: BTreeMap<Condition, (Array1<f64>, f64)>,
    /// Of the deviations from these means.
    pub axes: Axes,
    /// Change of z per ln library size within conditions, `(dims,)`.
    slope: Array1<f64>,
    /// Of the deviations from means that move with the library size.
    with_library: Axes,
}

/// The cells of a condition: their embeddings `(cells, dims)` and library sizes.
pub(super) struct OfCondition<'a> {
    pub condition: &'a Condition,
    pub z: Array2<f64>,
    pub library_size: Vec<f32>,
}

impl GaussianBaseline {
    /// Of the training cells.
    ///
    /// # Errors
    /// Embeddings that do not vary.
    pub fn fit(groups: &[OfCondition<'_>]) -> Result<Self> {
        let mut means = BTreeMap::new();
        let (mut deviations, mut logs) = (Vec::new(), Vec::new());
        for OfCondition { condition, z, library_size } in groups {
            let Some(mean) = z.mean_axis(Axis(0)) else { continue };
            let log: Vec<f64> = library_size.iter().map(|&size| f64::from(size.max(1.0)).ln()).collect();
            let mean_log = log.iter().sum::<f64>() / log.len() as f64;
            deviations.push(z - &mean);
            logs.extend(log.iter().map(|log| log - mean_log));
            means.insert((*condition).clone(), (mean, mean_log));
        }
        let views: Vec<_> = deviations.iter().map(|rows| rows.view()).collect();
        let deviations = ndarray::concatenate(Axis(0), &views)
            .map_err(|_| Error::data("there is no training cell whose condition the jepa predicts"))?;
        let logs = Array1::from(logs);
        let axes = Axes::of_deviations(&deviations, means.len())?;
        let slope = logs.dot(&deviations) / logs.dot(&logs).max(f64::MIN_POSITIVE);
        let explained = logs.insert_axis(Axis(1)).dot(&slope.view().insert_axis(Axis(0)));
        let with_library = Axes::of_deviations(&(deviations - explained), means.len() + 1)?;
        // In the precision of saved arrays, so that a model that was read from a file says the same.
        let round = |v: f64| f64::from(v as f32);
        means.values_mut().for_each(|(mean, _): &mut (Array1<f64>, f64)| mean.mapv_inplace(round));
        let (axes, with_library) = (axes.rounded(), with_library.rounded());
        Ok(Self { means, axes, slope: slope.mapv(round), with_library })
    }

    /// Whether cells of this condition were trained on.
    pub fn knows(&self, condition: &Condition) -> bool {
        self.means.contains_key(condition)
    }

    /// Squared errors, summed over cells and dimensions, of both Gaussian denoisers on embeddings noised to x at `x = a z + s
    /// epsilon`: without and with the library size.
    ///
    /// # Panics
    /// If the condition is not known.
    pub fn squared_errors(&self, cells: &OfCondition<'_>, x: &Array2<f64>, (a, s): (f64, f64)) -> [f64; 2] {
        let (mean, mean_log) = &self.means[cells.condition];
        let off = |denoised: Array2<f64>| (&cells.z - denoised).mapv(|d| d * d).sum();
        let means = mean.broadcast(cells.z.dim()).expect("one row for all").to_owned();
        let plain = off(gaussian_denoised(x, &means, &self.axes, (a, s)));
        let logs: Array1<f64> =
            cells.library_size.iter().map(|&size| f64::from(size.max(1.0)).ln() - mean_log).collect();
        let moved = means + logs.insert_axis(Axis(1)).dot(&self.slope.view().insert_axis(Axis(0)));
        [plain, off(gaussian_denoised(x, &moved, &self.with_library, (a, s)))]
    }

    /// The conditions and the mean ln library size of each, which [`Self::add_to`] leaves out of the arrays.
    pub fn described(&self) -> Vec<(Condition, f64)> {
        self.means.iter().map(|(condition, (_, log))| (condition.clone(), *log)).collect()
    }

    /// Adds its arrays to a state.
    pub fn add_to(&self, state: State) -> State {
        let dims = self.slope.len();
        state
            .with_rows("gaussian.means", dims, self.means.values().map(|(mean, _)| mean))
            .with_vector("gaussian.slope", &self.slope)
            .with_vector("gaussian.variances", &self.axes.variances)
            .with_array("gaussian.directions", &self.axes.directions)
            .with_vector("gaussian.library.variances", &self.with_library.variances)
            .with_array("gaussian.library.directions", &self.with_library.directions)
    }

    /// Takes it from a state, of embeddings of `dims` numbers.
    ///
    /// # Errors
    /// Arrays that are missing or have other shapes.
    pub fn take_from(state: &State, conditions: Vec<(Condition, f64)>, dims: usize) -> Result<Self> {
        let means = state.array("gaussian.means", Some(conditions.len()), Some(dims))?;
        let axes = |name: &str| {
            Ok::<_, Error>(Axes {
                variances: state.vector(&format!("{name}variances"), dims)?,
                directions: state.array(&format!("{name}directions"), Some(dims), Some(dims))?,
            })
        };
        let means = conditions
            .into_iter()
            .zip(means.rows())
            .map(|((condition, log), mean)| (condition, (mean.to_owned(), log)));
        Ok(Self {
            means: means.collect(),
            axes: axes("gaussian.")?,
            slope: state.vector("gaussian.slope", dims)?,
            with_library: axes("gaussian.library.")?,
        })
    }
}

/// The losses as a score: one line, and `metrics.json`'s entry.
pub(super) fn score(levels: &[LevelLoss], cells: usize) -> HeldOutScore {
    let mean = |of: fn(&LevelLoss) -> f64| levels.iter().map(of).sum::<f64>() / levels.len().max(1) as f64;
    let (ratio, with_library) = (mean(|level| level.ratio), mean(|level| level.ratio_to_gaussian_with_library));
    let best = levels.iter().map(|level| level.ratio).fold(f64::INFINITY, f64::min);
    let worst = levels.iter().map(|level| level.ratio).fold(0.0, f64::max);
    HeldOutScore {
        line: format!(
            "held-out denoising loss {ratio:.3} of the closed-form Gaussian denoiser's, mean of {} noise levels ({best:.3} to \
             {worst:.3}); {with_library:.3} where the Gaussian knows the library size ({cells} cells)",
            levels.len()
        ),
        json: json!({
            "denoising_ratio": ratio,
            "denoising_ratio_with_library": with_library,
            "denoising": levels,
            "cells": cells,
        }),
    }
}
