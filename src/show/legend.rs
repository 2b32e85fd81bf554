//! Names of what is drawn: a legend above the frame, so that it never covers data, and labels at points.

use super::{
    axis::MARGIN,
    canvas::{Anchor, Font, Pen},
    style::{INK, Mark, TICK_SIZE, WHITE, WIDTH, shorten, text_width},
};
use plotters::style::RGBColor;

const ROW_HEIGHT: f64 = 36.0;
const MARK_WIDTH: f64 = 34.0;
const GAP: f64 = 26.0;
/// Names longer than a whole row are cut.
const LONGEST: f64 = WIDTH as f64 - 2.0 * MARGIN - MARK_WIDTH;

/// The sample before a name in the legend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sample {
    Point(RGBColor, Mark),
    /// A line with its mark on it.
    Line(RGBColor, Mark),
    Dashed(RGBColor),
}

/// Entries laid out in rows over the width of the figure.
pub(super) struct Legend(Vec<(f64, f64, Sample, String)>);

impl Legend {
    pub(super) fn new(entries: impl IntoIterator<Item = (Sample, String)>) -> Self {
        let (mut x, mut row) = (MARGIN, 0.0);
        let mut placed = Vec::new();
        for (sample, name) in entries {
            let name = shorten(&name, TICK_SIZE, LONGEST);
            let width = MARK_WIDTH + text_width(&name, TICK_SIZE) + GAP;
            if x > MARGIN && x + width > f64::from(WIDTH) {
                (x, row) = (MARGIN, row + 1.0);
            }
            placed.push((x, row, sample, name));
            x += width;
        }
        Self(placed)
    }

    pub(super) fn height(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, row, _, _)| (row + 1.0) * ROW_HEIGHT + 8.0)
    }

    pub(super) fn draw(&self, pen: &mut Pen<'_>, top: f64) {
        for (x, row, sample, name) in &self.0 {
            let y = top + (row + 0.5) * ROW_HEIGHT;
            let middle = (x + MARK_WIDTH / 2.0 - 4.0, y);
            match *sample {
                Sample::Point(color, mark) => pen.mark(mark, middle, 9.0, color, 1.0),
                Sample::Line(color, mark) => {
                    pen.line((*x, y), (x + MARK_WIDTH - 8.0, y), color, 4);
                    pen.mark(mark, middle, 7.0, color, 1.0);
                }
                Sample::Dashed(color) => pen.dashed((*x - 8.0, y), (x + MARK_WIDTH - 10.0, y), color, 3),
            }
            pen.text(name, (x + MARK_WIDTH, y), Font::new(TICK_SIZE, INK, Anchor::Start));
        }
    }
}

/// Labels beside points, none over another and none outside; one that finds no room is left out.
pub(super) struct Labels {
    /// Left, top, right, bottom of where labels may stand.
    bounds: (f64, f64, f64, f64),
    taken: Vec<(f64, f64, f64, f64)>,
}

impl Labels {
    pub(super) fn within(bounds: (f64, f64, f64, f64)) -> Self {
        Self { bounds, taken: Vec::new() }
    }

    /// Keeps labels off the square of half-width `r` around a point.
    pub(super) fn keep_free(&mut self, (x, y): (f64, f64), r: f64) {
        self.taken.push((x - r, y - r, x + r, y + r));
    }

    /// Writes `text` near `at`, at least `away` units off it; false where there is no room.
    pub(super) fn write(&mut self, pen: &mut Pen<'_>, text: &str, at: (f64, f64), away: f64, font: Font) -> bool {
        let (width, height) = (text_width(text, font.size), 1.1 * font.size);
        let (w, h) = (width / 2.0, height / 2.0);
        let sides = [(0.0, 0.0), (w, 0.0), (-w, 0.0), (0.0, -h), (0.0, h), (w, -h), (w, h), (-w, -h), (-w, h)];
        let skip_centre = usize::from(away > 0.0);
        for ring in 1..=3 {
            for (dx, dy) in &sides[skip_centre..] {
                let reach = away * f64::from(ring);
                let middle = (
                    at.0 + dx + reach * f64::from((*dx != 0.0) as u8) * dx.signum(),
                    at.1 + dy + reach * f64::from((*dy != 0.0) as u8) * dy.signum(),
                );
                let place = (middle.0 - w, middle.1 - h, middle.0 + w, middle.1 + h);
                let (left, top, right, bottom) = self.bounds;
                let inside = place.0 >= left && place.1 >= top && place.2 <= right && place.3 <= bottom;
                let free = self.taken.iter().all(|t| place.2 < t.0 || t.2 < place.0 || place.3 < t.1 || t.3 < place.1);
                if inside && free {
                    if ring > 1 {
                        pen.line(at, (at.0 + (middle.0 - at.0) * 0.6, at.1 + (middle.1 - at.1) * 0.6), font.color, 1);
                    }
                    pen.rect((place.0 - 2.0, place.1 + 2.0), (place.2 + 2.0, place.3 - 2.0), WHITE, 0.72);
                    pen.text(text, middle, Font { anchor: Anchor::Middle, ..font });
                    self.taken.push(place);
                    return true;
                }
            }
        }
        false
    }
}
