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
//!
//! Where a simulated file keeps its truth: the dictionary `uns["truth"]`, which Python's anndata reads too.
//!
//! | entry | what |
//! |---|---|
//! | `means`, `variances` | `(perturbations, genes)`, counts at `library_size` |
//! | `perturbations`, `genes` | names of rows and columns; control is `control` |
//! | `classes` | interaction class of each row, empty where it has none |
//! | `library_size`, `relative_error` | see [`Truth`] |

use super::super::{AnnData, Perturbation, Uns};
use super::{
    InteractionClass,
    landscape::{CYCLE_PROGRAMS, Landscape, State},
};
use crate::{Error, Result};
use ndarray::{Array2, ArrayView1, Axis, Ix2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use std::path::Path;

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

/// The key in `uns`.
pub(super) const KEY: &str = "truth";

impl Truth {
    /// Reads the truth of a file that [`Simulation::write`](super::Simulation::write) wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds no truth because it was not simulated.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let entries = AnnData::open(path)?.uns(KEY).map_err(|error| error.at(path.display()))?;
        let entries = entries.ok_or_else(|| {
            Error::data(format!(
                "{} holds no uns[\"{KEY}\"]: only files that `genailab simulate` wrote hold the true means",
                path.display()
            ))
        })?;
        Self::from_uns(&entries).map_err(|error| error.at(path.display()))
    }

    pub(super) fn to_uns(&self) -> Uns {
        let names = self.perturbations.iter().map(ToString::to_string).collect();
        let classes = self.classes.iter().map(|class| class.map_or("", InteractionClass::name).to_owned()).collect();
        [
            ("means", Uns::from(self.means.clone())),
            ("variances", Uns::from(self.variances.clone())),
            ("perturbations", Uns::Texts(names)),
            ("genes", Uns::Texts(self.genes.clone())),
            ("classes", Uns::Texts(classes)),
            ("library_size", Uns::Number(self.library_size.into())),
            ("relative_error", Uns::Number(self.relative_error.into())),
        ]
        .into_iter()
        .collect()
    }

    fn from_uns(entries: &Uns) -> Result<Self> {
        let truth = Self {
            perturbations: texts(entries, "perturbations")?.iter().map(|name| perturbation(name)).collect(),
            genes: texts(entries, "genes")?.to_vec(),
            means: matrix(entries, "means")?,
            variances: matrix(entries, "variances")?,
            classes: texts(entries, "classes")?.iter().map(|name| InteractionClass::parse(name)).collect(),
            library_size: number(entries, "library_size")?,
            relative_error: number(entries, "relative_error")?,
        };
        let shape = (truth.perturbations.len(), truth.genes.len());
        if truth.means.dim() != shape || truth.variances.dim() != shape || truth.classes.len() != shape.0 {
            return Err(Error::data(format!(
                "uns[\"{KEY}\"] is damaged: means {:?}, variances {:?} and {} classes for {} perturbations and {} genes",
                truth.means.dim(),
                truth.variances.dim(),
                truth.classes.len(),
                shape.0,
                shape.1
            )));
        }
        Ok(truth)
    }
}

fn perturbation(name: &str) -> Perturbation {
    if name == "control" { Perturbation::control() } else { Perturbation::of(name.split('+')) }
}

fn damaged(key: &str, expected: &str) -> Error {
    Error::data(format!("uns[\"{KEY}\"][\"{key}\"] is missing or not {expected}; the file is damaged"))
}

fn texts<'a>(entries: &'a Uns, key: &str) -> Result<&'a [String]> {
    entries.get(key).and_then(Uns::as_texts).ok_or_else(|| damaged(key, "a list of texts"))
}

fn matrix(entries: &Uns, key: &str) -> Result<Array2<f32>> {
    let array = entries.get(key).and_then(Uns::as_array).cloned();
    array.and_then(|array| array.into_dimensionality::<Ix2>().ok()).ok_or_else(|| damaged(key, "a matrix"))
}

fn number(entries: &Uns, key: &str) -> Result<f32> {
    entries.get(key).and_then(Uns::as_number).map(|x| x as f32).ok_or_else(|| damaged(key, "a number"))
}
