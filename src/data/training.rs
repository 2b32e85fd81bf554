//! What a model or a predictor is trained on: the training part of a dataset, and nothing of what is held out.

use super::{
    Condition, Conditions, ContextColumns, Controls, Counts, Dataset, EffectTable, Effects, NORMALISED_TOTAL, Split,
    TargetSum, normalize,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// The two kinds of datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataKind {
    /// One row per cell, counts of genes.
    Cells,
    /// One row per perturbation, differences to control.
    Effects,
}

/// Cells to train on.
#[derive(Debug, Clone)]
pub struct TrainingCells {
    /// The cells. A model looks at the rows of [`Self::split`] only.
    pub data: Arc<Dataset>,
    /// The condition of each cell, control included.
    pub conditions: Vec<Condition>,
    /// The columns of cells that the contexts of the conditions are levels of, where they are known.
    pub contexts: ContextColumns,
    /// Which of these cells are trained on and which validate the training; no test cell.
    pub split: Split,
    expression: OnceLock<Arc<Counts>>,
}

impl TrainingCells {
    /// The cells of `split.train` and `split.validation`; the test cells of `split` are forgotten.
    ///
    /// # Errors
    /// Another number of conditions than of cells; a split of another dataset.
    pub fn new(data: Arc<Dataset>, conditions: Vec<Condition>, split: &Split) -> Result<Self> {
        split.check(data.n_cells())?;
        if conditions.len() != data.n_cells() {
            let (given, cells) = (conditions.len(), data.n_cells());
            return Err(Error::data(format!("{given} conditions were given for {cells} cells; give one for each")));
        }
        let split = Split { test: Vec::new(), ..split.clone() };
        Ok(Self { data, conditions, contexts: ContextColumns::default(), split, expression: OnceLock::new() })
    }

    /// The same, whose contexts are levels of these columns.
    pub fn with_contexts(self, contexts: ContextColumns) -> Self {
        Self { contexts, ..self }
    }

    /// The same with log-normalised expression that was computed before.
    pub fn with_expression(self, expression: Arc<Counts>) -> Self {
        Self { expression: OnceLock::from(expression), ..self }
    }

    /// Log-normalised expression of the cells at [`NORMALISED_TOTAL`] counts per cell, `(cells, genes)`; computed when it is
    /// first asked for.
    ///
    /// # Errors
    /// A library size that cannot be divided by.
    pub fn expression(&self) -> Result<&Arc<Counts>> {
        if let Some(known) = self.expression.get() {
            return Ok(known);
        }
        let computed = normalize::log_normalize(&self.data, TargetSum::Fixed(NORMALISED_TOTAL))?;
        Ok(self.expression.get_or_init(|| Arc::new(computed)))
    }
}

/// The training part of a dataset.
#[derive(Debug, Clone)]
pub struct TrainingData {
    /// Gene names, one per column.
    pub genes: Arc<[String]>,
    /// The cells; `None` for an effects dataset.
    pub cells: Option<Arc<TrainingCells>>,
    /// Seed of everything that a predictor draws.
    pub seed: u64,
    effects: OnceLock<TrainingEffects>,
}

/// Mean effects of the training part; of cells, computed when they are first asked for.
#[derive(Debug, Clone)]
struct TrainingEffects {
    train: EffectTable,
    validation: EffectTable,
    controls: Option<Controls>,
}

impl TrainingData {
    /// The rows of `split.train` and `split.validation` of an effects dataset.
    ///
    /// # Errors
    /// A split of another dataset.
    pub fn of_effects(data: &Effects, split: &Split, seed: u64) -> Result<Self> {
        split.check(data.perturbations.len())?;
        let effects = TrainingEffects {
            train: EffectTable::of_effects(data, &split.train),
            validation: EffectTable::of_effects(data, &split.validation),
            controls: None,
        };
        Ok(Self { genes: data.genes.names.clone().into(), cells: None, seed, effects: OnceLock::from(effects) })
    }

    /// A table of effects, all of which are trained on, and the control profiles that they are differences to, where they
    /// are known.
    pub fn of_table(train: EffectTable, controls: Option<Controls>, seed: u64) -> Self {
        let genes = Arc::clone(&train.genes);
        let effects = TrainingEffects { validation: train.select(&[]), train, controls };
        Self { genes, cells: None, seed, effects: OnceLock::from(effects) }
    }

    /// The cells of `split.train` and `split.validation` of a dataset without contexts.
    ///
    /// # Errors
    /// A split of another dataset.
    pub fn of_dataset(data: impl Into<Arc<Dataset>>, split: &Split, seed: u64) -> Result<Self> {
        let data = data.into();
        let conditions = (0..data.n_cells()).map(|cell| Condition::of(data.perturbation_of(cell).clone())).collect();
        Ok(Self::of_cells(TrainingCells::new(data, conditions, split)?, seed))
    }

