//! The functions inside the CPU's kernels: elementary and special functions, sums, dense products.

use genailab::{
    dfdx::prelude::*,
    nn::{
        RowSets,
        ops::{
            composed,
            fourier::sin_cos_turns,
            gemm::{MatMut, MatRef, add_product, add_product_here, set_product},
            nb::{binet, digamma_rest},
            vmath::{exp, ln, log1p, max, sigmoid, softplus, sum},
        },
    },
};
use statrs::function::gamma::{digamma, ln_gamma};

/// Largest error of `approx` against `exact`, in units of `scale(exact)`.
fn worst(xs: impl Iterator<Item = f32>, approx: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
    xs.map(|x| {
        let want = exact(f64::from(x));
        (f64::from(approx(x)) - want).abs() / want.abs().max(1e-30)
    })
    .fold(0.0, f64::max)
}

fn range(from: f32, to: f32) -> impl Iterator<Item = f32> {
    (0..200_001).map(move |i| from + (to - from) * i as f32 / 200_000.0)
}

#[test]
fn relative_errors_are_a_few_ulp() {
    let bound = 3.0 * f64::from(f32::EPSILON);
    assert!(worst(range(-87.0, 88.0), exp, f64::exp) < bound);
    assert!(worst(range(-80.0, 80.0).map(|e| 2f32.powf(e)), ln, f64::ln) < bound);
    assert!(worst(range(-40.0, 40.0).map(|e| 2f32.powf(e)), log1p, f64::ln_1p) < bound);
    assert!(worst(range(-0.99, -1e-6), log1p, f64::ln_1p) < bound);
    assert!(worst(range(-20.0, 20.0), sigmoid, |x| 1.0 / (1.0 + (-x).exp())) < bound);
    assert!(worst(range(-40.0, 40.0), |x| softplus(x).0, |x| x.exp().ln_1p()) < bound);
    assert!(worst(range(-40.0, 40.0), |x| softplus(x).1, |x| 1.0 / (1.0 + (-x).exp())) < bound);
}

#[test]
fn not_a_number_is_not_hidden() {
    for f in [exp, ln, log1p, sigmoid] {
        assert!(f(f32::NAN).is_nan());
    }
    assert!(softplus(f32::NAN).0.is_nan());
    assert!(sum(&[1.0, f32::NAN]).is_nan());
    assert_eq!((ln(f32::INFINITY), log1p(f32::INFINITY)), (f32::INFINITY, f32::INFINITY));
}

#[test]
fn sums_and_maxima() {
    let values: Vec<f32> = (0..37).map(|i| i as f32 - 50.0).collect();
    assert_eq!((sum(&values), max(&values)), (values.iter().map(|&v| f64::from(v)).sum(), -14.0));
    assert_eq!((sum(&[]), max(&[])), (0.0, f32::NEG_INFINITY));
}

#[test]
fn sines_and_cosines_are_those_of_the_library() {
    for i in -20_000..20_000 {
        let t = i as f32 * 1.3e-3;
        let angle = std::f64::consts::TAU * f64::from(t);
        let (sin, cos) = sin_cos_turns(t);
        assert!((f64::from(sin) - angle.sin()).abs() < 4e-7, "sin of {t} turns: {sin}");
        assert!((f64::from(cos) - angle.cos()).abs() < 4e-7, "cos of {t} turns: {cos}");
    }
    assert!(sin_cos_turns(f32::NAN).0.is_nan());
}

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
        serde_json::from_str(include_str!("../reference/nn.json")).expect("the reference file is JSON");
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

