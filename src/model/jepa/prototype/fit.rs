//! Fitting level 0, and asking it.

use super::{
    Mixture, PrototypeConfig, Prototypes, UnseenChoice,
    combinations::Combinations,
    memory::Memory,
    net::{Net, Rows},
    scaled_sum::ScaledSum,
    singles::Singles,
    space::Space,
    unseen::Unseen,
};
use crate::{
    Error, Result,
    data::{Condition, GeneSets, shuffle},
    linalg::directions,
    train::{BatchSource, FitOptions, History, Progress, TrainConfig, fit},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{collections::BTreeSet, sync::Arc};

/// Fewer training combinations are too few to learn a departure from and judge it.
const FEWEST_COMBINATIONS: usize = 6;

/// A fitted JEPA of level 0: see the equations of its module.
#[derive(Debug, Clone)]
pub struct PrototypeJepa {
    pub(super) genes: Arc<[String]>,
    pub(super) config: PrototypeConfig,
    pub(super) singles: Singles,
    pub(super) start: ScaledSum,
    pub(super) memory: Memory,
    pub(super) members: Vec<Member>,
    pub(super) mixture: Mixture,
    pub(super) history: Vec<History>,
}

/// One network of the ensemble, and the scores that it reads and writes.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub net: Net<Cpu>,
    pub space: Space,
}

impl PrototypeJepa {
    /// Fits to the mean effects of a training fold.
    ///
    /// # Errors
    /// Settings that cannot train; a GMT file that cannot be read; a loss that is not finite; no effect but zeros
    /// ([`ErrorKind::Inapplicable`](crate::ErrorKind)).
    pub fn fit(data: &Prototypes, config: &PrototypeConfig, seed: u64) -> Result<Self> {
        Self::fit_with(data, config, seed, &FitOptions { progress: Progress::Silent, ..FitOptions::default() })
    }

