//! The sets that are trained on: control cells, and perturbed cells of the same context.

use super::{
    Level, SetsConfig,
    cells::Cells,
    pairs::pseudo_pairs,
    shifts::{Shifts, start},
};
use crate::{
    Result,
    data::{Condition, Split, shuffle},
    nn::RowSets,
    train::BatchSource,
};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, sync::Arc};

/// What is known of a condition before training.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// `s` times the sum of its genes' shifts, `(width,)`.
    pub start: Array1<f32>,
    /// The shifts as tokens, `(genes, width)`.
    pub tokens: Array2<f32>,
    /// The number of each gene.
    pub numbers: Vec<u32>,
}

impl Known {
    /// # Errors
    /// Genes that were never perturbed alone, all named.
    pub fn of(shifts: &Shifts, condition: &Condition, factor: f64) -> Result<Self> {
        let members = shifts.members(condition)?;
        Ok(Self { start: start(&members, factor), tokens: shifts.tokens(&members), numbers: shifts.numbers(condition) })
    }
}

/// One pair of sets.
struct Item {
    known: Arc<Known>,
    controls: Vec<usize>,
    observed: Vec<usize>,
    /// Level 2: where each control cell should arrive, `(controls, width)`.
    targets: Option<Array2<f32>>,
    name: String,
}

/// Pairs of sets, drawn once.
pub(super) struct SetSource<'a> {
    cells: &'a Cells,
    items: Vec<Item>,
}

/// Several pairs of sets.
pub(super) struct SetBatch {
    /// Control cells, those of the first set first, `(rows, width)`.
    pub h: Array2<f32>,
    /// The same, moved by the scaled sum.
    pub start: Array2<f32>,
    /// Which of them belong together.
    pub rows: RowSets,
    /// Tokens of the perturbed genes, those of the first set first, `(tokens, width)`.
    pub tokens: Array2<f32>,
    /// The number of each token's gene.
    pub numbers: Vec<u32>,
    /// Which tokens belong to which set.
    pub token_sets: RowSets,
    /// Perturbed cells `(observed, width)`.
    pub observed: Array2<f32>,
    /// Which of them belong together.
    pub observed_sets: RowSets,
    /// Level 2: the target of each control cell, `(rows, width)`.
    pub targets: Option<Array2<f32>>,
}

impl<'a> SetSource<'a> {
    /// Sets of the `conditions`, drawn from the cells at `places`; those without a cell there have none.
    ///
    /// # Errors
    /// A gene without a shift; for pairs, a test cell of the split.
    pub fn new(
        cells: &'a Cells,
        shifts: &Shifts,
        (conditions, places): (&[Condition], &BTreeMap<Condition, Vec<usize>>),
        factor: f64,
        config: &SetsConfig,
        split: &Split,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let mut items = Vec::new();
        for condition in conditions {
            let known = Arc::new(Known::of(shifts, condition, factor)?);
            let controls = cells.controls(condition.context.as_deref())?;
            let Some(perturbed) = places.get(condition).filter(|places| !places.is_empty()) else { continue };
            for _ in 0..config.draws {
                let mut draw = |from: &[usize]| {
                    let mut from = from.to_vec();
                    shuffle(&mut from, rng);
                    from.truncate(config.cells);
                    from
                };
                let (controls, observed) = (draw(controls), draw(perturbed));
                let targets = match &config.level {
                    Level::Sets { .. } => None,
                    Level::Pairs(pairs) => {
                        let rows: Vec<usize> =
                            controls.iter().chain(&observed).map(|&place| cells.rows[place]).collect();
                        let moved = cells.z.select(Axis(0), &controls) + &known.start;
                        let perturbed = cells.z.select(Axis(0), &observed);
                        Some(pseudo_pairs(moved.view(), perturbed.view(), &rows, split, pairs)?)
                    }
                };
                let name = condition.to_string();
                items.push(Item { known: Arc::clone(&known), controls, observed, targets, name });
            }
        }
        Ok(Self { cells, items })
    }
}

impl BatchSource for SetSource<'_> {
    type Batch = SetBatch;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<SetBatch> {
        let items: Vec<&Item> = rows.iter().map(|&row| &self.items[row]).collect();
        let controls: Vec<usize> = items.iter().flat_map(|item| item.controls.iter().copied()).collect();
        let observed: Vec<usize> = items.iter().flat_map(|item| item.observed.iter().copied()).collect();
        let sets = RowSets::from_sizes(items.iter().map(|item| item.controls.len()));
        let h = self.cells.z.select(Axis(0), &controls);
        let mut start = h.clone();
        for (item, range) in items.iter().zip(sets.ranges()) {
            let mut moved = start.slice_mut(ndarray::s![range, ..]);
            moved += &item.known.start;
        }
        let targets: Option<Vec<ArrayView2<'_, f32>>> =
            items.iter().map(|item| item.targets.as_ref().map(|targets| targets.view())).collect();
        let tokens: Vec<ArrayView2<'_, f32>> = items.iter().map(|item| item.known.tokens.view()).collect();
        Ok(SetBatch {
            h,
            start,
            rows: sets,
            tokens: stacked(&tokens),
            numbers: items.iter().flat_map(|item| item.known.numbers.iter().copied()).collect(),
            token_sets: RowSets::from_sizes(items.iter().map(|item| item.known.tokens.nrows())),
            observed: self.cells.z.select(Axis(0), &observed),
            observed_sets: RowSets::from_sizes(items.iter().map(|item| item.observed.len())),
            targets: targets.map(|targets| stacked(&targets)),
        })
    }

    fn name(&self, row: usize) -> String {
        self.items[row].name.clone()
    }
}

fn stacked(parts: &[ArrayView2<'_, f32>]) -> Array2<f32> {
    concatenate(Axis(0), parts).expect("all embeddings are of one width")
}
