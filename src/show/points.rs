//! Clouds of points: as vector marks where they are few, as one small PNG where they are many.
//!
//! A thousand SVG circles take 100 kB, so a figure of 20,000 cells would weigh two megabytes. Above [`VECTOR_POINTS`] the
//! points become a palette image: each pixel holds one colour of the cloud and how much of the pixel the mark covers.

use super::{axis::Frame, canvas::Canvas, style::Mark};
use crate::{Error, Result};
use plotters::style::RGBColor;

/// The most points drawn as vector marks.
pub(super) const VECTOR_POINTS: usize = 1_000;
/// The largest PNG, in bytes, that leaves a figure below 150 kB in base64.
const LARGEST_PNG: usize = 100_000;
/// Levels of coverage at the edge of a mark; with 0 left out, seven a colour.
const LEVELS: usize = 8;
/// Points looked at inside a pixel, along each side, to find how much of it a mark covers.
const SUBPIXELS: usize = 4;

/// How points of one kind look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) color: RGBColor,
    pub(super) mark: Mark,
    /// Radius in canvas units.
    pub(super) r: f64,
    /// Of vector marks; marks in an image are opaque.
    pub(super) opacity: f64,
}

/// Draws points `(x, y, kind)`, given in the frame's values, in their order. Points that are not finite are left out.
pub(super) fn draw(canvas: &mut Canvas, frame: &Frame, kinds: &[Kind], points: &[(f64, f64, usize)]) -> Result<()> {
    let placed: Vec<((f64, f64), usize)> = points
        .iter()
        .map(|&(x, y, kind)| (frame.at(x, y), kind))
        .filter(|((x, y), _)| x.is_finite() && y.is_finite())
        .collect();
    if placed.len() <= VECTOR_POINTS {
        canvas.draw(|pen| {
            for &(at, kind) in &placed {
                let Kind { color, mark, r, opacity } = kinds[kind];
                pen.mark(mark, at, r, color, opacity);
            }
        });
        return Ok(());
    }
    // Marks may stand out of the frame by their radius.
    let room = kinds.iter().map(|kind| 1.4 * kind.r).fold(0.0, f64::max);
    let (left, top) = (frame.left - room, frame.top - room);
    let (width, height) = (frame.right - frame.left + 2.0 * room, frame.bottom - frame.top + 2.0 * room);
    let mut png = Vec::new();
    for scale in [1.0, 0.75, 0.5, 0.35] {
        png = raster(kinds, &placed, (left, top, width, height), scale)?;
        if png.len() <= LARGEST_PNG {
            break;
        }
    }
    canvas.image(&png, (left, top, width, height));
    Ok(())
}

/// Paints the marks over the rectangle (left, top, width, height), `scale` pixels a canvas unit.
fn raster(kinds: &[Kind], points: &[((f64, f64), usize)], area: (f64, f64, f64, f64), scale: f64) -> Result<Vec<u8>> {
    let (left, top, width, height) = area;
    let (columns, rows) = ((width * scale).ceil() as usize, (height * scale).ceil() as usize);
    // 0 is transparent; kind k at level l (1..LEVELS) is 1 + k (LEVELS - 1) + l - 1.
    let index = |kind: usize, level: usize| (kind * (LEVELS - 1) + level) as u8;
    let mut pixels = vec![0_u8; columns * rows];
    for &((x, y), kind) in points {
        let Kind { mark, r, .. } = kinds[kind];
        let (x, y, r) = ((x - left) * scale, (y - top) * scale, r * scale);
        let corners = mark.corners(r);
        let reach = 1.35 * r + 1.0;
        let span = |middle: f64, end: usize| {
            ((middle - reach).floor().max(0.0) as usize)..((middle + reach).ceil().max(0.0) as usize).min(end)
        };
        for row in span(y, rows) {
            for column in span(x, columns) {
                let level = (coverage(&corners, r, column as f64 - x, row as f64 - y) * (LEVELS - 1) as f64).round();
                let pixel = &mut pixels[row * columns + column];
                let old = if *pixel == 0 { 0 } else { (*pixel as usize - 1) % (LEVELS - 1) + 1 };
                // A pixel has one colour: the later mark takes it unless it barely touches what is there.
                if level as usize > 0 && (level as usize * 2 >= LEVELS || level as usize >= old) {
                    *pixel = index(kind, level as usize);
                }
            }
        }
    }
    let mut palette = vec![255_u8; 3];
    let mut alpha = vec![0_u8];
    for kind in kinds {
        for level in 1..LEVELS {
            palette.extend([kind.color.0, kind.color.1, kind.color.2]);
            alpha.push((255 * level / (LEVELS - 1)) as u8);
        }
    }
    encode(&pixels, (columns, rows), palette, Some(alpha))
}

/// Share of the pixel whose upper left corner is at `(x, y)` that the mark around the origin covers.
fn coverage(corners: &[(f64, f64)], r: f64, x: f64, y: f64) -> f64 {
    let inside = |x: f64, y: f64| {
        if corners.is_empty() {
            return x * x + y * y <= r * r;
        }
        // Even-odd rule: a ray to the right crosses the outline an odd number of times.
        let edges = corners.iter().zip(corners.iter().cycle().skip(1));
        edges.filter(|(a, b)| (a.1 > y) != (b.1 > y) && x < a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0)).count() % 2
            == 1
    };
    let step = 1.0 / SUBPIXELS as f64;
    let offsets = (0..SUBPIXELS).map(|i| (i as f64 + 0.5) * step);
    let hits = offsets.clone().flat_map(|dy| offsets.clone().map(move |dx| (dx, dy)));
    hits.filter(|(dx, dy)| inside(x + dx, y + dy)).count() as f64 * step * step
}

/// A palette PNG of (columns, rows) pixels.
pub(super) fn encode(
    pixels: &[u8],
    (columns, rows): (usize, usize),
    palette: Vec<u8>,
    alpha: Option<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, columns as u32, rows as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.set_palette(palette);
    if let Some(alpha) = alpha {
        encoder.set_trns(alpha);
    }
    let failed = |error| Error::config(format!("cannot encode a figure of {columns} x {rows} pixels: {error}"));
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}
