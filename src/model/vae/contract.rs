//! The count VAE in the contract of all models: settings, training, saving, restoring.

use super::{
    condition::Vocabulary,
    config::{Likelihood, VaeConfig},
    count_vae::{CountVae, on_device},
};
use crate::{
    Error, Result,
    data::{
        Condition, DataKind, Dataset, Effects, Perturbation, Split, Table, TrainingCells, TrainingData,
        rows_by_condition, shuffle,
    },
    device::Device,
    math::seeds::stream,
    model::{Abilities, Generated, HeldOutScore, Model, ModelConfig, Sampling, State, Trained},
    train::{History, Run, TrainConfig, has_checkpoint},
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Draws of z behind a held-out bound.
const ELBO_DRAWS: usize = 5;
/// Purpose of the random stream that divides training cells, see [`stream`].
const DIVISION: u64 = 1;

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaeSettings {
    /// Share of the training part that validates the training where the split has no validation part and the training
    /// stops early: of each condition's cells, or of the combinations of an effects dataset.
    pub validation_fraction: f64,
    /// The network.
    pub model: VaeConfig,
    /// Its training.
    pub train: TrainConfig,
}

impl Default for VaeSettings {
    fn default() -> Self {
        Self { validation_fraction: 0.1, model: VaeConfig::default(), train: TrainConfig::default() }
    }
}

impl ModelConfig for VaeSettings {
    fn default_for(kind: DataKind) -> Self {
        match kind {
            DataKind::Cells => Self::default(),
            // Few rows, real values.
            DataKind::Effects => Self {
                validation_fraction: 0.2,
                model: VaeConfig {
                    latent: 16,
                    hidden: vec![128],
                    likelihood: Likelihood::Gaussian,
                    condition: 32,
                    ..VaeConfig::default()
                },
                train: TrainConfig { epochs: 200, batch_size: 32, ..TrainConfig::default() },
            },
        }
    }

    fn validate(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.validation_fraction) {
            return Err(Error::config("validation_fraction must be at least 0 and below 1"));
        }
        self.train.validate()?;
        self.model.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    trained_on: DataKind,
    with_remainder: bool,
    config: VaeConfig,
    vocabulary: Vocabulary,
}

impl Trained for CountVae {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        match self.trained_on() {
            DataKind::Effects => Abilities { effects: true, ..Abilities::default() },
            DataKind::Cells => {
                Abilities { cells: true, cells_from: true, embeddings: Some("X_vae"), ..Abilities::default() }
            }
        }
    }

    fn genes(&self) -> &[String] {
        &self.vocabulary().genes
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.vocabulary().perturbs(gene)
    }

    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.check(conditions)?;
        let perturbations: Vec<Perturbation> = conditions.iter().map(|c| c.perturbation.clone()).collect();
        Ok(self.predict_effects(&perturbations)?.mapv(f64::from))
    }

    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        self.sample(&condition.perturbation, sampling.cells, sampling.seed)
    }

    fn cells_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Generated> {
        self.sample_from(data, rows, &condition.perturbation, None, seed)
    }

    /// The latent mean of each cell read as a control cell: what its perturbation did stays in the embedding.
    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.embed_as_control(data, rows)
    }

    fn held_out(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutScore>> {
        let elbo = self.elbo(data, rows, ELBO_DRAWS, seed)?;
        let line = format!("held-out ELBO {:.2} nats per cell ({} cells)", elbo.elbo, elbo.cells);
        let mut json = json!(elbo);
        json["unit"] = "nats per cell".into();
        Ok(Some(HeldOutScore { line, json }))
    }

    fn state(&self) -> Result<State> {
        let description = Description {
            trained_on: self.trained_on,
            with_remainder: self.with_remainder,
            config: self.config.clone(),
            vocabulary: self.vocabulary.clone(),
        };
        let state = State::new(&description);
        on_device!(&self.net, net => state.with_network("net", net))
    }
}

