//! What a cell puts out, in the form in which a notebook stores it.

use super::notebook::lines;
use crate::engine::{CellError, Display, Output, Shown, by_mime_type};
use serde_json::{Value, json};

/// The element of HTML that the library draws a training's progress with.
const PROGRESS: &str = "<progress ";

/// The outputs of a cell so far.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// With the name under which one can be replaced.
    list: Vec<(Option<String>, Stored)>,
}

#[derive(Debug)]
enum Stored {
    Stream(&'static str, String),
    Display(Shown),
}

impl Stored {
    fn is_progress(&self) -> bool {
        matches!(self, Self::Display(data) if data.get("text/html").is_some_and(|html| html.contains(PROGRESS)))
    }
}

impl Outputs {
    /// Forgets what a thread of the cell before has printed late.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    pub fn add(&mut self, output: Output) {
        let (name, text) = match output {
            Output::Stdout(text) => ("stdout", text),
            Output::Stderr(text) => ("stderr", text),
            Output::Display(display) => return self.display(display),
        };
        match self.list.last_mut() {
            Some((_, Stored::Stream(last, all))) if *last == name => all.push_str(&text),
            _ => self.list.push((None, Stored::Stream(name, text))),
        }
    }

    fn display(&mut self, Display { data, id, update }: Display) {
        let mut named = self.list.iter_mut().filter(|(name, _)| update && name.is_some() && *name == id).peekable();
        if named.peek().is_none() {
            drop(named);
            return self.list.push((id, Stored::Display(data)));
        }
        named.for_each(|(_, stored)| *stored = Stored::Display(data.clone()));
    }

    /// All outputs of the cell, which ended with `result`. The bar of a training that is over says only how long it took.
    pub fn finish(self, result: &Result<Shown, CellError>) -> Vec<Value> {
        let mut outputs: Vec<Value> = self
            .list
            .into_iter()
            .filter(|(name, stored)| name.is_none() || !stored.is_progress())
            .map(|(_, stored)| match stored {
                Stored::Stream(name, text) => json!({"output_type": "stream", "name": name, "text": lines(&text)}),
                Stored::Display(data) => {
                    json!({"output_type": "display_data", "data": by_mime_type(&data, lines), "metadata": {}})
                }
            })
            .collect();
        match result {
            Ok(shown) if shown.is_empty() => {}
            Ok(shown) => outputs.push(json!({
                "output_type": "execute_result",
                "execution_count": null,
                "data": by_mime_type(shown, lines),
                "metadata": {},
            })),
            Err(error) => outputs.push(json!({
                "output_type": "error",
                "ename": error.name,
                "evalue": error.value,
                "traceback": error.traceback,
            })),
        }
        outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn display(text: &str, update: bool) -> Output {
        let data = Shown::from([("text/plain".to_owned(), text.to_owned())]);
        Output::Display(Display { data, id: Some("bar".to_owned()), update })
    }

    #[test]
    fn text_is_joined_and_an_update_takes_the_place_of_what_it_replaces() {
        let mut outputs = Outputs::default();
        for output in [
            Output::Stdout("a\n".to_owned()),
            Output::Stdout("b\n".to_owned()),
            display("1 %", false),
            Output::Stderr("c\n".to_owned()),
            display("99 %", true),
        ] {
            outputs.add(output);
        }
        let shown = Shown::from([("text/plain".to_owned(), "3".to_owned())]);
        let stored = outputs.finish(&Ok(shown));
        let kinds: Vec<_> = stored.iter().map(|output| output["output_type"].as_str().expect("text")).collect();
        assert_eq!(kinds, ["stream", "display_data", "stream", "execute_result"]);
        assert_eq!(stored[0]["text"], json!(["a\n", "b\n"]));
        assert_eq!(stored[1]["data"]["text/plain"], json!(["99 %"]));
        assert_eq!(stored[3]["execution_count"], Value::Null);
    }

    #[test]
    fn the_bar_of_a_training_is_not_stored() {
        let mut outputs = Outputs::default();
        let bar = |id: Option<&str>, update| {
            let data =
                Shown::from([("text/html".to_owned(), "<div><progress value=\"1\"></progress></div>".to_owned())]);
            Output::Display(Display { data, id: id.map(str::to_owned), update })
        };
        [bar(Some("a"), false), bar(Some("a"), true), bar(None, false)].into_iter().for_each(|bar| outputs.add(bar));
        assert_eq!(outputs.finish(&Ok(Shown::new())).len(), 1, "one that a cell shows for good is its result");
    }
}