#[test]
fn binet_and_its_derivative() {
    let dev = Cpu::default();
    let zs: Vec<f32> = (0..400).map(|i| 10f32.powf(-6.0 + 15.0 * i as f32 / 399.0)).chain([1.0, 4.0, 5.0]).collect();
    let z = dev.tensor_from_vec(zs.clone(), (zs.len(),));
    let y = composed::binet(z.leaky_trace()).expect("the CPU does not fail");
    let values = y.as_vec();
    let slopes = y.sum().backward().get(&z).as_vec();
    for ((&z, value), slope) in zs.iter().zip(values).zip(slopes) {
        let z = f64::from(z);
        // Beyond 1e4 the leading terms cancel to nothing in f64 too, and the first term of the series is exact.
        let (want, want_slope) = if z > 1e4 {
            (1.0 / (12.0 * z), -1.0 / (12.0 * z * z))
        } else {
            let stirling = (z - 0.5) * z.ln() - z + 0.5 * (2.0 * std::f64::consts::PI).ln();
            (ln_gamma(z) - stirling, digamma(z) - z.ln() + 0.5 / z)
        };
        assert!((f64::from(value) - want).abs() < 5e-6, "binet({z}) = {value}, not {want}");
        assert!((f64::from(slope) - want_slope).abs() * z < 5e-6, "binet'({z}) = {slope}, not {want_slope}");
    }
}

#[test]
fn ln_near_one_and_its_derivative() {
    let dev = Cpu::default();
    let ts: Vec<f32> = vec![-0.99, -0.3, -0.25, -0.1, -1e-6, 0.0, 1e-12, 1e-3, 0.2499, 0.26, 3.0, 1e6];
    let t = dev.tensor_from_vec(ts.clone(), (ts.len(),));
    let u = t.leaky_trace() + 1.0;
    let y = composed::ln_near_one(u, t.leaky_trace()).expect("the CPU does not fail");
    let values = y.as_vec();
    let slopes = y.sum().backward().get(&t).as_vec();
    for ((t, value), slope) in ts.into_iter().map(f64::from).zip(values).zip(slopes) {
        assert!((f64::from(value) - t.ln_1p()).abs() <= 5e-7 * t.ln_1p().abs(), "log1p({t}) = {value}");
        assert!((f64::from(slope) * (1.0 + t) - 1.0).abs() < 1e-5, "the derivative at {t} is {slope}");
    }
}

#[test]
fn products_and_transposes() {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, 1.0, 0.0, 3.0]);
    let mut out = [1.0; 4];
    add_product(&mut out, MatRef::new(&a, 2, 3), MatRef::new(&b, 3, 2));
    assert_eq!(out, [6.0, 12.0, 15.0, 24.0]);
    let mut out = [0.0; 9];
    add_product(&mut out, MatRef::new(&a, 2, 3).t(), MatRef::new(&b, 3, 2).t());
    assert_eq!(out, [1.0, 6.0, 12.0, 2.0, 9.0, 15.0, 3.0, 12.0, 18.0]);
    add_product(&mut [], MatRef::new(&[], 0, 3), MatRef::new(&b, 3, 2));
}

#[test]
fn tiles_cover_a_matrix_once() {
    // 3 rows in sets of 2, 0 and 1; two blocks of 2 columns.
    let (mut out, one) = ([0.0; 12], [1.0; 2]);
    let tiles = MatMut::tiles(&mut out, &RowSets::from_sizes([2, 0, 1]), 2, 2);
    for (at, mut tile) in tiles.into_iter().enumerate() {
        let column = [1.0 + at as f32; 2];
        for row in 0..tile.rows() {
            let (column, one) = (MatRef::new(&column[..1], 1, 1), MatRef::new(&one, 1, 2));
            add_product_here(tile.row_block(row..row + 1), column, one, 1.0);
        }
    }
    assert_eq!(out, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 6.0, 6.0]);
}

#[test]
fn a_tile_is_read_in_place() {
    let a: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let tile = MatRef::tile(&a, 5, 2, 2, 4); // rows 1 and 2, columns 1 and 2
    assert_eq!((tile.row(0), tile.row_block(1..2).row(0)), (&[5.0, 6.0][..], &[9.0, 10.0][..]));
    let mut out = [9.0; 4];
    set_product(MatMut::new(&mut out, 2, 2), tile, tile.t(), 2.0);
    assert_eq!(out, [122.0, 210.0, 210.0, 362.0]);
}
