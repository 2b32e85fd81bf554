//! What the training descends; the module's documentation has the equations.

use super::{
    config::{Independence, ShiftPrior},
    net::{CausalNet, Pass, Read},
};
use crate::{
    Error, Result,
    data::Condition,
    model::{CellSource, VaeBatch, VaeInput, vae::standard_normal},
    nn::{Backend, CountTarget, IndexSets, Matrix, Scalar, ops},
    train::{BatchSource, Loss, StepContext, Trainable, portable},
};
use dfdx::prelude::{HasShape, SumTo, Tape, TryMul};
use ndarray::{Array2, s};
use rand_chacha::ChaCha8Rng;
use std::{ops::Range, sync::Arc};

/// A batch of cells and their contexts.
pub struct CausalBatch {
    /// Counts, perturbed genes, lanes, library sizes.
    pub cells: VaeBatch,
    /// Context of each cell, as an index among those of the model; none of a cell without one.
    pub contexts: Arc<IndexSets>,
}

/// The cells of a dataset with their contexts.
pub struct CausalSource<'a> {
    cells: CellSource<'a>,
    contexts: Vec<Option<u32>>,
}

impl<'a> CausalSource<'a> {
    /// The cells `rows`, which `cells` is of; `conditions` names the condition of every cell of the dataset, and `known` the
    /// contexts of the model, sorted.
    pub fn new(cells: CellSource<'a>, conditions: &[Condition], rows: &[usize], known: &[String]) -> Self {
        let of = |&row: &usize| Some(known.binary_search(conditions[row].context.as_ref()?).ok()? as u32);
        Self { cells, contexts: rows.iter().map(of).collect() }
    }
}

impl BatchSource for CausalSource<'_> {
    type Batch = CausalBatch;

    fn len(&self) -> usize {
        self.cells.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<CausalBatch> {
        let contexts = rows.iter().map(|&row| Vec::from_iter(self.contexts[row]));
        Ok(CausalBatch { cells: self.cells.batch(rows)?, contexts: Arc::new(IndexSets::from_sets(contexts)) })
    }

    fn name(&self, row: usize) -> String {
        self.cells.name(row)
    }
}

/// A draw of z by blocks.
struct Blocks<D: Backend, T: Tape<f32, D>> {
    identity: Matrix<D, T>,
    state: Matrix<D, T>,
    technical: Matrix<D, T>,
}

/// `z` twice: a branch with a tape of its own, for another use.
fn branch<D: Backend, T: Tape<f32, D>>(z: &Matrix<D, T>) -> Matrix<D, T> {
    z.retaped::<T>()
}

/// Gram matrix of a block of d latents. The width of the kernel is the distance of two draws of the prior N(0, I), whose squared
/// distance is 2 d on average: a width taken from the batch would follow a block that is not in use down to 0, where the gradient has
/// no bound.
fn gram<D: Backend, T: Tape<f32, D>>(z: &Matrix<D, T>) -> Result<Matrix<D, T>> {
    ops::gaussian_gram(branch(z), 0.25 / z.shape().1 as f32)
}

/// How much two blocks depend on each other.
fn dependence<D: Backend, T: Tape<f32, D>>(a: &Matrix<D, T>, b: &Matrix<D, T>) -> Result<Scalar<D, T>> {
    ops::hsic_beyond_chance(gram(a)?, gram(b)?)
}

/// How much a block depends on labels of which this is the Gram matrix.
fn with_labels<D: Backend, T: Tape<f32, D>>(z: &Matrix<D, T>, labels: &Matrix<D>) -> Result<Scalar<D, T>> {
    ops::hsic_beyond_chance(gram(z)?, labels.retaped::<T>())
}

fn sum<D: Backend, T: Tape<f32, D>, const N: usize>(terms: [Scalar<D, T>; N]) -> Result<Scalar<D, T>> {
    let mut terms = terms.into_iter();
    let first = terms.next().expect("sums here have terms");
    terms.try_fold(first, |sum, term| ops::add_scaled(sum, term, 1.0))
}

