//! Small differentiable operations composed of dfdx's own, with errors that name the operation.

use super::{Backend, Matrix, Scalar, Vector};
use crate::{Error, Result};
use dfdx::prelude::*;
use ndarray::Array2;

/// Puts a host array on the device.
pub fn upload<D: Backend>(device: &D, values: &Array2<f32>) -> Result<Matrix<D>> {
    let data = values.iter().copied().collect();
    device.try_tensor_from_vec(data, values.dim()).map_err(|e| Error::device("copying an array to the device", e))
}

/// Brings a matrix to the host.
pub fn download<D: Backend>(matrix: &Matrix<D>) -> Array2<f32> {
    Array2::from_shape_vec(*matrix.shape(), matrix.as_vec()).expect("a tensor has as many values as its shape says")
}

/// The value of a scalar.
pub fn to_f32<D: Backend, T: Tape<f32, D>>(scalar: &Scalar<D, T>) -> f32 {
    scalar.as_vec()[0]
}

/// `a + b`, same shapes.
pub fn add<D: Backend, T: Tape<f32, D>>(a: Matrix<D, T>, b: Matrix<D, T>) -> Result<Matrix<D, T>> {
    if a.shape() != b.shape() {
        return Err(Error::shape("add", a.shape(), b.shape()));
    }
    a.try_add(b).map_err(|e| Error::device("add", e))
}

/// `a + weight * b`.
pub fn add_scaled<D: Backend, T: Tape<f32, D>>(a: Scalar<D, T>, b: Scalar<D, T>, weight: f32) -> Result<Scalar<D, T>> {
    let scaled = b.try_mul(weight).map_err(|e| Error::device("scale", e))?;
    a.try_add(scaled).map_err(|e| Error::device("add", e))
}

/// The columns of `a`, then those of `b`: `(n, i)`, `(n, j)` -> `(n, i + j)`.
pub fn concat_columns<D: Backend, T: Tape<f32, D>>(a: Matrix<D, T>, b: Matrix<D, T>) -> Result<Matrix<D, T>> {
    if a.shape().0 != b.shape().0 {
        return Err(Error::shape("concat_columns", a.shape(), b.shape()));
    }
    (a, b).try_concat_along(Axis::<1>).map_err(|e| Error::device("concat_columns", e))
}

/// The mean of a vector.
pub fn mean<D: Backend, T: Tape<f32, D>>(vector: Vector<D, T>) -> Result<Scalar<D, T>> {
    vector.try_mean().map_err(|e| Error::device("mean", e))
}

/// `z = mu + exp(logvar / 2) * noise` (Kingma & Welling 2014), all `(n, latent)`.
pub fn reparameterise<D: Backend, T: Tape<f32, D>>(
    mu: Matrix<D, T>,
    logvar: Matrix<D, T>,
    noise: Matrix<D>,
) -> Result<Matrix<D, T>> {
    let spread = || logvar.try_mul(0.5)?.try_exp()?.try_mul(noise);
    let spread = spread().map_err(|e: D::Err| Error::device("reparameterise", e))?;
    add(mu, spread)
}

/// `KL(N(mu, exp(logvar)) || N(0, I))` of each row in nats, `(n,)`, summed over the latents:
/// `1/2 sum (mu^2 + exp(logvar) - 1 - logvar)` (Kingma & Welling 2014, appendix B).
pub fn gaussian_kl<D: Backend, T: Tape<f32, D>>(mu: Matrix<D, T>, logvar: Matrix<D, T>) -> Result<Vector<D, T>> {
    let kl = || {
        let variance = logvar.retaped::<T>().try_exp()?;
        let sum = mu.try_square()?.try_add(variance)?.try_sub(logvar)?.try_sub(1.0)?;
        sum.try_sum::<(usize,), Axis<1>>()?.try_mul(0.5)
    };
    kl().map_err(|e: D::Err| Error::device("gaussian_kl", e))
}

/// `-log N(target; mean, sigma^2)` of each row in nats, `(n,)`, summed over the columns; `log_sigma` is `(columns,)`.
pub fn gaussian_nll<D: Backend, T: Tape<f32, D>>(
    mean: Matrix<D, T>,
    target: Matrix<D>,
    log_sigma: &Vector<D>,
) -> Result<Vector<D, T>> {
    let shape = *mean.shape();
    if shape != *target.shape() || shape.1 != log_sigma.shape().0 {
        return Err(Error::shape("gaussian_nll", shape, (target.shape(), log_sigma.shape())));
    }
    let half_log_two_pi = 0.5 * (2.0 * std::f32::consts::PI).ln();
    let nll = || {
        let log_sigma: Matrix<D, T> = log_sigma.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
        let precision = log_sigma.retaped::<T>().try_negate()?.try_exp()?;
        let scaled = mean.try_sub(target)?.try_mul(precision)?.try_square()?.try_mul(0.5)?;
        scaled.try_add(log_sigma)?.try_add(half_log_two_pi)?.try_sum::<(usize,), Axis<1>>()
    };
    nll().map_err(|e: D::Err| Error::device("gaussian_nll", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Matrix<Cpu> {
        Cpu::default().tensor_from_vec(values.to_vec(), (1, values.len()))
    }

    #[test]
    fn kl_of_a_unit_normal_is_zero_and_grows_with_the_mean() {
        assert_eq!(gaussian_kl(row(&[0.0, 0.0]), row(&[0.0, 0.0])).expect("shapes fit").as_vec(), [0.0]);
        // 1/2 (4 + e^1 - 1 - 1) = 1/2 (2 + e)
        let kl = gaussian_kl(row(&[2.0]), row(&[1.0])).expect("shapes fit").as_vec()[0];
        assert!((kl - 0.5 * (2.0 + 1f32.exp())).abs() < 1e-6, "{kl}");
    }

    #[test]
    fn gaussian_nll_matches_the_density() {
        let log_sigma = Cpu::default().tensor_from_vec(vec![0.5, -0.25], (2,));
        let nll = gaussian_nll(row(&[1.0, 2.0]), row(&[0.0, 2.5]), &log_sigma).expect("shapes fit").as_vec()[0];
        let density =
            |x: f64, m: f64, s: f64| 0.5 * ((x - m) / s).powi(2) + s.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln();
        let expected = density(0.0, 1.0, 0.5f64.exp()) + density(2.5, 2.0, (-0.25f64).exp());
        assert!((f64::from(nll) - expected).abs() < 1e-5, "{nll} {expected}");
        assert!(gaussian_nll(row(&[1.0]), row(&[0.0, 2.5]), &log_sigma).is_err());
    }
}
