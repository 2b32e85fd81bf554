//! The training of phase B, and its predictions in embedding space.

use super::{
    beyond::Beyond,
    choice::{ContextChoice, Start},
    config::{NewContexts, PredictorState, ResponseConfig},
    decoder::{Decoder, DecoderNet, size_factors},
    embedded::{Embedded, Encoder},
    end_to_end::EndToEnd,
    interaction::Interaction,
    judge::{Judge, WIDTHS},
    measured::{Hidden, Measured},
    predictor::Predictor,
    reference::Reference,
    similar::Similar,
    source::{Asked, ConditionTokens, SetSize, SetSource, StartCells},
    transfer::ContextShare,
    unseen::Unseen,
};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, Dataset, TrainingCells, TrainingData, dose::name_and_dose, rows_by_condition, shuffle},
    model::{
        Likelihood, forget_checkpoints,
        jepa::{CollapseAlarm, OnCollapse, heads::Backbone, views::thinned},
        vae::output_bias,
    },
    nn::{EmaMomentum, ops},
    train::{History, Run, TrainConfig, fit_on},
};
use dfdx::prelude::{Cpu, NoneTape};
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::HashSet};

/// Cells that the decoder's start is computed from.
const DECODER_CELLS: usize = 6_000;
/// Share of their molecules that their embeddings are then made of.
const DECODER_SHARE: f64 = 0.7;

/// Share of the (perturbation, context) pairs that early stopping watches.
const LEFT_OUT: f64 = 0.1;
/// Sets of each condition that it watches.
const WATCHED_SETS: usize = 2;

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
    /// Mean distance in embedding space of left-out training combinations to what S says of them, as a share of that without S;
    /// 1 where there is no S.
    #[serde(default = "whole")]
    pub similar: f64,
    /// Number of training combinations that it was chosen on.
    pub combinations: usize,
    /// For contexts in which a perturbation was not measured; `None` where none could be left out.
    pub contexts: Option<ContextShare>,
    /// How it was chosen what predicts there; `None` where it was not.
    #[serde(default)]
    pub choice: Option<ContextChoice>,
}

fn whole() -> f64 {
    1.0
}

/// A trained phase B.
#[derive(Debug, Clone)]
pub struct Response {
    pub(in crate::model::jepa) measured: Measured,
    pub(in crate::model::jepa) predictor: Predictor<Cpu>,
    pub(in crate::model::jepa) interactions: Vec<Interaction<Cpu>>,
    /// S; `None` where it was not asked for, or training combinations tell nothing of one another.
    pub(in crate::model::jepa) similar: Option<Similar>,
    /// Predictors for contexts where a gene was not measured; none where that was not learned.
    pub(in crate::model::jepa) transfers: Vec<Predictor<Cpu>>,
    pub(in crate::model::jepa) share: Share,
    pub(in crate::model::jepa) beyond: Beyond,
    pub(in crate::model::jepa) decoder: Decoder,
    pub(in crate::model::jepa) reference: Reference,
    /// Mean over the training conditions of what each adds to the mean embedding of control, `(width,)`: what predictions are
    /// compared with. `None` in a model that was saved without it, and without a training condition.
    pub(in crate::model::jepa) mean_shift: Option<Array1<f32>>,
    /// Perturbations that were never measured; none where no features were given.
    pub(in crate::model::jepa) unseen: Option<Unseen>,
}

impl Response {
    /// Trains on the training cells, from the student and the teacher that phase A gave; `encoder` holds the teacher and
    /// comes back with its further trained weights.
    ///
    /// # Errors
    /// No control cells, no single perturbation; a loss that is not finite; an interruption.
    pub fn fit(
        data: &TrainingData,
        cells: &TrainingCells,
        (student, encoder): (Backbone<Cpu>, &mut Encoder),
        config: &ResponseConfig,
        teaching: (EmaMomentum, CollapseAlarm),
        run: &Run<'_>,
    ) -> Result<(Self, History)> {
        let choice = match (config.new_contexts, config.predictor) {
            (NewContexts::Chosen, PredictorState::Trained) => {
                let start = Start { student: &student, encoder, teaching };
                ContextChoice::by_leaving_out(data, cells, start, config, run)?
            }
            _ => None,
        };
        let new_contexts = choice.map_or(config.new_contexts, |choice| choice.better());
        let config = ResponseConfig { new_contexts, ..config.clone() };
        let (mut fitted, history) =
            Self::fit_rows(data, cells, &cells.split.train, (student, encoder), &config, teaching, run)?;
        fitted.share.choice = choice;
        Ok((fitted, history))
    }

