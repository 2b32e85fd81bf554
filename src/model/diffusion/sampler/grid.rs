//! The times of a sampler.

use super::SamplerConfig;
use crate::model::diffusion::Sde;
use serde::{Deserialize, Serialize};

/// How the times between `t_max` and `t_min` are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeGrid {
    /// Evenly.
    #[default]
    Uniform,
    /// Their square roots evenly: denser near the data (Song, Meng and Ermon 2021, appendix D.2).
    Quadratic,
    /// The logarithms of the signal-to-noise ratio evenly (Lu et al. 2022, DPM-Solver).
    LogSnr,
}

impl TimeGrid {
    /// `steps` falling times, the first `t_max`, the last `t_min`; of one step, `t_max` alone.
    pub fn times(self, sde: &Sde, config: &SamplerConfig) -> Vec<f64> {
        let (late, early, steps) = (config.t_max, config.t_min, config.steps);
        // Share of the way, 0 to 1; the ends are exact.
        let between = |a: f64, b: f64, share: f64| a * (1.0 - share) + b * share;
        let (noisy, clear) = (sde.log_snr(late), sde.log_snr(early));
        let time = |i: usize| {
            let share = i as f64 / (steps - 1) as f64;
            match self {
                _ if i == 0 => late,
                _ if i + 1 == steps => early,
                Self::Uniform => between(late, early, share),
                Self::Quadratic => between(late.sqrt(), early.sqrt(), share).powi(2),
                Self::LogSnr => sde.time_of_log_snr(between(noisy, clear, share), early),
            }
        };
        (0..steps).map(time).collect()
    }
}
