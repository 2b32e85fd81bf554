//! The training of phase B, and its predictions in embedding space.

use super::{
    config::ResponseConfig,
    decoder::{Calibrated, Decoder, DecoderNet, size_factors},
    measured::Measured,
    net::{EndToEnd, Interaction, PairBatch, Predictor},
    reference::Reference,
    source::{Asked, SetSize, SetSource, Tokens, profile},
};
use crate::{
    Result,
    data::{Condition, Counts, Dataset, TrainingCells, TrainingData, part_of, shuffle},
    math::Pca,
    model::{
        Generated, Likelihood,
        jepa::{encoder::Seen, heads::Backbone, views::thinned},
        vae::output_bias,
    },
    nn::{EmaMomentum, Linear, RowSets, SetDistance, ops},
    train::{BatchSource, History, Run, TrainConfig, fit},
};
use dfdx::prelude::{Cpu, NoneTape};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Shares of the interaction that are tried.
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Factors of the sum that are tried.
const FACTORS: [f64; 7] = [0.55, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2];
/// Fewer combinations cannot be trained on and judged by.
const FEWEST_COMBINATIONS: usize = 4;
/// Cells of a set that a share is judged on.
const JUDGED: usize = 256;
/// Cells that go through the encoder at once when nothing is trained.
const AT_ONCE: usize = 256;
/// Cells that the decoder's start is computed from.
const DECODER_CELLS: usize = 6_000;
/// Share of their molecules that their embeddings are then made of.
const DECODER_SHARE: f64 = 0.7;

/// Factors of the spread that are tried.
const WIDTHS: [f64; 6] = [1.0, 1.2, 1.4, 1.6, 1.8, 2.0];
/// Components of the space that predicted cells are judged in, and cells that it is fitted to.
const SPACE: (usize, usize) = (30, 2_000);
/// Conditions that a factor is judged on, and cells of each.
const JUDGES: (usize, usize) = (16, 128);

/// What was chosen inside the training fold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Factor of how far control cells are from their mean before they are decoded, by the E-distance of decoded training
    /// cells: an embedding of few molecules lies nearer to the mean than its cell.
    pub width: f64,
    /// Factor of the sum of a combination's shifts, by the E-distance of the training combinations, which it was not trained
    /// on.
    pub factor: f64,
    /// gamma, the share of the interaction that is used for a combination.
    pub interaction: f64,
    /// E-distance of the left-out combinations with it, as a share of that without interaction; 1 where none was left out.
    pub error: f64,
    /// Number of training combinations that it was chosen on.
    pub combinations: usize,
}

/// An encoder, and the map that whitens its output.
#[derive(Debug, Clone)]
pub(in crate::model::jepa) struct Encoder {
    pub backbone: Backbone<Cpu>,
    pub white: Linear<Cpu>,
    pub target_sum: f32,
}

impl Encoder {
    /// Number of features of z.
    pub fn width(&self) -> usize {
        use dfdx::prelude::HasShape;
        self.white.bias.shape().0
    }

    /// z of the cells `rows`, `(rows, width)`.
    pub fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        let blocks = rows.chunks(AT_ONCE).map(|rows| {
            let factors: Vec<f32> = rows.iter().map(|&row| self.target_sum / data.library_size[row].max(1.0)).collect();
            let counts = Arc::new(data.counts.select_cells(rows).scale_rows(&factors));
            let h = self.backbone.encoder.forward(&Seen::whole(counts), NoneTape)?;
            Ok(ops::download(&self.white.forward(h)?))
        });
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        match views.is_empty() {
            true => Ok(Array2::zeros((0, self.width()))),
            false => Ok(concatenate(Axis(0), &views).expect("every block has the same width")),
        }
    }
}

/// A trained phase B.
#[derive(Debug, Clone)]
pub struct Response {
    pub(in crate::model::jepa) measured: Measured,
    pub(in crate::model::jepa) predictor: Predictor<Cpu>,
    pub(in crate::model::jepa) interactions: Vec<Interaction<Cpu>>,
    pub(in crate::model::jepa) share: Share,
    /// Mean z of the control cells of each context, `(contexts, width)`.
    pub(in crate::model::jepa) centres: Array2<f32>,
    pub(in crate::model::jepa) decoder: Decoder,
    pub(in crate::model::jepa) reference: Reference,
}

