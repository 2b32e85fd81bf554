//! Each variant against the unchanged model, on the same conditions of the same seeds.

use super::{Ablation, UNCHANGED};
use crate::bench::{Benchmark, Comparison};

impl Ablation {
    /// The paired difference of every other variant to [`UNCHANGED`] by each metric of [`Trial::scores`](super::Trial::scores), with its
    /// 95 % bootstrap interval over conditions: see [`Benchmark::compare`]. A trial on a condition and seed that the unchanged model was
    /// not judged on has no part in it; without the unchanged model there is no difference.
    pub fn differences(&self) -> Vec<Comparison> {
        let rows = self.trials.iter().flat_map(|trial| trial.scores.iter().cloned()).collect();
        let scores = Benchmark { rows, ..Benchmark::default() };
        let mut metrics: Vec<&str> = Vec::new();
        for row in scores.rows.iter().filter(|row| row.model == UNCHANGED) {
            if !metrics.contains(&row.metric.as_str()) {
                metrics.push(&row.metric);
            }
        }
        let others = self.variants().into_iter().filter(|&variant| variant != UNCHANGED);
        others
            .flat_map(|variant| {
                metrics.iter().filter_map(|metric| scores.compare(variant, UNCHANGED, metric)).collect::<Vec<_>>()
            })
            .collect()
    }
}
