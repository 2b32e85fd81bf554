//! What energies are trained by: noise contrastive estimation, contrastive divergence, or matching of scores.
//!
//! With the energy `E(x) = |u|^2 / 2 + r f(u)`, u and r as in [`Preconditioning`]:
//!
//! ```text
//! nce    mean softplus(-G(x)) + nu mean softplus(G(n)),   G = -f - ln nu,   n ~ N(0, I)                nu samples of noise per row
//! cd     mean f(x) - mean f(y) + a (mean f(x)^2 + mean f(y)^2),   y: `steps` Langevin steps from x
//! pcd    the same, with y from chains that go on from step to step
//! dsm    mean |s grad E(x + s e, s) - e|^2 / dims,   e ~ N(0, I),   s one of the noise levels
//! ssm    sliced score matching
//! ```
//!
//! - `nce` (Gutmann and Hyvarinen 2012): the data are told from noise whose density is known. Its optimum is `-f = ln(p / p_noise)`, so
//!   the energy is normalised: `-E` is the log density but for the constant of the normal distribution.
//! - `cd` (Hinton 2002) and `pcd` (Tieleman 2008) follow the gradient of the likelihood with samples of the model. The square of f
//!   keeps energies near 0 (Du and Mordatch 2019, section 3.3).
//! - `dsm` (Vincent 2011; Song and Ermon 2019): the energy of the data with noise on them, at each level.
//! - `ssm` (Song et al. 2019): without noise; see [`score_matching`](super::score_matching).
//!
//! `cd`, `pcd`, `dsm` and `ssm` know the energy up to a constant, and the last four know little of how much data there are in
//! clusters between which there are none.

use super::{net::EnergyNet, sampler::normal, score_matching::sliced_score_matching};
use crate::{
    Error, Result,
    nn::{Backend, EmbeddingLoss, Matrix, Scalar, ops},
};
use dfdx::prelude::*;
use ndarray::{Array1, Array2, Axis, concatenate};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How x goes into the network, and its answer into the energy: `u = x / sqrt(1 + s^2)` and `r = sqrt(1 + s^2) / s` at a noise
/// level s; `u = x` and `r = 1` without noise (the word is that of Karras et al. 2022). With f = 0 the energy is that of standard normal data at every level, and the
/// squared error of `s grad E` is of one size at all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preconditioning {
    /// `u / x`.
    pub inner: f64,
    /// r.
    pub outer: f64,
}

impl Preconditioning {
    /// At a noise level, or without noise.
    pub fn at(sigma: Option<f64>) -> Self {
        match sigma {
            None => Self { inner: 1.0, outer: 1.0 },
            Some(s) => Self { inner: 1.0 / 1.0_f64.hypot(s), outer: 1.0_f64.hypot(s) / s },
        }
    }
}

/// A batch as an objective sees it, in the network's units.
pub struct Batch<'a> {
    /// `(rows, dims)`.
    pub x: &'a Array2<f32>,
    /// `(rows, condition)`.
    pub condition: Option<&'a Array2<f32>>,
}