impl Response {
    /// Trains on the training cells. `encoder` is what phase A gave, read by `teacher`; both come back trained further.
    ///
    /// # Errors
    /// No control cells, no single perturbation; a loss that is not finite; an interruption.
    pub fn fit(
        data: &TrainingData,
        cells: &TrainingCells,
        (student, encoder): (Backbone<Cpu>, &mut Encoder),
        config: &ResponseConfig,
        momentum: EmaMomentum,
        run: &Run<'_>,
    ) -> Result<(Self, History)> {
        let (dataset, train, seed) = (&*cells.data, &cells.split.train, run.seed);
        let controls = data.controls()?.expect("a dataset of cells has control profiles");
        let measured = Measured::new(&cells.conditions, train, controls);
        let device = Cpu::seed_from_u64(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let z = Embedded::of(encoder, dataset, train)?;
        let width = z.z.ncols();
        // A library larger than its modelled counts has genes that are not modelled; see `CountTarget`.
        let sum = |row: usize| dataset.counts.row(row).1.iter().sum::<f32>();
        let with_remainder = train.iter().any(|&row| dataset.library_size[row] > sum(row) * 1.001);

        let columns = columns_of(&measured.genes, dataset.gene_names());
        let mut predictor = Predictor::new(&device, (width, measured.effects.len()), columns, config, &mut rng)?;
        let (effects, means) = z.effects(&measured)?;
        predictor.begin_with(&effects, &means);
        let shape = (width, config.decoder, dataset.n_genes());
        let mut decoder = DecoderNet::new(&device, shape, with_remainder, &mut rng)?;
        begin_decoder(&mut decoder, encoder, dataset, train, &mut rng)?;

        // Combinations are left out, so that they may judge what is made of single perturbations.
        let learned: Vec<Condition> = measured
            .conditions()
            .filter(|condition| condition.perturbation.genes().len() < 2)
            .filter(|condition| measured.controls(condition.context.as_deref()).is_ok())
            .cloned()
            .collect();
        let size = SetSize { cells: config.cells, draws: config.draws };
        let form = (encoder.target_sum, with_remainder);
        let sets = SetSource::new(dataset, &measured, &learned, form, size, &mut rng)?;
        let towers = (student, encoder.backbone.clone());
        let weights = (config.weights, momentum);
        let mut net = EndToEnd::new(towers, encoder.white.clone(), predictor, decoder, weights);
        let training = TrainConfig { seed, early_stopping: None, ..config.training.clone() };
        let mut part = run.part("phase-b");
        part.progress = run.progress;
        let history = fit(&mut net, &sets, None, &device, &training, &mut part)?;
        encoder.backbone = net.teacher.0.clone();

        let z = Embedded::of(encoder, dataset, train)?;
        let mut centres = Array2::zeros((0, width));
        for context in &measured.contexts {
            let centre = z.mean(measured.controls(context.as_deref())?).mapv(|v| v as f32);
            centres.push_row(centre.view()).expect("all have one width");
        }
        let mut fitted = Self {
            measured,
            predictor: net.predictor,
            interactions: Vec::new(),
            share: Share { width: 1.0, factor: 1.0, interaction: 0.0, error: 1.0, combinations: 0 },
            centres,
            decoder: Decoder::new(net.decoder),
            reference: Reference::of(dataset, &cells.conditions, train, seed)?,
        };
        let judge = Judge::new(dataset, cells.expression()?, train, &z, seed)?;
        fitted.choose_width(&judge, &learned)?;
        fitted.fit_interaction(&judge, config, run, &mut rng)?;
        Ok((fitted, history))
    }

    /// Chooses how far decoded cells are spread, by the E-distance of training cells; the decoder is calibrated for it.
    fn choose_width(&mut self, judge: &Judge<'_>, learned: &[Condition]) -> Result<()> {
        let (data, z) = (judge.data, judge.z);
        let mut conditions = Vec::new();
        let mut controls = Vec::new();
        for condition in learned {
            let mut from = self.measured.controls(condition.context.as_deref())?.to_vec();
            if condition.perturbation.is_control() {
                controls.extend(from.iter().copied());
            }
            from.truncate(JUDGED);
            let h = z.pick(&from);
            let moved = self.moved(&h, condition)?;
            let rows = self.measured.rows(condition).to_vec();
            conditions.push((condition, h, moved, self.own(condition)?, from, rows));
        }
        let uncalibrated = self.decoder.clone();
        let mut best: Option<(f64, f64, Decoder)> = None;
        for width in WIDTHS {
            self.share.width = width;
            self.decoder = uncalibrated.clone();
            let spread: Vec<_> = conditions
                .iter()
                .map(|(condition, h, moved, own, from, rows)| Calibrated {
                    z: self.widened(h, moved.clone(), condition),
                    own: own.clone(),
                    from: from.clone(),
                    observed: rows.clone(),
                })
                .collect();
            let mut of_control = Array2::zeros((0, z.z.ncols()));
            let mut control_rows = Vec::new();
            for (condition, h, _, _, from, _) in conditions.iter().filter(|(c, ..)| c.perturbation.is_control()) {
                let widened = self.widened(h, h.clone(), condition);
                of_control.append(Axis(0), widened.view()).expect("all have one width");
                control_rows.extend_from_slice(from);
            }
            self.decoder.calibrate(data, (&of_control, &control_rows), &spread)?;
            let mut total = 0.0;
            for Calibrated { z, own, from, observed } in spread.iter().take(JUDGES.0) {
                total += judge.distance(&self.decoder, (z, own), from, observed)?;
            }
            if best.as_ref().is_none_or(|(least, ..)| total < *least) {
                best = Some((total, width, self.decoder.clone()));
            }
        }
        let (_, width, decoder) = best.expect("there are widths");
        self.share.width = width;
        self.decoder = decoder;
        Ok(())
    }

    /// Chooses the factor of the sum, trains the interaction in folds of the training combinations, and chooses how much of it
    /// is used.
    fn fit_interaction(
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
            let Ok(tokens) = self.measured.tokens(condition, false) else { continue };
            let few = |rows: &[usize]| rows[..rows.len().min(JUDGED)].to_vec();
            let from = few(self.measured.controls(condition.context.as_deref())?);
            let rows = few(self.measured.rows(condition));
            let (h, target) = (z.pick(&from), z.pick(&rows));
            let shift = self.predictor.shift(&h, &Asked::of([(h.nrows(), &tokens)]))?;
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
        let least = least(&distances);
        self.share.factor = FACTORS[least];
        self.share.combinations = combinations.len();
        if combinations.len() < FEWEST_COMBINATIONS {
            return Ok(());
        }
        for combination in &mut combinations {
            combination.moved.scaled_add(FACTORS[least] as f32, &combination.shift);
            combination.widened.scaled_add(FACTORS[least] as f32, &combination.shift);
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
            let source = |places: Vec<usize>| PairSource { combinations: &combinations, places, remainder };
            let (train, held_out) =
                (source(order.iter().copied().filter(|at| !held.contains(at)).collect()), source(held.clone()));
            let net = self.decoder.net().clone();
            let mut interaction =
                Interaction::new(&Cpu::seed_from_u64(run.seed), (width, config.rank), net, config.weights, rng)?;
            let training = TrainConfig { seed: run.seed, ..config.interaction.clone() };
            let mut part = run.part(&format!("interaction-{fold}"));
            fit(&mut interaction, &train, Some(&held_out), &Cpu::default(), &training, &mut part)?;
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
        let mean = |share: usize| errors.iter().map(|of| of[share]).sum::<f64>() / errors.len() as f64;
        let best = self::least(&(0..SHARES.len()).map(mean).collect::<Vec<_>>());
        // A few combinations are easily fitted by chance: the gain has to be more than one standard error of itself.
        let gain = mean(0) - mean(best);
        let variance = errors.iter().map(|of| (of[0] - of[best] - gain).powi(2)).sum::<f64>();
        let standard_error = (variance / ((errors.len() - 1) * errors.len()) as f64).sqrt();
        if gain > standard_error {
            self.share.interaction = SHARES[best];
            self.share.error = mean(best) / mean(0).max(f64::MIN_POSITIVE);
        }
        Ok(())
    }

    /// `moved` embeddings with the spread of the control embeddings z `(cells, width)` that they were made of, times the
    /// chosen factor: what is decoded.
    pub fn widened(&self, z: &Array2<f32>, moved: Array2<f32>, condition: &Condition) -> Array2<f32> {
        let place = self.measured.contexts.iter().position(|context| *context == condition.context);
        let centre = match place {
            Some(place) => self.centres.row(place).to_owned(),
            None => self.centres.mean_axis(Axis(0)).expect("there are control cells"),
        };
        moved + &((z - &centre) * (self.share.width - 1.0) as f32)
    }

    /// `sum_g s_g` of a condition, and s of both genes of each pair, scaled to mean square 1.
    fn together(&self, tokens: &Tokens) -> (Array1<f32>, [Array2<f32>; 2]) {
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

    /// What is added to the decoder's logits under a condition, `(genes,)`.
    ///
    /// # Errors
    /// As [`Self::moved`].
    pub fn own(&self, condition: &Condition) -> Result<Array1<f32>> {
        let asked = Asked::of([(1, &self.measured.tokens(condition, false)?)]);
        let own = self.predictor.own_logits::<NoneTape>(&asked, self.decoder.n_genes())?;
        Ok(ops::download(&own).row(0).to_owned())
    }

    /// The embeddings that control cells of embeddings z `(cells, width)` have under a condition.
    ///
    /// # Errors
    /// Genes that were never perturbed alone in training, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn moved(&self, z: &Array2<f32>, condition: &Condition) -> Result<Array2<f32>> {
        let tokens = self.measured.tokens(condition, false)?;
        if tokens.genes.is_empty() {
            return Ok(z.clone());
        }
        let factor = if tokens.genes.len() > 1 { self.share.factor } else { 1.0 };
        let mut moved = z + &(self.predictor.shift(z, &Asked::of([(z.nrows(), &tokens)]))? * factor as f32);
        if tokens.genes.len() > 1 && self.share.interaction > 0.0 {
            let (sum, pairs) = self.together(&tokens);
            let each = (self.share.interaction / self.interactions.len() as f64) as f32;
            for interaction in &self.interactions {
                moved += &(interaction.of(&sum, &pairs)? * each);
            }
        }
        Ok(moved)
    }
}

/// The place of the least value.
fn least(values: &[f64]) -> usize {
    (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b])).expect("there is a value")
}

