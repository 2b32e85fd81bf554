//! Training cells in embedding space, by condition.

use crate::{
    Error, Result,
    data::{Condition, Dataset, Perturbation, Split},
    device::Device,
    model::jepa::{CellJepa, CellJepaConfig},
    train::{Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis};
use std::collections::BTreeMap;

/// An embedding that varies less than this over cells (as a share of the mean variance) is not scaled up: it is noise of
/// the arithmetic.
const LEAST_VARIANCE: f64 = 1e-6;

/// The part of a model that embeds cells.
pub(super) const ENCODER: &str = "encoder";

/// A pretrained encoder, and the moments that standardise its embeddings.
pub(super) struct Latent {
    pub jepa: CellJepa,
    pub mean: Array1<f32>,
    pub scale: Array1<f32>,
}

impl Latent {
    /// Pretrains on the training cells of `split`.
    ///
    /// # Errors
    /// Those of the pretraining; a collapse of the embeddings is one.
    pub fn pretrain(
        data: &Dataset,
        split: &Split,
        config: &CellJepaConfig,
        training: &TrainConfig,
        run: &Run<'_>,
    ) -> Result<(Self, Array2<f32>)> {
        let mut jepa = CellJepa::new(data, split, config.clone(), training.seed, Device::Cpu)?;
        let fold = Split { train: split.train.clone(), validation: Vec::new(), test: Vec::new() };
        jepa.fit_with(data, &fold, training, &mut run.part(ENCODER))?;
        let z = jepa.embed_rows(data, &split.train, jepa.reader())?;
        let mean = z.mean_axis(Axis(0)).expect("embed_rows refuses no cells");
        let variance = z.mapv(f64::from).var_axis(Axis(0), 0.0);
        let least = (variance.mean().unwrap_or(0.0) * LEAST_VARIANCE).max(f64::MIN_POSITIVE);
        let scale = variance.mapv(|v| (1.0 / v.max(least).sqrt()) as f32);
        let latent = Self { jepa, mean, scale };
        let z = latent.standardised(z);
        Ok((latent, z))
    }

    /// Standardised embeddings of the cells `rows`, `(rows, width)`.
    ///
    /// # Errors
    /// No cells; other genes than those of the training.
    pub fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        Ok(self.standardised(self.jepa.embed_rows(data, rows, self.jepa.reader())?))
    }

    fn standardised(&self, z: Array2<f32>) -> Array2<f32> {
        (z - &self.mean) * &self.scale
    }
}

/// The training cells.
pub(super) struct Cells {
    /// Row of the dataset of each cell.
    pub rows: Vec<usize>,
    /// Standardised embeddings, `(cells, width)`.
    pub z: Array2<f32>,
    /// Places into `rows` of the cells of each condition, those of control too.
    pub places: BTreeMap<Condition, Vec<usize>>,
}

impl Cells {
    /// The cells `rows` of a dataset whose cells have these `conditions`.
    pub fn new(rows: &[usize], conditions: &[Condition], z: Array2<f32>) -> Self {
        let mut places: BTreeMap<Condition, Vec<usize>> = BTreeMap::new();
        for (place, &row) in rows.iter().enumerate() {
            places.entry(conditions[row].clone()).or_default().push(place);
        }
        Self { rows: rows.to_vec(), z, places }
    }

    /// The control cells of a context.
    ///
    /// # Errors
    /// There is none: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn controls(&self, context: Option<&str>) -> Result<&[usize]> {
        let control = Condition { perturbation: Perturbation::control(), context: context.map(str::to_owned) };
        self.places.get(&control).map(Vec::as_slice).ok_or_else(|| {
            let place = context.map_or_else(String::new, |context| format!(" in {context}"));
            Error::inapplicable(format!("no control cell{place} was trained on"))
        })
    }

    /// Mean embedding of some cells, `(width,)`.
    pub fn mean(&self, places: &[usize]) -> Array1<f64> {
        let mut sum = Array1::<f64>::zeros(self.z.ncols());
        for &place in places {
            sum.zip_mut_with(&self.z.row(place), |sum, &z| *sum += f64::from(z));
        }
        sum / places.len().max(1) as f64
    }

    /// Squared length that noise alone gives the mean embedding of some cells: the sum over features of their variance,
    /// over their number. 0 for a single cell, of which nothing is known.
    pub fn noise(&self, places: &[usize]) -> f64 {
        let n = places.len();
        if n < 2 {
            return 0.0;
        }
        let mean = self.mean(places);
        let square = |&place: &usize| -> f64 {
            self.z.row(place).iter().zip(&mean).map(|(&z, mean)| (f64::from(z) - mean).powi(2)).sum()
        };
        places.iter().map(square).sum::<f64>() / ((n - 1) * n) as f64
    }

    /// How a condition moves the mean embedding, `(width,)`; `None` without cells of it or of its control.
    pub fn shift(&self, condition: &Condition) -> Option<Array1<f64>> {
        let perturbed = self.places.get(condition)?;
        let controls = self.controls(condition.context.as_deref()).ok()?;
        Some(self.mean(perturbed) - self.mean(controls))
    }
}
