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
//! | `dose_names`, `dose_curves` | names without doses, and `(names, 2)`: k and h of each; only where there are doses |
//! | `cell_types`, `means_of_type` | names, and `(types, perturbations, genes)`; only where there are cell types |

use super::super::{AnnData, Perturbation, Uns};
use super::{
    InteractionClass, TrueDoseCurve,
    cell_types::CellTypes,
    doses,
    landscape::{CYCLE_PROGRAMS, Landscape, State},
};
use crate::{Error, Result};
use ndarray::{Array, Array1, Array2, Array3, ArrayView1, Axis, Dimension, s};
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
    /// Names of the cell types, each as frequent as the others; empty where all cells are of one type.
    pub cell_types: Vec<String>,
    /// Expected count at `library_size` in each cell type, `(types, perturbations, genes)`.
    pub means_of_type: Array3<f32>,
    /// The dose-response curve of each single; empty where there are no doses.
    pub dose_curves: Vec<TrueDoseCurve>,
}

impl Truth {
    /// The expected counts under a perturbation, `(genes,)`.
    pub fn mean_of(&self, perturbation: &Perturbation) -> Option<ArrayView1<'_, f32>> {
        let row = self.perturbations.iter().position(|known| known == perturbation)?;
        Some(self.means.row(row))
    }

    /// The expected counts under a perturbation in a cell type, `(genes,)`.
    pub fn mean_in(&self, perturbation: &Perturbation, cell_type: &str) -> Option<ArrayView1<'_, f32>> {
        let row = self.perturbations.iter().position(|known| known == perturbation)?;
        let cell_type = self.cell_types.iter().position(|known| known == cell_type)?;
        Some(self.means_of_type.slice(s![cell_type, row, ..]))
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
            means_of_type: self.means_of_type.select(Axis(2), &columns),
            ..self.clone()
        })
    }
}

