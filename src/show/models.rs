//! Many models in one figure: a few stand out in colour, the others stay grey; and named rows over one value axis.
//!
//! Seven colours are what the eye tells apart, and a benchmark has fifteen models. So a figure gets the names that matter
//! (the best, additive, no change, the noise ceiling, a user's own); these get a colour and a mark, always the same in all
//! figures of one report. The others are grey, and their names stand beside their data or in the caption.

use super::{
    axis::{Axis, MARGIN, draw_lines, further_lines, x_lines},
    canvas::{Anchor, Font, Pen},
    legend::Sample,
    style::{FAINT, GREY, GUIDE, INK, LABEL_SIZE, Mark, TICK_SIZE, WIDTH, nth, shorten, text_width},
};
use crate::bench::Better;
use plotters::style::RGBColor;

/// Names longer than this are cut.
pub(super) const LONGEST_NAME: f64 = 330.0;

/// The values of a model: one per condition (or group, or gene), in the order of the names given beside it. `None` where
/// there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelValues {
    /// Name of the model.
    pub model: String,
    /// Its values.
    pub values: Vec<Option<f64>>,
}

impl ModelValues {
    /// The values of a model.
    pub fn new(model: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        Self { model: model.into(), values }
    }

    /// The finite values.
    pub(super) fn finite(&self) -> impl Iterator<Item = f64> {
        self.values.iter().filter_map(|value| value.filter(|v| v.is_finite()))
    }
}

/// How a model is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) color: RGBColor,
    pub(super) mark: Mark,
    pub(super) highlighted: bool,
}

/// The look of a model, by its place among the names that stand out.
pub(super) fn look<S: AsRef<str>>(model: &str, highlight: &[S]) -> Look {
    match highlight.iter().position(|name| name.as_ref() == model) {
        Some(i) => {
            let (color, mark) = nth(i);
            Look { color, mark, highlighted: true }
        }
        None => Look { color: GREY, mark: Mark::Circle, highlighted: false },
    }
}

/// Legend entries: those that stand out in the order of `highlight`, then one for all others.
pub(super) fn legend_entries<S: AsRef<str>>(models: &[&str], highlight: &[S]) -> Vec<(Sample, String)> {
    let mut entries: Vec<(Sample, String)> = highlight
        .iter()
        .map(AsRef::as_ref)
        .filter(|name| models.contains(name))
        .map(|name| {
            let look = look(name, highlight);
            (Sample::Point(look.color, look.mark), name.to_owned())
        })
        .collect();
    let others = others(models, highlight);
    match others.as_slice() {
        [] => {}
        [one] => entries.push((Sample::Point(GREY, Mark::Circle), (*one).to_owned())),
        more => entries.push((Sample::Point(GREY, Mark::Circle), format!("{} other models", more.len()))),
    }
    entries
}

/// The models that do not stand out.
pub(super) fn others<'a, S: AsRef<str>>(models: &[&'a str], highlight: &[S]) -> Vec<&'a str> {
    models.iter().copied().filter(|model| highlight.iter().all(|name| name.as_ref() != *model)).collect()
}

/// The sentence that names the grey ones; empty where there is none.
pub(super) fn grey_sentence<S: AsRef<str>>(models: &[&str], highlight: &[S]) -> String {
    let others = others(models, highlight);
    if others.is_empty() { String::new() } else { format!(" Grey: {}.", others.join(", ")) }
}

/// Median; `None` of nothing.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(&sorted(values), 0.5)
}

/// In ascending order.
pub(super) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Quantile of sorted values, linear between neighbours (R's type 7); `None` of nothing.
pub(super) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = q * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below + (at - at.floor()) * (above - below))
}

/// For a caption.
pub(super) fn words(better: Better) -> &'static str {
    match better {
        Better::Lower => "lower is better",
        Better::Higher => "higher is better",
    }
}

/// Whether `a` is better than `b`.
pub(super) fn is_better(better: Better, a: f64, b: f64) -> bool {
    match better {
        Better::Lower => a < b,
        Better::Higher => a > b,
    }
}

/// The places of rows and values.
pub(super) struct Rows {
    pub(super) axis: Axis,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    row_height: f64,
}

/// Width that the names take.
pub(super) fn names_width<'a>(names: impl IntoIterator<Item = &'a str>) -> f64 {
    names.into_iter().map(|name| text_width(name, TICK_SIZE)).fold(0.0, f64::max).min(LONGEST_NAME)
}

impl Rows {
    /// `n` rows of `row_height`, beginning `top` units down, between `left` and `right`.
    pub(super) fn new(axis: Axis, (left, right): (f64, f64), top: f64, n: usize, row_height: f64) -> Self {
        Self { axis, left, right, top, bottom: top + row_height * n as f64 + 8.0, row_height }
    }

    /// Left and right end beside names of this width, with `room` units at the right for text.
    pub(super) fn span(names: f64, room: f64) -> (f64, f64) {
        (MARGIN + names + 16.0, f64::from(WIDTH) - MARGIN - room)
    }

    /// Place of a value; one beyond the axis stands at its end.
    pub(super) fn across(&self, value: f64) -> f64 {
        self.left + self.axis.place(value).clamp(0.0, 1.0) * (self.right - self.left)
    }

    /// Height of the middle of a row.
    pub(super) fn y(&self, row: usize) -> f64 {
        self.top + (row as f64 + 0.5) * self.row_height + 4.0
    }

    /// Height of the whole figure, with the ticks and the title of the axis below the rows.
    pub(super) fn figure_height(&self) -> f64 {
        self.bottom + 1.7 * TICK_SIZE + 1.6 * LABEL_SIZE + further_lines(&self.title()) + MARGIN
    }

    /// Grid lines, ticks, the axis and its title.
    pub(super) fn draw(&self, pen: &mut Pen<'_>) {
        for (value, text) in &self.axis.ticks {
            let x = self.across(*value);
            pen.line((x, self.top), (x, self.bottom), FAINT, 1);
            pen.text(text, (x, self.bottom + TICK_SIZE), Font::new(TICK_SIZE, INK, Anchor::Middle));
        }
        pen.line((self.left, self.bottom), (self.right, self.bottom), GUIDE, 2);
        let at = ((self.left + self.right) / 2.0, self.bottom + 1.7 * TICK_SIZE + LABEL_SIZE);
        draw_lines(pen, &self.title(), at, Font::new(LABEL_SIZE, INK, Anchor::Middle));
    }

    fn title(&self) -> Vec<String> {
        x_lines(&self.axis.label, (self.left, self.right))
    }

    /// The name of a row.
    pub(super) fn name(&self, pen: &mut Pen<'_>, row: usize, name: &str, font: Font) {
        let short = shorten(name, font.size, LONGEST_NAME);
        pen.text(&short, (self.left - 10.0, self.y(row)), Font { anchor: Anchor::End, ..font });
    }
}