    /// [`Self::fit`] on these of the training cells, without a choice: [`NewContexts::Chosen`] is the end-to-end training.
    pub(super) fn fit_rows(
        data: &TrainingData,
        cells: &TrainingCells,
        train: &[usize],
        (student, encoder): (Backbone<Cpu>, &mut Encoder),
        config: &ResponseConfig,
        (momentum, alarm): (EmaMomentum, CollapseAlarm),
        run: &Run<'_>,
    ) -> Result<(Self, History)> {
        let (dataset, seed) = (&*cells.data, run.seed);
        let controls = data.controls()?.expect("a dataset of cells has control profiles");
        let mut measured = Measured::new(&cells.conditions, train, controls, &cells.contexts);
        if measured.effects.is_empty() {
            return Err(Error::inapplicable(
                "no single perturbation was trained on, and a combination is predicted from those of its genes",
            ));
        }
        let device = Cpu::seed_from_u64(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let z = Embedded::of(encoder, dataset, train)?;
        let width = z.z.ncols();
        // A library larger than its modelled counts has genes that are not modelled; see `CountTarget`.
        let sum = |row: usize| dataset.counts.row(row).1.iter().sum::<f32>();
        let with_remainder = train.iter().any(|&row| dataset.library_size[row] > sum(row) * 1.001);

        let columns = columns_of(&measured.genes, dataset.gene_names());
        let mut predictor = Predictor::new(&device, measured.shape(width, config), columns, config, &mut rng)?;
        let (effects, means) = z.effects(&measured)?;
        predictor.begin_with(&effects, &means);
        predictor.begin_library(library_scale(dataset, &cells.conditions, train));
        let shape = (width, config.decoder, dataset.n_genes());
        let mut decoder = DecoderNet::new(&device, shape, with_remainder, &mut rng)?;
        begin_decoder(&mut decoder, encoder, dataset, train, &mut rng)?;
        let beginning = predictor.clone();

        // Combinations are left out, so that they may judge what is made of single perturbations.
        let (learned, combinations): (Vec<Condition>, Vec<Condition>) = measured
            .conditions()
            .filter(|condition| measured.controls(condition.context.as_deref()).is_ok())
            .cloned()
            .partition(|condition| condition.perturbation.genes().len() < 2);
        let stops_early = config.training.early_stopping.is_some();
        let (trained, left_out) = match stops_early {
            true => leave_pairs_out(&learned, combinations, &mut rng),
            false => (learned.clone(), Vec::new()),
        };
        let size = SetSize { cells: config.cells, draws: config.draws, hidden: None };
        let form = (encoder.target_sum, with_remainder);
        let sets = SetSource::new(dataset, &measured, &trained, form, size, &mut rng)?;
        let watched = match left_out.as_slice() {
            [] => None,
            left_out => {
                let size = SetSize { hidden: Some(Hidden::Own), draws: WATCHED_SETS, ..size };
                Some(SetSource::new(dataset, &measured, left_out, form, size, &mut rng)?)
            }
        };
        let towers = (student, encoder.backbone.clone());
        // The terms against a collapse have their weights here: an alarm that would raise those of phase A stops.
        let alarm = match alarm.then {
            OnCollapse::Raise { .. } => CollapseAlarm { then: OnCollapse::Stop, ..alarm },
            OnCollapse::Stop | OnCollapse::Ignore => alarm,
        };
        let mut net = EndToEnd::new(towers, encoder.standard.clone(), predictor, decoder, (config, momentum), alarm);
        let training = TrainConfig { seed, ..config.training.clone() };
        let mut part = run.part("phase-b");
        part.progress = run.progress;
        let history = match (fit_on(&mut net, &sets, watched.as_ref(), &training, &mut part), &part.dir) {
            // A training cannot go on from a collapse.
            (Err(error), Some(dir)) if error.kind() == ErrorKind::Numeric => {
                forget_checkpoints(dir)?;
                return Err(error);
            }
            (trained, _) => trained?,
        };
        encoder.backbone = net.teacher.0.clone();

        let z = Embedded::of(encoder, dataset, train)?;
        measured.place_contexts(&z)?;
        let mut fitted = Self {
            mean_shift: z.mean_shift(&measured),
            measured,
            predictor: net.predictor,
            interactions: Vec::new(),
            similar: None,
            beyond: Beyond::none(width),
            transfers: Vec::new(),
            share: Share {
                width: 1.0,
                factor: 1.0,
                interaction: 0.0,
                error: 1.0,
                similar: 1.0,
                combinations: 0,
                contexts: None,
                choice: None,
            },
            decoder: Decoder::new(net.decoder),
            reference: Reference::of(dataset, &cells.conditions, train, seed)?,
            unseen: None,
        };
        let judge = Judge::new(dataset, cells.expression()?, train, &z, seed)?;
        fitted.choose_width(&judge, &learned, &WIDTHS)?;
        fitted.tune(&judge, data.effects()?, (encoder, &learned), config, run, &mut rng)?;
        match config.predictor {
            PredictorState::Trained => {
                if config.new_contexts == NewContexts::LeftOut {
                    fitted.fit_transfer((&judge, data.effects()?), (encoder, &learned), config, run, &mut rng)?;
                }
                fitted.fit_interaction(&judge, config, run, &mut rng)?;
                fitted.measure_combinations(&z)?;
            }
            PredictorState::Initial => fitted.predictor = beginning,
            PredictorState::Measured => {
                fitted.predictor = beginning;
                let (effects, means) = z.effects(&fitted.measured)?;
                fitted.predictor.begin_with(&effects, &means);
                fitted.measure_combinations(&z)?;
            }
        }
        Ok((fitted, history))
    }

    /// The same for control cells of embeddings z `(cells, width)`, which are of a context that it knows, or else of a new one.
    pub fn knowing(&self, context: &Option<String>, z: &Array2<f32>) -> Cow<'_, Self> {
        match z.mean_axis(Axis(0)) {
            Some(centre) if self.measured.is_new(context.as_ref()) => {
                let mut response = self.clone();
                response.measured.add_context(context.clone(), centre);
                Cow::Owned(response)
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// What is added to the decoder's logits under a condition, `(genes,)`.
    ///
    /// # Errors
    /// As [`Self::moved`].
    pub fn own(&self, condition: &Condition) -> Result<Array1<f32>> {
        if let Some(own) = self.own_by_features(condition)? {
            return Ok(own);
        }
        if let Some([(low, before), (high, after)]) = self.measured.between(condition)? {
            return Ok(self.own(&low)? * before + self.own(&high)? * after);
        }
        let asked = Asked::of([(1, &self.measured.tokens(condition, Hidden::Nothing)?)]);
        let own = self.predictor.own_logits::<NoneTape>(&asked, self.decoder.n_genes())?;
        Ok(ops::download(&own).row(0).to_owned())
    }

    /// The embeddings that control cells have under a condition, `(cells, width)`.
    ///
    /// # Errors
    /// Genes that were never perturbed alone in training and have no features, all named:
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn moved(&self, start: &StartCells, condition: &Condition) -> Result<Array2<f32>> {
        if let Some(moved) = self.moved_by_features(start, condition)? {
            return Ok(moved);
        }
        if let Some([(low, before), (high, after)]) = self.measured.between(condition)? {
            return Ok(self.moved(start, &low)? * before + self.moved(start, &high)? * after);
        }
        let z = &start.z;
        let tokens = self.measured.tokens(condition, Hidden::Nothing)?;
        if tokens.genes.is_empty() {
            return Ok(z.clone());
        }
        if let (Some(of_contexts), Some(shift)) = (self.share.contexts, self.beyond.whole(condition, &self.measured)) {
            return Ok(z + &(shift * of_contexts.factor as f32));
        }
        let factor = if tokens.genes.len() > 1 { self.share.factor } else { 1.0 };
        let mut moved = z + &(self.shift(start, condition, &tokens)? * factor as f32);
        if let Some(beyond) = self.beyond.of(condition, &self.measured) {
            moved += &beyond;
        }
        if tokens.genes.len() < 2 || (self.share.interaction == 0.0 && self.similar.is_none()) {
            return Ok(moved);
        }
        let (sum, pairs) = self.together(&tokens);
        if let Some(similar) = &self.similar {
            moved += &similar.of(&sum);
        }
        if self.share.interaction > 0.0 {
            let each = (self.share.interaction / self.interactions.len() as f64) as f32;
            for interaction in &self.interactions {
                moved += &(interaction.of(&sum, &pairs)? * each);
            }
        }
        Ok(moved)
    }

    /// The sum of D over the genes of a condition, `(cells, width)`; in a context where one was not measured, by what carries it
    /// there.
    pub(super) fn shift(
        &self,
        start: &StartCells,
        condition: &Condition,
        tokens: &ConditionTokens,
    ) -> Result<Array2<f32>> {
        let genes = &self.measured.genes;
        let here = |gene: u32| self.measured.here(&genes[gene as usize], condition.context.as_ref());
        let [known, carried] = tokens.parted(|gene| self.transfers.is_empty() || here(gene));
        let mut sum = Array2::zeros(start.z.dim());
        if !known.genes.is_empty() {
            sum += &self.predictor.shift(start, &known)?;
        }
        if !carried.genes.is_empty() {
            let each = 1.0 / self.transfers.len() as f32;
            for predictor in &self.transfers {
                sum.scaled_add(each, &predictor.shift(start, &carried)?);
            }
        }
        Ok(sum)
    }
}

/// Mean and deviation of ln library size over the control cells among the cells `train`.
fn library_scale(data: &Dataset, conditions: &[Condition], train: &[usize]) -> [f32; 2] {
    let controls = train.iter().filter(|&&row| conditions[row].perturbation.is_control());
    let logs: Array1<f32> = controls.map(|&row| data.library_size[row].max(1.0).ln()).collect();
    [logs.mean().unwrap_or(0.0), if logs.is_empty() { 0.0 } else { logs.std(0.0) }]
}

/// Refuses early stopping where there is nothing to watch.
///
/// # Errors
/// Training cells of no combination, and of no perturbation in several contexts.
pub fn check_watched(conditions: &[Condition], train: &[usize]) -> Result<()> {
    let trained: Vec<Condition> = rows_by_condition(conditions, train).into_keys().cloned().collect();
    let combination = |condition: &Condition| condition.perturbation.genes().len() > 1;
    match trained.iter().any(combination) || !in_several_contexts(&trained).is_empty() {
        true => Ok(()),
        false => Err(Error::config(
            "response.training.early_stopping watches combinations and perturbations that were measured in several contexts, \
             and the training cells have neither; leave it out",
        )),
    }
}

/// The conditions of single perturbations that are also among the others in another context.
fn in_several_contexts(conditions: &[Condition]) -> Vec<Condition> {
    let single = |condition: &&Condition| condition.perturbation.genes().len() == 1;
    let elsewhere = |condition: &&Condition| {
        conditions
            .iter()
            .any(|other| other.perturbation == condition.perturbation && other.context != condition.context)
    };
    conditions.iter().filter(single).filter(elsewhere).cloned().collect()
}

/// Splits the conditions of no and single perturbations into those that are trained on and those that are left out, which the
/// `combinations` join: a share of the pairs of a perturbation and a context, of perturbations that were measured elsewhere too,
/// at most one a perturbation.
fn leave_pairs_out(
    learned: &[Condition],
    combinations: Vec<Condition>,
    rng: &mut ChaCha8Rng,
) -> (Vec<Condition>, Vec<Condition>) {
    let mut pairs = in_several_contexts(learned);
    shuffle(&mut pairs, rng);
    let wanted = (LEFT_OUT * pairs.len() as f64).ceil() as usize;
    let mut left = HashSet::new();
    pairs.retain(|pair| left.insert(pair.perturbation.clone()));
    pairs.truncate(wanted);
    let trained = learned.iter().filter(|condition| !pairs.contains(condition)).cloned().collect();
    (trained, combinations.into_iter().chain(pairs).collect())
}

/// The column of each of `genes` among `names`.
pub fn columns_of(genes: &[String], names: &[String]) -> Vec<Option<usize>> {
    genes.iter().map(|gene| names.iter().position(|name| name == name_and_dose(gene).0)).collect()
}

/// Starts the decoder at the log-linear model of the cells `rows`; see [`DecoderNet::begin_with`].
///
/// # Errors
/// Another number of genes than the encoder's.
pub fn begin_decoder(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Perturbation;

    #[test]
    fn at_most_one_pair_of_a_perturbation_is_left_out_and_nothing_is_lost() {
        let condition = |gene: &str, context: &str| Condition {
            perturbation: Perturbation::of([gene]),
            context: Some(context.to_owned()),
        };
        let genes: Vec<String> = (0..10).map(|gene| format!("G{gene}")).collect();
        let mut learned: Vec<Condition> =
            genes.iter().flat_map(|gene| ["a", "b", "c"].map(|context| condition(gene, context))).collect();
        learned.push(condition("ALONE", "a"));
        let double = Condition { perturbation: Perturbation::of(["G1", "G2"]), context: Some("a".to_owned()) };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (trained, left_out) = leave_pairs_out(&learned, vec![double.clone()], &mut rng);
        // A tenth of 30 pairs, and the combination.
        assert_eq!((trained.len(), left_out.len()), (learned.len() - 3, 4));
        assert!(left_out.contains(&double) && trained.contains(&condition("ALONE", "a")));
        let perturbations: HashSet<&Perturbation> = left_out.iter().map(|pair| &pair.perturbation).collect();
        assert_eq!(perturbations.len(), 4, "each is of another perturbation");
        assert!(learned.iter().all(|condition| trained.contains(condition) != left_out.contains(condition)));
        let all: Vec<usize> = (0..learned.len()).collect();
        assert!(check_watched(&learned, &all).is_ok());
        assert!(check_watched(&learned[..1], &[0]).is_err());
    }
}
