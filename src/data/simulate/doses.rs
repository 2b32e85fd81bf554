//! Perturbations at several doses with known curves.
//!
//! Perturbation p at dose d has the log-effect `s_p(d) e_p`, with the Hill curve `s_p(d) = H(d) / H(D)`,
//! `H(d) = d^h_p / (d^h_p + k_p^h_p)` and D the largest dose: `e_p` is the effect at D. k is log-uniform over the middle of the range
//! of doses, h log-uniform. The names of a combination have one dose, and its effect the geometric mean of their curves.

use super::super::{Perturbation, Uns, dose::with_dose};
use super::{
    InteractionClass,
    truth::{KEY, array, texts},
};
use crate::{Error, Result};
use ndarray::{Array1, Array2};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// Slopes, log-uniform in this range.
const SLOPES: Range<f64> = 0.8..2.5;
/// The part of the range of log doses that k is drawn from.
const MIDDLE: Range<f64> = 0.15..0.85;
/// Where k is drawn from if there is one dose only, relative to it.
const AROUND_ONE_DOSE: f64 = 3.0;

/// The true dose-response curve of a perturbed name.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueDoseCurve {
    /// The name without a dose.
    pub name: String,
    /// k, in the unit of the doses.
    pub half_dose: f64,
    /// h.
    pub slope: f64,
}

impl TrueDoseCurve {
    /// `s(dose)`, which is 1 at `largest`.
    pub fn at(&self, dose: f64, largest: f64) -> f64 {
        let hill = |d: f64| d.powf(self.slope) / (d.powf(self.slope) + self.half_dose.powf(self.slope));
        hill(dose) / hill(largest)
    }
}

/// A perturbation, its log-effect and its class.
pub(super) type Row = (Perturbation, Array1<f64>, Option<InteractionClass>);

/// Refuses doses that are none.
pub(super) fn check(doses: &[f64]) -> Result<()> {
    match doses.iter().find(|dose| !dose.is_finite() || **dose <= 0.0) {
        Some(dose) => {
            Err(Error::config(format!("a dose is {dose}; each must be a number above 0 (control is simulated anyway)")))
        }
        None => Ok(()),
    }
}

/// Draws a curve for each single among `rows`.
pub(super) fn draw(rows: &[Row], doses: &[f64], rng: &mut ChaCha8Rng) -> Vec<TrueDoseCurve> {
    let (low, high) = doses.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &d| (low.min(d), high.max(d)));
    let (low, high) = if low < high { (low, high) } else { (low / AROUND_ONE_DOSE, high * AROUND_ONE_DOSE) };
    let singles = rows.iter().filter_map(|(perturbation, ..)| match perturbation.genes() {
        [name] => Some(name.clone()),
        _ => None,
    });
    singles
        .map(|name| {
            let place = rng.random_range(MIDDLE);
            let half_dose = (low.ln() + place * (high / low).ln()).exp();
            let slope = rng.random_range(SLOPES.start.ln()..SLOPES.end.ln()).exp();
            TrueDoseCurve { name, half_dose, slope }
        })
        .collect()
}

/// Each perturbation at each dose.
pub(super) fn at_each(rows: Vec<Row>, doses: &[f64], curves: &[TrueDoseCurve]) -> Vec<Row> {
    let largest = doses.iter().copied().fold(0.0, f64::max);
    let mut doses = doses.to_vec();
    doses.sort_by(f64::total_cmp);
    doses.dedup();
    let mut all = Vec::with_capacity(rows.len() * doses.len());
    for (perturbation, effect, class) in rows {
        if perturbation.is_control() {
            all.push((perturbation, effect, class));
            continue;
        }
        let of: Vec<&TrueDoseCurve> =
            curves.iter().filter(|curve| perturbation.genes().contains(&curve.name)).collect();
        for &dose in &doses {
            let logs: f64 = of.iter().map(|curve| curve.at(dose, largest).ln()).sum();
            let scale = (logs / of.len().max(1) as f64).exp();
            let named = Perturbation::of(perturbation.genes().iter().map(|name| with_dose(name, dose)));
            all.push((named, scale * &effect, class));
        }
    }
    all
}

/// As entries of `uns["truth"]`: `dose_names`, and `dose_curves` with a row (k, h) each.
pub(super) fn to_uns(curves: &[TrueDoseCurve]) -> Vec<(&'static str, Uns)> {
    if curves.is_empty() {
        return Vec::new();
    }
    let values = Array2::from_shape_fn((curves.len(), 2), |(row, column)| {
        (if column == 0 { curves[row].half_dose } else { curves[row].slope }) as f32
    });
    let names = curves.iter().map(|curve| curve.name.clone()).collect();
    vec![("dose_names", Uns::Texts(names)), ("dose_curves", Uns::from(values))]
}

/// Reads what [`to_uns`] wrote.
pub(super) fn from_uns(entries: &Uns) -> Result<Vec<TrueDoseCurve>> {
    if entries.get("dose_names").is_none() {
        return Ok(Vec::new());
    }
    let (names, values): (_, Array2<f32>) = (texts(entries, KEY, "dose_names")?, array(entries, KEY, "dose_curves")?);
    if values.dim() != (names.len(), 2) {
        return Err(Error::data(format!(
            "uns[\"{KEY}\"] is damaged: dose_curves {:?} for {} names",
            values.dim(),
            names.len()
        )));
    }
    let curve = |(name, row): (&String, ndarray::ArrayView1<'_, f32>)| TrueDoseCurve {
        name: name.clone(),
        half_dose: row[0].into(),
        slope: row[1].into(),
    };
    Ok(names.iter().zip(values.rows()).map(curve).collect())
}
