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
//! Inference: `q(z|x,c) = N(mu(log1p x, c), exp(logvar(log1p x, c)))`. The loss is the negative ELBO in nats a cell,
//! `-E_q log p(x|z,c) + beta KL(q || N(0,I))`, summed over genes and over latents and averaged over cells only, so that
//! `beta = 1` is the true bound. A Gaussian decoder, `x_g ~ N(f(z,c)_g, sigma_g^2)`, serves log1p-normalised
//! expression and effects, which are no counts.

use super::{
    annealing::KlAnnealing,
    batch::{Observed, VaeBatch},
    condition::{ConditionEncoder, Vocabulary},
    reference::Reference,
};
use crate::{
    Error, Result,
    nn::{
        Activation, Backend, CountTarget, Dispersion, Finish, FinishConfig, Linear, Matrix, Mlp, Norm, SparseLinear,
        Vector, ops, walk_params,
    },
    train::{Loss, StepContext, Trainable},
};
use dfdx::prelude::{HasShape, PutTape, Tape};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// What the decoder says a value is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// Normal around the decoder's output, one variance a gene: for log1p-normalised expression and for effects.
    Gaussian,
    /// Negative binomial counts.
    #[default]
    Nb,
    /// Negative binomial counts with extra zeros.
    Zinb,
}

/// Where the inverse dispersion theta of a count decoder comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ThetaScope {
    /// One value a gene.
    #[default]
    Gene,
    /// One value a cell and gene, from the decoder.
    CellGene,
}

/// Which counts the size factor of a cell adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LibrarySize {
    /// All genes that were measured, where the file says so: what the cell holds beside the modelled genes is one more
    /// class of the softmax, so that a perturbation may move the modelled genes' joint share.
    #[default]
    Total,
    /// The modelled genes only, as scVI's observed library size.
    Kept,
}

/// Settings of a [`CountVae`](super::CountVae).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaeConfig {
    /// Number of latent dimensions.
    pub latent: usize,
    /// Widths of the encoder's hidden layers; the decoder has them in reverse.
    pub hidden: Vec<usize>,
    /// What a value is drawn from.
    pub likelihood: Likelihood,
    /// Where theta comes from.
    pub theta: ThetaScope,
    /// What the size factor adds up.
    pub library_size: LibrarySize,
    /// Width of the condition.
    pub condition: usize,
    /// Whether the lane enters the condition (only if there is more than one).
    pub with_lane: bool,
    /// Whether the log library size enters the condition.
    pub with_library: bool,
    /// Whether the encoder sees the condition too.
    pub encode_condition: bool,
    /// Normalisation before each activation.
    pub norm: Norm,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// Probability that a hidden unit is dropped in training; 0.1 is scVI's.
    pub dropout: f32,
    /// `logvar` is held within plus and minus this, so that its exponential stays finite.
    pub logvar_clamp: f32,
    /// Weight of the KL term; 1 is the ELBO.
    pub beta: f32,
    /// How the KL weight grows.
    pub kl_annealing: KlAnnealing,
    /// Epochs over which it grows (linear, cosine).
    pub kl_warmup_epochs: f64,
    /// Start the decoder's output bias at the log mean share of each gene rather than at noise.
    pub init_output_bias: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            latent: 64,
            hidden: vec![512, 256],
            likelihood: Likelihood::default(),
            theta: ThetaScope::default(),
            library_size: LibrarySize::default(),
            condition: 64,
            with_lane: true,
            with_library: true,
            encode_condition: true,
            norm: Norm::Layer,
            activation: Activation::default(),
            dropout: 0.1,
            logvar_clamp: 12.0,
            beta: 1.0,
            kl_annealing: KlAnnealing::default(),
            kl_warmup_epochs: 10.0,
            init_output_bias: true,
        }
    }
}

