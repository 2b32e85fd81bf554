//! The context of a cell: its levels in some columns (cell type, donor, lane), together.
//!
//! With one column a context is named by its level. With several it is named by its levels, in the order of the sorted column
//! names and joined by ` | `; a `|` or a `\` within a level then has a `\` before it, so that two combinations of levels never
//! share a name.

use super::{Condition, Dataset};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// What joins the names of columns in the name of a split.
const PLUS: char = '+';
/// What joins levels in the name of a context.
const BAR: &str = " | ";

/// The columns of cells whose levels together are the context of a cell; none where the data has one context only.
///
/// They are sorted: in which order they were named plays no part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContextColumns(Vec<String>);

impl ContextColumns {
    /// These columns.
    ///
    /// # Errors
    /// A column that is named twice.
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        match names.windows(2).find(|two| two[0] == two[1]) {
            Some(two) => Err(Error::config(format!("the column {:?} is named twice; name it once", two[0]))),
            None => Ok(Self(names)),
        }
    }

    /// The columns that a split names: `COLUMN`, or several as `COLUMN+COLUMN`. A column of the data whose own name holds a `+`
    /// is that column.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn parse(text: &str, data: &Dataset) -> Result<Self> {
        match data.cells.column(text) {
            None if text.contains(PLUS) => Self::new(text.split(PLUS).map(|name| name.trim().to_owned())),
            _ => Self::new([text.to_owned()]),
        }
    }

    /// The names of the columns, sorted.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether a context is a combination of levels.
    pub fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// The name of the context with these levels, one per column.
    pub fn context<S: AsRef<str>>(&self, levels: &[S]) -> String {
        match levels {
            [level] => level.as_ref().to_owned(),
            levels => {
                let escaped = |level: &S| level.as_ref().replace('\\', "\\\\").replace('|', "\\|");
                levels.iter().map(escaped).collect::<Vec<_>>().join(BAR)
            }
        }
    }

    /// The levels of a context by its name, one per column; `None` for a name that is not one of these columns.
    pub fn levels(&self, context: &str) -> Option<Vec<String>> {
        if !self.are_several() {
            return (!self.0.is_empty()).then(|| vec![context.to_owned()]);
        }
        let (mut levels, mut level) = (Vec::new(), String::new());
        let mut rest = context;
        while let Some(letter) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix(BAR) {
                levels.push(std::mem::take(&mut level));
                rest = after;
                continue;
            }
            rest = &rest[letter.len_utf8()..];
            // The letter after a backslash stands for itself.
            match (letter, rest.chars().next()) {
                ('\\', Some(escaped)) => {
                    level.push(escaped);
                    rest = &rest[escaped.len_utf8()..];
                }
                _ => level.push(letter),
            }
        }
        levels.push(level);
        (levels.len() == self.0.len()).then_some(levels)
    }

    /// The name of the context of each cell; `None` without columns.
    ///
    /// # Errors
    /// A column that is not there or misses a value.
    pub fn of_cells(&self, data: &Dataset) -> Result<Vec<Option<String>>> {
        let columns = self.0.iter().map(|name| values(data, name)).collect::<Result<Vec<_>>>()?;
        let context = |cell: usize| {
            let levels: Vec<&str> = columns.iter().map(|column| column[cell].as_str()).collect();
            (!levels.is_empty()).then(|| self.context(&levels))
        };
        Ok((0..data.n_cells()).map(context).collect())
    }
}

/// The values of a column.
fn values(data: &Dataset, name: &str) -> Result<Vec<String>> {
    let column = data.cells.column(name).ok_or_else(|| {
        Error::config(format!(
            "there is no column {name:?} of cells to take the context from; the columns are {}",
            data.cells.column_names().join(", ")
        ))
    })?;
    let value = |(cell, value): (usize, Option<String>)| {
        value.ok_or_else(|| Error::data(format!("the column {name:?} has no value for cell {cell}")))
    };
    column.to_text().into_iter().enumerate().map(value).collect()
}

/// Numbers of cells of a context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContextSize {
    /// Control cells.
    pub controls: usize,
    /// Perturbed cells.
    pub perturbed: usize,
}

/// How many of the cells `rows` each context has.
pub fn context_sizes<'a>(conditions: &'a [Condition], rows: &[usize]) -> BTreeMap<&'a str, ContextSize> {
    let mut sizes: BTreeMap<&str, ContextSize> = BTreeMap::new();
    for condition in rows.iter().map(|&row| &conditions[row]) {
        let size = sizes.entry(condition.context.as_deref().unwrap_or_default()).or_default();
        match condition.perturbation.is_control() {
            true => size.controls += 1,
            false => size.perturbed += 1,
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> ContextColumns {
        ContextColumns::new(names.iter().map(|&name| name.to_owned())).expect("they differ")
    }

    #[test]
    fn levels_come_back_whatever_letters_they_hold() {
        let two = columns(&["donor", "cell_type"]);
        assert_eq!(two.names(), ["cell_type", "donor"], "the order plays no part");
        assert_eq!(two.context(&["CD4 T cells", "donor=3, b"]), "CD4 T cells | donor=3, b");
        for levels in
            [["a", "b | c"], ["a | b", "c"], ["a\\", "b"], ["a", "\\| b"], ["", " "], ["|", "\\"], ["é", "ü | "]]
        {
            assert_eq!(two.levels(&two.context(&levels)).expect("two levels"), levels);
        }
        assert_ne!(two.context(&["a", "b | c"]), two.context(&["a | b", "c"]));
        assert_eq!(two.levels("target"), None, "a context of another kind");
        let one = columns(&["cell_type"]);
        assert_eq!(one.context(&["a | b"]), "a | b");
        assert_eq!(one.levels("a | b").expect("one level"), ["a | b"]);
        assert_eq!(ContextColumns::default().levels("a"), None);
        let twice = ContextColumns::new(["a".to_owned(), "a".to_owned()]);
        assert!(twice.expect_err("one column").to_string().contains("twice"));
    }
}
