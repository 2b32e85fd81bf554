//! A function of two numbers as colours over a square of the plane, panels side by side: densities, and the arrows of a field.

use super::{
    Figure,
    axis::{Axis, Frame, MARGIN, TITLE_HEIGHT, draw_title, number, range},
    canvas::{Anchor, Canvas, Font},
    heatmap::{LEVELS, color},
    points::encode,
    style::{FAINT, GUIDE, INK, LABEL_SIZE, TICK_SIZE, WIDTH, shorten},
};
use crate::{Error, Result};
use ndarray::Array2;

/// Panels side by side, at most.
const COLUMNS: usize = 3;
const GAP: f64 = 22.0;
const HEAD: f64 = 58.0;
/// Size of the scale of colours.
const SCALE: (f64, f64) = (260.0, 22.0);
/// Length of the two strokes of an arrow's head, as a part of the arrow.
const ARROW_HEAD: f64 = 0.35;

/// The values of one panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MapPanel {
    /// Its heading.
    pub name: String,
    /// Values in the middles of equal squares, `(upward, across)`: the first row is the lowest. A value that is not finite is
    /// left white.
    pub values: Array2<f64>,
    /// Arrows over the colours, `(arrows, 4)`: across and up of the tail, then of the tip.
    pub arrows: Array2<f64>,
}

impl MapPanel {
    /// A panel without arrows.
    pub fn new(name: impl Into<String>, values: Array2<f64>) -> Self {
        Self { name: name.into(), values, arrows: Array2::zeros((0, 4)) }
    }

    /// The same with the vectors `(rows, 2)` as arrows from the points `(rows, 2)`, `scale` times as long as they are.
    #[must_use]
    pub fn with_arrows(mut self, points: &Array2<f64>, vectors: &Array2<f64>, scale: f64) -> Self {
        self.arrows = Array2::from_shape_fn((points.nrows().min(vectors.nrows()), 4), |(row, column)| {
            let start = points[[row, column % 2]];
            if column < 2 { start } else { start + scale * vectors[[row, column % 2]] }
        });
        self
    }
}

/// The middles of the `side` x `side` equal squares of a square region, `(side^2, 2)`, in the order in which a panel's values lie:
/// from the lowest row up, each from left to right.
pub fn map_grid(low: f64, high: f64, side: usize) -> Array2<f64> {
    let middle = |i: usize| low + (high - low) * (i as f64 + 0.5) / side as f64;
    Array2::from_shape_fn((side * side, 2), |(i, axis)| middle(if axis == 0 { i % side } else { i / side }))
}

