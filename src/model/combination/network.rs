//! The networks: an ensemble of small networks that estimate the interaction residuals of combinations.
//!
//! Each is trained without one part of the training combinations, by gradient descent on
//!
//! ```text
//! z = E(s)                      student: scores of an effect on its principal components to its embedding
//! t = LN(E'(s))                 teacher: a moving average of the student, with layer-normed targets
//! e_g = G(s_g) + v_g            perturbation encoder: a gene's single effect, and optionally a learned vector
//! p = F(E(0), {e_g})            predictor: control and the perturbed genes to the embedding of the perturbed state
//! r = p W + b                   decoder: to the interaction residual, in the same scores
//! loss = l(p, t) + variance + covariance of z + decoding * mean_i w_i |r_i - r'_i|^2
//! ```
//!
//! Their share of a prediction is close to zero on the combinations of Norman et al. 2019: their L2 relative to additive is
//! 0.809 without networks and 0.808 with them.

use super::{CombinationConfig, scaled_sum::Combinations, singles::Singles};
use crate::{
    Error, Result,
    data::{Condition, EffectTable},
    math::directions,
    model::jepa::{ConditionalConfig, ConditionalPredictor, Perturbed},
    nn::{
        Activation, Backend, Embedding, FinishConfig, Frozen, IndexSets, Linear, Matrix, Mlp, Norm, RowSets, Scalar,
        ema_update, init, layer_normed, ops, vicreg, walk_params,
    },
    train::{BatchSource, History, Loss, Run, StepContext, TrainConfig, Trainable, fit_on, portable},
};
use dfdx::prelude::{Cpu, HasShape, MeanTo, NoneTape, PutTape, Tape, TrySub};
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::sync::Arc;

/// The principal components of effects, whose scores the network reads and writes.
#[derive(Debug, Clone)]
pub(super) struct Space {
    /// `(components, genes)`.
    pub components: Array2<f64>,
    /// Scores are divided by this, so that their mean square is 1.
    pub scale: f64,
}

impl Space {
    /// At most `components` components of the effects of a table.
    ///
    /// # Errors
    /// Effects that are all zero: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn new(data: &EffectTable, components: usize) -> Result<Self> {
        let effects = data.effects.mapv(f64::from);
        let components = directions(&effects, components)?;
        let scale = effects.dot(&components.t()).mapv(|score| score * score).mean().unwrap_or(1.0).sqrt();
        Ok(Self { components, scale })
    }

    /// `(rows, genes)` to `(rows, components)`.
    pub fn scores(&self, effects: &Array2<f64>) -> Array2<f32> {
        (effects.dot(&self.components.t()) / self.scale).mapv(|score| score as f32)
    }

    /// `(rows, components)` to `(rows, genes)`.
    pub fn effects(&self, scores: &Array2<f32>) -> Array2<f64> {
        (scores.mapv(f64::from) * self.scale).dot(&self.components)
    }
}

/// What a network is trained on.
pub(super) struct Lesson<'a> {
    /// The effects whose principal components the network reads and writes.
    pub table: &'a EffectTable,
    /// The combinations.
    pub combinations: &'a Combinations,
    /// Their interaction residuals, `(combinations, genes)`.
    pub residuals: &'a Array2<f64>,
}

/// A network of the ensemble, and the scores that it reads and writes.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub net: Net<Cpu>,
    pub space: Space,
}

impl Member {
    /// Trains a network on combinations with their interaction residuals, and on the single perturbations, which have none.
    ///
    /// # Errors
    /// Effects that are all zero; those of the training.
    pub fn train(
        singles: &Singles,
        lesson: &Lesson<'_>,
        config: &CombinationConfig,
        run: &mut Run<'_>,
    ) -> Result<(Self, History)> {
        let space = Space::new(lesson.table, config.components)?;
        let rows = Rows::trained(singles, &space, lesson);
        let device = Cpu::seed_from_u64(run.seed);
        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        let mut net = Net::new(&device, space.components.nrows(), singles.n_genes(), config, &mut rng)?;
        let training = TrainConfig { seed: run.seed, ..config.training.clone() };
        let history = fit_on(&mut net, &rows, None, &training, run)?;
        Ok((Self { net, space }, history))
    }

