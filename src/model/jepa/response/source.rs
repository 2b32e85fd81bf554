//! Sets of control cells and of perturbed cells of the same context, as batches.

use super::measured::{Hidden, Measured};
use crate::{
    Error, Result,
    data::{Condition, Counts, Dataset, shuffle},
    nn::{CountTarget, RowSets},
    train::BatchSource,
};
use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Probability that a set is not told a level of its context, as it will not be of one that was not trained on.
const LEVEL_DROPOUT: f64 = 0.2;

/// Control cells that are moved.
#[derive(Debug, Clone)]
pub struct StartCells {
    /// `(cells, width)`.
    pub z: Array2<f32>,
    /// ln of the library size of each.
    pub log_library: Vec<f32>,
}

impl StartCells {
    /// Cells of these embeddings and library sizes.
    pub fn new(z: Array2<f32>, library_size: impl IntoIterator<Item = f32>) -> Self {
        Self { z, log_library: library_size.into_iter().map(|size| size.max(1.0).ln()).collect() }
    }
}

/// What the predictor is asked about some sets of control cells.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which control cells are under which perturbation.
    pub cells: RowSets,
    /// ln of the library size of each control cell; not read by a predictor that is not told it.
    pub log_library: Vec<f32>,
    /// Which tokens are of which perturbation; control has none.
    pub tokens: RowSets,
    /// The gene of each token.
    pub genes: Vec<u32>,
    /// Rows of the measured effects that make up s of each token.
    pub effect_rows: Vec<u32>,
    /// What they are weighted by; those of a token sum to 1.
    pub weights: Vec<f32>,
    /// Which of them are a token's.
    pub of_token: RowSets,
    /// The levels of the context of each token.
    pub levels: Vec<Vec<u32>>,
}

/// Each token beside each control cell of its set.
pub struct Pairs {
    /// The control cell of each pair.
    pub row: Arc<[u32]>,
    /// Which pairs are a token's.
    pub of_token: RowSets,
    /// The token of each pair.
    pub token: Arc<[u32]>,
    /// The pairs in the order of control cells.
    pub by_row: Arc<[u32]>,
    /// Which of them, so ordered, are a cell's.
    pub of_row: RowSets,
}

impl Asked {
    /// About `sets` of these numbers of control cells, each with the tokens of a condition.
    pub fn of<'a>(sets: impl IntoIterator<Item = (usize, &'a ConditionTokens)>) -> Self {
        let (mut cells, mut tokens, mut of_token) = (Vec::new(), Vec::new(), Vec::new());
        let (mut genes, mut effect_rows, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut levels = Vec::new();
        for (n, condition) in sets {
            cells.push(n);
            tokens.push(condition.genes.len());
            for (gene, effects) in condition.genes.iter().zip(&condition.effects) {
                genes.push(*gene);
                levels.push(condition.levels.clone());
                of_token.push(effects.len());
                effect_rows.extend(effects.iter().map(|(row, _)| *row));
                weights.extend(effects.iter().map(|(_, weight)| *weight));
            }
        }
        let (cells, tokens) = (RowSets::from_sizes(cells), RowSets::from_sizes(tokens));
        Self {
            cells,
            log_library: Vec::new(),
            tokens,
            genes,
            effect_rows,
            weights,
            of_token: RowSets::from_sizes(of_token),
            levels,
        }
    }

    /// About these control cells, each with the tokens of a condition.
    pub fn about(start: &StartCells, tokens: &ConditionTokens) -> Self {
        Self { log_library: start.log_library.clone(), ..Self::of([(start.z.nrows(), tokens)]) }
    }

    /// The same, of control cells of a dataset with these rows.
    pub fn with_library_of(self, data: &Dataset, rows: &[usize]) -> Self {
        Self { log_library: rows.iter().map(|&row| data.library_size[row].max(1.0).ln()).collect(), ..self }
    }

    /// See [`Pairs`].
    pub fn pairs(&self) -> Pairs {
        let (mut row, mut sizes, mut token) = (Vec::new(), Vec::new(), Vec::new());
        // Where the pairs of each set begin.
        let (mut by_row, mut of_row) = (Vec::new(), Vec::new());
        for (cells, tokens) in self.cells.ranges().zip(self.tokens.ranges()) {
            let start = row.len();
            for at in tokens.clone() {
                row.extend(cells.clone().map(|cell| cell as u32));
                token.extend(std::iter::repeat_n(at as u32, cells.len()));
                sizes.push(cells.len());
            }
            for cell in 0..cells.len() {
                by_row.extend((0..tokens.len()).map(|token| (start + token * cells.len() + cell) as u32));
                of_row.push(tokens.len());
            }
        }
        Pairs {
            row: row.into(),
            of_token: RowSets::from_sizes(sizes),
            token: token.into(),
            by_row: by_row.into(),
            of_row: RowSets::from_sizes(of_row),
        }
    }
}

