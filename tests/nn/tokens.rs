//! FiLM, Fourier features, the mean of sets and residuals: fused, composed, plain loops, PyTorch.

use super::{harness::*, oracle};
use genailab::{
    ErrorKind,
    dfdx::prelude::*,
    nn::{AttentionSpec, Backend, Matrix, RowSets, composed},
};

const TOLERANCE: f64 = 1e-5;

/// An operation that owns what it needs besides its inputs.
type Owned = Box<dyn Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync>;

#[track_caller]
fn agrees(what: &str, run: &dyn Fn(bool) -> Owned, plain: &dyn Fn(&[Vec<f64>]) -> Vec<f64>, values: &[Vec<f32>]) {
    let wide_inputs: Vec<_> = values.iter().map(|v| wide(v)).collect();
    let upstream = normal(plain(&wide_inputs).len(), 99);
    let (output, gradients) = oracle::differentiate(plain, &wide_inputs, &upstream);
    agree(&format!("{what}, fused"), &run(true)(values, &upstream), &output, &gradients, TOLERANCE);
    agree(&format!("{what}, composed"), &run(false)(values, &upstream), &output, &gradients, 2.0 * TOLERANCE);
}

fn film(is_fused: bool, width: usize, sets: &RowSets) -> Owned {
    let sets = sets.clone();
    Box::new(move |inputs, upstream| {
        let (x, c) = (matrix(&inputs[0], width), matrix(&inputs[1], 2 * width));
        let f: fn(_, _, &_) -> _ = if is_fused { Cpu::film } else { composed::film };
        let y = f(x.leaky_trace(), c.leaky_trace(), &sets).expect("shapes fit");
        outcome(y, upstream, &[Leaf::Matrix(x), Leaf::Matrix(c)])
    })
}

#[test]
fn film_agrees() {
    let sets = RowSets::from_sizes([2, 0, 3]);
    let owners = sets.owners();
    let plain = |i: &[Vec<f64>]| {
        let cell = |at: usize| {
            let condition = &i[1][owners[at / 4] as usize * 8..][..8];
            (1.0 + condition[at % 4]) * i[0][at] + condition[4 + at % 4]
        };
        (0..20).map(cell).collect()
    };
    agrees("film", &|is_fused| film(is_fused, 4, &sets), &plain, &[normal(20, 1), normal(24, 2)]);
    let each = RowSets::uniform(3, 1);
    let plain = |i: &[Vec<f64>]| {
        (0..6).map(|at| (1.0 + i[1][at / 2 * 4 + at % 2]) * i[0][at] + i[1][at / 2 * 4 + 2 + at % 2]).collect()
    };
    agrees("film by row", &|is_fused| film(is_fused, 2, &each), &plain, &[normal(6, 3), normal(12, 4)]);
    let sets = RowSets::from_sizes(reference("film").queries);
    matches_reference("film", &["x", "gamma_beta"], &*film(true, 4, &sets), TOLERANCE);
}

fn fourier(is_fused: bool) -> Owned {
    Box::new(move |inputs, upstream| {
        let (x, f) = (matrix(&inputs[0], 1), vector(&inputs[1]));
        let traced = x.leaky_trace();
        let y = if is_fused { Cpu::fourier(traced, &f) } else { composed::fourier(traced, &f) };
        outcome(y.expect("shapes fit"), upstream, &[Leaf::Matrix(x), Leaf::Vector(f)])
    })
}

#[test]
fn fourier_agrees() {
    let plain = |i: &[Vec<f64>]| {
        let row = |x: f64| {
            let angles = i[1].iter().map(move |f| std::f64::consts::TAU * x * f);
            angles.clone().map(f64::sin).chain(angles.map(f64::cos)).collect::<Vec<_>>()
        };
        i[0].iter().flat_map(|&x| row(x)).collect()
    };
    agrees("fourier", &fourier, &plain, &[normal(5, 3), vec![0.1, 0.25, 0.7]]);
    // Angles of up to 60 turns cost the product x f some digits in f32.
    matches_reference("fourier", &["x", "frequencies"], &*fourier(true), 1e-4);
}

#[test]
fn set_mean_agrees() {
    let sets = RowSets::from_sizes([2, 0, 4]);
    let run = |is_fused: bool| -> Owned {
        let sets = sets.clone();
        Box::new(move |inputs, upstream| {
            let x = matrix(&inputs[0], 4);
            let traced = x.leaky_trace();
            let y = if is_fused { Cpu::set_mean(traced, &sets) } else { composed::set_mean(traced, &sets) };
            outcome(y.expect("shapes fit"), upstream, &[Leaf::Matrix(x)])
        })
    };
    let plain = |i: &[Vec<f64>]| {
        let mean = |set: usize, j: usize| {
            let rows = sets.range(set);
            let n = rows.len().max(1) as f64;
            rows.map(|row| i[0][row * 4 + j]).sum::<f64>() / n
        };
        (0..12).map(|at| mean(at / 4, at % 4)).collect()
    };
    agrees("set_mean", &run, &plain, &[normal(24, 4)]);
    matches_reference("set_mean", &["x"], &*run(true), TOLERANCE);
}

