//! A saved JEPA of level 0: its description, and its arrays beside the networks' weights.

use super::{
    CombinationConfig, CombinationModel, Mixture, UnseenChoice, member::Member, memory::Memory, net::Net,
    scaled_sum::ScaledSum, singles::Singles, space::Space, unseen::Unseen,
};
use crate::{
    Result,
    model::{
        arrays::{self, host, host_row},
        folder::{self, Header},
    },
    nn::{Checkpoint, Snapshot},
};
use dfdx::prelude::Cpu;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::path::Path;

const KIND: &str = "jepa";

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    header: Header,
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

impl CombinationModel {
    /// Writes the model to a folder: `model.json` and `model.safetensors`. Arrays are rounded to single precision.
    ///
    /// # Errors
    /// A folder that cannot be written; nothing is left half-written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let mut featured: Vec<(&String, &usize)> = self.singles.unseen.place.iter().collect();
        featured.sort_unstable_by_key(|(_, row)| **row);
        folder::write_description(
            dir,
            &Saved {
                header: Header::of(KIND),
                config: self.config.clone(),
                genes: self.genes.to_vec(),
                singles: self.singles.names.clone(),
                featured: featured.into_iter().map(|(gene, _)| gene.clone()).collect(),
                unseen: self.singles.unseen.choice.clone(),
                mixture: self.mixture,
                memory_width: self.memory.width,
                scales: self.members.iter().map(|member| member.space.scale).collect(),
            },
        )?;
        let mut arrays = Snapshot::default();
        for (name, array) in [
            ("singles", &self.singles.effects),
            ("unseen.features", &self.singles.unseen.features),
            ("unseen.map", &self.singles.unseen.map),
            ("start.components", &self.start.components),
            ("memory.points", &self.memory.points),
            ("memory.weights", &self.memory.weights),
        ] {
            arrays.insert(name, host(array));
        }
        for (name, row) in [
            ("unseen.mean", &self.singles.unseen.mean),
            ("start.coefficients", &self.start.coefficients),
            ("start.factors", &self.start.factors),
        ] {
            arrays.insert(name, host_row(row));
        }
        let mut file = Checkpoint::default();
        for (number, member) in self.members.iter().enumerate() {
            arrays.insert(format!("space.{number}"), host(&member.space.components));
            file.add(&format!("member.{number}"), Snapshot::of(&member.net)?);
        }
        file.add("arrays", arrays);
        file.write(&folder::weights(dir))
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, one of another kind or version, arrays that do not fit.
    pub fn load(dir: &Path) -> Result<Self> {
        let saved: Saved = folder::read_description(dir, KIND)?;
        let path = folder::finished_weights(dir)?;
        let mut file = Checkpoint::read(&path)?;
        Self::parts(saved, &mut file).map_err(|e| e.at(path.display()))
    }

    fn parts(saved: Saved, file: &mut Checkpoint) -> Result<Self> {
        let tensors = file.take("arrays");
        let n = saved.genes.len();
        let array = |name: &str, columns: Option<usize>| arrays::array(&tensors, name, columns);
        let row = |name: &str, columns: usize| arrays::row(&tensors, name, columns);
        let unseen = Unseen {
            place: saved.featured.into_iter().zip(0..).collect(),
            features: array("unseen.features", None)?,
            mean: row("unseen.mean", n)?,
            map: array("unseen.map", Some(n))?,
            choice: saved.unseen,
        };
        let singles = Singles::from_parts(saved.singles, array("singles", Some(n))?, unseen);
        let start = ScaledSum {
            coefficients: row("start.coefficients", super::scaled_sum::COLUMNS)?,
            factors: row("start.factors", n)?,
            components: array("start.components", Some(n))?,
            mean: singles.mean.clone(),
        };
        let memory = Memory {
            points: array("memory.points", Some(n))?,
            weights: array("memory.weights", Some(n))?,
            width: saved.memory_width,
        };
        let mut members = Vec::new();
        for (number, &scale) in saved.scales.iter().enumerate() {
            let space = Space { components: array(&format!("space.{number}"), Some(n))?, scale };
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let (width, genes) = (space.components.nrows(), singles.n_genes());
            let mut net = Net::new(&Cpu::seed_from_u64(0), width, genes, &saved.config, &mut rng)?;
            file.take(&format!("member.{number}")).restore(&mut net)?;
            members.push(Member { net, space });
        }
        let (config, mixture) = (saved.config, saved.mixture);
        Ok(Self { genes: saved.genes.into(), config, singles, start, memory, members, mixture, history: Vec::new() })
    }
}
