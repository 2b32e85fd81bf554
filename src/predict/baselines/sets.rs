//! Perturbations as sets of single effects, and how far two such sets are apart.
//!
//! What is known of a combination before it is measured are its single effects. Two sets of the same size are compared
//! gene by gene; which gene of the one belongs to which of the other is not known, so that everything goes over all
//! assignments and does not depend on the order of genes.

use crate::{
    Error, Result,
    data::{Condition, EffectTable},
};
use ndarray::{Array1, Array2, ArrayView1};
use std::collections::BTreeMap;

/// Sets of more genes have too many assignments (5! = 120 for each pair of sets); no dataset of today has them.
pub(super) const MOST_GENES: usize = 4;

/// Training conditions as sets of single effects.
pub(super) struct Sets {
    /// Distinct single effects, `(singles, genes)`.
    effects: Array2<f64>,
    /// The rows of `effects` that each condition is made of.
    members: Vec<Vec<usize>>,
}

impl Sets {
    /// `conditions`, whose genes must all have been trained on alone.
    ///
    /// # Errors
    /// A gene whose single effect was not trained on.
    pub fn of(training: &EffectTable, conditions: &[Condition]) -> Result<Self> {
        let mut place: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
        let mut effects = Array2::zeros((0, training.genes.len()));
        let mut members = Vec::with_capacity(conditions.len());
        for condition in conditions {
            let context = condition.context.as_deref();
            let mut rows = Vec::new();
            for gene in condition.perturbation.genes() {
                let next = place.len();
                let row = *place.entry((gene.as_str(), context)).or_insert(next);
                if row == next {
                    let effect = training.single(gene, context)?.mapv(f64::from);
                    effects.push_row(effect.view()).expect("an effect has a value a gene");
                }
                rows.push(row);
            }
            members.push(rows);
        }
        Ok(Self { effects, members })
    }

    /// Squared Euclidean distances between the single effects of `condition` and all single effects here,
    /// `(genes of the condition, singles)`.
    ///
    /// # Errors
    /// A gene whose single effect was not trained on; more genes than [`MOST_GENES`].
    pub fn distances(&self, training: &EffectTable, condition: &Condition) -> Result<Array2<f64>> {
        let genes = condition.perturbation.genes();
        if genes.len() > MOST_GENES {
            return Err(Error::inapplicable(format!("{condition} has more than {MOST_GENES} genes")));
        }
        let mut distances = Array2::zeros((genes.len(), self.effects.nrows()));
        for (gene, mut row) in genes.iter().zip(distances.rows_mut()) {
            let effect = training.single(gene, condition.context.as_deref())?;
            row.assign(
                &self.effects.rows().into_iter().map(|other| distance(&effect.view(), &other)).collect::<Array1<_>>(),
            );
        }
        Ok(distances)
    }

    /// For each condition here: `over` applied to the distances of each assignment of the genes behind `distances` to
    /// its genes. `None` for a condition of another number of genes.
    pub fn compare(&self, distances: &Array2<f64>, over: impl Fn(&[Vec<f64>]) -> f64) -> Vec<Option<f64>> {
        let orders = orders(distances.nrows());
        let compare = |members: &Vec<usize>| {
            (members.len() == distances.nrows()).then(|| {
                let assigned = |order: &Vec<usize>| -> Vec<f64> {
                    order.iter().enumerate().map(|(gene, &member)| distances[[gene, members[member]]]).collect()
                };
                over(&orders.iter().map(assigned).collect::<Vec<_>>())
            })
        };
        self.members.iter().map(compare).collect()
    }
}

fn distance(a: &ArrayView1<'_, f32>, b: &ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - b).powi(2)).sum()
}

/// All orders of `0..n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    (0..n).fold(vec![Vec::new()], |orders, next| {
        orders
            .iter()
            .flat_map(|order| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, next);
                    longer
                })
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_all_and_distinct() {
        for (n, count) in [(0, 1), (1, 1), (2, 2), (3, 6), (4, 24)] {
            let mut all = orders(n);
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }
}
