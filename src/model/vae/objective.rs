//! What the training of a count VAE descends, in nats per cell.
//!
//! With NLL = `-E_q ln p(x|z,c)`, KL = `KL(q(z|x,c) || N(0, I))` and `a(t)` the KL annealing:
//!
//! | `kind` | loss | source |
//! |---|---|---|
//! | `elbo` | `NLL + a(t) beta KL` | Kingma & Welling 2014; beta above 1: Higgins et al. 2017 |
//! | `capacity` | `NLL + gamma abs(KL - C(t))`, C(t) rises from 0 to `nats` over `epochs` | Burgess et al. 2018, eq. 8 |
//! | `beta_tc` | `NLL + a(t) (KL + (beta - 1) TC)`, TC the total correlation of q(z) | Chen et al. 2018, eq. 4 |
//! | `iwae` | `-E ln 1/K sum_k w_k` over K draws of z | Burda et al. 2016, eq. 8 |
//!
//! with the weights `w_k = p(x|z_k,c) (p(z_k) / q(z_k|x,c))^a(t)`.
//!
//! In a configuration file:
//!
//! ```toml
//! [model]
//! beta = 6.0
//! objective = { kind = "beta_tc" }
//! # objective = { kind = "capacity", gamma = 30.0, nats = 10.0, epochs = 20.0 }
//! # objective = { kind = "iwae", samples = 8, doubly_reparameterised = true }   # with beta = 1
//! ```

use serde::{Deserialize, Serialize};

/// Draws of z per cell beyond which a training step would take more memory than a laptop has: each draw is a batch.
const MOST_SAMPLES: usize = 1000;

/// The loss of the training; the module's documentation has the equations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum VaeObjective {
    /// The ELBO with the KL term times `beta`.
    #[default]
    Elbo,
    /// The KL term is held at a capacity that rises from 0: the latents are opened one after the other. `beta`, KL
    /// annealing and free nats are not used.
    Capacity {
        /// Weight of the distance between the KL term and the capacity.
        gamma: f32,
        /// Capacity at the end of the rise, in nats per cell.
        nats: f32,
        /// Epochs over which it rises; 0 for the full capacity from the first step.
        epochs: f64,
    },
    /// Only the total correlation is weighted by `beta`: latents are to be independent, but may tell as much as they like.
    BetaTc,
    /// The importance-weighted bound with several draws per cell, tighter than the ELBO.
    Iwae {
        /// Draws of z per cell, K.
        samples: usize,
        /// Whether the encoder gets the doubly reparameterised gradient (Tucker et al. 2019), whose signal-to-noise ratio does
        /// not fall with K, as that of the plain gradient does (Rainforth et al. 2018). Costs a second pass of the decoder.
        #[serde(default)]
        doubly_reparameterised: bool,
    },
}

impl VaeObjective {
    /// Whether this is the plain one, which a saved model need not name.
    pub(super) fn is_elbo(&self) -> bool {
        *self == Self::Elbo
    }

    /// What makes these settings unusable, if anything.
    pub(super) fn fault(&self, beta: f32, free_nats: Option<f32>) -> Option<&'static str> {
        if free_nats.is_some_and(|nats| nats > 0.0) && !self.is_elbo() {
            return Some("free_nats belongs to the objective `elbo`; leave it out or set it to 0");
        }
        match *self {
            Self::Capacity { gamma, nats, epochs } => {
                let is_amount = |value: f64| value.is_finite() && value >= 0.0;
                let valid = [f64::from(gamma), f64::from(nats), epochs].into_iter().all(is_amount) && gamma > 0.0;
                (!valid).then_some("objective `capacity`: gamma must be above 0, nats and epochs 0 or more")
            }
            Self::Iwae { samples, .. } if !(1..=MOST_SAMPLES).contains(&samples) => {
                Some("objective `iwae`: samples must be between 1 and 1000")
            }
            Self::Iwae { .. } if beta != 1.0 => {
                Some("objective `iwae` bounds ln p(x) only with beta = 1; set it, or choose another objective")
            }
            _ => None,
        }
    }

    /// The capacity in nats at a point of the training, in epochs (fractions allowed).
    pub(super) fn capacity(nats: f32, rise: f64, epoch: f64) -> f32 {
        let risen = if rise > 0.0 { (epoch / rise).min(1.0) } else { 1.0 };
        nats * risen as f32
    }
}
