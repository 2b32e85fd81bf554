//! Each operation with a shader against the CPU's kernel: output and gradients within 1e-4.

use super::is_there;
use crate::nn::harness::{Leaf, Taped, close, matrix, normal, vector};
use genailab::{
    ErrorKind, Result,
    data::Counts,
    dfdx::prelude::*,
    ndarray::Array2,
    nn::{
        Activation, Adam, AdamConfig, AttentionSpec, Backend, CountTarget, Dispersion, IndexSets, Linear, RowSets,
        WeightDropout, gpu,
    },
};
use std::sync::Arc;

const TOLERANCE: f64 = 1e-4;

/// An output on the tape, and what its gradients are taken of.
type Made<S> = (Tensor<S, f32, Cpu, Taped>, Vec<Leaf>);

/// Output, and the gradient of `sum(output * upstream)` for each leaf, wherever it is.
fn outcome<S: Shape>(made: Result<Made<S>>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let (y, leaves) = made.expect("it is computed");
    let output = y.as_vec();
    let upstream = y.device().tensor_from_vec(normal(output.len(), 99), *y.shape());
    let gradients = (y * upstream).sum::<Rank0, _>().backward();
    let there = |leaf: &Leaf| match (gpu::is_active(), leaf) {
        (false, _) => None,
        (true, Leaf::Matrix(t)) => gpu::gradient(t).expect("it can be read"),
        (true, Leaf::Vector(t)) => gpu::gradient(t).expect("it can be read"),
    };
    let gradients = leaves
        .iter()
        .map(|leaf| match (there(leaf), leaf) {
            (Some(gradient), _) => gradient,
            (None, Leaf::Matrix(t)) => gradients.get(t).as_vec(),
            (None, Leaf::Vector(t)) => gradients.get(t).as_vec(),
        })
        .collect();
    (output, gradients)
}

/// Runs an operation on both.
#[track_caller]
fn agree<S: Shape>(what: &str, operation: impl Fn() -> Result<(Tensor<S, f32, Cpu, Taped>, Vec<Leaf>)>) {
    let (output, gradients) = outcome(operation());
    let _on = gpu::enter().expect("it is there");
    let (output_there, gradients_there) = outcome(operation());
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    close(&format!("{what}: output"), &output_there, &wide(&output), TOLERANCE, 1.0);
    for (i, (got, want)) in gradients_there.iter().zip(&gradients).enumerate() {
        close(&format!("{what}: gradient of input {i}"), got, &wide(want), TOLERANCE, 1.0);
    }
}

#[test]
fn dense_linear() {
    if !is_there() {
        return;
    }
    // Smaller and larger than a tile of 64 x 64 x 16, and no multiple of it.
    for (rows, inputs, outputs) in [(1, 1, 1), (5, 7, 3), (70, 33, 130), (64, 64, 64)] {
        agree("linear", || {
            let (x, w) = (matrix(&normal(rows * inputs, 1), inputs), matrix(&normal(inputs * outputs, 2), outputs));
            let b = vector(&normal(outputs, 3));
            Ok((Cpu::linear(x.leaky_trace(), &w, &b)?, vec![Leaf::Matrix(x), Leaf::Matrix(w), Leaf::Vector(b)]))
        });
    }
}

fn some_counts(cells: usize, genes: usize) -> Arc<Counts> {
    let draw = normal(cells * genes, 4);
    Arc::new(Counts::from_dense(&Array2::from_shape_fn((cells, genes), |(cell, gene)| {
        let value = draw[cell * genes + gene];
        if cell == 1 || gene == 2 || value < 0.3 { 0.0 } else { (value * 40.0).floor() }
    })))
}

#[test]
fn sparse_linear_and_embedding() {
    if !is_there() {
        return;
    }
    for (cells, genes, outputs) in [(5, 9, 3), (19, 300, 70)] {
        let counts = some_counts(cells, genes);
        agree("sparse_linear", || {
            let (w, b) = (matrix(&normal(genes * outputs, 5), outputs), vector(&normal(outputs, 6)));
            let y = Cpu::sparse_linear(&counts, &w, &b, Taped::default())?;
            Ok((y, vec![Leaf::Matrix(w), Leaf::Vector(b)]))
        });
    }
    let sets = Arc::new(IndexSets::from_sets([&[][..], &[3], &[1, 3], &[0, 4, 1]]));
    agree("embedding", || {
        let w = matrix(&normal(15, 7), 3);
        Ok((Cpu::embedding_sum(&w, &sets, Taped::default())?, vec![Leaf::Matrix(w)]))
    });
}

#[test]
fn activations_and_norms() {
    if !is_there() {
        return;
    }
    let wide: Vec<f32> = normal(300, 8).iter().map(|x| 4.0 * x).chain([0.5, -12.0, 30.0, -30.0]).collect();
    for activation in [Activation::Silu, Activation::Gelu, Activation::Relu] {
        agree(&format!("{activation:?}"), || {
            let x = matrix(&wide, 4);
            Ok((activation.forward(x.leaky_trace())?, vec![Leaf::Matrix(x)]))
        });
    }
    for (rows, width) in [(4, 19), (6, 5), (9, 130)] {
        let values: Vec<f32> = normal(rows * width, 10).iter().map(|x| 3.0 * x + 5.0).collect();
        let inputs = || (matrix(&values, width), vector(&normal(width, 11)), vector(&normal(width, 12)));
        agree("layer_norm", || {
            let (x, w, b) = inputs();
            let y = Cpu::layer_norm(x.leaky_trace(), &w, &b, 1e-5)?;
            Ok((y, vec![Leaf::Matrix(x), Leaf::Vector(w), Leaf::Vector(b)]))
        });
        agree("batch_norm", || {
            let (x, w, b) = inputs();
            let (y, _) = Cpu::batch_norm(x.leaky_trace(), &w, &b, 1e-3)?;
            Ok((y, vec![Leaf::Matrix(x), Leaf::Vector(w), Leaf::Vector(b)]))
        });
    }
}

