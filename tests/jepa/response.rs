//! The JEPA end to end: it learns, is the same after a file, and keeps the rules of its equations.

use genailab::{
    ErrorKind,
    data::{
        Condition, DataKind, Dataset, Perturbation, Simulation, SimulationConfig, Split, SplitPlan, TrainingCells,
        TrainingData,
    },
    device::Device,
    dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape, PutTape, Rank0, SumTo, Tape, TensorFromVec},
    model::{
        Model, ModelConfig, Sampling, Trained,
        jepa::{
            ControlPairing, EncoderConfig, GroupConfig, Jepa, JepaSettings, LossWeights, Phase, PredictorState, Size,
            expected_expression, profile_loss,
        },
    },
    ndarray::{Array2, Axis},
    nn::{RowSets, ops::to_f32},
    train::Run,
};
use std::sync::{Arc, OnceLock};

pub fn small_world() -> SimulationConfig {
    SimulationConfig {
        n_cells: 1_500,
        n_genes: 120,
        seed: 5,
        n_singles: 8,
        doubles_per_class: 1,
        n_lanes: 2,
        n_programs: 4,
        density: 0.5,
        damaged_fraction: 0.0,
        ..SimulationConfig::default()
    }
}

fn simulated() -> &'static (Arc<Dataset>, Split) {
    static DATA: OnceLock<(Arc<Dataset>, Split)> = OnceLock::new();
    DATA.get_or_init(|| {
        let data = Simulation::new(&small_world()).expect("a small world").dataset;
        let split = data.split(&SplitPlan::default()).expect("cells can be divided");
        (Arc::new(data), split)
    })
}

pub fn settings() -> JepaSettings {
    let mut settings = JepaSettings::preset(Size::Tiny);
    let groups = GroupConfig { groups: 6, hidden: 24, tokens: 16, depth: 1, ..GroupConfig::of(Size::Tiny) };
    settings.encoder.encoder = EncoderConfig::Groups(groups);
    settings.encoder.width = 16;
    settings.pretraining.epochs = 3;
    settings.response.training.epochs = 8;
    settings.response.interaction.epochs = 5;
    settings.response.folds = 2;
    settings
}

fn training() -> TrainingData {
    let (data, split) = simulated();
    TrainingData::of_dataset(Arc::clone(data), split, 0).expect("its own split")
}

fn trained() -> &'static Jepa {
    static MODEL: OnceLock<Jepa> = OnceLock::new();
    MODEL.get_or_init(|| Jepa::fit(&training(), &settings(), &mut Run::quiet(0)).expect("it trains").0)
}

fn controls() -> Vec<usize> {
    let (data, split) = simulated();
    split.train.iter().copied().filter(|&row| data.perturbation_of(row).is_control()).collect()
}

fn of(genes: &[&str]) -> Condition {
    Condition::of(Perturbation::of(genes.iter().copied()))
}

fn names(n: usize) -> Vec<Perturbation> {
    simulated().0.perturbations.iter().filter(|p| p.genes().len() == n).cloned().collect()
}

#[test]
fn predicted_means_are_nearer_to_what_was_measured_than_no_change() {
    let (data, model) = (training(), trained());
    let (cells, effects) = (&simulated().0, data.effects().expect("there is control"));
    let control = model.mean_from(cells, &controls(), &of(&[]), 0).expect("it decodes");
    let (mut nearer, mut all) = (0, 0);
    for single in names(1) {
        let condition = Condition::of(single);
        let observed = effects.effect_of(&condition.perturbation, None).expect("trained on").mapv(f64::from);
        let predicted = model.mean_from(cells, &controls(), &condition, 0).expect("it decodes") - &control;
        let off = (&predicted - &observed).mapv(|d| d * d).sum();
        nearer += usize::from(off < observed.mapv(|d| d * d).sum());
        all += 1;
    }
    assert!(nearer * 5 >= all * 4, "{nearer} of {all} single perturbations");
}

