//! Fitting level 0, and asking it.

use super::{
    CombinationConfig, Mixture, UnseenChoice, combinations::Combinations, member::Member, memory::Memory,
    scaled_sum::ScaledSum, singles::Singles, unseen::Unseen,
};
use crate::data::EffectTable;
use crate::{
    Error, Result,
    data::{Condition, GeneSets, shuffle},
    train::{History, Run},
};
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{collections::BTreeSet, sync::Arc};

/// Fewer training combinations are too few to learn a departure from and judge it.
const FEWEST_COMBINATIONS: usize = 6;

/// A fitted JEPA of level 0: see the equations of its module.
#[derive(Debug, Clone)]
pub struct CombinationModel {
    pub(super) genes: Arc<[String]>,
    pub(super) config: CombinationConfig,
    pub(super) singles: Singles,
    pub(super) start: ScaledSum,
    pub(super) memory: Memory,
    pub(super) members: Vec<Member>,
    pub(super) mixture: Mixture,
    pub(super) history: Vec<History>,
}

impl CombinationModel {
    /// Fits to mean effects. Of `run` the seed, the folder (each member of the ensemble has its own in it), whether to
    /// resume there, and the interruption.
    ///
    /// # Errors
    /// Settings that cannot train; a GMT file that cannot be read; a loss that is not finite; no effect but zeros
    /// ([`ErrorKind::Inapplicable`](crate::ErrorKind)); an interruption.
    pub fn fit_table(data: &EffectTable, config: &CombinationConfig, run: &Run<'_>) -> Result<Self> {
        if data.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        config.validate()?;
        let sets = config.gene_sets.as_ref().map(GeneSets::open).transpose()?;
        let unseen = Unseen::fit(data, &config.features, sets.as_ref())?;
        let singles = Singles::of(data, unseen);
        let all = Combinations::of(data, &singles, config.half_trust);
        let start = ScaledSum::of(&singles, &all, config)?;
        let left = &all.effects - &all.starts(&start);
        let width = config.memory_width * singles.norm;
        let mut fitted = Self {
            genes: Arc::clone(&data.genes),
            config: config.clone(),
            memory: Memory::fit(all.sums.clone(), &left, &all.trust, width)?,
            start,
            singles,
            members: Vec::new(),
            mixture: Mixture::NONE,
            history: Vec::new(),
        };
        if all.len() < FEWEST_COMBINATIONS {
            return Ok(fitted);
        }
        let mut guesses: [Array2<f64>; 2] = std::array::from_fn(|_| Array2::zeros(all.effects.dim()));
        let mut departures = Array2::zeros(all.effects.dim());
        for ensemble in 0..config.ensembles as u64 {
            let seed = run.seed ^ ensemble.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut order: Vec<usize> = (0..all.len()).collect();
            shuffle(&mut order, &mut ChaCha8Rng::seed_from_u64(seed));
            for fold in 0..config.folds.min(all.len()) {
                let left_out: Vec<usize> = order.iter().copied().skip(fold).step_by(config.folds).collect();
                let kept: Vec<usize> = (0..all.len()).filter(|row| !left_out.contains(row)).collect();
                fitted.member(
                    data,
                    &all,
                    (&kept, &left_out),
                    config,
                    (seed ^ fold as u64, run),
                    &mut guesses,
                    &mut departures,
                )?;
            }
        }
        let share = 1.0 / config.ensembles as f64;
        guesses.iter_mut().for_each(|guess| *guess *= share);
        departures *= share;
        fitted.mixture = Mixture::choose(&departures, &guesses, &all.trust, [config.remember, config.decode]);
        Ok(fitted)
    }

    /// The effect of a condition, `(genes,)`: zero for control, the single effect for one gene.
    ///
    /// # Errors
    /// Genes that nothing is known of, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn effect(&self, condition: &Condition) -> Result<Array1<f64>> {
        Ok(self.effects(std::slice::from_ref(condition))?.row(0).to_owned())
    }

    /// The effects of conditions, `(conditions, genes)`.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.check(conditions)?;
        let mut effects = Array2::zeros((conditions.len(), self.genes.len()));
        let (mut rows, mut combined, mut members) = (Vec::new(), Vec::new(), Vec::new());
        for (row, condition) in conditions.iter().enumerate() {
            let parts = self.singles.members(condition)?;
            let sum = parts.sum_axis(Axis(0));
            if parts.nrows() < 2 {
                effects.row_mut(row).assign(&sum);
                continue;
            }
            let mut effect = self.start.predict(&parts);
            effect.scaled_add(self.mixture.remembered, &self.memory.recall(sum.view()));
            effects.row_mut(row).assign(&effect);
            rows.push(row);
            combined.push(condition.clone());
            members.push(parts);
        }
        if self.mixture.decoded > 0.0 && !rows.is_empty() {
            let share = self.mixture.decoded / self.members.len() as f64;
            for member in &self.members {
                let departures = self.decoded(&member.space, &mut member.net.clone(), &combined, &members)?;
                for (&row, departure) in rows.iter().zip(departures.rows()) {
                    effects.row_mut(row).scaled_add(share, &departure);
                }
            }
        }
        Ok(effects)
    }

    /// The plain sums of the single effects, `(conditions, genes)`: the additive prediction.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn sums(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        self.check(conditions)?;
        let mut sums = Array2::zeros((conditions.len(), self.genes.len()));
        for (mut row, condition) in sums.rows_mut().into_iter().zip(conditions) {
            row.assign(&self.singles.members(condition)?.sum_axis(Axis(0)));
        }
        Ok(sums)
    }

    /// Whether a gene can be perturbed: it was perturbed alone in training, or has features.
    pub fn represents(&self, gene: &str) -> bool {
        self.singles.seen(gene) || self.singles.unseen.place.contains_key(gene)
    }

    /// Checks that every gene of `conditions` can be represented.
    ///
    /// # Errors
    /// Those that cannot, all named.
    pub fn check(&self, conditions: &[Condition]) -> Result<()> {
        let genes = conditions.iter().flat_map(|condition| condition.perturbation.genes());
        let unknown: BTreeSet<&str> = genes.filter(|gene| !self.represents(gene)).map(String::as_str).collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(Error::inapplicable(format!(
                "{} cannot be represented: never perturbed alone in training, {}",
                unknown.into_iter().collect::<Vec<_>>().join(", "),
                self.singles.unseen.lacks()
            ))),
        }
    }

    /// Gene names, one a column of an effect.
    pub fn genes(&self) -> &[String] {
        &self.genes
    }

    /// The genes that were perturbed alone in training, sorted.
    pub fn perturbed(&self) -> impl Iterator<Item = &String> {
        self.singles.genes()
    }

    /// The genes that have features, sorted: they can be perturbed though they never were.
    pub fn featured(&self) -> impl Iterator<Item = &String> {
        self.singles.unseen.place.keys()
    }

    /// The settings.
    pub fn config(&self) -> &CombinationConfig {
        &self.config
    }

    /// How much of each departure was found to carry over to unseen combinations.
    pub fn mixture(&self) -> Mixture {
        self.mixture
    }

    /// How genes that were never perturbed are represented.
    pub fn unseen(&self) -> &UnseenChoice {
        &self.singles.unseen.choice
    }

    /// The training of each member.
    pub fn history(&self) -> &[History] {
        &self.history
    }
}
