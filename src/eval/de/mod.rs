//! Differential expression: each perturbation against control (or against all other cells), gene by gene.
//!
//! | file | what |
//! |---|---|
//! | `rank_sum` | Wilcoxon's rank-sum test, with ties |
//! | `t_test` | Welch's t-test, and the same with scanpy's overestimated variance |
//! | `reference` | control cells sorted once, for any number of groups to be tested against |
//! | `columns` | cells turned into genes |
//!
//! Every test gives the same table: a score, a two-sided p-value, the p-value adjusted over a group's genes by Benjamini
//! and Hochberg, and
//!
//! ```text
//! log2 fold change = log2((exp(mean_p) - 1 + 1e-9) / (exp(mean_reference) - 1 + 1e-9))
//! ```
//!
//! with means of log1p values: the numbers of scanpy's `rank_genes_groups` (Wolf et al., Genome Biology 2018).
//!
//! Most values are zero, so they are never looked at one by one: they are one group of equal values whose size is known.
//! The control cells of a gene are sorted once and serve every perturbation. Time is about
//! `O(nnz log nnz / genes + sum over perturbations of their non-zero values)`, memory 8 bytes per non-zero value.

mod columns;
mod rank_sum;
mod reference;
mod t_test;

pub(crate) use columns::Threads;
pub use reference::ReferenceCells;
pub(crate) use t_test::Moments;

use super::benjamini_hochberg;
use crate::{Error, Result, data::Counts};
use ndarray::{Array2, ArrayView1, Axis, concatenate};

/// A gene counts as changed where its Benjamini-Hochberg adjusted Wilcoxon p-value is below this: the field's 5 % false
/// discovery rate (cell-eval's DES uses the same).
pub const SIGNIFICANCE: f64 = 0.05;
/// Keeps the fold change of a gene that one side does not express finite; scanpy's constant.
const FOLD_CHANGE_PSEUDOCOUNT: f64 = 1e-9;
/// Below two cells a group has no spread; scanpy refuses such groups too.
pub(crate) const MIN_CELLS: usize = 2;

/// Settings of the rank-sum test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankSum {
    /// Divide the variance by the share of it that ties leave (`c` in `rank_sum`). The exact null variance, hence the
    /// default; scanpy's default is false, which is conservative on sparse data.
    pub tie_correct: bool,
}

impl Default for RankSum {
    fn default() -> Self {
        Self { tie_correct: true }
    }
}

/// A test for a difference between two groups of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeTest {
    /// Wilcoxon's rank-sum test; scanpy's `wilcoxon`.
    RankSum(RankSum),
    /// Welch's t-test; scanpy's `t-test`.
    TTest,
    /// Welch's t-test as if the reference had as few cells as the group; scanpy's `t-test_overestim_var`.
    TTestOverestimVar,
}

impl Default for DeTest {
    fn default() -> Self {
        Self::RankSum(RankSum::default())
    }
}

/// What a group of cells is tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeReference {
    /// The cells with this label.
    Group(u32),
    /// All cells outside the group.
    Rest,
}

/// The result of a test: one row per tested group, one column per gene.
#[derive(Debug, Clone)]
pub struct DifferentialExpression {
    /// Label of each row's group, ascending.
    pub groups: Vec<u32>,
    /// z or t scores `(groups, genes)`: positive where the group expresses the gene more than the reference. 0 for a
    /// gene that does not vary.
    pub scores: Array2<f64>,
    /// Two-sided p-values `(groups, genes)`.
    pub p_values: Array2<f64>,
    /// Benjamini-Hochberg adjusted p-values `(groups, genes)`, over the genes of a group.
    pub p_adjusted: Array2<f64>,
    /// log2 fold changes `(groups, genes)`.
    pub log2_fold_changes: Array2<f64>,
}

impl DifferentialExpression {
    /// The row of the group with this label, or `None` where it was not tested.
    pub fn row_of(&self, label: u32) -> Option<usize> {
        self.groups.binary_search(&label).ok()
    }

    /// Adjusted p-values of the group with this label, `(genes,)`.
    pub fn p_adjusted_of(&self, label: u32) -> Option<ArrayView1<'_, f64>> {
        self.row_of(label).map(|row| self.p_adjusted.row(row))
    }

    /// Which genes the group with this label changes: adjusted p < `significance`
    /// ([`SIGNIFICANCE`]), `(genes,)`. `None` where the group was not tested.
    pub fn changed(&self, label: u32, significance: f64) -> Option<Vec<bool>> {
        self.p_adjusted_of(label).map(|row| row.iter().map(|&p| p < significance).collect())
    }

    /// Tests of some genes each, of the same groups, put together in their order; the genes of all are adjusted for together.
    ///
    /// # Errors
    /// Tests of other groups.
    pub fn joined(parts: &[Self]) -> Result<Self> {
        let groups = parts.first().map_or(Vec::new(), |part| part.groups.clone());
        if let Some(other) = parts.iter().find(|part| part.groups != groups) {
            return Err(Error::shape("joining tests of differential expression", &groups, &other.groups));
        }
        let side_by_side = |table: fn(&Self) -> &Array2<f64>| {
            let views: Vec<_> = parts.iter().map(|part| table(part).view()).collect();
            concatenate(Axis(1), &views).map_err(|e| Error::data(e.to_string()))
        };
        let p_values = side_by_side(|part| &part.p_values)?;
        Ok(Self {
            groups,
            scores: side_by_side(|part| &part.scores)?,
            p_adjusted: adjusted(&p_values),
            p_values,
            log2_fold_changes: side_by_side(|part| &part.log2_fold_changes)?,
        })
    }

    /// From what was found gene by gene: `found[gene * groups + group]`.
    fn from_genes(groups: Vec<u32>, n_genes: usize, found: &[Found]) -> Self {
        let n = groups.len();
        let table = |figure: fn(&Found) -> f64| {
            Array2::from_shape_fn((n, n_genes), |(group, gene)| figure(&found[gene * n + group]))
        };
        let p_values = table(|found| found.p_value);
        let p_adjusted = adjusted(&p_values);
        let (scores, folds) = (table(|found| found.score), table(|found| found.log2_fold_change));
        Self { groups, scores, p_values, p_adjusted, log2_fold_changes: folds }
    }
}

