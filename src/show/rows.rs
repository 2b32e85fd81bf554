//! Named rows over one value axis: what the figures that compare models or conditions share.

use super::{
    axis::{Axis, MARGIN},
    canvas::{Anchor, Font, Pen},
    style::{FAINT, GUIDE, INK, LABEL_SIZE, TICK_SIZE, WIDTH, shorten, text_width},
};

/// Names longer than this are cut.
pub(super) const LONGEST_NAME: f64 = 330.0;

/// Where rows and values stand.
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
        self.bottom + 1.7 * TICK_SIZE + 1.6 * LABEL_SIZE + MARGIN
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
        // The title may be wider than the axis, but not wider than the figure.
        let room = 2.0 * (at.0 - MARGIN).min(f64::from(WIDTH) - MARGIN - at.0);
        let label = shorten(&self.axis.label, LABEL_SIZE, room);
        pen.text(&label, at, Font::new(LABEL_SIZE, INK, Anchor::Middle));
    }

    /// The name of a row.
    pub(super) fn name(&self, pen: &mut Pen<'_>, row: usize, name: &str, font: Font) {
        let short = shorten(name, font.size, LONGEST_NAME);
        pen.text(&short, (self.left - 10.0, self.y(row)), Font { anchor: Anchor::End, ..font });
    }
}
