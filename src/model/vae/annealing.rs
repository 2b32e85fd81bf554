//! KL annealing: the weight of the KL term grows from 0 to `beta`, so that the latents are used before they are taxed.
//!
//! With `t = epoch / warmup` (clamped to 1): linear `w = t`, cosine `w = (1 - cos(pi t)) / 2` (Bowman et al. 2016);
//! cyclical repeats a linear rise over the first half of each of `cycles` equal parts of the whole training (Fu et al.
//! 2019, eq. 7 with R = 0.5).

use serde::{Deserialize, Serialize};

/// How the KL weight grows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum KlAnnealing {
    /// Full weight from the first step.
    Constant,
    /// A straight line over the warm-up.
    #[default]
    Linear,
    /// Half a cosine over the warm-up.
    Cosine,
    /// `cycles` linear rises over the whole training.
    Cyclical {
        /// Number of rises; at least 1.
        cycles: usize,
    },
}

impl KlAnnealing {
    /// The weight in `[0, 1]` at a point of the training, both measured in epochs (fractions allowed).
    pub fn weight(self, epoch: f64, warmup_epochs: f64, total_epochs: f64) -> f64 {
        let t = if warmup_epochs > 0.0 { (epoch / warmup_epochs).min(1.0) } else { 1.0 };
        match self {
            Self::Constant => 1.0,
            Self::Linear => t,
            Self::Cosine => 0.5 * (1.0 - (std::f64::consts::PI * t).cos()),
            Self::Cyclical { cycles } => {
                let period = total_epochs / cycles.max(1) as f64;
                if period > 0.0 { (2.0 * (epoch / period).fract()).min(1.0) } else { 1.0 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_at_known_points() {
        for (annealing, epoch, expected) in [
            (KlAnnealing::Constant, 0.0, 1.0),
            (KlAnnealing::Linear, 0.0, 0.0),
            (KlAnnealing::Linear, 5.0, 0.5),
            (KlAnnealing::Linear, 50.0, 1.0),
            (KlAnnealing::Cosine, 2.5, 0.146_446_609),
            (KlAnnealing::Cosine, 10.0, 1.0),
            (KlAnnealing::Cyclical { cycles: 4 }, 0.0, 0.0),
            (KlAnnealing::Cyclical { cycles: 4 }, 6.25, 0.5),
            (KlAnnealing::Cyclical { cycles: 4 }, 20.0, 1.0),
            (KlAnnealing::Cyclical { cycles: 4 }, 25.0, 0.0),
        ] {
            let weight = annealing.weight(epoch, 10.0, 100.0);
            assert!((weight - expected).abs() < 1e-6, "{annealing:?} at epoch {epoch}: {weight}, not {expected}");
        }
        assert_eq!(KlAnnealing::Linear.weight(0.0, 0.0, 10.0), 1.0, "no warm-up is full weight at once");
    }
}
