//! Predicted against observed effects of all genes and conditions, one panel per model.

use super::{
    Figure,
    axis::{Axis, Frame, MARGIN, TITLE_HEIGHT, draw_title, number},
    canvas::{Anchor, Canvas, Font},
    heatmap::{LEVELS, color},
    models::{quantile, sorted},
    points::{VECTOR_POINTS, encode},
    style::{BLUE, GUIDE, INK, LABEL_SIZE, Mark, TICK_SIZE, WIDTH, shorten, text_width},
};
use crate::{Error, Result, eval::pearson};

/// Panels side by side, at most.
const COLUMNS: usize = 3;
/// Squares along each side of a panel in which points are counted, where they are too many to be drawn.
const BINS: usize = 96;
/// Share of the observed effects that the axes cover: a few extreme genes must not press all others into a dot.
const COVERED: f64 = 0.9995;
const GAP: f64 = 22.0;
const HEAD: f64 = 62.0;

/// The predictions of a model, beside what was observed.
#[derive(Debug, Clone, PartialEq)]
pub struct ScatterPanel {
    /// Name of the model, or of the model and the condition.
    pub name: String,
    /// Predicted effects: genes, or genes of several conditions one after the other.
    pub predicted: Vec<f32>,
    /// Observed effects, as many.
    pub observed: Vec<f32>,
}

