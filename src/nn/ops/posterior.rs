//! Densities of latents that objectives of a variational autoencoder compare, in nats; z, mu, logvar `(rows, latents)`.
//!
//! | operation | equation |
//! |---|---|
//! | [`gaussian_log_ratio`] | `ln p(z) - ln q(z)` with p = N(0, I) and q = N(mu, exp(logvar)), per row |
//! | [`log_mean_exp`] | `ln (1/K sum_k exp(x_k))` over K consecutive values (Burda et al. 2016, eq. 8) |
//! | `Backend::total_correlation` | `mean_i [ ln q(z_i) - sum_k ln q(z_ik) ]` with `q(z) = 1/M sum_j q(z given x_j)` over the M rows of the batch |
//!
//! The last is the minibatch-weighted estimate of the total correlation (Chen et al. 2018, eq. 5). The paper divides by
//! N M instead of M, N the number of training cells: this adds the constant `(latents - 1) ln N` and changes no gradient.

use super::{Matrix, Scalar, Vector, failed};
use crate::{Error, Result, nn::raw};
use dfdx::{prelude::*, tensor_ops::Device};
use rayon::prelude::*;

/// `ln 2 pi`
const LOG_TWO_PI: f32 = 1.837_877;

/// `ln N(z; 0, I) - ln N(z; mu, exp(logvar))` of each row, `(rows,)`, summed over the latents:
/// `1/2 sum ((z - mu)^2 / exp(logvar) + logvar - z^2)`.
///
/// # Errors
/// Shapes that differ; a device that fails.
pub fn gaussian_log_ratio<D: Device<f32>, T: Tape<f32, D>>(
    z: Matrix<D, T>,
    mu: Matrix<D, T>,
    logvar: Matrix<D, T>,
) -> Result<Vector<D, T>> {
    check("gaussian_log_ratio", *z.shape(), *mu.shape(), *logvar.shape())?;
    let run = || -> Result<Vector<D, T>, D::Err> {
        let precision = logvar.retaped::<T>().try_negate()?.try_exp()?;
        let distance = z.retaped::<T>().try_sub(mu)?.try_square()?.try_mul(precision)?;
        distance.try_add(logvar)?.try_sub(z.try_square()?)?.try_sum::<(usize,), Axis<1>>()?.try_mul(0.5)
    };
    run().map_err(failed("gaussian_log_ratio"))
}

/// `ln (1/K sum exp)` over each K consecutive values: `(rows K,)` to `(rows,)`.
///
/// # Errors
/// A length that is no multiple of K; a device that fails.
pub fn log_mean_exp<D: Device<f32>, T: Tape<f32, D>>(x: Vector<D, T>, samples: usize) -> Result<Vector<D, T>> {
    let (length,) = *x.shape();
    if samples == 0 || length % samples != 0 {
        return Err(Error::shape("log_mean_exp", (length,), samples));
    }
    let run = || -> Result<Vector<D, T>, D::Err> {
        let table: Matrix<D, T> = x.try_reshape_like(&(length / samples, samples))?;
        table.try_logsumexp::<(usize,), Axis<1>>()?.try_sub((samples as f32).ln())
    };
    run().map_err(failed("log_mean_exp"))
}

fn check(operation: &str, z: (usize, usize), mu: (usize, usize), logvar: (usize, usize)) -> Result<()> {
    if z != mu || z != logvar {
        return Err(Error::shape(operation, z, (mu, logvar)));
    }
    Ok(())
}

/// What the backward pass of the total correlation needs again.
struct Sums {
    /// `s_ij = sum_k l_ijk`, `(rows, rows)`.
    joint: Vec<f32>,
    /// `ln sum_j exp(s_ij)`, `(rows,)`.
    log_joint: Vec<f32>,
    /// `ln sum_j exp(l_ijk)`, `(rows, latents)`.
    log_each: Vec<f32>,
}

/// The posteriors of a batch, by which a latent is judged: mean, log variance and precision, `(rows, latents)` each.
struct Posteriors<'a> {
    mu: &'a [f32],
    logvar: &'a [f32],
    precision: Vec<f32>,
    width: usize,
}

