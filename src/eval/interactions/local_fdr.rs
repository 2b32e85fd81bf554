//! Efron's local false discovery rate with an empirical null: which departures from additivity are no noise?
//!
//! ```text
//! fdr(z) = p0 f0(z) / f(z),   f0 = Normal(delta, sigma^2)
//! ```
//!
//! f is the density of all values ([`super::density`]: 119 bins over their range, natural spline with 7 degrees of
//! freedom), and delta, sigma and p0 come from the values around the centre by maximum likelihood ([`super::null`]): first
//! within `b` robust standard deviations (IQR / 1.349) of the median, then within `b sigma` of delta, with
//! `b = 4.3 exp(-0.26 log10 N)`, or 1 for more than 500,000 values. At the bins within one sigma of delta, and between it and
//! the outermost bins where the ratio is 1, fdr is 1; between the middles of bins it is a line, beyond the outer ones a constant.
//!
//! Sources: Efron, JASA 2004 and 2007; the settings are the defaults of R's `locfdr(nulltype = 1)`, which const-ae's double
//! perturbation task uses (Ahlmann-Eltze et al., Nature Methods 2025). Departures from `locfdr`: the likelihood is maximised
//! to convergence (there 35 damped steps, 1e-5), and no standard errors are given.

use super::{
    density::Density,
    null::{Null, fit_null},
};
use crate::{Error, ErrorKind, Result};

/// Bins of the histogram; locfdr's 120 breaks.
const BINS: usize = 119;
/// Degrees of freedom of the spline; locfdr's default.
const DF: usize = 7;
/// locfdr is meant for at least that many values.
const MIN_VALUES: usize = 200;
/// Above that many values locfdr takes the wider window.
const MANY_VALUES: usize = 500_000;
/// Quartiles of a normal are that many standard deviations apart: 2 Phi^-1(0.75).
const IQR_OF_NORMAL: f64 = 1.348_979_500_392_163_4;

/// The local false discovery rate as a function, with the null behind it.
#[derive(Debug, Clone)]
pub struct LocalFdr {
    /// Mean of the null.
    pub delta: f64,
    /// Standard deviation of the null.
    pub sigma: f64,
    /// Share of the values that are null.
    pub p0: f64,
    /// Middles of the bins, ascending.
    pub x: Vec<f64>,
    /// Local false discovery rate at each middle.
    pub fdr: Vec<f64>,
    /// Expected number of values in each bin under the smooth density of all values.
    pub fitted: Vec<f64>,
    /// How badly the smooth density fits the histogram; about 1 is good, locfdr warns above 1.5.
    pub misfit: f64,
}

/// From where on a departure counts as an interaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Departures below it are suppressive; `None` if no negative value reaches the level.
    pub lower: Option<f64>,
    /// Departures above it are synergistic; `None` if no positive value reaches the level.
    pub upper: Option<f64>,
}

/// What a gene does in a double: const-ae's three classes of the departure `AB - (A + B - control)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneInteraction {
    /// Higher than the sum of the singles, beyond the upper threshold.
    Synergy,
    /// Lower than the sum of the singles, beyond the lower threshold. const-ae's word; it is about the sign of the departure,
    /// so a gene that the singles lower and the double lowers further is called suppressive too.
    Suppressive,
    /// Neither.
    Additive,
}

