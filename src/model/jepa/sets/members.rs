//! The networks of all folds, and how much of their departure is used.
//!
//! The training combinations are divided into folds. A network is trained without one fold and stopped by it. The share
//! of the departure for combinations is the one with the least energy distance between predicted and observed cells over
//! all left-out combinations; that for single perturbations, over cells that were put aside. 0 is among the candidates:
//! what does not carry over is not used. With fewer than two combinations nothing tells how genes interact, and a combination is
//! the sum.

use super::{
    Choice, SetsConfig,
    cells::Cells,
    net::SetNet,
    shifts::Shifts,
    source::{Known, SetSource},
};
use crate::{
    Result,
    data::{Condition, Split, part_of, shuffle},
    nn::{RowSets, SetDistance, ops},
    train::{History, Run, TrainConfig, fit},
};
use dfdx::prelude::Cpu;
use ndarray::{Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::collections::BTreeMap;

/// Shares of the departure that are tried.
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Cells of a set that a share is judged on.
const JUDGED: usize = 256;
/// Fewer combinations cannot be trained on and judged by.
const FEWEST_COMBINATIONS: usize = 2;

/// One trained network, and the factor of its start.
pub(super) struct Member {
    pub net: SetNet<Cpu>,
    pub factor: f64,
}

/// All of them.
pub(super) struct Members {
    pub members: Vec<Member>,
    pub choice: Choice,
    pub histories: Vec<History>,
}

/// The places of the cells of each condition.
pub(super) type Places = BTreeMap<Condition, Vec<usize>>;

impl Members {
    /// Trains on the cells at the places `kept`; those `aside` are for validation.
    ///
    /// # Errors
    /// A loss that is not finite; for pairs, a test cell of the split; an interruption.
    pub fn fit(
        cells: &Cells,
        shifts: &Shifts,
        (kept, aside): (&Places, &Places),
        config: &SetsConfig,
        split: &Split,
        run: &Run<'_>,
    ) -> Result<Self> {
        let known: Vec<Condition> = cells
            .places
            .keys()
            .filter(|c| !c.perturbation.is_control() && cells.shift(c).is_some() && shifts.members(c).is_ok())
            .cloned()
            .collect();
        let seed = run.seed;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut combinations: Vec<usize> =
            (0..known.len()).filter(|&place| known[place].perturbation.genes().len() > 1).collect();
        shuffle(&mut combinations, &mut rng);
        let few = combinations.len() < FEWEST_COMBINATIONS;
        let folds: Vec<Vec<usize>> = match few {
            true => vec![Vec::new()],
            false => {
                let n = config.folds.min(combinations.len());
                (0..n).map(|fold| part_of(&combinations, fold, n)).collect()
            }
        };
        let (mut members, mut histories) = (Vec::new(), Vec::new());
        let mut tables = [Errors::default(), Errors::default()];
        for held_out in folds {
            let (held, train): (Vec<usize>, Vec<usize>) = (0..known.len()).partition(|place| held_out.contains(place));
            let pick = |places: &[usize]| -> Vec<Condition> { places.iter().map(|&at| known[at].clone()).collect() };
            let (held, train) = (pick(&held), pick(&train));
            let factor = shifts.factor(cells, train.iter());
            let mut source = |conditions: &[Condition], places: &Places| {
                SetSource::new(cells, shifts, (conditions, places), factor, config, split, &mut rng)
            };
            let sets = source(&train, kept)?;
            let watched = if few { source(&train, aside)? } else { source(&held, &cells.places)? };
            let mut net = SetNet::new(&Cpu::seed_from_u64(seed), cells.z.view(), shifts.len(), config, &mut rng)?;
            let none = crate::train::BatchSource::is_empty(&watched);
            let early_stopping = config.training.early_stopping.filter(|_| !none);
            let training = TrainConfig { seed, early_stopping, ..config.training.clone() };
            // Without perturbed cells there is nothing to learn a departure from.
            if !crate::train::BatchSource::is_empty(&sets) {
                let watched = (!none).then_some(&watched);
                let mut part = run.part(&format!("member-{}", members.len()));
                histories.push(fit(&mut net, &sets, watched, &Cpu::default(), &training, &mut part)?);
            }
            let mut member = Member { net, factor };
            let singles: Vec<&Condition> = train.iter().filter(|c| c.perturbation.genes().len() == 1).collect();
            for condition in &held {
                run.check_interrupt()?;
                tables[0].add(&mut member, cells, shifts, condition, &cells.places[condition])?;
            }
            for condition in singles {
                run.check_interrupt()?;
                if let Some(places) = aside.get(condition) {
                    tables[1].add(&mut member, cells, shifts, condition, places)?;
                }
            }
            members.push(member);
        }
        let [(combinations, error), (singles, error_of_singles)] = tables.map(|table| table.best());
        let factor = members.iter().map(|member| member.factor).sum::<f64>() / members.len() as f64;
        let choice = Choice { factor, combinations, error, singles, error_of_singles };
        Ok(Self { members, choice, histories })
    }

    /// The embeddings of control cells h `(cells, width)` under a condition, `(cells, width)`: the mean over the members
    /// of each cell's.
    ///
    /// # Errors
    /// Genes that were never perturbed alone, all named.
    pub fn moved(&self, h: &Array2<f32>, shifts: &Shifts, condition: &Condition) -> Result<Array2<f32>> {
        if condition.perturbation.is_control() {
            return Ok(h.clone());
        }
        let alone = condition.perturbation.genes().len() == 1;
        let share = if alone { self.choice.singles } else { self.choice.combinations };
        let known = Known::of(shifts, condition, self.choice.factor)?;
        let mut moved = h + &known.start;
        if share > 0.0 {
            let each = (share / self.members.len() as f64) as f32;
            for member in &self.members {
                moved.scaled_add(each, &member.net.clone().departure(h, &known)?);
            }
        }
        Ok(moved)
    }
}

/// Energy distances to the observed cells with each share of the departure, summed over conditions.
#[derive(Default)]
struct Errors([f64; SHARES.len()]);

impl Errors {
    fn add(
        &mut self,
        member: &mut Member,
        cells: &Cells,
        shifts: &Shifts,
        condition: &Condition,
        places: &[usize],
    ) -> Result<()> {
        let some = |places: &[usize]| cells.z.select(Axis(0), &places[..places.len().min(JUDGED)]);
        let (h, observed) = (some(cells.controls(condition.context.as_deref())?), some(places));
        let known = Known::of(shifts, condition, member.factor)?;
        let departure = member.net.departure(&h, &known)?;
        for (error, share) in self.0.iter_mut().zip(SHARES) {
            let predicted = &h + &known.start + &departure * share as f32;
            *error += energy_distance(&predicted, &observed)?;
        }
        Ok(())
    }

    /// The share with the least distance, and that distance as a share of the sum's; 0 and 1 where nothing was judged.
    fn best(&self) -> (f64, f64) {
        let start = self.0[0];
        let least = (0..SHARES.len()).min_by(|&a, &b| self.0[a].total_cmp(&self.0[b])).unwrap_or(0);
        if start > 0.0 { (SHARES[least], self.0[least] / start) } else { (0.0, 1.0) }
    }
}

/// Energy distance between two sets of embeddings.
fn energy_distance(x: &Array2<f32>, y: &Array2<f32>) -> Result<f64> {
    let device = Cpu::default();
    let (x_set, y_set) = (RowSets::uniform(1, x.nrows()), RowSets::uniform(1, y.nrows()));
    let (x, y) = (ops::upload(&device, x)?, ops::upload(&device, y)?);
    Ok(f64::from(SetDistance::Energy.forward(x, &x_set, &y, &y_set)?.as_vec()[0]))
}