impl<'a> Posteriors<'a> {
    fn new(mu: &'a [f32], logvar: &'a [f32], width: usize) -> Self {
        Self { mu, logvar, precision: logvar.iter().map(|v| (-v).exp()).collect(), width }
    }

    /// `l_ijk = ln N(z_ik; mu_jk, exp(logvar_jk))` for every k.
    fn log_densities<'b>(&'b self, z: &'b [f32], j: usize) -> impl Iterator<Item = f32> + 'b {
        let at = j * self.width;
        z.iter().enumerate().map(move |(k, z)| {
            let error = z - self.mu[at + k];
            -0.5 * (error * error * self.precision[at + k] + self.logvar[at + k] + LOG_TWO_PI)
        })
    }

    /// The sums of one row, `(rows,)`, scalar, `(latents,)`.
    fn sums(&self, z: &[f32], rows: usize) -> (Vec<f32>, f32, Vec<f32>) {
        let table: Vec<f32> = (0..rows).flat_map(|j| self.log_densities(z, j)).collect(); // (rows, latents)
        let joint: Vec<f32> = table.chunks_exact(self.width).map(|row| row.iter().sum()).collect();
        let each = (0..self.width).map(|k| log_sum_exp(table[k..].iter().step_by(self.width).copied())).collect();
        let log_joint = log_sum_exp(joint.iter().copied());
        (joint, log_joint, each)
    }
}

fn log_sum_exp(values: impl Iterator<Item = f32> + Clone) -> f32 {
    let top = values.clone().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = values.map(|value| f64::from((value - top).exp())).sum();
    top + sum.ln() as f32
}

impl Sums {
    fn of(z: &[f32], posteriors: &Posteriors<'_>) -> Self {
        let rows = z.len() / posteriors.width;
        let of_row: Vec<_> = z.par_chunks_exact(posteriors.width).map(|z| posteriors.sums(z, rows)).collect();
        let (mut joint, mut log_joint, mut log_each) = (Vec::new(), Vec::new(), Vec::new());
        for (of_joint, log, each) in of_row {
            joint.extend(of_joint);
            log_joint.push(log);
            log_each.extend(each);
        }
        Self { joint, log_joint, log_each }
    }

    /// The mean over rows, with each q divided by the number of rows.
    fn total_correlation(&self) -> f64 {
        let rows = self.log_joint.len();
        let width = self.log_each.len() / rows;
        let sum = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>();
        (sum(&self.log_joint) - sum(&self.log_each)) / rows as f64 + (width - 1) as f64 * (rows as f64).ln()
    }

    /// Calls `f` with k, the slope of the total by `l_ijk`, and `z_ik - mu_jk` for every latent k.
    fn slopes(
        &self,
        z: &[f32],
        posteriors: &Posteriors<'_>,
        (i, j): (usize, usize),
        mut f: impl FnMut(usize, f32, f32),
    ) {
        let (rows, width) = (self.log_joint.len(), posteriors.width);
        let z = &z[i * width..][..width];
        let in_joint = (self.joint[i * rows + j] - self.log_joint[i]).exp();
        for (k, log) in posteriors.log_densities(z, j).enumerate() {
            let in_each = (log - self.log_each[i * width + k]).exp();
            f(k, (in_joint - in_each) / rows as f32, z[k] - posteriors.mu[j * width + k]);
        }
    }
}

