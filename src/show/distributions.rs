//! How values are distributed: a histogram (genes per cell, library sizes), variance against mean of each gene's counts (why a
//! Poisson is not enough), and one number per name, sorted.

use super::{
    Figure,
    axis::{Axis, Frame, MARGIN, TITLE_HEIGHT, draw_lines, draw_title, further_lines, number, range, x_lines},
    canvas::{Anchor, Canvas, Font, Pen},
    legend::{Legend, Sample},
    points::{self, Kind},
    style::{BLUE, FAINT, GUIDE, INK, LABEL_SIZE, Mark, TICK_SIZE, VERMILLION, WHITE, WIDTH, shorten, text_width},
};
use crate::{Error, Result};
use plotters::style::RGBColor;

const HISTOGRAM_HEIGHT: f64 = 460.0;
const MARKER_HEIGHT: f64 = 34.0;
/// Between a line and its name.
const MARKER_GAP: f64 = 8.0;
const BINS: std::ops::RangeInclusive<f64> = 10.0..=60.0;
const MEAN_VARIANCE_HEIGHT: f64 = 640.0;
/// Places at which the negative binomial's curve is computed.
const CURVE_POINTS: usize = 60;
const ROW_HEIGHT: f64 = 33.0;
/// Rows shown; of more names, the first and the last half of this many.
const MOST_ROWS: usize = 40;
const LONGEST_NAME: f64 = 330.0;

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
    let frame = Frame::new(x, y, TITLE_HEIGHT + MARKER_HEIGHT * (1.0 + limits.len() as f64) + 6.0, HISTOGRAM_HEIGHT);
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
        let limits = limits.iter().map(|(name, value)| (*name, *value, VERMILLION));
        let lines = limits.chain([("median", median, INK)]).map(|(name, value, color)| Marker {
            text: format!("{name} {}", number(value, step)),
            x: frame.at(value, 0.0).0,
            color,
        });
        draw_markers(pen, &frame, &lines.collect::<Vec<_>>());
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

/// A vertical line of a histogram, with its name.
struct Marker {
    text: String,
    x: f64,
    color: RGBColor,
}

/// The lines, the name of each in a row of its own above the frame. Lines run downward from their names, so that a name can
/// only meet lines of the rows above: it stands on the side where it meets none.
fn draw_markers(pen: &mut Pen<'_>, frame: &Frame, markers: &[Marker]) {
    let height = |row: usize| TITLE_HEIGHT + MARKER_HEIGHT * (row as f64 + 0.5);
    for (row, marker) in markers.iter().enumerate() {
        pen.dashed((marker.x, height(row)), (marker.x, frame.bottom), marker.color, 3);
    }
    for (row, marker) in markers.iter().enumerate() {
        let width = text_width(&marker.text, TICK_SIZE) + MARKER_GAP;
        let is_free = |to_left: bool| {
            let (from, to) = if to_left { (marker.x - width, marker.x) } else { (marker.x, marker.x + width) };
            let crossed = |other: &Marker| from < other.x && other.x < to && other.x != marker.x;
            from >= 0.0 && to <= f64::from(WIDTH) && !markers[..row].iter().any(crossed)
        };
        // Toward the middle of the figure, where there is room, unless only the other side is free.
        let inward = marker.x > f64::midpoint(frame.left, frame.right);
        let to_left = if is_free(inward) || !is_free(!inward) { inward } else { !inward };
        let (side, away) = if to_left { (Anchor::End, -MARKER_GAP) } else { (Anchor::Start, MARKER_GAP) };
        let (from, y) = (marker.x + away, height(row));
        let to = marker.x + if to_left { -width } else { width };
        pen.rect((from.min(to), y - 0.5 * TICK_SIZE), (from.max(to), y + 0.5 * TICK_SIZE), WHITE, 1.0);
        pen.text(&marker.text, (from, y), Font::new(TICK_SIZE, marker.color, side));
    }
}

