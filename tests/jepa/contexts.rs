//! The JEPA in a context where perturbations were not measured, and beside combinations that were.

use super::response::{settings, small_world};
use genailab::{
    ErrorKind,
    data::{Condition, Dataset, Perturbation, Simulation, SimulationConfig, Split, TrainingCells, TrainingData},
    device::Device,
    model::{
        Model, Trained,
        jepa::{Jepa, JepaSettings, NewContexts, PredictorState},
    },
    ndarray::{Array1, Axis},
    train::Run,
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Cells of four types, with the condition of each.
fn simulated() -> &'static (Arc<Dataset>, Vec<Condition>) {
    static DATA: OnceLock<(Arc<Dataset>, Vec<Condition>)> = OnceLock::new();
    DATA.get_or_init(|| {
        let config = SimulationConfig { n_cells: 2_400, n_genes: 100, n_singles: 6, n_cell_types: 4, ..small_world() };
        let cells = Arc::new(Simulation::new(&config).expect("a small world").dataset);
        let types = cells.cells.column("cell_type").expect("there are types").to_text();
        let of_cell = |cell: usize| Condition {
            perturbation: cells.perturbation_of(cell).clone(),
            context: types[cell].as_ref().map(ToString::to_string),
        };
        let conditions = (0..cells.n_cells()).map(of_cell).collect();
        (cells, conditions)
    })
}

fn held_out(condition: &Condition) -> bool {
    condition.context.as_deref() == Some("T4") && !condition.perturbation.is_control()
}

/// Without the perturbed cells of one type.
fn training() -> TrainingData {
    let (cells, conditions) = simulated();
    let (test, train) = (0..cells.n_cells()).partition(|&cell| held_out(&conditions[cell]));
    let split = Split { train, validation: Vec::new(), test };
    TrainingData::of_cells(TrainingCells::new(Arc::clone(cells), conditions.clone(), &split).expect("its split"), 0)
}

fn of(state: PredictorState, new_contexts: NewContexts) -> JepaSettings {
    let mut settings = settings();
    settings.response.predictor = state;
    settings.response.new_contexts = new_contexts;
    settings
}

fn trained(state: PredictorState) -> Jepa {
    Jepa::fit(&training(), &of(state, NewContexts::LeftOut), &mut Run::quiet(0)).expect("it trains").0
}

fn model() -> &'static Jepa {
    static MODEL: OnceLock<Jepa> = OnceLock::new();
    MODEL.get_or_init(|| trained(PredictorState::Trained))
}

fn mean_of(model: &dyn Trained, rows: &[usize]) -> Array1<f32> {
    model.embed(&simulated().0, rows).expect("its genes").mean_axis(Axis(0)).expect("there are cells")
}

fn rows_of(condition: &Condition) -> Vec<usize> {
    let (cells, conditions) = simulated();
    (0..cells.n_cells()).filter(|&cell| conditions[cell] == *condition).collect()
}

/// The mean predicted embedding of the control cells of a condition's context.
fn predicted(model: &dyn Trained, condition: &Condition) -> Array1<f32> {
    let control = Condition { perturbation: Perturbation::control(), context: condition.context.clone() };
    let z = model.predicted_embeddings(&simulated().0, &rows_of(&control), condition).expect("it predicts");
    z.mean_axis(Axis(0)).expect("there are control cells")
}

/// Mean squared distance of predicted to observed mean embeddings.
fn error(model: &dyn Trained, conditions: &[Condition]) -> f32 {
    let of = |condition: &Condition| {
        let off = predicted(model, condition) - mean_of(model, &rows_of(condition));
        off.dot(&off)
    };
    conditions.iter().map(of).sum::<f32>() / conditions.len() as f32
}

fn conditions(genes: usize, context: &str) -> Vec<Condition> {
    let of = |perturbation: &Perturbation| Condition {
        perturbation: perturbation.clone(),
        context: Some(context.to_owned()),
    };
    let perturbations = simulated().0.perturbations.iter().filter(|p| p.genes().len() == genes);
    perturbations.map(of).filter(|condition| !rows_of(condition).is_empty()).collect()
}