impl VaeConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A width of 0, a probability outside `[0, 1)`, a negative weight: named.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            (self.latent == 0, "latent must be at least 1"),
            (self.hidden.is_empty() || self.hidden.contains(&0), "hidden must name at least one width, none of them 0"),
            (self.condition == 0, "condition must be at least 1"),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1"),
            (!self.beta.is_finite() || self.beta < 0.0, "beta must be 0 or more"),
            (!self.logvar_clamp.is_finite() || self.logvar_clamp <= 0.0, "logvar_clamp must be above 0"),
            (self.kl_warmup_epochs.is_nan() || self.kl_warmup_epochs < 0.0, "kl_warmup_epochs must be 0 or more"),
            (matches!(self.kl_annealing, KlAnnealing::Cyclical { cycles: 0 }), "cycles must be at least 1"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("model configuration: {rule}"))),
            None => Ok(()),
        }
    }
}

/// The network of a [`CountVae`](super::CountVae): shapes are `(cells, width)` throughout.
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
    pub(super) log_dispersion: Vector<D>,
    theta_head: Option<Linear<D>>,
    zero_head: Option<Linear<D>>,
    /// Control cells to start predictions from; zeros until the model is trained.
    pub(super) reference: Reference<D>,
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
    ]
});

/// The approximate posterior of a batch, `(cells, latent)` each.
pub struct Posterior<D: Backend, T: Tape<f32, D>> {
    /// Mean.
    pub mu: Matrix<D, T>,
    /// Log variance, clamped.
    pub logvar: Matrix<D, T>,
}

/// What the decoder says of a batch, `(cells, genes)` each.
pub struct Decoded<D: Backend, T: Tape<f32, D>> {
    /// Logits of the shares (count decoders), or the mean itself (Gaussian).
    pub output: Matrix<D, T>,
    /// Log theta, where it depends on the cell.
    pub log_theta: Option<Matrix<D, T>>,
    /// Logit of the extra-zero probability (ZINB).
    pub zero_logits: Option<Matrix<D, T>>,
}

impl<D: Backend> VaeNet<D> {
    /// A new network for `vocabulary`; `with_remainder` says whether size factors count more genes than are modelled,
    /// and `shares` gives each gene's mean share of the library to start the output bias at.
    pub fn new(
        device: &D,
        vocabulary: &Vocabulary,
        config: &VaeConfig,
        with_remainder: bool,
        output_bias: Option<&[f32]>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        config.validate()?;
        let genes = vocabulary.genes.len();
        let (first, last) = (config.hidden[0], *config.hidden.last().expect("validated: at least one hidden layer"));
        let finish = FinishConfig { norm: config.norm, activation: config.activation, dropout: config.dropout };
        let mut widths = vec![config.latent + config.condition];
        widths.extend(config.hidden.iter().rev());
        let is_count = config.likelihood != Likelihood::Gaussian;
        let mut output = Linear::new(device, first, genes, rng)?;
        if let Some(bias) = output_bias {
            output.bias.copy_from(bias);
        }
        Ok(Self {
            device: device.clone(),
            config: config.clone(),
            with_remainder,
            condition: ConditionEncoder::new(
                device,
                vocabulary,
                config.condition,
                config.with_lane,
                config.with_library,
                rng,
            )?,
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
            reference: Reference::empty(device, config.latent)?,
        })
    }
}

