//! A causal VAE: a cell's latent in three blocks, and perturbations as additive shifts of one of them.
//!
//! Generative process of a cell of lane l, context k, perturbed genes P (a set, empty for control) and size factor s:
//!
//! ```text
//! z_i ~ N(c_k, I)                       identity: no perturbation changes it; c_k learned, 0 without contexts
//! z_s ~ N(sum over g in P of D_g, I)    state: each perturbed gene adds its shift D_g, learned
//! z_t ~ N(t_l, I)                       technical: t_l learned
//! rho = softmax(f(z_i, z_s, z_t))       (genes,)
//! x_g ~ NB(s rho_g, theta_g)
//! ```
//!
//! with f linear by default, so that log rates are linear in z. Inference: an encoder reads means m and variances of all blocks
//! from the counts and the library size, and
//!
//! ```text
//! q(z_i|x) = N(m_i, v_i)    q(z_t|x) = N(m_t, v_t)    q(z_s|x, P) = N(r + D_P, v_s)    r = m_s + U D_P
//! ```
//!
//! D_P is the sum of the shifts, r the *basal* state: what the cell would have as control. U learns how much of the shift
//! was read from the counts. The loss in nats per cell:
//!
//! ```text
//! -E_q ln p(x|z) + beta KL + lambda_1 L_disentangle + lambda_2 L_causal - ln p(D) / N
//! L_disentangle = HSIC(z_i, z_s) + HSIC(z_i, z_t) + HSIC(z_s, z_t) + HSIC(z_i, l) + HSIC(z_s, l), or the total correlation of all
//!                 latents
//! L_causal      = HSIC(z_i, P) + HSIC(r, P)
//! ```
//!
//! Each HSIC is taken beyond what chance gives in a batch ([`ops::hsic_beyond_chance`](crate::nn::ops::hsic_beyond_chance)), on draws of z and
//! the mean of r; it is of the order 0.001, hence the large weights.
//!
//! L_causal is the additivity of the shifts: once its shift is taken off, the state of a perturbed cell must look like that of
//! any other cell. The prior p(D) is normal, or Laplace (an L1 penalty). N is the number of training cells.
//! Control cells are repeated in each epoch until they are a fifth of its rows: only they say where a shift of 0 is.
//! A cell of unknown perturbation is read with D_P = 0, so that m_s holds what its counts tell of the shift.
//!
//! A counterfactual of a cell under other genes P': abduction of z_i, r and z_t from its counts, z_s = r + D_P', decoder.
//! A combination is the sum of its shifts. Nothing here makes the shifts causal but the experiment: the
//! perturbation was assigned at random, so that its cells and the control cells differ by it alone.
//!
//! | file | content |
//! |---|---|
//! | `config` | the settings |
//! | `net` | encoder, shifts, decoder |
//! | `loss` | batches and the loss |
//! | `model` | [`CausalVae`]: training, files |
//! | `query` | what a trained one is asked |
//!
//! Sources: Lopez et al. 2018 (scVI: the counts), Lotfollahi et al. 2023 (CPA) and Bereket and Karaletsos 2023 (SAMS-VAE: additive
//! shifts of a latent), Gretton et al. 2005 (HSIC), Lopez et al. 2018 (HSIC-constrained VAE), Chen et al. 2018 (total
//! correlation).

mod config;
mod loss;
mod model;
mod net;
mod query;

pub use config::{CausalVaeConfig, CausalVaeSettings, Independence, ShiftPrior};
pub use loss::{CausalBatch, CausalSource};
pub use model::CausalVae;
pub use net::{CausalNet, Read};
pub use query::Latents;
