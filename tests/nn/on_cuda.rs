//! Each operation on CUDA against the CPU's kernel: output and gradients within 1e-4, where there is an NVIDIA GPU
//! (`make test-cuda`). Elsewhere `cargo check --tests --features cuda-check` reads it.

use super::harness::{close, normal, wide};
use genailab::{
    Result,
    data::Counts,
    dfdx::prelude::*,
    ndarray::Array2,
    nn::{
        Activation, AttentionSpec, Backend, CountTarget, Dispersion, EmbeddingLoss, IndexSets, Matrix, RowSets, Vector,
        vicreg,
    },
};
use std::sync::Arc;

const TOLERANCE: f64 = 1e-4;

type Taped<D> = OwnedTape<f32, D>;

/// Output, and the gradient of `sum(output * upstream)` for each input.
type Outcome = (Vec<f32>, Vec<Vec<f32>>);

fn matrix<D: Backend>(device: &D, seed: u64, rows: usize, width: usize) -> Matrix<D> {
    device.tensor_from_vec(normal(rows * width, seed), (rows, width))
}

fn vector<D: Backend>(device: &D, seed: u64, width: usize) -> Vector<D> {
    device.tensor_from_vec(normal(width, seed), (width,))
}

fn outcome<D: Backend>(y: Matrix<D, Taped<D>>, matrices: &[Matrix<D>], vectors: &[Vector<D>]) -> Outcome {
    let output = y.as_vec();
    let upstream = y.device().tensor_from_vec(normal(output.len(), 99), *y.shape());
    let gradients = (y * upstream).sum::<Rank0, _>().backward();
    let of_matrices = matrices.iter().map(|leaf| gradients.get(leaf).as_vec());
    (output, of_matrices.chain(vectors.iter().map(|leaf| gradients.get(leaf).as_vec())).collect())
}

/// The same of an operation whose result is a vector or a number.
fn of_vector<D: Backend, S: Shape>(y: Tensor<S, f32, D, Taped<D>>, matrices: &[Matrix<D>]) -> Outcome {
    let output = y.as_vec();
    let n = output.len();
    outcome(y.reshape_like(&(1, n)), matrices, &[])
}

fn counts(cells: usize, genes: usize) -> Arc<Counts> {
    let draw = normal(cells * genes, 4);
    let value = |(cell, gene): (usize, usize)| (draw[cell * genes + gene] * 40.0).floor().max(0.0);
    Arc::new(Counts::from_dense(&Array2::from_shape_fn((cells, genes), value)))
}

fn layers<D: Backend>(device: &D) -> Result<Vec<Outcome>> {
    let (x, w, b) = (matrix(device, 1, 70, 33), matrix(device, 2, 33, 130), vector(device, 3, 130));
    let linear = outcome(D::linear(x.leaky_trace(), &w, &b)?, &[x, w], &[b]);
    let (w, b) = (matrix(device, 5, 300, 70), vector(device, 6, 70));
    let sparse = outcome(D::sparse_linear(&counts(19, 300), &w, &b, Taped::default())?, &[w], &[b]);
    let sets = Arc::new(IndexSets::from_sets([&[][..], &[3], &[1, 3], &[0, 4, 1]]));
    let w = matrix(device, 7, 5, 3);
    let embedding = outcome(D::embedding_sum(&w, &sets, Taped::default())?, &[w], &[]);
    let rows: Arc<[u32]> = vec![2, 0, 2].into();
    let x = matrix(device, 8, 3, 4);
    let taken = outcome(D::take_rows(x.leaky_trace(), &rows)?, &[x], &[]);
    Ok(vec![linear, sparse, embedding, taken])
}

