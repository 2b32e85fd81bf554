//! Training curves: losses and their parts against the epoch.
//!
//! How well models find genetic interactions: the share found against the share of wrong calls.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title, number, range},
    canvas::{Anchor, Canvas, Font},
    legend::{Legend, Sample},
    models::{grey_sentence, legend_entries, look},
    style::{GUIDE, TICK_SIZE, nth},
};
use crate::{
    Error, Result,
    bench::InteractionCurve,
    train::{EpochRecord, History},
};

const PANEL_HEIGHT: f64 = 400.0;
const LOWER_PANEL_HEIGHT: f64 = 240.0;
/// Marks drawn along a curve, at most.
const MARKS_PER_CURVE: usize = 16;
const HEIGHT: f64 = 560.0;
/// Marks drawn along a curve, at most.
const MARKS_PER_RANKING: usize = 9;
/// Points nearer than this share of an axis are not told apart.
const NEAR: f64 = 0.004;

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

    let mut frames = Vec::new();
    for (i, panel) in panels.iter().enumerate() {
        // The lowest panel names the axis that all share.
        let x_label = if i + 1 == panels.len() { x_label } else { "" };
        let x = Axis::linear(x_label, panels.iter().flat_map(|p| &p.series).flat_map(finite).map(|(x, _)| x));
        let y = Axis::linear(&panel.y_label, panel.series.iter().flat_map(finite).map(|(_, y)| y));
        frames.push(Frame::new(x, y, 0.0, if i == 0 { PANEL_HEIGHT } else { LOWER_PANEL_HEIGHT }));
    }
    // Panels stand exactly below one another, and the height of a title depends on the width of its frame.
    let left = frames.iter().map(|frame| frame.left).fold(0.0, f64::max);
    let mut top = TITLE_HEIGHT + legend.height() + 8.0;
    let place = |frame: Frame| {
        let frame = Frame { left, ..frame }.moved_to(top);
        top = frame.bottom + frame.below();
        frame
    };
    let frames: Vec<Frame> = frames.into_iter().map(place).collect();

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
                let every = points.len().div_ceil(MARKS_PER_CURVE).max(1);
                points.iter().step_by(every).filter(|p| is_finite(p)).for_each(|&p| pen.mark(mark, p, 7.0, color, 1.0));
            }
        }
    });
    Ok(Figure::new(title, caption(x_label, &panels[0]), canvas))
}

/// One panel of curves whose values were recorded one after the other, numbered from 1: the losses of a loop.
///
/// ```
/// let loss: Vec<f64> = (0..50).map(|step| (-0.1 * step as f64).exp()).collect();
/// let figure = genailab::show::lines("A loop of one's own", "step", "loss", &[("training", &loss)])?;
/// assert!(figure.to_svg().contains("training"));
/// # Ok::<(), genailab::Error>(())
/// ```
///
/// # Errors
/// No finite value at all.
pub fn lines(title: &str, x_label: &str, y_label: &str, curves: &[(&str, &[f64])]) -> Result<Figure> {
    let numbered = |y: &[f64]| (1..=y.len()).map(|step| step as f64).collect();
    let series = curves.iter().map(|(name, y)| Series::new(*name, numbered(y), y.to_vec())).collect();
    training_curves(title, x_label, &[Panel { y_label: y_label.to_owned(), series }])
}

impl History {
    /// Training and validation loss, epoch by epoch. `unit` stands at the axis, such as `nats per cell`.
    ///
    /// # Errors
    /// A history without an epoch.
    pub fn plot(&self, title: &str, unit: &str) -> Result<Figure> {
        let of = |loss: fn(&EpochRecord) -> f64| self.epochs.iter().map(loss).collect::<Vec<f64>>();
        let training = of(|epoch| epoch.train.loss);
        let validation = of(|epoch| epoch.validation.as_ref().map_or(f64::NAN, |figures| figures.loss));
        let mut curves: Vec<(&str, &[f64])> = vec![("training", &training)];
        if validation.iter().any(|loss| loss.is_finite()) {
            curves.push(("validation", &validation));
        }
        lines(title, "epoch", &format!("loss ({unit})"), &curves)
    }
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

/// Precision (1 - false discovery proportion) against recall of predicted interactions, one curve per model. `kind` says what is
/// found, such as `synergies`. Models named in `highlight` have a colour and a mark, the others are grey.
///
/// # Errors
/// No curve with two points.
pub fn interaction_curve<S: AsRef<str>>(
    title: &str,
    kind: &str,
    curves: &[InteractionCurve],
    highlight: &[S],
) -> Result<Figure> {
    let mut drawn: Vec<&InteractionCurve> = curves.iter().filter(|curve| curve.recall_and_fdp.len() > 1).collect();
    if drawn.is_empty() {
        return Err(Error::data(format!("figure {title:?}: none of {} curves has two points", curves.len())));
    }
    let base_rate = drawn[0].base_rate;
    let names: Vec<&str> = drawn.iter().map(|curve| curve.model.as_str()).collect();
    let mut areas: Vec<(&str, f64)> = drawn.iter().map(|curve| (curve.model.as_str(), curve.auprc)).collect();
    areas.sort_by(|a, b| b.1.total_cmp(&a.1));
    // Grey below colours.
    drawn.sort_by_key(|curve| look(&curve.model, highlight).highlighted);

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
            pen.text(&format!("random {base_rate:.3}"), (to.0 - 6.0, to.1 - 16.0), font);
        }
        for curve in &drawn {
            let look = look(&curve.model, highlight);
            let placed: Vec<_> =
                thin(&curve.recall_and_fdp).into_iter().map(|(x, fdp)| frame.at(x, 1.0 - fdp)).collect();
            pen.path(&placed, look.color, if look.highlighted { 4 } else { 2 });
            if look.highlighted {
                // Evenly along the recall, not along the points, which crowd at its beginning.
                let step = (frame.right - frame.left) / MARKS_PER_RANKING as f64;
                let mut due = frame.left;
                for &at in placed.iter().filter(|at| at.0.is_finite() && at.1.is_finite()) {
                    if at.0 >= due {
                        pen.mark(look.mark, at, 7.0, look.color, 1.0);
                        due = at.0 + step;
                    }
                }
            }
        }
    });
    let text: Vec<String> = areas.iter().take(3).map(|(name, area)| format!("{area:.3} ({name})")).collect();
    let caption = format!(
        "Average precision of {kind}: {}{}; a random ranking reaches {base_rate:.3}.{}",
        text.join(", "),
        if areas.len() > 3 { ", then lower" } else { "" },
        grey_sentence(&names, highlight)
    );
    Ok(Figure::new(title, caption, canvas))
}

/// Fewer points of a curve that has more than can be seen, its first and last among them.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        let near = |last: &(f64, f64)| (x - last.0).abs() < NEAR && (y - last.1).abs() < NEAR;
        if i + 1 == points.len() || !kept.last().is_some_and(near) {
            kept.push((x, y));
        }
    }
    kept
}
