//! Whether a cell shows what it showed when its outputs were stored: the same text, with numbers that may differ a
//! little, and as many figures with the same titles and captions. What a figure looks like does not count.

use super::{
    execution::Execution,
    notebook::{Notebook, text},
};
use serde_json::Value;

/// How far numbers may be apart, relative to the larger one, unless told otherwise.
pub const TOLERANCE: f64 = 0.05;
/// Tag of a cell whose outputs differ from run to run; the name is that of nbval, a test runner for notebooks.
const IGNORE: &str = "nbval-ignore-output";
/// Tag of a cell whose numbers differ from run to run or from machine to machine, such as seconds; its words do not.
const VARIES: &str = "varies";
/// Characters of a line that are shown.
const WIDTH: usize = 100;

/// How numbers are compared.
#[derive(Debug, Clone, Copy)]
enum Numbers {
    /// They may be apart by this fraction of the larger one, and by what rounding does to them.
    Within(f64),
    /// A number is a number.
    Vary,
}

/// The cells that show something else than `stored` says, each with its number and the first difference. Cells that
/// failed are left out: they are reported as such.
pub fn differences(stored: &Notebook, execution: &Execution, tolerance: f64) -> Vec<(usize, String)> {
    let cells: Vec<_> = stored.cells().collect();
    let steps = execution.cells.iter().filter(|step| step.failure().is_none());
    let compared = steps.filter_map(|step| {
        let cell = cells.get(step.position).filter(|cell| !cell.has_tag(IGNORE))?;
        let numbers = if cell.has_tag(VARIES) { Numbers::Vary } else { Numbers::Within(tolerance) };
        let why = difference(cell.outputs(), &step.ran.as_ref()?.outputs, numbers)?;
        Some((step.number, why))
    });
    compared.collect()
}

/// What to type so that a notebook stores what its cells show now.
pub fn refresh(notebook: &str) -> String {
    format!("if the new outputs are right, store them: genailab-kernel run {notebook}")
}

