//! What is fixed before the first cell is drawn: genes, programs, lanes, and what each perturbation does.
//!
//! A cell with state `a` (programs), lane `l` and perturbation `p` has the expected share of gene `g`
//!
//! ```text
//! w_g(a, l)  = exp( b_g + sum_k a_k W_kg + u_lg )        what state and lane make of the baseline
//! rho_g      = w_g exp(e_pg) / ( r + sum_h w_h exp(e_ph) )
//! ```
//!
//! with `e` the log-effects `(perturbations, genes)` and `r` the share of the genes that are measured but not in the
//! file (0 if the file holds all genes).

use super::super::Perturbation;
use super::{InteractionClass, TrueDoseCurve, cell_types::CellTypes};
use ndarray::{Array2, s};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Probability that a program touches a gene.
const LOADING_PROBABILITY: f64 = 0.15;
/// Standard deviation of a program's non-zero loadings, in log units a standard deviation of activity.
const LOADING_SD: f64 = 0.35;
/// Standard deviation of a lane's effect on a gene, in log units.
const LANE_SD: f64 = 0.1;
/// The first two programs are the cell cycle: their activities go round a circle.
pub const CYCLE_PROGRAMS: usize = 2;
/// Dispersion trend `1 / theta = FLOOR + SLOPE / mean count` (the form of DESeq2's trend, Love et al. 2014); the
/// values give UMI counts that are close to Poisson where they are low, as droplet data are.
const DISPERSION_FLOOR: f64 = 0.12;
const DISPERSION_SLOPE: f64 = 0.04;

/// Everything about the simulated world but the cells.
pub struct Landscape {
    /// `(genes,)`
    pub genes: Vec<String>,
    /// Log of the baseline share, `(genes,)`.
    pub log_base: Vec<f64>,
    /// Inverse dispersion, `(genes,)`.
    pub theta: Vec<f64>,
    /// Program loadings W, `(programs, genes)`.
    pub loadings: Array2<f64>,
    /// Lane effects u, `(lanes, genes)`.
    pub lanes: Array2<f64>,
    /// Share of the genes that the file does not hold.
    pub remainder: f64,
    /// Control first, then sorted by name.
    pub perturbations: Vec<Perturbation>,
    /// Log-effects e, `(perturbations, genes)`; the row of control is 0.
    pub log_effects: Array2<f64>,
    /// The interaction class of each double where it is known.
    pub classes: Vec<Option<InteractionClass>>,
    /// Cells of each perturbation.
    pub cells: Vec<usize>,
    /// Median library size in counts, over all genes.
    pub median_library: f64,
    /// Standard deviation of the log library size.
    pub library_sd: f64,
    /// Genes whose counts rise in damaged cells.
    pub mitochondrial: Vec<bool>,
    /// Fraction of damaged cells.
    pub damaged_fraction: f64,
    /// Cell types, by which responses depend on the state of the cell; `None` where all cells are of one type.
    pub cell_types: Option<CellTypes>,
    /// The curve of each single, where perturbations have doses.
    pub dose_curves: Vec<TrueDoseCurve>,
}

/// Where one cell stands, apart from its perturbation.
pub struct State {
    /// Program activities, each of mean 0 and variance 1 over cells of a type; with cell types, the control state s.
    pub activities: Vec<f64>,
    /// Index of the lane.
    pub lane: usize,
    /// Index of the cell type; 0 where there are none.
    pub cell_type: usize,
}

impl State {
    /// The state at `phase` of the cell cycle (turns, 0 to 1) and with these activities of the other programs.
    pub fn new(phase: f64, others: impl IntoIterator<Item = f64>, lane: usize) -> Self {
        let angle = std::f64::consts::TAU * phase;
        let cycle = [angle.cos(), angle.sin()].map(|x| x * std::f64::consts::SQRT_2);
        Self { activities: cycle.into_iter().chain(others).collect(), lane, cell_type: 0 }
    }

    /// The same cell as one of this type: its state moves by the centre of the type.
    pub fn of_type(mut self, types: &CellTypes, cell_type: usize) -> Self {
        self.activities.iter_mut().zip(types.centres.row(cell_type)).for_each(|(activity, centre)| *activity += centre);
        Self { cell_type, ..self }
    }

    /// A cell at random.
    pub fn draw(landscape: &Landscape, rng: &mut ChaCha8Rng) -> Self {
        let (phase, lane) = (rng.random::<f64>(), rng.random_range(0..landscape.lanes.nrows() as u32) as usize);
        let others: Vec<f64> =
            (CYCLE_PROGRAMS..landscape.loadings.nrows()).map(|_| rng.sample(StandardNormal)).collect();
        let state = Self::new(phase, others, lane);
        match &landscape.cell_types {
            Some(types) => state.of_type(types, rng.random_range(0..types.names.len() as u32) as usize),
            None => state,
        }
    }
}

