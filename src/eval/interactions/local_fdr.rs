//! Efron's local false discovery rate with an empirical null: which departures from additivity are more than noise?
//!
//! ```text
//! fdr(z) = p0 f0(z) / f(z),   f0 = Normal(delta, sigma^2)
//! ```
//!
//! f is the density of all values ([`super::density`]: 119 bins over their range, natural spline with 7 degrees of
//! freedom), and delta, sigma and p0 come from the values around the centre by maximum likelihood (below): first
//! within `b` robust standard deviations (IQR / 1.349) of the median, then within `b sigma` of delta, with
//! `b = 4.3 exp(-0.26 log10 N)`, or 1 for more than 500,000 values. At the bins within one sigma of delta, and between it and
//! the outermost bins where the ratio is 1, fdr is 1; between the middles of bins it is a line, beyond the outer ones a constant.
//!
//! Sources: Efron, JASA 2004 and 2007; the settings are the defaults of R's `locfdr(nulltype = 1)`, which const-ae's double
//! perturbation task uses (Ahlmann-Eltze et al., Nature Methods 2025). Departures from `locfdr`: the likelihood is maximised
//! to convergence (there 35 damped steps, 1e-5), and no standard errors are given.
//!
//! **The empirical null** is the normal distribution that the centre of many values follows.
//! Values inside a window [a, b] around the centre are taken to be null. There, with delta and sigma of the null, they follow
//! a truncated normal, whose likelihood in the natural parameters `(delta / sigma^2, -1 / (2 sigma^2))` is concave: Newton's
//! method finds its one maximum. The share of nulls follows from the share of values inside:
//!
//! ```text
//! p0 = (N_inside / N) / (Phi((b - delta) / sigma) - Phi((a - delta) / sigma))
//! ```
//!
//! Source: Efron, JASA 2007 ("Correlation and large-scale simultaneous significance testing"), section 4, maximum
//! likelihood; `locmle` of R's locfdr maximises the same likelihood with a damped iteration.

use super::density::Density;
use crate::{Error, ErrorKind, Result, eval::normal_cdf};

const MAX_ITERATIONS: usize = 200;
/// A step of the parameters, in units of the window, below which they have settled.
const TOLERANCE: f64 = 1e-12;
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

/// Mean, standard deviation and share of the null.
#[derive(Debug, Clone, Copy)]
struct Null {
    pub delta: f64,
    pub sigma: f64,
    pub p0: f64,
}

/// Fits the null to the values within `half_width` of `center`. `None` if they do not look like the top of a normal: the
/// likelihood then has no maximum.
fn fit_null(values: &[f64], center: f64, half_width: f64) -> Option<Null> {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for &value in values {
        let u = (value - center) / half_width;
        if u.abs() <= 1.0 {
            n += 1.0;
            sum += u;
            squares += u * u;
        }
    }
    if n < 3.0 {
        return None;
    }
    let (mean, square) = (sum / n, squares / n);
    // In units of the window the density is exp(b1 u + b2 u^2) / Z on [-1, 1].
    let (mut b1, mut b2) = (0.0, -1.0);
    let mut now = log_likelihood(b1, b2, mean, square)?;
    for _ in 0..MAX_ITERATIONS {
        let m = moments(b1, b2)?;
        let (v11, v12, v22) = (m[1] - m[0] * m[0], m[2] - m[0] * m[1], m[3] - m[1] * m[1]);
        let det = v11 * v22 - v12 * v12;
        if det.is_nan() || det <= 0.0 {
            return None;
        }
        let (g1, g2) = (mean - m[0], square - m[1]);
        let (d1, d2) = ((v22 * g1 - v12 * g2) / det, (v11 * g2 - v12 * g1) / det);
        // Half the step until the likelihood rises and the parabola opens downwards.
        let mut step = 1.0;
        let next = loop {
            let candidate = (b1 + step * d1, b2 + step * d2);
            if candidate.1 < 0.0
                && let Some(value) = log_likelihood(candidate.0, candidate.1, mean, square)
                && value >= now - 1e-14 * now.abs()
            {
                break Some((candidate, value));
            }
            step /= 2.0;
            if step < 1e-10 {
                break None;
            }
        };
        let Some(((next1, next2), value)) = next else { break };
        let moved = (next1 - b1).abs().max((next2 - b2).abs());
        (b1, b2, now) = (next1, next2, value);
        if moved <= TOLERANCE * (1.0 + b1.abs().max(b2.abs())) {
            break;
        }
    }
    // A parabola that is all but flat is no top of a normal: sigma would be many windows wide.
    if b2 > -1e-6 {
        return None;
    }
    let (d, s) = natural(b1, b2);
    let inside = normal_cdf((1.0 - d) / s) - normal_cdf((-1.0 - d) / s);
    Some(Null { delta: center + half_width * d, sigma: half_width * s, p0: n / values.len() as f64 / inside })
}

fn natural(b1: f64, b2: f64) -> (f64, f64) {
    (-b1 / (2.0 * b2), (-2.0 * b2).sqrt().recip())
}

/// Mean log-likelihood of a value, given the means of u and u^2.
fn log_likelihood(b1: f64, b2: f64, mean: f64, square: f64) -> Option<f64> {
    let (d, s) = natural(b1, b2);
    let inside = normal_cdf((1.0 - d) / s) - normal_cdf((-1.0 - d) / s);
    let log_z = d * d / (2.0 * s * s) + s.ln() + inside.ln();
    let value = b1 * mean + b2 * square - log_z;
    value.is_finite().then_some(value)
}

/// E u, E u^2, E u^3, E u^4 of the truncated normal on [-1, 1].
fn moments(b1: f64, b2: f64) -> Option<[f64; 4]> {
    let (d, s) = natural(b1, b2);
    let (a, b) = ((-1.0 - d) / s, (1.0 - d) / s);
    let phi = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let (fa, fb) = (phi(a), phi(b));
    let h0 = normal_cdf(b) - normal_cdf(a);
    if h0.is_nan() || h0 <= 1e-300 {
        return None;
    }
    // Standard moments by parts: H_k = (k - 1) H_(k-2) + a^(k-1) phi(a) - b^(k-1) phi(b).
    let h1 = (fa - fb) / h0;
    let h2 = 1.0 + (a * fa - b * fb) / h0;
    let h3 = 2.0 * h1 + (a * a * fa - b * b * fb) / h0;
    let h4 = 3.0 * h2 + (a.powi(3) * fa - b.powi(3) * fb) / h0;
    Some([
        d + s * h1,
        d * d + 2.0 * d * s * h1 + s * s * h2,
        d.powi(3) + 3.0 * d * d * s * h1 + 3.0 * d * s * s * h2 + s.powi(3) * h3,
        d.powi(4) + 4.0 * d.powi(3) * s * h1 + 6.0 * d * d * s * s * h2 + 4.0 * d * s.powi(3) * h3 + s.powi(4) * h4,
    ])
}
