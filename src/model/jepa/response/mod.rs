//! Phase B: from the embedding of control cells and a perturbation to the embedding of the perturbed cells, end to end.
//!
//! E is the encoder (the student), E' its exponential moving average (the teacher), both followed by a fixed linear map
//! that brings the training cells to mean 0 and variance 1 in each feature. For control cells x of a context c and the
//! perturbed genes P:
//!
//! ```text
//! z_hat = E(x) + Delta(P | x, c)                                        Delta of no gene is 0
//! Delta(P) = f sum over g in P of D(g) + S(P) + gamma sum over pairs of I(g, h)      f is 1, S is 0 for a single gene
//! D(g | x, c) = s_gc + F(E(x), e_g + sum over levels l of c of t_l)          e of `perturbation_width` features
//!                                                F starts at 0; e_g: a learned vector and the measured effect; t starts at 0
//! I(g, h) = alpha (s_g + s_h) + U ((K s_g) * (K s_h))                   starts at 0
//! ```
//!
//! Beside z, the decoder is told which genes are perturbed: a learned a_g moves the logit of gene g itself.
//!
//! s is a learned vector for each gene and context in which it was perturbed alone, which starts at the measured
//! difference of the teacher's mean embeddings. In a context where it was not measured it is the mean of those of other
//! contexts, weighted by how similar their control profiles are; half of the training sets leave their own out, so that F
//! learns what that mean lacks.
//!
//! A context may be the levels of several columns of cells (cell type and donor). Its control cells are then those with the same
//! levels, and t_l is a learned token of each level: in a combination of levels that was not trained on, the tokens of those that
//! were tell F what they do elsewhere. A level that was not trained on has no token, as in a fifth of the training sets. With one
//! column there are none: a new context would be a new level. Where `library_token` is set, F reads `E(x) + l t` with l the
//! standardised ln library size of x.
//!
//! E is told neither the context nor any other covariate of a cell: the teacher must be able to embed cells of a context that was
//! never trained on, and a cell has one embedding whatever is asked about it. What is known of its context reaches F.
//!
//! No cell is measured both before and after, so that control and perturbed cells come as sets. The loss of a set:
//!
//! ```text
//! distance of {z_hat} to {E'(y)}, y the perturbed cells          energy distance, or by `distance` another of sets
//! + w_m |mean z_hat - mean E'(y)|^2 / width
//! + w_p KL( shares of all training cells of the condition || mean of the decoder's shares at z_hat )
//! + w_c NLL of counts under the decoder / genes          + VICReg's variance and covariance of E(x),
//!                                                 or with `regularise = predictions` of z_hat
//! ```
//!
//! Gradients reach E, the predictor and the decoder, never the teacher. The embedding that the decoder learns from is made
//! of one part of a cell's molecules, and the counts that judge it are the other part: an embedding holds the noise of the
//! counts that it was made of.
//!
//! Then it is chosen, by the E-distance of decoded training cells, how far control cells are spread around their mean before
//! they are decoded. With cells so spread and the encoder as it is, predictor and decoder are tuned on large sets by the error of
//! the decoded effect (`tune`).
//!
//! At the end f and gamma are chosen by the same distance: f by all training combinations, which nothing before was trained on.
//! With `similar_combinations`, S(P) is what training combinations like P do beyond that sum (`similar`); without, it is 0.
//! The interaction is trained on the training combinations in folds, without each fold and stopped by it; gamma is the
//! share that predicts the left-out combinations best, or 0 where the gain over no interaction is below its standard error.
//! A combination that was itself trained on, here or in another context, is moved further by what it was measured to do beyond
//! the prediction (`beyond`).
//!
//! | file | what |
//! |---|---|
//! | `config` | the settings |
//! | `measured`, `source` | the training cells by condition; sets of them |
//! | `embedded` | encoder, and cells in embedding space |
//! | `predictor` | D: what a perturbation does to an embedding |
//! | `end_to_end` | what is trained end to end, and its loss |
//! | `profile_loss` | the part of that loss that compares shares of genes |
//! | `distance` | energy distance, MMD or sliced Wasserstein distance of two sets as a loss |
//! | `pairing` | what predicted cells are drawn to: a set, or partners |
//! | `tune` | the end of phase B: predictor and decoder, by the effects that are decoded |
//! | `interaction`, `similar` | what combinations do beyond the sum: a trained network, and what similar ones do |
//! | `transfer` | what carries effects to contexts where they were not measured |
//! | `choice` | whether that or the end-to-end training predicts there |
//! | `beyond` | what the training combinations were measured to do beyond all this |
//! | `judge` | the E-distance of decoded cells, and what is chosen by it |
//! | `decoder` | from embeddings to counts |
//! | `unseen`, `by_features` | what was never perturbed, by its features: the weights, the predictions |
//! | `reference` | the control cells that a model carries with it |
//! | `fit` | the training |
//!
//! Sources: Szekely and Rizzo 2013 (energy distance), Gretton et al. 2012 (MMD), Bonneel et al. 2015 (sliced Wasserstein), Assran et al. 2023 (I-JEPA), Bardes et al. 2022 (VICReg).

mod beyond;
mod by_features;
mod choice;
mod config;
mod decoder;
mod distance;
mod doses;
mod embedded;
mod end_to_end;
mod fit;
mod interaction;
mod judge;
mod measured;
mod pairing;
mod predictor;
mod profile_loss;
mod reference;
mod similar;
mod source;
mod transfer;
mod tune;
mod unseen;

pub(super) use beyond::Beyond;
pub use choice::ContextChoice;
pub use config::{LossWeights, NewContexts, PredictorState, ResponseConfig};
pub(in crate::model) use decoder::size_factors;
pub(super) use decoder::{Decoder, DecoderNet};
pub use distance::SetLoss;
pub(super) use embedded::{Embedded, Encoder};
pub(super) use end_to_end::EndToEnd;
pub use fit::Share;
pub(super) use fit::{Response, begin_decoder, check_watched, columns_of};
pub(super) use interaction::Interaction;
pub(super) use judge::Judge;
pub(super) use measured::Measured;
pub use pairing::ControlPairing;
pub(super) use predictor::Predictor;
#[cfg(test)]
pub(super) use predictor::PredictorShape;
#[doc(hidden)]
pub use profile_loss::profile_loss;
pub(in crate::model) use reference::Reference;
pub(super) use similar::Similar;
pub(in crate::model) use source::StartCells;
#[cfg(test)]
pub(super) use source::{Asked, ConditionTokens};
pub(super) use source::{SetBatch, SetSize, SetSource};
pub use transfer::ContextShare;
#[doc(hidden)]
pub use tune::expected_expression;
pub use unseen::FeatureChoice;
pub(super) use unseen::Unseen;
