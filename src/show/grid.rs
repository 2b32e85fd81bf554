//! A result table that reads well as plain text (terminal) and as HTML (notebook, report).

use crate::{Error, Result, notebook};
use serde::Serialize;
use std::fmt;

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cell {
    text: String,
    /// A second, smaller line.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    bold: bool,
    /// The anchor on the same page that it links to.
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<String>,
}

impl Cell {
    /// Plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same in bold; in plain text between asterisks.
    #[must_use]
    pub fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    /// The same with a second, smaller line.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The same as a link to a place on the same page, by its id.
    #[must_use]
    pub fn link(mut self, id: impl Into<String>) -> Self {
        self.anchor = Some(id.into());
        self
    }

    /// Whether it stands out.
    pub fn is_bold(&self) -> bool {
        self.bold
    }

    /// The text without its note.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn to_html(&self) -> String {
        let mut html = escape(&self.text);
        if let Some(id) = &self.anchor {
            html = format!("<a href=\"#{}\">{html}</a>", escape(id));
        }
        if self.bold {
            html = format!("<strong>{html}</strong>");
        }
        if let Some(note) = &self.note {
            html += &format!("<br><small>{}</small>", escape(note));
        }
        html
    }
}

impl<S: Into<String>> From<S> for Cell {
    fn from(text: S) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, note, bold, .. } = self;
        let star = if *bold { "*" } else { "" };
        write!(f, "{star}{text}{star}")?;
        note.as_ref().map_or(Ok(()), |note| write!(f, " ({note})"))
    }
}

/// A table of text cells. Units belong in the headings: `library size (UMI counts)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grid {
    caption: String,
    headings: Vec<(String, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// An empty table with these headings.
    pub fn new<'a>(caption: impl Into<String>, headings: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        let headings = headings.into_iter().map(|(name, align)| (name.to_owned(), align)).collect();
        Self { caption: caption.into(), headings, rows: Vec::new() }
    }

    /// A two-column table of facts, such as the settings of a run.
    pub fn facts<K: Into<String>, V: fmt::Display>(
        caption: impl Into<String>,
        facts: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut grid = Self::new(caption, [("what", Align::Left), ("value", Align::Left)]);
        grid.rows = facts.into_iter().map(|(key, value)| vec![Cell::new(key), Cell::new(value.to_string())]).collect();
        grid
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Another number of cells than there are headings.
    pub fn push<C: Into<Cell>>(&mut self, row: impl IntoIterator<Item = C>) -> Result<()> {
        let row: Vec<Cell> = row.into_iter().map(Into::into).collect();
        if row.len() != self.headings.len() {
            return Err(Error::shape("row of a table", row.len(), self.headings.len()));
        }
        self.rows.push(row);
        Ok(())
    }

    /// Number of rows below the headings.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows below the headings.
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// An HTML `<table>`, every text escaped; numbers are aligned to the right.
    pub fn to_html(&self) -> String {
        let class =
            |align: Align| if align == Align::Right { " class=\"number\" style=\"text-align:right\"" } else { "" };
        let mut html = String::from("<table>\n");
        if !self.caption.is_empty() {
            html += &format!("<caption>{}</caption>\n", escape(&self.caption));
        }
        html += "<thead><tr>";
        for (name, align) in &self.headings {
            html += &format!("<th scope=\"col\"{}>{}</th>", class(*align), escape(name));
        }
        html += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            html += "<tr>";
            for (cell, (_, align)) in row.iter().zip(&self.headings) {
                html += &format!("<td{}>{}</td>", class(*align), cell.to_html());
            }
            html += "</tr>\n";
        }
        html + "</tbody>\n</table>\n"
    }

    /// Shows the table in a notebook cell whose last expression it is (evcxr calls this).
    pub fn evcxr_display(&self) {
        notebook::show_at_end(&self.to_html(), &self.to_string());
    }

    /// Shows the table in a notebook at once, as [`Figure::show`](super::Figure::show) does a figure.
    pub fn show(&self) {
        notebook::show_now(&self.to_html(), &self.to_string());
    }
}

impl fmt::Display for Grid {
    /// Columns padded to their widest cell, two spaces apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::to_string).collect()).collect();
        let width = |column: usize, name: &str| {
            rows.iter().map(|row| row[column].chars().count()).chain([name.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.headings.iter().enumerate().map(|(i, (name, _))| width(i, name)).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells
                .zip(&widths)
                .zip(&self.headings)
                .map(|((cell, &width), (_, align))| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                })
                .collect();
            padded.join("  ").trim_end().to_owned()
        };
        if !self.caption.is_empty() {
            writeln!(f, "{}", self.caption)?;
        }
        writeln!(f, "{}", line(&mut self.headings.iter().map(|(name, _)| name.as_str())))?;
        writeln!(f, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)))?;
        for row in &rows {
            writeln!(f, "{}", line(&mut row.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

/// Makes text safe between HTML or XML tags and in attributes. Control characters, which XML forbids, become spaces.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            '\n' | '\t' => safe.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
