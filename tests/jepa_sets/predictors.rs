//! The predictors on a small simulated experiment.

use genailab::{
    ErrorKind,
    bench::{BenchmarkData, Task},
    data::{
        Condition, DataKind, Opened, Perturbation, Simulation, SimulationConfig, Split, TargetSum, TrainingData,
        normalize,
    },
    device::Device,
    eval::l2,
    model::{
        Model, Sampling, Trained,
        jepa::{Conditioning, JepaPairs, JepaSets, Level, SetLoss, SetsConfig, SetsJepa, SetsSettings},
    },
    ndarray::{Array2, Axis},
    predict::{
        ModelPredictor, Predictor,
        baselines::{NoChange, models},
    },
    train::{Run, TrainConfig},
};
use std::{collections::BTreeMap, sync::OnceLock};

/// Small networks, few epochs.
fn quick(config: SetsConfig) -> SetsConfig {
    let mut cell = config.cell.clone();
    cell.width = 24;
    SetsConfig {
        cell,
        pretraining: TrainConfig { epochs: 6, ..config.pretraining },
        hidden: 32,
        cells: 24,
        draws: 3,
        folds: 2,
        training: TrainConfig { epochs: 4, ..config.training },
        decoder: 64,
        decoding: TrainConfig { epochs: 12, ..config.decoding },
        ..config
    }
}

/// Quick settings of one of the two models.
fn settings<const PAIRS: bool>() -> SetsSettings<PAIRS> {
    SetsSettings { model: quick(SetsSettings::<PAIRS>::default().model) }
}

fn predictor<const PAIRS: bool>(name: &str) -> ModelPredictor {
    let adapter = ModelPredictor::new::<SetsJepa<PAIRS>>(name, &[DataKind::Cells]);
    adapter.with_config::<SetsJepa<PAIRS>>(settings())
}

fn fitted<const PAIRS: bool>(model: &SetsConfig, seed: u64) -> SetsJepa<PAIRS> {
    let data = TrainingData::of_dataset(simulated().dataset.clone(), &split(), seed).expect("its own split");
    let settings = SetsSettings { model: model.clone() };
    SetsJepa::fit(&data, &settings, &mut Run::quiet(seed)).expect("it trains").0
}

fn simulated() -> &'static Simulation {
    static DATA: OnceLock<Simulation> = OnceLock::new();
    DATA.get_or_init(|| {
        let config = SimulationConfig {
            n_cells: 1_200,
            n_genes: 120,
            seed: 4,
            n_singles: 10,
            doubles_per_class: 1,
            ..SimulationConfig::default()
        };
        Simulation::new(&config).expect("settings within their ranges")
    })
}

/// Every second double is held out.
fn split() -> Split {
    let data = &simulated().dataset;
    let doubles = data.perturbations.iter().filter(|p| p.genes().len() == 2);
    let test: Vec<&Perturbation> = doubles.step_by(2).collect();
    let (test, train) = (0..data.n_cells()).partition(|&cell| test.contains(&data.perturbation_of(cell)));
    Split { train, validation: Vec::new(), test }
}

fn task() -> Task {
    let data = BenchmarkData::new(Opened::Cells(simulated().dataset.clone()), None).expect("cells");
    Task::new(&data, &split(), &BTreeMap::new(), 0).expect("the split fits")
}

fn mean_error(task: &Task, model: &dyn Predictor) -> f64 {
    let predicted = task.predict(model).expect("it fits");
    let observed = task.observed.effects.rows().into_iter();
    let errors: Vec<f64> = observed
        .zip(&predicted.effects)
        .map(|(observed, effect)| l2(&effect.as_ref().expect("applies").to_vec(), &observed.to_vec()).expect("same"))
        .collect();
    errors.iter().sum::<f64>() / errors.len() as f64
}

#[test]
fn both_levels_say_more_of_unseen_doubles_than_no_change() {
    let task = task();
    let nothing = mean_error(&task, &NoChange);
    for model in [predictor::<false>("jepa_sets"), predictor::<true>("jepa_pairs")] {
        let error = mean_error(&task, &model);
        assert!(error < 0.95 * nothing, "{}: L2 {error:.3}, no change has {nothing:.3}", model.name());
    }
}

#[test]
fn cells_are_drawn_anew_for_each_seed_and_an_unknown_gene_is_named() {
    let task = task();
    let model = predictor::<false>("jepa_sets");
    let fitted = model.fit(&task.training).expect("it fits");
    let condition = &task.training.effects().expect("there is control").conditions[0];
    let draw = |n: usize, seed: u64| fitted.cells(condition, n, seed).expect("it knows cells").expect("it applies");
    let cells = draw(40, 1);
    assert_eq!(cells.dim(), (40, task.training.genes.len()));
    assert!(cells.iter().all(|v| v.is_finite() && *v >= 0.0), "log-normalised counts");
    assert_eq!(cells, draw(40, 1));
    assert_ne!(cells, draw(40, 2));
    // The effect is the mean that the cells have in expectation.
    let many = draw(600, 3).mean_axis(Axis(0)).expect("cells");
    let control = Condition { perturbation: Perturbation::control(), context: None };
    let controls = fitted.cells(&control, 600, 4).expect("it knows cells").expect("control is known");
    let drawn = many - controls.mean_axis(Axis(0)).expect("cells");
    let effect = fitted.effect(condition).expect("it applies");
    let off = l2(&drawn.to_vec(), &effect.to_vec()).expect("same length");
    let size = f64::from(effect.dot(&effect).sqrt());
    assert!(off < 0.6 * size, "drawn cells are {off:.3} away from an effect of {size:.3}");

    let error = fitted.effect(&Condition::of(Perturbation::of(["NOGENE"]))).expect_err("nothing is known of it");
    assert_eq!(error.kind(), ErrorKind::Inapplicable);
    assert!(error.to_string().contains("NOGENE"), "{error}");
}

