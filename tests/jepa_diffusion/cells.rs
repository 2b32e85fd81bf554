//! The model: training, files, what it can be asked, and what it refuses.

use genailab::{
    ErrorKind,
    data::{
        Condition, DataKind, Dataset, Effects, Perturbation, Simulation, SimulationConfig, Split, SplitPlan,
        TrainingData,
    },
    device::Device,
    model::{
        Generated, Model, ModelConfig, Sampling, Trained,
        diffusion::{SampleConfig, Solver, net::ScoreNetConfig},
        flow::{FlowConfig, TransportConfig},
        jepa::{EncoderConfig, GroupConfig, Jepa, JepaSettings, Phase, Size},
        jepa_diffusion::{AnchoredConfig, GeneratorKind, JepaDiffusion, JepaDiffusionSettings},
    },
    ndarray::Axis,
    train::Run,
};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    sync::{Arc, OnceLock},
};

fn simulated() -> &'static (Arc<Dataset>, Split) {
    static DATA: OnceLock<(Arc<Dataset>, Split)> = OnceLock::new();
    DATA.get_or_init(|| {
        let config = SimulationConfig {
            n_cells: 1_000,
            n_genes: 80,
            seed: 5,
            n_singles: 6,
            doubles_per_class: 1,
            n_lanes: 2,
            n_programs: 4,
            density: 0.5,
            damaged_fraction: 0.0,
            ..SimulationConfig::default()
        };
        let data = Simulation::new(&config).expect("a small world").dataset;
        let split = data.split(&SplitPlan::default()).expect("cells can be divided");
        (Arc::new(data), split)
    })
}

fn settings() -> JepaDiffusionSettings {
    let mut jepa = JepaSettings::preset(Size::Tiny);
    let groups = GroupConfig { groups: 4, hidden: 16, tokens: 16, depth: 1, ..GroupConfig::of(Size::Tiny) };
    jepa.encoder.encoder = EncoderConfig::Groups(groups);
    jepa.encoder.width = 12;
    jepa.pretraining.epochs = 2;
    jepa.response.training.epochs = 3;
    jepa.response.interaction.epochs = 2;
    jepa.response.folds = 2;
    let model = AnchoredConfig { net: ScoreNetConfig::film_mlp(32, 2), ..AnchoredConfig::default() };
    let generator = GeneratorKind::Diffusion { model, sampling: SampleConfig::ddim(25) };
    let mut settings = JepaDiffusionSettings { jepa, generator, control_cells: 2, ..JepaDiffusionSettings::default() };
    settings.training.epochs = 4;
    settings
}

fn training() -> TrainingData {
    let (data, split) = simulated();
    TrainingData::of_dataset(Arc::clone(data), split, 0).expect("its own split")
}

fn trained() -> &'static JepaDiffusion {
    static MODEL: OnceLock<JepaDiffusion> = OnceLock::new();
    MODEL.get_or_init(|| JepaDiffusion::fit(&training(), &settings(), &mut Run::quiet(0)).expect("it trains").0)
}

fn controls() -> Vec<usize> {
    let (data, split) = simulated();
    split.train.iter().copied().filter(|&row| data.perturbation_of(row).is_control()).collect()
}

fn names(genes: usize) -> Vec<Perturbation> {
    simulated().0.perturbations.iter().filter(|p| p.genes().len() == genes).cloned().collect()
}

fn double() -> Condition {
    Condition::of(names(2)[0].clone())
}

fn single() -> Condition {
    Condition::of(names(1)[0].clone())
}

fn saved() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    trained().save(dir.path()).expect("written");
    dir
}

#[test]
fn a_saved_model_draws_what_it_did() {
    let (dir, model) = (saved(), trained());
    let again = JepaDiffusion::load(dir.path(), Device::Cpu).expect("read");
    let (data, rows) = (&simulated().0, &controls()[..30]);
    for condition in [double(), single(), Condition::of(Perturbation::control())] {
        let cells = |model: &JepaDiffusion| model.cells(&condition, &Sampling::new(25, 3)).expect("it draws").values;
        assert_eq!(cells(&again), cells(model), "{condition}");
        let from = |model: &JepaDiffusion| model.cells_from(data, rows, &condition, 4).expect("it draws").values;
        assert_eq!(from(&again), from(model), "{condition}");
    }
    let (from, to) = (single(), double());
    let moved = |model: &JepaDiffusion| model.counterfactual(data, rows, (&from, &to), 5).expect("it draws").values;
    assert_eq!(moved(&again), moved(model));
    assert_eq!(again.denoising_losses(data, rows, 0).unwrap(), model.denoising_losses(data, rows, 0).unwrap());
    assert_eq!(again.chosen(), model.chosen());
}

