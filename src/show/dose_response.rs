//! Predicted responses against the dose, with the measured doses as points.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title, number},
    canvas::{Anchor, Canvas, Font},
    legend::{Legend, Sample},
    style::{INK, TICK_SIZE, nth},
};
use crate::{Error, Result};

const PANEL_HEIGHT: f64 = 300.0;
/// Height of the name of a panel.
const HEAD: f64 = 40.0;

/// The response of one gene to the doses of one perturbation.
#[derive(Debug, Clone, PartialEq)]
pub struct DoseSeries {
    /// The gene.
    pub gene: String,
    /// Dose and predicted effect, doses rising.
    pub predicted: Vec<(f64, f64)>,
    /// Dose and measured effect.
    pub measured: Vec<(f64, f64)>,
}

/// The genes of one perturbation.
#[derive(Debug, Clone, PartialEq)]
pub struct DosePanel {
    /// The perturbation, without a dose.
    pub name: String,
    /// Its genes.
    pub series: Vec<DoseSeries>,
}

/// One panel per perturbation, one below the other: lines are predicted, marks are measured. The axis of doses is logarithmic.
///
/// # Errors
/// Nothing to draw: no panel, no predicted point at a dose above 0.
pub fn dose_response(title: &str, unit: &str, panels: &[DosePanel]) -> Result<Figure> {
    let points = |series: &DoseSeries| series.predicted.iter().chain(&series.measured).copied().collect::<Vec<_>>();
    let all = |panel: &DosePanel| panel.series.iter().flat_map(points).collect::<Vec<_>>();
    if panels.is_empty() || panels.iter().any(|panel| !all(panel).iter().any(|(dose, _)| *dose > 0.0)) {
        return Err(Error::data(format!("figure {title:?}: there is no response at a dose above 0 to draw")));
    }
    let (mut top, mut parts) = (TITLE_HEIGHT, Vec::new());
    for (place, panel) in panels.iter().enumerate() {
        let legend = Legend::new(panel.series.iter().enumerate().map(|(gene, series)| {
            let (color, mark) = nth(gene);
            (Sample::Line(color, mark), series.gene.clone())
        }));
        let x_label = if place + 1 == panels.len() { "dose" } else { "" };
        let x = Axis::log10(x_label, panels.iter().flat_map(all).map(|(dose, _)| dose));
        let y = Axis::linear(unit, all(panel).into_iter().map(|(_, effect)| effect));
        let frame = Frame::new(x, y, top + HEAD + legend.height(), PANEL_HEIGHT);
        let head = top;
        top = frame.bottom + frame.below();
        parts.push((head, legend, frame));
    }
    let mut canvas = Canvas::new(top);
    canvas.draw(|pen| {
        draw_title(pen, title);
        for ((head, legend, frame), panel) in parts.iter().zip(panels) {
            let font = Font::new(TICK_SIZE, INK, Anchor::Start);
            pen.text(&panel.name, (frame.left, head + HEAD / 2.0), Font { bold: true, ..font });
            legend.draw(pen, head + HEAD);
            frame.draw(pen);
            for (gene, series) in panel.series.iter().enumerate() {
                let (color, mark) = nth(gene);
                let line: Vec<_> = series.predicted.iter().map(|&(dose, effect)| frame.at(dose, effect)).collect();
                pen.path(&line, color, 4);
                series
                    .measured
                    .iter()
                    .for_each(|&(dose, effect)| pen.mark(mark, frame.at(dose, effect), 9.0, color, 1.0));
            }
        }
    });
    Ok(Figure::new(title, caption(panels), canvas))
}

/// How far the lines pass the measured points.
fn caption(panels: &[DosePanel]) -> String {
    let mut errors = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        for (dose, measured) in &series.measured {
            let same = series.predicted.iter().find(|(at, _)| at == dose);
            errors.extend(same.map(|(_, predicted)| (predicted - measured).powi(2)));
        }
    }
    match errors.len() {
        0 => "Lines: predicted effects.".to_owned(),
        n => format!(
            "Lines: predicted effects; marks: measured ones. Root mean square distance at {n} measured points: {}.",
            number((errors.iter().sum::<f64>() / n as f64).sqrt(), 0.001)
        ),
    }
}
