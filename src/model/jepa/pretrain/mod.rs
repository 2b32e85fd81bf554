//! The network in training: a student that sees a part, a predictor, and a teacher that gives the target.
//!
//! For a cell x, targets t = 1..m of genes G_t, and a context C without them. This is SC-JEPA's form, in which the teacher
//! sees the hidden genes alone; in that of I-JEPA (Assran et al. 2023) it sees the whole cell, and s_t is the part of its
//! *output* that belongs to the hidden genes (`hidden_places`):
//!
//! ```text
//! z = f(x_C)                         (rows, width)            student, sees the context
//! p_t = g(z, pointer(G_t))           (rows * m, width)        prediction
//! s_t = LN(f'(x_{G_t}))              (rows * m, width)        teacher, sees the target; no gradient
//! loss = a D(p, s) + r (b V(z) + c C(z))                      D smooth L1, L2 or cosine; V, C: see nn::vicreg
//! f' <- m f' + (1 - m) f             after each step; m = 0 without EMA
//! ```
//!
//! The other objectives ([`PretrainingObjective`]) change what is seen and predicted; student, losses, diagnostics and alarm are the
//! same, and each has its file: `hidden_genes`, `hidden_places`, `two_views`, `reconstruction`, `variational`, `cell_sets`. r is 1 until the
//! alarm raises it.

mod cell_sets;
mod hidden_genes;
mod hidden_places;
mod loss;
mod reconstruction;
mod two_views;
mod variational;

use super::{
    config::{PretrainingConfig, PretrainingObjective, TeacherSees},
    diagnostics::{Monitor, effective_rank, spread},
    encoder::{CellEncoder, Seen},
    heads::{Backbone, Decoder, Pointer, Predictor, TokenPredictor},
    masks::GeneMasks,
    views::{JepaBatch, Patterns},
};
use crate::{
    Error, Result,
    data::Counts,
    math::Pca,
    nn::{Backend, Frozen, Matrix, RowSets, Vector, ema_update, init, layer_normed, walk_params},
    train::{Loss, StepContext, Trainable, portable},
};
use dfdx::prelude::{NoneTape, Tape};
use loss::Predicted;
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use variational::Posterior;

/// Training steps from one measurement of effective rank and teacher distance to the next, counted from the beginning of
/// an epoch; the steps between carry the last figures on.
const MEASURE_EVERY: usize = 16;

/// Student, teacher, predictor: what [`fit`](crate::train::fit) trains.
#[derive(Debug, Clone)]
pub struct PretrainNet<D: Backend> {
    device: D,
    config: PretrainingConfig,
    student: Backbone<D>,
    teacher: Option<Frozen<Backbone<D>>>,
    predictor: Option<Predictor<D>>,
    tokens: Option<TokenPredictor<D>>,
    decoder: Option<Decoder<D>>,
    posterior: Option<Posterior<D>>,
    /// `(1,)`: what the anti-collapse terms are multiplied by.
    raised: Vector<D>,
    masks: Option<Arc<GeneMasks>>,
    monitor: Monitor,
}

walk_params!(PretrainNet {
    params: [],
    buffers: [raised],
    layers: [student, teacher, predictor, tokens, decoder, posterior],
    kept: [config, masks, monitor],
    device_field: device
});

impl<D: Backend> PretrainNet<D> {
    /// A new network for `genes` genes; the teacher begins as the student's copy.
    ///
    /// # Errors
    /// Settings that cannot train; a device without memory for it.
    pub fn new(device: &D, genes: usize, config: &PretrainingConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        config.validate()?;
        let student = Backbone::new(device, genes, config, rng)?;
        // A copy of its own memory: a shared tensor would be copied at every step of the optimizer.
        let mut teacher =
            config.objective.has_teacher().then(|| Backbone::new(device, genes, config, rng)).transpose()?;
        if let Some(teacher) = &mut teacher {
            ema_update(teacher, &student, 0.0)?;
        }
        let varies = matches!(config.objective, PretrainingObjective::Variational { .. });
        let reconstructs = varies || config.objective == PretrainingObjective::Reconstruction;
        let of_tokens = config.objective == PretrainingObjective::Masks && config.teacher.sees == TeacherSees::Tokens;
        let pointer = (config.objective == PretrainingObjective::Masks && !of_tokens).then_some(genes);
        let places = config.encoder.places().filter(|_| of_tokens);
        let tokens = places.map(|places| TokenPredictor::new(device, places, rng)).transpose()?;
        Ok(Self {
            device: device.clone(),
            config: config.clone(),
            student,
            teacher: teacher.map(Frozen),
            predictor: (!reconstructs).then(|| Predictor::new(device, pointer, config, rng)).transpose()?,
            tokens,
            decoder: reconstructs.then(|| Decoder::new(device, genes, config, rng)).transpose()?,
            posterior: varies.then(|| Posterior::new(device, genes, config.width, rng)).transpose()?,
            raised: init::constant(device, (1,), 1.0)?,
            masks: None,
            monitor: Monitor::default(),
        })
    }