/// The genes of a condition, the rows and weights of the measured effects that stand for each, and the levels of its context.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConditionTokens {
    /// Numbers of the perturbed genes.
    pub genes: Vec<u32>,
    /// For each of them.
    pub effects: Vec<Vec<(u32, f32)>>,
    /// Numbers of the levels: see [`Measured::levels`].
    pub levels: Vec<u32>,
}

impl ConditionTokens {
    /// Those of the genes that `first` accepts, and the others.
    pub fn parted(&self, first: impl Fn(u32) -> bool) -> [Self; 2] {
        let none = Self { levels: self.levels.clone(), ..Self::default() };
        let mut parts = [none.clone(), none];
        for (&gene, effects) in self.genes.iter().zip(&self.effects) {
            let part = &mut parts[usize::from(!first(gene))];
            part.genes.push(gene);
            part.effects.push(effects.clone());
        }
        parts
    }
}

/// Some sets.
pub struct SetBatch {
    /// Control cells, counts scaled to one sum.
    pub controls: Arc<Counts>,
    /// What is asked of the predictor.
    pub asked: Asked,
    /// Perturbed cells, scaled.
    pub perturbed: Arc<Counts>,
    /// Which of them belong together.
    pub perturbed_sets: RowSets,
    /// The measured counts of the perturbed cells, and their library sizes.
    pub target: CountTarget,
    /// What the counts of each perturbed cell are scaled by.
    pub scale: Vec<f32>,
    /// Observed shares of each condition over all its training cells, `(sets, classes)`.
    pub profiles: Array2<f32>,
    /// Mean over sets of the entropy of the profiles: what the profile loss cannot fall below.
    pub entropy: f32,
}

/// One set.
pub struct Item {
    /// What is asked.
    pub tokens: ConditionTokens,
    /// Rows of the control cells.
    pub controls: Vec<usize>,
    /// Rows of the perturbed cells.
    pub perturbed: Vec<usize>,
    /// The place of its condition.
    pub condition: usize,
}

/// All sets of an epoch.
pub struct SetSource<'a> {
    data: &'a Dataset,
    target_sum: f32,
    with_remainder: bool,
    /// The sets.
    pub items: Vec<Item>,
    /// Their conditions.
    pub conditions: Vec<Condition>,
    profiles: Vec<Vec<f32>>,
    entropies: Vec<f32>,
}

/// How sets are drawn.
#[derive(Debug, Clone, Copy)]
pub struct SetSize<'a> {
    /// Cells of each side.
    pub cells: usize,
    /// Sets of each condition.
    pub draws: usize,
    /// Measured effects that no set may use; if none is given, every second set may not use its own.
    pub hidden: Option<Hidden<'a>>,
}

