//! What is trained end to end, student, predictor and decoder beside a teacher, and its loss: see the equations of the module.

use super::{
    config::{LossWeights, ResponseConfig},
    decoder::DecoderNet,
    pairing::ControlPairing,
    predictor::Predictor,
    profile_loss::profile_loss,
    source::SetBatch,
};
use crate::{
    Result,
    data::Counts,
    model::jepa::{
        CollapseAlarm, diagnostics::Monitor, effective_rank, encoder::Seen, heads::Backbone, spread, views::thinned,
    },
    nn::{
        Backend, CountTarget, Dispersion, EmaMomentum, EmbeddingLoss, Frozen, Linear, Matrix, RowSets, ema_update, ops,
        vicreg, walk_params,
    },
    train::{Loss, StepContext, Trainable, portable},
};
use dfdx::prelude::{HasShape, NoneTape, PutTape, SplitTape, Tape};
use ndarray::s;
use std::{ops::Range, sync::Arc};

/// Share of a cell's molecules that the decoder's input is made of.
const DECODED_SHARES: Range<f64> = 0.5..0.9;
/// Steps from one measurement of the effective rank to the next.
const MEASURE_EVERY: usize = 16;

/// Student, teacher, predictor and decoder.
#[derive(Debug, Clone)]
pub struct EndToEnd<D: Backend> {
    /// E.
    pub student: Backbone<D>,
    /// E'.
    pub teacher: Frozen<Backbone<D>>,
    /// From an encoder's output to z: mean 0 and variance 1 in each feature over the training cells.
    pub standard: Frozen<Linear<D>>,
    /// Delta.
    pub predictor: Predictor<D>,
    /// From z to counts.
    pub decoder: DecoderNet<D>,
    weights: LossWeights,
    pairing: ControlPairing,
    momentum: EmaMomentum,
    train_encoder: bool,
    alarm: CollapseAlarm,
    monitor: Monitor,
}

walk_params!(EndToEnd {
    params: [],
    buffers: [],
    layers: [student, teacher, standard, predictor, decoder],
    kept: [weights, pairing, momentum, train_encoder, alarm, monitor]
});

impl<D: Backend> EndToEnd<D> {
    /// The parts put together.
    pub fn new(
        (student, teacher): (Backbone<D>, Backbone<D>),
        standard: Linear<D>,
        predictor: Predictor<D>,
        decoder: DecoderNet<D>,
        (config, momentum): (&ResponseConfig, EmaMomentum),
        alarm: CollapseAlarm,
    ) -> Self {
        let ResponseConfig { weights, train_encoder, pairing, .. } = *config;
        let (teacher, standard, monitor) = (Frozen(teacher), Frozen(standard), Monitor::default());
        Self {
            student,
            teacher,
            standard,
            predictor,
            decoder,
            weights,
            pairing,
            momentum,
            train_encoder,
            alarm,
            monitor,
        }
    }

    /// z of whole cells by the teacher, `(cells, width)`.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn taught(&self, counts: &Arc<Counts>) -> Result<Matrix<D>> {
        let h = self.teacher.0.encoder.forward(&Seen::whole(Arc::clone(counts)), NoneTape)?;
        self.standard.0.forward(h)
    }
}

portable!(EndToEnd);

impl<D: Backend> Trainable<D> for EndToEnd<D> {
    type Batch = SetBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &SetBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        // The student also reads one part of the molecules of each perturbed cell; the decoder is judged by the other part, so
        // that it learns what of an embedding is no noise of the very counts that it decodes to.
        let parts = thinned(&batch.target.counts, DECODED_SHARES, context.rng);
        self.loss_of(batch, parts, tape, context)
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        if self.train_encoder {
            ema_update(&mut self.teacher.0, &self.student, self.momentum.at(context.step, context.total_steps))?;
        }
        if context.ends_epoch() {
            self.monitor.judge(&self.alarm, context.epoch, 1.0).map_err(|e| e.at("phase B"))?;
        }
        Ok(())
    }
}

