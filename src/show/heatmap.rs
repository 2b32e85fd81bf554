//! Matrices in colours: perturbations x genes; and models x metrics, where the colours mean the same in every column: dark is
//! good.

use super::{
    Figure,
    axis::{MARGIN, TITLE_HEIGHT, draw_title, number, range},
    canvas::{Anchor, Canvas, Font, Pen},
    models::{quantile, sorted},
    points::{VECTOR_POINTS, encode},
    style::{BLUE, GREY, INK, LABEL_SIZE, TICK_SIZE, VERMILLION, WHITE, WIDTH, shorten, text_width},
};
use crate::{Error, Result, bench::Better};
use ndarray::{ArrayView2, Axis};
use plotters::style::RGBColor;

/// Rows or columns beyond which their names are not drawn, because they would not be readable.
const MOST_NAMES: usize = 60;
/// Columns whose ends are smaller than this have powers of ten in their cells.
const SMALL: f64 = 1e-3;
/// Columns up to which each cell has room for its value.
pub(super) const MOST_VALUE_COLUMNS: usize = 12;
const LONGEST_NAME: f64 = 300.0;
/// Columns have the height of a figure for their names.
const LONGEST_COLUMN: f64 = 420.0;
/// Colours of the scale; palette index 0 is a missing value.
pub(super) const LEVELS: usize = 64;
const DARK_BLUE: RGBColor = RGBColor(0x08, 0x30, 0x6b);
/// A model this many times farther from the best than the median model is as light as can be: one model that fails must
/// not bleach the differences between all others.
const FAR: f64 = 2.0;

/// What the colours are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourScale {
    /// One scale for all cells, for values of one kind: effects, correlations. Diverging around 0 where both signs occur.
    Shared,
    /// One scale per column, from its smallest to its largest value, for columns of different kinds: metrics.
    PerColumn,
}

/// One coloured cell per value of `values` `(rows, columns)`; NaN is grey. Up to 12 columns the value stands in
/// its cell. `value_label` carries the unit.
///
/// # Errors
/// Names that do not fit the shape of `values`; no finite value.
pub fn heatmap<R: AsRef<str>, C: AsRef<str>>(
    title: &str,
    rows: &[R],
    columns: &[C],
    values: ArrayView2<'_, f64>,
    value_label: &str,
    scale: ColourScale,
) -> Result<Figure> {
    if values.dim() != (rows.len(), columns.len()) {
        return Err(Error::shape("heat map: names, and values", (rows.len(), columns.len()), values.dim()));
    }
    let Some((smallest, largest)) = range(values.iter().copied()) else {
        return Err(Error::data(format!("figure {title:?}: there is no finite value in {:?} cells", values.dim())));
    };
    let diverging = scale == ColourScale::Shared && smallest < 0.0 && largest > 0.0;
    // A few extreme values must not bleach all others.
    let limit = saturation(values);
    let (low, high) = if diverging { (-limit, limit) } else { (smallest.max(-limit), largest.min(limit)) };
    let ends: Vec<(f64, f64)> = match scale {
        ColourScale::Shared => vec![(low, high); columns.len()],
        ColourScale::PerColumn => {
            values.columns().into_iter().map(|c| range(c.iter().copied()).unwrap_or((0.0, 1.0))).collect()
        }
    };
    let bar = (scale == ColourScale::Shared).then_some(value_label);
    let canvas = draw(title, (&names(rows), &names(columns)), values, &ends, diverging, bar)?;
    let finite = values.iter().filter(|value| value.is_finite());
    let mean = finite.clone().sum::<f64>() / finite.count() as f64;
    let caption = match scale {
        ColourScale::Shared => format!(
            "{value_label}: {} rows and {} columns, mean {mean:.3}, from {smallest:.3} to {largest:.3}{}.",
            rows.len(),
            columns.len(),
            if low > smallest || high < largest { "; colours saturate where 99 % of the values are" } else { "" },
        ),
        ColourScale::PerColumn => {
            let largest = values.columns().into_iter().zip(columns).filter_map(|(values, name)| {
                let finite = values.iter().enumerate().filter(|(_, value)| value.is_finite());
                let (row, value) = finite.max_by(|a, b| a.1.total_cmp(b.1))?;
                Some(format!("{} {value:.3} ({})", name.as_ref(), rows[row].as_ref()))
            });
            let largest: Vec<String> = largest.take(MOST_VALUE_COLUMNS).collect();
            format!("{value_label}, each column on its own scale, darker is larger. Largest: {}.", largest.join(", "))
        }
    };
    Ok(Figure::new(title, caption, canvas))
}

