//! The combination model in the contract of all models: training, saving, restoring.

use super::{
    CombinationConfig, CombinationModel, CombinationSettings, Mixture, UnseenChoice,
    kernel_ridge::KernelRidge,
    network::{Member, Net, Space},
    scaled_sum::{COLUMNS, ScaledSum},
    singles::Singles,
    unseen::Unseen,
};
use crate::{
    Result,
    data::{Condition, DataKind, TrainingData},
    device::Device,
    model::{Abilities, Model, State, Trained},
    train::{History, Run},
};
use dfdx::prelude::Cpu;
use ndarray::Array2;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: CombinationConfig,
    genes: Vec<String>,
    /// Perturbed gene and context of each single effect.
    singles: Vec<(String, Option<String>)>,
    /// The genes with features.
    featured: Vec<String>,
    unseen: UnseenChoice,
    mixture: Mixture,
    kernel_width: f64,
    /// Scale of the scores of each network.
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
        vec![match (mixture.scaled_sum_l2, mixture.left_out_l2) {
            (Some(scaled_sum), Some(l2)) => format!(
                "left-out training combinations: L2 {scaled_sum:.3} of the scaled sum, {l2:.3} with {:.0} % of the kernel ridge \
                 and {:.0} % of the networks",
                100.0 * mixture.kernel_ridge,
                100.0 * mixture.network
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
            kernel_width: self.kernel_ridge.width,
            scales: self.ensemble.iter().map(|member| member.space.scale).collect(),
        })
        .with_array("singles", &self.singles.effects)
        .with_array("unseen.features", &unseen.features)
        .with_array("unseen.map", &unseen.map)
        .with_vector("unseen.mean", &unseen.mean)
        .with_vector("scaled_sum.coefficients", &self.scaled_sum.coefficients)
        .with_vector("scaled_sum.factors", &self.scaled_sum.factors)
        .with_array("scaled_sum.components", &self.scaled_sum.components)
        .with_array("kernel_ridge.points", &self.kernel_ridge.points)
        .with_array("kernel_ridge.weights", &self.kernel_ridge.weights);
        for (number, member) in self.ensemble.iter().enumerate() {
            state = state
                .with_array(&format!("space.{number}"), &member.space.components)
                .with_network(&format!("network.{number}"), &member.net)?;
        }
        Ok(state)
    }
}

impl Model for CombinationModel {
    const KIND: &'static str = "combination";
    const ABOUT: &'static str = "mean effects: a scaled sum of single effects, kernel ridge over similar combinations, and \
                                 optionally small networks, whose share is chosen and often zero";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Effects, DataKind::Cells];
    /// Each dose is a perturbation of its own.
    const TAKES_DOSES: bool = true;
    const TRAINS_ON_CUDA: bool = true;
    type Config = CombinationSettings;

    fn fit(data: &TrainingData, config: &Self::Config, run: &mut Run<'_>) -> Result<(Self, History)> {
        let model = Self::fit_table(&data.effects_with_validation()?, &config.model, run)?;
        let history = History::mean(model.history());
        Ok((model, history))
    }

    fn restore(state: State, _: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        saved.config.validate()?;
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
        let scaled_sum = ScaledSum {
            coefficients: state.vector("scaled_sum.coefficients", COLUMNS)?,
            factors: state.vector("scaled_sum.factors", n)?,
            components: state.array("scaled_sum.components", None, Some(n))?,
            mean: singles.mean.clone(),
        };
        let points = state.array("kernel_ridge.points", None, Some(n))?;
        let kernel_ridge = KernelRidge {
            weights: state.array("kernel_ridge.weights", Some(points.nrows()), Some(n))?,
            width: saved.kernel_width,
            points,
        };
        let mut ensemble = Vec::new();
        for (number, &scale) in saved.scales.iter().enumerate() {
            let space = Space { components: state.array(&format!("space.{number}"), None, Some(n))?, scale };
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let (width, genes) = (space.components.nrows(), singles.n_genes());
            let mut net = Net::new(&Cpu::seed_from_u64(0), width, genes, &saved.config, &mut rng)?;
            state.fill(&format!("network.{number}"), &mut net)?;
            ensemble.push(Member { net, space });
        }
        let (config, mixture) = (saved.config, saved.mixture);
        Ok(Self {
            genes: saved.genes.into(),
            config,
            singles,
            scaled_sum,
            kernel_ridge,
            ensemble,
            mixture,
            history: Vec::new(),
        })
    }
}
