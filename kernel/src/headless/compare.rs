//! Whether a cell shows what it showed when its outputs were stored: the same text, with numbers that may differ a
//! little, and a figure where there was one.

use super::notebook::text;
use serde_json::Value;

/// How far numbers may be apart, relative to the larger one, unless told otherwise.
pub const TOLERANCE: f64 = 0.05;
/// Tag of a cell whose outputs differ from run to run; the name is that of nbval, a test runner for notebooks.
pub const IGNORE: &str = "nbval-ignore-output";
/// Characters of a line that are shown.
const WIDTH: usize = 100;

/// The first difference between the outputs of a cell, in one line. Standard error is not compared.
pub fn difference(stored: &[Value], new: &[Value], tolerance: f64) -> Option<String> {
    let (old, new) = (Shown::of(stored), Shown::of(new));
    if let Some(error) = &new.error
        && old.error.as_ref() != Some(error)
    {
        return Some(format!("it now ends with the error {error}"));
    }
    if let Some(error) = &old.error
        && new.error.is_none()
    {
        return Some(format!("the stored error {error} does not come any more"));
    }
    match (old.figures > 0, new.figures > 0) {
        (true, false) => return Some("the stored figure does not come any more".to_owned()),
        (false, true) => return Some("it shows a figure that is not stored".to_owned()),
        _ => {}
    }
    let (old, new) = (lines(&old.text), lines(&new.text));
    for (number, (old, new)) in (1..).zip(old.iter().zip(&new)) {
        if let Some(why) = differs(old, new, tolerance) {
            return Some(format!("line {number} was `{}` and is `{}`: {why}", cut(old), cut(new)));
        }
    }
    match old.len().cmp(&new.len()) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(format!("a line is new: `{}`", cut(new[old.len()]))),
        std::cmp::Ordering::Greater => Some(format!("a line is missing: `{}`", cut(old[new.len()]))),
    }
}

/// What counts of a cell's outputs.
#[derive(Default)]
struct Shown {
    text: String,
    figures: usize,
    error: Option<String>,
}

impl Shown {
    fn of(outputs: &[Value]) -> Self {
        let mut shown = Self::default();
        for output in outputs {
            match output["output_type"].as_str() {
                Some("stream") if output["name"] == "stdout" => shown.text += &text(&output["text"]),
                Some("error") => shown.error = output["ename"].as_str().map(str::to_owned),
                _ => shown.data(&output["data"]),
            }
        }
        shown
    }