#[test]
fn a_residual_adds_both_ways() {
    let (x, scale) = (matrix(&normal(6, 5), 3), vector(&[2.0, -1.0, 0.5]));
    // y = x + layer_norm-like map of x: here x * scale, so that both paths lead back to x
    let traced = x.leaky_trace();
    let (kept, tape) = traced.split_tape();
    let update = kept.clone().put_tape(tape) * scale.clone().broadcast_like::<_, Axis<0>>(&(2, 3));
    let y = Cpu::residual(update, kept).expect("shapes fit");
    let got = outcome(y, &[1.0; 6], &[Leaf::Matrix(x.clone())]);
    let factor = [3.0, 0.0, 1.5];
    close(
        "y",
        &got.output,
        &wide(&x.as_vec()).iter().zip(factor.iter().cycle()).map(|(x, f)| x * f).collect::<Vec<_>>(),
        1e-6,
        1.0,
    );
    assert_eq!(got.gradients, [[3.0, 0.0, 1.5, 3.0, 0.0, 1.5]]);
}

#[test]
fn no_row_gives_no_row() {
    let (none, no_set) = (matrix(&[], 2), RowSets::uniform(0, 1));
    let spec = AttentionSpec { queries: no_set.clone(), keys: no_set.clone(), heads: 2, dropout: None };
    let results = [
        (Cpu::set_mean(none.leaky_trace(), &no_set), (0, 2)),
        (Cpu::take_rows(none.leaky_trace(), &[].into()), (0, 2)),
        (Cpu::film(none.leaky_trace(), matrix(&[], 4).retaped(), &no_set), (0, 2)),
        (Cpu::film(none.leaky_trace(), matrix(&[0.0; 8], 4).retaped(), &RowSets::uniform(2, 0)), (0, 2)),
        (Cpu::residual(none.leaky_trace(), none.clone()), (0, 2)),
        (Cpu::fourier(matrix(&[], 1).leaky_trace(), &vector(&[1.0, 2.0, 3.0])), (0, 6)),
        (Cpu::attention(none.leaky_trace(), matrix(&[], 4).retaped(), &spec), (0, 2)),
    ];
    for (result, shape) in results {
        assert_eq!(*result.expect("shapes fit").shape(), shape);
    }
    // A mean of nothing is 0.
    assert_eq!(Cpu::set_mean(none, &RowSets::uniform(2, 0)).expect("shapes fit").as_vec(), [0.0; 4]);
}

#[test]
fn broadcast_inputs_get_their_gradients() {
    // dfdx keeps a broadcast tensor, and its gradient, as one row.
    let (row, upstream, sets) = (vector(&[1.0, -2.0, 0.5]), normal(12, 1), RowSets::from_sizes([1, 3]));
    let conditions = matrix(&normal(12, 2), 6);
    let run = |x: Matrix<Cpu, Taped>| Cpu::film(x, conditions.retaped(), &sets).expect("shapes fit");
    let got =
        outcome(run(row.leaky_trace().broadcast_like::<_, Axis<0>>(&(4, 3))), &upstream, &[Leaf::Vector(row.clone())]);
    let rows = matrix(&row.as_vec().repeat(4), 3);
    let want = outcome(run(rows.leaky_trace()), &upstream, &[Leaf::Matrix(rows)]);
    assert_eq!(got.output, want.output);
    let sum = |j: usize| want.gradients[0].iter().skip(j).step_by(3).map(|&g| f64::from(g)).sum::<f64>();
    close("gradient", &got.gradients[0], &[sum(0), sum(1), sum(2)], 1e-5, 1.0);
}

#[test]
fn what_does_not_fit_is_named() {
    let x = matrix(&[0.0; 6], 3);
    let fails = [
        Cpu::film(x.clone(), matrix(&[0.0; 6], 6), &RowSets::uniform(2, 1)).err(),
        Cpu::fourier(x.clone(), &vector(&[1.0])).err(),
        Cpu::residual(x.clone(), matrix(&[0.0; 6], 2)).err(),
    ];
    assert!(fails.iter().all(|e| e.as_ref().is_some_and(|e| e.kind() == ErrorKind::Shape)), "{fails:?}");
    let error = Cpu::set_mean(x, &RowSets::uniform(1, 3)).expect_err("there are 2 rows");
    assert_eq!(error.to_string(), "set_mean: the sets have 3 rows in all, the matrix 2");
}

#[test]
fn threads_do_not_change_a_bit() {
    let sets = RowSets::from_sizes([400, 1, 700]);
    let (x, upstream) = (normal(1101 * 16, 6), normal(1101 * 16, 7));
    let values = [x.clone(), normal(3 * 32, 8)];
    same_bits_with_any_threads("film", &|| film(true, 16, &sets)(&values, &upstream));
    let values = [normal(1101, 9), normal(8, 10)];
    same_bits_with_any_threads("fourier", &|| fourier(true)(&values, &upstream));
}
