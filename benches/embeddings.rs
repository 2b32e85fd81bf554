//! What embeddings of real cells tell of the perturbation: JEPA against PCA(50) and the VAE's latents, by a linear probe and
//! nearest neighbours on cells that nothing was fitted to.
//!
//! ```sh
//! cargo bench --bench embeddings -- papalexi_cells.h5ad
//! ```
//!
//! Validation cells are judged unless `JUDGE=test`; `JEPA` names a JSON file `[{"name", "model", "train", "seed"}]` of
//! settings to try instead of the defaults; `BASELINES=no` leaves out PCA and the VAE. A measurement of minutes, not a check.

use genailab::{
    data::{Dataset, QcConfig, SplitPlan, TargetSum, TrainingData, normalize::log_normalize},
    eval::{ProbeConfig, compare_embeddings},
    math::Pca,
    model::{
        CountVae, Model, VaeSettings,
        jepa::{Pretraining, PretrainingConfig, Reader},
    },
    ndarray::{Array2, Axis},
    train::{LearningRateSchedule, Progress, Run, TrainConfig},
};
use std::time::Instant;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate {
    name: String,
    #[serde(default)]
    model: PretrainingConfig,
    #[serde(default)]
    train: TrainConfig,
    #[serde(default)]
    seed: u64,
}

fn main() {
    // `cargo bench` adds an argument of its own.
    let Some(path) = std::env::args().skip(1).find(|argument| argument != "--bench") else {
        eprintln!("give the .h5ad file of a cells dataset");
        std::process::exit(2);
    };
    let raw = Dataset::open(&path).expect("a cells dataset");
    let (data, _) = QcConfig::for_dataset(&raw).apply(&raw).expect("cells are left");
    let seed = 0;
    let split = data.split(&SplitPlan::Stratified { validation: 0.1, test: 0.2, seed }).expect("it divides");
    let judged = if std::env::var("JUDGE").is_ok_and(|part| part == "test") { &split.test } else { &split.validation };
    println!("{} cells x {} genes, {} perturbations", data.n_cells(), data.n_genes(), data.perturbations.len());

    let mut embeddings: Vec<(String, Array2<f32>)> = Vec::new();
    if std::env::var("BASELINES").map_or(true, |word| word != "no") {
        let expression = log_normalize(&data, TargetSum::default()).expect("counts with libraries").to_dense();
        let pca = Pca::fit(expression.select(Axis(0), &split.train).view(), 50, 0).expect("299 genes");
        embeddings.push(("PCA(50)".to_owned(), pca.transform(expression.view()).expect("the same genes")));
        // On the scale that JEPA sees, too.
        let expression = log_normalize(&data, TargetSum::Median).expect("counts with libraries").to_dense();
        let pca = Pca::fit(expression.select(Axis(0), &split.train).view(), 50, 0).expect("299 genes");
        embeddings.push(("PCA(50) median".to_owned(), pca.transform(expression.view()).expect("the same genes")));
        // The settings of `genailab run`.
        let training = TrainingData::of_dataset(data.clone(), &split, seed).expect("its own split");
        let (vae, _) =
            CountVae::fit(&training, &VaeSettings::benchmark_cells(), &mut Run::quiet(seed)).expect("it trains");
        let rows: Vec<usize> = (0..data.n_cells()).collect();
        // Its encoder is given the perturbation; what the cell alone says is its latent when it is read as a control cell.
        embeddings.push(("VAE as control".to_owned(), vae.embed_as_control(&data, &rows).expect("its genes")));
        embeddings.push(("VAE told label".to_owned(), vae.latents(&data, &rows).expect("its genes")));
    }
    for run in runs() {
        let begin = Instant::now();
        let mut jepa = Pretraining::new(&data, &split, run.model, run.seed).expect("valid settings");
        let options = &mut Run { progress: Progress::Silent, ..Run::default() };
        let history = match jepa.fit_with(&data, &split, &run.train, options) {
            Ok(history) => history,
            Err(error) => {
                println!("{}: {error}", run.name);
                continue;
            }
        };
        let seconds = begin.elapsed().as_secs_f64();
        let last = history.last().expect("an epoch");
        println!("{}: {seconds:.0} s, {} weights, {:?}", run.name, jepa.n_params().expect("walks"), last.train.parts);
        let rows: Vec<usize> = (0..data.n_cells()).collect();
        for reader in [Reader::Teacher, Reader::Student] {
            let z = jepa.embed_rows(&data, &rows, reader).expect("its genes");
            embeddings.push((format!("{} {reader:?}", run.name), z));
        }
    }
    let named: Vec<_> = embeddings.iter().map(|(name, z)| (name.as_str(), z.view())).collect();
    let compared = compare_embeddings(&named, &data.labels, &split.train, judged, &ProbeConfig::default());
    println!("{}", compared.expect("they fit"));
}

fn runs() -> Vec<Candidate> {
    match std::env::var_os("JEPA") {
        Some(file) => {
            serde_json::from_slice(&std::fs::read(file).expect("the file that JEPA names")).expect("its form")
        }
        None => vec![Candidate {
            name: "JEPA".to_owned(),
            model: PretrainingConfig::default(),
            train: TrainConfig {
                epochs: 15,
                schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 100, final_fraction: 0.01 },
                ..TrainConfig::default()
            },
            seed: 0,
        }],
    }
}
