//! A model as small as one can be, added to the registry and taken through training, saving, loading, prediction and a
//! benchmark. The book's page "How to add a model" shows this file.

// ANCHOR: model
use genailab::{
    Error, Result,
    data::{Condition, DataKind, TrainingData},
    device::Device,
    model::{Abilities, Model, NoSettings, State, Trained},
    ndarray::{Array1, Array2},
    train::{History, Run},
};

/// Predicts the mean training effect, whatever the perturbation, and zero for control.
struct MeanEffect {
    genes: Vec<String>,
    mean: Array1<f64>,
}

impl Trained for MeanEffect {
    fn kind(&self) -> &'static str {
        Self::KIND
    }
    fn abilities(&self) -> Abilities {
        Abilities { effects: true, ..Abilities::default() }
    }
    fn genes(&self) -> &[String] {
        &self.genes
    }
    fn perturbs(&self, _gene: &str) -> bool {
        true
    }
    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.check(conditions)?;
        let mut effects = Array2::<f64>::zeros((conditions.len(), self.genes.len()));
        for (condition, mut row) in conditions.iter().zip(effects.rows_mut()) {
            if !condition.perturbation.is_control() {
                row.assign(&self.mean);
            }
        }
        Ok(effects)
    }
    fn state(&self) -> Result<State> {
        Ok(State::new(&self.genes).with_vector("mean", &self.mean))
    }
}

impl Model for MeanEffect {
    const KIND: &'static str = "mean-effect";
    const ABOUT: &'static str = "the mean training effect, for every perturbation";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Effects, DataKind::Cells];
    type Config = NoSettings;

    fn fit(data: &TrainingData, _: &NoSettings, _: &mut Run<'_>) -> Result<(Self, History)> {
        let effects = data.effects()?;
        if effects.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        let mean = effects.mean_effect().mapv(f64::from);
        Ok((Self { genes: data.genes.to_vec(), mean }, History::default()))
    }
    fn restore(state: State, _: Device) -> Result<Self> {
        let genes: Vec<String> = state.description()?;
        Ok(Self { mean: state.vector("mean", genes.len())?, genes })
    }
}
// ANCHOR_END: model

use genailab::{
    bench::{BenchmarkData, RunOptions, run_with},
    data::{Dataset, Effects, Opened, Perturbation, Split, SplitPlan},
    model::registry::Registry,
    predict::{ModelPredictor, Predictor, baselines::predictor},
};

#[test]
fn a_small_model_goes_through_the_registry() {
    let registry = Registry::default().with::<MeanEffect>();
    let family = registry.family("mean-effect").expect("it was added");
    assert!(Registry::default().family("mean-effect").is_err(), "and nowhere else");

    // Train, in a folder.
    let effects = Effects::of_cells(&Dataset::simulated(7)).expect("the simulation has controls");
    let split = Split { train: (0..effects.perturbations.len()).collect(), validation: Vec::new(), test: Vec::new() };
    let training = TrainingData::of_effects(&effects, &split, 0).expect("its own split");
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Run { dir: Some(folder.path().to_owned()), ..Run::quiet(0) };
    let settings = family.settings(None, DataKind::Effects).expect("defaults are valid");
    let (trained, _) = settings.train(&training, &mut run).expect("it trains");

    // Load by whatever kind the folder says, and predict.
    let loaded = registry.load(folder.path(), Device::Cpu).expect("it was saved");
    let conditions = [Condition::of(Perturbation::of(["A", "B"]))];
    let (before, after) = (trained.effects(&conditions).expect("any"), loaded.effects(&conditions).expect("any"));
    assert!((before - &after).iter().all(|difference| difference.abs() < 1e-6));
    let error = loaded.embed(&Dataset::simulated(7), &[0]).expect_err("it has no such ability").to_string();
    assert!(error.contains("mean-effect") && error.contains("embeds no cells"), "{error}");

    // Benchmark it beside the baseline that it repeats.
    let data = BenchmarkData::new(Opened::Effects(effects), None).expect("effects need nothing");
    let plans = [(0, SplitPlan::doubles(0))];
    let adapter: Box<dyn Predictor> = Box::new(ModelPredictor::new::<MeanEffect>("mean_effect", &[DataKind::Effects]));
    let models = [adapter, predictor("mean").expect("a baseline")];
    let found = run_with(&data, &plans, &models, &RunOptions::default()).expect("it runs");
    let l2 = |model: &str| found.summary_of(model, "l2").expect("measured").mean;
    assert!((l2("mean_effect") - l2("mean")).abs() < 1e-5, "{} {}", l2("mean_effect"), l2("mean"));
}

#[test]
fn old_names_say_what_to_use() {
    let error = Registry::default().family("jepa-sets").err().expect("renamed").to_string();
    assert!(error.contains("it is called jepa"), "{error}");
    let error = Registry::default().family("cell-jepa").err().expect("renamed").to_string();
    assert!(error.contains("--model jepa --phase a"), "{error}");
    let error = Registry::default().family("gpt").err().expect("unknown").to_string();
    assert!(error.contains("gpt") && error.contains("combination"), "{error}");
}
