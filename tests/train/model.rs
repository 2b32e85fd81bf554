//! A linear regression with one weight of each rank, a buffer, and noise in training.

use genailab::{
    Result,
    dfdx::prelude::{
        Axis, BroadcastTo, Cpu, HasShape, MeanTo, PutTape, Tape, TensorFromVec, TryAdd, TryMatMul, TrySub, ZerosTensor,
    },
    nn::{Backend, Matrix, Params, Snapshot, Vector, Visitor, VisitorMut},
    train::{BatchSource, Loss, StepContext, Trainable},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const INPUTS: usize = 6;
pub const OUTPUTS: usize = 2;

/// `y = x W + b`; `seen` counts the rows it was trained on.
pub struct Line<D: Backend> {
    pub weight: Matrix<D>,
    pub bias: Vector<D>,
    pub seen: Vector<D>,
    /// Fraction of the inputs that are dropped in training.
    pub dropout: f32,
    pub after_steps: usize,
}

impl Line<Cpu> {
    pub fn new(device: &Cpu) -> Self {
        Self::with_shape(device, INPUTS, OUTPUTS)
    }

    pub fn with_shape(device: &Cpu, inputs: usize, outputs: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let values = (0..inputs * outputs).map(|_| rng.random_range(-0.5..0.5)).collect();
        Self {
            weight: device.tensor_from_vec(values, (inputs, outputs)),
            bias: device.zeros_like(&(outputs,)),
            seen: device.zeros_like(&(1,)),
            dropout: 0.2,
            after_steps: 0,
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self).unwrap()
    }
}

impl<D: Backend> Params<D> for Line<D> {
    fn walk<V: Visitor<D>>(&self, _: &str, visitor: &mut V) -> Result<()> {
        visitor.param("weight", &self.weight)?;
        visitor.param("bias", &self.bias)?;
        visitor.buffer("seen", &self.seen)
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, _: &str, visitor: &mut V) -> Result<()> {
        visitor.param("weight", &mut self.weight)?;
        visitor.param("bias", &mut self.bias)?;
        visitor.buffer("seen", &mut self.seen)
    }
}

pub struct Batch {
    pub x: Matrix<Cpu>,
    pub y: Matrix<Cpu>,
}

impl Trainable<Cpu> for Line<Cpu> {
    type Batch = Batch;

    fn loss<T: Tape<f32, Cpu>>(
        &mut self,
        batch: &Batch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<Cpu, T>> {
        let rows = batch.x.shape().0;
        let mut x = batch.x.as_vec();
        if context.training {
            x.iter_mut().filter(|_| context.rng.random::<f32>() < self.dropout).for_each(|x| *x = 0.0);
            let seen = self.seen.as_vec()[0] + rows as f32;
            self.seen.copy_from(&[seen]);
        }
        let x = batch.x.device().tensor_from_vec(x, *batch.x.shape()).put_tape(tape);
        let y = x.try_matmul(self.weight.clone()).unwrap(); // (rows, outputs)
        let bias = self.bias.retaped::<T>().broadcast_like::<_, Axis<0>>(y.shape());
        let total = y.try_add(bias).unwrap().try_sub(batch.y.clone()).unwrap().square().mean();
        let value = total.as_vec()[0];
        Ok(Loss { total, parts: vec![("half", value / 2.0), ("step", context.step as f32)] })
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        assert!(context.training);
        self.after_steps += 1;
        Ok(())
    }
}

/// Rows of a noisy linear law.
pub struct Rows {
    pub x: Vec<[f32; INPUTS]>,
    pub y: Vec<[f32; OUTPUTS]>,
    pub device: Cpu,
}

impl Rows {
    pub fn new(rows: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let x: Vec<[f32; INPUTS]> = (0..rows).map(|_| std::array::from_fn(|_| rng.random_range(-1.0..1.0))).collect();
        let y = x.iter().map(|x| [2.0 * x[0] - x[3] + 0.5, x[1] + x[2] - 1.0].map(|y| y + rng.random_range(-0.1..0.1)));
        Self { y: y.collect(), x, device: Cpu::default() }
    }
}

impl BatchSource for Rows {
    type Batch = Batch;

    fn len(&self) -> usize {
        self.x.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch> {
        let x = rows.iter().flat_map(|&row| self.x[row]).collect();
        let y = rows.iter().flat_map(|&row| self.y[row]).collect();
        Ok(Batch {
            x: self.device.tensor_from_vec(x, (rows.len(), INPUTS)),
            y: self.device.tensor_from_vec(y, (rows.len(), OUTPUTS)),
        })
    }

    fn name(&self, row: usize) -> String {
        format!("cell-{row}")
    }
}
