//! The single perturbations added in log-rate space, and cells drawn from the rates: no network.
//!
//! With `X_pg` the counts of gene g summed over the training cells of the perturbation p in a context, `N_p` the sum of their
//! library sizes, and G the number of genes,
//!
//! ```text
//! r_cg      = (X_cg + 1) / (N_c + G)                      rates of control, with one pseudo-count per gene
//! r_pg      = (X_pg + G r_cg) / (N_p + G)                 rates of p, with as many pseudo-counts in control's proportions
//! s_pg      = ln r_pg - ln r_cg                           the shift of p
//! ln r_g    = ln r_cg + s_Ag + s_Bg - ln Z                rates of A+B; Z makes them sum to 1
//! x_ig      ~ NB(mean l_i r_g, inverse dispersion theta_g)
//! 1/theta_g = sum_p [n_p/(n_p-1) sum_i (x_ig - m_ig)^2 - sum_i m_ig] / sum_p sum_i m_ig^2,   m_ig = l_i X_pg / N_p
//! ```
//!
//! The molecules of a library that are of no gene of the file, `N_p - sum_g X_pg`, count as one more gene here (G is one
//! larger): where a perturbation raises most of a small panel of genes, the panel's share of the library grows.
//!
//! The pseudo-counts of p lie in control's proportions: equal ones would shift every silent gene of a perturbation that has
//! fewer cells than control. The library sizes `l_i` are those of control cells of the context. The dispersion is pooled over
//! all training conditions, control among them. The predicted mean is the mean log1p of drawn cells normalised to 10,000.
//!
//! A condition that was trained in its context has its own shift; in a context in which it was not, its shift is the mean of
//! the other contexts' shifts with the weights of [`SimilarityWeighted`](super::SimilarityWeighted); a combination that was
//! trained in no context is the sum of its genes' shifts.
//!
//! It says how much of a model's gain over the additive baseline comes from adding log rates and from drawing counts alone.

use super::similarity_weighted::Known;
use crate::{
    Error, Result,
    data::{
        Condition, Controls, EffectTable, NORMALISED_TOTAL, Perturbation, TrainingCells, TrainingData,
        rows_by_condition, simulate::cells::sample_nb,
    },
    predict::{Fitted, Predictor, control_starts::ControlStarts},
};
use ndarray::{Array1, Array2, Axis, s};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{collections::BTreeMap, sync::Arc};

/// Pseudo-counts per gene.
const PSEUDO_COUNTS: f64 = 1.0;
/// Cells that a predicted mean is the mean over. At 1,000 genes of standard deviation 0.5 in log1p expression, the noise of
/// the draw is 0.35 in L2.
const CELLS_PER_MEAN: usize = 2_000;
/// Seed of these cells.
const MEAN_SEED: u64 = 0;
/// Bounds of the inverse dispersion: from counts that a few cells hold to counts that no one can tell from Poisson's.
const THETA: (f64, f64) = (0.01, 1e6);

/// Log-rate shifts of single perturbations, summed; cells are negative binomial: see the module's equations.
#[derive(Debug, Clone, Copy)]
pub struct LogRateSum;

impl Predictor for LogRateSum {
    fn name(&self) -> &str {
        "log_rate_sum"
    }

    fn description(&self) -> &str {
        "The sum of the log-rate shifts of the single perturbations, with negative binomial cells drawn from the rates"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        data.require_counts("log_rate_sum")?;
        let cells = data.cells.as_ref().ok_or_else(|| Error::inapplicable("an effects dataset has no counts"))?;
        let controls = data.controls()?.expect("cells have controls").clone();
        let sums = Sums::of(cells);
        let rates = control_rates(&sums);
        let shifts = shifts(data, &sums, &rates)?;
        if shifts.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        Ok(Box::new(Rates {
            known: Known { training: shifts, controls: controls.clone() },
            controls,
            rates,
            theta: inverse_dispersion(&sums),
            starts: ControlStarts::new(cells, &cells.split.train, data.seed, |_, _| Ok(()))?,
            cells: Arc::clone(cells),
        }))
    }
}

/// Sums over the training cells of a condition; of genes `(genes,)`.
struct Sums {
    /// Of the counts x; the last is of the molecules that are of no gene of the file, `(genes + 1,)`.
    counts: Array1<f64>,
    /// Of x^2.
    squares: Array1<f64>,
    /// Of l x, l the library size.
    weighted: Array1<f64>,
    library: f64,
    library_squares: f64,
    cells: f64,
}

impl Sums {
    fn of(cells: &TrainingCells) -> BTreeMap<Condition, Self> {
        let of = |rows: Vec<usize>| {
            let genes = cells.data.n_genes();
            let mut sums = Self {
                counts: Array1::zeros(genes + 1),
                squares: Array1::zeros(genes),
                weighted: Array1::zeros(genes),
                library: 0.0,
                library_squares: 0.0,
                cells: rows.len() as f64,
            };
            for row in rows {
                let library = f64::from(cells.data.library_size[row]);
                sums.library += library;
                sums.library_squares += library * library;
                let (genes, values) = cells.data.counts.row(row);
                for (&gene, &value) in genes.iter().zip(values) {
                    let (gene, value) = (gene as usize, f64::from(value));
                    sums.counts[gene] += value;
                    sums.squares[gene] += value * value;
                    sums.weighted[gene] += library * value;
                }
            }
            sums.counts[genes] = (sums.library - sums.counts.sum()).max(0.0);
            sums
        };
        let rows = rows_by_condition(&cells.conditions, &cells.split.train);
        rows.into_iter().map(|(condition, rows)| (condition.clone(), of(rows))).collect()
    }
}

