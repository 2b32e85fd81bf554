//! Predictions that were made elsewhere, measured as a model: how predictions from Python are compared.
//!
//! The file is an AnnData (`.h5ad`) with the perturbation of each row in `obs` and gene names in `var`. A row is one of
//!
//! - an **effect**: the difference to control, one row per condition (`uns["effect"]` or the user says so);
//! - a **profile**: mean log-normalised expression, one row per condition;
//! - a **cell**: many rows per condition, log1p of 10,000 counts per cell, or counts.
//!
//! They are in `X`, a layer, or an array of `obsm` with one column per gene. Genes are aligned by name; a file may have some of
//! the data's genes, then all models are compared on those. Where the split has a context, `obs` has that column, too. A
//! column `split_seed` (or `seed`) says for which split a row was predicted; without it, a row is used for all splits, and
//! whether its model had seen the held-out conditions cannot be checked.
//!
//! A file that cannot be scored is a row with its reason, like a model that failed.

mod conditions;
mod kind;
mod read;
mod scale;
mod shared;
mod source;

pub use kind::PredictionKind;
pub(super) use shared::OnSharedGenes;
pub use source::{PredictionMatrix, PredictionSource};

use super::{BenchmarkData, data::Fingerprint};
use crate::{
    Error, Result,
    data::{Condition, Controls, Counts, OpenOptions, TrainingData, mean_expression},
    predict::{Fitted, Predictor},
};
use conditions::RowsOf;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use serde_json::json;
use std::{path::Path, sync::Arc};

/// The predictions of one file, in genes of the dataset that they are measured on; or the reason why it cannot be scored.
#[derive(Debug, Clone)]
pub struct PredictionFile {
    name: String,
    description: String,
    fingerprint: String,
    notes: Vec<String>,
    rows: Result<Arc<Rows>, String>,
}

/// The rows of the file, and which belong to a condition.
#[derive(Debug)]
struct Rows {
    values: Values,
    of: RowsOf,
    name: String,
    kind: PredictionKind,
    /// The genes of the dataset that the columns are, ascending.
    genes: Vec<usize>,
}

#[derive(Debug)]
enum Values {
    /// Effects or profiles, `(rows, genes)`.
    Means(Array2<f32>),
    /// Log-normalised cells, `(rows, genes)`.
    Cells(Counts),
}

impl PredictionFile {
    /// Reads a file for `data`. `name` is the model's name; without it, the file's name without its ending. What the
    /// rows are is inferred where possible; `kind` says it where the file does not. Of `options`, those that concern
    /// perturbation names are used, so that labels are read as those of the data.
    ///
    /// # Errors
    /// Too few genes of the data, a value that is not finite, no perturbation of the data, no column of the data's context,
    /// rows that cannot be told apart, a scale that is not log1p of 10,000.
    pub fn open(
        path: impl AsRef<Path>,
        name: Option<&str>,
        kind: Option<PredictionKind>,
        data: &BenchmarkData,
        options: &OpenOptions,
    ) -> Result<Self> {
        let (file, name) = (path.as_ref().to_owned(), name.map(str::to_owned));
        Self::read(&PredictionSource { name, file, kind, ..PredictionSource::default() }, data, options)
    }

    /// As [`PredictionFile::open`], for all that a user may say of a file.
    ///
    /// # Errors
    /// As [`PredictionFile::open`].
    pub fn read(source: &PredictionSource, data: &BenchmarkData, options: &OpenOptions) -> Result<Self> {
        let (name, path) = (source.model(), source.file.display());
        let read = read::read(source, data, options).map_err(|error| error.at(&path))?;
        let (rows, notes) = (read.rows, read.notes);
        Ok(Self {
            description: format!("Predictions ({}) of {path}", rows.kind.name()),
            fingerprint: rows.fingerprint(),
            notes: notes.into_iter().map(|note| format!("{name}: {note}")).collect(),
            rows: Ok(Arc::new(rows)),
            name,
        })
    }

    /// As [`PredictionFile::read`]; a file that cannot be read has no scores, and the reason in their place.
    pub fn read_or_refuse(source: &PredictionSource, data: &BenchmarkData, options: &OpenOptions) -> Self {
        Self::read(source, data, options).unwrap_or_else(|error| Self {
            name: source.model(),
            description: format!("Predictions of {}", source.file.display()),
            fingerprint: String::new(),
            notes: Vec::new(),
            rows: Err(error.to_string().replace('\n', " ")),
        })
    }

    /// What was decided while the file was read, for the user to see.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Why the file cannot be scored; `None` where it can.
    pub fn refusal(&self) -> Option<&str> {
        self.rows.as_ref().err().map(String::as_str)
    }

    /// What the rows are; `None` for a file that cannot be scored.
    pub fn kind(&self) -> Option<PredictionKind> {
        self.rows.as_ref().ok().map(|rows| rows.kind)
    }

    /// The places of its genes among those of the data, ascending; none for a file that cannot be scored.
    pub fn genes(&self) -> &[usize] {
        self.rows.as_ref().map_or(&[], |rows| &rows.genes)
    }

