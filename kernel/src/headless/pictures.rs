//! Figures in the form in which every viewer of a stored notebook shows them.
//!
//! The library shows a figure as an HTML `<figure>` that holds an SVG. GitHub and nbconvert drop SVG from HTML. So a
//! stored notebook holds the figure as a PNG, which every viewer shows, with its title and caption as alternative text:
//!
//! | content | for |
//! |---|---|
//! | `image/png` | viewers: 900 pixels wide, the caption drawn below the picture |
//! | [`SVG`] | programs that want the sharp picture, without the caption |
//! | `text/plain` | readers without pictures, and `check`: title and caption |

use super::notebook::{Notebook, lines, text};
use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use png::{BitDepth, ColorType, Compression, Encoder, Filter};
use resvg::{
    tiny_skia::{Color, Pixmap, PremultipliedColorU8, Transform},
    usvg::{Options, Tree, fontdb},
};
use serde_json::{Value, json};
use std::{collections::HashMap, fmt::Write, sync::Arc};

/// The name under which the SVG is stored. It has a parameter because viewers prefer plain `image/svg+xml` to a PNG, and
/// then show no caption; nbconvert has no alternative text for it either.
pub const SVG: &str = "image/svg+xml;charset=utf-8";
const PNG: &str = "image/png";
/// Width of a PNG in pixels.
const PNG_WIDTH: u32 = 900;
/// Fonts to draw with, the first that is installed.
const FONTS: [&str; 6] = ["DejaVu Sans", "Liberation Sans", "Noto Sans", "Arial", "Helvetica", "Helvetica Neue"];
/// The caption below a picture, in CSS pixels: size of the letters, their mean width, from line to line, and around it.
const LETTER: f32 = 14.0;
const LETTER_WIDTH: f32 = 7.9;
const LINE: f32 = 20.0;
const MARGIN: f32 = 10.0;
/// How few bits per channel may be left so that a picture gets along with the 256 colours of a palette.
const FEWEST_BITS: u32 = 4;

/// Replaces the figures among the outputs of a notebook by their stored form.
///
/// # Errors
/// No font is installed; an SVG that cannot be drawn.
pub fn store_figures(notebook: &mut Notebook) -> Result<()> {
    let mut painter = None;
    for output in notebook.outputs_mut() {
        let (html, words) = (text(&output["data"]["text/html"]), text(&output["data"]["text/plain"]));
        let Some(figure) = Figure::parse(&html).filter(|_| !words.trim().is_empty()) else { continue };
        let painter = match painter {
            Some(ref painter) => painter,
            None => painter.insert(Painter::new()?),
        };
        let stored = painter.store(&figure, words.trim()).with_context(|| format!("cannot draw '{}'", words.trim()))?;
        (output["data"], output["metadata"]) = stored;
    }
    Ok(())
}

/// A figure of the library, in the HTML that it is shown as.
struct Figure<'a> {
    svg: &'a str,
    /// Escaped as HTML.
    caption: &'a str,
}

impl<'a> Figure<'a> {
    /// `None` for HTML that is anything else, or more than one figure.
    fn parse(html: &'a str) -> Option<Self> {
        let inside = html.trim().strip_prefix("<figure>")?.strip_suffix("</figure>")?.trim();
        let (svg, rest) = inside.split_at(inside.find("</svg>")? + "</svg>".len());
        let caption = rest.trim().strip_prefix("<figcaption>")?.strip_suffix("</figcaption>")?;
        (svg.starts_with("<svg") && !caption.contains('<')).then_some(Self { svg, caption })
    }

    /// The figure with its caption below it as one SVG, for a picture of this size.
    fn with_caption(&self, width: f32, height: f32) -> String {
        let rows = wrap(self.caption, ((width - 2.0 * MARGIN) / LETTER_WIDTH) as usize);
        let below = if rows.is_empty() { 0.0 } else { LINE * rows.len() as f32 + MARGIN };
        let mut page = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{}\">{}",
            height + below,
            self.svg
        );
        for (row, at) in rows.iter().zip(1_u8..) {
            let y = height + LINE * f32::from(at) - (LINE - LETTER) / 2.0;
            let _ = write!(
                page,
                "<text x=\"{MARGIN}\" y=\"{y}\" font-family=\"sans-serif\" font-size=\"{LETTER}\">{row}</text>"
            );
        }
        page + "</svg>"
    }
}

