//! The latent space of a count VAE as another model uses it: latents of cells in, count distributions out.

use super::{
    batch::{Observed, VaeBatch},
    condition::ConditionBatch,
    count_vae::{CountVae, on_device},
    sample::CountModel,
};
use crate::{
    Result,
    data::{Dataset, Perturbation},
    nn::{IndexSets, ops},
};
use dfdx::prelude::NoneTape;
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a cell has beside its state: the part of it that no perturbation decides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Carrier {
    /// Number of its lane in the model's vocabulary.
    pub lane: u32,
    /// What the shares of its genes are multiplied by (UMI counts).
    pub size_factor: f32,
    /// Its library size over all measured genes (UMI counts).
    pub library_size: f32,
}

impl CountVae {
    /// A draw from the posterior of each of the cells `rows`, `(rows, latent)`, and what else each cell has.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub(in crate::model) fn draw_latents(
        &self,
        data: &Dataset,
        rows: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Result<(Array2<f32>, Vec<Carrier>)> {
        let mut carriers = Vec::with_capacity(rows.len());
        let z = self.over_cells(data, rows, |batch| {
            let lanes = batch.condition.lanes.iter();
            carriers.extend(lanes.zip(batch.library_size.iter()).map(|(&lane, &size_factor)| Carrier {
                lane,
                size_factor,
                library_size: size_factor,
            }));
            on_device!(&self.net, net => {
                let condition = net.condition(batch, NoneTape)?;
                let posterior = net.encode(&batch.input, &condition)?;
                let deviation = ops::download(&posterior.logvar).mapv(|v| (v / 2.0).exp());
                let noise = ops::download(&net.noise(batch.len(), rng)?);
                Ok(ops::download(&posterior.mu) + deviation * noise)
            })
        })?;
        for (carrier, &row) in carriers.iter_mut().zip(rows) {
            carrier.library_size = data.library_size[row];
        }
        Ok((z, carriers))
    }

    /// What the decoder makes of latents `z` `(cells, latent)` under a perturbation, of which it knows some genes: the
    /// others stay unperturbed.
    ///
    /// # Errors
    /// A width that does not fit.
    pub(in crate::model) fn decode_latents(
        &self,
        z: &Array2<f32>,
        perturbation: &Perturbation,
        carriers: &[Carrier],
    ) -> Result<CountModel> {
        let known = perturbation.genes().iter().filter(|gene| self.vocabulary.perturbs(gene));
        let genes = self.vocabulary.encode(&Perturbation::of(known.map(String::as_str)))?;
        let batch = VaeBatch {
            input: Observed::Real(Array2::zeros((0, 0))),
            target: None,
            condition: ConditionBatch {
                perturbed: Arc::new(IndexSets::from_sets((0..z.nrows()).map(|_| genes.as_slice()))),
                lanes: carriers.iter().map(|carrier| carrier.lane).collect(),
                log_library: carriers.iter().map(|c| self.vocabulary.standardise(c.library_size)).collect(),
            },
            library_size: carriers.iter().map(|carrier| carrier.size_factor).collect(),
        };
        on_device!(&self.net, net => {
            let condition = net.condition(&batch, NoneTape)?;
            Ok(CountModel::of(net, net.decode(ops::upload(net.device(), z)?, condition)?))
        })
    }
}
