//! Packing is exact: a sequence's outputs and gradients are those that it has alone.

use super::{net, small, tokens};
use genailab::{
    Result,
    dfdx::prelude::*,
    model::static_dynamic::{Packed, Shown, TokenSequence, VelocityNet, noise},
    ndarray::{Array2, Axis, concatenate, s},
    nn::{GradientBuffers, Params, Visitor, ops, seeded},
    train::BatchSource,
};
use std::collections::BTreeMap;

/// Single precision on sums of some tens of terms.
const TOLERANCE: f32 = 1e-5;

fn sequences() -> Vec<(TokenSequence, Shown)> {
    let filled = Shown { tokens: vec![0, 2, 3], given: vec![true, false, true] };
    vec![
        (tokens(4, false, 1), Shown::first(4, 1)),
        (tokens(1, true, 2), Shown::first(1, 0)),
        (tokens(5, false, 3), filled),
        (tokens(2, false, 4), Shown::first(2, 0)),
    ]
}

fn packed(sequences: &[(TokenSequence, Shown)]) -> Packed {
    Packed::of(&sequences.iter().map(|(tokens, shown)| (tokens, shown.clone())).collect::<Vec<_>>())
}

fn output(net: &VelocityNet<Cpu>, packed: &Packed, times: &[f32], x: &Array2<f32>) -> Array2<f32> {
    ops::download(&net.forward(x, times, packed, NoneTape).expect("shapes fit"))
}

const TIMES: [f32; 4] = [0.1, 0.9, 0.5, 0.3];

#[test]
fn a_packed_batch_gives_what_each_sequence_gives_alone_and_no_sequence_sees_another() {
    let (net, sequences) = (net(3, 2, &small()), sequences());
    let batch = packed(&sequences);
    assert_eq!(batch.len(), 10, "no token is filled in");
    let x = noise((10, 3), &mut seeded(5));
    let together = output(&net, &batch, &TIMES, &x);
    for (number, range) in batch.sets.ranges().enumerate() {
        let alone = packed(&sequences[number..=number]);
        let own = output(&net, &alone, &TIMES[number..=number], &x.slice(s![range.clone(), ..]).to_owned());
        let difference = (&together.slice(s![range, ..]) - &own).mapv(f32::abs);
        assert!(difference.iter().all(|d| *d < TOLERANCE), "sequence {number}: {difference}");
    }
    // Another first sequence, of another length and other numbers: the rest stays as it was.
    let mut other = sequences.clone();
    other[0] = (tokens(3, false, 9), Shown::first(3, 1));
    let changed = concatenate(Axis(0), &[noise((3, 3), &mut seeded(6)).view(), x.slice(s![4.., ..])]).expect("columns");
    let rest = output(&net, &packed(&other), &[0.7, TIMES[1], TIMES[2], TIMES[3]], &changed);
    let difference = &rest.slice(s![3.., ..]) - &together.slice(s![4.., ..]);
    assert!(difference.iter().all(|d| d.abs() < TOLERANCE));
    // The tokens of one sequence do see each other.
    let mut moved = x.clone();
    moved[[1, 0]] += 1.0;
    let seen = output(&net, &batch, &TIMES, &moved);
    assert!((seen[[3, 0]] - together[[3, 0]]).abs() > 1e-3);
}

struct Collect<'a>(&'a mut Gradients<f32, Cpu>, BTreeMap<String, Vec<f32>>);

impl Visitor<Cpu> for Collect<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, Cpu>) -> Result<()> {
        let gradient = self.0.get_or_alloc_mut(tensor).expect("memory for a small gradient");
        self.1.insert(name.to_owned(), gradient.to_vec());
        Ok(())
    }
}

/// Loss and the gradient of each weight, times the number of generated tokens: sums, which add up over sequences.
fn sums(net: &VelocityNet<Cpu>, packed: &Packed, times: &[f32], noise: &Array2<f32>) -> BTreeMap<String, Vec<f32>> {
    let mut buffers = GradientBuffers::default();
    let tape = buffers.tape(net, &Cpu::default()).expect("a tape");
    let loss = net.matching(packed, times, noise, tape).expect("a loss");
    let weight = packed.generated().len() as f32;
    let value = weight * ops::to_f32(&loss);
    let mut gradients = loss.backward();
    let mut collected = Collect(&mut gradients, BTreeMap::new());
    net.walk("", &mut collected).expect("a walk");
    let mut all: BTreeMap<String, Vec<f32>> =
        collected.1.into_iter().map(|(name, values)| (name, values.iter().map(|v| v * weight).collect())).collect();
    all.insert("loss".to_owned(), vec![value]);
    all
}

#[test]
fn loss_and_gradients_of_a_packed_batch_are_the_sums_over_its_sequences() {
    let (net, sequences) = (net(3, 2, &small()), sequences());
    let batch = packed(&sequences);
    let noise = noise((10, 3), &mut seeded(7));
    let together = sums(&net, &batch, &TIMES, &noise);
    let mut added: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for (number, range) in batch.sets.ranges().enumerate() {
        let alone = packed(&sequences[number..=number]);
        let own = sums(&net, &alone, &TIMES[number..=number], &noise.slice(s![range, ..]).to_owned());
        for (name, values) in own {
            let sum = added.entry(name).or_insert_with(|| vec![0.0; values.len()]);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
    for (name, sum) in &added {
        for (own, whole) in sum.iter().zip(&together[name]) {
            assert!((own - whole).abs() < TOLERANCE * 10.0 * (1.0 + whole.abs()), "{name}: {own} and {whole}");
        }
    }
    let steepest = added.values().flatten().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(steepest > 0.1);
}

#[test]
fn tasks_of_training_always_generate_something_and_reach_all_four_kinds() {
    let mut rng = seeded(0);
    let mut kinds = [0; 4];
    for _ in 0..400 {
        let shown = Shown::draw(6, &mut rng);
        assert!(shown.tokens.is_sorted() && shown.given.len() == shown.tokens.len());
        assert!(shown.given.iter().any(|given| !given), "{shown:?}");
        let first = shown.given.iter().take_while(|given| **given).count();
        let all = shown.given.iter().filter(|given| **given).count();
        let kind = match (first, all) {
            (0, 0) => 0,
            (1, 1) => 1,
            (first, all) if first == all => 2,
            _ => 3,
        };
        kinds[kind] += 1;
    }
    assert!(kinds.iter().all(|count| *count > 20), "{kinds:?}");
    assert_eq!(Shown::draw(1, &mut rng), Shown::first(1, 0));
}

#[test]
fn a_small_set_fills_batches_by_repetition() {
    let set = genailab::model::static_dynamic::SequenceSet {
        sequences: vec![tokens(2, false, 1).into(), tokens(1, true, 2).into()],
        repeats: 3,
    };
    assert_eq!(set.len(), 6);
    let batch = set.batch(&[0, 1, 4]).expect("rows");
    assert_eq!(batch.iter().map(|tokens| tokens.len()).collect::<Vec<_>>(), [2, 1, 2]);
}
