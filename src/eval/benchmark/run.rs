//! Models x seeds, in parallel.

use super::{Absent, BenchmarkData, Row, Task, measure};
use crate::{
    Result,
    data::{Conditions, SplitPlan},
    eval::Predictor,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Scores of all models on all seeds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Benchmark {
    /// One a model, seed, condition and metric.
    pub rows: Vec<Row>,
    /// What does not exist, and why.
    pub absent: Vec<Absent>,
}

/// Runs every predictor on every split.
///
/// # Errors
/// A plan that does not fit the data; a training that failed.
pub fn run(data: &BenchmarkData, plans: &[(u64, SplitPlan)], models: &[Box<dyn Predictor>]) -> Result<Benchmark> {
    let conditions = match data {
        BenchmarkData::Effects(effects) => Conditions::of_effects(effects),
        BenchmarkData::Cells(cells) => cells.conditions.clone(),
    };
    let parts: Vec<Benchmark> = plans
        .par_iter()
        .map(|(seed, plan)| {
            let split = plan.divide(&conditions)?;
            let task = Task::new(data, &split.split(&conditions)?, &split.groups, *seed)?;
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
