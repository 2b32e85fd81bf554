//! Do the guides against one gene do the same?
//!
//! Guides are the replicates of a genetic screen: what one of them does beside its target, the others do not. The effect of a guide
//! is the mean log-normalised expression of its cells less that of control; two guides agree as far as their effects correlate
//! (Pearson, over genes). Few cells keep that below 1 even where the guides do the same, so it is shown beside what remains when the
//! same cells are dealt out to the same numbers of guides at random.

use super::metrics::pearson;
use crate::{
    Result,
    data::{Column, Dataset, Perturbation, TargetSum, normalize::log_normalize, shuffle, without_guide},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Cells below which the effect of a guide says too little.
pub const FEWEST_CELLS: usize = 20;
/// A column with more values for one perturbation names something else: a cell, a well.
const MOST_GUIDES: usize = 20;
/// What stands in the names of columns that name guides.
const COLUMNS: [&str; 5] = ["guide", "grna", "protospacer", "sgid", "feature_call"];
/// How often the cells are dealt out at random.
const DEALS: usize = 10;

/// How far the guides of one perturbation agree.
#[derive(Debug, Clone, PartialEq)]
pub struct GuideAgreement {
    /// What they are against.
    pub perturbation: Perturbation,
    /// Name and cells of each guide with at least [`FEWEST_CELLS`], by name.
    pub guides: Vec<(String, usize)>,
    /// Mean Pearson correlation of the effects of two guides.
    pub pearson: f64,
    /// The same after the cells were dealt out to the guides at random: what guides that do the same would reach.
    pub at_random: f64,
}

/// The guides of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Guides {
    /// The column of cells that names them.
    pub column: String,
    /// One entry a perturbation that two guides or more are against, in the dataset's order.
    pub agreement: Vec<GuideAgreement>,
}

/// Compares the guides of every perturbation (control left out). `None`: no column of cells, of those that usually name guides,
/// tells two guides of a perturbation apart, or there is no control cell.
///
/// # Errors
/// Library sizes that cannot be normalised by.
pub fn guides(data: &Dataset, seed: u64) -> Result<Option<Guides>> {
    let columns = data.cells.columns.iter().filter(|(name, column)| names_guides(data, name, column));
    let found = columns.map(|(name, column)| (name.clone(), cells_of_guides(data, column)));
    let best = found.max_by_key(|(_, found)| found.len());
    let Some((column, found)) = best.filter(|(_, found)| !found.is_empty()) else { return Ok(None) };
    let controls = data.control_cells();
    if controls.is_empty() {
        return Ok(None);
    }
    let mut rows = controls.clone();
    rows.extend(found.values().flatten().flat_map(|(_, cells)| cells));
    let expression = log_normalize(&data.select_cells(&rows), TargetSum::default())?;
    let mean = |cells: &[usize]| {
        let mut sum = vec![0.0_f64; data.n_genes()];
        for &cell in cells {
            let (genes, values) = expression.row(cell);
            genes.iter().zip(values).for_each(|(&gene, &value)| sum[gene as usize] += f64::from(value));
        }
        sum.iter_mut().for_each(|sum| *sum /= cells.len() as f64);
        sum
    };
    let control = mean(&(0..controls.len()).collect::<Vec<_>>());
    let effect =
        |cells: &[usize]| -> Vec<f32> { mean(cells).iter().zip(&control).map(|(a, b)| (a - b) as f32).collect() };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut next, mut agreement) = (controls.len(), Vec::new());
    for (&label, of) in &found {
        let sizes: Vec<usize> = of.iter().map(|(_, cells)| cells.len()).collect();
        let mut cells: Vec<usize> = (next..next + sizes.iter().sum::<usize>()).collect();
        next += cells.len();
        let Some(measured) = agreement_of(&cells, &sizes, &effect) else { continue };
        let dealt = (0..DEALS).filter_map(|_| {
            shuffle(&mut cells, &mut rng);
            agreement_of(&cells, &sizes, &effect)
        });
        let dealt: Vec<f64> = dealt.collect();
        agreement.push(GuideAgreement {
            perturbation: data.perturbations[label as usize].clone(),
            guides: of.iter().map(|(name, cells)| (name.clone(), cells.len())).collect(),
            pearson: measured,
            at_random: dealt.iter().sum::<f64>() / dealt.len().max(1) as f64,
        });
    }
    Ok((!agreement.is_empty()).then_some(Guides { column, agreement }))
}

/// By the column's name; or its values are the perturbations with the number of a guide at their end.
fn names_guides(data: &Dataset, name: &str, column: &Column) -> bool {
    let (name, text) = (name.to_lowercase(), matches!(column, Column::Categorical { .. } | Column::Text(_)));
    if text && COLUMNS.iter().any(|part| name.contains(part)) {
        return true;
    }
    let numbered = |(cell, value): (usize, Option<String>)| {
        let of = data.perturbation_of(cell);
        of.is_control() || value.is_some_and(|value| without_guide(&value) == of.to_string())
    };
    matches!(column, Column::Categorical { .. } | Column::Text(_))
        && column.to_text().into_iter().enumerate().all(numbered)
}

/// Name and cells of each guide.
type CellsOfGuides = Vec<(String, Vec<usize>)>;

/// The cells of every guide of perturbations with two guides or more, by label.
fn cells_of_guides(data: &Dataset, column: &Column) -> BTreeMap<u32, CellsOfGuides> {
    let mut all: BTreeMap<u32, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
    for (cell, name) in column.to_text().into_iter().enumerate() {
        if let Some(name) = name.filter(|_| !data.perturbation_of(cell).is_control()) {
            all.entry(data.labels[cell]).or_default().entry(name).or_default().push(cell);
        }
    }
    all.retain(|_, guides| guides.len() <= MOST_GUIDES);
    let large = |guides: BTreeMap<String, Vec<usize>>| -> CellsOfGuides {
        guides.into_iter().filter(|(_, cells)| cells.len() >= FEWEST_CELLS).collect()
    };
    all.into_iter().map(|(label, guides)| (label, large(guides))).filter(|(_, guides)| guides.len() > 1).collect()
}

/// The mean correlation of the effects of two guides, of which each has so many of these cells, in turn.
fn agreement_of(cells: &[usize], sizes: &[usize], effect: &impl Fn(&[usize]) -> Vec<f32>) -> Option<f64> {
    let mut rest = cells;
    let effects: Vec<Vec<f32>> = sizes
        .iter()
        .map(|&size| {
            let (own, others) = rest.split_at(size);
            rest = others;
            effect(own)
        })
        .collect();
    let pairs = (0..effects.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    let found: Vec<f64> = pairs.filter_map(|(a, b)| pearson(&effects[a], &effects[b])).collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
}
