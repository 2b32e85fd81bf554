//! A finished figure, a self-contained SVG with a title, a description and a caption; and the surface that it is drawn on:
//! layers of SVG by plotters' backend, with pictures between them.

use super::style::{Mark, SHOWN_WIDTH, WIDTH};
use crate::{Error, Result, files::write_atomically, notebook, show::escape};
use base64::Engine;
use plotters::{
    prelude::{DrawingBackend, SVGBackend},
    style::{
        Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use std::{fmt, path::Path};

/// plotters divides font sizes by this before it writes them.
const PLOTTERS_FONT_RATIO: f64 = 1.24;
/// Why drawing cannot fail.
const INFALLIBLE: &str = "writing SVG elements into a string cannot fail";

/// A figure. The caption says what it shows, with the most important number, also to readers who cannot see the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    title: String,
    caption: String,
    height: u32,
    elements: String,
}

impl Figure {
    pub(super) fn new(title: &str, caption: String, canvas: Canvas) -> Self {
        Self { title: title.to_owned(), caption, height: canvas.height, elements: canvas.elements }
    }

    /// What is shown.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What is to be seen in it.
    pub fn caption(&self) -> &str {
        &self.caption
    }

    /// The same figure with other words below it.
    #[must_use]
    pub fn with_caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    /// The picture as an SVG document: nothing outside it is needed to show it.
    pub fn to_svg(&self) -> String {
        let Self { title, caption, height, elements } = self;
        let shown_height = height * SHOWN_WIDTH / WIDTH;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{SHOWN_WIDTH}\" \
             height=\"{shown_height}\" role=\"img\" aria-label=\"{title}\" style=\"max-width:100%;height:auto\">\n\
             <title>{title}</title>\n<desc>{caption}</desc>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{elements}\n</svg>\n",
            title = escape(title),
            caption = escape(caption),
        )
    }

    /// The picture with its caption, as an HTML `<figure>`.
    pub fn to_html(&self) -> String {
        format!("<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n", self.to_svg(), escape(&self.caption))
    }

    /// Shows the figure in a notebook cell whose last expression it is (evcxr calls this).
    pub fn evcxr_display(&self) {
        notebook::show_at_end(&self.to_html(), &self.to_string());
    }

    /// Shows the figure in a notebook at once, below what the cell has shown before: several figures in one cell, with
    /// text between them. A kernel other than `genailab-kernel` prints the caption, and shows the cell's last figure.
    pub fn show(&self) {
        notebook::show_now(&self.to_html(), &self.to_string());
    }

    /// Writes the picture as an `.svg` file, whole or not at all.
    ///
    /// # Errors
    /// A file name that does not end in `.svg`; a folder that cannot be written to.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
            return Err(Error::config(format!(
                "cannot save a figure as {}: the name must end in .svg",
                path.display()
            )));
        }
        write_atomically(path, self.to_svg().as_bytes())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Figure: {}. {}", self.title, self.caption)
    }
}

/// The elements of a figure, without the `<svg>` around them.
pub(super) struct Canvas {
    pub(super) height: u32,
    pub(super) elements: String,
}

impl Canvas {
    pub(super) fn new(height: f64) -> Self {
        Self { height: height.ceil() as u32, elements: String::new() }
    }

    /// Adds a layer of vector elements on top of what is there.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Pen<'_>)) {
        let mut document = String::new();
        // Ended when it goes out of scope: that closes the document.
        draw(&mut Pen(SVGBackend::with_string(&mut document, (WIDTH, self.height))));
        let inside = document.split_once('>').map_or("", |(_, rest)| rest);
        self.elements += inside.trim().strip_suffix("</svg>").unwrap_or(inside).trim_end();
    }

    /// Adds a PNG on top of what is there, stretched over the rectangle (left, top, width, height).
    pub(super) fn image(&mut self, png: &[u8], (x, y, width, height): (f64, f64, f64, f64)) {
        let data = base64::engine::general_purpose::STANDARD.encode(png);
        self.elements += &format!(
            "\n<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" preserveAspectRatio=\"none\" \
             href=\"data:image/png;base64,{data}\"/>"
        );
    }
}

/// Where a text's point lies in it, horizontally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) color: RGBColor,
    pub(super) anchor: Anchor,
    pub(super) bold: bool,
    /// Read from bottom to top.
    pub(super) upward: bool,
}

impl Font {
    pub(super) fn new(size: f64, color: RGBColor, anchor: Anchor) -> Self {
        Self { size, color, anchor, bold: false, upward: false }
    }
}

/// Draws one layer.
pub(super) struct Pen<'a>(SVGBackend<'a>);

fn whole((x, y): (f64, f64)) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

impl Pen<'_> {
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), color: RGBColor, width: u32) {
        let style = ShapeStyle { color: color.to_rgba(), filled: false, stroke_width: width };
        self.0.draw_line(whole(from), whole(to), &style).expect(INFALLIBLE);
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], color: RGBColor, width: u32) {
        let style = ShapeStyle { color: color.to_rgba(), filled: false, stroke_width: width };
        self.0.draw_path(points.iter().copied().map(whole), &style).expect(INFALLIBLE);
    }

    /// A straight line in dashes.
    pub(super) fn dashed(&mut self, from: (f64, f64), to: (f64, f64), color: RGBColor, width: u32) {
        const DASH: f64 = 10.0;
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |along: f64| {
            let share = (along / length).min(1.0);
            (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1))
        };
        for i in 0..(length / (2.0 * DASH)).ceil() as usize {
            let start = 2.0 * DASH * i as f64;
            self.line(at(start), at(start + DASH), color, width);
        }
    }

    pub(super) fn rect(&mut self, from: (f64, f64), to: (f64, f64), color: RGBColor, opacity: f64) {
        self.0.draw_rect(whole(from), whole(to), &color.mix(opacity), true).expect(INFALLIBLE);
    }

    pub(super) fn mark(&mut self, mark: Mark, (x, y): (f64, f64), r: f64, color: RGBColor, opacity: f64) {
        let color = color.mix(opacity);
        match mark {
            Mark::Circle => {
                self.0.draw_circle(whole((x, y)), r.round() as u32, &ShapeStyle::from(color).filled(), true)
            }
            _ => self.0.fill_polygon(mark.corners(r).into_iter().map(|(dx, dy)| whole((x + dx, y + dy))), &color),
        }
        .expect(INFALLIBLE);
    }

    /// Text whose middle is at the height of the point.
    pub(super) fn text(&mut self, text: &str, at: (f64, f64), font: Font) {
        let style = if font.bold { FontStyle::Bold } else { FontStyle::Normal };
        let mut description = FontDesc::new(FontFamily::SansSerif, font.size * PLOTTERS_FONT_RATIO, style);
        if font.upward {
            description = description.transform(FontTransform::Rotate270);
        }
        let h = match font.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let style = TextStyle::from(description).color(&font.color).pos(Pos::new(h, VPos::Center));
        // XML has no place for control characters.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.0.draw_text(&text, &style, whole(at)).expect(INFALLIBLE);
    }
}
