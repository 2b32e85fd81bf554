//! How much an embedding of cells says about their perturbation: linear probe, kNN purity, and several embeddings compared.
//!
//! - *Linear probe*: multinomial logistic regression with an L2 penalty on standardised columns, fitted on training cells;
//!   its accuracy on other cells (Alain and Bengio 2016, *Understanding intermediate layers using linear classifier
//!   probes*). The balanced accuracy is the mean over classes of the share of their cells that is found.
//! - *kNN purity*: the share of a cell's k nearest neighbours (Euclidean) that have its label, averaged over cells: within
//!   one set of cells without the cell itself, or of held-out cells among training cells.
//!
//! Nothing here knows how an embedding came about.

use crate::{
    Error, Result,
    math::logistic::{Logistic, LogisticConfig, fit_logistic},
};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use std::fmt;

/// Rows whose distances to all others are held at once by a thread.
const BLOCK: usize = 64;

/// Settings of a probe.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// C of the penalty `||W||^2 / (2 C)` beside the *sum* of the losses; scikit-learn's. Default 1.
    pub c: f64,
    /// Most L-BFGS steps. Default 500.
    pub max_iterations: usize,
    /// Ends when no entry of the gradient of the mean loss is larger. Default 1e-5.
    pub tolerance: f64,
    /// Neighbours of the purity. Default 15.
    pub neighbours: usize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { c: 1.0, max_iterations: 500, tolerance: 1e-5, neighbours: 15 }
    }
}

/// A fitted linear probe.
#[derive(Debug, Clone)]
pub struct LinearProbe {
    mean: Array1<f64>,
    /// 1 / standard deviation; 0 of a column that does not vary.
    scale: Array1<f64>,
    fit: Logistic,
}

impl LinearProbe {
    /// Fits an embedding `(cells, width)` to labels below `classes`.
    ///
    /// # Errors
    /// Cells of one class only ([`ErrorKind::Inapplicable`](crate::ErrorKind::Inapplicable)); labels that do not fit; a
    /// value that is not finite; a C that is not positive.
    pub fn fit(z: ArrayView2<'_, f32>, labels: &[u32], classes: usize, config: &ProbeConfig) -> Result<Self> {
        let z = z.mapv(f64::from);
        let mean = z.mean_axis(Axis(0)).ok_or_else(|| Error::data("linear probe: there are no cells to fit"))?;
        let scale = z.std_axis(Axis(0), 0.0).mapv(|sd| if sd > 0.0 { 1.0 / sd } else { 0.0 });
        let standardised = (z - &mean) * &scale;
        let logistic =
            LogisticConfig { c: config.c, max_iterations: config.max_iterations, tolerance: config.tolerance };
        Ok(Self { fit: fit_logistic(standardised.view(), labels, classes, &logistic)?, mean, scale })
    }

    /// The weights on standardised columns, `(classes, width)`, and the biases, `(classes,)`.
    pub fn coefficients(&self) -> (&Array2<f64>, &Array1<f64>) {
        (&self.fit.weights, &self.fit.bias)
    }

    /// Whether the fit reached its tolerance.
    pub fn converged(&self) -> bool {
        self.fit.converged
    }

    /// The most likely label of each cell of an embedding `(cells, width)`.
    ///
    /// # Errors
    /// Another width than it was fitted on.
    pub fn predict(&self, z: ArrayView2<'_, f32>) -> Result<Vec<u32>> {
        Ok(self.fit.predict(self.standardised(z)?.view()))
    }

    /// The probability of each class for each cell of an embedding `(cells, width)`, `(cells, classes)`.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn probabilities(&self, z: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
        Ok(self.fit.probabilities(self.standardised(z)?.view()))
    }

    fn standardised(&self, z: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
        match z.ncols() == self.mean.len() {
            true => Ok((z.mapv(f64::from) - &self.mean) * &self.scale),
            false => Err(Error::shape("linear probe: cells, and fitted columns", z.dim(), self.mean.len())),
        }
    }
}

/// The share of labels that are the predicted ones.
///
/// # Errors
/// Lists of different lengths, or empty ones.
pub fn accuracy(predicted: &[u32], labels: &[u32]) -> Result<f64> {
    check_labels(predicted.len(), labels)?;
    let right = predicted.iter().zip(labels).filter(|(p, l)| p == l).count();
    Ok(right as f64 / labels.len() as f64)
}

