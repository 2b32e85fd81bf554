//! What a perturbation that was never measured alone does, estimated from its features.
//!
//! For a gene g with features (`data::FeatureBlock`), K the cosines between the trained genes that have some, k_g those between g
//! and them, and n the number of trained genes:
//!
//! ```text
//! D(g | x, c) = sum over trained genes h of b_gh D(h | x, c)
//! b_gh        = 1 / n + w (a_gh - sum over h' of a_gh' / n)          a_g = k_g (K + l I)^-1
//! ```
//!
//! which is kernel ridge regression of the whole response, about the mean over the trained genes: the same weights hold for every
//! control cell and every context. The features, l and w are those with the smallest leave-one-out error of the mean shifts in
//! embedding space (`math::left_out`); where no regression beats the mean for certain, `b_gh = 1 / n`. What is left out is the
//! gene's shift alone: encoder and predictor have seen its cells.
//!
//! The decoder is also told how far the perturbed gene's own expression moves. For an unseen gene that is the mean of a_h over the
//! trained genes that are measured, or 0 where 0 is nearer to left-out ones. In a combination the shifts of its genes are added, times
//! the factor f, and an unseen gene takes part in no interaction.

use super::{embedded::Encoder, fit::Response, judge::few};
use crate::{
    Result,
    data::{Condition, FeatureBlock, FeatureKind, Perturbation, PerturbationFeatures, TrainingCells},
    math::left_out::{LeftOut, lengths},
    train::Run,
};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Control cells whose co-expression is looked at, at most.
const CONTROLS: usize = 2_000;
/// Trained genes that are named as those that an unseen one is most like.
const NAMED: usize = 3;
/// Fewer trained genes with features tell nothing of each other.
const LEAST: usize = 3;

/// What was chosen for perturbations that were never measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureChoice {
    /// The kinds of features that were given.
    pub given: Vec<FeatureKind>,
    /// Those in use; none where the mean over the trained perturbations is predicted.
    pub used: Vec<FeatureKind>,
    /// The penalty l.
    pub ridge: f64,
    /// The weight w.
    pub weight: f64,
    /// Mean distance, in embedding space, of a left-out trained perturbation's shift to its estimate.
    pub error: f64,
    /// The same to the mean of the others.
    pub error_of_mean: f64,
    /// Number of trained perturbations.
    pub trained: usize,
    /// Those of them that have features.
    pub with_features: usize,
}

impl fmt::Display for FeatureChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, error, error_of_mean, trained, with_features, .. } = self;
        write!(f, "unseen perturbations: ")?;
        match used.is_empty() {
            true => write!(
                f,
                "the mean of the {trained} trained ones; {} ({with_features} of them have features) did not predict left-out ones \
                 better for certain: error {error_of_mean:.3}",
                kinds(&self.given)
            ),
            false => write!(
                f,
                "by {} ({with_features} of {trained} trained ones have features); error with left-out ones {error:.3}, of their mean \
                 {error_of_mean:.3}",
                kinds(used)
            ),
        }
    }
}

