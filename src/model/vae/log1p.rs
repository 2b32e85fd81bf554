//! The expectation of log-normalised expression under a negative binomial, `E[ln(1 + s x)]`, and its derivative by the mean.
//!
//! Where few counts carry all the probability, they are summed. Elsewhere the sum has too many terms (a mean of 10^5 with
//! `theta` 0.5 needs more than 10^6), and the identity `ln(1 + a) = int_0^inf (1 - e^(-a t)) e^(-t) / t dt` turns it into one
//! integral over the Laplace transform of the counts, which is known in closed form:
//!
//! ```text
//! E[ln(1 + s x)] = int (1 - M(s e^y)) exp(-e^y) dy,   M(u) = (1 + m / theta (1 - e^(-u)))^(-theta)
//! ```
//!
//! The integrand is analytic for `|Im y| < pi / 2` and falls off on both sides, so the trapezoidal rule with step h is off by
//! about `e^(-pi^2 / h)` (Trefethen and Weideman 2014, theorem 5.1): 10^-10 at h = 0.42, for any mean and `theta`.

/// Step of the trapezoidal rule in `y = ln t`.
const STEP: f64 = 0.42;
/// From here on `exp(-e^y)` is below 10^-17.
const LAST: f64 = 3.7;
/// `s m e^y` at the first point: what lies before it adds as much.
const FIRST: f64 = 1e-11;
/// A sum may have about this many terms; with more the integral is both faster and more precise.
const MOST_TERMS: f64 = 2000.0;

/// `ln(1 + scale x)` for counts x: those of small counts are looked up.
pub(in crate::model) struct Log1p {
    scale: f64,
    small: [f64; Self::SMALL],
}

impl Log1p {
    // Looked up, as the logarithm costs more than the rest of a term; a cell makes the table once for all of its genes.
    const SMALL: usize = 64;

    /// With the scale of a cell's normalisation.
    pub fn new(scale: f64) -> Self {
        Self { scale, small: std::array::from_fn(|x| (scale * x as f64).ln_1p()) }
    }

    fn of(&self, x: usize) -> f64 {
        self.small.get(x).copied().unwrap_or_else(|| (self.scale * x as f64).ln_1p())
    }

    /// `E[ln(1 + scale x)]` of x ~ NB(mean, theta), to 1e-6 for means up to 1e8, and its derivative by the mean.
    pub fn expected(&self, mean: f64, theta: f64) -> (f64, f64) {
        const SMALLEST_LOG: f64 = -600.0;
        if mean <= 0.0 {
            return (0.0, self.scale.ln_1p());
        }
        let log_zero = -theta * (mean / theta).ln_1p();
        let deviation = (mean + mean * mean / theta).sqrt();
        // Beyond this the tail holds less than 1e-7: that of a normal where theta is large, exponential where it is small.
        let terms = mean + 6.0 * deviation + 17.0 * mean / theta;
        if log_zero < SMALLEST_LOG || !log_zero.is_finite() || terms > MOST_TERMS {
            return self.integral(mean, theta);
        }
        self.sum(mean, theta, log_zero)
    }

    /// Summed over x by the recursion `p(x + 1) = p(x) (x + theta) / (x + 1) * mean / (mean + theta)`, to about 1e-7 of
    /// probability. The derivative of the expectation of f by the mean is `Cov(f, x) / Var x`.
    fn sum(&self, mean: f64, theta: f64, log_zero: f64) -> (f64, f64) {
        const REST: f64 = 1e-7;
        let variance = mean + mean * mean / theta;
        let ratio = mean / (mean + theta);
        let (mut p, mut below, mut sum, mut with_x) = (log_zero.exp(), 0.0, 0.0, 0.0);
        for x in 0..10 * MOST_TERMS as usize {
            let at = x as f64;
            below += p;
            let value = p * self.of(x);
            sum += value;
            with_x += value * at;
            if 1.0 - below < REST && at > mean {
                break;
            }
            p *= (at + theta) / (at + 1.0) * ratio;
        }
        (sum, (with_x - mean * sum) / variance)
    }

