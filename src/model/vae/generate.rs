//! New cells from a count VAE, and effects from one that was trained on effects.

use super::{
    batch::{Observed, VaeBatch},
    condition::ConditionBatch,
    config::Likelihood,
    count_vae::{CountVae, on_device},
    look::EVALUATION_BATCH,
    reference::REFERENCE_CELLS,
    sample::{CountModel, sample_counts},
};

use crate::{
    Error, Result,
    data::{DataKind, Perturbation},
    model::Generated,
    nn::{IndexSets, ops},
};
use dfdx::prelude::NoneTape;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

impl CountVae {
    /// Draws `cells` cells under `perturbation`: the latent, library size and lane of control cells that the model
    /// keeps, decoded with the perturbation, then counts drawn from the decoder's distribution.
    ///
    /// # Errors
    /// A perturbation of genes never perturbed in training; a model of effects, or one that is not trained.
    pub fn sample(&self, perturbation: &Perturbation, cells: usize, seed: u64) -> Result<Generated> {
        let genes = self.vocabulary.encode(perturbation)?;
        if self.trained_on == DataKind::Effects {
            return Err(Error::config("this model was trained on effects: it predicts effects, not cells"));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut generated = Generated::default();
        let mut blocks = Vec::new();
        for start in (0..cells).step_by(EVALUATION_BATCH) {
            let n = EVALUATION_BATCH.min(cells - start);
            let chosen: Vec<usize> = (0..n).map(|_| rng.random_range(0..REFERENCE_CELLS)).collect();
            let block = on_device!(&self.net, net => {
                let reference = &net.reference;
                let pick = |values: Vec<f32>| -> Vec<f32> { chosen.iter().map(|&i| values[i]).collect() };
                let size_factor = pick(reference.size_factor.as_vec());
                if size_factor.contains(&0.0) {
                    return Err(Error::config("this model was never trained: fit it first"));
                }
                let library_size = pick(reference.library_size.as_vec());
                let condition = ConditionBatch {
                    perturbed: Arc::new(IndexSets::from_sets((0..n).map(|_| genes.as_slice()))),
                    lanes: pick(reference.lane.as_vec()).into_iter().map(|lane| lane as u32).collect(),
                    log_library: library_size.iter().map(|&size| self.vocabulary.standardise(size)).collect(),
                };
                let mu = ops::download(&reference.mu).select(Axis(0), &chosen);
                let logvar = ops::download(&reference.logvar).select(Axis(0), &chosen);
                let noise = ops::download(&net.noise(n, &mut rng)?);
                let z = ops::upload(net.device(), &(mu + logvar.mapv(|v| (v / 2.0).exp()) * noise))?;
                let batch = VaeBatch {
                    input: Observed::Real(Array2::zeros((0, 0))),
                    target: None,
                    condition,
                    library_size: Arc::from(size_factor),
                };
                let condition = net.condition(&batch, NoneTape)?;
                let decoded = CountModel::of(net, net.decode(z, condition)?);
                generated.library_size.extend_from_slice(&library_size);
                sample_counts(&decoded, &batch.library_size, self.with_remainder, &mut rng)
            });
            blocks.push(block);
        }
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        generated.values = match views.is_empty() {
            true => Array2::zeros((0, self.vocabulary.genes.len())),
            false => concatenate(Axis(0), &views).expect("every block has the model's genes"),
        };
        generated.are_counts = self.config.likelihood != Likelihood::Gaussian;
        Ok(generated)
    }

    /// Mean log1p-normalised expression that the model predicts under `perturbation`, `(genes,)`, over `cells` drawn
    /// cells. Calls with the same seed start from the same control cells, so that differences between perturbations
    /// are not blurred by the draw.
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
        if self.trained_on == DataKind::Cells {
            return Err(Error::config("this model was trained on cells: draw cells from it instead"));
        }
        let sets = perturbations.iter().map(|p| self.vocabulary.encode(p)).collect::<Result<Vec<_>>>()?;
        let n = perturbations.len();
        let batch = VaeBatch {
            input: Observed::Real(Array2::zeros((0, 0))),
            target: None,
            condition: ConditionBatch {
                perturbed: Arc::new(IndexSets::from_sets(&sets)),
                lanes: vec![0; n],
                log_library: vec![0.0; n],
            },
            library_size: vec![1.0; n].into(),
        };
        on_device!(&self.net, net => {
            let condition = net.condition(&batch, NoneTape)?;
            let z = ops::upload(net.device(), &Array2::zeros((n, self.config.latent)))?;
            let mut effects = ops::download(&net.decode(z, condition)?.output);
            let controls = effects.rows_mut().into_iter().zip(perturbations).filter(|(_, set)| set.is_control());
            controls.for_each(|(mut row, _)| row.fill(0.0));
            Ok(effects)
        })
    }
}