    /// The cells of `split.train` and `split.validation` of a dataset, whose column `context` of cells names the context of
    /// each; several columns are named as `COLUMN+COLUMN`.
    ///
    /// # Errors
    /// A split of another dataset; a column that is not there or misses a value.
    pub fn of_contexts(data: impl Into<Arc<Dataset>>, context: &str, split: &Split, seed: u64) -> Result<Self> {
        let data = data.into();
        let columns = ContextColumns::parse(context, &data)?;
        Self::in_columns(data, columns, split, seed)
    }

    /// The same with these columns of cells as the context.
    ///
    /// # Errors
    /// As [`Self::of_contexts`].
    pub fn in_columns(data: Arc<Dataset>, columns: ContextColumns, split: &Split, seed: u64) -> Result<Self> {
        let conditions = Conditions::in_columns(&data, columns)?;
        let of_cells = (0..data.n_cells()).map(|cell| conditions.of_row(cell).clone()).collect();
        let cells = TrainingCells::new(data, of_cells, split)?.with_contexts(conditions.columns);
        Ok(Self::of_cells(cells, seed))
    }

    /// Cells to train on.
    pub fn of_cells(cells: TrainingCells, seed: u64) -> Self {
        let genes = cells.data.gene_names().into();
        Self { genes, cells: Some(Arc::new(cells)), seed, effects: OnceLock::new() }
    }

    /// Refuses cells whose values are no counts, for a model that needs them.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind) where they are none; the message names what takes them.
    pub fn require_counts(&self, model: &str) -> Result<()> {
        self.cells.as_ref().map_or(Ok(()), |cells| cells.data.require_counts(model))
    }

    /// The first training condition whose perturbation has a dose other than 1 in its name, if any has.
    pub fn dosed(&self) -> Option<&Condition> {
        match &self.cells {
            Some(cells) => {
                cells.split.train.iter().map(|&row| &cells.conditions[row]).find(|c| c.perturbation.has_dose())
            }
            None => self.effects.get()?.train.conditions.iter().find(|c| c.perturbation.has_dose()),
        }
    }

    /// Whether there are cells or effects only.
    pub fn kind(&self) -> DataKind {
        if self.cells.is_some() { DataKind::Cells } else { DataKind::Effects }
    }

    /// Mean effect of each training condition.
    ///
    /// # Errors
    /// A context without training control cells.
    pub fn effects(&self) -> Result<&EffectTable> {
        self.computed().map(|effects| &effects.train)
    }

    /// Mean effect of each validation condition, to choose settings by; often none, then a predictor divides the training
    /// conditions itself.
    ///
    /// # Errors
    /// As [`Self::effects`].
    pub fn validation(&self) -> Result<&EffectTable> {
        self.computed().map(|effects| &effects.validation)
    }

    /// The control profile of each context; `None` for an effects dataset, which holds differences only.
    ///
    /// # Errors
    /// As [`Self::effects`].
    pub fn controls(&self) -> Result<Option<&Controls>> {
        self.computed().map(|effects| effects.controls.as_ref())
    }

    /// Mean effects of the training and the validation conditions, for models that choose their settings by folds of their
    /// own; a condition with cells in both parts is taken from the training part.
    ///
    /// # Errors
    /// As [`Self::effects`].
    pub fn effects_with_validation(&self) -> Result<EffectTable> {
        let (mut all, validation) = (self.effects()?.clone(), self.validation()?);
        for (row, condition) in validation.conditions.iter().enumerate() {
            if !all.conditions.contains(condition) {
                all.effects.push_row(validation.effects.row(row)).expect("both tables have the same genes");
                all.conditions.push(condition.clone());
                all.n_cells.push(validation.n_cells[row]);
            }
        }
        Ok(all)
    }

    fn computed(&self) -> Result<&TrainingEffects> {
        if let Some(known) = self.effects.get() {
            return Ok(known);
        }
        let cells = self.cells.as_ref().expect("effects datasets are made with their effects");
        let (expression, conditions, split) = (cells.expression()?, &cells.conditions, &cells.split);
        let controls = Controls::of_cells(expression, conditions, &split.train);
        let table = |rows| EffectTable::of_cells(&self.genes, expression, conditions, rows, &controls);
        let (train, validation) = (table(&split.train)?, table(&split.validation)?);
        Ok(self.effects.get_or_init(|| TrainingEffects { train, validation, controls: Some(controls) }))
    }
}
