//! The smooth density behind the local false discovery rate.

use genailab::eval::interactions::density::{natural_spline, poisson_fit};

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn splines_are_natural_and_orthonormal() {
    let columns = natural_spline(119, 7);
    assert_eq!(columns.len(), 8);
    for a in 0..8 {
        for b in 0..8 {
            let expected = f64::from(u8::from(a == b));
            assert!((dot(&columns[a], &columns[b]) - expected).abs() < 1e-12, "{a} {b}");
        }
    }
    // A straight line is in the span: what is left of it after projection is nothing.
    let line: Vec<f64> = (0..119).map(|i| 3.0 - 0.2 * f64::from(i)).collect();
    let mut left = line.clone();
    for column in &columns {
        let share = dot(column, &line);
        left.iter_mut().zip(column).for_each(|(value, c)| *value -= share * c);
    }
    assert!(left.iter().all(|value| value.abs() < 1e-10));
}

#[test]
fn an_exact_exponential_is_found() {
    // Counts whose log is a line are fitted without error.
    let counts: Vec<f64> = (0..60).map(|i| (4.0 - 0.1 * f64::from(i)).exp()).collect();
    let fitted = poisson_fit(&natural_spline(60, 5), &counts).expect("converges");
    for (fitted, count) in fitted.iter().zip(&counts) {
        assert!((fitted / count - 1.0).abs() < 1e-9);
    }
}
