//! A dataset and a split become a task: what predictors see, and what they are judged by.

use super::{Observed, ObservedCells, PcaSpace, Predicted};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, Conditions, Counts, Dataset, Effects, Opened, Split, TargetSum, normalize},
    eval::{Controls, Predictor, Training, TrainingCells},
    model::NORMALISED_TOTAL,
};
use ndarray::{Array1, Array2, Axis};
use std::{collections::BTreeMap, sync::Arc};

/// A dataset as a benchmark uses it, for any number of splits.
#[derive(Debug, Clone)]
pub enum BenchmarkData {
    /// One row a perturbation.
    Effects(Effects),
    /// One row a cell.
    Cells(BenchmarkCells),
}

/// A cells dataset, log-normalised once: that looks at one cell at a time, so no fold learns of another.
#[derive(Debug, Clone)]
pub struct BenchmarkCells {
    /// The cells.
    pub data: Dataset,
    /// Their log-normalised expression at 10,000 counts a cell, `(cells, genes)`.
    pub expression: Arc<Counts>,
    /// Their conditions.
    pub conditions: Conditions,
}

/// What predictors see, and what they are judged by.
#[derive(Debug, Clone)]
pub struct Task {
    /// For predictors.
    pub training: Training,
    /// For metrics.
    pub observed: Observed,
}

impl BenchmarkData {
    /// Prepares a dataset. `context` names the column of cells that divides each perturbation into conditions.
    ///
    /// # Errors
    /// A context for an effects dataset, or one that is no column; library sizes that are none.
    pub fn new(data: Opened, context: Option<&str>) -> Result<Self> {
        match (data, context) {
            (Opened::Effects(_), Some(_)) => {
                Err(Error::config("an effects dataset has no cells, so there is no context to hold out"))
            }
            (Opened::Effects(data), None) => Ok(Self::Effects(data)),
            (Opened::Cells(data), context) => Ok(Self::Cells(BenchmarkCells {
                expression: Arc::new(normalize::log_normalize(&data, TargetSum::Fixed(NORMALISED_TOTAL))?),
                conditions: Conditions::of(&data, context)?,
                data,
            })),
        }
    }

    /// The conditions, in the order of rows (effects) or sorted (cells, control among them).
    pub fn conditions(&self) -> Vec<Condition> {
        match self {
            Self::Effects(data) => data.perturbations.iter().cloned().map(Condition::of).collect(),
            Self::Cells(cells) => cells.conditions.conditions.clone(),
        }
    }
}

impl Task {
    /// Puts a task together. `split` lists rows of the dataset; `groups` names the group of test conditions.
    ///
    /// # Errors
    /// A split of another dataset; a context without training control cells; nothing to judge.
    pub fn new(data: &BenchmarkData, split: &Split, groups: &BTreeMap<String, String>, seed: u64) -> Result<Self> {
        match data {
            BenchmarkData::Effects(data) => Self::of_effects(data, split, groups, seed),
            BenchmarkData::Cells(cells) => Self::of_cells(cells, split, groups, seed),
        }
    }

    fn of_effects(data: &Effects, split: &Split, groups: &BTreeMap<String, String>, seed: u64) -> Result<Self> {
        split.check(data.perturbations.len())?;
        let conditions = |rows: &[usize]| -> Vec<Condition> {
            rows.iter().map(|&row| Condition::of(data.perturbations[row].clone())).collect()
        };
        let n_cells = data.table.column("n_cells").and_then(crate::data::Column::to_f64);
        let training = Training {
            genes: data.genes.names.clone().into(),
            conditions: conditions(&split.train),
            effects: data.values.select(Axis(0), &split.train),
            n_cells: split.train.iter().map(|&row| n_cells.as_ref().map_or(0, |n| n[row] as usize)).collect(),
            validation: conditions(&split.validation),
            validation_effects: data.values.select(Axis(0), &split.validation),
            controls: None,
            cells: None,
            seed,
        };
        let effects = data.values.select(Axis(0), &split.test);
        Self::finish(training, conditions(&split.test), effects, None, groups)
    }

