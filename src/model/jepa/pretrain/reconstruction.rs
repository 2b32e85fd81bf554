//! From the visible genes of a cell, the values of the hidden ones: what the other objectives are compared with.

use super::{Predicted, PretrainNet};
use crate::{
    Error, Result,
    model::jepa::views::JepaBatch,
    nn::{Backend, EmbeddingLoss, ops},
    train::StepContext,
};
use dfdx::prelude::{Tape, TryMul};

impl<D: Backend> PretrainNet<D> {
    pub(super) fn reconstructed<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let [counts, other] = batch.pair(self.config.masks.noise, context.rng);
        let (rows, genes) = (counts.n_cells(), counts.n_genes());
        let patterns = self.patterns(rows, context.rng)?;
        let z = self.encode(&patterns.context(&counts), tape, context)?;
        let student = ops::download(&z);
        let mut hidden = vec![0.0_f32; rows * genes];
        for row in 0..rows {
            patterns.hidden(row).iter().for_each(|&gene| hidden[row * genes + gene as usize] = 1.0);
        }
        let mut target = other.map_values(f32::ln_1p).to_dense();
        target.iter_mut().zip(&hidden).for_each(|(value, hidden)| *value *= hidden);
        let n = hidden.iter().sum::<f32>().max(1.0);
        let decoder = self.decoder.as_ref().expect("made for this objective");
        let output = D::multiply(decoder.forward(z.retaped::<T>())?, hidden)?; // (rows, genes), 0 where visible
        // The loss is a mean over all genes, of which the visible ones add nothing.
        let loss = EmbeddingLoss::L2.forward(output, &ops::upload(&self.device, &target)?)?;
        let loss = loss.try_mul((rows * genes) as f32 / n).map_err(|e| Error::device("scale", e))?;
        Ok(Predicted { loss, apart: vec![z], student, teacher: None })
    }
}
