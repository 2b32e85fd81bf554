//! Predictions of a count VAE: latents and conditions in, distributions of counts out.

use super::{
    batch::ConditionBatch,
    config::Likelihood,
    encoding::EncodedPerturbations,
    inspect::{CellCovariates, EVALUATION_BATCH, HostPosterior},
    log1p::Log1p,
    model::{CountVae, on_device},
    net::{Decoded, VaeNet},
};
use crate::{
    Error, Result,
    data::{DataKind, Dataset, Perturbation},
    model::Generated,
    nn::{Backend, IndexSets, ops},
};
use dfdx::prelude::NoneTape;
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, concatenate, parallel::prelude::*};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Normal, Poisson};
use std::sync::Arc;

impl CountVae {
    /// `p(x|z, c)` for latents `z`, `(cells, latent)`: every prediction of this model is made here.
    fn decode(&self, conditions: &ConditionBatch, z: &Array2<f32>) -> Result<CountModel> {
        on_device!(&self.net, net => {
            let condition = net.condition(conditions, NoneTape)?;
            CountModel::of(net, net.decode(ops::upload(net.device(), z)?, condition)?)
        })
    }

    /// What the model expects of each cell, `(cells, genes)`: counts at the cell's own library size (count decoders),
    /// or log1p-normalised expression (Gaussian decoder).
    ///
    /// # Errors
    /// As [`Self::latents`].
    pub fn reconstruct(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.over_cells(data, rows, |batch| {
            let decoded = self.decode(&batch.condition, &self.posterior(batch)?.mu)?;
            Ok(decoded.mean(&batch.library_size, self.with_remainder))
        })
    }

    /// What the model expects of each cell under `perturbation`: its latent, library size, lane and other covariates are kept,
    /// its perturbation is changed. `(cells, genes)`, in the units of [`Self::reconstruct`].
    ///
    /// # Errors
    /// As [`Self::latents`], and a perturbation of genes never perturbed in training.
    pub fn counterfactual(&self, data: &Dataset, rows: &[usize], perturbation: &Perturbation) -> Result<Array2<f32>> {
        let given = self.vocabulary.encode(perturbation)?;
        self.over_cells(data, rows, |batch| {
            let changed = batch.condition.with_perturbed(&given);
            let decoded = self.decode(&changed, &self.posterior(batch)?.mu)?;
            Ok(decoded.mean(&batch.library_size, self.with_remainder))
        })
    }

    /// What the model expects of each cell if `shift` `(latent,)` is added to its latent: every cell is read and decoded as
    /// a control cell, so that the shift alone is the perturbation. `(cells, genes)`, in the units of
    /// [`Self::reconstruct`]; [`LatentShifts`](crate::predict::LatentShifts) gives the shifts of perturbations.
    ///
    /// # Errors
    /// As [`Self::latents`]; a shift of another length.
    pub fn shifted(&self, data: &Dataset, rows: &[usize], shift: &Array1<f32>) -> Result<Array2<f32>> {
        self.check_shift(shift)?;
        self.over_cells(data, rows, |batch| {
            let control = batch.as_control();
            let decoded = self.decode(&control.condition, &(self.posterior(&control)?.mu + shift))?;
            Ok(decoded.mean(&batch.library_size, self.with_remainder))
        })
    }

    fn check_shift(&self, shift: &Array1<f32>) -> Result<()> {
        match shift.len() == self.config.latent {
            true => Ok(()),
            false => Err(Error::shape("shift of latents, and latents", shift.len(), self.config.latent)),
        }
    }

