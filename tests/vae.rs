//! The count VAE: gradients against finite differences, the bound against its terms computed by hand, the promises of its
//! user-facing calls, and how well it does on a simulation whose truth is known.

use genailab::{
    bench::truth_agreement,
    data::{Counts, Dataset, Perturbation, Simulation, SimulationConfig, Split, SplitPlan, Table},
    device::Device,
    dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape, Shape, Tensor},
    model::{
        CellSource, CellView, CountVae, KlAnnealing, LibrarySize, Likelihood, ThetaScope, VaeConfig, VaeNet, Vocabulary,
    },
    ndarray::Axis,
    nn::{Norm, Params, Visitor, VisitorMut, ops},
    train::{BatchSource, Progress, Run, TrainConfig},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn small() -> Dataset {
    let config = SimulationConfig { n_cells: 700, n_genes: 120, seed: 3, ..SimulationConfig::default() };
    Simulation::new(&config).expect("valid settings").dataset
}

fn small_config(likelihood: Likelihood) -> VaeConfig {
    VaeConfig { latent: 4, hidden: vec![16], condition: 6, likelihood, ..VaeConfig::default() }
}

fn quiet(epochs: usize) -> (TrainConfig, Run<'static>) {
    let options = Run { progress: Progress::Silent, ..Run::default() };
    (TrainConfig { epochs, ..TrainConfig::default() }, options)
}

fn split(data: &Dataset) -> Split {
    data.split(&SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: 1 }).expect("enough cells")
}

/// Adds `step` to one element of one named tensor.
struct Nudge<'a> {
    name: &'a str,
    element: usize,
    step: f32,
}

impl VisitorMut<Cpu> for Nudge<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, Cpu>) -> genailab::Result<()> {
        if name == self.name {
            let mut values = tensor.as_vec();
            values[self.element] += self.step;
            tensor.copy_from(&values);
        }
        Ok(())
    }
}

/// Largest gradient of each tensor: name, element, value.
struct Steepest<'a> {
    gradients: &'a mut genailab::dfdx::prelude::Gradients<f32, Cpu>,
    found: Vec<(String, usize, f32)>,
}

impl Visitor<Cpu> for Steepest<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, Cpu>) -> genailab::Result<()> {
        let gradient = self.gradients.get_or_alloc_mut(tensor).expect("memory for a small gradient");
        let (element, value) = gradient
            .iter()
            .copied()
            .enumerate()
            .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
            .expect("a weight has elements");
        self.found.push((name.to_owned(), element, value));
        Ok(())
    }
}

#[test]
fn every_weight_has_the_gradient_of_the_loss() {
    let data = small();
    let rows: Vec<usize> = (0..24).collect();
    let vocabulary = Vocabulary::of_cells(&data, &rows);
    for (likelihood, theta, norm) in [
        (Likelihood::Nb, ThetaScope::Gene, Norm::Layer),
        (Likelihood::Zinb, ThetaScope::CellGene, Norm::None),
        (Likelihood::Gaussian, ThetaScope::Gene, Norm::None),
    ] {
        let config = VaeConfig { theta, norm, ..small_config(likelihood) };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut net =
            VaeNet::new(&Cpu::default(), &vocabulary, &config, false, None, &mut rng).expect("a small network");
        let view = CellView { total_library: false, with_target: likelihood == Likelihood::Gaussian };
        let source = CellSource::new(&data, &rows, &vocabulary, view).expect("known perturbations");
        let batch = source.batch(&rows).expect("rows of the source");
        // The same noise in every evaluation, so that the loss is a function of the weights alone.
        let terms = |net: &VaeNet<Cpu>| -> f64 {
            let (nll, kl) = net.terms(&batch, NoneTape, &mut ChaCha8Rng::seed_from_u64(9)).expect("finite");
            nll.as_vec().iter().zip(kl.as_vec()).map(|(nll, kl)| f64::from(*nll) + f64::from(kl)).sum::<f64>() / 24.0
        };
        let (nll, kl) = net.terms(&batch, OwnedTape::default(), &mut ChaCha8Rng::seed_from_u64(9)).expect("finite");
        let loss = ops::add_scaled(ops::mean(nll).expect("mean"), ops::mean(kl).expect("mean"), 1.0).expect("sum");
        let mut gradients = loss.backward();
        let mut steepest = Steepest { gradients: &mut gradients, found: Vec::new() };
        net.walk("", &mut steepest).expect("a walk");
        let found = steepest.found;
        assert!(found.len() > 12, "{} tensors", found.len());
        for (name, element, gradient) in found {
            let step = 1e-2;
            let mut at = |step: f32| {
                net.walk_mut("", &mut Nudge { name: &name, element, step }).expect("a walk");
                terms(&net)
            };
            let (above, below) = (at(step), at(-2.0 * step));
            at(step);
            let numeric = (above - below) / (2.0 * f64::from(step));
            let error = (numeric - f64::from(gradient)).abs();
            // f32 arithmetic on a loss of about 100 nats leaves an error of about 1e-5 / 2e-2 in the quotient.
            assert!(
                error < 0.02 * numeric.abs() + 5e-3,
                "{likelihood:?} {name}[{element}]: gradient {gradient}, finite difference {numeric}"
            );
        }
    }
}