    /// The estimated interaction residuals of combinations, `(combinations, genes)`; `effects` are the single effects of
    /// the genes of each.
    ///
    /// # Errors
    /// Those of the network.
    pub fn residuals(
        &self,
        singles: &Singles,
        conditions: &[Condition],
        effects: &[Array2<f64>],
    ) -> Result<Array2<f64>> {
        let rows = Rows::asked(singles, &self.space, conditions, effects);
        let batch = rows.batch(&(0..rows.len()).collect::<Vec<_>>())?;
        Ok(self.space.effects(&self.net.clone().residuals(&batch)?))
    }
}

/// Conditions to train on or to predict, in scores.
struct Rows {
    /// Scores of the genes' single effects, `(tokens, components)`.
    tokens: Array2<f32>,
    /// The learned vector of each token; `None` for a gene that was never perturbed alone.
    vectors: Vec<Option<u32>>,
    /// The tokens of each condition.
    tokens_of: Vec<Vec<usize>>,
    /// Scores of each condition's effect, `(rows, components)`.
    effects: Array2<f32>,
    /// Scores of its interaction residual, `(rows, components)`.
    residuals: Array2<f32>,
    /// Weight of each residual, `(rows,)`.
    weights: Vec<f32>,
    names: Vec<String>,
}

impl Rows {
    /// Combinations to predict: nothing is known but the single effects of their genes.
    fn asked(singles: &Singles, space: &Space, conditions: &[Condition], effects: &[Array2<f64>]) -> Self {
        let mut tokens = Array2::<f64>::zeros((0, singles.mean.len()));
        let mut tokens_of = Vec::new();
        for effects in effects {
            tokens_of.push((tokens.nrows()..tokens.nrows() + effects.nrows()).collect());
            tokens.append(Axis(0), effects.view()).expect("an effect has one value per gene");
        }
        let perturbed = conditions.iter().flat_map(|condition| condition.perturbation.genes());
        let nothing = Array2::zeros((conditions.len(), space.components.nrows()));
        Self {
            vectors: perturbed.map(|gene| singles.number(gene)).collect(),
            tokens: space.scores(&tokens),
            tokens_of,
            effects: nothing.clone(),
            residuals: nothing,
            weights: vec![1.0; conditions.len()],
            names: conditions.iter().map(ToString::to_string).collect(),
        }
    }

    /// Combinations and single perturbations to train on.
    fn trained(singles: &Singles, space: &Space, lesson: &Lesson<'_>) -> Self {
        let combinations = lesson.combinations;
        let mut rows = Self::asked(singles, space, &combinations.conditions, &combinations.singles);
        let (mut effects, mut residuals) = (combinations.effects.clone(), lesson.residuals.clone());
        rows.weights = combinations.trust.iter().map(|&trust| trust as f32).collect();
        for ((gene, _), effect) in singles.names.iter().zip(singles.effects.rows()) {
            rows.tokens_of.push(vec![rows.vectors.len()]);
            rows.vectors.push(singles.number(gene));
            effects.push_row(effect).expect("an effect has one value per gene");
            residuals.push_row(Array1::zeros(effect.len()).view()).expect("as many values");
            rows.weights.push(1.0);
            rows.names.push(gene.clone());
        }
        rows.tokens.append(Axis(0), space.scores(&singles.effects).view()).expect("as many components");
        (rows.effects, rows.residuals) = (space.scores(&effects), space.scores(&residuals));
        rows
    }
}

/// Some of the [`Rows`].
pub(super) struct Batch {
    tokens: Array2<f32>,
    vectors: Vec<Option<u32>>,
    sets: RowSets,
    effects: Array2<f32>,
    residuals: Array2<f32>,
    weights: Vec<f32>,
}

impl BatchSource for Rows {
    type Batch = Batch;

