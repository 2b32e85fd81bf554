//! Gaussians with a diagonal covariance, one per row: sampling, divergence, and the balanced divergence of world models.

use super::{Backend, Matrix, Vector, ops};
use crate::{Error, Result};
use dfdx::prelude::{Axis, HasShape, SumTo, Tape, TryAdd, TryDiv, TryMul, TrySub};

/// `N(mean, diag(std^2))` of each row; both `(rows, width)`.
#[derive(Debug)]
pub struct Gaussian<D: Backend, T: Tape<f32, D>> {
    /// The mean.
    pub mean: Matrix<D, T>,
    /// The standard deviation, above 0.
    pub std: Matrix<D, T>,
}

impl<D: Backend, T: Tape<f32, D>> Gaussian<D, T> {
    /// The same on an empty tape, to be used once more.
    #[must_use]
    pub fn retaped(&self) -> Self {
        Self { mean: self.mean.retaped::<T>(), std: self.std.retaped::<T>() }
    }

    /// The same values, through which no gradient flows.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn detached(&self) -> Result<Self> {
        let copy = |x: &Matrix<D, T>| Ok::<_, Error>(ops::upload(x.device(), &ops::download(x))?.retaped::<T>());
        Ok(Self { mean: copy(&self.mean)?, std: copy(&self.std)? })
    }

    /// `mean + std * noise`, noise `(rows, width)` drawn from N(0, I).
    ///
    /// # Errors
    /// Noise of another shape.
    pub fn sample(self, noise: Matrix<D>) -> Result<Matrix<D, T>> {
        if self.mean.shape() != noise.shape() {
            return Err(Error::shape("sample of a Gaussian: mean and noise", self.mean.shape(), noise.shape()));
        }
        let run = || self.std.try_mul(noise)?.try_add(self.mean);
        run().map_err(|e: D::Err| Error::device("sample of a Gaussian", e))
    }

    /// `KL(self || other)` of each row in nats, `(rows,)`:
    /// `sum [ ln(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2 ]`, q this one and p the other.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn kl(self, other: Self) -> Result<Vector<D, T>> {
        if self.mean.shape() != other.mean.shape() {
            return Err(Error::shape("KL of two Gaussians", self.mean.shape(), other.mean.shape()));
        }
        let run = || {
            let log_ratio = other.std.retaped::<T>().try_ln()?.try_sub(self.std.retaped::<T>().try_ln()?)?;
            let distance = self.mean.try_sub(other.mean)?.try_square()?;
            let spread = self.std.try_square()?.try_add(distance)?.try_div(other.std.try_square()?)?;
            spread.try_mul(0.5)?.try_add(log_ratio)?.try_sub(0.5)?.try_sum::<(usize,), Axis<1>>()
        };
        run().map_err(|e: D::Err| Error::device("KL of two Gaussians", e))
    }
}

/// The two sides of KL balancing (Hafner et al. 2021, algorithm 2), `(rows,)` each: the same values with different gradients.
pub struct BalancedKl<D: Backend, T: Tape<f32, D>> {
    /// `KL(sg(posterior) || prior)`, which trains the prior.
    pub of_prior: Vector<D, T>,
    /// `KL(posterior || sg(prior))`, which keeps the posterior near the prior.
    pub of_posterior: Vector<D, T>,
}

/// Both sides of KL balancing; `sg` stops the gradient.
///
/// # Errors
/// Shapes that differ.
pub fn balanced_kl<D: Backend, T: Tape<f32, D>>(
    posterior: Gaussian<D, T>,
    prior: Gaussian<D, T>,
) -> Result<BalancedKl<D, T>> {
    let (fixed_posterior, fixed_prior) = (posterior.detached()?, prior.detached()?);
    Ok(BalancedKl { of_prior: fixed_posterior.kl(prior)?, of_posterior: posterior.kl(fixed_prior)? })
}
