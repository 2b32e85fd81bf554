//! New cells from given cells: what a count VAE draws when the user says where to start from.

use super::{
    config::Likelihood,
    count_vae::{CountVae, on_device},
    look::as_control,
    sample::{CountModel, sample_counts},
};
use crate::{
    Error, Result,
    data::{Dataset, Perturbation},
    model::Generated,
    nn::{IndexSets, ops},
};
use dfdx::prelude::NoneTape;
use ndarray::Array1;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

impl CountVae {
    /// Draws one new cell for each of the cells `rows`: the cell is read as control, its latent is drawn from the
    /// posterior, `shift` `(latent,)` is added, and counts are drawn from what the decoder makes of it under
    /// `perturbation`, at the cell's own library size and lane. `(rows, genes)`.
    ///
    /// Without a shift this is the conditional way to perturb a control cell; with the shift of a perturbation, decoded
    /// as control, the latent arithmetic of scGen (Lotfollahi et al. 2019). It differs from [`Self::sample`] in that the
    /// cells to start from are given: those of one context, say. The same `rows` and `seed` start from the same latents,
    /// whatever the perturbation.
    ///
    /// # Errors
    /// No cells; a perturbation of genes never perturbed in training; genes of `data` that are not the model's; a shift
    /// of another length.
    pub fn sample_from(
        &self,
        data: &Dataset,
        rows: &[usize],
        perturbation: &Perturbation,
        shift: Option<&Array1<f32>>,
        seed: u64,
    ) -> Result<Generated> {
        if let Some(shift) = shift.filter(|shift| shift.len() != self.config.latent) {
            return Err(Error::shape("sample_from: shift, and latents", shift.len(), self.config.latent));
        }
        let genes = self.vocabulary.encode(perturbation)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values = self.over_cells(data, rows, |batch| {
            let control = as_control(batch);
            let mut changed = control.clone();
            changed.condition.perturbed = Arc::new(IndexSets::from_sets((0..batch.len()).map(|_| &genes)));
            let decoded = on_device!(&self.net, net => {
                let condition = net.condition(&control, NoneTape)?;
                let posterior = net.encode(&control.input, &condition)?;
                let deviation = ops::download(&posterior.logvar).mapv(|v| (v / 2.0).exp());
                let noise = ops::download(&net.noise(batch.len(), &mut rng)?);
                let mut z = ops::download(&posterior.mu) + deviation * noise; // (rows, latent)
                if let Some(shift) = shift {
                    z += shift;
                }
                let z = ops::upload(net.device(), &z)?;
                CountModel::of(net, net.decode(z, net.condition(&changed, NoneTape)?)?)
            });
            Ok(sample_counts(&decoded, &batch.library_size, self.with_remainder, &mut rng))
        })?;
        Ok(Generated {
            values,
            library_size: rows.iter().map(|&row| data.library_size[row]).collect(),
            are_counts: self.config.likelihood != Likelihood::Gaussian,
        })
    }
}