    fn len(&self) -> usize {
        self.names.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch> {
        let tokens: Vec<usize> = rows.iter().flat_map(|&row| self.tokens_of[row].iter().copied()).collect();
        Ok(Batch {
            vectors: tokens.iter().map(|&token| self.vectors[token]).collect(),
            tokens: self.tokens.select(Axis(0), &tokens),
            sets: RowSets::from_sizes(rows.iter().map(|&row| self.tokens_of[row].len())),
            effects: self.effects.select(Axis(0), rows),
            residuals: self.residuals.select(Axis(0), rows),
            weights: rows.iter().map(|&row| self.weights[row]).collect(),
        })
    }

    fn name(&self, row: usize) -> String {
        self.names[row].clone()
    }
}

/// A perceptron with a linear layer at its end.
#[derive(Debug, Clone)]
struct Perceptron<D: Backend> {
    hidden: Mlp<D>,
    output: Linear<D>,
}

walk_params!(Perceptron { params: [], buffers: [], layers: [hidden, output] });

impl<D: Backend> Perceptron<D> {
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
    student: Perceptron<D>,
    teacher: Frozen<Perceptron<D>>,
    gene: Perceptron<D>,
    learned: Option<Embedding<D>>,
    predictor: ConditionalPredictor<D>,
    decoder: Linear<D>,
    config: CombinationConfig,
}

walk_params!(Net {
    params: [],
    buffers: [],
    layers: [student, teacher, gene, learned, predictor, decoder],
    kept: [config],
    device_field: device
});

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
        let student = Perceptron::new(device, [components, hidden, width], rng)?;
        let of_predictor = ConditionalConfig {
            width,
            condition: width,
            hidden,
            conditioning: config.conditioning,
            activation: Activation::default(),
            dropout: config.dropout,
        };
        Ok(Self {
            device: device.clone(),
            teacher: Frozen(student.clone()),
            student,
            gene: Perceptron::new(device, [components, hidden, width], rng)?,
            learned: config.learned.then(|| Embedding::new(device, genes.max(1), width, rng)).transpose()?,
            predictor: ConditionalPredictor::new(device, of_predictor, rng)?,
            // Before training the residual is zero.
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
    fn residual_error<T: Tape<f32, D>>(&self, predicted: Matrix<D, T>, batch: &Batch) -> Result<Scalar<D, T>> {
        let observed = ops::upload(&self.device, &batch.residuals)?;
        let components = batch.residuals.ncols();
        let roots = batch.weights.iter().flat_map(|w| std::iter::repeat_n(w.sqrt(), components)).collect();
        let decoded = self.decoder.forward(predicted)?;
        let error = decoded.try_sub(observed).map_err(|e| Error::device("interaction residual", e))?;
        D::multiply(error, roots)?
            .try_square()
            .and_then(MeanTo::try_mean)
            .map_err(|e| Error::device("interaction residual", e))
    }

    /// Estimated residuals `(rows, components)` of conditions.
    ///
    /// # Errors
    /// A batch that does not fit the network.
    fn residuals(&mut self, batch: &Batch) -> Result<Array2<f32>> {
        let embedding = self.embed_rows(batch, NoneTape, None)?;
        Ok(ops::download(&self.decoder.forward(embedding)?))
    }
}

portable!(Net);

impl<D: Backend> Trainable<D> for Net<D> {
    type Batch = Batch;

    fn loss<T: Tape<f32, D>>(&mut self, batch: &Batch, tape: T, context: &mut StepContext<'_>) -> Result<Loss<D, T>> {
        let rng = context.training.then_some(&mut *context.rng);
        let predicted = self.embed_rows(batch, tape, rng)?;
        let effects = ops::upload(&self.device, &batch.effects)?;
        let teacher = if self.config.ema.is_some() { &self.teacher.0 } else { &self.student };
        let target = layer_normed(&teacher.forward(effects.clone())?)?;
        let residuals = self.residual_error(predicted.retaped::<T>(), batch)?;
        let mut total = self.config.loss.forward(predicted, &target)?;
        let mut parts = vec![("embedding", ops::to_f32(&total))];
        let mut add = |total: Scalar<D, T>, name, part: Scalar<D, T>, weight| {
            parts.push((name, ops::to_f32(&part)));
            ops::add_scaled(total, part, weight)
        };
        total = add(total, "interaction_residual", residuals, self.config.decoding)?;
        // A single row has no variance.
        if batch.weights.len() > 1 {
            let z = self.student.forward(effects.put_tape(T::default()))?;
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
