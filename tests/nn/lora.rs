//! Low-rank additions and bottleneck adapters: against PyTorch, against finite differences, and what stays as it was.

use super::harness::{Outcome, Taped, matrix, normal, vector};
use genailab::{
    ErrorKind, Result,
    dfdx::prelude::*,
    nn::{
        Adapted, AdapterFile, Bottleneck, Frozen, Linear, Lora, LoraConfig, LoraLinear, Mask, Mlp, Params, Snapshot,
        Visitor, VisitorMut, hash_of, ops, seeded, tensors,
    },
    train::{BatchSource, Loss, Run, StepContext, TrainConfig, Trainable, fit},
};
use serde_json::Value;

const CONFIG: LoraConfig = LoraConfig { rank: 3, alpha: 6.0 };

fn reference(case: &str) -> (impl Fn(&str) -> Vec<f32>, Outcome, Vec<f32>) {
    let text = include_str!("../reference/lora.json");
    let all: Value = serde_json::from_str(text).expect("JSON");
    let case = all[case].clone();
    let read = |values: &Value| -> Vec<f32> {
        values.as_array().expect("numbers").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
    };
    let gradients = case["gradients"].as_object().expect("by name").values().map(read).collect();
    let outcome = Outcome { output: read(&case["output"]), gradients };
    let upstream = read(&case["upstream"]);
    (move |name: &str| read(&case["inputs"][name]), outcome, upstream)
}

#[track_caller]
fn close(found: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(1e-12_f32, |most, v| most.max(v.abs()));
    let off = found.iter().zip(wanted).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(off <= 1e-5 * scale, "{what}: {off} of {scale}");
}

fn layer(read: &dyn Fn(&str) -> Vec<f32>) -> LoraLinear<Cpu> {
    let base = Linear { weight: matrix(&read("w"), 6), bias: vector(&read("b")) };
    let mut layer = LoraLinear::new(base, CONFIG, &mut seeded(0)).expect("a small layer");
    (layer.lora.a, layer.lora.b) = (matrix(&read("a"), 3), matrix(&read("m"), 6));
    layer
}

#[test]
fn a_layer_with_an_addition_and_its_gradients_are_those_of_pytorch() {
    let (read, wanted, upstream) = reference("lora");
    let layer = layer(&read);
    let x = matrix(&read("x"), 7);
    let y: Matrix = layer.forward(x.leaky_trace()).expect("shapes fit");
    close(&y.as_vec(), &wanted.output, "output");
    let gradients = (y * matrix(&upstream, 6)).sum::<Rank0, _>().backward();
    // By name: a, b, m, w, x; of b and w the base's, which is not trained but has a gradient all the same.
    close(&gradients.get(&layer.lora.a).as_vec(), &wanted.gradients[0], "A");
    close(&gradients.get(&layer.lora.b).as_vec(), &wanted.gradients[2], "B");
    close(&gradients.get(&x).as_vec(), &wanted.gradients[4], "x");
}

type Matrix = Tensor<(usize, usize), f32, Cpu, Taped>;

#[test]
fn a_bottleneck_and_its_gradients_are_those_of_pytorch() {
    let (read, wanted, upstream) = reference("bottleneck");
    let linear = |w: &str, b: &str, width| Linear { weight: matrix(&read(w), width), bias: vector(&read(b)) };
    let adapter = Bottleneck { down: linear("down", "d", 2), up: linear("up", "u", 6) };
    let x = matrix(&read("x"), 6);
    let y: Matrix = adapter.forward(x.leaky_trace()).expect("shapes fit");
    close(&y.as_vec(), &wanted.output, "output");
    let gradients = (y * matrix(&upstream, 6)).sum::<Rank0, _>().backward();
    // By name: d, down, u, up, x.
    close(&gradients.get(&adapter.down.bias).as_vec(), &wanted.gradients[0], "d");
    close(&gradients.get(&adapter.down.weight).as_vec(), &wanted.gradients[1], "D");
    close(&gradients.get(&adapter.up.bias).as_vec(), &wanted.gradients[2], "u");
    close(&gradients.get(&adapter.up.weight).as_vec(), &wanted.gradients[3], "U");
    close(&gradients.get(&x).as_vec(), &wanted.gradients[4], "x");
}

#[test]
fn a_merged_layer_gives_what_the_two_terms_give() {
    let (read, _, _) = reference("lora");
    let layer = layer(&read);
    let x = matrix(&normal(40 * 7, 1), 7);
    let (apart, merged) =
        (layer.forward(x.clone()).expect("fits"), layer.merge().expect("fits").forward(x).expect("fits"));
    let scale = apart.as_vec().iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    let off = apart.as_vec().iter().zip(merged.as_vec()).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(off <= 1e-6 * scale, "{off} of {scale}");
}