/// Judges decoded cells by their E-distance to observed ones, in principal components of the training cells' log-normalised
/// expression.
struct Judge<'a> {
    data: &'a Dataset,
    expression: &'a Counts,
    z: &'a Embedded,
    pca: Pca,
    seed: u64,
}

impl<'a> Judge<'a> {
    fn new(data: &'a Dataset, expression: &'a Counts, train: &[usize], z: &'a Embedded, seed: u64) -> Result<Self> {
        let mut rows = train.to_vec();
        shuffle(&mut rows, &mut ChaCha8Rng::seed_from_u64(seed));
        rows.truncate(SPACE.1);
        let cells = expression.select_cells(&rows).to_dense();
        let pca = Pca::fit(cells.view(), SPACE.0.min(cells.nrows()).min(cells.ncols()), seed)?;
        Ok(Self { data, expression, z, pca, seed })
    }

    /// E-distance of the cells decoded from z, with the library sizes of the rows `from`, to the cells `rows`.
    fn distance(
        &self,
        decoder: &Decoder,
        (z, own): (&Array2<f32>, &Array1<f32>),
        from: &[usize],
        rows: &[usize],
    ) -> Result<f64> {
        let n = JUDGES.1.min(from.len());
        let (z, from) = (z.slice(ndarray::s![..n, ..]).to_owned(), &from[..n]);
        let values = decoder.counts((&z, own), self.data, from, self.seed)?;
        let library_size = from.iter().map(|&row| self.data.library_size[row]).collect();
        let drawn = Generated { values, library_size, are_counts: true }.log_normalised();
        let observed = self.expression.select_cells(&rows[..JUDGES.1.min(rows.len())]).to_dense();
        let (x, y) = (self.pca.transform(drawn.view())?, self.pca.transform(observed.view())?);
        let (a, b) = (RowSets::uniform(1, x.nrows()), RowSets::uniform(1, y.nrows()));
        let device = Cpu::default();
        let (x, y) = (ops::upload(&device, &x)?, ops::upload(&device, &y)?);
        Ok(f64::from(SetDistance::Energy.forward(x, &a, &y, &b)?.as_vec()[0]))
    }
}

