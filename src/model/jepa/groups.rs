//! Gene-group tokens: the genes are divided into groups, and what a cell expresses of a group is one token.
//!
//! For a cell with log1p-normalised expression x and the genes G_k of group k:
//!
//! ```text
//! h_k = GELU( sum over g in G_k of x_g W_g + b_k )      W (genes, hidden), b (groups, hidden)
//! t_k = h_k V + c + p_k                                 V (hidden, width), p (groups, width) the group's position
//! T   = LN(blocks(t))                                   self-attention among the tokens of a cell
//! z   = [T_1, T_2, ...] R + r                           the embedding of the cell; 0 for a group without a token
//! ```
//!
//! The readout R sees every token at its place. Attention pooling would average the tokens, and with them how the cells of
//! one condition differ.
//!
//! A gene belongs to one group, so W holds a first layer for each group. A group of which no gene is visible has no token.
//! The tokens T are what a masked training predicts (I-JEPA's patches), z is what the rest of the library uses.

use super::{config::GroupConfig, encoder::Seen};
use crate::{
    Error, Result,
    data::{Counts, Dataset, GeneSets, TargetSum, normalize::log_normalize, shuffle},
    math::Pca,
    nn::{
        Activation, Backend, LayerNorm, Linear, Matrix, RowSets, SparseLinear, TransformerBlock, Vector, init, ops,
        walk_params,
    },
};
use dfdx::prelude::{HasShape, ReshapeTo, Tape};
use ndarray::{Array2, ArrayView1, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// Spread of positions at the start; that of Vision Transformer's (Dosovitskiy et al. 2021, code).
const POSITION_SPREAD: f32 = 0.02;
/// Principal components by which genes are clustered.
const CLUSTERED_COMPONENTS: usize = 20;
/// Cells that the correlation of genes is taken from, at most.
const CLUSTERED_CELLS: usize = 4_000;
/// Rounds of k-means.
const ROUNDS: usize = 25;

/// How genes are divided into groups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Grouping {
    /// Genes that vary together over the training cells: spherical k-means of their loadings on principal components.
    #[default]
    Correlation,
    /// Groups of one size, at random.
    Random,
    /// Gene sets of a GMT file: the set with most genes that have no group yet, again and again, for three quarters of the
    /// groups; the genes that are left are divided at random among the others.
    GeneSets {
        /// The file.
        file: PathBuf,
    },
}

