//! Cells turned into genes: the non-zero values of some cells, gene by gene, and a loop over genes.

use super::Found;
use crate::data::Counts;
use rayon::prelude::*;

/// Whether a loop over genes may use all threads. One that runs while a lock is held must not: a thread that waits for
/// its share takes up other work meanwhile, and that work may want the same lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling thread only.
    One,
    /// Rayon's.
    Many,
}

/// The non-zero values gene by gene (CSC), each with the group of its cell.
pub(super) struct Columns {
    start: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl Columns {
    /// Of the cells of `groups` (rows of `expression`); a value is labelled by the index of its group.
    pub(super) fn new(expression: &Counts, groups: &[&[usize]]) -> Self {
        let stored = |value: f32| value != 0.0;
        let cells = || groups.iter().zip(0_u32..).flat_map(|(rows, group)| rows.iter().map(move |&row| (row, group)));
        let mut start = vec![0_usize; expression.n_genes() + 1];
        for (row, _) in cells() {
            let (genes, values) = expression.row(row);
            for (&gene, _) in genes.iter().zip(values).filter(|(_, v)| stored(**v)) {
                start[gene as usize + 1] += 1;
            }
        }
        for gene in 0..expression.n_genes() {
            start[gene + 1] += start[gene];
        }
        let mut next = start.clone();
        let mut entries = vec![(0, 0.0); start[expression.n_genes()]];
        for (row, group) in cells() {
            let (genes, values) = expression.row(row);
            for (&gene, &value) in genes.iter().zip(values).filter(|(_, v)| stored(**v)) {
                entries[next[gene as usize]] = (group, value);
                next[gene as usize] += 1;
            }
        }
        Self { start, entries }
    }

    pub(super) fn gene(&self, gene: usize) -> &[(u32, f32)] {
        &self.entries[self.start[gene]..self.start[gene + 1]]
    }

    /// Where each gene's values start, `genes + 1` offsets.
    pub(super) fn starts(&self) -> &[usize] {
        &self.start
    }
}

/// Calls `find` for every gene with scratch space that is reused and the row of results to fill, one per group; returns
/// the rows, gene by gene.
pub(super) fn over_genes<S>(
    n_genes: usize,
    n_groups: usize,
    threads: Threads,
    scratch: impl Fn() -> S + Send + Sync,
    find: impl Fn(&mut S, usize, &mut [Found]) + Send + Sync,
) -> Vec<Found> {
    let mut found = vec![Found::default(); n_genes * n_groups];
    if n_groups == 0 {
        return found;
    }
    match threads {
        Threads::One => {
            let mut scratch = scratch();
            found.chunks_mut(n_groups).enumerate().for_each(|(gene, row)| find(&mut scratch, gene, row));
        }
        Threads::Many => found
            .par_chunks_mut(n_groups)
            .enumerate()
            .for_each_init(&scratch, |scratch, (gene, row)| find(scratch, gene, row)),
    }
    found
}