fn elements<D: Backend>(device: &D) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for activation in [Activation::Silu, Activation::Gelu, Activation::Relu] {
        let x = matrix(device, 9, 40, 7);
        outcomes.push(outcome(activation.forward(x.leaky_trace())?, &[x], &[]));
    }
    let (x, w, b) = (matrix(device, 10, 9, 130), vector(device, 11, 130), vector(device, 12, 130));
    outcomes.push(outcome(D::layer_norm(x.leaky_trace(), &w, &b, 1e-5)?, &[x.clone()], &[w.clone(), b.clone()]));
    outcomes.push(outcome(D::batch_norm(x.leaky_trace(), &w, &b, 1e-3)?.0, &[x], &[w, b]));
    let (x, sets) = (matrix(device, 13, 6, 4), RowSets::from_sizes([2, 0, 4]));
    outcomes.push(outcome(D::set_mean(x.leaky_trace(), &sets)?, &[x.clone()], &[]));
    let scales = matrix(device, 14, 3, 8);
    outcomes.push(outcome(D::film(x.leaky_trace(), scales.leaky_trace(), &sets)?, &[x, scales], &[]));
    let (x, frequencies) = (matrix(device, 15, 9, 1), vector(device, 16, 5));
    outcomes.push(outcome(D::fourier(x.leaky_trace(), &frequencies)?, &[x], &[frequencies]));
    Ok(outcomes)
}

fn losses<D: Backend>(device: &D) -> Result<Vec<Outcome>> {
    let (cells, genes) = (9, 150);
    let sizes = normal(cells, 14).iter().map(|x| 400.0 + 50.0 * x).collect();
    let target = CountTarget { counts: counts(cells, genes), library_size: sizes, with_remainder: true };
    let (logits, theta) = (matrix(device, 17, cells, genes), matrix(device, 18, cells, genes));
    let y = D::count_nll(logits.leaky_trace(), Dispersion::CellGene(theta.leaky_trace()), None, &target)?;
    let mut outcomes = vec![of_vector(y, &[logits, theta])];
    let (z, to) = (matrix(device, 19, 30, 6), matrix(device, 20, 30, 6));
    let loss = D::embedding_loss(z.leaky_trace(), &to, EmbeddingLoss::default())?;
    outcomes.push(of_vector(loss, &[z.clone()]));
    outcomes.push(of_vector(vicreg::variance(z.leaky_trace())?, &[z.clone()]));
    outcomes.push(of_vector(vicreg::covariance(z.leaky_trace())?, &[z]));
    Ok(outcomes)
}

fn attention<D: Backend>(device: &D) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (queries, keys, heads, width) in
        [(vec![3, 3], vec![3, 3], 2, 6), (vec![1, 2, 1], vec![2, 0, 7], 4, 8), (vec![50, 3], vec![70, 40], 2, 8)]
    {
        let (queries, keys) = (RowSets::from_sizes(queries), RowSets::from_sizes(keys));
        let q = matrix(device, 21, queries.rows(), width);
        let kv = matrix(device, 22, keys.rows(), 2 * width);
        let spec = AttentionSpec { queries, keys, heads, dropout: None };
        outcomes.push(outcome(D::attention(q.leaky_trace(), kv.leaky_trace(), &spec)?, &[q, kv], &[]));
    }
    Ok(outcomes)
}

/// Compares what two devices make of a group of operations.
macro_rules! agree {
    ($($name:ident),*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn agrees_with_the_cpu() {
                let cuda = Cuda::try_build(0, 0).expect("the program starts only where there is a driver; a GPU is needed too");
                let (here, there) = (super::$name(&Cpu::default()), super::$name(&cuda));
                let pairs = here.expect("on the CPU").into_iter().zip(there.expect("on CUDA"));
                for (number, ((output, gradients), (output_there, gradients_there))) in pairs.enumerate() {
                    let what = format!("{} {number}", stringify!($name));
                    close(&format!("{what}: output"), &output_there, &wide(&output), TOLERANCE, 1.0);
                    for (got, want) in gradients_there.iter().zip(&gradients) {
                        close(&format!("{what}: gradient"), got, &wide(want), TOLERANCE, 1.0);
                    }
                }
            }
        })*
    };
}
agree!(layers, elements, losses, attention);
