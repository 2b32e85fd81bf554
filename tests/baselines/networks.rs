//! The predictors that are trained: LatentAdditive and the count VAE.

use super::common::{condition, norman, task};
use crate::common::real_data;
use genailab::{
    ErrorKind,
    bench::{BenchmarkData, Task},
    data::{DataKind, Opened, Perturbation, Simulation, SimulationConfig, SplitPlan},
    eval::l2,
    model::{CountVae, SettingsFile, VaeConfig, VaeSettings, jepa::Jepa},
    ndarray::Axis,
    predict::{
        Fitted, Hybrid, ModelPredictor, Predictor, VaeArithmetic,
        baselines::{LatentAdditive, NoChange, predictor},
    },
    train::TrainConfig,
};

fn vae_of_effects(settings: VaeSettings) -> ModelPredictor {
    ModelPredictor::new::<CountVae>("vae", &[DataKind::Effects]).with_config::<CountVae>(settings)
}

/// `vae_conditional` and `vae_arithmetic`.
fn vaes_of_cells(settings: VaeSettings) -> [Box<dyn Predictor>; 2] {
    let conditional = ModelPredictor::new::<CountVae>("vae_conditional", &[DataKind::Cells]);
    [
        Box::new(conditional.with_config::<CountVae>(settings.clone())),
        Box::new(VaeArithmetic { settings, ..VaeArithmetic::default() }),
    ]
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

/// Real doubles, every second held out.
fn doubles() -> Option<Task> {
    let data = norman()?;
    let known = |p: &&Perturbation| {
        p.genes().len() == 2 && p.genes().iter().all(|g| data.perturbations.contains(&Perturbation::of([g.as_str()])))
    };
    let test: Vec<Perturbation> = data.perturbations.iter().filter(known).step_by(2).cloned().collect();
    Some(task(&data, &test, &[]))
}

#[test]
fn latent_additive_learns_and_is_the_same_for_the_same_seed_on_any_number_of_threads() {
    let Some(task) = doubles() else { return };
    let model = LatentAdditive::default();
    let error = mean_error(&task, &model);
    let mean = mean_error(&task, predictor("mean_doubles").expect("exists").as_ref());
    assert!(error < 0.95 * mean, "L2 {error:.2}, the mean of doubles has {mean:.2}");
    let threads = rayon_pool(1, || mean_error(&task, &model));
    assert_eq!(error.to_bits(), threads.to_bits(), "one thread gives {threads}, all give {error}");
    let mut other = task.clone();
    other.training.seed = 1;
    assert_ne!(error.to_bits(), mean_error(&other, &model).to_bits(), "another seed is another training");
}

fn rayon_pool<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(f)
}

#[test]
fn validation_conditions_leave_every_gene_trained() {
    let Some(task) = doubles() else { return };
    let training = task.training.effects().expect("effects");
    let held_out = training.validation_rows(0.3, 0);
    let pairs = training.conditions.iter().filter(|c| c.perturbation.genes().len() > 1).count();
    assert_eq!(held_out.len(), (0.3 * pairs as f64).ceil() as usize);
    assert_eq!(held_out, training.validation_rows(0.3, 0));
    for &row in &held_out {
        let genes = training.conditions[row].perturbation.genes();
        assert_eq!(genes.len(), 2, "a single perturbation says what its doubles are made of");
        for gene in genes {
            let kept = |(other, c): (usize, &genailab::data::Condition)| {
                held_out.binary_search(&other).is_err() && c.perturbation.genes().contains(gene)
            };
            assert!(training.conditions.iter().enumerate().any(kept), "{gene}");
        }
    }
}