/// The column of each of `genes` among `names`.
pub fn columns_of(genes: &[String], names: &[String]) -> Vec<Option<usize>> {
    genes.iter().map(|gene| names.iter().position(|name| name == gene)).collect()
}

/// z of the training cells.
struct Embedded {
    z: Array2<f32>,
    place: BTreeMap<usize, usize>,
}

impl Embedded {
    fn of(encoder: &Encoder, data: &Dataset, rows: &[usize]) -> Result<Self> {
        let place = rows.iter().enumerate().map(|(place, &row)| (row, place)).collect();
        Ok(Self { z: encoder.embed(data, rows)?, place })
    }

    fn of_rows(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.place[row]).collect()
    }

    fn pick(&self, rows: &[usize]) -> Array2<f32> {
        self.z.select(Axis(0), &self.of_rows(rows))
    }

    fn mean(&self, rows: &[usize]) -> Array1<f64> {
        self.pick(rows).mapv(f64::from).mean_axis(Axis(0)).expect("there are cells of every condition")
    }

    /// The difference that each measured perturbation makes to the mean, `(effects, width)`, and each gene's mean over
    /// contexts, `(genes, width)`.
    fn effects(&self, measured: &Measured) -> Result<(Array2<f64>, Array2<f64>)> {
        let mut effects = Array2::zeros((0, self.z.ncols()));
        for (gene, context) in &measured.effects {
            let condition =
                Condition { perturbation: crate::data::Perturbation::of([gene.as_str()]), context: context.clone() };
            let shift = self.mean(measured.rows(&condition)) - self.mean(measured.controls(context.as_deref())?);
            effects.push_row(shift.view()).expect("every effect has the same width");
        }
        let mut means = Array2::zeros((measured.genes.len(), self.z.ncols()));
        for (mut mean, gene) in means.rows_mut().into_iter().zip(&measured.genes) {
            let rows: Vec<usize> =
                (0..measured.effects.len()).filter(|&row| measured.effects[row].0 == *gene).collect();
            rows.iter().for_each(|&row| mean += &effects.row(row));
            mean /= rows.len() as f64;
        }
        Ok((effects, means))
    }
}