#[test]
fn the_same_seed_is_the_same_model_and_every_setting_trains() {
    let (data, split) = (&simulated().dataset, split());
    let conditions: Vec<Condition> =
        (0..data.n_cells()).map(|cell| Condition::of(data.perturbation_of(cell).clone())).collect();
    let held_out = conditions[split.test[0]].clone();
    let controls: Vec<usize> = data.control_cells().into_iter().take(30).collect();
    let moved = |config: &SetsConfig, seed: u64| -> Array2<f32> {
        let model = fitted::<false>(config, seed);
        let choice = model.choice();
        assert!(choice.error <= 1.0 && (0.0..=1.0).contains(&choice.combinations), "{choice:?}");
        assert!(!model.histories().is_empty());
        model.moved(&model.standardised(data, &controls).expect("cells"), &held_out).expect("both genes are known")
    };
    let mut config = quick(SetsConfig::sets());
    config.pretraining.epochs = 1;
    config.decoding.epochs = 1;
    let first = moved(&config, 3);
    assert_eq!(first, moved(&config, 3));
    assert_ne!(first, moved(&config, 5));
    for (conditioning, distance) in [
        (Conditioning::Film, SetLoss::Mmd),
        (Conditioning::CrossAttention, SetLoss::SlicedWasserstein { directions: 16 }),
    ] {
        let level = Level::Sets { distance };
        let config = SetsConfig { conditioning, level, learned: true, ..config.clone() };
        assert!(moved(&config, 3).iter().all(|v| v.is_finite()), "{conditioning:?}");
    }
}

#[test]
fn a_model_is_read_back_and_predicts_without_the_data() {
    is_read_back::<false>();
    is_read_back::<true>();
}

fn is_read_back<const PAIRS: bool>() {
    let (data, split) = (&simulated().dataset, split());
    let conditions: Vec<Condition> =
        (0..data.n_cells()).map(|cell| Condition::of(data.perturbation_of(cell).clone())).collect();
    let held_out = conditions[split.test[0]].clone();
    let controls: Vec<usize> = data.control_cells().into_iter().take(30).collect();
    let mut config = settings::<PAIRS>().model;
    (config.pretraining.epochs, config.decoding.epochs, config.learned) = (1, 2, true);
    let model = fitted::<PAIRS>(&config, 3);
    let dir = tempfile::tempdir().expect("a temporary folder");
    model.save(dir.path()).expect("it is written");
    let read = SetsJepa::<PAIRS>::load(dir.path(), Device::Cpu).expect("it was just written");
    assert_eq!((read.choice(), read.config()), (model.choice(), model.config()));
    // Shifts and offsets are kept in single precision.
    let moved = |model: &SetsJepa<PAIRS>| {
        model.moved(&model.standardised(data, &controls).expect("cells"), &held_out).expect("both genes are known")
    };
    let off = (&moved(&read) - &moved(&model)).iter().fold(0.0_f32, |most, off| most.max(off.abs()));
    assert!(off < 1e-4, "embeddings are {off} off");
    let (first, again) = (
        model.cells(&held_out, &Sampling::new(40, 1)).expect("it applies"),
        read.cells(&held_out, &Sampling::new(40, 1)),
    );
    let again = again.expect("it applies");
    assert_eq!(first.library_size, again.library_size);
    let differ = first.values.iter().zip(&again.values).filter(|(a, b)| a != b).count();
    assert!(differ * 1000 < first.values.len(), "{differ} counts differ");
    assert!(first.are_counts && first.values.iter().all(|&v| v >= 0.0 && v.fract() == 0.0));
    assert_eq!(first.values.dim(), (40, data.n_genes()));
    let unknown =
        read.cells(&Condition::of(Perturbation::of(["NOGENE"])), &Sampling::new(3, 0)).expect_err("nothing is known");
    assert!(unknown.to_string().contains("NOGENE"), "{unknown}");
    std::fs::remove_file(dir.path().join("model.safetensors")).expect("it was there");
    assert!(SetsJepa::<PAIRS>::load(dir.path(), Device::Cpu).is_err());
}

