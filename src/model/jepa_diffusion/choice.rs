//! What is chosen by the E-distance of decoded training cells.

use super::{generator::Generator, given::KeptControls, held_out::GaussianBaseline};
use crate::{
    Result,
    data::{Condition, rows_by_condition},
    model::jepa::EmbeddedCells,
};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Factors of the deviation that are tried.
const WIDTHS: [f64; 8] = [0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.3];
/// Shares of the mean residual that are tried.
const MEANS: [f64; 3] = [0.0, 0.5, 1.0];
/// Conditions that are judged, and control cells of each.
const SAMPLE: (usize, usize) = (16, 128);
/// Fewer cells of a condition are not judged.
const FEWEST_CELLS: usize = 20;

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Factor of the deviation of residuals from their mean.
    pub width: f64,
    /// Share of the mean residual that is added to the JEPA's mean, of conditions that were trained on; 0 for others.
    pub mean: f64,
    /// Mean E-distance of decoded training cells with it.
    pub energy_distance: f64,
    /// The same of the JEPA's own cells.
    pub energy_distance_of_jepa: f64,
}

impl Chosen {
    /// Drawn residuals r `(cells, dims)` as points around `m_c`: the share of their mean, `mean`, `(dims,)`, that is used, and
    /// their deviations from it.
    pub fn points(&self, m: &Array1<f64>, mean: &Array1<f64>, share: f64, r: &Array2<f32>) -> Array2<f32> {
        let from = m + &(mean * share);
        ((r.mapv(f64::from) - mean) * self.width + from).mapv(|v| v as f32)
    }
}

/// The training cells by which it is chosen.
pub(super) struct Judged<'a> {
    pub cells: &'a EmbeddedCells<'a>,
    pub kept: &'a KeptControls,
    pub baseline: &'a GaussianBaseline,
    /// Rows of the control cells of each context.
    pub controls: &'a BTreeMap<Option<String>, Vec<usize>>,
    /// The condition of each cell of the dataset.
    pub conditions: &'a [Condition],
    /// Rows of the training cells.
    pub train: &'a [usize],
}

/// Chooses on the training conditions.
///
/// # Errors
/// Those of the JEPA and the generator.
pub(super) fn choose(judged: &Judged<'_>, generator: &Generator, seed: u64) -> Result<Chosen> {
    let Judged { cells, kept, baseline, controls, conditions, train } = *judged;
    let (jepa, judge) = (cells.jepa(), cells.judge(seed)?);
    let enough: Vec<(&Condition, Vec<usize>)> = rows_by_condition(conditions, train)
        .into_iter()
        .filter(|(condition, rows)| baseline.knows(condition) && rows.len() >= FEWEST_CELLS)
        .collect();
    let step = enough.len().div_ceil(SAMPLE.0).max(1);
    let mut drawn = Vec::new();
    let mut of_jepa = 0.0;
    for (condition, rows) in enough.into_iter().step_by(step) {
        let mut from = controls[&condition.context].clone();
        from.truncate(SAMPLE.1);
        let start = cells.start(&from);
        let library: Vec<f32> = from.iter().map(|&row| cells.data().library_size[row]).collect();
        let k = super::given::given(jepa, condition, &start, &library)?;
        let r = generator.draw(&k, seed)?;
        let mean = r.mapv(f64::from).mean_axis(Axis(0)).expect("there are control cells");
        of_jepa += judge.distance(&jepa.spread(&start, condition)?, condition, &from, &rows)?;
        drawn.push((condition, kept.mean(jepa, condition)?, mean, r, from, rows));
    }
    let n = drawn.len().max(1) as f64;
    let mut best =
        Chosen { width: 1.0, mean: 1.0, energy_distance: f64::INFINITY, energy_distance_of_jepa: of_jepa / n };
    for share in MEANS {
        for width in WIDTHS {
            let tried = Chosen { width, mean: share, ..best };
            let mut total = 0.0;
            for (condition, m, mean, r, from, rows) in &drawn {
                total += judge.distance(&tried.points(m, mean, share, r), condition, from, rows)?;
            }
            if total / n < best.energy_distance {
                best = Chosen { energy_distance: total / n, ..tried };
            }
        }
    }
    Ok(best)
}
