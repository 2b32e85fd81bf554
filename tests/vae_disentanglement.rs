//! What beta does to the latents of simulated cells, whose true factors are known.

use genailab::{
    data::{Simulation, SimulationConfig, Split, SplitPlan, TrainingData},
    eval::{DciConfig, dci, mutual_information_gap},
    model::{CountVae, Model, VaeConfig, VaeObjective, VaeSettings},
    train::{Run, TrainConfig},
};

/// Cells of three programs beside the cell cycle; so few counts that the factors are worth about a nat per cell.
fn world(seed: u64) -> Simulation {
    let config = SimulationConfig {
        n_cells: 2000,
        n_genes: 100,
        n_singles: 6,
        doubles_per_class: 0,
        control_fraction: 0.8,
        n_lanes: 1,
        n_programs: 5,
        density: 0.6,
        damaged_fraction: 0.0,
        seed,
        ..SimulationConfig::default()
    };
    Simulation::new(&config).expect("valid settings")
}

fn fitted(world: &Simulation, objective: VaeObjective, beta: f32) -> (CountVae, Split) {
    let data = &world.dataset;
    let split = data.split(&SplitPlan::Stratified { validation: 0.0, test: 0.3, seed: 1 }).expect("enough cells");
    let model = VaeConfig {
        latent: 6,
        hidden: vec![48],
        condition: 8,
        beta,
        objective,
        dropout: 0.0,
        free_nats: Some(0.0),
        kl_warmup_epochs: 5.0,
        ..VaeConfig::default()
    };
    let train = TrainConfig { epochs: 25, batch_size: 64, learning_rate: 3e-3, ..TrainConfig::default() };
    let settings = VaeSettings { model, train, ..VaeSettings::default() };
    let training = TrainingData::of_dataset(data.clone(), &split, 0).expect("its own split");
    (CountVae::fit(&training, &settings, &mut Run::quiet(0)).expect("finite").0, split)
}

#[test]
fn a_larger_beta_saves_nats_and_loses_the_factors() {
    let world = world(0);
    let names = ["cycle_cos", "cycle_sin", "program_3", "program_4", "program_5"];
    let measured = [0.5, 1.0, 4.0].map(|beta| {
        let (model, split) = fitted(&world, VaeObjective::Elbo, beta);
        let factors = world.factors.select(&names).of_cells(&split.train).values;
        let z = model.latent_draws(&world.dataset, &split.train, 0).expect("cells");
        let mig = mutual_information_gap(z.view(), factors.view(), 20).expect("valid");
        let scores = dci(z.view(), factors.view(), 900, &DciConfig::default()).expect("valid");
        let elbo = model.elbo(&world.dataset, &split.test, 10, 0).expect("finite");
        println!("beta {beta}: {elbo:?}, MIG {mig:.3}, informativeness {:.3}", scores.informativeness);
        (elbo, mig, scores.informativeness)
    });
    for pair in measured.windows(2) {
        assert!(pair[0].0.kl > 2.0 * pair[1].0.kl, "the KL falls: {measured:?}");
        assert!(pair[0].2 > pair[1].2 + 0.1, "so does informativeness: {measured:?}");
    }
    assert!(measured[0].1 > 2.0 * measured[2].1, "without information there is no gap: {measured:?}");
    assert!(measured[1].0.elbo > measured[0].0.elbo && measured[1].0.elbo > measured[2].0.elbo, "{measured:?}");
}

#[test]
fn weighting_the_total_correlation_alone_keeps_more_information() {
    let world = world(0);
    let [plain, of_dependence] = [VaeObjective::Elbo, VaeObjective::BetaTc].map(|objective| {
        let (model, split) = fitted(&world, objective, 8.0);
        model.elbo(&world.dataset, &split.test, 10, 0).expect("finite")
    });
    assert!(of_dependence.kl > plain.kl + 0.2 && of_dependence.elbo > plain.elbo, "{plain:?}, {of_dependence:?}");
}