/// A panel each, over the square from `low` to `high` on both axes, in one scale of colours from the least value to the greatest.
/// `axes` are the titles of the two axes, `what` says what is shown, with its unit.
///
/// # Errors
/// No panel, or one without values; a region of no width; no finite value at all.
pub fn maps(
    title: &str,
    axes: (&str, &str),
    (low, high): (f64, f64),
    what: &str,
    panels: &[MapPanel],
) -> Result<Figure> {
    let fail = |message: &str| Err(Error::data(format!("figure {title:?}: {message}")));
    if !(low < high && low.is_finite() && high.is_finite()) {
        return fail(&format!("the region from {low} to {high} has no width"));
    }
    if panels.iter().any(|panel| panel.values.is_empty()) {
        return fail("a panel has no values");
    }
    let Some((least, greatest)) = range(panels.iter().flat_map(|panel| panel.values.iter().copied())) else {
        return fail("there is no finite value to draw");
    };

    let columns = panels.len().min(COLUMNS);
    let left = MARGIN + 1.5 * LABEL_SIZE + 70.0;
    let side = ((f64::from(WIDTH) - MARGIN - left - GAP * (columns - 1) as f64) / columns as f64).min(560.0);
    let rows = panels.len().div_ceil(columns);
    let top = TITLE_HEIGHT + 2.0 * TICK_SIZE;
    let axis = || {
        let mut axis = Axis::from_to("", low, high);
        // Panels are small: every other number.
        axis.ticks = axis.ticks.into_iter().skip(1).step_by(2).collect();
        axis
    };
    let frames: Vec<Frame> = (0..panels.len())
        .map(|i| {
            let x = left + (i % columns) as f64 * (side + GAP);
            let y = top + (i / columns) as f64 * (side + HEAD) + HEAD - 10.0;
            Frame { x: axis(), y: axis(), left: x, top: y, right: x + side, bottom: y + side }
        })
        .collect();
    let bottom = top + rows as f64 * (side + HEAD) - 10.0;
    let mut canvas = Canvas::new(bottom + 1.7 * TICK_SIZE + 1.6 * LABEL_SIZE + MARGIN);
    let level = |value: f64| {
        let share = if greatest > least { (value - least) / (greatest - least) } else { 0.0 };
        if value.is_finite() { 1 + (share * (LEVELS - 1) as f64).round() as u8 } else { 0 }
    };
    for (frame, panel) in frames.iter().zip(panels) {
        let (up, across) = panel.values.dim();
        // A picture's first row is the highest.
        let pixels: Vec<u8> = (0..up).rev().flat_map(|row| panel.values.row(row).mapv(level).to_vec()).collect();
        picture(&mut canvas, &pixels, (across, up), (frame.left, frame.top, side, side))?;
    }
    let strip: Vec<u8> = (1..=LEVELS as u8).collect();
    picture(&mut canvas, &strip, (LEVELS, 1), (left, TITLE_HEIGHT, SCALE.0, SCALE.1))?;
    canvas.draw(|pen| {
        draw_title(pen, title);
        let step = (greatest - least) / 100.0;
        let text = format!("{} to {}: {what}", number(least, step), number(greatest, step));
        let place = (left + SCALE.0 + 14.0, TITLE_HEIGHT + 0.5 * SCALE.1);
        let text = shorten(&text, TICK_SIZE, f64::from(WIDTH) - MARGIN - place.0);
        pen.text(&text, place, Font::new(TICK_SIZE, INK, Anchor::Start));
        for (i, (frame, panel)) in frames.iter().zip(panels).enumerate() {
            for (value, text) in &frame.x.ticks {
                let x = frame.at(*value, low).0;
                pen.line((x, frame.bottom), (x, frame.bottom + 6.0), GUIDE, 1);
                if i + columns >= panels.len() {
                    pen.text(text, (x, frame.bottom + TICK_SIZE), Font::new(TICK_SIZE, INK, Anchor::Middle));
                }
            }
            for (value, text) in &frame.y.ticks {
                let y = frame.at(low, *value).1;
                pen.line((frame.left - 6.0, y), (frame.left, y), GUIDE, 1);
                if i % columns == 0 {
                    pen.text(text, (frame.left - 10.0, y), Font::new(TICK_SIZE, INK, Anchor::End));
                }
            }
            let corners = [(frame.left, frame.top), (frame.right, frame.top), (frame.right, frame.bottom)];
            pen.path(&[corners[0], corners[1], corners[2], (frame.left, frame.bottom), corners[0]], GUIDE, 1);
            for arrow in panel.arrows.rows() {
                let (tail, tip) = (frame.at(arrow[0], arrow[1]), frame.at(arrow[2], arrow[3]));
                if [tail.0, tail.1, tip.0, tip.1].iter().all(|v| v.is_finite()) {
                    let (x, y) = (ARROW_HEAD * (tail.0 - tip.0), ARROW_HEAD * (tail.1 - tip.1));
                    // The head's strokes are the shaft turned by 30 degrees to either side; white below keeps it visible.
                    let stroke = |sin: f64| (tip.0 + 0.87 * x - sin * y, tip.1 + sin * x + 0.87 * y);
                    for (color, width) in [(FAINT, 4), (INK, 2)] {
                        pen.path(&[tail, tip], color, width);
                        pen.path(&[stroke(0.5), tip, stroke(-0.5)], color, width);
                    }
                }
            }
            let font = Font { bold: true, ..Font::new(TICK_SIZE, INK, Anchor::Start) };
            pen.text(&shorten(&panel.name, 1.1 * TICK_SIZE, side), (frame.left, frame.top - 18.0), font);
        }
        let middle = (left + (columns as f64 * (side + GAP) - GAP) / 2.0, (top + bottom) / 2.0);
        let font = Font::new(LABEL_SIZE, INK, Anchor::Middle);
        pen.text(axes.0, (middle.0, bottom + 1.7 * TICK_SIZE + 0.6 * LABEL_SIZE), font);
        let upward = shorten(axes.1, LABEL_SIZE, bottom - top);
        pen.text(&upward, (MARGIN + 0.6 * LABEL_SIZE, middle.1), Font { upward: true, ..font });
    });
    let step = (greatest - least) / 100.0;
    let ends = (number(least, step), number(greatest, step));
    Ok(Figure::new(title, format!("{what}, {} to {}, in one scale over all panels.", ends.0, ends.1), canvas))
}

/// Squares of colour levels; level 0 is transparent.
fn picture(canvas: &mut Canvas, pixels: &[u8], size: (usize, usize), area: (f64, f64, f64, f64)) -> Result<()> {
    let palette = (0..=LEVELS).map(|l| color(l, false)).flat_map(|c| [c.0, c.1, c.2]).collect();
    let alpha = (0..=LEVELS).map(|l| if l == 0 { 0 } else { 255 }).collect();
    let png = encode(pixels, size, palette, Some(alpha))?;
    canvas.elements += "\n<g style=\"image-rendering:pixelated\">";
    canvas.image(&png, area);
    canvas.elements += "</g>";
    Ok(())
}
