//! A report: one HTML file that holds everything it shows, readable on a phone, in the dark and without a network.

use super::Figure;
use crate::{
    Result,
    files::write_atomically,
    notebook::show_at_end,
    show::{Grid, escape},
};
use std::{fmt, path::Path};

/// Whether a verdict is good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What was hoped for.
    Good,
    /// A fact.
    Plain,
    /// What the reader must know before trusting the rest.
    Warning,
}

#[derive(Debug, Clone)]
enum Block {
    Section(String),
    Paragraph(String),
    Table(Grid),
    Figure(Box<Figure>),
    Code(String),
    Details { id: String, summary: String, inside: Vec<Block> },
}

/// A report, built from top to bottom. All text is escaped.
///
/// ```
/// use genailab::show::{Grid, Report, Verdict};
///
/// let report = Report::new("Count VAE on Norman 2019")
///     .verdict(Verdict::Good, "It predicts unseen doubles better than adding two effects.")
///     .section("Settings")
///     .table(Grid::facts("", [("latent dimensions", 64), ("epochs", 20)]));
/// assert!(report.to_html().starts_with("<!doctype html>"));
/// ```
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    verdicts: Vec<(Verdict, String)>,
    blocks: Vec<Block>,
}

impl Report {
    /// An empty report.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), verdicts: Vec::new(), blocks: Vec::new() }
    }

    /// Adds a line, in plain words, to the box at the top.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict, text: impl Into<String>) -> Self {
        self.verdicts.push((verdict, text.into()));
        self
    }

    /// Begins a section.
    #[must_use]
    pub fn section(self, heading: impl Into<String>) -> Self {
        self.push(Block::Section(heading.into()))
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn paragraph(self, text: impl Into<String>) -> Self {
        self.push(Block::Paragraph(text.into()))
    }

    /// Adds a table.
    #[must_use]
    pub fn table(self, table: Grid) -> Self {
        self.push(Block::Table(table))
    }

    /// Adds a figure with its caption.
    #[must_use]
    pub fn figure(self, figure: Figure) -> Self {
        self.push(Block::Figure(Box::new(figure)))
    }

    /// Adds a block that is closed until it is clicked on: `summary` stays visible, what `inside` holds (its title and
    /// verdicts too) does not. `id` is what links on the page lead to; anything but letters, digits, `-` and `_` in it
    /// becomes `-`.
    #[must_use]
    pub fn details(self, id: &str, summary: impl Into<String>, inside: Report) -> Self {
        let mut blocks: Vec<Block> = inside.verdicts.into_iter().map(|(_, text)| Block::Paragraph(text)).collect();
        blocks.extend(inside.blocks);
        self.push(Block::Details { id: anchor(id), summary: summary.into(), inside: blocks })
    }

    /// Adds lines as they stand, such as a command or a TOML file.
    #[must_use]
    pub fn code(self, text: impl Into<String>) -> Self {
        self.push(Block::Code(text.into()))
    }

    fn push(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    /// The whole document.
    pub fn to_html(&self) -> String {
        let title = escape(&self.title);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"generator\" content=\"genailab {version}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             </head>\n<body>\n<main>\n{body}</main>\n\
             <footer>Written by genailab {version}.</footer>\n</body>\n</html>\n",
            version = env!("CARGO_PKG_VERSION"),
            body = self.body(),
        )
    }

    fn body(&self) -> String {
        let mut body = format!("<h1>{}</h1>\n", escape(&self.title));
        if !self.verdicts.is_empty() {
            body += "<ul class=\"verdicts\">\n";
            for (verdict, text) in &self.verdicts {
                // The word in front says it without colour.
                let (class, word) = match verdict {
                    Verdict::Good => ("good", "Good: "),
                    Verdict::Plain => ("plain", ""),
                    Verdict::Warning => ("warning", "Caution: "),
                };
                body += &format!("<li class=\"{class}\"><strong>{word}</strong>{}</li>\n", escape(text));
            }
            body += "</ul>\n";
        }
        self.blocks.iter().for_each(|block| body += &block.to_html(2));
        body
    }

    /// Writes the report, whole or not at all.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_html().as_bytes())
    }

    /// Shows the report in a notebook cell whose last expression it is (evcxr calls this).
    pub fn evcxr_display(&self) {
        show_at_end(&format!("<div>\n{}</div>", self.body()), &self.to_string());
    }
}

