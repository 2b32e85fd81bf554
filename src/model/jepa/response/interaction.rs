//! What combinations do beyond the sum: the factor of the sum, and the interaction of pairs.

use super::{
    config::{LossWeights, ResponseConfig},
    decoder::DecoderNet,
    distance::SetLoss,
    fit::Response,
    judge::{JUDGES, Judge, few, gained, least_of},
    measured::Hidden,
    predictor::spread_over,
    profile_loss::profile_loss,
    similar::Similar,
    source::{ConditionTokens, profile},
};
use crate::{
    Error, Result,
    data::{part_of, shuffle},
    nn::{Backend, Frozen, Linear, Matrix, RowSets, init, ops, walk_params},
    train::{BatchSource, Loss, Run, StepContext, TrainConfig, Trainable, fit_on, portable},
};
use dfdx::prelude::{Cpu, NoneTape, PutTape, Tape, TryMatMul, TryMul};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Shares of the interaction that are tried.
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Factors of the sum that are tried.
const FACTORS: [f64; 7] = [0.55, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2];
/// Values that are decoded of a combination in each step of its training; more genes are of fewer cells, but of this many at least.
/// All its cells move by the same vector, which a few tell as well.
const DECODED: (usize, usize) = (256_000, 48);
/// Fewer combinations cannot be trained on and judged by.
const FEWEST_COMBINATIONS: usize = 4;

/// What two perturbations do together beyond the sum: `I(A, B) = alpha (s_A + s_B) + U ((K s_A) * (K s_B))`, and for more
/// genes the sum over pairs, with alpha on the sum once. It starts at 0.
#[derive(Debug, Clone)]
pub struct Interaction<D: Backend> {
    device: D,
    /// alpha, `(1, 1)`.
    pub share: Matrix<D>,
    /// K.
    pub key: Linear<D>,
    /// U.
    pub up: Linear<D>,
    /// What predicted embeddings are judged by beside their distance; not trained here.
    pub decoder: Frozen<DecoderNet<D>>,
    weights: LossWeights,
    distance: SetLoss,
}

walk_params!(Interaction {
    params: [share],
    buffers: [],
    layers: [key, up],
    moved: [decoder],
    kept: [weights, distance],
    device_field: device
});

/// Some combinations, with everything but the interaction computed.
pub struct PairBatch {
    /// Control cells moved by the single perturbations, `(rows, width)`.
    pub moved: Array2<f32>,
    /// Which rows are a combination's.
    pub rows: RowSets,
    /// `sum_g s_g` of each combination, `(combinations, width)`.
    pub sums: Array2<f32>,
    /// s of both genes of each pair, `(pairs, width)`, scaled to mean square 1.
    pub pairs: [Array2<f32>; 2],
    /// Which pairs are a combination's.
    pub of_combination: RowSets,
    /// The teacher's z of the observed cells.
    pub target: Array2<f32>,
    /// Which rows of it are a combination's.
    pub target_rows: RowSets,
    /// What is added to the decoder's logits of each combination, `(combinations, genes)`.
    pub own: Array2<f32>,
    /// Observed shares, `(combinations, classes)`.
    pub profiles: Array2<f32>,
    /// Whether the last class is of genes that are not modelled.
    pub with_remainder: bool,
}

