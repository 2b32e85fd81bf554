//! Batches of cells, or of sets of a condition's cells, and what a network is shown of them.

use super::{
    config::{PretrainingObjective, ViewNoise},
    encoder::Seen,
    masks::{GeneMasks, MaskPattern},
};
use crate::{
    Error, Result,
    data::{Counts, Dataset},
    nn::{IndexSets, RowSets},
    train::BatchSource,
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution, Poisson};
use std::{ops::Range, sync::Arc};

/// Share of a cell's molecules in the first of two views.
const SPLIT_SHARES: Range<f64> = 0.2..0.8;

/// One batch.
#[derive(Debug, Clone)]
pub struct JepaBatch {
    /// UMI counts, `(cells, genes)`.
    pub counts: Counts,
    /// What a cell's counts are multiplied by to sum up to the target sum, `(cells,)`.
    pub scale: Vec<f32>,
    /// Which cells form an object: one each, or a set of a condition's.
    pub objects: RowSets,
}

impl JepaBatch {
    /// Counts, scaled.
    pub fn normalised(&self) -> Counts {
        self.map(|value, scale| value * scale)
    }

    /// The counts of two views, scaled.
    pub(super) fn pair(&self, noise: ViewNoise, rng: &mut ChaCha8Rng) -> [Counts; 2] {
        match noise {
            ViewNoise::None => [self.normalised(), self.normalised()],
            ViewNoise::Poisson => [(); 2].map(|()| {
                self.map(|value, scale| match Poisson::new(value) {
                    Ok(around) => scale * around.sample(rng),
                    Err(_) => 0.0, // only of a value that is no count
                })
            }),
            ViewNoise::Split => self.split(rng),
        }
    }

    fn split(&self, rng: &mut ChaCha8Rng) -> [Counts; 2] {
        let ([first, second], shares) = thinned(&self.counts, SPLIT_SHARES, rng);
        let scaled = |counts: Counts, share: fn(f32) -> f32| {
            let factors = self.scale.iter().zip(&shares).map(|(scale, &first)| scale / share(first));
            counts.scale_rows(&factors.collect::<Vec<_>>())
        };
        [scaled(first, |share| share), scaled(second, |share| 1.0 - share)]
    }

    fn map(&self, mut f: impl FnMut(f32, f32) -> f32) -> Counts {
        let mut values = Vec::with_capacity(self.counts.nnz());
        for (cell, &scale) in self.scale.iter().enumerate() {
            values.extend(self.counts.row(cell).1.iter().map(|&value| f(value, scale)));
        }
        self.counts.with_values(values)
    }
}

/// The molecules of each cell in two parts, each with the probability that a molecule goes to the first: drawn for each cell
/// from `shares`. A zero may be stored.
pub(super) fn thinned(counts: &Counts, shares: Range<f64>, rng: &mut ChaCha8Rng) -> ([Counts; 2], Vec<f32>) {
    let mut values = [Vec::with_capacity(counts.nnz()), Vec::with_capacity(counts.nnz())];
    let mut of_cell = Vec::with_capacity(counts.n_cells());
    for cell in 0..counts.n_cells() {
        let share: f64 = rng.random_range(shares.clone());
        for &value in counts.row(cell).1 {
            let first = Binomial::new(value.round() as u64, share).map_or(0, |draw| draw.sample(rng)) as f32;
            values[0].push(first);
            values[1].push(value - first);
        }
        of_cell.push(share as f32);
    }
    (values.map(|values| counts.with_values(values)), of_cell)
}

/// The cells of a dataset as batches: one a row, or sets of each condition's.
pub struct CellSets<'a> {
    data: &'a Dataset,
    target_sum: f32,
    objects: Vec<Vec<usize>>,
}

impl<'a> CellSets<'a> {
    /// The cells `rows` of `data`, whose genes must be `genes`, as `objective` takes them. Sets of cells are drawn once,
    /// by `seed`, and counts scaled to `target_sum`; which of them are context and which target, each step draws anew.
    ///
    /// # Errors
    /// Other genes; for sets, no condition with two cells or more.
    pub fn new(
        data: &'a Dataset,
        rows: &[usize],
        genes: &[String],
        objective: &PretrainingObjective,
        target_sum: f32,
        seed: u64,
    ) -> Result<Self> {
        if data.genes.names != genes {
            return Err(Error::data(format!(
                "the data has {} genes and the model {}, or their order differs; align them by name first",
                data.genes.names.len(),
                genes.len()
            )));
        }
        let PretrainingObjective::Conditions { cells, draws, .. } = *objective else {
            return Ok(Self { data, target_sum, objects: rows.iter().map(|&row| vec![row]).collect() });
        };
        let mut of: Vec<Vec<usize>> = vec![Vec::new(); data.perturbations.len()];
        rows.iter().for_each(|&row| of[data.labels[row] as usize].push(row));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut objects = Vec::new();
        // One cell cannot be both context and target.
        for members in of.iter_mut().filter(|members| members.len() > 1) {
            for _ in 0..draws {
                let wanted = (2 * cells).min(members.len());
                let (chosen, _) = members.partial_shuffle(&mut rng, wanted);
                objects.push(chosen.to_vec());
            }
        }
        if objects.is_empty() && !rows.is_empty() {
            return Err(Error::data(format!(
                "none of the conditions has two cells among these {}, so none can be divided into context and target",
                rows.len()
            )));
        }
        Ok(Self { data, target_sum, objects })
    }
}

