//! What is left of `ln Gamma` and digamma beside Stirling's leading terms, without branches, for z > 0.
//!
//! `binet(z) = ln Gamma(z) - (z - 1/2) ln z + z - ln(2 pi) / 2` and `digamma_rest(z) = digamma(z) - ln z`, by their
//! asymptotic series from z = 4 on (DLMF 5.11.1, 5.11.2); below, the recurrence `Gamma(z + 4) = z (z + 1) (z + 2) (z +
//! 3) Gamma(z)` leads there. Errors in f32 for z in [1e-6, 1e9]: binet 3e-6 absolute, z times `digamma_rest` 1e-6
//! absolute.

use super::vmath::ln;

/// From here on the series alone is used: the first term left out is below 1e-8.
const SERIES_FROM: f32 = 4.0;

/// See the module's documentation.
#[inline(always)]
pub(super) fn binet(z: f32) -> f32 {
    let up = z + 4.0;
    let is_small = z < SERIES_FROM;
    let v = 1.0 / if is_small { up } else { z };
    let v2 = v * v;
    let series = v * (1.0 / 12.0 + v2 * (-1.0 / 360.0 + v2 * (1.0 / 1260.0 - v2 * (1.0 / 1680.0))));
    // ln Gamma(z + 4) - ln Gamma(z), less the change of the leading terms
    let small = z.min(SERIES_FROM);
    let up = small + 4.0;
    let product = (small + 1.0) * (small + 2.0) * (small + 3.0);
    let shift = (small + 3.5) * ln(up) - (small + 0.5) * ln(small) - 4.0 - ln(product);
    series + if is_small { shift } else { 0.0 }
}

/// See the module's documentation.
#[inline(always)]
pub(super) fn digamma_rest(z: f32) -> f32 {
    let is_small = z < SERIES_FROM;
    let v = 1.0 / if is_small { z + 4.0 } else { z };
    let v2 = v * v;
    let series = v * -0.5 + v2 * (-1.0 / 12.0 + v2 * (1.0 / 120.0 + v2 * (-1.0 / 252.0 + v2 * (1.0 / 240.0))));
    // digamma(z) = digamma(z + 4) - 1/z - 1/(z + 1) - 1/(z + 2) - 1/(z + 3), the fractions joined in pairs
    let small = z.min(SERIES_FROM);
    let q = small * (small + 3.0);
    let shift = ln((small + 4.0) / small) - (2.0 * small + 3.0) * (2.0 * q + 2.0) / (q * (q + 2.0));
    series + if is_small { shift } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::function::gamma::{digamma, ln_gamma};

    #[test]
    fn errors_against_f64() {
        for i in 0..=30_000 {
            let z = 10f32.powf(-6.0 + 15.0 * i as f32 / 30_000.0);
            let exact = f64::from(z);
            // Beyond 1e4 the leading terms cancel to nothing in f64 too, and the first terms of the series are exact.
            let (want, want_rest) = if exact > 1e4 {
                (1.0 / (12.0 * exact), -0.5 / exact - 1.0 / (12.0 * exact * exact))
            } else {
                let stirling = (exact - 0.5) * exact.ln() - exact + 0.5 * std::f64::consts::TAU.ln();
                (ln_gamma(exact) - stirling, digamma(exact) - exact.ln())
            };
            assert!((f64::from(binet(z)) - want).abs() < 3e-6, "binet({z}) = {}, not {want}", binet(z));
            let error = (f64::from(digamma_rest(z)) - want_rest).abs() * exact;
            assert!(error < 1e-6, "digamma_rest({z}) = {}, not {want_rest}", digamma_rest(z));
        }
        assert!(binet(f32::NAN).is_nan() && digamma_rest(f32::NAN).is_nan());
    }

    #[test]
    fn pytorch_agrees() {
        let all: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/reference/nn.json")).expect("the reference file is JSON");
        let column = |name: &str| -> Vec<f64> {
            serde_json::from_value(all["lgamma_digamma"][name].clone()).expect("a list of numbers")
        };
        for ((z, lgamma), digamma) in column("z").into_iter().zip(column("lgamma")).zip(column("digamma")) {
            let stirling = (z - 0.5) * z.ln() - z + 0.5 * std::f64::consts::TAU.ln();
            let error = (f64::from(binet(z as f32)) + stirling - lgamma).abs();
            assert!(error < 3e-6 + 1e-14 * lgamma.abs(), "ln Gamma({z}) is off by {error:e}");
            let error = (f64::from(digamma_rest(z as f32)) + z.ln() - digamma).abs();
            assert!(error < 2e-7 * (1.0 + digamma.abs()), "digamma({z}) is off by {error:e}");
        }
    }
}
