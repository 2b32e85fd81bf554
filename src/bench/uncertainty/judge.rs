//! Drawn cells against held-out cells, gene by gene and as sets; and drawn mean effects against held-out effects.

use super::LEVELS;
use crate::{
    data::shuffle,
    eval::{
        calibration::{Sample, crps_gaussian, reliability},
        pearson,
        sets::{EDistance, GeneMoments, edistance, subsample_cells, variance_correlation, zero_fraction_error},
    },
    math::{Pca, seeds::stream},
};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Most cells of a side; distances cost the square of it.
const MOST_CELLS: usize = 500;
/// Halvings of the observed cells that E-distances are the mean over.
const HALVINGS: u64 = 5;
/// Purposes of the random streams, one per halving.
const OBSERVED_HALVES: u64 = 2;
const DRAWN_CELLS: u64 = 3;

/// What drawn cells are compared with: a prediction of the mean, and the spread that anybody could put around it.
#[derive(Debug, Clone)]
pub struct GaussianReference {
    /// Predicted mean log-normalised expression of the condition, `(genes,)`.
    pub mean: Array1<f64>,
    /// Standard deviation over training control cells, `(genes,)`.
    pub deviation: Array1<f64>,
}

/// How well drawn cells describe the held-out cells of a condition, in log-normalised units; means over genes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellCalibration {
    /// Held-out cells that were used.
    pub cells: usize,
    /// Share of held-out cells inside the central interval of each of [`LEVELS`], by randomised transforms.
    pub coverage: Vec<f64>,
    /// The same of the closed 90 % interval between quantiles, ends included: zeros lift it.
    pub closed_coverage_90: f64,
    /// Fair CRPS of the drawn cells.
    pub crps: f64,
    /// CRPS of a point at the reference's mean.
    pub crps_point: f64,
    /// CRPS of a normal distribution around the reference's mean, with control's standard deviation.
    pub crps_gaussian: f64,
    /// Pearson correlation over genes of drawn and observed variance.
    pub variance_correlation: Option<f64>,
    /// Median over genes of the difference between drawn and observed shares of zeros.
    pub zero_fraction_error: Option<f64>,
    /// E-distance (plain form) of as many drawn cells as half of the observed ones to half of the observed ones.
    pub e_distance: Option<f64>,
    /// That between the two halves: what a perfect model would have.
    pub e_distance_halves: Option<f64>,
    /// Pearson correlation over genes of the log ratio of the drawn variance to control's with that of the observed variance;
    /// `None` where no control cells were given.
    #[serde(default)]
    pub log_variance_ratio_correlation: Option<f64>,
    /// Entropy of the drawn and of the observed cells less that of control cells, in nats: see [`spread_entropy`]. `None` where no
    /// control cells were given.
    #[serde(default)]
    pub entropy: Option<[f64; 2]>,
    /// What else the cells could have been drawn by.
    #[serde(default)]
    pub opponents: Vec<Opponent>,
}

/// Another way to draw cells, judged by the same held-out cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opponent {
    /// What it is.
    pub name: String,
    /// Fair CRPS, mean over genes.
    pub crps: f64,
    /// E-distance, as that of the drawn cells.
    pub e_distance: Option<f64>,
}

impl CellCalibration {
    /// The same beside `control` cells and `opponents`, `(cells, genes)` of log-normalised expression each; `observed`, `drawn`,
    /// `space` and `seed` as in [`judge_cells`]. An opponent that cannot be judged is left out.
    pub fn beside(
        mut self,
        (observed, drawn): (&Array2<f32>, &Array2<f32>),
        control: &Array2<f32>,
        opponents: &[(&str, Array2<f32>)],
        space: &Pca,
        seed: u64,
    ) -> Self {
        self.entropy = entropies([drawn, observed, control], space, seed);
        self.log_variance_ratio_correlation = log_variance_ratio_correlation(observed, drawn, control);
        let reference =
            GaussianReference { mean: Array1::zeros(observed.ncols()), deviation: Array1::ones(observed.ncols()) };
        let judged = opponents.iter().filter_map(|(name, cells)| {
            let found = judge_cells(observed, cells, &reference, space, seed)?;
            Some(Opponent { name: (*name).to_owned(), crps: found.crps, e_distance: found.e_distance })
        });
        self.opponents = judged.collect();
        self
    }
}

/// Over the genes that vary in all three.
fn log_variance_ratio_correlation(observed: &Array2<f32>, drawn: &Array2<f32>, control: &Array2<f32>) -> Option<f64> {
    let variances = |cells: &Array2<f32>| cells.mapv(f64::from).var_axis(Axis(0), 0.0);
    let [observed, drawn, control] = [observed, drawn, control].map(variances);
    let all = observed.iter().zip(&drawn).zip(&control).filter(|((o, d), c)| **o > 0.0 && **d > 0.0 && **c > 0.0);
    let (truth, ours): (Vec<f32>, Vec<f32>) = all.map(|((o, d), c)| ((o / c).ln() as f32, (d / c).ln() as f32)).unzip();
    pearson(&ours, &truth)
}

