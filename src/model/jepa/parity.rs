//! Both phases held against PyTorch, `tests/reference/jepa.py`: embeddings, the terms of the loss, and its gradient for every
//! trained weight.

use super::{
    CollapseAlarm, EncoderConfig, GroupConfig, LossWeights, MaskPattern, PredictorConfig, PretrainNet,
    PretrainingConfig, Regularise, SetLoss, Size, TokenConfig,
    heads::Backbone,
    response::{
        Asked, ConditionTokens, DecoderNet, EndToEnd, Predictor as ResponsePredictor, PredictorShape, ResponseConfig,
        SetBatch,
    },
    views::Patterns,
};
use crate::{
    Result,
    data::Counts,
    nn::{
        Activation, AttentionConfig, CountTarget, EmaMomentum, GradientBuffers, HostTensor, Linear, Params, RowSets,
        Scalar, SetEncoderConfig, Snapshot, Visitor, init,
    },
    train::StepContext,
};
use dfdx::prelude::{Backward, Cpu, Gradients, OwnedTape, Shape, Tensor};
use ndarray::Array2;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

const GENES: usize = 12;
const WIDTH: usize = 6;
/// Largest difference, as a share of the largest number of the array.
const TOLERANCE: f64 = 1e-4;

/// A case of the reference file.
#[derive(Deserialize)]
struct Case {
    weights: BTreeMap<String, Vec<f32>>,
    gradients: BTreeMap<String, Vec<f64>>,
    inputs: BTreeMap<String, Value>,
    outputs: BTreeMap<String, Vec<f64>>,
}

impl Case {
    fn read(name: &str) -> Self {
        let file = include_str!("../../../tests/reference/jepa.json");
        let mut all: BTreeMap<String, Self> = serde_json::from_str(file).expect("the reference file");
        all.remove(name).expect("there is such a case")
    }

    fn input<T: serde::de::DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_value(self.inputs[name].clone()).expect("an input of this form")
    }

    fn cells(&self, name: &str) -> Array2<f32> {
        let values: Vec<f32> = self.input(name);
        Array2::from_shape_vec((values.len() / GENES, GENES), values).expect("whole cells")
    }

    /// Gives the network the weights of the case, all of them and no others.
    fn fill(&self, net: &mut impl Params<Cpu>) {
        let mut filled = Snapshot::default();
        let shapes = Snapshot::of(net).expect("it walks").into_tensors();
        let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(names(shapes.keys().collect()), names(self.weights.keys().collect()));
        for (name, HostTensor { shape, .. }) in shapes {
            let values = self.weights[&name].clone();
            assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
            filled.insert(name, HostTensor { shape, values });
        }
        filled.restore(net).expect("of these shapes");
    }

    #[track_caller]
    fn close(&self, name: &str, found: impl IntoIterator<Item = f32>) {
        near(name, found, &self.outputs[name], 1e-2);
    }

    /// Holds the gradient of each trained weight against the reference.
    #[track_caller]
    fn gradients_are(&self, net: &impl Params<Cpu>, gradients: &Gradients<f32, Cpu>) {
        let mut found = Found { gradients, all: BTreeMap::new() };
        net.walk("", &mut found).expect("it walks");
        let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(names(found.all.keys().collect()), names(self.gradients.keys().collect()));
        for (name, values) in found.all {
            near(&name, values, &self.gradients[&name], 1e-2);
        }
    }
}

#[track_caller]
fn near(name: &str, found: impl IntoIterator<Item = f32>, wanted: &[f64], least: f64) {
    let found: Vec<f32> = found.into_iter().collect();
    assert_eq!(found.len(), wanted.len(), "{name}");
    let scale = wanted.iter().fold(least, |scale, value| scale.max(value.abs()));
    for (place, (&found, wanted)) in found.iter().zip(wanted).enumerate() {
        let off = (f64::from(found) - wanted).abs() / scale;
        assert!(off < TOLERANCE, "{name}[{place}]: {found}, PyTorch {wanted}");
    }
}

/// Collects gradients by name.
struct Found<'a> {
    gradients: &'a Gradients<f32, Cpu>,
    all: BTreeMap<String, Vec<f32>>,
}

impl Visitor<Cpu> for Found<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, Cpu>) -> Result<()> {
        self.all.insert(name.to_owned(), self.gradients.get(tensor).as_vec());
        Ok(())
    }
}

