//! Measurements on cells: their latents, their likelihood bound, and how much the latents are used.

use super::{
    batch::{CellSource, VaeBatch},
    model::{CountVae, on_device},
    net::standard_normal,
};
use crate::{
    Error, Result,
    data::{DataKind, Dataset},
    nn::ops,
    train::BatchSource,
};
use dfdx::prelude::NoneTape;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Rows per pass through the network when nothing is trained.
pub(super) const EVALUATION_BATCH: usize = 256;
/// A latent whose posterior mean varies less than this over cells carries no information (Burda et al. 2016, section 5.2).
const ACTIVE_UNIT_VARIANCE: f64 = 0.01;

/// Held-out evidence lower bound in nats per cell, summed over genes and latents, averaged over cells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Elbo {
    /// `-E_q log p(x|z,c)`.
    pub nll: f64,
    /// `KL(q(z|x,c) || p(z))`.
    pub kl: f64,
    /// `-(nll + kl)`: the higher, the better.
    pub elbo: f64,
    /// Number of cells.
    pub cells: usize,
}

/// How much each latent is used: a collapsed one carries no information about the cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Collapse {
    /// Mean KL of each latent in nats, `(latent,)`.
    pub kl: Vec<f64>,
    /// Variance over cells of each latent's posterior mean, `(latent,)`.
    pub variance: Vec<f64>,
    /// Latents whose posterior mean varies by more than 0.01 (active units, Burda et al. 2016).
    pub active: usize,
}

/// What a cell has beside its state: the part of it that no perturbation decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellCovariates {
    /// Index of its lane in the model's vocabulary.
    pub lane: u32,
    /// What the shares of its genes are multiplied by (UMI counts).
    pub size_factor: f32,
    /// Its library size over all measured genes (UMI counts).
    pub library_size: f32,
    /// Its other covariates, `(width,)`: see [`Covariates::design`](super::Covariates::design).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<f32>,
}

/// Posteriors of cells on the host, `(cells, latent)` each.
pub(super) struct HostPosterior {
    pub mu: Array2<f32>,
    pub logvar: Array2<f32>,
}

impl HostPosterior {
    /// One draw per cell.
    pub fn draw(self, rng: &mut ChaCha8Rng) -> Array2<f32> {
        let noise = standard_normal(self.mu.nrows(), self.mu.ncols(), rng);
        self.mu + self.logvar.mapv(|v| (v / 2.0).exp()) * noise
    }
}

/// [`Reference`](super::Reference) on the host.
pub(super) struct HostReference {
    pub posterior: HostPosterior,
    pub covariates: Vec<CellCovariates>,
}

impl HostReference {
    /// The mean of [`CellCovariates::others`].
    pub fn mean_of_others(&self) -> Vec<f32> {
        let mut mean = vec![0.0; self.covariates[0].others.len()];
        for cell in &self.covariates {
            mean.iter_mut().zip(&cell.others).for_each(|(mean, value)| *mean += value / self.covariates.len() as f32);
        }
        mean
    }
}

impl CountVae {
    /// `q(z|x, c)` of a batch.
    pub(super) fn posterior(&self, batch: &VaeBatch) -> Result<HostPosterior> {
        on_device!(&self.net, net => {
            let condition = net.condition(&batch.condition, NoneTape)?;
            let posterior = net.encode(&batch.input, &condition)?;
            Ok(HostPosterior { mu: ops::download(&posterior.mu), logvar: ops::download(&posterior.logvar) })
        })
    }

    /// Runs `f` over the cells `rows` in batches and stacks its results, one row per cell.
    pub(super) fn over_cells(
        &self,
        data: &Dataset,
        rows: &[usize],
        mut f: impl FnMut(&VaeBatch) -> Result<Array2<f32>>,
    ) -> Result<Array2<f32>> {
        self.check_learned_from(DataKind::Cells)?;
        if rows.is_empty() {
            return Err(Error::data("no cells were chosen"));
        }
        let source = CellSource::new(data, rows, &self.vocabulary, self.view())?;
        let places: Vec<usize> = (0..rows.len()).collect();
        let blocks = places
            .chunks(EVALUATION_BATCH)
            .map(|chunk| f(&source.batch(chunk)?))
            .collect::<Result<Vec<Array2<f32>>>>()?;
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        Ok(concatenate(Axis(0), &views).expect("every block has the same number of columns"))
    }

    /// The posterior mean of each cell, `(cells, latent)`, given its own perturbation.
    ///
    /// # Errors
    /// No cells; genes or perturbations that the model does not know; a model of effects.
    pub fn latents(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.over_cells(data, rows, |batch| Ok(self.posterior(batch)?.mu))
    }

    /// The posterior mean of each cell read as a control cell, `(cells, latent)`: the effect of its perturbation stays in
    /// the latent.
    ///
    /// # Errors
    /// As [`Self::latents`].
    pub fn embed_as_control(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.over_cells(data, rows, |batch| Ok(self.posterior(&batch.as_control())?.mu))
    }

