//! Bars per condition: a model beside its opponents.

use super::{
    Figure, ModelValues,
    axis::{Axis, TITLE_HEIGHT, draw_title, number},
    canvas::{Anchor, Canvas, Font},
    legend::{Legend, Sample},
    models::{Rows, is_better, names_width, words},
    style::{GUIDE, INK, Mark, TICK_SIZE, nth},
};
use crate::{Error, Result, bench::Better};

/// Models that the eye follows from one condition to the next.
const MOST_MODELS: usize = 5;
/// Conditions shown; of more, the first and the last half of this many.
const MOST_CONDITIONS: usize = 40;
const BAR: f64 = 10.0;
/// Free space between two conditions.
const GAP: f64 = 12.0;
/// Decimals of the caption's numbers.
const STEP: f64 = 0.001;

/// One group of bars per condition, one bar per model, from zero; the condition on which the first model is worst comes
/// first. At most five models; of more than 40 conditions the 20 hardest and the 20 easiest are shown. `value_label` carries
/// the unit.
///
/// # Errors
/// Values that do not fit the conditions in number; a first model without a value; more than five models.
pub fn condition_bars<C: AsRef<str>>(
    title: &str,
    value_label: &str,
    better: Better,
    conditions: &[C],
    models: &[ModelValues],
) -> Result<Figure> {
    if let Some(model) = models.iter().find(|model| model.values.len() != conditions.len()) {
        let what = format!("bars per condition: values of {}, and conditions", model.model);
        return Err(Error::shape(&what, model.values.len(), conditions.len()));
    }
    let Some(first) = models.first().filter(|_| models.len() <= MOST_MODELS) else {
        return Err(Error::data(format!("figure {title:?}: {} models; 1 to {MOST_MODELS} can be drawn", models.len())));
    };
    let mut rows: Vec<(usize, f64)> = first
        .values
        .iter()
        .enumerate()
        .filter_map(|(row, value)| Some((row, value.filter(|value| value.is_finite())?)))
        .collect();
    if rows.is_empty() {
        return Err(Error::data(format!("figure {title:?}: {} has no value of any condition", first.model)));
    }
    rows.sort_by(|a, b| {
        let order = a.1.total_cmp(&b.1);
        let order = if better == Better::Lower { order.reverse() } else { order };
        order.then(conditions[a.0].as_ref().cmp(conditions[b.0].as_ref()))
    });
    let n = rows.len();
    let half = MOST_CONDITIONS / 2;
    let left_out = n.saturating_sub(MOST_CONDITIONS);
    let mut shown: Vec<Option<usize>> = rows.iter().map(|row| Some(row.0)).collect();
    if left_out > 0 {
        shown.splice(half..n - half, [None]);
    }

    let legend = Legend::new(models.iter().enumerate().map(|(i, model)| {
        let name = model.model.clone();
        (Sample::Point(nth(i).0, Mark::Square), name)
    }));
    let values = || models.iter().flat_map(|model| shown.iter().flatten().filter_map(|&row| model.values[row]));
    let axis = Axis::from_zero(value_label, values());
    let span = Rows::span(names_width(shown.iter().flatten().map(|&row| conditions[row].as_ref())), 10.0);
    let height = BAR * models.len() as f64 + GAP;
    let frame = Rows::new(axis, span, TITLE_HEIGHT + legend.height() + 8.0, shown.len(), height);
    let mut canvas = Canvas::new(frame.figure_height());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
        let zero = frame.across(0.0);
        for (i, row) in shown.iter().enumerate() {
            let Some(row) = *row else {
                let text = format!("… {left_out} between …");
                frame.name(pen, i, &text, Font::new(TICK_SIZE, GUIDE, Anchor::End));
                continue;
            };
            frame.name(pen, i, conditions[row].as_ref(), Font::new(TICK_SIZE, INK, Anchor::End));
            let top = frame.y(i) - 0.5 * BAR * models.len() as f64;
            for (place, model) in models.iter().enumerate() {
                let Some(value) = model.values[row].filter(|value| value.is_finite()) else { continue };
                let (from, to) = (zero.min(frame.across(value)), zero.max(frame.across(value)));
                let y = top + BAR * place as f64;
                pen.rect((from, y + 1.0), (to, y + BAR - 1.0), nth(place).0, 1.0);
            }
        }
        pen.line((zero, frame.top), (zero, frame.bottom), GUIDE, 2);
    });
    let mean = |model: &ModelValues| {
        let values: Vec<f64> = model.finite().collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let means: Vec<String> =
        models.iter().filter_map(|model| Some(format!("{} {}", model.model, number(mean(model)?, STEP)))).collect();
    let against: Vec<String> = models[1..]
        .iter()
        .filter_map(|other| {
            let pairs = first.values.iter().zip(&other.values).filter_map(|(a, b)| Some(((*a)?, (*b)?)));
            let pairs: Vec<(f64, f64)> = pairs.collect();
            let won = pairs.iter().filter(|(a, b)| is_better(better, *a, *b)).count();
            (!pairs.is_empty()).then(|| format!("{} on {won} of {}", other.model, pairs.len()))
        })
        .collect();
    let won = match against.as_slice() {
        [] => String::new(),
        some => format!(" {} is better than {}.", first.model, some.join(", than ")),
    };
    let caption = format!("{value_label}, {}; mean over the conditions: {}.{won}", words(better), means.join(", "));
    Ok(Figure::new(title, caption, canvas))
}
