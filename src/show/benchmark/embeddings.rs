//! Mean embeddings: the section of a report on the common space of all models and on each model's own space.

use super::{
    super::{Report, axis::number},
    table::{cell, order_by, significantly_best},
    view::{View, heading},
};
use crate::{
    Result,
    bench::{ADDITIVE, Benchmark, CEILING, MEAN, METRICS, MetricFamily, ModelFacts, NO_CHANGE, OwnSpace, Role},
    show::{Align, Cell, Grid},
};

/// What the cells of the tables are.
const CELLS: &str = "Each cell: mean ± standard deviation over conditions (and splits); below it the mean difference to the \
    reference with its 95 % interval.";

/// The metric that orders the rows of the tables.
const ORDER: &str = "embedding_cosine_shift";
const L2: &str = "embedding_l2";

/// What the common space is.
const COMMON: &str = "One space for all models: 50 principal components (or as many as there can be) of the training cells in \
    log-normalised expression. The predicted mean is control's mean profile plus the predicted effect. Cosine of shift: \
    predicted and observed mean, each less control's mean. Retrieval: all conditions of the dataset, ranked by the distance of \
    their observed means to the predicted one; the share that is farther than the right one (0.5 by chance), and how often the \
    right one is the nearest (top 1).";

/// The names of the metrics, in their order.
fn metrics() -> Vec<&'static str> {
    let all = METRICS.iter().filter(|metric| metric.family == MetricFamily::Embeddings);
    all.map(|metric| metric.name).collect()
}

/// Adds the section; nothing where no embedding was measured.
pub(super) fn section(mut report: Report, benchmark: &Benchmark) -> Result<Report> {
    if !benchmark.summary.iter().any(|summary| summary.metric == L2) {
        return Ok(report);
    }
    report = report.section("Mean embeddings, in one space for all models").paragraph(format!("{COMMON} {CELLS}"));
    report = report.table(table(benchmark)?);
    for figure in [benchmark.embedding_plane(), benchmark.embedding_bars(ORDER)].into_iter().flatten() {
        report = report.figure(figure);
    }
    for space in &benchmark.own_spaces {
        report =
            report.section(format!("In the space of {}", space.model)).paragraph(format!("{} {CELLS}", about(space)));
        report = report.table(space.to_grid()?);
        for figure in [space.plane(benchmark), space.bars(ORDER), space.bars(L2)].into_iter().flatten() {
            report = report.figure(figure);
        }
    }
    Ok(report)
}

/// Models x metrics of the family.
fn table(benchmark: &Benchmark) -> Result<Grid> {
    let view = View::new(benchmark);
    let metrics = metrics();
    let headings: Vec<String> = metrics.iter().map(|metric| heading(metric, "")).collect();
    let headings = headings.iter().map(|name| (name.as_str(), Align::Right));
    let mut grid = Grid::new("", [("model", Align::Left)].into_iter().chain(headings));
    let bold: Vec<Option<&str>> = metrics.iter().map(|metric| significantly_best(&view, metric)).collect();
    for model in order_by(&view, ORDER) {
        let role = benchmark.models.iter().find(|facts| facts.name == model).map(|facts| facts.role);
        let mut row = vec![match role {
            Some(Role::Ceiling) => Cell::new(model).note("ceiling"),
            Some(Role::Floor) => Cell::new(model).note("floor"),
            Some(Role::File) => Cell::new(model).note("your predictions"),
            _ => Cell::new(model),
        }];
        for (metric, bold) in metrics.iter().zip(&bold) {
            let cell = cell(&view, model, metric, |summary| summary.sd);
            row.push(if *bold == Some(model) { cell.bold() } else { cell });
        }
        grid.push(row)?;
    }
    Ok(grid)
}

/// What the space of a model is, and what its numbers may be compared with.
fn about(space: &OwnSpace) -> String {
    let model = &space.model;
    let seeds: std::collections::BTreeSet<u64> = space.rows.iter().map(|row| row.seed).collect();
    let mean = if seeds.len() > 1 { format!(", mean over {} splits", seeds.len()) } else { String::new() };
    let mut text = format!(
        "The mean of the embeddings that {model} predicts from control cells, against the mean of its embeddings of the \
         held-out cells (its teacher's), {} features, effective rank {}{mean}. The other rows are fitted to the shifts of the \
         training conditions in the same space: {NO_CHANGE} is a copy of control, {MEAN} the mean shift, {ADDITIVE} the sum of the \
         shifts of the single perturbations, ridge a regression on the perturbed genes, {CEILING} half of the held-out cells \
         against the other half. Rows of this table can be compared with each other. Two models' own spaces cannot: each has \
         its own scale and directions, and a space in which all cells are alike is easy to predict. Compare models in the \
         common space.",
        space.width,
        number(space.effective_rank, 0.1),
    );
    let against = |metric: &str| space.comparisons.iter().find(|c| c.model == *model && c.metric == metric);
    if let Some(comparison) = against(L2) {
        let by = comparison
            .ratio
            .map_or(String::new(), |ratio| format!("{:.3} times that of {}", ratio, comparison.reference));
        let interval = match (comparison.low, comparison.high) {
            (Some(low), Some(high)) => format!(", difference {:.3} [{low:.3}, {high:.3}]", comparison.difference),
            _ => String::new(),
        };
        text += &format!(" The L2 of {model} is {by}{interval}.");
    }
    text
}

impl OwnSpace {
    /// The space as a benchmark of its own: its predictors are the models.
    pub(super) fn as_benchmark(&self) -> Benchmark {
        let mut names: Vec<&str> = self.summary.iter().map(|summary| summary.model.as_str()).collect();
        names.dedup();
        let facts = |name: &str| ModelFacts {
            name: name.to_owned(),
            description: String::new(),
            role: match name {
                NO_CHANGE => Role::Floor,
                CEILING => Role::Ceiling,
                _ => Role::Model,
            },
            settings: serde_json::Value::Null,
            draws_cells: false,
            fit_seconds: None,
            predict_seconds: None,
        };
        Benchmark {
            models: names.into_iter().map(facts).collect(),
            rows: self.rows.clone(),
            summary: self.summary.clone(),
            comparisons: self.comparisons.clone(),
            ..Benchmark::default()
        }
    }

    /// One row per predictor: mean ± standard deviation over (seed, condition), and the mean difference to the reference with
    /// its 95 % interval. `no_change` is the copy of control.
    ///
    /// # Errors
    /// None that a table of this form can have.
    pub fn to_grid(&self) -> Result<Grid> {
        table(&self.as_benchmark())
    }
}
