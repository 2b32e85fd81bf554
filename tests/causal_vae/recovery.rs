//! Known truths: the shifts decode to the true log fold changes, and each block knows what it should.

use genailab::{
    data::{Dataset, Perturbation, Simulation, SimulationConfig, SplitPlan, TrainingData},
    eval::{LinearProbe, ProbeConfig, accuracy},
    model::{
        Model,
        causal_vae::{CausalVae, CausalVaeSettings, Latents},
    },
    ndarray::{Array1, Array2, Axis},
    train::{Run, TrainConfig},
};
use std::sync::Arc;

struct Fitted {
    simulation: Simulation,
    data: Arc<Dataset>,
    train: Vec<usize>,
    test: Vec<usize>,
    model: CausalVae,
}

fn fitted(seed: u64) -> Fitted {
    let config = SimulationConfig {
        n_cells: 2_500,
        n_genes: 150,
        seed,
        n_singles: 8,
        doubles_per_class: 1,
        control_fraction: 0.2,
        n_lanes: 2,
        density: 0.6,
        ..SimulationConfig::default()
    };
    let simulation = Simulation::new(&config).expect("valid settings");
    let data = Arc::new(simulation.dataset.clone());
    let split = data.split(&SplitPlan::Stratified { validation: 0.0, test: 0.2, seed: 0 }).expect("enough cells");
    let training = TrainingData::of_dataset(Arc::clone(&data), &split, seed).expect("its own split");
    let usual = CausalVaeSettings::default();
    let train = TrainConfig { epochs: 40, early_stopping: None, ..usual.train.clone() };
    let settings = CausalVaeSettings { train, ..usual };
    let (model, _) = CausalVae::fit(&training, &settings, &mut Run::quiet(seed)).expect("it trains");
    Fitted { simulation, data, train: split.train, test: split.test, model }
}

fn cosine(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    a.dot(b) / (a.dot(a) * b.dot(b)).sqrt()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median over perturbations of the cosine with the true log fold change, of the model and of the plain difference of
/// pooled log shares.
fn cosines(fitted: &Fitted) -> (f64, f64) {
    let Fitted { simulation, data, train, model, .. } = fitted;
    let truth = simulation.truth.select_genes(data.gene_names()).expect("its genes");
    let control = truth.perturbations[0].clone();
    let log_mean =
        |perturbation: &Perturbation| truth.mean_of(perturbation).expect("simulated").mapv(|mean| f64::from(mean).ln());
    // Half a count, so that genes without counts have a logarithm.
    let pooled = |perturbation: &Perturbation| {
        let rows: Vec<usize> = train.iter().copied().filter(|&row| data.perturbation_of(row) == perturbation).collect();
        let counts = data.counts.select_cells(&rows).to_dense().mapv(f64::from).sum_axis(Axis(0)) + 0.5;
        let total = counts.sum();
        counts.mapv(|count| (count / total).ln())
    };
    let (mut of_model, mut of_means) = (Vec::new(), Vec::new());
    for perturbation in truth.perturbations.iter().skip(1) {
        let wanted = log_mean(perturbation) - log_mean(&control);
        of_model.push(cosine(&model.log_fold_change(perturbation).expect("trained on"), &wanted));
        of_means.push(cosine(&(pooled(perturbation) - pooled(&control)), &wanted));
    }
    (median(of_model), median(of_means))
}

/// Held-out accuracy of a linear probe, and that of the most frequent label.
fn probe(fitted: &Fitted, of: impl Fn(Latents) -> Array2<f32>, labels: &[u32]) -> (f64, f64) {
    let block = |rows: &[usize]| of(fitted.model.latents(&fitted.data, rows, false).expect("its genes"));
    let labels_of = |rows: &[usize]| rows.iter().map(|&row| labels[row]).collect::<Vec<u32>>();
    let (train, test) = (labels_of(&fitted.train), labels_of(&fitted.test));
    let classes = 1 + *labels.iter().max().expect("cells") as usize;
    let fit = LinearProbe::fit(block(&fitted.train).view(), &train, classes, &ProbeConfig::default()).expect("classes");
    let found = accuracy(&fit.predict(block(&fitted.test).view()).expect("its width"), &test).expect("cells");
    let most = (0..classes as u32).map(|class| test.iter().filter(|&&label| label == class).count()).max();
    (found, most.expect("a class") as f64 / test.len() as f64)
}

#[test]
fn shifts_decode_to_the_true_effects_and_blocks_know_what_they_should() {
    let fitted = fitted(1);
    let (of_model, of_means) = cosines(&fitted);
    let (data, labels) = (&fitted.data, &fitted.data.labels);
    let (identity, chance) = probe(&fitted, |latents| latents.identity, labels);
    let (state, _) = probe(&fitted, |latents| latents.state, labels);
    let (technical, one_lane) = probe(&fitted, |latents| latents.technical, &data.lane_of);
    let found = format!(
        "cosine {of_model:.3} (means {of_means:.3}); perturbation: identity {identity:.3}, state {state:.3}, chance \
         {chance:.3}; lane: technical {technical:.3}, chance {one_lane:.3}"
    );
    println!("{found}");
    assert!(of_model >= 0.75, "{found}");
    // Standard error of a share of 500 cells: 0.02.
    assert!(identity < chance + 0.1 && state > chance + 0.2, "{found}");
    assert!(technical > one_lane + 0.04, "{found}");
}
