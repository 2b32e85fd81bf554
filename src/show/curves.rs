//! Training curves: losses and their parts against the epoch.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title, number, range},
    canvas::Canvas,
    legend::{Legend, Sample},
    style::nth,
};
use crate::{Error, Result};

const PANEL_HEIGHT: f64 = 400.0;
const LOWER_PANEL_HEIGHT: f64 = 240.0;
/// Marks drawn along a curve, at most.
const MARKS_A_CURVE: usize = 16;

/// A named curve. A value that is not finite leaves a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Where: epochs, or steps.
    pub x: Vec<f64>,
    /// What was measured there, as many as `x`.
    pub y: Vec<f64>,
}

impl Series {
    /// A curve through these points.
    pub fn new(name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self { name: name.into(), x, y }
    }
}

/// Curves that share one y axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Title of the y axis, with its unit: `loss (nats per cell)`.
    pub y_label: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// Panels one below the other over a common x axis: the losses first, their parts below. A name that stands in several
/// panels keeps its colour and mark.
///
/// # Errors
/// No panel, or one without a finite point; a series whose `x` and `y` differ in length.
pub fn training_curves(title: &str, x_label: &str, panels: &[Panel]) -> Result<Figure> {
    if panels.is_empty() {
        return Err(Error::config(format!("figure {title:?}: there are no curves to draw")));
    }
    let mut names: Vec<&str> = Vec::new();
    for panel in panels {
        for series in &panel.series {
            if series.x.len() != series.y.len() {
                return Err(Error::shape(&format!("curve {:?} (x, y)", series.name), series.x.len(), series.y.len()));
            }
            if !names.contains(&series.name.as_str()) {
                names.push(&series.name);
            }
        }
        if !panel.series.iter().any(|series| finite(series).next().is_some()) {
            return Err(Error::data(format!(
                "figure {title:?}: no finite value of {:?} to draw; did training take a step?",
                panel.y_label
            )));
        }
    }
    let look = |name: &str| nth(names.iter().position(|n| *n == name).unwrap_or(0));
    let legend = Legend::new(names.iter().map(|name| {
        let (color, mark) = look(name);
        (Sample::Line(color, mark), (*name).to_owned())
    }));

    let mut top = TITLE_HEIGHT + legend.height() + 8.0;
    let mut frames = Vec::new();
    for (i, panel) in panels.iter().enumerate() {
        // The lowest panel names the axis that all share.
        let x_label = if i + 1 == panels.len() { x_label } else { "" };
        let x = Axis::linear(x_label, panels.iter().flat_map(|p| &p.series).flat_map(finite).map(|(x, _)| x));
        let y = Axis::linear(&panel.y_label, panel.series.iter().flat_map(finite).map(|(_, y)| y));
        let frame = Frame::new(x, y, top, if i == 0 { PANEL_HEIGHT } else { LOWER_PANEL_HEIGHT });
        top = frame.bottom + frame.below();
        frames.push(frame);
    }
    // Panels stand exactly below one another.
    let left = frames.iter().map(|frame| frame.left).fold(0.0, f64::max);
    frames.iter_mut().for_each(|frame| frame.left = left);

    let mut canvas = Canvas::new(top);
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        for (frame, panel) in frames.iter().zip(panels) {
            frame.draw(pen);
            for series in &panel.series {
                let (color, mark) = look(&series.name);
                let points: Vec<_> = series.x.iter().zip(&series.y).map(|(&x, &y)| frame.at(x, y)).collect();
                let is_finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
                for piece in points.split(|p| !is_finite(p)).filter(|piece| piece.len() > 1) {
                    pen.path(piece, color, 4);
                }
                let every = points.len().div_ceil(MARKS_A_CURVE).max(1);
                points.iter().step_by(every).filter(|p| is_finite(p)).for_each(|&p| pen.mark(mark, p, 7.0, color, 1.0));
            }
        }
    });
    Ok(Figure::new(title, caption(x_label, &panels[0]), canvas))
}

fn finite(series: &Series) -> impl Iterator<Item = (f64, f64)> {
    series.x.iter().copied().zip(series.y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite())
}

/// Where each curve of the first panel ends, and its lowest point.
fn caption(x_label: &str, panel: &Panel) -> String {
    let spread = range(panel.series.iter().flat_map(finite).map(|(_, y)| y)).map_or(1.0, |(low, high)| high - low);
    let text = |value: f64| number(value, (spread / 200.0).max(1e-6));
    let mut parts = Vec::new();
    for series in &panel.series {
        if let (Some(last), Some(lowest)) = (finite(series).last(), finite(series).min_by(|a, b| a.1.total_cmp(&b.1))) {
            parts.push(format!(
                "{} ends at {} ({x_label} {}), lowest {} at {}",
                series.name,
                text(last.1),
                last.0,
                text(lowest.1),
                lowest.0
            ));
        }
    }
    format!("{}: {}.", panel.y_label, parts.join("; "))
}
