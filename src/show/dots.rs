//! Every model on every held-out condition: which conditions are hard, and for whom.

use super::{
    Figure, ModelValues,
    axis::{Axis, TITLE_HEIGHT, draw_title, number, range},
    canvas::{Anchor, Canvas, Font},
    legend::Legend,
    models::{grey_sentence, legend_entries, look, median, words},
    rows::{Rows, names_width},
    style::{FAINT, GUIDE, INK, TICK_SIZE},
};
use crate::{Error, Result, bench::Better};

/// Conditions shown; of more, the first and the last half of this many.
const MOST_ROWS: usize = 80;
/// Rows up to which there is room for the full size of text.
const FEW_ROWS: usize = 20;
const ROW_HEIGHT: f64 = 34.0;
const TIGHT_ROW_HEIGHT: f64 = 27.0;
const TIGHT_TEXT: f64 = 20.0;

/// A row a condition with one mark a model, the hardest first: the one whose median over the models is worst. Models
/// named in `highlight` have a colour and a mark (at most seven), the others are grey. Of more than 80 conditions the 40
/// hardest and the 40 easiest are shown. `value_label` carries the unit.
///
/// # Errors
/// Values that do not fit the conditions in number; no value at all.
pub fn condition_dots<C: AsRef<str>, S: AsRef<str>>(
    title: &str,
    value_label: &str,
    better: Better,
    conditions: &[C],
    models: &[ModelValues],
    highlight: &[S],
) -> Result<Figure> {
    if let Some(model) = models.iter().find(|model| model.values.len() != conditions.len()) {
        let what = format!("condition figure: values of {}, and conditions", model.model);
        return Err(Error::shape(&what, model.values.len(), conditions.len()));
    }
    let values_of = |row: usize| models.iter().filter_map(move |m| m.values[row].filter(|v| v.is_finite()));
    let mut rows: Vec<(usize, f64)> =
        (0..conditions.len()).filter_map(|row| median(values_of(row)).map(|middle| (row, middle))).collect();
    if rows.is_empty() {
        let n = models.len();
        return Err(Error::data(format!("figure {title:?}: none of {n} models has a value of any condition")));
    }
    rows.sort_by(|a, b| match better {
        Better::Lower => b.1.total_cmp(&a.1),
        Better::Higher => a.1.total_cmp(&b.1),
    });
    let (n, left_out) = (rows.len(), rows.len().saturating_sub(MOST_ROWS));
    let half = MOST_ROWS / 2;
    let shown: Vec<Option<usize>> = match left_out {
        0 => rows.iter().map(|row| Some(row.0)).collect(),
        _ => rows[..half]
            .iter()
            .map(Some)
            .chain([None])
            .chain(rows[n - half..].iter().map(Some))
            .map(|row| row.map(|r| r.0))
            .collect(),
    };

    let (row_height, text) = if n <= FEW_ROWS { (ROW_HEIGHT, TICK_SIZE) } else { (TIGHT_ROW_HEIGHT, TIGHT_TEXT) };
    let with_values = models.iter().filter(|model| model.finite().next().is_some());
    let names: Vec<&str> = with_values.map(|model| model.model.as_str()).collect();
    let legend = Legend::new(legend_entries(&names, highlight));
    let axis = Axis::linear(value_label, shown.iter().flatten().flat_map(|&row| values_of(row)));
    let span = Rows::span(names_width(shown.iter().flatten().map(|&row| conditions[row].as_ref())), 10.0);
    let frame = Rows::new(axis, span, TITLE_HEIGHT + legend.height() + 8.0, shown.len(), row_height);
    let mut canvas = Canvas::new(frame.figure_height());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
        for (i, row) in shown.iter().enumerate() {
            let y = frame.y(i);
            let Some(row) = *row else {
                frame.name(pen, i, &format!("… {left_out} between …"), Font::new(text, GUIDE, Anchor::End));
                continue;
            };
            frame.name(pen, i, conditions[row].as_ref(), Font::new(text, INK, Anchor::End));
            // The line leads the eye from the name through its marks.
            pen.line((frame.left, y), (frame.right, y), FAINT, 1);
            let mut marks: Vec<_> = models
                .iter()
                .filter_map(|model| Some((look(&model.model, highlight), model.values[row].filter(|v| v.is_finite())?)))
                .collect();
            marks.sort_by_key(|(look, _)| look.highlighted);
            for (look, value) in marks {
                let (r, opacity) = if look.highlighted { (7.5, 1.0) } else { (6.0, 0.8) };
                pen.mark(look.mark, (frame.across(value), y), r, look.color, opacity);
            }
        }
    });
    let spread = range(rows.iter().map(|row| row.1)).map_or(1.0, |(low, high)| (high - low).max(high.abs() * 0.01));
    let text = |value: f64| number(value, (spread / 100.0).max(1e-6));
    let (hardest, easiest) = (rows[0], rows[n - 1]);
    let caption = match n {
        1 => format!("{value_label}, {}, 1 condition: median over the models {}.", words(better), text(hardest.1)),
        _ => format!(
            "{value_label}, {}, {n} conditions, the hardest first. Median over the models: {} for {}, {} for {}.",
            words(better),
            text(hardest.1),
            conditions[hardest.0].as_ref(),
            text(easiest.1),
            conditions[easiest.0].as_ref()
        ),
    };
    Ok(Figure::new(title, caption + &grey_sentence(&names, highlight), canvas))
}
