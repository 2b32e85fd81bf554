//! The attention kernel: fused, composed, a plain loop; sets of any size, dropout, threads.

use super::{harness::*, oracle};
use genailab::{
    ErrorKind,
    dfdx::prelude::*,
    nn::{AttentionSpec, Backend, Matrix, RowSets, WeightDropout, composed},
};

const TOLERANCE: f64 = 1e-5;

fn spec(queries: &[usize], keys: &[usize], heads: usize) -> AttentionSpec {
    let sets = |sizes: &[usize]| RowSets::from_sizes(sizes.iter().copied());
    AttentionSpec { queries: sets(queries), keys: sets(keys), heads, dropout: None }
}

/// softmax(Q K' / sqrt(w)) V of each set and head, in plain loops.
fn plain(q: &[f64], kv: &[f64], width: usize, spec: &AttentionSpec) -> Vec<f64> {
    let w = width / spec.heads;
    let mut out = vec![0.0; q.len()];
    for (queries, keys) in spec.queries.ranges().zip(spec.keys.ranges()) {
        for (head, row) in (0..spec.heads).flat_map(|head| queries.clone().map(move |row| (head, row))) {
            let features = head * w..(head + 1) * w;
            let score = |key: usize| {
                let products = features.clone().map(|f| q[row * width + f] * kv[key * 2 * width + f]);
                (products.sum::<f64>() / (w as f64).sqrt()).exp()
            };
            let total: f64 = keys.clone().map(score).sum();
            for key in keys.clone() {
                let weight = score(key) / total;
                for f in features.clone() {
                    out[row * width + f] += weight * kv[key * 2 * width + width + f];
                }
            }
        }
    }
    out
}

fn operation(is_fused: bool, width: usize, spec: &AttentionSpec) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync {
    move |inputs, upstream| {
        let (q, kv) = (matrix(&inputs[0], width), matrix(&inputs[1], 2 * width));
        let f: fn(_, _, &_) -> _ = if is_fused { Cpu::attention } else { composed::attention };
        let y: Matrix<Cpu, Taped> = f(q.leaky_trace(), kv.leaky_trace(), spec).expect("shapes fit");
        outcome(y, upstream, &[Leaf::Matrix(q), Leaf::Matrix(kv)])
    }
}

#[test]
fn fused_composed_and_plain_agree() {
    for (queries, keys, heads, width) in [
        (vec![1], vec![1], 1, 1),
        (vec![3, 3], vec![3, 3], 2, 6),
        (vec![2, 0, 4], vec![5, 3, 1], 1, 4),
        (vec![1, 2, 1], vec![2, 0, 7], 4, 8), // the second set has nothing to attend to
        (vec![2, 0], vec![0, 3], 2, 4),
        (vec![1, 1], vec![1, 1], 4, 4), // heads of one feature
    ] {
        let spec = spec(&queries, &keys, heads);
        let values = [normal(spec.queries.rows() * width, 1), normal(spec.keys.rows() * 2 * width, 2)];
        let wide_inputs: Vec<_> = values.iter().map(|v| wide(v)).collect();
        let upstream = normal(values[0].len(), 3);
        let f = |inputs: &[Vec<f64>]| plain(&inputs[0], &inputs[1], width, &spec);
        let (output, gradients) = oracle::differentiate(&f, &wide_inputs, &upstream);
        agree("fused", &operation(true, width, &spec)(&values, &upstream), &output, &gradients, TOLERANCE);
        agree("composed", &operation(false, width, &spec)(&values, &upstream), &output, &gradients, TOLERANCE);
    }
}

#[test]
fn blocks_of_queries_and_dropout_agree_with_composed() {
    // More queries than one block of the kernel, sets of different size, with and without dropped weights.
    for dropout in [None, Some(WeightDropout::new(0.3, 11).expect("a probability"))] {
        let spec = AttentionSpec { dropout, ..spec(&[150, 3], &[70, 40], 2) };
        let values = [normal(153 * 8, 4), normal(110 * 16, 5)];
        let upstream = normal(153 * 8, 6);
        let want = operation(false, 8, &spec)(&values, &upstream);
        let gradients: Vec<_> = want.gradients.iter().map(|g| wide(g)).collect();
        agree("fused", &operation(true, 8, &spec)(&values, &upstream), &wide(&want.output), &gradients, TOLERANCE);
    }
}

