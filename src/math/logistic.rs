//! Multinomial logistic regression with an L2 penalty, by L-BFGS.
//!
//! For rows x_i of d features and classes y_i: `min over W, b of sum_i -ln softmax(W x_i + b)[y_i] + ||W||^2 / (2 C)`, W
//! `(classes, d)`, b `(classes,)` without penalty; what scikit-learn's `LogisticRegression(C=C)` solves. L-BFGS: Nocedal
//! and Wright, *Numerical Optimization*, algorithms 7.4 and 7.5, with a backtracking line search; the problem is convex,
//! so that the minimum does not depend on the way there. Sums over rows are taken in chunks of fixed size and added in
//! order: the result does not depend on the number of threads.

use crate::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use std::collections::VecDeque;

/// Rows a thread works on.
const CHUNK: usize = 1024;
/// Pairs of steps and gradient differences that are remembered.
const MEMORY: usize = 10;
/// Share of the expected decrease that a step must reach (Nocedal and Wright, section 3.1).
const ARMIJO: f64 = 1e-4;

/// Settings of the regression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticConfig {
    /// C: the smaller, the stronger the penalty.
    pub c: f64,
    /// L-BFGS steps after which it ends all the same.
    pub max_iterations: usize,
    /// It ends when no entry of the gradient of the mean loss is larger than this.
    pub tolerance: f64,
}

/// A fitted regression.
#[derive(Debug, Clone)]
pub struct Logistic {
    /// W, `(classes, d)`.
    pub weights: Array2<f64>,
    /// b, `(classes,)`.
    pub bias: Array1<f64>,
    /// Whether the gradient reached the tolerance.
    pub converged: bool,
}

/// Fits rows `(n, d)` with labels below `classes`.
///
/// # Errors
/// No rows, a label that is not below `classes`, fewer than two classes among the labels, a C that is not positive, a
/// value that is not finite.
pub fn fit_logistic(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    classes: usize,
    config: &LogisticConfig,
) -> Result<Logistic> {
    let (n, d) = x.dim();
    if labels.len() != n {
        return Err(Error::shape("logistic regression: rows, and labels", x.dim(), labels.len()));
    }
    if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
        return Err(Error::data(format!("logistic regression: there is a label {label}, but only {classes} classes")));
    }
    if labels.iter().all(|label| Some(label) == labels.first()) {
        return Err(Error::inapplicable(format!(
            "a linear probe needs cells of two classes or more; the {n} given are of one"
        )));
    }
    if !(config.c > 0.0 && config.c.is_finite()) {
        return Err(Error::config(format!("logistic regression: C is {}; it must be a positive number", config.c)));
    }
    if let Some(((row, column), value)) = x.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::data(format!(
            "logistic regression: row {row}, column {column} is {value}; it must be finite"
        )));
    }
    let problem = Problem { x, labels, classes, penalty: 1.0 / (config.c * n as f64) };
    let (parameters, converged) = minimise(|p| problem.evaluate(p), classes * (d + 1), config);
    let both = Array2::from_shape_vec((classes, d + 1), parameters.to_vec()).expect("as many parameters as asked for");
    Ok(Logistic { weights: both.slice(s![.., ..d]).to_owned(), bias: both.column(d).to_owned(), converged })
}

impl Logistic {
    /// The probability of each class for each row `(n, d)`, `(n, classes)`.
    pub fn probabilities(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut logits = x.dot(&self.weights.t()) + &self.bias;
        for mut row in logits.rows_mut() {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.mapv_inplace(|logit| (logit - top).exp());
            let sum = row.sum();
            row /= sum;
        }
        logits
    }

    /// The most likely class of each row `(n, d)`; of equal ones the first.
    pub fn predict(&self, x: ArrayView2<'_, f64>) -> Vec<u32> {
        let logits = x.dot(&self.weights.t()) + &self.bias;
        let best = |row: ndarray::ArrayView1<'_, f64>| {
            let mut best = 0;
            for (class, value) in row.iter().enumerate() {
                if *value > row[best] {
                    best = class;
                }
            }
            best as u32
        };
        logits.axis_iter(Axis(0)).map(best).collect()
    }
}

/// The mean loss with its penalty; parameters are W and b side by side, `(classes, d + 1)`.
struct Problem<'a> {
    x: ArrayView2<'a, f64>,
    labels: &'a [u32],
    classes: usize,
    penalty: f64,
}

