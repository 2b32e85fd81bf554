//! Covariates of the count VAE: the gradient in the training path, what they are worth with a known truth, saved, resumed, asked for.

use crate::{
    commands::tool::Place,
    common::{
        nudge::{Nudge, Whole},
        training_loss::training_loss,
    },
};
use genailab::{
    data::{
        AnnData, Column, Condition, Dataset, Effects, Perturbation, Simulation, SimulationConfig, Split, SplitPlan,
        TrainingData,
    },
    device::Device,
    dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape},
    model::{
        CellSource, CellView, CountVae, KlAnnealing, Model, Sampling, Trained, VaeConfig, VaeNet, VaeSettings,
        Vocabulary,
    },
    ndarray::{Array1, Axis},
    nn::Params,
    train::{BatchSource, Run, TrainConfig},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::OnceLock;

const TYPES: usize = 3;

/// Cells of three types, whose responses differ; `age` is a number that says nothing, `one` is the same everywhere, `guide` tells the perturbation.
fn cells() -> &'static Dataset {
    static MADE: OnceLock<Dataset> = OnceLock::new();
    MADE.get_or_init(|| {
        let config = SimulationConfig {
            n_cells: 2_400,
            n_genes: 150,
            n_singles: 5,
            doubles_per_class: 0,
            n_cell_types: TYPES,
            n_lanes: 1,
            seed: 11,
            ..SimulationConfig::default()
        };
        let mut data = Simulation::new(&config).expect("valid settings").dataset;
        let n = data.n_cells();
        data.cells.set("age", Column::Float((0..n).map(|row| 20.0 + (row % 50) as f64).collect()));
        data.cells.set("one", Column::Text(vec![Some("same".to_owned()); n]));
        let guide = |row: usize| format!("guide {} of {}", row % 2, data.perturbation_of(row));
        let guides = (0..n).map(|row| Some(guide(row))).collect();
        data.cells.set("guide", Column::Text(guides));
        data
    })
}

fn of_type(cell_type: &str) -> impl Fn(&usize) -> bool {
    let types = cells().cells.column("cell_type").expect("the simulator names them").to_text();
    move |&row: &usize| types[row].as_deref() == Some(cell_type)
}

fn types() -> Vec<String> {
    let mut names: Vec<String> =
        cells().cells.column("cell_type").expect("named").to_text().into_iter().flatten().collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), TYPES);
    names
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn settings(covariates: &[&str], epochs: usize) -> VaeSettings {
    VaeSettings {
        model: VaeConfig {
            latent: 6,
            hidden: vec![48],
            condition: 16,
            covariates: columns(covariates),
            ..VaeConfig::default()
        },
        train: TrainConfig { epochs, learning_rate: 4e-3, ..TrainConfig::default() },
        ..VaeSettings::default()
    }
}

fn training() -> (Split, TrainingData) {
    let split = cells().split(&SplitPlan::stratified(1)).expect("enough cells");
    let data = TrainingData::of_dataset(cells().clone(), &split, 0).expect("its own split");
    (split, data)
}

#[test]
fn their_weights_have_the_gradient_of_the_training_loss() {
    let rows: Vec<usize> = (0..48).collect();
    let wanted = columns(&["cell_type", "age"]);
    let vocabulary = Vocabulary::of_cells(cells(), &rows).with_covariates(cells(), &rows, &wanted).expect("they vary");
    assert_eq!(vocabulary.covariates.width(), TYPES + 1, "a number a type, and one for the age");
    let config = VaeConfig { kl_annealing: KlAnnealing::Constant, ..settings(&[], 1).model };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut net = VaeNet::new(&Cpu::default(), &vocabulary, &config, false, &mut rng).expect("a small network");
    let view = CellView { total_library: false, with_target: false };
    let source = CellSource::new(cells(), &rows, &vocabulary, view).expect("known perturbations");
    let batch = source.batch(&rows).expect("rows of the source");
    let name = "condition.covariates.weight";
    let mut gradients = training_loss(&mut net, &batch, OwnedTape::default()).total.backward();
    let mut whole = Whole { gradients: &mut gradients, name, found: Vec::new() };
    net.walk("", &mut whole).expect("a walk");
    assert_eq!(whole.found.len(), config.condition * (TYPES + 1));
    let (element, gradient) =
        whole.found.into_iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).expect("weights");
    assert!(gradient.abs() > 1e-3, "a gradient of {gradient} tells nothing");
    let step = 5e-3;
    let mut at = |step: f32| {
        net.walk_mut("", &mut Nudge { name, element, step }).expect("a walk");
        training_loss(&mut net, &batch, NoneTape).parts.iter().map(|(_, value)| f64::from(*value)).sum::<f64>()
    };
    let (above, below) = (at(step), at(-2.0 * step));
    let numeric = (above - below) / (2.0 * f64::from(step));
    let error = (numeric - f64::from(gradient)).abs();
    assert!(error < 0.03 * numeric.abs() + 5e-3, "gradient {gradient}, numeric {numeric}");
}

/// L2 between predicted and observed effects of all perturbations in one type, summed over the types.
fn error_by_type(model_of: impl Fn(&str) -> Box<dyn Trained>) -> f64 {
    let mut sum = 0.0;
    for cell_type in types() {
        let rows: Vec<usize> = (0..cells().n_cells()).filter(of_type(&cell_type)).collect();
        let truth = Effects::of_cells(&cells().select_cells(&rows)).expect("each type has controls");
        let model = model_of(&cell_type);
        let mean = |p: &Perturbation| -> Array1<f64> {
            let drawn = model.cells(&Condition::of(p.clone()), &Sampling::new(500, 3)).expect("known");
            drawn.log_normalised().mean_axis(Axis(0)).expect("500 cells").mapv(f64::from)
        };
        let control = mean(&Perturbation::control());
        for (row, perturbation) in truth.perturbations.iter().enumerate() {
            let off = mean(perturbation) - &control - truth.values.row(row).mapv(f64::from);
            sum += off.mapv(|x| x * x).sum().sqrt();
        }
    }
    sum
}

