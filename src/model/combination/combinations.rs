//! The combinations that departures are learned from.

use super::{scaled_sum::ScaledSum, singles::Singles};
use crate::data::Condition;
use crate::data::EffectTable;
use ndarray::{Array1, Array2, Axis};

/// The training combinations whose genes are all known.
pub(super) struct Combinations {
    pub conditions: Vec<Condition>,
    /// Single effects of the genes of each, `(genes of the combination, genes)`.
    pub members: Vec<Array2<f64>>,
    /// Their sums, `(combinations, genes)`.
    pub sums: Array2<f64>,
    /// `(combinations, genes)`.
    pub effects: Array2<f64>,
    /// How much each effect is to be believed; mean 1.
    pub trust: Vec<f64>,
}

impl Combinations {
    /// Those of a fold.
    pub fn of(data: &EffectTable, singles: &Singles, half_trust: f64) -> Self {
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

    pub fn len(&self) -> usize {
        self.conditions.len()
    }

    /// Some of them.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            conditions: rows.iter().map(|&row| self.conditions[row].clone()).collect(),
            members: rows.iter().map(|&row| self.members[row].clone()).collect(),
            sums: self.sums.select(Axis(0), rows),
            effects: self.effects.select(Axis(0), rows),
            trust: rows.iter().map(|&row| self.trust[row]).collect(),
        }
        .with_mean_trust()
    }

    /// Where the prediction of each starts, `(combinations, genes)`.
    pub fn starts(&self, start: &ScaledSum) -> Array2<f64> {
        stacked(self.members.iter().map(|members| start.predict(members)), self.effects.ncols())
    }
}

fn empty(data: &EffectTable) -> Array2<f64> {
    Array2::zeros((0, data.genes.len()))
}

fn stacked(rows: impl Iterator<Item = Array1<f64>>, width: usize) -> Array2<f64> {
    let mut all = Array2::zeros((0, width));
    rows.for_each(|row| all.push_row(row.view()).expect("all rows are as wide"));
    all
}
