//! Virtual screening: which perturbation would bring a cell to a wanted state?
//!
//! The wanted state is an effect, a difference to control. Every candidate's effect is predicted (or taken as measured,
//! for a single perturbation that was trained on) and compared with it. Perturbations whose effect *was* measured but not
//! trained on show how far the answer can be trusted: with their effect as the wanted state, at which rank among all
//! candidates does the true perturbation come back? ([`retrieve`])
//!
//! A perturbed gene is among the measured ones, and its own expression is the label of its perturbation: high where it was
//! activated, low where it was knocked down. A wanted state that comes from elsewhere carries no such label. So the columns
//! of every gene that is perturbed in any candidate, or in the target where that is known, are left out of *all* comparisons
//! ([`Search`]): of all, and not only of that candidate's own, because a distance over fewer genes is a smaller one, and
//! because a candidate must not be distinguished from others by a gene that only they perturb.

use crate::eval::{cosine, l2, pearson};
use crate::{
    Error, Result,
    data::{Condition, Perturbation},
    model::combination::CombinationModel,
};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde::Serialize;
use std::{collections::HashSet, fmt, str::FromStr};

/// Candidates whose effects are predicted at once; more would only take more memory.
const BATCH: usize = 512;

/// The measure of closeness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Closeness {
    /// Cosine of the two effects: the same genes in the same proportion, whatever the strength.
    #[default]
    Cosine,
    /// Pearson correlation over genes.
    Pearson,
    /// Euclidean distance: the same strength too.
    L2,
}

impl Closeness {
    /// How near an effect is to the target, higher is nearer; an effect without a direction is farther than any other.
    fn near(self, effect: &[f32], target: &[f32]) -> f64 {
        let near = match self {
            Self::Cosine => cosine(effect, target),
            Self::Pearson => pearson(effect, target),
            Self::L2 => l2(effect, target).map(|distance| -distance),
        };
        near.unwrap_or(f64::NEG_INFINITY)
    }
}

impl fmt::Display for Closeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Pearson => "pearson",
            Self::L2 => "l2",
        })
    }
}

impl FromStr for Closeness {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Cosine, Self::Pearson, Self::L2]
            .into_iter()
            .find(|by| by.to_string() == text)
            .ok_or_else(|| Error::config(format!("{text:?} is no measure of closeness; there are cosine, pearson, l2")))
    }
}

/// How effects are compared. A [`Closeness`] converts to the default: own genes are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// The measure of closeness.
    pub by: Closeness,
    /// Compare the columns of perturbed genes too, which name the perturbation. Default no.
    pub own_genes: bool,
    /// Genes that are perturbed in the target, where that is known; their columns are left out too.
    pub target_genes: Vec<String>,
}

impl From<Closeness> for Search {
    fn from(by: Closeness) -> Self {
        Self { by, ..Self::default() }
    }
}

impl Search {
    /// The columns of `genes` that are compared, in order: all but those of the genes that a candidate or the target
    /// perturbs.
    ///
    /// # Errors
    /// No column is left ([`ErrorKind::Inapplicable`](crate::ErrorKind::Inapplicable)).
    pub fn columns(&self, genes: &[String], candidates: &[Perturbation]) -> Result<Vec<usize>> {
        if self.own_genes {
            return Ok((0..genes.len()).collect());
        }
        let perturbed = candidates.iter().flat_map(Perturbation::genes);
        let own: HashSet<&String> = perturbed.chain(&self.target_genes).collect();
        let kept: Vec<usize> = (0..genes.len()).filter(|&gene| !own.contains(&genes[gene])).collect();
        match kept.is_empty() {
            false => Ok(kept),
            true => Err(Error::inapplicable(format!(
                "all {} genes are perturbed by a candidate, so that none is left to compare; try fewer candidates, or \
                 compare the perturbed genes too",
                genes.len()
            ))),
        }
    }
}

/// Which perturbations are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Candidates {
    /// Every gene alone.
    Singles,
    /// Every pair of genes.
    Pairs,
    /// Both.
    #[default]
    All,
}

impl FromStr for Candidates {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "singles" => Ok(Self::Singles),
            "pairs" => Ok(Self::Pairs),
            "all" => Ok(Self::All),
            _ => Err(Error::config(format!("{text:?} are no candidates; there are singles, pairs, all"))),
        }
    }
}

impl Candidates {
    /// The candidates made of `genes`.
    pub fn of(self, genes: &[String]) -> Vec<Perturbation> {
        let singles = genes.iter().map(|gene| Perturbation::of([gene.as_str()]));
        let pairs = genes
            .iter()
            .enumerate()
            .flat_map(|(i, a)| genes[i + 1..].iter().map(move |b| Perturbation::of([a.as_str(), b.as_str()])));
        match self {
            Self::Singles => singles.collect(),
            Self::Pairs => pairs.collect(),
            Self::All => singles.chain(pairs).collect(),
        }
    }
}

/// A candidate, and how near it comes; all figures are over the genes that are compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// What would be perturbed.
    pub perturbation: Perturbation,
    /// Cosine of predicted and wanted effect; `None` where the predicted one is zero.
    pub cosine: Option<f64>,
    /// Pearson correlation over genes; `None` where one of them is constant.
    pub pearson: Option<f64>,
    /// Euclidean distance, in the units of the effects.
    pub l2: f64,
    /// Euclidean length of the predicted effect.
    pub strength: f64,
    /// How far the prediction is from the sum of the single effects, in units of that sum's length: 0 for a single
    /// perturbation, large for a combination that is predicted to interact.
    pub departure: f64,
}