/// Kinds of features in words.
pub(super) fn kinds(kinds: &[FeatureKind]) -> String {
    let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

/// Perturbations that have features and were never measured.
#[derive(Debug, Clone)]
pub struct Unseen {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// b, `(names, trained genes)`.
    pub weights: Array2<f32>,
    /// Numbers of the most similar trained genes, -1 where there are fewer, `(names, 3)`.
    pub nearest: Array2<f32>,
    /// a of an unseen gene: how far its own logit moves.
    pub own: f32,
    /// What was chosen.
    pub choice: FeatureChoice,
}

impl Unseen {
    /// Fits to the mean shifts `(genes, width)` of the trained `genes`, which are sorted; `own` has a of those that are measured.
    ///
    /// # Errors
    /// Those of the linear algebra; an interruption.
    fn fit(
        shifts: &Array2<f64>,
        own: &[f64],
        genes: &[String],
        blocks: &[FeatureBlock],
        run: &Run<'_>,
    ) -> Result<Self> {
        let n = genes.len();
        let has = |name: &str| blocks.iter().any(|block| block.has(name));
        let known: Vec<usize> = (0..n).filter(|&gene| has(&genes[gene])).collect();
        let known_names: Vec<&str> = known.iter().map(|&gene| genes[gene].as_str()).collect();
        let names: BTreeSet<&str> = blocks.iter().flat_map(FeatureBlock::names).collect();
        let names: Vec<&str> =
            names.into_iter().filter(|name| genes.binary_search_by(|gene| gene.as_str().cmp(name)).is_err()).collect();

        let mean = shifts.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(shifts.ncols()));
        let others = (n.max(2) - 1) as f64;
        let means = (&mean * n as f64 - shifts) / others; // of the other genes, (genes, width)
        let residuals = shifts - &means;
        let (alone, known_rows) = (lengths(&residuals), |array: &Array2<f64>| array.select(Axis(0), &known));
        let scale = alone.sum();
        let mut choice = FeatureChoice {
            given: blocks.iter().map(|block| block.kind).collect(),
            used: Vec::new(),
            ridge: 0.0,
            weight: 0.0,
            error: scale / n as f64,
            error_of_mean: scale / n as f64,
            trained: n,
            with_features: known.len(),
        };
        let mut weights = Array2::from_elem((names.len(), n), 1.0 / n as f64);
        let mut nearest = Array2::from_elem((names.len(), NAMED), -1.0);
        if known.len() >= LEAST && scale > 0.0 {
            let candidates = candidates(blocks);
            let kernels: Vec<Array2<f64>> =
                candidates.iter().map(|used| similarities(used, &known_names, &known_names)).collect();
            let left_out = LeftOut {
                targets: &known_rows(shifts),
                means: &known_rows(&means),
                residuals: &known_rows(&residuals),
                alone: &alone.select(Axis(0), &known),
                centre_error: 1.0,
                scale,
            };
            if let Some(found) = left_out.best(&kernels, || run.check_interrupt())? {
                let used = &candidates[found.kernel];
                let cosines = similarities(used, &names, &known_names); // (names, known genes)
                nearest = most_similar(&cosines, &known);
                let a = cosines.dot(&found.inverse) * found.weight;
                weights -= &(a.sum_axis(Axis(1)) / n as f64).insert_axis(Axis(1));
                known.iter().zip(a.columns()).for_each(|(&gene, a)| {
                    let mut column = weights.column_mut(gene);
                    column += &a;
                });
                choice.used = used.iter().map(|block| block.kind).collect();
                choice.ridge = found.ridge;
                choice.weight = found.weight;
                choice.error = found.error * choice.error_of_mean;
            }
        }
        Ok(Self {
            names: names.into_iter().map(str::to_owned).collect(),
            weights: weights.mapv(|weight| weight as f32),
            nearest,
            own: usual_own(own) as f32,
            choice,
        })
    }

    /// The row of a perturbation.
    pub(super) fn row(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).ok()
    }
}

/// Each block alone, and all of them together.
fn candidates(blocks: &[FeatureBlock]) -> Vec<Vec<&FeatureBlock>> {
    let mut candidates: Vec<Vec<&FeatureBlock>> = blocks.iter().map(|block| vec![block]).collect();
    if blocks.len() > 1 {
        candidates.push(blocks.iter().collect());
    }
    candidates
}

/// Cosine of the features of several blocks side by side, each of length 1 where a name has some, `(names, others)`.
fn similarities(blocks: &[&FeatureBlock], names: &[&str], others: &[&str]) -> Array2<f64> {
    let mut sum = Array2::zeros((names.len(), others.len()));
    blocks.iter().for_each(|block| sum += &block.similarities(names, others));
    let scale = |names: &[&str]| -> Array1<f64> {
        let blocks_of = |name: &&str| blocks.iter().filter(|block| block.has(name)).count().max(1) as f64;
        names.iter().map(|name| 1.0 / blocks_of(name).sqrt()).collect()
    };
    sum * &scale(names).insert_axis(Axis(1)) * &scale(others)
}

/// Numbers of the genes with the largest positive cosine in each row, `(names, NAMED)`, -1 where there are fewer; `genes` are
/// those of the columns.
fn most_similar(cosines: &Array2<f64>, genes: &[usize]) -> Array2<f32> {
    let mut nearest = Array2::from_elem((cosines.nrows(), NAMED), -1.0);
    for (mut nearest, cosines) in nearest.rows_mut().into_iter().zip(cosines.rows()) {
        let mut columns: Vec<usize> = (0..genes.len()).filter(|&column| cosines[column] > 0.0).collect();
        columns.sort_by(|&a, &b| cosines[b].total_cmp(&cosines[a]));
        nearest.iter_mut().zip(columns).for_each(|(place, column)| *place = genes[column] as f32);
    }
    nearest
}

