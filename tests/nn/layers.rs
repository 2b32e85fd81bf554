//! Layers: initial weights, names, training and inference.

use super::harness::*;
use genailab::{
    Result,
    dfdx::prelude::{Cpu, HasShape, NoneTape, Shape, Tensor, TensorFromVec, ZerosTensor},
    nn::{
        Activation, BatchNorm, Dropout, Embedding, FinishConfig, IndexSets, LayerNorm, Linear, Mlp, Norm, Params,
        SparseLinear, Visitor,
    },
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::sync::Arc;

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

#[derive(Default)]
struct Names(Vec<String>);

impl Visitor<Cpu> for Names {
    fn param<S: Shape>(&mut self, name: &str, _: &Tensor<S, f32, Cpu>) -> Result<()> {
        self.0.push(name.into());
        Ok(())
    }
    fn buffer<S: Shape>(&mut self, name: &str, _: &Tensor<S, f32, Cpu>) -> Result<()> {
        self.0.push(format!("({name})"));
        Ok(())
    }
}

#[test]
fn linear_starts_as_in_pytorch() {
    let layer = Linear::new(&Cpu::default(), 400, 100, &mut rng()).expect("memory");
    let bound = 0.05; // 1 / sqrt(400)
    for values in [layer.weight.as_vec(), layer.bias.as_vec()] {
        let n = values.len() as f32;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / n;
        assert!(values.iter().all(|v| v.abs() <= bound));
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.5, "the variance of a uniform one, not {variance}");
    }
    let again = Linear::new(&Cpu::default(), 400, 100, &mut rng()).expect("memory");
    assert_eq!(layer.weight.as_vec(), again.weight.as_vec(), "the seed decides");
    let sparse = SparseLinear::new(&Cpu::default(), 400, 100, &mut rng()).expect("memory");
    assert_eq!(layer.weight.as_vec(), sparse.weight.as_vec());
}

#[test]
fn a_double_is_the_sum_of_its_singles() {
    let table = Embedding::new(&Cpu::default(), 6, 4, &mut rng()).expect("memory");
    let sets = Arc::new(IndexSets::from_sets([&[][..], &[5], &[2], &[2, 5]]));
    let y = table.forward(&sets, NoneTape).expect("the indices are there").as_vec();
    assert_eq!(y[..4], [0.0; 4], "the control");
    for j in 0..4 {
        assert!((y[12 + j] - y[4 + j] - y[8 + j]).abs() < 1e-6);
    }
    let looked_up = table.forward(&Arc::new(IndexSets::from_indices(vec![5, 2])), NoneTape).expect("there");
    assert_eq!(looked_up.as_vec(), y[4..12]);
}

#[test]
fn batch_norm_keeps_running_moments_as_pytorch_does() {
    let case = reference("batch_norm");
    let mut layer = BatchNorm::new(&Cpu::default(), 5).expect("memory");
    let x = matrix(&case.inputs["x"], 5);
    layer.forward_training(x.clone()).expect("6 rows");
    close("running_mean", &layer.running_mean.as_vec(), &case.running_mean, 1e-5, 1.0);
    close("running_var", &layer.running_var.as_vec(), &case.running_var, 1e-5, 1.0);
    close("at inference", &layer.forward(x).expect("fits").as_vec(), &case.eval_output, 1e-5, 1.0);
    let one = Cpu::default().zeros_like(&(1, 5));
    let error = layer.forward_training(one).expect_err("one row has no variance");
    assert!(error.to_string().contains("at least 2 rows"), "{error}");
}

#[test]
fn layer_norm_starts_as_the_plain_normalisation() {
    let layer = LayerNorm::new(&Cpu::default(), 4).expect("memory");
    let y = layer.forward(matrix(&[1.0, 2.0, 3.0, 4.0], 4)).expect("fits").as_vec();
    close("y", &y, &[-1.341635, -0.447212, 0.447212, 1.341635], 1e-5, 1.0);
}

#[test]
fn dropout_keeps_the_mean() {
    let x = Cpu::default().tensor_from_vec(vec![1.0; 40_000], (200, 200));
    let y = Dropout::new(0.3).expect("a probability").forward(x.clone(), &mut rng()).expect("fits").as_vec();
    let dropped = y.iter().filter(|&&v| v == 0.0).count() as f64 / 40_000.0;
    // 4 standard deviations of a binomial fraction
    assert!((dropped - 0.3).abs() < 4.0 * (0.3f64 * 0.7 / 40_000.0).sqrt(), "{dropped}");
    assert!(y.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.7).abs() < 1e-6));
    let same = Dropout::new(0.0).expect("a probability").forward(x, &mut rng()).expect("fits");
    assert_eq!(same.as_vec(), vec![1.0; 40_000]);
    for p in [-0.1, 1.0, f32::NAN] {
        assert!(Dropout::new(p).is_err(), "{p} is refused");
    }
}

#[test]
fn an_mlp_names_its_tensors() {
    for (norm, names) in [
        (Norm::None, vec!["0.linear.weight", "0.linear.bias", "1.linear.weight", "1.linear.bias"]),
        (
            Norm::Batch,
            vec![
                "0.linear.weight",
                "0.linear.bias",
                "0.finish.batch_norm.weight",
                "0.finish.batch_norm.bias",
                "(0.finish.batch_norm.running_mean)",
                "(0.finish.batch_norm.running_var)",
            ],
        ),
        (
            Norm::Layer,
            vec!["0.linear.weight", "0.linear.bias", "0.finish.layer_norm.weight", "0.finish.layer_norm.bias"],
        ),
    ] {
        let config = FinishConfig { norm, ..Default::default() };
        let mlp = Mlp::new(&Cpu::default(), &[3, 5, 2], config, &mut rng()).expect("memory");
        let mut visitor = Names::default();
        mlp.walk("", &mut visitor).expect("the visitor does not fail");
        assert_eq!(visitor.0[..names.len()], names);
    }
}

#[test]
fn an_mlp_without_randomness_is_the_same_in_training() {
    let config = FinishConfig { norm: Norm::Layer, activation: Activation::Gelu, dropout: 0.0 };
    let mut mlp = Mlp::new(&Cpu::default(), &[3, 5, 2], config, &mut rng()).expect("memory");
    let x = matrix(&normal(12, 1), 3);
    let (inference, training) = (mlp.forward(x.clone()), mlp.forward_training(x, &mut rng()));
    let (inference, training) = (inference.expect("fits"), training.expect("fits"));
    assert_eq!(*inference.shape(), (4, 2));
    assert_eq!(inference.as_vec(), training.as_vec());
}
