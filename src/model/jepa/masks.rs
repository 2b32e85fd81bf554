//! Which genes are hidden from the context, and predicted.
//!
//! A pattern has several targets, each a set of about `fraction * genes` genes; the context sees all genes that are in no
//! target (and, with `overlap`, a few that are). Everything is drawn from the generator that is handed in: the same seed
//! gives the same patterns.

use super::config::{MaskConfig, MaskKind};
use crate::math::logistic::{LogisticConfig, fit_logistic};
use crate::{
    Error, Result,
    data::{
        Dataset, GeneSets, Regulons,
        normalize::{TargetSum, log_normalize},
    },
};
use ndarray::{Array2, Axis};
use rand::{
    Rng,
    seq::{SliceRandom, index},
};
use rand_chacha::ChaCha8Rng;

/// The hidden and the target genes of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskPattern {
    /// What the context does not see, ascending.
    pub hidden: Vec<u32>,
    /// The genes of each target, ascending.
    pub targets: Vec<Vec<u32>>,
}

/// What targets are drawn from.
#[derive(Debug, Clone, PartialEq)]
enum Pool {
    /// Every gene alike.
    Even,
    /// Sets of genes, one after the other.
    Sets(Vec<Vec<u32>>),
    /// Genes by weight.
    Weighted(Vec<f64>),
}

/// Draws patterns for one dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneMasks {
    n_genes: usize,
    /// Genes of a target.
    size: usize,
    targets: usize,
    overlap: f64,
    pool: Pool,
}

impl GeneMasks {
    /// Masks for the genes of `data`; adversarial ones look at the labels of the cells `train`.
    ///
    /// # Errors
    /// A file that cannot be read or has none of the genes; too few genes for as many targets; for adversarial masks,
    /// training cells of one perturbation only.
    pub fn new(config: &MaskConfig, data: &Dataset, train: &[usize]) -> Result<Self> {
        let pool = match &config.kind {
            MaskKind::Random => Pool::Even,
            MaskKind::GeneSets { file, min_size, max_size } => {
                let sets = GeneSets::open(file)?.measured(data.gene_names(), *min_size, *max_size)?;
                let numbers = |set: &Vec<usize>| set.iter().map(|&gene| gene as u32).collect();
                Pool::Sets(sets.columns.iter().map(numbers).collect())
            }
            MaskKind::Regulons { file, min_size } => {
                Pool::Sets(Regulons::open(file)?.measured(data.gene_names(), *min_size)?)
            }
            MaskKind::Adversarial => Pool::Weighted(telling_genes(data, train)?),
        };
        Self::with_pool(config, data.n_genes(), pool)
    }

    fn with_pool(config: &MaskConfig, n_genes: usize, pool: Pool) -> Result<Self> {
        let MaskConfig { fraction, targets, overlap, .. } = *config;
        let size = ((fraction * n_genes as f64).round() as usize).max(1);
        if size * targets >= n_genes {
            return Err(Error::config(format!(
                "masks: {targets} targets of {size} genes can hide all {n_genes}; lower masks.fraction or masks.targets"
            )));
        }
        Ok(Self { n_genes, size, targets, overlap, pool })
    }

    /// Number of genes of the dataset.
    pub fn n_genes(&self) -> usize {
        self.n_genes
    }

    /// A new pattern.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> MaskPattern {
        let targets: Vec<Vec<u32>> = (0..self.targets).map(|_| self.target(rng)).collect();
        let mut hidden: Vec<u32> = targets.iter().flatten().copied().collect();
        hidden.sort_unstable();
        hidden.dedup();
        if self.overlap > 0.0 {
            hidden.retain(|_| rng.random::<f64>() >= self.overlap);
        }
        MaskPattern { hidden, targets }
    }

    /// A new pattern of whole places: `(hidden places, the places of each target)`, ascending. `place_of` is the place of
    /// each gene; genes of no place have a number that is too large. A target is the places of which most genes were drawn
    /// for it, as many as make up its share of all places.
    pub fn draw_places(&self, place_of: &[u32], n_places: usize, rng: &mut ChaCha8Rng) -> (Vec<u32>, Vec<Vec<u32>>) {
        // How many of some genes are at each place.
        let count = |genes: &mut dyn Iterator<Item = usize>| {
            let mut at = vec![0.0_f64; n_places];
            genes
                .map(|gene| place_of[gene] as usize)
                .filter(|&place| place < n_places)
                .for_each(|place| at[place] += 1.0);
            at
        };
        let sizes = count(&mut (0..place_of.len()));
        let share = self.size as f64 / self.n_genes as f64;
        // At least one place stays visible.
        let size = ((share * n_places as f64).round() as usize).clamp(1, n_places - 1);
        let mut hidden = std::collections::BTreeSet::new();
        let mut targets = Vec::with_capacity(self.targets);
        for _ in 0..self.targets {
            let mut target: Vec<u32> = match &self.pool {
                Pool::Even => index::sample(rng, n_places, size).iter().map(|place| place as u32).collect(),
                _ => {
                    let drawn = count(&mut self.target(rng).into_iter().map(|gene| gene as usize));
                    let mut order: Vec<u32> = (0..n_places as u32).collect();
                    // Places of one gene each are drawn or not: ties must not be broken by their numbers.
                    if sizes.iter().all(|&size| size <= 1.0) {
                        order.shuffle(rng);
                    }
                    let rate = |place: u32| drawn[place as usize] / sizes[place as usize].max(1.0);
                    order.sort_by(|&a, &b| rate(b).total_cmp(&rate(a)));
                    order.truncate(size);
                    order
                }
            };
            target.sort_unstable();
            let room = (n_places - 1).saturating_sub(hidden.len());
            let fresh: Vec<u32> = target.iter().copied().filter(|place| !hidden.contains(place)).take(room).collect();
            hidden.extend(fresh);
            targets.push(target);
        }
        let keep = |_: &u32| self.overlap == 0.0 || rng.random::<f64>() >= self.overlap;
        (hidden.into_iter().filter(keep).collect(), targets)
    }

    fn target(&self, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let mut genes: Vec<u32> = match &self.pool {
            Pool::Even => index::sample(rng, self.n_genes, self.size).iter().map(|gene| gene as u32).collect(),
            Pool::Weighted(weights) => index::sample_weighted(rng, self.n_genes, |gene| weights[gene], self.size)
                .expect("weights are positive and finite, and there are more genes than are drawn")
                .iter()
                .map(|gene| gene as u32)
                .collect(),
            Pool::Sets(sets) => {
                // Whole sets until the target is full; the last one in part.
                let mut order: Vec<usize> = (0..sets.len()).collect();
                order.shuffle(rng);
                let mut taken = vec![false; self.n_genes];
                let mut genes = Vec::with_capacity(self.size);
                for set in order {
                    let mut members: Vec<u32> =
                        sets[set].iter().copied().filter(|&gene| !taken[gene as usize]).collect();
                    members.shuffle(rng);
                    members.truncate(self.size - genes.len());
                    members.iter().for_each(|&gene| taken[gene as usize] = true);
                    genes.extend(members);
                    if genes.len() == self.size {
                        break;
                    }
                }
                genes
            }
        };
        genes.sort_unstable();
        genes
    }
}