/// See [`Backend::total_correlation`](crate::nn::Backend::total_correlation). Backward, the densities are computed again:
/// kept, they would take `rows^2 latents` values.
pub(crate) fn total_correlation<T: Tape<f32, Cpu>>(
    z: Matrix<Cpu, T>,
    mu: Matrix<Cpu, T>,
    logvar: Matrix<Cpu, T>,
) -> Result<Scalar<Cpu, T>> {
    check_batch(*z.shape(), *mu.shape(), *logvar.shape())?;
    let (z, tape) = super::input("total_correlation", z)?;
    let (mu, of_mu) = super::input("total_correlation", mu)?;
    let (logvar, of_logvar) = super::input("total_correlation", logvar)?;
    let mut tape = tape.merge(of_mu).merge(of_logvar);
    let (rows, width) = *z.shape();
    let sums = Sums::of(&raw::slice(&z), &Posteriors::new(&raw::slice(&mu), &raw::slice(&logvar), width));
    let value = super::tensor("total_correlation", vec![sums.total_correlation() as f32], (), z.device())?;
    if T::OWNS_TAPE {
        let value = value.ghost();
        tape.add_backward_op(move |grads| {
            let upstream = grads.get_or_alloc_mut(&value)?[0];
            let (z_values, mu_values, logvar_values) = (raw::slice(&z), raw::slice(&mu), raw::slice(&logvar));
            let posteriors = Posteriors::new(&mu_values, &logvar_values, width);
            let dz = grads.get_or_alloc_mut(&z)?;
            dz.par_chunks_exact_mut(width).enumerate().for_each(|(i, dz)| {
                for j in 0..rows {
                    sums.slopes(&z_values, &posteriors, (i, j), |k, slope, error| {
                        dz[k] -= upstream * slope * error * posteriors.precision[j * width + k];
                    });
                }
            });
            let of_rows = |power: fn(f32, f32) -> f32| -> Vec<f32> {
                let of_row = |j: usize| {
                    let mut sum = vec![0.0; width];
                    for i in 0..rows {
                        sums.slopes(&z_values, &posteriors, (i, j), |k, slope, error| {
                            sum[k] += upstream * slope * power(error, posteriors.precision[j * width + k]);
                        });
                    }
                    sum
                };
                (0..rows).into_par_iter().flat_map_iter(of_row).collect()
            };
            let by_mu = of_rows(|error, precision| error * precision);
            let by_logvar = of_rows(|error, precision| 0.5 * (error * error * precision - 1.0));
            grads.get_or_alloc_mut(&mu)?.iter_mut().zip(by_mu).for_each(|(d, by)| *d += by);
            grads.get_or_alloc_mut(&logvar)?.iter_mut().zip(by_logvar).for_each(|(d, by)| *d += by);
            Ok(())
        });
    }
    Ok(value.put_tape(tape))
}

fn check_batch(z: (usize, usize), mu: (usize, usize), logvar: (usize, usize)) -> Result<()> {
    check("total_correlation", z, mu, logvar)?;
    if z.0 == 0 || z.1 == 0 {
        return Err(Error::config(format!("total_correlation: a batch of shape {z:?} holds no latent")));
    }
    Ok(())
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;

    /// See [`Backend::total_correlation`](crate::nn::Backend::total_correlation).
    pub fn total_correlation<D: Device<f32>, T: Tape<f32, D>>(
        z: Matrix<D, T>,
        mu: Matrix<D, T>,
        logvar: Matrix<D, T>,
    ) -> Result<Scalar<D, T>> {
        check_batch(*z.shape(), *mu.shape(), *logvar.shape())?;
        let (rows, width) = *z.shape();
        let (shape, constant) = ((rows, rows, width), (width - 1) as f32 * (rows as f32).ln());
        let run = || -> Result<Scalar<D, T>, D::Err> {
            // [i, j, k]: latent k of row i under the posterior of row j.
            let z = z.try_broadcast_like::<_, Axis<1>>(&shape)?;
            let mu = mu.try_broadcast_like::<_, Axis<0>>(&shape)?;
            let logvar: Tensor<(usize, usize, usize), f32, D, T> = logvar.try_broadcast_like::<_, Axis<0>>(&shape)?;
            let precision = logvar.retaped::<T>().try_negate()?.try_exp()?;
            let squares = z.try_sub(mu)?.try_square()?.try_mul(precision)?;
            let log = squares.try_add(logvar)?.try_add(LOG_TWO_PI)?.try_mul(-0.5)?;
            let joint: Matrix<D, T> = log.retaped::<T>().try_sum::<_, Axis<2>>()?;
            let joint: Vector<D, T> = joint.try_logsumexp::<_, Axis<1>>()?;
            let each: Matrix<D, T> = log.try_logsumexp::<_, Axis<1>>()?;
            let each: Vector<D, T> = each.try_sum::<_, Axis<1>>()?;
            each.try_negate()?.try_add(joint)?.try_mean()?.try_add(constant)
        };
        run().map_err(failed("total_correlation"))
    }
}