/// Adjusted over the genes of each group.
fn adjusted(p_values: &Array2<f64>) -> Array2<f64> {
    let mut p_adjusted = Array2::zeros(p_values.dim());
    for (mut adjusted, p) in p_adjusted.rows_mut().into_iter().zip(p_values.rows()) {
        adjusted.assign(&ArrayView1::from(&benjamini_hochberg(&p.to_vec())));
    }
    p_adjusted
}

/// One gene of one group.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    score: f64,
    p_value: f64,
    log2_fold_change: f64,
}

/// Tests every group of cells against `reference`.
///
/// `expression` is log-normalised, `(cells, genes)`; `labels` names the group of each cell. Groups of fewer than two
/// cells are left out of the result, and so is the reference group.
///
/// # Errors
/// `labels` of another length than there are cells; fewer than two reference cells; a value that is NaN.
pub fn differential_expression(
    expression: &Counts,
    labels: &[u32],
    reference: DeReference,
    test: DeTest,
) -> Result<DifferentialExpression> {
    if labels.len() != expression.n_cells() {
        let shape = (expression.n_cells(), expression.n_genes());
        return Err(Error::shape("differential expression: expression, and labels", shape, labels.len()));
    }
    let n_labels = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let mut rows = vec![Vec::new(); n_labels];
    labels.iter().enumerate().for_each(|(cell, &label)| rows[label as usize].push(cell));
    let tested = |label: u32| {
        rows[label as usize].len() >= MIN_CELLS
            && match reference {
                DeReference::Group(reference) => label != reference,
                DeReference::Rest => labels.len() - rows[label as usize].len() >= MIN_CELLS,
            }
    };
    let groups: Vec<u32> = (0..n_labels as u32).filter(|&label| tested(label)).collect();
    let of_groups: Vec<&[usize]> = groups.iter().map(|&label| rows[label as usize].as_slice()).collect();
    match reference {
        DeReference::Group(label) => {
            let of_reference = rows.get(label as usize).map_or(&[][..], Vec::as_slice);
            if of_reference.len() < MIN_CELLS {
                return Err(Error::data(format!(
                    "differential expression: {} control cells (label {label}); at least {MIN_CELLS} are needed",
                    of_reference.len()
                )));
            }
            check_values(expression)?;
            let reference = ReferenceCells::sorted(expression, of_reference, Threads::Many);
            Ok(DifferentialExpression { groups, ..reference.test_groups(expression, &of_groups, test, Threads::Many) })
        }
        DeReference::Rest => {
            check_values(expression)?;
            let found = match test {
                DeTest::RankSum(settings) => rank_sum::against_rest(expression, &of_groups, settings),
                test => t_test::against_rest(expression, &of_groups, test),
            };
            Ok(DifferentialExpression::from_genes(groups, expression.n_genes(), &found))
        }
    }
}

/// Wilcoxon's rank-sum test of every group of cells against the cells labelled `reference`: as
/// [`differential_expression`].
///
/// # Errors
/// As [`differential_expression`].
pub fn rank_sum_test(
    expression: &Counts,
    labels: &[u32],
    reference: u32,
    settings: RankSum,
) -> Result<DifferentialExpression> {
    differential_expression(expression, labels, DeReference::Group(reference), DeTest::RankSum(settings))
}

fn check_values(expression: &Counts) -> Result<()> {
    let Some(place) = expression.values().iter().position(|value| value.is_nan()) else { return Ok(()) };
    let cell = expression.indptr().partition_point(|&start| start <= place) - 1;
    Err(Error::data(format!(
        "differential expression: cell {cell} has a NaN for gene {}; normalise the counts again",
        expression.indices()[place]
    )))
}

/// scanpy's fold change of two means of log1p values.
pub(crate) fn log2_fold_change(mean: f64, reference: f64) -> f64 {
    ((mean.exp_m1() + FOLD_CHANGE_PSEUDOCOUNT) / (reference.exp_m1() + FOLD_CHANGE_PSEUDOCOUNT)).log2()
}
