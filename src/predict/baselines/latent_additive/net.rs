//! The network of LatentAdditive, and the rows that it is trained on.

use crate::{
    Error, Result,
    nn::{Activation, Backend, FinishConfig, Linear, Matrix, Mlp, Norm, Scalar, ops, walk_params},
    train::{BatchSource, Loss, StepContext, Trainable, portable},
};
use dfdx::prelude::{HasShape, NoneTape, PutTape, Tape};
use ndarray::{Array2, Axis};
use rand_chacha::ChaCha8Rng;

/// Rows to train on or to watch, one a condition.
pub(super) struct Rows {
    /// What the control of the condition's context has of its own, `(rows, features)`.
    pub control: Array2<f32>,
    /// Multi-hot of the perturbed genes, `(rows, perturbed genes)`.
    pub perturbed: Array2<f32>,
    /// Targets, `(rows, components)`.
    pub scores: Array2<f32>,
    /// Names of the conditions.
    pub names: Vec<String>,
}

/// Some of the [`Rows`], with the same fields.
pub(super) struct Batch {
    control: Array2<f32>,
    perturbed: Array2<f32>,
    scores: Array2<f32>,
}

impl BatchSource for Rows {
    type Batch = Batch;

    fn len(&self) -> usize {
        self.names.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch> {
        let of = |values: &Array2<f32>| values.select(Axis(0), rows);
        Ok(Batch { control: of(&self.control), perturbed: of(&self.perturbed), scores: of(&self.scores) })
    }

    fn name(&self, row: usize) -> String {
        self.names[row].clone()
    }
}

/// Widths of the network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    pub control: usize,
    pub perturbed: usize,
    pub hidden: usize,
    pub latent: usize,
    pub output: usize,
}

/// Two hidden layers of norm and ReLU, and a linear layer at their end.
#[derive(Debug, Clone)]
struct Part<D: Backend> {
    hidden: Mlp<D>,
    output: Linear<D>,
}

walk_params!(Part { params: [], buffers: [], layers: [hidden, output] });

impl<D: Backend> Part<D> {
    fn new(device: &D, widths: [usize; 3], dropout: f32, rng: &mut ChaCha8Rng) -> Result<Self> {
        let [input, hidden, output] = widths;
        let finish = FinishConfig { norm: Norm::Layer, activation: Activation::Relu, dropout };
        Ok(Self {
            hidden: Mlp::new(device, &[input, hidden, hidden], finish, rng)?,
            output: Linear::new(device, hidden, output, rng)?,
        })
    }

    /// `(rows, in)` to `(rows, out)`.
    fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.output.forward(self.hidden.forward(x)?)
    }

    /// The same with dropout.
    fn forward_training<T: Tape<f32, D>>(&mut self, x: Matrix<D, T>, rng: &mut ChaCha8Rng) -> Result<Matrix<D, T>> {
        self.output.forward(self.hidden.forward_training(x, rng)?)
    }
}

/// f (control), g (perturbed genes) and h (decoder).
#[derive(Debug, Clone)]
pub(super) struct Net<D: Backend> {
    device: D,
    control: Part<D>,
    perturbed: Part<D>,
    decoder: Part<D>,
}

walk_params!(Net { params: [], buffers: [], layers: [control, perturbed, decoder], device_field: device });

impl<D: Backend> Net<D> {
    /// A new network; its weights are drawn from `rng`.
    pub fn new(device: &D, widths: Widths, dropout: f32, rng: &mut ChaCha8Rng) -> Result<Self> {
        let Widths { control, perturbed, hidden, latent, output } = widths;
        Ok(Self {
            device: device.clone(),
            control: Part::new(device, [control, hidden, latent], dropout, rng)?,
            perturbed: Part::new(device, [perturbed, hidden, latent], dropout, rng)?,
            decoder: Part::new(device, [latent, hidden, output], dropout, rng)?,
        })
    }

    fn inputs<T: Tape<f32, D>>(&self, batch: &Batch, tape: T) -> Result<(Matrix<D, T>, Matrix<D, T>)> {
        let control = ops::upload(&self.device, &batch.control)?.put_tape(tape);
        Ok((control, ops::upload(&self.device, &batch.perturbed)?.put_tape(T::default())))
    }

    fn forward<T: Tape<f32, D>>(&self, batch: &Batch, tape: T) -> Result<Matrix<D, T>> {
        let (control, perturbed) = self.inputs(batch, tape)?;
        self.decoder.forward(ops::add(self.control.forward(control)?, self.perturbed.forward(perturbed)?)?)
    }

    fn forward_training<T: Tape<f32, D>>(
        &mut self,
        batch: &Batch,
        tape: T,
        rng: &mut ChaCha8Rng,
    ) -> Result<Matrix<D, T>> {
        let (control, perturbed) = self.inputs(batch, tape)?;
        let control = self.control.forward_training(control, rng)?;
        let z = ops::add(control, self.perturbed.forward_training(perturbed, rng)?)?; // (rows, latent)
        self.decoder.forward_training(z, rng)
    }

    /// Predicted scores, `(rows, components)`.
    ///
    /// # Errors
    /// A batch that does not fit the network.
    pub fn predict(&self, batch: &Batch) -> Result<Array2<f32>> {
        Ok(ops::download(&self.forward(batch, NoneTape)?))
    }
}

portable!(Net);

impl<D: Backend> Trainable<D> for Net<D> {
    type Batch = Batch;

    fn loss<T: Tape<f32, D>>(&mut self, batch: &Batch, tape: T, context: &mut StepContext<'_>) -> Result<Loss<D, T>> {
        let predicted = match context.training {
            true => self.forward_training(batch, tape, context.rng)?,
            false => self.forward(batch, tape)?,
        };
        let total = squared_error(predicted, ops::upload(&self.device, &batch.scores)?)?;
        Ok(Loss { total, parts: Vec::new() })
    }
}

/// Mean of the squared differences over rows and columns.
fn squared_error<D: Backend, T: Tape<f32, D>>(predicted: Matrix<D, T>, target: Matrix<D>) -> Result<Scalar<D, T>> {
    if predicted.shape() != target.shape() {
        return Err(Error::shape("squared_error", predicted.shape(), target.shape()));
    }
    let error = || {
        use dfdx::prelude::{MeanTo, TrySub};
        predicted.try_sub(target)?.try_square()?.try_mean()
    };
    error().map_err(|e: D::Err| Error::device("squared_error", e))
}