    /// Draws one new cell for each of the cells `rows`: the cell is read as control, its latent is drawn from the
    /// posterior, `shift` `(latent,)` is added, and counts are drawn from the decoder's distribution under `perturbation`,
    /// at the cell's own library size and lane. `(rows, genes)`.
    ///
    /// Without a shift this is the conditional way to perturb a control cell; with the shift of a perturbation, decoded
    /// as control, it is the latent arithmetic of scGen (Lotfollahi et al. 2019). The same `rows` and `seed` start from the
    /// same latents, whatever the perturbation.
    ///
    /// # Errors
    /// As [`Self::latents`]; a perturbation of genes never perturbed in training; a shift of another length.
    pub fn sample_from(
        &self,
        data: &Dataset,
        rows: &[usize],
        perturbation: &Perturbation,
        shift: Option<&Array1<f32>>,
        seed: u64,
    ) -> Result<Generated> {
        shift.map_or(Ok(()), |shift| self.check_shift(shift))?;
        let given = self.vocabulary.encode(perturbation)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values = self.over_cells(data, rows, |batch| {
            let control = batch.as_control();
            let mut z = self.posterior(&control)?.draw(&mut rng); // (rows, latent)
            if let Some(shift) = shift {
                z += shift;
            }
            let decoded = self.decode(&control.condition.with_perturbed(&given), &z)?;
            Ok(sample_counts(&decoded, &batch.library_size, self.with_remainder, &mut rng))
        })?;
        let library_size = rows.iter().map(|&row| data.library_size[row]).collect();
        Ok(Generated { values, library_size, are_counts: self.draws_counts() })
    }

    /// Draws `cells` cells under `perturbation`: the latent, library size and lane of control cells that the model
    /// keeps, decoded with the perturbation, then counts drawn from the decoder's distribution.
    ///
    /// # Errors
    /// A perturbation of genes never perturbed in training; a model of effects, or one that is not trained.
    pub fn sample(&self, perturbation: &Perturbation, cells: usize, seed: u64) -> Result<Generated> {
        let given = self.vocabulary.encode(perturbation)?;
        self.check_learned_from(DataKind::Cells)?;
        let reference = self.reference()?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut generated = Generated { are_counts: self.draws_counts(), ..Generated::default() };
        let mut blocks = Vec::new();
        for start in (0..cells).step_by(EVALUATION_BATCH) {
            let n = EVALUATION_BATCH.min(cells - start);
            let chosen: Vec<usize> = (0..n).map(|_| rng.random_range(0..reference.covariates.len())).collect();
            let covariates: Vec<CellCovariates> = chosen.iter().map(|&i| reference.covariates[i].clone()).collect();
            let of_chosen = HostPosterior {
                mu: reference.posterior.mu.select(Axis(0), &chosen),
                logvar: reference.posterior.logvar.select(Axis(0), &chosen),
            };
            let z = of_chosen.draw(&mut rng);
            let decoded = self.decode(&self.conditions(&given, &covariates), &z)?;
            let sizes: Vec<f32> = covariates.iter().map(|cell| cell.size_factor).collect();
            blocks.push(sample_counts(&decoded, &sizes, self.with_remainder, &mut rng));
            generated.library_size.extend(covariates.iter().map(|cell| cell.library_size));
        }
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        generated.values = match views.is_empty() {
            true => Array2::zeros((0, self.vocabulary.genes.len())),
            false => concatenate(Axis(0), &views).expect("every block has the model's genes"),
        };
        Ok(generated)
    }

