//! A landscape from real effects: what each perturbation was seen to do, on cells that are made up.
//!
//! An effects dataset gives, for perturbation `p` and gene `g`, the difference to control of the log of pooled
//! expression
//!
//! ```text
//! d_pg = ln(1 + CPM_pg) - ln(1 + CPM_control,g)     so     1 + CPM_pg = (1 + CPM_control,g) exp(d_pg)
//! ```
//!
//! but not control's expression itself. What is known of it: no CPM is negative, so
//! `1 + CPM_control,g >= exp(-min_p d_pg)`. Above that bound every gene gets the same floor, chosen so that the cells have the density asked for; a
//! common floor also keeps effects in proportion between genes when they are measured cell by cell rather than pooled.

use super::super::{Column, Effects, Perturbation};
use super::{
    InteractionClass, SimulationConfig,
    landscape::{Landscape, apportion, density, draw_lanes, draw_loadings, solve, theta_of},
};
use crate::{Error, Result};
use ndarray::{Array2, Axis};
use rand_chacha::ChaCha8Rng;

/// Median library size in UMI counts over all genes, as in Norman 2019's cells.
const MEDIAN_LIBRARY: f64 = 13_500.0;
/// Smallest CPM that a gene is given, so that its log exists. One count in ten million.
const LEAST_CPM: f64 = 0.1;
/// Largest fraction of the cells that control gets to make the published cell numbers fit.
const MOST_CONTROL: f64 = 0.25;
/// State and lane move genes less than in the built-in landscape: a panel of variable genes, not of all, and K562 is
/// one clonal line.
const LOADING_SCALE: f64 = 0.8;

impl Landscape {
    /// The landscape of `effects`; cell states, lanes and noise as `config` says.
    pub fn observed(effects: &Effects, config: &SimulationConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        check(effects)?;
        let columns = most_variable(effects, config.n_genes);
        let n_genes = columns.len();
        let rows = perturbed_rows(effects);
        let differences = effects.values.select(Axis(0), &rows).select(Axis(1), &columns).mapv(f64::from);

        let untouched = vec![false; n_genes];
        let loadings = draw_loadings(config.n_programs, &untouched, LOADING_SCALE, rng);
        let lanes = draw_lanes(config.n_lanes, n_genes, rng);
        let mut landscape = Self {
            genes: columns.iter().map(|&gene| effects.genes.names[gene].clone()).collect(),
            log_base: Vec::new(),
            theta: Vec::new(),
            loadings,
            lanes,
            remainder: 0.0,
            perturbations: Vec::new(),
            log_effects: Array2::zeros((rows.len() + 1, n_genes)),
            classes: Vec::new(),
            cells: Vec::new(),
            median_library: MEDIAN_LIBRARY,
            library_sd: config.library_size_sd,
            mitochondrial: untouched,
            damaged_fraction: 0.0,
            cell_types: None,
            dose_curves: Vec::new(),
        };

        let control = landscape.control_cpm(&differences, config.density);
        let in_panel = control.iter().sum::<f64>() / 1e6;
        if in_panel >= 0.9 {
            return Err(Error::config(format!(
                "the effects ask for {:.0} % of all counts in the {n_genes} genes of the file; lower the density",
                100.0 * in_panel
            )));
        }
        landscape.remainder = 1.0 - in_panel;
        landscape.theta = control.iter().map(|cpm| theta_of(cpm * MEDIAN_LIBRARY / 1e6)).collect();
        for (difference, mut effect) in
            differences.rows().into_iter().zip(landscape.log_effects.rows_mut().into_iter().skip(1))
        {
            for ((effect, &difference), &control) in effect.iter_mut().zip(difference).zip(&control) {
                *effect = ((((1.0 + control) * difference.exp()) - 1.0).max(LEAST_CPM) / control).ln();
            }
        }
        landscape.centre(&control, config.seed);

        let (cells, classes) = (column(effects, "n_cells"), effects.table.column("gi_class").map(Column::to_text));
        landscape.cells = cell_numbers(&rows, cells.as_deref(), config);
        landscape.perturbations.push(Perturbation::control());
        landscape.classes.push(None);
        for &row in &rows {
            landscape.perturbations.push(effects.perturbations[row].clone());
            let class = classes.as_ref().and_then(|classes| classes[row].as_deref());
            landscape.classes.push(class.and_then(InteractionClass::parse));
        }
        Ok(landscape)
    }

