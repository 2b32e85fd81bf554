//! What a benchmark asks of a predictor, and what the predictor may look at.
//!
//! A [`Predictor`] is fitted to a [`Training`], which holds nothing of the held-out conditions, and answers with the
//! effect of a condition. What it cannot do (a gene that it has never seen, data of the wrong kind) is an
//! [`ErrorKind::Inapplicable`](crate::ErrorKind) error whose message is the reason: the benchmark lists it and goes on.

use crate::{
    Error, Result,
    data::{Condition, Counts, Dataset, Perturbation, Split, shuffle},
};
use ndarray::{Array1, Array2, ArrayView1, CowArray, Ix1};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{collections::HashMap, sync::Arc};

/// What a predictor is fitted to: the training fold, and nothing else.
#[derive(Debug, Clone)]
pub struct Training {
    /// Gene names, one a column.
    pub genes: Arc<[String]>,
    /// The conditions that are trained on, without control.
    pub conditions: Vec<Condition>,
    /// Mean effect of each, `(conditions, genes)`: difference to the control of its context in mean log-normalised
    /// expression.
    pub effects: Array2<f32>,
    /// Number of cells behind each effect; 0 where the data does not say.
    pub n_cells: Vec<usize>,
    /// Conditions to choose settings by; often none, then a predictor divides `conditions` itself.
    pub validation: Vec<Condition>,
    /// Mean effect of each, `(validation conditions, genes)`.
    pub validation_effects: Array2<f32>,
    /// The control of each context; `None` for an effects dataset, which holds differences only.
    pub controls: Option<Controls>,
    /// The training and validation cells; `None` for an effects dataset.
    pub cells: Option<Arc<TrainingCells>>,
    /// Seed of everything that a predictor draws.
    pub seed: u64,
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
    /// The profile `(genes,)` of a context.
    pub fn of(&self, context: Option<&str>) -> Option<ArrayView1<'_, f32>> {
        self.contexts.iter().position(|known| known.as_deref() == context).map(|row| self.profiles.row(row))
    }
}

/// The cells of the training fold.
#[derive(Debug, Clone)]
pub struct TrainingCells {
    /// Training and validation cells, and no others.
    pub data: Dataset,
    /// Log-normalised expression of the same cells, `(cells, genes)`.
    pub expression: Counts,
    /// The condition of each cell, control's too.
    pub conditions: Vec<Condition>,
    /// Which of these cells are trained on and which watched; no test cell.
    pub split: Split,
}

impl Training {
    /// The row of the training condition with this perturbation in this context.
    pub fn row_of(&self, perturbation: &Perturbation, context: Option<&str>) -> Option<usize> {
        self.conditions.iter().position(|c| c.perturbation == *perturbation && c.context.as_deref() == context)
    }

    /// The effect `(genes,)` of a perturbation in a context: as it was trained there, else its mean over the other
    /// contexts in which it was trained (the plain transfer of an effect to a held-out context). `None` where it was
    /// trained nowhere.
    pub fn effect_of(&self, perturbation: &Perturbation, context: Option<&str>) -> Option<CowArray<'_, f32, Ix1>> {
        if let Some(row) = self.row_of(perturbation, context) {
            return Some(self.effects.row(row).into());
        }
        let elsewhere = |condition: &Condition| condition.perturbation == *perturbation;
        self.mean_where(elsewhere).map(|mean| mean.mapv(|value| value as f32).into())
    }

    /// The effect `(genes,)` of a single perturbation in a context, or its mean over the other contexts where it was
    /// not trained in this one: [`Self::effect_of`].
    ///
    /// # Errors
    /// It was trained in no context: [`ErrorKind::Inapplicable`](crate::ErrorKind), with the gene's name.
    pub fn single(&self, gene: &str, context: Option<&str>) -> Result<CowArray<'_, f32, Ix1>> {
        self.effect_of(&Perturbation::of([gene]), context)
            .ok_or_else(|| Error::inapplicable(format!("the single perturbation of {gene} was not trained on")))
    }

    /// Mean over the training conditions for which `wanted` holds, `(genes,)`; `None` if there is none.
    pub fn mean_where(&self, wanted: impl Fn(&Condition) -> bool) -> Option<Array1<f64>> {
        let mut sum = Array1::<f64>::zeros(self.genes.len());
        let mut n = 0_usize;
        for (_, effect) in self.conditions.iter().zip(self.effects.rows()).filter(|(condition, _)| wanted(condition)) {
            sum.zip_mut_with(&effect, |sum, &value| *sum += f64::from(value));
            n += 1;
        }
        (n > 0).then(|| sum / n as f64)
    }

    /// Rows of `conditions` that a predictor may put aside to stop its training by, where the split has no validation
    /// conditions: a seeded `fraction` of those of several genes (of all where there is none), as far as every gene
    /// stays perturbed in a condition that is kept. It may be empty. Sorted.
    pub fn put_aside(&self, fraction: f64) -> Vec<usize> {
        let genes = |row: usize| self.conditions[row].perturbation.genes();
        let mut left: HashMap<&String, usize> = HashMap::new();
        (0..self.conditions.len()).flat_map(genes).for_each(|gene| *left.entry(gene).or_default() += 1);
        let mut candidates: Vec<usize> = (0..self.conditions.len()).filter(|&row| genes(row).len() > 1).collect();
        if candidates.is_empty() {
            candidates = (0..self.conditions.len()).collect();
        }
        let n = (fraction * candidates.len() as f64).ceil() as usize;
        shuffle(&mut candidates, &mut ChaCha8Rng::seed_from_u64(self.seed));
        let mut aside = Vec::new();
        for row in candidates {
            if aside.len() < n && genes(row).iter().all(|gene| left[gene] > 1) {
                genes(row).iter().for_each(|gene| *left.entry(gene).or_default() -= 1);
                aside.push(row);
            }
        }
        aside.sort_unstable();
        aside
    }

    /// Mean over the training conditions, `(genes,)`: the centroid that systema's Pearson refers to.
    pub fn mean_effect(&self) -> Array1<f32> {
        self.mean_where(|_| true).map_or_else(|| Array1::zeros(self.genes.len()), |mean| mean.mapv(|v| v as f32))
    }
}

/// A way to predict effects, before it has seen data.
pub trait Predictor: Send + Sync {
    /// The name in tables and on the command line, `snake_case`.
    fn name(&self) -> &str;

    /// One sentence: what it predicts, with its source.
    fn description(&self) -> &str;

    /// Everything that changes its result, for the hash that a resumed benchmark compares.
    fn settings(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Fits to the training fold.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind) with the reason where this data is not for it.
    fn fit(&self, training: &Training) -> Result<Box<dyn Fitted>>;
}

/// A fitted predictor. It stays on the thread that fitted it: a model on CUDA cannot leave it.
pub trait Fitted {
    /// The mean effect `(genes,)` of a condition.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind) with the reason where it has no answer.
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>>;

    /// `n` cells of a condition in log-normalised expression, `(n, genes)`. `None` where the predictor knows means only:
    /// then control cells shifted by the effect stand for it.
    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let _ = (condition, n, seed);
        None
    }
}
