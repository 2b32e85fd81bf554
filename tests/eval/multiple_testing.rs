//! p-values and their adjustment, by hand.

use genailab::eval::{benjamini_hochberg, normal_two_sided};

#[test]
fn p_values_of_known_quantiles() {
    for (z, p) in [(0.0, 1.0), (1.959_963_984_540_054, 0.05), (-2.575_829_303_548_901, 0.01), (8.0, 1.244_192e-15)] {
        let got = normal_two_sided(z);
        assert!((got / p - 1.0).abs() < 1e-6, "z = {z}: {got}, expected {p}");
    }
    assert_eq!(normal_two_sided(f64::NAN), 1.0);
}

#[test]
fn adjusted_by_hand() {
    // m = 4: 0.01 * 4/1 = 0.04, 0.04 * 4/3 = 0.0533 caps 0.03 * 4/2 = 0.06, 0.5 * 4/4 = 0.5.
    let adjusted = benjamini_hochberg(&[0.5, 0.01, 0.03, 0.04]);
    for (got, expected) in adjusted.iter().zip([0.5, 0.04, 0.16 / 3.0, 0.16 / 3.0]) {
        assert!((got - expected).abs() < 1e-12, "{adjusted:?}");
    }
    assert!(benjamini_hochberg(&[]).is_empty());
    assert_eq!(benjamini_hochberg(&[f64::NAN, 0.01]), [1.0, 0.02]);
}
