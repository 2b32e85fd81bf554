//! What predicts a context where nothing was measured is chosen by trying both ways on training contexts.
//!
//! For some of the training contexts, one at a time, phase B is trained without the perturbed cells of that context, and both
//! ways of [`NewContexts`] predict them. The way whose decoded cells come nearer to the observed ones is used, by the mean E-distance
//! over all perturbations of the contexts tried. Phase A is not trained again: it uses no labels, and both ways have the same
//! encoder. The other trainings have half of their epochs, to save time.

use super::{
    config::{NewContexts, ResponseConfig},
    embedded::{Embedded, Encoder},
    fit::Response,
    judge::{Judge, few},
    measured::Hidden,
};
use crate::{
    ErrorKind, Result,
    data::{Condition, TrainingCells, TrainingData, rows_by_condition, shuffle},
    model::jepa::{CollapseAlarm, heads::Backbone},
    nn::EmaMomentum,
    train::Run,
};
use dfdx::prelude::Cpu;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Contexts that are left out, at least and at most: each costs another phase B.
const CONTEXTS: (usize, usize) = (2, 4);
/// No further context is left out once so many perturbations were predicted.
const ENOUGH: usize = 20;
/// Training contexts that there must be: a way that is learned by leaving contexts out needs two beside the one tried.
const LEAST: usize = 3;
/// Perturbations of a context that are predicted, at most.
const PERTURBATIONS: usize = 12;

/// How both ways predicted the contexts that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContextChoice {
    /// Mean E-distance of decoded to observed cells, with [`NewContexts::EndToEnd`].
    pub end_to_end: f64,
    /// The same with [`NewContexts::LeftOut`].
    pub left_out: f64,
    /// Contexts that were left out.
    pub contexts: usize,
    /// Perturbations that were predicted there, summed over the contexts.
    pub predictions: usize,
}

impl ContextChoice {
    /// The way that came nearer.
    pub fn better(&self) -> NewContexts {
        if self.left_out < self.end_to_end { NewContexts::LeftOut } else { NewContexts::EndToEnd }
    }
}

impl fmt::Display for ContextChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = match self.better() {
            NewContexts::LeftOut => "left_out",
            NewContexts::EndToEnd | NewContexts::Chosen => "end_to_end",
        };
        write!(
            f,
            "; new contexts are predicted by {used}: trained without one of {} contexts, E-distance {:.3} of end_to_end and {:.3} of \
             left_out to its cells",
            self.contexts, self.end_to_end, self.left_out
        )
    }
}

/// What phase B is trained with beside the cells.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) student: &'a Backbone<Cpu>,
    pub(super) encoder: &'a Encoder,
    pub(super) teaching: (EmaMomentum, CollapseAlarm),
}

impl ContextChoice {
    /// Tries both ways; `None` where the training cells have too few contexts, or no perturbation in two of them.
    ///
    /// # Errors
    /// An interruption, and whatever else ends a training, but for a collapse: that context is not counted.
    pub(super) fn by_leaving_out(
        data: &TrainingData,
        cells: &TrainingCells,
        start: Start<'_>,
        config: &ResponseConfig,
        run: &Run<'_>,
    ) -> Result<Option<Self>> {
        let mut contexts = shared_contexts(cells);
        if contexts.len() < LEAST {
            return Ok(None);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        shuffle(&mut contexts, &mut rng);
        contexts.truncate(CONTEXTS.1);
        let mut config = ResponseConfig { new_contexts: NewContexts::LeftOut, ..config.clone() };
        for training in [&mut config.training, &mut config.tuning, &mut config.transfer] {
            training.epochs = training.epochs.div_ceil(2);
        }
        let mut of_contexts: Vec<Vec<[f64; 2]>> = Vec::new();
        for (number, context) in contexts.iter().enumerate() {
            if of_contexts.len() >= CONTEXTS.0 && of_contexts.iter().map(Vec::len).sum::<usize>() >= ENOUGH {
                break;
            }
            run.check_interrupt()?;
            let part = Run { resume: run.resume, ..run.part(&format!("without-{number}")) };
            match without(context.as_ref(), data, cells, start, &config, &part, &mut rng) {
                Err(error) if error.kind() == ErrorKind::Numeric => {}
                tried => of_contexts.push(tried?),
            }
        }
        let distances: Vec<[f64; 2]> = of_contexts.iter().flatten().copied().collect();
        let n = distances.len();
        let mean = |way: usize| distances.iter().map(|of| of[way]).sum::<f64>() / n as f64;
        Ok((n > 0).then(|| Self {
            end_to_end: mean(0),
            left_out: mean(1),
            contexts: of_contexts.len(),
            predictions: n,
        }))
    }
}

/// Contexts in which a gene was perturbed alone that was so in another one too.
fn shared_contexts(cells: &TrainingCells) -> Vec<Option<String>> {
    let trained: Vec<&Condition> = rows_by_condition(&cells.conditions, &cells.split.train).into_keys().collect();
    let singles = || trained.iter().filter(|condition| condition.perturbation.genes().len() == 1);
    let shared = |condition: &&&Condition| {
        singles().any(|other| other.perturbation == condition.perturbation && other.context != condition.context)
    };
    let contexts: BTreeSet<Option<String>> =
        singles().filter(shared).map(|condition| condition.context.clone()).collect();
    contexts.into_iter().collect()
}

/// The E-distances of both ways for perturbations of a context that the training did without. Combinations are left out of it
/// too: single perturbations are what is carried from context to context.
fn without(
    context: Option<&String>,
    data: &TrainingData,
    cells: &TrainingCells,
    start: Start<'_>,
    config: &ResponseConfig,
    run: &Run<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<[f64; 2]>> {
    let condition = |row: &usize| &cells.conditions[*row];
    let is_hidden =
        |row: &usize| condition(row).context.as_ref() == context && !condition(row).perturbation.is_control();
    let (hidden, mut rows): (Vec<usize>, Vec<usize>) = cells.split.train.iter().partition(|row| is_hidden(row));
    rows.retain(|row| condition(row).perturbation.genes().len() < 2);
    let mut encoder = start.encoder.clone();
    let (response, _) =
        Response::fit_rows(data, cells, &rows, (start.student.clone(), &mut encoder), config, start.teaching, run)?;
    let mut end_to_end = response.clone();
    end_to_end.transfers.clear();
    end_to_end.share.contexts = None;

    let z = Embedded::of(&encoder, &cells.data, &rows)?;
    let judge = Judge::new(&cells.data, cells.expression()?, &rows, &z, run.seed)?;
    let hidden = rows_by_condition(&cells.conditions, &hidden);
    let mut asked: Vec<(&Condition, Vec<usize>)> = hidden
        .into_iter()
        .filter(|(condition, _)| match condition.perturbation.genes() {
            [gene] => response.measured.elsewhere(gene, context, Hidden::Nothing),
            _ => false,
        })
        .collect();
    shuffle(&mut asked, rng);
    asked.truncate(PERTURBATIONS);
    let from = few(response.measured.controls(context.map(String::as_str))?);
    let start = z.start(&from);
    let distance = |response: &Response, condition: &Condition, observed: &[usize]| {
        let moved = response.widened(&start.z, response.moved(&start, condition)?, condition);
        judge.distance(&response.decoder, (&moved, &response.own(condition)?), &from, observed)
    };
    asked
        .iter()
        .map(|(condition, rows)| Ok([distance(&end_to_end, condition, rows)?, distance(&response, condition, rows)?]))
        .collect()
}
