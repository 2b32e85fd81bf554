//! What a latent diffusion of cells can be asked: cells of a condition, what a cell would be under another condition, and how sure
//! the answer is.

use super::LatentDiffusion;
use crate::{
    Error, Result,
    data::{Condition, Dataset},
    model::{
        CellCovariates, Generated,
        latent_diffusion::{space::Decoded, spread::Novelty},
    },
};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Cells by which the mean is matched to the wanted one.
const MATCHED: usize = 128;
/// Cells that are decoded at once.
const BLOCK: usize = 512;

/// Where the library sizes of drawn cells come from.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Library {
    /// Those of control cells of the context.
    #[default]
    Sampled,
    /// The same for every cell, in counts over all measured genes.
    Given(f32),
}

/// Which sources of uncertainty are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncertain {
    /// Cells differ from each other; their mean is the predicted one (aleatoric).
    #[default]
    Cells,
    /// The mean is drawn, too, once for all cells (epistemic as well).
    CellsAndMean,
}

/// What to draw.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Draw {
    /// Number of cells.
    pub cells: usize,
    /// Where their library sizes come from.
    pub library: Library,
    /// What is drawn beside the cells.
    pub uncertain: Uncertain,
}

/// How sure a prediction is, gene by gene, in log-normalised units.
#[derive(Debug, Clone)]
pub struct Uncertainty {
    /// Variance between the cells of the condition, `(genes,)` (aleatoric).
    pub aleatoric: Array1<f64>,
    /// Variance of the predicted mean, `(genes,)` (epistemic); `None` where the mean was measured in training, or where
    /// too little was trained on to know.
    pub epistemic: Option<Array1<f64>>,
}

/// A condition, ready to be drawn from.
struct Ready {
    points: Array2<f32>,
    carriers: Vec<CellCovariates>,
    offset: Array1<f64>,
    wanted: Array1<f64>,
    /// The cells that the offset was found by.
    matched: Decoded,
}

