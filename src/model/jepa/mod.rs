//! The joint-embedding predictive architecture.

mod conditional;
mod prototype;

pub use conditional::{ConditionalPredictor, Conditioning, Perturbed};
pub use prototype::{GeneFeature, Mixture, PrototypeConfig, PrototypeJepa, Prototypes, UnseenChoice};
