//! What the training cells say of each condition, and which measured effects stand for a gene in a context.

use super::{ResponseConfig, embedded::Embedded, predictor::PredictorShape, source::ConditionTokens};
use crate::{
    Error, Result,
    data::{Condition, ContextColumns, Controls, Perturbation, rows_by_condition, similarities, squared_distance},
};
use ndarray::{Array1, Array2, ArrayView1, Axis};
use std::collections::{BTreeMap, BTreeSet};

/// Measured effects that a prediction may not use.
#[derive(Debug, Clone, Copy)]
pub enum Hidden<'a> {
    /// It may use all.
    Nothing,
    /// That of the same gene in the same context.
    Own,
    /// That one, and all of these contexts.
    Contexts(&'a [Option<String>]),
}

impl Hidden<'_> {
    fn hides(self, context: Option<&String>) -> bool {
        matches!(self, Self::Contexts(hidden) if hidden.iter().any(|known| known.as_ref() == context))
    }
}

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
    /// The columns of cells that contexts are levels of; none where they are not known.
    pub columns: ContextColumns,
    /// Column and level of each token: see [`Self::levels`].
    levels: Vec<(usize, String)>,
    /// Squared distance of the mean control profiles of each two contexts.
    pub distances: Vec<Vec<f64>>,
    /// Mean z of the control cells of each context, `(contexts, width)`; no columns before the encoder is trained.
    pub centres: Array2<f32>,
}

impl Measured {
    /// Of the cells `train`, with the control profile of each context, which is levels of these columns.
    pub fn new(conditions: &[Condition], train: &[usize], controls: &Controls, columns: &ContextColumns) -> Self {
        let rows: BTreeMap<Condition, Vec<usize>> =
            rows_by_condition(conditions, train).into_iter().map(|(c, rows)| (c.clone(), rows)).collect();
        let single = |condition: &Condition| match condition.perturbation.genes() {
            [gene] => Some((gene.clone(), condition.context.clone())),
            _ => None,
        };
        let effects: Vec<_> = rows.keys().filter_map(single).collect();
        let distance = |a: usize, b: usize| squared_distance(controls.profiles.row(a), controls.profiles.row(b));
        let n = controls.contexts.len();
        let distances = (0..n).map(|a| (0..n).map(|b| distance(a, b)).collect()).collect();
        let (contexts, centres) = (controls.contexts.clone(), Array2::zeros((n, 0)));
        Self { rows, ..Self::restored((effects, columns.clone()), contexts, distances, centres) }
    }

    /// Says where the contexts lie in the space of these embeddings: at the means of their control cells.
    ///
    /// # Errors
    /// As [`Self::controls`]; not for the contexts that [`Self::new`] has found.
    pub fn place_contexts(&mut self, z: &Embedded) -> Result<()> {
        let mut centres = Array2::zeros((0, z.z.ncols()));
        for context in &self.contexts {
            let centre = z.mean(self.controls(context.as_deref())?).mapv(|v| v as f32);
            centres.push_row(centre.view()).expect("all have one width");
        }
        self.centres = centres;
        Ok(())
    }

    /// From what is saved.
    pub fn restored(
        (effects, columns): (Vec<(String, Option<String>)>, ContextColumns),
        contexts: Vec<Option<String>>,
        distances: Vec<Vec<f64>>,
        centres: Array2<f32>,
    ) -> Self {
        let genes: BTreeSet<String> = effects.iter().map(|(gene, _)| gene.clone()).collect();
        let of_effect = |(_, context): &(String, Option<String>)| columns.levels(context.as_deref()?);
        let levels: BTreeSet<(usize, String)> = match columns.are_several() {
            true => effects.iter().filter_map(of_effect).flat_map(|levels| levels.into_iter().enumerate()).collect(),
            false => BTreeSet::new(),
        };
        let (rows, genes, levels) = (BTreeMap::new(), genes.into_iter().collect(), levels.into_iter().collect());
        Self { rows, effects, genes, contexts, columns, levels, distances, centres }
    }

    /// Number of levels that the predictor has a token for: those in which a perturbation was measured. None where the context
    /// is of one column: its levels are the contexts, and a new one has no token.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Sizes of a predictor of these effects in embeddings of `width` features.
    pub fn shape(&self, width: usize, config: &ResponseConfig) -> PredictorShape {
        let levels = if config.context_tokens { self.levels() } else { 0 };
        PredictorShape { width, effects: self.effects.len(), levels, library: config.library_token }
    }

