//! Control cells sorted once, for any number of groups to be tested against.

use super::{
    DeTest, DifferentialExpression, Found, MIN_CELLS, check_values,
    columns::{Columns, Threads, over_genes},
    log2_fold_change,
    rank_sum::{Sorted, z_score},
    t_test::{Moments, welch},
};
use crate::{Error, Result, data::Counts, eval::normal_two_sided};
use ndarray::ArrayView2;
use rayon::prelude::*;

/// Reference cells, ready to be tested against: each gene's values sorted. 4 bytes per non-zero value.
#[derive(Debug, Clone)]
pub struct ReferenceCells {
    n: usize,
    /// `values[start[gene]..start[gene + 1]]` are the non-zero values of a gene, ascending.
    start: Vec<usize>,
    values: Vec<f32>,
    /// What ties among the reference cells alone take off the rank sum's variance, per gene.
    ties: Vec<f64>,
    moments: Moments,
}

impl ReferenceCells {
    /// The cells `rows` of log-normalised `expression`, `(cells, genes)`.
    ///
    /// # Errors
    /// Fewer than two rows; a value that is NaN.
    pub fn new(expression: &Counts, rows: &[usize]) -> Result<Self> {
        if rows.len() < MIN_CELLS {
            let n = rows.len();
            return Err(Error::data(format!("{n} reference cells to test against; at least {MIN_CELLS} are needed")));
        }
        check_values(expression)?;
        Ok(Self::sorted(expression, rows, Threads::Many))
    }

    pub(crate) fn sorted(expression: &Counts, rows: &[usize], threads: Threads) -> Self {
        let n = rows.len();
        let columns = Columns::new(expression, &[rows]);
        let start = columns.starts().to_vec();
        let mut values = vec![0.0; start[expression.n_genes()]];
        let mut ties = vec![0.0; expression.n_genes()];
        let mut genes: Vec<(usize, &mut [f32], &mut f64)> = Vec::with_capacity(ties.len());
        let mut rest = values.as_mut_slice();
        for (gene, ties) in ties.iter_mut().enumerate() {
            let (of_gene, others) = rest.split_at_mut(start[gene + 1] - start[gene]);
            genes.push((gene, of_gene, ties));
            rest = others;
        }
        let sort = |(gene, of_gene, ties): &mut (usize, &mut [f32], &mut f64)| {
            of_gene.iter_mut().zip(columns.gene(*gene)).for_each(|(slot, (_, value))| *slot = *value);
            of_gene.sort_unstable_by(f32::total_cmp);
            **ties = Sorted::new(of_gene, n).ties();
        };
        match threads {
            Threads::One => genes.iter_mut().for_each(sort),
            Threads::Many => genes.par_iter_mut().for_each(sort),
        }
        let moments = Moments::of(expression, [rows].into_iter(), Moments::shift(expression));
        Self { n, start, values, ties, moments }
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.n
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.ties.len()
    }

    /// Mean of a gene.
    pub(crate) fn mean(&self, gene: usize) -> f64 {
        self.moments.mean(0, gene)
    }

    /// Tests log-normalised `cells` `(cells, genes)`, of which most may be non-zero, as one group with the label 0.
    ///
    /// # Errors
    /// Another number of genes; fewer than two cells; a value that is NaN.
    pub fn test(&self, cells: ArrayView2<'_, f32>, test: DeTest) -> Result<DifferentialExpression> {
        if cells.ncols() != self.n_genes() {
            return Err(Error::shape("test of cells against reference cells", cells.dim(), (self.n, self.n_genes())));
        }
        if cells.nrows() < MIN_CELLS {
            let n = cells.nrows();
            return Err(Error::data(format!("{n} cells to test; at least {MIN_CELLS} are needed")));
        }
        if cells.iter().any(|value| value.is_nan()) {
            return Err(Error::data("a value of the cells to test is NaN"));
        }
        let found = over_genes(self.n_genes(), 1, Threads::One, Vec::new, |values, gene, found| {
            values.clear();
            values.extend(cells.column(gene).iter().copied().filter(|&value| value != 0.0));
            found[0] = self.find(gene, values, cells.nrows(), test);
        });
        Ok(DifferentialExpression::from_genes(vec![0], self.n_genes(), &found))
    }

    /// Tests groups of rows of `expression`, labelled by their index.
    pub(crate) fn test_groups(
        &self,
        expression: &Counts,
        groups: &[&[usize]],
        test: DeTest,
        threads: Threads,
    ) -> DifferentialExpression {
        let columns = Columns::new(expression, groups);
        let scratch = || vec![Vec::new(); groups.len()];
        let found = over_genes(self.n_genes(), groups.len(), threads, scratch, |of_groups, gene, found| {
            of_groups.iter_mut().for_each(Vec::clear);
            columns.gene(gene).iter().for_each(|&(group, value)| of_groups[group as usize].push(value));
            for ((values, rows), found) in of_groups.iter_mut().zip(groups).zip(found) {
                *found = self.find(gene, values, rows.len(), test);
            }
        });
        DifferentialExpression::from_genes((0..groups.len() as u32).collect(), self.n_genes(), &found)
    }

    /// Tests one gene: its non-zero values in `n` cells, which are sorted where the test needs it.
    fn find(&self, gene: usize, values: &mut [f32], n: usize, test: DeTest) -> Found {
        let reference_mean = self.moments.mean(0, gene);
        match test {
            DeTest::RankSum(settings) => {
                values.sort_unstable_by(f32::total_cmp);
                let reference = Sorted::new(&self.values[self.start[gene]..self.start[gene + 1]], self.n);
                let group = Sorted::new(values, n);
                let score = z_score(&group, &reference, self.ties[gene], settings.tie_correct);
                let log2_fold_change = log2_fold_change(group.mean(), reference_mean);
                Found { score, p_value: normal_two_sided(score), log2_fold_change }
            }
            test => {
                let (score, p_value) =
                    welch(self.moments.summary_of(gene, values, n), self.moments.summary(0, gene), test);
                let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64;
                Found { score, p_value, log2_fold_change: log2_fold_change(mean, reference_mean) }
            }
        }
    }
}