impl Landscape {
    /// The weights `w` of this state, into `(genes,)`.
    pub fn weigh(&self, state: &State, weights: &mut [f64]) {
        weights.copy_from_slice(&self.log_base);
        for (&activity, loadings) in state.activities.iter().zip(self.loadings.rows()) {
            weights.iter_mut().zip(loadings).for_each(|(weight, loading)| *weight += activity * loading);
        }
        weights.iter_mut().zip(self.lanes.row(state.lane)).for_each(|(weight, lane)| *weight = (*weight + lane).exp());
    }

    /// Applies a perturbation to the weights `(genes,)` of a state: `w_g exp(E_pg)`.
    pub fn respond(&self, perturbation: usize, state: &State, weights: &mut [f64]) {
        let effect = self.log_effects.row(perturbation);
        match &self.cell_types {
            None => weights.iter_mut().zip(effect).for_each(|(weight, effect)| *weight *= effect.exp()),
            Some(types) => {
                let m = types.responsiveness(perturbation, &state.activities);
                let irreducible = types.irreducible.slice(s![state.cell_type, perturbation, ..]);
                for ((weight, effect), own) in weights.iter_mut().zip(effect).zip(irreducible) {
                    *weight *= (m * effect + own).exp();
                }
            }
        }
    }

    /// Variance over cells of the log of a gene's weight, averaged over genes.
    pub fn log_weight_variance(&self) -> f64 {
        let squares = self
            .loadings
            .iter()
            .chain(&self.lanes.mapv(|u| u / (self.lanes.nrows() as f64).sqrt()))
            .map(|x| x * x)
            .sum::<f64>();
        squares / self.genes.len() as f64
    }
}

/// Loadings of `n` programs on `genes` genes, `(programs, genes)`; `scale` multiplies them.
pub fn draw_loadings(n: usize, untouched: &[bool], scale: f64, rng: &mut ChaCha8Rng) -> Array2<f64> {
    Array2::from_shape_fn((n, untouched.len()), |(_, gene)| {
        let (touched, loading) = (rng.random::<f64>() < LOADING_PROBABILITY, rng.sample::<f64, _>(StandardNormal));
        if touched && !untouched[gene] { loading * LOADING_SD * scale } else { 0.0 }
    })
}

/// Effects of `n` lanes, `(lanes, genes)`; none if there is one lane only.
pub fn draw_lanes(n: usize, genes: usize, rng: &mut ChaCha8Rng) -> Array2<f64> {
    let scale = if n == 1 { 0.0 } else { LANE_SD };
    Array2::from_shape_fn((n, genes), |_| scale * rng.sample::<f64, _>(StandardNormal))
}

/// Inverse dispersion of a gene of this mean count, by the trend.
pub fn theta_of(mean: f64) -> f64 {
    1.0 / (DISPERSION_FLOOR + DISPERSION_SLOPE / mean)
}

/// Expected fraction of non-zero entries, when the counts of gene `g` have the mean `means[g]` in a cell of median
/// library size, an inverse dispersion by the trend, and a log-normal spread over cells: of variance `state` around
/// that mean, and of variance `library` around the median.
pub fn density(means: impl Iterator<Item = f64>, state: f64, library: f64) -> f64 {
    // Three-point Gauss-Hermite quadrature of the spread; the mean of a log-normal lies half its variance above its
    // median.
    let step = (3.0 * (state + library)).sqrt();
    let nodes = [(-step, 1.0 / 6.0), (0.0, 2.0 / 3.0), (step, 1.0 / 6.0)].map(|(x, p)| ((x - state / 2.0).exp(), p));
    let (mut total, mut genes) = (0.0, 0_usize);
    for mean in means {
        let theta = theta_of(mean);
        total += nodes.iter().map(|(x, p)| p * (1.0 - (-theta * (mean * x / theta).ln_1p()).exp())).sum::<f64>();
        genes += 1;
    }
    total / genes as f64
}

/// Where the increasing function `f` reaches `target`, on a logarithmic scale between `low` and `high` (an end of it
/// if `target` is not reached).
pub fn solve(f: impl Fn(f64) -> f64, target: f64, low: f64, high: f64) -> f64 {
    let (mut low, mut high) = (low.ln(), high.ln());
    // 60 halvings of a range of at most e^40 leave less than one part in 10^16.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if f(middle.exp()) < target { low = middle } else { high = middle }
    }
    low.exp()
}

/// Divides `n` things in proportion to `shares` (largest remainder; ties go to the first).
pub fn apportion(n: usize, shares: &[f64]) -> Vec<usize> {
    let total: f64 = shares.iter().sum();
    let exact: Vec<f64> = shares.iter().map(|share| share / total * n as f64).collect();
    let mut parts: Vec<usize> = exact.iter().map(|x| (x + 1e-9).floor() as usize).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| (exact[b] - parts[b] as f64).total_cmp(&(exact[a] - parts[a] as f64)));
    let missing = n.saturating_sub(parts.iter().sum());
    order.iter().cycle().take(missing).for_each(|&i| parts[i] += 1);
    parts
}