/// One panel per model: predicted (upward) against observed effects, all panels on the same axes, with the line of identity
/// and Pearson's r over all points of the panel. Up to 1,000 points in all they are drawn; more are counted in squares,
/// darker is more on a logarithmic scale. Points beyond the axes, which cover 99.95 % of the observed effects, stand at
/// the edge. Effects are differences to control, of all panels in one unit: name it in the title where it is not clear.
///
/// # Errors
/// No panel or no point; lengths that differ; an effect that is not finite.
pub fn scatter(title: &str, panels: &[ScatterPanel]) -> Result<Figure> {
    for panel in panels {
        if panel.predicted.len() != panel.observed.len() {
            let what = format!("scatter of {} (predicted, observed)", panel.name);
            return Err(Error::shape(&what, panel.predicted.len(), panel.observed.len()));
        }
        if let Some(i) = panel.predicted.iter().zip(&panel.observed).position(|(x, y)| !x.is_finite() || !y.is_finite())
        {
            return Err(Error::data(format!(
                "figure {title:?}: value {i} of {} is {} predicted and {} observed; both must be finite",
                panel.name, panel.predicted[i], panel.observed[i]
            )));
        }
    }
    let n_points: usize = panels.iter().map(|panel| panel.observed.len()).sum();
    let sizes = sorted(panels.iter().flat_map(|panel| &panel.observed).map(|effect| f64::from(effect.abs())));
    let Some(limit) = quantile(&sizes, COVERED) else {
        return Err(Error::data(format!("figure {title:?}: there is no effect to draw")));
    };
    let limit = if limit > 0.0 { 1.05 * limit } else { 1.0 };

    let columns = panels.len().min(COLUMNS);
    let tick = 0.9 * TICK_SIZE;
    let left = MARGIN + 1.5 * LABEL_SIZE + 70.0;
    // One panel alone need not fill the whole width.
    let side = ((f64::from(WIDTH) - MARGIN - left - GAP * (columns - 1) as f64) / columns as f64).min(560.0);
    let rows = panels.len().div_ceil(columns);
    let bottom = TITLE_HEIGHT + rows as f64 * (side + HEAD);
    let axis = || {
        let mut axis = Axis::from_to("", -limit, limit);
        // Room for three numbers: 0 and the last one at each side.
        let outer = axis.ticks.iter().map(|t| t.0).fold(0.0, f64::max);
        axis.ticks.retain(|(value, _)| *value == 0.0 || (value.abs() - outer).abs() < 1e-9);
        axis
    };
    let frames: Vec<Frame> = (0..panels.len())
        .map(|i| {
            let (column, row) = (i % columns, i / columns);
            let x = left + column as f64 * (side + GAP);
            let top = TITLE_HEIGHT + row as f64 * (side + HEAD) + HEAD - 14.0;
            Frame { x: axis(), y: axis(), left: x, top, right: x + side, bottom: top + side }
        })
        .collect();
    let mut canvas = Canvas::new(bottom + 1.7 * TICK_SIZE + 1.4 * LABEL_SIZE + MARGIN);
    let inside = |value: f32| f64::from(value).clamp(-limit, limit);
    let mut beyond = 0;
    for (frame, panel) in frames.iter().zip(panels) {
        let points = || panel.observed.iter().zip(&panel.predicted).map(|(&x, &y)| (inside(x), inside(y)));
        beyond += panel.predicted.iter().filter(|y| f64::from(y.abs()) > limit).count();
        if n_points <= VECTOR_POINTS {
            canvas.draw(|pen| points().for_each(|(x, y)| pen.mark(Mark::Circle, frame.at(x, y), 5.0, BLUE, 0.5)));
        } else {
            let area = (frame.left, frame.top, side, side);
            let png = counted(points().map(|(x, y)| (frame.x.place(x), frame.y.place(y))))?;
            canvas.elements += "\n<g style=\"image-rendering:pixelated\">";
            canvas.image(&png, area);
            canvas.elements += "</g>";
        }
    }
    let correlations: Vec<Option<f64>> = panels.iter().map(|p| pearson(&p.predicted, &p.observed)).collect();
    canvas.draw(|pen| {
        draw_title(pen, title);
        for (i, (frame, panel)) in frames.iter().zip(panels).enumerate() {
            let (column, lowest) = (i % columns, i + columns >= panels.len());
            for (from, to) in [((0.0, -limit), (0.0, limit)), ((-limit, 0.0), (limit, 0.0))] {
                pen.line(frame.at(from.0, from.1), frame.at(to.0, to.1), GUIDE, 1);
            }
            pen.dashed(frame.at(-limit, -limit), frame.at(limit, limit), GUIDE, 2);
            let corners = [(frame.left, frame.top), (frame.right, frame.top), (frame.right, frame.bottom)];
            pen.path(&[corners[0], corners[1], corners[2], (frame.left, frame.bottom), corners[0]], GUIDE, 1);
            for (value, text) in &frame.x.ticks {
                let (x, y) = frame.at(*value, *value);
                if lowest {
                    // The numbers of neighbouring panels must not meet.
                    let half = 0.5 * text_width(text, tick);
                    let x = x.clamp(frame.left + half, frame.right - half);
                    pen.text(text, (x, frame.bottom + tick), Font::new(tick, INK, Anchor::Middle));
                }
                if column == 0 {
                    pen.text(text, (frame.left - 10.0, y), Font::new(tick, INK, Anchor::End));
                }
            }
            let r = correlations[i].map_or("no r".to_owned(), |r| format!("r {}", number(r, 0.01)));
            let font = Font::new(TICK_SIZE, INK, Anchor::Start);
            // A name that is a little too long is set smaller; a longer one is cut. Bold text is wider.
            let size = (TICK_SIZE * side / text_width(&panel.name, 1.2 * TICK_SIZE)).clamp(0.8 * TICK_SIZE, TICK_SIZE);
            let name = shorten(&panel.name, 1.1 * size, side + 1.0);
            pen.text(&name, (frame.left, frame.top - 18.0), Font { bold: true, size, ..font });
            // This corner is far from identity, so it is empty for all but the worst predictions.
            pen.text(&r, (frame.right - 10.0, frame.bottom - 20.0), Font { anchor: Anchor::End, ..font });
        }
        let middle = (left + columns as f64 * (side + GAP) / 2.0 - GAP / 2.0, (TITLE_HEIGHT + bottom) / 2.0);
        let font = Font::new(LABEL_SIZE, INK, Anchor::Middle);
        let below = bottom + 1.7 * TICK_SIZE + 0.5 * LABEL_SIZE;
        pen.text("observed effect (difference to control)", (middle.0.max(330.0), below), font);
        pen.text("predicted effect", (MARGIN + 0.6 * LABEL_SIZE, middle.1), Font { upward: true, ..font });
    });
    let mut ranked: Vec<(&str, f64)> =
        panels.iter().zip(&correlations).filter_map(|(panel, r)| Some((panel.name.as_str(), (*r)?))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let constant: Vec<&str> =
        panels.iter().zip(&correlations).filter(|(_, r)| r.is_none()).map(|(panel, _)| panel.name.as_str()).collect();
    let mut caption = match ranked.as_slice() {
        [] => format!("{n_points} points; Pearson's r is not defined."),
        [(name, r)] => format!("Pearson's r {r:.3} for {name}, over all points of the panel."),
        [(best, high), .., (worst, low)] => {
            format!("Pearson's r over all points of a panel: {high:.3} for {best}, {low:.3} for {worst}.")
        }
    };
    if !constant.is_empty() {
        caption += &format!(" No r where a prediction is constant: {}.", constant.join(", "));
    }
    caption += " Dashed: prediction = observation.";
    if n_points > VECTOR_POINTS {
        caption += " Squares are darker where there are more points (logarithmic).";
    }
    if beyond > 0 {
        caption += &format!(" Beyond ±{} and drawn at the edge: {beyond}.", number(limit, limit / 100.0));
    }
    Ok(Figure::new(title, caption, canvas))
}

/// A picture of how many points (places from 0 to 1, upward) each square holds; transparent where there are none.
fn counted(points: impl Iterator<Item = (f64, f64)>) -> Result<Vec<u8>> {
    let mut counts = vec![0_u32; BINS * BINS];
    let bin = |place: f64| ((place * BINS as f64) as usize).min(BINS - 1);
    points.for_each(|(x, y)| counts[(BINS - 1 - bin(y)) * BINS + bin(x)] += 1);
    let most = counts.iter().copied().max().unwrap_or(1).max(2);
    // A single point must be seen on white: the scale begins a quarter up.
    let level = |count: u32| {
        let share = 0.25 + 0.75 * f64::from(count).ln() / f64::from(most).ln();
        1 + (share * (LEVELS - 1) as f64).round() as u8
    };
    let pixels: Vec<u8> = counts.into_iter().map(|count| if count == 0 { 0 } else { level(count) }).collect();
    let palette = (0..=LEVELS).map(|l| color(l, false)).flat_map(|c| [c.0, c.1, c.2]).collect();
    let alpha = (0..=LEVELS).map(|l| if l == 0 { 0 } else { 255 }).collect();
    encode(&pixels, (BINS, BINS), palette, Some(alpha))
}