#[test]
fn offsets_carry_what_embeddings_lose_of_a_single_perturbation() {
    let data = &simulated().dataset;
    let expression = normalize::log_normalize(data, TargetSum::Fixed(1e4)).expect("counts").to_dense();
    let mean = |rows: &[usize]| expression.select(Axis(0), rows).mean_axis(Axis(0)).expect("cells").mapv(f64::from);
    let controls = data.control_cells();
    let error = |offsets: bool| -> f64 {
        let config = SetsConfig { offsets, ..quick(SetsConfig::sets()) };
        let model = fitted::<false>(&config, 3);
        let start = model.mean(data, &controls, &Condition::of(Perturbation::control())).expect("cells");
        let singles = data.perturbations.iter().filter(|perturbation| perturbation.genes().len() == 1);
        let errors = singles.map(|perturbation| {
            let predicted =
                model.mean(data, &controls, &Condition::of(perturbation.clone())).expect("trained on") - &start;
            let observed = mean(&data.cells_of(perturbation)) - mean(&controls);
            (predicted - observed).mapv(|v| v * v).sum().sqrt()
        });
        errors.sum()
    };
    let (with, without) = (error(true), error(false));
    assert!(with < 0.9 * without, "L2 over the singles {with:.2} with offsets, {without:.2} without");
}

#[test]
fn a_split_that_trains_on_its_test_cells_is_refused() {
    let (data, mut split) = (&simulated().dataset, split());
    split.train.push(split.test[0]);
    let error = TrainingData::of_dataset(data.clone(), &split, 0).expect_err("a leak");
    assert!(error.to_string().contains("stands twice in the split"), "{error}");
}

#[test]
fn an_interrupted_training_is_resumed_bit_for_bit() {
    let data = TrainingData::of_dataset(simulated().dataset.clone(), &split(), 3).expect("its own split");
    let mut settings = settings::<false>();
    (settings.model.pretraining.epochs, settings.model.decoding.epochs) = (1, 2);
    let (whole, _) = JepaSets::fit(&data, &settings, &mut Run::quiet(3)).expect("it trains");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let run = |resume| Run { dir: Some(dir.path().to_owned()), resume, ..Run::quiet(3) };
    JepaSets::fit(&data, &settings, &mut run(false)).expect("it trains");
    // As if it had been stopped in the second network: the encoder and the first are done.
    std::fs::remove_dir_all(dir.path().join("decoder")).expect("it was trained");
    std::fs::remove_file(dir.path().join("member-1/last.safetensors")).expect("it was trained");
    let (resumed, _) = JepaSets::fit(&data, &settings, &mut run(true)).expect("it resumes");
    assert_eq!(resumed.state().expect("whole"), whole.state().expect("whole"));

    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let mut stopped = Run { interrupt: Some(flag), ..Run::quiet(3) };
    let error = JepaPairs::fit(&data, &SetsSettings::default(), &mut stopped).err().expect("interrupted at once");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn a_description_that_does_not_fit_is_refused() {
    let mut config = settings::<false>().model;
    (config.pretraining.epochs, config.training.epochs, config.decoding.epochs) = (1, 1, 1);
    let dir = tempfile::tempdir().expect("a temporary folder");
    fitted::<false>(&config, 0).save(dir.path()).expect("it is written");
    let path = dir.path().join("model.json");
    let saved: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("it is there")).expect("JSON");
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = saved.clone();
        change(&mut json["description"]);
        std::fs::write(&path, json.to_string()).expect("it is written");
        let text = JepaSets::load(dir.path(), Device::Cpu).err().expect("it does not fit").to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    };
    for list in ["shifts", "contexts"] {
        let text = refused(&|json| json[list].as_array_mut().expect("a list").truncate(1));
        assert!(text.contains("shape"), "{list}: {text}");
    }
    for list in ["controls", "genes"] {
        let text = refused(&|json| json["offsets"][list].as_array_mut().expect("a list").clear());
        assert!(text.contains("shape"), "{list}: {text}");
    }
    assert!(refused(&|json| json["config"]["hidden"] = 7.into()).contains("shape"));
    assert!(refused(&|json| json["config"]["decoder"] = 7.into()).contains("shape"));
    let pairs = serde_json::to_value(SetsConfig::pairs().level).expect("settings");
    assert!(refused(&|json| json["config"]["level"] = pairs.clone()).contains("jepa-sets"));
    std::fs::write(&path, saved.to_string()).expect("it is written");
    JepaSets::load(dir.path(), Device::Cpu).expect("as it was saved");
    std::fs::remove_file(dir.path().join("encoder/model.safetensors")).expect("a part");
    assert!(JepaSets::load(dir.path(), Device::Cpu).is_err());
}

#[test]
fn both_are_among_the_models_and_effects_are_no_cells() {
    let all = models();
    let names: Vec<&str> = all.iter().map(|model| model.name()).collect();
    let place = names.iter().position(|name| *name == "combination").expect("it is a model");
    assert_eq!(names[place + 1..place + 3], ["jepa_sets", "jepa_pairs"]);
    let mut training = task().training;
    training.cells = None;
    for model in &all[place + 1..place + 3] {
        let error = model.fit(&training).err().expect("effects have no cells");
        assert_eq!(error.kind(), ErrorKind::Inapplicable);
    }
}
