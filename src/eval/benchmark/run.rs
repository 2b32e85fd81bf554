//! Models x seeds, in parallel.

use super::{Benchmark, BenchmarkData, Task, measure};
use crate::{Result, data::SplitPlan, eval::Predictor};
use rayon::prelude::*;

/// Runs every predictor on every split.
///
/// # Errors
/// A plan that does not fit the data; a training that failed.
pub fn run(data: &BenchmarkData, plans: &[(u64, SplitPlan)], models: &[Box<dyn Predictor>]) -> Result<Benchmark> {
    let conditions = data.conditions();
    let parts: Vec<Benchmark> = plans
        .par_iter()
        .map(|(seed, plan)| {
            let split = plan.conditions(&conditions)?;
            let rows = match data {
                BenchmarkData::Effects(_) => split.rows(&conditions)?,
                BenchmarkData::Cells(cells) => split.cells(&cells.conditions)?,
            };
            let task = Task::new(data, &rows, &split.groups, *seed)?;
            let mut done = Benchmark::default();
            for model in models {
                let scores = measure(&task.observed, &task.predict(model.as_ref())?, *seed);
                done.rows.extend(scores.rows);
                done.absent.extend(scores.absent);
            }
            Ok(done)
        })
        .collect::<Result<_>>()?;
    let mut all = Benchmark::default();
    for part in parts {
        all.rows.extend(part.rows);
        all.absent.extend(part.absent);
    }
    Ok(all)
}
