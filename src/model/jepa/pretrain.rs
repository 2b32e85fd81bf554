//! The network in training: a student that sees a part, a predictor, and a teacher that gives the target.
//!
//! For a cell x, targets t = 1..m of genes G_t, and a context C without them (Assran et al. 2023, I-JEPA, with genes for
//! patches):
//!
//! ```text
//! z = f(x_C)                         (rows, width)            student, sees the context
//! p_t = g(z, pointer(G_t))           (rows * m, width)        prediction
//! s_t = LN(f'(x_{G_t}))              (rows * m, width)        teacher, sees the target; no gradient
//! loss = a D(p, s) + r (b V(z) + c C(z))                      D smooth L1, L2 or cosine; V, C: see nn::vicreg
//! f' <- m f' + (1 - m) f             after each step; m = 0 without EMA
//! ```
//!
//! The other objectives ([`Objective`]) change what is seen and predicted; student, losses, diagnostics and alarm are the
//! same. r is 1 until the alarm raises it.

use super::{
    config::{CellJepaConfig, Objective, TeacherSees},
    diagnostics::{Monitor, effective_rank, spread},
    encoder::Seen,
    heads::{Backbone, Decoder, Pointer, Predictor},
    masks::GeneMasks,
    views::{JepaBatch, Patterns, disturbed, halves},
};
use crate::{
    Error, Result,
    data::Counts,
    nn::{
        Backend, EmbeddingLoss, Frozen, Matrix, RowSets, Scalar, Vector, ema_update, init, layer_normed, ops, vicreg,
        walk_params,
    },
    train::{Loss, StepContext, Trainable},
};
use dfdx::prelude::{HasShape, NoneTape, Tape, TryMul};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Training steps from one measurement of effective rank and teacher distance to the next, counted from the beginning of
/// an epoch; the steps between carry the last figures on.
const MEASURE_EVERY: usize = 16;

/// Student, teacher, predictor: what [`fit`](crate::train::fit) trains.
#[derive(Debug, Clone)]
pub struct PretrainNet<D: Backend> {
    device: D,
    config: CellJepaConfig,
    student: Backbone<D>,
    teacher: Option<Frozen<Backbone<D>>>,
    predictor: Option<Predictor<D>>,
    decoder: Option<Decoder<D>>,
    /// `(1,)`: what the anti-collapse terms are multiplied by.
    raised: Vector<D>,
    masks: Option<Arc<GeneMasks>>,
    monitor: Monitor,
}

walk_params!(PretrainNet { params: [], buffers: [raised], layers: [student, teacher, predictor, decoder] });

/// What an objective gives: the loss of the prediction, and the embeddings that are kept apart.
struct Predicted<D: Backend, T: Tape<f32, D>> {
    loss: Scalar<D, T>,
    /// Mean of the anti-collapse terms is taken over these, each `(rows, width)`.
    apart: Vec<Matrix<D, T>>,
    /// The student's embeddings, on the host.
    student: Array2<f32>,
    /// The teacher's of the same input, where it was asked for.
    teacher: Option<Array2<f32>>,
}

impl<D: Backend> PretrainNet<D> {
    /// A new network for `genes` genes; the teacher begins as the student's copy.
    ///
    /// # Errors
    /// Settings that cannot train; a device without memory for it.
    pub fn new(device: &D, genes: usize, config: &CellJepaConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        config.validate()?;
        let student = Backbone::new(device, genes, config, rng)?;
        // A copy of its own memory: a shared tensor would be copied at every step of the optimizer.
        let mut teacher =
            config.objective.has_teacher().then(|| Backbone::new(device, genes, config, rng)).transpose()?;
        if let Some(teacher) = &mut teacher {
            ema_update(teacher, &student, 0.0)?;
        }
        let reconstructs = config.objective == Objective::Reconstruction;
        let pointer = (config.objective == Objective::Masks).then_some(genes);
        Ok(Self {
            device: device.clone(),
            config: config.clone(),
            student,
            teacher: teacher.map(Frozen),
            predictor: (!reconstructs).then(|| Predictor::new(device, pointer, config, rng)).transpose()?,
            decoder: reconstructs.then(|| Decoder::new(device, genes, config, rng)).transpose()?,
            raised: init::constant(device, (1,), 1.0)?,
            masks: None,
            monitor: Monitor::default(),
        })
    }

