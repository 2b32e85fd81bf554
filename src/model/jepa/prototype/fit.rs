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
    Result,
    data::{Condition, GeneSets, shuffle},
    linalg::directions,
    train::{BatchSource, FitOptions, History, Progress, TrainConfig, fit},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// Fewer training combinations are too few to learn a departure from and judge it.
const FEWEST_COMBINATIONS: usize = 6;

/// A fitted JEPA of level 0: see the [module](super).
pub struct PrototypeJepa {
    singles: Singles,
    start: ScaledSum,
    memory: Memory,
    members: Vec<Member>,
    mixture: Mixture,
    history: Vec<History>,
}

struct Member {
    net: Net<Cpu>,
    space: Space,
}

impl PrototypeJepa {
    /// Fits to the mean effects of a training fold.
    ///
    /// # Errors
    /// Settings that cannot train; a GMT file that cannot be read; a loss that is not finite; no effect but zeros
    /// ([`ErrorKind::Inapplicable`](crate::ErrorKind)).
    pub fn fit(data: &Prototypes, config: &PrototypeConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        let sets = config.gene_sets.as_ref().map(GeneSets::open).transpose()?;
        let unseen = Unseen::fit(data, &config.features, sets.as_ref())?;
        let singles = Singles::of(data, unseen);
        let all = Combinations::of(data, &singles, config.half_trust);
        let start = start_of(&singles, &all, config)?;
        let left = &all.effects - &all.starts(&start);
        let width = config.memory_width * singles.norm;
        let mut fitted = Self {
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
                    seed ^ fold as u64,
                    &mut guesses,
                    &mut departures,
                )?;
            }
        }
        let share = 1.0 / config.ensembles as f64;
        guesses.iter_mut().for_each(|guess| *guess *= share);
        departures *= share;
        fitted.mixture = Mixture::choose(&departures, &guesses, &all.trust);
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
        seed: u64,
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
        let (mut net, history) = self.train(&space, &train, &remainder, config, seed)?;
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
        config: &PrototypeConfig,
        seed: u64,
    ) -> Result<(Net<Cpu>, History)> {
        let rows = self.rows(space, &train.conditions, &train.members, Some((train, remainder)));
        let device = Cpu::seed_from_u64(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::new(&device, space.components.nrows(), self.singles.n_genes(), config, &mut rng)?;
        let training = TrainConfig { seed, ..config.training.clone() };
        let mut options = FitOptions { progress: Progress::Silent, ..FitOptions::default() };
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
        let members = self.singles.members(condition)?;
        if members.nrows() < 2 {
            return Ok(members.sum_axis(Axis(0)));
        }
        let mut effect = self.start.predict(&members);
        let Mixture { remembered, decoded, .. } = self.mixture;
        effect.scaled_add(remembered, &self.memory.recall(members.sum_axis(Axis(0)).view()));
        if decoded > 0.0 {
            let share = decoded / self.members.len() as f64;
            for member in &self.members {
                let (net, asked) =
                    (&mut member.net.clone(), (std::slice::from_ref(condition), std::slice::from_ref(&members)));
                let departure = self.decoded(&member.space, net, asked.0, asked.1)?;
                effect.scaled_add(share, &departure.row(0));
            }
        }
        Ok(effect)
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