    /// Mean log1p-normalised expression that the model predicts under `perturbation`, `(genes,)`, over `cells` drawn
    /// cells. Calls with the same seed start from the same control cells, so that differences between perturbations
    /// do not contain the noise of that choice.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn predict_mean(&self, perturbation: &Perturbation, cells: usize, seed: u64) -> Result<Array1<f32>> {
        let normalised = self.sample(perturbation, cells.max(1), seed)?.log_normalised();
        Ok(normalised.mean_axis(Axis(0)).expect("at least one cell was drawn"))
    }

    /// The effects that a model of effects predicts, `(perturbations, genes)`, decoded at the prior mean z = 0. The
    /// effect of control is zero by definition: it is the difference to itself.
    ///
    /// # Errors
    /// A perturbation of genes never perturbed in training; a model of cells.
    pub fn predict_effects(&self, perturbations: &[Perturbation]) -> Result<Array2<f32>> {
        self.check_learned_from(DataKind::Effects)?;
        let given = self.vocabulary.encode_all(perturbations)?;
        let n = perturbations.len();
        let conditions = ConditionBatch {
            perturbed: Arc::new(IndexSets::from_sets(&given.sets)),
            levels: given.levels,
            lanes: vec![0; n],
            log_library: vec![0.0; n],
            covariates: Array2::zeros((n, 0)),
        };
        let decoded = self.decode(&conditions, &Array2::zeros((n, self.config.latent)))?;
        let mut effects = decoded.mean(&vec![1.0; n], self.with_remainder);
        let controls = effects.rows_mut().into_iter().zip(perturbations).filter(|(_, set)| set.is_control());
        controls.for_each(|(mut row, _)| row.fill(0.0));
        Ok(effects)
    }

    /// The decoder's distributions for latents `z` `(cells, latent)` under a perturbation; genes that were never perturbed
    /// in training are left out of it.
    ///
    /// # Errors
    /// A width that does not fit.
    pub(in crate::model) fn decode_latents(
        &self,
        z: &Array2<f32>,
        perturbation: &Perturbation,
        covariates: &[CellCovariates],
    ) -> Result<CountModel> {
        let known = perturbation.genes().iter().filter(|gene| self.vocabulary.perturbs(gene));
        let given = self.vocabulary.encode(&Perturbation::of(known.map(String::as_str)))?;
        self.decode(&self.conditions(&given, covariates), z)
    }

    /// Cells with these covariates, all of them under one perturbation.
    pub(super) fn conditions(&self, given: &EncodedPerturbations, covariates: &[CellCovariates]) -> ConditionBatch {
        ConditionBatch {
            perturbed: Arc::new(IndexSets::from_sets(covariates.iter().map(|_| given.first()))),
            levels: given.levels.clone(),
            lanes: covariates.iter().map(|cell| cell.lane).collect(),
            log_library: covariates.iter().map(|cell| self.vocabulary.standardise(cell.library_size)).collect(),
            covariates: Array2::from_shape_fn(
                (covariates.len(), self.vocabulary.covariates.width()),
                |(cell, feature)| covariates[cell].others[feature],
            ),
        }
    }

    fn draws_counts(&self) -> bool {
        self.config.likelihood != Likelihood::Gaussian
    }
}

/// The distribution of each value of some cells, as a decoder gives it; on the host, `(cells, genes)` each.
#[derive(Debug, Clone)]
pub struct CountModel {
    likelihood: Likelihood,
    output: Array2<f32>,
    /// Log theta (counts) or log sigma (Gaussian): one row for all cells, or one row per cell.
    log_dispersion: Array2<f32>,
    zero_logits: Option<Array2<f32>>,
}

impl CountModel {
    pub(super) fn of<D: Backend>(net: &VaeNet<D>, decoded: Decoded<D, NoneTape>) -> Result<Self> {
        let log_dispersion = match &decoded.log_theta {
            Some(log_theta) => ops::download(log_theta),
            None => {
                let per_gene = net.log_dispersion.as_vec();
                Array2::from_shape_vec((1, per_gene.len()), per_gene).expect("one row")
            }
        };
        Ok(Self {
            likelihood: net.config().likelihood,
            output: ops::download(&net.output(decoded.hidden)?),
            log_dispersion,
            zero_logits: decoded.zero_logits.as_ref().map(ops::download),
        })
    }

    /// Negative binomials whose shares of the library have these logits, `(cells, genes)`, and this log theta, one row for
    /// all cells or one row per cell.
    pub fn negative_binomial(logits: Array2<f32>, log_theta: Array2<f32>) -> Self {
        Self { likelihood: Likelihood::Nb, output: logits, log_dispersion: log_theta, zero_logits: None }
    }

    /// The same with extra zeros, whose probabilities have these logits, `(cells, genes)`.
    pub fn with_extra_zeros(self, zero_logits: Array2<f32>) -> Self {
        Self { likelihood: Likelihood::Zinb, zero_logits: Some(zero_logits), ..self }
    }

    /// The same with `offset` `(genes,)` added to the logits of every cell.
    pub(in crate::model) fn with_offset(&self, offset: &Array1<f64>) -> Self {
        Self {
            likelihood: self.likelihood,
            output: &self.output + &offset.mapv(|value| value as f32),
            log_dispersion: self.log_dispersion.clone(),
            zero_logits: self.zero_logits.clone(),
        }
    }

