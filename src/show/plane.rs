//! Clouds of points in the plane and the paths between them, panels side by side on the same axes.

use super::{
    Figure,
    axis::{Axis, Frame, MARGIN, TITLE_HEIGHT, draw_lines, draw_title, further_lines, range, x_lines, y_lines},
    canvas::{Anchor, Canvas, Font},
    legend::{Legend, Sample},
    points::{self, Kind},
    style::{FAINT, GREY, GUIDE, INK, LABEL_SIZE, TICK_SIZE, WIDTH, nth, shorten},
};
use crate::{Error, Result};
use ndarray::Array2;

/// Panels side by side, at most.
const COLUMNS: usize = 3;
const GAP: f64 = 22.0;
const HEAD: f64 = 58.0;
/// Of the mark of a point.
const RADIUS: f64 = 4.0;
/// The same in panels of few points.
const LARGE_RADIUS: f64 = 7.0;
/// Points of a panel that leave room for larger marks.
const FEW_POINTS: usize = 100;

/// Points and paths of one panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanePanel {
    /// Its heading.
    pub name: String,
    /// Named clouds, `(points, 2)` each, the last on top. A name that stands in several panels keeps its colour and mark.
    pub clouds: Vec<(String, Array2<f32>)>,
    /// Paths, `(places, 2)` each, drawn as lines below the clouds.
    pub paths: Vec<Array2<f32>>,
}

impl PlanePanel {
    /// A panel of clouds.
    pub fn new<S: Into<String>>(name: impl Into<String>, clouds: impl IntoIterator<Item = (S, Array2<f32>)>) -> Self {
        let clouds = clouds.into_iter().map(|(name, points)| (name.into(), points)).collect();
        Self { name: name.into(), clouds, paths: Vec::new() }
    }

    /// The same with paths: places of the same rows at one time after another, `(rows, 2)` each.
    #[must_use]
    pub fn with_paths(mut self, places: &[Array2<f32>]) -> Self {
        let rows = places.first().map_or(0, Array2::nrows);
        let path = |row: usize| Array2::from_shape_fn((places.len(), 2), |(at, axis)| places[at][[row, axis]]);
        self.paths = (0..rows).map(path).collect();
        self
    }
}