#[test]
fn control_does_not_move_and_the_order_of_genes_does_not_matter() {
    let (data, model) = (&simulated().0, trained());
    let rows = &controls()[..20];
    let z = model.embed(data, rows).expect("its genes");
    assert_eq!(model.predicted_embeddings(data, rows, &of(&[])).expect("it predicts"), z);
    let double = names(2)[0].clone();
    let [a, b] = double.genes() else { panic!("a double") };
    let moved = |genes: &[&str]| model.predicted_embeddings(data, rows, &of(genes)).expect("it predicts");
    assert_eq!(moved(&[a, b]), moved(&[b, a]));
    assert_ne!(moved(&[a]), z);
    let error = model.predicted_embeddings(data, rows, &of(&["NOSUCH"])).expect_err("never perturbed");
    assert_eq!(error.kind(), ErrorKind::Inapplicable);
    assert!(error.to_string().contains("NOSUCH"), "{error}");
}

#[test]
fn a_saved_model_predicts_what_it_did() {
    let (dir, model) = (tempfile::tempdir().expect("a folder"), trained());
    model.save(dir.path()).expect("written");
    let again = Jepa::load(dir.path(), Device::Cpu).expect("read");
    let condition = Condition::of(names(2)[0].clone());
    let cells = |model: &Jepa| model.cells(&condition, &Sampling::new(25, 3)).expect("it predicts");
    assert_eq!(cells(&again).values, cells(model).values);
    assert_eq!(cells(&again).values.dim(), (25, 120));
    let (data, rows) = (&simulated().0, controls());
    assert_eq!(again.embed(data, &rows).expect("its genes"), model.embed(data, &rows).expect("its genes"));
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let effects = genailab::data::Effects::of_cells(&simulated().0).expect("there is control");
    let train = (0..effects.perturbations.len()).collect();
    let rows = Split { train, validation: Vec::new(), test: Vec::new() };
    let data = TrainingData::of_effects(&effects, &rows, 0).expect("its own split");
    let error = Jepa::fit(&data, &settings(), &mut Run::quiet(0)).err().expect("no cells").to_string();
    assert!(error.contains("combination"), "{error}");
    let mut wrong = settings();
    wrong.response.weights.counts = 0.0;
    assert!(wrong.validate().expect_err("it trains the decoder").to_string().contains("counts"));
    let mut stopped = settings();
    stopped.pretraining.early_stopping = Some(2);
    assert!(stopped.validate().expect_err("its teacher moves").to_string().contains("early_stopping"));
    let mut stopped = settings();
    stopped.response.tuning.early_stopping = Some(2);
    assert!(stopped.validate().expect_err("nor is this").to_string().contains("response.tuning"));
    let mut wrong = settings();
    wrong.response.tuning.batch_size = 0;
    assert!(wrong.validate().expect_err("no batch").to_string().contains("batch_size"));
    wrong.response.tuning.batch_size = 8;
    wrong.response.tuning_cells = 1;
    assert!(wrong.validate().expect_err("no spread").to_string().contains("tuning_cells"));
    let (cells, split) = simulated();
    let mut watchful = settings();
    watchful.response.training.early_stopping = Some(2);
    let mut singles = split.clone();
    let (train, doubles) = split.train.iter().partition(|row| cells.perturbation_of(**row).genes().len() < 2);
    singles.train = train;
    singles.test.extend::<Vec<usize>>(doubles);
    let data = TrainingData::of_dataset(Arc::clone(cells), &singles, 0).expect("its own split");
    let error = Jepa::fit(&data, &watchful, &mut Run::quiet(0)).err().expect("nothing to watch").to_string();
    assert!(error.contains("early_stopping") && error.contains("combinations"), "{error}");
    let few = |row: &usize| cells.perturbation_of(*row).genes().len() != 1;
    let mut without = split.clone();
    let (train, single) = split.train.iter().partition(|row| few(row));
    without.train = train;
    without.test.extend::<Vec<usize>>(single);
    let data = TrainingData::of_dataset(Arc::clone(cells), &without, 0).expect("its own split");
    let error = Jepa::fit(&data, &settings(), &mut Run::quiet(0)).err().expect("doubles alone").to_string();
    assert!(error.contains("no single perturbation"), "{error}");
    assert!(JepaSettings::default_for(DataKind::Cells).validate().is_ok());
    for size in [Size::Tiny, Size::Small, Size::Medium, Size::Large] {
        assert!(JepaSettings::preset(size).validate().is_ok(), "{size:?}");
    }
}