impl<D: Backend> EndToEnd<D> {
    /// The loss, given the two parts of the molecules of each perturbed cell and the share of the first.
    pub fn loss_of<T: Tape<f32, D>>(
        &mut self,
        batch: &SetBatch,
        ([first, second], shares): ([Counts; 2], Vec<f32>),
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let rescaled: Vec<f32> = batch.scale.iter().zip(&shares).map(|(scale, share)| scale / share).collect();
        let both = batch.controls.stacked(&first.scale_rows(&rescaled));
        let seen = Seen::whole(Arc::new(both));
        let encoder = &mut self.student.encoder;
        let h = match (self.train_encoder, context.training) {
            // Without a gradient, not even an empty one: the optimizer would shrink the weights.
            (false, _) => encoder.forward(&seen, NoneTape)?.put_tape(tape),
            (true, true) => encoder.forward_training(&seen, tape, context.rng)?,
            (true, false) => encoder.forward(&seen, tape)?,
        };
        let all = self.standard.0.forward(h)?; // (controls + perturbed, width)
        let (controls, cells) = (batch.controls.n_cells() as u32, all.shape().0 as u32);
        let student = ops::download(&all);
        let z = D::take_rows(all.retaped::<T>(), &(0..controls).collect::<Vec<_>>().into())?;
        let read = D::take_rows(all.retaped::<T>(), &(controls..cells).collect::<Vec<_>>().into())?;
        let target = self.taught(&batch.perturbed)?; // (perturbed, width)
        let rng = context.training.then_some(&mut *context.rng);
        let delta = self.predictor.forward(z.retaped::<T>(), &batch.asked, rng)?;
        let moved = ops::add(z, delta)?;

        let weights = self.weights;
        let sets = &batch.asked.cells;
        let from = (moved.retaped::<T>(), &student.slice(s![..controls as usize, ..]).to_owned());
        let energy = self.pairing.distance(from, sets, (&target, &batch.perturbed_sets), context.rng)?;
        let means = D::set_mean(moved.retaped::<T>(), sets)?;
        let observed = D::set_mean(target.clone(), &batch.perturbed_sets)?;
        let of_means = EmbeddingLoss::L2.forward(means, &observed)?;
        let remainder = batch.target.with_remainder;
        let genes = batch.target.counts.n_genes();
        let own = self.predictor.own_logits::<T>(&batch.asked, genes)?; // (sets, genes)
        let own_of = |sets: &RowSets| D::take_rows(own.retaped::<T>(), &sets.owners().into());
        let logits = ops::add(self.decoder.logits(moved)?, own_of(sets)?)?;
        let profile = profile_loss(logits, sets, &batch.profiles, remainder)?;
        let library_size: Vec<f32> =
            batch.target.library_size.iter().zip(&shares).map(|(size, share)| size * (1.0 - share)).collect();
        let of_second =
            CountTarget { counts: Arc::new(second), library_size: library_size.into(), with_remainder: remainder };
        let logits = match weights.counts_reach_encoder {
            true => self.decoder.logits(read)?,
            false => self.decoder.logits(without_gradient(read)?)?,
        };
        let logits = ops::add(logits, own_of(&batch.perturbed_sets)?)?;
        let nll = D::count_nll(logits, Dispersion::Gene(&self.decoder.log_theta), None, &of_second)?;
        let nll = ops::mean(nll)?;
        let variance = vicreg::variance(all.retaped::<T>())?;
        let covariance = vicreg::covariance(all.retaped::<T>())?;
        let spread = spread(student.view());
        if context.step.is_multiple_of(MEASURE_EVERY) {
            self.monitor.last_rank = effective_rank(student.view());
        }
        if context.training {
            self.monitor.add(spread);
        }
        let mut parts = vec![
            (self.pairing.part(), ops::to_f32(&energy)),
            ("means", ops::to_f32(&of_means)),
            ("profile", ops::to_f32(&profile) - batch.entropy),
            ("nll", ops::to_f32(&nll)),
            ("variance", ops::to_f32(&variance)),
            ("covariance", ops::to_f32(&covariance)),
        ];
        parts.extend([("spread", spread.spread as f32), ("effective_rank", self.monitor.last_rank as f32)]);
        let terms = [
            (of_means, weights.means),
            (profile, weights.profile),
            (nll, weights.counts / genes.max(1) as f32),
            (variance, weights.variance),
            (covariance, weights.covariance),
        ];
        let mut total = ops::scaled(energy, weights.energy)?;
        for (term, weight) in terms {
            total = ops::add_scaled(total, term, weight)?;
        }
        Ok(Loss { total: ops::keep_tape(ops::keep_tape(total, own)?, all)?, parts })
    }
}

/// The same values, which no gradient passes; the tape goes on.
fn without_gradient<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Matrix<D, T>> {
    let values = ops::download(&x);
    let (x, tape) = x.split_tape();
    Ok(ops::upload(&x.device().clone(), &values)?.put_tape(tape))
}
