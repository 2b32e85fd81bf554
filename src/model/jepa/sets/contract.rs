//! Levels 1 and 2 in the contract of all models: settings, training, saving, restoring.

use super::{
    Choice, Level, SetsConfig, SetsJepa,
    cells::{ENCODER, Latent},
    decoder::Decoder,
    members::{Member, Members},
    net::SetNet,
    offsets::Offsets,
    reference::Reference,
    shifts::{GeneTable, Shifts},
};
use crate::{
    Error, Result,
    data::{Condition, DataKind, Dataset, TrainingData, shuffle},
    device::Device,
    model::{Abilities, Generated, Model, ModelConfig, Sampling, State, Trained, jepa::CellJepa},
    train::{History, Run},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::{Deserialize, Serialize};

/// Level 1: trained on sets of cells.
pub type JepaSets = SetsJepa<false>;
/// Level 2: trained on pseudo-pairs of cells.
pub type JepaPairs = SetsJepa<true>;

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetsSettings<const PAIRS: bool> {
    /// The model; its trainings are the tables `model.pretraining`, `model.training` and `model.decoding`.
    pub model: SetsConfig,
}

impl<const PAIRS: bool> Default for SetsSettings<PAIRS> {
    fn default() -> Self {
        Self { model: if PAIRS { SetsConfig::pairs() } else { SetsConfig::sets() } }
    }
}

impl<const PAIRS: bool> ModelConfig for SetsSettings<PAIRS> {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        let SetsConfig { pretraining, training, decoding, .. } = &self.model;
        [pretraining, training, decoding].into_iter().try_for_each(|training| training.validate())?;
        if matches!(self.model.level, Level::Pairs(_)) != PAIRS {
            let kind = SetsJepa::<PAIRS>::KIND;
            return Err(Error::config(format!("level.kind is not that of {kind}; leave the table `level` out")));
        }
        self.model.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.model.training.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.model.training.seed
    }
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: SetsConfig,
    choice: Choice,
    /// s of each network.
    factors: Vec<f64>,
    /// Gene and context of each row of `shifts`.
    shifts: Vec<(String, Option<String>)>,
    shift_scale: f64,
    /// Whether the decoder's library counts genes that are not modelled.
    with_remainder: bool,
    offsets: Option<SavedOffsets>,
    /// The context of each control cell that predictions start from.
    contexts: Vec<Option<String>>,
}

/// What stands for each row of the offsets' arrays.
#[derive(Serialize, Deserialize)]
struct SavedOffsets {
    controls: Vec<Option<String>>,
    genes: Vec<(String, Option<String>)>,
    factor: f64,
}

impl<const PAIRS: bool> Trained for SetsJepa<PAIRS> {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities { cells: true, cells_from: true, ..Abilities::default() }
    }

    fn genes(&self) -> &[String] {
        self.latent.jepa.genes()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.shifts.table().knows(gene)
    }

    fn check(&self, conditions: &[Condition]) -> Result<()> {
        conditions.iter().try_for_each(|condition| self.shifts.members(condition).map(drop))
    }

    /// Each from a control cell of the training that the model keeps, with its library size; each of these is taken once
    /// before any is taken again.
    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        let here = |row: &usize| self.reference.contexts[*row] == condition.context;
        let mut rows: Vec<usize> = (0..self.reference.contexts.len()).filter(here).collect();
        if rows.is_empty() {
            return Err(Error::inapplicable(format!("{condition}: no control cell of its context was trained on")));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        shuffle(&mut rows, &mut rng);
        let rows: Vec<usize> = rows.into_iter().cycle().take(sampling.cells).collect();
        self.cells_from(&self.reference.data, &rows, condition, rng.next_u64())
    }

    fn cells_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Generated> {
        let values = self.counts(data, rows, condition, seed)?;
        let library_size = rows.iter().map(|&row| data.library_size[row]).collect();
        Ok(Generated { values, library_size, are_counts: true })
    }

    fn mean_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, _: u64) -> Result<Array1<f64>> {
        self.mean(data, rows, condition)
    }

    fn notes(&self) -> Vec<String> {
        let choice = self.choice();
        vec![format!(
            "left-out training combinations: {:.0} % of the departure is used, energy distance {:.3} of the scaled sum's",
            100.0 * choice.combinations,
            choice.error
        )]
    }

    fn choices(&self) -> serde_json::Value {
        serde_json::json!(self.choice())
    }

    fn state(&self) -> Result<State> {
        let (jepa, shifts) = (&self.latent.jepa, self.shifts.table());
        let offsets = self.offsets.as_ref().map(|offsets| SavedOffsets {
            controls: offsets.controls.keys().cloned().collect(),
            genes: offsets.genes.names(),
            factor: offsets.factor,
        });
        let wide = |values: &Array1<f32>| values.mapv(f64::from);
        let mut state = State::new(&Description {
            config: self.config.clone(),
            choice: self.members.choice,
            factors: self.members.members.iter().map(|member| member.factor).collect(),
            shifts: shifts.names(),
            shift_scale: self.shifts.scale(),
            with_remainder: self.decoder.with_remainder(),
            offsets,
            contexts: self.reference.contexts.clone(),
        })
        .with_part(ENCODER, CellJepa::KIND, jepa.state()?)
        .with_vector("latent.mean", &wide(&self.latent.mean))
        .with_vector("latent.scale", &wide(&self.latent.scale))
        .with_array("shifts", &shifts.vectors())
        .with_array("reference.counts", &self.reference.data.counts.to_dense().mapv(f64::from))
        .with_vector("reference.library", &self.reference.data.library_size.iter().copied().map(f64::from).collect());
        if let Some(offsets) = &self.offsets {
            state = state
                .with_rows("offsets.controls", self.genes, offsets.controls.values())
                .with_array("offsets.genes", &offsets.genes.vectors());
        }
        for (number, member) in self.members.members.iter().enumerate() {
            state = state.with_network(&format!("member.{number}"), &member.net)?;
        }
        self.decoder.add_to(state)
    }
}