impl<D: Backend> Interaction<D> {
    /// An interaction between effects of `width` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(
        device: &D,
        width: usize,
        decoder: DecoderNet<D>,
        config: &ResponseConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let rank = config.rank;
        Ok(Self {
            device: device.clone(),
            share: init::constant(device, (1, 1), 0.0)?,
            key: Linear::new(device, width, rank, rng)?,
            up: Linear {
                weight: init::constant(device, (rank, width), 0.0)?,
                bias: init::constant(device, (width,), 0.0)?,
            },
            decoder: Frozen(decoder),
            weights: config.weights,
            distance: config.distance,
        })
    }

    /// I of each combination, `(combinations, width)`.
    ///
    /// # Errors
    /// Widths that do not fit.
    pub fn forward<T: Tape<f32, D>>(
        &self,
        sums: &Array2<f32>,
        pairs: &[Array2<f32>; 2],
        of_combination: &RowSets,
        tape: T,
    ) -> Result<Matrix<D, T>> {
        let fail = |e: D::Err| Error::device("interaction", e);
        let (n, width) = sums.dim();
        let [a, b] = [0, 1].map(|side| ops::upload(&self.device, &pairs[side]));
        let (a, b) = (self.key.forward(a?.put_tape(tape))?, self.key.forward(b?.put_tape(T::default()))?);
        let product = self.up.forward(a.try_mul(b).map_err(fail)?)?; // (pairs, width)
        let sizes: Vec<f32> = of_combination.ranges().map(|range| range.len() as f32).collect();
        let product = D::multiply(D::set_mean(product, of_combination)?, spread_over(&sizes, width))?;
        let share = D::take_rows(self.share.retaped::<T>(), &vec![0; n].into())?; // (n, 1)
        let ones = self.device.try_ones_like(&(1, width)).map_err(fail)?;
        let share = share.try_matmul(ones).map_err(fail)?;
        ops::add(product, D::multiply(share, sums.iter().copied().collect())?)
    }

    /// I as a host array.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn of(&self, sum: &Array1<f32>, pairs: &[Array2<f32>; 2]) -> Result<Array1<f32>> {
        let sums = sum.clone().insert_axis(Axis(0));
        let sets = RowSets::uniform(1, pairs[0].nrows());
        Ok(ops::download(&self.forward(&sums, pairs, &sets, NoneTape)?).row(0).to_owned())
    }
}

portable!(Interaction);

impl<D: Backend> Trainable<D> for Interaction<D> {
    type Batch = PairBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &PairBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let beyond = self.forward(&batch.sums, &batch.pairs, &batch.of_combination, tape)?;
        let owners: Arc<[u32]> = batch.rows.owners().into();
        let moved = ops::upload(&self.device, &batch.moved)?.put_tape(T::default());
        let moved = ops::add(D::take_rows(beyond, &owners)?, moved)?;
        let target = ops::upload(&self.device, &batch.target)?;
        let observed = (&target, &batch.target_rows);
        let distance = self.distance.forward(moved.retaped::<T>(), &batch.rows, observed, context.rng)?;
        let own = ops::upload(&self.device, &batch.own)?.put_tape(T::default());
        let logits = ops::add(self.decoder.0.logits(moved)?, D::take_rows(own, &owners)?)?;
        let profile = profile_loss(logits, &batch.rows, &batch.profiles, batch.with_remainder)?;
        let parts = vec![(self.distance.name(), ops::to_f32(&distance)), ("profile", ops::to_f32(&profile))];
        let total = ops::add_scaled(ops::scaled(distance, self.weights.energy)?, profile, self.weights.profile)?;
        Ok(Loss { total, parts })
    }
}

/// A training combination with everything but its interaction computed.
struct Combination {
    /// Control cells, then moved by the factor of the sum.
    moved: Array2<f32>,
    /// The same, spread as they are decoded.
    widened: Array2<f32>,
    /// Rows of these control cells, and of observed cells.
    from: Vec<usize>,
    rows: Vec<usize>,
    shift: Array2<f32>,
    own: Array1<f32>,
    target: Array2<f32>,
    sum: Array1<f32>,
    pairs: [Array2<f32>; 2],
    profile: Vec<f32>,
    name: String,
}

struct PairSource<'a> {
    combinations: &'a [Combination],
    places: Vec<usize>,
    /// Most control cells of a combination.
    cells: usize,
    remainder: bool,
}

