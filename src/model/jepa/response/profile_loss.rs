//! The profile loss: the decoder's shares of genes, averaged over the cells of a set, against those of the condition.

use crate::{
    Error, Result,
    nn::{Backend, Matrix, RowSets, Scalar, ops},
};
use dfdx::prelude::{Axis, HasShape, PutTape, Rank0, SumTo, Tape, TryAdd, TryMul};
use ndarray::Array2;

/// The decoder's shares of each cell, `(cells, classes)`: one more class, of logit 0, where a library counts genes that are not
/// modelled.
pub fn shares_of<D: Backend, T: Tape<f32, D>>(logits: Matrix<D, T>, with_remainder: bool) -> Result<Matrix<D, T>> {
    let device = logits.device().clone();
    let fail = |e: D::Err| Error::device("shares of genes", e);
    let logits = match with_remainder {
        true => {
            let zeros = device.try_zeros_like(&(logits.shape().0, 1)).map_err(fail)?;
            ops::concat_columns(logits, zeros.put_tape(T::default()))?
        }
        false => logits,
    };
    logits.try_softmax::<Axis<1>>().map_err(fail)
}

/// `- sum over genes of y_sg ln p_sg`, the mean over sets, in nats per molecule: p is the mean over the cells of a set of the
/// decoder's shares, y `(sets, classes)` the observed shares.
pub fn profile_loss<D: Backend, T: Tape<f32, D>>(
    logits: Matrix<D, T>,
    sets: &RowSets,
    observed: &Array2<f32>,
    with_remainder: bool,
) -> Result<Scalar<D, T>> {
    let fail = |e: D::Err| Error::device("profile loss", e);
    let shares = shares_of(logits, with_remainder)?;
    if observed.dim() != (sets.len(), shares.shape().1) {
        return Err(Error::shape("profile loss", (sets.len(), shares.shape().1), observed.dim()));
    }
    let shares = D::set_mean(shares, sets)?;
    let terms = || shares.try_add(1e-12)?.try_ln();
    let terms = D::multiply(terms().map_err(fail)?, observed.iter().copied().collect())?;
    let sum = || terms.try_sum::<Rank0, _>()?.try_mul(-1.0 / sets.len().max(1) as f32);
    sum().map_err(fail)
}
