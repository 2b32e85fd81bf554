//! Columns of cells as further conditions: cell type, donor, time, whatever a file names.
//!
//! A column is read as [`MetadataEncoder`] reads metadata: text and few numbers as categories, many numbers as one standardised
//! number. What a model was trained on is kept in it, so that cells of another file are read in the same way, and a value can be
//! asked for ([`Covariates::set`]).

use crate::{
    Error, Result,
    data::{Dataset, MetadataColumn, MetadataEncoder, MetadataKind},
};
use ndarray::{Array2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};

/// The option that names covariates, for messages.
const OPTION: &str = "--covariate";

/// Fewest kept control cells of the categories asked for that predictions start from; with fewer, all are given the categories.
const FEWEST_CELLS: usize = 20;

/// The covariates of a model, in the order of the request; none by default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Covariates {
    columns: Vec<Covariate>,
}

/// One covariate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Covariate {
    /// How its column is read.
    column: MetadataColumn,
    /// The numbers that all cells are given, whatever their own are; not saved.
    #[serde(skip)]
    at: Option<Vec<f32>>,
}

impl Covariate {
    /// `(rows, width)`.
    fn design(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        if let Some(at) = &self.at {
            return Ok(Array2::from_shape_fn((rows.len(), at.len()), |(_, feature)| at[feature]));
        }
        let name = &self.column.name;
        if data.cells.column(name).is_none() {
            return Err(Error::inapplicable(format!(
                "there is no column {name:?} of cells, which the model was trained with ({OPTION}); give cells with it, or name a value \
                 for all by --at {name}=VALUE; the columns are {}",
                data.cells.column_names().join(", ")
            )));
        }
        Ok(MetadataEncoder { columns: vec![self.column.clone()] }
            .encode(&data.cells, rows)?
            .design()
            .mapv(|value| value as f32))
    }
}

impl Covariates {
    /// Reads the columns `wanted` of the cells `rows`.
    ///
    /// # Errors
    /// As [`MetadataEncoder::fit`].
    pub fn fit(data: &Dataset, rows: &[usize], wanted: &[String]) -> Result<Self> {
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let encoder = MetadataEncoder::fit_as(&data.cells, rows, wanted, OPTION)?;
        Ok(Self { columns: encoder.columns.into_iter().map(|column| Covariate { column, at: None }).collect() })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Numbers per cell: one per level of a categorical column, one of a continuous one, two where it has missing values.
    pub fn width(&self) -> usize {
        self.columns.iter().map(|covariate| covariate.column.width()).sum()
    }

    /// How each column is read.
    pub fn columns(&self) -> Vec<&MetadataColumn> {
        self.columns.iter().map(|covariate| &covariate.column).collect()
    }

    /// The same in words.
    pub(super) fn described(&self) -> String {
        MetadataEncoder { columns: self.columns().into_iter().cloned().collect() }.described()
    }

    /// Whether a description from a file can be read by: every column has a level, or finite numbers.
    pub(super) fn is_sound(&self) -> bool {
        self.columns.iter().all(|covariate| match &covariate.column.kind {
            MetadataKind::Categorical { levels } => !levels.is_empty(),
            MetadataKind::Continuous { mean, sd, .. } => mean.is_finite() && sd.is_finite() && *sd > 0.0,
        })
    }

    /// The covariates of the cells `rows`, `(rows, width)`.
    ///
    /// # Errors
    /// A column that is missing; a level that was not trained on.
    pub fn design(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        let blocks =
            self.columns.iter().map(|column| column.design(data, rows)).collect::<Result<Vec<Array2<f32>>>>()?;
        let mut design = Array2::zeros((rows.len(), 0));
        for block in &blocks {
            design = concatenate![Axis(1), design, *block];
        }
        Ok(design)
    }

    /// The rows of a design that have the categories that were asked for.
    fn rows_at(&self, design: &Array2<f32>) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..design.nrows()).collect();
        let mut start = 0;
        for Covariate { column, at } in &self.columns {
            let end = start + column.width();
            if let (Some(at), false) = (at, column.levels().is_empty()) {
                rows.retain(|&row| design.slice(s![row, start..end]).iter().eq(at));
            }
            start = end;
        }
        rows
    }

    /// The rows of a design that predictions start from: those of the categories that were asked for, or all where these are too few.
    pub(super) fn rows_to_start_from(&self, design: &Array2<f32>) -> Vec<usize> {
        Some(self.rows_at(design)).filter(|rows| rows.len() >= FEWEST_CELLS).unwrap_or((0..design.nrows()).collect())
    }

    /// How many rows of a design have the categories that were asked for, where they are too few to start from.
    pub(super) fn too_few(&self, design: &Array2<f32>) -> Option<usize> {
        Some(self.rows_at(design).len()).filter(|&rows| rows < FEWEST_CELLS.min(design.nrows()))
    }

    /// Gives all rows of a design `(rows, width)` the values that were asked for.
    pub(super) fn overwrite(&self, design: &mut Array2<f32>) {
        let mut start = 0;
        for covariate in &self.columns {
            let end = start + covariate.column.width();
            if let Some(at) = &covariate.at {
                for mut row in design.slice_mut(s![.., start..end]).rows_mut() {
                    row.iter_mut().zip(at).for_each(|(value, at)| *value = *at);
                }
            }
            start = end;
        }
    }

    /// Those of `rows` whose values were all trained on.
    ///
    /// # Errors
    /// A column that is missing.
    pub(super) fn known_rows(&self, data: &Dataset, rows: &[usize]) -> Result<Vec<usize>> {
        let read = self.columns.iter().filter(|covariate| covariate.at.is_none());
        let encoder = MetadataEncoder { columns: read.map(|covariate| covariate.column.clone()).collect() };
        Ok(encoder.known_rows(&data.cells, rows)?.0)
    }

    /// From now on all cells are given this value of a covariate.
    ///
    /// # Errors
    /// A column that is no covariate of the model; a value that it did not have in training.
    pub fn set(&mut self, column: &str, value: &str) -> Result<()> {
        let known: Vec<&str> = self.columns.iter().map(|covariate| covariate.column.name.as_str()).collect();
        let Some(place) = known.iter().position(|known| *known == column) else {
            return Err(Error::config(match known.is_empty() {
                true => format!(
                    "{column:?} is no covariate of this model, which has none; train one with {OPTION} {column}"
                ),
                false => format!("{column:?} is no covariate of this model; it has {}", known.join(", ")),
            }));
        };
        let covariate = &mut self.columns[place];
        covariate.at = Some(covariate.column.features_of(value)?.iter().map(|value| *value as f32).collect());
        Ok(())
    }
}
