//! A simulated course, whose dynamics are known: roll-outs of unseen doubles, and plans.

use super::{quiet, simulated, training};
use genailab::{
    data::{Column, Perturbation, TargetSum, normalize::log_normalize},
    model::{
        Model,
        world::{LinearDynamics, Persistence, PlanConfig, WorldModel, WorldSettings, rollout_error},
    },
    ndarray::Array1,
};

#[test]
fn a_simulated_course_has_the_truth_that_it_was_drawn_from() {
    let simulation = simulated(1);
    let times = simulation.dataset.cells.column("time").and_then(Column::to_f64).expect("times");
    assert_eq!(times.iter().copied().fold(0.0, f64::max), 7.0);
    assert_eq!(simulation.n_courses(), 1 + 2 * 20);
    let row = |name: &str, course: &str, time: f64| {
        (0..simulation.times.len())
            .find(|&row| {
                simulation.truth.perturbations[row].to_string() == name
                    && simulation.courses[row] == course
                    && simulation.times[row] == time
            })
            .unwrap_or_else(|| panic!("{name}, {course}, {time}"))
    };
    // Control does not move; what has been switched off returns; what acts stays.
    let size = |row: usize| simulation.states.row(row).iter().map(|s| s.abs()).fold(0.0_f32, f32::max);
    assert_eq!(size(row("control", "control", 7.0)), 0.0);
    let pulsed = simulation.courses.iter().position(|course| course == "pulse").expect("a pulse");
    let name = simulation.truth.perturbations[pulsed].to_string();
    assert!(size(row(&name, "on", 7.0)) > 0.9, "{}", size(row(&name, "on", 7.0)));
    assert!(size(row(&name, "pulse", 7.0)) < 0.7 * size(row(&name, "pulse", 4.0)));
    // The mean counts of the cells are those of the truth.
    let cells: Vec<usize> = {
        let courses = simulation.dataset.cells.column("course").expect("courses").to_text();
        let of = |cell: &usize| {
            simulation.dataset.perturbation_of(*cell).is_control() && courses[*cell].as_deref() == Some("control")
        };
        (0..simulation.dataset.n_cells()).filter(of).collect()
    };
    let data = simulation.dataset.select_cells(&cells);
    let normalised = genailab::data::normalize::normalize_total(&data.counts, &data.library_size, TargetSum::default());
    let mean = normalised.expect("sizes").to_dense().mean_axis(genailab::ndarray::Axis(0)).expect("cells");
    let truth = simulation.truth.means.row(0);
    let correlation = pearson(&mean, &truth.to_owned());
    assert!(correlation > 0.99, "{correlation}");
}

fn pearson(a: &Array1<f32>, b: &Array1<f32>) -> f32 {
    let centred = |x: &Array1<f32>| x - x.mean().expect("values");
    let (a, b) = (centred(a), centred(b));
    a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
}

#[test]
fn unseen_doubles_are_rolled_out_better_than_by_persistence_and_about_as_by_linear_dynamics_and_plans_find_them() {
    let simulation = simulated(1);
    let data = &simulation.dataset;
    let settings = WorldSettings::default();
    let (training, split) = training(data, &settings, 0);
    let (model, history) = WorldModel::fit(&training, &settings, &mut quiet(0)).expect("it trains");
    let first = &history.epochs[0].train;
    let last = &history.last().expect("epochs").train;
    assert!(last.parts["rollout"] < 0.5 * first.parts["rollout"], "{first:?} {last:?}");

    let held_out = model.sequences(data, &split.test).expect("the same genes");
    assert_eq!(held_out.len(), 6, "three doubles of two courses");
    let own = rollout_error(&model, &held_out, 1).expect("courses");
    let persistence = rollout_error(&Persistence, &held_out, 1).expect("courses");
    let linear: &LinearDynamics = model.linear();
    let linear = rollout_error(linear, &held_out, 1).expect("courses");
    println!("world model {own:.3}, linear {linear:.3}, persistence {persistence:.3}");
    // On this division of the doubles it is a little better than linear dynamics; notebook 13 shows two where it is worse.
    assert!(own < 1.1 * linear && own < 0.7 * persistence, "{own} {linear} {persistence}");

    // The end of each held-out double as the target: the plan names it, or a perturbation that shares a gene with it and ends as
    // near.
    let expression = log_normalize(data, TargetSum::default()).expect("sizes");
    let (times, courses) = (data.cells.column("time").expect("times"), data.cells.column("course").expect("courses"));
    let (times, courses) = (times.to_f64().expect("numbers"), courses.to_text());
    let mut planted: Vec<&Perturbation> = split.test.iter().map(|&cell| data.perturbation_of(cell)).collect();
    planted.sort();
    planted.dedup();
    let mut found = 0;
    for double in &planted {
        let at_end = |cell: &usize| {
            data.perturbation_of(*cell) == *double && times[*cell] == 7.0 && courses[*cell].as_deref() == Some("on")
        };
        let cells: Vec<usize> = (0..data.n_cells()).filter(at_end).collect();
        let target = genailab::data::mean_expression(&expression, &cells);
        let plan = model.plan(&target, &PlanConfig::default(), 0).expect("a plan");
        println!("{double}: {} at {:.3}; others {:?}", plan.perturbation, plan.distance, plan.others);
        assert!(plan.best.windows(2).all(|pair| pair[1] <= pair[0]));
        found += usize::from(plan.perturbation == **double);
    }
    assert!(2 * found >= planted.len(), "{found} of {} planted doubles were found", planted.len());
}
