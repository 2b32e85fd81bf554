//! From a z or t score to a p-value, and from many p-values to those that survive.

/// Two-sided p-value of a standard normal z score: `2 (1 - Phi(|z|)) = erfc(|z| / sqrt 2)`; 1 for NaN.
///
/// The complementary error function keeps its relative precision far into the tail (|z| up to about 38).
pub fn normal_two_sided(z: f64) -> f64 {
    if z.is_nan() { 1.0 } else { libm::erfc(z.abs() / std::f64::consts::SQRT_2) }
}

/// Distribution function of the standard normal, `Phi(z) = erfc(-z / sqrt 2) / 2`, precise in the lower tail.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

/// Two-sided p-value of Student's t with `df` degrees of freedom: `I_x(df / 2, 1 / 2)`, `x = df / (df + t^2)`, with I the
/// regularised incomplete beta function; 1 where t or df is NaN.
pub fn student_two_sided(t: f64, df: f64) -> f64 {
    let squared = t * t;
    if t.is_nan() || df.is_nan() || squared == 0.0 {
        return 1.0;
    }
    if squared.is_infinite() {
        return 0.0;
    }
    let (a, b) = (df / 2.0, 0.5);
    let (x, rest) = (df / (df + squared), squared / (df + squared));
    // x^a (1 - x)^b / B(a, b), with ln x taken where it does not cancel.
    let log_front =
        -a * (squared / df).ln_1p() + b * rest.ln() + libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b);
    let p = if x < (a + 1.0) / (a + b + 2.0) {
        log_front.exp() * beta_fraction(a, b, x) / a
    } else {
        1.0 - log_front.exp() * beta_fraction(b, a, rest) / b
    };
    p.clamp(0.0, 1.0)
}

/// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's method. It
/// converges for `x < (a + 1) / (a + b + 2)` in about sqrt(max(a, b)) steps.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const STEPS: usize = 100_000;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..STEPS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 4.0 * f64::EPSILON {
            break;
        }
    }
    fraction
}

/// Benjamini-Hochberg adjusted p-values, in the order given.
///
/// With the m p-values sorted ascending, `adjusted_(i) = min over j >= i of min(1, p_(j) m / j)`. Those below `q` form
/// a set with an expected share of false discoveries of at most `q` (Benjamini and Hochberg, JRSS B 1995).
/// NaN counts as 1.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let value = |i: usize| if p_values[i].is_nan() { 1.0 } else { p_values[i] };
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
    let m = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut smallest = 1.0_f64;
    for (place, &i) in order.iter().enumerate().rev() {
        // As statsmodels does it: p over the ECDF, so that the last bit agrees.
        smallest = smallest.min(value(i) / ((place + 1) as f64 / m));
        adjusted[i] = smallest;
    }
    adjusted
}