impl<D: Backend> VaeNet<D> {
    /// Where the network lives.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Its settings.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The first layer before its activation, `(cells, hidden[0])`.
    fn enter<T: Tape<f32, D>>(&self, input: &Observed, condition: &Matrix<D, T>) -> Result<Matrix<D, T>> {
        let h = match input {
            Observed::Counts(counts) => self.input.forward(counts, T::default())?,
            Observed::Real(values) => {
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
        Ok(Decoded { output: self.output.forward(h)?, log_theta, zero_logits }) // (cells, genes) each
    }

    /// `q(z|x, c)`, without dropout; `condition` is `(cells, condition)`.
    ///
    /// # Errors
    /// An input that does not fit the network.
    pub fn encode<T: Tape<f32, D>>(&self, input: &Observed, condition: &Matrix<D, T>) -> Result<Posterior<D, T>> {
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
        if self.config.likelihood == Likelihood::Gaussian {
            let target =
                batch.target.as_ref().ok_or_else(|| Error::config("a Gaussian decoder needs a real target"))?;
            let target = ops::upload(&self.device, target)?;
            return ops::gaussian_nll(decoded.output, target, &self.log_dispersion);
        }
        let Observed::Counts(counts) = &batch.input else {
            return Err(Error::config(
                "a count decoder (nb, zinb) cannot describe real values such as effects; set likelihood = \"gaussian\"",
            ));
        };
        let target = CountTarget {
            counts: counts.clone(),
            library_size: batch.library_size.clone(),
            with_remainder: self.with_remainder,
        };
        let theta = match decoded.log_theta {
            Some(log_theta) => Dispersion::CellGene(log_theta),
            None => Dispersion::Gene(&self.log_dispersion),
        };
        D::count_nll(decoded.output, theta, decoded.zero_logits, &target)
    }

    /// The condition of a batch, `(cells, condition)`; goes on with `tape`.
    ///
    /// # Errors
    /// A batch that does not fit the vocabulary.
    pub fn condition<T: Tape<f32, D>>(&self, batch: &VaeBatch, tape: T) -> Result<Matrix<D, T>> {
        self.condition.forward(&self.device, &batch.condition, tape)
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
        let condition = self.condition(batch, tape)?;
        let (z, kl) = self.draw(self.encode(&batch.input, &condition)?, rng)?;
        Ok((self.nll(self.decode(z, condition)?, batch)?, kl))
    }

    /// As [`Self::terms`], with dropout and the batch's own moments in batch norm.
    fn training_terms<T: Tape<f32, D>>(
        &mut self,
        batch: &VaeBatch,
        tape: T,
        rng: &mut ChaCha8Rng,
    ) -> Result<(Vector<D, T>, Vector<D, T>)> {
        let condition = self.condition(batch, tape)?;
        let entered = self.enter(&batch.input, &condition)?;
        let h = self.input_finish.forward_training(entered, rng)?;
        let h = self.encoder.forward_training(h, rng)?;
        let (z, kl) = self.draw(self.posterior(h)?, rng)?;
        let h = self.decoder.forward_training(ops::concat_columns(z, condition)?, rng)?;
        Ok((self.nll(self.heads(h)?, batch)?, kl))
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
    pub fn noise(&self, cells: usize, rng: &mut ChaCha8Rng) -> Result<Matrix<D>> {
        let values = StandardNormal.sample_iter(rng).take(cells * self.config.latent).collect::<Vec<f32>>();
        self.device
            .try_tensor_from_vec(values, (cells, self.config.latent))
            .map_err(|e| Error::device("noise of the reparameterisation", e))
    }
}

/// A network on its way through a training: it also knows where in the KL annealing it stands.
impl<D: Backend> Trainable<D> for VaeNet<D> {
    type Batch = VaeBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &VaeBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let (nll, kl) = match context.training {
            true => self.training_terms(batch, tape, context.rng)?,
            false => self.terms(batch, tape, context.rng)?,
        };
        let (nll, kl) = (ops::mean(nll)?, ops::mean(kl)?);
        let parts = vec![("nll", ops::to_f32(&nll)), ("kl", ops::to_f32(&kl))];
        // Validation is always at full weight, so that its loss is the (beta-)ELBO and epochs can be compared.
        let annealed = if context.training {
            let total = context.total_epochs as f64;
            let epoch = context.step as f64 / context.total_steps.max(1) as f64 * total;
            self.config.kl_annealing.weight(epoch, self.config.kl_warmup_epochs, total) as f32
        } else {
            1.0
        };
        Ok(Loss { total: ops::add_scaled(nll, kl, annealed * self.config.beta)?, parts })
    }
}