/// A panel each, on common axes of one scale, with a legend of the clouds. `axes` are the titles of the two axes.
///
/// # Errors
/// No panel; points that are not `(points, 2)`; no finite point at all.
pub fn plane(title: &str, axes: (&str, &str), panels: &[PlanePanel]) -> Result<Figure> {
    let all = || panels.iter().flat_map(|panel| panel.clouds.iter().map(|(_, points)| points).chain(&panel.paths));
    if let Some(points) = all().find(|points| points.ncols() != 2) {
        return Err(Error::shape(&format!("figure {title:?}: points in the plane"), points.dim(), (points.nrows(), 2)));
    }
    let span = |axis: usize| range(all().flat_map(|points| points.column(axis).mapv(f64::from).to_vec()));
    let (Some(across), Some(up)) = (span(0), span(1)) else {
        return Err(Error::data(format!("figure {title:?}: there is no finite point to draw")));
    };
    // One scale for both axes: the wider of the two, with room for the marks.
    let half = 0.53 * (across.1 - across.0).max(up.1 - up.0).max(f64::MIN_POSITIVE);
    let axis = |(low, high): (f64, f64)| {
        let mut axis = Axis::from_to("", 0.5 * (low + high) - half, 0.5 * (low + high) + half);
        // Panels are small: every other number.
        let first = axis.ticks.len() % 2;
        axis.ticks = axis.ticks.into_iter().skip(1 - first).step_by(2).collect();
        axis
    };
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in panels.iter().flat_map(|panel| &panel.clouds) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let place = |name: &str| names.iter().position(|n| *n == name).unwrap_or(0);
    let points_of = |panel: &PlanePanel| panel.clouds.iter().map(|(_, points)| points.nrows()).sum::<usize>();
    let few = panels.iter().all(|panel| points_of(panel) <= FEW_POINTS);
    let r = if few { LARGE_RADIUS } else { RADIUS };
    let kinds: Vec<Kind> = (0..names.len())
        .map(|i| {
            let (color, mark) = nth(i);
            Kind { color, mark, r, opacity: 0.6 }
        })
        .collect();
    let legend = Legend::new(names.iter().enumerate().map(|(i, name)| {
        let (color, mark) = nth(i);
        (Sample::Point(color, mark), (*name).to_owned())
    }));

    let columns = panels.len().min(COLUMNS);
    let top = TITLE_HEIGHT + legend.height();
    let rows = panels.len().div_ceil(columns);
    let side =
        |left: f64| ((f64::from(WIDTH) - MARGIN - left - GAP * (columns - 1) as f64) / columns as f64).min(640.0);
    let left = MARGIN + 1.5 * LABEL_SIZE + 70.0;
    // Lines that are broken before they push the panels aside: these lose less height than a title may overhang.
    let upward = y_lines(axes.1, rows as f64 * (side(left) + HEAD) - HEAD);
    let left = left + further_lines(&upward);
    let side = side(left);
    let frames: Vec<Frame> = (0..panels.len())
        .map(|i| {
            let x = left + (i % columns) as f64 * (side + GAP);
            let y = top + (i / columns) as f64 * (side + HEAD) + HEAD - 10.0;
            Frame { x: axis(across), y: axis(up), left: x, top: y, right: x + side, bottom: y + side }
        })
        .collect();
    let bottom = top + rows as f64 * (side + HEAD) - 10.0;
    let x_title = x_lines(axes.0, (left, left + columns as f64 * (side + GAP) - GAP));
    let mut canvas = Canvas::new(bottom + 1.7 * TICK_SIZE + 1.6 * LABEL_SIZE + further_lines(&x_title) + MARGIN);
    for (i, (frame, panel)) in frames.iter().zip(panels).enumerate() {
        canvas.draw(|pen| {
            for (value, text) in &frame.x.ticks {
                let x = frame.left + frame.x.place(*value) * side;
                pen.line((x, frame.top), (x, frame.bottom), FAINT, 1);
                if i + columns >= panels.len() {
                    pen.text(text, (x, frame.bottom + TICK_SIZE), Font::new(TICK_SIZE, INK, Anchor::Middle));
                }
            }
            for (value, text) in &frame.y.ticks {
                let y = frame.bottom - frame.y.place(*value) * side;
                pen.line((frame.left, y), (frame.right, y), FAINT, 1);
                if i % columns == 0 {
                    pen.text(text, (frame.left - 10.0, y), Font::new(TICK_SIZE, INK, Anchor::End));
                }
            }
            let corners = [(frame.left, frame.top), (frame.right, frame.top), (frame.right, frame.bottom)];
            pen.path(&[corners[0], corners[1], corners[2], (frame.left, frame.bottom), corners[0]], GUIDE, 1);
            for path in &panel.paths {
                let places: Vec<(f64, f64)> =
                    path.rows().into_iter().map(|row| frame.at(f64::from(row[0]), f64::from(row[1]))).collect();
                if places.iter().all(|(x, y)| x.is_finite() && y.is_finite()) {
                    pen.path(&places, GREY, 2);
                }
            }
            let font = Font { bold: true, ..Font::new(TICK_SIZE, INK, Anchor::Start) };
            pen.text(&shorten(&panel.name, 1.1 * TICK_SIZE, side), (frame.left, frame.top - 18.0), font);
        });
        let marks: Vec<(f64, f64, usize)> = panel
            .clouds
            .iter()
            .flat_map(|(name, points)| {
                let kind = place(name);
                points.rows().into_iter().map(move |row| (f64::from(row[0]), f64::from(row[1]), kind))
            })
            .collect();
        points::draw(&mut canvas, frame, &kinds, &marks)?;
    }
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        let middle = (left + (columns as f64 * (side + GAP) - GAP) / 2.0, (top + bottom) / 2.0);
        let font = Font::new(LABEL_SIZE, INK, Anchor::Middle);
        draw_lines(pen, &x_title, (middle.0, bottom + 1.7 * TICK_SIZE + 0.6 * LABEL_SIZE), font);
        draw_lines(pen, &upward, (MARGIN + 0.6 * LABEL_SIZE, middle.1), Font { upward: true, ..font });
    });
    let points: usize = panels.iter().flat_map(|panel| &panel.clouds).map(|(_, points)| points.nrows()).sum();
    let paths: usize = panels.iter().map(|panel| panel.paths.len()).sum();
    Ok(Figure::new(title, format!("{points} points, {paths} paths, all panels on the same axes."), canvas))
}
