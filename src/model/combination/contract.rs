//! The combination model in the contract of all models: training, saving, restoring.

use super::{
    CombinationConfig, CombinationModel, Mixture, UnseenChoice, member::Member, memory::Memory, net::Net,
    scaled_sum::ScaledSum, singles::Singles, space::Space, unseen::Unseen,
};
use crate::{
    Result,
    data::{Condition, DataKind, TrainingData},
    device::Device,
    model::{Abilities, Model, ModelConfig, State, Trained},
    train::{History, Run},
};
use dfdx::prelude::Cpu;
use ndarray::Array2;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The tables of a configuration file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CombinationSettings {
    /// The model; its training is the table `model.training`.
    pub model: CombinationConfig,
}

impl ModelConfig for CombinationSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.model.training.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.model.training.epochs = epochs;
    }

    fn set_gene_sets(&mut self, file: &Path) {
        self.model.gene_sets = Some(file.to_owned());
    }

    fn seed(&self) -> u64 {
        self.model.training.seed
    }
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: CombinationConfig,
    genes: Vec<String>,
    /// Perturbed gene and context of each single effect.
    singles: Vec<(String, Option<String>)>,
    /// The genes that features stand for.
    featured: Vec<String>,
    unseen: UnseenChoice,
    mixture: Mixture,
    memory_width: f64,
    /// What the scores of each member are divided by.
    scales: Vec<f64>,
}

impl Trained for CombinationModel {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities { effects: true, ..Abilities::default() }
    }

    fn genes(&self) -> &[String] {
        &self.genes
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.represents(gene)
    }

    fn check(&self, conditions: &[Condition]) -> Result<()> {
        self.check(conditions)
    }

    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.effects(conditions)
    }

    fn notes(&self) -> Vec<String> {
        let mixture = self.mixture;
        vec![match (mixture.start_l2, mixture.left_out_l2) {
            (Some(start), Some(l2)) => format!(
                "left-out training combinations: L2 {start:.3} of the scaled sum, {l2:.3} with {:.0} % of the kernel ridge \
                 and {:.0} % of the network",
                100.0 * mixture.remembered,
                100.0 * mixture.decoded
            ),
            _ => "too few training combinations to learn an interaction residual from: combinations are predicted by the \
                  scaled sum"
                .to_owned(),
        }]
    }

    fn choices(&self) -> serde_json::Value {
        serde_json::json!({ "mixture": self.mixture, "unseen_genes": self.unseen() })
    }

    fn state(&self) -> Result<State> {
        let unseen = &self.singles.unseen;
        let mut featured: Vec<(&String, &usize)> = unseen.place.iter().collect();
        featured.sort_unstable_by_key(|(_, row)| **row);
        let mut state = State::new(&Description {
            config: self.config.clone(),
            genes: self.genes.to_vec(),
            singles: self.singles.names.clone(),
            featured: featured.into_iter().map(|(gene, _)| gene.clone()).collect(),
            unseen: unseen.choice.clone(),
            mixture: self.mixture,
            memory_width: self.memory.width,
            scales: self.members.iter().map(|member| member.space.scale).collect(),
        })
        .with_array("singles", &self.singles.effects)
        .with_array("unseen.features", &unseen.features)
        .with_array("unseen.map", &unseen.map)
        .with_vector("unseen.mean", &unseen.mean)
        .with_vector("start.coefficients", &self.start.coefficients)
        .with_vector("start.factors", &self.start.factors)
        .with_array("start.components", &self.start.components)
        .with_array("memory.points", &self.memory.points)
        .with_array("memory.weights", &self.memory.weights);
        for (number, member) in self.members.iter().enumerate() {
            state = state
                .with_array(&format!("space.{number}"), &member.space.components)
                .with_network(&format!("member.{number}"), &member.net)?;
        }
        Ok(state)
    }
}

impl Model for CombinationModel {
    const KIND: &'static str = "combination";
    const ABOUT: &'static str = "mean effects: a scaled sum of single effects, kernel ridge over similar combinations, and a \
                                 small network for what is left";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Effects, DataKind::Cells];
    type Config = CombinationSettings;

    fn fit(data: &TrainingData, config: &Self::Config, run: &mut Run<'_>) -> Result<(Self, History)> {
        let model = Self::fit_table(&data.effects_with_validation()?, &config.model, run)?;
        let history = History::mean(model.history());
        Ok((model, history))
    }

    fn restore(state: State, _: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        let (n, n_singles, n_featured) = (saved.genes.len(), saved.singles.len(), saved.featured.len());
        let features = state.array("unseen.features", Some(n_featured), None)?;
        let map_rows = features.ncols();
        let unseen = Unseen {
            place: saved.featured.into_iter().zip(0..).collect(),
            mean: state.vector("unseen.mean", n)?,
            map: state.array("unseen.map", Some(map_rows), Some(n))?,
            choice: saved.unseen,
            features,
        };
        let singles = Singles::from_parts(saved.singles, state.array("singles", Some(n_singles), Some(n))?, unseen);
        let start = ScaledSum {
            coefficients: state.vector("start.coefficients", super::scaled_sum::COLUMNS)?,
            factors: state.vector("start.factors", n)?,
            components: state.array("start.components", None, Some(n))?,
            mean: singles.mean.clone(),
        };
        let points = state.array("memory.points", None, Some(n))?;
        let memory = Memory {
            weights: state.array("memory.weights", Some(points.nrows()), Some(n))?,
            width: saved.memory_width,
            points,
        };
        let mut members = Vec::new();
        for (number, &scale) in saved.scales.iter().enumerate() {
            let space = Space { components: state.array(&format!("space.{number}"), None, Some(n))?, scale };
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let (width, genes) = (space.components.nrows(), singles.n_genes());
            let mut net = Net::new(&Cpu::seed_from_u64(0), width, genes, &saved.config, &mut rng)?;
            state.fill(&format!("member.{number}"), &mut net)?;
            members.push(Member { net, space });
        }
        let (config, mixture) = (saved.config, saved.mixture);
        Ok(Self { genes: saved.genes.into(), config, singles, start, memory, members, mixture, history: Vec::new() })
    }
}