    /// The tokens of a context; a level that was not trained on has none.
    fn levels_of(&self, context: Option<&String>) -> Vec<u32> {
        let Some(levels) = context.filter(|_| self.levels() > 0).and_then(|context| self.columns.levels(context))
        else {
            return Vec::new();
        };
        let number = |level: (usize, String)| self.levels.binary_search(&level).ok().map(|number| number as u32);
        levels.into_iter().enumerate().filter_map(number).collect()
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

    /// Whether a context is none of several that were trained on.
    pub fn is_new(&self, context: Option<&String>) -> bool {
        self.contexts.len() > 1 && self.place(context).is_none()
    }

    /// Adds a context that was not trained on, by the mean z of its control cells `(width,)`. How near it is to the others is
    /// measured in z: their mean profiles are not kept.
    pub fn add_context(&mut self, context: Option<String>, centre: Array1<f32>) {
        let off = |other: ArrayView1<'_, f32>| squared_distance(centre.view(), other);
        let to_others: Vec<f64> = self.centres.rows().into_iter().map(off).collect();
        self.distances.iter_mut().zip(&to_others).for_each(|(row, &distance)| row.push(distance));
        self.distances.push(to_others.into_iter().chain([0.0]).collect());
        self.centres.push_row(centre.view()).expect("all have one width");
        self.contexts.push(context);
    }

    /// The same measured effects, with the cells `train` of other data in contexts of their own, whose control cells have the
    /// embeddings z.
    ///
    /// # Errors
    /// A context that is known already.
    pub fn with_target(&self, conditions: &[Condition], train: &[usize], z: &Embedded) -> Result<Self> {
        let rows: BTreeMap<Condition, Vec<usize>> =
            rows_by_condition(conditions, train).into_iter().map(|(c, rows)| (c.clone(), rows)).collect();
        let mut with = Self { rows, ..self.clone() };
        let contexts: BTreeSet<Option<String>> = with.rows.keys().map(|condition| condition.context.clone()).collect();
        for context in contexts {
            if self.place(context.as_ref()).is_some() {
                let name = context.unwrap_or_default();
                return Err(Error::config(format!(
                    "the base was trained on a context named {name:?}; give the target another name (--name)"
                )));
            }
            let centre = z.mean(with.controls(context.as_deref())?).mapv(|v| v as f32);
            with.add_context(context, centre);
        }
        Ok(with)
    }

    /// Without the rows of cells, which mean something beside their dataset only.
    pub fn without_rows(self) -> Self {
        Self { rows: BTreeMap::new(), ..self }
    }

    /// The tokens of a condition. The effect of a gene is the one measured in this context; where there is none, or it is
    /// hidden, those measured in other contexts, near ones first: see [`Self::weights`].
    ///
    /// # Errors
    /// Genes that were never perturbed alone, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn tokens(&self, condition: &Condition, hidden: Hidden<'_>) -> Result<ConditionTokens> {
        let mut tokens =
            ConditionTokens { levels: self.levels_of(condition.context.as_ref()), ..ConditionTokens::default() };
        let mut unknown = Vec::new();
        for gene in condition.perturbation.genes() {
            let Ok(number) = self.genes.binary_search(gene) else {
                unknown.push(gene.as_str());
                continue;
            };
            tokens.genes.push(number as u32);
            tokens.effects.push(self.weighted(gene, condition.context.as_ref(), hidden));
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

    /// The mean over contexts that are not hidden of each gene's measured effects `(rows, width)`: `(genes, width)`, 0 where all
    /// are hidden.
    pub fn means(&self, effects: &Array2<f64>, hidden: Hidden<'_>) -> Array2<f64> {
        let mut means = Array2::zeros((self.genes.len(), effects.ncols()));
        for (mut mean, gene) in means.rows_mut().into_iter().zip(&self.genes) {
            let of_gene = |row: &usize| self.effects[*row].0 == *gene && !hidden.hides(self.effects[*row].1.as_ref());
            let rows: Vec<usize> = (0..self.effects.len()).filter(of_gene).collect();
            rows.iter().for_each(|&row| mean += &effects.row(row));
            mean /= rows.len().max(1) as f64;
        }
        means
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

    /// How much an effect that was measured in each of the contexts `others` says of `context`; the weights sum to 1. They are
    /// `exp(-d^2 / (2 d_min^2))`, d the distance of the mean control profiles and `d_min` the least of them.
    pub fn weights<'a>(&self, context: Option<&String>, others: impl Iterator<Item = Option<&'a String>>) -> Vec<f32> {
        let here = self.place(context);
        let distance = |other: Option<&String>| match (here, self.place(other)) {
            (Some(here), Some(there)) => self.distances[here][there],
            _ => 0.0,
        };
        let weights = similarities(&others.map(distance).collect::<Vec<f64>>());
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| (weight / total) as f32).collect()
    }

    /// Whether a single perturbation was measured in a context that is not this one and not hidden.
    pub fn elsewhere(&self, gene: &str, context: Option<&String>, hidden: Hidden<'_>) -> bool {
        self.effects
            .iter()
            .any(|(known, other)| known == gene && other.as_ref() != context && !hidden.hides(other.as_ref()))
    }

    /// Whether a single perturbation was measured in this context.
    pub fn here(&self, gene: &str, context: Option<&String>) -> bool {
        self.effects.iter().any(|(known, other)| known == gene && other.as_ref() == context)
    }

    fn weighted(&self, gene: &str, context: Option<&String>, hidden: Hidden<'_>) -> Vec<(u32, f32)> {
        let of_gene = |row: &usize| self.effects[*row].0 == gene;
        let all: Vec<usize> = (0..self.effects.len()).filter(of_gene).collect();
        let context_of = |row: usize| self.effects[row].1.as_ref();
        let own = all.iter().copied().find(|&row| context_of(row) == context);
        let others: Vec<usize> =
            all.into_iter().filter(|&row| Some(row) != own && !hidden.hides(context_of(row))).collect();
        match own {
            Some(row) if matches!(hidden, Hidden::Nothing) || others.is_empty() => return vec![(row as u32, 1.0)],
            _ => {}
        }
        let weights = self.weights(context, others.iter().map(|&row| context_of(row)));
        others.iter().map(|&row| row as u32).zip(weights).collect()
    }
}