fn config(kind: &str) -> PretrainingConfig {
    let attention = AttentionConfig { heads: 2, dropout: 0.0 };
    let (encoder, base) = match kind {
        "groups" => {
            let sizes = GroupConfig { groups: 3, hidden: 5, tokens: 4, depth: 1, ..GroupConfig::of(Size::Tiny) };
            let groups = GroupConfig { attention, predictor_depth: 2, ..sizes };
            (EncoderConfig::Groups(groups), PretrainingConfig::groups(Size::Tiny))
        }
        _ => {
            let set = SetEncoderConfig { width: 4, latents: 2, depth: 1, attention };
            let tokens = TokenConfig { identity: 3, frequencies: 2, zeros: GENES, set };
            (EncoderConfig::Tokens(tokens), PretrainingConfig::tokens(Size::Tiny))
        }
    };
    PretrainingConfig { encoder, width: WIDTH, predictor: PredictorConfig { hidden: vec![7], pointer: 3 }, ..base }
}

fn tape(net: &impl Params<Cpu>) -> OwnedTape<f32, Cpu> {
    GradientBuffers::default().tape(net, &Cpu::default()).expect("memory")
}

fn context(rng: &mut ChaCha8Rng) -> StepContext<'_> {
    StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: false, rng }
}

#[test]
fn phase_a_is_that_of_pytorch() {
    for kind in ["groups", "perceiver"] {
        let case = Case::read(&format!("phase_a_{kind}"));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut net = PretrainNet::new(&Cpu::default(), GENES, &config(kind), &mut rng).expect("it fits");
        case.fill(&mut net);
        let cells = Counts::from_dense(&case.cells("cells"));
        let drawn: Vec<(Vec<u32>, Vec<Vec<u32>>)> = case.input("patterns");
        let (both, tape, mut context) = ([cells.clone(), cells], tape(&net), context(&mut rng));
        let predicted = match kind {
            "groups" => net.hidden_places_of(both, &drawn, tape, &mut context),
            _ => {
                let rows = both[0].n_cells();
                let pattern = |(hidden, targets)| MaskPattern { hidden, targets };
                let patterns = Patterns::of(drawn.into_iter().map(pattern).collect(), GENES, rows);
                net.masked_of(both, &patterns, tape, &mut context, false)
            }
        };
        let predicted = predicted.expect("it computes");
        case.close("z", predicted.student.iter().copied());
        let mut parts = Vec::new();
        let total = net.total(predicted.loss, predicted.apart, &mut parts).expect("it computes");
        case.close("prediction", [parts[0].1]);
        loss_and_gradients_are(&case, &net, total);
    }
}

#[track_caller]
fn loss_and_gradients_are(case: &Case, net: &impl Params<Cpu>, total: Scalar<Cpu, OwnedTape<f32, Cpu>>) {
    case.close("loss", [crate::nn::ops::to_f32(&total)]);
    case.gradients_are(net, &total.backward());
}

/// The two parts of the molecules of each perturbed cell, and the share of the first.
type Parts = ([Counts; 2], Vec<f32>);

/// The network of a case of phase B with its weights, its batch, and the parts of its perturbed cells.
fn phase_b(kind: &str, settings: &ResponseConfig) -> (Case, EndToEnd<Cpu>, SetBatch, Parts) {
    let case = Case::read(&format!("phase_b_{kind}"));
    let (device, mut rng) = (Cpu::default(), ChaCha8Rng::seed_from_u64(1));
    let mut tower = || Backbone::new(&device, GENES, &config(kind), &mut rng).expect("it fits");
    let towers = (tower(), tower());
    let zeros = |shape| init::constant(&device, shape, 0.0).expect("memory");
    let standard =
        Linear { weight: zeros((WIDTH, WIDTH)), bias: init::constant(&device, (WIDTH,), 0.0).expect("memory") };
    let columns = case.input("columns");
    let shape = PredictorShape { width: WIDTH, effects: 4, levels: 0, library: false };
    let predictor = ResponsePredictor::new(&device, shape, columns, settings, &mut rng).expect("it fits");
    let decoder = DecoderNet::new(&device, (WIDTH, 0, GENES), true, &mut rng).expect("it fits");
    let still = EmaMomentum::Constant { momentum: 1.0 };
    let mut net = EndToEnd::new(towers, standard, predictor, decoder, (settings, still), CollapseAlarm::default());
    case.fill(&mut net);

    let (first, second) = (case.cells("first"), case.cells("second"));
    let genes: Vec<Vec<u32>> = case.input("genes");
    let effects: Vec<Vec<(u32, f32)>> = case.input("effects");
    let mut effects = effects.into_iter();
    let tokens: Vec<ConditionTokens> = genes
        .into_iter()
        .map(|genes| ConditionTokens {
            effects: effects.by_ref().take(genes.len()).collect(),
            genes,
            levels: Vec::new(),
        })
        .collect();
    let sizes: Vec<usize> = case.input("control_sets");
    let scale: Vec<f32> = case.input("scale");
    let measured = Counts::from_dense(&(&first + &second));
    let library: Vec<f32> = case.input("library_size");
    let profiles: Vec<f32> = case.input("profiles");
    let batch = SetBatch {
        controls: Arc::new(Counts::from_dense(&case.cells("controls"))),
        asked: Asked::of(sizes.into_iter().zip(&tokens)),
        perturbed: Arc::new(measured.clone().scale_rows(&scale)),
        perturbed_sets: RowSets::from_sizes(case.input::<Vec<usize>>("perturbed_sets")),
        target: CountTarget { counts: Arc::new(measured), library_size: library.into(), with_remainder: true },
        scale,
        profiles: Array2::from_shape_vec((2, GENES + 1), profiles).expect("a row a set"),
        entropy: 0.0,
    };
    let parts = ([Counts::from_dense(&first), Counts::from_dense(&second)], case.input("share"));
    (case, net, batch, parts)
}

