//! Diffusion in the JEPA's embedding space: what the cells of a perturbation could look like, given a control cell.
//!
//! The JEPA predicts one point per control cell. This model draws points: the embedding z that the teacher gives to a cell of
//! condition c (a perturbation, in a context) is the mean m_c that the JEPA predicts, plus the residual r of the cell (in
//! `latent_diffusion::spread`, r is the residual of a mean effect)
//!
//! ```text
//! z = m_c + r,     r ~ p(r | k),     x ~ NB(decoder(z), library size of the control cell)
//! m_c = mean over the kept control cells x of E(x) + Delta(P | x)
//! k   = [ E(x) - centre of the context, Delta(P | x), e(P), ln library size, centre of the context ]
//! ```
//!
//! with the JEPA's encoder E, predicted shift Delta and embedding e(P) of the perturbed genes (a sum over them, so that unseen
//! combinations have one; with the tokens of its levels where a context is of several columns), x a control cell, and the library
//! size that of the cell whose z is drawn: an embedding of few molecules lies nearer to the mean. The centre of the context is left
//! out where there is one context. Of a context that was not trained on, the given control cells stand for the kept ones.
//!
//! Cells are not paired. In training, each cell is given control cells drawn at random from its context, so the optimum is
//! the distribution of the cells of the *condition*: a given control cell decides the context, the shift Delta(P | x) and the
//! library size, and no more, because unpaired cells identify no more.
//!
//! # The denoiser
//!
//! Along the principal axes i of the pooled covariance of r, of variances `lambda_i`, with `x_t = a r + s epsilon`:
//!
//! ```text
//! E[r | x_t] = a lambda / (a^2 lambda + s^2) x_t  +  c(t) f(x_t / sqrt(a^2 lambda + s^2), t, k)
//! c(t)^2     = mean over i of lambda_i s^2 / (a^2 lambda_i + s^2)
//! ```
//!
//! The first term is the optimal denoiser of a Gaussian r, so that a network f of 0, where training starts, is that
//! denoiser; f learns what is not Gaussian and what depends on k. c(t)^2 is the Gaussian's expected loss, so that the training
//! loss is the denoising loss divided by it: 1 at the start, less where the network knows more. (Karras et al. 2022, section 5,
//! precondition with one variance for all axes.)
//!
//! # What is chosen on the training cells
//!
//! By the E-distance of decoded cells, as the JEPA chooses its own factors: the factor of the deviation of r from its mean
//! (a whole cell's z holds the noise of its counts, and the decoder adds that noise again), and, for conditions that were
//! trained on, how much of the mean of r is added to m_c. For other conditions that mean is left out: the mean is the JEPA's.
//!
//! | file | what |
//! |---|---|
//! | `config` | the settings |
//! | `gaussian` | the optimal denoiser of Gaussian data |
//! | `held_out` | losses of held-out cells beside that denoiser's |
//! | `denoiser` | the network with that denoiser built in: training, samples, abduction |
//! | `generator` | this diffusion, or a flow |
//! | `given` | k, m_c, and the training rows |
//! | `choice` | what is chosen by E-distance |
//! | `model` | training, files |
//! | `query` | cells, given control cells, counterfactuals |
//!
//! Sources: Ho et al. 2020 and Song et al. 2021 (diffusion), Nichol and Dhariwal 2021 (cosine schedule), Karras et al. 2022
//! (preconditioning), Perez et al. 2018 (FiLM), Ho and Salimans 2022 (guidance), Lipman et al. 2023 (flows).

mod choice;
mod config;
mod denoiser;
mod gaussian;
mod generator;
mod given;
mod held_out;
mod model;
mod query;

pub use choice::Chosen;
pub use config::{AnchoredConfig, GeneratorKind, JepaDiffusionSettings};
#[doc(hidden)]
pub use denoiser::anchored_examples;
pub use gaussian::{Axes, LevelLoss, gaussian_denoised};
pub use model::JepaDiffusion;