/// How much each gene tells of a cell's perturbation: the norm of its weights over the classes in a logistic regression on
/// the standardised log1p expression of the cells `rows`; a small share of the mean on top, so that every gene can be
/// drawn. `(genes,)`
fn telling_genes(data: &Dataset, rows: &[usize]) -> Result<Vec<f64>> {
    /// Of the mean norm.
    const FLOOR: f64 = 0.01;
    let cells = data.select_cells(rows);
    let mut x: Array2<f64> = log_normalize(&cells, TargetSum::default())?.to_dense().mapv(f64::from);
    for mut column in x.axis_iter_mut(Axis(1)) {
        let (mean, sd) = (column.mean().unwrap_or(0.0), column.std(0.0));
        let scale = if sd > 0.0 { 1.0 / sd } else { 0.0 };
        column.mapv_inplace(|value| (value - mean) * scale);
    }
    // A probe to rank genes by, not to be judged: a loose tolerance is enough.
    let config = LogisticConfig { c: 0.01, max_iterations: 50, tolerance: 1e-3 };
    let fit = fit_logistic(x.view(), &cells.labels, data.perturbations.len(), &config)?;
    let norms: Vec<f64> = fit.weights.axis_iter(Axis(1)).map(|gene| gene.dot(&gene).sqrt()).collect();
    let floor = FLOOR * norms.iter().sum::<f64>() / norms.len().max(1) as f64;
    Ok(norms.into_iter().map(|norm| norm + floor.max(f64::MIN_POSITIVE)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn config(fraction: f64, targets: usize, overlap: f64) -> MaskConfig {
        MaskConfig { fraction, targets, overlap, ..MaskConfig::default() }
    }

    #[test]
    fn the_context_sees_what_is_in_no_target() {
        let masks = GeneMasks::with_pool(&config(0.2, 3, 0.0), 50, Pool::Even).expect("they fit");
        let draw = |seed| masks.draw(&mut ChaCha8Rng::seed_from_u64(seed));
        let pattern = draw(1);
        assert_eq!(pattern, draw(1));
        assert_ne!(pattern, draw(2));
        assert!(pattern.targets.iter().all(|t| t.len() == 10 && t.is_sorted_by(|a, b| a < b)));
        let mut union: Vec<u32> = pattern.targets.concat();
        union.sort_unstable();
        union.dedup();
        assert_eq!(pattern.hidden, union);
        assert!(GeneMasks::with_pool(&config(0.4, 3, 0.0), 50, Pool::Even).is_err());
    }

    #[test]
    fn overlap_leaves_a_share_of_the_targets_visible() {
        let masks = GeneMasks::with_pool(&config(0.3, 2, 0.25), 1000, Pool::Even).expect("they fit");
        let pattern = masks.draw(&mut ChaCha8Rng::seed_from_u64(3));
        let mut union: Vec<u32> = pattern.targets.concat();
        union.sort_unstable();
        union.dedup();
        let kept = 1.0 - pattern.hidden.len() as f64 / union.len() as f64;
        assert!((kept - 0.25).abs() < 0.06, "{kept}");
    }

    #[test]
    fn sets_are_hidden_together_and_heavy_genes_more_often() {
        let sets = vec![vec![0, 1, 2], vec![10, 11, 12], vec![20, 21, 22]];
        let masks = GeneMasks::with_pool(&config(0.1, 1, 0.0), 30, Pool::Sets(sets.clone())).expect("they fit");
        for seed in 0..20 {
            assert!(sets.contains(&masks.draw(&mut ChaCha8Rng::seed_from_u64(seed)).targets[0]));
        }
        let weights = (0..30).map(|gene| if gene < 3 { 100.0 } else { 0.01 }).collect();
        let masks = GeneMasks::with_pool(&config(0.1, 1, 0.0), 30, Pool::Weighted(weights)).expect("they fit");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let often = (0..50).filter(|_| masks.draw(&mut rng).targets[0] == [0, 1, 2]).count();
        assert!(often > 45, "{often}");
    }
}
