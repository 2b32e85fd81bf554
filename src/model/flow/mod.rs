//! Flows: a velocity carries samples of a source (noise, or control cells) at time 0 to samples of the data at time 1.
//!
//! | file | what |
//! |---|---|
//! | `matching` | what it is trained on: paths, pairs (by chance, or by optimal transport), velocities |
//! | `transport` | sampling, encoding, likelihood, straightness; exact velocities for Gaussian mixtures |
//! | `model` | [`Flow`]: a flow to train, carry samples with, save |

mod matching;
mod model;
mod transport;

pub use matching::{EXACT_ROWS, FlowPath, Pairing, assignment, reflow, squared_distances};
pub use model::{Flow, FlowConfig, FlowData, FlowSource, TransportConfig};
pub use transport::{MixtureVelocity, curvature, encode, flow_log_likelihood, transport};

/// Standard normal noise in `f32`, `(rows, dims)`: where a flow from noise begins.
pub fn noise(rows: usize, dims: usize, seed: u64) -> ndarray::Array2<f32> {
    use rand::SeedableRng;
    crate::model::diffusion::learner::normal((rows, dims), &mut rand_chacha::ChaCha8Rng::seed_from_u64(seed))
}