    /// The integral over the Laplace transform, and that of its derivative by the mean.
    fn integral(&self, mean: f64, theta: f64) -> (f64, f64) {
        // Of a theta beyond this the counts are Poisson.
        const POISSON: f64 = 1e15;
        let first = (FIRST / (self.scale * mean)).ln();
        let points = ((LAST - first) / STEP).ceil().max(1.0) as usize;
        let (mut value, mut slope) = (0.0, 0.0);
        for point in 0..=points {
            let t = (LAST - STEP * point as f64).exp();
            let weight = (-t).exp();
            let q = -(-self.scale * t).exp_m1();
            let (log_m, log_slope) = match theta < POISSON {
                true => {
                    let log = (mean / theta * q).ln_1p();
                    (-theta * log, -(theta + 1.0) * log)
                }
                false => (-mean * q, -mean * q),
            };
            value -= weight * log_m.exp_m1();
            slope += weight * q * log_slope.exp();
        }
        (STEP * value, STEP * slope)
    }
}

#[cfg(test)]
mod tests {
    use super::Log1p;

    /// The sum with as many terms as it takes, probabilities from the recursion started at the mode in logarithms.
    fn plain(scale: f64, mean: f64, theta: f64) -> f64 {
        let most = (mean + 12.0 * (mean + mean * mean / theta).sqrt() + 40.0 * mean / theta) as usize;
        let ratio = (mean / (mean + theta)).ln();
        let mut log_p = -theta * (mean / theta).ln_1p();
        let mut sum = 0.0;
        for x in 0..most {
            sum += log_p.exp() * (scale * x as f64).ln_1p();
            log_p += ((x as f64 + theta) / (x as f64 + 1.0)).ln() + ratio;
        }
        sum
    }

    #[test]
    fn it_is_the_plain_sum() {
        for (scale, mean, theta) in [
            (1.0, 0.3, 0.5),
            (2.5, 12.0, 3.0),
            (0.7, 400.0, 0.4),
            (1.0, 900.0, 1e6),
            (0.1, 5e3, 80.0),
            (1.0, 1e5, 0.5),
            (1e-3, 2e5, 10.0),
            (10.0, 3e4, 1e3),
        ] {
            let (value, _) = Log1p::new(scale).expected(mean, theta);
            let wanted = plain(scale, mean, theta);
            assert!((value - wanted).abs() < 1e-6, "{scale} {mean} {theta}: {value}, {wanted}");
        }
    }

    #[test]
    fn it_is_what_scipy_integrates() {
        let text = include_str!("../../../tests/reference/expected_log1p.json");
        let cases: Vec<[f64; 4]> = serde_json::from_str(text).expect("the reference is JSON");
        assert!(cases.len() >= 12 && cases.iter().any(|[_, mean, ..]| *mean >= 1e8));
        for [scale, mean, theta, wanted] in cases {
            let (value, _) = Log1p::new(scale).expected(mean, theta);
            assert!((value - wanted).abs() < 1e-6, "{scale} {mean} {theta}: {value}, scipy {wanted}");
        }
    }

    #[test]
    fn the_derivative_is_that_of_the_value() {
        for (scale, mean, theta) in [(1.0, 5.0, 2.0), (1.0, 1e4, 0.5), (0.3, 900.0, 1e7), (2.0, 1e6, f64::INFINITY)] {
            let log1p = Log1p::new(scale);
            let h = 1e-4 * mean;
            let (above, below) = (log1p.expected(mean + h, theta).0, log1p.expected(mean - h, theta).0);
            let (wanted, slope) = ((above - below) / (2.0 * h), log1p.expected(mean, theta).1);
            assert!((slope - wanted).abs() < 1e-4 * wanted.abs(), "{scale} {mean} {theta}: {slope}, {wanted}");
        }
    }
}