#[test]
fn the_vae_of_effects_beats_no_change_on_unseen_doubles() {
    let Some(task) = doubles() else { return };
    let usual = VaeSettings::benchmark_effects();
    let vae = vae_of_effects(VaeSettings { train: TrainConfig { epochs: 60, ..usual.train }, ..usual });
    let (error, floor) = (mean_error(&task, &vae), mean_error(&task, &NoChange));
    eprintln!("vae {error:.2}, no change {floor:.2}");
    assert!(error < 0.95 * floor, "L2 {error:.2}, no change has {floor:.2}");
    for model in vaes_of_cells(VaeSettings::benchmark_cells()) {
        let reason = model.fit(&task.training).err().expect("effects have no cells");
        assert_eq!(reason.kind(), ErrorKind::Inapplicable);
    }
    let fitted = vae.fit(&task.training).expect("it fits");
    let unseen = fitted.effect(&condition("NOGENE", "")).expect_err("never perturbed");
    assert!(unseen.kind() == ErrorKind::Inapplicable && unseen.to_string().contains("NOGENE"), "{unseen}");
}

#[test]
fn the_vae_of_cells_predicts_unseen_doubles_in_both_ways() {
    let config =
        SimulationConfig { n_cells: 3_000, n_genes: 150, n_singles: 10, seed: 5, ..SimulationConfig::default() };
    let data = Simulation::new(&config).expect("valid settings").dataset;
    let data = BenchmarkData::new(Opened::Cells(data), None).expect("counts");
    let task = Task::of_plan(&data, &SplitPlan::doubles(0), 0).expect("there are doubles");
    let floor = mean_error(&task, &NoChange);
    // The condition tells the decoder what was perturbed, so the latent hardly holds it: shifts of the latent may do no
    // better than nothing, and must not do worse.
    let usual = VaeSettings::benchmark_cells();
    let settings = VaeSettings {
        model: VaeConfig { latent: 10, hidden: vec![64], condition: 16, ..usual.model },
        train: TrainConfig { epochs: 25, ..usual.train },
        ..usual
    };
    for (model, least) in vaes_of_cells(settings).into_iter().zip([0.9, 1.02]) {
        let fitted = model.fit(&task.training).expect("it trains");
        let error = mean_error(&task, model.as_ref());
        eprintln!("{} {error:.2}, no change {floor:.2}", model.name());
        assert!(error < least * floor, "{}: L2 {error:.2}, no change has {floor:.2}", model.name());

        // Cells are as many as asked for, log-normalised, the same for the same seed, and their mean is the effect's.
        let double = &task.observed.conditions[0];
        let drawn = |seed| fitted.cells(double, 700, seed).expect("it draws cells").expect("it applies");
        let (cells, again, other) = (drawn(1), drawn(1), drawn(2));
        assert_eq!((cells.dim(), cells == again, cells == other), ((700, 150), true, false));
        assert!(cells.iter().all(|&value| value.is_finite() && value >= 0.0));
        let control = task.observed.controls.as_ref().expect("cells have controls").row(0).to_owned();
        let mean = cells.mean_axis(Axis(0)).expect("there are cells") - control;
        let effect = fitted.effect(double).expect("it applies");
        let apart = l2(&mean.to_vec(), &effect.to_vec()).expect("same length");
        assert!(apart < 0.5 * floor, "{}: the drawn cells are {apart:.2} from the effect", model.name());

        let unseen = fitted.effect(&condition("NOGENE", "")).expect_err("never perturbed");
        assert!(unseen.kind() == ErrorKind::Inapplicable && unseen.to_string().contains("NOGENE"), "{unseen}");
        assert!(fitted.cells(&condition("NOGENE", ""), 3, 0).expect("an answer").is_err());
    }
    let wrong = vae_of_effects(VaeSettings::benchmark_effects()).fit(&task.training).err().expect("these are cells");
    assert!(wrong.kind() == ErrorKind::Inapplicable && wrong.to_string().contains("effects datasets"), "{wrong}");
}