impl Grouping {
    /// The group of each gene, `(genes,)`, below `groups`; by the training cells `train` of `data`.
    ///
    /// # Errors
    /// Fewer genes than groups; a file that cannot be read or has none of the genes.
    pub fn divide(&self, groups: usize, data: &Dataset, train: &[usize], seed: u64) -> Result<Vec<u32>> {
        let n_genes = data.n_genes();
        if n_genes < groups {
            return Err(Error::config(format!(
                "encoder.groups = {groups}, but the data has {n_genes} genes; ask for fewer groups"
            )));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        match self {
            Self::Random => {
                let mut group_of = vec![0; n_genes];
                divide_evenly(&mut group_of, (0..n_genes).collect(), 0..groups, &mut rng);
                Ok(group_of)
            }
            Self::Correlation => {
                let mut cells = train.to_vec();
                shuffle(&mut cells, &mut rng);
                cells.truncate(CLUSTERED_CELLS);
                by_correlation(groups, &data.select_cells(&cells), &mut rng)
            }
            Self::GeneSets { file } => {
                let sets = GeneSets::open(file)?.measured(data.gene_names(), 1, n_genes)?.columns;
                Ok(by_sets(groups, &sets, n_genes, &mut rng))
            }
        }
    }
}

/// Gives the `genes` to the `groups` in turn, after shuffling them.
fn divide_evenly(group_of: &mut [u32], mut genes: Vec<usize>, groups: std::ops::Range<usize>, rng: &mut ChaCha8Rng) {
    shuffle(&mut genes, rng);
    genes.into_iter().zip(groups.cycle()).for_each(|(gene, group)| group_of[gene] = group as u32);
}

fn by_sets(groups: usize, sets: &[Vec<usize>], n_genes: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut group_of = vec![u32::MAX; n_genes];
    let named = (3 * groups / 4).min(sets.len());
    for group in 0..named {
        let free = |set: &Vec<usize>| set.iter().filter(|&&gene| group_of[gene] == u32::MAX).count();
        let largest = sets.iter().max_by_key(|set| free(set)).expect("there is a set for each of these groups");
        if free(largest) == 0 {
            break;
        }
        largest.iter().for_each(|&gene| {
            if group_of[gene] == u32::MAX {
                group_of[gene] = group as u32;
            }
        });
    }
    let left: Vec<usize> = (0..n_genes).filter(|&gene| group_of[gene] == u32::MAX).collect();
    divide_evenly(&mut group_of, left, named.min(groups - 1)..groups, rng);
    group_of
}

/// Spherical k-means (Dhillon and Modha 2001) of the genes' loadings, each scaled to length 1.
fn by_correlation(groups: usize, cells: &Dataset, rng: &mut ChaCha8Rng) -> Result<Vec<u32>> {
    let n_genes = cells.n_genes();
    let mut x = log_normalize(cells, TargetSum::default())?.to_dense();
    for mut column in x.axis_iter_mut(Axis(1)) {
        let (mean, sd) = (column.mean().unwrap_or(0.0), column.std(0.0));
        let scale = if sd > 0.0 { 1.0 / sd } else { 0.0 };
        column.mapv_inplace(|value| (value - mean) * scale);
    }
    let components = CLUSTERED_COMPONENTS.min(n_genes).min(x.nrows());
    let pca = Pca::fit(x.view(), components, rng.random())?;
    // Loadings: components times the standard deviation along each.
    let mut genes: Array2<f64> = pca.components.t().to_owned();
    for (mut column, variance) in genes.axis_iter_mut(Axis(1)).zip(&pca.explained_variance) {
        column *= variance.max(0.0).sqrt();
    }
    for mut gene in genes.rows_mut() {
        let norm = gene.dot(&gene).sqrt().max(f64::MIN_POSITIVE);
        gene /= norm;
    }
    // k-means++ (Arthur and Vassilvitskii 2007): a gene is drawn the more often the less it is like the centres before it.
    let mut chosen = vec![rng.random_range(0..n_genes)];
    let mut nearest = genes.dot(&genes.row(chosen[0]));
    while chosen.len() < groups {
        let weights = nearest.iter().map(|near| (1.0 - near).max(0.0).powi(2) + f64::MIN_POSITIVE);
        let mut left = rng.random::<f64>() * weights.clone().sum::<f64>();
        let next = weights.enumerate().find(|(_, weight)| {
            left -= weight;
            left <= 0.0
        });
        let next = next.map_or(n_genes - 1, |(gene, _)| gene);
        nearest.zip_mut_with(&genes.dot(&genes.row(next)), |nearest, &near| *nearest = nearest.max(near));
        chosen.push(next);
    }
    let mut centres = genes.select(Axis(0), &chosen);
    let mut group_of = vec![0_u32; n_genes];
    for _ in 0..ROUNDS {
        let nearness = genes.dot(&centres.t());
        let nearest = |row: ArrayView1<'_, f64>| {
            (0..groups).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("there is a group") as u32
        };
        let now: Vec<u32> = nearness.rows().into_iter().map(nearest).collect();
        if now == group_of {
            break;
        }
        group_of = now;
        centres.fill(0.0);
        genes.rows().into_iter().zip(&group_of).for_each(|(gene, &group)| {
            let mut centre = centres.row_mut(group as usize);
            centre += &gene;
        });
        for mut centre in centres.rows_mut() {
            let norm = centre.dot(&centre).sqrt().max(f64::MIN_POSITIVE);
            centre /= norm;
        }
    }
    fill_empty(&mut group_of, groups);
    Ok(group_of)
}

/// Every group has a gene: an empty one takes half of the largest.
fn fill_empty(group_of: &mut [u32], groups: usize) {
    let members = |group_of: &[u32], group: usize| -> Vec<usize> {
        (0..group_of.len()).filter(|&gene| group_of[gene] as usize == group).collect()
    };
    for group in 0..groups {
        if members(group_of, group).is_empty() {
            let largest = (0..groups).max_by_key(|&other| members(group_of, other).len()).expect("there is a group");
            members(group_of, largest).into_iter().step_by(2).for_each(|gene| group_of[gene] = group as u32);
        }
    }
}

