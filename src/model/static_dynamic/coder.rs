//! The shared space of static and dynamic profiles: a variational autoencoder of mean profiles.
//!
//! ```text
//! u      = scores of a profile on the principal components of all training profiles     (Space)
//! z      ~ N(E u + f(u), s^2)                                    s is fixed: NOISE
//! u      ~ N(G z + g(z), sigma^2)                                one learned sigma per component
//! loss   = -log p(u | z) + 1/2 beta |mean of z|^2                the divergence from N(0, I), up to a constant, as s is fixed
//! ```
//!
//! f and g are small networks whose last layers start at 0, and E and G start as the whitening of the leading components and its
//! inverse: the autoencoder starts as principal components and learns what is better.

use super::CoderConfig;
use crate::{
    Error, Result,
    nn::{Activation, Backend, Linear, Matrix, Vector, init, ops, walk_params},
    train::{BatchSource, Loss, StepContext, Trainable, portable},
};
use dfdx::prelude::{Axis as DfdxAxis, HasShape, NoneTape, PutTape, SplitTape, SumTo, Tape, TryMul};
use ndarray::{Array1, Array2, Axis};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Standard deviation of the posterior, where the prior's is 1.
const NOISE: f32 = 0.1;
/// ln sigma at the start.
const LOG_SIGMA: f32 = -1.0;
/// A component whose variance is below this share of the first one's is not whitened further.
const SMALLEST_SHARE: f64 = 1e-4;

/// Encoder and decoder.
#[derive(Debug, Clone)]
pub struct ProfileCoder<D: Backend> {
    device: D,
    config: CoderConfig,
    /// E.
    pub encode_linear: Linear<D>,
    /// f.
    pub encode_hidden: [Linear<D>; 2],
    /// G.
    pub decode_linear: Linear<D>,
    /// g.
    pub decode_hidden: [Linear<D>; 2],
    /// ln sigma, `(components,)`.
    pub log_sigma: Vector<D>,
}

walk_params!(ProfileCoder {
    params: [log_sigma],
    buffers: [],
    layers: [encode_linear, encode_hidden, decode_linear, decode_hidden],
    kept: [config],
    device_field: device
});

impl<D: Backend> ProfileCoder<D> {
    /// A coder of scores whose components have these variances, falling; the latent is as wide as the settings say, or as the scores
    /// are.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, variances: &Array1<f64>, config: &CoderConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let (components, hidden) = (variances.len(), config.hidden);
        let latent = config.latent.min(components);
        let floor = SMALLEST_SHARE * variances.first().copied().unwrap_or(1.0);
        let sd = |k: usize| variances[k].max(floor).max(f64::MIN_POSITIVE).sqrt() as f32;
        let diagonal = |rows: usize, columns: usize, value: &dyn Fn(usize) -> f32| {
            let values = Array2::from_shape_fn((rows, columns), |(i, j)| if i == j { value(i) } else { 0.0 });
            let bias = init::constant(device, (columns,), 0.0)?;
            Ok::<_, Error>(Linear { weight: ops::upload(device, &values)?, bias })
        };
        let mut to_zero = |from: usize, to: usize| {
            let up = Linear::new(device, from, hidden, rng)?;
            let weight = init::constant(device, (hidden, to), 0.0)?;
            Ok::<_, Error>([up, Linear { weight, bias: init::constant(device, (to,), 0.0)? }])
        };
        Ok(Self {
            device: device.clone(),
            config: *config,
            encode_linear: diagonal(components, latent, &|k| 1.0 / sd(k))?,
            encode_hidden: to_zero(components, latent)?,
            decode_linear: diagonal(latent, components, &sd)?,
            decode_hidden: to_zero(latent, components)?,
            log_sigma: init::constant(device, (components,), LOG_SIGMA)?,
        })
    }

    /// Numbers of a latent.
    pub fn latent(&self) -> usize {
        self.encode_linear.weight.shape().1
    }

    /// Means of z of scores `(rows, components)`, `(rows, latent)`.
    ///
    /// # Errors
    /// Scores of another width.
    pub fn encode(&self, scores: &Array2<f32>) -> Result<Array2<f32>> {
        Ok(ops::download(&self.encoded::<NoneTape>(ops::upload(&self.device, scores)?)?))
    }

    /// Means of the scores of latents `(rows, latent)`, `(rows, components)`.
    ///
    /// # Errors
    /// Latents of another width.
    pub fn decode(&self, latents: &Array2<f32>) -> Result<Array2<f32>> {
        Ok(ops::download(&self.decoded::<NoneTape>(ops::upload(&self.device, latents)?)?))
    }

    fn encoded<T: Tape<f32, D>>(&self, u: Matrix<D, T>) -> Result<Matrix<D, T>> {
        residual(&self.encode_linear, &self.encode_hidden, u)
    }

    fn decoded<T: Tape<f32, D>>(&self, z: Matrix<D, T>) -> Result<Matrix<D, T>> {
        residual(&self.decode_linear, &self.decode_hidden, z)
    }
}

/// `x W + b + W_2 silu(x W_1 + b_1) + b_2`
fn residual<D: Backend, T: Tape<f32, D>>(
    linear: &Linear<D>,
    hidden: &[Linear<D>; 2],
    x: Matrix<D, T>,
) -> Result<Matrix<D, T>> {
    let (x, tape) = x.split_tape();
    let straight = linear.forward(x.clone().put_tape(tape))?;
    let bent = hidden[1].forward(Activation::Silu.forward(hidden[0].forward(x.retaped::<T>())?)?)?;
    ops::add(straight, bent)
}

/// Scores of profiles on the principal components, and what each profile is called.
#[derive(Debug, Clone)]
pub struct ProfileScores {
    /// `(profiles, components)`
    pub scores: Array2<f32>,
    /// One per profile.
    pub names: Vec<String>,
}

impl BatchSource for ProfileScores {
    type Batch = Array2<f32>;

    fn len(&self) -> usize {
        self.scores.nrows()
    }

    fn batch(&self, rows: &[usize]) -> Result<Array2<f32>> {
        Ok(self.scores.select(Axis(0), rows))
    }

    fn name(&self, row: usize) -> String {
        self.names[row].clone()
    }
}

portable!(ProfileCoder);

impl<D: Backend> Trainable<D> for ProfileCoder<D> {
    type Batch = Array2<f32>;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &Array2<f32>,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let u = ops::upload(&self.device, batch)?;
        let mean = self.encoded(u.clone().put_tape(tape))?; // (rows, latent)
        let (mean, tape) = mean.split_tape();
        let scale = if context.training { NOISE } else { 0.0 };
        let noise =
            Array2::from_shape_simple_fn(*mean.shape(), || scale * context.rng.sample::<f32, _>(StandardNormal));
        // The tape of the decoder holds that of the encoder; the divergence joins it in the sum.
        let z = ops::add(mean.clone().put_tape(tape), ops::upload(&self.device, &noise)?.retaped::<T>())?;
        let misfit = ops::mean(ops::gaussian_nll(self.decoded(z)?, u, &self.log_sigma)?)?;
        let half = || mean.retaped::<T>().try_square()?.try_mul(0.5)?.try_sum::<(usize,), DfdxAxis<1>>();
        let half = half().map_err(|e: D::Err| Error::device("divergence of a profile", e))?;
        let kl = ops::mean(half)?;
        let parts = vec![("misfit", ops::to_f32(&misfit)), ("kl", ops::to_f32(&kl))];
        Ok(Loss { total: ops::add_scaled(misfit, kl, self.config.beta as f32)?, parts })
    }
}
