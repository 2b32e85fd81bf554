//! The results as a table: text in a terminal, HTML in a notebook.

use super::{Benchmark, Role, Verdict};
use crate::show::{Align, Grid, show_in_notebook};
use std::fmt;

/// The metrics of the short table, those that exist: how far, in which direction, and whether a condition is told from
/// the others.
pub const HEADLINES: [&str; 8] =
    ["l2", "l2_top1000", "pearson", "pearson_systema", "r2w", "pds_l1", "edistance", "des_by_effect"];
/// Digits behind the point.
const DIGITS: usize = 3;

impl Benchmark {
    /// One row a model: the mean of the headline metrics, and the ratio of the first to the reference. `*` marks a model
    /// that is better than the reference beyond the 95 % interval, `-` one that is worse.
    pub fn to_grid(&self) -> Grid {
        let metrics: Vec<&str> = HEADLINES
            .into_iter()
            .filter(|metric| self.summary.iter().any(|summary| summary.metric == *metric))
            .collect();
        self.table(&metrics)
    }

    /// As [`Benchmark::to_grid`], with these metrics. What is absent is shown as an empty cell.
    pub fn table(&self, metrics: &[&str]) -> Grid {
        let caption = format!(
            "{} ({} conditions of {} genes), split {}, {} seed{}",
            self.dataset,
            self.data.conditions,
            self.data.genes,
            self.split,
            self.splits.len(),
            if self.splits.len() == 1 { "" } else { "s" }
        );
        let ratio = metrics.first().map(|metric| format!("{metric} ratio"));
        let mut headings = vec![("model", Align::Left)];
        for (place, metric) in metrics.iter().enumerate() {
            headings.push((metric, Align::Right));
            if let (0, Some(ratio)) = (place, &ratio) {
                headings.push((ratio, Align::Right));
            }
        }
        let mut grid = Grid::new(caption, headings);
        for model in &self.models {
            let mut row = vec![match model.role {
                Role::Ceiling => format!("{} (ceiling)", model.name),
                Role::Floor => format!("{} (floor)", model.name),
                Role::Model | Role::File => model.name.clone(),
            }];
            for (place, metric) in metrics.iter().enumerate() {
                let comparison = self.comparison_of(&model.name, metric);
                let mark = match comparison.map(|comparison| comparison.verdict) {
                    Some(Verdict::Better) => "*",
                    Some(Verdict::Worse) => "-",
                    _ => "",
                };
                let value = self.summary_of(&model.name, metric);
                row.push(value.map_or_else(String::new, |value| format!("{:.DIGITS$}{mark}", value.mean)));
                if place == 0 {
                    let ratio = comparison.and_then(|comparison| comparison.ratio);
                    row.push(ratio.map_or_else(String::new, |ratio| format!("{ratio:.DIGITS$}")));
                }
            }
            grid.push(row).expect("a cell a heading");
        }
        grid
    }

    /// Shows the table in a notebook cell whose last expression it is (evcxr calls this).
    pub fn evcxr_display(&self) {
        show_in_notebook(&self.to_grid().to_html(), &self.to_string());
    }
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_grid())?;
        let reference = self.comparisons.first().map_or("the reference", |comparison| &comparison.reference);
        writeln!(
            f,
            "means over (seed, condition); against {reference}: * better, - worse (95 % bootstrap interval over conditions)"
        )
    }
}