/// The tokens of some cells.
#[derive(Debug, Clone)]
pub struct GroupTokens {
    /// What each token expresses, `(tokens, genes)`: the genes of its group only.
    counts: Arc<Counts>,
    /// The group of each token.
    pub group: Arc<[u32]>,
    /// Which tokens are a cell's.
    pub sets: RowSets,
}

/// The encoder: see the module.
#[derive(Debug, Clone)]
pub struct GroupEncoder<D: Backend> {
    /// The group of each gene as a whole number, `(genes,)`: kept with the weights.
    pub group_of: Vector<D>,
    /// W, and a bias that all groups share.
    pub input: SparseLinear<D>,
    /// b, `(groups, hidden)`.
    pub bias: Matrix<D>,
    /// V and c.
    pub token: Linear<D>,
    /// p, `(groups, width)`.
    pub position: Matrix<D>,
    /// Among the tokens of a cell.
    pub blocks: Vec<TransformerBlock<D>>,
    /// Of the tokens.
    pub norm: LayerNorm<D>,
    /// R `(groups * width, embedding)` and r.
    pub readout: Linear<D>,
}

walk_params!(GroupEncoder {
    params: [bias, position],
    buffers: [group_of],
    layers: [input, token, blocks, norm, readout]
});

impl<D: Backend> GroupEncoder<D> {
    /// An encoder of `genes` genes to embeddings of `width` features; the groups are even until [`Self::set_groups`].
    ///
    /// # Errors
    /// Heads that do not divide the width of the tokens; a device without memory for it.
    pub fn new(device: &D, genes: usize, config: &GroupConfig, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let GroupConfig { groups, hidden, tokens, depth, attention, .. } = *config;
        let mut group_of = init::constant(device, (genes,), 0.0)?;
        group_of.copy_from(&(0..genes).map(|gene| (gene % groups) as f32).collect::<Vec<_>>());
        Ok(Self {
            group_of,
            // A token sees the genes of its group only: weights start as of a layer of so many inputs.
            input: SparseLinear {
                weight: init::uniform(device, (genes, hidden), init::kaiming_bound(genes / groups), rng)?,
                bias: init::constant(device, (hidden,), 0.0)?,
            },
            bias: init::constant(device, (groups, hidden), 0.0)?,
            token: Linear::new(device, hidden, tokens, rng)?,
            position: init::normal(device, (groups, tokens), POSITION_SPREAD, rng)?,
            blocks: (0..depth).map(|_| TransformerBlock::new(device, tokens, attention, rng)).collect::<Result<_>>()?,
            norm: LayerNorm::new(device, tokens)?,
            readout: Linear::new(device, groups * tokens, width, rng)?,
        })
    }

    /// Sets the group of each gene.
    ///
    /// # Panics
    /// If there are more or fewer genes than the encoder's.
    pub fn set_groups(&mut self, group_of: &[u32]) {
        self.group_of.copy_from(&group_of.iter().map(|&group| group as f32).collect::<Vec<_>>());
    }

    /// Starts the first layer as one of standardised expression: genes of mean m and standard deviation s, both `(genes,)`,
    /// enter as `(x - m) / (s + 0.1)`.
    pub fn standardise_inputs(&mut self, mean: &[f64], sd: &[f64]) {
        /// Keeps genes that hardly vary from being blown up.
        const SOFTENING: f64 = 0.1;
        let (group_of, hidden) = (self.groups(), self.bias.shape().1);
        let mut weight = self.input.weight.as_vec();
        let mut bias = self.bias.as_vec();
        for (gene, &group) in group_of.iter().enumerate() {
            let scale = (1.0 / (sd[gene] + SOFTENING)) as f32;
            for unit in 0..hidden {
                let w = &mut weight[gene * hidden + unit];
                *w *= scale;
                bias[group as usize * hidden + unit] -= mean[gene] as f32 * *w;
            }
        }
        self.input.weight.copy_from(&weight);
        self.bias.copy_from(&bias);
    }