impl LocalFdr {
    /// Fits to `values`, one a gene and double.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`] if there are fewer than 200 values, or if their centre is no normal.
    pub fn fit(values: &[f32]) -> Result<Self> {
        let refuse = |why: &str| Err(Error::inapplicable(format!("local false discovery rate: {why}")));
        if values.len() < MIN_VALUES {
            return refuse(&format!("{} values; {MIN_VALUES} are needed", values.len()));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::new(ErrorKind::Numeric, "local false discovery rate: a value is not finite"));
        }
        let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let mut sorted = values.clone();
        let [q1, median, q3] = [0.25, 0.5, 0.75].map(|p| quantile(&mut sorted, p));
        let scale = (q3 - q1) / IQR_OF_NORMAL;
        if scale <= 0.0 {
            return refuse("half of the values are equal, so there is no noise to compare with");
        }
        let Some(density) = Density::fit(&values, BINS, DF) else {
            return refuse("the density of the values could not be fitted");
        };
        let n = values.len();
        let width = if n > MANY_VALUES { 1.0 } else { 4.3 * (-0.26 * (n as f64).log10()).exp() };
        let null = fit_null(&values, median, width * scale)
            .and_then(|first| fit_null(&values, first.delta, width * first.sigma));
        let Some(null) = null else {
            return refuse("the middle of the values does not look normal");
        };
        Ok(Self {
            fdr: curve(&density, null),
            misfit: density.misfit(),
            fitted: density.fitted,
            x: density.x,
            delta: null.delta,
            sigma: null.sigma,
            p0: null.p0,
        })
    }

    /// The local false discovery rate of a value.
    pub fn at(&self, value: f64) -> f64 {
        let (first, last) = (self.x[0], self.x[self.x.len() - 1]);
        let place = (value - first) / (last - first) * (self.x.len() - 1) as f64;
        let bin = place.floor().clamp(0.0, (self.x.len() - 2) as f64);
        let share = (place - bin).clamp(0.0, 1.0);
        let bin = bin as usize;
        self.fdr[bin] * (1.0 - share) + self.fdr[bin + 1] * share
    }

    /// The positive and the negative value whose local false discovery rate is nearest to `level` (const-ae: 0.05); of
    /// equally near ones that of smallest size. A side none of whose values comes down to `level` has no threshold: const-ae
    /// would take the nearest value all the same, and with it call interactions that the model holds for noise.
    pub fn thresholds(&self, values: &[f32], level: f64) -> Thresholds {
        let side = |sign: f64| {
            let mut best: Option<(f64, f64)> = None;
            let mut reached = false;
            for size in values.iter().map(|&value| sign * f64::from(value)).filter(|size| *size > 0.0) {
                let fdr = self.at(sign * size);
                reached |= fdr <= level;
                let distance = (fdr - level).abs();
                if best.is_none_or(|(d, s)| distance < d || distance == d && size < s) {
                    best = Some((distance, size));
                }
            }
            best.filter(|_| reached).map(|(_, size)| sign * size)
        };
        Thresholds { lower: side(-1.0), upper: side(1.0) }
    }
}

impl Thresholds {
    /// The class of a departure.
    pub fn class(&self, departure: f64) -> GeneInteraction {
        if self.upper.is_some_and(|upper| departure > upper) {
            GeneInteraction::Synergy
        } else if self.lower.is_some_and(|lower| departure < lower) {
            GeneInteraction::Suppressive
        } else {
            GeneInteraction::Additive
        }
    }
}

/// fdr at the middles of the bins.
fn curve(density: &Density, null: Null) -> Vec<f64> {
    let Density { x, fitted, .. } = density;
    let total: f64 = fitted.iter().sum();
    let normal: Vec<f64> = x.iter().map(|x| (-0.5 * ((x - null.delta) / null.sigma).powi(2)).exp()).collect();
    let normal_total: f64 = normal.iter().sum();
    let mut fdr: Vec<f64> =
        normal.iter().zip(fitted).map(|(f0, f)| (null.p0 * f0 * total / normal_total / f).min(1.0)).collect();
    let ones = |inside: &dyn Fn(f64) -> bool| -> Vec<f64> {
        x.iter().zip(&fdr).filter(|&(&x, &fdr)| fdr == 1.0 && inside(x)).map(|(&x, _)| x).collect()
    };
    let left = ones(&|x| x <= null.delta).first().copied().unwrap_or(null.delta);
    let right = ones(&|x| x >= null.delta).last().copied().unwrap_or(null.delta);
    for (x, fdr) in x.iter().zip(&mut fdr) {
        if (left..=right).contains(x) || (x - null.delta).abs() <= null.sigma {
            *fdr = 1.0;
        }
    }
    fdr
}

/// Quantile with linear interpolation (R's type 7); reorders `values`.
fn quantile(values: &mut [f64], p: f64) -> f64 {
    let place = p * (values.len() - 1) as f64;
    let (lower, share) = (place.floor() as usize, place.fract());
    let (_, &mut at, above) = values.select_nth_unstable_by(lower, f64::total_cmp);
    let next = above.iter().copied().fold(f64::INFINITY, f64::min);
    if share > 0.0 { at + share * (next - at) } else { at }
}
