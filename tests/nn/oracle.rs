//! The operations as plain loops in f64, and derivatives by central differences: what the fast ones are held against.

use statrs::function::{
    erf::erf,
    gamma::{digamma, ln_gamma},
};

/// Values and, by differences, the gradient of `sum(output * upstream)` for each input.
pub fn differentiate(
    f: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
    inputs: &[Vec<f64>],
    upstream: &[f32],
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let loss = |inputs: &[Vec<f64>]| f(inputs).iter().zip(upstream).map(|(y, &u)| y * f64::from(u)).sum::<f64>();
    let mut moved = inputs.to_vec();
    let gradients = (0..inputs.len())
        .map(|i| {
            (0..inputs[i].len())
                .map(|j| {
                    let (at, step) = (inputs[i][j], 1e-4 * (1.0 + inputs[i][j].abs()));
                    let [up, down] = [at + step, at - step].map(|x| {
                        moved[i][j] = x;
                        loss(&moved)
                    });
                    moved[i][j] = at;
                    (up - down) / (2.0 * step)
                })
                .collect()
        })
        .collect();
    (f(inputs), gradients)
}

pub fn linear(x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
    let inputs = w.len() / b.len();
    let cell = |row: &[f64], j: usize| b[j] + (0..inputs).map(|i| row[i] * w[i * b.len() + j]).sum::<f64>();
    x.chunks(inputs).flat_map(|row| (0..b.len()).map(move |j| cell(row, j))).collect()
}

/// Rows (or, for a batch norm, columns: pass the transpose) to mean 0 and variance 1.
pub fn normalize(x: &[f64], width: usize, epsilon: f64) -> Vec<f64> {
    x.chunks(width)
        .flat_map(|row| {
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
            row.iter().map(move |v| (v - mean) / (variance + epsilon).sqrt())
        })
        .collect()
}

pub fn transpose(x: &[f64], width: usize) -> Vec<f64> {
    (0..width).flat_map(|j| x.iter().skip(j).step_by(width).copied()).collect()
}

/// `h * weight + bias` by column.
pub fn affine(h: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    h.iter().enumerate().map(|(i, h)| h * weight[i % weight.len()] + bias[i % weight.len()]).collect()
}

pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2f64.sqrt()))
}

/// What does not change with the inputs of a count likelihood; rows of `genes` values.
pub struct Likelihood {
    pub counts: Vec<f64>,
    pub library_size: Vec<f64>,
    pub with_remainder: bool,
}

impl Likelihood {
    /// Negative log-likelihood of each cell; `inputs` are logits, log_theta (one a gene, or one a cell and gene), and
    /// the zero logits if there are any.
    pub fn nll(&self, inputs: &[Vec<f64>]) -> Vec<f64> {
        let genes = self.counts.len() / self.library_size.len();
        let remainder = if self.with_remainder { 1.0 } else { 0.0 };
        self.library_size
            .iter()
            .enumerate()
            .map(|(cell, library)| {
                let logits = &inputs[0][cell * genes..(cell + 1) * genes];
                let sum: f64 = remainder + logits.iter().map(|l| l.exp()).sum::<f64>();
                (0..genes)
                    .map(|g| {
                        let at = cell * genes + g;
                        let log_theta = inputs[1][at % inputs[1].len()];
                        let nll = negative_binomial(self.counts[at], logits[g] - sum.ln() + library.ln(), log_theta);
                        inputs.get(2).map_or(nll, |z| inflate(self.counts[at], nll, z[at]))
                    })
                    .sum()
            })
            .collect()
    }
}

/// `ln(1 + e^v)`.
fn softplus(v: f64) -> f64 {
    v.max(0.0) + (-v.abs()).exp().ln_1p()
}

/// The textbook formula; for theta >> x the gamma functions by their expansion around theta, which f64 cannot subtract.
fn negative_binomial(x: f64, log_mu: f64, log_theta: f64) -> f64 {
    let theta = log_theta.exp();
    let log_sum = softplus(log_mu - log_theta) + log_theta; // ln(theta + mu)
    let gammas =
        if theta > 1e5 { x * log_theta + digamma_sum(x, theta) } else { ln_gamma(x + theta) - ln_gamma(theta) };
    -(gammas - ln_gamma(x + 1.0) + theta * (log_theta - log_sum) + x * (log_mu - log_sum))
}

/// `ln Gamma(x + theta) - ln Gamma(theta) - x ln theta` as the sum over whole steps of `ln(1 + k / theta)`.
fn digamma_sum(x: f64, theta: f64) -> f64 {
    let whole = x.floor();
    let steps: f64 = (0..whole as usize).map(|k| (k as f64 / theta).ln_1p()).sum();
    let rest = x - whole;
    steps + rest * (digamma(theta + whole + 0.5 * rest) - theta.ln())
}

fn inflate(x: f64, nll: f64, z: f64) -> f64 {
    if x == 0.0 { softplus(-z) - softplus(-z - nll) } else { softplus(z) + nll }
}