    /// As [`Self::fit`]; of `options` the folder (each member of the ensemble has its own in it) and the interruption.
    ///
    /// # Errors
    /// As [`Self::fit`], and an interruption.
    pub fn fit_with(data: &Prototypes, config: &PrototypeConfig, seed: u64, options: &FitOptions<'_>) -> Result<Self> {
        config.validate()?;
        let sets = config.gene_sets.as_ref().map(GeneSets::open).transpose()?;
        let unseen = Unseen::fit(data, &config.features, sets.as_ref())?;
        let singles = Singles::of(data, unseen);
        let all = Combinations::of(data, &singles, config.half_trust);
        let start = start_of(&singles, &all, config)?;
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
            let seed = seed ^ ensemble.wrapping_mul(0x9e37_79b9_7f4a_7c15);
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
                    (seed ^ fold as u64, options),
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

    /// Trains a member without the combinations `left_out`, and adds what it and the memories say of them.
    #[expect(clippy::too_many_arguments, reason = "one step of the fit, with the arrays that it adds to")]
    fn member(
        &mut self,
        data: &Prototypes,
        all: &Combinations,
        (kept, left_out): (&[usize], &[usize]),
        config: &PrototypeConfig,
        (seed, options): (u64, &FitOptions<'_>),
        guesses: &mut [Array2<f64>; 2],
        departures: &mut Array2<f64>,
    ) -> Result<()> {
        let (train, judged) = (all.select(kept), all.select(left_out));
        let hidden: Vec<&Condition> = judged.conditions.iter().collect();
        let rows: Vec<usize> =
            (0..data.conditions.len()).filter(|&row| !hidden.contains(&&data.conditions[row])).collect();
        let fold = data.select(&rows);
        let start = start_of(&self.singles, &train, config)?;
        let remainder = &train.effects - &train.starts(&start);
        let width = config.memory_width * self.singles.norm;
        let memory = Memory::fit(train.sums.clone(), &remainder, &train.trust, width)?;
        let space = Space::of(&fold, config.components)?;
        let (mut net, history) = self.train(&space, &train, &remainder, (seed, options))?;
        self.history.push(history);
        let decoded = self.decoded(&space, &mut net, &judged.conditions, &judged.members)?;
        let truth = &judged.effects - &judged.starts(&start);
        for (i, &row) in left_out.iter().enumerate() {
            let add = |to: &mut Array2<f64>, values: Array1<f64>| {
                let mut to = to.row_mut(row);
                to += &values;
            };
            add(&mut guesses[0], memory.recall(judged.sums.row(i)));
            add(&mut guesses[1], decoded.row(i).to_owned());
            add(departures, truth.row(i).to_owned());
        }
        self.members.push(Member { net, space });
        Ok(())
    }

    /// Trains a network on the single perturbations and on combinations with their departures from the start.
    fn train(
        &self,
        space: &Space,
        train: &Combinations,
        remainder: &Array2<f64>,
        (seed, options): (u64, &FitOptions<'_>),
    ) -> Result<(Net<Cpu>, History)> {
        let config = &self.config;
        let rows = self.rows(space, &train.conditions, &train.members, Some((train, remainder)));
        let device = Cpu::seed_from_u64(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::new(&device, space.components.nrows(), self.singles.n_genes(), config, &mut rng)?;
        let training = TrainConfig { seed, ..config.training.clone() };
        let mut options = FitOptions {
            dir: options.dir.as_ref().map(|dir| dir.join(format!("member-{}", self.members.len()))),
            interrupt: options.interrupt.clone(),
            progress: Progress::Silent,
            ..FitOptions::default()
        };
        let history = fit(&mut net, &rows, None, &device, &training, &mut options)?;
        Ok((net, history))
    }

    /// Rows for the network: the combinations `members`, and the single perturbations where it is trained.
    fn rows(
        &self,
        space: &Space,
        conditions: &[Condition],
        members: &[Array2<f64>],
        trained: Option<(&Combinations, &Array2<f64>)>,
    ) -> Rows {
        let genes = self.singles.mean.len();
        let perturbed = conditions.iter().flat_map(|condition| condition.perturbation.genes());
        let mut vectors: Vec<Option<u32>> = perturbed.map(|gene| self.singles.place(gene)).collect();
        let mut tokens = Array2::<f64>::zeros((0, genes));
        let mut of: Vec<Vec<usize>> = Vec::new();
        for members in members {
            of.push((tokens.nrows()..tokens.nrows() + members.nrows()).collect());
            tokens.append(Axis(0), members.view()).expect("an effect has a value a gene");
        }
        let (mut states, mut departures) =
            (Array2::zeros((members.len(), genes)), Array2::zeros((members.len(), genes)));
        let mut weights = vec![1.0; members.len()];
        let mut names: Vec<String> = conditions.iter().map(ToString::to_string).collect();
        if let Some((train, remainder)) = trained {
            states.assign(&train.effects);
            departures.assign(remainder);
            weights = train.trust.iter().map(|&trust| trust as f32).collect();
            for (name, effect) in self.singles.names.iter().zip(self.singles.effects.rows()) {
                of.push(vec![tokens.nrows()]);
                tokens.push_row(effect).expect("an effect has a value a gene");
                states.push_row(effect).expect("an effect has a value a gene");
                departures.push_row(Array1::zeros(genes).view()).expect("an effect has a value a gene");
                vectors.push(self.singles.place(&name.0));
                weights.push(1.0);
                names.push(name.0.clone());
            }
        }
        Rows {
            vectors,
            tokens: space.scores(&tokens),
            members: of,
            states: space.scores(&states),
            departures: space.scores(&departures),
            weights,
            names,
        }
    }

    /// The departures that a network decodes for combinations, `(combinations, genes)`.
    fn decoded(
        &self,
        space: &Space,
        net: &mut Net<Cpu>,
        conditions: &[Condition],
        members: &[Array2<f64>],
    ) -> Result<Array2<f64>> {
        let rows = self.rows(space, conditions, members, None);
        let batch = rows.batch(&(0..rows.len()).collect::<Vec<_>>())?;
        Ok(space.effects(&net.predict(&batch)?.1))
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
                "{} cannot be represented: never perturbed alone in training, and {}",
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
    pub fn config(&self) -> &PrototypeConfig {
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

/// The scaled sum fitted to combinations. P is of the single effects alone: components that had seen a combination would
/// hold more of it than of one that was never seen.
fn start_of(singles: &Singles, train: &Combinations, config: &PrototypeConfig) -> Result<ScaledSum> {
    let smooth = match directions(&singles.effects, config.smooth) {
        Ok(smooth) => smooth,
        // No single effect but zeros.
        Err(_) => Array2::zeros((0, singles.mean.len())),
    };
    ScaledSum::fit(singles, smooth, &train.members, train.effects.view(), &train.trust, config.shrinkage)
}
