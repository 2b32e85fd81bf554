//! A notebook as a page: its Markdown cells, its code, and the outputs that are stored with it.

use crate::course::Site;
use crate::markdown::{self, Place};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// A notebook file of format 4.
#[derive(Deserialize)]
pub struct Notebook {
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    id: String,
    cell_type: String,
    source: Lines,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    output_type: String,
    #[serde(default)]
    data: Map<String, Value>,
    #[serde(default)]
    metadata: Map<String, Value>,
    text: Option<Lines>,
    #[serde(default)]
    traceback: Vec<String>,
}

/// A text: whole, or as a list of its lines.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    Whole(String),
    List(Vec<String>),
}

impl Lines {
    fn join(&self) -> String {
        match self {
            Self::Whole(text) => text.clone(),
            Self::List(lines) => lines.concat(),
        }
    }
}

/// A figure among the outputs of a cell.
pub enum Picture {
    /// An image, written as a file beside the page.
    File {
        /// The file's ending: `svg` or `png`.
        kind: &'static str,
        /// The image.
        bytes: Vec<u8>,
        /// What it shows, in words.
        alt: String,
    },
    /// HTML that holds an image.
    Html(String),
}

impl Notebook {
    /// Reads the notebook at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a notebook", path.display()))
    }

    /// Whether any output is stored.
    pub fn has_outputs(&self) -> bool {
        self.cells.iter().any(|cell| !cell.outputs.is_empty())
    }

    /// The figures that the cell `id` stores. Fails if there is no such cell.
    pub fn pictures(&self, id: &str) -> Result<Vec<Picture>> {
        let cell = self.cells.iter().find(|cell| cell.id == id && cell.cell_type == "code");
        let cell = cell.with_context(|| format!("there is no code cell `{id}`"))?;
        cell.outputs.iter().filter_map(|output| output.picture().transpose()).collect()
    }

    /// The page of the notebook `name`, in Markdown; its pictures become files of the site.
    pub fn page(&self, site: &Site<'_>, place: Place<'_>, name: &str) -> Result<String> {
        let mut page = String::new();
        for cell in &self.cells {
            page.push_str(&format!("<a id=\"cell-{}\"></a>\n\n", cell.id));
            let source = cell.source.join();
            match cell.cell_type.as_str() {
                "markdown" => page.push_str(&markdown::prepare(site, place, &source).with_context(|| cell.id.clone())?),
                "code" => {
                    let fence = "`".repeat(longest_run(&source, '`').max(2) + 1);
                    page.push_str(&format!("{fence}rust\n{}\n{fence}\n\n", source.trim_end()));
                    let mut pictures = 0;
                    for output in &cell.outputs {
                        page.push_str(&output.page(site, place, name, &cell.id, &mut pictures)?);
                    }
                }
                other => bail!("cell {} is of the unknown type {other}", cell.id),
            }
            page.push_str("\n\n");
        }
        Ok(page)
    }
}

impl Output {
    fn page(&self, site: &Site<'_>, place: Place<'_>, name: &str, cell: &str, pictures: &mut usize) -> Result<String> {
        if let Some(picture) = self.picture()? {
            *pictures += 1;
            let (Picture::File { bytes, alt, .. }, Some(folder)) = (&picture, place.page.parent()) else {
                return Ok(self
                    .html()
                    .map(|html| format!("<div class=\"output\">\n{html}\n</div>\n\n"))
                    .unwrap_or_default());
            };
            let file = markdown::picture_file(folder, name, cell, *pictures, &picture);
            let path = crate::links::relative(Path::new("page.md"), file.strip_prefix(folder)?);
            site.write(file, bytes.clone());
            // A figure's text is its title and its caption, so those who see the picture should read it, too.
            let caption = escape(alt.strip_prefix("Figure: ").unwrap_or(alt));
            return Ok(format!(
                "<div class=\"output\">\n{}<figcaption aria-hidden=\"true\">{caption}</figcaption>\n</figure>\n</div>\n\n",
                markdown::picture(&path, alt)
            ));
        }
        if let Some(html) = self.html() {
            return Ok(format!("<div class=\"output\">\n{html}\n</div>\n\n"));
        }
        let text = match self.output_type.as_str() {
            "stream" => self.text.as_ref().map(Lines::join),
            "error" => Some(self.traceback.join("\n")),
            _ => self.text_of("text/plain"),
        };
        Ok(match text {
            Some(text) if !text.trim().is_empty() => {
                format!("<pre class=\"output\">{}</pre>\n\n", escape(without_colours(&text).trim_end()))
            }
            _ => String::new(),
        })
    }

    /// The output as a picture, if it is one: the best form that is stored.
    fn picture(&self) -> Result<Option<Picture>> {
        let alt = || {
            let words = self.alt().or_else(|| self.text_of("text/plain")).unwrap_or_default();
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        if let Some(svg) = self.text_of("image/svg+xml") {
            return Ok(Some(Picture::File { kind: "svg", bytes: svg.into_bytes(), alt: alt() }));
        }
        if let Some(png) = self.text_of("image/png") {
            let base64: String = png.split_whitespace().collect();
            return Ok(Some(Picture::File { kind: "png", bytes: STANDARD.decode(base64)?, alt: alt() }));
        }
        let Some(html) = self.html() else { return Ok(None) };
        if let Some(svg) = only_svg(&html) {
            return Ok(Some(Picture::File { kind: "svg", bytes: svg.as_bytes().to_vec(), alt: alt() }));
        }
        Ok((html.contains("<svg") || html.contains("<img")).then_some(Picture::Html(html)))
    }

    /// The alternative text in the metadata: of the output, or of one of its forms.
    fn alt(&self) -> Option<String> {
        let forms = self.metadata.values().filter_map(|of| of.get("alt"));
        self.metadata.get("alt").into_iter().chain(forms).find_map(Value::as_str).map(str::to_owned)
    }

    /// HTML without empty lines, which would end it in Markdown.
    fn html(&self) -> Option<String> {
        let html = self.text_of("text/html")?;
        let lines: Vec<_> = html.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Some(lines.join("\n"))
    }

    fn text_of(&self, kind: &str) -> Option<String> {
        match self.data.get(kind)? {
            Value::String(text) => Some(text.clone()),
            Value::Array(lines) => Some(lines.iter().filter_map(Value::as_str).collect()),
            _ => None,
        }
    }
}

/// The SVG in a piece of HTML, if there is exactly one, and it can be a file of its own.
fn only_svg(html: &str) -> Option<&str> {
    let start = html.find("<svg")?;
    let end = html.rfind("</svg>")? + "</svg>".len();
    let svg = html.get(start..end)?;
    (svg.matches("<svg").count() == 1 && svg.contains("xmlns=")).then_some(svg)
}

/// The text as it can stand in HTML, also between quotation marks.
pub fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// The text without the terminal's colours.
fn without_colours(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("\u{1b}[") {
        out.push_str(&rest[..start]);
        let tail = &rest[start + 2..];
        rest = tail.find(|c: char| c.is_ascii_alphabetic()).map_or("", |end| &tail[end + 1..]);
    }
    out + rest
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}