impl<const PAIRS: bool> Model for SetsJepa<PAIRS> {
    const KIND: &'static str = if PAIRS { "jepa-pairs" } else { "jepa-sets" };
    const ABOUT: &'static str = if PAIRS {
        "the JEPA on pairs of cells: control cells moved in embedding space, paired by optimal transport"
    } else {
        "the JEPA on sets of cells: control cells moved in embedding space, trained by a set distance"
    };
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    type Config = SetsSettings<PAIRS>;

    fn fit(data: &TrainingData, config: &SetsSettings<PAIRS>, run: &mut Run<'_>) -> Result<(Self, History)> {
        config.validate()?;
        let cells = data
            .cells
            .as_ref()
            .ok_or_else(|| Error::inapplicable("an effects dataset has no cells to take sets of"))?;
        let model = Self::fit_cells(cells, &config.model, run)?;
        let history = History::mean(model.histories());
        Ok((model, history))
    }

    fn restore(mut state: State, device: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        SetsSettings::<PAIRS> { model: saved.config.clone() }.validate()?;
        let jepa = CellJepa::restore(state.part(ENCODER, CellJepa::KIND)?, device)?;
        let (width, genes) = (jepa.config().width, jepa.genes().len());
        let narrow = |vector: Array1<f64>| vector.mapv(|value| value as f32);
        let latent = Latent {
            mean: narrow(state.vector("latent.mean", width)?),
            scale: narrow(state.vector("latent.scale", width)?),
            jepa,
        };
        let table = |name: &str, names: &[(String, Option<String>)], width: usize| {
            Ok::<_, Error>(GeneTable::from_rows(names, &state.array(name, Some(names.len()), Some(width))?))
        };
        let shifts = Shifts::from_parts(table("shifts", &saved.shifts, width)?, saved.shift_scale);
        let mut members = Vec::new();
        for (number, &factor) in saved.factors.iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let mut net = SetNet::untrained(&Cpu::seed_from_u64(0), width, shifts.len(), &saved.config, &mut rng)?;
            state.fill(&format!("member.{number}"), &mut net)?;
            members.push(Member { net, factor });
        }
        let decoder = Decoder::restored((width, saved.config.decoder, genes), saved.with_remainder, &state)?;
        let offsets = saved.offsets.map(|offsets| {
            let rows = state.array("offsets.controls", Some(offsets.controls.len()), Some(genes))?;
            let controls = offsets.controls.into_iter().zip(rows.rows().into_iter().map(|row| row.to_owned()));
            let table = table("offsets.genes", &offsets.genes, genes)?;
            Ok::<_, Error>(Offsets { controls: controls.collect(), genes: table, factor: offsets.factor })
        });
        let counts: Array2<f32> =
            state.array("reference.counts", Some(saved.contexts.len()), Some(genes))?.mapv(|count| count as f32);
        let library = narrow(state.vector("reference.library", saved.contexts.len())?).to_vec();
        Ok(Self {
            reference: Reference::from_parts(&counts, latent.jepa.genes(), library, saved.contexts)?,
            latent,
            shifts,
            members: Members { members, choice: saved.choice, histories: Vec::new() },
            decoder,
            offsets: offsets.transpose()?,
            drawing: saved.config.drawing,
            genes,
            config: saved.config,
        })
    }
}
