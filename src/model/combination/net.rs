//! The network of level 0: what is trained by gradient descent.
//!
//! ```text
//! z = E(s)                      student: a state (scores of an effect on its principal components) to its embedding
//! t = LN(E'(s))                 teacher: a moving average of the student, its targets layer-normed
//! e_g = G(s_g) + v_g            perturbation encoder: a gene's single effect, and optionally a learned vector
//! p = F(E(0), {e_g})            predictor: control and the perturbed genes to the perturbed state's embedding
//! r = p W + b                   decoder: to the departure from the scaled sum, in the same scores
//! loss = l(p, t) + variance + covariance of z + decoding * mean_i w_i |r_i - r'_i|^2
//! ```

use super::CombinationConfig;
use crate::model::jepa::conditional::{ConditionalPredictor, Perturbed};
use crate::{
    Error, Result,
    nn::{
        Backend, Embedding, FinishConfig, Frozen, IndexSets, Linear, Matrix, Mlp, Norm, RowSets, Scalar, ema_update,
        init, layer_normed, ops, vicreg, walk_params,
    },
    train::{BatchSource, Loss, StepContext, Trainable},
};
use dfdx::prelude::{HasShape, MeanTo, NoneTape, PutTape, Tape, TrySub};
use ndarray::{Array2, Axis};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Conditions to train on, in scores.
pub(super) struct Rows {
    /// Scores of the genes' single effects, `(tokens, components)`.
    pub tokens: Array2<f32>,
    /// The learned vector of each token; none for a gene that was never perturbed alone.
    pub vectors: Vec<Option<u32>>,
    /// The tokens of each condition.
    pub members: Vec<Vec<usize>>,
    /// Scores of each condition's effect, `(rows, components)`.
    pub states: Array2<f32>,
    /// Scores of its departure from the scaled sum, `(rows, components)`.
    pub departures: Array2<f32>,
    /// Weight of each departure, `(rows,)`.
    pub weights: Vec<f32>,
    pub names: Vec<String>,
}

/// Some of the [`Rows`].
pub(super) struct Batch {
    tokens: Array2<f32>,
    vectors: Vec<Option<u32>>,
    sets: RowSets,
    states: Array2<f32>,
    departures: Array2<f32>,
    weights: Vec<f32>,
}

impl BatchSource for Rows {
    type Batch = Batch;

    fn len(&self) -> usize {
        self.names.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch> {
        let tokens: Vec<usize> = rows.iter().flat_map(|&row| self.members[row].iter().copied()).collect();
        Ok(Batch {
            vectors: tokens.iter().map(|&token| self.vectors[token]).collect(),
            tokens: self.tokens.select(Axis(0), &tokens),
            sets: RowSets::from_sizes(rows.iter().map(|&row| self.members[row].len())),
            states: self.states.select(Axis(0), rows),
            departures: self.departures.select(Axis(0), rows),
            weights: rows.iter().map(|&row| self.weights[row]).collect(),
        })
    }

    fn name(&self, row: usize) -> String {
        self.names[row].clone()
    }
}

/// A perceptron with a linear layer at its end.
#[derive(Debug, Clone)]
struct Part<D: Backend> {
    hidden: Mlp<D>,
    output: Linear<D>,
}

walk_params!(Part { params: [], buffers: [], layers: [hidden, output] });

impl<D: Backend> Part<D> {
    fn new(device: &D, [input, hidden, output]: [usize; 3], rng: &mut ChaCha8Rng) -> Result<Self> {
        let finish = FinishConfig { norm: Norm::Layer, ..FinishConfig::default() };
        Ok(Self {
            hidden: Mlp::new(device, &[input, hidden], finish, rng)?,
            output: Linear::new(device, hidden, output, rng)?,
        })
    }

    fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.output.forward(self.hidden.forward(x)?)
    }
}

/// Student, teacher, perturbation encoder, predictor and decoder.
#[derive(Debug, Clone)]
pub(super) struct Net<D: Backend> {
    device: D,
    student: Part<D>,
    teacher: Frozen<Part<D>>,
    gene: Part<D>,
    learned: Option<Embedding<D>>,
    predictor: ConditionalPredictor<D>,
    decoder: Linear<D>,
    config: CombinationConfig,
}

walk_params!(Net { params: [], buffers: [], layers: [student, teacher, gene, learned, predictor, decoder] });

