//! The counts of a cell from a sample around its embedding: the objective of a variational autoencoder.
//!
//! ```text
//! mu = f(x), ln sigma^2 = mu V + c           z = mu + sigma noise
//! loss = - sum over genes of ln NB(x; l softmax(g(z)), theta) + beta KL(N(mu, sigma^2) || N(0, I))      mean over cells
//! ```
//!
//! with l the counts of the cell. Only the mean is embedded later.

use super::{Predicted, PretrainNet};
use crate::{
    Result,
    model::jepa::views::JepaBatch,
    nn::{Backend, CountTarget, Dispersion, Linear, Vector, init, ops, walk_params},
    train::StepContext,
};
use dfdx::prelude::Tape;
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// What the spread around an embedding, and of the counts around their mean, is made of.
#[derive(Debug, Clone)]
pub struct Posterior<D: Backend> {
    /// From mu to the logarithm of sigma^2.
    log_variance: Linear<D>,
    /// Logarithm of the dispersion, `(genes,)`.
    log_theta: Vector<D>,
}

walk_params!(Posterior { params: [log_theta], buffers: [], layers: [log_variance] });

impl<D: Backend> Posterior<D> {
    pub fn new(device: &D, genes: usize, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        Ok(Self {
            log_variance: Linear::new(device, width, width, rng)?,
            log_theta: init::constant(device, (genes,), 0.0)?,
        })
    }
}

impl<D: Backend> PretrainNet<D> {
    pub(super) fn varied<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        beta: f32,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let seen = super::Seen::whole(Arc::new(batch.normalised()));
        let mu = self.encode(&seen, tape, context)?;
        let student = ops::download(&mu);
        let noise = match context.training {
            true => Array2::from_shape_simple_fn(student.dim(), || StandardNormal.sample(context.rng)),
            false => Array2::zeros(student.dim()),
        };
        let posterior = self.posterior.as_ref().expect("made for this objective");
        let log_variance = posterior.log_variance.forward(mu.retaped::<T>())?;
        let kl = ops::gaussian_kl(mu.retaped::<T>(), log_variance.retaped::<T>())?;
        let z = ops::reparameterise(mu, log_variance, ops::upload(&self.device, &noise)?)?;
        let logits = self.decoder.as_ref().expect("made for this objective").forward(z)?;
        let counts = batch.counts.clone();
        let library_size: Vec<f32> =
            (0..counts.n_cells()).map(|cell| counts.row(cell).1.iter().sum::<f32>().max(1.0)).collect();
        let target = CountTarget { counts: Arc::new(counts), library_size: library_size.into(), with_remainder: false };
        let nll = D::count_nll(logits, Dispersion::Gene(&posterior.log_theta), None, &target)?;
        let loss = ops::add_scaled(ops::mean(nll)?, ops::mean(kl)?, beta)?;
        Ok(Predicted { loss, apart: Vec::new(), student, teacher: None })
    }
}