/// A loss with its tape, and the mean energies of data and of samples where the objective has samples.
pub type LossWithParts<D, T> = (Scalar<D, T>, Vec<(&'static str, f32)>);

/// The loss of noise contrastive estimation.
///
/// # Errors
/// Another width.
pub fn nce_loss<D: Backend, T: Tape<f32, D>>(
    net: &EnergyNet<D>,
    batch: &Batch<'_>,
    noise: usize,
    tape: T,
    rng: &mut ChaCha8Rng,
) -> Result<Scalar<D, T>> {
    let (rows, dims) = batch.x.dim();
    let device = net.input.weight.device();
    let samples = normal((rows * noise, dims), rng).mapv(|v| v as f32);
    let given = batch.condition.map(|given| ops::upload(device, given)).transpose()?;
    let repeated = batch.condition.map(|given| {
        let views = vec![given.view(); noise];
        concatenate(Axis(0), &views).expect("copies of one array")
    });
    let repeated = repeated.map(|given| ops::upload(device, &given)).transpose()?;
    let ln_nu = (noise as f32).ln();
    let data = net.value(ops::upload(device, batch.x)?.put_tape(tape), given.as_ref())?;
    let other = net.value(ops::upload(device, &samples)?.put_tape(T::default()), repeated.as_ref())?;
    let run = || Ok((data.try_add(ln_nu)?, other.try_negate()?.try_sub(ln_nu)?));
    let (data, other) = run().map_err(|e: D::Err| Error::device("noise contrastive estimation", e))?;
    ops::add_scaled(mean_softplus(data)?, mean_softplus(other)?, noise as f32)
}

/// The mean of `ln(1 + e^z)`.
fn mean_softplus<D: Backend, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Scalar<D, T>> {
    let run = || {
        let rest = z.retaped::<T>().try_abs()?.try_negate()?.try_exp()?.try_add(1.0)?.try_ln()?;
        z.try_relu()?.try_add(rest)?.try_mean::<Rank0, _>()
    };
    run().map_err(|e: D::Err| Error::device("softplus", e))
}

/// The loss of contrastive divergence against the samples y `(rows, dims)`, which have the conditions of the batch.
///
/// # Errors
/// Another width.
pub fn contrastive_loss<D: Backend, T: Tape<f32, D>>(
    net: &EnergyNet<D>,
    batch: &Batch<'_>,
    samples: &Batch<'_>,
    regularisation: f64,
    tape: T,
) -> Result<LossWithParts<D, T>> {
    let device = net.input.weight.device();
    let value = |batch: &Batch<'_>, tape: T| {
        let given = batch.condition.map(|given| ops::upload(device, given)).transpose()?;
        net.value(ops::upload(device, batch.x)?.put_tape(tape), given.as_ref())
    };
    let (data, other) = (value(batch, tape)?, value(samples, T::default())?);
    let base = |x: &Array2<f32>| 0.5 * x.iter().map(|v| v * v).sum::<f32>() / x.nrows().max(1) as f32;
    let square = |f: &Matrix<D, T>| f.retaped::<T>().try_square()?.try_mean::<Rank0, _>();
    let run = || {
        let squares = square(&data)?.try_add(square(&other)?)?.try_mul(regularisation as f32)?;
        Ok((data.try_mean::<Rank0, _>()?, other.try_mean::<Rank0, _>()?, squares))
    };
    let (data, other, squares) = run().map_err(|e: D::Err| Error::device("contrastive divergence", e))?;
    let energies = [ops::to_f32(&data) + base(batch.x), ops::to_f32(&other) + base(samples.x)];
    let loss = ops::add_scaled(ops::add_scaled(data, other, -1.0)?, squares, 1.0)?;
    Ok((loss, vec![("energy_of_data", energies[0]), ("energy_of_samples", energies[1])]))
}

/// The loss of denoising score matching at noise levels drawn evenly from `levels`.
///
/// # Errors
/// Another width.
pub fn denoising_loss<D: Backend, T: Tape<f32, D>>(
    net: &EnergyNet<D>,
    batch: &Batch<'_>,
    levels: &[f64],
    tape: T,
    rng: &mut ChaCha8Rng,
) -> Result<Scalar<D, T>> {
    let device = net.input.weight.device();
    let e = normal(batch.x.dim(), rng);
    let sigmas: Array1<f64> = (0..batch.x.nrows()).map(|_| levels[rng.random_range(0..levels.len())]).collect();
    let (mut u, mut target) = (Array2::zeros(batch.x.dim()), Array2::zeros(batch.x.dim()));
    for (row, &sigma) in sigmas.iter().enumerate() {
        let scale = Preconditioning::at(Some(sigma));
        for column in 0..u.ncols() {
            let noised = f64::from(batch.x[[row, column]]) + sigma * e[[row, column]];
            u[[row, column]] = (scale.inner * noised) as f32;
            // s grad E = s x / (1 + s^2) + grad_u f.
            target[[row, column]] = (e[[row, column]] - sigma * scale.inner * scale.inner * noised) as f32;
        }
    }
    let given = ops::upload(device, &with_level(batch.condition, &sigmas))?;
    let answer = net.gradient(ops::upload(device, &u)?.put_tape(tape), Some(&given))?;
    EmbeddingLoss::L2.forward(answer, &ops::upload(device, &target)?)
}

/// Conditions, and the logarithm of the noise level as the last column.
pub fn with_level(condition: Option<&Array2<f32>>, sigmas: &Array1<f64>) -> Array2<f32> {
    let level = sigmas.mapv(|sigma| sigma.ln() as f32).insert_axis(Axis(1));
    match condition {
        None => level,
        Some(condition) => concatenate![Axis(1), condition.view(), level],
    }
}

/// The loss of sliced score matching.
///
/// # Errors
/// Another width.
pub fn sliced_loss<D: Backend, T: Tape<f32, D>>(
    net: &EnergyNet<D>,
    batch: &Batch<'_>,
    projections: usize,
    tape: T,
    rng: &mut ChaCha8Rng,
) -> Result<Scalar<D, T>> {
    let given = batch.condition.map(|given| ops::upload(net.input.weight.device(), given)).transpose()?;
    sliced_score_matching(net, batch.x, given.as_ref(), projections, tape, rng)
}

/// `steps` Langevin steps of length `step_size` from x under the energy `|x|^2 / 2 + f`, in single precision.
///
/// # Errors
/// Another width.
pub fn short_run<D: Backend>(
    net: &EnergyNet<D>,
    start: &Batch<'_>,
    (steps, step_size): (usize, f64),
    rng: &mut ChaCha8Rng,
) -> Result<Array2<f32>> {
    let device = net.input.weight.device();
    let given = start.condition.map(|given| ops::upload(device, given)).transpose()?;
    let (drift, length) = ((step_size * step_size / 2.0) as f32, step_size as f32);
    let mut x = start.x.clone();
    for _ in 0..steps {
        let slope = ops::download(&net.gradient::<NoneTape>(ops::upload(device, &x)?, given.as_ref())?);
        let noise = normal(x.dim(), rng).mapv(|v| v as f32);
        x = &x * (1.0 - drift) - slope * drift + noise * length;
    }
    Ok(x)
}
