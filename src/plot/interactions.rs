//! How well models find genetic interactions: the share found against the share of wrong calls.

use super::{
    Figure, Series,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title},
    canvas::{Anchor, Canvas, Font},
    legend::Legend,
    models::{grey_sentence, legend_entries, look},
    style::{GUIDE, TICK_SIZE},
};
use crate::{Error, Result};

const HEIGHT: f64 = 560.0;
/// Marks drawn along a curve, at most.
const MARKS_A_CURVE: usize = 9;

/// Precision against recall of predicted interactions, a curve a model: `x` the share of true interactions that is found
/// (recall), `y` the share of calls that is right (precision, 1 - false discovery proportion), from the boldest call to
/// all calls. `base_rate` is the share of true interactions among all candidates, which a random ranking reaches at any
/// recall. `kind` says what is found, such as `synergies`. The caption compares areas under the curves (trapezoids over
/// the recall that a curve covers).
///
/// # Errors
/// No curve with two points; a series whose `x` and `y` differ in length.
pub fn interaction_curve<S: AsRef<str>>(
    title: &str,
    kind: &str,
    curves: &[Series],
    base_rate: f64,
    highlight: &[S],
) -> Result<Figure> {
    if let Some(curve) = curves.iter().find(|curve| curve.x.len() != curve.y.len()) {
        return Err(Error::shape(&format!("curve {:?} (recall, precision)", curve.name), curve.x.len(), curve.y.len()));
    }
    let points = |curve: &Series| -> Vec<(f64, f64)> {
        curve.x.iter().copied().zip(curve.y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    };
    let mut drawn: Vec<(&str, Vec<(f64, f64)>)> =
        curves.iter().map(|c| (c.name.as_str(), points(c))).filter(|(_, points)| points.len() > 1).collect();
    if drawn.is_empty() {
        return Err(Error::data(format!("figure {title:?}: none of {} curves has two points", curves.len())));
    }
    let mut areas: Vec<(&str, f64)> = drawn
        .iter()
        .map(|(name, points)| {
            (*name, points.windows(2).map(|w| (w[1].0 - w[0].0) * f64::midpoint(w[0].1, w[1].1)).sum())
        })
        .collect();
    areas.sort_by(|a, b| b.1.total_cmp(&a.1));
    // Grey below colours.
    drawn.sort_by_key(|(name, _)| look(name, highlight).highlighted);

    let names: Vec<&str> =
        curves.iter().map(|c| c.name.as_str()).filter(|name| drawn.iter().any(|d| d.0 == *name)).collect();
    let legend = Legend::new(legend_entries(&names, highlight));
    let x = Axis::from_to(&format!("recall: share of the true {kind} that is found"), 0.0, 1.0);
    let y = Axis::from_to("precision: share of calls that is right", 0.0, 1.02);
    let frame = Frame::new(x, y, TITLE_HEIGHT + legend.height() + 8.0, HEIGHT);
    let mut canvas = Canvas::new(frame.bottom + frame.below());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
        if base_rate.is_finite() {
            let (from, to) = (frame.at(0.0, base_rate), frame.at(1.0, base_rate));
            pen.dashed(from, to, GUIDE, 2);
            let font = Font::new(TICK_SIZE, GUIDE, Anchor::End);
            pen.text(&format!("random {base_rate:.3}"), (to.0 - 6.0, to.1 - 14.0), font);
        }
        for (name, points) in &drawn {
            let look = look(name, highlight);
            let placed: Vec<_> = points.iter().map(|&(x, y)| frame.at(x, y)).collect();
            pen.path(&placed, look.color, if look.highlighted { 4 } else { 2 });
            if look.highlighted {
                let every = placed.len().div_ceil(MARKS_A_CURVE).max(1);
                placed.iter().step_by(every).for_each(|&at| pen.mark(look.mark, at, 7.0, look.color, 1.0));
            }
        }
    });
    let text: Vec<String> = areas.iter().take(3).map(|(name, area)| format!("{area:.3} ({name})")).collect();
    let caption = format!(
        "Area under precision against recall of {kind}: {}{}; a random ranking reaches {base_rate:.3}.{}",
        text.join(", "),
        if areas.len() > 3 { ", then lower" } else { "" },
        grey_sentence(&names, highlight)
    );
    Ok(Figure::new(title, caption, canvas))
}