    /// Where the network lives.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Which genes are hidden in training; needed by the objectives that hide some.
    pub fn set_masks(&mut self, masks: Option<Arc<GeneMasks>>) {
        self.masks = masks;
    }

    /// Embeddings of whole cells, `(rows, width)`, by the teacher's encoder or the student's; the student's where there is
    /// no teacher.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn embed(&self, counts: Arc<Counts>, by_teacher: bool) -> Result<Matrix<D>> {
        let backbone = match &self.teacher {
            Some(teacher) if by_teacher => &teacher.0,
            _ => &self.student,
        };
        backbone.encoder.forward(&Seen::whole(counts), NoneTape)
    }

    /// The student's embeddings of cells.
    fn encode<T: Tape<f32, D>>(&mut self, seen: &Seen, tape: T, context: &mut StepContext<'_>) -> Result<Matrix<D, T>> {
        match context.training {
            true => self.student.encoder.forward_training(seen, tape, context.rng),
            false => self.student.encoder.forward(seen, tape),
        }
    }

    /// The teacher's embeddings of sets of cells.
    fn taught(&self, seen: &Seen, sets: &RowSets) -> Result<Matrix<D>> {
        let teacher = self.teacher.as_ref().expect("made for every objective that asks it");
        teacher.0.forward(seen, sets, NoneTape)
    }

    fn target(&self, taught: Matrix<D>) -> Result<Matrix<D>> {
        if self.config.layer_norm_targets { layer_normed(&taught) } else { Ok(taught) }
    }

    fn predict<T: Tape<f32, D>>(&self, z: Matrix<D, T>, pointer: Option<&Pointer>) -> Result<Matrix<D, T>> {
        self.predictor.as_ref().expect("made for every objective that asks it").forward(z, pointer)
    }

    fn patterns(&self, rows: usize, rng: &mut ChaCha8Rng) -> Result<Patterns> {
        let masks =
            self.masks.as_ref().ok_or_else(|| Error::config("this objective hides genes; set the masks first"))?;
        Ok(Patterns::draw(masks, self.config.masks.patterns, rows, rng))
    }

    fn masked<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
        measure: bool,
    ) -> Result<Predicted<D, T>> {
        let counts = batch.normalised();
        let rows = counts.n_cells();
        let patterns = self.patterns(rows, context.rng)?;
        let seen = patterns.context(&counts);
        let z = self.encode(&seen, tape, context)?; // (rows, width)
        let student = Array2::from_shape_vec(*z.shape(), z.as_vec()).expect("as many values as its shape says");
        let each = RowSets::uniform(rows, 1);
        let teacher = measure.then(|| self.taught(&seen, &each)).transpose()?.map(|t| ops::download(&t));
        let (of_cell, of_target) = patterns.target_rows();
        let of_cell: Arc<[u32]> = of_cell.iter().map(|&row| row as u32).collect();
        let taught = match self.config.teacher.sees {
            TeacherSees::Target => self.taught(&patterns.targets_seen(&counts), &RowSets::uniform(of_cell.len(), 1))?,
            TeacherSees::Cell => D::take_rows(self.taught(&Seen::whole(Arc::new(counts)), &each)?, &of_cell)?,
        };
        let target = self.target(taught)?; // (rows * targets, width)
        let pointer = Pointer { sets: patterns.target_sets(), of_row: of_target };
        let prediction = self.predict(D::take_rows(z.retaped::<T>(), &of_cell)?, Some(&pointer))?;
        Ok(Predicted { loss: self.config.loss.forward(prediction, &target)?, apart: vec![z], student, teacher })
    }

    fn views<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        (gene_dropout, poisson): (f64, bool),
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let patterns = self.config.masks.patterns;
        let [a, b] = [(); 2].map(|()| disturbed(batch, (gene_dropout, poisson), patterns, context.rng));
        let (a, b) = (self.encode(&a, tape, context)?, self.encode(&b, T::default(), context)?);
        let student = Array2::from_shape_vec(*a.shape(), a.as_vec()).expect("as many values as its shape says");
        // VICReg's expander: the losses are taken behind it, the embedding is what comes before.
        let (a, b) = (self.predict(a, None)?, self.predict(b, None)?);
        let loss = vicreg::invariance(a.retaped::<T>(), b.retaped::<T>())?;
        Ok(Predicted { loss, apart: vec![a, b], student, teacher: None })
    }

    fn reconstructed<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let counts = batch.normalised();
        let (rows, genes) = (counts.n_cells(), counts.n_genes());
        let patterns = self.patterns(rows, context.rng)?;
        let z = self.encode(&patterns.context(&counts), tape, context)?;
        let student = Array2::from_shape_vec(*z.shape(), z.as_vec()).expect("as many values as its shape says");
        let mut hidden = vec![0.0_f32; rows * genes];
        for row in 0..rows {
            patterns.hidden(row).iter().for_each(|&gene| hidden[row * genes + gene as usize] = 1.0);
        }
        let mut target = counts.map_values(f32::ln_1p).to_dense();
        target.iter_mut().zip(&hidden).for_each(|(value, hidden)| *value *= hidden);
        let n = hidden.iter().sum::<f32>().max(1.0);
        let decoder = self.decoder.as_ref().expect("made for this objective");
        let output = D::multiply(decoder.forward(z.retaped::<T>())?, hidden)?; // (rows, genes), 0 where visible
        // The loss is a mean over all genes, of which the visible ones add nothing.
        let loss = EmbeddingLoss::L2.forward(output, &ops::upload(&self.device, &target)?)?;
        let loss = loss.try_mul((rows * genes) as f32 / n).map_err(|e| Error::device("scale", e))?;
        Ok(Predicted { loss, apart: vec![z], student, teacher: None })
    }

    fn conditions<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
        measure: bool,
    ) -> Result<Predicted<D, T>> {
        let counts = batch.normalised();
        let [(first, first_sets), (second, second_sets)] = halves(&batch.objects, context.rng);
        let seen = Seen::whole(Arc::new(counts.select_cells(&first)));
        let cells = self.encode(&seen, tape, context)?;
        let z = self.student.pooled(cells, &first_sets)?; // (objects, width)
        let student = Array2::from_shape_vec(*z.shape(), z.as_vec()).expect("as many values as its shape says");
        let teacher = measure.then(|| self.taught(&seen, &first_sets)).transpose()?.map(|t| ops::download(&t));
        let target = self.taught(&Seen::whole(Arc::new(counts.select_cells(&second))), &second_sets)?;
        let target = self.target(target)?;
        let prediction = self.predict(z.retaped::<T>(), None)?;
        Ok(Predicted { loss: self.config.loss.forward(prediction, &target)?, apart: vec![z], student, teacher })
    }

    /// `a D + r (b V + c C)` and its parts.
    fn total<T: Tape<f32, D>>(
        &self,
        loss: Scalar<D, T>,
        apart: Vec<Matrix<D, T>>,
        parts: &mut Vec<(&'static str, f32)>,
    ) -> Result<Scalar<D, T>> {
        let (a, b, c) = self.config.anti_collapse.weights();
        let raised = self.raised.as_vec()[0];
        parts.push(("prediction", ops::to_f32(&loss)));
        let mut total = loss.try_mul(a).map_err(|e| Error::device("scale", e))?;
        let share = raised / apart.len() as f32;
        let (mut variance, mut covariance) = (0.0, 0.0);
        for z in apart {
            // Of one row there is no variance: the last batch of an epoch may be that small.
            if z.shape().0 < 2 {
                continue;
            }
            let (of_variance, of_covariance) = (b > 0.0, c > 0.0);
            if of_variance {
                let term = vicreg::variance(z.retaped::<T>())?;
                variance += ops::to_f32(&term);
                total = ops::add_scaled(total, term, share * b)?;
            }
            if of_covariance {
                let term = vicreg::covariance(z.retaped::<T>())?;
                covariance += ops::to_f32(&term);
                total = ops::add_scaled(total, term, share * c)?;
            }
            // What came before z is on its own tape.
            total = keep_tape(total, z)?;
        }
        parts.extend([("variance", variance), ("covariance", covariance), ("raised", raised)]);
        Ok(total)
    }
}