#[test]
fn responses_of_a_type_are_predicted_better_when_the_type_is_known() {
    let (_, data) = training();
    let fitted =
        |covariates: &[&str]| CountVae::fit(&data, &settings(covariates, 40), &mut Run::quiet(0)).expect("finite").0;
    let (plain, told) = (fitted(&[]), fitted(&["cell_type"]));
    let plain = error_by_type(|_| Box::new(plain.clone()));
    let of_type = error_by_type(|name| told.with_covariate("cell_type", name).expect("trained on"));
    assert!(of_type < 0.9 * plain, "L2 told of the type {of_type}, not told {plain}");
}

#[test]
fn they_are_saved_resumed_and_asked_for() {
    let (split, data) = training();
    let settings = |epochs| settings(&["cell_type", "age:continuous"], epochs);
    let (whole, _) = CountVae::fit(&data, &settings(2), &mut Run::quiet(3)).expect("finite");
    let folder = tempfile::tempdir().expect("a folder");
    let run = |resume| Run { dir: Some(folder.path().to_owned()), resume, ..Run::quiet(3) };
    CountVae::fit(&data, &settings(1), &mut run(false)).expect("finite");
    let (resumed, _) = CountVae::fit(&data, &settings(2), &mut run(true)).expect("it resumes");
    assert_eq!(resumed.state().expect("whole"), whole.state().expect("whole"));
    let saved = folder.path().join("model");
    whole.save(&saved).expect("written");
    let read = CountVae::load(&saved, Device::Cpu).expect("read");
    let names: Vec<&str> = Trained::covariates(&read).into_iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["cell_type", "age"]);
    let control = Condition::of(Perturbation::control());
    let draw = |model: &dyn Trained| model.cells(&control, &Sampling::new(20, 1)).expect("known").values;
    assert_eq!(draw(&whole), draw(&read));

    // Cells of a file without the column are read once a value is named.
    let rows = &split.test[..10];
    let mut bare = cells().select_cells(rows);
    bare.cells.columns.retain(|(name, _)| name != "cell_type");
    let rows: Vec<usize> = (0..10).collect();
    let error = read.embed(&bare, &rows).expect_err("a column is missing").to_string();
    assert!(error.contains("cell_type") && error.contains("--at cell_type=VALUE"), "{error}");
    let at = read.with_covariate("cell_type", &types()[1]).expect("trained on");
    assert_eq!(at.embed(&bare, &rows).expect("it is told").dim(), (10, 6));
    let error = read.with_covariate("cell_type", "T9").map(drop).expect_err("never seen").to_string();
    assert!(error.contains("T9") && error.contains(&types()[0]), "{error}");
}

#[test]
fn the_command_line_takes_them() {
    let place = Place::new();
    cells()
        .select_cells(&(0..600).collect::<Vec<_>>())
        .write_with(place.path("cells.h5ad"), &[], None)
        .expect("written");
    let train = "train --data cells.h5ad --out model --epochs 1";
    place.fails(&format!("{train} --covariate one"), &["`one` has one value", "--covariate"]);
    place.fails(&format!("{train} --covariate perturbation"), &["--covariate perturbation", "of their own"]);
    place.fails(&format!("{train} --covariate guide"), &["--covariate guide", "tells the perturbation"]);
    place.fails(&format!("{train} --model ebm --covariate age"), &["takes no covariates", "vae"]);
    let ended = place.run(&format!("{train} --covariate cell_type --covariate age"));
    assert!(ended.done().contains("covariates: cell_type (3 levels), age (continuous, 20 to 69)"), "{}", ended.done());
    let predict = "predict --model model --perturbations control --cells 5 --out drawn.h5ad";
    let ended = place.run(&format!("{predict} --at cell_type={} --at age=90", types()[2]));
    assert!(ended.done().contains("age = 90 is extrapolated"), "{}", ended.done());
    let written = AnnData::open(place.path("drawn.h5ad")).and_then(|file| file.obs()).expect("cells");
    assert_eq!(written.column("cell_type").expect("it is noted").to_text()[0].as_deref(), Some(types()[2].as_str()));
    assert!(!ended.stdout.contains("too few to start from"), "{}", ended.stdout);
    let mut rare = cells().select_cells(&(0..600).collect::<Vec<_>>());
    let assay = |cell| if rare.perturbation_of(cell).is_control() || cell % 2 == 0 { "old" } else { "new" };
    let assay = (0..600).map(|cell| Some(assay(cell).to_owned())).collect();
    rare.cells.set("assay", Column::Text(assay));
    rare.write_with(place.path("rare.h5ad"), &[], None).expect("written");
    place.run("train --data rare.h5ad --out rare --epochs 1 --covariate assay").done();
    let ended = place.run("predict --model rare --perturbations control --cells 5 --out drawn.h5ad --at assay=new");
    assert!(
        ended.done().contains("note: 0 of the control cells that the model keeps have assay=new, too few to start from; predictions start from all of them, given"),
        "{}",
        ended.stdout
    );
    place.fails(&format!("{predict} --at donor=1"), &["no covariate", "cell_type, age"]);
    place.fails(&format!("{predict} --at age=1 --at age=2"), &["age", "twice"]);
}