#[test]
fn dropout_keeps_the_mean_and_drops_the_share() {
    // Equal weights of 1/m and values of 1: the output is the share of kept weights over 1 - p.
    let (m, p) = (20_000, 0.25);
    let run = |seed| {
        let dropout = Some(WeightDropout::new(p, seed).expect("a probability"));
        let spec = AttentionSpec { dropout, ..spec(&[4], &[m], 2) };
        let kv: Vec<f32> = (0..m).flat_map(|_| [0.0, 0.0, 1.0, 1.0]).collect();
        Cpu::attention(matrix(&[1.0; 8], 2), matrix(&kv, 4), &spec).expect("shapes fit").as_vec()
    };
    let shares = run(1);
    // 4 standard deviations of a binomial fraction over 1 - p
    let bound = 4.0 * (p * (1.0 - p) / m as f32).sqrt() / (1.0 - p);
    assert!(shares.iter().all(|share| (share - 1.0).abs() < bound), "{shares:?}");
    assert!((1..8).all(|i| shares[i] != shares[0]), "each query and head drops others: {shares:?}");
    assert_eq!(shares, run(1), "the seed decides");
    assert_ne!(shares, run(2));
    for p in [-0.1, 1.0, f32::NAN] {
        assert!(WeightDropout::new(p, 0).is_err(), "{p} is refused");
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let spec = spec(&[1], &[2], 1);
    let y = Cpu::attention(matrix(&[1e4, 0.0], 2), matrix(&[1.0, 0.0, 3.0, 4.0, -1.0, 0.0, 5.0, 6.0], 4), &spec);
    assert_eq!(y.expect("shapes fit").as_vec(), [3.0, 4.0]);
}

#[test]
fn threads_do_not_change_a_bit() {
    let spec = spec(&[130; 6], &[65; 6], 4);
    let values = [normal(6 * 130 * 32, 7), normal(6 * 65 * 64, 8)];
    let upstream = normal(6 * 130 * 32, 9);
    same_bits_with_any_threads("attention", &|| operation(true, 32, &spec)(&values, &upstream));
}

#[test]
fn a_set_does_not_see_another() {
    let spec = spec(&[2, 2], &[2, 2], 2);
    let (q, kv) = (matrix(&normal(16, 10), 4), normal(32, 11));
    let mut other = kv.clone();
    other[16..].fill(7.0); // all keys and values of the second set
    let run = |kv: &[f32]| Cpu::attention(q.clone(), matrix(kv, 8), &spec).expect("shapes fit").as_vec();
    let (before, after) = (run(&kv), run(&other));
    assert_eq!(before[..8], after[..8]);
    assert_ne!(before[8..], after[8..]);
}

#[test]
fn rows_are_taken_and_their_gradients_added() {
    let rows = [2, 0, 2].into();
    for is_fused in [true, false] {
        let x = matrix(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
        let traced = x.leaky_trace();
        let y = if is_fused { Cpu::take_rows(traced, &rows) } else { composed::take_rows(traced, &rows) };
        let y = y.expect("the rows are there");
        let got = outcome(y, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[Leaf::Matrix(x)]);
        assert_eq!(got.output, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
        assert_eq!(got.gradients, [[3.0, 4.0, 0.0, 0.0, 6.0, 8.0]]);
    }
    let error = Cpu::take_rows(matrix(&[1.0, 2.0], 2), &[1].into()).expect_err("there is no row 1");
    assert_eq!(error.to_string(), "take_rows: there is no row 1; the matrix has 1 rows");
}

#[test]
fn what_does_not_fit_is_named() {
    let (q, kv) = (matrix(&[0.0; 8], 4), matrix(&[0.0; 24], 8));
    let error = |q: &Matrix<Cpu>, kv: &Matrix<Cpu>, spec| Cpu::attention(q.clone(), kv.clone(), &spec).expect_err("no");
    assert_eq!(error(&q, &q, spec(&[2], &[2], 1)).kind(), ErrorKind::Shape);
    let cases = [
        (spec(&[2], &[3], 0), "attention: 0 heads do not divide a width of 4"),
        (spec(&[2], &[3], 3), "attention: 3 heads do not divide a width of 4"),
        (spec(&[3], &[3], 2), "attention: queries: the sets have 3 rows in all, the matrix 2"),
        (spec(&[2], &[2], 2), "attention: keys: the sets have 2 rows in all, the matrix 3"),
        (spec(&[1, 1], &[3], 2), "attention: 2 sets of queries, but 1 sets of keys"),
    ];
    for (spec, message) in cases {
        assert_eq!(error(&q, &kv, spec).to_string(), message);
    }
}