#[test]
fn the_bound_is_a_sum_over_genes_and_latents() {
    let data = small();
    let split = split(&data);
    let config = VaeConfig { library_size: LibrarySize::Kept, ..small_config(Likelihood::Nb) };
    let model = CountVae::new(&data, &split, config, 0, Device::Cpu).expect("a small model");
    let rows: Vec<usize> = split.test.iter().copied().take(40).collect();
    let elbo = model.elbo(&data, &rows, 1, 0).expect("finite");
    // An untrained decoder starts at the mean shares, so the NLL is about that of independent NBs with theta 1.
    let by_hand: f64 = {
        let shares = {
            let mut sums = vec![0.5f64; data.n_genes()];
            for &row in &split.train {
                let (genes, values) = data.counts.row(row);
                genes.iter().zip(values).for_each(|(&g, &v)| sums[g as usize] += f64::from(v));
            }
            let total: f64 = sums.iter().sum();
            sums.into_iter().map(|sum| sum / total).collect::<Vec<_>>()
        };
        let dense = data.counts.select_cells(&rows).to_dense();
        let cell = |row: usize| {
            let size: f64 = dense.row(row).iter().map(|&v| f64::from(v)).sum();
            dense.row(row).iter().zip(&shares).map(|(&x, share)| nb_theta_one(f64::from(x), share * size)).sum::<f64>()
        };
        (0..rows.len()).map(cell).sum::<f64>() / rows.len() as f64
    };
    assert!((elbo.nll / by_hand - 1.0).abs() < 0.1, "{} nats a cell, {by_hand} by hand", elbo.nll);
    assert!((elbo.elbo + elbo.nll + elbo.kl).abs() < 1e-9);
    let collapse = model.collapse(&data, &rows).expect("cells");
    let summed: f64 = collapse.kl.iter().sum();
    assert!((summed / elbo.kl - 1.0).abs() < 1e-3, "KL {} nats a cell, its latents sum to {summed}", elbo.kl);
}

/// `-log NB(x; mu, theta = 1)`: the geometric distribution.
fn nb_theta_one(x: f64, mu: f64) -> f64 {
    (1.0 + mu).ln() + x * ((1.0 + mu).ln() - mu.ln())
}

#[test]
fn training_lowers_the_held_out_bound_and_is_the_same_for_a_seed() {
    let data = small();
    let split = split(&data);
    for likelihood in [Likelihood::Nb, Likelihood::Zinb, Likelihood::Gaussian] {
        let mut model = CountVae::new(&data, &split, small_config(likelihood), 0, Device::Cpu).expect("a small model");
        let before = model.elbo(&data, &split.test, 3, 0).expect("finite");
        let mut twin = model.clone();
        let (train, mut options) = quiet(8);
        let history = model.fit_with(&data, &split, &train, &mut options).expect("finite");
        let after = model.elbo(&data, &split.test, 3, 0).expect("finite");
        assert!(after.elbo > before.elbo, "{likelihood:?}: {} before, {} after", before.elbo, after.elbo);
        let again = twin.fit_with(&data, &split, &train, &mut options).expect("finite");
        let losses = |history: &genailab::train::History| -> Vec<f64> {
            history.epochs.iter().map(|record| record.train.loss).collect()
        };
        assert_eq!(losses(&history), losses(&again), "{likelihood:?}");
        assert_eq!(model.embed(&data, &split.test).unwrap(), twin.embed(&data, &split.test).unwrap());
    }
}

#[test]
fn a_saved_model_gives_the_same_predictions() {
    let data = small();
    let split = split(&data);
    let mut model = CountVae::new(&data, &split, small_config(Likelihood::Nb), 0, Device::Cpu).expect("a small model");
    let (train, mut options) = quiet(1);
    model.fit_with(&data, &split, &train, &mut options).expect("finite");
    let dir = tempfile::tempdir().expect("a folder");
    model.save(dir.path()).expect("a folder to write to");
    let read = CountVae::load(dir.path(), Device::Cpu).expect("the model just written");
    let perturbation = &data.perturbations[2];
    assert_eq!(read.sample(perturbation, 20, 4).unwrap().values, model.sample(perturbation, 20, 4).unwrap().values);
    assert_eq!(read.vocabulary(), model.vocabulary());

    let unknown = read.sample(&Perturbation::of(["NOSUCH1", "NOSUCH2"]), 1, 0).unwrap_err().to_string();
    assert!(unknown.contains("NOSUCH1, NOSUCH2"), "{unknown}");
}

