//! The effect of a gene that was never perturbed, from what is known of it otherwise.
//!
//! A gene has *features*: its loadings (how it answers, as a measured gene, to each training perturbation of another gene)
//! and the gene sets that it belongs to, a rare set counting more than a common one (`1 / sqrt(size)`). Genes are alike by the cosine of their features, and the single effects of alike genes are carried
//! over by kernel ridge regression from the mean single effect m,
//!
//! ```text
//! d_g = m + k_g (K + l I)^-1 (D - m)          K: cosines between the trained genes, D: their single effects
//! ```
//!
//! Which features are used, and l, are those of the smallest leave-one-out error over the trained genes, in closed form
//! (Rasmussen and Williams 2006, equation 5.12), if that is below the error of the mean alone by more than the standard
//! error of the difference: features that tell nothing change nothing. How a gene answers to being perturbed itself is no
//! feature: it is known of trained genes only, and would be learned in place of what carries over.

use super::Prototypes;
use crate::{Error, Result, data::GeneSets, linalg::cholesky};
use ndarray::{Array1, Array2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Candidates of l.
const RIDGES: [f64; 6] = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// What a gene without a single effect is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneFeature {
    /// How it answers to the training perturbations.
    Loadings,
    /// The gene sets that it belongs to.
    GeneSets,
}

/// What was chosen for genes that were never perturbed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnseenChoice {
    /// Features in use; empty where the mean of the single effects did best.
    pub features: Vec<GeneFeature>,
    /// The ridge l.
    pub ridge: f64,
    /// Leave-one-out squared error over the trained genes, as a share of that of their mean.
    pub error: f64,
}

/// Features of genes, and the weights that turn them into effects.
#[derive(Debug, Clone)]
pub(super) struct Unseen {
    /// Every gene that has features, with its row in them.
    pub place: BTreeMap<String, usize>,
    /// Unit rows (or zero), `(genes with features, features)`.
    pub features: Array2<f64>,
    /// Mean single effect, `(genes,)`.
    pub mean: Array1<f64>,
    /// From features to the departure from the mean, `(features, genes)`.
    pub map: Array2<f64>,
    pub choice: UnseenChoice,
}