impl<D: Backend> Trainable<D> for PretrainNet<D> {
    type Batch = JepaBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let measure = !context.training || within_epoch(context).is_multiple_of(MEASURE_EVERY);
        let predicted = match self.config.objective {
            Objective::Masks => self.masked(batch, tape, context, measure)?,
            Objective::Views { gene_dropout, poisson } => self.views(batch, (gene_dropout, poisson), tape, context)?,
            Objective::Reconstruction => self.reconstructed(batch, tape, context)?,
            Objective::Conditions { .. } => self.conditions(batch, tape, context, measure)?,
        };
        let mut parts = Vec::new();
        let Predicted { loss, apart, student, teacher } = predicted;
        let total = self.total(loss, apart, &mut parts)?;
        let spread = spread(student.view());
        let before = (self.monitor.last_rank, self.monitor.last_distance);
        if measure {
            self.monitor.last_rank = effective_rank(student.view());
            self.monitor.last_distance = teacher.map_or(0.0, |teacher| distance(&student, &teacher));
        }
        parts.extend([
            ("embedding_std", spread.std as f32),
            ("spread", spread.spread as f32),
            ("effective_rank", self.monitor.last_rank as f32),
        ]);
        if self.teacher.is_some() {
            parts.push(("teacher_distance", self.monitor.last_distance as f32));
        }
        match context.training {
            true => self.monitor.add(spread),
            // Validation leaves the training's figures as they were.
            false => (self.monitor.last_rank, self.monitor.last_distance) = before,
        }
        Ok(Loss { total, parts })
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        if let Some(teacher) = &mut self.teacher {
            let momentum = self.config.teacher.ema.map_or(0.0, |ema| ema.at(context.step, context.total_steps));
            ema_update(&mut teacher.0, &self.student, momentum)?;
        }
        if within_epoch(context) + 1 == steps_per_epoch(context) {
            let raised = self.raised.as_vec()[0];
            if let Some(factor) = self.monitor.judge(&self.config.alarm, context.epoch, raised)? {
                self.raised.copy_from(&[raised * factor]);
            }
        }
        Ok(())
    }
}

