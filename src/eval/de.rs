//! Differential expression: the Wilcoxon rank-sum test of each perturbation against control, gene by gene.
//!
//! The `n` perturbed and `m` control values of a gene are ranked together, equal values sharing their mean rank. With R
//! the sum of the perturbed cells' ranks, N = n + m, and t running over the sizes of the groups of equal values,
//!
//! ```text
//! z = (R - n (N + 1) / 2) / sqrt(c n m (N + 1) / 12),    c = 1 - sum_t (t^3 - t) / (N^3 - N)   (or 1)
//! p = 2 (1 - Phi(|z|)),  adjusted over a perturbation's genes by Benjamini-Hochberg
//! log2 fold change = log2((exp(mean_p) - 1 + 1e-9) / (exp(mean_control) - 1 + 1e-9))
//! ```
//!
//! Source: Wilcoxon, Biometrics Bulletin 1945; the same numbers as scanpy's
//! `rank_genes_groups(method="wilcoxon", reference=control)`, whose fold change takes means of log1p values.
//!
//! Most values are zero, so they are never looked at one by one: they are one group of equal values whose size is known.
//! The control cells of a gene are sorted once and serve every perturbation. Time is
//! `O(nnz log nnz / genes + sum over perturbations of their non-zero values)`, memory 8 bytes a non-zero value.

use super::{benjamini_hochberg, normal_two_sided};
use crate::{Error, Result, data::Counts};
use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

/// Keeps the fold change of a gene that one side does not express finite; scanpy's constant.
const FOLD_CHANGE_PSEUDOCOUNT: f64 = 1e-9;
/// Below two cells a group has no spread; scanpy refuses such groups too.
const MIN_CELLS: usize = 2;

/// Settings of the rank-sum test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankSum {
    /// Divide the variance by the share of it that ties leave (`c` above). The exact null variance, hence the default;
    /// scanpy's default is false, which is conservative on sparse data.
    pub tie_correct: bool,
}

impl Default for RankSum {
    fn default() -> Self {
        Self { tie_correct: true }
    }
}

/// The result of a [`rank_sum_test`]: a row a tested group, a column a gene.
#[derive(Debug, Clone)]
pub struct DifferentialExpression {
    /// Label of each row's group, ascending.
    pub groups: Vec<u32>,
    /// z scores `(groups, genes)`: positive where the group expresses the gene more than the reference. 0 for a gene
    /// that does not vary.
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
}

/// Tests every group of cells against the cells labelled `reference`.
///
/// `expression` is log-normalised, `(cells, genes)`; `labels` names the group of each cell. Groups of fewer than two
/// cells are left out of the result.
///
/// # Errors
/// `labels` of another length than there are cells; fewer than two reference cells; a value that is NaN.
pub fn rank_sum_test(
    expression: &Counts,
    labels: &[u32],
    reference: u32,
    settings: RankSum,
) -> Result<DifferentialExpression> {
    if labels.len() != expression.n_cells() {
        return Err(Error::shape("rank_sum_test", (expression.n_cells(), expression.n_genes()), labels.len()));
    }
    if let Some(place) = expression.values().iter().position(|value| value.is_nan()) {
        let cell = expression.indptr().partition_point(|&start| start <= place) - 1;
        return Err(Error::data(format!(
            "differential expression: cell {cell} has a NaN for gene {}; normalise the counts again",
            expression.indices()[place]
        )));
    }
    let n_labels = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let mut sizes = vec![0_usize; n_labels];
    labels.iter().for_each(|&label| sizes[label as usize] += 1);
    let n_reference = sizes.get(reference as usize).copied().unwrap_or(0);
    if n_reference < MIN_CELLS {
        return Err(Error::data(format!(
            "differential expression: {n_reference} control cells (label {reference}); at least {MIN_CELLS} are needed"
        )));
    }
    let groups: Vec<u32> = (0..n_labels as u32).filter(|&g| g != reference && sizes[g as usize] >= MIN_CELLS).collect();

    let columns = Columns::new(expression, labels);
    let (n_genes, n_groups) = (expression.n_genes(), groups.len());
    // A row a gene while they are computed, because a gene is what a thread works on.
    let mut scores = Array2::zeros((n_genes, n_groups));
    let mut folds = Array2::zeros((n_genes, n_groups));
    if n_groups > 0 {
        let score_rows = scores.as_slice_mut().expect("a new array is contiguous").par_chunks_mut(n_groups);
        let fold_rows = folds.as_slice_mut().expect("a new array is contiguous").par_chunks_mut(n_groups);
        score_rows.zip(fold_rows).enumerate().for_each_init(
            || vec![Vec::new(); n_labels],
            |by_label: &mut Vec<Vec<f32>>, (gene, (scores, folds))| {
                by_label.iter_mut().for_each(Vec::clear);
                columns.gene(gene).iter().for_each(|&(label, value)| by_label[label as usize].push(value));
                by_label.iter_mut().for_each(|values| values.sort_unstable_by(f32::total_cmp));
                let control = Sorted::new(&by_label[reference as usize], n_reference);
                for (slot, &group) in groups.iter().enumerate() {
                    let perturbed = Sorted::new(&by_label[group as usize], sizes[group as usize]);
                    scores[slot] = z_score(&perturbed, &control, settings.tie_correct);
                    folds[slot] = log2_fold_change(perturbed.mean(), control.mean());
                }
            },
        );
    }
    let scores = scores.reversed_axes().as_standard_layout().into_owned();
    let p_values = scores.mapv(normal_two_sided);
    let adjusted: Vec<f64> = (0..n_groups)
        .into_par_iter()
        .flat_map_iter(|group| benjamini_hochberg(p_values.row(group).as_slice().expect("standard layout")))
        .collect();
    let p_adjusted = Array2::from_shape_vec((n_groups, n_genes), adjusted).expect("one value a group and gene");
    let log2_fold_changes = folds.reversed_axes().as_standard_layout().into_owned();
    Ok(DifferentialExpression { groups, scores, p_values, p_adjusted, log2_fold_changes })
}