impl<D: Backend> Net<D> {
    /// A network for states of `components` scores and `genes` learned vectors.
    pub fn new(
        device: &D,
        components: usize,
        genes: usize,
        config: &CombinationConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let (width, hidden) = (config.width, config.hidden);
        let student = Part::new(device, [components, hidden, width], rng)?;
        Ok(Self {
            device: device.clone(),
            teacher: Frozen(student.clone()),
            student,
            gene: Part::new(device, [components, hidden, width], rng)?,
            learned: config.learned.then(|| Embedding::new(device, genes.max(1), width, rng)).transpose()?,
            predictor: ConditionalPredictor::new(device, width, hidden, config.conditioning, config.dropout, rng)?,
            // Before training nothing departs from the scaled sum.
            decoder: Linear {
                weight: init::constant(device, (width, components), 0.0)?,
                bias: init::constant(device, (components,), 0.0)?,
            },
            config: config.clone(),
        })
    }

    /// Predicted embeddings `(rows, width)`.
    fn embed_rows<T: Tape<f32, D>>(
        &mut self,
        batch: &Batch,
        tape: T,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Matrix<D, T>> {
        let mut tokens = self.gene.forward(ops::upload(&self.device, &batch.tokens)?.put_tape(tape))?;
        if let Some(learned) = &self.learned {
            let sets = Arc::new(IndexSets::from_sets(batch.vectors.iter().map(Option::as_slice)));
            tokens = ops::add(tokens, learned.forward(&sets, T::default())?)?;
        }
        let rows = batch.sets.len();
        // In effects control is where all scores are zero.
        let control = Array2::<f32>::zeros((rows, self.student.hidden.blocks[0].linear.weight.shape().0));
        let control = self.student.forward(ops::upload(&self.device, &control)?.put_tape(T::default()))?;
        let perturbed = Perturbed { tokens, sets: batch.sets.clone() };
        self.predictor.forward(control, &RowSets::uniform(rows, 1), perturbed, rng)
    }

    /// `mean_i w_i |r_i - r'_i|^2` over the rows of predicted embeddings.
    fn departure_error<T: Tape<f32, D>>(&self, predicted: Matrix<D, T>, batch: &Batch) -> Result<Scalar<D, T>> {
        let observed = ops::upload(&self.device, &batch.departures)?;
        let components = batch.departures.ncols();
        let roots = batch.weights.iter().flat_map(|w| std::iter::repeat_n(w.sqrt(), components)).collect();
        let decoded = self.decoder.forward(predicted)?;
        let error = decoded.try_sub(observed).map_err(|e| Error::device("departure", e))?;
        D::multiply(error, roots)?.try_square().and_then(MeanTo::try_mean).map_err(|e| Error::device("departure", e))
    }

    /// Predicted embeddings `(rows, width)` and departures `(rows, components)` of conditions.
    ///
    /// # Errors
    /// A batch that does not fit the network.
    pub fn predict(&mut self, batch: &Batch) -> Result<(Array2<f32>, Array2<f32>)> {
        let embedding = self.embed_rows(batch, NoneTape, None)?;
        let departures = self.decoder.forward(embedding.clone())?;
        Ok((ops::download(&embedding), ops::download(&departures)))
    }
}

impl<D: Backend> Trainable<D> for Net<D> {
    type Batch = Batch;

    fn loss<T: Tape<f32, D>>(&mut self, batch: &Batch, tape: T, context: &mut StepContext<'_>) -> Result<Loss<D, T>> {
        let rng = context.training.then_some(&mut *context.rng);
        let predicted = self.embed_rows(batch, tape, rng)?;
        let states = ops::upload(&self.device, &batch.states)?;
        let teacher = if self.config.ema.is_some() { &self.teacher.0 } else { &self.student };
        let target = layer_normed(&teacher.forward(states.clone())?)?;
        let departures = self.departure_error(predicted.retaped::<T>(), batch)?;
        let mut total = self.config.loss.forward(predicted, &target)?;
        let mut parts = vec![("embedding", ops::to_f32(&total))];
        let mut add = |total: Scalar<D, T>, name, part: Scalar<D, T>, weight| {
            parts.push((name, ops::to_f32(&part)));
            ops::add_scaled(total, part, weight)
        };
        total = add(total, "departure", departures, self.config.decoding)?;
        // A single row has no variance.
        if batch.weights.len() > 1 {
            let z = self.student.forward(states.put_tape(T::default()))?;
            total = add(total, "variance", vicreg::variance(z.retaped::<T>())?, self.config.variance)?;
            total = add(total, "covariance", vicreg::covariance(z)?, self.config.covariance)?;
        }
        Ok(Loss { total, parts })
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        match self.config.ema {
            Some(ema) => ema_update(&mut self.teacher.0, &self.student, ema.at(context.step, context.total_steps)),
            None => Ok(()),
        }
    }
}