/// The mean over the classes that occur in `labels` of the share of their cells that are predicted as such.
///
/// # Errors
/// As [`accuracy`].
pub fn balanced_accuracy(predicted: &[u32], labels: &[u32]) -> Result<f64> {
    check_labels(predicted.len(), labels)?;
    let mut of: std::collections::BTreeMap<u32, (usize, usize)> = std::collections::BTreeMap::new();
    for (predicted, label) in predicted.iter().zip(labels) {
        let (right, all) = of.entry(*label).or_default();
        *right += usize::from(predicted == label);
        *all += 1;
    }
    Ok(of.values().map(|&(right, all)| right as f64 / all as f64).sum::<f64>() / of.len() as f64)
}

/// kNN purity within one embedding `(cells, width)`, each cell among the others.
///
/// # Errors
/// Labels that do not fit; not more than `k` cells, or a `k` of 0; a value that is not finite.
pub fn knn_purity(z: ArrayView2<'_, f32>, labels: &[u32], k: usize) -> Result<f64> {
    check_labels(z.nrows(), labels)?;
    let neighbours = super::nearest_neighbours(z, k + 1)?;
    let near = neighbours.indices.slice(s![.., 1..]);
    let same = near.indexed_iter().filter(|((cell, _), other)| labels[**other as usize] == labels[*cell]).count();
    match near.len() {
        0 => Err(Error::config("kNN purity: the number of neighbours is 0; give at least 1")),
        all => Ok(same as f64 / all as f64),
    }
}