/// The matrix in colours. Each column runs from its first end (lightest) to its second (darkest), which may be the smaller
/// one. `bar` is the title of a colour bar that all columns share.
pub(super) fn draw(
    title: &str,
    (rows, columns): (&[&str], &[&str]),
    values: ArrayView2<'_, f64>,
    ends: &[(f64, f64)],
    diverging: bool,
    bar: Option<&str>,
) -> Result<Canvas> {
    // 0 for missing, else 1..=LEVELS.
    let level = |row: usize, column: usize| {
        let (value, (low, high)) = (values[[row, column]], ends[column]);
        let share = if high == low { 0.5 } else { ((value - low) / (high - low)).clamp(0.0, 1.0) };
        if value.is_finite() { 1 + (share * (LEVELS - 1) as f64).round() as usize } else { 0 }
    };

    let row_names = readable_names(rows);
    let column_names = readable_names(columns);
    let widest = |names: &[&str]| names.iter().map(|n| text_width(n, TICK_SIZE)).fold(0.0, f64::max);
    let left = MARGIN + widest(&row_names).clamp(TICK_SIZE, LONGEST_NAME) + 14.0;
    let right = f64::from(WIDTH) - MARGIN - if bar.is_some() { 150.0 } else { 0.0 };
    let cell_width = (right - left) / columns.len() as f64;
    let upward = widest(&column_names) > cell_width - 6.0;
    let head = match (column_names.is_empty(), upward) {
        (true, _) => 1.8 * TICK_SIZE,
        (false, true) => widest(&column_names).min(LONGEST_COLUMN) + 16.0,
        (false, false) => 1.8 * TICK_SIZE,
    };
    let cell_height = if row_names.is_empty() { (700.0 / rows.len() as f64).max(2.0) } else { 40.0 };
    let top = TITLE_HEIGHT + head;
    let bottom = top + cell_height * rows.len() as f64;
    let below_bar = if bar.is_some() { top + 250.0 } else { top };
    let mut canvas = Canvas::new(bottom.max(below_bar) + MARGIN);

    if values.len() > VECTOR_POINTS {
        let pixels: Vec<u8> = values.indexed_iter().map(|((row, column), _)| level(row, column) as u8).collect();
        let palette = (0..=LEVELS).map(|l| color(l, diverging)).flat_map(|c| [c.0, c.1, c.2]).collect();
        // A pixel a cell; blurring between them would invent values.
        let png = encode(&pixels, (columns.len(), rows.len()), palette, None)?;
        canvas.elements += "\n<g style=\"image-rendering:pixelated\">";
        canvas.image(&png, (left, top, right - left, bottom - top));
        canvas.elements += "</g>";
    }
    canvas.draw(|pen| {
        draw_title(pen, title);
        for (row, name) in row_names.iter().enumerate() {
            let y = top + (row as f64 + 0.5) * cell_height;
            let name = shorten(name, TICK_SIZE, LONGEST_NAME);
            pen.text(&name, (left - 10.0, y), Font::new(TICK_SIZE, INK, Anchor::End));
        }
        let every = (1.1 * TICK_SIZE / cell_width).ceil().max(1.0) as usize;
        for (column, name) in column_names.iter().enumerate().filter(|(column, _)| !upward || column % every == 0) {
            let x = left + (column as f64 + 0.5) * cell_width;
            let anchor = if upward { Anchor::Start } else { Anchor::Middle };
            let y = if upward { top - 8.0 } else { top - 0.8 * TICK_SIZE };
            let name = shorten(name, TICK_SIZE, LONGEST_COLUMN);
            pen.text(&name, (x, y), Font { upward, ..Font::new(TICK_SIZE, INK, anchor) });
        }
        let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
        let soft = Font::new(TICK_SIZE, INK, Anchor::Middle);
        if row_names.is_empty() {
            pen.text(&format!("{} rows", rows.len()), (left - 18.0, middle.1), Font { upward: true, ..soft });
        }
        if column_names.is_empty() {
            pen.text(&format!("{} columns", columns.len()), (middle.0, top - 0.8 * TICK_SIZE), soft);
        }
        if values.len() <= VECTOR_POINTS {
            for ((row, column), &value) in values.indexed_iter() {
                let (x, y) = (left + column as f64 * cell_width, top + row as f64 * cell_height);
                let level = level(row, column);
                pen.rect((x, y), (x + cell_width - 1.0, y + cell_height - 1.0), color(level, diverging), 1.0);
                if columns.len() <= MOST_VALUE_COLUMNS {
                    let (low, high) = ends[column];
                    let text = match (value.is_finite(), low.abs().max(high.abs()) < SMALL) {
                        (false, _) => "–".to_owned(),
                        (true, true) if value != 0.0 => format!("{value:.1e}"),
                        (true, _) => number(value, ((high - low).abs() / 50.0).max(1e-4)),
                    };
                    let ink = if is_dark(color(level, diverging)) { WHITE } else { INK };
                    let middle = (x + cell_width / 2.0, y + cell_height / 2.0);
                    let size = TICK_SIZE.min(cell_width / text_width(&text, 1.0) * 0.9);
                    pen.text(&text, middle, Font::new(size, ink, Anchor::Middle));
                }
            }
        }
        if let (Some(label), Some(&ends)) = (bar, ends.first()) {
            color_bar(pen, (right + 22.0, top), ends, diverging, label);
        }
    });
    Ok(canvas)
}

