//! How a model's error compares with a reference's on the same conditions: the figure of const-ae, a ratio with a line at 1.

use super::{
    Figure, ModelValues,
    axis::{Axis, TITLE_HEIGHT, draw_title, range},
    canvas::{Anchor, Canvas, Font},
    legend::{Legend, Sample},
    models::{look, quantile, sorted},
    rows::{Rows, names_width},
    style::{FAINT, GREY, GUIDE, INK, Mark, TICK_SIZE},
};
use crate::{Error, Result};

const ROW_HEIGHT: f64 = 52.0;
/// Room at the right for the median.
const NUMBER_WIDTH: f64 = 96.0;
/// Half of the height over which points of a row spread.
const SPREAD: f64 = 13.0;
/// Points drawn in a row, at most; quantiles are of all.
const MOST_POINTS: usize = 80;
/// Ratios beyond this many times the reference are drawn at the edge: they must not press all others into one line.
const WIDEST: f64 = 3.0;

/// The distribution, a row a model, of `error / error of the reference` on the same condition, with a line at 1 (the
/// reference itself). Each row: the ratios as points, the middle half as a bar, the median as the model's mark and as
/// a number. Rows stand in the order of their medians, the best first. Ratios above 3 are drawn at the edge, and the
/// caption counts them. `reference` is the name of the model divided by; `error_label` what is divided, such as `L2`.
///
/// # Errors
/// No positive ratio at all.
pub fn l2_ratio<S: AsRef<str>>(
    title: &str,
    error_label: &str,
    reference: &str,
    models: &[ModelValues],
    highlight: &[S],
) -> Result<Figure> {
    let mut rows: Vec<(&str, Vec<f64>, f64)> = models
        .iter()
        .filter_map(|model| {
            let ratios = sorted(model.finite().filter(|ratio| *ratio >= 0.0));
            let middle = quantile(&ratios, 0.5)?;
            Some((model.model.as_str(), ratios, middle))
        })
        .collect();
    if rows.is_empty() {
        return Err(Error::data(format!("figure {title:?}: none of {} models has a ratio", models.len())));
    }
    rows.sort_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(b.0)));
    let label = format!("{error_label} ÷ {error_label} of {reference}, same condition (1 = as good, less is better)");
    let all = rows.iter().flat_map(|row| row.1.iter().copied());
    let (low, high) = range(all.chain([1.0])).unwrap_or((0.0, 1.0));
    let axis = Axis::linear(&label, [low, high.min(WIDEST)]);
    let span = Rows::span(names_width(rows.iter().map(|row| row.0)), NUMBER_WIDTH);
    let legend = Legend::new([
        (Sample::Point(GREY, Mark::Circle), "a condition".to_owned()),
        (Sample::Line(GUIDE, Mark::Diamond), "middle half, and median".to_owned()),
        (Sample::Dashed(INK), format!("as good as {reference}")),
    ]);
    let frame = Rows::new(axis, span, TITLE_HEIGHT + legend.height() + 30.0, rows.len(), ROW_HEIGHT);
    let mut canvas = Canvas::new(frame.figure_height());
    let mut beyond = 0;
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
        let edge = frame.right + NUMBER_WIDTH - 6.0;
        pen.text("median", (edge, frame.top - 14.0), Font::new(TICK_SIZE, GUIDE, Anchor::End));
        for (i, (name, ratios, middle)) in rows.iter().enumerate() {
            let (y, look) = (frame.y(i), look(name, highlight));
            frame.name(pen, i, name, Font { bold: look.highlighted, ..Font::new(TICK_SIZE, INK, Anchor::End) });
            pen.line((frame.left, y), (frame.right, y), FAINT, 1);
            let every = ratios.len().div_ceil(MOST_POINTS).max(1);
            for (k, &ratio) in ratios.iter().step_by(every).enumerate() {
                // The golden ratio's multiples spread neighbours evenly, and the same every time.
                let up = ((k as f64 * 0.618_034).fract() - 0.5) * 2.0 * SPREAD;
                pen.mark(Mark::Circle, (frame.across(ratio), y + up), 4.5, look.color, 0.45);
            }
            beyond += ratios.iter().filter(|ratio| **ratio > WIDEST).count();
            let quartile = |q| frame.across(quantile(ratios, q).unwrap_or(*middle));
            pen.line((quartile(0.25), y), (quartile(0.75), y), if look.highlighted { look.color } else { GUIDE }, 6);
            let (color, mark) = if look.highlighted { (look.color, look.mark) } else { (GUIDE, Mark::Diamond) };
            pen.mark(mark, (frame.across(*middle), y), 10.0, color, 1.0);
            pen.text(&format!("{middle:.2}"), (edge, y), Font::new(TICK_SIZE, INK, Anchor::End));
        }
        pen.dashed((frame.across(1.0), frame.top), (frame.across(1.0), frame.bottom), INK, 2);
    });
    let better = rows.iter().filter(|row| row.2 < 1.0 && row.0 != reference).count();
    let others = rows.iter().filter(|row| row.0 != reference).count();
    let best = &rows[0];
    let below = best.1.iter().filter(|ratio| **ratio < 1.0).count();
    let mut caption = format!("{better} of {others} models have a median {error_label} below {reference}'s. ");
    caption += &if best.0 == reference {
        format!("No other is nearer to the truth on more than half of the {} conditions.", best.1.len())
    } else {
        format!("Lowest: {} at {:.3}, below 1 on {below} of {} conditions.", best.0, best.2, best.1.len())
    };
    if beyond > 0 {
        caption += &format!(" {beyond} ratios above {WIDEST} are drawn at the edge.");
    }
    Ok(Figure::new(title, caption, canvas))
}