impl BatchSource for CellSets<'_> {
    type Batch = JepaBatch;

    fn len(&self) -> usize {
        self.objects.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<JepaBatch> {
        let cells: Vec<usize> = rows.iter().flat_map(|&row| self.objects[row].iter().copied()).collect();
        Ok(JepaBatch {
            counts: self.data.counts.select_cells(&cells),
            scale: cells.iter().map(|&cell| self.target_sum / self.data.library_size[cell].max(1.0)).collect(),
            objects: RowSets::from_sizes(rows.iter().map(|&row| self.objects[row].len())),
        })
    }

    fn name(&self, row: usize) -> String {
        let first = &self.data.cells.names[self.objects[row][0]];
        match self.objects[row].len() {
            1 => first.clone(),
            n => format!("{first} and {} more of {}", n - 1, self.data.perturbation_of(self.objects[row][0])),
        }
    }
}

/// The patterns of a batch: row r has pattern `r mod patterns`.
pub(super) struct Patterns {
    patterns: Vec<MaskPattern>,
    n_genes: usize,
    rows: usize,
}

impl Patterns {
    pub fn draw(masks: &GeneMasks, patterns: usize, rows: usize, rng: &mut ChaCha8Rng) -> Self {
        let patterns = (0..patterns.min(rows)).map(|_| masks.draw(rng)).collect();
        Self { patterns, n_genes: masks.n_genes(), rows }
    }

    /// These patterns, for `rows` cells of `n_genes` genes.
    #[cfg(test)]
    pub fn of(patterns: Vec<MaskPattern>, n_genes: usize, rows: usize) -> Self {
        Self { patterns, n_genes, rows }
    }

    /// Targets a row.
    pub fn targets(&self) -> usize {
        self.patterns[0].targets.len()
    }

    /// The hidden genes of each row.
    pub fn hidden(&self, row: usize) -> &[u32] {
        &self.patterns[row % self.patterns.len()].hidden
    }

    /// What the student sees of the rows.
    pub fn context(&self, counts: &Counts) -> Seen {
        let cells: Vec<usize> = (0..self.rows).collect();
        let pattern = cells.iter().map(|row| (row % self.patterns.len()) as u32).collect();
        Seen::masked(counts, &cells, Arc::new(IndexSets::from_sets(self.patterns.iter().map(|p| &p.hidden))), pattern)
    }

    /// The sets of all targets, pattern by pattern.
    pub fn target_sets(&self) -> Arc<IndexSets> {
        Arc::new(IndexSets::from_sets(self.patterns.iter().flat_map(|pattern| &pattern.targets)))
    }

    /// Of each row and target, row by row: the row, and the index into [`Self::target_sets`].
    pub fn target_rows(&self) -> (Vec<usize>, Arc<[u32]>) {
        let (n, targets) = (self.patterns.len(), self.targets());
        let pairs = (0..self.rows).flat_map(|row| (0..targets).map(move |t| (row, (row % n * targets + t) as u32)));
        let (rows, sets): (Vec<usize>, Vec<u32>) = pairs.unzip();
        (rows, sets.into())
    }

    /// What the teacher sees: of each row and target, the target alone.
    pub fn targets_seen(&self, counts: &Counts) -> Seen {
        let hidden = self.patterns.iter().flat_map(|pattern| &pattern.targets).map(|target| {
            (0..self.n_genes as u32).filter(|gene| target.binary_search(gene).is_err()).collect::<Vec<u32>>()
        });
        let hidden = Arc::new(IndexSets::from_sets(hidden));
        let (rows, sets) = self.target_rows();
        Seen::masked(counts, &rows, hidden, sets)
    }
}

/// Cells of which a share of the genes is hidden.
pub(super) fn hidden(counts: &Counts, gene_dropout: f64, patterns: usize, rng: &mut ChaCha8Rng) -> Seen {
    let (rows, genes) = (counts.n_cells(), counts.n_genes());
    let patterns = patterns.min(rows).max(1);
    let hidden = IndexSets::from_sets(
        (0..patterns).map(|_| (0..genes as u32).filter(|_| rng.random::<f64>() < gene_dropout).collect::<Vec<u32>>()),
    );
    let pattern = (0..rows).map(|row| (row % patterns) as u32).collect();
    Seen::masked(counts, &(0..rows).collect::<Vec<_>>(), Arc::new(hidden), pattern)
}

/// Each object's cells in two halves at random: the rows of the first halves and their sets, then of the second.
pub(super) fn halves(objects: &RowSets, rng: &mut ChaCha8Rng) -> [(Vec<usize>, RowSets); 2] {
    let mut rows = [Vec::new(), Vec::new()];
    let mut sizes = [Vec::new(), Vec::new()];
    for range in objects.ranges() {
        let mut cells: Vec<usize> = range.collect();
        cells.shuffle(rng);
        let (first, second) = cells.split_at(cells.len() / 2);
        for (side, part) in [first, second].into_iter().enumerate() {
            rows[side].extend_from_slice(part);
            sizes[side].push(part.len());
        }
    }
    let [first, second] = rows;
    let [first_sizes, second_sizes] = sizes;
    [(first, RowSets::from_sizes(first_sizes)), (second, RowSets::from_sizes(second_sizes))]
}