/// The names as they are.
pub(super) fn names<S: AsRef<str>>(names: &[S]) -> Vec<&str> {
    names.iter().map(AsRef::as_ref).collect()
}

/// The |value| that 99 % do not exceed, or the largest where there are fewer than 200.
fn saturation(values: ArrayView2<'_, f64>) -> f64 {
    let mut sizes: Vec<f64> = values.iter().filter(|value| value.is_finite()).map(|value| value.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let last = sizes.len() - 1;
    let bound = sizes[if sizes.len() < 200 { last } else { last * 99 / 100 }];
    if bound > 0.0 { bound } else { sizes[last] }
}

/// The names, or none where there are too many to be read.
fn readable_names<'a>(names: &[&'a str]) -> Vec<&'a str> {
    if names.len() <= MOST_NAMES { names.to_vec() } else { Vec::new() }
}

/// The scale with its two ends, and 0 between them where it diverges.
fn color_bar(pen: &mut Pen<'_>, at: (f64, f64), (low, high): (f64, f64), diverging: bool, label: &str) {
    const HEIGHT: f64 = 230.0;
    let step = HEIGHT / LEVELS as f64;
    for level in 1..=LEVELS {
        let y = at.1 + HEIGHT - step * level as f64;
        pen.rect((at.0, y), (at.0 + 24.0, y + step + 1.0), color(level, diverging), 1.0);
    }
    let mut marks = vec![(low, at.1 + HEIGHT - 10.0), (high, at.1 + 10.0)];
    if diverging {
        marks.push((0.0, at.1 + HEIGHT / 2.0));
    }
    for (value, y) in marks {
        let text = number(value, (high - low).max(1e-9) / 50.0);
        pen.text(&text, (at.0 + 32.0, y), Font::new(TICK_SIZE, INK, Anchor::Start));
    }
    let beside = (at.0 + 122.0, at.1 + HEIGHT / 2.0);
    let label = shorten(label, 0.9 * LABEL_SIZE, HEIGHT + 40.0);
    pen.text(&label, beside, Font { upward: true, ..Font::new(0.9 * LABEL_SIZE, INK, Anchor::Middle) });
}

/// Colour of a level: grey for 0 (missing), then white to dark blue, or blue over white to vermillion.
pub(super) fn color(level: usize, diverging: bool) -> RGBColor {
    if level == 0 {
        return GREY;
    }
    let share = (level - 1) as f64 / (LEVELS - 1) as f64;
    match (diverging, share < 0.5) {
        (true, true) => mix(BLUE, WHITE, 2.0 * share),
        (true, false) => mix(WHITE, VERMILLION, 2.0 * share - 1.0),
        (false, true) => mix(RGBColor(0xf4, 0xf8, 0xfc), BLUE, 1.6 * share),
        (false, false) => mix(mix(RGBColor(0xf4, 0xf8, 0xfc), BLUE, 0.8), DARK_BLUE, 2.0 * share - 1.0),
    }
}

