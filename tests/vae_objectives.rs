//! The objectives of the count VAE: against the bound computed by hand, finite differences of the training loss, and what
//! theory says of bounds and gradients.

use crate::common::nudge::{Nudge, Steepest};
use genailab::{
    data::{Dataset, Simulation, SimulationConfig, Split, SplitPlan, TrainingData},
    dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape, Tape},
    model::{
        CellSource, CellView, CountVae, KlAnnealing, Likelihood, Model, Trained, VaeBatch, VaeConfig, VaeNet,
        VaeObjective, VaeSettings, Vocabulary,
    },
    nn::{Params, ops},
    train::{BatchSource, Loss, Run, StepContext, TrainConfig, Trainable},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const IWAE: VaeObjective = VaeObjective::Iwae { samples: 5, doubly_reparameterised: false };
const DOUBLY: VaeObjective = VaeObjective::Iwae { samples: 5, doubly_reparameterised: true };

fn cells() -> Dataset {
    let config = SimulationConfig { n_cells: 700, n_genes: 120, seed: 3, ..SimulationConfig::default() };
    Simulation::new(&config).expect("valid settings").dataset
}

fn config(objective: VaeObjective) -> VaeConfig {
    VaeConfig {
        latent: 4,
        hidden: vec![16],
        condition: 6,
        kl_annealing: KlAnnealing::Constant,
        objective,
        ..VaeConfig::default()
    }
}

fn net(data: &Dataset, config: &VaeConfig) -> (VaeNet<Cpu>, VaeBatch) {
    let rows: Vec<usize> = (0..24).collect();
    let vocabulary = Vocabulary::of_cells(data, &rows);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let net = VaeNet::new(&Cpu::default(), &vocabulary, config, false, &mut rng).expect("a small network");
    let view = CellView { total_library: false, with_target: config.likelihood == Likelihood::Gaussian };
    let source = CellSource::new(data, &rows, &vocabulary, view).expect("known perturbations");
    (net, source.batch(&rows).expect("rows of the source"))
}

/// The loss of a step with the random numbers of `seed`.
fn loss<T: Tape<f32, Cpu>>(
    net: &mut VaeNet<Cpu>,
    batch: &VaeBatch,
    tape: T,
    seed: u64,
    training: bool,
) -> Loss<Cpu, T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut context = StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training, rng: &mut rng };
    net.loss(batch, tape, &mut context).expect("finite")
}

/// The steepest element of each weight: name, element, gradient.
fn steepest(net: &mut VaeNet<Cpu>, batch: &VaeBatch, seed: u64) -> Vec<(String, usize, f32)> {
    let mut gradients = loss(net, batch, OwnedTape::default(), seed, true).total.backward();
    let mut steepest = Steepest { gradients: &mut gradients, found: Vec::new() };
    net.walk("", &mut steepest).expect("a walk");
    steepest.found
}

#[test]
fn every_weight_has_the_gradient_of_its_objective() {
    let data = cells();
    let capacity = VaeObjective::Capacity { gamma: 3.0, nats: 40.0, epochs: 0.0 };
    for (objective, beta, likelihood) in [
        (IWAE, 1.0, Likelihood::Nb),
        (IWAE, 1.0, Likelihood::Gaussian),
        (VaeObjective::BetaTc, 4.0, Likelihood::Zinb),
        (capacity, 1.0, Likelihood::Nb),
    ] {
        let (mut net, batch) = net(&data, &VaeConfig { beta, likelihood, ..config(objective) });
        let found = steepest(&mut net, &batch, 9);
        assert!(found.len() > 12, "{} tensors", found.len());
        for (name, element, gradient) in found {
            let step = 2e-2;
            let mut at = |step: f32| {
                net.walk_mut("", &mut Nudge { name: &name, element, step }).expect("a walk");
                f64::from(ops::to_f32(&loss(&mut net, &batch, NoneTape, 9, true).total))
            };
            let (above, below) = (at(step), at(-2.0 * step));
            at(step);
            let numeric = (above - below) / (2.0 * f64::from(step));
            // The loss of about 150 nats is rounded to 1.5e-5: 4e-4 in the quotient, beside the curvature.
            let error = (numeric - f64::from(gradient)).abs();
            assert!(
                error < 0.03 * numeric.abs() + 1e-2,
                "{objective:?} {likelihood:?} {name}[{element}]: gradient {gradient}, finite difference {numeric}"
            );
        }
    }
}

