//! The velocity over packed sequences: its network, its loss, and draws by Euler's or Heun's method.

use super::{
    Integrator, SequenceFlowConfig,
    sequences::{Packed, Shown, TokenSequence},
};
use crate::{
    Error, Result,
    model::diffusion::net::{DitBlock, Plain, TimeEmbedding, zero_linear},
    nn::{Activation, Backend, EmbeddingLoss, Film, FourierFeatures, Linear, Matrix, RowSets, ops, walk_params},
    train::{Loss, StepContext, Trainable, portable},
};
use dfdx::prelude::{NoneTape, PutTape, SplitTape, Tape};
use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::sync::Arc;

/// Frequencies of the time of a token, and the longest and the shortest period in units of the longest training time.
const FREQUENCIES: usize = 4;
const PERIODS: (f32, f32) = (4.0, 0.5);

/// The network of the [module](super)'s equations.
#[derive(Debug, Clone)]
pub struct VelocityNet<D: Backend> {
    device: D,
    fourier: FourierFeatures<D>,
    /// Of the flow time.
    pub flow_time: TimeEmbedding<D>,
    /// What a token is told, through a hidden layer, to the condition of the adaptive norms.
    pub told: [Linear<D>; 2],
    /// Latent, anchor and what a token is told, to the width of the transformer.
    pub input: Linear<D>,
    /// One after the other; attention among all tokens of a sequence.
    pub blocks: Vec<DitBlock<D>>,
    /// The last adaptive norm.
    pub film: Film<D>,
    /// To the velocity; starts at 0.
    pub output: Linear<D>,
    plain: Plain<D>,
    latent: usize,
}

walk_params!(VelocityNet {
    params: [],
    buffers: [],
    layers: [fourier, flow_time, told, input, blocks, film, output],
    moved: [plain],
    kept: [latent],
    device_field: device
});

impl<D: Backend> VelocityNet<D> {
    /// A network over latents of `latent` numbers and `genes` perturbed genes.
    ///
    /// # Errors
    /// Heads that do not divide the width; a device without memory for it.
    pub fn new(
        device: &D,
        (latent, genes): (usize, usize),
        config: &SequenceFlowConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let SequenceFlowConfig { width, depth, heads, .. } = *config;
        let fourier = FourierFeatures::new(device, FREQUENCIES, PERIODS, false)?;
        let told = 2 + genes + fourier.width();
        Ok(Self {
            device: device.clone(),
            flow_time: TimeEmbedding::new(device, width, rng)?,
            told: [Linear::new(device, told, width, rng)?, Linear::new(device, width, width, rng)?],
            input: Linear::new(device, 2 * latent + told, width, rng)?,
            blocks: (0..depth)
                .map(|_| DitBlock::new(device, width, width, heads, false, rng))
                .collect::<Result<_>>()?,
            film: Film::new(device, width, width)?,
            output: zero_linear(device, width, latent)?,
            plain: Plain::new(device, width)?,
            fourier,
            latent,
        })
    }

    /// What each token is told: whether it is given, whether its time is known, the doses, and the time as Fourier features;
    /// `(tokens, 2 + genes + 2 frequencies)`.
    fn told(&self, packed: &Packed) -> Result<Array2<f32>> {
        let times = Array2::from_shape_fn((packed.len(), 1), |(token, _)| packed.times[token].unwrap_or(0.0));
        let waves = ops::download(&self.fourier.forward::<NoneTape>(ops::upload(&self.device, &times)?)?);
        let genes = packed.doses.ncols();
        Ok(Array2::from_shape_fn((packed.len(), 2 + genes + waves.ncols()), |(token, column)| {
            let known = packed.times[token].is_some();
            match column {
                0 => f32::from(packed.given[token]),
                1 => f32::from(known),
                _ if column < 2 + genes => packed.doses[[token, column - 2]],
                _ if known => waves[[token, column - 2 - genes]],
                _ => 0.0,
            }
        }))
    }

