//! The conditional count VAE, on any device.
//!
//! Generative process of a cell with condition `c` and size factor `l` (Lopez et al. 2018, scVI; conditional as in
//! Sohn et al. 2015):
//!
//! ```text
//! z ~ N(0, I)                      (latent,)
//! rho = softmax(f(z, c))           (genes,)     share of each gene in the library
//! x_g ~ NB(l rho_g, theta_g)       variance l rho + (l rho)^2 / theta; ZINB adds zeros with probability pi
//! ```
//!
//! Inference: `q(z|x,c) = N(mu(log1p x, c), exp(logvar(log1p x, c)))`. The loss is the negative ELBO in nats per cell,
//! `-E_q log p(x|z,c) + beta KL(q || N(0,I))`, summed over genes and over latents and averaged over cells only, so that
//! `beta = 1` is the true bound; other objectives are in [`VaeObjective`](super::VaeObjective). A Gaussian decoder,
//! `x_g ~ N(f(z,c)_g, sigma_g^2)`, serves log1p-normalised expression and effects, which are no counts.

use super::{
    batch::{ConditionBatch, VaeBatch, VaeInput},
    condition::ConditionEncoder,
    config::{Likelihood, ThetaScope, VaeConfig},
    reference::Reference,
    vocabulary::Vocabulary,
};
use crate::{
    Error, Result,
    nn::{
        Backend, CountTarget, Dispersion, Doser, Finish, FinishConfig, Linear, LinearLogits, Matrix, Mlp, Scalar,
        SparseLinear, Vector, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, PutTape, Tape};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The network of a [`CountVae`](crate::model::CountVae): shapes are `(cells, width)` throughout.
#[derive(Debug, Clone)]
pub struct VaeNet<D: Backend> {
    device: D,
    config: VaeConfig,
    with_remainder: bool,
    condition: ConditionEncoder<D>,
    input: SparseLinear<D>,
    input_condition: Option<Linear<D>>,
    input_finish: Finish<D>,
    encoder: Mlp<D>,
    mu: Linear<D>,
    logvar: Linear<D>,
    decoder: Mlp<D>,
    output: Linear<D>,
    /// `(genes,)`: log theta of a count decoder, log sigma of a Gaussian one.
    pub(in crate::model) log_dispersion: Vector<D>,
    theta_head: Option<Linear<D>>,
    zero_head: Option<Linear<D>>,
    /// Control cells to start predictions from; zeros until the model is trained.
    pub(in crate::model) reference: Reference<D>,
}

walk_params!(VaeNet {
    params: [log_dispersion],
    buffers: [],
    layers: [
        condition,
        input,
        input_condition,
        input_finish,
        encoder,
        mu,
        logvar,
        decoder,
        output,
        theta_head,
        zero_head,
        reference
    ],
    kept: [config, with_remainder],
    device_field: device
});

/// The approximate posterior of a batch, `(cells, latent)` each.
pub struct Posterior<D: Backend, T: Tape<f32, D>> {
    /// Mean.
    pub mu: Matrix<D, T>,
    /// Log variance, clamped.
    pub logvar: Matrix<D, T>,
}

/// What the decoder says of a batch.
pub struct Decoded<D: Backend, T: Tape<f32, D>> {
    /// The last hidden layer, `(cells, hidden[0])`, from which [`VaeNet::output`] makes one value per gene: training takes
    /// that layer and the likelihood in one operation.
    pub hidden: Matrix<D, T>,
    /// Log theta, where it depends on the cell, `(cells, genes)`.
    pub log_theta: Option<Matrix<D, T>>,
    /// Logit of the extra-zero probability (ZINB), `(cells, genes)`.
    pub zero_logits: Option<Matrix<D, T>>,
}

impl<D: Backend> VaeNet<D> {
    /// A new network for `vocabulary` with random weights; `with_remainder` says whether size factors count more genes than
    /// are modelled.
    ///
    /// # Errors
    /// Settings out of range; no memory on the device.
    pub fn new(
        device: &D,
        vocabulary: &Vocabulary,
        config: &VaeConfig,
        with_remainder: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        config.validate()?;
        let genes = vocabulary.genes.len();
        let (first, last) = (config.hidden[0], *config.hidden.last().expect("validated: at least one hidden layer"));
        let finish = FinishConfig { norm: config.norm, activation: config.activation, dropout: config.dropout };
        let mut widths = vec![config.latent + config.condition];
        widths.extend(config.hidden.iter().rev());
        let is_count = config.likelihood != Likelihood::Gaussian;
        // First in the stream of random numbers, so that a seed keeps its meaning.
        let output = Linear::new(device, first, genes, rng)?;
        Ok(Self {
            device: device.clone(),
            config: config.clone(),
            with_remainder,
            condition: ConditionEncoder::new(device, vocabulary, config, rng)?,
            input: SparseLinear::new(device, genes, first, rng)?,
            input_condition: config
                .encode_condition
                .then(|| Linear::new(device, config.condition, first, rng))
                .transpose()?,
            input_finish: Finish::new(device, first, finish)?,
            encoder: Mlp::new(device, &config.hidden, finish, rng)?,
            mu: Linear::new(device, last, config.latent, rng)?,
            logvar: Linear::new(device, last, config.latent, rng)?,
            decoder: Mlp::new(device, &widths, finish, rng)?,
            output,
            log_dispersion: device
                .try_zeros_like(&(genes,))
                .map_err(|e| Error::device("allocating the dispersion", e))?,
            theta_head: (is_count && config.theta == ThetaScope::CellGene)
                .then(|| Linear::new(device, first, genes, rng))
                .transpose()?,
            zero_head: (config.likelihood == Likelihood::Zinb)
                .then(|| Linear::new(device, first, genes, rng))
                .transpose()?,
            reference: Reference::empty(device, config.latent, vocabulary.covariates.width())?,
        })
    }

    /// Sets where the output bias starts, `(genes,)`.
    pub(super) fn start_output_at(&mut self, bias: &[f32]) {
        self.output.bias.copy_from(bias);
    }

    /// Starts the log theta of each gene at `values`.
    pub(super) fn start_dispersion_at(&mut self, values: &[f32]) {
        self.log_dispersion.copy_from(values);
    }

    /// Where the network lives.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Its settings.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The first layer before its activation, `(cells, hidden[0])`.
    fn enter<T: Tape<f32, D>>(&self, input: &VaeInput, condition: &Matrix<D, T>) -> Result<Matrix<D, T>> {
        let h = match input {
            VaeInput::Counts(counts) => self.input.forward(counts, T::default())?,
            VaeInput::Real(values) => {
                let values = ops::upload(&self.device, values)?.put_tape(T::default());
                D::linear(values, &self.input.weight, &self.input.bias)?
            }
        };
        match &self.input_condition {
            Some(layer) => ops::add(h, layer.forward(condition.retaped::<T>())?),
            None => Ok(h),
        }
    }

    /// The posterior from the last hidden layer of the encoder.
    fn posterior<T: Tape<f32, D>>(&self, h: Matrix<D, T>) -> Result<Posterior<D, T>> {
        let clamp = f64::from(self.config.logvar_clamp);
        let logvar = self.logvar.forward(h.retaped::<T>())?;
        let logvar = logvar.try_clamp(-clamp, clamp).map_err(|e| Error::device("clamping logvar", e))?;
        Ok(Posterior { mu: self.mu.forward(h)?, logvar }) // (cells, latent) each
    }

    /// Every head from one last hidden layer of the decoder: with dropout, two passes would describe two cells.
    fn heads<T: Tape<f32, D>>(&self, h: Matrix<D, T>) -> Result<Decoded<D, T>> {
        let head = |layer: &Option<Linear<D>>| layer.as_ref().map(|l| l.forward(h.retaped::<T>())).transpose();
        let (log_theta, zero_logits) = (head(&self.theta_head)?, head(&self.zero_head)?);
        Ok(Decoded { hidden: h, log_theta, zero_logits })
    }

    /// Logits of the shares (count decoders) or the mean itself (Gaussian), `(cells, genes)`, from
    /// [`Decoded::hidden`].
    ///
    /// # Errors
    /// A width that does not fit the network.
    pub fn output<T: Tape<f32, D>>(&self, hidden: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.output.forward(hidden)
    }

    /// `q(z|x, c)`, without dropout; `condition` is `(cells, condition)`.
    ///
    /// # Errors
    /// An input that does not fit the network.
    pub fn encode<T: Tape<f32, D>>(&self, input: &VaeInput, condition: &Matrix<D, T>) -> Result<Posterior<D, T>> {
        let h = self.input_finish.forward(self.enter(input, condition)?)?;
        self.posterior(self.encoder.forward(h)?)
    }

    /// `p(x|z, c)` up to the size factor, without dropout.
    ///
    /// # Errors
    /// A z or a condition that does not fit the network.
    pub fn decode<T: Tape<f32, D>>(&self, z: Matrix<D, T>, condition: Matrix<D, T>) -> Result<Decoded<D, T>> {
        let h = ops::concat_columns(z, condition)?; // (cells, latent + condition)
        self.heads(self.decoder.forward(h)?)
    }

    /// `-log p(x|z, c)` of each cell in nats, `(cells,)`, summed over genes.
    pub fn nll<T: Tape<f32, D>>(&self, decoded: Decoded<D, T>, batch: &VaeBatch) -> Result<Vector<D, T>> {
        let output = self.output(decoded.hidden)?; // (cells, genes)
        if self.config.likelihood == Likelihood::Gaussian {
            let target =
                batch.target.as_ref().ok_or_else(|| Error::config("a Gaussian decoder needs a real target"))?;
            let target = ops::upload(&self.device, target)?;
            return ops::gaussian_nll(output, target, &self.log_dispersion);
        }
        D::count_nll(output, self.dispersion(decoded.log_theta), decoded.zero_logits, &self.count_target(batch)?)
    }

    /// The mean of [`Self::nll`] over the cells.
    pub fn mean_nll<T: Tape<f32, D>>(&self, decoded: Decoded<D, T>, batch: &VaeBatch) -> Result<Scalar<D, T>> {
        if self.config.likelihood == Likelihood::Gaussian {
            return ops::mean(self.nll(decoded, batch)?);
        }
        let Decoded { hidden, log_theta, zero_logits } = decoded;
        let logits = LinearLogits { h: hidden, weight: &self.output.weight, bias: &self.output.bias };
        D::output_head(logits, self.dispersion(log_theta), zero_logits, &self.count_target(batch)?)
    }

    /// That of each cell, if the decoder has one; else that of each gene.
    fn dispersion<T: Tape<f32, D>>(&self, log_theta: Option<Matrix<D, T>>) -> Dispersion<'_, D, T> {
        log_theta.map_or(Dispersion::Gene(&self.log_dispersion), Dispersion::CellGene)
    }

    /// The counts of a batch, as a count decoder is held against them.
    fn count_target(&self, batch: &VaeBatch) -> Result<CountTarget> {
        match &batch.input {
            VaeInput::Counts(counts) => Ok(CountTarget {
                counts: counts.clone(),
                library_size: batch.library_size.clone(),
                with_remainder: self.with_remainder,
            }),
            VaeInput::Real(_) => Err(Error::config(
                "a count decoder (nb, zinb) cannot describe real values such as effects; set likelihood = \"gaussian\"",
            )),
        }
    }

    /// ln(k / highest dose) and h of each perturbed gene; none where training had no doses.
    pub(super) fn dose_curves(&self) -> Vec<(f32, f32)> {
        self.condition.doser().map_or_else(Vec::new, Doser::curves)
    }

    /// The condition of a batch, `(cells, condition)`; goes on with `tape`.
    ///
    /// # Errors
    /// A batch that does not fit the vocabulary.
    pub fn condition<T: Tape<f32, D>>(&self, conditions: &ConditionBatch, tape: T) -> Result<Matrix<D, T>> {
        self.condition.forward(&self.device, conditions, tape)
    }

    /// Negative log-likelihood and KL of each row in nats, `(cells,)` each, at one draw of z, without dropout.
    ///
    /// # Errors
    /// A batch that does not fit the network.
    pub fn terms<T: Tape<f32, D>>(
        &self,
        batch: &VaeBatch,
        tape: T,
        rng: &mut ChaCha8Rng,
    ) -> Result<(Vector<D, T>, Vector<D, T>)> {
        let condition = self.condition(&batch.condition, tape)?;
        let (z, kl) = self.draw(self.encode(&batch.input, &condition)?, rng)?;
        Ok((self.nll(self.decode(z, condition)?, batch)?, kl))
    }

    /// As [`Self::encode`], with dropout and the batch's own moments in batch norm.
    ///
    /// # Errors
    /// An input that does not fit the network.
    pub(super) fn encode_training<T: Tape<f32, D>>(
        &mut self,
        input: &VaeInput,
        condition: &Matrix<D, T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Posterior<D, T>> {
        let entered = self.enter(input, condition)?;
        let h = self.input_finish.forward_training(entered, rng)?;
        let h = self.encoder.forward_training(h, rng)?;
        self.posterior(h)
    }

    /// As [`Self::decode`], with dropout and the batch's own moments in batch norm.
    ///
    /// # Errors
    /// A z or a condition that does not fit the network.
    pub(super) fn decode_training<T: Tape<f32, D>>(
        &mut self,
        z: Matrix<D, T>,
        condition: Matrix<D, T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Decoded<D, T>> {
        let h = self.decoder.forward_training(ops::concat_columns(z, condition)?, rng)?;
        self.heads(h)
    }

    /// One draw of z, `(cells, latent)`, and the KL of each row, `(cells,)`.
    fn draw<T: Tape<f32, D>>(
        &self,
        posterior: Posterior<D, T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<(Matrix<D, T>, Vector<D, T>)> {
        let Posterior { mu, logvar } = posterior;
        let kl = ops::gaussian_kl(mu.retaped::<T>(), logvar.retaped::<T>())?;
        let noise = self.noise(mu.shape().0, rng)?;
        Ok((ops::reparameterise(mu, logvar, noise)?, kl))
    }

    /// Standard normal noise, `(cells, latent)`, drawn on the host so that every device sees the same.
    pub(super) fn noise(&self, cells: usize, rng: &mut ChaCha8Rng) -> Result<Matrix<D>> {
        ops::upload(&self.device, &standard_normal(cells, self.config.latent, rng))
    }
}

/// Standard normal values, `(rows, columns)`, row by row.
pub(in crate::model) fn standard_normal(rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
    Array2::from_shape_simple_fn((rows, columns), || StandardNormal.sample(rng))
}
