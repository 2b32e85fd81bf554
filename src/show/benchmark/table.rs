//! The summary: models x headline metrics, with the rule for what is bold; and what is absent.

use super::super::{axis::number, models::median, report::anchor};
use super::view::{View, heading, headline};
use crate::{
    Result,
    bench::{Benchmark, Better, MetricSummary, Role, Significance, better, label},
    show::{Align, Cell, Grid},
};

/// The id of a model's card in a report.
pub(super) fn card_id(model: &str) -> String {
    format!("card-{}", anchor(model))
}

/// The models in the order of the first headline metric, the best first; between the floor, which stands last, and the
/// ceiling, which stands first. Those without the metric follow the others.
pub(super) fn order<'a>(view: &View<'a>) -> Vec<&'a str> {
    order_by(view, headline(view.benchmark).first().copied().unwrap_or_default())
}

/// As [`order`], by another metric.
pub(super) fn order_by<'a>(view: &View<'a>, metric: &str) -> Vec<&'a str> {
    let competitors: Vec<&str> = view.competitors().map(|model| model.name.as_str()).collect();
    let mut ordered: Vec<&str> = view.of_role(Role::Ceiling).into_iter().collect();
    let good = better(metric).unwrap_or(Better::Lower);
    ordered.extend(view.ranked(competitors.iter().copied(), metric, good).into_iter().map(|(model, _)| model));
    ordered.extend(competitors.into_iter().filter(|model| !ordered.contains(model)).collect::<Vec<_>>());
    ordered.extend(view.of_role(Role::Floor));
    ordered
}

/// One row per model and one column per headline metric: mean ± standard deviation, below it the mean difference to the reference
/// with its 95 % interval. The best of the models (not the floor, not the ceiling) is bold where it is better than the
/// second by the paired interval of their difference, and nowhere else.
///
/// # Errors
/// None that a table of this form can have.
pub(super) fn summary(benchmark: &Benchmark) -> Result<Grid> {
    let view = View::new(benchmark);
    let metrics = headline(benchmark);
    let headings: Vec<String> = metrics.iter().map(|metric| heading(metric, "")).collect();
    let headings = headings.iter().map(|name| (name.as_str(), Align::Right));
    let mut grid = Grid::new("", [("model", Align::Left)].into_iter().chain(headings));
    let bold: Vec<Option<&str>> = metrics.iter().map(|metric| significantly_best(&view, metric)).collect();
    for model in order(&view) {
        let facts = benchmark.models.iter().find(|facts| facts.name == model);
        let name = Cell::new(model).link(card_id(model));
        let part = match view.part_of(model) {
            Some(coverage) if coverage.pairs == 0 => ", not scored: see below".to_owned(),
            Some(coverage) => format!(", {coverage}"),
            None => String::new(),
        };
        let mut row = vec![match facts.map(|facts| facts.role) {
            Some(Role::Ceiling) => name.note("ceiling"),
            Some(Role::Floor) => name.note("floor"),
            Some(Role::File) => name.note(format!("your predictions{part}")),
            _ if !part.is_empty() => name.note(part.trim_start_matches(", ")),
            _ => name,
        }];
        for (metric, bold) in metrics.iter().zip(&bold) {
            let cell = cell(&view, model, metric, spread);
            row.push(if *bold == Some(model) { cell.bold() } else { cell });
        }
        grid.push(row)?;
    }
    Ok(grid)
}

/// The best competitor by a metric, if it is better than the second by the interval of their paired difference.
pub(super) fn significantly_best<'a>(view: &View<'a>, metric: &str) -> Option<&'a str> {
    let good = better(metric)?;
    let ranked = view.ranked(view.competitors().map(|model| model.name.as_str()), metric, good);
    let (&(best, _), &(second, _)) = (ranked.first()?, ranked.get(1)?);
    let comparison = view.benchmark.compare(best, second, metric)?;
    (comparison.verdict == Significance::Better).then_some(best)
}

/// Mean ± the spread that is given, below it the mean difference to the reference with its interval.
pub(super) fn cell(view: &View<'_>, model: &str, metric: &str, spread: impl Fn(&MetricSummary) -> Option<f64>) -> Cell {
    let Some(summary) = view.benchmark.summary_of(model, metric) else { return Cell::new("–") };
    let (mean, spread) = (summary.mean, spread(summary));
    let step = step(view, metric);
    let text = match spread {
        Some(sd) => format!("{} ± {}", number(mean, step), number(sd, step)),
        None => number(mean, step),
    };
    let mut notes = Vec::new();
    if let Some(comparison) = view.comparison(model, metric) {
        // What rounds to zero has no sign.
        let plus = |value: f64| {
            let text = number(value, step);
            let signed = value > 0.0 && text.chars().any(|c| ('1'..='9').contains(&c));
            if signed { format!("+{text}") } else { text }
        };
        notes.push(match (comparison.low, comparison.high) {
            (Some(low), Some(high)) => format!("{} [{}, {}]", plus(comparison.difference), plus(low), plus(high)),
            _ => plus(comparison.difference),
        });
    }
    // A mean over fewer conditions is not comparable at a glance.
    let most = view.benchmark.summary.iter().filter(|s| s.metric == metric).map(|s| s.n).max();
    if most.is_some_and(|most| summary.n < most) {
        notes.push(format!("n = {} of {}", summary.n, most.unwrap_or_default()));
    }
    if notes.is_empty() { Cell::new(text) } else { Cell::new(text).note(notes.join(", ")) }
}