/// The rates of control in each context, `(genes + 1,)`.
fn control_rates(sums: &BTreeMap<Condition, Sums>) -> BTreeMap<Option<String>, Array1<f64>> {
    let controls = sums.iter().filter(|(condition, _)| condition.perturbation.is_control());
    let rates = |sums: &Sums| {
        let pseudo = PSEUDO_COUNTS * sums.counts.len() as f64;
        (&sums.counts + PSEUDO_COUNTS) / (sums.library + pseudo)
    };
    controls.map(|(condition, sums)| (condition.context.clone(), rates(sums))).collect()
}

/// The log-rate shift of every training condition, `(conditions, genes + 1)`.
fn shifts(
    data: &TrainingData,
    sums: &BTreeMap<Condition, Sums>,
    rates: &BTreeMap<Option<String>, Array1<f64>>,
) -> Result<EffectTable> {
    let effects = data.effects()?;
    let mut table = EffectTable {
        genes: effects.genes.iter().cloned().chain(["other genes".to_owned()]).collect(),
        effects: Array2::zeros((effects.len(), effects.genes.len() + 1)),
        ..effects.clone()
    };
    for (mut row, condition) in table.effects.rows_mut().into_iter().zip(&effects.conditions) {
        let (of, control) = (&sums[condition], &rates[&condition.context]);
        let pseudo = PSEUDO_COUNTS * control.len() as f64;
        let own = (&of.counts + &(pseudo * control)) / (of.library + pseudo);
        row.assign(&(own / control).mapv(|ratio| ratio.ln() as f32));
    }
    Ok(table)
}

/// theta of each gene, `(genes,)`.
fn inverse_dispersion(sums: &BTreeMap<Condition, Sums>) -> Array1<f64> {
    let genes = sums.values().next().map_or(0, |sums| sums.squares.len());
    let (mut excess, mut squared_means) = (Array1::<f64>::zeros(genes), Array1::<f64>::zeros(genes));
    for sums in sums.values().filter(|sums| sums.cells > 1.0) {
        let counts = sums.counts.slice(s![..genes]);
        let rate = &counts / sums.library;
        let squares = &rate * &rate * sums.library_squares; // sum of m^2
        let deviations = &sums.squares - &(2.0 * &rate * &sums.weighted) + &squares; // sum of (x - m)^2
        excess += &(deviations * (sums.cells / (sums.cells - 1.0)) - counts);
        squared_means += &squares;
    }
    let theta = |(excess, squares): (&f64, &f64)| if *excess > 0.0 { squares / excess } else { THETA.1 };
    excess.iter().zip(&squared_means).map(theta).map(|theta| theta.clamp(THETA.0, THETA.1)).collect()
}

struct Rates {
    /// The shifts, with the rule for contexts in which a perturbation was not trained.
    known: Known,
    controls: Controls,
    /// Of control, by context.
    rates: BTreeMap<Option<String>, Array1<f64>>,
    theta: Array1<f64>,
    starts: ControlStarts<()>,
    cells: Arc<TrainingCells>,
}

impl Rates {
    /// The rates of a condition, `(genes + 1,)`.
    fn of(&self, condition: &Condition) -> Result<Array1<f64>> {
        let missing = || Error::inapplicable(format!("{condition}: no control cell of its context was trained on"));
        let control = self.rates.get(&condition.context).ok_or_else(missing)?;
        if condition.perturbation == Perturbation::control() {
            return Ok(control.clone());
        }
        let rates = control * &self.known.effect(condition)?.mapv(f64::exp);
        Ok(&rates / rates.sum())
    }

    /// `n` cells in log-normalised expression, `(n, genes)`.
    fn draw(&self, condition: &Condition, n: usize, seed: u64) -> Result<Array2<f32>> {
        let rates = self.of(condition)?;
        let (rows, seed) = self.starts.of(condition)?.draw(n, seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut cells = Array2::zeros((n, self.theta.len()));
        for (mut cell, row) in cells.rows_mut().into_iter().zip(rows) {
            let library = f64::from(self.cells.data.library_size[row]);
            for ((value, rate), &theta) in cell.iter_mut().zip(&rates).zip(&self.theta) {
                let count = sample_nb(library * rate, theta, &mut rng);
                *value = (f64::from(NORMALISED_TOTAL) * f64::from(count) / library).ln_1p() as f32;
            }
        }
        Ok(cells)
    }
}

impl Fitted for Rates {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let cells = self.draw(condition, CELLS_PER_MEAN, MEAN_SEED)?;
        let mean = cells.mapv(f64::from).mean_axis(Axis(0)).expect("there are cells");
        let control = self.controls.of(condition.context.as_deref()).expect("its control cells were drawn from");
        Ok(mean.mapv(|value| value as f32) - control)
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        Some(self.draw(condition, n, seed))
    }
}
