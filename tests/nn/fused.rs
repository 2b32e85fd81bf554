//! Linear, sparse linear, embedding, activations and norms.

use super::{harness::*, oracle};
use genailab::{
    ErrorKind,
    data::Counts,
    dfdx::prelude::*,
    ndarray::Array2,
    nn::{Activation, Backend, CountTarget, Dispersion, IndexSets, Matrix, Vector, composed},
};
use std::sync::Arc;

const TOLERANCE: f64 = 1e-5;

/// Fused, composed and the plain loop give the same output and gradients.
#[track_caller]
fn all_agree(
    what: &str,
    fused: Operation<'_>,
    composed: Operation<'_>,
    plain: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
    inputs: &[Vec<f32>],
) {
    let wide_inputs: Vec<_> = inputs.iter().map(|v| wide(v)).collect();
    let upstream = normal(plain(&wide_inputs).len(), 99);
    let (output, gradients) = oracle::differentiate(plain, &wide_inputs, &upstream);
    agree(&format!("{what}, fused"), &fused(inputs, &upstream), &output, &gradients, TOLERANCE);
    agree(&format!("{what}, composed"), &composed(inputs, &upstream), &output, &gradients, 2.0 * TOLERANCE);
}

type LinearOp = fn(Matrix<Cpu, Taped>, &Matrix<Cpu>, &Vector<Cpu>) -> genailab::Result<Matrix<Cpu, Taped>>;

fn linear(f: LinearOp) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync {
    move |inputs, upstream| {
        let b = vector(&inputs[2]);
        let w = matrix(&inputs[1], inputs[2].len());
        let x = matrix(&inputs[0], inputs[1].len() / inputs[2].len());
        let y = f(x.leaky_trace(), &w, &b).expect("shapes fit");
        outcome(y, upstream, &[Leaf::Matrix(x), Leaf::Matrix(w), Leaf::Vector(b)])
    }
}

#[test]
fn linear_agrees() {
    for (rows, inputs, outputs) in [(1, 1, 1), (4, 7, 5), (33, 20, 17)] {
        let values = [normal(rows * inputs, 1), normal(inputs * outputs, 2), normal(outputs, 3)];
        let plain = |i: &[Vec<f64>]| oracle::linear(&i[0], &i[1], &i[2]);
        all_agree("linear", &linear(Cpu::linear), &linear(composed::linear), &plain, &values);
    }
    // PyTorch's weight is (out, in) in memory; the script transposes it.
    matches_reference("linear", &["x", "w", "b"], &linear(Cpu::linear), TOLERANCE);
}

/// Counts with an empty row, an empty column, a stored zero and rows of different lengths.
fn some_counts(cells: usize, genes: usize) -> Counts {
    let draw = normal(cells * genes, 4);
    let dense = Array2::from_shape_fn((cells, genes), |(cell, gene)| {
        let value = draw[cell * genes + gene];
        if cell == 1 || gene == 2 || value < 0.3 { 0.0 } else { (value * 40.0).floor() }
    });
    let counts = Counts::from_dense(&dense);
    let mut values = counts.values().to_vec();
    values[0] = 0.0;
    Counts::new(genes, counts.indptr().to_vec(), counts.indices().to_vec(), values).expect("still a CSR matrix")
}

#[test]
fn sparse_linear_agrees() {
    for (cells, genes, outputs) in [(5, 9, 3), (19, 300, 70), (17, 600, 64)] {
        let counts = Arc::new(some_counts(cells, genes));
        let (fused, plain) = (Arc::clone(&counts), wide(counts.to_dense().mapv(f32::ln_1p).as_slice().expect("dense")));
        let run = |is_fused: bool| {
            let counts = Arc::clone(&fused);
            move |inputs: &[Vec<f32>], upstream: &[f32]| {
                let (w, b) = (matrix(&inputs[0], inputs[1].len()), vector(&inputs[1]));
                let y = if is_fused {
                    Cpu::sparse_linear(&counts, &w, &b, Taped::default())
                } else {
                    composed::sparse_linear(&counts, &w, &b, Taped::default())
                };
                outcome(y.expect("shapes fit"), upstream, &[Leaf::Matrix(w), Leaf::Vector(b)])
            }
        };
        let values = [normal(genes * outputs, 5), normal(outputs, 6)];
        let oracle = |i: &[Vec<f64>]| oracle::linear(&plain, &i[0], &i[1]);
        if genes < 100 {
            all_agree("sparse_linear", &run(true), &run(false), &oracle, &values);
        } else {
            // The differences of a large one take too long; the composed one was held against them above.
            let upstream = normal(cells * outputs, 7);
            let want = run(false)(&values, &upstream);
            let gradients: Vec<_> = want.gradients.iter().map(|g| wide(g)).collect();
            agree("sparse_linear", &run(true)(&values, &upstream), &wide(&want.output), &gradients, 2e-5);
        }
    }
}