#[test]
fn one_control_cell_has_many_responses_of_its_library_size() {
    let (data, model) = (&simulated().0, trained());
    let rows = vec![controls()[0]; 40];
    let Generated { values, library_size, are_counts } = model.cells_from(data, &rows, &double(), 1).expect("it draws");
    assert_eq!(values.dim(), (40, 80));
    assert!(are_counts && values.iter().all(|count| *count >= 0.0 && count.fract() == 0.0));
    assert!(library_size.iter().all(|&size| size == data.library_size[rows[0]]));
    let distinct = values.rows().into_iter().filter(|row| *row != values.row(0)).count();
    assert_eq!(distinct, 39, "no two responses are the same");
    let total = values.sum_axis(Axis(1)).mean().expect("there are cells");
    assert!((total / library_size[0] - 1.0).abs() < 0.2, "{total} counts at a library size of {}", library_size[0]);
    assert_eq!(model.cells_from(data, &rows, &double(), 1).expect("it draws").values, values, "the same seed");
    assert_ne!(model.cells_from(data, &rows, &double(), 2).expect("it draws").values, values);
}

#[test]
fn the_mean_of_an_unseen_condition_is_that_of_the_jepa() {
    assert!(!trained().abilities().predicted_embeddings, "they are those of the jepa");
    let (data, split) = simulated();
    // Trained without one double, whose single perturbations are known.
    let unseen = names(2)[0].clone();
    let mut without = split.clone();
    let left_out = |row: &usize| *data.perturbation_of(*row) == unseen;
    let (removed, train): (Vec<usize>, Vec<usize>) = split.train.iter().partition(|row| left_out(row));
    without.train = train;
    without.test.extend(removed);
    without.test.append(&mut without.validation);
    let training = TrainingData::of_dataset(Arc::clone(data), &without, 0).expect("its own split");
    let mut settings = settings();
    settings.training.early_stopping = None;
    let (model, _) = JepaDiffusion::fit(&training, &settings, &mut Run::quiet(0)).expect("it trains");
    let condition = Condition::of(unseen);
    assert!(model.why_mean_is_fixed(&condition).is_some());
    let rows = controls();
    let mean = model.mean_from(data, &rows, &condition, 0).expect("it draws");
    let of_jepa = model.jepa().mean_from(data, &rows, &condition, 0).expect("it decodes");
    let control = model.jepa().mean_from(data, &rows, &Condition::of(Perturbation::control()), 0).expect("it decodes");
    let size = |v: &genailab::ndarray::Array1<f64>| v.dot(v).sqrt();
    let (off, effect) = (size(&(&mean - &of_jepa)), size(&(&of_jepa - &control)));
    assert!(off < 0.5 * effect, "off by {off}, where the effect is {effect}");
    let split_of_one = model.denoising_losses(data, &without.test, 0).expect("its genes").expect("trained conditions");
    assert!(split_of_one.1 < without.test.len(), "cells of the unseen double have no Gaussian");
}

#[test]
fn a_counterfactual_under_the_same_condition_is_the_cell_itself() {
    let (data, model) = (&simulated().0, trained());
    let rows: Vec<usize> = data.cells_of(&names(1)[0])[..10].to_vec();
    let z = model.embed(data, &rows).expect("its genes");
    let same = model.counterfactual_embeddings(data, &rows, (&single(), &single())).unwrap();
    let off = (&same - &z).mapv(f32::abs).iter().copied().fold(0.0, f32::max);
    assert!(off < 0.05, "off by {off}");
    let other = model.counterfactual_embeddings(data, &rows, (&single(), &double())).unwrap();
    assert!((&other - &z).mapv(f32::abs).iter().copied().fold(0.0, f32::max) > 0.1, "another condition moves it");
}

#[test]
fn steps_guidance_and_library_size_are_honoured() {
    let model = trained();
    let plain = Sampling::new(20, 3);
    let cells = |sampling: Sampling| model.cells(&double(), &sampling);
    let usual = cells(plain).expect("it draws").values;
    assert_ne!(cells(Sampling { steps: Some(3), ..plain }).expect("it draws").values, usual);
    assert_ne!(cells(Sampling { guidance: Some(100.0), ..plain }).expect("it draws").values, usual);
    let sized = cells(Sampling { library_size: Some(300.0), ..plain }).expect("it draws");
    assert!(sized.library_size.iter().all(|&size| size == 300.0));
    let total = sized.values.sum_axis(Axis(1)).mean().expect("there are cells");
    assert!(total < 400.0, "{total} counts");
    for wrong in [
        Sampling { steps: Some(0), ..plain },
        Sampling { guidance: Some(-1.0), ..plain },
        Sampling { library_size: Some(0.0), ..plain },
    ] {
        assert!(cells(wrong).is_err());
    }
}

