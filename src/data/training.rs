//! What a model or a predictor is trained on: the training part of a dataset, and nothing of what is held out.

use super::{
    Condition, Counts, Dataset, Effects, NORMALISED_TOTAL, Perturbation, Split, TargetSum, normalize, shuffle,
};
use crate::{Error, Result};
use ndarray::{Array1, Array2, ArrayView1, Axis, CowArray, Ix1};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

/// The two kinds of datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataKind {
    /// One row per cell, counts of genes.
    Cells,
    /// One row per perturbation, differences to control.
    Effects,
}

/// Mean effects of conditions.
///
/// An effect is the mean log-normalised expression of a condition's cells less that of the control cells of its context,
/// or a row of an effects dataset, in the unit of that file.
#[derive(Debug, Clone)]
pub struct EffectTable {
    /// Gene names, one per column.
    pub genes: Arc<[String]>,
    /// The conditions, one per row, without control.
    pub conditions: Vec<Condition>,
    /// `(conditions, genes)`.
    pub effects: Array2<f32>,
    /// Number of cells behind each effect; 0 where the data does not say.
    pub n_cells: Vec<usize>,
}

impl EffectTable {
    /// The rows `rows` of an effects dataset.
    pub fn of_effects(data: &Effects, rows: &[usize]) -> Self {
        let n_cells = data.n_cells();
        Self {
            genes: data.genes.names.clone().into(),
            conditions: rows.iter().map(|&row| Condition::of(data.perturbations[row].clone())).collect(),
            effects: data.values.select(Axis(0), rows),
            n_cells: rows.iter().map(|&row| n_cells[row]).collect(),
        }
    }

    /// The effects of the conditions that the cells `rows` belong to, by these controls. `conditions` names the condition
    /// of every row of `expression`.
    ///
    /// # Errors
    /// A context without a control profile.
    pub fn of_cells(
        genes: &[String],
        expression: &Counts,
        conditions: &[Condition],
        rows: &[usize],
        controls: &Controls,
    ) -> Result<Self> {
        let mut table = Self {
            genes: genes.into(),
            conditions: Vec::new(),
            effects: Array2::zeros((0, genes.len())),
            n_cells: Vec::new(),
        };
        for (condition, rows) in rows_by_condition(conditions, rows) {
            if condition.perturbation.is_control() {
                continue;
            }
            let control = controls
                .of(condition.context.as_deref())
                .ok_or_else(|| Error::data(format!("{condition}: no control cell of this context is trained on")))?;
            let effect = mean_expression(expression, &rows) - control;
            table.effects.push_row(effect.view()).expect("an effect has one value per gene");
            table.conditions.push(condition.clone());
            table.n_cells.push(rows.len());
        }
        Ok(table)
    }

    /// Number of conditions.
    pub fn len(&self) -> usize {
        self.conditions.len()
    }

    /// Whether there is no condition.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The conditions `rows`.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            genes: Arc::clone(&self.genes),
            conditions: rows.iter().map(|&row| self.conditions[row].clone()).collect(),
            effects: self.effects.select(Axis(0), rows),
            n_cells: rows.iter().map(|&row| self.n_cells[row]).collect(),
        }
    }

    /// The effect of a row in double precision, `(genes,)`.
    pub fn effect(&self, row: usize) -> Array1<f64> {
        self.effects.row(row).mapv(f64::from)
    }

    /// How much each effect is to be trusted, `(conditions,)`: `n / (n + half)` for n cells, the median of the others where
    /// the number is not known, 1 where none is. The variance of the mean of n cells falls as `1 / n`, and what a model
    /// cannot explain anyway does not fall: `half` is the number of cells at which the two are equal.
    pub fn trust(&self, half: f64) -> Vec<f64> {
        let of = |n: usize| n as f64 / (n as f64 + half);
        let mut known: Vec<f64> = self.n_cells.iter().filter(|&&n| n > 0).map(|&n| of(n)).collect();
        known.sort_unstable_by(f64::total_cmp);
        let median = known.get(known.len() / 2).copied().unwrap_or(1.0);
        self.n_cells.iter().map(|&n| if n > 0 { of(n) } else { median }).collect()
    }

    /// The row of this perturbation in this context.
    pub fn row_of(&self, perturbation: &Perturbation, context: Option<&str>) -> Option<usize> {
        self.conditions.iter().position(|c| c.perturbation == *perturbation && c.context.as_deref() == context)
    }

    /// The effect `(genes,)` of a perturbation in a context; where it is not known in this context, its mean over the
    /// contexts in which it is. `None` where it is known in none.
    pub fn effect_of(&self, perturbation: &Perturbation, context: Option<&str>) -> Option<CowArray<'_, f32, Ix1>> {
        if let Some(row) = self.row_of(perturbation, context) {
            return Some(self.effects.row(row).into());
        }
        let elsewhere = |condition: &Condition| condition.perturbation == *perturbation;
        self.mean_where(elsewhere).map(|mean| mean.mapv(|value| value as f32).into())
    }

    /// [`Self::effect_of`] the perturbation of one gene.
    ///
    /// # Errors
    /// It is known in no context: [`ErrorKind::Inapplicable`](crate::ErrorKind), with the gene's name.
    pub fn single(&self, gene: &str, context: Option<&str>) -> Result<CowArray<'_, f32, Ix1>> {
        self.effect_of(&Perturbation::of([gene]), context).ok_or_else(|| not_trained_alone(gene))
    }

    /// Mean over the conditions for which `wanted` holds, `(genes,)`; `None` if there is none.
    pub fn mean_where(&self, wanted: impl Fn(&Condition) -> bool) -> Option<Array1<f64>> {
        let mut sum = Array1::<f64>::zeros(self.genes.len());
        let mut n = 0_usize;
        for (_, effect) in self.conditions.iter().zip(self.effects.rows()).filter(|(condition, _)| wanted(condition)) {
            sum.zip_mut_with(&effect, |sum, &value| *sum += f64::from(value));
            n += 1;
        }
        (n > 0).then(|| sum / n as f64)
    }

    /// Mean over all conditions, `(genes,)`: the centroid that systema's Pearson refers to. Zeros if there is none.
    pub fn mean_effect(&self) -> Array1<f32> {
        self.mean_where(|_| true).map_or_else(|| Array1::zeros(self.genes.len()), |mean| mean.mapv(|v| v as f32))
    }

    /// Rows to validate a training on, where the split has no validation conditions: a seeded `fraction` of the
    /// combinations (of all conditions where there is none), as far as every gene stays perturbed in a condition that is
    /// trained on. May be empty. Sorted.
    pub fn validation_rows(&self, fraction: f64, seed: u64) -> Vec<usize> {
        let genes = |row: usize| self.conditions[row].perturbation.genes();
        let mut left: HashMap<&String, usize> = HashMap::new();
        (0..self.len()).flat_map(genes).for_each(|gene| *left.entry(gene).or_default() += 1);
        let mut candidates: Vec<usize> = (0..self.len()).filter(|&row| genes(row).len() > 1).collect();
        if candidates.is_empty() {
            candidates = (0..self.len()).collect();
        }
        let n = (fraction * candidates.len() as f64).ceil() as usize;
        shuffle(&mut candidates, &mut ChaCha8Rng::seed_from_u64(seed));
        let mut chosen = Vec::new();
        for row in candidates {
            if chosen.len() < n && genes(row).iter().all(|gene| left[gene] > 1) {
                genes(row).iter().for_each(|gene| *left.entry(gene).or_default() -= 1);
                chosen.push(row);
            }
        }
        chosen.sort_unstable();
        chosen
    }
}

