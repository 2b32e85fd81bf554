//! Wilcoxon's rank-sum test, with ties.
//!
//! The `n` values of a group and the `m` of its reference are ranked together, equal values sharing their mean rank.
//! With R the sum of the group's ranks, N = n + m, and t running over the sizes of the groups of equal values,
//!
//! ```text
//! z = (R - n (N + 1) / 2) / sqrt(c n m (N + 1) / 12),    c = 1 - sum_t (t^3 - t) / (N^3 - N)   (or 1)
//! p = 2 (1 - Phi(|z|))
//! ```
//!
//! Source: Wilcoxon, Biometrics Bulletin 1945; the same numbers as scanpy's `rank_genes_groups(method="wilcoxon")`, with
//! its `tie_correct=True` or `False`.

use super::{
    Found, RankSum,
    columns::{Columns, Threads, over_genes},
    log2_fold_change,
};
use crate::{data::Counts, eval::normal_two_sided};

/// One gene's values in one group of cells: the non-zero ones ascending, and how many zeros stand between the negative
/// and the positive ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sorted<'a> {
    nonzero: &'a [f32],
    negative: usize,
    zeros: usize,
    n: usize,
}

impl<'a> Sorted<'a> {
    /// `nonzero` ascending, of `n` cells.
    pub(super) fn new(nonzero: &'a [f32], n: usize) -> Self {
        let negative = nonzero.partition_point(|&value| value < 0.0);
        Self { nonzero, negative, zeros: n - nonzero.len(), n }
    }

    /// Mean over all cells, zeros included.
    pub(super) fn mean(&self) -> f64 {
        self.nonzero.iter().map(|&v| f64::from(v)).sum::<f64>() / self.n as f64
    }

    /// Distinct values, ascending, with how often each occurs.
    fn runs(&self) -> impl Iterator<Item = (f32, usize)> + use<'a> {
        let (negative, positive) = self.nonzero.split_at(self.negative);
        let zeros = (self.zeros > 0).then_some((0.0, self.zeros));
        runs(negative).chain(zeros).chain(runs(positive))
    }

    /// What the ties among these values alone take off the variance: `sum_t (t^3 - t)`.
    pub(super) fn ties(&self) -> f64 {
        self.runs().map(|(_, count)| tie_term(count)).sum()
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

/// The first place at or after `from` whose value is not `before`: doubling steps, then bisection, so that a few values
/// are found among many in logarithmic time and many among many in linear time.
fn advance(sorted: &[f32], from: usize, before: impl Fn(f32) -> bool) -> usize {
    let mut step = 1;
    let mut low = from;
    while low + step <= sorted.len() && before(sorted[low + step - 1]) {
        low += step;
        step *= 2;
    }
    let high = (low + step).min(sorted.len());
    low + sorted[low..high].partition_point(|&value| before(value))
}

/// z score of the rank sum of `group` among both; `ties` are those of the reference alone.
pub(super) fn z_score(group: &Sorted<'_>, reference: &Sorted<'_>, ties: f64, tie_correct: bool) -> f64 {
    let (mut rank_sum, mut ties) = (0.0, ties);
    let mut of_group_below = 0_usize;
    let mut place = 0_usize; // in the reference's non-zero values: those before it are below the current value
    for (value, count) in group.runs() {
        let (below, equal) = if value == 0.0 {
            place = reference.negative;
            (place, reference.zeros)
        } else {
            let start = if value > 0.0 { place.max(reference.negative) } else { place };
            let first = advance(reference.nonzero, start, |other| other < value);
            place = advance(reference.nonzero, first, |other| other == value);
            (first + if value > 0.0 { reference.zeros } else { 0 }, place - first)
        };
        // Ranks below + 1 ..= below + count + equal, of which the mean is what each of the equal values gets.
        let below = of_group_below + below;
        rank_sum += count as f64 * (below as f64 + (count + equal + 1) as f64 / 2.0);
        ties += tie_term(count + equal) - tie_term(equal);
        of_group_below += count;
    }
    standardise(rank_sum, group.n, reference.n, ties, tie_correct)
}

/// From a sum of ranks to its z score; 0 for a gene that does not vary.
fn standardise(rank_sum: f64, n: usize, m: usize, ties: f64, tie_correct: bool) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let total = n + m;
    let correction = if tie_correct { 1.0 - ties / (total * total * total - total) } else { 1.0 };
    let z = (rank_sum - n * ((total + 1.0) / 2.0)) / (correction * n * m * (total + 1.0) / 12.0).sqrt();
    if z.is_nan() { 0.0 } else { z }
}

/// Every group against all other cells of `expression`. All cells of a gene are ranked once.
pub(super) fn against_rest(expression: &Counts, groups: &[&[usize]], settings: RankSum) -> Vec<Found> {
    let n_cells = expression.n_cells();
    let mut others = vec![true; n_cells];
    groups.iter().copied().flatten().for_each(|&row| others[row] = false);
    let others: Vec<usize> = (0..n_cells).filter(|&cell| others[cell]).collect();
    // Cells of no tested group are ranked too: as one more group, whose own score is not used.
    let mut all = groups.to_vec();
    all.push(&others);
    let columns = Columns::new(expression, &all);
    let scratch = || (Vec::new(), vec![(0.0_f64, 0_usize, 0.0_f64); all.len()]);
    over_genes(expression.n_genes(), groups.len(), Threads::Many, scratch, |(entries, sums), gene, found| {
        entries.clear();
        entries.extend_from_slice(columns.gene(gene));
        entries.sort_unstable_by(|a: &(u32, f32), b| a.1.total_cmp(&b.1));
        sums.fill((0.0, 0, 0.0)); // rank sum, non-zero cells, sum of values, a group
        let zeros = n_cells - entries.len();
        let negative = entries.partition_point(|entry| entry.1 < 0.0);
        let (mut place, mut ties) = (0, tie_term(zeros));
        for run in entries.chunk_by(|a, b| a.1 == b.1) {
            let below = place + if place >= negative { zeros } else { 0 };
            let rank = below as f64 + (run.len() + 1) as f64 / 2.0;
            place += run.len();
            ties += tie_term(run.len());
            for &(group, value) in run {
                let (ranks, nonzero, sum) = &mut sums[group as usize];
                *ranks += rank;
                *nonzero += 1;
                *sum += f64::from(value);
            }
        }
        let zero_rank = negative as f64 + (zeros + 1) as f64 / 2.0;
        let total: f64 = sums.iter().map(|(_, _, sum)| sum).sum();
        for ((found, rows), (ranks, nonzero, sum)) in found.iter_mut().zip(groups).zip(sums.iter()) {
            let (n, m) = (rows.len(), n_cells - rows.len());
            let rank_sum = ranks + (n - nonzero) as f64 * zero_rank;
            let score = standardise(rank_sum, n, m, ties, settings.tie_correct);
            *found = Found {
                score,
                p_value: normal_two_sided(score),
                log2_fold_change: log2_fold_change(sum / n as f64, (total - sum) / m as f64),
            };
        }
    })
}
