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
    data::{Condition, Dataset, Perturbation, Split, shuffle},
    model::NORMALISED_TOTAL,
    train::{History, TrainConfig},
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

/// A fitted JEPA of level 1 or 2: see the equations of its module.
pub struct SetsJepa {
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

impl SetsJepa {
    /// Fits to the training cells of `split`; `conditions` is that of each cell of `data`, control's too. No other cell
    /// is looked at.
    ///
    /// # Errors
    /// Settings that cannot train; no training cell of control or of a perturbation; embeddings that collapse; a loss
    /// that is not finite.
    pub fn fit(
        data: &Dataset,
        conditions: &[Condition],
        split: &Split,
        config: &SetsConfig,
        seed: u64,
    ) -> Result<Self> {
        config.validate()?;
        if conditions.len() != data.n_cells() {
            let (given, cells) = (conditions.len(), data.n_cells());
            return Err(Error::data(format!("{given} conditions were given for {cells} cells; give one for each")));
        }
        split.refuse_test_cells("the training of a JEPA of sets", &split.train)?;
        let perturbed = |&row: &usize| !conditions[row].perturbation.is_control();
        if split.train.iter().all(perturbed) {
            return Err(Error::inapplicable("no control cell was trained on"));
        }
        if !split.train.iter().any(perturbed) {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        let seeded = |training: &TrainConfig| TrainConfig { seed, ..training.clone() };
        let (latent, z) = Latent::pretrain(data, split, &config.cell, &seeded(&config.pretraining))?;
        let cells = Cells::new(&split.train, conditions, z);
        let shifts = Shifts::of(&cells);
        let (kept, aside) = divided(&cells, config.put_aside, seed);
        let members = Members::fit(&cells, &shifts, (&kept, &aside), config, split, seed)?;
        let listed = |places: &Places| places.values().flatten().map(|&place| (cells.rows[place], place)).collect();
        let decoding = seeded(&config.decoding);
        let decoder = Decoder::fit(data, &cells.z, listed(&kept), listed(&aside), config.decoder, &decoding)?;
        let offsets = config.offsets.then(|| Offsets::fit(data, &cells, &shifts, &members, &decoder)).transpose()?;
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
    pub fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.latent.embed(data, rows)
    }

    /// The embeddings that control cells `h` `(cells, width)` have under a condition, `(cells, width)`.
    ///
    /// # Errors
    /// Genes that were never perturbed alone in training, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn moved(&self, h: &Array2<f32>, condition: &Condition) -> Result<Array2<f32>> {
        self.members.moved(h, &self.shifts, condition)
    }

    /// Log-normalised cells of a condition from the control cells `rows`, `(rows, genes)`.
    ///
    /// # Errors
    /// As [`Self::embed`] and [`Self::moved`].
    pub fn cells(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Array2<f32>> {
        let mut cells = self.counts(data, rows, condition, seed)?;
        for (mut cell, &row) in cells.rows_mut().into_iter().zip(rows) {
            let scale = NORMALISED_TOTAL / data.library_size[row].max(1.0);
            cell.mapv_inplace(|count| (count * scale).ln_1p());
        }
        Ok(cells)
    }

    /// Counts of cells of a condition from the control cells `rows`, with their library sizes, `(rows, genes)`.
    ///
    /// # Errors
    /// As [`Self::embed`] and [`Self::moved`].
    pub fn counts(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Array2<f32>> {
        let h = self.embed(data, rows)?;
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
    /// As [`Self::cells`].
    pub fn mean(&self, data: &Dataset, rows: &[usize], condition: &Condition) -> Result<Array1<f64>> {
        let moved = self.moved(&self.embed(data, rows)?, condition)?;
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
