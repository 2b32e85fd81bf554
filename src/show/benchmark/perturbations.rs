//! Perturbation by perturbation: what was judged, how large it is, and how near the best model and the reference come.

use super::{
    super::{Figure, PairPoint, axis::number, model_pair},
    metrics::{PEARSON, label},
    view::View,
};
use crate::{
    Error, Result,
    bench::{Benchmark, Better, Role},
    show::{Align, Grid},
};
use std::collections::BTreeMap;

/// The error that is told of each perturbation.
const ERROR: &str = "l2";
/// What stands for the level-0 JEPA in a figure; where it was not run, the best model does.
const JEPA: &str = "jepa";
/// Conditions that are named in the figure.
const NAMED: usize = 8;

/// The model that is told of, and what it is compared with.
fn pair<'a>(view: &View<'a>, wanted: Option<&str>) -> Option<(&'a str, &'a str)> {
    let reference = view.reference(ERROR)?;
    let others = view.competitors().map(|model| model.name.as_str()).filter(|name| *name != reference);
    let ranked = view.ranked(others, ERROR, Better::Lower);
    let model = ranked.iter().find(|(name, _)| Some(*name) == wanted).or_else(|| ranked.first())?;
    Some((model.0, reference))
}

impl Benchmark {
    /// The error of the JEPA (where there is none, of the best model) against that of the reference, a point a held-out
    /// perturbation, means over the seeds.
    ///
    /// # Errors
    /// No L2 of a model and a reference.
    pub fn per_perturbation(&self) -> Result<Figure> {
        let view = View::new(self);
        let none = || Error::data("no model was measured beside a reference, so there are no errors to compare");
        let (model, reference) = pair(&view, Some(JEPA)).ok_or_else(none)?;
        let (y, x) = (view.by_condition(model, ERROR), view.by_condition(reference, ERROR));
        let points: Vec<PairPoint> = y
            .into_iter()
            .filter_map(|(name, y)| Some(PairPoint { name: name.to_owned(), x: *x.get(name)?, y }))
            .collect();
        let title = format!("{} of {model} and of {reference}, each held-out {}", label(ERROR), view.noun(1));
        model_pair(&title, &label(ERROR), Better::Lower, (reference, model), &points, NAMED)
    }
}

/// A row a held-out perturbation, the largest observed effect first: cells, size, class, and the errors and correlations of
/// the best model and of the reference. `None` where there is no such pair.
///
/// # Errors
/// None that a table of this form can have.
pub(super) fn table(benchmark: &Benchmark) -> Result<Option<Grid>> {
    let view = View::new(benchmark);
    let Some((model, reference)) = pair(&view, None) else { return Ok(None) };
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
