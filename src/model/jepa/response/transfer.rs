//! What carries the effect of a perturbation to a context in which it was not measured.
//!
//! ```text
//! D(g | x, c) = f_c sum over contexts c' of w_cc' s_gc' + phi mean over folds k of F_k(E(x), e_g)
//! ```
//!
//! with s measured anew in the space of the trained encoder, and w of [`Measured::weights`]. f_c is chosen by leaving out, for
//! each pair of a perturbation and a context, what was measured in that context: a mean of few noisy effects is too long.
//!
//! F_k is trained without the contexts of fold k and stopped by them; phi is the share that predicts the left-out contexts best,
//! or 0 where the gain is below its standard error. That takes three contexts: with two, nothing is left to learn what the
//! other context's effect lacks. The F of the end-to-end training is not used: it has seen every training context together with
//! the effects in it, and what it says of a new one was put to no test.

use super::{
    config::ResponseConfig,
    embedded::Encoder,
    fit::Response,
    judge::{Judge, few, gained, least_of},
    measured::Hidden,
    predictor::Predictor,
    source::{ConditionTokens, SetSize, SetSource, StartCells},
    tune::{Moves, TuneSource, Tuned},
};
use crate::{
    Error, Result,
    data::{Condition, EffectTable, part_of, shuffle},
    train::{Run, TrainConfig, fit_on},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Factors of the other contexts' shifts that are tried.
const FACTORS: [f64; 7] = [0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1];
/// Shares of F that are tried.
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Pairs of a fold that are judged.
const JUDGED_PAIRS: usize = 12;
/// Sets of an epoch, at least, and of each pair.
const SETS: (usize, usize) = (200, 2);

/// What was chosen by leaving contexts out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContextShare {
    /// f_c, the factor of the other contexts' shifts.
    pub factor: f64,
    /// phi, the share of F.
    pub response: f64,
    /// E-distance of the left-out contexts with F, as a share of that without.
    pub error: f64,
    /// Contexts that it was chosen on.
    pub contexts: usize,
}

/// A (perturbation, context) pair of a left-out context.
struct Pair<'a> {
    condition: &'a Condition,
    /// Rows of control cells and of perturbed cells.
    from: Vec<usize>,
    rows: Vec<usize>,
    /// The control cells, and their z as they are spread before they are decoded.
    start: StartCells,
    widened: Array2<f32>,
    own: Array1<f32>,
    tokens: ConditionTokens,
    /// The shift that other contexts say.
    shift: Array1<f32>,
}

/// What contexts are left out with.
struct Folds<'a> {
    judge: &'a Judge<'a>,
    observed: &'a EffectTable,
    config: &'a ResponseConfig,
    target_sum: f32,
    /// Single perturbations that were measured in several contexts.
    pairs: Vec<&'a Condition>,
    /// Measured effects in z, `(rows, width)`, times f_c.
    effects: Array2<f64>,
}