/// One point per gene on logarithmic axes, the Poisson's `variance = mean`, and the negative binomial's
/// `variance = mean + mean^2 / theta` with the median of the genes' moment estimates `theta = mean^2 / (variance - mean)`.
/// Genes of mean or variance 0 are left out. Both in UMI counts.
///
/// # Errors
/// Arrays of different lengths, or no gene that varies.
pub fn mean_variance(title: &str, means: &[f64], variances: &[f64]) -> Result<Figure> {
    if means.len() != variances.len() {
        return Err(Error::shape("mean-variance figure: means, and variances", means.len(), variances.len()));
    }
    let genes: Vec<(f64, f64)> = means
        .iter()
        .copied()
        .zip(variances.iter().copied())
        .filter(|(mean, variance)| *mean > 0.0 && *variance > 0.0 && mean.is_finite() && variance.is_finite())
        .collect();
    if genes.is_empty() {
        return Err(Error::data(format!("figure {title:?}: none of {} genes varies", means.len())));
    }
    // Overdispersion 1 / theta is 0 or less for a gene that varies less than a Poisson.
    let mut overdispersion: Vec<f64> = genes.iter().map(|(mean, variance)| (variance - mean) / (mean * mean)).collect();
    overdispersion.sort_by(f64::total_cmp);
    let phi = f64::midpoint(overdispersion[(genes.len() - 1) / 2], overdispersion[genes.len() / 2]);
    let beyond_poisson = overdispersion.iter().filter(|phi| **phi > 0.0).count();

    let mut entries =
        vec![(Sample::Point(BLUE, Mark::Circle), "gene".to_owned()), (Sample::Dashed(GUIDE), "Poisson".to_owned())];
    if phi > 0.0 {
        entries.push((Sample::Line(VERMILLION, Mark::Circle), format!("negative binomial, theta {:.2}", 1.0 / phi)));
    }
    let legend = Legend::new(entries);
    let x = Axis::log10("mean (UMI counts per cell)", genes.iter().map(|gene| gene.0));
    let y = Axis::log10("variance (UMI counts²)", genes.iter().map(|gene| gene.1));
    let frame = Frame::new(x, y, TITLE_HEIGHT + legend.height() + 8.0, MEAN_VARIANCE_HEIGHT);
    let mut canvas = Canvas::new(frame.bottom + frame.below());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
    });
    let kinds = [Kind { color: BLUE, mark: Mark::Circle, r: 6.0, opacity: 0.55 }];
    points::draw(&mut canvas, &frame, &kinds, &genes.iter().map(|&(x, y)| (x, y, 0)).collect::<Vec<_>>())?;
    canvas.draw(|pen| {
        let ((x0, x1), (y0, y1)) = (frame.x.ends(), frame.y.ends());
        let inside = |value: f64| (y0..=y1).contains(&value);
        if x0.max(y0) < x1.min(y1) {
            pen.dashed(frame.at(x0.max(y0), x0.max(y0)), frame.at(x1.min(y1), x1.min(y1)), GUIDE, 4);
        }
        let steps = (0..=CURVE_POINTS).map(|i| x0 * (x1 / x0).powf(i as f64 / CURVE_POINTS as f64));
        let curve: Vec<_> =
            steps.map(|m| (m, m + phi * m * m)).filter(|p| inside(p.1)).map(|(x, y)| frame.at(x, y)).collect();
        if phi > 0.0 {
            pen.path(&curve, VERMILLION, 4);
        }
    });
    let caption = format!(
        "{beyond_poisson} of {} genes ({:.0} %) vary more than a Poisson; the median overdispersion 1/theta is {phi:.2}.",
        genes.len(),
        100.0 * beyond_poisson as f64 / genes.len() as f64
    );
    Ok(Figure::new(title, caption, canvas))
}

