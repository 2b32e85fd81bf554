//! The independent causes behind each simulated cell, which no experiment measures: what a disentangled latent should hold.

use super::landscape::{CYCLE_PROGRAMS, Landscape};
use ndarray::Array2;

/// The true factors of variation of the cells of a simulation, beside their perturbation.
#[derive(Debug, Clone, PartialEq)]
pub struct CellFactors {
    /// `cycle_cos`, `cycle_sin`, `program_3` ..., `log_library`, `lane_2` ...
    pub names: Vec<String>,
    /// One row per cell of the dataset, `(cells, factors)`: program activities (mean 0, variance 1 over cells of a type), the
    /// natural log of the library size before damage, and for each lane but the first 1 for its cells, else 0.
    pub values: Array2<f64>,
}

impl CellFactors {
    /// The named factors only, in that order; names that there are not are left out.
    pub fn select(&self, names: &[&str]) -> Self {
        let columns: Vec<usize> =
            names.iter().filter_map(|name| self.names.iter().position(|known| known == name)).collect();
        Self {
            names: columns.iter().map(|&column| self.names[column].clone()).collect(),
            values: self.values.select(ndarray::Axis(1), &columns),
        }
    }

    /// The factors of the cells `rows`.
    pub fn of_cells(&self, rows: &[usize]) -> Self {
        Self { names: self.names.clone(), values: self.values.select(ndarray::Axis(0), rows) }
    }
}

impl Landscape {
    /// The factors of the `cells` cells that this landscape draws with this seed.
    pub fn factors(&self, cells: usize, seed: u64) -> CellFactors {
        let (programs, lanes) = (self.loadings.nrows(), self.lanes.nrows());
        let names = ["cycle_cos", "cycle_sin"]
            .into_iter()
            .map(str::to_owned)
            .chain((CYCLE_PROGRAMS + 1..=programs).map(|program| format!("program_{program}")))
            .chain(["log_library".to_owned()])
            .chain((2..=lanes).map(|lane| format!("lane_{lane}")));
        let mut values = Array2::zeros((cells, programs + lanes));
        for (cell, mut row) in values.rows_mut().into_iter().enumerate() {
            let (drawn, _) = self.draw_state(cell, seed);
            let lane = (1..lanes).map(|lane| f64::from(u8::from(drawn.state.lane == lane)));
            let activities = drawn.state.activities.iter().copied();
            let factors = activities.chain([drawn.library.ln()]).chain(lane);
            row.iter_mut().zip(factors).for_each(|(to, factor)| *to = factor);
        }
        CellFactors { names: names.collect(), values }
    }
}
