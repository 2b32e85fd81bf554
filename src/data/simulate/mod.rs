//! Simulated perturbation data with a known truth.
//!
//! Counts are negative binomial around a log-linear model of the cell:
//!
//! ```text
//! x_cg ~ NB( mean L_c rho_cg, inverse dispersion theta_g )              counts, (cells, genes)
//! rho_cg proportional to exp( b_g + sum_k a_ck W_kg + u_{l(c) g} + e_{p(c) g} )
//! L_c  ~ LogNormal( ln median, sd )                                     library size
//! a_c  = cell-cycle position on a circle (2 programs), the rest N(0, 1)  cell state
//! 1 / theta_g = floor + slope / mean count                              dispersion trend
//! ```
//!
//! `b` is the baseline, `W` the loadings of gene programs, `u` the effect of the lane, `e` the effect of the
//! perturbation: sparse, through shifted programs and direct targets, with the perturbed gene itself going up (CRISPR
//! activation). Doubles are made of their singles by the recipe of their [`InteractionClass`]. A few cells are
//! damaged: fewer counts, more of them mitochondrial; the [`Truth`] is that of healthy cells.
//!
//! A triple is made of the interactions of its doubles and has none of its own:
//! `d_abc = d_a + d_b + d_c + sum over its simulated doubles of (d_ij - d_i - d_j)`.
//!
//! With cell types ([`SimulationConfig::n_cell_types`]) the state of a cell moves by the centre `c_t` of its type, and the
//! response of a cell is a function of its control state and an irreducible part of its type:
//!
//! ```text
//! s = a_c + c_t                                      control state, (programs,)
//! rho_cg proportional to exp( b_g + sum_k s_k W_kg + u_{l(c) g} + m_p(s) e_pg + r_ptg )
//! m_p(s) = 2 / (1 + exp( -<q_p, s> ))                responsiveness, |q_p| = 1
//! rms(r_pt) = 0.3 rms(e_p) for a single              irreducible: nothing in the control state tells it
//! ```
//!
//! The file `cell_types` has the details. With [`SimulationConfig::n_paired`] the simulation also tells what each of some
//! control cells is expected to be under every perturbation ([`Paired`]). [`TimeCourseSimulation`] draws cells along time, [`BulkSimulation`]
//! bulk samples that depend on their metadata.
//!
//! With [`SimulationConfig::doses`] each perturbation is simulated at each dose, its effect scaled by a known Hill curve
//! ([`TrueDoseCurve`]).
//!
//! [`Simulation::new`] makes everything up; [`Simulation::from_effects`] takes the effects of real perturbations from
//! an effects dataset. The same seed gives the same cells on any number of threads.

mod built_in;
mod bulk;
#[doc(hidden)]
pub mod cell_types;
#[doc(hidden)]
pub mod cells;
mod classes;
mod doses;
mod factors;
#[doc(hidden)]
pub mod landscape;
#[doc(hidden)]
pub mod observed;
mod paired;
mod time_course;
mod truth;

pub use bulk::{BulkConfig, BulkSimulation, TRUE_MEAN};
pub use classes::InteractionClass;
pub use doses::TrueDoseCurve;
pub use factors::CellFactors;
pub use paired::Paired;
pub use time_course::{TimeCourseConfig, TimeCourseSimulation};
pub use truth::{REFERENCE_LIBRARY, Truth};

use super::{AnnDataWriter, Dataset, Effects, labels::UNS};
use crate::{Error, Result};
use landscape::{CYCLE_PROGRAMS, Landscape};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::path::Path;

