//! What all metrics need of the truth (ranks, gene sets, tests), computed once per task and shared by all models.

use super::ObservedEffects;
use crate::eval::{
    DeTest, RankSum, ReferenceCells, SIGNIFICANCE,
    de::{MIN_CELLS, Moments, Threads},
    metrics::{difference, ranks},
    perturbation_weights, perturbench_log_fold_change, top_k,
};
use ndarray::ArrayView1;
use std::{collections::HashMap, sync::Arc};

/// Genes that const-ae scores: those that control expresses most (Ahlmann-Eltze et al., Nature Methods 2025).
const EXPRESSED_GENES: usize = 1_000;
/// The longest list of most changed genes that a metric needs.
const MOST_CHANGED: usize = 100;
/// GEARS scores 20 genes (Roohani et al., Nature Biotechnology 2024).
const GEARS_GENES: usize = 20;

/// The effects, one per condition.
#[derive(Debug)]
pub(super) struct ExpressionTruth {
    pub(super) conditions: Vec<Effect>,
}

/// One observed effect.
#[derive(Debug)]
pub(super) struct Effect {
    /// Against control, `(genes,)`.
    pub(super) effect: Vec<f32>,
    pub(super) ranks: Vec<f32>,
    /// Against the mean of the training perturbations, `(genes,)`.
    pub(super) specific: Vec<f32>,
    pub(super) specific_ranks: Vec<f32>,
    /// The genes of largest |effect|, largest first.
    pub(super) largest: Vec<usize>,
    /// The genes that control expresses most; `None` without control profiles.
    pub(super) expressed: Option<Vec<usize>>,
    /// The profile of control; `None` for an effects dataset.
    pub(super) control: Option<Vec<f32>>,
    /// PerturBench's log fold change.
    pub(super) log_fold_change: Option<Vec<f32>>,
    /// Conditions of the same context, itself among them.
    pub(super) peers: Vec<usize>,
    /// Columns of the perturbed genes.
    pub(super) targets: Vec<usize>,
}

/// The tests of the held-out cells, one per condition, or the reason why there is none.
#[derive(Debug)]
pub(super) struct DeTruth {
    pub(super) conditions: Vec<Result<ConditionDe, String>>,
}

/// Held-out cells of one condition against the control cells of its context.
#[derive(Debug)]
pub(super) struct ConditionDe {
    /// The control cells, for the predicted cells to be tested against.
    pub(super) reference: Arc<ReferenceCells>,
    /// Adjusted p-values of Wilcoxon's test, ties corrected.
    pub(super) p_adjusted: Vec<f64>,
    /// Of values around 0 the differences of means.
    pub(super) log2_fold_changes: Vec<f64>,
    /// Whether these are fold changes.
    pub(super) has_folds: bool,
    /// Adjusted p below [`SIGNIFICANCE`].
    pub(super) significant: Vec<bool>,
    /// Genes of largest |z|, largest first.
    pub(super) largest: Vec<usize>,
    /// GEARS' 20 non-dropout genes: of largest |t| (Welch; to four decimals, then by order in the file), among those that the held-out cells express, or that neither
    /// they nor control do.
    pub(super) non_dropout: Vec<usize>,
    /// |t| of scanpy's `t-test_overestim_var`.
    pub(super) overestimated: Vec<f32>,
    /// The weights of Mejia et al.; `None` where the cells do not differ from the rest.
    pub(super) weights: Option<Vec<f64>>,
}

impl ObservedEffects {
    /// Computes now, with all threads, what the first measured model would otherwise compute alone while the others
    /// wait.
    pub fn prepare(&self) {
        self.expression_truth();
        if self.memo.de.get().is_none() {
            // Not inside the lock: a thread that waits for others there might be given work that wants the lock.
            let _ = self.memo.de.set(self.test(Threads::Many));
        }
        let _ = self.cell_truth();
        let _ = self.means();
    }

    pub(super) fn expression_truth(&self) -> &ExpressionTruth {
        self.memo.expression.get_or_init(|| {
            let columns: HashMap<&str, usize> =
                self.genes.iter().enumerate().map(|(column, gene)| (gene.as_str(), column)).collect();
            let mean = self.training_mean.to_vec();
            let conditions = self.conditions.iter().enumerate().map(|(index, condition)| {
                let effect = self.effects.row(index).to_vec();
                let control = self.controls.as_ref().map(|controls| controls.row(index).to_vec());
                let specific = difference(&effect, &mean);
                Effect {
                    ranks: ranks(&effect),
                    specific_ranks: ranks(&specific),
                    largest: top_k(&sizes(&effect), MOST_CHANGED),
                    expressed: control.as_ref().map(|control| top_k(control, EXPRESSED_GENES)),
                    // Of values around 0 there is none.
                    log_fold_change: control
                        .as_ref()
                        .filter(|control| control.iter().all(|&value| value >= 0.0))
                        .map(|control| perturbench_log_fold_change(control, &effect)),
                    peers: (0..self.conditions.len())
                        .filter(|&other| self.conditions[other].context == condition.context)
                        .collect(),
                    targets: condition
                        .perturbation
                        .genes()
                        .iter()
                        .filter_map(|gene| columns.get(gene.as_str()).copied())
                        .collect(),
                    effect,
                    specific,
                    control,
                }
            });
            ExpressionTruth { conditions: conditions.collect() }
        })
    }

