//! Energy-based models: a scalar for each cell, small where cells are plausible.
//!
//! ```text
//! p(x) = exp(-E(x)) / Z,     E(x) = |u|^2 / 2 + r f(u, c)
//! ```
//!
//! x `(rows, dims)` is a point of a cell, standardised; f is a network with one output; c is a condition or nothing; u is x and r is
//! 1, but for noised data ([`Preconditioning`]). Z is never computed: what trains f ([`EnergyObjective`]) and what draws samples
//! ([`run_chains`]) need derivatives, differences or ratios of p alone. The quadratic term makes the density fall off far from the data, where no
//! training sample holds f down.
//!
//! | file | what |
//! |---|---|
//! | `net` | f, and its derivatives by x as operations that can be differentiated |
//! | `config` | the settings |
//! | `objective` | the losses: noise contrastive estimation, contrastive divergence, denoising score matching |
//! | `score_matching` | explicit and sliced score matching; noise levels and annealed Langevin dynamics |
//! | `sampler` | Langevin dynamics and Hamiltonian Monte Carlo, of any [`Energy`] |
//! | `learner` | f in training |
//! | `model` | [`Ebm`]: an energy of vectors to train, ask, save |
//! | `cells` | [`CellEbm`]: an energy of cells, in principal components or latents |
//!
//! Sources: LeCun et al. 2006, Song and Kingma 2021 (overviews); the objectives and samplers give theirs.

mod cells;
mod config;
mod learner;
mod model;
mod net;
mod objective;
mod sampler;
mod score_matching;

pub use cells::{CellEbm, SamplingCheck};
pub use config::{CellSpace, EbmConfig, EbmSettings, EnergyCondition, EnergyObjective};
pub use model::{Ebm, EbmData, StandardEnergy};
pub use net::{Along, EnergyNet, EnergyNetConfig};
pub use objective::{
    Batch, LossWithParts, Preconditioning, contrastive_loss, denoising_loss, nce_loss, short_run, sliced_loss,
    with_level,
};
pub use sampler::{Chains, Energy, Mcmc, McmcConfig, run_chains, shares};
pub use score_matching::{
    NoiseLevels, annealed_langevin, explicit_score_matching, overlapping_ratio, sliced_score_matching,
};