#[test]
fn samples_are_counts_at_the_library_sizes_of_control_cells() {
    let data = small();
    let split = split(&data);
    let mut model = CountVae::new(&data, &split, small_config(Likelihood::Nb), 0, Device::Cpu).expect("a small model");
    assert!(model.sample(&Perturbation::control(), 3, 0).is_err(), "an untrained model has no control cells");
    let (train, mut options) = quiet(3);
    model.fit_with(&data, &split, &train, &mut options).expect("finite");
    let drawn = model.sample(&Perturbation::control(), 300, 0).expect("control is known");
    assert!(drawn.are_counts && drawn.values.iter().all(|v| *v >= 0.0 && v.fract() == 0.0));
    assert!(drawn.library_size.iter().all(|size| data.library_size.contains(size)), "sizes come from real cells");
    // Row sums follow the library sizes: the simulation measures all its genes.
    let sums = drawn.values.sum_axis(Axis(1)).to_vec();
    let agreement = genailab::eval::pearson(&sums, &drawn.library_size).expect("both vary");
    assert!(agreement > 0.8, "{agreement}");
}

#[test]
fn the_remainder_is_modelled_where_the_file_counts_more_genes() {
    let mut data = small();
    data.library_size.iter_mut().for_each(|size| *size *= 4.0);
    let split = split(&data);
    let mut model = CountVae::new(&data, &split, small_config(Likelihood::Nb), 0, Device::Cpu).expect("a small model");
    let (train, mut options) = quiet(4);
    model.fit_with(&data, &split, &train, &mut options).expect("finite");
    let expected = model.reconstruct(&data, &split.test).expect("cells");
    let (expected, observed) = (expected.sum(), data.counts.select_cells(&split.test).values().iter().sum::<f32>());
    assert!((expected / observed - 1.0).abs() < 0.1, "{expected} expected counts, {observed} observed");
}

#[test]
fn counterfactuals_and_latent_arithmetic_find_the_true_means() {
    let config = SimulationConfig { n_cells: 4000, n_genes: 300, seed: 11, ..SimulationConfig::default() };
    let Simulation { dataset, truth } = Simulation::new(&config).expect("valid settings");
    let split = split(&dataset);
    let config = VaeConfig {
        latent: 16,
        hidden: vec![128],
        kl_annealing: KlAnnealing::Linear,
        kl_warmup_epochs: 5.0,
        ..VaeConfig::default()
    };
    let mut model = CountVae::new(&dataset, &split, config, 0, Device::Cpu).expect("a model");
    let (train, mut options) = quiet(25);
    model.fit_with(&dataset, &split, &train, &mut options).expect("finite");
    let controls: Vec<usize> =
        split.test.iter().copied().filter(|&row| dataset.perturbation_of(row).is_control()).collect();
    let agreement = truth_agreement(&model, &dataset, &controls, &truth).expect("the simulation's own genes");
    assert_eq!(agreement.len(), truth.perturbations.len() - 1);
    for row in &agreement {
        let pearson = row.mean_pearson.expect("expressed genes vary");
        assert!(pearson >= 0.95, "{}: {pearson}", row.perturbation);
    }
    let double = dataset.perturbations.iter().find(|p| p.genes().len() == 2).expect("doubles are simulated");
    let added = model.latent_arithmetic(&dataset, &split.train, &controls, double).expect("both singles are there");
    assert_eq!(added.dim(), (controls.len(), dataset.n_genes()));
    let mean = added.mean_axis(Axis(0)).expect("cells").mapv(f32::ln_1p).to_vec();
    let expected = truth.mean_of(double).expect("in the truth").mapv(f32::ln_1p).to_vec();
    let pearson = genailab::eval::pearson(&mean, &expected).expect("both vary");
    assert!(pearson > 0.85, "latent arithmetic for {double}: {pearson}");
}

#[test]
fn what_cannot_train_is_refused() {
    let data = small();
    let split = split(&data);
    let refuse = |config: VaeConfig| CountVae::new(&data, &split, config, 0, Device::Cpu).unwrap_err().to_string();
    for (config, word) in [
        (VaeConfig { latent: 0, ..VaeConfig::default() }, "latent"),
        (VaeConfig { hidden: vec![], ..VaeConfig::default() }, "hidden"),
        (VaeConfig { dropout: 1.0, ..VaeConfig::default() }, "dropout"),
        (VaeConfig { beta: f32::NAN, ..VaeConfig::default() }, "beta"),
    ] {
        let message = refuse(config);
        assert!(message.contains(word), "{message}");
    }
    let none = Split { train: vec![], validation: vec![], test: vec![] };
    assert!(CountVae::new(&data, &none, VaeConfig::default(), 0, Device::Cpu).is_err());
    let other = Dataset::new(
        Counts::new(1, vec![0, 1], vec![0], vec![1.0]).expect("valid"),
        Table::from_names(vec!["OTHER".to_owned()]),
        Table::from_names(vec!["cell".to_owned()]),
        &[Perturbation::control()],
        None,
        None,
    )
    .expect("parts fit");
    let model = CountVae::new(&data, &split, small_config(Likelihood::Nb), 0, Device::Cpu).expect("a small model");
    let message = model.embed(&other, &[0]).unwrap_err().to_string();
    assert!(message.contains("genes"), "{message}");
}