    /// The student and the teacher; where there is no teacher the student's copy.
    pub(in crate::model::jepa) fn into_towers(self) -> (Backbone<D>, Backbone<D>) {
        let teacher = self.teacher.map_or_else(|| self.student.clone(), |teacher| teacher.0);
        (self.student, teacher)
    }

    /// Where the network lives.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Which genes are hidden in training; needed by the objectives that hide some.
    pub fn set_masks(&mut self, masks: Option<Arc<GeneMasks>>) {
        self.masks = masks;
    }

    /// Sets the place of each gene, and the mean and standard deviation that group tokens standardise it by, for an encoder whose
    /// tokens have places.
    ///
    /// # Errors
    /// None that networks of the same settings can have.
    pub fn set_places(&mut self, place_of: &[u32], moments: Option<&(Vec<f64>, Vec<f64>)>) -> Result<()> {
        self.student.encoder.set_places(place_of, moments);
        match &mut self.teacher {
            Some(teacher) => ema_update(&mut teacher.0, &self.student, 0.0),
            None => Ok(()),
        }
    }

    /// Sets the encoder of student and teacher.
    ///
    /// # Errors
    /// A device without memory for it.
    pub(in crate::model::jepa) fn set_encoder(&mut self, encoder: &CellEncoder<D>) -> Result<()> {
        self.student.encoder = encoder.clone();
        if let Some(teacher) = &mut self.teacher {
            teacher.0.encoder = encoder.clone();
            // A copy of its own memory: see `new`.
            ema_update(&mut teacher.0, &self.student, 0.0)?;
        }
        Ok(())
    }

    /// Starts a linear encoder at principal components.
    ///
    /// # Errors
    /// None that networks of the same settings can have.
    pub fn begin_at(&mut self, components: &Pca) -> Result<()> {
        self.student.encoder.begin_at(components);
        match &mut self.teacher {
            Some(teacher) => ema_update(&mut teacher.0, &self.student, 0.0),
            None => Ok(()),
        }
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
}

portable!(PretrainNet);

impl<D: Backend> Trainable<D> for PretrainNet<D> {
    type Batch = JepaBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let measure = !context.training || context.step_of_epoch().is_multiple_of(MEASURE_EVERY);
        let predicted = match self.config.objective {
            PretrainingObjective::Masks if self.tokens.is_some() => self.hidden_places(batch, tape, context)?,
            PretrainingObjective::Masks => self.masked(batch, tape, context, measure)?,
            PretrainingObjective::Views { gene_dropout, noise } => {
                self.views(batch, (gene_dropout, noise), tape, context)?
            }
            PretrainingObjective::Contrastive { gene_dropout, noise, temperature } => {
                self.told_apart(batch, ((gene_dropout, noise), temperature), tape, context)?
            }
            PretrainingObjective::Variational { beta } => self.varied(batch, beta, tape, context)?,
            PretrainingObjective::Reconstruction => self.reconstructed(batch, tape, context)?,
            PretrainingObjective::Conditions { .. } => self.conditions(batch, tape, context, measure)?,
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
        if context.ends_epoch() {
            let raised = self.raised.as_vec()[0];
            if let Some(factor) = self.monitor.judge(&self.config.alarm, context.epoch, raised)? {
                self.raised.copy_from(&[raised * factor]);
            }
        }
        Ok(())
    }
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
