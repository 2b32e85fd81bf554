//! Layers made of attention, against PyTorch's: outputs, and the gradients of inputs and weights.

use super::harness::*;
use genailab::{
    Result,
    dfdx::prelude::*,
    nn::{
        Adam, AdamConfig, AttentionConfig, AttentionPool, CrossAttentionBlock, Film, FourierFeatures, HostTensor,
        Matrix, MultiHeadAttention, Params, RowSets, SetEncoder, SetEncoderConfig, Snapshot, TensorInfo,
        TransformerBlock, Visitor, ops, tensors,
    },
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::collections::BTreeMap;

const TOLERANCE: f64 = 1e-5;
const WIDTH: usize = 4;
const CONFIG: AttentionConfig = AttentionConfig { heads: 2, dropout: 0.0 };

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

fn sets(sizes: &[usize]) -> RowSets {
    RowSets::from_sizes(sizes.iter().copied())
}

/// The gradient of each weight, by name.
struct Collect<'a>(&'a Gradients<f32, Cpu>, BTreeMap<String, Vec<f32>>);

impl Visitor<Cpu> for Collect<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, Cpu>) -> Result<()> {
        self.1.insert(name.into(), self.0.get(tensor).as_vec());
        Ok(())
    }
}

/// Gives `model` the weights of the case, runs it on the case's inputs (name and width) and compares everything.
#[track_caller]
fn matches<M: Params<Cpu>>(
    name: &str,
    mut model: M,
    inputs: &[(&str, usize)],
    forward: impl Fn(&M, Vec<Matrix<Cpu, Taped>>, &RowSets, &RowSets) -> Result<Matrix<Cpu, Taped>>,
) {
    let case = reference(name);
    let mut snapshot = Snapshot::default();
    for tensor in tensors(&model).expect("no failure") {
        let values = case.weights.get(&tensor.name).unwrap_or_else(|| panic!("the case has no `{}`", tensor.name));
        snapshot.insert(tensor.name, HostTensor { shape: tensor.shape, values: values.clone() });
    }
    assert_eq!(snapshot.tensors().len(), case.weights.len(), "{name}: every weight of the case has a place");
    snapshot.restore(&mut model).expect("names and shapes fit");

    let leaves: Vec<_> = inputs.iter().map(|&(input, width)| matrix(&case.inputs[input], width)).collect();
    let traced = leaves.iter().map(|leaf| leaf.leaky_trace()).collect();
    let y = forward(&model, traced, &sets(&case.queries), &sets(&case.keys)).expect("shapes fit");
    close(&format!("{name}: output"), &y.as_vec(), &case.output, TOLERANCE, 1.0);
    let upstream = y.device().tensor_from_vec(case.upstream.clone(), *y.shape());
    let gradients = (y * upstream).sum::<Rank0, _>().backward();
    for ((input, _), leaf) in inputs.iter().zip(&leaves) {
        let what = format!("{name}: gradient of {input}");
        close(&what, &gradients.get(leaf).as_vec(), &case.gradients[*input], TOLERANCE, 1.0);
    }
    let mut collected = Collect(&gradients, BTreeMap::new());
    model.walk("", &mut collected).expect("the visitor does not fail");
    for (weight, gradient) in &collected.1 {
        close(&format!("{name}: gradient of {weight}"), gradient, &case.weight_gradients[weight], TOLERANCE, 1.0);
    }
}

/// One input, taken out.
fn one(inputs: Vec<Matrix<Cpu, Taped>>) -> Matrix<Cpu, Taped> {
    let [x] = <[_; 1]>::try_from(inputs).expect("one input");
    x
}

fn two(inputs: Vec<Matrix<Cpu, Taped>>) -> [Matrix<Cpu, Taped>; 2] {
    <[_; 2]>::try_from(inputs).expect("two inputs")
}

#[test]
fn attention_matches_pytorch() {
    let dev = Cpu::default();
    let layer = MultiHeadAttention::new(&dev, WIDTH, WIDTH, CONFIG, &mut rng()).expect("memory");
    matches("self_attention", layer, &[("x", WIDTH)], |layer, inputs, queries, keys| {
        let (x, tape) = one(inputs).split_tape();
        layer.forward(x.clone().put_tape(tape), x.retaped(), queries, keys)
    });
    let layer = MultiHeadAttention::new(&dev, WIDTH, 6, CONFIG, &mut rng()).expect("memory");
    matches("cross_attention", layer, &[("x", WIDTH), ("context", 6)], |layer, inputs, queries, keys| {
        let [x, context] = two(inputs);
        layer.forward(x, context, queries, keys)
    });
}