/// Predicted effects of `candidates`, and how near each is to the effect `target` (genes), the nearest first.
///
/// # Errors
/// A gene that the model cannot represent; a target of another length, or that is zero or not finite; no gene left to
/// compare.
pub fn screen(
    model: &CombinationModel,
    candidates: &[Perturbation],
    target: &[f32],
    search: impl Into<Search>,
) -> Result<Vec<Hit>> {
    let search = search.into();
    if target.len() != model.genes().len() {
        return Err(Error::shape("screen: target", target.len(), model.genes().len()));
    }
    if let Some(gene) = target.iter().position(|value| !value.is_finite()) {
        return Err(Error::data(format!("the target effect of {} is not a finite number", model.genes()[gene])));
    }
    let columns = search.columns(model.genes(), candidates)?;
    let target: Vec<f32> = columns.iter().map(|&gene| target[gene]).collect();
    if target.iter().all(|&value| value == 0.0) {
        return Err(Error::data("the target effect is zero: it is control, and every perturbation leads away from it"));
    }
    let (by, target) = (search.by, target.as_slice());
    let mut hits = Vec::with_capacity(candidates.len());
    for chunk in candidates.chunks(BATCH) {
        let (predicted, sums) = effects(model, chunk, &columns)?;
        for (i, perturbation) in chunk.iter().enumerate() {
            let (effect, sum) = (row(&predicted, i), row(&sums, i));
            let length = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let distance = |a, b| l2(a, b).expect("all effects are finite and have the model's genes");
            let whole = length(sum);
            let hit = Hit {
                perturbation: perturbation.clone(),
                cosine: cosine(effect, target),
                pearson: pearson(effect, target),
                l2: distance(effect, target),
                strength: length(effect),
                departure: if whole > 0.0 { distance(effect, sum) / whole } else { 0.0 },
            };
            hits.push((by.near(effect, target), hit));
        }
    }
    hits.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.perturbation.cmp(&y.perturbation)));
    Ok(hits.into_iter().map(|(_, hit)| hit).collect())
}

fn row(effects: &Array2<f32>, row: usize) -> &[f32] {
    let genes = effects.ncols();
    &effects.as_slice().expect("made row by row")[row * genes..(row + 1) * genes]
}

/// The predicted effects of perturbations, and the sums of their single effects, `(perturbations, columns)` each.
fn effects(
    model: &CombinationModel,
    perturbations: &[Perturbation],
    columns: &[usize],
) -> Result<(Array2<f32>, Array2<f32>)> {
    let conditions: Vec<Condition> = perturbations.iter().cloned().map(Condition::of).collect();
    let compared = |effects: Array2<f64>| {
        Array2::from_shape_fn((effects.nrows(), columns.len()), |(row, gene)| effects[[row, columns[gene]]] as f32)
    };
    Ok((compared(model.effects(&conditions)?), compared(model.sums(&conditions)?)))
}

/// At which rank a perturbation came back when its measured effect was the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retrieved {
    /// What was perturbed, unseen in training.
    pub perturbation: Perturbation,
    /// Its rank among the candidates by the model's predictions; 1 is the best.
    pub rank: usize,
    /// Its rank with the sum of the single effects as the prediction.
    pub additive_rank: usize,
    /// Number of candidates.
    pub of: usize,
}

/// For each measured effect, a row of `observed` `(perturbations, genes)`, the rank of the true candidate. The candidates must
/// contain the perturbations.
///
/// # Errors
/// A perturbation that is no candidate; a gene that the model cannot represent; other genes than the model's; no gene left
/// to compare.
pub fn retrieve(
    model: &CombinationModel,
    candidates: &[Perturbation],
    perturbations: &[Perturbation],
    observed: ArrayView2<'_, f32>,
    search: impl Into<Search>,
) -> Result<Vec<Retrieved>> {
    let search = search.into();
    if observed.dim() != (perturbations.len(), model.genes().len()) {
        let expected = (perturbations.len(), model.genes().len());
        return Err(Error::shape("retrieve: observed effects", observed.dim(), expected));
    }
    let columns = search.columns(model.genes(), candidates)?;
    let (predicted, sums) = effects(model, candidates, &columns)?;
    let (observed, by) = (observed.select(Axis(1), &columns), search.by);
    let rank = |effects: &Array2<f32>, place: usize, target: &[f32]| {
        let own = by.near(row(effects, place), target);
        1 + (0..candidates.len()).filter(|&other| by.near(row(effects, other), target) > own).count()
    };
    let one = |(perturbation, target): (&Perturbation, ArrayView1<'_, f32>)| {
        let target = &target.to_vec();
        let place = candidates.iter().position(|candidate| candidate == perturbation).ok_or_else(|| {
            Error::config(format!("{perturbation} is not among the candidates, so it cannot be retrieved"))
        })?;
        Ok(Retrieved {
            perturbation: perturbation.clone(),
            rank: rank(&predicted, place, target),
            additive_rank: rank(&sums, place, target),
            of: candidates.len(),
        })
    };
    perturbations.iter().zip(observed.rows()).map(one).collect()
}