/// Logits of five cells in two sets, and the observed shares of each set.
fn profiles(remainder: bool) -> (Vec<f32>, RowSets, Array2<f32>) {
    let logits = (0..20).map(|i| ((i * 7 % 11) as f32 - 5.0) / 3.0).collect();
    let classes = if remainder { 5 } else { 4 };
    let mut shares = Array2::from_shape_fn((2, classes), |(set, class)| (1 + (set + 2 * class) % 4) as f32);
    for mut row in shares.rows_mut() {
        let sum = row.sum();
        row /= sum;
    }
    (logits, RowSets::from_sizes([2, 3]), shares)
}

/// The same in plain loops.
fn plain_profile_loss(logits: &[f32], sets: &RowSets, shares: &Array2<f32>, remainder: bool) -> f64 {
    let mut loss = 0.0;
    for (set, rows) in sets.ranges().enumerate() {
        let mut mean = vec![0.0; shares.ncols()];
        for row in rows.clone() {
            let mut odds: Vec<f64> = logits[row * 4..row * 4 + 4].iter().map(|&l| f64::from(l).exp()).collect();
            if remainder {
                odds.push(1.0);
            }
            let total: f64 = odds.iter().sum();
            mean.iter_mut().zip(&odds).for_each(|(mean, odds)| *mean += odds / total / rows.len() as f64);
        }
        loss -= mean.iter().zip(shares.row(set)).map(|(p, &y)| f64::from(y) * p.ln()).sum::<f64>();
    }
    loss / sets.len() as f64
}

fn profile_loss_of<T: Tape<f32, Cpu>>(logits: &[f32], tape: T, remainder: bool) -> genailab::nn::Scalar<Cpu, T> {
    let (_, sets, shares) = profiles(remainder);
    let x = Cpu::default().tensor_from_vec(logits.to_vec(), (5, 4)).put_tape(tape);
    profile_loss(x, &sets, &shares, remainder).expect("it fits")
}

#[test]
fn the_profile_loss_and_its_gradient_are_those_of_plain_loops() {
    for remainder in [false, true] {
        let (logits, sets, shares) = profiles(remainder);
        let plain = plain_profile_loss(&logits, &sets, &shares, remainder);
        let found = to_f32(&profile_loss_of(&logits, NoneTape, remainder));
        assert!((f64::from(found) - plain).abs() < 1e-5, "{found}, expected {plain}");

        let x = Cpu::default().tensor_from_vec(logits.clone(), (5, 4));
        let tape: OwnedTape<f32, Cpu> = Default::default();
        let loss = profile_loss(x.clone().put_tape(tape), &sets, &shares, remainder).expect("it fits");
        let gradient = loss.backward().get(&x).as_vec();
        for place in 0..logits.len() {
            let at = |step: f32| {
                let mut moved = logits.clone();
                moved[place] += step;
                plain_profile_loss(&moved, &sets, &shares, remainder)
            };
            let numeric = (at(1e-3) - at(-1e-3)) / 2e-3;
            assert!((f64::from(gradient[place]) - numeric).abs() < 1e-4, "{place}: {} and {numeric}", gradient[place]);
        }
        let wrong = shares.select(Axis(1), &[0, 1]);
        assert!(profile_loss(x.put_tape(NoneTape), &sets, &wrong, remainder).is_err());
    }
}

/// `E[ln(1 + scale x)]` of x ~ NB(mean, theta), by its probabilities in logarithms.
fn plain_expectation(mean: f64, theta: f64, scale: f64) -> f64 {
    use statrs::function::gamma::ln_gamma as log_gamma;
    (0..4_000)
        .map(|x| {
            let x = f64::from(x);
            let log_p = log_gamma(x + theta) - log_gamma(theta) - log_gamma(x + 1.0)
                + theta * (theta / (theta + mean)).ln()
                + x * (mean / (theta + mean)).ln();
            log_p.exp() * (scale * x).ln_1p()
        })
        .sum()
}

