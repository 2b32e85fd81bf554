//! Fitting level 0, and asking it.

use super::{
    Mixture, PrototypeConfig, Prototypes, UnseenChoice,
    memory::Memory,
    net::{Net, Rows},
    scaled_sum::ScaledSum,
    singles::Singles,
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
    sums: Memory,
    members: Vec<Member>,
    mixture: Mixture,
    history: Vec<History>,
}

struct Member {
    net: Net<Cpu>,
    space: Space,
    /// Departures at the embeddings that this member predicts.
    memory: Memory,
}

/// Scores of effects on the principal components of a fold's effects.
struct Space {
    /// `(components, genes)`.
    components: Array2<f64>,
    /// What scores are divided by, so that they are about 1.
    scale: f64,
}

impl Space {
    fn of(data: &Prototypes, components: usize) -> Result<Self> {
        let effects = data.effects.mapv(f64::from);
        let components = directions(&effects, components)?;
        let scale = effects.dot(&components.t()).mapv(|score| score * score).mean().unwrap_or(1.0).sqrt();
        Ok(Self { components, scale })
    }

    fn scores(&self, effects: &Array2<f64>) -> Array2<f32> {
        (effects.dot(&self.components.t()) / self.scale).mapv(|score| score as f32)
    }

    fn effects(&self, scores: &Array2<f32>) -> Array2<f64> {
        (scores.mapv(f64::from) * self.scale).dot(&self.components)
    }
}

/// The training combinations whose genes are all known.
struct Combinations {
    conditions: Vec<Condition>,
    /// Single effects of the genes of each, `(genes of the combination, genes)`.
    members: Vec<Array2<f64>>,
    sums: Array2<f64>,
    effects: Array2<f64>,
    /// Mean 1.
    trust: Vec<f64>,
}

impl Combinations {
    fn of(data: &Prototypes, singles: &Singles, half_trust: f64) -> Self {
        let all = data.trust(half_trust);
        let mut found = Self {
            conditions: Vec::new(),
            members: Vec::new(),
            sums: empty(data),
            effects: empty(data),
            trust: Vec::new(),
        };
        for (row, condition) in data.conditions.iter().enumerate() {
            let genes = condition.perturbation.genes();
            // A start from guessed single effects would teach the factors of guesses.
            if genes.len() < 2 || !genes.iter().all(|gene| singles.seen(gene)) {
                continue;
            }
            let Ok(members) = singles.members(condition) else { continue };
            found.sums.push_row(members.sum_axis(Axis(0)).view()).expect("an effect has a value a gene");
            found.effects.push_row(data.effect(row).view()).expect("an effect has a value a gene");
            found.members.push(members);
            found.conditions.push(condition.clone());
            found.trust.push(all[row]);
        }
        found.with_mean_trust()
    }

    fn with_mean_trust(mut self) -> Self {
        let mean = self.trust.iter().sum::<f64>() / self.trust.len().max(1) as f64;
        self.trust.iter_mut().for_each(|trust| *trust /= mean);
        self
    }

    fn len(&self) -> usize {
        self.conditions.len()
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self {
            conditions: rows.iter().map(|&row| self.conditions[row].clone()).collect(),
            members: rows.iter().map(|&row| self.members[row].clone()).collect(),
            sums: self.sums.select(Axis(0), rows),
            effects: self.effects.select(Axis(0), rows),
            trust: rows.iter().map(|&row| self.trust[row]).collect(),
        }
        .with_mean_trust()
    }

    fn starts(&self, start: &ScaledSum) -> Array2<f64> {
        stack(self.members.iter().map(|members| start.predict(members)), self.effects.ncols())
    }
}

fn empty(data: &Prototypes) -> Array2<f64> {
    Array2::zeros((0, data.genes.len()))
}

