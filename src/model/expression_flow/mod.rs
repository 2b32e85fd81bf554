//! Cells generated gene by gene: a rectified flow or a DDPM of expression itself, by a transformer over tokens of genes.
//!
//! ```text
//! y_g = log1p((n_g + u) T / L)          n_g: count, L: library size, T: the median library size; u ~ U(0, 1), or 0
//! x   = (y - mean) / sd                 gene by gene, over the training cells
//! z ~ N(0, 1),  x = z carried by f(x_t, t | perturbation, ln L)                 rectified flow or DDPM
//! n_g = floor(expm1(y_g) L / T)         of a draw; with u = 0, rounded to the nearest count
//! ```
//!
//! f is a [`GeneTokens`](crate::model::diffusion::net::GeneTokens) network: its settings say how genes become tokens. Time,
//! perturbation and library size enter by adaptive norms. The condition is one number per perturbed gene (0 or 1) and ln L,
//! each standardised over the training cells. Its first layer is linear: against control, whose vector is an offset, it adds one
//! learned vector for each perturbed gene, so that combinations of genes that were perturbed in training can be asked for.
//! Guidance is by the perturbation: a network without it still knows the library size.
//!
//! **Zeros.** Most counts of a cell are 0, and a flow of a density does not draw exact zeros. Uniform noise u makes a density of the
//! counts (dequantisation, Theis et al. 2016), and taking the whole part of a draw undoes it: a draw below one molecule is a zero. The
//! cell's library size is part of the condition, because it says what one molecule is worth.
//!
//! A draw holds the sampling noise of counts, which the network has learned with everything else: molecules are not drawn again.
//!
//! | file | what |
//! |---|---|
//! | `config` | the settings |
//! | `encoding` | counts to values and back; the condition |
//! | `generator` | rectified flow or DDPM, at a given number of evaluations of the network per draw |
//! | `draw` | cells of a trained model, and how often they are 0 |
//! | `model` | [`ExpressionFlow`]: the contract of models |
//!
//! Liu et al. 2023 (rectified flow); Ho et al. 2020 (DDPM); Song et al. 2021 (DDIM); Peebles and Xie 2023 (DiT).

mod config;
mod draw;
mod encoding;
mod generator;
mod model;

pub use config::{ExpressionFlowConfig, ExpressionFlowSettings, ExpressionObjective, ExpressionSampling};
pub use draw::{CellDraw, ZeroShares};
pub use model::ExpressionFlow;