#[test]
fn contexts_are_left_out_to_choose_what_carries_an_effect_to_a_new_one() {
    let choices = model().choices();
    let contexts = &choices["contexts"];
    assert_eq!(contexts["contexts"], 3, "{choices}");
    assert!((0.4..=1.1).contains(&contexts["factor"].as_f64().expect("a number")), "{choices}");
    assert!(contexts["error"].as_f64().expect("a number") <= 1.0, "{choices}");
}

#[test]
fn a_new_context_is_predicted_better_than_by_no_change_and_after_a_file_as_before() {
    let model = model();
    let unseen = conditions(1, "T4");
    let no_change = |condition: &Condition| {
        let control = Condition { perturbation: Perturbation::control(), context: condition.context.clone() };
        let off = mean_of(model, &rows_of(&control)) - mean_of(model, &rows_of(condition));
        off.dot(&off)
    };
    let still = unseen.iter().map(no_change).sum::<f32>() / unseen.len() as f32;
    let moved = error(model, &unseen);
    assert!(moved < 0.9 * still, "{moved}, no change {still}");
    let dir = tempfile::tempdir().expect("a folder");
    model.save(dir.path()).expect("written");
    let again = Jepa::load(dir.path(), Device::Cpu).expect("read");
    for condition in unseen.iter().chain(&conditions(2, "T4")).chain(&conditions(2, "T1")) {
        assert_eq!(predicted(&again, condition), predicted(model, condition), "{condition}");
    }
}

#[test]
fn what_a_combination_was_measured_to_do_counts_in_its_context_and_carries_to_others() {
    // With the measured predictor there is no interaction, which would have seen them too.
    let model = trained(PredictorState::Measured);
    let apart = model.without_combinations().expect("nothing else is learned from combinations");
    let doubles = conditions(2, "T1");
    assert!(doubles.len() > 2);
    let (with, without) = (error(&model, &doubles), error(apart.as_ref(), &doubles));
    assert!(with < 0.7 * without, "trained on: {with}, without {without}");
    let unseen = conditions(2, "T4");
    let (with, without) = (error(&model, &unseen), error(apart.as_ref(), &unseen));
    assert!(with < without, "in a new context: {with}, without {without}");
    let singles = conditions(1, "T1");
    assert_eq!(predicted(&model, &singles[0]), predicted(apart.as_ref(), &singles[0]));
}

#[test]
fn what_predicts_new_contexts_is_chosen_and_a_choice_that_was_interrupted_goes_on() {
    let settings = of(PredictorState::Trained, NewContexts::Chosen);
    let folder = tempfile::tempdir().expect("a folder");
    let run = |resume, interrupt| Run {
        dir: Some(folder.path().to_owned()),
        resume,
        interrupt: Some(interrupt),
        ..Run::quiet(0)
    };
    let (interrupt, second) =
        (Arc::new(AtomicBool::new(false)), folder.path().join("without-1/phase-b/last.safetensors"));
    let stopped = thread::scope(|scope| {
        let flag = Arc::clone(&interrupt);
        scope.spawn(move || {
            while !second.exists() {
                thread::sleep(Duration::from_millis(5));
            }
            flag.store(true, Ordering::Relaxed);
        });
        Jepa::fit(&training(), &settings, &mut run(false, Arc::clone(&interrupt))).map(|_| ())
    });
    assert_eq!(stopped.expect_err("it was interrupted").kind(), ErrorKind::Interrupted);
    let go_on = || Jepa::fit(&training(), &settings, &mut run(true, Arc::default())).expect("it goes on").0;
    let model = go_on();

    let choice = &model.choices()["choice"];
    assert_eq!(choice["contexts"], 3, "{choice}");
    assert_eq!(choice["predictions"], 18, "six genes in each: {choice}");
    let distance = |way: &str| choice[way].as_f64().expect("a number");
    let unseen = conditions(1, "T4");
    // Both ways were tried on equal terms: the model is the one that is trained in the better way from the start.
    let by_hand = match distance("left_out") < distance("end_to_end") {
        true => trained(PredictorState::Trained),
        false => {
            let settings = of(PredictorState::Trained, NewContexts::EndToEnd);
            Jepa::fit(&training(), &settings, &mut Run::quiet(0)).expect("it trains").0
        }
    };
    for condition in &unseen {
        assert_eq!(predicted(&model, condition), predicted(&by_hand, condition), "{condition}");
    }
    assert_eq!(go_on().choices(), model.choices(), "a finished training is loaded");
}
