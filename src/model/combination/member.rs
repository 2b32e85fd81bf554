//! The members of the ensemble: each trained without a fold of the combinations, and judged on it.

use super::{
    CombinationConfig, CombinationModel,
    combinations::Combinations,
    memory::Memory,
    net::{Net, Rows},
    scaled_sum::ScaledSum,
    space::Space,
};
use crate::data::EffectTable;
use crate::{
    Result,
    data::Condition,
    train::{BatchSource, History, Run, TrainConfig, fit},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// One network of the ensemble, and the scores that it reads and writes.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub net: Net<Cpu>,
    pub space: Space,
}

impl CombinationModel {
    /// Trains a member without the combinations `left_out`, and adds what it and the memories say of them.
    #[expect(clippy::too_many_arguments, reason = "one step of the fit, with the arrays that it adds to")]
    pub(super) fn member(
        &mut self,
        data: &EffectTable,
        all: &Combinations,
        (kept, left_out): (&[usize], &[usize]),
        config: &CombinationConfig,
        (seed, run): (u64, &Run<'_>),
        guesses: &mut [Array2<f64>; 2],
        departures: &mut Array2<f64>,
    ) -> Result<()> {
        let (train, judged) = (all.select(kept), all.select(left_out));
        let hidden: Vec<&Condition> = judged.conditions.iter().collect();
        let rows: Vec<usize> =
            (0..data.conditions.len()).filter(|&row| !hidden.contains(&&data.conditions[row])).collect();
        let fold = data.select(&rows);
        let start = ScaledSum::of(&self.singles, &train, config)?;
        let remainder = &train.effects - &train.starts(&start);
        let width = config.memory_width * self.singles.norm;
        let memory = Memory::fit(train.sums.clone(), &remainder, &train.trust, width)?;
        let space = Space::of(&fold, config.components)?;
        let (mut net, history) = self.train(&space, &train, &remainder, (seed, run))?;
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
        (seed, run): (u64, &Run<'_>),
    ) -> Result<(Net<Cpu>, History)> {
        let config = &self.config;
        let rows = self.rows(space, &train.conditions, &train.members, Some((train, remainder)));
        let device = Cpu::seed_from_u64(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::new(&device, space.components.nrows(), self.singles.n_genes(), config, &mut rng)?;
        let training = TrainConfig { seed, ..config.training.clone() };
        let mut run = run.part(&format!("member-{}", self.members.len()));
        let history = fit(&mut net, &rows, None, &device, &training, &mut run)?;
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
    pub(super) fn decoded(
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
}
