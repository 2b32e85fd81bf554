//! The count VAE: gradients of the training loss against finite differences, the bound against its terms computed by hand,
//! draws against the moments of their distribution, the promises of its user-facing calls, resuming, damaged files, and how
//! well it does on a simulation whose truth is known.

use crate::common::{
    nudge::{Nudge, Steepest},
    training_loss::training_loss,
};
use genailab::{
    ErrorKind,
    bench::truth_agreement,
    data::{
        Condition, Counts, DataKind, Dataset, Effects, Perturbation, Simulation, SimulationConfig, Split, SplitPlan,
        Table, TrainingData,
    },
    device::Device,
    dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape},
    model::{
        CellSource, CellView, CountModel, CountVae, KlAnnealing, LibrarySize, Likelihood, Model, ModelConfig, Sampling,
        ThetaScope, Trained, VaeConfig, VaeNet, VaeSettings, Vocabulary, sample_counts,
    },
    ndarray::{Array2, Axis},
    nn::{Norm, Params},
    predict::LatentShifts,
    train::{BatchSource, Callback, EpochRecord, History, Run, StepRecord, TrainConfig},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

fn small() -> Dataset {
    let config = SimulationConfig { n_cells: 700, n_genes: 120, seed: 3, ..SimulationConfig::default() };
    Simulation::new(&config).expect("valid settings").dataset
}

fn small_config(likelihood: Likelihood) -> VaeConfig {
    VaeConfig { latent: 4, hidden: vec![16], condition: 6, likelihood, ..VaeConfig::default() }
}

fn settings(model: VaeConfig, epochs: usize) -> VaeSettings {
    VaeSettings { model, train: TrainConfig { epochs, ..TrainConfig::default() }, ..VaeSettings::default() }
}

fn training(data: &Dataset, split: &Split) -> TrainingData {
    TrainingData::of_dataset(data.clone(), split, 0).expect("its own split")
}

fn trained(data: &Dataset, split: &Split, model: VaeConfig, epochs: usize) -> (CountVae, History) {
    CountVae::fit(&training(data, split), &settings(model, epochs), &mut Run::quiet(0)).expect("finite")
}

fn untrained(data: &Dataset, split: &Split, model: VaeConfig) -> genailab::Result<CountVae> {
    CountVae::untrained(&training(data, split), &settings(model, 1), &Run::quiet(0))
}

fn split(data: &Dataset) -> Split {
    data.split(&SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: 1 }).expect("enough cells")
}

#[test]
fn every_weight_has_the_gradient_of_the_training_loss() {
    let data = small();
    let rows: Vec<usize> = (0..24).collect();
    let vocabulary = Vocabulary::of_cells(&data, &rows);
    for (likelihood, theta, norm) in [
        (Likelihood::Nb, ThetaScope::Gene, Norm::Layer),
        (Likelihood::Nb, ThetaScope::Gene, Norm::Batch),
        (Likelihood::Zinb, ThetaScope::CellGene, Norm::None),
        (Likelihood::Gaussian, ThetaScope::Gene, Norm::None),
    ] {
        let config = VaeConfig { theta, norm, kl_annealing: KlAnnealing::Constant, ..small_config(likelihood) };
        assert!(config.dropout > 0.0, "dropout is part of the training path");
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut net = VaeNet::new(&Cpu::default(), &vocabulary, &config, false, &mut rng).expect("a small network");
        let view = CellView { total_library: false, with_target: likelihood == Likelihood::Gaussian };
        let source = CellSource::new(&data, &rows, &vocabulary, view).expect("known perturbations");
        let batch = source.batch(&rows).expect("rows of the source");
        let mut gradients = training_loss(&mut net, &batch, OwnedTape::default()).total.backward();
        let mut steepest = Steepest { gradients: &mut gradients, found: Vec::new() };
        net.walk("", &mut steepest).expect("a walk");
        let found = steepest.found;
        assert!(found.len() > 12, "{} tensors", found.len());
        for (name, element, gradient) in found {
            let step = 1e-2;
            let mut at = |step: f32| {
                net.walk_mut("", &mut Nudge { name: &name, element, step }).expect("a walk");
                // The parts are summed in double precision: the total alone is rounded more coarsely.
                let parts = training_loss(&mut net, &batch, NoneTape).parts;
                parts.iter().map(|(_, value)| f64::from(*value)).sum::<f64>()
            };
            let (above, below) = (at(step), at(-2.0 * step));
            at(step);
            let numeric = (above - below) / (2.0 * f64::from(step));
            let error = (numeric - f64::from(gradient)).abs();
            // f32 arithmetic on a loss of about 100 nats leaves an error of about 1e-5 / 2e-2 in the quotient.
            assert!(
                error < 0.02 * numeric.abs() + 5e-3,
                "{likelihood:?} {norm:?} {name}[{element}]: gradient {gradient}, finite difference {numeric}"
            );
        }
    }
}

