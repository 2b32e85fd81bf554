//! The control cells that a trained VAE carries with it.

use crate::{
    Error, Result,
    nn::{Backend, Matrix, Vector, ops, walk_params},
};
use ndarray::Array2;

/// Number of control cells kept.
pub const REFERENCE_CELLS: usize = 512;

/// A sample of control cells that a trained model carries with it, so that it can predict without the data it was trained
/// on: `q(z|x, control)` of each, and under what technical conditions it was measured.
#[derive(Debug, Clone)]
pub struct Reference<D: Backend> {
    /// Posterior means, `(REFERENCE_CELLS, latent)`.
    pub mu: Matrix<D>,
    /// Posterior log variances, `(REFERENCE_CELLS, latent)`.
    pub logvar: Matrix<D>,
    /// Size factors (UMI counts), `(REFERENCE_CELLS,)`.
    pub size_factor: Vector<D>,
    /// Library sizes over all measured genes (UMI counts), `(REFERENCE_CELLS,)`.
    pub library_size: Vector<D>,
    /// Index of the lane (a small whole number), `(REFERENCE_CELLS,)`.
    pub lane: Vector<D>,
    /// Their other covariates, where the model has some.
    pub covariates: Option<KeptCovariates<D>>,
}

walk_params!(Reference { params: [], buffers: [mu, logvar, size_factor, library_size, lane], layers: [covariates] });

/// The covariates of the reference cells.
#[derive(Debug, Clone)]
pub struct KeptCovariates<D: Backend> {
    /// `(REFERENCE_CELLS, width)`.
    pub values: Matrix<D>,
}

walk_params!(KeptCovariates { params: [], buffers: [values], layers: [] });

impl<D: Backend> Reference<D> {
    /// The other covariates, `(REFERENCE_CELLS, width)`.
    pub fn others(&self) -> Array2<f32> {
        match &self.covariates {
            Some(kept) => ops::download(&kept.values),
            None => Array2::zeros((REFERENCE_CELLS, 0)),
        }
    }

    /// Zeros, as an untrained model has them; `covariates` is their width.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn empty(device: &D, latent: usize, covariates: usize) -> Result<Self> {
        let fail = |e: D::Err| Error::device("allocating the reference cells", e);
        let matrix = |width: usize| device.try_zeros_like(&(REFERENCE_CELLS, width)).map_err(fail);
        let vector = || device.try_zeros_like(&(REFERENCE_CELLS,)).map_err(fail);
        Ok(Self {
            mu: matrix(latent)?,
            logvar: matrix(latent)?,
            size_factor: vector()?,
            library_size: vector()?,
            lane: vector()?,
            covariates: (covariates > 0)
                .then(|| matrix(covariates))
                .transpose()?
                .map(|values| KeptCovariates { values }),
        })
    }
}