/// What is simulated. The default is the built-in dataset: 6,000 cells x 1,000 genes, 20 singles and 16 doubles.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationConfig {
    /// Number of cells.
    pub n_cells: usize,
    /// Number of genes.
    pub n_genes: usize,
    /// The same seed gives the same data.
    pub seed: u64,
    /// Number of single perturbations.
    pub n_singles: usize,
    /// Doubles of each interaction class; needs five singles each.
    pub doubles_per_class: usize,
    /// Fraction of the cells that are control.
    pub control_fraction: f64,
    /// Number of lanes.
    pub n_lanes: usize,
    /// Number of gene programs; the first two are the cell cycle.
    pub n_programs: usize,
    /// Standard deviation of the log library size over cells; 0.41 in Norman 2019.
    pub library_size_sd: f64,
    /// Fraction of entries of the count matrix that are not zero; sets the median library size.
    pub density: f64,
    /// Fraction of damaged cells.
    pub damaged_fraction: f64,
    /// Number of triples, each of a simulated double and another single.
    pub n_triples: usize,
    /// Number of cell types, equally frequent; with 1 there is no column `cell_type`, and all cells respond alike.
    pub n_cell_types: usize,
    /// Number of control cells whose counterfactuals are told.
    pub n_paired: usize,
    /// Doses at which each perturbation is simulated (`A@0.5`); none: no name has a dose.
    pub doses: Vec<f64>,
}

impl Default for SimulationConfig {
    fn default() -> Self {
        Self {
            n_cells: 6_000,
            n_genes: 1_000,
            seed: 0,
            n_singles: 20,
            doubles_per_class: 2,
            control_fraction: 0.12,
            n_lanes: 4,
            n_programs: 10,
            library_size_sd: 0.4,
            density: Self::usual_density(1_000),
            damaged_fraction: 0.02,
            n_triples: 0,
            n_cell_types: 1,
            n_paired: 0,
            doses: Vec::new(),
        }
    }
}

impl SimulationConfig {
    /// Settings for [`Simulation::from_effects`] on an experiment of Norman 2019's size: 91,205 cells, at most 2,000
    /// genes, 8 lanes, 12 % density, no damaged cells (published files have lost theirs in QC).
    pub fn like_norman() -> Self {
        Self {
            n_cells: 91_205,
            n_genes: 2_000,
            n_lanes: 8,
            density: 0.12,
            library_size_sd: 0.41,
            control_fraction: 0.08,
            damaged_fraction: 0.0,
            ..Self::default()
        }
    }

    /// The density of a panel of the `n_genes` most expressed genes: 25 % at 1,000 genes and 13 % at 5,000, since a
    /// wider panel reaches rarer genes. Between 2 % and 50 %.
    pub fn usual_density(n_genes: usize) -> f64 {
        (0.25 * (n_genes.max(1) as f64 / 1_000.0).powf(-0.4)).clamp(0.02, 0.5)
    }

    fn check(&self) -> Result<()> {
        let within = |name: &str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(Error::config(format!("{name} is {value}; it must be between {low} and {high}")))
            }
        };
        within("control_fraction", self.control_fraction, 0.01, 0.99)?;
        within("density", self.density, 0.001, 0.9)?;
        within("damaged_fraction", self.damaged_fraction, 0.0, 0.5)?;
        within("library_size_sd", self.library_size_sd, 0.0, 2.0)?;
        within("n_cell_types", self.n_cell_types as f64, 1.0, 100.0)?;
        within("n_lanes", self.n_lanes as f64, 1.0, 1_000.0)?;
        within("n_programs", self.n_programs as f64, CYCLE_PROGRAMS as f64 + 1.0, 1_000.0)?;
        within("n_cells", self.n_cells as f64, 1.0, f64::from(i32::MAX))?;
        within("n_genes", self.n_genes as f64, 1.0, 1e6)?;
        if !self.doses.is_empty() && self.n_cell_types > 1 {
            return Err(Error::config(
                "each cell type has an irreducible response of its own, which has no dose; leave --cell-types or --doses out",
            ));
        }
        doses::check(&self.doses)
    }
}

