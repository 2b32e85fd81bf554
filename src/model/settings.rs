//! A configuration file: the tables of a model beside those that every model shares.

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Tables that are no settings of a model: what is held out, and quality control.
const SHARED: [&str; 2] = ["split", "qc"];
/// The key that names the variant of a setting.
const VARIANT: &str = "kind";

/// A TOML file with settings. Every key may be left out, an unknown one is refused with its line.
#[derive(Debug, Clone)]
pub struct SettingsFile {
    path: PathBuf,
    text: String,
    table: toml::Table,
}

impl SettingsFile {
    /// Reads a file.
    ///
    /// # Errors
    /// No file there, or no TOML in it: the line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let file = Self { path: path.to_owned(), table: toml::Table::new(), text };
        let table = file.parse(&file.text)?;
        Ok(Self { table, ..file })
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a key is given, by its path: `["train", "epochs"]`.
    pub fn gives(&self, path: &[&str]) -> bool {
        let Some((key, tables)) = path.split_last() else { return false };
        let inner = tables.iter().try_fold(&self.table, |table, name| table.get(*name)?.as_table());
        inner.is_some_and(|table| table.contains_key(*key))
    }

    /// The table `name` that every model shares; `None` where the file has none.
    ///
    /// # Errors
    /// A key that is unknown, a value of a wrong type, or one that `validate` refuses: the line.
    pub fn shared<T: DeserializeOwned>(&self, name: &str, validate: impl Fn(&T) -> Result<()>) -> Result<Option<T>> {
        if !self.table.contains_key(name) {
            return Ok(None);
        }
        let only = self.lines_of(|table| table == name);
        let mut tables: std::collections::BTreeMap<String, T> = self.parse(&only)?;
        let found = tables.remove(name);
        found.as_ref().map_or(Ok(()), |found| validate(found).map_err(|e| self.located(e)))?;
        Ok(found)
    }

    /// The settings of a model: the file's over `defaults`, key by key.
    ///
    /// # Errors
    /// As [`Self::shared`].
    pub fn over<T: serde::Serialize + DeserializeOwned>(
        &self,
        defaults: &T,
        validate: impl Fn(&T) -> Result<()>,
    ) -> Result<T> {
        // Read as it stands first: only the text knows the line of a key that is wrong.
        let own = self.lines_of(|table| !SHARED.contains(&table));
        let _: T = self.parse(&own)?;
        let given: toml::Table = self.parse(&own)?;
        let mut all = toml::Table::try_from(defaults).expect("settings are tables");
        lay(&mut all, given);
        let settings: T = all
            .try_into()
            .map_err(|e: toml::de::Error| Error::config(format!("{}: {}", self.path.display(), e.message())))?;
        validate(&settings).map_err(|e| self.located(e))?;
        Ok(settings)
    }

    /// The tables of a file with the settings of several models: the name of each, and what stands beneath it
    /// (`[vae.train]` as `[train]`), sorted by name.
    ///
    /// # Errors
    /// A setting outside of every table; a table that is no setting of a model but of a training command
    /// (`[NAME.split]`, `[NAME.qc]`).
    pub fn by_model(&self) -> Result<Vec<(String, Self)>> {
        let beneath = |(name, value): (&String, &toml::Value)| {
            let toml::Value::Table(table) = value else {
                let message =
                    format!("{name} stands outside of every table; settings stand beneath the name of their model");
                return Err(self.located(Error::config(message)));
            };
            if let Some(shared) = SHARED.iter().find(|shared| table.contains_key(**shared)) {
                let message = format!("[{name}.{shared}] is no setting of a model");
                return Err(Error::config(message).at(self.path.display()));
            }
            let text = self.lines_beneath(name);
            // Forms that no header line shows (inline tables, dotted keys) lose the numbers of their lines.
            let text = match toml::from_str::<toml::Table>(&text) {
                Ok(read) if read == *table => text,
                _ => toml::to_string(table).expect("it was read from TOML"),
            };
            Ok((name.clone(), Self { path: self.path.clone(), text, table: table.clone() }))
        };
        self.table.iter().map(beneath).collect()
    }

    /// The lines of the table `model` and of the tables beneath it, whose headers lose that name; other lines are emptied, so
    /// that the numbers of the lines stay.
    fn lines_beneath(&self, model: &str) -> String {
        let (mut inside, mut lines) = (false, String::new());
        for line in self.text.lines() {
            let header = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
            match header {
                Some((header, comment)) => {
                    let (first, rest) = header.split_once('.').unwrap_or((header, ""));
                    inside = first.trim().trim_matches(['"', '\'']) == model;
                    if inside && !rest.is_empty() {
                        lines += &format!("[{rest}]{comment}");
                    }
                }
                None if inside => lines += line,
                None => {}
            }
            lines.push('\n');
        }
        lines
    }

    /// The file's text with the lines of other tables emptied, so that the numbers of the lines stay.
    fn lines_of(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut table = String::new();
        let mut lines = String::new();
        for line in self.text.lines() {
            if let Some(header) = line.trim_start().strip_prefix('[') {
                let name = header.trim_start_matches('[').split([']', '.']).next().unwrap_or_default();
                table = name.trim().trim_matches(['"', '\'']).to_owned();
            }
            // Keys above the first table are of no table that is shared.
            if wanted(&table) {
                lines += line;
            }
            lines.push('\n');
        }
        lines
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T> {
        toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Error::config(format!("{} line {line}: {}", self.path.display(), e.message().replace('\n', " ")))
        })
    }

    /// Adds the line that sets what an error complains about by name.
    fn located(&self, error: Error) -> Error {
        let message = error.to_string();
        let words = || message.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let named = |line: &str| line.split_once('=').is_some_and(|(key, _)| words().any(|word| word == key.trim()));
        match self.text.lines().position(named) {
            Some(line) => error.at(format!("{} line {}", self.path.display(), line + 1)),
            None => error.at(self.path.display()),
        }
    }
}

/// Lays tables over others, key by key; where the variant of a setting differs, its whole table is replaced.
fn lay(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) if same_variant(old, &new) => lay(old, new),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}

/// Whether two tables are of the same variant: by their `kind`, or, where the name of the variant is the only key, by that.
fn same_variant(old: &toml::Table, new: &toml::Table) -> bool {
    match (new.get(VARIANT), old.len(), new.len()) {
        (Some(kind), ..) => old.get(VARIANT) == Some(kind),
        (None, 1, 1) => old.keys().eq(new.keys()),
        _ => true,
    }
}