/// Words in rows of about `width` letters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match rows.last_mut() {
            Some(row) if row.chars().count() + 1 + word.chars().count() <= width => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    rows
}

/// Draws SVG, with the fonts of the system.
struct Painter {
    options: Options<'static>,
}

impl Painter {
    fn new() -> Result<Self> {
        let mut fonts = fontdb::Database::new();
        fonts.load_system_fonts();
        let names = || fonts.faces().flat_map(|face| &face.families).map(|(name, _)| name.as_str());
        let font = FONTS.into_iter().find(|font| names().any(|name| name == *font)).or_else(|| names().next());
        let font =
            font.context("no font is installed, so figures cannot be drawn: install fonts-dejavu-core")?.to_owned();
        fonts.set_sans_serif_family(font.clone());
        Ok(Self { options: Options { fontdb: Arc::new(fonts), font_family: font, ..Options::default() } })
    }

    /// Data and metadata of the stored form; `words` are its title and caption.
    fn store(&self, figure: &Figure<'_>, words: &str) -> Result<(Value, Value)> {
        let size = Tree::from_str(figure.svg, &self.options)?.size();
        let page = Tree::from_str(&figure.with_caption(size.width(), size.height()), &self.options)?;
        let scale = PNG_WIDTH as f32 / page.size().width();
        let mut image =
            Pixmap::new(PNG_WIDTH, (page.size().height() * scale).ceil() as u32).context("it has no height")?;
        image.fill(Color::WHITE);
        resvg::render(&page, Transform::from_scale(scale, scale), &mut image.as_mut());
        let png = STANDARD.encode(encode(&image)?);
        let data = json!({(SVG): lines(figure.svg), (PNG): png, "text/plain": lines(words)});
        let metadata = json!({(SVG): {"alt": words}, (PNG): {"alt": words, "width": size.width().round() as u32}});
        Ok((data, metadata))
    }
}

/// The image as a PNG: with a palette where 256 colours are enough, which makes the file less than half as long.
fn encode(image: &Pixmap) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, image.width(), image.height());
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    let content = match (FEWEST_BITS..=8).rev().find_map(|bits| with_palette(image.pixels(), bits)) {
        Some((palette, numbers)) => {
            encoder.set_color(ColorType::Indexed);
            encoder.set_palette(palette);
            // Neighbouring numbers of a palette have nothing to do with each other.
            encoder.set_filter(Filter::NoFilter);
            numbers
        }
        None => {
            encoder.set_color(ColorType::Rgb);
            image.pixels().iter().flat_map(channels).collect()
        }
    };
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&content)?;
    writer.finish()?;
    Ok(file)
}

/// A palette, and the number in it of each pixel, with channels rounded to so many bits. `None` if it is too long.
fn with_palette(pixels: &[PremultipliedColorU8], bits: u32) -> Option<(Vec<u8>, Vec<u8>)> {
    let levels = (1_u32 << bits) - 1;
    let rounded = |channel: u8| ((u32::from(channel) * levels + 127) / 255 * 255 / levels) as u8;
    let mut known = HashMap::new();
    let mut palette = Vec::new();
    let mut numbers = Vec::with_capacity(pixels.len());
    for pixel in pixels {
        let colour = channels(pixel).map(rounded);
        let next = known.len();
        let number = *known.entry(colour).or_insert(next);
        if number == next {
            palette.extend(colour);
        }
        numbers.push(u8::try_from(number).ok()?);
    }
    Some((palette, numbers))
}