/// A simulated dataset and the truth behind it.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The cells, as an experiment would give them.
    pub dataset: Dataset,
    /// What no experiment gives.
    pub truth: Truth,
    /// What some control cells would be under every perturbation; `None` unless asked for.
    pub paired: Option<Paired>,
    /// The state, library size and lane of each cell.
    pub factors: CellFactors,
}

impl Simulation {
    /// Simulates a made-up world.
    ///
    /// # Errors
    /// A setting that is out of range, or too few cells, genes or singles for what is asked.
    pub fn new(config: &SimulationConfig) -> Result<Self> {
        config.check()?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(1);
        Self::of(&Landscape::built_in(config, &mut rng)?, config)
    }

    /// Simulates cells whose perturbations do what an effects dataset says: its genes, its perturbations, its cell
    /// numbers (`n_cells` in its table), its interaction classes (`gi_class`). Of `config`, the numbers of singles,
    /// doubles and damaged cells are not used; [`SimulationConfig::like_norman`] has settings that suit.
    ///
    /// An effect is read as the difference in `ln(1 + CPM)` of a perturbation's pooled cells to that of control's:
    /// what the pooled simulated cells show again.
    ///
    /// # Errors
    /// Effects without a perturbation or with values that are not finite, a setting that is out of range, or too few
    /// cells.
    pub fn from_effects(effects: &Effects, config: &SimulationConfig) -> Result<Self> {
        config.check()?;
        if config.n_cell_types > 1 || config.n_triples > 0 || !config.doses.is_empty() {
            return Err(Error::config(
                "cell types, triples and doses are made up together with the effects, and here the effects come from a file",
            ));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(1);
        Self::of(&Landscape::observed(effects, config, &mut rng)?, config)
    }

    /// Writes the cells as `.h5ad` as [`Dataset::write`] does, with the truth in `uns["truth"]`: `means` and
    /// `variances` `(perturbations, genes)`, the names `perturbations` and `genes`, `classes`, `library_size`, `relative_error`; of cell types `cell_types` and
    /// `means_of_type`; of doses `dose_names` and `dose_curves`; and the counterfactuals, where there are any, in `uns["paired"]`.
    /// Nothing is left half-written.
    ///
    /// # Errors
    /// A folder that is not there or not writable, or a full disk.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut cells = self.dataset.cells.clone();
        self.dataset.annotate(&mut cells);
        let mut writer = AnnDataWriter::new(&cells, &self.dataset.genes)
            .x(&self.dataset.counts)
            .uns(UNS, self.dataset.hints())
            .uns(truth::KEY, self.truth.to_uns());
        if let Some(paired) = &self.paired {
            writer = writer.uns(paired::KEY, paired.to_uns());
        }
        writer.write(path)
    }

    fn of(landscape: &Landscape, config: &SimulationConfig) -> Result<Self> {
        let seed = config.seed;
        if let Some(empty) = landscape.cells.iter().position(|&n| n == 0) {
            return Err(Error::config(format!(
                "{} cells are too few for {} perturbations: none is left for {}; ask for more cells",
                landscape.cells.iter().sum::<usize>(),
                landscape.perturbations.len(),
                landscape.perturbations[empty]
            )));
        }
        let dataset = landscape.draw_cells(seed)?;
        let paired = (config.n_paired > 0).then(|| landscape.paired(&dataset, config.n_paired, seed)).transpose()?;
        let factors = landscape.factors(dataset.n_cells(), seed);
        Ok(Self { dataset, truth: landscape.truth(seed), paired, factors })
    }
}

impl Dataset {
    /// The built-in dataset: 6,000 simulated cells x 1,000 genes, 20 singles, 2 doubles of each interaction class
    /// ([`SimulationConfig::default`]). The truth behind it: [`Simulation::new`] with the same seed.
    pub fn simulated(seed: u64) -> Self {
        let config = SimulationConfig { seed, ..SimulationConfig::default() };
        Simulation::new(&config).expect("the default settings are valid, whatever the seed").dataset
    }
}
