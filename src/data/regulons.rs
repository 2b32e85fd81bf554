//! Transcription factors and their targets from a TSV file, the form in which DoRothEA, CollecTRI and SCENIC are given out.
//!
//! One pair a line, fields by tabs: `tf  target  [weight]`. A first line that says `tf` or `source`, and `target`, is a
//! heading; lines that begin with `#` are comments. A weight is a number (its sign: activation or repression). Further fields are not
//! read. The file may be compressed with gzip.

use crate::{Error, Result, files::read_text};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// A transcription factor and its targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Regulon {
    /// The transcription factor.
    pub tf: String,
    /// Target genes in the order of the file, each with its weight; 1 where the file gives none.
    pub targets: Vec<(String, f64)>,
}

/// The regulons of one file, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Regulons {
    /// Sorted by transcription factor.
    pub regulons: Vec<Regulon>,
}

impl Regulons {
    /// Reads a TSV file, plain or compressed with gzip.
    ///
    /// # Errors
    /// A file that cannot be read; those of [`Regulons::parse`], with the file's name in front.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&read_text(path)?).map_err(|e| e.at(path.display()))
    }

    /// Reads the text of a TSV file.
    ///
    /// # Errors
    /// A line without two names, a weight that is no finite number, a pair that stands twice, no pair at all; the message
    /// gives the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut of: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
        let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            let (Some(&tf), Some(&target)) = (fields.first(), fields.get(1)) else {
                return Err(Error::data(format!(
                    "line {number}: {line:?} is one field; a line is TF, TARGET and perhaps WEIGHT, parted by tabs"
                )));
            };
            let heading =
                ["tf", "source"].contains(&tf.to_lowercase().as_str()) && target.eq_ignore_ascii_case("target");
            if seen.is_empty() && heading {
                continue;
            }
            if tf.is_empty() || target.is_empty() {
                return Err(Error::data(format!(
                    "line {number}: a name is empty; a line is TF, TARGET and perhaps WEIGHT, parted by tabs"
                )));
            }
            let weight = match fields.get(2).filter(|field| !field.is_empty()) {
                None => 1.0,
                Some(field) => field.parse::<f64>().ok().filter(|weight| weight.is_finite()).ok_or_else(|| {
                    Error::data(format!(
                        "line {number}: the weight of {tf} on {target} is {field:?}, which is no number"
                    ))
                })?,
            };
            if let Some(first) = seen.insert((tf, target), number) {
                return Err(Error::data(format!("line {number}: {tf} and {target} stand in line {first} too")));
            }
            of.entry(tf).or_default().push((target.to_owned(), weight));
        }
        if of.is_empty() {
            return Err(Error::data("line 1: no regulon; a line is TF, TARGET and perhaps WEIGHT, parted by tabs"));
        }
        Ok(Self { regulons: of.into_iter().map(|(tf, targets)| Regulon { tf: tf.to_owned(), targets }).collect() })
    }

    /// The measured targets of each transcription factor as columns of a dataset whose genes are `genes`, ascending; kept
    /// are those with `min_size` or more. A target of weight 0 is none.
    ///
    /// # Errors
    /// No transcription factor is left: the names are of another kind.
    pub fn measured(&self, genes: &[String], min_size: usize) -> Result<Vec<Vec<u32>>> {
        let place: HashMap<&str, u32> = genes.iter().map(String::as_str).zip(0..).collect();
        let columns = |regulon: &Regulon| {
            let targets = regulon.targets.iter().filter(|(_, weight)| *weight != 0.0);
            let mut columns: Vec<u32> = targets.filter_map(|(gene, _)| place.get(gene.as_str()).copied()).collect();
            columns.sort_unstable();
            columns
        };
        let sets: Vec<Vec<u32>> =
            self.regulons.iter().map(columns).filter(|set| set.len() >= min_size.max(1)).collect();
        if sets.is_empty() {
            return Err(Error::inapplicable(format!(
                "none of the {} transcription factors has {} measured targets; the data's genes are named like {:?}, \
                 the targets like {:?}",
                self.regulons.len(),
                min_size.max(1),
                genes.first().map_or("", String::as_str),
                self.regulons.first().and_then(|r| r.targets.first()).map_or("", |(gene, _)| gene.as_str()),
            )));
        }
        Ok(sets)
    }
}