/// The first difference between the outputs of a cell, in one line. Standard error is not compared.
fn difference(stored: &[Value], new: &[Value], numbers: Numbers) -> Option<String> {
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
    match (old.figures, new.figures) {
        (0, 1..) => return Some("it shows a figure that is not stored".to_owned()),
        (1.., 0) => return Some("the stored figure does not come any more".to_owned()),
        (stored, new) if stored != new => return Some(format!("{stored} figures are stored, and {new} come")),
        _ => {}
    }
    let (old, new) = (lines(&old.text), lines(&new.text));
    for (number, (old, new)) in (1..).zip(old.iter().zip(&new)) {
        if let Some(why) = differs(old, new, numbers) {
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

    /// A figure is counted, and its text form is text: title and caption.
    fn data(&mut self, data: &Value) {
        let figure = is_figure(data);
        self.figures += usize::from(figure);
        match &data["text/plain"] {
            Value::Null if figure => {}
            Value::Null => self.text += &without_tags(&text(&data["text/html"])),
            words => self.text += &text(words),
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
fn differs(old: &str, new: &str, numbers: Numbers) -> Option<String> {
    let (old, new) = (tokens(old), tokens(new));
    if old.len() != new.len() {
        return Some("other words".to_owned());
    }
    old.iter().zip(&new).find_map(|(old, new)| match (old, new, numbers) {
        (Token::Number(_), Token::Number(_), Numbers::Vary) => None,
        (Token::Number(old), Token::Number(new), Numbers::Within(tolerance)) => {
            let (a, b) = (old.value, new.value);
            let apart = (a - b).abs();
            let rounding = old.rounding + new.rounding;
            let near = a == b || apart <= 1.001 * (tolerance * a.abs().max(b.abs()) + rounding);
            (!near).then(|| format!("{a} and {b} differ by {:.1} %", 100.0 * apart / a.abs().max(b.abs())))
        }
        (old, new, _) => (old != new).then(|| "other words".to_owned()),
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
    /// How far rounding may have moved it: half a unit of the last decimal that is printed. For a whole number, which
    /// may be a count, a quarter: two that are one apart are not alike only because both may be rounded.
    rounding: f64,
}

/// Words and numbers of a line. Spaces part them and do not count otherwise: columns shift with the width of numbers.
/// Digits that follow a letter are part of a name: `K562`, `gene_7`.
fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for word in line.split_whitespace() {
        let mut rest = word;
        while !rest.is_empty() {
            let in_name = |at: usize| rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let begins = |at: usize| !in_name(at) && number(&rest[at..]).is_some();
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
    let rounding = match decimals {
        0 if power == 0 => 0.25,
        _ => 0.5 * 10f64.powi(power - i32::try_from(decimals).ok()?),
    };
    Some((end, Number { value, rounding }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WITHIN: Numbers = Numbers::Within(TOLERANCE);

    fn said(old: &str, new: &str) -> Option<String> {
        compared(old, new, WITHIN)
    }

    fn compared(old: &str, new: &str, numbers: Numbers) -> Option<String> {
        let output = |text: &str| [json!({"output_type": "stream", "name": "stdout", "text": text})];
        difference(&output(old), &output(new), numbers)
    }

    #[test]
    fn numbers_may_differ_a_little_and_words_may_not() {
        for (old, new) in [
            ("loss 0.512, 64,667 cells", "loss 0.520, 65,000 cells"),
            ("p = 1.2e-3  n=7", "p = 1.3e-3 n=7"),
            ("| a |  9.9 |", "| a | 10.0 |"),
            ("0.01", "0.02"),
            ("1e-3", "2e-3"),
            ("12 %", "13 %"),
            ("score-0.50", "score-0.51"),
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
            ("0.01", "0.03", "differ by 66.7 %"),
            ("1 of 3", "2 of 3", "1 and 2 differ"),
            ("K562", "K563", "other words"),
            ("gene_12", "gene_13", "other words"),
        ] {
            let found = said(old, new).unwrap_or_default();
            assert!(found.contains(why), "{old} and {new}: {found}");
        }
    }

    #[test]
    fn where_numbers_vary_only_words_are_compared() {
        assert_eq!(compared("fitted in 0.3 s", "fitted in 12 s", Numbers::Vary), None);
        let why = compared("fitted in 0.3 s", "failed in 0.3 s", Numbers::Vary);
        assert_eq!(why.as_deref(), Some("line 1 was `fitted in 0.3 s` and is `failed in 0.3 s`: other words"));
    }

    #[test]
    fn a_figure_is_there_or_not_and_a_table_is_text() {
        let shown = |html: &str| [json!({"output_type": "execute_result", "data": {"text/html": html}})];
        let figure = shown("<svg><text>1</text></svg>");
        assert_eq!(difference(&figure, &shown("<svg><text>2</text></svg>"), WITHIN), None);
        assert!(difference(&figure, &[], WITHIN).is_some_and(|why| why.contains("stored figure")));
        assert!(difference(&[], &figure, WITHIN).is_some_and(|why| why.contains("not stored")));
        let two = [&figure[..], &figure[..]].concat();
        assert_eq!(difference(&figure, &two, WITHIN).as_deref(), Some("1 figures are stored, and 2 come"));
        let table = |number: f64| shown(&format!("<tr><td>L2</td><td>{number}</td></tr><tr><td>E</td></tr>"));
        assert_eq!(difference(&table(7.5), &table(7.6), WITHIN), None);
        let why = difference(&table(7.5), &table(9.5), WITHIN).unwrap_or_default();
        assert!(why.contains("line 1 was `L2  7.5`"), "{why}");
    }

    #[test]
    fn a_stored_picture_is_compared_with_new_html_by_its_words() {
        let stored = |words: &str| [json!({"data": {"image/png": "aGk=", "text/plain": words}})];
        let new = |words: &str| [json!({"data": {"text/html": "<svg></svg>", "text/plain": words}})];
        assert_eq!(
            difference(&stored("Figure: Loss. Ends at 0.52."), &new("Figure: Loss. Ends at 0.51."), WITHIN),
            None
        );
        for words in ["Figure: Gain. Ends at 0.52.", "Figure: Loss. Ends at 0.72."] {
            let why = difference(&stored("Figure: Loss. Ends at 0.52."), &new(words), WITHIN).unwrap_or_default();
            assert!(why.starts_with("line 1 was `Figure: Loss. Ends at 0.52.` and is `"), "{why}");
        }
    }

    #[test]
    fn errors_are_compared_by_name_and_standard_error_is_not() {
        let error = [json!({"output_type": "error", "ename": "Panic", "evalue": "1"})];
        assert!(difference(&[], &error, WITHIN).is_some_and(|why| why.contains("Panic")));
        assert!(difference(&error, &[], WITHIN).is_some_and(|why| why.contains("any more")));
        assert_eq!(difference(&error, &error, WITHIN), None);
        let warning = [json!({"output_type": "stream", "name": "stderr", "text": "warning"})];
        assert_eq!(difference(&[], &warning, WITHIN), None);
    }
}
