//! How values are distributed: genes per cell, library sizes, cells per perturbation.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title, number, range},
    canvas::{Anchor, Canvas, Font},
    style::{BLUE, INK, TICK_SIZE, VERMILLION},
};
use crate::{Error, Result};

const HEIGHT: f64 = 460.0;
const ROW_HEIGHT: f64 = 34.0;
const BINS: std::ops::RangeInclusive<f64> = 10.0..=60.0;

/// A histogram with the median marked, and a line for each of `limits` (name and value, such as a QC threshold).
/// `value_label` carries the unit; `count_label` says what is counted. Bin width by Freedman and Diaconis (1981),
/// 10 to 60 bins; whole numbers get bins of whole width.
///
/// # Errors
/// No finite value.
pub fn histogram(
    title: &str,
    value_label: &str,
    count_label: &str,
    values: &[f64],
    limits: &[(&str, f64)],
) -> Result<Figure> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let Some((low, high)) = range(values.iter().copied()) else {
        return Err(Error::data(format!("figure {title:?}: there is no finite value to count")));
    };
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let quantile = |q: f64| values[((n - 1) as f64 * q).round() as usize];
    let median = f64::midpoint(values[(n - 1) / 2], values[n / 2]);
    let whole = values.iter().all(|value| value.fract() == 0.0);

    let width = 2.0 * (quantile(0.75) - quantile(0.25)) / (n as f64).cbrt();
    let wanted = if width > 0.0 { (high - low) / width } else { 1.0 };
    let mut width = (high - low).max(1e-12) / wanted.clamp(*BINS.start(), *BINS.end());
    if whole {
        width = width.ceil();
    }
    let start = if whole { low - 0.5 } else { low };
    let n_bins = (((high - start) / width).floor() as usize + 1).max(1);
    let mut bins = vec![0_usize; n_bins];
    values.iter().for_each(|value| bins[(((value - start) / width) as usize).min(n_bins - 1)] += 1);

    let edges = [start, start + width * n_bins as f64];
    let x = Axis::linear(value_label, edges.into_iter().chain(limits.iter().map(|(_, at)| *at)));
    let y = Axis::from_zero(count_label, bins.iter().map(|&count| count as f64));
    // A row for the name of each line, above the bars.
    let frame = Frame::new(x, y, TITLE_HEIGHT + ROW_HEIGHT * (1.0 + limits.len() as f64) + 6.0, HEIGHT);
    let mut canvas = Canvas::new(frame.bottom + frame.below());
    let step = if whole && high >= 10.0 { 1.0 } else { (high - low).max(1e-9) / 100.0 };
    canvas.draw(|pen| {
        draw_title(pen, title);
        frame.draw(pen);
        for (bin, &count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from = frame.at(start + width * bin as f64, count as f64);
            let to = frame.at(start + width * (bin as f64 + 1.0), 0.0);
            // One unit of white between bars.
            pen.rect(from, ((to.0 - 1.0).max(from.0 + 1.0), to.1), BLUE, 1.0);
        }
        let mut line = |text: String, value: f64, color, row: f64| {
            let (x, y) = frame.at(value, 0.0);
            let top = TITLE_HEIGHT + ROW_HEIGHT * (row + 0.5);
            pen.dashed((x, top), (x, y), color, 3);
            let right = x > (frame.left + frame.right) / 2.0;
            let (side, away) = if right { (Anchor::End, -8.0) } else { (Anchor::Start, 8.0) };
            pen.text(&text, (x + away, top), Font::new(TICK_SIZE, color, side));
        };
        line(format!("median {}", number(median, step)), median, INK, limits.len() as f64);
        for (i, (name, value)) in limits.iter().enumerate() {
            line(format!("{name} {}", number(*value, step)), *value, VERMILLION, i as f64);
        }
    });
    let number = |value: f64| number(value, step);
    let caption = format!(
        "{value_label} over {n}: median {}, 5 % below {}, 5 % above {}.",
        number(median),
        number(quantile(0.05)),
        number(quantile(0.95))
    );
    Ok(Figure::new(title, caption, canvas))
}
