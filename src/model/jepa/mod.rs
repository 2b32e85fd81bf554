//! Joint-embedding predictive models: a part of a cell predicts the *embedding* of another part, never its counts.
//!
//! | file | what |
//! |---|---|
//! | `config` | the settings of phase A |
//! | `encoder`, `tokens`, `transformer` | from a cell's visible genes to its embedding: a perceptron, a Perceiver, a transformer |
//! | `entry` | how expression enters the tokens of the transformer |
//! | `groups` | how genes are divided into groups |
//! | `masks`, `regulons` | which genes are hidden, and what they are chosen by |
//! | `views` | the batches, and what a network is shown of them |
//! | `pretrain`, `heads` | the network in training: student, teacher, predictor, losses |
//! | `diagnostics` | spread, effective rank, and the alarm for a collapse |
//! | `pretraining` | phase A: the training of an encoder, without labels |
//! | `model` | the JEPA in the contract of all models |
//! | `response` | phase B: predictor and decoder, trained end to end |
//! | `saved` | its files |
//! | `other_genes` | an encoder of one dataset for another |
//! | `adapt` | a trained model for another dataset with few perturbations |
//! | `space` | the embedding space, for a model that draws points in it |
//! | `conditional` | from a control's embedding and the perturbed genes to the perturbed state's embedding |

mod adapt;
pub(super) mod conditional;
mod config;
mod diagnostics;
mod encoder;
mod entry;
mod groups;
mod heads;
mod masks;
mod model;
mod other_genes;
#[cfg(test)]
mod parity;
mod pretrain;
mod pretraining;
mod regulons;
mod response;
mod saved;
mod settings;
mod space;
mod tokens;
mod transformer;
mod views;

pub use adapt::{AdaptConfig, AdaptMethod, AdaptReport, Adaptation, Target, align};
pub use conditional::{ConditionalPredictor, Conditioning, Perturbed};
pub use config::{
    AntiCollapse, CollapseAlarm, EncoderConfig, GeneConfig, GroupConfig, MaskConfig, MaskKind, OnCollapse,
    PredictorConfig, PretrainingConfig, PretrainingObjective, Regularise, Size, TeacherConfig, TeacherSees,
    TokenConfig, ValueTokens, ViewNoise,
};
pub use diagnostics::{EmbeddingSpread, effective_rank, spread};
pub use encoder::{CellEncoder, MlpEncoder, Seen};
pub use entry::{Entry, FourierEntry, GroupEntry, PlacedTokens};
pub use groups::Grouping;
pub use masks::{GeneMasks, MaskPattern};
pub use model::Jepa;
pub use pretrain::PretrainNet;
pub use pretraining::{Pretraining, Reader};
pub use regulons::{Regulon, Regulons};
pub use response::{
    ContextChoice, ContextShare, ControlPairing, LossWeights, NewContexts, PredictorState, ResponseConfig, Share,
};
pub(in crate::model) use response::{Reference as KeptControls, StartCells, size_factors};
#[doc(hidden)]
pub use response::{expected_expression, profile_loss};
pub use settings::{JepaSettings, Phase};
pub(crate) use space::EmbeddedCells;
pub use tokens::TokenEncoder;
pub use transformer::{NOWHERE, Places, TransformerEncoder};
pub use views::{CellSets, JepaBatch};