#[test]
fn blocks_match_pytorch() {
    let dev = Cpu::default();
    let block = TransformerBlock::new(&dev, WIDTH, CONFIG, &mut rng()).expect("memory");
    matches("transformer_block", block, &[("x", WIDTH)], |block, inputs, sets, _| block.forward(one(inputs), sets));
    let block = CrossAttentionBlock::new(&dev, WIDTH, 6, CONFIG, &mut rng()).expect("memory");
    matches("cross_block", block, &[("x", WIDTH), ("context", 6)], |block, inputs, queries, keys| {
        let [x, context] = two(inputs);
        block.forward(x, context, queries, keys)
    });
}

#[test]
fn encoder_and_pool_match_pytorch() {
    let dev = Cpu::default();
    let config = SetEncoderConfig { width: WIDTH, latents: 3, depth: 2, attention: CONFIG };
    let encoder = SetEncoder::new(&dev, 6, config, &mut rng()).expect("memory");
    matches("set_encoder", encoder, &[("x", 6)], |encoder, inputs, latents, keys| {
        assert_eq!(encoder.output_sets(keys), *latents);
        encoder.forward(one(inputs), keys)
    });
    let pool = AttentionPool::new(&dev, WIDTH, CONFIG, &mut rng()).expect("memory");
    matches("attention_pool", pool, &[("x", WIDTH)], |pool, inputs, _, keys| pool.forward(one(inputs), keys));
}

#[test]
fn the_order_of_a_set_does_not_matter() {
    let config = SetEncoderConfig { width: 8, latents: 2, depth: 1, attention: CONFIG };
    let encoder = SetEncoder::new(&Cpu::default(), 3, config, &mut rng()).expect("memory");
    let run = |x: &[f32]| encoder.forward(matrix(x, 3), &sets(&[2, 0, 1])).expect("shapes fit").as_vec();
    let x = normal(9, 1);
    let turned: Vec<f32> = [&x[3..6], &x[..3], &x[6..]].concat();
    let (one, other) = (run(&x), run(&turned));
    close("turned", &other, &wide(&one), 1e-5, 1.0);
    assert!(one.iter().all(|v| v.is_finite()), "the empty set too: {one:?}");
}

#[test]
fn empty_sets_and_sets_of_one_have_an_output() {
    let dev = Cpu::default();
    let pool = AttentionPool::new(&dev, WIDTH, CONFIG, &mut rng()).expect("memory");
    let x = matrix(&normal(2 * WIDTH, 3), WIDTH);
    let y = pool.forward(x.clone(), &sets(&[1, 0, 1])).expect("shapes fit").as_vec();
    assert_eq!(y[WIDTH..2 * WIDTH], pool.attention.output.bias.as_vec(), "of an empty set the output's bias");
    // One token attends to itself alone, whatever it asks.
    let block = TransformerBlock::new(&dev, WIDTH, CONFIG, &mut rng()).expect("memory");
    let mut other = block.clone();
    other.attention.query.weight = dev.zeros_like(&(WIDTH, WIDTH));
    let run =
        |block: &TransformerBlock<Cpu>, sizes| block.forward(x.clone(), &sets(sizes)).expect("shapes fit").as_vec();
    assert_eq!(run(&block, &[1, 1]), run(&other, &[1, 1]));
    assert_ne!(run(&block, &[2]), run(&other, &[2]));
    let error = block.forward(x.clone(), &sets(&[3])).expect_err("there are 2 rows");
    assert_eq!(error.to_string(), "attention: queries: the sets have 3 rows in all, the matrix 2");
    assert!(pool.forward(matrix(&[0.0; 6], 3), &sets(&[2])).is_err(), "3 features are not {WIDTH}");
    let config = SetEncoderConfig { width: WIDTH, latents: 0, depth: 1, attention: CONFIG };
    let error = SetEncoder::new(&dev, 6, config, &mut rng()).expect_err("nothing would be left");
    assert_eq!(error.to_string(), "set encoder: 0 latents leave nothing of a set; take at least 1");
    assert!(MultiHeadAttention::new(&dev, 0, 3, CONFIG, &mut rng()).is_err(), "a width of 0 is refused");
    assert!(MultiHeadAttention::new(&dev, WIDTH, 0, CONFIG, &mut rng()).is_err(), "and a context of 0");
}