    /// A figure is only counted: its text form, if it has one, may hold anything.
    fn data(&mut self, data: &Value) {
        let html = text(&data["text/html"]);
        if is_figure(data) {
            self.figures += 1;
        } else if data["text/plain"].is_null() {
            self.text += &without_tags(&html);
        } else {
            self.text += &text(&data["text/plain"]);
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

/// Whether content by MIME type is a figure.
pub fn is_figure(data: &Value) -> bool {
    let html = text(&data["text/html"]);
    let images = data.as_object().into_iter().flatten().any(|(mime, _)| mime.starts_with("image/"));
    images || html.contains("<svg") || html.contains("<img")
}

/// The words of a table: cells apart from each other, a row on a line.
fn without_tags(html: &str) -> String {
    let mut words = String::new();
    for part in html.split('<') {
        let (tag, rest) = part.split_once('>').unwrap_or(("", part));
        words.push(if tag == "/tr" || tag == "br" || tag == "/p" { '\n' } else { ' ' });
        words += rest;
    }
    words
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// How two lines differ, if not only by what numbers may.
fn differs(old: &str, new: &str, tolerance: f64) -> Option<String> {
    let (old, new) = (tokens(old), tokens(new));
    if old.len() != new.len() {
        return Some("other words".to_owned());
    }
    old.iter().zip(&new).find_map(|(old, new)| match (old, new) {
        (Token::Number(old), Token::Number(new)) => {
            let (a, b) = (old.value, new.value);
            let apart = (a - b).abs();
            // What rounding alone can do to a number that is printed with few digits.
            let rounding = old.last_digit.max(new.last_digit) * 1.001;
            let near = a == b || apart <= tolerance * a.abs().max(b.abs()) || apart <= rounding;
            (!near).then(|| format!("{a} and {b} differ by {:.1} %", 100.0 * apart / a.abs().max(b.abs())))
        }
        (old, new) => (old != new).then(|| "other words".to_owned()),
    })
}

#[derive(Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Number(Number),
}

#[derive(Debug, PartialEq)]
struct Number {
    value: f64,
    /// The worth of one unit in the last decimal that is printed; 0 for a whole number, which is not rounded.
    last_digit: f64,
}

/// Words and numbers of a line. Spaces part them and do not count otherwise: columns shift with the width of numbers.
fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for word in line.split_whitespace() {
        let mut rest = word;
        while !rest.is_empty() {
            let begins = |at: usize| number(&rest[at..]).is_some();
            let before = rest.char_indices().map(|(at, _)| at).find(|&at| begins(at)).unwrap_or(rest.len());
            if before > 0 {
                tokens.push(Token::Word(&rest[..before]));
            }
            rest = &rest[before..];
            if let Some((length, found)) = number(rest) {
                tokens.push(Token::Number(found));
                rest = &rest[length..];
            }
        }
    }
    tokens
}

/// The number that `text` begins with, and its length: `-12`, `0.5`, `3e-4`, `64,667`.
fn number(text: &str) -> Option<(usize, Number)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let sign = usize::from(text.starts_with(['-', '+']));
    let mut end = sign + digits(&text[sign..]);
    if end == sign {
        return None;
    }
    // Thousands: groups of three digits.
    while text[end..].starts_with(',') && digits(&text[end + 1..]) == 3 {
        end += 4;
    }
    let mut decimals = 0;
    if text[end..].starts_with('.') {
        decimals = digits(&text[end + 1..]);
        end += if decimals > 0 { 1 + decimals } else { 0 };
    }
    let mut power = 0;
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['-', '+']));
        let length = 1 + sign + digits(&text[end + 1 + sign..]);
        if length > 1 + sign {
            power = text[end + 1..end + length].parse().unwrap_or(0);
            end += length;
        }
    }
    let value = text[..end].replace(',', "").parse().ok()?;
    let last_digit = if decimals > 0 { 10f64.powi(power - i32::try_from(decimals).ok()?) } else { 0.0 };
    Some((end, Number { value, last_digit }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(old: &str, new: &str) -> Option<String> {
        let output = |text: &str| [json!({"output_type": "stream", "name": "stdout", "text": text})];
        difference(&output(old), &output(new), TOLERANCE)
    }

    #[test]
    fn numbers_may_differ_a_little_and_words_may_not() {
        for (old, new) in [
            ("loss 0.512, 64,667 cells", "loss 0.520, 65,000 cells"),
            ("p = 1.2e-3  n=7", "p = 1.3e-3 n=7"),
            ("| a |  9.9 |", "| a | 10.0 |"),
            ("0.01", "0.02"),
            ("", "\n"),
            ("-0.5 µm", "-0.51 µm"),
            ("99999999999999999999", "99999999999999999999"),
        ] {
            assert_eq!(said(old, new), None, "{old} and {new}");
        }
        for (old, new, why) in [
            ("loss 0.512", "loss 0.612", "differ by 16.3 %"),
            ("loss 0.5", "gain 0.5", "other words"),
            ("8 genes", "9 genes", "8 and 9 differ by 11.1 %"),
            ("0.50", "-0.50", "differ by 200.0 %"),
            ("a\nb", "a", "a line is missing: `b`"),
            ("a", "a\nb", "a line is new: `b`"),
            ("NaN", "0.5", "other words"),
        ] {
            let found = said(old, new).unwrap_or_default();
            assert!(found.contains(why), "{old} and {new}: {found}");
        }
    }

    #[test]
    fn a_figure_is_there_or_not_and_a_table_is_text() {
        let shown = |html: &str| [json!({"output_type": "execute_result", "data": {"text/html": html}})];
        let figure = shown("<svg><text>1</text></svg>");
        assert_eq!(difference(&figure, &shown("<svg><text>2</text></svg>"), TOLERANCE), None);
        assert!(difference(&figure, &[], TOLERANCE).is_some_and(|why| why.contains("stored figure")));
        assert!(difference(&[], &figure, TOLERANCE).is_some_and(|why| why.contains("not stored")));
        let table = |number: f64| shown(&format!("<tr><td>L2</td><td>{number}</td></tr><tr><td>E</td></tr>"));
        assert_eq!(difference(&table(7.5), &table(7.6), TOLERANCE), None);
        let why = difference(&table(7.5), &table(9.5), TOLERANCE).unwrap_or_default();
        assert!(why.contains("line 1 was `L2  7.5`"), "{why}");
    }

    #[test]
    fn errors_are_compared_by_name_and_standard_error_is_not() {
        let error = [json!({"output_type": "error", "ename": "Panic", "evalue": "1"})];
        assert!(difference(&[], &error, TOLERANCE).is_some_and(|why| why.contains("Panic")));
        assert!(difference(&error, &[], TOLERANCE).is_some_and(|why| why.contains("any more")));
        assert_eq!(difference(&error, &error, TOLERANCE), None);
        let warning = [json!({"output_type": "stream", "name": "stderr", "text": "warning"})];
        assert_eq!(difference(&[], &warning, TOLERANCE), None);
    }
}
