//! Axes: from values to places, ticks at round numbers, and the frame that two axes span.

use super::{
    canvas::{Anchor, Font, Pen},
    style::{FAINT, GUIDE, INK, LABEL_SIZE, TICK_SIZE, TITLE_SIZE, WIDTH, shorten, text_width, wrap},
};

/// Ticks aimed at on an axis.
const TICKS: f64 = 6.5;
/// Empty share of an axis beyond the first and the last value.
const PADDING: f64 = 0.04;
/// Free units around a figure.
pub(super) const MARGIN: f64 = 18.0;
/// Height of the title's line.
pub(super) const TITLE_HEIGHT: f64 = 62.0;
/// Distance between the lines of an axis title, as a multiple of its size.
const LINE: f64 = 1.15;
/// Lines of an x title, and of a y title, at most.
const MOST_LINES: (usize, usize) = (2, 3);
/// Units by which a y title may be longer than its axis, half of them at either end.
const OVERHANG: f64 = 16.0;

/// One axis: its title with the unit, its range, its ticks.
#[derive(Debug, Clone)]
pub struct Axis {
    pub(super) label: String,
    pub low: f64,
    pub high: f64,
    log: bool,
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Covers the finite ones of `values`, with some room; 0 to 1 where there are none.
    pub fn linear(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 1.0));
        let room = if high > low { PADDING * (high - low) } else { 0.5 * high.abs().max(1.0) };
        Self::from_to(label, low - room, high + room)
    }

    /// The same from 0 upward (counts), with room at the far end only.
    pub fn from_zero(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 1.0));
        let (low, high) = (low.min(0.0), high.max(0.0));
        let room = if high > low { PADDING * (high - low) } else { 1.0 };
        Self::from_to(label, if low < 0.0 { low - room } else { 0.0 }, high + room)
    }

    /// Exactly this range.
    pub fn from_to(label: &str, low: f64, high: f64) -> Self {
        let step = round_step((high - low) / TICKS);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|i| i as f64 * step).map(|v| (v, number(v, step))).collect();
        Self { label: label.to_owned(), low, high, log: false, ticks }
    }

    /// A logarithmic axis over the positive ones of `values`.
    pub fn log10(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let logs = values.into_iter().filter(|v| *v > 0.0).map(f64::log10);
        let (low, high) = range(logs).unwrap_or((0.0, 1.0));
        let room = PADDING * (high - low).max(1.0);
        let (low, high) = (low - room, high + room);
        let decades = (low.ceil() as i32)..=(high.floor() as i32);
        let every = (decades.clone().count() as f64 / (TICKS + 2.0)).ceil().max(1.0) as usize;
        let mut ticks: Vec<(f64, String)> =
            decades.step_by(every).map(|e| 10_f64.powi(e)).map(|v| (v, number(v, v))).collect();
        if ticks.len() < 3 {
            let near = (low.floor() as i32)..=(high.ceil() as i32);
            ticks = near
                .flat_map(|e| [1.0, 2.0, 3.0, 5.0, 7.0].map(|m| m * 10_f64.powi(e)))
                .filter(|v| (low..=high).contains(&v.log10()))
                .map(|v| (v, number(v, v)))
                .collect();
        }
        Self { label: label.to_owned(), low, high, log: true, ticks }
    }

    /// No ticks: for coordinates without a meaning of their own.
    pub(super) fn without_ticks(mut self) -> Self {
        self.ticks.clear();
        self
    }

    /// Place of a value along the axis, 0 to 1 inside it.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }

    /// First and last value.
    pub(super) fn ends(&self) -> (f64, f64) {
        if self.log { (10_f64.powf(self.low), 10_f64.powf(self.high)) } else { (self.low, self.high) }
    }
}

/// Smallest and largest finite value.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((f64::min(low, v), f64::max(high, v))),
    })
}

