//! What the decoder makes of latents that belong to no cell: traversals of a latent, interpolation between cells and between
//! conditions.

use super::{
    decode::CountModel,
    inspect::CellCovariates,
    model::{CountVae, on_device},
};
use crate::{
    Error, Result,
    data::{DataKind, Perturbation},
    nn::ops,
};
use dfdx::prelude::NoneTape;
use ndarray::{Array2, Axis};

impl CountVae {
    /// The expected value of each row of latents `z` `(rows, latent)` under `perturbation`, `(rows, genes)`: counts at
    /// `library_size` (UMI counts), or log1p-normalised expression (Gaussian decoder); in the first lane, at the mean of the other
    /// covariates over control cells.
    ///
    /// # Errors
    /// As [`Self::expected_between`].
    pub fn expected(&self, z: &Array2<f32>, perturbation: &Perturbation, library_size: f32) -> Result<Array2<f32>> {
        self.expected_between(z, [perturbation, perturbation], &vec![0.0; z.nrows()], library_size)
    }

    /// As [`Self::expected`], where the condition of row r is the mix `(1 - t_r) c_from + t_r c_to` of the condition vectors
    /// of two perturbations; t `(rows,)`, 0 for the first and 1 for the second.
    ///
    /// # Errors
    /// A width or a number of rows that does not fit; a perturbation of genes never perturbed in training; a library size
    /// that is not positive; a model of effects.
    pub fn expected_between(
        &self,
        z: &Array2<f32>,
        [from, to]: [&Perturbation; 2],
        t: &[f32],
        library_size: f32,
    ) -> Result<Array2<f32>> {
        self.check_learned_from(DataKind::Cells)?;
        if z.ncols() != self.config.latent || z.nrows() != t.len() {
            return Err(Error::shape("latents to decode", z.dim(), (t.len(), self.config.latent)));
        }
        if !(library_size.is_finite() && library_size > 0.0) {
            return Err(Error::config(format!("the library size is {library_size}; it must be a positive number")));
        }
        let others = match self.vocabulary.covariates.is_empty() {
            true => Vec::new(),
            false => self.reference()?.mean_of_others(),
        };
        let cells = vec![CellCovariates { lane: 0, size_factor: library_size, library_size, others }; z.nrows()];
        let [from, to] =
            [from, to].map(|perturbation| Ok(self.conditions(&self.vocabulary.encode(perturbation)?, &cells)));
        let (from, to): (_, _) = (from?, to?);
        let decoded = on_device!(&self.net, net => {
            let vectors = |conditions| Ok::<_, Error>(ops::download(&net.condition(conditions, NoneTape)?));
            let (mut mixed, to) = (vectors(&from)?, vectors(&to)?);
            for ((mut row, to), t) in mixed.axis_iter_mut(Axis(0)).zip(to.rows()).zip(t) {
                row.zip_mut_with(&to, |from, to| *from += t * (to - *from));
            }
            let (z, condition) = (ops::upload(net.device(), z)?, ops::upload(net.device(), &mixed)?);
            CountModel::of(net, net.decode(z, condition)?)
        });
        Ok(decoded?.mean(&vec![library_size; z.nrows()], self.with_remainder))
    }
}