impl Response {
    /// Chooses f_c, trains F in folds of the contexts, and chooses phi.
    pub(super) fn fit_transfer(
        &mut self,
        (judge, observed): (&Judge<'_>, &EffectTable),
        (encoder, learned): (&Encoder, &[Condition]),
        config: &ResponseConfig,
        run: &Run<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<()> {
        let pairs: Vec<&Condition> = learned.iter().filter(|c| self.is_elsewhere(c, Hidden::Own)).collect();
        let mut contexts: Vec<Option<String>> = pairs.iter().map(|condition| condition.context.clone()).collect();
        contexts.sort();
        contexts.dedup();
        if contexts.len() < 2 {
            return Ok(());
        }
        shuffle(&mut contexts, rng);
        let folds = config.folds.min(contexts.len());
        let hidden: Vec<Vec<Option<String>>> = (0..folds).map(|fold| part_of(&contexts, fold, folds)).collect();
        let (effects, means) = judge.z.effects(&self.measured)?;
        let shifts = effects.mapv(|v| v as f32);
        let mut left_out = Vec::new();
        for contexts in &hidden {
            let hidden = Hidden::Contexts(contexts);
            let mut of_fold: Vec<&Condition> = pairs
                .iter()
                .copied()
                .filter(|pair| contexts.contains(&pair.context) && self.is_elsewhere(pair, hidden))
                .collect();
            shuffle(&mut of_fold, rng);
            of_fold.truncate(JUDGED_PAIRS);
            let pair = |condition| self.pair(judge, condition, hidden, &shifts);
            left_out.push(of_fold.into_iter().map(pair).collect::<Result<Vec<_>>>()?);
        }
        let distance = |factor: &f64| -> Result<f64> {
            left_out
                .iter()
                .flatten()
                .map(|pair| self.judged(judge, pair, &(&pair.widened + &(&pair.shift * *factor as f32))))
                .sum()
        };
        let distances = FACTORS.iter().map(distance).collect::<Result<Vec<f64>>>()?;
        let factor = FACTORS[least_of(&distances)];
        let effects = effects * factor;
        let folds = Folds { judge, observed, config, target_sum: encoder.target_sum, pairs, effects };

        // Of each left-out pair, its E-distance with each share of F.
        let mut errors: Vec<[f64; SHARES.len()]> = Vec::new();
        let mut trained = Vec::new();
        for (fold, (contexts, left_out)) in hidden.iter().zip(&left_out).enumerate() {
            run.check_interrupt()?;
            let mut part = run.part(&format!("transfer-{fold}"));
            let Some(predictor) = self.without_contexts(&folds, contexts, left_out, &mut part, rng)? else { continue };
            for pair in left_out {
                let base = &pair.shift * factor as f32;
                let full = predictor.shift(&pair.start, &pair.tokens)?;
                let mut of_shares = [0.0; SHARES.len()];
                for (error, share) in of_shares.iter_mut().zip(SHARES) {
                    let z = &pair.widened + &base + &((&full - &base) * share as f32);
                    *error = self.judged(judge, pair, &z)?;
                }
                errors.push(of_shares);
            }
            trained.push(predictor);
        }
        let (share, error) = gained(&errors).map_or((0.0, 1.0), |(best, error)| (SHARES[best], error));
        if share == 0.0 {
            trained = vec![self.beginning(&folds, &means, rng)?];
        }
        for predictor in &mut trained {
            predictor.response.scale_output(share as f32);
        }
        self.transfers = trained;
        self.share.contexts = Some(ContextShare { factor, response: share, error, contexts: contexts.len() });
        Ok(())
    }

    /// Whether a condition is of one gene that was perturbed alone in another context too, that is not hidden.
    fn is_elsewhere(&self, condition: &Condition, hidden: Hidden<'_>) -> bool {
        match condition.perturbation.genes() {
            [gene] => self.measured.elsewhere(gene, condition.context.as_ref(), hidden),
            _ => false,
        }
    }

    fn pair<'a>(
        &self,
        judge: &Judge<'_>,
        condition: &'a Condition,
        hidden: Hidden<'_>,
        shifts: &Array2<f32>,
    ) -> Result<Pair<'a>> {
        let from = few(self.measured.controls(condition.context.as_deref())?);
        let start = judge.z.start(&from);
        let tokens = self.measured.tokens(condition, hidden)?;
        let mut shift = Array1::zeros(shifts.ncols());
        tokens.effects.iter().flatten().for_each(|&(row, weight)| shift.scaled_add(weight, &shifts.row(row as usize)));
        Ok(Pair {
            widened: self.widened(&start.z, start.z.clone(), condition),
            own: self.own(condition)?,
            rows: few(self.measured.rows(condition)),
            condition,
            from,
            start,
            tokens,
            shift,
        })
    }

    fn judged(&self, judge: &Judge<'_>, pair: &Pair<'_>, z: &Array2<f32>) -> Result<f64> {
        judge.distance(&self.decoder, (z, &pair.own), &pair.from, &pair.rows)
    }

    /// A predictor whose F is 0, with these measured effects; `means` are those of each gene.
    fn beginning(&self, folds: &Folds<'_>, means: &Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Predictor<Cpu>> {
        let shape = self.measured.shape(folds.effects.ncols(), folds.config);
        let columns = self.predictor.columns().to_vec();
        let mut predictor = Predictor::new(&Cpu::default(), shape, columns, folds.config, rng)?;
        predictor.begin_with(&folds.effects, means);
        predictor.begin_library(self.predictor.library_scale());
        predictor.own = self.predictor.own.clone();
        Ok(predictor)
    }

    /// A predictor that was trained without some contexts; `None` where too little is left to train on.
    fn without_contexts(
        &self,
        folds: &Folds<'_>,
        contexts: &[Option<String>],
        left_out: &[Pair<'_>],
        run: &mut Run<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<Predictor<Cpu>>> {
        let (hidden, config) = (Hidden::Contexts(contexts), folds.config);
        let kept = |pair: &&Condition| !contexts.contains(&pair.context) && self.is_elsewhere(pair, hidden);
        let others: Vec<Condition> = folds.pairs.iter().copied().filter(kept).cloned().collect();
        if others.is_empty() || left_out.is_empty() || config.transfer.epochs == 0 {
            return Ok(None);
        }
        let watched: Vec<Condition> = left_out.iter().map(|pair| pair.condition.clone()).collect();
        let mut source = |conditions: &[Condition], least: usize| {
            let draws = SETS.1.max(least.div_ceil(conditions.len()));
            let size = SetSize { cells: config.tuning_cells, draws, hidden: Some(hidden) };
            let form = (folds.target_sum, self.decoder.with_remainder());
            let sets = SetSource::new(folds.judge.data, &self.measured, conditions, form, size, rng)?;
            Ok::<_, Error>(TuneSource::new(sets, folds.judge, folds.observed, self))
        };
        let (train, watched) = (source(&others, SETS.0)?, source(&watched, 0)?);
        let means = self.measured.means(&folds.effects, hidden);
        let start = (self.beginning(folds, &means, rng)?, self.decoder.net().clone());
        let device = Cpu::seed_from_u64(run.seed);
        let mut net = Tuned::new(&device, start, Moves::Response, (config, self.share.width));
        let training = TrainConfig { seed: run.seed, ..config.transfer.clone() };
        fit_on(&mut net, &train, Some(&watched), &training, run)?;
        Ok(Some(net.predictor))
    }
}
