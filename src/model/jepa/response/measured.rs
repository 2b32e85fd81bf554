//! What the training cells say of each condition, and which measured effects stand for a gene in a context.

use crate::{
    Error, Result,
    data::{Condition, Controls, Perturbation, rows_by_condition, similarities, squared_distance},
    model::jepa::response::source::Tokens,
};
use ndarray::{Array1, Array2, Axis};
use std::collections::{BTreeMap, BTreeSet};

/// The training cells by condition, and the single perturbations that were measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Rows of the dataset of each condition, those of control too; empty in a model that was read from a file.
    rows: BTreeMap<Condition, Vec<usize>>,
    /// Gene and context of each measured effect, in order.
    pub effects: Vec<(String, Option<String>)>,
    /// Names of the genes that were perturbed alone, in order.
    pub genes: Vec<String>,
    /// Contexts with control cells.
    pub contexts: Vec<Option<String>>,
    /// Squared distance of the mean control profiles of each two contexts.
    pub distances: Vec<Vec<f64>>,
    /// Mean z of the control cells of each context, `(contexts, width)`; no rows before the encoder is trained.
    pub centres: Array2<f32>,
}

impl Measured {
    /// Of the cells `train`, with the control profile of each context.
    pub fn new(conditions: &[Condition], train: &[usize], controls: &Controls) -> Self {
        let rows: BTreeMap<Condition, Vec<usize>> =
            rows_by_condition(conditions, train).into_iter().map(|(c, rows)| (c.clone(), rows)).collect();
        let single = |condition: &Condition| match condition.perturbation.genes() {
            [gene] => Some((gene.clone(), condition.context.clone())),
            _ => None,
        };
        let effects: Vec<_> = rows.keys().filter_map(single).collect();
        let genes: BTreeSet<String> = effects.iter().map(|(gene, _)| gene.clone()).collect();
        let distance = |a: usize, b: usize| squared_distance(controls.profiles.row(a), controls.profiles.row(b));
        let n = controls.contexts.len();
        let distances = (0..n).map(|a| (0..n).map(|b| distance(a, b)).collect()).collect();
        Self {
            rows,
            effects,
            genes: genes.into_iter().collect(),
            contexts: controls.contexts.clone(),
            distances,
            centres: Array2::zeros((0, 0)),
        }
    }

    /// From what is saved.
    pub fn restored(
        effects: Vec<(String, Option<String>)>,
        contexts: Vec<Option<String>>,
        distances: Vec<Vec<f64>>,
        centres: Array2<f32>,
    ) -> Self {
        let genes: BTreeSet<String> = effects.iter().map(|(gene, _)| gene.clone()).collect();
        Self { rows: BTreeMap::new(), effects, genes: genes.into_iter().collect(), contexts, distances, centres }
    }

    /// Rows of the cells of a condition; none where it was not trained on.
    pub fn rows(&self, condition: &Condition) -> &[usize] {
        self.rows.get(condition).map_or(&[], Vec::as_slice)
    }

    /// The conditions, those of control too.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.rows.keys()
    }

    /// Rows of the control cells of a context.
    ///
    /// # Errors
    /// There is none: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn controls(&self, context: Option<&str>) -> Result<&[usize]> {
        let control = Condition { perturbation: Perturbation::control(), context: context.map(str::to_owned) };
        match self.rows(&control) {
            [] => {
                let place = context.map_or_else(String::new, |context| format!(" in {context}"));
                Err(Error::inapplicable(format!("no control cell{place} was trained on")))
            }
            rows => Ok(rows),
        }
    }

    /// Whether a gene was perturbed alone.
    pub fn knows(&self, gene: &str) -> bool {
        self.genes.binary_search_by(|known| known.as_str().cmp(gene)).is_ok()
    }

    /// The tokens of a condition. The effect of a gene is the one measured in this context; where there is none, or it is
    /// left out, those measured in other contexts, weighted by `exp(-d^2 / (2 d_min^2))`, d the distance of the mean control
    /// profiles and `d_min` the least of them.
    ///
    /// # Errors
    /// Genes that were never perturbed alone, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn tokens(&self, condition: &Condition, leave_out: bool) -> Result<Tokens> {
        let mut tokens = Tokens::default();
        let mut unknown = Vec::new();
        for gene in condition.perturbation.genes() {
            let Ok(number) = self.genes.binary_search(gene) else {
                unknown.push(gene.as_str());
                continue;
            };
            tokens.genes.push(number as u32);
            tokens.effects.push(self.weighted(gene, condition.context.as_ref(), leave_out));
        }
        match unknown.as_slice() {
            [] => Ok(tokens),
            [gene] => Err(Error::inapplicable(format!("the single perturbation of {gene} was not trained on"))),
            genes => Err(Error::inapplicable(format!(
                "the single perturbations of {} were not trained on",
                genes.join(", ")
            ))),
        }
    }

    fn place(&self, context: Option<&String>) -> Option<usize> {
        self.contexts.iter().position(|known| known.as_ref() == context)
    }

    /// Mean z of the control cells of a context, or of all for one without.
    pub fn centre(&self, context: Option<&String>) -> Array1<f32> {
        match self.place(context) {
            Some(place) => self.centres.row(place).to_owned(),
            None => self.centres.mean_axis(Axis(0)).expect("there are control cells"),
        }
    }

    fn weighted(&self, gene: &str, context: Option<&String>, leave_out: bool) -> Vec<(u32, f32)> {
        let of_gene = |row: &usize| self.effects[*row].0 == gene;
        let all: Vec<usize> = (0..self.effects.len()).filter(of_gene).collect();
        let own = all.iter().copied().find(|&row| self.effects[row].1.as_ref() == context);
        let others: Vec<usize> = all.into_iter().filter(|row| Some(*row) != own).collect();
        match own {
            Some(row) if !leave_out || others.is_empty() => return vec![(row as u32, 1.0)],
            _ => {}
        }
        let here = self.place(context);
        let distance = |row: &usize| match (here, self.place(self.effects[*row].1.as_ref())) {
            (Some(here), Some(there)) => self.distances[here][there],
            _ => 0.0,
        };
        let distances: Vec<f64> = others.iter().map(distance).collect();
        let weights = similarities(&distances);
        let total: f64 = weights.iter().sum();
        others.iter().zip(weights).map(|(&row, weight)| (row as u32, (weight / total) as f32)).collect()
    }
}