impl Landscape {
    /// The truth at [`REFERENCE_LIBRARY`].
    pub fn truth(&self, seed: u64) -> Truth {
        let (first, second, of_type) = match &self.cell_types {
            Some(types) => self.moments_of_types(types, seed),
            None => {
                let (first, second) = self.share_moments(&self.log_effects, seed);
                let none = Array3::zeros((0, first.nrows(), first.ncols()));
                (first, second, none)
            }
        };
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
            cell_types: self.cell_types.as_ref().map_or_else(Vec::new, |types| types.names.clone()),
            means_of_type: of_type.mapv(|share| (share * REFERENCE_LIBRARY) as f32),
            dose_curves: self.dose_curves.clone(),
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

    /// Mean of the shares and of their squares over states of all types, `(perturbations, genes)` each, and the mean over the
    /// states of each type, `(types, perturbations, genes)`.
    fn moments_of_types(&self, types: &CellTypes, seed: u64) -> (Array2<f64>, Array2<f64>, Array3<f64>) {
        let (perturbations, genes) = self.log_effects.dim();
        let states = self.spread_states(seed);
        // One perturbation a task and states in order: the sums do not depend on the number of threads.
        let of_perturbation = |perturbation: usize| {
            let mut squares = vec![0.0; genes];
            let mut sums = Array2::<f64>::zeros((types.names.len(), genes));
            let mut n = vec![0.0; types.names.len()];
            let mut weights = vec![0.0; genes];
            for state in &states {
                self.weigh(state, &mut weights);
                self.respond(perturbation, state, &mut weights);
                let scale = 1.0 / (self.remainder + weights.iter().sum::<f64>());
                n[state.cell_type] += 1.0;
                let mut sums = sums.row_mut(state.cell_type);
                for ((weight, sum), square) in weights.iter().zip(&mut sums).zip(&mut squares) {
                    let share = weight * scale;
                    *sum += share;
                    *square += share * share;
                }
            }
            sums.rows_mut().into_iter().zip(&n).for_each(|(mut sum, n)| sum /= *n);
            (sums, Array1::from_vec(squares) / states.len() as f64)
        };
        let found: Vec<_> = (0..perturbations).into_par_iter().map(of_perturbation).collect();
        let mut second = Array2::zeros((perturbations, genes));
        let mut of_type = Array3::zeros((types.names.len(), perturbations, genes));
        for (perturbation, (means, squares)) in found.into_iter().enumerate() {
            second.row_mut(perturbation).assign(&squares);
            of_type.slice_mut(s![.., perturbation, ..]).assign(&means);
        }
        let first = of_type.mean_axis(Axis(0)).expect("there is a type");
        (first, second, of_type)
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
            let both = [
                State::new(phase, others.iter().copied(), lane),
                State::new((phase + 0.5).fract(), others.iter().map(|x| -x), lane),
            ];
            match &self.cell_types {
                None => states.extend(both),
                Some(types) => {
                    let cell_type = pair / n_lanes % types.names.len();
                    states.extend(both.map(|state| state.of_type(types, cell_type)));
                }
            }
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
        let mut entries = vec![
            ("means", Uns::from(self.means.clone())),
            ("variances", Uns::from(self.variances.clone())),
            ("perturbations", Uns::Texts(names)),
            ("genes", Uns::Texts(self.genes.clone())),
            ("classes", Uns::Texts(classes)),
            ("library_size", Uns::Number(self.library_size.into())),
            ("relative_error", Uns::Number(self.relative_error.into())),
        ];
        if !self.cell_types.is_empty() {
            entries.push(("cell_types", Uns::Texts(self.cell_types.clone())));
            entries.push(("means_of_type", Uns::from(self.means_of_type.clone())));
        }
        entries.extend(doses::to_uns(&self.dose_curves));
        entries.into_iter().collect()
    }

    fn from_uns(entries: &Uns) -> Result<Self> {
        let with_types = entries.get("cell_types").is_some();
        let means: Array2<f32> = array(entries, KEY, "means")?;
        let none = || Array3::zeros((0, means.nrows(), means.ncols()));
        let truth = Self {
            perturbations: perturbations(entries, KEY)?,
            genes: texts(entries, KEY, "genes")?.to_vec(),
            cell_types: if with_types { texts(entries, KEY, "cell_types")?.to_vec() } else { Vec::new() },
            means_of_type: if with_types { array(entries, KEY, "means_of_type")? } else { none() },
            means,
            variances: array(entries, KEY, "variances")?,
            classes: texts(entries, KEY, "classes")?.iter().map(|name| InteractionClass::parse(name)).collect(),
            library_size: number(entries, "library_size")?,
            relative_error: number(entries, "relative_error")?,
            dose_curves: doses::from_uns(entries)?,
        };
        let shape = (truth.perturbations.len(), truth.genes.len());
        let of_type = (truth.cell_types.len(), shape.0, shape.1);
        if truth.means_of_type.dim() != of_type {
            return Err(Error::data(format!(
                "uns[\"{KEY}\"] is damaged: means_of_type {:?}, expected {of_type:?}",
                truth.means_of_type.dim()
            )));
        }
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

/// The perturbations that the entry `perturbations` of `uns[dictionary]` names.
pub(super) fn perturbations(entries: &Uns, dictionary: &str) -> Result<Vec<Perturbation>> {
    Ok(texts(entries, dictionary, "perturbations")?.iter().map(|name| perturbation(name)).collect())
}

fn damaged(dictionary: &str, key: &str, expected: &str) -> Error {
    Error::data(format!("uns[\"{dictionary}\"][\"{key}\"] is missing or not {expected}; the file is damaged"))
}

/// The texts of an entry of `uns[dictionary]`.
pub(super) fn texts<'a>(entries: &'a Uns, dictionary: &str, key: &str) -> Result<&'a [String]> {
    entries.get(key).and_then(Uns::as_texts).ok_or_else(|| damaged(dictionary, key, "a list of texts"))
}

/// The array of an entry of `uns[dictionary]`.
pub(super) fn array<D: Dimension>(entries: &Uns, dictionary: &str, key: &str) -> Result<Array<f32, D>> {
    let array = entries.get(key).and_then(Uns::as_array).cloned();
    let expected = || format!("an array of {} dimensions", D::NDIM.unwrap_or_default());
    array.and_then(|array| array.into_dimensionality::<D>().ok()).ok_or_else(|| damaged(dictionary, key, &expected()))
}

fn number(entries: &Uns, key: &str) -> Result<f32> {
    entries.get(key).and_then(Uns::as_number).map(|x| x as f32).ok_or_else(|| damaged(KEY, key, "a number"))
}
