//! The reverse SDE and Langevin dynamics.
//!
//! With `score = -epsilon / std`, a step from t to t - h of `dx = (f x - g^2 score) dt + g dw`, run backward (Anderson 1982; Song et
//! al. 2021, eq. 6), is
//!
//! ```text
//! x <- x - h (f x - g^2 score) + g sqrt(h) z
//! ```
//!
//! and a Langevin step at a fixed time is `x <- x + a score + sqrt(2 a) z`. Song et al. choose `a = 2 (r |z| / |score|)^2` from the
//! norms of the batch; here these norms are their expected values, `sqrt(dims)` and `sqrt(dims) / std`, so that `a = 2 (r std)^2` and
//! a sample does not depend on which others are drawn with it.

use super::Run;
use crate::{
    Result,
    model::diffusion::{Denoiser, field::gaussian_noise},
};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;

/// Euler-Maruyama, with `corrections` Langevin steps after each step.
pub(super) fn reverse_sde(
    run: &Run,
    mut x: Array2<f64>,
    corrections: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Array2<f64>> {
    for (t, u) in run.steps() {
        let h = t - u;
        let (drift, g_squared) = (run.sde.drift(t), run.sde.diffusion_squared(t));
        let pull = -g_squared / run.sde.std(t); // g^2 score = pull epsilon
        let noise = gaussian_noise(x.nrows(), x.ncols(), (g_squared * h).sqrt(), rng);
        let epsilon = run.noise(&x, t)?;
        x = x * (1.0 - h * drift) + epsilon * (h * pull) + noise;
        for _ in 0..corrections {
            x = langevin_step(run, x, u, rng)?;
        }
    }
    Ok(x)
}

/// Annealed Langevin dynamics: some steps at each time, from the latest to the earliest. Between two times the samples are scaled
/// as the signal is: in `x / mean` this is the dynamics of Song and Ermon, whose noise falls while the data stay.
pub(super) fn langevin(run: &Run, mut x: Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
    let mut before = run.times[0];
    for &t in &run.times {
        x *= run.sde.mean(t) / run.sde.mean(before);
        before = t;
        for _ in 0..run.config.corrector_steps {
            x = langevin_step(run, x, t, rng)?;
        }
    }
    Ok(x)
}

fn langevin_step(run: &Run, x: Array2<f64>, t: f64, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
    let std = run.sde.std(t);
    let length = 2.0 * (run.config.corrector_snr * std).powi(2);
    let noise = gaussian_noise(x.nrows(), x.ncols(), (2.0 * length).sqrt(), rng);
    let epsilon = run.noise(&x, t)?;
    Ok(x - epsilon * (length / std) + noise)
}