/// The non-zero values gene by gene (CSC), each with the label of its cell.
struct Columns {
    start: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl Columns {
    fn new(expression: &Counts, labels: &[u32]) -> Self {
        let stored = |value: f32| value != 0.0;
        let mut start = vec![0_usize; expression.n_genes() + 1];
        for (&gene, _) in expression.indices().iter().zip(expression.values()).filter(|(_, v)| stored(**v)) {
            start[gene as usize + 1] += 1;
        }
        for gene in 0..expression.n_genes() {
            start[gene + 1] += start[gene];
        }
        let mut next = start.clone();
        let mut entries = vec![(0, 0.0); start[expression.n_genes()]];
        for (cell, &label) in labels.iter().enumerate() {
            let (genes, values) = expression.row(cell);
            for (&gene, &value) in genes.iter().zip(values).filter(|(_, v)| stored(**v)) {
                entries[next[gene as usize]] = (label, value);
                next[gene as usize] += 1;
            }
        }
        Self { start, entries }
    }

    fn gene(&self, gene: usize) -> &[(u32, f32)] {
        &self.entries[self.start[gene]..self.start[gene + 1]]
    }
}

/// One gene's values in one group of cells: the non-zero ones ascending, and how many zeros stand between the negative
/// and the positive ones.
struct Sorted<'a> {
    negative: &'a [f32],
    zeros: usize,
    positive: &'a [f32],
    n: usize,
}

impl<'a> Sorted<'a> {
    fn new(nonzero: &'a [f32], n: usize) -> Self {
        let (negative, positive) = nonzero.split_at(nonzero.partition_point(|&value| value < 0.0));
        Self { negative, zeros: n - nonzero.len(), positive, n }
    }

    /// Mean over all cells, zeros included.
    fn mean(&self) -> f64 {
        self.negative.iter().chain(self.positive).map(|&v| f64::from(v)).sum::<f64>() / self.n as f64
    }

    /// Distinct values with how often each stands, ascending.
    fn runs(&self) -> impl Iterator<Item = (f32, usize)> {
        let zeros = (self.zeros > 0).then_some((0.0, self.zeros));
        runs(self.negative).chain(zeros).chain(runs(self.positive))
    }
}

/// Runs of equal values in a sorted slice.
fn runs(sorted: &[f32]) -> impl Iterator<Item = (f32, usize)> {
    sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()))
}

/// What a group of `t` equal values takes off the variance.
fn tie_term(t: usize) -> f64 {
    let t = t as f64;
    t * t * t - t
}

/// z score of the rank sum of `perturbed` among both groups: one merge of two sorted lists of runs.
fn z_score(perturbed: &Sorted<'_>, control: &Sorted<'_>, tie_correct: bool) -> f64 {
    let (mut rank_sum, mut ties) = (0.0, 0.0);
    let mut below = 0_usize; // values of both groups below the current one
    let mut control_runs = control.runs().peekable();
    for (value, count) in perturbed.runs() {
        while let Some((_, below_it)) = control_runs.next_if(|(v, _)| *v < value) {
            below += below_it;
            ties += tie_term(below_it);
        }
        let equal = control_runs.next_if(|(v, _)| *v == value).map_or(0, |(_, equal)| equal);
        // Ranks below + 1 ..= below + count + equal, of which the mean is what each of the equal values gets.
        rank_sum += count as f64 * (below as f64 + (count + equal + 1) as f64 / 2.0);
        ties += tie_term(count + equal);
        below += count + equal;
    }
    ties += control_runs.map(|(_, count)| tie_term(count)).sum::<f64>();

    let (n, m) = (perturbed.n as f64, control.n as f64);
    let total = n + m;
    let correction = if tie_correct { 1.0 - ties / (total * total * total - total) } else { 1.0 };
    let z = (rank_sum - n * ((total + 1.0) / 2.0)) / (correction * n * m * (total + 1.0) / 12.0).sqrt();
    if z.is_nan() { 0.0 } else { z }
}

fn log2_fold_change(mean: f64, control_mean: f64) -> f64 {
    ((mean.exp_m1() + FOLD_CHANGE_PSEUDOCOUNT) / (control_mean.exp_m1() + FOLD_CHANGE_PSEUDOCOUNT)).log2()
}