/// The differential entropy of a normal distribution with the variances of some points `(points, width)`, in nats:
/// `1/2 sum over columns of ln(2 pi e variance)`. `None` with a column that does not vary.
///
/// In principal components, which hardly correlate, it bounds the entropy of the points from above, and is defined for fewer
/// points than components. It is too low by about `width / (2 (n - 1))` for n points: compare equal numbers.
pub fn spread_entropy(points: ArrayView2<'_, f32>) -> Option<f64> {
    if points.nrows() < 2 {
        return None;
    }
    let variances = points.mapv(f64::from).var_axis(Axis(0), 1.0);
    let of_one = |variance: &f64| 0.5 * (2.0 * std::f64::consts::PI * std::f64::consts::E * variance).ln();
    variances.iter().all(|variance| *variance > 0.0).then(|| variances.iter().map(of_one).sum())
}

/// The entropies of the first two of equally many cells, less that of the third.
fn entropies(cells: [&Array2<f32>; 3], space: &Pca, seed: u64) -> Option<[f64; 2]> {
    let few = cells.iter().map(|cells| cells.nrows()).min()?;
    let of = |cells: &Array2<f32>| {
        let points = space.transform(subsample_cells(cells.view(), few, seed).view()).ok()?;
        spread_entropy(points.view())
    };
    let [drawn, observed, control] = cells.map(of);
    Some([drawn? - control?, observed? - control?])
}

/// Judges drawn cells by observed ones, `(cells, genes)` of log-normalised expression each; E-distances are in the
/// components of `space`, which must not have been fitted to the observed cells. `None` with fewer than four cells on a
/// side, other genes, or values that are not finite.
pub fn judge_cells(
    observed: &Array2<f32>,
    drawn: &Array2<f32>,
    reference: &GaussianReference,
    space: &Pca,
    seed: u64,
) -> Option<CellCalibration> {
    let few = observed.nrows().min(drawn.nrows()) < 4;
    if few || observed.ncols() != drawn.ncols() || observed.ncols() != reference.mean.len() {
        return None;
    }
    let observed = subsample_cells(observed.view(), MOST_CELLS, seed);
    let drawn = subsample_cells(drawn.view(), MOST_CELLS, seed);
    let (by_gene, drawn_by_gene) =
        (observed.t().as_standard_layout().into_owned(), drawn.t().as_standard_layout().into_owned());
    let genes: Vec<Option<OfGene>> = (0..by_gene.nrows())
        .into_par_iter()
        .map(|gene| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(gene as u64);
            let (mean, deviation) = (reference.mean[gene], reference.deviation[gene]);
            OfGene::judge(by_gene.row(gene), drawn_by_gene.row(gene), mean, deviation, rng)
        })
        .collect();
    let genes: Vec<OfGene> = genes.into_iter().collect::<Option<_>>()?;
    let n = genes.len() as f64;
    let mean = |of: &dyn Fn(&OfGene) -> f64| genes.iter().map(of).sum::<f64>() / n;
    let moments = (GeneMoments::of_dense(drawn.view())?, GeneMoments::of_dense(observed.view())?);
    let (e_distance, e_distance_halves) = e_distances(&observed, &drawn, space, seed).unzip();
    Some(CellCalibration {
        cells: observed.nrows(),
        coverage: (0..LEVELS.len()).map(|level| mean(&|gene| gene.coverage[level])).collect(),
        closed_coverage_90: mean(&|gene| gene.closed),
        crps: mean(&|gene| gene.crps),
        crps_point: mean(&|gene| gene.point),
        crps_gaussian: mean(&|gene| gene.gaussian),
        variance_correlation: variance_correlation(&moments.0, &moments.1),
        zero_fraction_error: zero_fraction_error(&moments.0, &moments.1),
        e_distance,
        e_distance_halves,
        log_variance_ratio_correlation: None,
        entropy: None,
        opponents: Vec::new(),
    })
}

/// The scores of one gene.
struct OfGene {
    coverage: Vec<f64>,
    closed: f64,
    crps: f64,
    point: f64,
    gaussian: f64,
}