    /// The group of each gene.
    pub fn groups(&self) -> Vec<u32> {
        self.group_of.as_vec().into_iter().map(|group| group as u32).collect()
    }

    /// The visible tokens of some cells.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn visible(&self, seen: &Seen) -> Result<GroupTokens> {
        let (group_of, n_groups) = (self.groups(), self.position.shape().0);
        let genes = seen.counts.n_genes();
        if genes != group_of.len() {
            return Err(Error::shape("gene-group tokens", (group_of.len(),), (genes,)));
        }
        // The place of each visible group among the tokens of a cell, for each pattern.
        let mut sizes = vec![0_usize; n_groups];
        group_of.iter().for_each(|&group| sizes[group as usize] += 1);
        let visible: Vec<Vec<u32>> = (0..seen.hidden.len())
            .map(|pattern| {
                let mut left = sizes.clone();
                seen.hidden.set(pattern).iter().for_each(|&gene| left[group_of[gene as usize] as usize] -= 1);
                (0..n_groups as u32).filter(|&group| left[group as usize] > 0).collect()
            })
            .collect();
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        let (mut group, mut of_cell) = (Vec::new(), Vec::with_capacity(seen.len()));
        let mut buckets: Vec<Vec<(u32, f32)>> = vec![Vec::new(); n_groups];
        for (row, &pattern) in seen.pattern.iter().enumerate() {
            buckets.iter_mut().for_each(Vec::clear);
            let (columns, counts) = seen.counts.row(row);
            for (&gene, &count) in columns.iter().zip(counts) {
                buckets[group_of[gene as usize] as usize].push((gene, count));
            }
            let visible = &visible[pattern as usize];
            for &token in visible {
                indices.extend(buckets[token as usize].iter().map(|&(gene, _)| gene));
                values.extend(buckets[token as usize].iter().map(|&(_, count)| count));
                indptr.push(indices.len());
            }
            group.extend_from_slice(visible);
            of_cell.push(visible.len());
        }
        let counts = Counts::new(genes, indptr, indices, values).expect("parts of the rows of a valid matrix");
        Ok(GroupTokens { counts: Arc::new(counts), group: group.into(), sets: RowSets::from_sizes(of_cell) })
    }

    /// The output tokens T, `(tokens, width)`; with dropped attention weights where `rng` is given.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn tokens<T: Tape<f32, D>>(
        &self,
        seen: &GroupTokens,
        tape: T,
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Matrix<D, T>> {
        let h = self.input.forward(&seen.counts, tape)?; // (tokens, hidden)
        let h = ops::add(h, D::take_rows(self.bias.retaped(), &seen.group)?)?;
        let x = self.token.forward(Activation::Gelu.forward(h)?)?; // (tokens, width)
        let mut x = ops::add(x, D::take_rows(self.position.retaped(), &seen.group)?)?;
        for block in &self.blocks {
            x = match rng.as_deref_mut() {
                Some(rng) => block.forward_training(x, &seen.sets, rng)?,
                None => block.forward(x, &seen.sets)?,
            };
        }
        self.norm.forward(x)
    }

    /// The embedding of each cell from its tokens: `(tokens, width)` to `(cells, embedding)`.
    ///
    /// # Errors
    /// Tokens that are not those of `seen`.
    pub fn embedding<T: Tape<f32, D>>(&self, tokens: Matrix<D, T>, seen: &GroupTokens) -> Result<Matrix<D, T>> {
        let (n_groups, width) = *self.position.shape();
        // Any token stands at the place of a missing one, times 0.
        let mut rows = vec![0_u32; seen.sets.len() * n_groups];
        let mut there = vec![0.0_f32; rows.len() * width];
        for (cell, tokens) in seen.sets.ranges().enumerate() {
            for token in tokens {
                let place = cell * n_groups + seen.group[token] as usize;
                rows[place] = token as u32;
                there[place * width..(place + 1) * width].fill(1.0);
            }
        }
        let placed = D::multiply(D::take_rows(tokens, &rows.into())?, there)?;
        let shape = (seen.sets.len(), n_groups * width);
        let flat = placed.try_reshape_like(&shape).map_err(|e| Error::device("readout of gene-group tokens", e))?;
        self.readout.forward(flat)
    }
}
