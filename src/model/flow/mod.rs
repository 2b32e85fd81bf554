//! Flows: a velocity carries samples of a source (noise, or control cells) at time 0 to samples of the data at time 1.
//!
//! | file | what |
//! |---|---|
//! | `path` | the line or arc from a source sample to its data sample, and the velocity that a network is trained on |
//! | `coupling`, `assignment` | which source sample goes to which data sample: by chance, or by optimal transport; reflow |
//! | `transport` | sampling, encoding, likelihood, straightness |
//! | `closed_form` | exact velocities for Gaussian mixtures |
//! | `config`, `matching`, `learned`, `model`, `carry`, `saved` | [`Flow`]: a flow to train, sample, carry samples with, save |

mod assignment;
mod closed_form;
mod coupling;
mod path;
mod transport;

mod carry;
mod config;
mod learned;
mod matching;
mod model;
mod saved;

pub use config::{FlowConfig, TransportConfig};
pub use model::{Flow, FlowData, Origin};

pub use assignment::assignment;
pub use closed_form::MixtureVelocity;
pub use coupling::{EXACT_ROWS, Pairing, reflow, squared_distances};
pub use path::FlowPath;
pub use transport::{curvature, encode, flow_log_likelihood, transport};

/// Standard normal noise in `f32`, `(rows, dims)`: where a flow from noise begins.
pub fn noise(rows: usize, dims: usize, seed: u64) -> ndarray::Array2<f32> {
    use rand::SeedableRng;
    crate::model::diffusion::learner::normal((rows, dims), &mut rand_chacha::ChaCha8Rng::seed_from_u64(seed))
}
