//! Mean effects of conditions, as models and predictors learn them.

use super::{Condition, Counts, Effects, Perturbation, shuffle};
use crate::{Error, Result};
use ndarray::{Array1, Array2, ArrayView1, Axis, CowArray, Ix1};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Mean effects of conditions.
///
/// An effect is the mean log-normalised expression of a condition's cells less that of the control cells of its context,
/// or a row of an effects dataset, in the unit of that file.
#[derive(Debug, Clone)]
pub struct EffectTable {
    /// Gene names, one per column.
    pub genes: Arc<[String]>,
    /// The conditions, one per row, without control.
    pub conditions: Vec<Condition>,
    /// `(conditions, genes)`.
    pub effects: Array2<f32>,
    /// Number of cells behind each effect; 0 where the data does not say.
    pub n_cells: Vec<usize>,
}

impl EffectTable {
    /// The rows `rows` of an effects dataset.
    pub fn of_effects(data: &Effects, rows: &[usize]) -> Self {
        let n_cells = data.n_cells();
        Self {
            genes: data.genes.names.clone().into(),
            conditions: rows.iter().map(|&row| Condition::of(data.perturbations[row].clone())).collect(),
            effects: data.values.select(Axis(0), rows),
            n_cells: rows.iter().map(|&row| n_cells[row]).collect(),
        }
    }

    /// The effects of the conditions that the cells `rows` belong to, by these controls. `conditions` names the condition
    /// of every row of `expression`.
    ///
    /// # Errors
    /// A context without a control profile.
    pub fn of_cells(
        genes: &[String],
        expression: &Counts,
        conditions: &[Condition],
        rows: &[usize],
        controls: &Controls,
    ) -> Result<Self> {
        let mut table = Self {
            genes: genes.into(),
            conditions: Vec::new(),
            effects: Array2::zeros((0, genes.len())),
            n_cells: Vec::new(),
        };
        for (condition, rows) in rows_by_condition(conditions, rows) {
            if condition.perturbation.is_control() {
                continue;
            }
            let control = controls
                .of(condition.context.as_deref())
                .ok_or_else(|| Error::data(format!("{condition}: no control cell of this context is trained on")))?;
            let effect = mean_expression(expression, &rows) - control;
            table.effects.push_row(effect.view()).expect("an effect has one value per gene");
            table.conditions.push(condition.clone());
            table.n_cells.push(rows.len());
        }
        Ok(table)
    }

    /// Number of conditions.
    pub fn len(&self) -> usize {
        self.conditions.len()
    }

    /// Whether there is no condition.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The conditions `rows`.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            genes: Arc::clone(&self.genes),
            conditions: rows.iter().map(|&row| self.conditions[row].clone()).collect(),
            effects: self.effects.select(Axis(0), rows),
            n_cells: rows.iter().map(|&row| self.n_cells[row]).collect(),
        }
    }

    /// The effect of a row in double precision, `(genes,)`.
    pub fn effect(&self, row: usize) -> Array1<f64> {
        self.effects.row(row).mapv(f64::from)
    }

    /// How much each effect is to be trusted, `(conditions,)`: `n / (n + half)` for n cells, the median of the others where
    /// the number is not known, 1 where none is. The variance of the mean of n cells falls as `1 / n`, and what a model
    /// cannot explain anyway does not fall: `half` is the number of cells at which the two are equal.
    pub fn trust(&self, half: f64) -> Vec<f64> {
        let of = |n: usize| n as f64 / (n as f64 + half);
        let mut known: Vec<f64> = self.n_cells.iter().filter(|&&n| n > 0).map(|&n| of(n)).collect();
        known.sort_unstable_by(f64::total_cmp);
        let median = known.get(known.len() / 2).copied().unwrap_or(1.0);
        self.n_cells.iter().map(|&n| if n > 0 { of(n) } else { median }).collect()
    }

    /// The row of this perturbation in this context.
    pub fn row_of(&self, perturbation: &Perturbation, context: Option<&str>) -> Option<usize> {
        self.conditions.iter().position(|c| c.perturbation == *perturbation && c.context.as_deref() == context)
    }

    /// The effect `(genes,)` of a perturbation in a context; where it is not known in this context, its mean over the
    /// contexts in which it is. `None` where it is known in none.
    pub fn effect_of(&self, perturbation: &Perturbation, context: Option<&str>) -> Option<CowArray<'_, f32, Ix1>> {
        if let Some(row) = self.row_of(perturbation, context) {
            return Some(self.effects.row(row).into());
        }
        let elsewhere = |condition: &Condition| condition.perturbation == *perturbation;
        self.mean_where(elsewhere).map(|mean| mean.mapv(|value| value as f32).into())
    }

    /// [`Self::effect_of`] the perturbation of one gene.
    ///
    /// # Errors
    /// It is known in no context: [`ErrorKind::Inapplicable`](crate::ErrorKind), with the gene's name.
    pub fn single(&self, gene: &str, context: Option<&str>) -> Result<CowArray<'_, f32, Ix1>> {
        self.effect_of(&Perturbation::of([gene]), context).ok_or_else(|| not_trained_alone(gene))
    }

    /// Mean over the conditions for which `wanted` holds, `(genes,)`; `None` if there is none.
    pub fn mean_where(&self, wanted: impl Fn(&Condition) -> bool) -> Option<Array1<f64>> {
        let mut sum = Array1::<f64>::zeros(self.genes.len());
        let mut n = 0_usize;
        for (_, effect) in self.conditions.iter().zip(self.effects.rows()).filter(|(condition, _)| wanted(condition)) {
            sum.zip_mut_with(&effect, |sum, &value| *sum += f64::from(value));
            n += 1;
        }
        (n > 0).then(|| sum / n as f64)
    }

    /// Mean over all conditions, `(genes,)`: the centroid that systema's Pearson refers to. Zeros if there is none.
    pub fn mean_effect(&self) -> Array1<f32> {
        self.mean_where(|_| true).map_or_else(|| Array1::zeros(self.genes.len()), |mean| mean.mapv(|v| v as f32))
    }

    /// Rows to validate a training on, where the split has no validation conditions: a seeded `fraction` of the
    /// combinations (of all conditions where there is none), as far as every gene stays perturbed in a condition that is
    /// trained on. May be empty. Sorted.
    pub fn validation_rows(&self, fraction: f64, seed: u64) -> Vec<usize> {
        let genes = |row: usize| self.conditions[row].perturbation.genes();
        let mut left: HashMap<&String, usize> = HashMap::new();
        (0..self.len()).flat_map(genes).for_each(|gene| *left.entry(gene).or_default() += 1);
        let mut candidates: Vec<usize> = (0..self.len()).filter(|&row| genes(row).len() > 1).collect();
        if candidates.is_empty() {
            candidates = (0..self.len()).collect();
        }
        let n = (fraction * candidates.len() as f64).ceil() as usize;
        shuffle(&mut candidates, &mut ChaCha8Rng::seed_from_u64(seed));
        let mut chosen = Vec::new();
        for row in candidates {
            if chosen.len() < n && genes(row).iter().all(|gene| left[gene] > 1) {
                genes(row).iter().for_each(|gene| *left.entry(gene).or_default() -= 1);
                chosen.push(row);
            }
        }
        chosen.sort_unstable();
        chosen
    }
}