#[test]
fn one_draw_is_the_elbo_with_a_sampled_kl() {
    let data = cells();
    for likelihood in [Likelihood::Nb, Likelihood::Gaussian] {
        let one = VaeObjective::Iwae { samples: 1, doubly_reparameterised: false };
        let (mut net, batch) = net(&data, &VaeConfig { likelihood, ..config(one) });
        let got = f64::from(ops::to_f32(&loss(&mut net, &batch, NoneTape, 4, false).total));
        // By hand: the same noise, the terms of each cell summed in double precision.
        let condition = net.condition(&batch.condition, NoneTape).expect("known conditions");
        let posterior = net.encode(&batch.input, &condition).expect("the batch fits");
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let noise: Vec<f32> =
            (0..24 * 4).map(|_| rand_distr::Distribution::sample(&rand_distr::StandardNormal, &mut rng)).collect();
        let noise =
            ops::upload(net.device(), &genailab::ndarray::Array2::from_shape_vec((24, 4), noise).unwrap()).unwrap();
        let (mu, logvar) = (ops::download(&posterior.mu), ops::download(&posterior.logvar));
        let z = ops::reparameterise(posterior.mu, posterior.logvar, noise).expect("same shapes");
        let values = ops::download(&z);
        let kl: f64 = values
            .indexed_iter()
            .map(|(at, &z)| {
                let (z, mu, logvar) = (f64::from(z), f64::from(mu[at]), f64::from(logvar[at]));
                -0.5 * (logvar + (z - mu).powi(2) / logvar.exp()) + 0.5 * z * z
            })
            .sum();
        let nll = net.nll(net.decode(z, condition).expect("it fits"), &batch).expect("it fits").as_vec();
        let by_hand = (nll.iter().map(|&v| f64::from(v)).sum::<f64>() + kl) / 24.0;
        assert!((got / by_hand - 1.0).abs() < 1e-5, "{likelihood:?}: {got}, by hand {by_hand}");
    }
}

fn fitted(data: &Dataset, objective: VaeObjective, epochs: usize) -> (CountVae, Split) {
    let split = data.split(&SplitPlan::Stratified { validation: 0.1, test: 0.3, seed: 1 }).expect("enough cells");
    let train = TrainConfig { epochs, ..TrainConfig::default() };
    let settings = VaeSettings { model: config(objective), train, ..VaeSettings::default() };
    let training = TrainingData::of_dataset(data.clone(), &split, 0).expect("its own split");
    (CountVae::fit(&training, &settings, &mut Run::quiet(0)).expect("finite").0, split)
}

#[test]
fn the_bound_rises_with_the_number_of_draws() {
    let data = cells();
    for objective in [VaeObjective::Elbo, IWAE, DOUBLY] {
        let (model, split) = fitted(&data, objective, 6);
        let elbo = model.elbo(&data, &split.test, 20, 0).expect("finite");
        let bound = |samples| model.log_likelihood(&data, &split.test, samples, 0).expect("finite");
        let bounds = [1, 5, 50, 400].map(bound);
        assert!((bounds[0].bound - elbo.elbo).abs() < 0.3, "{objective:?}: one draw {:?}, ELBO {elbo:?}", bounds[0]);
        for pair in bounds.windows(2) {
            assert!(pair[1].bound > pair[0].bound, "{objective:?}: {pair:?}");
        }
        let last = bounds[3];
        assert!(
            last.bound - bounds[2].bound < bounds[1].bound - bounds[0].bound,
            "the gain becomes smaller: {bounds:?}"
        );
        assert!((1.0..=400.0).contains(&last.effective_samples) && bounds[0].effective_samples == 1.0, "{bounds:?}");
        assert_eq!((last.cells, last.samples), (split.test.len(), 400));
    }
}

/// Gradients of one weight over many seeds.
fn gradients(net: &mut VaeNet<Cpu>, batch: &VaeBatch, weight: &str, seeds: u64) -> Vec<Vec<f32>> {
    (0..seeds)
        .map(|seed| {
            let mut gradients = loss(net, batch, OwnedTape::default(), seed, true).total.backward();
            let mut all = crate::common::nudge::Whole { gradients: &mut gradients, name: weight, found: Vec::new() };
            net.walk("", &mut all).expect("a walk");
            all.found
        })
        .collect()
}

#[test]
fn the_doubly_reparameterised_gradient_has_the_same_mean_and_less_noise() {
    let data = cells();
    let quiet = |objective| VaeConfig { dropout: 0.0, ..config(objective) };
    let (mut plain, batch) = net(&data, &quiet(IWAE));
    let (mut doubly, _) = net(&data, &quiet(DOUBLY));
    let value = |net: &mut VaeNet<Cpu>| ops::to_f32(&loss(net, &batch, NoneTape, 1, true).total);
    let (a, b) = (value(&mut plain), value(&mut doubly));
    assert!((a / b - 1.0).abs() < 1e-5, "the bound itself is the same: {a}, {b}");
    // The decoder's gradient is the same draw by draw.
    let last = [&mut plain, &mut doubly].map(|net| gradients(net, &batch, "output.bias", 1).remove(0));
    let size = last[0].iter().fold(0.0_f32, |top, slope| top.max(slope.abs()));
    assert!(last[0].iter().zip(&last[1]).all(|(a, b)| (a - b).abs() < 1e-4 * size), "the decoder's gradients differ");
    // The encoder's has the same mean over draws.
    const SEEDS: u64 = 600;
    let of_encoder = [&mut plain, &mut doubly].map(|net| gradients(net, &batch, "mu.bias", SEEDS));
    let moments = of_encoder.map(|draws| {
        let n = SEEDS as f64;
        (0..draws[0].len())
            .map(|k| {
                let mean = draws.iter().map(|draw| f64::from(draw[k])).sum::<f64>() / n;
                let variance = draws.iter().map(|draw| (f64::from(draw[k]) - mean).powi(2)).sum::<f64>() / (n - 1.0);
                (mean, variance)
            })
            .collect::<Vec<_>>()
    });
    for (k, (a, b)) in moments[0].iter().zip(&moments[1]).enumerate() {
        let error = ((a.1 + b.1) / SEEDS as f64).sqrt();
        assert!((a.0 - b.0).abs() < 4.5 * error, "latent {k}: {a:?} and {b:?}");
    }
}

