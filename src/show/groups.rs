//! One metric by groups of conditions (how much of each was seen in training), a panel a group.

use super::{
    Figure, ModelValues,
    axis::{Axis, MARGIN, TITLE_HEIGHT, draw_title, number},
    canvas::{Anchor, Canvas, Font},
    models::{is_better, look, words},
    rows::{Rows, names_width},
    style::{FAINT, GUIDE, INK, LABEL_SIZE, Mark, TICK_SIZE, WIDTH, shorten},
};
use crate::{Error, Result, bench::Better};

const ROW_HEIGHT: f64 = 36.0;
const GAP: f64 = 26.0;
const HEAD: f64 = 68.0;

/// A panel a group and a row a model, with the mean of the model's conditions in that group; all panels have the same
/// axis. `groups` are names with the number of conditions in each; `models` have a value a group. Rows stand in the order
/// given. `value_label` carries the unit.
///
/// # Errors
/// Values that do not fit the groups in number; no value at all.
pub fn group_panels<G: AsRef<str>, S: AsRef<str>>(
    title: &str,
    value_label: &str,
    better: Better,
    groups: &[(G, usize)],
    models: &[ModelValues],
    highlight: &[S],
) -> Result<Figure> {
    if let Some(model) = models.iter().find(|model| model.values.len() != groups.len()) {
        return Err(Error::shape(
            &format!("group figure: values of {}, and groups", model.model),
            model.values.len(),
            groups.len(),
        ));
    }
    if models.iter().all(|model| model.finite().next().is_none()) {
        return Err(Error::data(format!("figure {title:?}: none of {} models has a value of any group", models.len())));
    }
    let (left, right) = Rows::span(names_width(models.iter().map(|model| model.model.as_str())), 8.0);
    let n = groups.len() as f64;
    let width = (right - left - GAP * (n - 1.0)) / n;
    let frame_of = |group: usize| {
        let mut axis = Axis::linear("", models.iter().flat_map(ModelValues::finite));
        // A narrow panel has room for few numbers.
        let every = (axis.ticks.len() as f64 * 70.0 / width).ceil().max(1.0);
        if let [first, second, ..] = axis.ticks.as_slice() {
            let step = second.0 - first.0;
            axis.ticks.retain(|(value, _)| ((value / step).round() % every).abs() < 0.5);
        }
        let x = left + group as f64 * (width + GAP);
        Rows::new(axis, (x, x + width), TITLE_HEIGHT + HEAD, models.len(), ROW_HEIGHT)
    };
    let height = frame_of(0).figure_height();
    let mut canvas = Canvas::new(height);
    canvas.draw(|pen| {
        draw_title(pen, title);
        for (g, (group, size)) in groups.iter().enumerate() {
            let frame = frame_of(g);
            frame.draw(pen);
            let middle = (frame.left + frame.right) / 2.0;
            let head = shorten(group.as_ref(), TICK_SIZE, width + GAP - 6.0);
            pen.text(&head, (middle, frame.top - 46.0), Font::new(TICK_SIZE, INK, Anchor::Middle));
            let size = format!("n = {size}");
            pen.text(&size, (middle, frame.top - 18.0), Font::new(TICK_SIZE, GUIDE, Anchor::Middle));
            for (row, model) in models.iter().enumerate() {
                let (y, look) = (frame.y(row), look(&model.model, highlight));
                pen.line((frame.left, y), (frame.right, y), FAINT, 1);
                if g == 0 {
                    let font = Font { bold: look.highlighted, ..Font::new(TICK_SIZE, INK, Anchor::End) };
                    frame.name(pen, row, &model.model, font);
                }
                if let Some(value) = model.values[g].filter(|value| value.is_finite()) {
                    let (color, mark) = if look.highlighted { (look.color, look.mark) } else { (GUIDE, Mark::Circle) };
                    pen.mark(mark, (frame.across(value), y), 8.5, color, 1.0);
                }
            }
        }
        let label = shorten(value_label, LABEL_SIZE, f64::from(WIDTH) - 2.0 * MARGIN);
        let at = ((left + right) / 2.0, height - MARGIN - 0.6 * LABEL_SIZE);
        pen.text(&label, at, Font::new(LABEL_SIZE, INK, Anchor::Middle));
    });
    let best: Vec<String> = groups
        .iter()
        .enumerate()
        .filter_map(|(g, (group, _))| {
            let values = models.iter().filter_map(|m| Some((m.model.as_str(), m.values[g].filter(|v| v.is_finite())?)));
            let (model, value) = values.reduce(|a, b| if is_better(better, b.1, a.1) { b } else { a })?;
            Some(format!("{model} in {} ({})", group.as_ref(), number(value, value.abs().max(1e-6) / 500.0)))
        })
        .collect();
    let caption = format!("Mean {value_label} by group, {}. Best: {}.", words(better), best.join(", "));
    Ok(Figure::new(title, caption, canvas))
}