    /// One draw from the posterior of each cell, `(cells, latent)`, given its own perturbation. Scores that compare latents
    /// with true factors need draws: the mean of a latent that is not in use still varies a little, and in step with a
    /// factor, where its draws are noise.
    ///
    /// # Errors
    /// As [`Self::latents`].
    pub fn latent_draws(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Array2<f32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.over_cells(data, rows, |batch| Ok(self.posterior(batch)?.draw(&mut rng)))
    }

    /// A draw from the posterior of each of the cells `rows`, `(rows, latent)`, and their covariates.
    ///
    /// # Errors
    /// As [`Self::latents`].
    pub(in crate::model) fn draw_latents(
        &self,
        data: &Dataset,
        rows: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Result<(Array2<f32>, Vec<CellCovariates>)> {
        let mut covariates = Vec::with_capacity(rows.len());
        let z = self.over_cells(data, rows, |batch| {
            let library_size = rows[covariates.len()..].iter().map(|&row| data.library_size[row]);
            let cells = batch.condition.lanes.iter().zip(batch.library_size.iter()).zip(library_size);
            let of = |(((&lane, &size_factor), library_size), others): (_, ArrayView1<'_, f32>)| CellCovariates {
                lane,
                size_factor,
                library_size,
                others: others.to_vec(),
            };
            covariates.extend(cells.zip(batch.condition.covariates.rows()).map(of).collect::<Vec<_>>());
            Ok(self.posterior(batch)?.draw(rng))
        })?;
        Ok((z, covariates))
    }

    /// The control cells that the model keeps.
    ///
    /// # Errors
    /// A model that is not trained.
    pub(super) fn reference(&self) -> Result<HostReference> {
        on_device!(&self.net, net => {
            let kept = &net.reference;
            let mut others = kept.others();
            let rows = self.vocabulary.covariates.rows_to_start_from(&others);
            self.vocabulary.covariates.overwrite(&mut others);
            let cells = kept.lane.as_vec().into_iter().zip(kept.size_factor.as_vec()).zip(kept.library_size.as_vec());
            let of = |(((lane, size_factor), library_size), others): (_, ArrayView1<'_, f32>)| CellCovariates {
                lane: lane as u32,
                size_factor,
                library_size,
                others: others.to_vec(),
            };
            let covariates: Vec<CellCovariates> = cells.zip(others.rows()).map(of).collect();
            if covariates.iter().any(|cell| cell.size_factor == 0.0) {
                return Err(Error::config("this model was never trained: fit it first"));
            }
            let of_rows = |values| ops::download(values).select(Axis(0), &rows);
            let posterior = HostPosterior { mu: of_rows(&kept.mu), logvar: of_rows(&kept.logvar) };
            let covariates = rows.iter().map(|&row| covariates[row].clone()).collect();
            Ok(HostReference { posterior, covariates })
        })
    }

    /// The held-out ELBO of cells, from `draws` draws of z per cell.
    ///
    /// # Errors
    /// As [`Self::latents`].
    pub fn elbo(&self, data: &Dataset, rows: &[usize], draws: usize, seed: u64) -> Result<Elbo> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let terms = self.over_cells(data, rows, |batch| {
            let mut sums = Array2::<f32>::zeros((batch.len(), 2));
            for _ in 0..draws.max(1) {
                let (nll, kl) = on_device!(&self.net, net => {
                    let (nll, kl) = net.terms(batch, NoneTape, &mut rng)?;
                    (nll.as_vec(), kl.as_vec())
                });
                sums.column_mut(0).scaled_add(1.0 / draws.max(1) as f32, &Array1::from_vec(nll));
                sums.column_mut(1).scaled_add(1.0 / draws.max(1) as f32, &Array1::from_vec(kl));
            }
            Ok(sums)
        })?;
        let mean = |column: usize| terms.column(column).iter().map(|&v| f64::from(v)).sum::<f64>() / rows.len() as f64;
        let (nll, kl) = (mean(0), mean(1));
        Ok(Elbo { nll, kl, elbo: -(nll + kl), cells: rows.len() })
    }

    /// How much each latent is used over the cells `rows`.
    ///
    /// # Errors
    /// As [`Self::latents`].
    pub fn collapse(&self, data: &Dataset, rows: &[usize]) -> Result<Collapse> {
        let latent = self.config.latent;
        let both = self.over_cells(data, rows, |batch| {
            let posterior = self.posterior(batch)?;
            Ok(concatenate![Axis(1), posterior.mu, posterior.logvar])
        })?;
        let both = both.mapv(f64::from);
        let mean = |values: Array1<f64>| values.mean().unwrap_or(0.0);
        let kl: Vec<f64> = (0..latent)
            .map(|k| {
                let (mu, logvar) = (both.column(k), both.column(latent + k));
                mean(mu.mapv(|m| m * m) + logvar.mapv(f64::exp) - 1.0 - logvar) / 2.0
            })
            .collect();
        let variance: Vec<f64> = (0..latent).map(|k| both.column(k).var(0.0)).collect();
        let active = variance.iter().filter(|&&v| v > ACTIVE_UNIT_VARIANCE).count();
        Ok(Collapse { kl, variance, active })
    }
}
