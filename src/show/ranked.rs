//! One number a name, sorted: Pearson a perturbation, cells a perturbation.

use super::{
    Figure,
    axis::{Axis, MARGIN, TITLE_HEIGHT, draw_title, number, range},
    canvas::{Anchor, Canvas, Font},
    style::{BLUE, FAINT, GUIDE, INK, LABEL_SIZE, Mark, TICK_SIZE, WHITE, WIDTH, shorten, text_width},
};
use crate::{Error, Result};

const ROW_HEIGHT: f64 = 33.0;
/// Rows shown; of more names, the first and the last half of this many.
const MOST_ROWS: usize = 40;
const LONGEST_NAME: f64 = 330.0;

/// A row a name with a dot at its value, largest first, stems starting at 0. Of more than 40 names the 20 first and the
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
    let mut canvas = Canvas::new(bottom + 1.7 * TICK_SIZE + 1.6 * LABEL_SIZE + MARGIN);
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
        pen.text(value_label, title_at, Font::new(LABEL_SIZE, INK, Anchor::Middle));
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