/// The error for a gene whose single perturbation was not trained on.
pub(crate) fn not_trained_alone(gene: &str) -> Error {
    Error::inapplicable(format!("the single perturbation of {gene} was not trained on"))
}

/// What is known of a perturbation in a context: `known` there, else the mean over the contexts in which it is known (the
/// plain transfer to an unseen context). `None` where it is known in none. For vectors other than effects, such as
/// shifts in a latent space; [`EffectTable::effect_of`] is the same rule for effects.
pub(crate) fn in_context<T>(
    known: &BTreeMap<Condition, T>,
    perturbation: &Perturbation,
    context: Option<&String>,
    vector: impl Fn(&T) -> &Array1<f64>,
) -> Option<Array1<f64>> {
    let here = Condition { perturbation: perturbation.clone(), context: context.cloned() };
    if let Some(known) = known.get(&here) {
        return Some(vector(known).clone());
    }
    let others = || known.iter().filter(|(condition, _)| condition.perturbation == *perturbation);
    let sum = others().map(|(_, known)| vector(known).clone()).reduce(|sum, one| sum + one)?;
    Some(sum / others().count() as f64)
}

/// Mean profiles of the training control cells.
#[derive(Debug, Clone)]
pub struct Controls {
    /// The contexts; one `None` where the data has no context.
    pub contexts: Vec<Option<String>>,
    /// Mean log-normalised expression, `(contexts, genes)`.
    pub profiles: Array2<f32>,
}

impl Controls {
    /// Of the control cells among the cells `rows`. `conditions` names the condition of every row of `expression`.
    pub fn of_cells(expression: &Counts, conditions: &[Condition], rows: &[usize]) -> Self {
        let mut controls = Self { contexts: Vec::new(), profiles: Array2::zeros((0, expression.n_genes())) };
        for (condition, rows) in rows_by_condition(conditions, rows) {
            if condition.perturbation.is_control() {
                controls.contexts.push(condition.context.clone());
                let profile = mean_expression(expression, &rows);
                controls.profiles.push_row(profile.view()).expect("a profile has one value per gene");
            }
        }
        controls
    }

    /// The profile `(genes,)` of a context.
    pub fn of(&self, context: Option<&str>) -> Option<ArrayView1<'_, f32>> {
        self.contexts.iter().position(|known| known.as_deref() == context).map(|row| self.profiles.row(row))
    }
}

/// The rows of each condition, conditions in order.
pub fn rows_by_condition<'a>(conditions: &'a [Condition], rows: &[usize]) -> BTreeMap<&'a Condition, Vec<usize>> {
    let mut of: BTreeMap<&Condition, Vec<usize>> = BTreeMap::new();
    rows.iter().for_each(|&row| of.entry(&conditions[row]).or_default().push(row));
    of
}

/// Mean of some cells, `(genes,)`, summed in double precision.
pub fn mean_expression(expression: &Counts, rows: &[usize]) -> Array1<f32> {
    let mut sum = Array1::<f64>::zeros(expression.n_genes());
    for &row in rows {
        let (genes, values) = expression.row(row);
        genes.iter().zip(values).for_each(|(&gene, &value)| sum[gene as usize] += f64::from(value));
    }
    sum.mapv(|sum| (sum / rows.len() as f64) as f32)
}

/// Cells to train on.
#[derive(Debug, Clone)]
pub struct TrainingCells {
    /// The cells. A model looks at the rows of [`Self::split`] only.
    pub data: Arc<Dataset>,
    /// The condition of each cell, control included.
    pub conditions: Vec<Condition>,
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
        Ok(Self { data, conditions, split, expression: OnceLock::new() })
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

    /// Cells to train on.
    pub fn of_cells(cells: TrainingCells, seed: u64) -> Self {
        let genes = cells.data.gene_names().into();
        Self { genes, cells: Some(Arc::new(cells)), seed, effects: OnceLock::new() }
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