impl Unseen {
    /// Fits to the single effects of a fold.
    ///
    /// # Errors
    /// Those of the linear algebra.
    pub fn fit(data: &Prototypes, kinds: &[GeneFeature], sets: Option<&GeneSets>) -> Result<Self> {
        let mut trained: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, condition) in data.conditions.iter().enumerate() {
            if let [gene] = condition.perturbation.genes() {
                trained.entry(gene).or_default().push(row);
            }
        }
        let effect = |rows: &Vec<usize>| {
            data.effects.select(Axis(0), rows).mapv(f64::from).mean_axis(Axis(0)).expect("a gene has at least one row")
        };
        let singles: BTreeMap<&str, Array1<f64>> = trained.iter().map(|(gene, rows)| (*gene, effect(rows))).collect();
        let mean = match singles.len() {
            0 => Array1::zeros(data.genes.len()),
            n => singles.values().fold(Array1::zeros(data.genes.len()), |sum, effect| sum + effect) / n as f64,
        };
        let mut blocks: Vec<(GeneFeature, HashMap<String, Array1<f64>>)> = Vec::new();
        for kind in kinds {
            match (kind, sets) {
                (GeneFeature::Loadings, _) => blocks.push((*kind, loadings(data))),
                (GeneFeature::GeneSets, Some(sets)) => blocks.push((*kind, memberships(sets))),
                (GeneFeature::GeneSets, None) => {}
            }
        }
        let names: std::collections::BTreeSet<String> =
            blocks.iter().flat_map(|(_, block)| block.keys().cloned()).collect();
        let place: BTreeMap<String, usize> = names.into_iter().zip(0..).collect();
        let chosen = |place: &BTreeMap<String, usize>, kinds: &[GeneFeature]| {
            let used = blocks.iter().filter(|(kind, _)| kinds.contains(kind));
            unit_rows(place, &used.map(|(_, block)| block).collect::<Vec<_>>())
        };
        let known: Vec<(&str, usize)> = singles.keys().filter_map(|gene| Some((*gene, *place.get(*gene)?))).collect();
        let mut departures = Array2::zeros((0, data.genes.len()));
        for (gene, _) in &known {
            departures.push_row((&singles[gene] - &mean).view()).expect("an effect has a value a gene");
        }
        let mut best = Self {
            features: Array2::zeros((place.len(), 0)),
            map: Array2::zeros((0, data.genes.len())),
            mean,
            choice: UnseenChoice { features: Vec::new(), ridge: 0.0, error: 1.0 },
            place,
        };
        let alone = squares(&departures);
        if known.len() < 3 || alone.sum() == 0.0 {
            return Ok(best);
        }
        let all: Vec<GeneFeature> = blocks.iter().map(|(kind, _)| *kind).collect();
        let mut candidates: Vec<Vec<GeneFeature>> = all.iter().map(|kind| vec![*kind]).collect();
        if all.len() > 1 {
            candidates.push(all);
        }
        let rows: Vec<usize> = known.iter().map(|(_, row)| *row).collect();
        for kinds in candidates {
            let features = chosen(&best.place, &kinds);
            let trained = features.select(Axis(0), &rows);
            let kernel = trained.dot(&trained.t());
            for ridge in RIDGES {
                let inverse =
                    cholesky::solve(&(&kernel + &(Array2::<f64>::eye(rows.len()) * ridge)), &Array2::eye(rows.len()))?;
                let weights = inverse.dot(&departures);
                let scaled = inverse.diag().mapv(|pivot| 1.0 / pivot).insert_axis(Axis(1));
                // Of n genes the mean holds the one that is left out, too, which makes its error n / (n - 1) times as
                // large, with features and without: it cancels.
                let gain = &alone - &squares(&(&weights * &scaled));
                let error = 1.0 - gain.sum() / alone.sum();
                let certain = gain.mean().unwrap_or(0.0) > gain.std(1.0) / (gain.len() as f64).sqrt();
                if certain && error < best.choice.error {
                    best.map = trained.t().dot(&weights);
                    best.features.clone_from(&features);
                    best.choice = UnseenChoice { features: kinds.clone(), ridge, error };
                }
            }
        }
        Ok(best)
    }

    /// The effect of a gene by its features, `(genes,)`.
    ///
    /// # Errors
    /// A gene without features: [`ErrorKind::Inapplicable`](crate::ErrorKind), with its name.
    pub fn effect(&self, gene: &str) -> Result<Array1<f64>> {
        let row = self.place.get(gene).ok_or_else(|| {
            Error::inapplicable(format!(
                "{gene} cannot be represented: never perturbed alone in training, {}",
                self.lacks()
            ))
        })?;
        Ok(&self.mean + &self.features.row(*row).dot(&self.map))
    }

    /// What a gene that cannot be represented lacks, in words.
    pub fn lacks(&self) -> &'static str {
        "neither measured nor in a gene set: train with a GMT file (gene_sets) that has them"
    }
}

/// Squared length of each row.
fn squares(rows: &Array2<f64>) -> Array1<f64> {
    rows.map_axis(Axis(1), |row| row.dot(&row))
}

/// What each measured gene does under every training condition, 0 where it is perturbed itself.
fn loadings(data: &Prototypes) -> HashMap<String, Array1<f64>> {
    let column = |(place, gene): (usize, &String)| {
        let answers = data.conditions.iter().zip(data.effects.column(place)).map(|(condition, &value)| {
            if condition.perturbation.genes().contains(gene) { 0.0 } else { f64::from(value) }
        });
        (gene.clone(), answers.collect())
    };
    data.genes.iter().enumerate().map(column).collect()
}

/// The sets of each gene.
fn memberships(sets: &GeneSets) -> HashMap<String, Array1<f64>> {
    let mut of: HashMap<String, Array1<f64>> = HashMap::new();
    for (column, set) in sets.sets.iter().enumerate() {
        let weight = 1.0 / (set.genes.len() as f64).sqrt();
        for gene in &set.genes {
            of.entry(gene.clone()).or_insert_with(|| Array1::zeros(sets.sets.len()))[column] = weight;
        }
    }
    of
}

/// The blocks side by side, `(genes, features)`; each block of a gene has length 1, and the row of a gene with features
/// too.
fn unit_rows(place: &BTreeMap<String, usize>, blocks: &[&HashMap<String, Array1<f64>>]) -> Array2<f64> {
    let parts: Vec<Array2<f64>> = blocks
        .iter()
        .map(|block| {
            let width = block.values().next().map_or(0, Array1::len);
            let mut part = Array2::zeros((place.len(), width));
            for (gene, values) in *block {
                let length = values.dot(values).sqrt();
                if length > 0.0 {
                    part.slice_mut(s![place[gene], ..]).assign(&(values / length));
                }
            }
            part
        })
        .collect();
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    let mut rows = concatenate(Axis(1), &views).expect("all parts have a row a gene");
    for mut row in rows.rows_mut() {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
    rows
}