#[test]
fn batch_moments_come_back() {
    if !is_there() {
        return;
    }
    let moments = || {
        let x = matrix(&normal(60, 13), 6);
        let (one, zero) = (vector(&[1.0; 6]), vector(&[0.0; 6]));
        Cpu::batch_norm(x, &one, &zero, 1e-3).expect("shapes fit").1
    };
    let want = moments();
    let _on = gpu::enter().expect("it is there");
    let got = moments();
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    close("mean", &got.mean, &wide(&want.mean), TOLERANCE, 1.0);
    close("variance", &got.variance, &wide(&want.variance), TOLERANCE, 1.0);
}

#[test]
fn count_likelihood() {
    if !is_there() {
        return;
    }
    let (cells, genes) = (9, 150);
    let counts = some_counts(cells, genes);
    for (per_cell, is_inflated, with_remainder) in
        [(false, false, false), (true, false, true), (false, true, true), (true, true, false)]
    {
        let sizes = normal(cells, 14).iter().map(|x| 400.0 + 50.0 * x).collect();
        let target = CountTarget { counts: Arc::clone(&counts), library_size: sizes, with_remainder };
        agree("count_nll", || {
            let logits = matrix(&normal(cells * genes, 15), genes);
            // Some beyond the bounds, where the gradient is zero.
            let theta = |n| normal(n, 16).iter().map(|x| 8.0 * x).collect::<Vec<f32>>();
            let (shared, own) = (vector(&theta(genes)), matrix(&theta(cells * genes), genes));
            let zero = matrix(&normal(cells * genes, 17), genes);
            let dispersion = match per_cell {
                true => Dispersion::CellGene(own.leaky_trace()),
                false => Dispersion::Gene(&shared),
            };
            let inflation = is_inflated.then(|| zero.leaky_trace());
            let y = Cpu::count_nll(logits.leaky_trace(), dispersion, inflation, &target)?;
            let mut leaves =
                vec![Leaf::Matrix(logits), if per_cell { Leaf::Matrix(own) } else { Leaf::Vector(shared) }];
            leaves.extend(is_inflated.then_some(Leaf::Matrix(zero)));
            Ok((y, leaves))
        });
    }
}

#[test]
fn attention() {
    if !is_there() {
        return;
    }
    let dropout = WeightDropout::new(0.3, 11).expect("a probability");
    for (queries, keys, heads, width, dropout) in [
        (vec![3, 3], vec![3, 3], 2, 6, None),
        (vec![1, 2, 1], vec![2, 0, 7], 4, 8, None), // the second set has nothing to attend to
        (vec![50, 3], vec![70, 40], 2, 8, Some(dropout)),
    ] {
        let sets = |sizes: &[usize]| RowSets::from_sizes(sizes.iter().copied());
        let spec = AttentionSpec { queries: sets(&queries), keys: sets(&keys), heads, dropout };
        agree("attention", || {
            let q = matrix(&normal(spec.queries.rows() * width, 18), width);
            let kv = matrix(&normal(spec.keys.rows() * 2 * width, 19), 2 * width);
            let y = Cpu::attention(q.leaky_trace(), kv.leaky_trace(), &spec)?;
            Ok((y, vec![Leaf::Matrix(q), Leaf::Matrix(kv)]))
        });
    }
}

#[test]
fn adam_with_clipping_and_decay() {
    if !is_there() {
        return;
    }
    let train = || -> Result<(Vec<f64>, Vec<f32>, Vec<f32>)> {
        let device = Cpu::default();
        let mut rng = genailab::nn::seeded(3);
        let mut layer = Linear::new(&device, 40, 30, &mut rng)?;
        let mut adam = Adam::new(AdamConfig { weight_decay: 0.1, ..AdamConfig::default() })?;
        let x = matrix(&normal(17 * 40, 20), 40);
        let mut norms = Vec::new();
        for _ in 0..5 {
            let y = layer.forward(x.leaky_trace())?;
            let mut gradients = y.square().mean::<Rank0, _>().backward();
            norms.push(adam.step(&mut layer, &mut gradients, 0.01, Some(0.1))?);
        }
        let (moments, _) = adam.export()?;
        let first = moments.tensors()["first/weight"].values.clone();
        Ok((norms, layer.weight.as_vec(), first))
    };
    let (norms, weights, first) = train().expect("on the CPU");
    let _on = gpu::enter().expect("it is there");
    let (norms_there, weights_there, first_there) = train().expect("on the GPU");
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    for (got, want) in norms_there.iter().zip(&norms) {
        assert!((got - want).abs() <= TOLERANCE * want, "a norm of {got}, not {want}");
    }
    close("weights", &weights_there, &wide(&weights), TOLERANCE, 1.0);
    close("first moments", &first_there, &wide(&first), TOLERANCE, 1e-3);
}

#[test]
fn an_array_that_is_too_large_is_one_clear_line() {
    if !is_there() {
        return;
    }
    let largest = gpu::adapters().expect("it is there")[0].largest_array;
    let outputs = largest as usize / size_of::<f32>() + 1;
    if outputs > 100_000_000 {
        return crate::common::skip("this GPU takes larger arrays than a test should make");
    }
    let _on = gpu::enter().expect("it is there");
    let (w, b) = (matrix(&vec![0.0; outputs], outputs), vector(&vec![0.0; outputs]));
    let error = Cpu::linear(matrix(&[1.0], 1), &w, &b).expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("out of device memory: an array of"), "{error}");
}
