//! Distances between sets composed of dfdx's own operations, one set after the other.

use super::failed;
use crate::{
    Result,
    nn::{
        Backend, Matrix, RowSets, Scalar, SetDistance, Vector,
        set_distance::{couple, ranked},
    },
};
use dfdx::prelude::*;

/// Smallest squared distance, so that its root has a derivative.
const SMALLEST_SQUARE: f32 = 1e-12;

/// See [`SetDistance`].
pub fn set_distance<D: Backend, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    x_sets: &RowSets,
    y: &Matrix<D>,
    y_sets: &RowSets,
    distance: &SetDistance,
) -> Result<Vector<D, T>> {
    let width = x.shape().1;
    let (x, tape) = x.split_tape();
    let run = || -> Result<Vector<D, T>, D::Err> {
        let mut values: Vector<D, T> = x.device().try_zeros_like(&(0,))?.put_tape(tape);
        for (a, b) in x_sets.ranges().zip(y_sets.ranges()) {
            let x: Matrix<D, T> = x.retaped::<T>().try_slice((a, 0..width))?;
            let y = y.clone().try_slice((b, 0..width))?;
            let value = match distance {
                SetDistance::SlicedWasserstein { directions } => sliced(x, &y, directions)?,
                _ => radial(x, &y, distance)?,
            };
            values = (values, value.try_reshape_like(&(1,))?).try_concat_along(Axis::<0>)?;
        }
        Ok(values)
    };
    run().map_err(failed("distance of sets"))
}

/// `2 mean f(x, y) - mean f(x, x) - mean f(y, y)`.
fn radial<D: Backend, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    y: &Matrix<D>,
    distance: &SetDistance,
) -> Result<Scalar<D, T>, D::Err> {
    let mean = y.clone().try_mean::<(usize,), Axis<0>>()?;
    let x = {
        let shape = *x.shape();
        x.try_sub(mean.clone().try_broadcast_like::<_, Axis<0>>(&shape)?)?
    };
    let y: Matrix<D> = {
        let shape = *y.shape();
        y.clone().try_sub(mean.try_broadcast_like::<_, Axis<0>>(&shape)?)?
    };
    let across = mean_of(squares(x.with_empty_tape(), y.retaped::<T>(), false)?, distance)?;
    let within_y = mean_of(squares(y.clone(), y, true)?, distance)?;
    let within_x = mean_of(squares(x.with_empty_tape(), x, true)?, distance)?;
    across.try_mul(2.0)?.try_sub(within_x)?.try_sub(within_y)
}

/// Squared distances `(n, m)`; of a row to itself, where a and b are the same, 0.
fn squares<D: Backend, T: Tape<f32, D>>(a: Matrix<D, T>, b: Matrix<D, T>, same: bool) -> Result<Matrix<D, T>, D::Err> {
    let shape @ (n, m) = (a.shape().0, b.shape().0);
    let factors = (0..n * m).map(|at| if same && at % (m + 1) == 0 { 0.0 } else { 1.0 }).collect();
    let factors = a.device().try_tensor_from_vec(factors, shape)?;
    let norms = |x: &Matrix<D, T>| x.with_empty_tape().try_square()?.try_sum::<(usize,), Axis<1>>();
    let (a_norms, b_norms) = (norms(&a)?, norms(&b)?);
    // Scaled first: a permuted tensor keeps its id, and dfdx multiplies no tensor by itself.
    let products = a.try_matmul(b.try_mul(-2.0)?.try_permute::<(usize, usize), Axes2<1, 0>>()?)?;
    let sum = products.try_add(a_norms.try_broadcast_like::<_, Axis<1>>(&shape)?)?;
    sum.try_add(b_norms.try_broadcast_like::<_, Axis<0>>(&shape)?)?.try_mul(factors)
}

/// The mean of f over a matrix of squared distances: the distance, or minus the kernel.
fn mean_of<D: Backend, T: Tape<f32, D>>(squares: Matrix<D, T>, distance: &SetDistance) -> Result<Scalar<D, T>, D::Err> {
    let squares = squares.try_clamp(SMALLEST_SQUARE, f32::MAX)?;
    let SetDistance::Mmd { gammas } = distance else {
        return squares.try_sqrt()?.try_mean();
    };
    let (squares, tape) = squares.split_tape();
    let mut total: Scalar<D, T> = squares.device().try_zeros()?.put_tape(tape);
    for gamma in gammas.iter() {
        let kernel: Scalar<D, T> = squares.retaped::<T>().try_mul(-gamma)?.try_exp()?.try_mean()?;
        total = total.try_sub(kernel)?;
    }
    total.try_div(gammas.len() as f32)
}

/// Mean over directions of the squared distance of the sorted projections. dfdx cannot sort, so the host finds for each
/// projection of x the mean c of the projections of y that the optimal coupling gives it: the distance is the mean of
/// `(x - c)^2`, plus what does not depend on x.
fn sliced<D: Backend, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    y: &Matrix<D>,
    directions: &[f32],
) -> Result<Scalar<D, T>, D::Err> {
    let (n, width) = *x.shape();
    let (m, count) = (y.shape().0, directions.len() / width);
    let directions = y.device().try_tensor_from_vec(directions.to_vec(), (width, count))?;
    let projected = x.try_matmul(directions.clone())?; // (n, directions)
    let (x_values, y_values) = (projected.as_vec(), y.clone().try_matmul(directions)?.as_vec());
    let (mut partners, mut rest) = (vec![0.0f64; n * count], 0.0);
    for direction in 0..count {
        let column = |values: &[f32]| values.iter().skip(direction).step_by(count).copied().collect::<Vec<_>>();
        let (x, y) = (column(&x_values), column(&y_values));
        let (x_order, y_order) = (ranked(&x), ranked(&y));
        couple(n, m, |i, j, weight| {
            let y = f64::from(y[y_order[j] as usize]);
            partners[x_order[i] as usize * count + direction] += n as f64 * weight * y;
            rest += weight * y * y;
        });
    }
    rest -= partners.iter().map(|c| c * c).sum::<f64>() / n as f64;
    let partners = partners.iter().map(|&c| c as f32).collect();
    let partners = y.device().try_tensor_from_vec(partners, (n, count))?;
    projected.try_sub(partners)?.try_square()?.try_mean()?.try_add((rest / count as f64) as f32)
}