impl OfGene {
    fn judge(
        observed: ArrayView1<'_, f32>,
        drawn: ArrayView1<'_, f32>,
        mean: f64,
        deviation: f64,
        mut rng: ChaCha8Rng,
    ) -> Option<Self> {
        let truth: Vec<f64> = observed.iter().map(|&value| f64::from(value)).collect();
        let sample = Sample::new(drawn.iter().map(|&value| f64::from(value)))?;
        let pits: Vec<f64> = truth.iter().map(|&y| sample.pit(y, rng.random())).collect();
        let n = truth.len() as f64;
        let gaussian: Option<Vec<f64>> = truth.iter().map(|&y| crps_gaussian(mean, deviation, y)).collect();
        Some(Self {
            coverage: reliability(&pits, &LEVELS)?,
            closed: sample.coverage(&truth, 0.9)?,
            crps: sample.fair_crps(&truth)?,
            point: truth.iter().map(|y| (y - mean).abs()).sum::<f64>() / n,
            gaussian: gaussian?.iter().sum::<f64>() / n,
        })
    }
}

/// Mean E-distances over halvings: drawn cells to a half, and half to half. All sets are of one size, because the plain
/// form grows as sets get smaller.
fn e_distances(observed: &Array2<f32>, drawn: &Array2<f32>, space: &Pca, seed: u64) -> Option<(f64, f64)> {
    let (observed, drawn) = (space.transform(observed.view()).ok()?, space.transform(drawn.view()).ok()?);
    let half = (observed.nrows() / 2).min(drawn.nrows());
    let (mut to_drawn, mut to_half) = (0.0, 0.0);
    for halving in 0..HALVINGS {
        let shuffled = |cells: &Array2<f32>, purpose: u64| {
            let mut order: Vec<usize> = (0..cells.nrows()).collect();
            shuffle(&mut order, &mut stream(seed, purpose, halving));
            order
        };
        let order = shuffled(&observed, OBSERVED_HALVES);
        let (one, other) = (observed.select(Axis(0), &order[..half]), observed.select(Axis(0), &order[half..2 * half]));
        let drawn = drawn.select(Axis(0), &shuffled(&drawn, DRAWN_CELLS)[..half]);
        to_drawn += edistance(drawn.view(), one.view(), EDistance::Plain)? / HALVINGS as f64;
        to_half += edistance(other.view(), one.view(), EDistance::Plain)? / HALVINGS as f64;
    }
    Some((to_drawn, to_half))
}

/// How well the spread of drawn mean effects agrees with the error of the prediction; means over genes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanCalibration {
    /// Share of genes whose observed effect lies inside the central interval of each of [`LEVELS`].
    pub coverage: Vec<f64>,
    /// Fair CRPS of the draws.
    pub crps: f64,
    /// CRPS of the prediction as a point: its mean absolute error.
    pub crps_point: f64,
    /// CRPS of a normal distribution around the prediction, with the standard deviation of each gene's left-out residuals
    /// over all training perturbations: what knows nothing of the perturbation at hand.
    pub crps_gaussian: f64,
    /// Root mean square over genes of the draws' standard deviation: how far off the model expects to be.
    pub expected_error: f64,
    /// Root mean square over genes of how far off the prediction is.
    pub error: f64,
    /// Euclidean distance of the mean of the draws to the observed effect, as a share of the prediction's own.
    pub mean_of_draws: f64,
}

/// Judges draws `(n, genes)` of a mean effect by the observed effect; `deviation` `(genes,)` is that of the alternative that
/// knows nothing of the perturbation. `None` for fewer than two draws, other genes, or values that are not finite.
pub fn judge_means(
    observed: &Array1<f64>,
    predicted: &Array1<f64>,
    draws: &Array2<f64>,
    deviation: &Array1<f64>,
    seed: u64,
) -> Option<MeanCalibration> {
    let genes = observed.len();
    let fits = predicted.len() == genes && draws.ncols() == genes && deviation.len() == genes;
    if genes == 0 || !fits || draws.nrows() < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = genes as f64;
    let (mut pits, mut crps, mut gaussian, mut variance) = (Vec::with_capacity(genes), 0.0, 0.0, 0.0);
    for (gene, &y) in observed.iter().enumerate() {
        let sample = Sample::new(draws.column(gene).iter().copied())?;
        pits.push(sample.pit(y, rng.random()));
        crps += sample.fair_crps(&[y])? / n;
        gaussian += crps_gaussian(predicted[gene], deviation[gene], y)? / n;
        variance += draws.column(gene).var(1.0) / n;
    }
    let mean = draws.mean_axis(Axis(0))?;
    let distance = |other: &Array1<f64>| (observed - other).mapv(|v| v * v).sum().sqrt();
    let off = distance(predicted);
    Some(MeanCalibration {
        coverage: reliability(&pits, &LEVELS)?,
        crps,
        crps_point: (observed - predicted).mapv(f64::abs).sum() / n,
        crps_gaussian: gaussian,
        expected_error: variance.sqrt(),
        error: off / n.sqrt(),
        mean_of_draws: if off > 0.0 { distance(&mean) / off } else { 1.0 },
    })
}
