//! A finished figure: a self-contained SVG with a title, a description and a caption.

use super::{
    canvas::Canvas,
    style::{SHOWN_WIDTH, WIDTH},
};
use crate::{
    Error, Result,
    files::write_atomically,
    show::{escape, show_in_notebook},
};
use std::{fmt, path::Path};

/// A figure. The caption says in words and a number what is to be seen; it also serves who cannot see the picture.
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
        show_in_notebook(&self.to_html(), &self.to_string());
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