impl<'a> SetSource<'a> {
    /// Sets of the `conditions`. In every second set (or all, as `size` says) of a condition whose perturbation was measured
    /// elsewhere too, its own measured effect is hidden, as it is missing for an unseen context.
    ///
    /// # Errors
    /// A condition whose context has no control cell.
    pub fn new(
        data: &'a Dataset,
        measured: &Measured,
        conditions: &[Condition],
        (target_sum, with_remainder): (f32, bool),
        size: SetSize<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let mut source = Self {
            data,
            target_sum,
            with_remainder,
            items: Vec::new(),
            conditions: Vec::new(),
            profiles: Vec::new(),
            entropies: Vec::new(),
        };
        for condition in conditions {
            let (controls, perturbed) = (measured.controls(condition.context.as_deref())?, measured.rows(condition));
            if perturbed.is_empty() {
                continue;
            }
            let profile = profile(data, perturbed, with_remainder);
            source.entropies.push(-profile.iter().filter(|&&y| y > 0.0).map(|y| y * y.ln()).sum::<f32>());
            source.profiles.push(profile);
            source.conditions.push(condition.clone());
            for number in 0..size.draws {
                let every_second = if number % 2 == 1 { Hidden::Own } else { Hidden::Nothing };
                let mut tokens = measured.tokens(condition, size.hidden.unwrap_or(every_second))?;
                if size.hidden.is_none() {
                    tokens.levels.retain(|_| rng.random::<f64>() >= LEVEL_DROPOUT);
                }
                let mut draw = |from: &[usize]| {
                    let mut from = from.to_vec();
                    shuffle(&mut from, rng);
                    from.truncate(size.cells);
                    from
                };
                let (controls, perturbed) = (draw(controls), draw(perturbed));
                source.items.push(Item { tokens, controls, perturbed, condition: source.conditions.len() - 1 });
            }
        }
        if source.items.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        Ok(source)
    }
}

/// The share of each gene in the counts of some cells, and, where the library counts genes that are not modelled, theirs.
pub fn profile(data: &Dataset, rows: &[usize], with_remainder: bool) -> Vec<f32> {
    let mut sum = vec![0.0_f64; data.n_genes()];
    let mut library = 0.0;
    for &row in rows {
        let (genes, values) = data.counts.row(row);
        genes.iter().zip(values).for_each(|(&gene, &value)| sum[gene as usize] += f64::from(value));
        library += f64::from(data.library_size[row]);
    }
    let kept: f64 = sum.iter().sum();
    let total = if with_remainder { library.max(kept) } else { kept }.max(1.0);
    if with_remainder {
        sum.push(total - kept);
    }
    sum.into_iter().map(|count| (count / total) as f32).collect()
}

impl BatchSource for SetSource<'_> {
    type Batch = SetBatch;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<SetBatch> {
        let items: Vec<&Item> = rows.iter().map(|&row| &self.items[row]).collect();
        let scale = |&cell: &usize| self.target_sum / self.data.library_size[cell].max(1.0);
        let controls: Vec<usize> = items.iter().flat_map(|item| item.controls.iter().copied()).collect();
        let perturbed: Vec<usize> = items.iter().flat_map(|item| item.perturbed.iter().copied()).collect();
        let scaled = |cells: &[usize]| {
            let scales: Vec<f32> = cells.iter().map(scale).collect();
            Arc::new(self.data.counts.select_cells(cells).scale_rows(&scales))
        };
        let classes = self.profiles[0].len();
        let mut profiles = Array2::zeros((items.len(), classes));
        for (mut row, item) in profiles.rows_mut().into_iter().zip(&items) {
            row.assign(&ndarray::ArrayView1::from(&self.profiles[item.condition]));
        }
        let entropy = items.iter().map(|item| self.entropies[item.condition]).sum::<f32>() / items.len() as f32;
        Ok(SetBatch {
            controls: scaled(&controls),
            asked: Asked::of(items.iter().map(|item| (item.controls.len(), &item.tokens)))
                .with_library_of(self.data, &controls),
            perturbed: scaled(&perturbed),
            perturbed_sets: RowSets::from_sizes(items.iter().map(|item| item.perturbed.len())),
            target: CountTarget {
                counts: Arc::new(self.data.counts.select_cells(&perturbed)),
                library_size: super::decoder::size_factors(self.data, &perturbed, self.with_remainder).into(),
                with_remainder: self.with_remainder,
            },
            scale: perturbed.iter().map(scale).collect(),
            profiles,
            entropy,
        })
    }

    fn name(&self, row: usize) -> String {
        self.conditions[self.items[row].condition].to_string()
    }
}