    /// Sum over the cells of `E[ln(1 + scale x)]` for negative binomial counts x, `(genes,)`; one size factor and one
    /// scale per cell. See [`Log1p::expected`].
    pub(in crate::model) fn expected_log1p(
        &self,
        size_factor: &[f32],
        scale: &[f64],
        with_remainder: bool,
    ) -> Array1<f64> {
        let mean = self.rate(size_factor, with_remainder);
        let one_row = self.log_dispersion.nrows() == 1;
        let log1p: Vec<Log1p> = scale.iter().map(|&scale| Log1p::new(scale)).collect();
        let of_gene = |gene: usize| -> f64 {
            let of_cell = |cell: usize| {
                let theta = f64::from(self.log_dispersion[[if one_row { 0 } else { cell }, gene]]).exp();
                log1p[cell].expected(f64::from(mean[[cell, gene]]), theta).0
            };
            (0..mean.nrows()).map(of_cell).sum()
        };
        (0..mean.ncols()).into_par_iter().map(of_gene).collect::<Vec<f64>>().into()
    }

    /// The negative binomial's mean `softmax(output) * size_factor`, or the Gaussian's mean.
    fn rate(&self, size_factor: &[f32], with_remainder: bool) -> Array2<f32> {
        let mut mean = self.output.clone();
        if self.likelihood == Likelihood::Gaussian {
            return mean;
        }
        Zip::from(mean.rows_mut()).and(size_factor).par_for_each(|mut cell, &size| {
            // The remainder is one more class, with logit 0.
            let start = if with_remainder { 0.0 } else { f32::NEG_INFINITY };
            let top = cell.iter().copied().fold(start, f32::max);
            cell.mapv_inplace(|logit| (logit - top).exp());
            let sum = cell.sum() + if with_remainder { (-top).exp() } else { 0.0 };
            cell.mapv_inplace(|share| share / sum * size);
        });
        mean
    }

    /// The expected value, `(cells, genes)`: counts at `size_factor`, one per cell, or the Gaussian's mean. `with_remainder`
    /// says whether size factors count more genes than are modelled.
    pub fn mean(&self, size_factor: &[f32], with_remainder: bool) -> Array2<f32> {
        let mut mean = self.rate(size_factor, with_remainder);
        if let Some(zero_logits) = &self.zero_logits {
            Zip::from(&mut mean).and(zero_logits).for_each(|mean, &logit| *mean *= 1.0 - sigmoid(logit));
        }
        mean
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Draws one value per cell and gene: `Poisson(Gamma(theta, mean / theta))` is the negative binomial; a zero instead with
/// probability `sigmoid(zero_logit)`. Every cell has its own stream, so the draw does not depend on the number of threads.
pub fn sample_counts(
    model: &CountModel,
    size_factor: &[f32],
    with_remainder: bool,
    rng: &mut ChaCha8Rng,
) -> Array2<f32> {
    let mut values = model.rate(size_factor, with_remainder);
    let seed = rng.next_u64();
    values.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(cell, mut row)| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(cell as u64);
        let dispersion = model.log_dispersion.row(if model.log_dispersion.nrows() == 1 { 0 } else { cell });
        for (gene, value) in row.iter_mut().enumerate() {
            *value = match (model.likelihood, &model.zero_logits) {
                (Likelihood::Gaussian, _) => normal(*value, dispersion[gene].exp(), &mut rng),
                (_, Some(zero)) if rng.random::<f32>() < sigmoid(zero[[cell, gene]]) => 0.0,
                _ => negative_binomial(*value, dispersion[gene].exp(), &mut rng),
            };
        }
    });
    values
}

fn normal(mean: f32, sigma: f32, rng: &mut ChaCha8Rng) -> f32 {
    // An infinite sigma has no distribution; its mean is returned.
    Normal::new(mean, sigma).map_or(mean, |normal| normal.sample(rng))
}

/// A draw from NB(mean, theta). Parameters outside what can be drawn (a mean of 0, a theta that overflowed) fall back
/// to the limit of the distribution there: 0, or Poisson.
fn negative_binomial(mean: f32, theta: f32, rng: &mut ChaCha8Rng) -> f32 {
    let rate = match Gamma::new(theta, mean / theta) {
        Ok(gamma) => gamma.sample(rng),
        Err(_) => mean,
    };
    Poisson::new(rate).map_or(0.0, |poisson| poisson.sample(rng))
}
