//! Condition by condition, and by the number of perturbed genes: how near the models come.

use super::{
    super::{Figure, PairPoint, axis::number, model_pair},
    table::order,
    view::{PEARSON, SYSTEMA, View, heading, number_of_genes},
};
use crate::{
    Error, Result,
    bench::{Benchmark, Better, Role, label},
    show::{Align, Grid},
};
use std::collections::BTreeMap;

/// The error that is shown per condition.
pub(super) const ERROR: &str = "l2";
/// Conditions that are named in the figure.
const NAMED: usize = 8;

/// The best model, and the reference that it is compared with.
fn best_and_reference<'a>(view: &View<'a>) -> Option<(&'a str, &'a str)> {
    let reference = view.reference(ERROR)?;
    let others = view.competitors().map(|model| model.name.as_str()).filter(|name| *name != reference);
    let ranked = view.ranked(others, ERROR, Better::Lower);
    Some((ranked.first()?.0, reference))
}

impl Benchmark {
    /// The error of the best model against that of the reference, one point per held-out perturbation, means over the
    /// seeds.
    ///
    /// # Errors
    /// No L2 of a model and a reference.
    pub fn per_perturbation(&self) -> Result<Figure> {
        let view = View::new(self);
        let none = || Error::data("no model was measured beside a reference, so there are no errors to compare");
        let (model, reference) = best_and_reference(&view).ok_or_else(none)?;
        let (y, x) = (view.by_condition(model, ERROR), view.by_condition(reference, ERROR));
        let points: Vec<PairPoint> = y
            .into_iter()
            .filter_map(|(name, y)| Some(PairPoint { name: name.to_owned(), x: *x.get(name)?, y }))
            .collect();
        let title = format!("{} of {model} and of {reference}, each held-out {}", label(ERROR), view.noun(1));
        model_pair(&title, label(ERROR), Better::Lower, (reference, model), &points, NAMED)
    }
}

/// One row per held-out perturbation, the largest observed effect first: cells, size, class, and the errors and correlations of
/// the best model and of the reference. `None` where there is no such pair.
///
/// # Errors
/// None that a table of this form can have.
pub(super) fn perturbation_table(benchmark: &Benchmark) -> Result<Option<Grid>> {
    let view = View::new(benchmark);
    let Some((model, reference)) = best_and_reference(&view) else { return Ok(None) };
    let of = |name: &str, metric: &str| view.by_condition(name, metric);
    // The error of no change is the length of the observed effect.
    let sizes = view.of_role(Role::Floor).map_or_else(BTreeMap::new, |floor| of(floor, ERROR));
    let columns = [of(model, ERROR), of(reference, ERROR), of(model, PEARSON), of(reference, PEARSON)];
    let mut names: Vec<&str> = columns[0].keys().copied().collect();
    let size = |name: &str| sizes.get(name).copied().unwrap_or(f64::NEG_INFINITY);
    names.sort_by(|a, b| size(b).total_cmp(&size(a)).then(a.cmp(b)));
    let facts = |name: &str| benchmark.conditions.iter().find(|facts| facts.name == name);
    let (cells, classes) = (
        benchmark.conditions.iter().any(|facts| facts.cells.is_some()),
        benchmark.conditions.iter().any(|facts| facts.class.is_some()),
    );
    let metric = label(ERROR);
    let mut headings = vec![("perturbation".to_owned(), Align::Left)];
    headings.extend(cells.then(|| ("cells".to_owned(), Align::Right)));
    headings.extend((!sizes.is_empty()).then(|| ("size of the observed effect".to_owned(), Align::Right)));
    headings.extend([
        (format!("{metric} {model}"), Align::Right),
        (format!("{metric} {reference}"), Align::Right),
        (format!("Pearson {model}"), Align::Right),
        (format!("Pearson {reference}"), Align::Right),
    ]);
    headings.extend(classes.then(|| ("interaction".to_owned(), Align::Left)));
    let caption = format!("{model} and {reference}; means over the splits that hold a perturbation out");
    let mut grid = Grid::new(caption, headings.iter().map(|(name, align)| (name.as_str(), *align)));
    let text = |value: Option<&f64>, step: f64| value.map_or_else(|| "–".to_owned(), |&value| number(value, step));
    for name in names {
        let mut row = vec![name.to_owned()];
        let known = facts(name);
        if cells {
            row.push(known.and_then(|facts| facts.cells).map_or_else(|| "–".to_owned(), |n| number(n as f64, 1.0)));
        }
        if !sizes.is_empty() {
            row.push(text(sizes.get(name), 0.01));
        }
        row.extend(columns.iter().zip([0.01, 0.01, 0.001, 0.001]).map(|(column, step)| text(column.get(name), step)));
        if classes {
            row.push(known.and_then(|facts| facts.class.clone()).unwrap_or_else(|| "–".to_owned()));
        }
        grid.push(row)?;
    }
    Ok(Some(grid))
}

/// L2 and systema-referenced Pearson of each model, two columns per number of genes. `None` where all judged conditions have
/// the same number.
///
/// # Errors
/// None that a table of this form can have.
pub(super) fn number_of_genes_table(benchmark: &Benchmark) -> Result<Option<Grid>> {
    let view = View::new(benchmark);
    let numbers = view.numbers_of_genes();
    if numbers.is_empty() {
        return Ok(None);
    }
    let columns: Vec<(usize, &str, f64)> =
        numbers.iter().flat_map(|&n| [(n, ERROR, 0.01), (n, SYSTEMA, 0.001)]).collect();
    let headings: Vec<String> =
        columns.iter().map(|(n, metric, _)| heading(metric, &format!(" of {}", noun(*n)))).collect();
    let headings = headings.iter().map(|name| (name.as_str(), Align::Right));
    let caption = "Means over (seed, condition); the mean of the training perturbations has no Pearson against itself";
    let mut grid = Grid::new(caption, [("model", Align::Left)].into_iter().chain(headings));
    for model in order(&view) {
        let values = columns.iter().map(|(n, metric, step)| {
            let mean = benchmark.mean_where(model, metric, |name| number_of_genes(name) == *n);
            mean.map_or_else(|| "–".to_owned(), |mean| number(mean.mean, *step))
        });
        grid.push(std::iter::once(model.to_owned()).chain(values))?;
    }
    Ok(Some(grid))
}

/// Conditions with this number of perturbed genes, in words.
pub(super) fn noun(n: usize) -> String {
    match n {
        1 => "single perturbations".to_owned(),
        2 => "doubles".to_owned(),
        n => format!("combinations of {n} genes"),
    }
}
