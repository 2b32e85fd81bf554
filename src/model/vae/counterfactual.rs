//! What a cell would be under another perturbation.

use super::{
    count_vae::{CountVae, on_device},
    look::as_control,
    sample::CountModel,
};
use crate::{
    Error, Result,
    data::{Dataset, Perturbation},
    nn::{IndexSets, ops},
};
use dfdx::prelude::NoneTape;
use ndarray::{Array1, Array2, Axis};
use std::sync::Arc;

impl CountVae {
    /// What the model expects of each cell, `(cells, genes)`: counts at the cell's own library size (count decoders),
    /// or log1p-normalised expression (Gaussian decoder).
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn reconstruct(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.decode_cells(data, rows, None)
    }

    /// What the model expects of each cell had it been given `perturbation`: its latent, library size and lane are
    /// kept, its perturbation is changed. `(cells, genes)`, in the units of [`Self::reconstruct`].
    ///
    /// # Errors
    /// As [`Self::embed`], and a perturbation of genes never perturbed in training.
    pub fn counterfactual(&self, data: &Dataset, rows: &[usize], perturbation: &Perturbation) -> Result<Array2<f32>> {
        self.decode_cells(data, rows, Some(&self.vocabulary.encode(perturbation)?))
    }

    /// Decodes the posterior mean of cells, under their own perturbation or under the one of `genes`.
    fn decode_cells(&self, data: &Dataset, rows: &[usize], genes: Option<&[u32]>) -> Result<Array2<f32>> {
        self.over_cells(data, rows, |batch| {
            let mut changed = batch.clone();
            if let Some(genes) = genes {
                changed.condition.perturbed = Arc::new(IndexSets::from_sets((0..batch.len()).map(|_| genes)));
            }
            let decoded = on_device!(&self.net, net => {
                let condition = net.condition(batch, NoneTape)?;
                let z = net.encode(&batch.input, &condition)?.mu;
                CountModel::of(net, net.decode(z, net.condition(&changed, NoneTape)?)?)
            });
            Ok(decoded.mean(&batch.library_size, self.with_remainder))
        })
    }

    /// What the model expects of the cells `rows` if the *latent* shift of `perturbation` is added to them, under the
    /// control condition: every cell is encoded as if it were control, so that what its perturbation did is left in z;
    /// `z + sum_{g} (mean z of cells with g - mean z of control)`. An unseen double is the sum of its singles' shifts
    /// (latent arithmetic, as in scGen, Lotfollahi et al. 2019). `(cells, genes)`, units of [`Self::reconstruct`].
    ///
    /// # Errors
    /// As [`Self::embed`]; a gene without a single-perturbation cell in `train`, or no control cell there.
    pub fn latent_arithmetic(
        &self,
        data: &Dataset,
        train: &[usize],
        rows: &[usize],
        perturbation: &Perturbation,
    ) -> Result<Array2<f32>> {
        let cells_of = |wanted: &Perturbation| -> Result<Vec<usize>> {
            let cells: Vec<usize> =
                train.iter().copied().filter(|&row| &data.perturbations[data.labels[row] as usize] == wanted).collect();
            match cells.is_empty() {
                true => Err(Error::config(format!(
                    "latent arithmetic for {perturbation} needs training cells of {wanted}, and there are none"
                ))),
                false => Ok(cells),
            }
        };
        let center = |cells: &[usize]| -> Result<Array1<f32>> {
            Ok(self.embed_as_control(data, cells)?.mean_axis(Axis(0)).expect("at least one cell"))
        };
        let control = center(&cells_of(&Perturbation::control())?)?;
        let mut shift = Array1::<f32>::zeros(self.config.latent);
        for gene in perturbation.genes() {
            shift += &(center(&cells_of(&Perturbation::of([gene.as_str()]))?)? - &control);
        }
        self.over_cells(data, rows, |batch| {
            let batch = as_control(batch);
            let decoded = on_device!(&self.net, net => {
                let condition = net.condition(&batch, NoneTape)?;
                let z = ops::download(&net.encode(&batch.input, &condition)?.mu) + &shift;
                let z = ops::upload(net.device(), &z)?;
                CountModel::of(net, net.decode(z, condition)?)
            });
            Ok(decoded.mean(&batch.library_size, self.with_remainder))
        })
    }
}
