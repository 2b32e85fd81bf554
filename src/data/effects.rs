//! The effects of perturbations: one row per perturbation, ready to fit a predictor of effects.

use super::{
    AnnData, AnnDataWriter, Column, Dataset, LargeFile, NORMALISED_TOTAL, OpenOptions, Perturbation, Table, TargetSum,
    Uns, labels,
    normalize::{mean_effects, mean_effects_of},
};
use crate::{Error, Result};
use ndarray::{Array2, Axis};
use std::{collections::HashSet, path::Path};

/// An effects dataset: one row per perturbation, each value a difference to control.
#[derive(Debug, Clone)]
pub struct Effects {
    /// Difference to control in mean log1p(CPM-like) expression, `(perturbations, genes)`.
    pub values: Array2<f32>,
    /// Gene names and annotations.
    pub genes: Table,
    /// One per row; no perturbation occurs twice.
    pub perturbations: Vec<Perturbation>,
    /// The file's own columns, one row per perturbation.
    pub table: Table,
}

/// The entry of `uns` that marks an effects dataset.
const MARK: &str = "effect";

impl Effects {
    /// Reads an `.h5ad` whose `X` holds effects; a row of control (zero by definition) is left out.
    ///
    /// # Errors
    /// No `X`, no perturbation column, a perturbation that stands twice, a value that is not finite.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_anndata(&AnnData::open(path)?, &OpenOptions::default())
    }

    /// Reads an open file: see [`Effects::open`]. Of `options`, those that concern perturbation names are used.
    ///
    /// # Errors
    /// As [`Effects::open`].
    pub fn from_anndata(file: &AnnData, options: &OpenOptions) -> Result<Self> {
        Self::read(file, options).map_err(|e| e.at(file.path().display()))
    }

    /// The mean effects of a dataset of cells: the mean of a perturbation's log-normalised cells (log1p of 10,000 counts)
    /// less that of control's; the column `n_cells` gives the number of cells.
    ///
    /// # Errors
    /// No control cells, or no others.
    pub fn of_cells(data: &Dataset) -> Result<Self> {
        Self::of_means(data, &data.genes, &mean_effects(data, TargetSum::Fixed(NORMALISED_TOTAL))?)
    }

    /// As [`Self::of_cells`], of counts that pass by.
    ///
    /// # Errors
    /// As [`Self::of_cells`]; a damaged file.
    pub fn of_large(file: &LargeFile) -> Result<Self> {
        Self::of_means(file.cells(), file.genes(), &mean_effects_of(file, TargetSum::Fixed(NORMALISED_TOTAL))?)
    }

    fn of_means(data: &Dataset, genes: &Table, means: &Array2<f32>) -> Result<Self> {
        let mut n_cells = vec![0_i64; data.perturbations.len()];
        data.labels.iter().for_each(|&label| n_cells[label as usize] += 1);
        let rows: Vec<usize> =
            (0..n_cells.len()).filter(|&row| n_cells[row] > 0 && !data.perturbations[row].is_control()).collect();
        if rows.is_empty() {
            return Err(Error::data("all cells are control cells, so there is no effect"));
        }
        let perturbations: Vec<Perturbation> = rows.iter().map(|&row| data.perturbations[row].clone()).collect();
        let mut table = Table::from_names(perturbations.iter().map(Perturbation::to_string).collect());
        table.set("n_cells", Column::Integer(rows.iter().map(|&row| Some(n_cells[row])).collect()));
        Ok(Self { values: means.select(Axis(0), &rows), genes: genes.clone(), perturbations, table })
    }

    /// Number of cells behind each effect, from the column `n_cells`; 0 where the file does not say.
    pub fn n_cells(&self) -> Vec<usize> {
        let numbers = self.table.column("n_cells").and_then(Column::to_f64);
        numbers.map_or_else(|| vec![0; self.perturbations.len()], |cells| cells.iter().map(|&n| n as usize).collect())
    }

    /// Writes the dataset as an `.h5ad` that [`Effects::open`] and scanpy read: effects in `X`, `uns["effect"]`, and the
    /// column `perturbation` in `obs` beside those of `table`.
    ///
    /// # Errors
    /// Those of [`AnnDataWriter::write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut table = self.table.clone();
        let names = self.perturbations.iter().map(|perturbation| Some(perturbation.to_string())).collect();
        table.set("perturbation", Column::Text(names));
        AnnDataWriter::new(&table, &self.genes)
            .x(&self.values)
            .uns(MARK, "difference to control in mean log-normalised expression")
            .uns(labels::UNS, [("perturbation_column", "perturbation")].into_iter().collect::<Uns>())
            .write(path)
    }

    fn read(file: &AnnData, options: &OpenOptions) -> Result<Self> {
        let (table, mut genes) = (file.obs()?, file.var()?);
        super::names::make_unique(&mut genes.names);
        let labels = labels::perturbation_labels(file, &table, &genes, options)?.labels;
        let values = file.read_dense("X")?;
        if let Some(((row, gene), value)) = values.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::data(format!(
                "X holds {value} for perturbation {:?} and gene {:?}; an effect is a finite number",
                table.names[row], genes.names[gene]
            )));
        }
        let mut seen = HashSet::new();
        let (mut rows, mut perturbations) = (Vec::new(), Vec::new());
        for (row, label) in labels.into_iter().enumerate() {
            let Some(label) = label.filter(|label| !label.is_control()) else { continue };
            if !seen.insert(label.clone()) {
                return Err(Error::data(format!(
                    "the perturbation {label} stands in two rows; an effects dataset has one row per perturbation"
                )));
            }
            rows.push(row);
            perturbations.push(label);
        }
        if rows.is_empty() {
            return Err(Error::data("no row names a perturbation; an effects dataset has one row per perturbation"));
        }
        Ok(Self { values: values.select(Axis(0), &rows), genes, perturbations, table: table.select(&rows) })
    }
}

/// Whether a file is an effects dataset.
pub fn is_effects(file: &AnnData) -> bool {
    file.uns_keys().iter().any(|key| key == MARK)
}
