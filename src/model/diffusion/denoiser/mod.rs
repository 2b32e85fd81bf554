//! What samplers, solvers and likelihoods need of a model: a predicted noise, or a velocity.
//!
//! A network is one implementor, a closed form ([`MixtureDenoiser`]) another; a condition is part of the implementor, so that one
//! sampler serves all.
//!
//! | file | what |
//! |---|---|
//! | `guidance` | a conditional and an unconditional model as one |
//! | `mixture` | Gaussian mixtures, whose denoiser is known exactly |

mod guidance;
mod mixture;

pub(crate) use guidance::check_scale;
pub use guidance::{Guided, guide};
pub use mixture::{GaussianMixture, MixtureDenoiser};

use crate::{Error, ErrorKind, Result};
use ndarray::{Array1, Array2, Axis, Zip};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Predicts the noise in noised samples.
pub trait Denoiser {
    /// The width of a sample.
    fn dims(&self) -> usize;

    /// `epsilon-hat(x, t) = E[epsilon | x_t = x]`, `(rows, dims)`, of samples `x` `(rows, dims)` at diffusion time `t` in (0, 1].
    ///
    /// # Errors
    /// What the implementor cannot compute; another width.
    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>>;

    /// See [`Velocity::difference_step`]; what the probability flow of this denoiser uses.
    fn difference_step(&self) -> f64 {
        1e-5
    }
}

/// A velocity `dx/dt` over time 0 to 1, for the solvers of [`ode`](super::ode).
pub trait Velocity {
    /// The width of a sample.
    fn dims(&self) -> usize;

    /// `dx/dt` at samples `x` `(rows, dims)` and time `t`, `(rows, dims)`.
    ///
    /// # Errors
    /// What the implementor cannot compute; another width.
    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>>;

    /// Step of the central differences of [`Self::divergence`]. The default, about the cube root of the rounding error, is for
    /// functions computed in `f64`; one computed in `f32` needs about 5e-3.
    fn difference_step(&self) -> f64 {
        1e-5
    }

    /// `sum_i d v_i / d x_i`, `(rows,)`, by central differences along each axis: 2 x dims evaluations, exact to the square of
    /// the step. See [`hutchinson`] for many dimensions.
    ///
    /// # Errors
    /// Those of [`Self::velocity`].
    fn divergence(&self, x: &Array2<f64>, t: f64) -> Result<Array1<f64>> {
        let h = self.difference_step();
        let mut divergence = Array1::zeros(x.nrows());
        let mut shifted = x.clone();
        for axis in 0..self.dims() {
            let along = x.column(axis);
            shifted.column_mut(axis).assign(&(&along + h));
            let ahead = self.velocity(&shifted, t)?;
            shifted.column_mut(axis).assign(&(&along - h));
            let behind = self.velocity(&shifted, t)?;
            shifted.column_mut(axis).assign(&along);
            divergence.scaled_add(0.5 / h, &(&ahead.column(axis) - &behind.column(axis)));
        }
        Ok(divergence)
    }
}

/// Hutchinson's estimate of the divergence, `mean_k z_k' J z_k` over `probes` vectors of random signs, `(rows,)`: 2 x probes
/// evaluations whatever the width, unbiased (Hutchinson 1989; FFJORD, Grathwohl et al. 2019, eq. 7). The same `seed` gives the same
/// vectors at every time, as an adaptive solver needs.
///
/// # Errors
/// No probes; those of the velocity.
pub fn hutchinson(
    field: &(impl Velocity + ?Sized),
    x: &Array2<f64>,
    t: f64,
    probes: usize,
    seed: u64,
) -> Result<Array1<f64>> {
    if probes == 0 {
        return Err(Error::config("the divergence's number of random probes is 0; it must be at least 1"));
    }
    let h = field.difference_step();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut divergence = Array1::zeros(x.nrows());
    for _ in 0..probes {
        let signs = Array2::from_shape_simple_fn(x.dim(), || if rng.random::<bool>() { 1.0 } else { -1.0 });
        let ahead = field.velocity(&(x + &(&signs * h)), t)?;
        let behind = field.velocity(&(x - &(&signs * h)), t)?;
        divergence.scaled_add(0.5 / h / probes as f64, &((ahead - behind) * signs).sum_axis(Axis(1)));
    }
    Ok(divergence)
}

/// Standard normal noise, `(rows, dims)`, scaled by `std`: with [`Sde::prior_std`](super::Sde::prior_std), what samplers start
/// from.
pub fn gaussian_noise(rows: usize, dims: usize, std: f64, rng: &mut ChaCha8Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, dims), || std * rng.sample::<f64, _>(StandardNormal))
}

/// Samples `x` fit a field of `dims` columns and are finite; `what` names the operation.
pub(crate) fn check_samples(what: &str, x: &Array2<f64>, dims: usize) -> Result<()> {
    if x.ncols() != dims {
        return Err(Error::shape(&format!("{what}: samples, and the model's width"), x.dim(), dims));
    }
    check_finite(x, || format!("{what}: the samples it starts from"))
}

/// One line for values that are not finite; `place` says whose.
pub(crate) fn check_finite(x: &Array2<f64>, place: impl FnOnce() -> String) -> Result<()> {
    let mut bad = None;
    Zip::indexed(x).for_each(|index, value| {
        if !value.is_finite() {
            bad.get_or_insert(index);
        }
    });
    match bad {
        None => Ok(()),
        Some((row, column)) => Err(Error::new(
            ErrorKind::Numeric,
            format!("{}: row {row}, dimension {column} is not a finite number", place()),
        )),
    }
}
