//! Learning rates against PyTorch's (`tests/reference/optim.py`).

use genailab::train::{LearningRateSchedule, Plateau};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    schedules: Schedules,
}

#[derive(Deserialize)]
struct Schedules {
    warmup_cosine: Vec<f64>,
    step: Vec<f64>,
    exponential: Vec<f64>,
    plateau_losses: Vec<f64>,
    plateau: Vec<f64>,
}

const BASE: f64 = 0.01;

fn check(name: &str, found: impl Iterator<Item = f64>, expected: &[f64]) {
    let found: Vec<f64> = found.take(expected.len()).collect();
    assert!(expected.windows(2).any(|pair| pair[0] != pair[1]), "{name}: the reference never changes");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found / expected - 1.0).abs() < 1e-9, "{name} at {at}: {found}, {expected} expected");
    }
}

#[test]
fn learning_rates_are_those_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("../reference/optim.json")).unwrap();
    let reference = reference.schedules;
    let none = Plateau::default();
    let cosine = LearningRateSchedule::WarmupCosine { warmup_steps: 5, final_fraction: 0.1 };
    let rates = (0..).map(|step| cosine.learning_rate(BASE, 0, step, 40, &none));
    check("warmup_cosine", rates, &reference.warmup_cosine);
    let step = LearningRateSchedule::Step { every: 3, factor: 0.5 };
    check("step", (0..).map(|epoch| step.learning_rate(BASE, epoch, 0, 1, &none)), &reference.step);
    let exponential = LearningRateSchedule::Exponential { factor: 0.9 };
    let rates = (0..).map(|epoch| exponential.learning_rate(BASE, epoch, 0, 1, &none));
    check("exponential", rates, &reference.exponential);
    let on_plateau = LearningRateSchedule::ReduceOnPlateau { factor: 0.3, patience: 2, threshold: 1e-3, minimum: 1e-3 };
    let mut plateau = Plateau::default();
    let rates = reference.plateau_losses.iter().map(|&loss| {
        let rate = on_plateau.learning_rate(BASE, 0, 0, 1, &plateau);
        plateau.observe(&on_plateau, loss);
        rate
    });
    check("plateau", rates, &reference.plateau);
}

#[test]
fn a_cosine_ends_where_it_should() {
    let schedule = LearningRateSchedule::WarmupCosine { warmup_steps: 0, final_fraction: 0.25 };
    let rate = |step| schedule.learning_rate(1.0, 0, step, 10, &Plateau::default());
    assert_eq!((rate(0), rate(10), rate(11)), (1.0, 0.25, 0.25));
}

#[test]
fn a_worse_negative_loss_is_no_improvement() {
    let schedule = LearningRateSchedule::ReduceOnPlateau { factor: 0.5, patience: 0, threshold: 0.01, minimum: 0.0 };
    let mut plateau = Plateau::default();
    plateau.observe(&schedule, -100.0);
    plateau.observe(&schedule, -99.5);
    assert_eq!(schedule.learning_rate(1.0, 0, 0, 1, &plateau), 0.5);
}

#[test]
fn settings_out_of_range_are_named() {
    for (schedule, name) in [
        (LearningRateSchedule::WarmupCosine { warmup_steps: 1, final_fraction: 2.0 }, "final_fraction = 2"),
        (LearningRateSchedule::Step { every: 0, factor: 0.5 }, "every = 0"),
        (LearningRateSchedule::Exponential { factor: 0.0 }, "factor = 0"),
        (
            LearningRateSchedule::ReduceOnPlateau { factor: 1.0, patience: 1, threshold: 0.0, minimum: 0.0 },
            "factor = 1",
        ),
        (
            LearningRateSchedule::ReduceOnPlateau { factor: 0.5, patience: 1, threshold: -1.0, minimum: 0.0 },
            "threshold = -1",
        ),
    ] {
        let error = schedule.validate().unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_schedule_is_one_table_in_a_settings_file() {
    let text = "kind = \"warmup_cosine\"\nwarmup_steps = 100\nfinal_fraction = 0.0\n";
    let schedule: LearningRateSchedule = toml::from_str(text).unwrap();
    assert_eq!(schedule, LearningRateSchedule::WarmupCosine { warmup_steps: 100, final_fraction: 0.0 });
    assert!(toml::from_str::<LearningRateSchedule>("kind = \"cosine\"").is_err());
}