/// Red, green and blue of a pixel that hides what is behind it.
fn channels(pixel: &PremultipliedColorU8) -> [u8; 3] {
    [pixel.red(), pixel.green(), pixel.blue()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HTML: &str = "<figure>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1120 560\" width=\"680\" \
        height=\"340\" role=\"img\" aria-label=\"Loss\" style=\"max-width:100%;height:auto\">\n<title>Loss</title>\n\
        <desc>It falls &amp; falls.</desc>\n<rect width=\"1120\" height=\"560\" fill=\"#ffffff\"/>\n\
        <circle cx=\"560\" cy=\"280\" r=\"200\" fill=\"#0072B2\"/>\n<text x=\"9\" y=\"40\" dy=\"0.76em\" \
        font-family=\"sans-serif\" font-size=\"26\">step</text>\n</svg>\n<figcaption>It falls &amp; falls.</figcaption>\n\
        </figure>\n";

    fn notebook(data: &Value) -> Notebook {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.ipynb");
        let output = json!({"output_type": "display_data", "data": data, "metadata": {}});
        let code = json!({"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "outputs": [output]});
        let words = json!({"cell_type": "markdown", "id": "b", "metadata": {}, "source": "1"});
        fs::write(&path, json!({"nbformat": 4, "cells": [words, code]}).to_string()).expect("written");
        Notebook::read(&path).expect("a notebook")
    }

    #[test]
    fn a_figure_becomes_a_picture_with_alternative_text() {
        let words = "Figure: Loss. It falls & falls.";
        let mut notebook = notebook(&json!({"text/html": lines(HTML), "text/plain": [words]}));
        store_figures(&mut notebook).expect("a font is installed");
        let cell = notebook.code().next().expect("a cell");
        let (data, metadata) = (&cell.outputs()[0]["data"], &cell.outputs()[0]["metadata"]);
        assert_eq!((text(&data["text/plain"]).as_str(), &data["text/html"]), (words, &Value::Null));
        assert_eq!((&metadata[PNG]["alt"], &metadata[PNG]["width"]), (&json!(words), &json!(680)));
        assert_eq!(metadata[SVG]["alt"], words);
        let svg = text(&data[SVG]);
        let tree = Tree::from_str(&svg, &Options::default()).expect("valid SVG");
        assert_eq!((tree.size().width(), tree.size().height()), (680.0, 340.0));
        assert!(svg.contains("<title>Loss</title>"), "{svg}");

        let file = STANDARD.decode(data[PNG].as_str().expect("text")).expect("base64");
        assert!(file.starts_with(b"\x89PNG\r\n\x1a\n") && file.len() < 20_000, "{} bytes", file.len());
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().expect("a PNG");
        let info = reader.info();
        // 340 CSS pixels of picture, 30 of caption.
        assert_eq!((info.width, info.height), (PNG_WIDTH, (370.0_f32 * 900.0 / 680.0).ceil() as u32));
        let palette = info.palette.clone().expect("few colours");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits into memory")];
        reader.next_frame(&mut pixels).expect("an image");
        let colour = |x: usize, y: usize| &palette[3 * usize::from(pixels[y * 900 + x])..][..3];
        let near = |colour: &[u8], expected: [u8; 3]| colour.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 16);
        assert!(near(colour(450, 225), [0, 0x72, 0xB2]), "the disc: {:?}", colour(450, 225));
        assert_eq!(colour(899, 100), [255; 3], "the ground");
        let dark = |rows: std::ops::Range<usize>| {
            rows.flat_map(|y| (0..900).map(move |x| (x, y))).filter(|&(x, y)| colour(x, y)[0] < 60).count()
        };
        assert!(dark(460..488) > 50, "the caption is drawn");
        assert!(dark(20..60) > 20, "the text in the figure is drawn");
    }

    #[test]
    fn other_html_stays_as_it_is() {
        let two = format!("{HTML}{HTML}");
        for (html, words) in [("<table></table>", "a"), (HTML, " "), (two.as_str(), "a"), ("<figure></figure>", "a")] {
            let mut stored = notebook(&json!({"text/html": html, "text/plain": words}));
            let before = stored.clone();
            store_figures(&mut stored).expect("nothing to draw");
            assert_eq!(stored, before);
        }
    }

    #[test]
    fn rows_are_filled_with_words() {
        assert_eq!(wrap("one two three  four", 7), ["one two", "three", "four"]);
        assert_eq!(wrap(" ", 7), Vec::<String>::new());
        assert_eq!(wrap("immeasurable", 7), ["immeasurable"]);
    }

    #[test]
    fn many_colours_are_rounded_to_a_palette_or_kept() {
        let pixels = |step: usize| -> Vec<_> {
            let colours = (0..=255_u8).flat_map(|red| (0..=255).step_by(step).map(move |green| (red, green)));
            colours.map(|(red, green)| PremultipliedColorU8::from_rgba(red, green, 0, 255).expect("opaque")).collect()
        };
        assert_eq!(with_palette(&pixels(255), 8), None, "512 colours");
        let (palette, numbers) = with_palette(&pixels(255), FEWEST_BITS).expect("32 colours");
        assert_eq!((palette.len(), numbers.len()), (3 * 32, 512));
        assert_eq!(palette[..6], [0, 0, 0, 0, 255, 0]);
    }
}