#[test]
fn a_batch_of_empty_sets_trains_what_it_uses() {
    // A batch of controls: no token at all, and yet an encoding, the same for each.
    let config = SetEncoderConfig { width: WIDTH, latents: 2, depth: 1, attention: CONFIG };
    let encoder = SetEncoder::new(&Cpu::default(), 3, config, &mut rng()).expect("memory");
    let y = encoder.forward(matrix(&[], 3).leaky_trace(), &sets(&[0, 0])).expect("shapes fit");
    let values = y.as_vec();
    assert_eq!(values[..2 * WIDTH], values[2 * WIDTH..]);
    let upstream = y.device().tensor_from_vec(normal(4 * WIDTH, 5), (4, WIDTH));
    let gradients = (y * upstream).sum::<Rank0, _>().backward();
    let moved = |values: Vec<f32>| {
        assert!(values.iter().all(|g| g.is_finite()), "{values:?}");
        values.iter().any(|&g| g != 0.0)
    };
    assert!(moved(gradients.get(&encoder.latents).as_vec()));
    assert!(moved(gradients.get(&encoder.cross.attention.output.bias).as_vec()));
    assert!(!moved(gradients.get(&encoder.cross.attention.key_value.weight).as_vec()), "no key was seen");
}

#[test]
fn dropout_is_only_for_training() {
    let config = AttentionConfig { heads: 2, dropout: 0.5 };
    let block = TransformerBlock::new(&Cpu::default(), 8, config, &mut rng()).expect("memory");
    let (x, sets) = (matrix(&normal(80, 2), 8), sets(&[10]));
    let inference = block.forward(x.clone(), &sets).expect("shapes fit").as_vec();
    let training = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        block.forward_training(x.clone(), &sets, &mut rng).expect("shapes fit").as_vec()
    };
    assert_eq!(inference, block.forward(x.clone(), &sets).expect("shapes fit").as_vec());
    assert_ne!(inference, training(1));
    assert_ne!(training(1), training(2));
    assert_eq!(training(1), training(1), "the seed decides");
    for config in [AttentionConfig { heads: 3, dropout: 0.0 }, AttentionConfig { heads: 2, dropout: 1.0 }] {
        assert!(TransformerBlock::new(&Cpu::default(), 8, config, &mut rng()).is_err(), "{config:?} is refused");
    }
}

#[test]
fn an_encoder_learns_which_set_holds_an_odd_token() {
    // 0 where all tokens of a set are alike, 1 where two are far from the others: not a matter of the mean.
    let dev = Cpu::default();
    let config = SetEncoderConfig { width: 8, latents: 2, depth: 1, attention: CONFIG };
    let mut encoder = SetEncoder::new(&dev, 4, config, &mut rng()).expect("memory");
    let sets = sets(&[3, 4, 5, 3, 4, 5]);
    let mut values = [0.1; 24];
    for set in [1, 3, 5] {
        let first = sets.range(set).start;
        (values[first], values[first + 1]) = (2.0, -1.8); // the mean of the set stays 0.1
    }
    // Features beside the value, so that the norm of a token leaves something of it.
    let x: Vec<f32> = values.iter().flat_map(|&value| [value, 1.0, 0.0, -1.0]).collect();
    let target: Vec<f32> = (0..6).flat_map(|set| [(set % 2) as f32; 16]).collect();
    let mut adam = Adam::new(AdamConfig::default()).expect("settings");
    let loss = |encoder: &SetEncoder<Cpu>| {
        let y = encoder.forward(matrix(&x, 4).leaky_trace(), &sets).expect("shapes fit");
        let y = y.reshape_like(&(6, 16));
        let error = y - dev.tensor_from_vec(target.clone(), (6, 16));
        error.square().mean::<Rank0, _>()
    };
    let before = ops::to_f32(&loss(&encoder));
    for _ in 0..200 {
        let mut gradients = loss(&encoder).backward();
        adam.step(&mut encoder, &mut gradients, 0.01, None).expect("finite");
    }
    let after = ops::to_f32(&loss(&encoder));
    assert!(after < 0.1 * before, "{before} -> {after}");
}

#[test]
fn layers_name_their_tensors() {
    let film = Film::new(&Cpu::default(), 3, 2).expect("memory");
    let names = |list: Vec<TensorInfo>| list.into_iter().map(|t| (t.name, t.trained)).collect::<Vec<_>>();
    let weights = names(tensors(&film).expect("no failure"));
    assert_eq!(weights, ["weight", "bias"].map(|name| (format!("projection.{name}"), true)));
    for learned in [true, false] {
        let fourier = FourierFeatures::new(&Cpu::default(), 4, (8.0, 1.0), learned).expect("memory");
        assert_eq!(names(tensors(&fourier).expect("no failure")), [("frequencies".to_owned(), learned)]);
        close("frequencies", &fourier.frequencies.as_vec(), &[0.125, 0.25, 0.5, 1.0], 1e-6, 1.0);
    }
    for periods in [(1.0, 8.0), (8.0, 0.0), (f32::NAN, 1.0)] {
        assert!(FourierFeatures::new(&Cpu::default(), 4, periods, false).is_err(), "{periods:?} are refused");
    }
}
