//! Expression from metadata: known truths, gradients, files, commands.

mod commands;
mod encoder;
mod gradients;
mod known_truth;

use genailab::{
    data::{BulkConfig, BulkSimulation, Dataset, Split, TrainingData},
    model::{
        HoldOut, Model, ModelConfig,
        mean_residual::{MeanResidual, MeanResidualSettings, MetadataConfig},
    },
    train::{Run, TrainConfig},
};

/// Bulk samples of few genes.
fn simulated(n_samples: usize, seed: u64) -> BulkSimulation {
    BulkSimulation::new(&BulkConfig { n_samples, n_genes: 100, seed, ..BulkConfig::default() }).expect("valid settings")
}

fn settings(hold_out: HoldOut) -> MeanResidualSettings {
    let columns = ["tissue", "disease", "sex", "batch", "age"].map(str::to_owned).to_vec();
    let usual = MeanResidualSettings::default();
    let train = TrainConfig { epochs: 60, ..usual.train.clone() };
    MeanResidualSettings { metadata: MetadataConfig { columns, hold_out }, train, ..usual }
}

/// A split that holds out a fifth, as `genailab train` makes it.
fn divided(data: &Dataset, settings: &MeanResidualSettings) -> Split {
    settings.divide(data, [0.0, 0.2], 0).expect("columns").expect("a split of its own")
}

fn fitted(data: &Dataset, split: &Split, settings: &MeanResidualSettings) -> MeanResidual {
    let training = TrainingData::of_dataset(data.clone(), split, 0).expect("a split of this data");
    MeanResidual::fit(&training, settings, &mut Run::quiet(0)).expect("it trains").0
}