/// kNN purity of held-out cells `(cells, width)` among training cells `(others, width)`.
///
/// # Errors
/// As [`knn_purity`]; embeddings of different widths.
pub fn knn_purity_held_out(
    train: (ArrayView2<'_, f32>, &[u32]),
    held_out: (ArrayView2<'_, f32>, &[u32]),
    k: usize,
) -> Result<f64> {
    let ((x, x_labels), (y, y_labels)) = (train, held_out);
    check_labels(x.nrows(), x_labels)?;
    check_labels(y.nrows(), y_labels)?;
    if x.ncols() != y.ncols() {
        return Err(Error::shape("kNN purity: training and held-out cells", x.dim(), y.dim()));
    }
    if k == 0 || k > x.nrows() {
        return Err(Error::config(format!("kNN purity: {k} neighbours cannot be taken from {} cells", x.nrows())));
    }
    if x.iter().chain(&y).any(|value| !value.is_finite()) {
        return Err(Error::data("kNN purity: a value of the embedding is not finite"));
    }
    let squares = x.map_axis(Axis(1), |row| row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>());
    let x = x.mapv(f64::from);
    let starts: Vec<usize> = (0..y.nrows()).step_by(BLOCK).collect();
    let counts: Vec<usize> = starts
        .into_par_iter()
        .map(|start| {
            let end = y.nrows().min(start + BLOCK);
            let products = y.slice(s![start..end, ..]).mapv(f64::from).dot(&x.t()); // (block, others)
            let mut same = 0;
            for (products, &label) in products.rows().into_iter().zip(&y_labels[start..end]) {
                // |x - y|^2 without |y|^2, which is the same for all.
                let distances: Vec<f64> = products.iter().zip(&squares).map(|(xy, xx)| xx - 2.0 * xy).collect();
                let mut order: Vec<usize> = (0..distances.len()).collect();
                order.select_nth_unstable_by(k - 1, |&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
                same += order[..k].iter().filter(|&&other| x_labels[other] == label).count();
            }
            same
        })
        .collect();
    Ok(counts.iter().sum::<usize>() as f64 / (k * y.nrows()) as f64)
}

/// The scores of one embedding on held-out cells.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EmbeddingScore {
    /// Its name.
    pub name: String,
    /// Number of columns.
    pub width: usize,
    /// Of the linear probe on held-out cells.
    pub accuracy: f64,
    /// The same, each class counting alike.
    pub balanced_accuracy: f64,
    /// kNN purity of held-out cells among training cells.
    pub purity: f64,
}

/// Several embeddings of the same cells, compared.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EmbeddingComparison {
    /// In the order in which they were given.
    pub scores: Vec<EmbeddingScore>,
    /// Share of the largest class among the held-out cells: what a probe reaches that has learnt nothing.
    pub majority: f64,
    /// The purity of neighbours drawn at random.
    pub chance_purity: f64,
    /// Number of held-out cells.
    pub cells: usize,
    /// Neighbours of the purity.
    pub neighbours: usize,
}

/// Scores embeddings of the same cells, each a name and `(cells, width)`: probes and neighbours are those of the rows
/// `train`, the rows `held_out` are judged.
///
/// # Errors
/// No embedding, or no row in one of the lists; as [`LinearProbe::fit`] and [`knn_purity_held_out`].
pub fn compare_embeddings(
    embeddings: &[(&str, ArrayView2<'_, f32>)],
    labels: &[u32],
    train: &[usize],
    held_out: &[usize],
    config: &ProbeConfig,
) -> Result<EmbeddingComparison> {
    if embeddings.is_empty() || train.is_empty() || held_out.is_empty() {
        return Err(Error::data("to compare embeddings, give one at least, and training and held-out cells"));
    }
    let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let of = |rows: &[usize]| rows.iter().map(|&row| labels[row]).collect::<Vec<u32>>();
    let (fitted, judged) = (of(train), of(held_out));
    let score = |&(name, z): &(&str, ArrayView2<'_, f32>)| -> Result<EmbeddingScore> {
        check_labels(z.nrows(), labels).map_err(|e| e.at(name))?;
        let (x, y) = (z.select(Axis(0), train), z.select(Axis(0), held_out));
        let predicted =
            LinearProbe::fit(x.view(), &fitted, classes, config).map_err(|e| e.at(name))?.predict(y.view())?;
        Ok(EmbeddingScore {
            name: name.to_owned(),
            width: z.ncols(),
            accuracy: accuracy(&predicted, &judged)?,
            balanced_accuracy: balanced_accuracy(&predicted, &judged)?,
            purity: knn_purity_held_out((x.view(), &fitted), (y.view(), &judged), config.neighbours)
                .map_err(|e| e.at(name))?,
        })
    };
    let mut shares = vec![(0.0_f64, 0.0_f64); classes];
    fitted.iter().for_each(|&label| shares[label as usize].0 += 1.0 / fitted.len() as f64);
    judged.iter().for_each(|&label| shares[label as usize].1 += 1.0 / judged.len() as f64);
    Ok(EmbeddingComparison {
        scores: embeddings.iter().map(score).collect::<Result<_>>()?,
        majority: shares.iter().map(|share| share.1).fold(0.0, f64::max),
        chance_purity: shares.iter().map(|(a, b)| a * b).sum(),
        cells: held_out.len(),
        neighbours: config.neighbours,
    })
}

impl EmbeddingComparison {
    /// Which embedding is best, in a sentence for each of the two measures.
    pub fn verdict(&self) -> String {
        let best = |what: &str, value: fn(&EmbeddingScore) -> f64, nothing: f64| {
            let mut order: Vec<&EmbeddingScore> = self.scores.iter().collect();
            order.sort_by(|a, b| value(b).total_cmp(&value(a)));
            let first = order[0];
            let rest: Vec<String> =
                order[1..].iter().map(|score| format!("{} {:.3}", score.name, value(score))).collect();
            let than = if rest.is_empty() { String::new() } else { format!("; {}", rest.join(", ")) };
            format!(
                "{what}: {} is best with {:.3}{than} (without any knowledge {nothing:.3}).",
                first.name,
                value(first)
            )
        };
        format!(
            "{} {}",
            best("Linear probe", |score| score.accuracy, self.majority),
            best("kNN purity", |score| score.purity, self.chance_purity)
        )
    }

    /// The score of an embedding, by its name.
    pub fn score(&self, name: &str) -> Option<&EmbeddingScore> {
        self.scores.iter().find(|score| score.name == name)
    }
}

impl fmt::Display for EmbeddingComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:>5} {:>9} {:>9} {:>9}", "embedding", "width", "accuracy", "balanced", "purity")?;
        for score in &self.scores {
            writeln!(
                f,
                "{:<16} {:>5} {:>9.4} {:>9.4} {:>9.4}",
                score.name, score.width, score.accuracy, score.balanced_accuracy, score.purity
            )?;
        }
        write!(f, "{} held-out cells, {} neighbours. {}", self.cells, self.neighbours, self.verdict())
    }
}

fn check_labels(cells: usize, labels: &[u32]) -> Result<()> {
    match labels.len() {
        0 => Err(Error::data("there are no cells to judge an embedding by")),
        n if n != cells => Err(Error::data(format!("{n} labels do not fit an embedding of {cells} cells"))),
        _ => Ok(()),
    }
}
