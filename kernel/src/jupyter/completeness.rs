//! Whether a cell is complete: a console asks this when the user presses Enter.

use serde_json::{Value, json};

/// Spaces that a block is indented by.
const INDENT: usize = 4;

/// The content of `is_complete_reply`.
pub fn reply(cell: &str) -> Value {
    // Commands for evcxr stand before the code; each is one line.
    let is_command = |line: &&str| line.starts_with(':') || line.starts_with('!');
    let code: String = cell.lines().skip_while(is_command).flat_map(|line| [line, "\n"]).collect();
    match open(&code) {
        Some(depth) => json!({"status": "incomplete", "indent": " ".repeat(INDENT * depth)}),
        None if syn::parse_str::<syn::Block>(&format!("{{{code}}}")).is_ok() => json!({"status": "complete"}),
        // `let x =` lacks something at its end, which any expression supplies; then it is only not finished.
        None if syn::parse_str::<syn::Block>(&format!("{{{code} x;}}")).is_ok() => {
            json!({"status": "incomplete", "indent": ""})
        }
        None => json!({"status": "invalid"}),
    }
}

/// How many brackets are open at the end, if any is, or if a string or a comment is open.
fn open(code: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            match comment(rest) {
                Some(length) => length,
                None => return Some(depth),
            }
        } else if let Some(closing) = raw_string(rest) {
            let begin = rest.find('"').expect("it begins with one") + 1;
            match rest[begin..].find(&closing) {
                Some(length) => begin + length + closing.len(),
                None => return Some(depth),
            }
        } else if c == '"' {
            match string(rest) {
                Some(length) => length,
                None => return Some(depth),
            }
        } else if c == '\'' {
            character(rest)
        } else if c.is_alphanumeric() || c == '_' {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
        } else {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    (depth > 0).then_some(depth)
}

/// The length of a block comment, which may hold others; nothing if it is open.
fn comment(code: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while at < code.len() {
        let rest = &code.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// What closes the raw string that begins here, if one does: `"#` for `r#"`.
fn raw_string(code: &str) -> Option<String> {
    let hashes = code.strip_prefix("br").or_else(|| code.strip_prefix('r'))?;
    let count = hashes.chars().take_while(|&c| c == '#').count();
    hashes[count..].starts_with('"').then(|| format!("\"{}", "#".repeat(count)))
}

/// The length of a string with its quotes; nothing if it is open.
fn string(code: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in code.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of a character with its quotes, or of the quote that begins a lifetime.
fn character(code: &str) -> usize {
    let mut after = code.char_indices().skip(1);
    match (after.next(), after.next()) {
        // The escaped character may be a quote itself.
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            code[from..].find('\'').map_or(code.len(), |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_complete_incomplete_or_invalid() {
        for (cell, status, indent) in [
            ("let a = 1;", "complete", ""),
            (":dep serde = \"1\"\nlet a = 1;", "complete", ""),
            (":vars", "complete", ""),
            ("", "complete", ""),
            ("fn f() {", "incomplete", "    "),
            ("f(g(", "incomplete", "        "),
            ("let a =", "incomplete", ""),
            ("let s = \"{\";", "complete", ""),
            ("let s = \"open", "incomplete", ""),
            ("let s = r#\"{\"\n\"#;", "complete", ""),
            ("let c = '{'; let d = '\\''; let e = \"é\"; fn f<'a>(x: &'a str) {}", "complete", ""),
            ("/* { /* { */ */ // {\nlet a = 1;", "complete", ""),
            ("/* open", "incomplete", ""),
            ("let a = 1; }", "invalid", ""),
            ("let let = 1;", "invalid", ""),
        ] {
            let reply = reply(cell);
            assert_eq!(reply["status"], status, "{cell}");
            assert_eq!(reply["indent"].as_str().unwrap_or_default(), indent, "{cell}");
        }
    }
}
