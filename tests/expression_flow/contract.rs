//! The contract of all models: files, refusals, draws, a resumed training.

use genailab::{
    data::{Condition, Perturbation, Simulation, SimulationConfig, SplitPlan, TrainingData},
    device::Device,
    model::{
        Model, ModelConfig, Sampling, Trained,
        diffusion::net::{GeneTokensConfig, Tokenization},
        expression_flow::{ExpressionFlow, ExpressionFlowSettings, ExpressionObjective},
        registry,
    },
    train::{Run, TrainConfig},
};
use std::sync::Arc;

fn settings(epochs: usize, tokens: Tokenization) -> ExpressionFlowSettings {
    let mut usual = ExpressionFlowSettings::default();
    usual.model.net = GeneTokensConfig { tokens, width: 16, depth: 1, heads: 2, embedding: 16 };
    usual.train = TrainConfig { epochs, learning_rate: 3e-3, ..usual.train };
    usual.sampling.steps = 4;
    usual
}

fn training() -> TrainingData {
    let config = SimulationConfig { n_cells: 600, n_genes: 40, seed: 2, density: 0.5, ..SimulationConfig::default() };
    let data = Arc::new(Simulation::new(&config).expect("valid settings").dataset);
    let split = data.split(&SplitPlan::Stratified { validation: 0.0, test: 0.1, seed: 0 }).expect("enough cells");
    TrainingData::of_dataset(data, &split, 0).expect("its own split")
}

fn fit(data: &TrainingData, settings: &ExpressionFlowSettings) -> ExpressionFlow {
    ExpressionFlow::fit(data, settings, &mut Run::quiet(0)).expect("it trains").0
}

#[test]
fn a_saved_model_answers_the_same_with_each_tokenisation_and_objective() {
    let data = training();
    let genes: Vec<String> = {
        let cells = data.cells.as_ref().expect("cells");
        cells.data.perturbations.iter().filter(|p| p.genes().len() == 1).map(|p| p.genes()[0].clone()).collect()
    };
    let both = Condition::of(Perturbation::of([&genes[0], &genes[1]]));
    for (tokens, objective) in [
        (Tokenization::Patches { count: 4 }, ExpressionObjective::RectifiedFlow),
        (Tokenization::Modules { count: 4 }, ExpressionObjective::Ddpm),
        (Tokenization::Genes, ExpressionObjective::RectifiedFlow),
        (Tokenization::Latents { count: 3 }, ExpressionObjective::Ddpm),
    ] {
        let mut settings = settings(2, tokens);
        settings.model.objective = objective;
        let model = fit(&data, &settings);
        let folder = tempfile::tempdir().expect("a folder");
        model.save(folder.path()).expect("it can be written");
        let loaded = ExpressionFlow::load(folder.path(), Device::Cpu).expect("it can be read");
        let draw = |model: &ExpressionFlow, seed| model.cells(&both, &Sampling::new(20, seed)).expect("known genes");
        let drawn = draw(&model, 1);
        assert_eq!(drawn.values, draw(&loaded, 1).values, "{}", tokens.name());
        assert_ne!(drawn.values, draw(&model, 2).values);
        assert_eq!(drawn.values.dim(), (20, 40));
        assert!(drawn.are_counts && drawn.values.iter().all(|&v| v >= 0.0 && v.fract() == 0.0), "counts");
        let given = Sampling { library_size: Some(500.0), steps: Some(2), guidance: Some(2.0), ..Sampling::new(3, 0) };
        assert_eq!(model.cells(&both, &given).expect("known genes").library_size, [500.0; 3]);
        let effects = model.effects(&[Condition::of(Perturbation::control()), both.clone()]).expect("known genes");
        assert!(effects.row(0).iter().all(|&v| v == 0.0) && effects.row(1).iter().all(|v| v.is_finite()));
    }
}

/// A training long enough to know how often a gene is 0, with and without noise on the counts.
#[test]
fn zeros_are_drawn_about_as_often_as_they_are_real() {
    let data = training();
    let cells = data.cells.as_ref().expect("cells");
    for dequantize in [true, false] {
        let mut settings = settings(40, Tokenization::Modules { count: 4 });
        settings.model.dequantize = dequantize;
        settings.sampling.steps = 16;
        let model = fit(&data, &settings);
        let single = cells.data.perturbations.iter().find(|p| p.genes().len() == 1).expect("singles are simulated");
        let effect = model.effects(&[Condition::of(single.clone())]).expect("a known gene");
        assert!(effect.iter().any(|&v| v != 0.0), "the condition has no effect");
        let shares = model.zero_shares(&cells.data, &cells.split.train, 1).expect("its genes");
        assert!(shares.real > 0.3, "{shares:?}");
        assert!((shares.real - shares.drawn).abs() < 0.1 && shares.per_gene < 0.15, "{dequantize}: {shares:?}");
    }
}

#[test]
fn a_resumed_training_gives_the_same_bits() {
    let data = training();
    let folder = tempfile::tempdir().expect("a folder");
    let run = |dir: &str, resume: bool| Run { dir: Some(folder.path().join(dir)), resume, ..Run::quiet(0) };
    for objective in [ExpressionObjective::RectifiedFlow, ExpressionObjective::Ddpm] {
        let with = |epochs| {
            let mut settings = settings(epochs, Tokenization::Modules { count: 4 });
            settings.model.objective = objective;
            // A schedule over all epochs would differ between the two.
            settings.train.schedule = genailab::train::LearningRateSchedule::Constant;
            settings
        };
        let [whole, part] = ["whole", "part"].map(|name| format!("{name}-{}", objective.name()));
        let at_once = registry::train::<ExpressionFlow>(&data, &with(4), &mut run(&whole, false)).expect("it trains").0;
        registry::train::<ExpressionFlow>(&data, &with(2), &mut run(&part, false)).expect("it trains");
        let resumed = registry::train::<ExpressionFlow>(&data, &with(4), &mut run(&part, true)).expect("it goes on").0;
        assert_eq!(at_once.state().expect("a state"), resumed.state().expect("a state"));
    }
}

#[test]
fn mistakes_are_named() {
    let data = training();
    let model = fit(&data, &settings(1, Tokenization::Modules { count: 4 }));
    let unknown = Condition::of(Perturbation::of(["NOT_A_GENE"]));
    let error = model.cells(&unknown, &Sampling::new(3, 0)).expect_err("never perturbed").to_string();
    assert!(error.contains("NOT_A_GENE") && !error.contains('\n'), "{error}");
    let many = settings(1, Tokenization::Latents { count: 41 });
    let error = ExpressionFlow::fit(&data, &many, &mut Run::quiet(0)).expect_err("40 genes").to_string();
    assert!(error.contains("count = 41") && error.contains("40 genes"), "{error}");
    let with = |change: fn(&mut ExpressionFlowSettings)| {
        let mut settings = settings(1, Tokenization::Genes);
        change(&mut settings);
        settings.validate().expect_err("out of range").to_string()
    };
    assert!(with(|s| s.sampling.steps = 0).contains("steps = 0"));
    assert!(with(|s| s.sampling.guidance = -1.0).contains("guidance = -1"));
    assert!(with(|s| s.model.net.tokens = Tokenization::Modules { count: 0 }).contains("tokens.count = 0"));
    assert!(with(|s| s.model.condition_dropout = 1.0).contains("condition_dropout"));
    assert!(with(|s| s.sampling.solver = genailab::model::diffusion::Solver::DormandPrince).contains("fixed steps"));
}
