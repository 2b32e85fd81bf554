//! A prediction measured on every perturbation: one row per perturbation, and a summary.

use crate::{
    Error, Result,
    eval::{auroc, l2, pearson, precision_at_k, recall_at_k},
};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// The scores of one perturbation. A value is `None` where it is not defined; it is never NaN, and never 0 in place of nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerturbationScore {
    /// Name: `A+B`.
    pub perturbation: String,
    /// Cells that the observed effect was measured on.
    pub n_cells: usize,
    /// Genes truly changed (adjusted p < [`SIGNIFICANCE`](crate::eval::SIGNIFICANCE)); `None` where the test could not be made.
    pub n_changed: Option<usize>,
    /// Pearson of the predicted and the observed effect over all genes.
    pub pearson: Option<f64>,
    /// Euclidean distance of the predicted and the observed effect, in log1p expression.
    pub l2: Option<f64>,
    /// Share of the 20 largest predicted effects that are truly changed genes.
    pub precision_at_20: Option<f64>,
    /// Share of the 50 largest predicted effects that are truly changed genes.
    pub precision_at_50: Option<f64>,
    /// Share of the truly changed genes that are among the 50 largest predicted effects.
    pub recall_at_50: Option<f64>,
    /// Probability that a truly changed gene has a larger predicted |effect| than an unchanged one.
    pub auroc: Option<f64>,
}

/// The distribution of one metric over the perturbations where it is defined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreSummary {
    /// Name, as in [`PerturbationScore`].
    pub metric: String,
    /// Arithmetic mean; `None` where no perturbation has the metric.
    pub mean: Option<f64>,
    /// Median.
    pub median: Option<f64>,
    /// Sample standard deviation (n - 1); `None` for fewer than two values.
    pub sd: Option<f64>,
    /// Perturbations that have the metric.
    pub n: usize,
}

/// The scores of one predictor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The predictor's name.
    pub model: String,
    /// One per perturbation, in the order given.
    pub scores: Vec<PerturbationScore>,
    /// One per metric.
    pub summary: Vec<ScoreSummary>,
}

impl PerturbationScore {
    /// Names of the metrics, in the order of [`PerturbationScore::values`] and of tables.
    const METRICS: [&str; 6] = ["pearson", "l2", "precision_at_20", "precision_at_50", "recall_at_50", "auroc"];

    /// The metrics, in the order of tables.
    pub(crate) fn values(&self) -> [Option<f64>; 6] {
        [self.pearson, self.l2, self.precision_at_20, self.precision_at_50, self.recall_at_50, self.auroc]
    }
}

impl Evaluation {
    /// Measures `predicted` against `observed` effects, both `(perturbations, genes)`, differences to control in mean
    /// log-normalised expression. `n_cells` and `changed` have one entry per perturbation; `changed` says which genes the
    /// perturbation truly changes (see [`DifferentialExpression::changed`](crate::eval::DifferentialExpression::changed)), or `None` where that is not known.
    ///
    /// # Errors
    /// Arguments whose lengths do not fit together; a predicted or observed effect that is not finite.
    pub fn new(
        model: &str,
        perturbations: &[String],
        n_cells: &[usize],
        predicted: ArrayView2<'_, f32>,
        observed: ArrayView2<'_, f32>,
        changed: &[Option<Vec<bool>>],
    ) -> Result<Self> {
        if predicted.dim() != observed.dim() {
            return Err(Error::shape("evaluation of predicted and observed effects", predicted.dim(), observed.dim()));
        }
        let (n, genes) = observed.dim();
        if perturbations.len() != n || n_cells.len() != n || changed.len() != n {
            let lengths = (perturbations.len(), n_cells.len(), changed.len());
            return Err(Error::shape("evaluation: effects, and (names, cell numbers, truth)", (n, genes), lengths));
        }
        let mut scores = Vec::with_capacity(n);
        for row in 0..n {
            let (x, y) = (predicted.row(row).to_vec(), observed.row(row).to_vec());
            for (what, values) in [("predicted", &x), ("observed", &y)] {
                if let Some(gene) = values.iter().position(|v| !v.is_finite()) {
                    return Err(Error::new(
                        crate::ErrorKind::Numeric,
                        format!(
                            "evaluation of {model}: the {what} effect of {} on gene {gene} is {}; it must be finite",
                            perturbations[row], values[gene]
                        ),
                    ));
                }
            }
            let truth = changed[row].as_deref();
            if let Some(truth) = truth.filter(|truth| truth.len() != genes) {
                return Err(Error::shape("evaluation: truly changed genes, and effects", truth.len(), (n, genes)));
            }
            let size: Vec<f32> = x.iter().map(|effect| effect.abs()).collect();
            scores.push(PerturbationScore {
                perturbation: perturbations[row].clone(),
                n_cells: n_cells[row],
                n_changed: truth.map(|truth| truth.iter().filter(|&&c| c).count()),
                pearson: pearson(&x, &y),
                l2: l2(&x, &y),
                precision_at_20: truth.and_then(|truth| precision_at_k(&size, truth, 20)),
                precision_at_50: truth.and_then(|truth| precision_at_k(&size, truth, 50)),
                recall_at_50: truth.and_then(|truth| recall_at_k(&size, truth, 50)),
                auroc: truth.and_then(|truth| auroc(&size, truth)),
            });
        }
        let summary = PerturbationScore::METRICS
            .iter()
            .enumerate()
            .map(|(place, name)| ScoreSummary::of(name, scores.iter().filter_map(|score| score.values()[place])))
            .collect();
        Ok(Self { model: model.to_owned(), scores, summary })
    }

    /// The summary of a metric, by its name in [`PerturbationScore`].
    pub fn summary_of(&self, metric: &str) -> Option<&ScoreSummary> {
        self.summary.iter().find(|summary| summary.metric == metric)
    }
}

impl ScoreSummary {
    fn of(metric: &str, values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let mean = (n > 0).then(|| values.iter().sum::<f64>() / n as f64);
        let median = (n > 0).then(|| f64::midpoint(values[(n - 1) / 2], values[n / 2]));
        let sd = mean
            .filter(|_| n > 1)
            .map(|mean| (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n as f64 - 1.0)).sqrt());
        Self { metric: metric.to_owned(), mean, median, sd, n }
    }
}