#[test]
fn embedding_agrees() {
    let sets = Arc::new(IndexSets::from_sets([&[][..], &[3], &[1, 3], &[0, 4, 1], &[3, 3]]));
    assert_eq!(sets.set(4), [3], "an index that stands twice counts once");
    let run = |is_fused: bool| {
        let sets = Arc::clone(&sets);
        move |inputs: &[Vec<f32>], upstream: &[f32]| {
            let w = matrix(&inputs[0], 3);
            let y = if is_fused {
                Cpu::embedding_sum(&w, &sets, Taped::default())
            } else {
                composed::embedding_sum(&w, &sets, Taped::default())
            };
            outcome(y.expect("the indices are there"), upstream, &[Leaf::Matrix(w)])
        }
    };
    let plain = |i: &[Vec<f64>]| {
        (0..5)
            .flat_map(|r| (0..3).map(move |j| (r, j)))
            .map(|(r, j)| sets.set(r).iter().map(|&k| i[0][k as usize * 3 + j]).sum())
            .collect()
    };
    all_agree("embedding", &run(true), &run(false), &plain, &[normal(15, 8)]);
}

#[test]
fn activations_agree() {
    let xs: Vec<f32> = normal(90, 9).iter().map(|x| 4.0 * x).chain([0.5, -12.0, 30.0, -30.0]).collect();
    for (activation, name, plain) in [
        (Activation::Silu, "silu", oracle::silu as fn(f64) -> f64),
        (Activation::Gelu, "gelu", oracle::gelu),
        (Activation::Relu, "relu", |x| x.max(0.0)),
    ] {
        let run = |is_fused: bool| {
            move |inputs: &[Vec<f32>], upstream: &[f32]| {
                let x = matrix(&inputs[0], 2);
                let traced = x.leaky_trace();
                let y = if is_fused { activation.forward(traced) } else { composed::activation(traced, activation) };
                outcome(y.expect("the CPU does not fail"), upstream, &[Leaf::Matrix(x)])
            }
        };
        let oracle = |i: &[Vec<f64>]| i[0].iter().map(|&x| plain(x)).collect();
        all_agree(name, &run(true), &run(false), &oracle, std::slice::from_ref(&xs));
        matches_reference(name, &["x"], &run(true), TOLERANCE);
    }
}

#[test]
fn norms_agree() {
    for (rows, width) in [(4, 19), (6, 5), (9, 40)] {
        let x: Vec<f32> = normal(rows * width, 10).iter().map(|x| 3.0 * x + 50.0).collect();
        let values = [x, normal(width, 11), normal(width, 12)];
        // A mean far from 0 costs f32 some digits of x itself; the oracle gets the same x.
        let plain = |i: &[Vec<f64>]| oracle::affine(&oracle::normalize(&i[0], width, 1e-5), &i[1], &i[2]);
        let fused = three(|x, w, b| Cpu::layer_norm(x, w, b, 1e-5), width);
        let slow = three(|x, w, b| composed::layer_norm(x, w, b, 1e-5), width);
        all_agree("layer_norm", &fused, &slow, &plain, &values);
        let plain = |i: &[Vec<f64>]| {
            let h = oracle::normalize(&oracle::transpose(&i[0], width), rows, 1e-5);
            oracle::affine(&oracle::transpose(&h, rows), &i[1], &i[2])
        };
        let fused = three(|x, w, b| Cpu::batch_norm(x, w, b, 1e-5).map(|(y, _)| y), width);
        let slow = three(|x, w, b| composed::batch_norm(x, w, b, 1e-5).map(|(y, _)| y), width);
        all_agree("batch_norm", &fused, &slow, &plain, &values);
    }
    let order = ["x", "w", "b"];
    matches_reference("layer_norm", &order, &three(|x, w, b| Cpu::layer_norm(x, w, b, 1e-5), 19), TOLERANCE);
    let batch_norm = three(|x, w, b| Cpu::batch_norm(x, w, b, 1e-5).map(|(y, _)| y), 5);
    matches_reference("batch_norm", &order, &batch_norm, TOLERANCE);
}

#[test]
fn multiply_agrees() {
    let factors = vec![0.0, 2.0, 0.5, -1.0];
    let plain = |i: &[Vec<f64>]| i[0].iter().zip(&factors).map(|(x, &f)| x * f64::from(f)).collect();
    let run = |is_fused: bool| {
        let factors = factors.clone();
        move |inputs: &[Vec<f32>], upstream: &[f32]| {
            let x = matrix(&inputs[0], 2);
            let f = if is_fused { Cpu::multiply } else { composed::multiply };
            outcome(f(x.leaky_trace(), factors.clone()).expect("shapes fit"), upstream, &[Leaf::Matrix(x)])
        }
    };
    all_agree("multiply", &run(true), &run(false), &plain, &[normal(4, 13)]);
}