impl LatentDiffusion {
    /// Draws cells of a condition.
    ///
    /// # Errors
    /// Genes that nothing is known of, all named; a context without training control cells; a library size that is not
    /// positive; a draw of the mean where its spread is not known.
    pub fn sample(&self, condition: &Condition, draw: Draw, seed: u64) -> Result<Generated> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ready = self.ready(condition, draw.cells, draw.library, &mut rng)?;
        let mut offset = ready.offset.clone();
        if draw.uncertain == Uncertain::CellsAndMean {
            let drawn = self.mean_draws(condition, 1, rng.next_u64())?;
            let home = self.atlas.home(condition)?;
            let other = (&drawn.row(0) + &home.profile).mapv(|mean| mean.max(0.0));
            offset = offset + ready.matched.offset_between(&ready.wanted, &other);
        }
        let mut blocks = Vec::new();
        let mut library_size = Vec::new();
        let mut are_counts = true;
        for start in (0..draw.cells).step_by(BLOCK) {
            let end = (start + BLOCK).min(draw.cells);
            let carriers = &ready.carriers[start..end];
            let points = ready.points.slice(s![start..end, ..]).to_owned();
            let decoded = self.space.decode(&points, &condition.perturbation, carriers)?;
            let drawn = decoded.draw(&offset, carriers, &mut rng);
            are_counts = drawn.are_counts;
            library_size.extend(drawn.library_size);
            blocks.push(drawn.values);
        }
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        let values = match views.is_empty() {
            true => Array2::zeros((0, ready.wanted.len())),
            false => concatenate(Axis(0), &views).expect("every block has the model's genes"),
        };
        Ok(Generated { values, library_size, are_counts })
    }

    /// Points of a condition and the offset with which their mean is the wanted one. At least [`MATCHED`] points are
    /// drawn, so that a small sample's noise is not mistaken for a shift of the mean.
    fn ready(&self, condition: &Condition, cells: usize, library: Library, rng: &mut ChaCha8Rng) -> Result<Ready> {
        self.check(condition)?;
        if let Library::Given(size) = library
            && (!size.is_finite() || size <= 0.0)
        {
            return Err(Error::config(format!("the library size is {size}; it must be a positive number of counts")));
        }
        let home = self.atlas.home(condition)?;
        let n = cells.max(MATCHED);
        let told = self.atlas.told(condition)?;
        let told = told.insert_axis(Axis(0)).select(Axis(0), &vec![0; n]);
        let center = self.atlas.center(condition)?;
        let points = (self.generator.draw(&told, rng.next_u64())?.mapv(f64::from) + &center).mapv(|z| z as f32);
        let mut carriers: Vec<CellCovariates> =
            (0..n).map(|_| home.carriers[rng.random_range(0..home.carriers.len())].clone()).collect();
        if let Library::Given(size) = library {
            for carrier in &mut carriers {
                carrier.size_factor *= size / carrier.library_size;
                carrier.library_size = size;
            }
        }
        let first = points.slice(s![..MATCHED, ..]).to_owned();
        let matched = self.space.decode(&first, &condition.perturbation, &carriers[..MATCHED])?;
        let wanted = self.wanted(condition, &matched, &carriers[..MATCHED])?;
        let offset = matched.offset_to(&wanted, &carriers[..MATCHED]);
        Ok(Ready { points, carriers, offset, wanted, matched })
    }

    /// The mean that cells of a condition shall have, `(genes,)`: for one that was trained on between what was observed
    /// and what the decoder says of it (means of few cells are noisy), else that of control and the predicted effect.
    fn wanted(&self, condition: &Condition, decoded: &Decoded, carriers: &[CellCovariates]) -> Result<Array1<f64>> {
        if let Some(trained) = self.atlas.trained.get(condition) {
            let share = trained.cells as f64 / (trained.cells as f64 + self.config.trust);
            let said = decoded.expected(&Array1::zeros(trained.profile.len()), carriers);
            return Ok(&said + &((&trained.profile - &said) * share));
        }
        let home = self.atlas.home(condition)?;
        Ok((&home.profile + &self.atlas.combination.effect(condition)?).mapv(|mean| mean.max(0.0)))
    }

    /// The predicted mean effect of a condition, `(genes,)`: of the cells that would be drawn, less control's.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn effect(&self, condition: &Condition, seed: u64) -> Result<Array1<f64>> {
        let ready = self.ready(condition, 0, Library::Sampled, &mut ChaCha8Rng::seed_from_u64(seed))?;
        let mean = ready.matched.expected(&ready.offset, &ready.carriers[..MATCHED]);
        Ok(mean - &self.atlas.home(condition)?.profile)
    }

    /// Draws of the mean effect of a condition, `(n, genes)`: how far the prediction of the mean may be off.
    ///
    /// # Errors
    /// A condition whose mean was measured in training; a spread that is not known:
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn mean_draws(&self, condition: &Condition, n: usize, seed: u64) -> Result<Array2<f64>> {
        self.check(condition)?;
        let Some(novelty) = self.novelty(condition) else {
            return Err(Error::inapplicable(format!("{condition} was trained on: its mean is the measured one")));
        };
        let spread = self.spread.as_ref().map_err(|reason| Error::inapplicable(reason.clone()))?;
        spread.draws(self.atlas.combination.effect(condition)?.view(), novelty, n, seed)
    }

    /// How sure the prediction of a condition is, from `cells` drawn cells and as many draws of the mean.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn uncertainty(&self, condition: &Condition, cells: usize, seed: u64) -> Result<Uncertainty> {
        let draw = Draw { cells: cells.max(2), ..Draw::default() };
        let drawn = self.sample(condition, draw, seed)?.log_normalised().mapv(f64::from);
        let epistemic = match self.novelty(condition).is_some() && self.spread.is_ok() {
            true => Some(self.mean_draws(condition, cells.max(2), seed)?.var_axis(Axis(0), 1.0)),
            false => None,
        };
        Ok(Uncertainty { aleatoric: drawn.var_axis(Axis(0), 1.0), epistemic })
    }

    /// What each of the cells `rows`, of condition `from`, would be under `to`: its point is taken back to the noise that
    /// it came from and drawn again from there, its lane and library size are kept. Expected values, `(rows, genes)`:
    /// counts (or log-normalised expression in expression space).
    ///
    /// # Errors
    /// As [`Self::sample`]; no cells, or genes that are not the model's.
    pub fn counterfactual(
        &self,
        data: &Dataset,
        rows: &[usize],
        (from, to): (&Condition, &Condition),
        seed: u64,
    ) -> Result<Array2<f32>> {
        self.check(from)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ready = self.ready(to, 0, Library::Sampled, &mut rng)?;
        let (z, carriers) = self.space.points(data, rows, &mut rng)?;
        let repeated = |told: Array1<f32>| told.insert_axis(Axis(0)).select(Axis(0), &vec![0; rows.len()]);
        let (told_from, told_to) = (repeated(self.atlas.told(from)?), repeated(self.atlas.told(to)?));
        let around = (z.mapv(f64::from) - &self.atlas.center(from)?).mapv(|z| z as f32);
        let moved = self.generator.counterfactual(&around, &told_from, &told_to)?;
        let points = (moved.mapv(f64::from) + &self.atlas.center(to)?).mapv(|z| z as f32);
        Ok(self.space.decode(&points, &to.perturbation, &carriers)?.mean(&ready.offset, &carriers))
    }

    /// Refuses a condition that nothing is known of.
    fn check(&self, condition: &Condition) -> Result<()> {
        if !condition.perturbation.is_control() && !self.atlas.trained.contains_key(condition) {
            self.atlas.combination.check(std::slice::from_ref(condition))?;
        }
        self.atlas.home(condition).map(|_| ())
    }

    /// Why the mean of a condition has to be predicted; `None` where it was measured.
    pub fn novelty(&self, condition: &Condition) -> Option<Novelty> {
        if condition.perturbation.is_control() || self.atlas.trained.contains_key(condition) {
            return None;
        }
        let perturbed: BTreeSet<&String> = self.atlas.combination.perturbed().collect();
        let unseen = condition.perturbation.genes().iter().any(|gene| !perturbed.contains(gene));
        Some(if unseen { Novelty::UnseenGene } else { Novelty::Combination })
    }
}