/// The nearest of 1, 2, 5 times a power of ten that is not below `raw`.
fn round_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| *step >= raw * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// A number with the decimals that steps of `step` need, thousands set apart by commas.
pub(super) fn number(value: f64, step: f64) -> String {
    let largest = value.abs().max(step.abs());
    if largest >= 1e7 || (largest > 0.0 && step.abs() < 1e-4) {
        return format!("{value:.0e}");
    }
    let decimals = (-step.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let zero = text.chars().all(|c| matches!(c, '0' | '.'));
    format!("{}{grouped}{fraction}", if value < 0.0 && !zero { "−" } else { "" })
}

/// The rectangle that two axes span.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Frame {
    /// A frame over the whole width, `top` units down and `height` high, with room for the ticks and titles of the axes.
    pub(super) fn new(x: Axis, y: Axis, top: f64, height: f64) -> Self {
        let widest = y.ticks.iter().map(|(_, text)| text_width(text, TICK_SIZE)).fold(0.0, f64::max);
        let y_title = y_lines(&y.label, height);
        let left = MARGIN + 1.5 * LABEL_SIZE + further_lines(&y_title) + widest + 14.0;
        let last_tick = x.ticks.last().map_or(0.0, |(_, text)| text_width(text, TICK_SIZE) / 2.0);
        Self { x, y, left, top, right: f64::from(WIDTH) - MARGIN - last_tick.max(10.0), bottom: top + height }
    }

    /// The same frame, `top` units down.
    pub(super) fn moved_to(self, top: f64) -> Self {
        Self { top, bottom: top + self.bottom - self.top, ..self }
    }

    /// Height that the ticks and the title of the x axis take below a frame.
    pub(super) fn below(&self) -> f64 {
        let ticks = if self.x.ticks.is_empty() { 8.0 } else { 1.7 * TICK_SIZE };
        let title = if self.x.label.is_empty() { 0.0 } else { 1.6 * LABEL_SIZE + further_lines(&self.x_title()) };
        ticks + title + MARGIN
    }

    fn x_title(&self) -> Vec<String> {
        x_lines(&self.x.label, (self.left, self.right))
    }

    /// The place of the point on the canvas.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let across = self.left + self.x.place(x) * (self.right - self.left);
        (across, self.bottom - self.y.place(y) * (self.bottom - self.top))
    }

    /// Grid lines, ticks, axis lines and axis titles.
    pub(super) fn draw(&self, pen: &mut Pen<'_>) {
        let tick = |anchor| Font::new(TICK_SIZE, INK, anchor);
        for (value, text) in &self.x.ticks {
            let x = self.left + self.x.place(*value) * (self.right - self.left);
            pen.line((x, self.top), (x, self.bottom), FAINT, 1);
            pen.line((x, self.bottom), (x, self.bottom + 7.0), GUIDE, 2);
            pen.text(text, (x, self.bottom + 1.0 * TICK_SIZE), tick(Anchor::Middle));
        }
        for (value, text) in &self.y.ticks {
            let y = self.bottom - self.y.place(*value) * (self.bottom - self.top);
            pen.line((self.left, y), (self.right, y), FAINT, 1);
            pen.text(text, (self.left - 12.0, y), tick(Anchor::End));
        }
        pen.line((self.left, self.bottom), (self.right, self.bottom), GUIDE, 2);
        pen.line((self.left, self.top), (self.left, self.bottom), GUIDE, 2);
        let middle = ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0);
        let title = Font::new(LABEL_SIZE, INK, Anchor::Middle);
        let x_title = self.x_title();
        let last = self.bottom + self.below() - MARGIN - 0.6 * LABEL_SIZE;
        draw_lines(pen, &x_title, (middle.0, last - further_lines(&x_title)), title);
        let y_title = y_lines(&self.y.label, self.bottom - self.top);
        draw_lines(pen, &y_title, (MARGIN + 0.6 * LABEL_SIZE, middle.1), Font { upward: true, ..title });
    }
}

/// The lines of the title of an x axis from `left` to `right`: it may be wider than the axis, but not than the figure.
pub(super) fn x_lines(label: &str, (left, right): (f64, f64)) -> Vec<String> {
    let middle = f64::midpoint(left, right);
    let room = 2.0 * (middle - MARGIN).min(f64::from(WIDTH) - MARGIN - middle);
    wrap(label, LABEL_SIZE, room, MOST_LINES.0)
}

/// The lines of the title of a y axis of this height.
pub(super) fn y_lines(label: &str, height: f64) -> Vec<String> {
    wrap(label, LABEL_SIZE, height + OVERHANG, MOST_LINES.1)
}

/// What the lines after the first take of the room across the text.
pub(super) fn further_lines(lines: &[String]) -> f64 {
    LINE * LABEL_SIZE * lines.len().saturating_sub(1) as f64
}

/// The lines of a title: one below another, or beside it where the text runs upward. `first` is the place of the first.
pub(super) fn draw_lines(pen: &mut Pen<'_>, lines: &[String], first: (f64, f64), font: Font) {
    for (i, line) in lines.iter().enumerate() {
        let away = LINE * LABEL_SIZE * i as f64;
        pen.text(line, if font.upward { (first.0 + away, first.1) } else { (first.0, first.1 + away) }, font);
    }
}

/// The figure's title, at the top left.
pub(super) fn draw_title(pen: &mut Pen<'_>, title: &str) {
    let font = Font { bold: true, ..Font::new(TITLE_SIZE, INK, Anchor::Start) };
    // Bold text is about a tenth wider.
    let short = shorten(title, 1.1 * TITLE_SIZE, f64::from(WIDTH) - 2.0 * MARGIN);
    pen.text(&short, (MARGIN, 0.5 * TITLE_HEIGHT), font);
}
