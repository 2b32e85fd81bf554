//! A dataset as a benchmark uses it, for any number of splits, and its fingerprint.

use crate::{
    Error, Result,
    data::{Column, Condition, Conditions, Counts, Dataset, Effects, Opened, TargetSum, normalize},
    model::NORMALISED_TOTAL,
};
use ndarray::Axis;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// Values that are turned into bytes at once.
const BLOCK: usize = 1 << 14;

/// The column with the class of a genetic interaction, as in the published effects of Norman 2019.
const CLASS: &str = "gi_class";

/// A dataset as a benchmark uses it, for any number of splits.
#[derive(Debug, Clone)]
pub enum BenchmarkData {
    /// One row per perturbation. Effects are scored in the unit of the file.
    Effects(Effects),
    /// One row per cell.
    Cells(Box<BenchmarkCells>),
}

/// A cells dataset, log-normalised once. Normalisation looks at one cell at a time, so no fold learns anything of another.
#[derive(Debug, Clone)]
pub struct BenchmarkCells {
    /// The cells.
    pub data: Dataset,
    /// Their log-normalised expression at 10,000 counts per cell, `(cells, genes)`.
    pub expression: Arc<Counts>,
    /// Their conditions.
    pub conditions: Conditions,
}

/// A judged condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionFacts {
    /// As in the rows.
    pub name: String,
    /// Number of cells with it; `null` where the data does not say.
    pub cells: Option<usize>,
    /// Class of its genetic interaction; `null` where the data does not say.
    pub class: Option<String>,
}

impl BenchmarkData {
    /// Prepares a dataset. `context` names the column of cells that divides each perturbation into conditions.
    ///
    /// # Errors
    /// A context for an effects dataset, or one that is no column; library sizes that are none.
    pub fn new(data: Opened, context: Option<&str>) -> Result<Self> {
        match (data, context) {
            (Opened::Effects(_), Some(column)) => Err(Error::config(format!(
                "an effects dataset has no cells, so there is no column {column:?} of cells to take a context from; give \
                 a file of cells, or another split"
            ))),
            (Opened::Effects(data), None) => Ok(Self::Effects(data)),
            (Opened::Cells(data), context) => Ok(Self::Cells(Box::new(BenchmarkCells {
                expression: Arc::new(normalize::log_normalize(&data, TargetSum::Fixed(NORMALISED_TOTAL))?),
                conditions: Conditions::of(&data, context)?,
                data,
            }))),
        }
    }