#[test]
fn the_vae_of_cells_starts_from_the_context_that_is_asked_for() {
    let Some(path) = real_data("papalexi_cells.h5ad") else { return };
    let data = genailab::data::Dataset::open(path).expect("cells");
    // A tenth of the cells and few epochs: this is about contexts, not about quality.
    let data = data.select_cells(&(0..data.n_cells()).step_by(10).collect::<Vec<_>>());
    let data = BenchmarkData::new(Opened::Cells(data), Some("replicate")).expect("a column of cells");
    let task = Task::of_plan(&data, &SplitPlan::context("replicate", None, 0), 0).expect("there are replicates");
    let held = task.observed.conditions[0].context.clone();
    let usual = VaeSettings::benchmark_cells();
    let settings = VaeSettings {
        model: VaeConfig { latent: 5, hidden: vec![32], condition: 8, free_nats: Some(0.0), ..usual.model },
        train: TrainConfig { epochs: 4, ..usual.train },
        ..usual
    };
    for model in vaes_of_cells(settings) {
        let predicted = task.predict(model.as_ref()).expect("it fits");
        assert!(predicted.effects.iter().all(Result::is_ok) && predicted.cells.iter().all(Result::is_ok));
        // The cells drawn for a condition of the held-out context are nearer to that context's control than to others'.
        let controls = task.training.controls().expect("controls").expect("cells have controls");
        let mean = predicted.cells[0].as_ref().expect("applies").mean_axis(Axis(0)).expect("cells").to_vec();
        let distances: Vec<f64> =
            controls.profiles.rows().into_iter().map(|row| l2(&mean, &row.to_vec()).expect("same")).collect();
        let own = controls.contexts.iter().position(|context| *context == held).expect("its control is trained on");
        assert!(distances.iter().all(|&d| d >= distances[own]), "{}: {distances:?}, own {own}", model.name());
    }
}

#[test]
fn the_hybrid_has_the_means_of_the_other_predictors_and_cells_of_its_own() {
    let config =
        SimulationConfig { n_cells: 1_000, n_genes: 100, n_singles: 10, seed: 5, ..SimulationConfig::default() };
    let data = Simulation::new(&config).expect("valid settings").dataset;
    let data = BenchmarkData::new(Opened::Cells(data), None).expect("counts");
    let task = Task::of_plan(&data, &SplitPlan::doubles(0), 0).expect("there are doubles");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("quick.toml");
    let quick = "[pretraining]\nepochs = 1\n[response.training]\nepochs = 2\n[response.tuning]\nepochs = 0\n";
    std::fs::write(&file, quick).expect("written");
    let mut hybrid = Hybrid::default();
    hybrid.configure(&SettingsFile::read(&file).expect("valid")).expect("settings of the JEPA");
    let fitted = hybrid.fit(&task.training).expect("it fits");
    let mut jepa = ModelPredictor::new::<Jepa>("jepa", &[DataKind::Cells]);
    jepa.configure(&SettingsFile::read(&file).expect("valid")).expect("its settings");
    let jepa = jepa.fit(&task.training).expect("it fits");
    let combination = predictor("combination").expect("exists").fit(&task.training).expect("it fits");
    for condition in &task.observed.conditions {
        let effect = fitted.effect(condition).expect("both genes are known");
        assert_eq!(effect, combination.effect(condition).expect("both genes are known"));
        // The JEPA's own cells, drawn with the same seed, are farther from that effect.
        let control = genailab::data::Condition::of(Perturbation::control());
        let off = |model: &dyn Fitted| {
            let mean = |condition| {
                let cells = model.cells(condition, 200, 1).expect("its own").expect("it draws");
                assert!(cells.iter().all(|value| *value >= 0.0));
                cells.mean_axis(Axis(0)).expect("cells")
            };
            l2(&(mean(condition) - mean(&control)).to_vec(), &effect.to_vec()).expect("the same genes")
        };
        let (hybrid, plain) = (off(fitted.as_ref()), off(jepa.as_ref()));
        assert!(hybrid < 0.9 * plain, "{condition}: {hybrid}, the JEPA {plain}");
    }
}
