//! What a gene that was never perturbed would do alone, estimated from its features.
//!
//! A gene has *features*: its loadings (how it answers, as a measured gene, to each training perturbation of another gene)
//! and the gene sets that it belongs to, where a rare set counts more than a common one (`1 / sqrt(size)`). The similarity
//! of genes is the cosine of their features, and kernel ridge regression carries over how the single effects of similar
//! genes differ from their mean m:
//!
//! ```text
//! d_g = (1 - t) m + t a + w k_g (K + l I)^-1 (D - m)
//! ```
//!
//! K: cosines between the trained genes, D: their single effects, a: the mean effect of all training perturbations (with
//! the combinations, which are more but differ from single effects).
//!
//! The centre's t, the features, l and the weight w are those with the smallest leave-one-out error over the trained genes:
//! the mean Euclidean distance between a gene's effect and its estimate from the other genes. With a gene, everything is
//! left out that an unseen gene has not: its single effect and all combinations with it. The regression is chosen as in
//! `math::left_out`.
//!
//! Features are used only if this error is below that of the centre alone by more than the standard error of the
//! difference, so uninformative features change nothing. A gene's answer to its own perturbation is not a feature: it is
//! known of trained genes only and would be fitted instead of what carries over to other genes.

use crate::{
    Error, Result,
    data::{EffectTable, GeneSets, dose::name_and_dose},
    math::left_out::{Chosen, LeftOut, lengths},
    train::Run,
};
use ndarray::{Array1, Array2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Candidates of t.
const CENTRES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// A kind of feature of a gene without a single effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneFeature {
    /// Its expression change, as a measured gene, under each training perturbation.
    Loadings,
    /// The gene sets that it belongs to.
    GeneSets,
}

/// The choices for genes that were never perturbed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnseenChoice {
    /// Features in use; empty where the centre alone had the smallest error.
    pub features: Vec<GeneFeature>,
    /// The ridge l.
    pub ridge: f64,
    /// The weight w of the estimate from features.
    #[serde(default)]
    pub weight: f64,
    /// The centre's t: 0 for the mean of the single effects, 1 for the mean of all training perturbations.
    #[serde(default)]
    pub centre: f64,
    /// Leave-one-out mean L2 over the trained genes, as a share of the error of the mean single effect.
    pub error: f64,
}

/// Features of genes, and the weights that turn them into effects.
#[derive(Debug, Clone)]
pub(super) struct Unseen {
    /// Every gene that has features, with its row in `features`.
    pub place: BTreeMap<String, usize>,
    /// Unit rows (or zero), `(genes with features, features)`.
    pub features: Array2<f64>,
    /// The centre, `(genes,)`.
    pub mean: Array1<f64>,
    /// From features to the difference to the centre, `(features, genes)`.
    pub map: Array2<f64>,
    pub choice: UnseenChoice,
}