#[test]
fn the_expected_expression_and_its_gradient_are_those_of_the_negative_binomial() {
    let shares = [0.001_f32, 0.2, 0.01, 0.05, 0.3, 0.0004];
    let (sizes, scales, log_theta) = ([900.0_f32, 150.0], [10.0, 66.0], [0.0_f32, -0.7, 1.5]);
    let device = Cpu::default();
    let x = device.tensor_from_vec(shares.to_vec(), (2, 3));
    let found =
        expected_expression(x.clone().put_tape(NoneTape), (&sizes, &scales), &log_theta).expect("it fits").as_vec();
    let plain = |place: usize, share: f64| {
        let (cell, gene) = (place / 3, place % 3);
        plain_expectation(share * f64::from(sizes[cell]), f64::from(log_theta[gene]).exp(), scales[cell])
    };
    let tape: OwnedTape<f32, Cpu> = Default::default();
    let loss = expected_expression(x.clone().put_tape(tape), (&sizes, &scales), &log_theta)
        .expect("it fits")
        .sum::<Rank0, _>();
    let gradient = loss.backward().get(&x).as_vec();
    for place in 0..shares.len() {
        let share = f64::from(shares[place]);
        assert!((f64::from(found[place]) - plain(place, share)).abs() < 1e-4, "{place}: {}", found[place]);
        let step = share * 1e-4;
        let numeric = (plain(place, share + step) - plain(place, share - step)) / (2.0 * step);
        let off = (f64::from(gradient[place]) - numeric).abs() / numeric.abs().max(1.0);
        assert!(off < 1e-3, "{place}: {} and {numeric}", gradient[place]);
    }
}

/// Mean L2 error of the predicted effects of the single perturbations, which were trained on.
fn error_of_singles(model: &Jepa) -> f64 {
    let (cells, data) = (&simulated().0, training());
    let effects = data.effects().expect("there is control");
    let control = model.mean_from(cells, &controls(), &of(&[]), 0).expect("it decodes");
    let singles = names(1);
    let errors = singles.iter().map(|single| {
        let condition = Condition::of(single.clone());
        let observed = effects.effect_of(single, None).expect("trained on").mapv(f64::from);
        let predicted = model.mean_from(cells, &controls(), &condition, 0).expect("it decodes") - &control;
        (&predicted - &observed).mapv(|d| d * d).sum().sqrt()
    });
    errors.sum::<f64>() / singles.len() as f64
}

#[test]
fn tuning_brings_the_decoded_effects_nearer_to_the_measured_ones() {
    let mut untuned = settings();
    untuned.response.tuning.epochs = 0;
    let untuned = Jepa::fit(&training(), &untuned, &mut Run::quiet(0)).expect("it trains").0;
    let (before, after) = (error_of_singles(&untuned), error_of_singles(trained()));
    assert!(after < 0.9 * before, "{after}, without tuning {before}");
}

/// A phase B in which nothing but the two terms against a collapse, of weight `apart` and a twenty-fifth of it, keeps
/// embeddings apart: the teacher is the student of the same step, and no counts and no decoded mean train the encoder.
fn doomed(apart: f32) -> JepaSettings {
    let mut settings = settings();
    settings.phase = Phase::B;
    settings.encoder.teacher.ema = None;
    settings.encoder.alarm.min_rank = 2.0;
    let response = &mut settings.response;
    response.training.epochs = 12;
    response.training.learning_rate = 2e-2;
    response.weights = LossWeights {
        means: 10.0,
        profile: 0.0,
        counts_reach_encoder: false,
        variance: apart,
        covariance: apart / 25.0,
        ..response.weights
    };
    settings
}