/// Their mean, or 0 where that is nearer to each than the mean of the others.
fn usual_own(own: &[f64]) -> f64 {
    if own.len() < 2 {
        return 0.0;
    }
    let (sum, n) = (own.iter().sum::<f64>(), own.len() as f64);
    let left_out: f64 = own.iter().map(|a| (a - (sum - a) / (n - 1.0)).powi(2)).sum();
    if left_out < own.iter().map(|a| a * a).sum() { sum / n } else { 0.0 }
}

impl Response {
    /// Fits what is predicted of perturbations that were never measured, where features are given.
    ///
    /// # Errors
    /// Those of the linear algebra; an interruption.
    pub(in crate::model::jepa) fn fit_unseen(
        &mut self,
        cells: &TrainingCells,
        encoder: &Encoder,
        features: &PerturbationFeatures,
        run: &Run<'_>,
    ) -> Result<()> {
        if features.sources.is_empty() {
            return Ok(());
        }
        let mut blocks = features.blocks.clone();
        if features.sources.co_expression {
            let is_control = |row: &&usize| cells.conditions[**row].perturbation.is_control();
            let controls: Vec<usize> = cells.split.train.iter().filter(is_control).take(CONTROLS).copied().collect();
            let genes = cells.data.gene_names();
            blocks.push(FeatureBlock::of_co_expression(cells.expression()?, &controls, genes, run.seed)?);
        }
        let genes = self.measured.genes.clone();
        let (mut sums, mut contexts) = (Array2::<f64>::zeros((genes.len(), encoder.width())), vec![0.0; genes.len()]);
        for context in self.measured.contexts.clone() {
            let Ok(controls) = self.measured.controls(context.as_deref()) else { continue };
            let start = encoder.start(&cells.data, &few(controls))?;
            for (gene, name) in genes.iter().enumerate().filter(|(_, name)| self.measured.here(name, context.as_ref()))
            {
                run.check_interrupt()?;
                let condition = alone(name, &context);
                let shift = self.moved(&start, &condition)? - &start.z;
                let shift = shift.mapv(f64::from).mean_axis(Axis(0)).expect("a context has control cells");
                sums.row_mut(gene).scaled_add(1.0, &shift);
                contexts[gene] += 1.0;
            }
        }
        let shifts = sums / &Array1::from(contexts).mapv(|n: f64| n.max(1.0)).insert_axis(Axis(1));
        let all_own = self.predictor.own.as_vec();
        let measured = self.predictor.columns().iter().zip(all_own).filter(|(column, _)| column.is_some());
        let own: Vec<f64> = measured.map(|(_, own)| f64::from(own)).collect();
        self.unseen = Some(Unseen::fit(&shifts, &own, &genes, &blocks, run)?);
        Ok(())
    }
}