impl Unseen {
    /// Fits to the single effects of a table.
    ///
    /// # Errors
    /// Those of the linear algebra; an interruption.
    pub fn fit(data: &EffectTable, kinds: &[GeneFeature], sets: Option<&GeneSets>, run: &Run<'_>) -> Result<Self> {
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
        let centres = Centres::of(data, &singles, &mean);
        let mut blocks: Vec<(GeneFeature, HashMap<String, Array1<f64>>)> = Vec::new();
        for kind in kinds {
            match (kind, sets) {
                (GeneFeature::Loadings, _) => blocks.push((*kind, loadings(data))),
                (GeneFeature::GeneSets, Some(sets)) => blocks.push((*kind, memberships(sets))),
                (GeneFeature::GeneSets, None) => {}
            }
        }
        let names: BTreeSet<String> = blocks.iter().flat_map(|(_, block)| block.keys().cloned()).collect();
        let place: BTreeMap<String, usize> = names.into_iter().zip(0..).collect();
        let chosen = |place: &BTreeMap<String, usize>, kinds: &[GeneFeature]| {
            let used = blocks.iter().filter(|(kind, _)| kinds.contains(kind));
            unit_rows(place, &used.map(|(_, block)| block).collect::<Vec<_>>())
        };
        let known: Vec<(&str, usize)> = singles.keys().filter_map(|gene| Some((*gene, *place.get(*gene)?))).collect();
        let mut best = Self {
            features: Array2::zeros((place.len(), 0)),
            map: Array2::zeros((0, data.genes.len())),
            mean: mean.clone(),
            choice: UnseenChoice { error: 1.0, ..UnseenChoice::default() },
            place,
        };
        let Some(centres) = centres.filter(|centres| known.len() > 2 && centres.plain() > 0.0) else {
            return Ok(best);
        };
        let (t, alone) = centres.best();
        best.mean = centres.at(t);
        best.choice.centre = t;
        best.choice.error = alone.sum() / centres.plain();
        // Genes without features have the centre as their estimate.
        let alone: Array1<f64> = known.iter().map(|(gene, _)| alone[centres.place[*gene]]).collect();
        let all: Vec<GeneFeature> = blocks.iter().map(|(kind, _)| *kind).collect();
        let mut candidates: Vec<Vec<GeneFeature>> = all.iter().map(|kind| vec![*kind]).collect();
        if all.len() > 1 {
            candidates.push(all);
        }
        let rows: Vec<usize> = known.iter().map(|(_, row)| *row).collect();
        let genes: Vec<usize> = known.iter().map(|(gene, _)| centres.place[*gene]).collect();
        let trained_effects = centres.effects.select(Axis(0), &genes);
        let (left, means) = (centres.left_out(t).select(Axis(0), &genes), centres.singles.select(Axis(0), &genes));
        let left_out = LeftOut {
            targets: &trained_effects,
            means: &means,
            residuals: &left,
            alone: &alone,
            centre_error: best.choice.error,
            scale: centres.plain(),
        };
        let kernel = |kinds: &Vec<GeneFeature>| {
            let trained = chosen(&best.place, kinds).select(Axis(0), &rows);
            trained.dot(&trained.t())
        };
        let kernels: Vec<Array2<f64>> = candidates.iter().map(kernel).collect();
        if let Some(found) = left_out.best(&kernels, || run.check_interrupt())? {
            let kinds = candidates.swap_remove(found.kernel);
            best.features = chosen(&best.place, &kinds);
            let trained = best.features.select(Axis(0), &rows);
            best.map = trained.t().dot(&found.inverse.dot(&(&trained_effects - &mean))) * found.weight;
            let Chosen { ridge, weight, error, .. } = found;
            best.choice = UnseenChoice { features: kinds, ridge, weight, centre: t, error };
        }
        Ok(best)
    }

    /// The estimated effect of a gene, `(genes,)`.
    ///
    /// # Errors
    /// A gene without features: [`ErrorKind::Inapplicable`](crate::ErrorKind), with its name.
    pub fn effect(&self, gene: &str) -> Result<Array1<f64>> {
        let row = self.place.get(gene).ok_or_else(|| {
            Error::inapplicable(match name_and_dose(gene) {
                (_, 1.0) => {
                    format!("{gene} cannot be represented: never perturbed alone in training, {}", self.lacks())
                }
                (base, dose) => format!(
                    "{gene}: {base} was not measured at {dose} in training, and this model has no curve over doses; train a vae \
                     or a jepa"
                ),
            })
        })?;
        Ok(&self.mean + &self.features.row(*row).dot(&self.map))
    }

    /// What a gene lacks that cannot be represented.
    pub fn lacks(&self) -> &'static str {
        "neither measured nor in a gene set: train with a GMT file (gene_sets) that has them"
    }
}

