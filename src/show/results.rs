//! Results as tables: text in a terminal, HTML in a notebook.

use super::{Align, Grid};
use crate::{
    Result,
    bench::{
        Benchmark, Comparison, Coverage, Evaluation, Metric, ModelFacts, OwnSpace, PerturbationScore, Role,
        Significance,
        ablation::{Ablation, UNCHANGED},
    },
    notebook::show_at_end,
};
use std::fmt;

/// Digits behind the point.
const DIGITS: usize = 3;

impl Benchmark {
    /// One row per model: the mean of the headline metrics, and the ratio of the first to the reference. `*` marks a model
    /// that is better than the reference beyond the 95 % interval, `-` one that is worse.
    pub fn to_grid(&self) -> Grid {
        let measured = |name: &str| self.summary.iter().any(|summary| summary.metric == name);
        let metrics: Vec<&str> =
            Metric::headlines().into_iter().map(|metric| metric.name).filter(|name| measured(name)).collect();
        self.table(&metrics)
    }

    /// As [`Benchmark::to_grid`], with these metrics. What is absent is shown as an empty cell.
    pub fn table(&self, metrics: &[&str]) -> Grid {
        let genes = match self.files.first().filter(|file| file.data_genes > self.data.genes) {
            Some(file) => format!("{} of {}", self.data.genes, file.data_genes),
            None => self.data.genes.to_string(),
        };
        // `bench::run` is not told what data and split are called.
        let named = |text: String, name: &str| if name.is_empty() { String::new() } else { text };
        let caption = format!(
            "{}{} conditions of {genes} genes{}, {}{} seed{}",
            named(format!("{} (", self.dataset), &self.dataset),
            self.data.conditions,
            named(")".to_owned(), &self.dataset),
            named(format!("split {}, ", self.split), &self.split),
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
        let coverages = self.coverages();
        for model in &self.models {
            let mut row = vec![row_name(model, coverages[model.name.as_str()])];
            for (place, metric) in metrics.iter().enumerate() {
                let comparison = self.comparison_of(&model.name, metric);
                let mark = match comparison.map(|comparison| comparison.verdict) {
                    Some(Significance::Better) => "*",
                    Some(Significance::Worse) => "-",
                    _ => "",
                };
                let value = self.summary_of(&model.name, metric);
                row.push(value.map_or_else(String::new, |value| format!("{:.DIGITS$}{mark}", value.mean)));
                if place == 0 {
                    let ratio = comparison.and_then(|comparison| comparison.ratio);
                    row.push(ratio.map_or_else(String::new, |ratio| format!("{ratio:.DIGITS$}")));
                }
            }
            grid.push(row).expect("one cell per heading");
        }
        grid
    }

    /// One table per file that predicts a part of the judged conditions: all models on its conditions.
    pub fn same_conditions(&self) -> Vec<Grid> {
        let metrics: Vec<&str> = Metric::headlines().into_iter().map(|metric| metric.name).collect();
        let table = |(file, coverage): (&str, Coverage)| {
            let means = self.on_conditions_of(file, &metrics);
            let measured = |metric: &&&str| means.iter().any(|mean| mean.metric == ***metric);
            let metrics: Vec<&str> = metrics.iter().filter(measured).copied().collect();
            let caption = format!("on the conditions that {file} predicts ({coverage}):");
            let headings = metrics.iter().map(|metric| (*metric, Align::Right));
            let mut grid = Grid::new(caption, [("model", Align::Left)].into_iter().chain(headings));
            for model in self.models.iter().filter(|model| means.iter().any(|mean| mean.model == model.name)) {
                let value = |metric: &&str| {
                    let of = means.iter().find(|mean| mean.model == model.name && mean.metric == **metric);
                    of.map_or_else(String::new, |of| format!("{:.DIGITS$}", of.mean))
                };
                let row = std::iter::once(model.name.clone()).chain(metrics.iter().map(value));
                grid.push(row.collect::<Vec<String>>()).expect("one cell per heading");
            }
            grid
        };
        self.partial_files().into_iter().map(table).collect()
    }

    /// Shows the table in a notebook cell whose last expression it is (evcxr calls this).
    pub fn evcxr_display(&self) {
        show_at_end(&self.to_grid().to_html(), &self.to_string());
    }
}

/// The name of a model with what its row must say: its role, and where it predicts a part of the conditions, how many.
fn row_name(model: &ModelFacts, coverage: Coverage) -> String {
    let name = &model.name;
    match model.role {
        Role::Ceiling => format!("{name} (ceiling)"),
        Role::Floor => format!("{name} (floor)"),
        _ if coverage.pairs == 0 => format!("{name} (not scored)"),
        _ if !coverage.is_whole() => format!("{name} ({coverage})"),
        Role::Model | Role::File => name.clone(),
    }
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_grid())?;
        let reference = self.comparisons.first().map_or("the reference", |comparison| &comparison.reference);
        writeln!(
            f,
            "means over (seed, condition); against {reference}: * better, - worse (95 % bootstrap interval over conditions)"
        )?;
        let coverages = self.coverages();
        let partial = |model: &ModelFacts| {
            let coverage = coverages[model.name.as_str()];
            model.role != Role::Ceiling && coverage.pairs > 0 && !coverage.is_whole()
        };
        if self.models.iter().any(partial) {
            writeln!(
                f,
                "a row of k of n conditions has its means over those k, which compare with no other row; its ratio and marks are \
                 of the same conditions"
            )?;
        }
        for grid in self.same_conditions() {
            write!(f, "\n{grid}")?;
        }
        for (model, reason) in self.not_scored() {
            writeln!(f, "not scored: {model}: {reason}")?;
        }
        for space in &self.own_spaces {
            let rank = space.effective_rank;
            writeln!(f, "\nin the space of {} ({} features, effective rank {rank:.1}):", space.model, space.width)?;
            write!(f, "{}", space.short_grid())?;
        }
        Ok(())
    }
}

