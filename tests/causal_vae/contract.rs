//! The contract of all models: files, refusals, counterfactuals, contexts, a resumed training.

use genailab::{
    data::{Condition, Dataset, Perturbation, Simulation, SimulationConfig, SplitPlan, TrainingData},
    device::Device,
    model::{
        Model, ModelConfig, Sampling, Trained,
        causal_vae::{CausalVae, CausalVaeConfig, CausalVaeSettings, Independence, ShiftPrior},
        registry,
    },
    ndarray::Axis,
    train::{Run, TrainConfig},
};
use std::sync::Arc;

fn settings(epochs: usize) -> CausalVaeSettings {
    let usual = CausalVaeSettings::default();
    let model = CausalVaeConfig { identity: 4, state: 8, technical: 2, encoder: vec![32], ..usual.model };
    CausalVaeSettings {
        model,
        train: TrainConfig { epochs, early_stopping: None, ..usual.train },
        ..CausalVaeSettings::default()
    }
}

fn training(cell_types: usize) -> TrainingData {
    let config = SimulationConfig {
        n_cells: 900,
        n_genes: 80,
        seed: 2,
        n_cell_types: cell_types,
        density: 0.5,
        ..SimulationConfig::default()
    };
    let data = Arc::new(Simulation::new(&config).expect("valid settings").dataset);
    let split = data.split(&SplitPlan::Stratified { validation: 0.0, test: 0.1, seed: 0 }).expect("enough cells");
    match cell_types {
        1 => TrainingData::of_dataset(data, &split, 0),
        _ => TrainingData::of_contexts(data, "cell_type", &split, 0),
    }
    .expect("its own split")
}

fn cells(data: &TrainingData) -> &Dataset {
    &data.cells.as_ref().expect("cells").data
}

#[test]
fn a_saved_model_answers_the_same_and_combinations_are_sums() {
    let data = training(1);
    let (model, history) = CausalVae::fit(&data, &settings(3), &mut Run::quiet(0)).expect("it trains");
    assert!(history.last().expect("epochs").train.parts.contains_key("causal"), "its parts are recorded");
    let folder = tempfile::tempdir().expect("a folder");
    model.save(folder.path()).expect("it can be written");
    let loaded = CausalVae::load(folder.path(), Device::Cpu).expect("it can be read");

    let genes = model.vocabulary().perturbed.clone();
    let [a, b, both] = [vec![&genes[0]], vec![&genes[3]], vec![&genes[0], &genes[3]]].map(Perturbation::of);
    let shift = |of: &Perturbation| model.shift(of).expect("known");
    assert!((shift(&both) - shift(&a) - shift(&b)).iter().all(|v| v.abs() < 1e-6));
    assert!(shift(&Perturbation::control()).iter().all(|&v| v == 0.0));

    let controls = cells(&data).control_cells();
    let under = |model: &CausalVae, to: &Perturbation, seed| {
        model.counterfactual(cells(&data), &controls, to, seed).expect("known").values
    };
    assert_eq!(under(&model, &both, 1), under(&loaded, &both, 1), "arrays are kept in single precision");
    assert_ne!(under(&model, &both, 1), under(&model, &both, 2));
    let drawn = model.cells(&Condition::of(both.clone()), &Sampling::new(30, 0)).expect("known");
    assert_eq!(drawn.values.dim(), (30, 80));
    let z = model.embed(cells(&data), &controls).expect("its genes");
    let moved = model.predicted_embeddings(cells(&data), &controls, &Condition::of(a.clone())).expect("known");
    let by = (&moved - &z).mean_axis(Axis(0)).expect("cells");
    assert!((by.slice(genailab::ndarray::s![4..12]).to_owned() - shift(&a)).iter().all(|v| v.abs() < 1e-4));

    let unknown = Condition::of(Perturbation::of(["NOT_A_GENE", genes[0].as_str()]));
    let error = model.check(&[unknown]).expect_err("never perturbed").to_string();
    assert!(error.contains("NOT_A_GENE") && !error.contains('\n'), "{error}");
    assert!(CausalVae::load(folder.path(), Device::Metal).is_err(), "CPU only");
}

#[test]
fn it_knows_the_contexts_that_it_was_trained_on() {
    let data = training(2);
    let (model, _) = CausalVae::fit(&data, &settings(2), &mut Run::quiet(0)).expect("it trains");
    let contexts = model.contexts();
    assert_eq!(contexts.len(), 2);
    let perturbation = Perturbation::of([model.vocabulary().perturbed[0].as_str()]);
    let in_context =
        |context: &str| Condition { perturbation: perturbation.clone(), context: Some(context.to_owned()) };
    assert_eq!(model.cells(&in_context(&contexts[1]), &Sampling::new(5, 0)).expect("known").values.nrows(), 5);
    let error = model.cells(&in_context("liver"), &Sampling::new(5, 0)).expect_err("unknown").to_string();
    assert!(error.contains("liver"), "{error}");
    // A cell type that was not trained on: its control cells are enough.
    let controls = cells(&data).control_cells();
    assert!(model.cells_from(cells(&data), &controls, &in_context("liver"), 0).is_ok());
}

#[test]
fn a_resumed_training_gives_the_same_bits() {
    let data = training(1);
    let folder = tempfile::tempdir().expect("a folder");
    let run = |dir: &str, resume: bool| Run { dir: Some(folder.path().join(dir)), resume, ..Run::quiet(0) };
    let at_once = registry::train::<CausalVae>(&data, &settings(4), &mut run("at_once", false)).expect("it trains").0;
    registry::train::<CausalVae>(&data, &settings(2), &mut run("resumed", false)).expect("it trains");
    let resumed = registry::train::<CausalVae>(&data, &settings(4), &mut run("resumed", true)).expect("it goes on").0;
    assert_eq!(at_once.state().expect("a state"), resumed.state().expect("a state"));
}

#[test]
fn settings_out_of_range_are_named() {
    let with = |change: fn(&mut CausalVaeConfig)| {
        let mut settings = settings(1);
        change(&mut settings.model);
        settings.validate().expect_err("out of range").to_string()
    };
    assert!(with(|model| model.state = 0).contains("each block"));
    assert!(with(|model| model.causal = -1.0).contains("causal"));
    assert!(with(|model| model.control_share = 1.0).contains("control_share"));
    assert!(with(|model| model.independence = Independence::Hsic { weight: f32::NAN }).contains("independence"));
    assert!(with(|model| model.shift_prior = ShiftPrior::Laplace { scale: 0.0 }).contains("shift_prior"));
}