#[test]
fn a_rank_of_zero_and_a_weight_of_another_shape_are_refused() {
    let none = LoraConfig { rank: 0, ..CONFIG };
    assert_eq!(none.validate().expect_err("no rank").kind(), ErrorKind::Config);
    let lora = Lora::new(&Cpu::default(), (7, 6), CONFIG, &mut seeded(0)).expect("fits");
    assert!(lora.merged(&matrix(&normal(12, 0), 6), NoneTape).is_err());
}

/// A perceptron that is trained to give a fixed answer.
#[derive(Debug, Clone)]
struct Net {
    body: Mlp<Cpu>,
    head: Linear<Cpu>,
    fixed: Frozen<Linear<Cpu>>,
}

impl Params<Cpu> for Net {
    fn walk<V: Visitor<Cpu>>(&self, _: &str, visitor: &mut V) -> Result<()> {
        self.body.walk("body", visitor)?;
        self.head.walk("head", visitor)?;
        self.fixed.walk("fixed", visitor)
    }
    fn walk_mut<V: VisitorMut<Cpu>>(&mut self, _: &str, visitor: &mut V) -> Result<()> {
        self.body.walk_mut("body", visitor)?;
        self.head.walk_mut("head", visitor)?;
        self.fixed.walk_mut("fixed", visitor)
    }
}

impl Net {
    fn new(seed: u64) -> Self {
        let (device, mut rng) = (Cpu::default(), seeded(seed));
        let body = Mlp::new(&device, &[6, 10, 8], Default::default(), &mut rng).expect("small");
        let mut linear = |out| Linear::new(&device, 8, out, &mut rng).expect("small");
        Self { body, head: linear(5), fixed: Frozen(linear(5)) }
    }

    fn answer<T: Tape<f32, Cpu>>(&self, x: Tensor<(usize, usize), f32, Cpu, T>) -> Tensor<(usize, usize), f32, Cpu, T> {
        self.head.forward(self.body.forward(x).expect("fits")).expect("fits")
    }
}

impl Trainable<Cpu> for Net {
    type Batch = Vec<usize>;

    fn loss<T: Tape<f32, Cpu>>(
        &mut self,
        batch: &Vec<usize>,
        tape: T,
        _: &mut StepContext<'_>,
    ) -> Result<Loss<Cpu, T>> {
        let x = matrix(&batch.iter().flat_map(|&row| normal(6, row as u64)).collect::<Vec<_>>(), 6);
        let wanted = matrix(&batch.iter().flat_map(|&row| normal(5, 100 + row as u64)).collect::<Vec<_>>(), 5);
        let total = (self.answer(x.put_tape(tape)) - wanted).square().mean::<Rank0, _>();
        Ok(Loss { total, parts: Vec::new() })
    }
}

struct Rows;

impl BatchSource for Rows {
    type Batch = Vec<usize>;
    fn len(&self) -> usize {
        32
    }
    fn batch(&self, rows: &[usize]) -> Result<Vec<usize>> {
        Ok(rows.to_vec())
    }
    fn name(&self, row: usize) -> String {
        row.to_string()
    }
}

fn mask(trained: &[&str], low_rank: &[&str]) -> Mask {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Mask { trained: owned(trained), low_rank: owned(low_rank), from_epoch: Vec::new() }
}

fn wrapped(mask: Mask) -> Adapted<Cpu, Net> {
    let config = LoraConfig { rank: 2, alpha: 4.0 };
    Adapted::new(Net::new(0), &Cpu::default(), mask, config, &mut seeded(7)).expect("a valid rank")
}

fn train(net: &mut Adapted<Cpu, Net>, epochs: usize) {
    let config =
        TrainConfig { epochs, batch_size: 8, learning_rate: 0.02, weight_decay: 0.1, ..TrainConfig::default() };
    fit(net, &Rows, None, &Cpu::default(), &config, &mut Run::quiet(0)).expect("it trains");
}

fn probe() -> Tensor<(usize, usize), f32, Cpu> {
    matrix(&normal(60, 3), 6)
}

#[test]
fn additions_of_zero_leave_every_output_as_it_was_bit_for_bit() {
    let mut net = wrapped(mask(&[], &["body", "head"]));
    assert_eq!(net.additions().len(), 3);
    net.merge().expect("fits");
    assert_eq!(net.model.answer(probe()).as_vec(), Net::new(0).answer(probe()).as_vec());
}