#[test]
fn a_collapse_in_phase_b_stops_the_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Run { dir: Some(folder.path().to_owned()), ..Run::quiet(0) };
    let error = Jepa::fit(&training(), &doomed(0.0), &mut run).err().expect("a collapse");
    assert_eq!(error.kind(), ErrorKind::Numeric);
    let text = error.to_string();
    assert!(text.contains("phase B") && text.contains("collapsed"), "{text}");
    assert!(!folder.path().join("phase-b").join("last.safetensors").exists(), "nothing to resume");
    Jepa::fit(&training(), &doomed(25.0), &mut Run::quiet(0)).expect("the same with variance and covariance");
}

#[test]
fn phase_b_alone_trains_from_random_weights_and_a_frozen_encoder_stays() {
    let mut settings = settings();
    settings.phase = Phase::B;
    settings.response.train_encoder = false;
    settings.response.training.epochs = 2;
    let embed = |settings: &JepaSettings| {
        let model = Jepa::fit(&training(), settings, &mut Run::quiet(0)).expect("it trains").0;
        model.embed(&simulated().0, &controls()[..10]).expect("its genes")
    };
    let frozen = embed(&settings);
    settings.response.training.epochs = 1;
    assert_eq!(embed(&settings), frozen, "the encoder is not trained");
    settings.response.train_encoder = true;
    assert_ne!(embed(&settings), frozen);
}

#[test]
fn early_stopping_watches_combinations_that_are_not_trained_on() {
    let mut settings = settings();
    settings.response.training.epochs = 40;
    settings.response.training.learning_rate = 2e-2;
    settings.response.training.early_stopping = Some(2);
    let (_, history) = Jepa::fit(&training(), &settings, &mut Run::quiet(0)).expect("it trains");
    let epochs = history.epochs.len();
    assert!((3..40).contains(&epochs), "{epochs} epochs");
    assert!(history.epochs.iter().all(|record| record.validation.is_some()));
}

#[test]
fn of_pairs_in_several_contexts_one_is_left_out_and_its_perturbation_still_learned() {
    let config = SimulationConfig { n_cells: 900, n_genes: 60, doubles_per_class: 0, n_cell_types: 3, ..small_world() };
    let cells = Arc::new(Simulation::new(&config).expect("a small world").dataset);
    let split = cells.split(&SplitPlan::default()).expect("cells can be divided");
    let types = cells.cells.column("cell_type").expect("there are types").to_text();
    let of_cell = |cell: usize| Condition {
        perturbation: cells.perturbation_of(cell).clone(),
        context: types[cell].as_ref().map(ToString::to_string),
    };
    let conditions = (0..cells.n_cells()).map(of_cell).collect();
    let data = TrainingCells::new(Arc::clone(&cells), conditions, &split).expect("its own split");
    let data = TrainingData::of_cells(data, 0);
    let mut settings = settings();
    settings.response.training.early_stopping = Some(3);
    let (model, history) = Jepa::fit(&data, &settings, &mut Run::quiet(0)).expect("it trains");
    assert!(history.epochs.iter().all(|record| record.validation.is_some()));
    let singles = cells.perturbations.iter().filter(|perturbation| perturbation.genes().len() == 1);
    singles.for_each(|single| assert!(model.perturbs(&single.genes()[0]), "{single}"));
}

#[test]
fn without_the_training_of_the_predictor_effects_are_worse() {
    let error_with = |state: PredictorState| {
        let mut settings = settings();
        settings.response.predictor = state;
        error_of_singles(&Jepa::fit(&training(), &settings, &mut Run::quiet(0)).expect("it trains").0)
    };
    let (initial, measured) = (error_with(PredictorState::Initial), error_with(PredictorState::Measured));
    let trained = error_of_singles(trained());
    assert!(trained < 0.9 * measured && measured < initial, "{trained}, measured {measured}, initial {initial}");
}

#[test]
fn pairs_train_nearly_as_well_as_sets_do() {
    for pairing in [ControlPairing::Random, ControlPairing::Transport] {
        let mut settings = settings();
        settings.response.pairing = pairing;
        let model = Jepa::fit(&training(), &settings, &mut Run::quiet(0)).expect("it trains").0;
        let (paired, sets) = (error_of_singles(&model), error_of_singles(trained()));
        assert!(paired < 1.5 * sets, "{pairing:?}: {paired}, sets {sets}");
    }
}
