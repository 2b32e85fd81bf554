//! How genes are divided into groups, each of which becomes one token of a cell.

use crate::{
    Error, Result,
    data::{Dataset, GeneSets, TargetSum, normalize::log_normalize, shuffle},
    math::Pca,
};
use ndarray::{Array2, ArrayView1, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    /// As `Correlation`, in groups of one size, or one gene more: of all pairs of a gene and a centre of k-means the nearest is taken
    /// first, and a group that is full takes no more.
    EvenCorrelation,
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
            Self::Correlation | Self::EvenCorrelation => {
                let mut cells = train.to_vec();
                shuffle(&mut cells, &mut rng);
                cells.truncate(CLUSTERED_CELLS);
                let (mut group_of, nearness) = by_correlation(groups, &data.select_cells(&cells), &mut rng)?;
                match self {
                    Self::EvenCorrelation => group_of = evenly(&nearness),
                    _ => fill_empty(&mut group_of, groups),
                }
                Ok(group_of)
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

/// Spherical k-means (Dhillon and Modha 2001) of the genes' loadings, each scaled to length 1: the group of each gene, of which some
/// may be empty, and the cosine of each gene with each centre, `(genes, groups)`.
fn by_correlation(groups: usize, cells: &Dataset, rng: &mut ChaCha8Rng) -> Result<(Vec<u32>, Array2<f64>)> {
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
    Ok((group_of, genes.dot(&centres.t())))
}

/// Groups whose sizes differ by one gene at most, by the cosines `(genes, groups)` of genes and centres.
fn evenly(nearness: &Array2<f64>) -> Vec<u32> {
    let (n_genes, groups) = nearness.dim();
    let size = n_genes / groups;
    // Number of groups that may still have one gene more.
    let mut larger = n_genes % groups;
    let mut sizes = vec![0; groups];
    let mut group_of = vec![u32::MAX; n_genes];
    let mut pairs: Vec<((usize, usize), f64)> = nearness.indexed_iter().map(|(pair, &near)| (pair, near)).collect();
    pairs.sort_by(|a, b| b.1.total_cmp(&a.1));
    for ((gene, group), _) in pairs {
        let is_extra = sizes[group] == size;
        let has_room = sizes[group] < size || is_extra && larger > 0;
        if group_of[gene] == u32::MAX && has_room {
            group_of[gene] = group as u32;
            sizes[group] += 1;
            larger -= usize::from(is_extra);
        }
    }
    group_of
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