impl Model for CountVae {
    const KIND: &'static str = "vae";
    const ABOUT: &'static str =
        "the count VAE: cells decoded under a perturbation, or mean effects of an effects dataset";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells, DataKind::Effects];
    type Config = VaeSettings;

    fn check_device(device: Device) -> Result<()> {
        device.check()
    }

    fn fit(data: &TrainingData, config: &VaeSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        // Interrupted before its first epoch, a training has no checkpoint to go on from.
        run.resume &= run.dir.as_deref().is_some_and(has_checkpoint);
        match &data.cells {
            Some(cells) => fit_cells(cells, config, run),
            None => fit_effects(data, config, run),
        }
    }

    fn restore(state: State, device: Device) -> Result<Self> {
        let Description { trained_on, with_remainder, config, vocabulary } = state.description()?;
        config.validate()?;
        let mut model = Self::build(config, vocabulary, trained_on, with_remainder, None, 0, device)?;
        on_device!(&mut model.net, net => state.fill("net", net))?;
        Ok(model)
    }
}

/// The training's settings; early stopping needs a validation part.
fn training(config: &VaeSettings, seed: u64, validated: bool) -> TrainConfig {
    let early_stopping = config.train.early_stopping.filter(|_| validated);
    TrainConfig { seed, early_stopping, ..config.train.clone() }
}

fn fit_cells(cells: &TrainingCells, config: &VaeSettings, run: &mut Run<'_>) -> Result<(CountVae, History)> {
    let mut split = cells.split.clone();
    if split.validation.is_empty() && config.train.early_stopping.is_some() {
        split = divided(cells, config.validation_fraction, run.seed);
    }
    // Validation cells may be of genes that are perturbed nowhere else; the model has no embedding for them.
    let perturbed = |row: usize| cells.conditions[row].perturbation.genes();
    let mut known: Vec<&String> = split.train.iter().flat_map(|&row| perturbed(row)).collect();
    known.sort_unstable();
    known.dedup();
    split.validation.retain(|&row| perturbed(row).iter().all(|gene| known.binary_search(&gene).is_ok()));

    let mut vae = CountVae::new(&cells.data, &split, config.model.clone(), run.seed, run.device)?;
    let training = training(config, run.seed, !split.validation.is_empty());
    let history = vae.fit_with(&cells.data, &split, &training, run)?;
    Ok((vae, history))
}

/// Holds out a share of the training cells of each condition for validation.
fn divided(cells: &TrainingCells, fraction: f64, seed: u64) -> Split {
    let mut rng = stream(seed, DIVISION, 0);
    let mut split = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
    for mut rows in rows_by_condition(&cells.conditions, &cells.split.train).into_values() {
        shuffle(&mut rows, &mut rng);
        let n = (fraction * rows.len() as f64).round() as usize;
        split.train.extend_from_slice(&rows[n..]);
        split.validation.extend_from_slice(&rows[..n]);
    }
    split.train.sort_unstable();
    split.validation.sort_unstable();
    split
}

fn fit_effects(data: &TrainingData, config: &VaeSettings, run: &mut Run<'_>) -> Result<(CountVae, History)> {
    let (table, given) = (data.effects()?, data.validation()?);
    if table.is_empty() {
        return Err(Error::inapplicable("no perturbation was trained on"));
    }
    let mut perturbations: Vec<Perturbation> = table.conditions.iter().map(|c| c.perturbation.clone()).collect();
    let mut values = table.effects.clone();
    let mut train: Vec<usize> = (0..perturbations.len()).collect();
    let mut validation = Vec::new();
    if !given.is_empty() {
        let known = |gene: &String| table.conditions.iter().any(|c| c.perturbation.genes().contains(gene));
        for (condition, effect) in given.conditions.iter().zip(given.effects.rows()) {
            // The model has no embedding for a gene that is perturbed in validation only.
            if condition.perturbation.genes().iter().all(known) {
                validation.push(perturbations.len());
                perturbations.push(condition.perturbation.clone());
                values.push_row(effect).expect("an effect has one value per gene");
            }
        }
    } else if config.train.early_stopping.is_some() {
        validation = table.validation_rows(config.validation_fraction, run.seed);
        train.retain(|row| validation.binary_search(row).is_err());
    }
    let names = perturbations.iter().map(Perturbation::to_string).collect();
    let genes = Table::from_names(table.genes.to_vec());
    let effects = Effects { values, genes, perturbations, table: Table::from_names(names) };
    let mut vae = CountVae::for_effects(&effects, &train, config.model.clone(), run.seed, run.device)?;
    let training = training(config, run.seed, !validation.is_empty());
    let history = vae.fit_effects(&effects, &train, &validation, &training, run)?;
    Ok((vae, history))
}