#[test]
fn the_bound_is_a_sum_over_genes_and_latents() {
    let data = small();
    let split = split(&data);
    let config = VaeConfig { library_size: LibrarySize::Kept, ..small_config(Likelihood::Nb) };
    let model = untrained(&data, &split, config).expect("a small model");
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
    assert!((elbo.nll / by_hand - 1.0).abs() < 0.1, "{} nats per cell, {by_hand} by hand", elbo.nll);
    assert!((elbo.elbo + elbo.nll + elbo.kl).abs() < 1e-9);
    let collapse = model.collapse(&data, &rows).expect("cells");
    let summed: f64 = collapse.kl.iter().sum();
    assert!((summed / elbo.kl - 1.0).abs() < 1e-3, "KL {} nats per cell, its latents sum to {summed}", elbo.kl);
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
        let model = untrained(&data, &split, small_config(likelihood)).expect("a small model");
        let before = model.elbo(&data, &split.test, 3, 0).expect("finite");
        let (model, history) = trained(&data, &split, small_config(likelihood), 8);
        let after = model.elbo(&data, &split.test, 3, 0).expect("finite");
        assert!(after.elbo > before.elbo, "{likelihood:?}: {} before, {} after", before.elbo, after.elbo);
        let (twin, again) = trained(&data, &split, small_config(likelihood), 8);
        let losses =
            |history: &History| -> Vec<f64> { history.epochs.iter().map(|record| record.train.loss).collect() };
        assert_eq!(losses(&history), losses(&again), "{likelihood:?}");
        assert_eq!(model.latents(&data, &split.test).unwrap(), twin.latents(&data, &split.test).unwrap());
        assert_eq!(model.embed(&data, &split.test).unwrap(), twin.embed(&data, &split.test).unwrap());
    }
}

#[test]
fn a_saved_model_gives_the_same_predictions() {
    let data = small();
    let split = split(&data);
    let (model, _) = trained(&data, &split, small_config(Likelihood::Nb), 1);
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
    let model = untrained(&data, &split, small_config(Likelihood::Nb)).expect("a small model");
    assert!(model.sample(&Perturbation::control(), 3, 0).is_err(), "an untrained model has no control cells");
    let (model, _) = trained(&data, &split, small_config(Likelihood::Nb), 3);
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
    let (model, _) = trained(&data, &split, small_config(Likelihood::Nb), 4);
    let expected = model.reconstruct(&data, &split.test).expect("cells");
    let (expected, observed) = (expected.sum(), data.counts.select_cells(&split.test).values().iter().sum::<f32>());
    assert!((expected / observed - 1.0).abs() < 0.1, "{expected} expected counts, {observed} observed");
}

