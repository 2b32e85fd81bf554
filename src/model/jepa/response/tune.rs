//! The end of phase B: predictor and decoder on the embeddings of the trained encoder, which moves no more.
//!
//! Sets are large here, as no cell goes through the encoder again, and predicted cells are decoded as they will be in
//! predictions. The loss of a set of control cells of a context c under the perturbed genes P:
//!
//! ```text
//! energy distance and squared difference of means in z, as before
//! + (w_e + w_r / v) n |mean over cells (E[y | z_hat] - E[y | z]) - observed effect|^2 / genes     y: log-normalised expression
//! + w_c NLL of counts of real cells / genes
//! ```
//!
//! with n the number of cells behind the observed effect (of mean 1) and v the mean square of the observed effects. The expectation
//! is that of the negative binomial at the library size of the cell, so that the very quantity that predictions are judged by is
//! fitted: the mean of log-normalised cells is not the logarithm of a mean.

use super::{
    config::{LossWeights, ResponseConfig},
    decoder::{Decoder, DecoderNet, size_factors},
    embedded::Encoder,
    fit::Response,
    judge::Judge,
    pairing::CellComparison,
    predictor::{Predictor, spread_over},
    profile_loss::shares_of,
    source::{Asked, SetSize, SetSource},
};
use crate::{
    Error, Result,
    data::{Condition, Counts, EffectTable},
    model::{NORMALISED_TOTAL, jepa::views::thinned, vae::Log1p},
    nn::{
        Backend, CountTarget, Dispersion, EmbeddingLoss, Matrix, Params, RowSets, Scalar, Visitor, VisitorMut, join,
        movable, ops,
    },
    train::{BatchSource, Loss, Run, StepContext, TrainConfig, Trainable, fit_on, portable},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Rank0, SumTo, Tape, TrySub};
use ndarray::{Array1, Array2, ArrayView1, Axis, Zip};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Share of the molecules of a real cell that its embedding is made of; the rest judge the decoder.
const SEEN_SHARE: f64 = 0.7;
/// Sets of an epoch, at least: a few conditions have more sets each.
const FEWEST_SETS: usize = 400;

/// Expected log-normalised expression of each cell, `(cells, classes)`, of negative binomials with the means `sizes * shares`
/// (0 in a class of genes that are not modelled); one size and one scale of the normalisation a cell. The gradient passes to
/// the shares; the dispersion is taken as given.
///
/// # Errors
/// A device that fails.
pub fn expected_expression<D: Backend, T: Tape<f32, D>>(
    shares: Matrix<D, T>,
    (sizes, scales): (&[f32], &[f64]),
    log_theta: &[f32],
) -> Result<Matrix<D, T>> {
    let host = ops::download(&shares);
    let theta: Vec<f64> = log_theta.iter().map(|&log| f64::from(log).exp()).collect();
    let (mut values, mut slopes) = (Array2::<f32>::zeros(host.dim()), Array2::<f32>::zeros(host.dim()));
    Zip::indexed(values.rows_mut()).and(slopes.rows_mut()).and(host.rows()).par_for_each(
        |cell, mut values, mut slopes, shares| {
            let (size, log1p) = (f64::from(sizes[cell]), Log1p::new(scales[cell]));
            for (gene, theta) in theta.iter().enumerate() {
                let share = f64::from(shares[gene]);
                let (value, slope) = log1p.expected(share * size, *theta);
                slopes[gene] = (slope * size) as f32;
                values[gene] = (value - slope * size * share) as f32;
            }
        },
    );
    // The tangent of the function at these shares: its value and its derivative there are the function's.
    let tangent = D::multiply(shares, slopes.into_iter().collect())?;
    let device = tangent.device().clone();
    ops::add(tangent, ops::upload(&device, &values)?.put_tape(T::default()))
}

/// Mean over sets and genes of the weighted squared error of `under - before`, `(sets, classes)`, beside the observed effect
/// `(sets, genes)`.
fn effect_loss<D: Backend, T: Tape<f32, D>>(
    under: Matrix<D, T>,
    before: Matrix<D, T>,
    observed: &Array2<f32>,
    weights: &[f32],
) -> Result<Scalar<D, T>> {
    let (sets, classes) = *under.shape();
    let mut wanted = Array2::<f32>::zeros((sets, classes));
    wanted.slice_mut(ndarray::s![.., ..observed.ncols()]).assign(observed);
    let factors: Vec<f32> = weights.iter().map(|w| (w / (sets * observed.ncols()) as f32).sqrt()).collect();
    let wanted = ops::upload(&under.device().clone(), &wanted)?;
    let fail = |e: D::Err| Error::device("effect loss", e);
    let error = under.try_sub(before).map_err(fail)?.try_sub(wanted).map_err(fail)?;
    let error = D::multiply(error, spread_over(&factors, classes))?;
    error.try_square().and_then(|square| square.try_sum::<Rank0, _>()).map_err(fail)
}