impl Problem<'_> {
    fn evaluate(&self, parameters: &Array1<f64>) -> (f64, Array1<f64>) {
        let (n, d) = self.x.dim();
        let both = parameters.view().into_shape_with_order((self.classes, d + 1)).expect("as in fit_logistic");
        let (weights, bias) = (both.slice(s![.., ..d]), both.column(d));
        let transposed = weights.t().as_standard_layout().into_owned();
        let starts: Vec<usize> = (0..n).step_by(CHUNK).collect();
        let parts: Vec<(f64, Array2<f64>)> = starts
            .into_par_iter()
            .map(|start| {
                let end = n.min(start + CHUNK);
                let x = self.x.slice(s![start..end, ..]);
                let mut p = x.dot(&transposed) + bias; // (rows, classes): logits, then residuals
                let mut loss = 0.0;
                for (mut row, &label) in p.axis_iter_mut(Axis(0)).zip(&self.labels[start..end]) {
                    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let own = row[label as usize] - largest;
                    row.mapv_inplace(|logit| (logit - largest).exp());
                    let sum = row.sum();
                    loss += sum.ln() - own;
                    row /= sum;
                    row[label as usize] -= 1.0;
                }
                let mut gradient = Array2::zeros((self.classes, d + 1));
                gradient.slice_mut(s![.., ..d]).assign(&p.t().dot(&x));
                gradient.column_mut(d).assign(&p.sum_axis(Axis(0)));
                (loss, gradient)
            })
            .collect();
        let mut loss = 0.0;
        let mut gradient = Array2::<f64>::zeros((self.classes, d + 1));
        for (part, slope) in parts {
            loss += part;
            gradient += &slope;
        }
        gradient /= n as f64;
        let mut slope = gradient.slice_mut(s![.., ..d]);
        slope.scaled_add(self.penalty, &weights);
        let squares = weights.iter().map(|w| w * w).sum::<f64>();
        (loss / n as f64 + 0.5 * self.penalty * squares, gradient.flatten().to_owned())
    }
}

/// L-BFGS from zero: the parameters, and whether the gradient reached the tolerance.
fn minimise(
    f: impl Fn(&Array1<f64>) -> (f64, Array1<f64>),
    length: usize,
    config: &LogisticConfig,
) -> (Array1<f64>, bool) {
    let mut at = Array1::zeros(length);
    let (mut value, mut gradient) = f(&at);
    let mut memory: VecDeque<(Array1<f64>, Array1<f64>)> = VecDeque::new();
    for _ in 0..config.max_iterations {
        if gradient.iter().all(|g| g.abs() <= config.tolerance) {
            return (at, true);
        }
        let mut direction = -two_loops(&gradient, &memory);
        let mut slope = direction.dot(&gradient);
        if slope >= 0.0 {
            memory.clear();
            direction = -&gradient;
            slope = -gradient.dot(&gradient);
        }
        let mut length = if memory.is_empty() { 1.0 / slope.abs().sqrt().max(1.0) } else { 1.0 };
        loop {
            let next = &at + &(&direction * length);
            let (new_value, new_gradient) = f(&next);
            if new_value <= value + ARMIJO * length * slope {
                let (step, change) = (&next - &at, &new_gradient - &gradient);
                if step.dot(&change) > f64::EPSILON * step.dot(&step) {
                    memory.push_back((step, change));
                    if memory.len() > MEMORY {
                        memory.pop_front();
                    }
                }
                (at, value, gradient) = (next, new_value, new_gradient);
                break;
            }
            length /= 2.0;
            if length < 1e-12 {
                // Rounding is all that is left of the decrease.
                return (at, false);
            }
        }
    }
    let converged = gradient.iter().all(|g| g.abs() <= config.tolerance);
    (at, converged)
}

/// The inverse Hessian's approximation times the gradient (Nocedal and Wright, algorithm 7.4).
fn two_loops(gradient: &Array1<f64>, memory: &VecDeque<(Array1<f64>, Array1<f64>)>) -> Array1<f64> {
    let mut q = gradient.clone();
    let mut alphas = Vec::with_capacity(memory.len());
    for (step, change) in memory.iter().rev() {
        let alpha = step.dot(&q) / step.dot(change);
        q.scaled_add(-alpha, change);
        alphas.push(alpha);
    }
    if let Some((step, change)) = memory.back() {
        q *= step.dot(change) / change.dot(change);
    }
    for ((step, change), alpha) in memory.iter().zip(alphas.into_iter().rev()) {
        let beta = change.dot(&q) / step.dot(change);
        q.scaled_add(alpha - beta, step);
    }
    q
}
