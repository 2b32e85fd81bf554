//! Contexts that are levels of several columns: a new combination of known levels.

use super::response::settings;
use genailab::{
    data::{
        Column, Condition, ContextColumns, Counts, Dataset, NORMALISED_TOTAL, Perturbation, Split, Table, TrainingData,
    },
    device::Device,
    model::{
        Model, Trained,
        jepa::{Jepa, NewContexts},
    },
    ndarray::{Array1, Array2},
    train::Run,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Distribution, Poisson};
use std::sync::{Arc, OnceLock};

const GENES: usize = 60;
const TYPES: usize = 4;
const DONORS: [&str; 2] = ["up", "down"];
/// Genes that a perturbation moves.
const MOVED: usize = 15;
/// Cells of each perturbation, and of control, in each combination.
const CELLS: [usize; 2] = [40, 80];

/// Expected counts: a profile per cell type, and a perturbation that multiplies its genes by 3 in one donor and divides them by 3
/// in the other. Control cells do not tell the donors apart.
fn expected(perturbation: Option<usize>, of_type: usize, donor: usize) -> Array1<f64> {
    Array1::from_shape_fn(GENES, |gene| {
        let base = if gene % TYPES == of_type { 12.0 } else { 4.0 };
        let fold: f64 = if donor == 0 { 3.0 } else { 1.0 / 3.0 };
        match perturbation {
            Some(number) if gene / MOVED == number => base * fold,
            _ => base,
        }
    })
}

/// The dataset, with the columns `cell_type` and `donor`; the perturbed cells of T3 and `down` are held out.
fn simulated() -> &'static (Arc<Dataset>, Split) {
    static DATA: OnceLock<(Arc<Dataset>, Split)> = OnceLock::new();
    DATA.get_or_init(|| {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let (mut counts, mut perturbations) = (Array2::zeros((0, GENES)), Vec::new());
        let (mut types, mut donors) = (Vec::new(), Vec::new());
        let mut split = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        for (of_type, donor) in (0..TYPES).flat_map(|of_type| [0, 1].map(|donor| (of_type, donor))) {
            for perturbation in [None, Some(0), Some(1), Some(2)] {
                let means = expected(perturbation, of_type, donor);
                let held_out = perturbation.is_some() && (of_type, donor) == (TYPES - 1, 1);
                for _ in 0..CELLS[usize::from(perturbation.is_none())] {
                    let cell = means.mapv(|mean| Poisson::new(mean).expect("above 0").sample(&mut rng) as f32);
                    let part = if held_out { &mut split.test } else { &mut split.train };
                    part.push(counts.nrows());
                    counts.push_row(cell.view()).expect("one width");
                    perturbations.push(perturbation.map_or_else(Perturbation::control, named));
                    types.push(Some(format!("T{of_type}")));
                    donors.push(Some(DONORS[donor].to_owned()));
                }
            }
        }
        let mut cells = Table::from_names((0..counts.nrows()).map(|cell| format!("c{cell}")).collect());
        cells.set("cell_type", Column::Text(types));
        cells.set("donor", Column::Text(donors));
        let genes = Table::from_names((0..GENES).map(|gene| format!("G{gene}")).collect());
        let data = Dataset::new(Counts::from_dense(&counts), genes, cells, &perturbations, None, None);
        (Arc::new(data.expect("the parts fit")), split)
    })
}

/// A perturbation of a gene that is not measured, so that nothing but its effect tells it.
fn named(number: usize) -> Perturbation {
    Perturbation::of([format!("P{number}")])
}

fn columns(names: &[&str]) -> ContextColumns {
    ContextColumns::new(names.iter().map(|&name| name.to_owned())).expect("they differ")
}

fn trained(names: &[&str], context_tokens: bool) -> Jepa {
    let (data, split) = simulated();
    let training = TrainingData::in_columns(Arc::clone(data), columns(names), split, 0).expect("its columns");
    let mut settings = settings();
    settings.response.context_tokens = context_tokens;
    settings.response.new_contexts = NewContexts::EndToEnd;
    Jepa::fit(&training, &settings, &mut Run::quiet(0)).expect("it trains").0
}

/// The control cells of the held-out combination, the last that was simulated.
fn starts() -> Vec<usize> {
    let (data, _) = simulated();
    let last = data.n_cells() - CELLS[1] - 3 * CELLS[0]..data.n_cells();
    last.filter(|&row| data.perturbation_of(row).is_control()).collect()
}

/// Mean log-normalised expression that is predicted in the held-out combination, from its control cells.
fn predicted(model: &Jepa, context: &str, number: usize) -> Array1<f64> {
    let condition = Condition { perturbation: named(number), context: Some(context.to_owned()) };
    model.mean_from(&simulated().0, &starts(), &condition, 0).expect("it predicts")
}

/// Mean over perturbations of the L2 distance of the predicted effect to the true one.
fn error(model: &Jepa, context: &str) -> f64 {
    let log = |means: &Array1<f64>| means.mapv(|mean| (mean / means.sum() * f64::from(NORMALISED_TOTAL)).ln_1p());
    let of = |number: usize| {
        let control = log(&expected(None, TYPES - 1, 1));
        let truth = log(&expected(Some(number), TYPES - 1, 1)) - &control;
        let start = predicted_control(model, context);
        let off = predicted(model, context, number) - start - truth;
        off.dot(&off).sqrt()
    };
    (0..3).map(of).sum::<f64>() / 3.0
}

/// What the same control cells are decoded to, unperturbed.
fn predicted_control(model: &Jepa, context: &str) -> Array1<f64> {
    let control = Condition { perturbation: Perturbation::control(), context: Some(context.to_owned()) };
    model.mean_from(&simulated().0, &starts(), &control, 0).expect("it decodes")
}

#[test]
fn the_tokens_of_known_levels_say_what_they_do_in_a_new_combination() {
    let told = trained(&["donor", "cell_type"], true);
    let context = "T3 | down";
    assert!(told.contexts().contains(&context.to_owned()), "{:?}", told.contexts());
    let untold = trained(&["cell_type", "donor"], false);
    let of_types = trained(&["cell_type"], true);
    let errors = [error(&told, context), error(&untold, context), error(&of_types, "T3")];
    // The donor turns the effect round, and control cells do not tell it: measured 6.19, 6.93 and 8.29.
    assert!(errors[0] < 0.95 * errors[1], "{errors:?}");
    assert!(errors[0] < 0.8 * errors[2], "{errors:?}");

    // After a file it predicts the same.
    let again = Jepa::restore(told.state().expect("a state"), Device::Cpu).expect("its own state");
    assert_eq!(predicted(&again, context, 0), predicted(&told, context, 0));
    assert_eq!(again.context_columns().names(), ["cell_type", "donor"]);
    // A level that was not trained on is the absence of its token: the other one still counts.
    let of_donor = |donor: &str| predicted(&told, &format!("new | {donor}"), 0);
    assert_ne!(of_donor("up"), of_donor("down"));
    assert_eq!(of_donor("nobody"), of_donor("no one"));
}
