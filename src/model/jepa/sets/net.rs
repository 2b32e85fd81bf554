//! The network of levels 1 and 2: the departure F(h, {d_g}) from the scaled sum, and what it is trained by.
//!
//! ```text
//! e_g = M(d_g) + v_g                   M: one hidden layer; v_g: optionally a learned vector
//! z' = h + s sum_g d_g + F(h, {e_g})   F: a conditional predictor whose output layer starts at 0
//! level 1: mean over sets of a distance between {z'} and {z}, the perturbed cells
//! level 2: mean over control cells of a loss between z' and the target of its pair
//! ```

use super::{
    Level, SetLoss, SetsConfig,
    source::{Known, SetBatch},
};
use crate::{
    Result,
    model::jepa::{ConditionalPredictor, Perturbed},
    nn::{
        Backend, Embedding, FinishConfig, IndexSets, Matrix, Mlp, Norm, RowSets, SetDistance, init, ops, walk_params,
    },
    train::{Loss, StepContext, Trainable},
};
use dfdx::prelude::{NoneTape, PutTape, Tape};
use ndarray::{Array2, ArrayView2};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct SetNet<D: Backend> {
    device: D,
    gene: Mlp<D>,
    learned: Option<Embedding<D>>,
    predictor: ConditionalPredictor<D>,
    level: Level,
    distance: SetDistance,
}

walk_params!(SetNet { params: [], buffers: [], layers: [gene, learned, predictor] });

/// What the network is asked about rows of control cells.
struct Question<'a> {
    h: &'a Array2<f32>,
    rows: &'a RowSets,
    tokens: &'a Array2<f32>,
    numbers: &'a [u32],
    token_sets: &'a RowSets,
}

impl<D: Backend> SetNet<D> {
    /// A network for embeddings like `z` `(cells, width)` and `genes` perturbed genes.
    pub fn new(
        device: &D,
        z: ArrayView2<'_, f32>,
        genes: usize,
        config: &SetsConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let distance = match &config.level {
            Level::Sets { distance } => distance.distance(z, rng)?,
            Level::Pairs(_) => SetDistance::Energy,
        };
        Ok(Self { distance, ..Self::untrained(device, z.ncols(), genes, config, rng)? })
    }

    /// A network for embeddings of `width` features whose weights are read from elsewhere: it knows no distance to be
    /// trained by.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn untrained(
        device: &D,
        width: usize,
        genes: usize,
        config: &SetsConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let finish = FinishConfig { norm: Norm::Layer, ..FinishConfig::default() };
        let predictor =
            ConditionalPredictor::new(device, width, config.hidden, config.conditioning, config.dropout, rng)?;
        Ok(Self {
            device: device.clone(),
            gene: Mlp::new(device, &[width, width], finish, rng)?,
            // From zero, so that a gene that is never trained in company brings nothing into it.
            learned: config
                .learned
                .then(|| Ok(Embedding { weight: init::constant(device, (genes.max(1), width), 0.0)? }))
                .transpose()?,
            predictor: predictor.with_zero_output()?,
            level: config.level.clone(),
            distance: SetDistance::Energy,
        })
    }

    fn forward<T: Tape<f32, D>>(
        &mut self,
        question: &Question<'_>,
        tape: T,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Matrix<D, T>> {
        let mut tokens = self.gene.forward(ops::upload(&self.device, question.tokens)?.put_tape(tape))?;
        if let Some(learned) = &self.learned {
            let sets = Arc::new(IndexSets::from_indices(question.numbers.to_vec()));
            tokens = ops::add(tokens, learned.forward(&sets, T::default())?)?;
        }
        let perturbed = Perturbed { tokens, sets: question.token_sets.clone() };
        let h = ops::upload(&self.device, question.h)?.put_tape(T::default());
        self.predictor.forward(h, question.rows, perturbed, rng)
    }

    /// The departure F of control cells h `(cells, width)` under one perturbation, `(cells, width)`.
    ///
    /// # Errors
    /// Widths that do not fit.
    pub fn departure(&mut self, h: &Array2<f32>, known: &Known) -> Result<Array2<f32>> {
        let question = Question {
            h,
            rows: &RowSets::uniform(1, h.nrows()),
            tokens: &known.tokens,
            numbers: &known.numbers,
            token_sets: &RowSets::uniform(1, known.tokens.nrows()),
        };
        Ok(ops::download(&self.forward(&question, NoneTape, None)?))
    }
}

impl<D: Backend> Trainable<D> for SetNet<D> {
    type Batch = SetBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &SetBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let question = Question {
            h: &batch.h,
            rows: &batch.rows,
            tokens: &batch.tokens,
            numbers: &batch.numbers,
            token_sets: &batch.token_sets,
        };
        if let Level::Sets { distance: SetLoss::SlicedWasserstein { directions } } = self.level {
            self.distance = SetDistance::sliced(batch.h.ncols(), directions, context.rng);
        }
        let rng = context.training.then_some(&mut *context.rng);
        let departure = self.forward(&question, tape, rng)?;
        let start = ops::upload(&self.device, &batch.start)?.put_tape(T::default());
        let predicted = ops::add(departure, start)?;
        let (name, total) = match (&self.level, &batch.targets) {
            (Level::Pairs(pairs), Some(targets)) => {
                ("pairs", pairs.loss.forward(predicted, &ops::upload(&self.device, targets)?)?)
            }
            _ => {
                let observed = ops::upload(&self.device, &batch.observed)?;
                let distances = self.distance.forward(predicted, &batch.rows, &observed, &batch.observed_sets)?;
                ("distance", ops::mean(distances)?)
            }
        };
        let parts = vec![(name, ops::to_f32(&total))];
        Ok(Loss { total, parts })
    }
}