impl OwnSpace {
    /// One row per predictor: mean ± standard deviation over (seed, condition) of each metric.
    pub fn short_grid(&self) -> Grid {
        let mut metrics: Vec<&str> = Vec::new();
        let mut predictors: Vec<&str> = Vec::new();
        for summary in &self.summary {
            let (predictor, metric) = (summary.model.as_str(), summary.metric.as_str());
            metrics.extend((!metrics.contains(&metric)).then_some(metric));
            predictors.extend((!predictors.contains(&predictor)).then_some(predictor));
        }
        let headings = metrics.iter().map(|metric| (*metric, Align::Right));
        let mut grid = Grid::new("", [("prediction", Align::Left)].into_iter().chain(headings));
        for predictor in predictors {
            let value = |metric: &&str| {
                let of = self.summary.iter().find(|s| s.model == predictor && s.metric == **metric);
                of.map_or_else(String::new, |of| match of.sd {
                    Some(sd) => format!("{:.DIGITS$} ± {sd:.DIGITS$}", of.mean),
                    None => format!("{:.DIGITS$}", of.mean),
                })
            };
            let row = std::iter::once(predictor.to_owned()).chain(metrics.iter().map(value));
            grid.push(row.collect::<Vec<String>>()).expect("one cell per heading");
        }
        grid
    }
}

impl Evaluation {
    /// One row per perturbation, best Pearson first, then one row with the means.
    pub fn to_grid(&self) -> Grid {
        let headings = [
            ("perturbation", Align::Left),
            ("cells", Align::Right),
            ("changed genes", Align::Right),
            ("Pearson", Align::Right),
            ("L2 (log1p)", Align::Right),
            ("precision@20", Align::Right),
            ("precision@50", Align::Right),
            ("recall@50", Align::Right),
            ("AUROC", Align::Right),
        ];
        let mut grid = Grid::new(format!("{}: predicted against observed effects", self.model), headings);
        let mut order: Vec<&PerturbationScore> = self.scores.iter().collect();
        let pearson = |score: &PerturbationScore| score.pearson.unwrap_or(f64::NEG_INFINITY);
        order.sort_by(|a, b| pearson(b).total_cmp(&pearson(a)));
        let mut push = |first: [String; 3], values: &mut dyn Iterator<Item = Option<f64>>| {
            let cells: Vec<String> = first.into_iter().chain(values.map(decimal)).collect();
            grid.push(cells).expect("three cells and one a metric, as many as headings");
        };
        for score in order {
            let n_changed = score.n_changed.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let first = [score.perturbation.clone(), score.n_cells.to_string(), n_changed];
            push(first, &mut score.values().into_iter());
        }
        let cells: usize = self.scores.iter().map(|score| score.n_cells).sum();
        push(["mean".to_owned(), cells.to_string(), String::new()], &mut self.summary.iter().map(|s| s.mean));
        grid
    }