/// The gradient of the training's own path, by A and B, beside central differences.
#[test]
fn the_gradient_reaches_a_and_b_through_the_merged_weight() {
    let mut net = wrapped(mask(&[], &["body"]));
    train(&mut net, 2); // B is not 0 any more.
    let rows: Vec<usize> = (0..8).collect();
    let mut rng = seeded(0);
    let mut loss_of = |net: &mut Adapted<Cpu, Net>| {
        let mut context =
            StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: true, rng: &mut rng };
        let loss = net.loss(&rows, OwnedTape::default(), &mut context).expect("fits");
        let value = f64::from(ops::to_f32(&loss.total));
        (value, loss.total.backward())
    };
    let (_, gradients) = loss_of(&mut net);
    let name = net.additions().keys().next().expect("there are two").clone();
    let lora = net.additions()[&name].clone();
    for (part, found) in [("a", gradients.get(&lora.a).as_vec()), ("b", gradients.get(&lora.b).as_vec())] {
        let mut snapshot = Snapshot::of(&net).expect("a walk");
        let path = format!("lora.{name}.{part}");
        for at in [0, found.len() / 2, found.len() - 1] {
            let mut shifted = |by: f32| {
                let mut tensor = snapshot.tensors()[&path].clone();
                let old = tensor.values[at];
                tensor.values[at] += by;
                snapshot.insert(path.clone(), tensor.clone());
                snapshot.restore(&mut net).expect("the same tensors");
                tensor.values[at] = old;
                snapshot.insert(path.clone(), tensor);
                loss_of(&mut net).0
            };
            let step = 1e-2;
            let slope = (shifted(step) - shifted(-step)) / (2.0 * f64::from(step));
            assert!((slope - f64::from(found[at])).abs() < 2e-3, "{path} {at}: {slope} and {}", found[at]);
        }
        snapshot.restore(&mut net).expect("the same tensors");
    }
    assert!(gradients.get(&lora.b).as_vec().iter().any(|g| g.abs() > 1e-4), "a gradient of zero would pass");
}

#[test]
fn what_is_not_trained_does_not_move_by_a_bit_and_the_rest_does() {
    let before = Snapshot::of(&Net::new(0)).expect("a walk");
    let mut net = wrapped(mask(&["head.bias"], &["body.0"]));
    train(&mut net, 3);
    net.unmerge().expect("fits");
    let after = Snapshot::of(&net.model).expect("a walk");
    for (name, tensor) in after.tensors() {
        let same = tensor == &before.tensors()[name];
        assert_eq!(same, name != "head.bias", "{name}");
    }
    let apart = net.model.answer(probe()).as_vec();
    net.merge().expect("fits");
    assert_ne!(net.model.answer(probe()).as_vec(), apart, "the addition was trained");
    let share = net.share().expect("a walk");
    assert_eq!(share.trained, 5 + 2 * (6 + 10));
    assert_eq!(share.of, 6 * 10 + 10 + 10 * 8 + 8 + 8 * 5 + 5);
}

#[test]
fn a_schedule_keeps_a_weight_until_its_epoch() {
    let body = |epochs: usize| {
        let from_epoch = vec![("body".to_owned(), 2)];
        let mut net = wrapped(Mask { from_epoch, ..mask(&["body", "head"], &[]) });
        train(&mut net, epochs);
        Snapshot::of(&net.model).expect("a walk")
    };
    let before = Snapshot::of(&Net::new(0)).expect("a walk");
    let same = |after: &Snapshot, name: &str| after.tensors()[name] == before.tensors()[name];
    let (two, three) = (body(2), body(3));
    assert!(same(&two, "body.0.linear.weight") && !same(&two, "head.weight"));
    assert!(!same(&three, "body.0.linear.weight"));
}

#[test]
fn an_adapter_file_brings_back_what_was_trained_over_its_base_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("adapter.safetensors");
    let base = hash_of(&Net::new(0)).expect("a walk");
    let mut net = wrapped(mask(&["head.bias"], &["body"]));
    train(&mut net, 3);
    net.adapter(&base, &serde_json::json!({ "rank": 2 })).expect("a walk").write(&file).expect("written");
    let read = AdapterFile::read(&file).expect("read");
    assert_eq!((read.base.as_str(), &read.about["rank"]), (base.as_str(), &serde_json::json!(2)));
    let mut again = wrapped(mask(&["head.bias"], &["body"]));
    again.load(&read, &base).expect("its base");
    assert_eq!(again.model.answer(probe()).as_vec(), net.model.answer(probe()).as_vec());
    let whole: usize = tensors(&net.model).expect("a walk").iter().map(|tensor| tensor.len() * 4).sum();
    assert!(std::fs::metadata(&file).expect("there").len() < whole as u64 + 1_000);

    let other = hash_of(&Net::new(1)).expect("a walk");
    let error = again.load(&read, &other).expect_err("another base");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(&base[..12]) && error.to_string().contains(&other[..12]), "{error}");
    let mut fewer = wrapped(mask(&[], &["head"]));
    assert_eq!(fewer.load(&read, &base).expect_err("other additions").kind(), ErrorKind::Data);
}