impl BatchSource for PairSource<'_> {
    type Batch = PairBatch;

    fn len(&self) -> usize {
        self.places.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<PairBatch> {
        let items: Vec<&Combination> = rows.iter().map(|&row| &self.combinations[self.places[row]]).collect();
        let stacked = |part: &dyn Fn(&'_ Combination) -> ArrayView2<'_, f32>| {
            let views: Vec<ArrayView2<'_, f32>> = items.iter().map(|item| part(item)).collect();
            concatenate(Axis(0), &views).expect("all have one width")
        };
        let controls = |item: &Combination| item.moved.nrows().min(self.cells);
        let width = items[0].sum.len();
        let mut sums = Array2::zeros((0, width));
        let mut profiles = Array2::zeros((0, items[0].profile.len()));
        let mut own = Array2::zeros((0, items[0].own.len()));
        for item in &items {
            sums.push_row(item.sum.view()).expect("all have one width");
            own.push_row(item.own.view()).expect("all have the same genes");
            profiles.push_row(ndarray::ArrayView1::from(&item.profile)).expect("all have the same genes");
        }
        Ok(PairBatch {
            moved: stacked(&|item| item.moved.slice(s![..controls(item), ..])),
            rows: RowSets::from_sizes(items.iter().map(|item| controls(item))),
            sums,
            pairs: [stacked(&|item| item.pairs[0].view()), stacked(&|item| item.pairs[1].view())],
            of_combination: RowSets::from_sizes(items.iter().map(|item| item.pairs[0].nrows())),
            target: stacked(&|item| item.target.view()),
            target_rows: RowSets::from_sizes(items.iter().map(|item| item.target.nrows())),
            own,
            profiles,
            with_remainder: self.remainder,
        })
    }

    fn name(&self, row: usize) -> String {
        self.combinations[self.places[row]].name.clone()
    }
}

impl Response {
    /// Chooses the factor of the sum, trains the interaction in folds of the training combinations, and chooses how much of it
    /// is used.
    pub(super) fn fit_interaction(
        &mut self,
        judge: &Judge<'_>,
        config: &ResponseConfig,
        run: &Run<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<()> {
        let (data, z) = (judge.data, judge.z);
        let mut combinations: Vec<Combination> = Vec::new();
        let remainder = self.decoder.net().with_remainder;
        for condition in self.measured.conditions().filter(|c| c.perturbation.genes().len() > 1) {
            let Ok(tokens) = self.measured.tokens(condition, Hidden::Nothing) else { continue };
            let from = few(self.measured.controls(condition.context.as_deref())?);
            let rows = few(self.measured.rows(condition));
            let (start, target) = (z.start(&from), z.pick(&rows));
            let shift = self.shift(&start, condition, &tokens)?;
            let h = start.z;
            let (sum, pairs) = self.together(&tokens);
            combinations.push(Combination {
                widened: self.widened(&h, h.clone(), condition),
                moved: h,
                shift,
                own: self.own(condition)?,
                target,
                sum,
                pairs,
                profile: profile(data, self.measured.rows(condition), remainder),
                from,
                rows,
                name: condition.to_string(),
            });
        }
        if combinations.is_empty() {
            return Ok(());
        }
        // The shifts never saw a combination, so that all of them may judge the factor.
        let distance = |factor: &f64| -> Result<f64> {
            let of = |c: &Combination| {
                let z = &c.widened + &(&c.shift * *factor as f32);
                judge.distance(&self.decoder, (&z, &c.own), &c.from, &c.rows)
            };
            combinations.iter().take(JUDGES.0).map(of).sum()
        };
        let distances = FACTORS.iter().map(distance).collect::<Result<Vec<f64>>>()?;
        let least = least_of(&distances);
        self.share.factor = FACTORS[least];
        self.share.combinations = combinations.len();
        if combinations.len() < FEWEST_COMBINATIONS {
            return Ok(());
        }
        for combination in &mut combinations {
            combination.moved.scaled_add(FACTORS[least] as f32, &combination.shift);
            combination.widened.scaled_add(FACTORS[least] as f32, &combination.shift);
        }
        if config.similar_combinations && self.measured.contexts.len() == 1 {
            self.fit_similar(&mut combinations, run)?;
        }
        let mut order: Vec<usize> = (0..combinations.len()).collect();
        shuffle(&mut order, rng);
        let folds = config.folds.min(combinations.len());
        let width = z.z.ncols();
        // Of each left-out combination, its E-distance with each share.
        let mut errors: Vec<[f64; SHARES.len()]> = Vec::new();
        for fold in 0..folds {
            run.check_interrupt()?;
            let held = part_of(&order, fold, folds);
            let cells = (DECODED.0 / data.n_genes()).max(DECODED.1);
            let source = |places: Vec<usize>| PairSource { combinations: &combinations, places, cells, remainder };
            let (train, held_out) =
                (source(order.iter().copied().filter(|at| !held.contains(at)).collect()), source(held.clone()));
            let net = self.decoder.net().clone();
            let mut interaction = Interaction::new(&Cpu::seed_from_u64(run.seed), width, net, config, rng)?;
            let training = TrainConfig { seed: run.seed, ..config.interaction.clone() };
            let mut part = run.part(&format!("interaction-{fold}"));
            fit_on(&mut interaction, &train, Some(&held_out), &training, &mut part)?;
            for &place in &held {
                let c = &combinations[place];
                let beyond = interaction.of(&c.sum, &c.pairs)?;
                let mut of_shares = [0.0; SHARES.len()];
                for (error, share) in of_shares.iter_mut().zip(SHARES) {
                    let z = &c.widened + &(&beyond * share as f32);
                    *error = judge.distance(&self.decoder, (&z, &c.own), &c.from, &c.rows)?;
                }
                errors.push(of_shares);
            }
            self.interactions.push(interaction);
        }
        if let Some((best, error)) = gained(&errors) {
            (self.share.interaction, self.share.error) = (SHARES[best], error);
        }
        Ok(())
    }

    /// Fits S to what the training combinations do beyond the factor of the sum, and moves each by what the others say of it: the
    /// interaction learns what is left.
    fn fit_similar(&mut self, combinations: &mut [Combination], run: &Run<'_>) -> Result<()> {
        let width = combinations[0].sum.len();
        let (mut keys, mut residuals) = (Array2::<f64>::zeros((0, width)), Array2::<f64>::zeros((0, width)));
        let mean = |cells: &Array2<f32>| cells.mapv(f64::from).mean_axis(Axis(0)).expect("a combination has cells");
        for combination in &*combinations {
            keys.push_row(combination.sum.mapv(f64::from).view()).expect("all have one width");
            let residual = mean(&combination.target) - mean(&combination.moved);
            residuals.push_row(residual.view()).expect("all have one width");
        }
        if let Some(fitted) = Similar::fit(&keys, &residuals, || run.check_interrupt())? {
            for (combination, of_others) in combinations.iter_mut().zip(fitted.left_out.rows()) {
                combination.moved += &of_others;
                combination.widened += &of_others;
            }
            self.share.similar = fitted.error;
            self.similar = Some(fitted.similar);
        }
        Ok(())
    }

    /// `sum_g s_g` of a condition, and s of both genes of each pair, scaled to mean square 1.
    pub(super) fn together(&self, tokens: &ConditionTokens) -> (Array1<f32>, [Array2<f32>; 2]) {
        let all = ops::download(&self.predictor.effects);
        let square = all.iter().map(|v| v * v).sum::<f32>() / all.len().max(1) as f32;
        let scale = if square > 0.0 { 1.0 / square.sqrt() } else { 1.0 };
        let mut each = Array2::<f32>::zeros((tokens.genes.len(), all.ncols()));
        for (mut row, effects) in each.rows_mut().into_iter().zip(&tokens.effects) {
            effects.iter().for_each(|&(effect, weight)| row.scaled_add(weight, &all.row(effect as usize)));
        }
        let n = each.nrows();
        let places: Vec<(usize, usize)> = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).collect();
        let side = |pick: fn(&(usize, usize)) -> usize| {
            each.select(Axis(0), &places.iter().map(pick).collect::<Vec<_>>()) * scale
        };
        (each.sum_axis(Axis(0)), [side(|pair| pair.0), side(|pair| pair.1)])
    }
}