/// The two means that the centre lies between, and both without each gene.
struct Centres {
    /// The row of each trained gene below.
    place: BTreeMap<String, usize>,
    /// Their single effects, `(trained genes, genes)`.
    effects: Array2<f64>,
    /// Mean of the other genes' single effects, `(trained genes, genes)`.
    singles: Array2<f64>,
    /// Mean of all training perturbations without the gene, `(trained genes, genes)`.
    all: Array2<f64>,
    /// The two means over everything, `(genes,)`.
    whole: [Array1<f64>; 2],
}

impl Centres {
    /// `None` with fewer than two trained genes.
    fn of(data: &EffectTable, singles: &BTreeMap<&str, Array1<f64>>, mean: &Array1<f64>) -> Option<Self> {
        let n = singles.len();
        if n < 2 {
            return None;
        }
        let mut centres = Self {
            place: singles.keys().map(|gene| (*gene).to_owned()).zip(0..).collect(),
            effects: Array2::zeros((0, mean.len())),
            singles: Array2::zeros((0, mean.len())),
            all: Array2::zeros((0, mean.len())),
            whole: [mean.clone(), data.effects.mapv(f64::from).mean_axis(Axis(0))?],
        };
        let total = data.effects.mapv(f64::from).sum_axis(Axis(0));
        for (gene, effect) in singles {
            let without = (mean * n as f64 - effect) / (n - 1) as f64;
            let with_it = (0..data.conditions.len())
                .filter(|&row| data.conditions[row].perturbation.genes().iter().any(|own| own == gene));
            let (sum, left) = with_it.fold((total.clone(), data.conditions.len()), |(sum, left), row| {
                (sum - &data.effects.row(row).mapv(f64::from), left - 1)
            });
            centres.effects.push_row(effect.view()).expect("an effect has one value per gene");
            centres.singles.push_row(without.view()).expect("a mean has one value per gene");
            // The single effect of another gene is always left.
            centres.all.push_row((sum / left as f64).view()).expect("a mean has one value per gene");
        }
        Some(centres)
    }

    /// Difference of each single effect to the centre of the other genes, `(trained genes, genes)`.
    fn left_out(&self, t: f64) -> Array2<f64> {
        &self.effects - &(&self.singles * (1.0 - t)) - &(&self.all * t)
    }

    /// The centre, `(genes,)`.
    fn at(&self, t: f64) -> Array1<f64> {
        &self.whole[0] * (1.0 - t) + &self.whole[1] * t
    }

    /// Sum of the leave-one-out errors of the mean single effect.
    fn plain(&self) -> f64 {
        lengths(&self.left_out(0.0)).sum()
    }

    /// The t with the smallest error, and the error of each trained gene.
    fn best(&self) -> (f64, Array1<f64>) {
        let errors = CENTRES.map(|t| (t, lengths(&self.left_out(t))));
        let best = errors.into_iter().min_by(|(_, a), (_, b)| a.sum().total_cmp(&b.sum()));
        best.expect("there are candidates")
    }
}

/// The change of each measured gene under every training condition, 0 where it is perturbed itself.
fn loadings(data: &EffectTable) -> HashMap<String, Array1<f64>> {
    let column = |(place, gene): (usize, &String)| {
        let answers = data.conditions.iter().zip(data.effects.column(place)).map(|(condition, &value)| {
            if condition.perturbation.genes().contains(gene) { 0.0 } else { f64::from(value) }
        });
        (gene.clone(), answers.collect())
    };
    data.genes.iter().enumerate().map(column).collect()
}

/// The gene sets of each gene.
fn memberships(sets: &GeneSets) -> HashMap<String, Array1<f64>> {
    let dense = |(gene, places): (String, Vec<(u32, f64)>)| {
        let mut row = Array1::zeros(sets.sets.len());
        places.into_iter().for_each(|(set, weight)| row[set as usize] = weight);
        (gene, row)
    };
    sets.memberships().into_iter().map(dense).collect()
}

/// The blocks side by side, `(genes, features)`. A gene's part of each block is scaled to length 1, and then its whole row.
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
    let mut rows = concatenate(Axis(1), &views).expect("every part has one row per gene");
    for mut row in rows.rows_mut() {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
    rows
}
