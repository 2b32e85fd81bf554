//! What a simulation knows and an experiment does not: the expected counts of every perturbation.
//!
//! For perturbation `p` and gene `g`, over cell states and lanes, at one library size `L`:
//!
//! ```text
//! mean     m_pg = E[ L rho_g ]
//! variance v_pg = E[ L rho_g + (L rho_g)^2 / theta_g ] + Var[ L rho_g ]
//! ```
//!
//! The expectations over states have no closed form (the shares `rho` are normalised), so they are averages over a
//! fixed set of states: phases evenly spaced, the other activities in pairs of opposite sign, lanes in turn. The same
//! states serve all perturbations, so that differences between perturbations are far more exact than the means
//! themselves.

use super::super::Perturbation;
use super::{
    InteractionClass,
    landscape::{CYCLE_PROGRAMS, Landscape, State},
};
use crate::{Error, Result};
use ndarray::{Array2, ArrayView1, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

/// States that the truth is averaged over.
pub(super) const STATES: usize = 8192;
/// States that are weighed at a time: `8 * STATES_AT_ONCE * genes` bytes.
const STATES_AT_ONCE: usize = 256;
/// The library size that truth refers to, in counts.
pub const REFERENCE_LIBRARY: f64 = 1e4;

/// The true conditional means and variances of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Rows of `means` and `variances`; control first.
    pub perturbations: Vec<Perturbation>,
    /// Columns of `means` and `variances`.
    pub genes: Vec<String>,
    /// Expected count at `library_size`, `(perturbations, genes)`.
    pub means: Array2<f32>,
    /// Variance of the count at `library_size` over cells, `(perturbations, genes)`.
    pub variances: Array2<f32>,
    /// The interaction class of each double where it is known, `(perturbations,)`.
    pub classes: Vec<Option<InteractionClass>>,
    /// The library size that means and variances refer to, in counts over all genes.
    pub library_size: f32,
    /// Root-mean-square over genes of the relative standard error of control's means, as if the states were independent
    /// (the pairs of opposite sign make the real error smaller).
    pub relative_error: f32,
}