impl<D: Backend> CausalNet<D> {
    /// `-ln p(shifts)` per training cell, in nats and without its constant.
    fn shift_penalty<T: Tape<f32, D>>(&self) -> Result<Scalar<D, T>> {
        let weight: Matrix<D, T> = self.shifts.weight.retaped::<T>();
        let n = self.training_cells as f32;
        let run = || match self.config.shift_prior {
            ShiftPrior::Normal { sd } => weight.try_square()?.try_sum()?.try_mul(0.5 / (sd * sd * n)),
            ShiftPrior::Laplace { scale } => weight.try_abs()?.try_sum()?.try_mul(1.0 / (scale * n)),
        };
        run().map_err(|e: D::Err| Error::device("penalty of the shifts", e))
    }

    /// L_causal: HSIC of the perturbation with what it must not change, a draw of the identity block and the mean of the basal
    /// state.
    fn causal_term<T: Tape<f32, D>>(
        &self,
        identity: &Matrix<D, T>,
        basal: &Matrix<D, T>,
        sets: &IndexSets,
    ) -> Result<Scalar<D, T>> {
        let perturbation = ops::upload(&self.device, &ops::set_gram(sets))?;
        sum([with_labels(identity, &perturbation)?, with_labels(basal, &perturbation)?])
    }

    /// L_disentangle by HSIC: each two blocks, and the lane with the blocks that must not know it.
    fn block_dependence<T: Tape<f32, D>>(&self, blocks: &Blocks<D, T>, lanes: &[u32]) -> Result<Scalar<D, T>> {
        let Blocks { identity, state, technical } = blocks;
        let lane = ops::upload(&self.device, &ops::set_gram(&IndexSets::from_indices(lanes.to_vec())))?;
        sum([
            dependence(identity, state)?,
            dependence(identity, technical)?,
            dependence(state, technical)?,
            with_labels(identity, &lane)?,
            with_labels(state, &lane)?,
        ])
    }

    fn kl_weight(&self, context: &StepContext<'_>) -> f32 {
        // Validation is at full weight, so that epochs can be compared.
        if !context.training {
            return self.config.beta;
        }
        let total = context.total_epochs as f64;
        let epoch = context.step as f64 / context.total_steps.max(1) as f64 * total;
        self.config.kl_annealing.weight(epoch, self.config.kl_warmup_epochs, total) as f32 * self.config.beta
    }
}

/// The three blocks side by side, `(cells, latent)`.
fn joined<D: Backend, T: Tape<f32, D>>([identity, state, technical]: [Matrix<D, T>; 3]) -> Result<Matrix<D, T>> {
    ops::concat_columns(ops::concat_columns(identity, state)?, technical)
}

fn negative<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Matrix<D, T>> {
    x.try_negate().map_err(|e| Error::device("changing a sign", e))
}

fn pass<'a>(training: bool, rng: &'a mut ChaCha8Rng) -> Pass<'a> {
    if training { Pass::Training(rng) } else { Pass::Still }
}

portable!(CausalNet);

impl<D: Backend> Trainable<D> for CausalNet<D> {
    type Batch = CausalBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &CausalBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let CausalBatch { cells, contexts } = batch;
        let VaeInput::Counts(counts) = &cells.input else {
            return Err(Error::config("a causal VAE describes counts, and these are real values"));
        };
        let sets = &cells.condition.perturbed;
        let training = context.training;
        let Read { mu, logvar } = self.read(counts, &cells.condition.log_library, tape, pass(training, context.rng))?;
        let [of_identity, of_state, of_technical] = self.blocks();
        let identity = Self::block(&mu, of_identity.clone())?;
        let technical = Self::block(&mu, of_technical.clone())?;
        let shift = self.shift::<T>(sets)?;
        let basal = ops::add(Self::block(&mu, of_state.clone())?, self.explained(branch(&shift))?)?; // r, (cells, state)
        let state = ops::add(branch(&basal), branch(&shift))?;