#[test]
fn objectives_are_read_saved_and_refused() {
    let read = |text: &str| toml::from_str::<VaeSettings>(text);
    let settings = read("[model]\nbeta = 6.0\nobjective = { kind = \"beta_tc\" }").expect("valid");
    assert_eq!(settings.model.objective, VaeObjective::BetaTc);
    let iwae = read("[model]\nobjective = { kind = \"iwae\", samples = 8 }").expect("valid").model;
    assert_eq!(iwae.objective, VaeObjective::Iwae { samples: 8, doubly_reparameterised: false });
    assert!(read("[model]\nobjective = { kind = \"iwae\" }").unwrap_err().to_string().contains("samples"));
    assert!(read("[model]\nobjective = { kind = \"capacity\", gama = 1.0 }").is_err());
    let plain = serde_json::to_string(&VaeConfig::default()).expect("it serialises");
    assert!(!plain.contains("objective"), "files of the plain objective stay as they were: {plain}");

    let refused = |model: VaeConfig| model.validate().expect_err("it is refused").to_string();
    let none = VaeObjective::Iwae { samples: 0, doubly_reparameterised: false };
    assert!(refused(config(none)).contains("samples"));
    assert!(refused(VaeConfig { beta: 2.0, ..config(IWAE) }).contains("beta = 1"));
    assert!(refused(VaeConfig { free_nats: Some(3.0), ..config(VaeObjective::BetaTc) }).contains("free_nats"));
    assert!(refused(config(VaeObjective::Capacity { gamma: 0.0, nats: 1.0, epochs: 1.0 })).contains("gamma"));

    let data = cells();
    let (model, split) = fitted(&data, DOUBLY, 1);
    let dir = tempfile::tempdir().expect("a folder");
    model.save(dir.path()).expect("a folder to write to");
    let read = CountVae::load(dir.path(), genailab::device::Device::Cpu).expect("the model just written");
    assert_eq!(read.config().objective, DOUBLY);
    let score = read.held_out(&data, &split.test, 0).expect("cells").expect("a model of cells");
    assert!(score.line.contains("ln p(x)") && score.json["log_likelihood"]["samples"] == 50, "{score:?}");
}

#[test]
fn the_capacity_decides_the_kl() {
    let data = cells();
    let kl = |nats: f32| {
        let (model, split) = fitted(&data, VaeObjective::Capacity { gamma: 30.0, nats, epochs: 5.0 }, 40);
        model.elbo(&data, &split.train, 3, 0).expect("finite").kl
    };
    for nats in [2.0, 6.0] {
        let kl = kl(nats);
        assert!((kl - f64::from(nats)).abs() < 0.25 * f64::from(nats), "{kl} nats at a capacity of {nats}");
    }
}

#[test]
fn traversals_start_and_end_at_what_the_model_expects() {
    let data = cells();
    let (model, split) = fitted(&data, VaeObjective::Elbo, 2);
    let rows = &split.test[..6];
    let z = model.latents(&data, rows).expect("cells");
    let (control, other) = (&data.perturbations[0], &data.perturbations[3]);
    let ends = [control, other].map(|perturbation| model.expected(&z, perturbation, 500.0).expect("known"));
    let t = [0.0, 1.0, 0.0, 1.0, 0.5, 0.5];
    let path = model.expected_between(&z, [control, other], &t, 500.0).expect("known");
    for (row, &t) in t.iter().enumerate() {
        let total = path.row(row).sum();
        assert!((total - 500.0).abs() < 0.1, "the simulation measures all its genes: {total} counts");
        if t != 0.5 {
            let apart = (&path.row(row) - &ends[t as usize].row(row)).mapv(f32::abs).sum();
            assert!(apart < 1e-3, "row {row}: {apart}");
        }
    }
    assert!((&path.row(4) - &ends[0].row(4)).mapv(f32::abs).sum() > 1e-3, "the middle is no end");
    assert!(model.expected(&z, control, 0.0).unwrap_err().to_string().contains("library size"));
    assert!(model.expected_between(&z, [control, other], &t[..5], 500.0).is_err(), "five weights for six rows");
}