fn mix(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    let blend = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(blend(from.0, to.0), blend(from.1, to.1), blend(from.2, to.2))
}

/// Whether white text reads better on it (relative luminance, ITU-R BT.709).
fn is_dark(color: RGBColor) -> bool {
    0.2126 * f64::from(color.0) + 0.7152 * f64::from(color.1) + 0.0722 * f64::from(color.2) < 140.0
}

/// A row a model and a column a metric, `values` `(models, metrics)`; NaN where a model has no value. Each column has its
/// own scale, from the best model (darkest) to the worst, or to the model twice as far from the best as the median one;
/// so darker is better in every column, whether the metric is an error or a correlation. The arrow at a name says which
/// way the metric is good. Up to 12 metrics the value stands in its cell.
///
/// # Errors
/// Names that do not fit the shape of `values`; no finite value.
pub fn model_heatmap<M: AsRef<str>, C: AsRef<str>>(
    title: &str,
    models: &[M],
    metrics: &[(C, Better)],
    values: ArrayView2<'_, f64>,
) -> Result<Figure> {
    if values.dim() != (models.len(), metrics.len()) {
        return Err(Error::shape("model heat map: names, and values", (models.len(), metrics.len()), values.dim()));
    }
    if !values.iter().any(|value| value.is_finite()) {
        return Err(Error::data(format!("figure {title:?}: there is no finite value in {:?} cells", values.dim())));
    }
    let has_value = |row: &usize| values.row(*row).iter().any(|value| value.is_finite());
    let (rows, without): (Vec<usize>, Vec<usize>) = (0..models.len()).partition(has_value);
    let values = values.select(Axis(0), &rows);
    let kept: Vec<&str> = rows.iter().map(|&row| models[row].as_ref()).collect();
    let mut ends = Vec::new();
    let mut leaders: Vec<(&str, usize)> = Vec::new();
    for (column, (_, better)) in values.columns().into_iter().zip(metrics) {
        let finite = sorted(column.iter().copied().filter(|value| value.is_finite()));
        let (Some(&smallest), Some(&largest), Some(middle)) = (finite.first(), finite.last(), quantile(&finite, 0.5))
        else {
            ends.push((0.0, 0.0));
            continue;
        };
        let (best, worst) = match better {
            Better::Lower => (smallest, largest.min(smallest + FAR * (middle - smallest))),
            Better::Higher => (largest, smallest.max(largest - FAR * (largest - middle))),
        };
        // More than half of the models share the best value: the others are worse all the same.
        let worst = if worst == best { if *better == Better::Lower { largest } else { smallest } } else { worst };
        ends.push((worst, best));
        // Where all are equal, none leads.
        for (model, _) in kept.iter().zip(column).filter(|(_, value)| **value == best && smallest < largest) {
            match leaders.iter_mut().find(|leader| leader.0 == *model) {
                Some(leader) => leader.1 += 1,
                None => leaders.push((*model, 1)),
            }
        }
    }
    leaders.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let columns: Vec<String> = metrics
        .iter()
        .map(|(name, better)| format!("{} {}", if *better == Better::Lower { "↓" } else { "↑" }, name.as_ref()))
        .collect();
    let canvas = draw(title, (&kept, &names(&columns)), values.view(), &ends, false, None)?;
    let led: Vec<String> = leaders.iter().map(|(model, n)| format!("{model} on {n}")).collect();
    let led = if led.is_empty() { "none on any".to_owned() } else { led.join(", ") };
    let without: Vec<&str> = without.into_iter().map(|row| models[row].as_ref()).collect();
    let without = match without.as_slice() {
        [] => String::new(),
        names => format!(" No value of any: {}.", names.join(", ")),
    };
    let caption = format!(
        "{} models, {} metrics; darker is better in every column, grey is absent, ↓ lower is better, ↑ higher is better. \
         Best: {led}.{without}",
        kept.len(),
        metrics.len()
    );
    Ok(Figure::new(title, caption, canvas))
}