#[test]
fn held_out_cells_are_scored_beside_the_gaussian() {
    let (data, split) = simulated();
    let score = trained().held_out(data, &split.test, 0).expect("its genes").expect("trained conditions");
    assert!(score.line.contains("closed-form Gaussian"), "{}", score.line);
    let ratio = score.json["denoising_ratio"].as_f64().expect("a number");
    assert!((0.3..1.5).contains(&ratio), "{ratio}");
    assert_eq!(score.json["denoising"].as_array().map(Vec::len), Some(9));
}

#[test]
fn a_flow_draws_too_and_has_no_denoising_loss() {
    let (data, split) = simulated();
    let (jepa, _) = Jepa::fit(&training(), &settings().jepa, &mut Run::quiet(0)).expect("it trains");
    let model = FlowConfig { net: ScoreNetConfig::film_mlp(32, 2), ..FlowConfig::default() };
    let transport = TransportConfig::new(Solver::Euler, 8);
    let settings = JepaDiffusionSettings { generator: GeneratorKind::Flow { model, transport }, ..settings() };
    let cells = training().cells.expect("cells");
    let (model, _) = JepaDiffusion::around(jepa, &cells, &settings, &mut Run::quiet(0)).expect("it trains");
    let dir = tempfile::tempdir().expect("a folder");
    model.save(dir.path()).expect("written");
    let again = JepaDiffusion::load(dir.path(), Device::Cpu).expect("read");
    let drawn = |model: &JepaDiffusion| model.cells(&double(), &Sampling::new(10, 1)).expect("it draws").values;
    assert_eq!(drawn(&again), drawn(&model));
    assert!(model.held_out(data, &split.test, 0).expect("its genes").is_none());
}

#[test]
fn what_cannot_be_trained_or_asked_is_refused() {
    let effects = Effects::of_cells(&simulated().0).expect("there is control");
    let rows = Split { train: (0..effects.perturbations.len()).collect(), validation: Vec::new(), test: Vec::new() };
    let data = TrainingData::of_effects(&effects, &rows, 0).expect("its own split");
    let error = JepaDiffusion::fit(&data, &settings(), &mut Run::quiet(0)).err().expect("no cells");
    assert!(error.to_string().contains("effects dataset"), "{error}");

    let mut half = settings();
    half.jepa.phase = Phase::A;
    assert!(half.validate().expect_err("no predictor").to_string().contains("phase"));
    assert!(half.set_phase("a").expect_err("no predictor").to_string().contains("--phase a"));
    half.set_phase("ab").expect("both phases");
    let mut none = settings();
    none.control_cells = 0;
    assert!(none.validate().expect_err("no control cell").to_string().contains("control_cells"));
    assert!(JepaDiffusionSettings::default_for(DataKind::Cells).validate().is_ok());

    let (mut phase_a, cells) = (settings().jepa, training().cells.expect("cells"));
    phase_a.phase = Phase::A;
    let (jepa, _) = Jepa::fit(&training(), &phase_a, &mut Run::quiet(0)).expect("it trains");
    let error = JepaDiffusion::around(jepa, &cells, &settings(), &mut Run::quiet(0)).err().expect("no predictor");
    assert_eq!(error.kind(), ErrorKind::Inapplicable);

    let error =
        trained().cells(&Condition::of(Perturbation::of(["NOSUCH"])), &Sampling::new(3, 0)).expect_err("unknown");
    assert!(error.kind() == ErrorKind::Inapplicable && error.to_string().contains("NOSUCH"), "{error}");
    let elsewhere = Condition { context: Some("nowhere".to_owned()), ..double() };
    let error = trained().cells(&elsewhere, &Sampling::new(3, 0)).expect_err("no control cell");
    assert!(error.to_string().contains("no control cell"), "{error}");
}

#[test]
fn damaged_files_are_refused_with_one_line() {
    let refused = |dir: &Path| {
        let text = JepaDiffusion::load(dir, Device::Cpu).err().expect("it must be refused").to_string();
        assert!(!text.contains('\n'), "one line: {text}");
        text
    };
    let edit = |dir: &Path, change: &dyn Fn(&mut Value)| {
        let path = dir.join("model.json");
        let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).expect("read")).expect("JSON");
        change(&mut json);
        fs::write(path, json.to_string()).expect("written");
    };
    let dir = saved();
    edit(dir.path(), &|json| drop(json["description"]["conditions"].as_array_mut().expect("a list").pop()));
    assert!(refused(dir.path()).contains("gaussian.means"));
    let dir = saved();
    edit(dir.path(), &|json| json["description"]["settings"]["generator"]["model"]["net"]["width"] = 5_000_000.into());
    assert!(refused(dir.path()).contains("larger than its arrays"));
    let dir = saved();
    edit(&dir.path().join("generator"), &|json| drop(json["description"]["std"].as_array_mut().expect("a list").pop()));
    assert!(refused(dir.path()).contains("scales"));
    let dir = saved();
    fs::remove_dir_all(dir.path().join("jepa")).expect("it was there");
    assert!(refused(dir.path()).contains("jepa"));
}