    /// Shows the table in a notebook cell whose last expression it is (evcxr calls this).
    pub fn evcxr_display(&self) {
        show_at_end(&self.to_grid().to_html(), &self.to_string());
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_grid().fmt(f)
    }
}

fn decimal(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

impl Ablation {
    /// One row per variant: mean and standard deviation over the seeds, the difference to the unchanged model by each metric of single
    /// conditions ([`Ablation::differences`]), and the numbers of genes of the smallest, the median and the largest token.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn table(&self) -> Result<Grid> {
        let names: Vec<&str> = self
            .trials
            .iter()
            .find(|trial| trial.failure.is_none())
            .map_or(Vec::new(), |trial| trial.figures.iter().map(|(name, _)| name.as_str()).collect());
        let differences = self.differences();
        let mut compared: Vec<&str> = Vec::new();
        for difference in &differences {
            if !compared.contains(&difference.metric.as_str()) {
                compared.push(&difference.metric);
            }
        }
        let sized = self.trials.iter().any(|trial| trial.token_sizes.is_some());
        let mut headings = vec!["variant".to_owned()];
        headings.extend(names.iter().map(|&name| name.to_owned()));
        headings.extend(compared.iter().map(|metric| format!("{metric}: difference")));
        headings.extend(sized.then(|| "genes per token".to_owned()));
        let headings = headings.iter().enumerate();
        let headings = headings.map(|(at, name)| (name.as_str(), if at == 0 { Align::Left } else { Align::Right }));
        let mut caption = format!("mean ± standard deviation over seeds, {}", self.dataset);
        if !differences.is_empty() {
            caption += &format!(
                "; difference to {UNCHANGED:?} on the same conditions, with its 95 % bootstrap interval over conditions"
            );
        }
        let mut grid = Grid::new(caption, headings);
        for variant in self.variants() {
            let trials = || self.trials.iter().filter(|trial| trial.variant == variant);
            let mut row = vec![variant.to_owned()];
            for name in &names {
                let values: Vec<f64> = trials()
                    .filter_map(|trial| trial.figures.iter().find(|(known, _)| known == name).map(|(_, value)| *value))
                    .collect();
                let failed = trials().filter(|trial| trial.failure.is_some()).count();
                row.push(spread(&values, failed));
            }
            for metric in &compared {
                let of = differences.iter().find(|of| of.model == variant && of.metric == *metric);
                row.push(of.map_or_else(|| "-".to_owned(), difference));
            }
            if sized {
                row.push(token_sizes(trials().filter_map(|trial| trial.token_sizes)));
            }
            grid.push(row)?;
        }
        Ok(grid)
    }
}

/// `+0.012 (-0.004 to 0.031)`, or the number of conditions where they are too few for an interval.
fn difference(of: &Comparison) -> String {
    match of.low.zip(of.high) {
        Some((low, high)) => format!("{:+.3} ({low:+.3} to {high:+.3})", of.difference),
        None => format!("{:+.3} ({} conditions)", of.difference, of.conditions),
    }
}

/// `9 to 41, median 18`: the smallest and the largest of all seeds, and the median of the medians.
fn token_sizes(trials: impl Iterator<Item = [usize; 3]>) -> String {
    let all: Vec<[usize; 3]> = trials.collect();
    let mut medians: Vec<usize> = all.iter().map(|sizes| sizes[1]).collect();
    medians.sort_unstable();
    match (all.iter().map(|sizes| sizes[0]).min(), all.iter().map(|sizes| sizes[2]).max()) {
        (Some(least), Some(most)) => format!("{least} to {most}, median {}", medians[medians.len() / 2]),
        _ => "-".to_owned(),
    }
}

/// `0.812 ± 0.004`, or how many trainings failed.
fn spread(values: &[f64], failed: usize) -> String {
    let n = values.len() as f64;
    let note = if failed > 0 { format!(" ({failed} failed)") } else { String::new() };
    if values.is_empty() {
        return if failed > 0 { format!("{failed} failed") } else { "-".to_owned() };
    }
    let mean = values.iter().sum::<f64>() / n;
    let digits = if mean.abs() >= 100.0 { 1 } else { 3 };
    if values.len() < 2 {
        return format!("{mean:.digits$}{note}");
    }
    let sd = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    format!("{mean:.digits$} ± {sd:.digits$}{note}")
}
