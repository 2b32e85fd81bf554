//! Whether each link of the rendered pages leads somewhere.

use anyhow::{Context, Result, bail};
use scraper::{Html, Selector};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Elements with links, and whether they may lead to another website.
const LINKS: [(&str, &str, bool); 4] =
    [("a", "href", true), ("link", "href", false), ("img", "src", false), ("script", "src", false)];

/// The pages of the book at `root`, relative to it, without those that mdBook makes for a server and for the navigation.
pub fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?;
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "html")
                && name != Path::new("404.html")
                && name != Path::new("toc.html")
            {
                found.push(name.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Fails with a list of all links that lead to no file or no anchor, and of all styles, scripts and pictures that would
/// come from the network.
pub fn links(root: &Path) -> Result<()> {
    let mut anchors = BTreeMap::new();
    let mut found = Vec::new();
    for name in pages(root)? {
        let page = Html::parse_document(&fs::read_to_string(root.join(&name))?);
        anchors.insert(name.clone(), attributes(&page, "[id]", "id").into_iter().collect::<BTreeSet<_>>());
        for (element, attribute, may_leave) in LINKS {
            let links = attributes(&page, element, attribute);
            found.extend(links.into_iter().map(|link| (name.clone(), link, may_leave)));
        }
    }
    let mut broken = Vec::new();
    for (name, link, may_leave) in found {
        let reason = match target(&name, &link).with_context(|| format!("{}: {link}", name.display()))? {
            None if may_leave => continue,
            None => "comes from the network",
            Some((to, _)) if !root.join(&to).is_file() => "leads nowhere",
            Some((to, anchor)) => match anchors.get(&to) {
                Some(ids) if !anchor.is_empty() && !ids.contains(&anchor) => "has no such anchor",
                _ => continue,
            },
        };
        broken.push(format!("{}: {link} {reason}", name.display()));
    }
    if !broken.is_empty() {
        bail!("broken links:\n{}", broken.join("\n"));
    }
    Ok(())
}

fn attributes(page: &Html, selector: &str, attribute: &str) -> Vec<String> {
    let selector = Selector::parse(selector).expect("the selectors are constants");
    page.select(&selector).filter_map(|element| element.value().attr(attribute).map(str::to_owned)).collect()
}

/// Where a link of the page `page` leads, relative to the book, with its anchor; nothing for another website.
fn target(page: &Path, link: &str) -> Result<Option<(PathBuf, String)>> {
    if link.contains("://") || link.starts_with("mailto:") || link.starts_with("javascript:") {
        return Ok(None);
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    if path.is_empty() {
        return Ok(Some((page.to_path_buf(), anchor.to_owned())));
    }
    let mut to = page.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in path.split('/') {
        match part {
            ".." if to.pop() => {}
            ".." => bail!("the link leads out of the book"),
            "." | "" => {}
            part => to.push(part),
        }
    }
    Ok(Some((to, anchor.to_owned())))
}