#[test]
fn gradients_reach_a_broadcast_or_permuted_input() {
    let dev = Cpu::default();
    let (w, b) = (matrix(&normal(6, 14), 3), vector(&normal(3, 15)));
    let row = vector(&[1.0, -2.0]);
    let wide: Matrix<Cpu, Taped> = row.leaky_trace().broadcast_like::<_, Axis<0>>(&(5, 2));
    let gradient = Cpu::linear(wide, &w, &b).expect("shapes fit").sum::<Rank0, _>().backward().get(&row).as_vec();
    let want: Vec<f64> = w.as_vec().chunks(3).map(|r| 5.0 * r.iter().map(|&v| f64::from(v)).sum::<f64>()).collect();
    close("gradient of the row", &gradient, &want, TOLERANCE, 1.0);
    // One weight for all outputs: its gradient is the sum over them.
    let shared = dev.tensor_from_vec(vec![0.5], (1,));
    let bias: Vector<Cpu> = shared.clone().reshape_like(&()).broadcast_like::<_, Axis<0>>(&(3,));
    let x = matrix(&normal(8, 16), 2);
    let gradients = Cpu::linear(x.leaky_trace(), &w, &bias).expect("shapes fit").sum::<Rank0, _>().backward();
    assert_eq!(gradients.get(&bias).as_vec(), [12.0; 3], "4 rows x 3 outputs, shown at each place of the broadcast");
}

#[test]
fn threads_do_not_change_a_bit() {
    // Large enough that every operation splits its work.
    let (rows, inputs, outputs) = (128, 512, 700);
    let values = [normal(rows * inputs, 17), normal(inputs * outputs, 18), normal(outputs, 19)];
    let upstream = normal(rows * outputs, 20);
    same_bits_with_any_threads("linear", &|| linear(Cpu::linear)(&values, &upstream));
    let counts = Arc::new(some_counts(rows, inputs));
    same_bits_with_any_threads("sparse_linear", &|| {
        let (w, b) = (matrix(&values[1], outputs), vector(&values[2]));
        let y = Cpu::sparse_linear(&counts, &w, &b, Taped::default()).expect("shapes fit");
        outcome(y, &upstream, &[Leaf::Matrix(w), Leaf::Vector(b)])
    });
    let values = [normal(rows * outputs, 21), normal(outputs, 22), normal(outputs, 23)];
    let layer_norm = three(|x, w, b| Cpu::layer_norm(x, w, b, 1e-5), outputs);
    same_bits_with_any_threads("layer_norm", &|| layer_norm(&values, &upstream));
    same_bits_with_any_threads("GELU", &|| {
        let x = matrix(&values[0], outputs);
        outcome(Activation::Gelu.forward(x.leaky_trace()).expect("no failure"), &upstream, &[Leaf::Matrix(x)])
    });
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let (x, w, b) = (matrix(&[0.0; 6], 3), matrix(&[0.0; 8], 2), vector(&[0.0; 2]));
    let error = Cpu::linear(x.clone(), &w, &b).expect_err("3 is not 4");
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert_eq!(error.to_string(), "linear: the shapes (2, 3) and (4, 2) do not fit together");
    let counts = Arc::new(some_counts(3, 5));
    let fails = [
        Cpu::linear(x.clone(), &matrix(&[0.0; 9], 3), &b).err(),
        Cpu::sparse_linear(&counts, &w, &b, NoneTape).err(),
        Cpu::layer_norm(x.clone(), &b, &b, 1e-5).err(),
        Cpu::batch_norm(x.clone(), &b, &b, 1e-5).err(),
        Cpu::multiply(x, vec![1.0; 5]).err(),
    ];
    assert!(fails.iter().all(|e| e.as_ref().is_some_and(|e| e.kind() == ErrorKind::Shape)), "{fails:?}");
    let far = Arc::new(IndexSets::from_indices(vec![0, 4]));
    let error = Cpu::embedding_sum(&w, &far, NoneTape).expect_err("there is no row 4");
    assert_eq!(error.to_string(), "embedding: there is no entry 4; the table has 4 entries");
}

#[test]
fn empty_batches_stay_empty() {
    let (w, b) = (matrix(&[0.0; 8], 2), vector(&[0.0; 2]));
    let none: Matrix<Cpu> = Cpu::default().zeros_like(&(0, 4));
    let y = Cpu::linear(none.leaky_trace(), &w, &b).expect("an empty batch is a batch");
    assert_eq!(*y.shape(), (0, 2));
    let counts = Arc::new(Counts::new(4, vec![0], vec![], vec![]).expect("no cells"));
    let y = Cpu::sparse_linear(&counts, &w, &b, Taped::default()).expect("an empty batch is a batch");
    assert_eq!(*y.shape(), (0, 2));
    let target = CountTarget { counts, library_size: [].into(), with_remainder: false };
    let theta = vector(&[0.0; 4]);
    let nll = Cpu::count_nll(none.leaky_trace(), Dispersion::Gene(&theta), None, &target).expect("an empty batch");
    assert_eq!(*nll.shape(), (0,));
}
