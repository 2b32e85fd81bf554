//! Single perturbations apart from combinations, where a split judges both: of a combination a part may be known, of an
//! unseen single nothing is, and a mean over both would look like knowledge of unseen genes.

use super::{
    super::{Verdict as Tone, axis::number},
    metrics::{SYSTEMA, label},
    table::order,
    verdict::by_how_much,
    view::View,
};
use crate::{
    Result,
    bench::{Benchmark, Better, Role, Verdict},
    show::{Align, Grid},
};

/// The mean of the training perturbations: what is to be beaten where a gene is unseen.
const MEAN: &str = "mean";
const ERROR: &str = "l2";

/// Number of genes of a condition, by its name.
fn genes(name: &str) -> usize {
    name.split(" in ").next().unwrap_or(name).split('+').count()
}

/// The numbers of genes that occur, where there are several.
fn numbers(view: &View<'_>) -> Vec<usize> {
    let mut found: Vec<usize> = view.conditions().into_iter().map(genes).collect();
    found.sort_unstable();
    found.dedup();
    if found.len() > 1 { found } else { Vec::new() }
}

fn noun(n: usize) -> String {
    match n {
        1 => "single perturbations".to_owned(),
        2 => "doubles".to_owned(),
        n => format!("combinations of {n} genes"),
    }
}

/// A sentence a number of genes: the best model there against the mean of the training perturbations, in L2 and in
/// systema-referenced Pearson against no change (the mean itself has none).
pub(super) fn verdict(view: &View<'_>) -> Vec<(Tone, String)> {
    let told = numbers(view).into_iter().filter_map(|n| one(view, n));
    told.collect()
}

fn one(view: &View<'_>, n: usize) -> Option<(Tone, String)> {
    let kept = |name: &str| genes(name) == n;
    let compared = view.competitors().filter(|model| model.name != MEAN).filter_map(|model| {
        let comparison = view.benchmark.compare_where(&model.name, MEAN, ERROR, kept)?;
        Some((model.name.as_str(), comparison))
    });
    let (model, comparison) = compared.min_by(|(_, a), (_, b)| a.difference.total_cmp(&b.difference))?;
    let how = by_how_much(view, &comparison);
    let said = match comparison.verdict {
        Verdict::Better => format!("{model} beats {MEAN} {how}"),
        Verdict::Worse => format!("no model beats {MEAN}; the nearest, {model}, loses to it {how}"),
        Verdict::Unclear => format!("{model} is not distinguishable from {MEAN} {how}"),
        Verdict::None => format!("{model} against {MEAN}: {how}, without an interval"),
    };
    let mut good = comparison.verdict == Verdict::Better;
    let systema = against_floor(view, model, kept).map_or_else(String::new, |(better, text)| {
        good &= better;
        text
    });
    let tone = if good { Tone::Good } else { Tone::Warning };
    Some((tone, format!("On {} alone ({}): {said}{systema}.", noun(n), comparison.conditions)))
}

/// The systema-referenced Pearson of a model beside that of no change, which is not 0 where effects are weak: less than the
/// mean effect in the same direction is correlated with none at all. Whether it is better, and the sentence.
fn against_floor(view: &View<'_>, model: &str, kept: impl Fn(&str) -> bool) -> Option<(bool, String)> {
    let mean = view.benchmark.mean_where(model, SYSTEMA, &kept)?;
    let interval = match (mean.low, mean.high) {
        (Some(low), Some(high)) => format!(" (95 % interval {low:.3} to {high:.3})"),
        _ => String::new(),
    };
    let text =
        format!("; its Pearson against the mean of the training perturbations (systema) is {:.3}{interval}", mean.mean);
    let floor = view.of_role(Role::Floor);
    let Some(paired) = floor.and_then(|floor| view.benchmark.compare_where(model, floor, SYSTEMA, &kept)) else {
        return Some((false, text));
    };
    let than = match paired.verdict {
        Verdict::Better => "above",
        Verdict::Worse => "below",
        Verdict::Unclear | Verdict::None => "not distinguishable from",
    };
    let of_floor = mean.mean - paired.difference;
    Some((paired.verdict == Verdict::Better, format!("{text}, {than} the {of_floor:.3} of no change")))
}

/// L2 and systema-referenced Pearson of each model, a pair of columns a number of genes. `None` where all judged conditions
/// have the same number.
///
/// # Errors
/// None that a table of this form can have.
pub(super) fn table(benchmark: &Benchmark) -> Result<Option<Grid>> {
    let view = View::new(benchmark);
    let numbers = numbers(&view);
    if numbers.is_empty() {
        return Ok(None);
    }
    let columns: Vec<(usize, &str, f64)> =
        numbers.iter().flat_map(|&n| [(n, ERROR, 0.01), (n, SYSTEMA, 0.001)]).collect();
    let headings: Vec<String> = columns
        .iter()
        .map(|(n, metric, _)| {
            let arrow = match crate::bench::better(metric) {
                Some(Better::Lower) => " ↓",
                Some(Better::Higher) => " ↑",
                None => "",
            };
            format!("{} of {}{arrow}", label(metric), noun(*n))
        })
        .collect();
    let headings = headings.iter().map(|name| (name.as_str(), Align::Right));
    let caption = "Means over (seed, condition); the mean of the training perturbations has no Pearson against itself";
    let mut grid = Grid::new(caption, [("model", Align::Left)].into_iter().chain(headings));
    for model in order(&view) {
        let values = columns.iter().map(|(n, metric, step)| {
            let mean = benchmark.mean_where(model, metric, |name| genes(name) == *n);
            mean.map_or_else(|| "–".to_owned(), |mean| number(mean.mean, *step))
        });
        grid.push(std::iter::once(model.to_owned()).chain(values))?;
    }
    Ok(Some(grid))
}