/// What a tuning moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    /// The predictor and the decoder, which keeps to real cells by their counts.
    Both,
    /// F of the predictor alone.
    Response,
}

/// Predictor and decoder.
#[derive(Debug, Clone)]
pub struct Tuned<D: Backend> {
    device: D,
    /// Delta.
    pub predictor: Predictor<D>,
    /// From z to counts.
    pub decoder: DecoderNet<D>,
    moves: Moves,
    weights: LossWeights,
    comparison: CellComparison,
    /// Factor of how far control cells are from their mean when they are decoded.
    width: f32,
}

impl<D: Backend> Tuned<D> {
    /// The tuning of the predictor and of a model's decoder.
    pub fn new(
        device: &D,
        (predictor, decoder): (Predictor<D>, DecoderNet<D>),
        moves: Moves,
        (config, width): (&ResponseConfig, f64),
    ) -> Self {
        let (weights, comparison) = (config.weights, CellComparison::of(config));
        Self { device: device.clone(), predictor, decoder, moves, weights, comparison, width: width as f32 }
    }
}

impl<D: Backend> Params<D> for Tuned<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        match self.moves {
            Moves::Both => {
                self.predictor.walk(&join(path, "predictor"), visitor)?;
                self.decoder.walk(&join(path, "decoder"), visitor)
            }
            Moves::Response => {
                self.predictor.identity.walk(&join(path, "identity"), visitor)?;
                self.predictor.measured.walk(&join(path, "measured"), visitor)?;
                self.predictor.levels.walk(&join(path, "levels"), visitor)?;
                self.predictor.library.walk(&join(path, "library"), visitor)?;
                self.predictor.response.walk(&join(path, "response"), visitor)
            }
        }
    }

    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        match self.moves {
            Moves::Both => {
                self.predictor.walk_mut(&join(path, "predictor"), visitor)?;
                self.decoder.walk_mut(&join(path, "decoder"), visitor)
            }
            Moves::Response => {
                self.predictor.identity.walk_mut(&join(path, "identity"), visitor)?;
                self.predictor.measured.walk_mut(&join(path, "measured"), visitor)?;
                self.predictor.levels.walk_mut(&join(path, "levels"), visitor)?;
                self.predictor.library.walk_mut(&join(path, "library"), visitor)?;
                self.predictor.response.walk_mut(&join(path, "response"), visitor)
            }
        }
    }
}

movable!(Tuned { moved: [predictor, decoder], kept: [moves, weights, comparison, width], device_field: device });

/// Some sets.
pub struct TuneBatch {
    /// z of the control cells, `(cells, width)`.
    z: Array2<f32>,
    /// How far each is from the mean of its context.
    off_centre: Array2<f32>,
    /// What is asked of the predictor.
    asked: Asked,
    /// What the shares of each control cell are multiplied by, and what its counts are then scaled by before log1p.
    sizes: Vec<f32>,
    scales: Vec<f64>,
    /// z of the perturbed cells, and which belong together.
    perturbed: Array2<f32>,
    perturbed_sets: RowSets,
    /// Observed effect of each set, `(sets, genes)`, 0 of control, and its weight.
    effects: Array2<f32>,
    effect_weights: Vec<f32>,
    /// Mean square of the observed effects of all sets.
    effect_square: f32,
    with_remainder: bool,
    /// z of a part of the molecules of each perturbed cell, and the counts of the rest; where the decoder moves.
    real: Option<(Array2<f32>, CountTarget)>,
}

portable!(Tuned);

impl<D: Backend> Trainable<D> for Tuned<D> {
    type Batch = TuneBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &TuneBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let weights = self.weights;
        let (sets, genes) = (&batch.asked.cells, batch.effects.ncols());
        let z = ops::upload(&self.device, &batch.z)?;
        let rng = context.training.then_some(&mut *context.rng);
        let delta = self.predictor.forward(z.clone().put_tape(tape), &batch.asked, rng)?;
        let moved = ops::add(delta, z.clone().put_tape(T::default()))?;
        let target = ops::upload(&self.device, &batch.perturbed)?;
        let distance = self.comparison.loss(
            (moved.retaped::<T>(), &batch.z),
            sets,
            (&target, &batch.perturbed_sets),
            context.rng,
        )?;
        let observed = D::set_mean(target, &batch.perturbed_sets)?;
        let of_means = EmbeddingLoss::L2.forward(D::set_mean(moved.retaped::<T>(), sets)?, &observed)?;

