//! What is saved is what is loaded, and a resumed training is the uninterrupted one.

use super::{quiet, samples};
use genailab::{
    device::Device,
    model::{
        ebm::{Ebm, EbmConfig, EnergyNetConfig, EnergyObjective},
        saved_kind,
    },
    ndarray::Array2,
    train::{Run, TrainConfig},
};
use std::path::Path;

fn small(objective: EnergyObjective) -> EbmConfig {
    EbmConfig { objective, net: EnergyNetConfig { width: 8, depth: 2 }, ..EbmConfig::default() }
}

fn train(epochs: usize) -> TrainConfig {
    TrainConfig { epochs, batch_size: 64, ..TrainConfig::default() }
}

/// One number per row: the sign of the first coordinate.
fn condition(x: &Array2<f32>) -> Array2<f32> {
    Array2::from_shape_fn((x.nrows(), 1), |(row, _)| x[[row, 0]].signum())
}

fn fitted(objective: EnergyObjective, epochs: usize, dir: Option<(&Path, bool)>) -> Ebm {
    let x = samples(200, 1);
    let mut ebm = Ebm::new(2, 1, &small(objective), 0, Device::Cpu).expect("it fits");
    let mut run = Run { dir: dir.map(|(dir, _)| dir.to_owned()), resume: dir.is_some_and(|(_, on)| on), ..quiet() };
    ebm.fit(&x, Some(&condition(&x)), Some((&x, Some(&condition(&x)))), &train(epochs), &mut run).expect("it trains");
    ebm
}

#[test]
fn a_loaded_energy_is_the_same_for_every_objective() {
    let x = samples(50, 2);
    for name in ["nce", "cd", "pcd", "dsm", "ssm"] {
        let objective = EnergyObjective::named(name).expect("it is listed");
        assert_eq!(objective.name(), name);
        let ebm = fitted(objective, 1, None);
        let dir = tempfile::tempdir().expect("a folder");
        ebm.save(dir.path()).expect("it can be written");
        assert_eq!(saved_kind(dir.path()).expect("a model"), Ebm::KIND);
        let loaded = Ebm::load(dir.path(), Device::Cpu).expect("it can be read");
        let energy = |ebm: &Ebm| ebm.energy(&x, Some(&condition(&x))).expect("it is trained");
        assert_eq!(energy(&ebm), energy(&loaded), "{name}");
        assert!(energy(&ebm).iter().all(|value| value.is_finite()), "{name}");
        assert!(ebm.energy(&x, None).expect_err("conditional").to_string().contains("conditional"), "{name}");
    }
    assert!(EnergyObjective::named("ml").expect_err("unknown").to_string().contains("nce, cd, pcd"));
}

#[test]
fn a_resumed_training_gives_the_same_bits() {
    let x = samples(50, 2);
    for name in ["nce", "pcd", "dsm"] {
        let objective = EnergyObjective::named(name).expect("it is listed");
        let whole = fitted(objective, 4, None);
        let dir = tempfile::tempdir().expect("a folder");
        fitted(objective, 2, Some((dir.path(), false)));
        let resumed = fitted(objective, 4, Some((dir.path(), true)));
        let energy = |ebm: &Ebm| ebm.energy(&x, Some(&condition(&x))).expect("it is trained");
        assert_eq!(energy(&whole), energy(&resumed), "{name}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (objective, word) in [
        (EnergyObjective::Nce { noise: 0 }, "noise = 0"),
        (EnergyObjective::Dsm { sigma_min: -1.0 }, "sigma_min = -1"),
        (EnergyObjective::Ssm { projections: 0 }, "projections = 0"),
        (EnergyObjective::Cd { steps: 5, step_size: f64::NAN, regularisation: 0.1 }, "step_size = NaN"),
        (
            EnergyObjective::Pcd { chains: 5, restart: 2.0, steps: 5, step_size: 0.1, regularisation: 0.1 },
            "restart = 2",
        ),
    ] {
        let error = Ebm::new(2, 0, &small(objective), 0, Device::Cpu).expect_err("out of range").to_string();
        assert!(error.contains(word), "{error}");
    }
    let untrained = Ebm::new(2, 0, &EbmConfig::default(), 0, Device::Cpu).expect("it fits");
    assert!(untrained.energy(&samples(5, 1), None).expect_err("untrained").to_string().contains("call fit"));
}