/// Between splits where there are several, else between conditions.
fn spread(summary: &MetricSummary) -> Option<f64> {
    summary.sd_of_seeds.or(summary.sd)
}

/// Decimals by the typical size of a metric's values: three digits.
fn step(view: &View<'_>, metric: &str) -> f64 {
    let of_metric = view.benchmark.summary.iter().filter(|summary| summary.metric == metric);
    match median(of_metric.map(|summary| summary.mean.abs())) {
        // A step below 1e-4 would be written as a power of ten.
        Some(typical) if typical > 0.0 => 10_f64.powf(typical.log10().floor() - 2.0).clamp(1e-4, 0.01),
        _ => 0.001,
    }
}

/// What the numbers of the summary are, and the rule for bold.
pub(super) fn rule(benchmark: &Benchmark) -> String {
    let (view, metrics) = (View::new(benchmark), headline(benchmark));
    let sd = match benchmark.splits.len() {
        0 | 1 => "the standard deviation over conditions".to_owned(),
        n => format!("the standard deviation between the means of {n} splits"),
    };
    let first = metrics.iter().find_map(|metric| view.reference(metric));
    // A metric that the first reference has no value of.
    let others: Vec<String> = metrics
        .iter()
        .filter_map(|metric| Some((metric, view.reference(metric)?)))
        .filter(|(_, reference)| Some(*reference) != first)
        .map(|(metric, reference)| format!(" ({}: to {reference})", label(metric)))
        .collect();
    let below = first.map_or(String::new(), |reference| {
        format!(
            " Below it: the mean difference to {reference}{} with its 95 % interval (paired bootstrap over conditions).",
            others.concat()
        )
    });
    format!(
        "Each cell: mean ± {sd}.{below} ↓ lower is better, ↑ higher is better. Bold: the best model, only where the 95 % interval of \
         its paired difference to the second-best lies on the better side of 0; floor and ceiling do not compete."
    )
}

/// A model, its metrics that are missing for one reason, and of how many conditions.
type Missing<'a> = (&'a str, Vec<&'a str>, usize);

/// One row per model, reason and number of conditions, the metrics joined; none where nothing is absent.
pub(super) fn absent(benchmark: &Benchmark) -> Result<Option<Grid>> {
    if benchmark.absent.is_empty() {
        return Ok(None);
    }
    // Models that share reason and metrics share a row.
    let mut reasons: Vec<(&str, Vec<Missing<'_>>)> = Vec::new();
    for absent in &benchmark.absent {
        let of = match reasons.iter_mut().find(|(reason, _)| *reason == absent.reason) {
            Some((_, of)) => of,
            None => {
                reasons.push((&absent.reason, Vec::new()));
                &mut reasons.last_mut().expect("just pushed").1
            }
        };
        match of.iter_mut().find(|(model, _, n)| *model == absent.model && *n == absent.n) {
            Some((_, metrics, _)) => metrics.push(&absent.metric),
            None => of.push((&absent.model, vec![&absent.metric], absent.n)),
        }
    }
    let headings = [("why", Align::Left), ("model", Align::Left), ("metric", Align::Left), ("values", Align::Right)];
    let mut grid = Grid::new("Values that do not exist; none of them counts as 0 anywhere", headings);
    for (reason, of) in reasons {
        let mut joined: Vec<(Vec<&str>, Vec<&str>, usize)> = Vec::new();
        for (model, metrics, n) in of {
            match joined.iter_mut().find(|known| known.1 == metrics && known.2 == n) {
                Some(known) => known.0.push(model),
                None => joined.push((vec![model], metrics, n)),
            }
        }
        for (models, metrics, n) in joined {
            grid.push([reason.to_owned(), few(&models), few(&metrics), n.to_string()])?;
        }
    }
    Ok(Some(grid))
}

/// Some names, and how many more.
fn few(names: &[&str]) -> String {
    const MOST: usize = 6;
    match names.len() {
        n if n > MOST => format!("{} and {} more", names[..MOST].join(", "), n - MOST),
        _ => names.join(", "),
    }
}
