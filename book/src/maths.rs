//! TeX to HTML when the book is built, by KaTeX's own script in the QuickJS engine.
//!
//! Script, style sheet and fonts are the files of one npm package (`book/katex`), so they always fit each other, and a
//! page needs no script and no network. The HTML holds MathML beside the visible formula, for screen readers.

use anyhow::{Context as _, Result, anyhow};
use rquickjs::{CatchResultExt, Context, Function, Object, Runtime};

const SCRIPT: &str = include_str!("../katex/katex.min.js");

/// A KaTeX that is ready to render.
pub struct Maths {
    context: Context,
}

impl Maths {
    /// Starts the engine and reads KaTeX.
    pub fn new() -> Result<Self> {
        let context = Context::full(&Runtime::new()?)?;
        context
            .with(|js| js.eval::<(), _>(SCRIPT).catch(&js).map_err(|error| anyhow!("KaTeX cannot be read: {error}")))?;
        Ok(Self { context })
    }

    /// Renders the formula `tex`, in a line of text or as a display, to HTML on one line.
    ///
    /// Fails with KaTeX's message if it does not understand the formula.
    pub fn render(&self, tex: &str, display: bool) -> Result<String> {
        let tex = tex.split_whitespace().collect::<Vec<_>>().join(" ");
        let html: String = self
            .context
            .with(|js| {
                let katex: Object<'_> = js.globals().get("katex")?;
                let render: Function<'_> = katex.get("renderToString")?;
                let options = Object::new(js.clone())?;
                options.set("displayMode", display)?;
                options.set("throwOnError", true)?;
                // KaTeX would warn in a console, which is not here.
                options.set("strict", "ignore")?;
                render.call((tex.as_str(), options)).catch(&js).map_err(|error| anyhow!("{error}"))
            })
            .with_context(|| format!("KaTeX does not understand `{tex}`"))?;
        Ok(for_markdown(&html))
    }
}

/// The same HTML, without characters between its tags that Markdown would read as its own.
fn for_markdown(html: &str) -> String {
    let mut safe = String::with_capacity(html.len());
    let mut in_tag = false;
    for character in html.chars() {
        match character {
            '<' => in_tag = true,
            '>' => in_tag = false,
            '\n' => {
                safe.push(' ');
                continue;
            }
            '_' | '*' | '\\' | '`' | '[' | ']' | '|' | '~' | '!' | '#' | '$' | '{' | '}' if !in_tag => {
                safe.push_str(&format!("&#{};", character as u32));
                continue;
            }
            _ => {}
        }
        safe.push(character);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_becomes_html_that_markdown_leaves_alone() {
        let html = Maths::new().unwrap().render(r"x_0 \in \{a^*, b\}", false).unwrap();
        assert!(html.starts_with(r#"<span class="katex">"#), "{html}");
        assert!(html.contains("<math"), "MathML for screen readers");
        let mut text = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        assert!(text.all(|text| !text.contains(['_', '*', '\\'])), "{html}");
    }

    #[test]
    fn a_formula_that_is_wrong_is_an_error_that_shows_it() {
        let error = Maths::new().unwrap().render(r"\frac{1}{", true).unwrap_err();
        assert!(format!("{error:#}").contains(r"\frac{1}{"), "{error:#}");
    }
}
