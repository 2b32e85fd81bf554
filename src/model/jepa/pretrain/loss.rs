//! What an objective gives, and the loss that is made of it: the prediction's, and the terms that keep embeddings apart.

use super::PretrainNet;
use crate::{
    Result,
    model::jepa::config::Regularise,
    nn::{Backend, Matrix, Scalar, ops, vicreg},
};
use dfdx::prelude::{HasShape, Tape};
use ndarray::Array2;

/// What an objective gives: the loss of the prediction, and the embeddings that are kept apart.
pub(in crate::model::jepa) struct Predicted<D: Backend, T: Tape<f32, D>> {
    pub loss: Scalar<D, T>,
    /// Mean of the anti-collapse terms is taken over these, each `(rows, width)`.
    pub apart: Vec<Matrix<D, T>>,
    /// The student's embeddings, on the host.
    pub student: Array2<f32>,
    /// The teacher's of the same input, where it was asked for.
    pub teacher: Option<Array2<f32>>,
}

impl<D: Backend> PretrainNet<D> {
    /// The loss of a prediction, and what is to be held apart: the embeddings z or the predictions.
    pub(super) fn compared<T: Tape<f32, D>>(
        &self,
        z: Matrix<D, T>,
        prediction: Matrix<D, T>,
        target: &Matrix<D>,
        student: Array2<f32>,
        teacher: Option<Array2<f32>>,
    ) -> Result<Predicted<D, T>> {
        let (loss, apart) = match self.config.regularise {
            Regularise::Usual => (self.config.loss.forward(prediction, target)?, z),
            Regularise::Predictions => {
                let loss = self.config.loss.forward(prediction.retaped::<T>(), target)?;
                (ops::keep_tape(loss, z)?, prediction)
            }
        };
        Ok(Predicted { loss, apart: vec![apart], student, teacher })
    }

    /// `a D + r (b V + c C)` and its parts.
    pub(in crate::model::jepa) fn total<T: Tape<f32, D>>(
        &self,
        loss: Scalar<D, T>,
        apart: Vec<Matrix<D, T>>,
        parts: &mut Vec<(&'static str, f32)>,
    ) -> Result<Scalar<D, T>> {
        let (a, b, c) = self.config.anti_collapse.weights();
        let raised = self.raised.as_vec()[0];
        parts.push(("prediction", ops::to_f32(&loss)));
        let mut total = ops::scaled(loss, a)?;
        let share = raised / apart.len().max(1) as f32;
        let (mut variance, mut covariance) = (0.0, 0.0);
        for z in apart {
            // Of one row there is no variance: the last batch of an epoch may be that small.
            let many = z.shape().0 > 1;
            let (of_variance, of_covariance) = (many && b > 0.0, many && c > 0.0);
            if of_variance {
                let term = vicreg::variance(z.retaped::<T>())?;
                variance += ops::to_f32(&term);
                total = ops::add_scaled(total, term, share * b)?;
            }
            if of_covariance {
                let term = vicreg::covariance(z.retaped::<T>())?;
                covariance += ops::to_f32(&term);
                total = ops::add_scaled(total, term, share * c)?;
            }
            // What came before z is on its own tape.
            total = ops::keep_tape(total, z)?;
        }
        parts.extend([("variance", variance), ("covariance", covariance), ("raised", raised)]);
        Ok(total)
    }
}