/// Text as an id: links and file names hold nothing else.
pub(super) fn anchor(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' }).collect()
}

impl Block {
    /// `level` is that of headings.
    fn to_html(&self, level: u8) -> String {
        match self {
            Self::Section(heading) => format!("<h{level}>{}</h{level}>\n", escape(heading)),
            Self::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
            Self::Table(table) => {
                format!(
                    "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"table\">\n{}</div>\n",
                    table.to_html()
                )
            }
            Self::Figure(figure) => figure.to_html(),
            Self::Code(text) => format!("<pre tabindex=\"0\">{}</pre>\n", escape(text)),
            Self::Details { id, summary, inside } => {
                let inside: String = inside.iter().map(|block| block.to_html(level + 1)).collect();
                format!("<details id=\"{id}\">\n<summary>{}</summary>\n{inside}</details>\n", escape(summary))
            }
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section(text) => writeln!(f, "\n{text}\n{}", "-".repeat(text.chars().count())),
            Self::Paragraph(text) | Self::Code(text) => writeln!(f, "{text}"),
            Self::Table(table) => writeln!(f, "{table}"),
            Self::Figure(figure) => writeln!(f, "{figure}"),
            Self::Details { summary, inside, .. } => {
                writeln!(f, "\n{summary}")?;
                inside.iter().try_for_each(|block| block.fmt(f))
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        self.verdicts.iter().try_for_each(|(_, text)| writeln!(f, "- {text}"))?;
        self.blocks.iter().try_for_each(|block| block.fmt(f))
    }
}

/// Figures keep their white ground in the dark: their colours are chosen for it.
const STYLE: &str = r"
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #5a5a5a; --ground: #ffffff; --line: #d9d9d9; --band: #f5f7f9;
  --good: #00734f; --warning: #a84300; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #a8a8a8; --ground: #16181b; --line: #3a3e44;
  --band: #1f2226; --good: #4cc79d; --warning: #ff9a55; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, 'Segoe UI',
  Roboto, 'DejaVu Sans', sans-serif; }
main, footer { max-width: 52rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 1.6rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
.verdicts { list-style: none; margin: 0; padding: .4rem 1rem; background: var(--band); border-radius: .5rem; }
.verdicts li { margin: .5rem 0; padding-left: .8rem; border-left: 4px solid var(--soft); }
.verdicts .good { border-color: var(--good); } .verdicts .good strong { color: var(--good); }
.verdicts .warning { border-color: var(--warning); } .verdicts .warning strong { color: var(--warning); }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom: 2px solid var(--line); white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tbody tr:nth-child(even) { background: var(--band); }
figure { margin: 1.4rem 0; overflow-x: auto; }
figure svg { display: block; width: 100%; height: auto; max-width: 42.5rem; border-radius: .5rem; background: #ffffff; }
figcaption { color: var(--soft); font-size: .92rem; margin-top: .4rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
small { color: var(--soft); font-size: .82em; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: .2em; }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .6rem 0; padding: 0 1rem; }
summary { cursor: pointer; padding: .6rem 0; font-weight: 600; }
details[open] summary { border-bottom: 1px solid var(--line); }
details:target { border-color: var(--soft); }
pre { overflow-x: auto; background: var(--band); padding: .8rem; border-radius: .5rem; font-size: .85rem; }
footer { color: var(--soft); font-size: .85rem; padding: 2rem 1rem; }
@media (max-width: 36rem) { h1 { font-size: 1.4rem; } table { font-size: .82rem; } th, td { padding: .3rem .5rem; }
  /* Wider than the screen: text of seven pixels cannot be read, and a figure can be moved. */
  figure svg { width: 33rem; max-width: none !important; } figcaption { position: sticky; left: 0; }
  td:first-child, th:first-child { position: sticky; left: 0; background: var(--ground); min-width: 7rem;
    overflow-wrap: anywhere; }
  tbody tr:nth-child(even) td:first-child { background: var(--band); } }
@media print { .scroll, pre { overflow: visible; } figure, tr { break-inside: avoid; } }
";