#[test]
fn counterfactuals_and_latent_arithmetic_find_the_true_means() {
    let config = SimulationConfig { n_cells: 4000, n_genes: 300, seed: 11, ..SimulationConfig::default() };
    let Simulation { dataset, truth, .. } = Simulation::new(&config).expect("valid settings");
    let split = split(&dataset);
    let config = VaeConfig {
        latent: 16,
        hidden: vec![128],
        kl_annealing: KlAnnealing::Linear,
        kl_warmup_epochs: 5.0,
        ..VaeConfig::default()
    };
    let (model, _) = trained(&dataset, &split, config, 25);
    let controls: Vec<usize> =
        split.test.iter().copied().filter(|&row| dataset.perturbation_of(row).is_control()).collect();
    let agreement = truth_agreement(&model, &dataset, &controls, &truth).expect("the simulation's own genes");
    assert_eq!(agreement.len(), truth.perturbations.len() - 1);
    for row in &agreement {
        let pearson = row.mean_pearson.expect("expressed genes vary");
        assert!(pearson >= 0.95, "{}: {pearson}", row.perturbation);
    }
    let double = dataset.perturbations.iter().find(|p| p.genes().len() == 2).expect("doubles are simulated");
    let data = training(&dataset, &split);
    let conditions = &data.cells.as_ref().expect("cells").conditions;
    let shifts = LatentShifts::of(&model, &dataset, conditions, &split.train).expect("cells of the model's genes");
    let shift = shifts.sum(&Condition::of(double.clone())).expect("both singles are there");
    let added = model.shifted(&dataset, &controls, &shift).expect("control cells");
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
    let refuse = |config: VaeConfig| {
        let fitted = CountVae::fit(&training(&data, &split), &settings(config.clone(), 1), &mut Run::quiet(0));
        let message = fitted.expect_err("it is refused").to_string();
        assert!(untrained(&data, &split, config).is_err(), "{message}");
        message
    };
    for (config, word) in [
        (VaeConfig { latent: 0, ..VaeConfig::default() }, "latent"),
        (VaeConfig { hidden: vec![], ..VaeConfig::default() }, "hidden"),
        (VaeConfig { dropout: 1.0, ..VaeConfig::default() }, "dropout"),
        (VaeConfig { beta: f32::NAN, ..VaeConfig::default() }, "beta"),
    ] {
        let message = refuse(config);
        assert!(message.contains(word), "{message}");
    }
    let none = Split { train: vec![], validation: vec![], test: (0..data.n_cells()).collect() };
    assert!(untrained(&data, &none, VaeConfig::default()).is_err());
    let other = Dataset::new(
        Counts::new(1, vec![0, 1], vec![0], vec![1.0]).expect("valid"),
        Table::from_names(vec!["OTHER".to_owned()]),
        Table::from_names(vec!["cell".to_owned()]),
        &[Perturbation::control()],
        None,
        None,
    )
    .expect("parts fit");
    let model = untrained(&data, &split, small_config(Likelihood::Nb)).expect("a small model");
    let message = model.embed(&other, &[0]).unwrap_err().to_string();
    assert!(message.contains("genes"), "{message}");
}

#[test]
fn the_kl_weight_at_known_points_of_the_training() {
    for (annealing, epoch, expected) in [
        (KlAnnealing::Constant, 0.0, 1.0),
        (KlAnnealing::Linear, 0.0, 0.0),
        (KlAnnealing::Linear, 5.0, 0.5),
        (KlAnnealing::Linear, 50.0, 1.0),
        (KlAnnealing::Cosine, 2.5, 0.146_446_609),
        (KlAnnealing::Cosine, 10.0, 1.0),
        (KlAnnealing::Cyclical { cycles: 4 }, 0.0, 0.0),
        (KlAnnealing::Cyclical { cycles: 4 }, 6.25, 0.5),
        (KlAnnealing::Cyclical { cycles: 4 }, 20.0, 1.0),
        (KlAnnealing::Cyclical { cycles: 4 }, 25.0, 0.0),
    ] {
        let weight = annealing.weight(epoch, 10.0, 100.0);
        assert!((weight - expected).abs() < 1e-6, "{annealing:?} at epoch {epoch}: {weight}, not {expected}");
    }
    assert_eq!(KlAnnealing::Linear.weight(0.0, 0.0, 10.0), 1.0, "no warm-up is full weight at once");
}

#[test]
fn draws_have_the_mean_and_variance_of_a_negative_binomial() {
    let (n, mean, theta) = (4000, 6.0f32, 2.0f32);
    // Two genes of equal share.
    let model = CountModel::negative_binomial(Array2::zeros((n, 2)), Array2::from_elem((1, 2), theta.ln()));
    let draws = sample_counts(&model, &vec![2.0 * mean; n], false, &mut ChaCha8Rng::seed_from_u64(1));
    let column = draws.column(0).mapv(f64::from);
    let (m, v) = (column.mean().expect("not empty"), column.var(1.0));
    // Standard error of the mean: sqrt(24 / 4000) = 0.08; of the variance about 1.3.
    assert!((m - 6.0).abs() < 0.4, "mean {m}");
    assert!((v - 24.0).abs() < 5.0, "variance {v}, expected mu + mu^2 / theta = 24");
    assert!(column.iter().all(|&x| x.fract() == 0.0 && x >= 0.0), "counts are whole numbers");
}

