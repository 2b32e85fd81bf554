//! A dataset and a split become a task: what predictors see, and what they are judged by.

use super::{BenchmarkCells, BenchmarkData, MOST_CELLS, Memo, ObservedCells, ObservedEffects, PcaSpace};
use crate::{
    Error, Result,
    data::{Condition, Counts, Effects, Split, SplitPlan, shuffle},
    predict::{Controls, Training, TrainingCells},
};
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{collections::BTreeMap, sync::Arc};

/// What predictors see, and what they are judged by.
#[derive(Debug, Clone)]
pub struct Task {
    /// For predictors.
    pub training: Training,
    /// For metrics.
    pub observed: ObservedEffects,
    /// All held-out cells of each judged condition; none for an effects dataset.
    pub(super) held_out: Vec<Vec<usize>>,
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

    /// The task of a plan: [`SplitPlan::divide`], then [`Task::new`].
    ///
    /// # Errors
    /// As of both.
    pub fn of_plan(data: &BenchmarkData, plan: &SplitPlan, seed: u64) -> Result<Self> {
        let rows = data.rows();
        let split = plan.divide(&rows)?;
        Self::new(data, &split.split(&rows)?, &split.groups, seed)
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
        let BenchmarkCells { data, expression, conditions, .. } = cells;
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
            controls.profiles.push_row(mean(expression, rows).view()).expect("a profile has one value per gene");
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
                effects.push_row((mean(expression, rows) - control).view()).expect("an effect has one value per gene");
                named.push(condition.clone());
                sizes.push(rows.len());
            }
            Ok((named, effects, sizes))
        };
        let (trained, effects, n_cells) = gather(&train)?;
        let (validation_conditions, validation_effects, _) = gather(&validation)?;
        let (judged, observed, _) = gather(&test)?;

        let mut kept: Vec<usize> = split.train.iter().chain(&split.validation).copied().collect();
        kept.sort_unstable();
        let place = |rows: &[usize]| rows.iter().map(|row| kept.binary_search(row).expect("was kept")).collect();
        let training = Training {
            genes: data.gene_names().into(),
            conditions: trained,
            effects,
            n_cells,
            validation: validation_conditions,
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
        let held_out: Vec<Vec<usize>> = judged
            .iter()
            .map(|condition| test[all.binary_search(condition).expect("taken from the list")].clone())
            .collect();
        let observed_cells = ObservedCells {
            expression: Arc::clone(expression),
            rows: held_out.clone(),
            space: Arc::new(PcaSpace::of_training(&split.train)),
            control_rows: judged.iter().map(|condition| Arc::clone(&control_rows[&condition.context])).collect(),
        };
        let mut task = Self::finish(training, judged, observed, Some(observed_cells), groups)?;
        task.held_out = held_out;
        task.draw_cells();
        Ok(task)
    }

    /// Leaves at most [`MOST_CELLS`] observed cells of a condition for metrics of sets; the effects are of all of them.
    fn draw_cells(&mut self) {
        for index in 0..self.held_out.len() {
            let seed = self.seed_of(index, "observed");
            let rows = &mut self.observed.cells.as_mut().expect("there are cells").rows[index];
            if rows.len() > MOST_CELLS {
                *rows = draw(rows, MOST_CELLS, seed);
            }
        }
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
        let mut singles = vec![Vec::new(); conditions.len()];
        for ((mut row, singles), condition) in additive.rows_mut().into_iter().zip(&mut singles).zip(&conditions) {
            let genes = condition.perturbation.genes();
            let trained: Result<Vec<Array1<f32>>> =
                genes.iter().map(|gene| Ok(training.single(gene, condition.context.as_deref())?.to_owned())).collect();
            if let Ok(trained) = trained
                && genes.len() > 1
            {
                row.fill(0.0);
                trained.iter().for_each(|single| row += single);
                *singles = trained;
            }
        }
        let controls = training.controls.as_ref().map(|controls| {
            let mut profiles = Array2::zeros(effects.dim());
            for (mut row, condition) in profiles.rows_mut().into_iter().zip(&conditions) {
                row.assign(&controls.of(condition.context.as_deref()).expect("an effect was taken from it"));
            }
            profiles
        });
        let observed = ObservedEffects {
            genes: Arc::clone(&training.genes),
            groups: conditions.iter().map(|condition| groups.get(&condition.to_string()).cloned()).collect(),
            conditions,
            effects,
            controls,
            training_mean: training.mean_effect(),
            additive,
            singles,
            cells,
            memo: Memo::default(),
        };
        Ok(Self { training, observed, held_out: Vec::new() })
    }
}

/// `n` of some rows without replacement (all, if there are no more), in order.
pub(super) fn draw(rows: &[usize], n: usize, seed: u64) -> Vec<usize> {
    let mut rows = rows.to_vec();
    shuffle(&mut rows, &mut ChaCha8Rng::seed_from_u64(seed));
    rows.truncate(n);
    rows.sort_unstable();
    rows
}

/// Mean of some cells, `(genes,)`.
pub(super) fn mean(expression: &Counts, rows: &[usize]) -> Array1<f32> {
    let mut sum = Array1::<f64>::zeros(expression.n_genes());
    for &row in rows {
        let (genes, values) = expression.row(row);
        genes.iter().zip(values).for_each(|(&gene, &value)| sum[gene as usize] += f64::from(value));
    }
    sum.mapv(|sum| (sum / rows.len() as f64) as f32)
}
