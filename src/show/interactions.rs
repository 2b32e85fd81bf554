//! How well models find genetic interactions: the share found against the share of wrong calls.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title},
    canvas::{Anchor, Canvas, Font},
    legend::Legend,
    models::{grey_sentence, legend_entries, look},
    style::{GUIDE, TICK_SIZE},
};
use crate::{Error, Result, bench::InteractionCurve};

const HEIGHT: f64 = 560.0;
/// Marks drawn along a curve, at most.
const MARKS_A_CURVE: usize = 9;
/// Points nearer than this share of an axis are not told apart.
const NEAR: f64 = 0.004;

/// Precision (1 - false discovery proportion) against recall of predicted interactions, a curve a model. `kind` says what is
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
                let step = (frame.right - frame.left) / MARKS_A_CURVE as f64;
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