/// Starts the decoder at the log-linear model of the cells `rows`; see [`DecoderNet::begin_with`].
fn begin_decoder(
    decoder: &mut DecoderNet<Cpu>,
    encoder: &Encoder,
    data: &Dataset,
    rows: &[usize],
    rng: &mut ChaCha8Rng,
) -> Result<()> {
    let mut rows = rows.to_vec();
    shuffle(&mut rows, rng);
    rows.truncate(DECODER_CELLS);
    let bias = output_bias(data, &rows, Likelihood::Nb, decoder.with_remainder);
    let mut part = data.select_cells(&rows);
    let ([first, second], shares) = thinned(&part.counts, DECODER_SHARE..DECODER_SHARE + 1e-6, rng);
    let sizes = size_factors(data, &rows, decoder.with_remainder);
    let libraries: Vec<f32> = sizes.iter().zip(&shares).map(|(size, share)| size * (1.0 - share)).collect();
    part.counts = first;
    part.library_size.iter_mut().zip(&shares).for_each(|(size, share)| *size *= share);
    let z = encoder.embed(&part, &(0..rows.len()).collect::<Vec<_>>())?;
    decoder.begin_with(&z, &second, &libraries, &bias);
    Ok(())
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
    remainder: bool,
}

impl BatchSource for PairSource<'_> {
    type Batch = PairBatch;

    fn len(&self) -> usize {
        self.places.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<PairBatch> {
        let items: Vec<&Combination> = rows.iter().map(|&row| &self.combinations[self.places[row]]).collect();
        let stacked = |part: &dyn Fn(&'_ Combination) -> &Array2<f32>| {
            let views: Vec<ArrayView2<'_, f32>> = items.iter().map(|item| part(item).view()).collect();
            concatenate(Axis(0), &views).expect("all have one width")
        };
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
            moved: stacked(&|item| &item.moved),
            rows: RowSets::from_sizes(items.iter().map(|item| item.moved.nrows())),
            sums,
            pairs: [stacked(&|item| &item.pairs[0]), stacked(&|item| &item.pairs[1])],
            of_combination: RowSets::from_sizes(items.iter().map(|item| item.pairs[0].nrows())),
            target: stacked(&|item| &item.target),
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
