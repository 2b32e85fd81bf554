//! Levels 1 and 2 as users meet them: fitted to training cells, asked for the cells and the effect of a condition.

use super::{
    Drawing, SetsConfig,
    cells::{Cells, Latent},
    decoder::Decoder,
    members::{Members, Places},
    offsets::Offsets,
    reference::Reference,
    shifts::Shifts,
};
use crate::{
    Error, Result,
    data::{Condition, Dataset, Perturbation, TrainingCells, shuffle},
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

/// What was chosen inside the training fold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// s, the factor on the sum of a combination's shifts: the mean over the folds.
    pub factor: f64,
    /// Share of the departure that is used for a combination.
    pub combinations: f64,
    /// Energy distance of the left-out combinations with it, as a share of that of the scaled sum; 1 where none was.
    pub error: f64,
    /// Share of the departure that is used for a single perturbation.
    pub singles: f64,
    /// Energy distance of the cells put aside with it, as a share of that of the shift.
    pub error_of_singles: f64,
}

/// A fitted JEPA of level 2 (`PAIRS`) or 1: see the equations of its module.
pub struct SetsJepa<const PAIRS: bool> {
    pub(super) latent: Latent,
    pub(super) shifts: Shifts,
    pub(super) members: Members,
    pub(super) decoder: Decoder,
    pub(super) offsets: Option<Offsets>,
    pub(super) drawing: Drawing,
    pub(super) genes: usize,
    pub(super) reference: Reference,
    pub(super) config: SetsConfig,
}

impl<const PAIRS: bool> SetsJepa<PAIRS> {
    /// Fits to the training cells; each part is trained in a folder of its own within that of `run`.
    pub(super) fn fit_cells(training: &TrainingCells, config: &SetsConfig, run: &Run<'_>) -> Result<Self> {
        let (data, conditions, split, seed) = (&*training.data, &training.conditions, &training.split, run.seed);
        let perturbed = |&row: &usize| !conditions[row].perturbation.is_control();
        if split.train.iter().all(perturbed) {
            return Err(Error::inapplicable("no control cell was trained on"));
        }
        if !split.train.iter().any(perturbed) {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        let seeded = |training: &TrainConfig| TrainConfig { seed, ..training.clone() };
        let (latent, z) = Latent::pretrain(data, split, &config.cell, &seeded(&config.pretraining), run)?;
        let cells = Cells::new(&split.train, conditions, z);
        let shifts = Shifts::of(&cells);
        let (kept, aside) = divided(&cells, config.put_aside, seed);
        let members = Members::fit(&cells, &shifts, (&kept, &aside), config, split, run)?;
        let listed = |places: &Places| places.values().flatten().map(|&place| (cells.rows[place], place)).collect();
        let decoding = seeded(&config.decoding);
        let decoder = Decoder::fit(data, &cells.z, (listed(&kept), listed(&aside)), config.decoder, &decoding, run)?;
        let offsets =
            config.offsets.then(|| Offsets::fit(data, &cells, &shifts, &members, &decoder, run)).transpose()?;
        let reference = Reference::of(data, conditions, &split.train, seed)?;
        let (drawing, config) = (config.drawing, config.clone());
        Ok(Self { latent, shifts, members, decoder, offsets, drawing, genes: data.n_genes(), reference, config })
    }

    /// The settings.
    pub fn config(&self) -> &SetsConfig {
        &self.config
    }

    /// What was chosen inside the training fold.
    pub fn choice(&self) -> Choice {
        self.members.choice
    }

    /// How each network of the departure was trained.
    pub fn histories(&self) -> &[History] {
        &self.members.histories
    }

    /// Standardised embeddings of the cells `rows`, `(rows, width)`.
    ///
    /// # Errors
    /// No cells; other genes than those of the training.
    pub fn standardised(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.latent.embed(data, rows)
    }

    /// The embeddings that control cells `h` `(cells, width)` have under a condition, `(cells, width)`.
    ///
    /// # Errors
    /// Genes that were never perturbed alone in training, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn moved(&self, h: &Array2<f32>, condition: &Condition) -> Result<Array2<f32>> {
        self.members.moved(h, &self.shifts, condition)
    }

    /// Counts of cells of a condition from the control cells `rows`, with their library sizes, `(rows, genes)`.
    ///
    /// # Errors
    /// As [`Self::standardised`] and [`Self::moved`].
    pub fn counts(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Array2<f32>> {
        let h = self.standardised(data, rows)?;
        let (moved, offset) = (self.moved(&h, condition)?, self.offset(condition)?);
        let control = Condition { perturbation: Perturbation::control(), context: condition.context.clone() };
        let before = self.offset(&control)?;
        let control = (self.drawing == Drawing::FromControl).then_some((&h, &before));
        self.decoder.counts((&moved, &offset), control, data, rows, seed)
    }

    /// What is added to the decoder's logits, `(genes,)`.
    fn offset(&self, condition: &Condition) -> Result<Array1<f64>> {
        match &self.offsets {
            Some(offsets) => offsets.of(condition),
            None => Ok(Array1::zeros(self.genes)),
        }
    }

    /// Mean log-normalised expression that is expected of the control cells `rows` under a condition, `(genes,)`.
    ///
    /// # Errors
    /// As [`Self::counts`].
    pub fn mean(&self, data: &Dataset, rows: &[usize], condition: &Condition) -> Result<Array1<f64>> {
        let moved = self.moved(&self.standardised(data, rows)?, condition)?;
        self.decoder.expected(&moved, &self.offset(condition)?, data, rows)
    }
}

/// The cells of each condition in two parts: those to train on and a seeded share put aside, which may be empty.
fn divided(cells: &Cells, share: f64, seed: u64) -> (Places, Places) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut kept, mut aside) = (Places::new(), Places::new());
    for (condition, places) in &cells.places {
        let mut places = places.clone();
        shuffle(&mut places, &mut rng);
        let rest = places.split_off((share * places.len() as f64) as usize);
        aside.insert(condition.clone(), places);
        kept.insert(condition.clone(), rest);
    }
    aside.retain(|_, places| !places.is_empty());
    (kept, aside)
}