#[test]
fn phase_b_is_that_of_pytorch() {
    for kind in ["groups", "perceiver"] {
        let settings = ResponseConfig { hidden: 5, dropout: 0.0, ..ResponseConfig::default() };
        let (case, mut net, batch, parts) = phase_b(kind, &settings);
        case.close("target", net.taught(&batch.perturbed).expect("it computes").as_vec());
        let tape = tape(&net);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let loss = net.loss_of(&batch, parts, tape, &mut context(&mut rng)).expect("it computes");
        for name in ["energy", "means", "profile", "nll", "variance", "covariance"] {
            let part = loss.parts.iter().find(|(part, _)| *part == name).expect("a part of the loss");
            case.close(name, [part.1]);
        }
        loss_and_gradients_are(&case, &net, loss.total);
    }
}

/// Of the distance of sets and of what is held apart alone.
fn only(energy: f32, apart: f32) -> LossWeights {
    LossWeights {
        energy,
        means: 0.0,
        profile: 0.0,
        counts: 0.0,
        variance: apart,
        covariance: apart,
        ..LossWeights::default()
    }
}

/// A step along the gradient, in the length of all weights that move.
const STEP: f64 = 1e-2;

#[test]
fn every_distance_and_what_is_held_apart_have_the_gradient_of_finite_differences() {
    let of = |distance, regularise, activation, weights| ResponseConfig {
        hidden: 5,
        dropout: 0.0,
        distance,
        regularise,
        activation,
        weights,
        ..ResponseConfig::default()
    };
    let cases = [
        of(SetLoss::Energy, Regularise::Usual, Activation::Silu, only(1.0, 1.0)),
        of(SetLoss::Mmd, Regularise::Usual, Activation::Gelu, only(1.0, 0.0)),
        of(SetLoss::SlicedWasserstein, Regularise::Usual, Activation::Silu, only(1.0, 0.0)),
        of(SetLoss::Energy, Regularise::Predictions, Activation::Gelu, only(0.0, 1.0)),
    ];
    for settings in cases {
        let (_, mut net, batch, parts) = phase_b("groups", &settings);
        let loss = |net: &mut EndToEnd<Cpu>| {
            let tape = tape(net);
            // The same directions of the sliced distance in each.
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            net.loss_of(&batch, parts.clone(), tape, &mut context(&mut rng)).expect("it computes").total
        };
        let gradients = loss(&mut net).backward();
        let mut found = Found { gradients: &gradients, all: BTreeMap::new() };
        net.walk("", &mut found).expect("it walks");
        let start = Snapshot::of(&net).expect("it walks").into_tensors();
        for part in ["student", "predictor"] {
            let moved: BTreeMap<&String, &Vec<f32>> =
                found.all.iter().filter(|(name, _)| name.starts_with(part)).collect();
            let norm =
                moved.values().flat_map(|values| values.iter()).map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let mut at = |step: f64| {
                let mut there = Snapshot::default();
                for (name, HostTensor { shape, values }) in &start {
                    let mut values = values.clone();
                    if let Some(gradient) = moved.get(name) {
                        values.iter_mut().zip(*gradient).for_each(|(v, g)| *v += (step * f64::from(*g) / norm) as f32);
                    }
                    there.insert(name.clone(), HostTensor { shape: shape.clone(), values });
                }
                there.restore(&mut net).expect("of these shapes");
                f64::from(crate::nn::ops::to_f32(&loss(&mut net)))
            };
            let numeric = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!(norm > 1e-3, "{part} of {settings:?} has no gradient");
            assert!((numeric / norm - 1.0).abs() < 0.02, "{part} of {settings:?}: {norm}, differences {numeric}");
        }
    }
}