    fn of_cells(cells: &BenchmarkCells, split: &Split, groups: &BTreeMap<String, String>, seed: u64) -> Result<Self> {
        let BenchmarkCells { data, expression, conditions } = cells;
        split.check(data.n_cells())?;
        let all = &conditions.conditions;
        let rows_of = |rows: &[usize]| {
            let mut of = vec![Vec::new(); all.len()];
            rows.iter().for_each(|&row| of[conditions.of_cell[row] as usize].push(row));
            of
        };
        let (train, validation, test) = (rows_of(&split.train), rows_of(&split.validation), rows_of(&split.test));

        let mut controls = Controls { contexts: Vec::new(), profiles: Array2::zeros((0, data.n_genes())) };
        let mut control_rows: BTreeMap<Option<String>, Arc<[usize]>> = BTreeMap::new();
        for (condition, rows) in
            all.iter().zip(&train).filter(|(c, rows)| c.perturbation.is_control() && !rows.is_empty())
        {
            controls.contexts.push(condition.context.clone());
            controls.profiles.push_row(mean(expression, rows).view()).expect("a profile has a value a gene");
            control_rows.insert(condition.context.clone(), rows.as_slice().into());
        }
        let gather = |of: &[Vec<usize>]| -> Result<(Vec<Condition>, Array2<f32>, Vec<usize>)> {
            let (mut named, mut sizes) = (Vec::new(), Vec::new());
            let mut effects = Array2::zeros((0, data.n_genes()));
            for (condition, rows) in all.iter().zip(of) {
                if condition.perturbation.is_control() || rows.is_empty() {
                    continue;
                }
                let control = controls.of(condition.context.as_deref()).ok_or_else(|| {
                    Error::data(format!("{condition}: no control cell of this context is trained on"))
                })?;
                effects.push_row((mean(expression, rows) - control).view()).expect("an effect has a value a gene");
                named.push(condition.clone());
                sizes.push(rows.len());
            }
            Ok((named, effects, sizes))
        };
        let (trained, effects, n_cells) = gather(&train)?;
        let (watched, validation_effects, _) = gather(&validation)?;
        let (judged, observed, _) = gather(&test)?;

        let mut kept: Vec<usize> = split.train.iter().chain(&split.validation).copied().collect();
        kept.sort_unstable();
        let place = |rows: &[usize]| rows.iter().map(|row| kept.binary_search(row).expect("was kept")).collect();
        let training = Training {
            genes: data.gene_names().into(),
            conditions: trained,
            effects,
            n_cells,
            validation: watched,
            validation_effects,
            cells: Some(Arc::new(TrainingCells {
                data: data.select_cells(&kept),
                expression: expression.select_cells(&kept),
                conditions: kept.iter().map(|&row| all[conditions.of_cell[row] as usize].clone()).collect(),
                split: Split { train: place(&split.train), validation: place(&split.validation), test: Vec::new() },
            })),
            controls: Some(controls),
            seed,
        };
        let observed_cells = ObservedCells {
            expression: Arc::clone(expression),
            rows: judged
                .iter()
                .map(|condition| test[all.binary_search(condition).expect("taken from the list")].clone())
                .collect(),
            space: Arc::new(PcaSpace::of_training(&split.train)),
            control_rows: judged.iter().map(|condition| Arc::clone(&control_rows[&condition.context])).collect(),
        };
        Self::finish(training, judged, observed, Some(observed_cells), groups)
    }

    fn finish(
        training: Training,
        conditions: Vec<Condition>,
        effects: Array2<f32>,
        cells: Option<ObservedCells>,
        groups: &BTreeMap<String, String>,
    ) -> Result<Self> {
        if conditions.is_empty() {
            return Err(Error::data("the split holds nothing out that could be judged"));
        }
        let mut additive = Array2::from_elem(effects.dim(), f32::NAN);
        for (mut row, condition) in additive.rows_mut().into_iter().zip(&conditions) {
            let genes = condition.perturbation.genes();
            let singles: Result<Vec<_>> =
                genes.iter().map(|gene| training.single(gene, condition.context.as_deref())).collect();
            if let Ok(singles) = singles.map(|singles| if genes.len() > 1 { singles } else { Vec::new() })
                && !singles.is_empty()
            {
                row.fill(0.0);
                singles.iter().for_each(|single| row += single);
            }
        }
        let controls = training.controls.as_ref().map(|controls| {
            let mut profiles = Array2::zeros(effects.dim());
            for (mut row, condition) in profiles.rows_mut().into_iter().zip(&conditions) {
                row.assign(&controls.of(condition.context.as_deref()).expect("an effect was taken from it"));
            }
            profiles
        });
        let observed = Observed {
            genes: Arc::clone(&training.genes),
            groups: conditions.iter().map(|condition| groups.get(&condition.to_string()).cloned()).collect(),
            conditions,
            effects,
            controls,
            training_mean: training.mean_effect(),
            additive,
            cells,
        };
        Ok(Self { training, observed })
    }

    /// Fits `predictor` and asks it for every judged condition; what it cannot do is kept as a reason.
    ///
    /// # Errors
    /// Whatever is not a matter of being applicable: a loss that is not finite, an interruption, a file.
    pub fn predict(&self, predictor: &dyn Predictor) -> Result<Predicted> {
        let n = self.observed.conditions.len();
        let reasoned = |result: Result<Array1<f32>>| match result {
            Ok(effect) => Ok(Ok(effect)),
            Err(error) if error.kind() == ErrorKind::Inapplicable => Ok(Err(error.to_string())),
            Err(error) => Err(error.at(predictor.name())),
        };
        let model = predictor.name().to_owned();
        let effects = match predictor.fit(&self.training) {
            Ok(fitted) => {
                self.observed.conditions.iter().map(|c| reasoned(fitted.effect(c))).collect::<Result<Vec<_>>>()?
            }
            Err(error) if error.kind() == ErrorKind::Inapplicable => vec![Err(error.to_string()); n],
            Err(error) => return Err(error.at(predictor.name())),
        };
        Ok(Predicted { model, effects, cells: vec![Err("the model predicts means only".to_owned()); n] })
    }
}

/// Mean of some cells, `(genes,)`.
fn mean(expression: &Counts, rows: &[usize]) -> Array1<f32> {
    let mut sum = Array1::<f64>::zeros(expression.n_genes());
    for &row in rows {
        let (genes, values) = expression.row(row);
        genes.iter().zip(values).for_each(|(&gene, &value)| sum[gene as usize] += f64::from(value));
    }
    sum.mapv(|sum| (sum / rows.len() as f64) as f32)
}