    /// The split seeds that the file names; empty where its rows are used for all splits.
    pub fn seeds(&self) -> Vec<u64> {
        let of = self.rows.as_ref().map(|rows| rows.of.keys().filter_map(|(seed, _)| *seed).collect());
        let mut seeds: Vec<u64> = of.unwrap_or_default();
        seeds.dedup();
        seeds
    }

    fn refuse(&mut self, reason: &str) {
        self.rows = Err(reason.to_owned());
    }

    /// The same for a dataset of which the genes `kept` are left, all of which the file has.
    fn on_genes(&self, kept: &[usize]) -> Result<Self> {
        let Ok(rows) = &self.rows else { return Ok(self.clone()) };
        let places: Vec<usize> =
            kept.iter().map(|gene| rows.genes.binary_search(gene).expect("all files have the shared genes")).collect();
        let rows = Rows {
            values: match &rows.values {
                Values::Means(means) => Values::Means(means.select(Axis(1), &places)),
                Values::Cells(cells) => Values::Cells(cells.select_genes(&places)?),
            },
            of: rows.of.clone(),
            name: rows.name.clone(),
            kind: rows.kind,
            genes: (0..kept.len()).collect(),
        };
        Ok(Self { fingerprint: rows.fingerprint(), rows: Ok(Arc::new(rows)), ..self.clone() })
    }
}

impl Rows {
    /// SHA-256 of everything that a score depends on.
    fn fingerprint(&self) -> String {
        let mut hash = Fingerprint::default();
        hash.texts(self.of.iter().map(|((seed, condition), rows)| format!("{seed:?} {condition} {rows:?}")));
        match &self.values {
            Values::Means(means) => hash.numbers(means.iter().map(|value| value.to_bits())),
            Values::Cells(cells) => {
                hash.numbers(cells.indptr().iter().map(|&offset| offset as u32));
                hash.numbers(cells.indices().iter().copied());
                hash.numbers(cells.values().iter().map(|value| value.to_bits()));
            }
        }
        hash.finish()
    }
}

impl Predictor for PredictionFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn settings(&self) -> serde_json::Value {
        match &self.rows {
            Ok(rows) => json!({ "kind": rows.kind.name(), "sha256": self.fingerprint }),
            Err(reason) => json!({ "not_scored": reason }),
        }
    }

    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        let rows = self.rows.as_ref().map_err(|reason| Error::data(reason.clone()))?;
        if rows.genes.len() != training.genes.len() {
            return Err(Error::shape("genes of predictions and data", rows.genes.len(), training.genes.len()));
        }
        let controls = training.controls()?.cloned();
        Ok(Box::new(Answers { rows: Arc::clone(rows), controls, seed: training.seed }))
    }
}

/// Means of a thousand cells that were summed in `f32` agree to this, relative to their size.
const ROUNDING: f32 = 4e-6;

/// The answers for one split.
struct Answers {
    rows: Arc<Rows>,
    controls: Option<Controls>,
    seed: u64,
}

impl Answers {
    fn rows_of(&self, condition: &Condition) -> Result<&[usize]> {
        let Rows { of, name, .. } = self.rows.as_ref();
        let of_seed = |seed| of.get(&(seed, condition.clone())).map(Vec::as_slice);
        of_seed(None).or_else(|| of_seed(Some(self.seed))).ok_or_else(|| {
            let seeded = of.keys().any(|(seed, _)| seed.is_some());
            let of_split = if seeded { " for this split" } else { "" };
            Error::inapplicable(format!("the file of {name} has no prediction of the condition{of_split}"))
        })
    }

    fn less_control(&self, mut profile: Array1<f32>, condition: &Condition) -> Result<Array1<f32>> {
        let control = self.control(condition);
        profile -=
            &control.ok_or_else(|| Error::inapplicable("there is no control to take the profile's effect from"))?;
        Ok(self.without_rounding(profile, condition))
    }

    fn control(&self, condition: &Condition) -> Option<ArrayView1<'_, f32>> {
        self.controls.as_ref().and_then(|controls| controls.of(condition.context.as_deref()))
    }

    /// The effect with what is within the rounding of `f32` means taken for no change: ranked, it would be scored as an effect.
    fn without_rounding(&self, mut effect: Array1<f32>, condition: &Condition) -> Array1<f32> {
        if let Some(control) = self.control(condition) {
            effect.zip_mut_with(&control, |effect, control| {
                if effect.abs() <= ROUNDING * control.abs() {
                    *effect = 0.0;
                }
            });
        }
        effect
    }
}

impl Fitted for Answers {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let rows = self.rows_of(condition)?;
        match (&self.rows.values, self.rows.kind) {
            (Values::Means(means), PredictionKind::Effects) => {
                Ok(self.without_rounding(means.row(rows[0]).to_owned(), condition))
            }
            (Values::Means(means), _) => self.less_control(means.row(rows[0]).to_owned(), condition),
            (Values::Cells(cells), _) => self.less_control(mean_expression(cells, rows), condition),
        }
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let Values::Cells(cells) = &self.rows.values else { return None };
        Some(self.rows_of(condition).map(|rows| {
            let rows = super::task::draw(rows, n, seed);
            cells.select_cells(&rows).to_dense()
        }))
    }
}