    /// CPM of control, `(genes,)`: the bound that the effects set, lifted to the floor that gives the density.
    fn control_cpm(&self, differences: &Array2<f64>, target: f64) -> Vec<f64> {
        let bound: Vec<f64> = differences
            .columns()
            .into_iter()
            .map(|column| (-column.iter().copied().fold(0.0, f64::min)).exp() - 1.0 + LEAST_CPM)
            .collect();
        let (state, library) = (self.log_weight_variance(), self.library_sd.powi(2));
        let counts = |floor: f64| bound.iter().map(move |&cpm| cpm.max(floor) * MEDIAN_LIBRARY / 1e6);
        let floor = solve(|floor| density(counts(floor), state, library), target, LEAST_CPM, 1e5);
        bound.iter().map(|&cpm| cpm.max(floor)).collect()
    }

    /// Moves the baseline so that the mean share over states, under control, is `cpm / 1e6`.
    fn centre(&mut self, cpm: &[f64], seed: u64) {
        self.log_base = cpm.iter().map(|cpm| (cpm / 1e6).ln()).collect();
        let control = Array2::zeros((1, cpm.len()));
        let (shares, _) = self.share_moments(&control, seed);
        for ((base, &share), &cpm) in self.log_base.iter_mut().zip(shares.row(0)).zip(cpm) {
            *base += (cpm / 1e6 / share).ln();
        }
    }
}

fn check(effects: &Effects) -> Result<()> {
    if let Some(((row, gene), value)) = effects.values.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::data(format!(
            "the effect of {} on {} is {value}; effects must be finite differences in ln(1 + CPM)",
            effects.perturbations[row], effects.genes.names[gene]
        )));
    }
    // ln(1e6) is the difference between no expression and a cell that expresses nothing else.
    let limit = 1e6_f32.ln();
    if let Some(((row, gene), value)) = effects.values.indexed_iter().find(|(_, value)| value.abs() > limit) {
        return Err(Error::data(format!(
            "the effect of {} on {} is {value}, which no difference in ln(1 + CPM) can be (at most {limit:.1}); is this file \
             an effects dataset?",
            effects.perturbations[row], effects.genes.names[gene]
        )));
    }
    if effects.perturbations.iter().all(Perturbation::is_control) || effects.genes.is_empty() {
        return Err(Error::data(
            "the effects dataset names no perturbation or no gene, so there is nothing to simulate",
        ));
    }
    Ok(())
}

/// The rows that are perturbations, sorted by name.
fn perturbed_rows(effects: &Effects) -> Vec<usize> {
    let mut rows: Vec<usize> =
        (0..effects.perturbations.len()).filter(|&row| !effects.perturbations[row].is_control()).collect();
    rows.sort_by(|&a, &b| effects.perturbations[a].cmp(&effects.perturbations[b]));
    rows
}

/// The `n` genes of the largest mean squared effect, in the file's order; all of them if there are no more than `n`.
fn most_variable(effects: &Effects, n: usize) -> Vec<usize> {
    let size: Vec<f32> = effects.values.columns().into_iter().map(|column| column.dot(&column)).collect();
    let mut genes: Vec<usize> = (0..size.len()).collect();
    genes.sort_by(|&a, &b| size[b].total_cmp(&size[a]));
    genes.truncate(n);
    genes.sort_unstable();
    genes
}

fn column(effects: &Effects, name: &str) -> Option<Vec<f64>> {
    effects.table.column(name).and_then(Column::to_f64)
}

/// Cells of control and of each row. Where the published numbers nearly fill `config.n_cells`, they are used as they
/// are and control gets the rest; control has at least `config.control_fraction` of the cells and at most
/// `MOST_CONTROL`, and beyond that the published numbers are shares. A row of unknown or zero number counts as the
/// median of the others.
pub fn cell_numbers(rows: &[usize], published: Option<&[f64]>, config: &SimulationConfig) -> Vec<usize> {
    let known = |row: usize| published.map(|numbers| numbers[row]).filter(|&n| n.is_finite() && n >= 1.0);
    let mut sorted: Vec<f64> = rows.iter().filter_map(|&row| known(row)).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(1.0);
    let numbers: Vec<f64> = rows.iter().map(|&row| known(row).unwrap_or(usual)).collect();
    let (perturbed, all) = (numbers.iter().sum::<f64>(), config.n_cells as f64);
    let least_control = config.control_fraction * all;
    let control =
        if sorted.is_empty() { least_control } else { least_control.max((all - perturbed).min(MOST_CONTROL * all)) };
    let scale = (all - control) / perturbed;
    let shares: Vec<f64> = std::iter::once(control).chain(numbers.iter().map(|n| n * scale)).collect();
    apportion(config.n_cells, &shares)
}