/// The error for a gene whose single perturbation was not trained on.
pub(crate) fn not_trained_alone(gene: &str) -> Error {
    Error::inapplicable(format!("the single perturbation of {gene} was not trained on"))
}

/// What is known of a perturbation in a context: `known` there, else the mean over the contexts in which it is known (the
/// plain transfer to an unseen context). `None` where it is known in none. For vectors other than effects, such as
/// shifts in a latent space; [`EffectTable::effect_of`] is the same rule for effects.
pub(crate) fn in_context<T>(
    known: &BTreeMap<Condition, T>,
    perturbation: &Perturbation,
    context: Option<&String>,
    vector: impl Fn(&T) -> &Array1<f64>,
) -> Option<Array1<f64>> {
    let here = Condition { perturbation: perturbation.clone(), context: context.cloned() };
    if let Some(known) = known.get(&here) {
        return Some(vector(known).clone());
    }
    let others = || known.iter().filter(|(condition, _)| condition.perturbation == *perturbation);
    let sum = others().map(|(_, known)| vector(known).clone()).reduce(|sum, one| sum + one)?;
    Some(sum / others().count() as f64)
}

/// Mean profiles of the training control cells.
#[derive(Debug, Clone)]
pub struct Controls {
    /// The contexts; one `None` where the data has no context.
    pub contexts: Vec<Option<String>>,
    /// Mean log-normalised expression, `(contexts, genes)`.
    pub profiles: Array2<f32>,
}

impl Controls {
    /// Of the control cells among the cells `rows`. `conditions` names the condition of every row of `expression`.
    pub fn of_cells(expression: &Counts, conditions: &[Condition], rows: &[usize]) -> Self {
        let mut controls = Self { contexts: Vec::new(), profiles: Array2::zeros((0, expression.n_genes())) };
        for (condition, rows) in rows_by_condition(conditions, rows) {
            if condition.perturbation.is_control() {
                controls.contexts.push(condition.context.clone());
                let profile = mean_expression(expression, &rows);
                controls.profiles.push_row(profile.view()).expect("a profile has one value per gene");
            }
        }
        controls
    }

    /// The profile `(genes,)` of a context.
    pub fn of(&self, context: Option<&str>) -> Option<ArrayView1<'_, f32>> {
        self.contexts.iter().position(|known| known.as_deref() == context).map(|row| self.profiles.row(row))
    }
}

/// How similar contexts are to another one, from the squared distances `D^2` of their mean control profiles to its own:
/// `exp(-D^2 / (2 D_min^2))`; where the least is 0, 1 for the contexts at 0 and 0 for the others.
pub fn similarities(squared_distances: &[f64]) -> Vec<f64> {
    let least = squared_distances.iter().copied().fold(f64::INFINITY, f64::min);
    let weight = |&d: &f64| match least > 0.0 {
        true => (-d / (2.0 * least)).exp(),
        false => f64::from(u8::from(d == 0.0)),
    };
    squared_distances.iter().map(weight).collect()
}

/// Squared Euclidean distance of two profiles, `(genes,)` each.
pub fn squared_distance(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    a.iter().zip(&b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// The rows of each condition, conditions in order.
pub fn rows_by_condition<'a>(conditions: &'a [Condition], rows: &[usize]) -> BTreeMap<&'a Condition, Vec<usize>> {
    let mut of: BTreeMap<&Condition, Vec<usize>> = BTreeMap::new();
    rows.iter().for_each(|&row| of.entry(&conditions[row]).or_default().push(row));
    of
}

/// Mean of some cells, `(genes,)`, summed in double precision.
pub fn mean_expression(expression: &Counts, rows: &[usize]) -> Array1<f32> {
    let mut sum = Array1::<f64>::zeros(expression.n_genes());
    for &row in rows {
        let (genes, values) = expression.row(row);
        genes.iter().zip(values).for_each(|(&gene, &value)| sum[gene as usize] += f64::from(value));
    }
    sum.mapv(|sum| (sum / rows.len() as f64) as f32)
}