fn steps_per_epoch(context: &StepContext<'_>) -> usize {
    (context.total_steps / context.total_epochs.max(1)).max(1)
}

/// The number of this step in its epoch, from 0.
fn within_epoch(context: &StepContext<'_>) -> usize {
    context.step % steps_per_epoch(context)
}

/// Joins the tape of `z`, of which every use so far was a copy without it, to that of `total`.
fn keep_tape<D: Backend, T: Tape<f32, D>>(total: Scalar<D, T>, z: Matrix<D, T>) -> Result<Scalar<D, T>> {
    use dfdx::prelude::{PutTape, SplitTape, TryAdd};
    let (_, tape) = z.split_tape();
    let device = total.device().clone();
    let nothing: Scalar<D> = device.try_zeros().map_err(|e| Error::device("joining tapes", e))?;
    total.try_add(nothing.put_tape(tape)).map_err(|e| Error::device("joining tapes", e))
}

/// Mean over rows of `|a - b| / |b|`.
fn distance(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    let norm = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>().sqrt();
    let each = a.rows().into_iter().zip(b.rows()).map(|(a, b)| {
        let b: Vec<f64> = b.iter().map(|&v| f64::from(v)).collect();
        let apart: Vec<f64> = a.iter().zip(&b).map(|(&a, b)| f64::from(a) - b).collect();
        norm(&apart) / norm(&b).max(f64::MIN_POSITIVE)
    });
    each.sum::<f64>() / a.nrows().max(1) as f64
}