        // KL(q(z|x, P) || p(z|P, lane, context)): the shift is in both means of the state.
        let off = joined([
            ops::add(branch(&identity), negative(self.of_contexts(contexts)?)?)?,
            branch(&basal),
            ops::add(branch(&technical), negative(self.of_lanes(&cells.condition.lanes)?)?)?,
        ])?; // (cells, latent)
        // dfdx's slice overwrites the gradient of what it is taken from: a tensor that is sliced is used in no other way.
        let of_logvar = [
            Self::block(&logvar, of_identity.clone())?,
            Self::block(&logvar, of_state.clone())?,
            Self::block(&logvar, of_technical.clone())?,
        ];
        let all_logvar = joined([branch(&of_logvar[0]), branch(&of_logvar[1]), branch(&of_logvar[2])])?;
        let kl = ops::mean(ops::gaussian_kl(off, branch(&all_logvar))?)?;

        let noise = standard_normal(cells.len(), self.config.latent(), context.rng);
        let draw = |mean: &Matrix<D, T>, logvar: &Matrix<D, T>, columns: Range<usize>| {
            let noise = ops::upload(&self.device, &noise.slice(s![.., columns]).to_owned())?;
            ops::reparameterise(branch(mean), branch(logvar), noise)
        };
        let blocks = Blocks {
            identity: draw(&identity, &of_logvar[0], of_identity)?,
            state: draw(&state, &of_logvar[1], of_state)?,
            technical: draw(&technical, &of_logvar[2], of_technical)?,
        };
        let z = joined([branch(&blocks.identity), branch(&blocks.state), branch(&blocks.technical)])?;
        // The last batch of an epoch may be a single cell, which depends on nothing.
        let alone = cells.len() < 2;
        let dependent = match self.config.independence {
            _ if alone => None,
            Independence::Hsic { weight } => Some((self.block_dependence(&blocks, &cells.condition.lanes)?, weight)),
            Independence::TotalCorrelation { weight } => {
                let mean = joined([branch(&identity), branch(&state), branch(&technical)])?;
                Some((D::total_correlation(branch(&z), mean, branch(&all_logvar))?, weight))
            }
            Independence::None => None,
        };
        let causal = match self.config.causal > 0.0 && !alone {
            true => Some(self.causal_term(&blocks.identity, &basal, sets)?),
            false => None,
        };
        let target = CountTarget {
            counts: Arc::clone(counts),
            library_size: Arc::clone(&cells.library_size),
            with_remainder: self.with_remainder,
        };
        let h = self.decode(z, pass(training, context.rng))?;
        let nll = self.mean_nll(h, &target)?;
        let mut parts = vec![("nll", ops::to_f32(&nll)), ("kl", ops::to_f32(&kl))];
        let mut total = ops::add_scaled(nll, kl, self.kl_weight(context))?;
        if let Some((term, weight)) = dependent {
            parts.push(("dependence", ops::to_f32(&term)));
            total = ops::add_scaled(total, term, weight)?;
        }
        if let Some(term) = causal {
            parts.push(("causal", ops::to_f32(&term)));
            total = ops::add_scaled(total, term, self.config.causal)?;
        }
        total = ops::add_scaled(total, self.shift_penalty()?, 1.0)?;
        // Every use so far was a branch: the tapes of the stems are joined here.
        let stems = [mu, logvar, all_logvar, shift, basal, identity, technical, state];
        for stem in stems.into_iter().chain(of_logvar).chain([blocks.identity, blocks.state, blocks.technical]) {
            total = ops::keep_tape(total, stem)?;
        }
        Ok(Loss { total, parts })
    }
}

/// Posterior means of some cells on the host: see [`CausalVae::latents`](super::CausalVae::latents).
pub(super) fn stacked(blocks: &[Array2<f32>]) -> Array2<f32> {
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    ndarray::concatenate(ndarray::Axis(0), &views).expect("every block has the same columns")
}