        let own = self.predictor.own_logits::<T>(&batch.asked, genes)?; // (sets, genes)
        let own_of = |sets: &RowSets| D::take_rows(own.retaped::<T>(), &sets.owners().into());
        let further = || -> Result<_> {
            Ok(ops::upload(&self.device, &(&batch.off_centre * (self.width - 1.0)))?.put_tape(T::default()))
        };
        let log_theta = self.decoder.log_theta.as_vec();
        let expected = |logits: Matrix<D, T>| {
            let shares = shares_of(logits, batch.with_remainder)?;
            D::set_mean(expected_expression(shares, (&batch.sizes, &batch.scales), &log_theta)?, sets)
        };
        let under = expected(ops::add(self.decoder.logits(ops::add(moved, further()?)?)?, own_of(sets)?)?)?;
        let before = expected(self.decoder.logits(ops::add(z.put_tape(T::default()), further()?)?)?)?;
        let effect = effect_loss(under, before, &batch.effects, &batch.effect_weights)?;

        let mut parts = vec![
            (self.comparison.part(), ops::to_f32(&distance)),
            ("means", ops::to_f32(&of_means)),
            ("effect", ops::to_f32(&effect)),
        ];
        let mut total = ops::scaled(distance, weights.energy)?;
        let of_effect = weights.effect + weights.relative_effect / batch.effect_square.max(f32::MIN_POSITIVE);
        for (term, weight) in [(of_means, weights.means), (effect, of_effect)] {
            total = ops::add_scaled(total, term, weight)?;
        }
        if let Some((part, rest)) = &batch.real {
            let part = ops::upload(&self.device, part)?.put_tape(T::default());
            let logits = ops::add(self.decoder.logits(part)?, own_of(&batch.perturbed_sets)?)?;
            let nll = ops::mean(D::count_nll(logits, Dispersion::Gene(&self.decoder.log_theta), None, rest)?)?;
            parts.push(("nll", ops::to_f32(&nll)));
            total = ops::add_scaled(total, nll, weights.counts / genes.max(1) as f32)?;
        }
        Ok(Loss { total: ops::keep_tape(total, own)?, parts })
    }
}

/// The molecules of the training cells in two parts.
struct Halved {
    /// z of one part of each cell.
    z: Array2<f32>,
    /// The counts of the rest, and the share of the first part.
    rest: Counts,
    shares: Vec<f32>,
}

/// Sets of embedded cells.
pub struct TuneSource<'a> {
    sets: SetSource<'a>,
    judge: &'a Judge<'a>,
    /// Mean z of the control cells of each condition's context.
    centres: Vec<Array1<f32>>,
    /// Observed effect of each condition (control has none), and its weight.
    effects: Vec<(Option<ArrayView1<'a, f32>>, f32)>,
    /// Mean square of these effects over perturbations and genes, so weighted.
    square: f32,
    /// Where the decoder moves.
    halved: Option<Halved>,
    with_remainder: bool,
}

impl<'a> TuneSource<'a> {
    /// Of the sets of `response`'s training cells, with the observed effects of their conditions.
    pub fn new(sets: SetSource<'a>, judge: &'a Judge<'a>, observed: &'a EffectTable, response: &Response) -> Self {
        let (known, measured) = (&sets.conditions, &response.measured);
        let centres = known.iter().map(|condition| measured.centre(condition.context.as_ref())).collect();
        let cells = |condition: &Condition| measured.rows(condition).len() as f32;
        let mean_cells = known.iter().map(cells).sum::<f32>() / known.len() as f32;
        let effect = |condition: &Condition| {
            let row = observed.conditions.iter().position(|other| other == condition);
            (row.map(|row| observed.effects.row(row)), cells(condition) / mean_cells)
        };
        let effects: Vec<_> = known.iter().map(effect).collect();
        let square = mean_square(&effects);
        let with_remainder = response.decoder.with_remainder();
        Self { sets, judge, centres, effects, square, halved: None, with_remainder }
    }

    /// With the counts of real cells, which the decoder is kept to.
    fn with_real_cells(self, encoder: &Encoder, rng: &mut ChaCha8Rng) -> Result<Self> {
        let mut part = self.judge.data.select_cells(self.judge.z.rows());
        let ([first, rest], shares) = thinned(&part.counts, SEEN_SHARE..SEEN_SHARE + 1e-6, rng);
        part.counts = first;
        part.library_size.iter_mut().zip(&shares).for_each(|(size, share)| *size *= share);
        let z = encoder.embed(&part, &(0..part.n_cells()).collect::<Vec<_>>())?;
        Ok(Self { halved: Some(Halved { z, rest, shares }), ..self })
    }
}