impl Truth {
    /// The expected counts under a perturbation, `(genes,)`.
    pub fn mean_of(&self, perturbation: &Perturbation) -> Option<ArrayView1<'_, f32>> {
        let row = self.perturbations.iter().position(|known| known == perturbation)?;
        Some(self.means.row(row))
    }

    /// The truth of these genes only, in that order: for a dataset whose genes were filtered.
    ///
    /// # Errors
    /// A gene that the simulation did not have.
    pub fn select_genes<S: AsRef<str>>(&self, genes: &[S]) -> Result<Self> {
        let place: std::collections::HashMap<&str, usize> =
            self.genes.iter().enumerate().map(|(i, gene)| (gene.as_str(), i)).collect();
        let columns: Vec<usize> = genes
            .iter()
            .map(|gene| {
                place.get(gene.as_ref()).copied().ok_or_else(|| {
                    Error::data(format!("the truth of this simulation does not name the gene {}", gene.as_ref()))
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            genes: columns.iter().map(|&column| self.genes[column].clone()).collect(),
            means: self.means.select(Axis(1), &columns),
            variances: self.variances.select(Axis(1), &columns),
            ..self.clone()
        })
    }
}

impl Landscape {
    /// The truth at [`REFERENCE_LIBRARY`].
    pub fn truth(&self, seed: u64) -> Truth {
        let (first, second) = self.share_moments(&self.log_effects, seed);
        let means = first.mapv(|share| share * REFERENCE_LIBRARY);
        let mut variances = Array2::zeros(means.dim());
        for ((row, gene), variance) in variances.indexed_iter_mut() {
            let (mean, square) = (means[[row, gene]], second[[row, gene]] * REFERENCE_LIBRARY.powi(2));
            *variance = mean + square / self.theta[gene] + (square - mean * mean).max(0.0);
        }
        let relative_variance = (0..self.genes.len())
            .map(|gene| second[[0, gene]] / first[[0, gene]].powi(2).max(f64::MIN_POSITIVE) - 1.0)
            .sum::<f64>()
            / self.genes.len() as f64;
        Truth {
            perturbations: self.perturbations.clone(),
            genes: self.genes.clone(),
            means: means.mapv(|mean| mean as f32),
            variances: variances.mapv(|variance| variance as f32),
            classes: self.classes.clone(),
            library_size: REFERENCE_LIBRARY as f32,
            relative_error: (relative_variance.max(0.0) / STATES as f64).sqrt() as f32,
        }
    }

    /// Mean of the shares `rho` and of their squares over states, under each of these log-effects:
    /// two arrays `(perturbations, genes)`.
    pub fn share_moments(&self, log_effects: &Array2<f64>, seed: u64) -> (Array2<f64>, Array2<f64>) {
        let effects = log_effects.mapv(f64::exp);
        let (mut first, mut second) = (Array2::zeros(effects.dim()), Array2::zeros(effects.dim()));
        let states = self.spread_states(seed);
        for states in states.chunks(STATES_AT_ONCE) {
            let mut weights = Array2::zeros((states.len(), self.genes.len()));
            weights.axis_iter_mut(Axis(0)).into_par_iter().zip(states).for_each(|(mut row, state)| {
                self.weigh(state, row.as_slice_mut().expect("rows are contiguous"));
            });
            // One perturbation a task and states in order: the sums do not depend on the number of threads.
            first
                .axis_iter_mut(Axis(0))
                .into_par_iter()
                .zip(second.axis_iter_mut(Axis(0)).into_par_iter())
                .zip(effects.axis_iter(Axis(0)).into_par_iter())
                .for_each(|((mut first, mut second), effect)| {
                    for weights in weights.rows() {
                        let scale = 1.0 / (self.remainder + weights.dot(&effect));
                        ndarray::Zip::from(&mut first).and(&mut second).and(weights).for_each(
                            |first, second, weight| {
                                let share = weight * scale;
                                *first += share;
                                *second += share * share;
                            },
                        );
                    }
                });
        }
        let n = states.len() as f64;
        first.zip_mut_with(&effects, |sum, effect| *sum *= effect / n);
        second.zip_mut_with(&effects, |sum, effect| *sum *= effect * effect / n);
        (first, second)
    }

    fn spread_states(&self, seed: u64) -> Vec<State> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(3);
        let n_others = self.loadings.nrows() - CYCLE_PROGRAMS;
        let n_lanes = self.lanes.nrows();
        let mut states = Vec::with_capacity(STATES);
        // Bit reversal of the pair's number gives evenly spaced phases in an order that is unrelated to the lanes'.
        let bits = (STATES / 2).trailing_zeros();
        for pair in 0..STATES / 2 {
            let phase = f64::from((pair as u32).reverse_bits() >> (32 - bits)) / (STATES / 2) as f64;
            let others: Vec<f64> = (0..n_others).map(|_| rng.sample(StandardNormal)).collect();
            let lane = pair % n_lanes;
            states.push(State::new(phase, others.iter().copied(), lane));
            states.push(State::new((phase + 0.5).fract(), others.iter().map(|x| -x), lane));
        }
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// The modified Bessel function I_0, the mean of `exp(x cos t)` over a circle.
    fn bessel_i0(x: f64) -> f64 {
        let mut term = 1.0;
        (1..30).fold(1.0, |sum, k| {
            term *= (x / (2.0 * f64::from(k))).powi(2);
            sum + term
        })
    }

    #[test]
    fn averages_over_states_are_the_closed_form_where_there_is_one() {
        // If nearly all counts are of other genes, the shares are not coupled and have closed-form means.
        let base: f64 = 1e-8;
        let landscape = Landscape {
            genes: ["a", "b", "c"].map(String::from).to_vec(),
            log_base: vec![base.ln(); 3],
            theta: vec![1.0; 3],
            loadings: array![[0.5, 0.0, 0.2], [0.1, 0.0, 0.4], [0.0, 0.7, 0.3], [0.0, 0.0, -0.4]],
            lanes: array![[0.1, 0.0, 0.0], [-0.2, 0.0, 0.3]],
            remainder: 1.0,
            perturbations: vec![Perturbation::control(), Perturbation::of(["a"])],
            log_effects: array![[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]],
            classes: vec![None, None],
            cells: vec![1, 1],
            median_library: 1e4,
            library_sd: 0.0,
            mitochondrial: vec![false; 3],
            damaged_fraction: 0.0,
        };
        let (first, second) = landscape.share_moments(&landscape.log_effects, 1);
        for gene in 0..3 {
            for (moments, power) in [(&first, 1.0), (&second, 2.0)] {
                let w = landscape.loadings.column(gene).mapv(|x| power * x);
                let lanes = landscape.lanes.column(gene).mapv(|u| (power * u).exp()).mean().expect("two lanes");
                let cycle = bessel_i0(std::f64::consts::SQRT_2 * w[0].hypot(w[1]));
                let expected = base.powf(power) * lanes * cycle * ((w[2] * w[2] + w[3] * w[3]) / 2.0).exp();
                let ratio = moments[[0, gene]] / expected;
                // The spread of a product of these log-normals over 8192 states: below 1.2 of the mean, so 1.3 %.
                assert!((ratio - 1.0).abs() < 0.03 * power, "gene {gene}, power {power}: {ratio}");
                let effect = (power * landscape.log_effects[[1, gene]]).exp();
                assert!((moments[[1, gene]] / moments[[0, gene]] / effect - 1.0).abs() < 1e-6, "the same states serve");
            }
        }
        let (mean, variance) = (1e4 * first[[0, 1]], 1e8 * second[[0, 1]]);
        let truth = landscape.truth(1);
        assert!((f64::from(truth.means[[0, 1]]) / mean - 1.0).abs() < 1e-6);
        let expected = mean + variance + (variance - mean * mean);
        assert!((f64::from(truth.variances[[0, 1]]) / expected - 1.0).abs() < 1e-6, "theta is 1");
    }
}
