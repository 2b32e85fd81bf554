//! Which scale profiles and cells are on, told by the control of the data: most genes do not change, so the mean of all predictions is
//! near the control profile on the right scale, and near another form of it on a wrong one.

use super::BenchmarkData;
use crate::{bench::BenchmarkCells, data::mean_expression};
use ndarray::{Array1, ArrayView1};
use std::f64::consts::{LOG2_E, LOG10_E};

/// A prediction on another scale is nearer to that form of the control than this share of its distance to the control itself.
const NEARER: f64 = 0.5;
/// And within this relative distance of it.
const NEAR: f64 = 0.3;

/// What the scale looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// As the data, or not to be told.
    Right,
    /// All values are this many times those of the data: another base of the logarithm.
    Times(f64, &'static str),
    /// The log1p of mean counts, larger than the mean of log1p.
    LogOfMeans,
}

/// The cells of the data and those of control, where expression is a logarithm.
fn controls(data: &BenchmarkData) -> Option<(&BenchmarkCells, Vec<usize>)> {
    let BenchmarkData::Cells(cells) = data else { return None };
    let cells = cells.as_ref();
    let rows = cells.data.control_cells();
    (cells.data.expression.is_logarithm() && !rows.is_empty()).then_some((cells, rows))
}

fn at(all: &Array1<f32>, genes: &[usize]) -> Array1<f32> {
    genes.iter().map(|&gene| all[gene]).collect()
}

/// Whether the mean of all predictions is about the control profile: then they are no effects.
pub(super) fn is_control(mean: ArrayView1<'_, f32>, data: &BenchmarkData, genes: &[usize]) -> bool {
    let near = |(cells, rows): (&BenchmarkCells, Vec<usize>)| {
        distance(mean, &at(&mean_expression(&cells.expression, &rows), genes), 1.0) < NEAR
    };
    controls(data).is_some_and(near)
}

/// Compares the mean of all predictions `(genes,)` with the control of the data at `genes`; `None` for data without control cells or
/// logarithms.
pub(super) fn scale_of(mean: ArrayView1<'_, f32>, data: &BenchmarkData, genes: &[usize]) -> Option<Scale> {
    let (cells, rows) = controls(data)?;
    let control = at(&mean_expression(&cells.expression, &rows), genes);
    let right = distance(mean, &control, 1.0);
    let times = |factor: f64, name| (Scale::Times(factor, name), distance(mean, &control, factor));
    let mut others = vec![times(LOG2_E, "log2"), times(LOG10_E, "log10")];
    if cells.data.expression.is_counts() {
        let counts = cells.expression.select_cells(&rows).map_values(f32::exp_m1);
        let all: Vec<usize> = (0..rows.len()).collect();
        let of_means = at(&mean_expression(&counts, &all), genes).mapv(f32::ln_1p);
        others.push((Scale::LogOfMeans, distance(mean, &of_means, 1.0)));
    }
    let nearest = others.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    Some(nearest.filter(|(_, d)| *d < NEAR && *d < NEARER * right).map_or(Scale::Right, |(scale, _)| scale))
}

/// `|mean - factor x control| / |factor x control|`.
fn distance(mean: ArrayView1<'_, f32>, control: &Array1<f32>, factor: f64) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (&value, &control) in mean.iter().zip(control) {
        let wanted = factor * f64::from(control);
        difference += (f64::from(value) - wanted).powi(2);
        norm += wanted.powi(2);
    }
    if norm > 0.0 { (difference / norm).sqrt() } else { f64::INFINITY }
}