/// Weighted mean over the perturbations and genes of the square of observed effects; infinite where there is none, so that nothing
/// is taken as a share of it.
fn mean_square(effects: &[(Option<ArrayView1<'_, f32>>, f32)]) -> f32 {
    let observed = || effects.iter().filter_map(|(effect, weight)| Some(((*effect)?, *weight)));
    let of = |(effect, weight): (ArrayView1<'_, f32>, f32)| weight * effect.dot(&effect) / effect.len().max(1) as f32;
    let (sum, weights) = (observed().map(of).sum::<f32>(), observed().map(|(_, weight)| weight).sum::<f32>());
    if sum > 0.0 { sum / weights } else { f32::INFINITY }
}

impl BatchSource for TuneSource<'_> {
    type Batch = TuneBatch;

    fn len(&self) -> usize {
        self.sets.items.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<TuneBatch> {
        let items: Vec<_> = rows.iter().map(|&row| &self.sets.items[row]).collect();
        let data = self.judge.data;
        let controls: Vec<usize> = items.iter().flat_map(|item| item.controls.iter().copied()).collect();
        let perturbed: Vec<usize> = items.iter().flat_map(|item| item.perturbed.iter().copied()).collect();
        let z = self.judge.z.pick(&controls);
        let mut off_centre = z.clone();
        let centres =
            items.iter().flat_map(|item| std::iter::repeat_n(&self.centres[item.condition], item.controls.len()));
        off_centre.rows_mut().into_iter().zip(centres).for_each(|(mut z, centre)| z -= centre);
        let mut effects = Array2::zeros((items.len(), data.n_genes()));
        for (mut row, item) in effects.rows_mut().into_iter().zip(&items) {
            if let Some(effect) = self.effects[item.condition].0 {
                row.assign(&effect);
            }
        }
        let real = self.halved.as_ref().map(|halved| {
            let places = self.judge.z.places(&perturbed);
            let sizes = size_factors(data, &perturbed, self.with_remainder);
            let library_size: Vec<f32> =
                sizes.iter().zip(&places).map(|(size, &at)| size * (1.0 - halved.shares[at])).collect();
            let rest = CountTarget {
                counts: Arc::new(halved.rest.select_cells(&places)),
                library_size: library_size.into(),
                with_remainder: self.with_remainder,
            };
            (halved.z.select(Axis(0), &places), rest)
        });
        Ok(TuneBatch {
            z,
            off_centre,
            asked: Asked::of(items.iter().map(|item| (item.controls.len(), &item.tokens)))
                .with_library_of(data, &controls),
            sizes: size_factors(data, &controls, self.with_remainder),
            scales: controls.iter().map(|&row| f64::from(NORMALISED_TOTAL / data.library_size[row].max(1.0))).collect(),
            perturbed: self.judge.z.pick(&perturbed),
            perturbed_sets: RowSets::from_sizes(items.iter().map(|item| item.perturbed.len())),
            effects,
            effect_weights: items.iter().map(|item| self.effects[item.condition].1).collect(),
            effect_square: self.square,
            with_remainder: self.with_remainder,
            real,
        })
    }

    fn name(&self, row: usize) -> String {
        self.sets.name(row)
    }
}

impl Response {
    /// Trains predictor and decoder further with the encoder as it is, and calibrates the decoder anew.
    pub(in crate::model::jepa) fn tune(
        &mut self,
        judge: &Judge<'_>,
        observed: &EffectTable,
        (encoder, learned): (&Encoder, &[Condition]),
        config: &ResponseConfig,
        run: &Run<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<()> {
        if config.tuning.epochs == 0 {
            return Ok(());
        }
        let draws = config.draws.max(FEWEST_SETS.div_ceil(learned.len()));
        let size = SetSize { cells: config.tuning_cells, draws, hidden: None };
        let form = (encoder.target_sum, self.decoder.with_remainder());
        let sets = SetSource::new(judge.data, &self.measured, learned, form, size, rng)?;
        let source = TuneSource::new(sets, judge, observed, self).with_real_cells(encoder, rng)?;
        let device = Cpu::seed_from_u64(run.seed);
        let both = (self.predictor.clone(), self.decoder.net().clone());
        let mut net = Tuned::new(&device, both, Moves::Both, (config, self.share.width));
        let training = TrainConfig { seed: run.seed, ..config.tuning.clone() };
        let mut tuning = run.part("tuning");
        tuning.progress = run.progress;
        fit_on(&mut net, &source, None, &training, &mut tuning)?;
        self.predictor = net.predictor;
        self.decoder = Decoder::new(net.decoder);
        self.choose_width(judge, learned, &[self.share.width])
    }
}
