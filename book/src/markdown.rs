//! One page of Markdown, made ready for mdBook: figures, formulas, links.
//!
//! The places of formulas and links are found by the parser that mdBook uses, so a `$` in a code block is a `$`.

use crate::course::Site;
use crate::links::{self, Target};
use crate::notebook::{self, Picture};
use anyhow::{Context, Result, bail};
use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where a text stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The page, relative to the book: `notebooks/01.md`.
    pub page: &'a Path,
    /// The folder of its file in the repository: `notebooks`.
    pub folder: &'a Path,
}

/// The text with its figures, formulas and links as mdBook needs them.
pub fn prepare(site: &Site<'_>, place: Place<'_>, text: &str) -> Result<String> {
    let with_figures = figures(site, place, text)?;
    formulas_and_links(site, place, &with_figures)
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_GFM
        | Options::ENABLE_MATH
}

/// Puts `new` in place of parts of `text`. The parts are in order and do not overlap.
fn replace(text: &str, new: Vec<(Range<usize>, String)>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (part, with) in new {
        out.push_str(&text[end..part.start]);
        out.push_str(&with);
        end = part.end;
    }
    out + &text[end..]
}

/// Paragraphs that are figures: an image or a directive in the first line, then the caption.
///
/// ```text
/// ![What is drawn, for those who cannot see it](figures/count_vae.svg)
/// The caption.
///
/// {{#figure 01_perturb_seq_data code-noise 1}}
/// The caption of the first figure that this cell of the notebook stores.
/// ```
fn figures(site: &Site<'_>, place: Place<'_>, text: &str) -> Result<String> {
    let mut new = Vec::new();
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        if !matches!(event, Event::Start(Tag::Paragraph)) {
            continue;
        }
        let paragraph = text[range.clone()].trim_end();
        let (first, caption) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let body = if let Some(directive) = first.strip_prefix("{{#figure ") {
            let words: Vec<_> = directive.trim_end().trim_end_matches("}}").split_whitespace().collect();
            let [name, cell, number] = words[..] else {
                bail!("`{first}`: the form is {{{{#figure NOTEBOOK CELL NUMBER}}}}");
            };
            stored(site, place, name, cell, number.parse()?).with_context(|| first.to_owned())?
        } else if let Some((alt, path)) = first.strip_prefix("![").and_then(|image| image.split_once("](")) {
            let path = path.trim_end_matches(')');
            if alt.is_empty() || caption.is_empty() {
                bail!("the figure {path} needs a text in place of the picture, and a caption in the next line");
            }
            site.count(|counts| counts.figures += 1);
            picture(&local(site, place, path)?, alt)
        } else {
            continue;
        };
        new.push((range, format!("{body}<figcaption>\n\n{caption}\n\n</figcaption>\n</figure>\n\n")));
    }
    Ok(replace(text, new))
}

/// The beginning of a figure with the image at `path`.
pub fn picture(path: &str, alt: &str) -> String {
    format!("<figure>\n<img src=\"{path}\" alt=\"{}\">\n", notebook::escape(alt))
}

/// The path of a picture of the book's own, which must exist.
fn local(site: &Site<'_>, place: Place<'_>, path: &str) -> Result<String> {
    match links::target(site.repository, place.page, place.folder, path)? {
        Target::Page(to) => Ok(to),
        other => bail!("the picture {path} is not in the book: {other:?}"),
    }
}

/// The beginning of a figure that a notebook stores, or a note if it stores no outputs at all.
fn stored(site: &Site<'_>, place: Place<'_>, name: &str, cell: &str, number: usize) -> Result<String> {
    let notebook = site.notebooks.get(name).with_context(|| format!("there is no notebook {name}"))?;
    let pictures = notebook.pictures(cell)?;
    if !notebook.has_outputs() {
        site.count(|counts| counts.missing_figures += 1);
        let page = Path::new("notebooks").join(name).with_extension("html");
        return Ok(format!(
            "<figure class=\"missing\">\n<p><strong>The figure is missing: the notebook is stored without outputs.</strong> \
             <a href=\"{}#cell-{cell}\">Cell <code>{cell}</code> of {name}</a> draws it when the notebook runs.</p>\n",
            links::relative(place.page, &page)
        ));
    }
    site.count(|counts| counts.figures += 1);
    match number.checked_sub(1).and_then(|index| pictures.get(index)) {
        None => bail!("the cell stores {} figures", pictures.len()),
        Some(Picture::File { alt, .. }) => {
            let file = picture_file(Path::new("notebooks"), name, cell, number, &pictures[number - 1]);
            Ok(picture(&links::relative(place.page, &file), alt))
        }
        Some(Picture::Html(html)) => Ok(format!("<figure>\n{html}\n")),
    }
}

/// Where the picture number `number` of a cell is written, relative to the book.
pub fn picture_file(folder: &Path, name: &str, cell: &str, number: usize, picture: &Picture) -> PathBuf {
    let kind = match picture {
        Picture::File { kind, .. } => kind,
        Picture::Html(_) => "html",
    };
    folder.join("figures").join(name).join(format!("{cell}-{number}.{kind}"))
}

fn formulas_and_links(site: &Site<'_>, place: Place<'_>, text: &str) -> Result<String> {
    let mut new: Vec<(Range<usize>, String)> = Vec::new();
    let mut in_code = false;
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        let with = match event {
            Event::Start(Tag::CodeBlock(_)) | Event::End(TagEnd::CodeBlock) => {
                in_code = !in_code;
                continue;
            }
            // Such as in a list, without an empty line before it.
            Event::Text(words) if !in_code && words.contains("{{#figure ") => {
                bail!("`{words}`: a figure is a paragraph of its own, outside lists")
            }
            Event::InlineMath(tex) => formula(site, &tex, false)?,
            Event::DisplayMath(tex) => formula(site, &tex, true)?,
            Event::Start(Tag::Link { link_type: LinkType::Inline, dest_url, .. }) => {
                match link(site, place, &text[range.clone()], &dest_url)? {
                    Some(with) => with,
                    None => continue,
                }
            }
            _ => continue,
        };
        if new.last().is_some_and(|(last, _)| last.end > range.start) {
            bail!("a formula inside a link: `{}`", &text[range]);
        }
        new.push((range, with));
    }
    Ok(replace(text, new))
}

fn formula(site: &Site<'_>, tex: &str, display: bool) -> Result<String> {
    site.count(|counts| counts.formulas += 1);
    site.maths.render(tex, display)
}

/// What stands in place of the link `source` (its Markdown), or nothing if it stays.
fn link(site: &Site<'_>, place: Place<'_>, source: &str, url: &str) -> Result<Option<String>> {
    let words = source
        .rfind("](")
        .and_then(|end| source.get(1..end))
        .with_context(|| format!("a link without words: `{source}`"))?;
    Ok(match links::target(site.repository, place.page, place.folder, url)? {
        Target::Unchanged => None,
        Target::Page(to) => Some(format!("[{words}]({to})")),
        Target::Source(path) => {
            let named = words.trim_matches('`').trim_end_matches('/');
            Some(if path.ends_with(named) || path.trim_end_matches("/mod.rs").ends_with(named) {
                // The words are the path, or its end.
                format!("`{path}`")
            } else {
                format!("{words} (`{path}`)")
            })
        }
    })
}
