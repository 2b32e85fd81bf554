//! A count under another mean, with the noise that it was measured with.
//!
//! A count x of NB(m, theta) stands at a quantile of it; x' is the count at the same quantile of NB(m', theta):
//! `x' = Q'(F(x - 1) + u p(x))` with u uniform on [0, 1). If x is drawn from NB(m, theta), x' is an exact draw from
//! NB(m', theta) (the randomised probability integral transform, Ruschendorf 2009), and where m' = m it is x itself. So what
//! a decoder does not know of a control cell (how genes vary together, what is no negative binomial) stays in the
//! predicted cell.

/// Smallest p(0) that the recursion starts from.
const SMALLEST: f64 = 1e-250;
/// Largest count that is looked for.
const MOST: usize = 20_000;
/// Largest probability that is looked for: beyond it rounding decides.
const LARGEST: f64 = 1.0 - 1e-9;

/// The count x of NB(from, theta) as one of NB(to, theta), by the uniform number u.
pub(super) fn transported(x: f64, from: f64, to: f64, theta: f64, u: f64) -> f64 {
    let zero = |mean: f64| (-theta * (mean / theta).ln_1p()).exp();
    let (start, end) = (zero(from), zero(to));
    let usable = |p: f64| p.is_finite() && p >= SMALLEST;
    if !usable(start) || !usable(end) || x >= MOST as f64 {
        // A mean this large is far above its spread: counts go with it.
        return if from > 0.0 { (x * to / from).round() } else { x };
    }
    let step = |p: f64, k: f64, mean: f64| p * (k + theta) / (k + 1.0) * mean / (mean + theta);
    let (mut p, mut below) = (start, 0.0);
    for k in 0..x as usize {
        below += p;
        p = step(p, k as f64, from);
    }
    let target = (below + u * p).min(LARGEST);
    let (mut p, mut below) = (end, end);
    for k in 0..MOST {
        if below > target {
            return k as f64;
        }
        p = step(p, k as f64, to);
        below += p;
    }
    MOST as f64
}

#[cfg(test)]
mod tests {
    use super::transported;

    #[test]
    fn the_same_mean_gives_the_same_count_and_a_larger_one_no_smaller_count() {
        for x in 0..40 {
            for u in [0.0, 0.3, 0.999] {
                let x = f64::from(x);
                assert_eq!(transported(x, 4.0, 4.0, 2.0, u), x);
                assert!(transported(x, 4.0, 7.0, 2.0, u) >= x);
                assert!(transported(x, 4.0, 1.0, 2.0, u) <= x);
            }
        }
        assert_eq!(transported(5000.0, 5000.0, 10_000.0, 1e6, 0.5), 10_000.0);
    }

    #[test]
    fn draws_of_one_negative_binomial_become_draws_of_the_other() {
        // All counts of NB(3, 2) by their probabilities, each at many quantiles: mean and variance are those of NB(8, 2).
        let (from, to, theta) = (3.0f64, 8.0f64, 2.0f64);
        let mut p = (-theta * (from / theta).ln_1p()).exp();
        let (mut mean, mut square) = (0.0, 0.0);
        for k in 0..200 {
            let x = f64::from(k);
            for i in 0..50 {
                let moved = transported(x, from, to, theta, (f64::from(i) + 0.5) / 50.0);
                mean += p / 50.0 * moved;
                square += p / 50.0 * moved * moved;
            }
            p *= (x + theta) / (x + 1.0) * from / (from + theta);
        }
        let variance = square - mean * mean;
        assert!((mean - to).abs() < 0.02, "mean {mean}, expected {to}");
        assert!((variance - (to + to * to / theta)).abs() < 0.6, "variance {variance}, expected 40");
    }
}