    /// The velocity of every token at x `(tokens, latent)` and the flow times of the sequences; of given tokens it means nothing.
    /// What is generated is told relative to its anchor; a given token is shown as it is.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward<T: Tape<f32, D>>(
        &self,
        x: &Array2<f32>,
        flow_times: &[f32],
        packed: &Packed,
        tape: T,
    ) -> Result<Matrix<D, T>> {
        if x.dim() != (packed.len(), self.latent) || flow_times.len() != packed.sets.len() {
            return Err(Error::shape("velocity of a packed batch", (packed.len(), self.latent), x.dim()));
        }
        let told = self.told(packed)?;
        let columns = [x.view(), packed.anchors.view(), told.view()];
        let features = ndarray::concatenate(ndarray::Axis(1), &columns).expect("one row per token");
        let owners = packed.sets.owners();
        // A given token is clean: its flow time is the end.
        let of_token = |token: usize| if packed.given[token] { 1.0 } else { flow_times[owners[token] as usize] };
        let times: Vec<f32> = (0..packed.len()).map(of_token).collect();
        let time = self.flow_time.forward(&times, tape)?;
        let told = ops::upload(&self.device, &told)?.put_tape(T::default());
        let told = self.told[1].forward(Activation::Silu.forward(self.told[0].forward(told)?)?)?;
        let (c, mut tape) = Activation::Silu.forward(ops::add(time, told)?)?.split_tape(); // (tokens, width)
        let features = ops::upload(&self.device, &features)?.put_tape(T::default());
        let mut h = self.input.forward(features)?; // (tokens, width)
        let each = RowSets::uniform(packed.len(), 1);
        for block in &self.blocks {
            let c = c.clone().put_tape(std::mem::take(&mut tape));
            h = block.forward(h, c, None, &packed.sets, &each, &self.plain)?;
        }
        let h = self.film.forward(self.plain.forward(h)?, c.put_tape(tape), &each)?;
        self.output.forward(h)
    }

    /// The loss `|v - (x_1 - x_0)|^2` per number of a generated token, at these flow times and noise.
    ///
    /// # Errors
    /// Shapes that do not fit; no token to generate.
    pub fn matching<T: Tape<f32, D>>(
        &self,
        packed: &Packed,
        flow_times: &[f32],
        noise: &Array2<f32>,
        tape: T,
    ) -> Result<crate::nn::Scalar<D, T>> {
        let generated: Arc<[u32]> = packed.generated().into();
        if generated.is_empty() {
            return Err(Error::data("a batch has no token to generate"));
        }
        let owners = packed.sets.owners();
        let target = &packed.latents - &packed.anchors;
        let x = Array2::from_shape_fn(target.dim(), |(token, k)| match packed.given[token] {
            true => packed.latents[[token, k]],
            false => {
                let t = flow_times[owners[token] as usize];
                (1.0 - t) * noise[[token, k]] + t * target[[token, k]]
            }
        });
        let of_generated = |(row, k): (usize, usize)| {
            let token = generated[row] as usize;
            target[[token, k]] - noise[[token, k]]
        };
        let wanted = Array2::from_shape_fn((generated.len(), self.latent), of_generated);
        let velocity = D::take_rows(self.forward(&x, flow_times, packed, tape)?, &generated)?;
        EmbeddingLoss::L2.forward(velocity, &ops::upload(&self.device, &wanted)?)
    }

    /// The latents of all tokens, `(tokens, latent)`: given ones as they are, the others drawn, from this noise on.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn draw(
        &self,
        packed: &Packed,
        noise: &Array2<f32>,
        (method, steps): (Integrator, usize),
    ) -> Result<Array2<f32>> {
        let mut x = Array2::from_shape_fn(noise.dim(), |(token, k)| match packed.given[token] {
            true => packed.latents[[token, k]],
            false => noise[[token, k]],
        });
        let velocity = |x: &Array2<f32>, t: f32| -> Result<Array2<f32>> {
            let times = vec![t; packed.sets.len()];
            let mut v = ops::download(&self.forward::<NoneTape>(x, &times, packed, NoneTape)?);
            v.rows_mut().into_iter().zip(&packed.given).filter(|(_, given)| **given).for_each(|(mut v, _)| v.fill(0.0));
            Ok(v)
        };
        let h = 1.0 / steps as f32;
        for step in 0..steps {
            let t = step as f32 * h;
            let v = velocity(&x, t)?;
            x = match method {
                Integrator::Euler => &x + &(v * h),
                Integrator::Heun => {
                    let ahead = velocity(&(&x + &(&v * h)), t + h)?;
                    &x + &((v + ahead) * (h / 2.0))
                }
            };
        }
        for token in packed.generated().into_iter().map(|token| token as usize) {
            let anchored = &x.row(token) + &packed.anchors.row(token);
            x.row_mut(token).assign(&anchored);
        }
        Ok(x)
    }
}

/// Standard normal noise, `(rows, columns)`.
pub fn noise(shape: (usize, usize), rng: &mut ChaCha8Rng) -> Array2<f32> {
    Array2::from_shape_simple_fn(shape, || rng.sample(StandardNormal))
}

portable!(VelocityNet);

impl<D: Backend> Trainable<D> for VelocityNet<D> {
    type Batch = Vec<Arc<TokenSequence>>;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &Self::Batch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let rng = &mut *context.rng;
        // Validation asks what `predict` is asked: the course from its start.
        let shown = |tokens: &TokenSequence, rng: &mut ChaCha8Rng| match context.training {
            true => Shown::draw(tokens.len(), rng),
            false => Shown::first(tokens.len(), usize::from(tokens.len() > 1)),
        };
        let sequences: Vec<(&TokenSequence, Shown)> =
            batch.iter().map(|tokens| (&**tokens, shown(tokens, rng))).collect();
        let packed = Packed::of(&sequences);
        // Stratified: one flow time in each of as many equal intervals as there are sequences.
        let strata = batch.len() as f32;
        let times: Vec<f32> = (0..batch.len()).map(|stratum| (stratum as f32 + rng.random::<f32>()) / strata).collect();
        let noise = noise(packed.latents.dim(), rng);
        let total = self.matching(&packed, &times, &noise, tape)?;
        Ok(Loss { total, parts: Vec::new() })
    }
}