/// One row per name with a dot at its value, largest first, stems starting at 0. Of more than 40 names the 20 first and the
/// 20 last are shown. Values that are `None` are counted in the caption. `value_label` carries the unit.
///
/// # Errors
/// No value at all.
pub fn ranked<S: AsRef<str>>(title: &str, value_label: &str, items: &[(S, Option<f64>)]) -> Result<Figure> {
    let mut rows: Vec<(&str, f64)> =
        items.iter().filter_map(|(name, value)| value.filter(|v| v.is_finite()).map(|v| (name.as_ref(), v))).collect();
    if rows.is_empty() {
        return Err(Error::data(format!("figure {title:?}: none of {} names has a value", items.len())));
    }
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let (n, missing) = (rows.len(), items.len() - rows.len());
    let median = f64::midpoint(rows[(n - 1) / 2].1, rows[n / 2].1);
    let left_out = n.saturating_sub(MOST_ROWS);
    let axis = Axis::from_zero(value_label, rows.iter().map(|row| row.1));
    let shown: Vec<Option<(&str, f64)>> = if left_out == 0 {
        rows.iter().copied().map(Some).collect()
    } else {
        let half = MOST_ROWS / 2;
        rows[..half].iter().copied().map(Some).chain([None]).chain(rows[n - half..].iter().copied().map(Some)).collect()
    };

    let names = rows.iter().map(|(name, _)| text_width(name, TICK_SIZE)).fold(0.0, f64::max).min(LONGEST_NAME);
    let (left, right) = (MARGIN + names + 16.0, f64::from(WIDTH) - MARGIN - 110.0);
    let top = TITLE_HEIGHT + 34.0;
    let bottom = top + ROW_HEIGHT * shown.len() as f64 + 8.0;
    let x_title = x_lines(value_label, (left, right));
    let mut canvas = Canvas::new(bottom + 1.7 * TICK_SIZE + 1.6 * LABEL_SIZE + further_lines(&x_title) + MARGIN);
    canvas.draw(|pen| {
        draw_title(pen, title);
        let across = |value: f64| left + axis.place(value) * (right - left);
        for (value, text) in &axis.ticks {
            pen.line((across(*value), top), (across(*value), bottom), FAINT, 1);
            pen.text(text, (across(*value), bottom + TICK_SIZE), Font::new(TICK_SIZE, INK, Anchor::Middle));
        }
        pen.line((left, bottom), (right, bottom), GUIDE, 2);
        pen.line((across(0.0), top), (across(0.0), bottom), GUIDE, 2);
        pen.dashed((across(median), top), (across(median), bottom), GUIDE, 3);
        let spread = range(rows.iter().map(|row| row.1)).map_or(1.0, |(low, high)| high.max(-low));
        let step = if spread >= 100.0 && rows.iter().all(|row| row.1.fract() == 0.0) { 1.0 } else { spread / 100.0 };
        let median_text = format!("median {}", number(median, step));
        pen.text(&median_text, (across(median), top - 16.0), Font::new(TICK_SIZE, GUIDE, Anchor::Middle));
        for (i, row) in shown.iter().enumerate() {
            let y = top + (i as f64 + 0.5) * ROW_HEIGHT + 4.0;
            let Some((name, value)) = row else {
                let text = format!("… {left_out} between …");
                pen.text(&text, (left - 10.0, y), Font::new(TICK_SIZE, GUIDE, Anchor::End));
                continue;
            };
            pen.line((across(0.0), y), (across(*value), y), BLUE, 3);
            pen.mark(Mark::Circle, (across(*value), y), 8.0, BLUE, 1.0);
            let short = shorten(name, TICK_SIZE, LONGEST_NAME);
            pen.text(&short, (left - 10.0, y), Font::new(TICK_SIZE, INK, Anchor::End));
            let end = across(value.max(0.0)) + 16.0;
            let text = number(*value, step);
            let width = text_width(&text, TICK_SIZE);
            pen.rect((end - 2.0, y - 13.0), (end + width, y + 13.0), WHITE, 1.0);
            pen.text(&text, (end, y), Font::new(TICK_SIZE, GUIDE, Anchor::Start));
        }
        let title_at = ((left + right) / 2.0, bottom + 1.7 * TICK_SIZE + LABEL_SIZE);
        draw_lines(pen, &x_title, title_at, Font::new(LABEL_SIZE, INK, Anchor::Middle));
    });
    let mut caption = format!(
        "{value_label}: median {median:.3} over {n}, from {:.3} ({}) to {:.3} ({}).",
        rows[n - 1].1,
        rows[n - 1].0,
        rows[0].1,
        rows[0].0
    );
    if missing > 0 {
        caption += &format!(" Not defined for {missing}.");
    }
    Ok(Figure::new(title, caption, canvas))
}
