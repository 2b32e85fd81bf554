//! Welch's t-test, and the same with scanpy's overestimated variance.
//!
//! With means, variances (n - 1) and numbers of cells of a group and its reference, and `q = v / n` of each,
//!
//! ```text
//! t = (mean_p - mean_r) / sqrt(q_p + q_r),    df = (q_p + q_r)^2 / (q_p^2 / (n_p - 1) + q_r^2 / (n_r - 1))
//! ```
//!
//! (Welch, Biometrika 1947), with a two-sided p-value of Student's t. scanpy's `t-test_overestim_var` puts the group's
//! number of cells in place of the reference's, which takes the certainty away that a large reference lends.

use super::{
    DeTest, Found,
    columns::{Threads, over_genes},
    log2_fold_change,
};
use crate::{data::Counts, eval::student_two_sided};
use ndarray::{Array1, Array2};

/// Sums of each gene's values in each of some groups of cells: enough for means and variances, and for those of the
/// rest of the cells by subtraction.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    /// What is subtracted from a gene's values first: 0, or for a gene without a zero its first value, so that a gene
    /// that does not vary has a variance of exactly 0.
    shift: Array1<f64>,
    /// Cells of each group.
    n: Vec<usize>,
    /// `(groups, genes)`, shifted.
    sum: Array2<f64>,
    /// Of squares, shifted.
    squares: Array2<f64>,
}

/// Mean, variance and number of cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    /// Above the gene's shift: the difference of two of them is exact where the gene does not vary.
    mean: f64,
    variance: f64,
    n: usize,
}

impl Moments {
    /// What to subtract from each gene of `expression`.
    pub(crate) fn shift(expression: &Counts) -> Array1<f64> {
        let mut stored = vec![0_usize; expression.n_genes()];
        let nonzero = expression.indices().iter().zip(expression.values()).filter(|(_, value)| **value != 0.0);
        nonzero.for_each(|(&gene, _)| stored[gene as usize] += 1);
        let mut shift = Array1::zeros(expression.n_genes());
        if expression.n_cells() > 0 {
            let (genes, values) = expression.row(0);
            let full = |gene: u32| stored[gene as usize] == expression.n_cells();
            for (&gene, &value) in genes.iter().zip(values).filter(|(gene, _)| full(**gene)) {
                shift[gene as usize] = f64::from(value);
            }
        }
        shift
    }

    /// Of the cells of `groups`, rows of `expression`.
    pub(crate) fn of<'a>(
        expression: &Counts,
        groups: impl ExactSizeIterator<Item = &'a [usize]>,
        shift: Array1<f64>,
    ) -> Self {
        let shape = (groups.len(), expression.n_genes());
        let (mut sum, mut squares) = (Array2::zeros(shape), Array2::zeros(shape));
        let mut n = Vec::with_capacity(groups.len());
        for (group, rows) in groups.enumerate() {
            n.push(rows.len());
            let mut row = sum.row_mut(group);
            let row = row.as_slice_mut().expect("a row of a standard array is contiguous");
            let mut row_squares = squares.row_mut(group);
            let row_squares = row_squares.as_slice_mut().expect("a row of a standard array is contiguous");
            for &cell in rows {
                let (genes, values) = expression.row(cell);
                for (&gene, &value) in genes.iter().zip(values) {
                    let value = f64::from(value) - shift[gene as usize];
                    row[gene as usize] += value;
                    row_squares[gene as usize] += value * value;
                }
            }
        }
        Self { shift, n, sum, squares }
    }

    pub(super) fn summary(&self, group: usize, gene: usize) -> Summary {
        Summary::new(self.n[group], self.sum[[group, gene]], self.squares[[group, gene]])
    }

    /// Of `values` of one gene (non-zero ones, of `n` cells), on this table's shift of the gene.
    pub(super) fn summary_of(&self, gene: usize, values: &[f32], n: usize) -> Summary {
        let shift = self.shift[gene];
        let zeros = (n - values.len()) as f64;
        let (mut sum, mut squares) = (-zeros * shift, zeros * shift * shift);
        for &value in values {
            let value = f64::from(value) - shift;
            sum += value;
            squares += value * value;
        }
        Summary::new(n, sum, squares)
    }

    /// Mean of a gene in a group.
    pub(crate) fn mean(&self, group: usize, gene: usize) -> f64 {
        self.shift[gene] + self.sum[[group, gene]] / self.n[group] as f64
    }

    /// t scores of `group` against all other cells, `(genes,)`; `total` holds all cells as its one group.
    pub(crate) fn scores_against_rest(&self, group: usize, total: &Self, test: DeTest) -> Vec<f64> {
        (0..self.shift.len())
            .map(|gene| welch(self.summary(group, gene), total.without(self, group, gene), test).0)
            .collect()
    }

    /// The cells of this table's one group that are not in `group` of `part`.
    fn without(&self, part: &Self, group: usize, gene: usize) -> Summary {
        Summary::new(
            self.n[0] - part.n[group],
            self.sum[[0, gene]] - part.sum[[group, gene]],
            self.squares[[0, gene]] - part.squares[[group, gene]],
        )
    }
}

impl Summary {
    fn new(n: usize, sum: f64, squares: f64) -> Self {
        let cells = n as f64;
        Self { mean: sum / cells, variance: ((squares - sum * sum / cells) / (cells - 1.0)).max(0.0), n }
    }
}

/// t score and p-value; 0 and 1 for a gene that does not vary.
pub(super) fn welch(group: Summary, reference: Summary, test: DeTest) -> (f64, f64) {
    let n = group.n as f64;
    let m = if test == DeTest::TTestOverestimVar { n } else { reference.n as f64 };
    let (q, r) = (group.variance / n, reference.variance / m);
    let t = (group.mean - reference.mean) / (q + r).sqrt();
    if t.is_nan() {
        return (0.0, 1.0);
    }
    let df = (q + r) * (q + r) / (q * q / (n - 1.0) + r * r / (m - 1.0));
    (t, student_two_sided(t, df))
}

/// Every group against all other cells of `expression`.
pub(super) fn against_rest(expression: &Counts, groups: &[&[usize]], test: DeTest) -> Vec<Found> {
    let shift = Moments::shift(expression);
    let all: Vec<usize> = (0..expression.n_cells()).collect();
    let total = Moments::of(expression, [all.as_slice()].into_iter(), shift.clone());
    let moments = Moments::of(expression, groups.iter().copied(), shift);
    let none = || ();
    over_genes(expression.n_genes(), groups.len(), Threads::Many, none, |(), gene, found| {
        for (group, found) in found.iter_mut().enumerate() {
            let rest = total.without(&moments, group, gene);
            let (score, p_value) = welch(moments.summary(group, gene), rest, test);
            let fold = log2_fold_change(moments.mean(group, gene), rest.mean + moments.shift[gene]);
            *found = Found { score, p_value, log2_fold_change: fold };
        }
    })
}