fn stack(rows: impl Iterator<Item = Array1<f64>>, width: usize) -> Array2<f64> {
    let mut all = Array2::zeros((0, width));
    rows.for_each(|row| all.push_row(row.view()).expect("all rows are as wide"));
    all
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
        let start = start_of(data, &singles, &all, config)?;
        let left = &all.effects - &all.starts(&start);
        let width = config.memory_width * singles.norm;
        let mut fitted = Self {
            sums: Memory::fit(all.sums.clone(), &left, &all.trust, width)?,
            start,
            singles,
            members: Vec::new(),
            mixture: Mixture { error: 1.0, ..Mixture::default() },
            history: Vec::new(),
        };
        if all.len() < FEWEST_COMBINATIONS {
            return Ok(fitted);
        }
        let mut guesses: [Array2<f64>; 3] = std::array::from_fn(|_| Array2::zeros(all.effects.dim()));
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
                    &left,
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
        eprintln!("MIX {:?} {:?}", fitted.mixture, fitted.singles.unseen.choice);
        Ok(fitted)
    }

    /// Trains a member without the combinations `left_out`, and adds what it and the memories say of them.
    #[expect(clippy::too_many_arguments, reason = "one step of the fit, with the arrays that it adds to")]
    fn member(
        &mut self,
        data: &Prototypes,
        all: &Combinations,
        left: &Array2<f64>,
        (kept, left_out): (&[usize], &[usize]),
        config: &PrototypeConfig,
        seed: u64,
        guesses: &mut [Array2<f64>; 3],
        departures: &mut Array2<f64>,
    ) -> Result<()> {
        let (train, judged) = (all.select(kept), all.select(left_out));
        let hidden: Vec<&Condition> = judged.conditions.iter().collect();
        let rows: Vec<usize> =
            (0..data.conditions.len()).filter(|&row| !hidden.contains(&&data.conditions[row])).collect();
        let fold = data.select(&rows);
        let start = start_of(&fold, &self.singles, &train, config)?;
        let remainder = &train.effects - &train.starts(&start);
        let width = config.memory_width * self.singles.norm;
        let sums = Memory::fit(train.sums.clone(), &remainder, &train.trust, width)?;
        let space = Space::of(&fold, config.components)?;
        let (mut net, history) = self.train(&space, &train, &remainder, config, seed)?;
        self.history.push(history);
        let (known, _) = self.ask(&space, &mut net, &train.members)?;
        let (asked, decoded) = self.ask(&space, &mut net, &judged.members)?;
        let width = median_distance(&known);
        let embedded = Memory::fit(known, &remainder, &train.trust, width)?;
        let decoded = space.effects(&decoded);
        let truth = &judged.effects - &judged.starts(&start);
        for (i, &row) in left_out.iter().enumerate() {
            let add = |to: &mut Array2<f64>, values: Array1<f64>| {
                let mut to = to.row_mut(row);
                to += &values;
            };
            add(&mut guesses[0], sums.recall(judged.sums.row(i)));
            add(&mut guesses[1], embedded.recall(asked.row(i)));
            add(&mut guesses[2], decoded.row(i).to_owned());
            add(departures, truth.row(i).to_owned());
        }
        let (points, _) = self.ask(&space, &mut net, &all.members)?;
        let memory = Memory::fit(points, left, &all.trust, width)?;
        self.members.push(Member { net, space, memory });
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
        let rows = self.rows(space, &train.members, Some((train, remainder)));
        let device = Cpu::seed_from_u64(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::new(&device, space.components.nrows(), 0, config, &mut rng)?;
        let training = TrainConfig { seed, ..config.training.clone() };
        let mut options = FitOptions { progress: Progress::Silent, ..FitOptions::default() };
        let history = fit(&mut net, &rows, None, &device, &training, &mut options)?;
        Ok((net, history))
    }

    /// Rows for the network: the combinations `members`, and the single perturbations where it is trained.
    fn rows(&self, space: &Space, members: &[Array2<f64>], trained: Option<(&Combinations, &Array2<f64>)>) -> Rows {
        let genes = self.singles.mean.len();
        let mut tokens = Array2::<f64>::zeros((0, genes));
        let mut of: Vec<Vec<usize>> = Vec::new();
        for members in members {
            of.push((tokens.nrows()..tokens.nrows() + members.nrows()).collect());
            tokens.append(Axis(0), members.view()).expect("an effect has a value a gene");
        }
        let (mut states, mut departures) =
            (Array2::zeros((members.len(), genes)), Array2::zeros((members.len(), genes)));
        let mut weights = vec![1.0; members.len()];
        let mut names = vec![String::new(); members.len()];
        if let Some((train, remainder)) = trained {
            states.assign(&train.effects);
            departures.assign(remainder);
            weights = train.trust.iter().map(|&trust| trust as f32).collect();
            names = train.conditions.iter().map(ToString::to_string).collect();
            for (name, effect) in self.singles.names.iter().zip(self.singles.effects.rows()) {
                of.push(vec![tokens.nrows()]);
                tokens.push_row(effect).expect("an effect has a value a gene");
                states.push_row(effect).expect("an effect has a value a gene");
                departures.push_row(Array1::zeros(genes).view()).expect("an effect has a value a gene");
                weights.push(1.0);
                names.push(name.0.clone());
            }
        }
        Rows {
            genes: vec![0; tokens.nrows()],
            tokens: space.scores(&tokens),
            members: of,
            states: space.scores(&states),
            departures: space.scores(&departures),
            weights,
            names,
        }
    }

    /// Embeddings `(combinations, width)` and decoded departures, in scores.
    fn ask(&self, space: &Space, net: &mut Net<Cpu>, members: &[Array2<f64>]) -> Result<(Array2<f64>, Array2<f32>)> {
        let rows = self.rows(space, members, None);
        let batch = rows.batch(&(0..rows.len()).collect::<Vec<_>>())?;
        let (embedding, departures) = net.predict(&batch)?;
        Ok((embedding.mapv(f64::from), departures))
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
        let Mixture { sums, embeddings, decoded, .. } = self.mixture;
        if sums > 0.0 {
            effect.scaled_add(sums, &self.sums.recall(members.sum_axis(Axis(0)).view()));
        }
        if embeddings > 0.0 || decoded > 0.0 {
            let share = 1.0 / self.members.len() as f64;
            let asked = std::slice::from_ref(&members);
            for member in &self.members {
                let (point, departure) = self.ask(&member.space, &mut member.net.clone(), asked)?;
                effect.scaled_add(share * embeddings, &member.memory.recall(point.row(0)));
                effect.scaled_add(share * decoded, &member.space.effects(&departure).row(0));
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

/// The scaled sum fitted to combinations; P from the components of all effects of the fold.
fn start_of(data: &Prototypes, singles: &Singles, train: &Combinations, config: &PrototypeConfig) -> Result<ScaledSum> {
    let smooth = directions(&data.effects.mapv(f64::from), config.smooth)?;
    ScaledSum::fit(singles, smooth, &train.members, train.effects.view(), &train.trust, config.shrinkage)
}

/// The median distance between different rows; 0 if there is no pair.
fn median_distance(points: &Array2<f64>) -> f64 {
    let mut distances: Vec<f64> = (0..points.nrows())
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .map(|(i, j)| points.row(i).iter().zip(points.row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt())
        .collect();
    distances.sort_unstable_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied().unwrap_or(0.0)
}
