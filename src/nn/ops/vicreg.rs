//! VICReg's variance and covariance terms on the CPU, with the centred embeddings c = z - mean, n rows of d features.
//!
//! Variance: with s_j = sqrt(Var_j + epsilon) below gamma, `dz_ij = -c_ij / ((n - 1) s_j d)`. Covariance: with C = c^T c /
//! (n - 1) without its diagonal, `dz = 4 c C / ((n - 1) d)`. Neither needs the derivative of the mean: the columns of c
//! sum to 0.

use super::{
    Matrix, Scalar,
    gemm::{MatRef, add_product},
};
use crate::{Error, Result, nn::raw};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};

/// The standard deviation that each feature should have; gamma of the paper, section 4.1.
pub const GAMMA: f32 = 1.0;
/// Added to the variance; the paper, section 4.1.
pub const EPSILON: f32 = 1e-4;

/// See [`vicreg::variance`](crate::nn::vicreg::variance).
pub(crate) fn vicreg_variance<T: Tape<f32, Cpu>>(z: Matrix<Cpu, T>) -> Result<Scalar<Cpu, T>> {
    check(*z.shape())?;
    let (z, mut tape) = super::input("vicreg", z)?;
    let (rows, width) = *z.shape();
    let means = means(&raw::slice(&z), width);
    let mut squares = vec![0.0f64; width];
    for row in raw::slice(&z).chunks_exact(width) {
        let centred = row.iter().zip(&means).map(|(&z, mean)| f64::from(z) - mean);
        squares.iter_mut().zip(centred).for_each(|(square, c)| *square += c * c);
    }
    let spread = |square: &f64| (square / (rows - 1) as f64 + f64::from(EPSILON)).sqrt();
    let gamma = f64::from(GAMMA);
    let total: f64 = squares.iter().map(|square| (gamma - spread(square)).max(0.0)).sum();
    let value = super::tensor("vicreg", vec![(total / width as f64) as f32], (), z.device())?;
    if T::OWNS_TAPE {
        let value = value.ghost();
        // The factor of each centred value.
        let slopes = squares
            .iter()
            .map(spread)
            .map(|spread| if spread < gamma { -1.0 / ((rows - 1) as f64 * spread * width as f64) } else { 0.0 });
        let slopes: Vec<f64> = slopes.collect();
        tape.add_backward_op(move |grads| {
            let upstream = f64::from(grads.get_or_alloc_mut(&value)?[0]);
            let dz = grads.get_or_alloc_mut(&z)?;
            for (dz, z) in dz.chunks_exact_mut(width).zip(raw::slice(&z).chunks_exact(width)) {
                for ((dz, &z), (mean, slope)) in dz.iter_mut().zip(z).zip(means.iter().zip(&slopes)) {
                    *dz += (upstream * slope * (f64::from(z) - mean)) as f32;
                }
            }
            Ok(())
        });
    }
    Ok(value.put_tape(tape))
}

/// See [`vicreg::covariance`](crate::nn::vicreg::covariance).
pub(crate) fn vicreg_covariance<T: Tape<f32, Cpu>>(z: Matrix<Cpu, T>) -> Result<Scalar<Cpu, T>> {
    check(*z.shape())?;
    let (z, mut tape) = super::input("vicreg", z)?;
    let (rows, width) = *z.shape();
    let centred = {
        let z = raw::slice(&z);
        let means = means(&z, width);
        let centred =
            z.chunks_exact(width).flat_map(|row| row.iter().zip(&means).map(|(&z, m)| (f64::from(z) - m) as f32));
        centred.collect::<Vec<f32>>()
    };
    let mut products = vec![0.0; width * width];
    add_product(&mut products, MatRef::new(&centred, rows, width).t(), MatRef::new(&centred, rows, width));
    (0..width).for_each(|j| products[j * (width + 1)] = 0.0);
    let degrees = (rows - 1) as f64;
    let total = products.iter().map(|&c| (f64::from(c) / degrees).powi(2)).sum::<f64>() / width as f64;
    let value = super::tensor("vicreg", vec![total as f32], (), z.device())?;
    if T::OWNS_TAPE {
        let (value, z) = (value.ghost(), z.ghost());
        tape.add_backward_op(move |grads| {
            let upstream = f64::from(grads.get_or_alloc_mut(&value)?[0]);
            let scale = (4.0 * upstream / (degrees * degrees * width as f64)) as f32;
            let scaled: Vec<f32> = products.iter().map(|c| c * scale).collect();
            let dz = grads.get_or_alloc_mut(&z)?;
            add_product(dz, MatRef::new(&centred, rows, width), MatRef::new(&scaled, width, width));
            Ok(())
        });
    }
    Ok(value.put_tape(tape))
}

/// The mean of each column.
fn means(z: &[f32], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0f64; width];
    for row in z.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, &z)| *sum += f64::from(z));
    }
    let rows = (z.len() / width) as f64;
    sums.iter().map(|sum| sum / rows).collect()
}

/// At least two rows and one column, so that the variance is defined.
pub(super) fn check(z: (usize, usize)) -> Result<()> {
    if z.0 < 2 || z.1 == 0 {
        return Err(Error::config(format!(
            "VICReg: a batch of shape {z:?} has no variance; take at least 2 rows per batch"
        )));
    }
    Ok(())
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::{Vector, failed};
    use dfdx::{prelude::*, tensor_ops::Device};

    /// See [`vicreg::variance`](crate::nn::vicreg::variance).
    pub fn vicreg_variance<D: Device<f32>, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Scalar<D, T>> {
        check(*z.shape())?;
        let unbiased = z.shape().0 as f32 / (z.shape().0 - 1) as f32;
        let run = || -> Result<Scalar<D, T>, D::Err> {
            let square = centred(z)?.try_square()?;
            let variance: Vector<D, T> = square.try_mean::<_, Axis<0>>()?.try_mul(unbiased)?;
            let missing = variance.try_add(EPSILON)?.try_sqrt()?.try_negate()?.try_add(GAMMA)?;
            missing.try_relu()?.try_mean()
        };
        run().map_err(failed("vicreg"))
    }

    /// See [`vicreg::covariance`](crate::nn::vicreg::covariance).
    pub fn vicreg_covariance<D: Device<f32>, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Scalar<D, T>> {
        check(*z.shape())?;
        let (rows, width) = *z.shape();
        let off_diagonal = (0..width * width).map(|at| if at % (width + 1) == 0 { 0.0 } else { 1.0 }).collect();
        let run = || -> Result<Scalar<D, T>, D::Err> {
            let off_diagonal = z.device().try_tensor_from_vec(off_diagonal, (width, width))?;
            let c = centred(z)?;
            // Scaled first: a permuted tensor keeps its id, and dfdx multiplies no tensor by itself.
            let scaled = c.with_empty_tape().try_div((rows - 1) as f32)?;
            let transposed = scaled.try_permute::<(usize, usize), Axes2<1, 0>>()?;
            let products = transposed.try_matmul(c)?.try_mul(off_diagonal)?;
            products.try_square()?.try_sum::<Rank0, _>()?.try_div(width as f32)
        };
        run().map_err(failed("vicreg"))
    }

    fn centred<D: Device<f32>, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
        let shape = *z.shape();
        let mean: Vector<D, T> = z.with_empty_tape().try_mean::<_, Axis<0>>()?;
        z.try_sub(mean.try_broadcast_like::<_, Axis<0>>(&shape)?)
    }
}
