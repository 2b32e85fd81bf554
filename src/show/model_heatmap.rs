//! Models x metrics in colours that mean the same in every column: dark is good.

use super::{
    Figure,
    heatmap::{draw, names},
    models::{quantile, sorted},
};
use crate::{Error, Result, bench::Better};
use ndarray::{ArrayView2, Axis};

/// A model this many times farther from the best than the median model is as light as can be: one model that fails must
/// not bleach the differences between all others.
const FAR: f64 = 2.0;

/// A row a model and a column a metric, `values` `(models, metrics)`; NaN where a model has no value. Each column has its
/// own scale, from the best model (darkest) to the worst, or to the model twice as far from the best as the median one;
/// so darker is better in every column, whether the metric is an error or a correlation. The arrow at a name says which
/// way the metric is good. Up to 12 metrics the value stands in its cell.
///
/// # Errors
/// Names that do not fit the shape of `values`; no finite value.
pub fn model_heatmap<M: AsRef<str>, C: AsRef<str>>(
    title: &str,
    models: &[M],
    metrics: &[(C, Better)],
    values: ArrayView2<'_, f64>,
) -> Result<Figure> {
    if values.dim() != (models.len(), metrics.len()) {
        return Err(Error::shape("model heat map: names, and values", (models.len(), metrics.len()), values.dim()));
    }
    if !values.iter().any(|value| value.is_finite()) {
        return Err(Error::data(format!("figure {title:?}: there is no finite value in {:?} cells", values.dim())));
    }
    let has_value = |row: &usize| values.row(*row).iter().any(|value| value.is_finite());
    let (rows, without): (Vec<usize>, Vec<usize>) = (0..models.len()).partition(has_value);
    let values = values.select(Axis(0), &rows);
    let kept: Vec<&str> = rows.iter().map(|&row| models[row].as_ref()).collect();
    let mut ends = Vec::new();
    let mut leaders: Vec<(&str, usize)> = Vec::new();
    for (column, (_, better)) in values.columns().into_iter().zip(metrics) {
        let finite = sorted(column.iter().copied().filter(|value| value.is_finite()));
        let (Some(&smallest), Some(&largest), Some(middle)) = (finite.first(), finite.last(), quantile(&finite, 0.5))
        else {
            ends.push((0.0, 0.0));
            continue;
        };
        let (best, worst) = match better {
            Better::Lower => (smallest, largest.min(smallest + FAR * (middle - smallest))),
            Better::Higher => (largest, smallest.max(largest - FAR * (largest - middle))),
        };
        // More than half of the models share the best value: the others are worse all the same.
        let worst = if worst == best { if *better == Better::Lower { largest } else { smallest } } else { worst };
        ends.push((worst, best));
        // Where all are equal, none leads.
        for (model, _) in kept.iter().zip(column).filter(|(_, value)| **value == best && smallest < largest) {
            match leaders.iter_mut().find(|leader| leader.0 == *model) {
                Some(leader) => leader.1 += 1,
                None => leaders.push((*model, 1)),
            }
        }
    }
    leaders.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let columns: Vec<String> = metrics
        .iter()
        .map(|(name, better)| format!("{} {}", if *better == Better::Lower { "↓" } else { "↑" }, name.as_ref()))
        .collect();
    let canvas = draw(title, (&kept, &names(&columns)), values.view(), &ends, false, None)?;
    let led: Vec<String> = leaders.iter().map(|(model, n)| format!("{model} on {n}")).collect();
    let led = if led.is_empty() { "none on any".to_owned() } else { led.join(", ") };
    let without: Vec<&str> = without.into_iter().map(|row| models[row].as_ref()).collect();
    let without = match without.as_slice() {
        [] => String::new(),
        names => format!(" No value of any: {}.", names.join(", ")),
    };
    let caption = format!(
        "{} models, {} metrics; darker is better in every column, grey is absent, ↓ lower is better, ↑ higher is better. \
         Best: {led}.{without}",
        kept.len(),
        metrics.len()
    );
    Ok(Figure::new(title, caption, canvas))
}
