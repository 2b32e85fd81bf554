//! The cells of this session, for clients that let the user step back through them.

use super::message::Message;
use serde_json::{Value, json};

/// The cells that were run, by their number.
#[derive(Debug, Default)]
pub struct History {
    cells: Vec<(usize, String)>,
}

impl History {
    pub fn add(&mut self, count: usize, cell: &str) {
        self.cells.push((count, cell.to_owned()));
    }

    /// The content of `history_reply`. There is one session, with the number 0. Outputs are not kept: a client that
    /// asks for them gets none.
    pub fn reply(&self, request: &Message) -> Value {
        let with_output = request.flag("output", false);
        let found: Vec<Value> = self
            .select(request)
            .iter()
            .map(|(count, cell)| if with_output { json!([0, count, [cell, null]]) } else { json!([0, count, cell]) })
            .collect();
        json!({"status": "ok", "history": found})
    }

    fn select(&self, request: &Message) -> Vec<&(usize, String)> {
        let mut found: Vec<&(usize, String)> = match request.text("hist_access_type") {
            "range" => {
                let (start, stop) = (request.number("start"), request.number("stop"));
                let in_range = |count: usize| count >= start && (stop == 0 || count < stop);
                return self.cells.iter().filter(|(count, _)| in_range(*count)).collect();
            }
            "search" => self.cells.iter().filter(|(_, cell)| matches(request.text("pattern"), cell)).collect(),
            _ => self.cells.iter().collect(),
        };
        if request.flag("unique", false) {
            let mut seen = std::collections::HashSet::new();
            found.reverse();
            found.retain(|(_, cell)| seen.insert(cell));
            found.reverse();
        }
        match request.number("n") {
            0 => found,
            n => found.split_off(found.len().saturating_sub(n)),
        }
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text and `?` for any character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not fit.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(content: Value) -> Vec<u64> {
        let mut history = History::default();
        for (count, cell) in [(1, "let a = 1;"), (2, "a"), (3, "let b = 2;"), (4, "a")] {
            history.add(count, cell);
        }
        let reply = history.reply(&Message::new("history_request", content));
        reply["history"].as_array().expect("a list").iter().map(|cell| cell[1].as_u64().expect("a number")).collect()
    }

    #[test]
    fn cells_are_found_by_place_and_by_pattern() {
        assert_eq!(ask(json!({"hist_access_type": "tail", "n": 2})), [3, 4]);
        assert_eq!(ask(json!({"hist_access_type": "tail", "n": 2, "unique": true})), [3, 4]);
        assert_eq!(ask(json!({"hist_access_type": "range", "start": 2, "stop": 4})), [2, 3]);
        assert_eq!(ask(json!({"hist_access_type": "search", "pattern": "let*", "n": 9})), [1, 3]);
        assert_eq!(ask(json!({"hist_access_type": "search", "pattern": "?", "unique": true})), [4]);
        assert_eq!(ask(json!({})), [1, 2, 3, 4]);
    }
}
