//! Planning: which perturbation leads to a target state?
//!
//! The cross-entropy method (Rubinstein 1999; in a latent space: Hafner et al. 2019, algorithm 2): draw plans, imagine each, keep the
//! best (the elites), and draw again near them.
//!
//! ```text
//! a plan       a set of genes, and a dose in each interval
//! drawn from   sizes and genes by their probabilities (genes without replacement, by Gumbel noise); doses from N(mu_t, sigma_t)
//! updated to   the elites' shares of sizes and genes, the elites' mean and spread of each dose, half and half with what was
//! cost         |x_end - target|^2
//! ```

use super::space::Space;
use crate::{Error, Result, data::Perturbation};
use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Settings of the search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanConfig {
    /// Most genes of a perturbation. Default 2.
    pub genes: usize,
    /// Plans drawn per iteration. Default 256.
    pub population: usize,
    /// The best of them, which the next are drawn near. Default 24.
    pub elites: usize,
    /// Iterations. Default 10.
    pub iterations: usize,
    /// Whether the dose may differ between intervals; else it is 1 throughout. Default false.
    pub vary_dose: bool,
}

impl Default for PlanConfig {
    fn default() -> Self {
        Self { genes: 2, population: 256, elites: 24, iterations: 10, vary_dose: false }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The perturbation.
    pub perturbation: Perturbation,
    /// The dose in the interval that ends at each training time.
    pub doses: Vec<f64>,
    /// Distance of the imagined end from the target, in units of a state.
    pub distance: f64,
    /// The best distance after each iteration.
    pub best: Vec<f64>,
    /// The best plan of each other perturbation that was tried, by rising distance.
    pub others: Vec<(Perturbation, f64)>,
}

/// What is drawn from.
struct Proposal {
    /// Probability of each number of genes, from 1 on.
    sizes: Vec<f64>,
    /// Probability of each gene.
    genes: Vec<f64>,
    /// Mean and spread of the dose in each interval.
    doses: Vec<(f64, f64)>,
}

/// Probability that stays with everything, so that nothing is ruled out by an unlucky draw.
const LEFT: f64 = 0.02;
/// Weight of what was in an update.
const MEMORY: f64 = 0.5;
/// Other perturbations that a plan tells.
const OTHERS: usize = 5;

#[derive(Clone)]
struct Candidate {
    genes: Vec<usize>,
    doses: Vec<f64>,
}

impl Proposal {
    fn draw(&self, vary_dose: bool, rng: &mut ChaCha8Rng) -> Candidate {
        let mut left = rng.random::<f64>() * self.sizes.iter().sum::<f64>();
        let size = self.sizes.iter().position(|p| {
            left -= p;
            left <= 0.0
        });
        // The largest of ln p + Gumbel noise are a draw without replacement (Kool et al. 2019).
        let mut keys: Vec<(f64, usize)> = self
            .genes
            .iter()
            .enumerate()
            .map(|(gene, p)| (p.ln() - (-rng.random::<f64>().max(f64::MIN_POSITIVE).ln()).ln(), gene))
            .collect();
        keys.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut genes: Vec<usize> = keys.iter().take(size.unwrap_or(0) + 1).map(|(_, gene)| *gene).collect();
        genes.sort_unstable();
        let dose = |&(mean, spread): &(f64, f64), rng: &mut ChaCha8Rng| match vary_dose {
            true => (mean + spread * rng.sample::<f64, _>(StandardNormal)).clamp(0.0, 1.0),
            false => 1.0,
        };
        Candidate { genes, doses: self.doses.iter().map(|of| dose(of, rng)).collect() }
    }

    fn follow(&mut self, elites: &[&Candidate]) {
        let n = elites.len() as f64;
        let update = |old: &mut [f64], share: &dyn Fn(usize) -> f64| {
            let least = LEFT / old.len() as f64;
            for (place, p) in old.iter_mut().enumerate() {
                *p = (MEMORY * *p + (1.0 - MEMORY) * share(place)).max(least);
            }
        };
        update(&mut self.sizes, &|size| elites.iter().filter(|e| e.genes.len() == size + 1).count() as f64 / n);
        update(&mut self.genes, &|gene| elites.iter().filter(|e| e.genes.contains(&gene)).count() as f64 / n);
        for (step, (mean, spread)) in self.doses.iter_mut().enumerate() {
            let average = elites.iter().map(|e| e.doses[step]).sum::<f64>() / n;
            let variance = elites.iter().map(|e| (e.doses[step] - average).powi(2)).sum::<f64>() / n;
            *mean = MEMORY * *mean + (1.0 - MEMORY) * average;
            *spread = MEMORY * *spread + (1.0 - MEMORY) * variance.sqrt();
        }
    }
}

/// Searches; `imagine` gives the states at the end, `(plans, dims)`, of actions `(plans, actions)` at each step.
pub(super) fn cross_entropy(
    space: &Space,
    times: &[f64],
    target: &Array1<f32>,
    config: &PlanConfig,
    seed: u64,
    imagine: impl Fn(&[Array2<f32>]) -> Result<Array2<f32>>,
) -> Result<Plan> {
    let n_genes = space.facts.perturbed.len();
    let PlanConfig { genes, population, elites, iterations, vary_dose } = *config;
    if genes == 0 || n_genes == 0 || elites == 0 || elites > population || iterations == 0 {
        return Err(Error::config(
            "a plan needs genes that were perturbed in training, at least one iteration, and at least one elite of its population",
        ));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut proposal = Proposal {
        sizes: vec![1.0; genes.min(n_genes)],
        genes: vec![1.0 / n_genes as f64; n_genes],
        doses: vec![(0.5, 0.5); times.len()],
    };
    let name =
        |candidate: &Candidate| Perturbation::of(candidate.genes.iter().map(|&g| space.facts.perturbed[g].clone()));
    let mut tried: Vec<(f64, Candidate)> = Vec::new();
    let mut best = Vec::with_capacity(iterations);
    for _ in 0..iterations {
        let drawn: Vec<Candidate> = (0..population).map(|_| proposal.draw(vary_dose, &mut rng)).collect();
        let plans = drawn
            .iter()
            .map(|candidate| space.plan(&name(candidate), times, &candidate.doses))
            .collect::<Result<Vec<_>>>()?;
        let at = |step: usize| {
            let mut rows = Array2::zeros((0, space.actions()));
            plans.iter().for_each(|plan| rows.push_row(plan.row(step)).expect("one width"));
            rows
        };
        let ends = imagine(&(0..times.len()).map(at).collect::<Vec<_>>())?;
        let distance = |row: ndarray::ArrayView1<'_, f32>| (&row - target).mapv(|e| f64::from(e).powi(2)).sum().sqrt();
        let mut judged: Vec<(f64, Candidate)> = ends.rows().into_iter().map(distance).zip(drawn).collect();
        judged.sort_by(|a, b| a.0.total_cmp(&b.0));
        proposal.follow(&judged.iter().take(elites).map(|(_, candidate)| candidate).collect::<Vec<_>>());
        tried.extend(judged);
        tried.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut sets: Vec<Vec<usize>> = Vec::new();
        tried.retain(|(_, candidate)| {
            let new = !sets.contains(&candidate.genes);
            sets.push(candidate.genes.clone());
            new
        });
        tried.truncate(OTHERS + 1);
        best.push(tried[0].0);
    }
    let others = tried[1..].iter().map(|(distance, candidate)| (name(candidate), *distance)).collect();
    let (distance, candidate) = tried.swap_remove(0);
    Ok(Plan { perturbation: name(&candidate), doses: candidate.doses, distance, best, others })
}
