//! Cell types, and responses that depend on the state of the cell.
//!
//! With cell types, the control state s of a cell of type t decides how strongly it responds to the perturbation p:
//!
//! ```text
//! s           = a + c_t                                   control state, (programs,): the cell's own part and its type's
//! rho_g       proportional to exp( b_g + sum_k s_k W_kg + u_lg + E_pg(s, t) )
//! E_pg(s, t)  = m_p(s) e_pg + r_ptg                       response of the cell, in log expression
//! m_p(s)      = 2 / (1 + exp( -<q_p, s> ))                responsiveness: 1 at s = 0, always between 0 and 2
//! ```
//!
//! - `c_t`: centre of the type, N(0, `TYPE_SD`^2) on each program but the two of the cell cycle, whose centre is 0.
//! - `q_p`: a random unit vector over the programs for each perturbed gene; of a combination, the sum of its genes' vectors
//!   at length 1. So `m_p` is a function of the control state alone, which control cells show.
//! - `r_pt`: the **irreducible** part, a random effect for each gene and type with a root-mean-square of `IRREDUCIBLE` times
//!   that of the gene's `e`; of a combination, the sum of its genes'. Nothing about the control state tells it: no model can
//!   predict it for a type in which the perturbation was not seen.

use super::super::Perturbation;
use super::built_in::{direction, rms, scaled};
use super::landscape::CYCLE_PROGRAMS;
use ndarray::{Array1, Array2, Array3, Axis, s};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::collections::BTreeMap;

/// Standard deviation of the centres of types, in standard deviations of a program's activity within a type.
const TYPE_SD: f64 = 1.5;
/// Root-mean-square of the irreducible part of a response, in units of the perturbation's effect.
const IRREDUCIBLE: f64 = 0.3;

/// The cell types of a landscape and what they make of its perturbations: see the module's equations.
#[derive(Debug, Clone)]
pub struct CellTypes {
    /// `T1`, `T2`, …
    pub names: Vec<String>,
    /// Centres c, `(types, programs)`.
    pub centres: Array2<f64>,
    /// Directions q, `(perturbations, programs)`; the row of control is 0.
    pub directions: Array2<f64>,
    /// Irreducible parts r, `(types, perturbations, genes)`; those of control are 0.
    pub irreducible: Array3<f64>,
}

impl CellTypes {
    /// `n` types for these programs `(programs, genes)`, perturbations and log-effects `(perturbations, genes)`.
    pub fn draw(
        n: usize,
        loadings: &Array2<f64>,
        untouched: &[bool],
        perturbations: &[Perturbation],
        log_effects: &Array2<f64>,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let programs = loadings.nrows();
        let centres = Array2::from_shape_fn((n, programs), |(_, program)| {
            let centre = TYPE_SD * rng.sample::<f64, _>(StandardNormal);
            if program < CYCLE_PROGRAMS { 0.0 } else { centre }
        });
        // Of each perturbed gene: its direction, (programs,), and its irreducible part, (types, genes).
        let mut genes: BTreeMap<&str, (Array1<f64>, Array2<f64>)> = BTreeMap::new();
        for (perturbation, effect) in perturbations.iter().zip(log_effects.rows()) {
            let [gene] = perturbation.genes() else { continue };
            let toward = unit((0..programs).map(|_| rng.sample(StandardNormal)).collect());
            let mut own = Array2::zeros((n, untouched.len()));
            for mut row in own.rows_mut() {
                row.assign(&scaled(direction(loadings, untouched, rng), IRREDUCIBLE * rms(effect)));
            }
            genes.insert(gene, (toward, own));
        }
        let mut directions = Array2::zeros((perturbations.len(), programs));
        let mut irreducible = Array3::zeros((n, perturbations.len(), untouched.len()));
        for (row, perturbation) in perturbations.iter().enumerate().filter(|(_, p)| !p.is_control()) {
            let known = || perturbation.genes().iter().filter_map(|gene| genes.get(gene.as_str()));
            let sum = known().fold(Array1::zeros(programs), |sum, (toward, _)| sum + toward);
            directions.row_mut(row).assign(&unit(sum));
            let mut parts = irreducible.slice_mut(s![.., row, ..]);
            known().for_each(|(_, own)| parts += own);
        }
        Self { names: (1..=n).map(|number| format!("T{number}")).collect(), centres, directions, irreducible }
    }

    /// m of a perturbation at a control state, `(programs,)`.
    pub fn responsiveness(&self, perturbation: usize, state: &[f64]) -> f64 {
        let along: f64 = self.directions.row(perturbation).iter().zip(state).map(|(q, s)| q * s).sum();
        2.0 / (1.0 + (-along).exp())
    }

    /// Variance over types of the log of a gene's weight, averaged over genes.
    pub fn log_weight_variance(&self, loadings: &Array2<f64>) -> f64 {
        self.centres.dot(loadings).var_axis(Axis(0), 0.0).mean().unwrap_or(0.0)
    }
}

/// A vector at length 1; zero stays zero.
fn unit(vector: Array1<f64>) -> Array1<f64> {
    let length = vector.dot(&vector).sqrt();
    if length > 0.0 { vector / length } else { vector }
}
