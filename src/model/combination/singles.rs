//! What each gene does alone: its measured single effect, or, for a gene that was never perturbed, an estimate.

use super::unseen::Unseen;
use crate::{
    Result,
    data::{Condition, EffectTable},
    math::median,
};
use ndarray::{Array1, Array2, Axis};
use std::collections::BTreeMap;

/// The single effects of a training fold.
#[derive(Debug, Clone)]
pub(super) struct Singles {
    /// The perturbed gene and the context of each row.
    pub names: Vec<(String, Option<String>)>,
    /// `(singles, genes)`.
    pub effects: Array2<f64>,
    /// Their mean, `(genes,)`; zero if there is none.
    pub mean: Array1<f64>,
    /// Median Euclidean norm of a single effect; 0 if there is none.
    pub norm: f64,
    /// Estimates for genes without one.
    pub unseen: Unseen,
    rows: BTreeMap<String, Vec<usize>>,
}

impl Singles {
    /// The single effects of a table; `unseen` estimates those of other genes.
    pub fn new(data: &EffectTable, unseen: Unseen) -> Self {
        let alone = |condition: &Condition| match condition.perturbation.genes() {
            [gene] => Some((gene.clone(), condition.context.clone())),
            _ => None,
        };
        let found: Vec<(usize, (String, Option<String>))> =
            (0..data.conditions.len()).filter_map(|row| Some((row, alone(&data.conditions[row])?))).collect();
        let rows: Vec<usize> = found.iter().map(|(row, _)| *row).collect();
        let effects = data.effects.select(Axis(0), &rows).mapv(f64::from);
        Self::from_parts(found.into_iter().map(|(_, name)| name).collect(), effects, unseen)
    }

    /// From what is saved.
    pub fn from_parts(names: Vec<(String, Option<String>)>, effects: Array2<f64>, unseen: Unseen) -> Self {
        let mut rows: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        names.iter().enumerate().for_each(|(row, (gene, _))| rows.entry(gene.clone()).or_default().push(row));
        let mean = effects.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(effects.ncols()));
        let norms = effects.rows().into_iter().map(|effect| effect.dot(&effect).sqrt()).collect();
        let norm = median(norms).unwrap_or(0.0);
        Self { names, effects, mean, norm, unseen, rows }
    }

    /// Whether a gene was perturbed alone in training.
    pub fn seen(&self, gene: &str) -> bool {
        self.rows.contains_key(gene)
    }

    /// Number of genes that were perturbed alone.
    pub fn n_genes(&self) -> usize {
        self.rows.len()
    }

    /// Those genes, sorted.
    pub fn genes(&self) -> impl Iterator<Item = &String> {
        self.rows.keys()
    }

    /// The number of a gene among those that were perturbed alone.
    pub fn number(&self, gene: &str) -> Option<u32> {
        self.rows.keys().position(|known| known == gene).map(|number| number as u32)
    }

    /// The effect of a gene in a context, `(genes,)`: measured there, else the mean over the contexts in which it was
    /// measured, else the estimate from its features.
    ///
    /// # Errors
    /// A gene without effect and features: [`ErrorKind::Inapplicable`](crate::ErrorKind), with its name.
    pub fn effect(&self, gene: &str, context: Option<&str>) -> Result<Array1<f64>> {
        let Some(rows) = self.rows.get(gene) else { return self.unseen.effect(gene) };
        let here = rows.iter().find(|&&row| self.names[row].1.as_deref() == context);
        Ok(match here {
            Some(&row) => self.effects.row(row).to_owned(),
            None => self.effects.select(Axis(0), rows).mean_axis(Axis(0)).expect("a gene has at least one row"),
        })
    }

    /// The effect of each gene of a condition, `(genes of the condition, genes)`.
    ///
    /// # Errors
    /// As [`Self::effect`].
    pub fn of_condition(&self, condition: &Condition) -> Result<Array2<f64>> {
        let mut effects = Array2::zeros((0, self.mean.len()));
        for gene in condition.perturbation.genes() {
            let effect = self.effect(gene, condition.context.as_deref())?;
            effects.push_row(effect.view()).expect("an effect has one value per gene");
        }
        Ok(effects)
    }
}
