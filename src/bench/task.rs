//! A dataset and a split become a task: what predictors see, and what they are judged by.

use super::{BenchmarkCells, BenchmarkData, MOST_CELLS, MeanProfiles, Memo, ObservedCells, ObservedEffects, PcaSpace};
use crate::{
    Error, Result,
    data::{
        Condition, EffectTable, Effects, Perturbation, Split, SplitPlan, TrainingCells, TrainingData,
        rows_by_condition, shuffle,
    },
};
use ndarray::{Array1, Array2};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{collections::BTreeMap, sync::Arc};

/// What predictors see, and what they are judged by.
#[derive(Debug, Clone)]
pub struct Task {
    /// For predictors.
    pub training: TrainingData,
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
        let training = TrainingData::of_effects(data, split, seed)?;
        let judged = EffectTable::of_effects(data, &split.test);
        Self::finish(training, judged, None, groups)
    }

    fn of_cells(cells: &BenchmarkCells, split: &Split, groups: &BTreeMap<String, String>, seed: u64) -> Result<Self> {
        let BenchmarkCells { data, expression, conditions, .. } = cells;
        split.check(data.n_cells())?;
        let of_row = |row: usize| conditions.of_row(row).clone();
        let mut kept: Vec<usize> = split.train.iter().chain(&split.validation).copied().collect();
        kept.sort_unstable();
        let place = |rows: &[usize]| rows.iter().map(|row| kept.binary_search(row).expect("was kept")).collect();
        let inner = Split { train: place(&split.train), validation: place(&split.validation), test: Vec::new() };
        let kept_conditions = kept.iter().map(|&row| of_row(row)).collect();
        let training_cells = TrainingCells::new(Arc::new(data.select_cells(&kept)), kept_conditions, &inner)?
            .with_contexts(conditions.columns.clone())
            .with_expression(Arc::new(expression.select_cells(&kept)));
        let training = TrainingData::of_cells(training_cells, seed);
        let controls = training.controls()?.expect("cells have controls");

        let all: Vec<Condition> = (0..data.n_cells()).map(of_row).collect();
        let judged = EffectTable::of_cells(data.gene_names(), expression, &all, &split.test, controls)?;
        let test = rows_by_condition(&all, &split.test);
        let held_out: Vec<Vec<usize>> = judged.conditions.iter().map(|condition| test[condition].clone()).collect();
        let control_rows: BTreeMap<&Option<String>, Arc<[usize]>> = rows_by_condition(&all, &split.train)
            .into_iter()
            .filter(|(condition, _)| condition.perturbation.is_control())
            .map(|(condition, rows)| (&condition.context, rows.into()))
            .collect();
        let observed_cells = ObservedCells {
            expression: Arc::clone(expression),
            rows: held_out.clone(),
            space: Arc::new(PcaSpace::of_training(&split.train)),
            control_rows: judged.conditions.iter().map(|c| Arc::clone(&control_rows[&c.context])).collect(),
        };
        let mut task = Self::finish(training, judged, Some(observed_cells), groups)?;
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
        training: TrainingData,
        judged: EffectTable,
        cells: Option<ObservedCells>,
        groups: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let EffectTable { conditions, effects, .. } = judged;
        if conditions.is_empty() {
            return Err(Error::data("the split holds nothing out that could be judged"));
        }
        let trained_effects = training.effects()?;
        let mut additive = Array2::from_elem(effects.dim(), f32::NAN);
        let mut singles = vec![Vec::new(); conditions.len()];
        for ((mut row, singles), condition) in additive.rows_mut().into_iter().zip(&mut singles).zip(&conditions) {
            let genes = condition.perturbation.genes();
            let trained: Result<Vec<Array1<f32>>> = genes
                .iter()
                .map(|gene| Ok(trained_effects.single(gene, condition.context.as_deref())?.to_owned()))
                .collect();
            if let Ok(trained) = trained
                && genes.len() > 1
            {
                row.fill(0.0);
                trained.iter().for_each(|single| row += single);
                *singles = trained;
            }
        }
        let controls = training.controls()?.map(|controls| {
            let mut profiles = Array2::zeros(effects.dim());
            for (mut row, condition) in profiles.rows_mut().into_iter().zip(&conditions) {
                row.assign(&controls.of(condition.context.as_deref()).expect("an effect was taken from it"));
            }
            profiles
        });
        let judged = conditions.clone();
        let observed = ObservedEffects {
            genes: Arc::clone(&training.genes),
            groups: conditions.iter().map(|condition| groups.get(&condition.to_string()).cloned()).collect(),
            conditions,
            effects,
            controls,
            training_mean: trained_effects.mean_effect(),
            additive,
            singles,
            others: others(&training, &judged)?,
            cells,
            memo: Memo::default(),
        };
        Ok(Self { training, observed, held_out: Vec::new() })
    }
}

/// The mean profiles of control in each context, and of the training and validation conditions that are not `judged`.
fn others(training: &TrainingData, judged: &[Condition]) -> Result<MeanProfiles> {
    let Some(controls) = training.controls()? else { return Ok(MeanProfiles::default()) };
    let known = training.effects_with_validation()?;
    let control =
        |context: &Option<String>| Condition { perturbation: Perturbation::control(), context: context.clone() };
    let mut others = MeanProfiles {
        conditions: controls.contexts.iter().map(control).collect(),
        profiles: controls.profiles.clone(),
    };
    for (condition, effect) in known.conditions.iter().zip(known.effects.rows()) {
        if !judged.contains(condition) {
            let own = controls.of(condition.context.as_deref()).expect("its effect was taken from it");
            others.profiles.push_row((&effect + &own).view()).expect("a profile has one value per gene");
            others.conditions.push(condition.clone());
        }
    }
    Ok(others)
}

/// `n` of some rows without replacement (all, if there are no more), in order.
pub(super) fn draw(rows: &[usize], n: usize, seed: u64) -> Vec<usize> {
    let mut rows = rows.to_vec();
    shuffle(&mut rows, &mut ChaCha8Rng::seed_from_u64(seed));
    rows.truncate(n);
    rows.sort_unstable();
    rows
}