#[test]
fn the_remainder_takes_its_share_and_zeros_lower_the_mean() {
    let model = CountModel::negative_binomial(Array2::zeros((1, 3)), Array2::zeros((1, 3)))
        .with_extra_zeros(Array2::zeros((1, 3)));
    // Three genes and the remainder share 100 counts; half of each is lost to extra zeros.
    assert!(model.mean(&[100.0], true).iter().all(|&m| (m - 12.5).abs() < 1e-4));
    assert!(model.mean(&[100.0], false).iter().all(|&m| (m - 100.0 / 6.0).abs() < 1e-4));
}

/// Raises a flag after so many steps.
struct StopAfter(usize, Arc<AtomicBool>);

impl Callback for StopAfter {
    fn on_step(&mut self, step: &StepRecord) -> genailab::Result<()> {
        if step.steps == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, _: &EpochRecord) -> genailab::Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn a_training_that_was_interrupted_and_resumed_is_the_same_bit_for_bit() {
    let data = small();
    let split = split(&data);
    let effects = Effects::of_cells(&data).expect("the simulation has controls");
    let every = Split { train: (0..effects.perturbations.len()).collect(), validation: vec![], test: vec![] };
    let early = |usual: VaeSettings, model: VaeConfig| VaeSettings {
        model,
        train: TrainConfig { epochs: 4, early_stopping: Some(3), batch_size: 16, ..usual.train.clone() },
        ..usual
    };
    let cells = (training(&data, &split), early(VaeSettings::default(), small_config(Likelihood::Nb)));
    let means = (
        TrainingData::of_effects(&effects, &every, 0).expect("its own split"),
        early(VaeSettings::default_for(DataKind::Effects), small_config(Likelihood::Gaussian)),
    );
    for (training, settings) in [cells, means] {
        let (whole, history) = CountVae::fit(&training, &settings, &mut Run::quiet(3)).expect("finite");
        let last = history.epochs.last().expect("epochs").steps;
        let per_epoch = history.epochs[0].steps;
        // Before the end of the first epoch there is no checkpoint, and the training begins anew.
        for stop in [1, 2 * per_epoch + 1] {
            let folder = tempfile::tempdir().expect("a folder");
            let flag = Arc::new(AtomicBool::new(false));
            let run = |resume: bool| Run { dir: Some(folder.path().to_owned()), resume, ..Run::quiet(3) };
            let mut stopped = Run {
                interrupt: Some(Arc::clone(&flag)),
                callbacks: vec![Box::new(StopAfter(stop, flag))],
                ..run(false)
            };
            let error = CountVae::fit(&training, &settings, &mut stopped).expect_err("it is interrupted");
            assert_eq!(error.kind(), ErrorKind::Interrupted, "stopped after step {stop} of {last}: {error}");
            let (resumed, _) = CountVae::fit(&training, &settings, &mut run(true)).expect("it resumes");
            assert_eq!(resumed.state().expect("whole"), whole.state().expect("whole"), "stopped after step {stop}");
        }
    }
}

#[test]
fn validation_cells_of_genes_that_are_trained_nowhere_are_dropped() {
    let data = small();
    let unseen =
        data.perturbations.iter().find(|p| p.genes().len() == 1).expect("singles are simulated").genes()[0].clone();
    let (validation, train): (Vec<usize>, Vec<usize>) =
        (0..data.n_cells()).partition(|&row| data.perturbation_of(row).genes().contains(&unseen) || row % 10 == 0);
    let split = Split { train, validation, test: vec![] };
    let (model, history) = trained(&data, &split, small_config(Likelihood::Nb), 1);
    assert!(!model.perturbs(&unseen));
    assert!(history.epochs[0].validation.is_some(), "the other validation cells are used");
}

#[test]
fn each_kind_of_model_refuses_what_the_other_can_do() {
    let data = small();
    let split = split(&data);
    let (cells, _) = trained(&data, &split, small_config(Likelihood::Nb), 1);
    let effects = Effects::of_cells(&data).expect("the simulation has controls");
    let every = Split { train: (0..effects.perturbations.len()).collect(), validation: vec![], test: vec![] };
    let means = TrainingData::of_effects(&effects, &every, 0).expect("its own split");
    let refused = CountVae::fit(&means, &settings(small_config(Likelihood::Nb), 1), &mut Run::quiet(0));
    assert!(refused.expect_err("effects are no counts").to_string().contains("gaussian"));
    let (means, _) =
        CountVae::fit(&means, &settings(small_config(Likelihood::Gaussian), 1), &mut Run::quiet(0)).expect("finite");

    let condition = Condition::of(data.perturbations[1].clone());
    let kinds = [cells.effects(std::slice::from_ref(&condition)).err(), means.embed(&data, &[0]).err()]
        .into_iter()
        .chain([
            means.cells(&condition, &Sampling::new(2, 0)).err(),
            means.cells_from(&data, &[0], &condition, 0).err(),
        ])
        .chain([cells.cells(&condition, &Sampling { steps: Some(3), ..Sampling::new(2, 0) }).err()]);
    for error in kinds {
        assert_eq!(error.expect("it is refused").kind(), ErrorKind::Inapplicable);
    }
    assert!(cells.abilities().cells && cells.abilities().embeddings == Some("X_vae") && !cells.abilities().effects);
    assert!(means.abilities().effects && !means.abilities().cells);
    assert_eq!(means.held_out(&data, &[0], 0).expect("it has none"), None);
    let score = cells.held_out(&data, &split.test, 0).expect("finite").expect("a bound");
    assert!(score.line.starts_with("held-out ELBO -") && score.json["elbo"].is_f64(), "{score:?}");
    let unseen = cells.check(&[Condition::of(Perturbation::of(["NOSUCH"]))]).expect_err("never perturbed");
    assert!(unseen.kind() == ErrorKind::Inapplicable && unseen.to_string().contains("NOSUCH"), "{unseen}");
    let control = means.effects(&[Condition::of(Perturbation::control())]).expect("zero");
    assert!(control.iter().all(|&value| value == 0.0));
}

fn edit(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("model.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).expect("read")).expect("JSON");
    change(&mut json);
    fs::write(path, json.to_string()).expect("written");
}

#[test]
fn a_description_that_does_not_fit_the_arrays_is_refused_with_one_line() {
    let data = small();
    let (model, _) = trained(&data, &split(&data), small_config(Likelihood::Nb), 1);
    let folder = tempfile::tempdir().expect("a folder");
    type Edit<'a> = (&'a str, &'a dyn Fn(&mut Value));
    let edits: [Edit<'_>; 9] = [
        ("/description/config/latent", &|value| *value = 5.into()),
        ("/description/config/latent", &|value| *value = 4_000_000_000_000_u64.into()),
        ("/description/config/hidden", &|value| *value = serde_json::json!([16, 900_000_000_000_u64])),
        ("/description/config/condition", &|value| *value = 0.into()),
        ("/description/config/likelihood", &|value| *value = "zinb".into()),
        ("/description/vocabulary/genes", &|value| value.as_array_mut().expect("a list").truncate(3)),
        ("/description/vocabulary/perturbed", &|value| value.as_array_mut().expect("a list").reverse()),
        ("/description/vocabulary/log_library", &|value| *value = serde_json::json!([1.0, 0.0])),
        ("/description/trained_on", &|value| *value = "effects".into()),
    ];
    for (place, change) in edits {
        model.save(folder.path()).expect("a folder to write to");
        CountVae::load(folder.path(), Device::Cpu).expect("as it was saved");
        edit(folder.path(), |json| change(json.pointer_mut(place).expect(place)));
        let text = CountVae::load(folder.path(), Device::Cpu).expect_err(place).to_string();
        assert!(!text.contains('\n'), "one line: {text}");
    }
    model.save(folder.path()).expect("a folder to write to");
    fs::write(folder.path().join("model.safetensors"), b"no arrays").expect("written");
    let text = CountVae::load(folder.path(), Device::Cpu).expect_err("damaged").to_string();
    assert!(text.contains("model.safetensors") && !text.contains('\n'), "{text}");
}
