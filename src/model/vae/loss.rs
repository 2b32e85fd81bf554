//! The losses of [`VaeObjective`] on a batch, as training descends them.

use super::{
    batch::VaeBatch,
    importance::{Draws, log_weights},
    net::{Decoded, Posterior, VaeNet},
    objective::VaeObjective,
};
use crate::{
    Result,
    nn::{Backend, Matrix, Scalar, ops},
    train::{Loss, StepContext, Trainable},
};
use dfdx::prelude::{NoneTape, Tape};
use rand_chacha::ChaCha8Rng;

/// How far the training is: what of the schedules a step needs.
#[derive(Clone, Copy)]
struct Progress {
    /// Epochs so far, fractions included.
    epoch: f64,
    /// Weight of the KL term in `[0, 1]`.
    annealed: f32,
}

/// A forward pass: with dropout and the batch's own moments in training, without them in validation.
struct Pass<'a> {
    training: bool,
    rng: &'a mut ChaCha8Rng,
}

impl<D: Backend> VaeNet<D> {
    /// Validation is always at full weight and capacity, so that epochs can be compared.
    fn progress(&self, context: &StepContext<'_>) -> Progress {
        if !context.training {
            return Progress { epoch: f64::INFINITY, annealed: 1.0 };
        }
        let total = context.total_epochs as f64;
        let epoch = context.step as f64 / context.total_steps.max(1) as f64 * total;
        let config = self.config();
        Progress { epoch, annealed: config.kl_annealing.weight(epoch, config.kl_warmup_epochs, total) as f32 }
    }

    fn encode_in<T: Tape<f32, D>>(
        &mut self,
        batch: &VaeBatch,
        condition: &Matrix<D, T>,
        pass: &mut Pass<'_>,
    ) -> Result<Posterior<D, T>> {
        match pass.training {
            true => self.encode_training(&batch.input, condition, pass.rng),
            false => self.encode(&batch.input, condition),
        }
    }

    fn decode_in<T: Tape<f32, D>>(
        &mut self,
        z: Matrix<D, T>,
        condition: Matrix<D, T>,
        pass: &mut Pass<'_>,
    ) -> Result<Decoded<D, T>> {
        match pass.training {
            true => self.decode_training(z, condition, pass.rng),
            false => self.decode(z, condition),
        }
    }

    /// The objectives with one draw of z and the KL term in closed form.
    fn loss_of_one_draw<T: Tape<f32, D>>(
        &mut self,
        batch: &VaeBatch,
        tape: T,
        progress: Progress,
        mut pass: Pass<'_>,
    ) -> Result<Loss<D, T>> {
        let condition = self.condition(&batch.condition, tape)?;
        let Posterior { mu, logvar } = self.encode_in(batch, &condition, &mut pass)?;
        let kl = ops::mean(ops::gaussian_kl(mu.retaped::<T>(), logvar.retaped::<T>())?)?;
        let noise = self.noise(batch.len(), pass.rng)?;
        let (of_mu, of_logvar) = (mu.retaped::<T>(), logvar.retaped::<T>());
        let z = ops::reparameterise(mu, logvar, noise)?; // (cells, latent)
        let total_correlation = match self.config().objective {
            VaeObjective::BetaTc => Some(D::total_correlation(z.retaped::<T>(), of_mu, of_logvar)?),
            _ => None,
        };
        let decoded = self.decode_in(z, condition, &mut pass)?;
        let nll = self.mean_nll(decoded, batch)?;
        let mut parts = vec![("nll", ops::to_f32(&nll)), ("kl", ops::to_f32(&kl))];
        parts.extend(total_correlation.as_ref().map(|tc| ("total_correlation", ops::to_f32(tc))));
        Ok(Loss { total: self.combine(nll, kl, total_correlation, progress)?, parts })
    }

    /// The loss of its terms, each averaged over the cells.
    fn combine<T: Tape<f32, D>>(
        &self,
        nll: Scalar<D, T>,
        kl: Scalar<D, T>,
        total_correlation: Option<Scalar<D, T>>,
        Progress { epoch, annealed }: Progress,
    ) -> Result<Scalar<D, T>> {
        let config = self.config();
        match (config.objective, total_correlation) {
            (VaeObjective::Capacity { gamma, nats, epochs }, _) => {
                let apart = ops::distance_to(kl, VaeObjective::capacity(nats, epochs, epoch))?;
                ops::add_scaled(nll, apart, gamma)
            }
            (_, Some(tc)) => {
                let total = ops::add_scaled(nll, kl, annealed)?;
                ops::add_scaled(total, tc, annealed * (config.beta - 1.0))
            }
            _ => {
                let kl = ops::at_least(kl, config.free_nats.unwrap_or(0.0))?;
                ops::add_scaled(nll, kl, annealed * config.beta)
            }
        }
    }

    /// Minus the importance-weighted bound with `samples` draws per cell.
    fn importance_loss<T: Tape<f32, D>>(
        &mut self,
        batch: &VaeBatch,
        tape: T,
        (samples, doubly): (usize, bool),
        annealed: f32,
        mut pass: Pass<'_>,
    ) -> Result<Loss<D, T>> {
        let condition = self.condition(&batch.condition, tape)?;
        let posterior = self.encode_in(batch, &condition, &mut pass)?;
        let batch = &batch.repeated(samples);
        let mut draws = Draws::new(posterior, condition, samples, self.noise(batch.len(), pass.rng)?)?;
        if doubly {
            let weights = self.weights_of(&draws, batch, annealed, &pass)?;
            draws = draws.doubly_reparameterised(&weights, annealed)?;
        }
        let ratio = draws.log_ratio()?; // (cells samples,)
        let decoded = self.decode_in(draws.z, draws.condition, &mut pass)?;
        let nll = self.nll(decoded, batch)?;
        let parts = vec![
            ("nll", ops::to_f32(&ops::mean(nll.retaped::<NoneTape>())?)),
            ("kl", -ops::to_f32(&ops::mean(ratio.retaped::<NoneTape>())?)),
        ];
        let bound = ops::mean(ops::log_mean_exp(log_weights(nll, ratio, annealed)?, samples)?)?;
        Ok(Loss { total: ops::scaled(bound, -1.0)?, parts })
    }

    /// The log weight of each draw, `(cells samples,)`, from a pass that leaves no trace: the dropout of the pass that
    /// follows, and moments of a copy.
    fn weights_of<T: Tape<f32, D>>(
        &self,
        draws: &Draws<D, T>,
        batch: &VaeBatch,
        annealed: f32,
        pass: &Pass<'_>,
    ) -> Result<Vec<f32>> {
        let mut apart = Pass { training: pass.training, rng: &mut pass.rng.clone() };
        let draws = draws.untaped();
        let ratio = draws.log_ratio()?;
        let decoded = self.clone().decode_in(draws.z, draws.condition, &mut apart)?;
        Ok(log_weights(self.nll(decoded, batch)?, ratio, annealed)?.as_vec())
    }
}

impl<D: Backend> Trainable<D> for VaeNet<D> {
    type Batch = VaeBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &VaeBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let progress = self.progress(context);
        let pass = Pass { training: context.training, rng: context.rng };
        match self.config().objective {
            VaeObjective::Iwae { samples, doubly_reparameterised } => {
                self.importance_loss(batch, tape, (samples, doubly_reparameterised), progress.annealed, pass)
            }
            _ => self.loss_of_one_draw(batch, tape, progress, pass),
        }
    }
}
