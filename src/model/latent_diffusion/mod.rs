//! Latent diffusion: not only the mean of what a perturbation does, but what could happen.
//!
//! A cell x of a condition c (a perturbation, in a context) has a point z in the latent space of a count VAE. With
//! the mean point `m_c` of its condition and a description t_c of it (the scores of the predicted mean effect, and where
//! control cells of the context are),
//!
//! ```text
//! z = m_c + d,    d ~ diffusion (or flow) given t_c,    x ~ NB(library * softmax(decoder(z, c) + o_c), theta)
//! ```
//!
//! d is the deviation of a cell from its mean point; `spread` writes r for the residual of a predicted mean effect.
//! The offsets `o_c` (one per gene) are such that the mean of the cells is what the mean predictor says, so the mean is its,
//! and diffusion says how cells differ from it (aleatoric). How far the mean itself may be off (epistemic) is learned
//! apart, from predictions of training perturbations that were left out.
//!
//! | file | what |
//! |---|---|
//! | `spread` | left-out predictions, and the distribution of what they miss |
//! | `effects` | mean effects with their uncertainty, for effects datasets |
//! | `space` | the latent space, or principal components of expression for comparison; cells whose mean is a wanted one |
//! | `generator` | what is known of conditions; diffusion or flow, from noise or from control cells |
//! | `cells` | the model of cells, and its predictions (`query`) |
//! | `contract` | both models in the contract of all models |
//! | `saved` | their files |
//!
//! Sources: Rombach et al. 2022 (latent diffusion), Lopez et al. 2018 (the counts' model), Lipman et al. 2023 (flows).

mod cells;
mod contract;
mod effects;
mod generator;
mod saved;
mod space;
mod spread;

pub use cells::{Draw, LatentDiffusion, LatentDiffusionConfig, Library, Uncertain, Uncertainty};
pub use contract::{DiffusionModel, DiffusionSettings};
pub use effects::{EffectDiffusion, EffectDiffusionConfig};
pub use generator::GeneratorConfig;
pub use space::SpaceKind;
pub use spread::{LeftOut, MeanPredictor, Novelty, Spread, SpreadConfig, leave_out};
