//! Cells in two dimensions, coloured by category.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title, number},
    canvas::{Anchor, Canvas, Font},
    legend::{Labels, Legend, Sample},
    points::{self, Kind},
    style::{GREY, INK, Mark, TICK_SIZE, nth},
};
use crate::{Error, Result};
use ndarray::ArrayView2;

/// Categories with a colour of their own; more cannot be told apart.
const COLOURED: usize = 7;
const HEIGHT: f64 = 720.0;

/// What the axes of an embedding are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingAxes<'a> {
    /// Coordinates that mean something, such as principal components: ticks are drawn.
    Measured(&'a str, &'a str),
    /// Coordinates that mean nothing, such as UMAP's: no ticks.
    Arbitrary(&'a str, &'a str),
}

/// A scatter of `points` `(cells, 2)`, coloured by `categories` (one per cell). The seven largest get colours and marks,
/// `control` is black, all others are grey. Names stand at the middle (median) of their cells where there is room.
///
/// # Errors
/// Points that are not `(cells, 2)`, categories of another length, no finite point.
pub fn embedding<S: AsRef<str>>(
    title: &str,
    axes: EmbeddingAxes<'_>,
    points: ArrayView2<'_, f32>,
    categories: &[S],
    control: Option<&str>,
) -> Result<Figure> {
    if points.ncols() != 2 || points.nrows() != categories.len() {
        return Err(Error::shape("embedding figure: points, and categories", points.dim(), categories.len()));
    }
    let xy: Vec<(f64, f64)> = points.rows().into_iter().map(|row| (f64::from(row[0]), f64::from(row[1]))).collect();
    let is_finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
    if !xy.iter().any(is_finite) {
        return Err(Error::data(format!("figure {title:?}: there is no cell with finite coordinates")));
    }

    // Largest categories first; among equals by name.
    let mut sizes: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    categories.iter().for_each(|name| *sizes.entry(name.as_ref()).or_default() += 1);
    let control_size = control.and_then(|name| sizes.remove(name));
    let mut by_size: Vec<(&str, usize)> = sizes.into_iter().collect();
    by_size.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let (coloured, others) = by_size.split_at(by_size.len().min(COLOURED));
    let n_others: usize = others.iter().map(|(_, size)| size).sum();

    // Kinds: 0 the others, 1 control, then the coloured ones.
    let r = if xy.len() > 5_000 {
        3.6
    } else if xy.len() > 1_000 {
        5.0
    } else {
        7.0
    };
    let kind = |color, mark| Kind { color, mark, r, opacity: 0.85 };
    let mut kinds = vec![kind(GREY, Mark::Circle), kind(INK, Mark::Circle)];
    kinds.extend((0..coloured.len()).map(nth).map(|(color, mark)| kind(color, mark)));
    let kind_of = |name: &str| match coloured.iter().position(|(coloured, _)| *coloured == name) {
        Some(i) => i + 2,
        None => usize::from(control == Some(name)),
    };
    let mut order: Vec<(f64, f64, usize)> =
        xy.iter().zip(categories).map(|(&(x, y), name)| (x, y, kind_of(name.as_ref()))).collect();
    let labels: Vec<(String, usize, (f64, f64))> =
        coloured.iter().enumerate().map(|(i, (name, _))| ((*name).to_owned(), i + 2, middle(&order, i + 2))).collect();
    // Grey below the rest; the rest in an order that favours no category: by a hash of the row number.
    let mut keyed: Vec<(bool, u64, (f64, f64, usize))> = order
        .drain(..)
        .enumerate()
        .map(|(row, point)| (point.2 > 0, (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20, point))
        .collect();
    keyed.sort_by_key(|&(above, hash, _)| (above, hash));
    let order: Vec<_> = keyed.into_iter().map(|(_, _, point)| point).collect();

    let mut entries: Vec<(Sample, String)> = Vec::new();
    let sample = |kind: &Kind| Sample::Point(kind.color, kind.mark);
    if let Some((name, size)) = control.zip(control_size) {
        entries.push((sample(&kinds[1]), format!("{name} ({})", count(size))));
    }
    entries.extend(
        coloured.iter().zip(&kinds[2..]).map(|((name, n), kind)| (sample(kind), format!("{name} ({})", count(*n)))),
    );
    if n_others > 0 {
        entries.push((sample(&kinds[0]), format!("{} others ({})", others.len(), count(n_others))));
    }
    let legend = Legend::new(entries);

    let column = |pick: fn(&(f64, f64)) -> f64| xy.iter().filter(|p| is_finite(p)).map(pick).collect::<Vec<_>>();
    let (x, y) = (column(|p| p.0), column(|p| p.1));
    let (x, y) = match axes {
        EmbeddingAxes::Measured(x_label, y_label) => (Axis::linear(x_label, x), Axis::linear(y_label, y)),
        EmbeddingAxes::Arbitrary(x_label, y_label) => {
            (Axis::linear(x_label, x).without_ticks(), Axis::linear(y_label, y).without_ticks())
        }
    };
    let frame = Frame::new(x, y, TITLE_HEIGHT + legend.height() + 8.0, HEIGHT);
    let mut canvas = Canvas::new(frame.bottom + frame.below());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
    });
    points::draw(&mut canvas, &frame, &kinds, &order)?;
    canvas.draw(|pen| {
        let mut place = Labels::within((frame.left, frame.top, frame.right, frame.bottom));
        for (name, _, (x, y)) in &labels {
            let font = Font { bold: true, ..Font::new(TICK_SIZE, INK, Anchor::Middle) };
            place.write(pen, name, frame.at(*x, *y), 0.0, font);
        }
    });
    let caption = format!(
        "{} cells in {} categories; the {} largest are coloured{}.",
        count(xy.len()),
        by_size.len() + usize::from(control_size.is_some()),
        coloured.len(),
        control.zip(control_size).map_or(String::new(), |(name, n)| format!(", {name} ({} cells) is black", count(n))),
    );
    Ok(Figure::new(title, caption, canvas))
}

/// A number of cells, thousands set apart.
fn count(n: usize) -> String {
    number(n as f64, 1.0)
}

/// Median of each coordinate of the points of a kind.
fn middle(points: &[(f64, f64, usize)], kind: usize) -> (f64, f64) {
    let median = |pick: fn(&(f64, f64, usize)) -> f64| {
        let mut values: Vec<f64> = points.iter().filter(|p| p.2 == kind).map(pick).filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    (median(|p| p.0), median(|p| p.1))
}
