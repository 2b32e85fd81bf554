//! The losses that depend on the device: embeddings against targets, VICReg's terms, distances of sets.
//!
//! The default methods of [`LossOps`] compose dfdx's own operations; the CPU has fused ones.

use super::{Backend, EmbeddingLoss, Matrix, RowSets, Scalar, SetDistance, Vector, composed, fused, vicreg};
use crate::Result;
use dfdx::{
    prelude::{Cpu, HasShape, Tape},
    tensor_ops::Device,
};

/// Losses. A part of [`Backend`].
pub trait LossOps: Device<f32> {
    /// See [`EmbeddingLoss::forward`].
    ///
    /// # Errors
    /// As there.
    fn embedding_loss<T: Tape<f32, Self>>(
        prediction: Matrix<Self, T>,
        target: &Matrix<Self>,
        loss: EmbeddingLoss,
    ) -> Result<Scalar<Self, T>>
    where
        Self: Backend,
    {
        loss.check(*prediction.shape(), *target.shape())?;
        composed::losses::embedding_loss(prediction, target, loss)
    }

    /// See [`vicreg::variance`].
    ///
    /// # Errors
    /// As there.
    fn vicreg_variance<T: Tape<f32, Self>>(z: Matrix<Self, T>) -> Result<Scalar<Self, T>>
    where
        Self: Backend,
    {
        vicreg::check(*z.shape())?;
        composed::losses::vicreg_variance(z)
    }

    /// See [`vicreg::covariance`].
    ///
    /// # Errors
    /// As there.
    fn vicreg_covariance<T: Tape<f32, Self>>(z: Matrix<Self, T>) -> Result<Scalar<Self, T>>
    where
        Self: Backend,
    {
        vicreg::check(*z.shape())?;
        composed::losses::vicreg_covariance(z)
    }

    /// See [`SetDistance::forward`].
    ///
    /// # Errors
    /// As there.
    fn set_distance<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        x_sets: &RowSets,
        y: &Matrix<Self>,
        y_sets: &RowSets,
        distance: &SetDistance,
    ) -> Result<Vector<Self, T>>
    where
        Self: Backend,
    {
        distance.check(*x.shape(), x_sets, *y.shape(), y_sets)?;
        composed::set_distance::set_distance(x, x_sets, y, y_sets, distance)
    }
}

impl LossOps for Cpu {
    fn embedding_loss<T: Tape<f32, Self>>(
        prediction: Matrix<Self, T>,
        target: &Matrix<Self>,
        loss: EmbeddingLoss,
    ) -> Result<Scalar<Self, T>> {
        loss.check(*prediction.shape(), *target.shape())?;
        fused::losses::embedding_loss(prediction, target, loss)
    }

    fn vicreg_variance<T: Tape<f32, Self>>(z: Matrix<Self, T>) -> Result<Scalar<Self, T>> {
        vicreg::check(*z.shape())?;
        fused::vicreg::variance(z)
    }

    fn vicreg_covariance<T: Tape<f32, Self>>(z: Matrix<Self, T>) -> Result<Scalar<Self, T>> {
        vicreg::check(*z.shape())?;
        fused::vicreg::covariance(z)
    }

    fn set_distance<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        x_sets: &RowSets,
        y: &Matrix<Self>,
        y_sets: &RowSets,
        distance: &SetDistance,
    ) -> Result<Vector<Self, T>> {
        distance.check(*x.shape(), x_sets, *y.shape(), y_sets)?;
        fused::set_distance::set_distance(x, x_sets, y, y_sets, distance)
    }
}

#[cfg(feature = "cuda")]
impl LossOps for dfdx::prelude::Cuda {}