    /// The conditions, and the condition of each row.
    pub fn rows(&self) -> Cow<'_, Conditions> {
        match self {
            Self::Effects(data) => Cow::Owned(Conditions::of_effects(data)),
            Self::Cells(cells) => Cow::Borrowed(&cells.conditions),
        }
    }

    /// The distinct conditions, sorted, control among them.
    pub fn conditions(&self) -> Vec<Condition> {
        self.rows().into_owned().conditions
    }

    /// The column of cells that the context is taken from.
    pub fn context(&self) -> Option<&str> {
        match self {
            Self::Effects(_) => None,
            Self::Cells(cells) => cells.conditions.column.as_deref(),
        }
    }

    /// Names of the genes.
    pub fn genes(&self) -> &[String] {
        match self {
            Self::Effects(data) => &data.genes.names,
            Self::Cells(cells) => cells.data.gene_names(),
        }
    }

    /// The same with the genes at `kept` only. Library sizes and normalised values stay: they are of all genes.
    ///
    /// # Errors
    /// A gene that is not there, or that is given twice.
    pub(super) fn select_genes(&self, kept: &[usize]) -> Result<Self> {
        Ok(match self {
            Self::Effects(data) => Self::Effects(Effects {
                values: data.values.select(Axis(1), kept),
                genes: data.genes.select(kept),
                ..data.clone()
            }),
            Self::Cells(cells) => Self::Cells(Box::new(BenchmarkCells {
                data: cells.data.select_genes(kept)?,
                expression: Arc::new(cells.expression.select_genes(kept)?),
                conditions: cells.conditions.clone(),
            })),
        })
    }

    /// Its kind and size. Reads all of it for the fingerprint.
    pub fn facts(&self) -> DataFacts {
        let conditions = self.conditions().iter().filter(|condition| !condition.perturbation.is_control()).count();
        let (kind, cells) = match self {
            Self::Effects(_) => ("effects", 0),
            Self::Cells(cells) => ("cells", cells.data.n_cells()),
        };
        let (fingerprint, context) = (self.fingerprint(), self.context().map(str::to_owned));
        DataFacts { kind: kind.to_owned(), fingerprint, cells, genes: self.genes().len(), conditions, context }
    }

    /// The facts of every condition but control, by name.
    pub(super) fn condition_facts(&self) -> BTreeMap<String, ConditionFacts> {
        let rows = self.rows();
        let (table, cells) = match self {
            Self::Effects(data) => (&data.table, Some(data.n_cells())),
            Self::Cells(cells) => (&cells.data.cells, None),
        };
        let classes = table.column(CLASS).map(Column::to_text);
        let mut known: BTreeMap<String, ConditionFacts> = BTreeMap::new();
        for (row, &index) in rows.of_cell.iter().enumerate() {
            let condition = &rows.conditions[index as usize];
            if condition.perturbation.is_control() {
                continue;
            }
            let name = condition.to_string();
            let facts = known.entry(name.clone()).or_insert(ConditionFacts { name, cells: None, class: None });
            let n = cells.as_ref().map_or(1, |cells| cells[row]);
            facts.cells = (n > 0).then(|| facts.cells.unwrap_or(0) + n).or(facts.cells);
            let class = classes.as_ref().and_then(|classes| classes[row].clone());
            facts.class = facts.class.take().or(class.filter(|class| !class.is_empty()));
        }
        known
    }

    /// SHA-256 of everything that a score may depend on.
    fn fingerprint(&self) -> String {
        let mut hash = Fingerprint::default();
        hash.texts(self.genes().iter());
        let rows = self.rows();
        hash.texts(rows.conditions.iter());
        hash.numbers(rows.of_cell.iter().copied());
        match self {
            Self::Effects(effects) => {
                hash.texts(effects.table.columns.iter().map(|(name, column)| format!("{name} {column:?}")));
                hash.numbers(effects.values.iter().map(|value| value.to_bits()));
            }
            Self::Cells(cells) => {
                let counts = &cells.data.counts;
                hash.texts(cells.data.lanes.iter());
                hash.numbers(cells.data.lane_of.iter().copied());
                hash.numbers(cells.data.library_size.iter().map(|size| size.to_bits()));
                hash.numbers(counts.indptr().windows(2).map(|row| (row[1] - row[0]) as u32));
                hash.numbers(counts.indices().iter().copied());
                hash.numbers(counts.values().iter().map(|value| value.to_bits()));
            }
        }
        hash.finish()
    }
}

/// SHA-256 of lists: each is closed by its length, so that no two contents give the same bytes.
#[derive(Default)]
pub(super) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(super) fn texts<T: ToString>(&mut self, texts: impl Iterator<Item = T>) {
        let mut n = 0_u64;
        for text in texts {
            let text = text.to_string();
            self.0.update((text.len() as u64).to_le_bytes());
            self.0.update(text.as_bytes());
            n += 1;
        }
        self.0.update(n.to_le_bytes());
    }

    pub(super) fn numbers(&mut self, numbers: impl Iterator<Item = u32>) {
        let mut block = Vec::with_capacity(4 * BLOCK);
        let mut n = 0_u64;
        for number in numbers {
            block.extend_from_slice(&number.to_le_bytes());
            n += 1;
            if block.len() == 4 * BLOCK {
                self.0.update(&block);
                block.clear();
            }
        }
        self.0.update(&block);
        self.0.update(n.to_le_bytes());
    }

    pub(super) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// SHA-256 of some bytes, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<Dataset> for Opened {
    fn from(data: Dataset) -> Self {
        Self::Cells(data)
    }
}

impl From<&Dataset> for Opened {
    fn from(data: &Dataset) -> Self {
        Self::Cells(data.clone())
    }
}

impl From<Effects> for Opened {
    fn from(data: Effects) -> Self {
        Self::Effects(data)
    }
}

impl From<&Effects> for Opened {
    fn from(data: &Effects) -> Self {
        Self::Effects(data.clone())
    }
}

impl From<&Opened> for Opened {
    fn from(data: &Opened) -> Self {
        data.clone()
    }
}

/// The data behind a benchmark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// `cells` or `effects`.
    pub kind: String,
    /// SHA-256 of what was read: names, values, labels and contexts. The file's name does not matter.
    pub fingerprint: String,
    /// Number of cells; 0 for an effects dataset.
    pub cells: usize,
    /// Number of genes.
    pub genes: usize,
    /// Number of conditions, without control.
    pub conditions: usize,
    /// The column of cells that the context is taken from.
    pub context: Option<String>,
}