/// The perturbation of one gene in a context.
pub(super) fn alone(gene: &str, context: &Option<String>) -> Condition {
    Condition { perturbation: Perturbation::of([gene]), context: context.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::ArrayView1;
    use std::collections::BTreeMap;

    /// Trained genes G00 to G11 of four classes, two unseen ones of the first class, one without a class.
    fn world(told: bool) -> (Vec<String>, Array2<f64>, FeatureBlock) {
        let genes: Vec<String> = (0..12).map(|gene| format!("G{gene:02}")).collect();
        let class = |gene: usize| gene % 4;
        let noise = |gene: usize, at: usize| 0.1 * ((gene * 13 + at * 7) as f64).sin();
        let shifts = Array2::from_shape_fn((12, 6), |(gene, at)| {
            f64::from(u8::from(at == class(gene))) + 0.5 * f64::from(u8::from(at == 5)) + noise(gene, at)
        });
        // Where the features tell nothing, they divide the genes across the classes.
        let feature = |gene: usize| if told { class(gene) } else { gene / 4 } as u32;
        let mut rows: BTreeMap<String, Vec<(u32, f64)>> =
            (0..12).map(|gene| (genes[gene].clone(), vec![(feature(gene), 2.0)])).collect();
        rows.insert("NEW".to_owned(), vec![(0, 1.0)]);
        rows.insert("OTHER".to_owned(), vec![(9, 1.0)]);
        (genes, shifts, FeatureBlock::new(FeatureKind::GeneSets, rows))
    }

    fn fitted(told: bool) -> (Unseen, Array2<f64>) {
        let (genes, shifts, block) = world(told);
        (
            Unseen::fit(&shifts, &[-1.0, -0.9, -1.1], &genes, &[block], &Run::quiet(0)).expect("positive definite"),
            shifts,
        )
    }

    #[test]
    fn weights_are_those_of_genes_with_the_same_features() {
        let (unseen, shifts) = fitted(true);
        assert_eq!(unseen.names, ["NEW", "OTHER"]);
        assert_eq!(unseen.choice.used, [FeatureKind::GeneSets]);
        assert!(unseen.choice.error < 0.5 * unseen.choice.error_of_mean, "{:?}", unseen.choice);
        let estimate = |row: usize| unseen.weights.row(row).mapv(f64::from).dot(&shifts);
        let near = |a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>, most: f64| (&a - &b).iter().all(|d| d.abs() < most);
        let class = shifts.select(Axis(0), &[0, 4, 8]).mean_axis(Axis(0)).expect("three");
        assert!(near(estimate(0).view(), class.view(), 0.1), "{} {class}", estimate(0));
        // A gene that shares no feature has the mean.
        let mean = shifts.mean_axis(Axis(0)).expect("twelve");
        assert!(near(estimate(1).view(), mean.view(), 1e-5), "{} {mean}", estimate(1));
        let like: BTreeSet<i32> = unseen.nearest.row(0).iter().map(|&gene| gene as i32).collect();
        assert_eq!(like, BTreeSet::from([0, 4, 8]));
        assert!(unseen.nearest.row(1).iter().all(|&gene| gene < 0.0));
        assert!(unseen.weights.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5));
        assert!((unseen.own + 1.0).abs() < 1e-6);
    }

    /// Against scikit-learn: `tests/reference/unseen_perturbations.py`.
    #[test]
    fn the_choice_and_the_estimates_are_those_of_scikit_learn() {
        #[derive(Deserialize)]
        struct Expected {
            features: Vec<Vec<f64>>,
            shifts: Vec<Vec<f64>>,
            ridge: f64,
            weight: f64,
            error: f64,
            error_of_mean: f64,
            unseen: Vec<Vec<f64>>,
        }
        let text = include_str!("../../../../tests/reference/unseen_perturbations.json");
        let expected: Expected = serde_json::from_str(text).expect("the script wrote it");
        let array = |rows: &[Vec<f64>]| {
            Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).expect("rows of one length")
        };
        let (n, with_features) = (expected.shifts.len(), expected.features.len() - expected.unseen.len());
        let genes: Vec<String> = (0..n).map(|gene| format!("G{gene:02}")).collect();
        let name = |row: usize| if row < with_features { genes[row].clone() } else { format!("U{row}") };
        let rows = expected.features.iter().enumerate();
        let rows = rows.map(|(row, values)| (name(row), (0..).zip(values.iter().copied()).collect())).collect();
        let shifts = array(&expected.shifts);
        let block = FeatureBlock::new(FeatureKind::Table, rows);
        let unseen = Unseen::fit(&shifts, &[], &genes, &[block], &Run::quiet(0)).expect("positive definite");
        let FeatureChoice { ridge, weight, error, error_of_mean, with_features: known, .. } = unseen.choice;
        assert_eq!((ridge, weight, known), (expected.ridge, expected.weight, with_features));
        assert!((error - expected.error).abs() < 1e-9, "{error} {}", expected.error);
        assert!((error_of_mean - expected.error_of_mean).abs() < 1e-9, "{error_of_mean} {}", expected.error_of_mean);
        let off = unseen.weights.mapv(f64::from).dot(&shifts) - array(&expected.unseen);
        assert!(off.iter().all(|d| d.abs() < 1e-5), "{off}");
    }

    #[test]
    fn features_that_tell_nothing_leave_the_mean() {
        let (unseen, _) = fitted(false);
        assert!(unseen.choice.used.is_empty(), "{:?}", unseen.choice);
        assert!(unseen.weights.iter().all(|weight| (weight - 1.0 / 12.0).abs() < 1e-6));
        assert!(unseen.choice.to_string().contains("the mean of the 12 trained ones"), "{}", unseen.choice);
    }

    #[test]
    fn the_own_logit_is_used_only_where_left_out_ones_agree() {
        assert_eq!(usual_own(&[1.0, -1.0, 0.1]), 0.0);
        assert_eq!(usual_own(&[3.0]), 0.0);
        assert!((usual_own(&[2.0, 4.0]) - 3.0).abs() < 1e-12);
    }
}