    pub(super) fn de_truth(&self) -> &DeTruth {
        self.memo.de.get_or_init(|| self.test(Threads::One))
    }

    fn test(&self, threads: Threads) -> DeTruth {
        let none = |reason: &str| Err(reason.to_owned());
        let Some(cells) = &self.cells else {
            let reason = "the dataset holds effects and not the cells behind them";
            return DeTruth { conditions: self.conditions.iter().map(|_| none(reason)).collect() };
        };
        let shift = Moments::shift(&cells.expression);
        let all: Vec<usize> = (0..cells.expression.n_cells()).collect();
        let total = Moments::of(&cells.expression, [all.as_slice()].into_iter(), shift.clone());
        let mut conditions: Vec<Result<ConditionDe, String>> =
            self.conditions.iter().map(|_| none("fewer than two held-out or control cells: no test")).collect();
        for (rows, members) in by_control(&cells.control_rows) {
            let tested = |&index: &usize| cells.rows[index].len() >= MIN_CELLS && rows.len() >= MIN_CELLS;
            let members: Vec<usize> = members.into_iter().filter(tested).collect();
            if members.is_empty() {
                continue;
            }
            let reference = Arc::new(ReferenceCells::sorted(&cells.expression, rows, threads));
            let groups: Vec<&[usize]> = members.iter().map(|&index| cells.rows[index].as_slice()).collect();
            let test = |test| reference.test_groups(&cells.expression, &groups, test, threads);
            let wilcoxon = test(DeTest::RankSum(RankSum { tie_correct: true }));
            let (welch, overestimated) = (test(DeTest::TTest), test(DeTest::TTestOverestimVar));
            let moments = Moments::of(&cells.expression, groups.iter().copied(), shift.clone());
            for (row, &index) in members.iter().enumerate() {
                let p_adjusted = wilcoxon.p_adjusted.row(row).to_vec();
                let folds = wilcoxon.log2_fold_changes.row(row).to_vec();
                let has_folds = folds.iter().all(|fold| fold.is_finite())
                    && self
                        .controls
                        .as_ref()
                        .is_none_or(|controls| controls.row(index).iter().all(|&value| value >= 0.0));
                let to_rest = moments.scores_against_rest(row, &total, DeTest::TTestOverestimVar);
                conditions[index] = Ok(ConditionDe {
                    reference: Arc::clone(&reference),
                    log2_fold_changes: match has_folds {
                        true => folds,
                        false => self.effects.row(index).iter().map(|&effect| f64::from(effect)).collect(),
                    },
                    has_folds,
                    significant: p_adjusted.iter().map(|&p| p < SIGNIFICANCE).collect(),
                    p_adjusted,
                    largest: top_k(&absolute(wilcoxon.scores.row(row)), MOST_CHANGED),
                    non_dropout: non_dropout(
                        &absolute(welch.scores.row(row)),
                        |gene| moments.mean(row, gene) != 0.0,
                        |gene| reference.mean(gene) != 0.0,
                    ),
                    overestimated: absolute(overestimated.scores.row(row)),
                    weights: perturbation_weights(&to_rest),
                });
            }
        }
        DeTruth { conditions }
    }
}

/// Which conditions share control cells.
fn by_control(control_rows: &[Arc<[usize]>]) -> Vec<(&[usize], Vec<usize>)> {
    let mut groups: Vec<(&Arc<[usize]>, Vec<usize>)> = Vec::new();
    for (index, rows) in control_rows.iter().enumerate() {
        match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, rows) || *known == rows) {
            Some((_, members)) => members.push(index),
            None => groups.push((rows, vec![index])),
        }
    }
    groups.into_iter().map(|(rows, members)| (&**rows, members)).collect()
}

/// The first 20 genes by `score` that are expressed, or that control does not express either.
fn non_dropout(score: &[f32], expressed: impl Fn(usize) -> bool, in_control: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut genes = top_k(score, score.len());
    genes.retain(|&gene| expressed(gene) || !in_control(gene));
    genes.truncate(GEARS_GENES);
    genes
}

/// |score| to four decimals. Some genes have exactly equal scores (every gene that one cell only expresses has t = 1), and
/// the last bits must not order them: they come in the order of the file.
pub(super) fn absolute(scores: ArrayView1<'_, f64>) -> Vec<f32> {
    scores.iter().map(|score| ((score.abs() * 1e4).round() / 1e4) as f32).collect()
}

/// |effect|, by which a prediction of means ranks its genes.
pub(super) fn sizes(effect: &[f32]) -> Vec<f32> {
    effect.iter().map(|value| value.abs()).collect()
}
