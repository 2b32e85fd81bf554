//! DDPM and DDIM: from time t to u < t through the data that the prediction means, `x0 = (x_t - s_t epsilon) / m_t`.
//!
//! Both hold for every SDE with `x_t = m_t x_0 + s_t epsilon`: the step forward from u to t has the factor `m_t / m_u` and the
//! variance `v = s_t^2 - (m_t / m_u)^2 s_u^2`, and given `x_0` the step back is normal with
//!
//! ```text
//! mean      (m_t / m_u) (s_u^2 / s_t^2) x_t + m_u (v / s_t^2) x_0
//! variance  v s_u^2 / s_t^2
//! ```
//!
//! (Ho et al. 2020, eq. 7; for VE, Song et al. 2021, eq. 36.) DDIM gets there without passing through it (Song, Meng and Ermon 2021,
//! eq. 12): `x_u = m_u x_0 + sqrt(s_u^2 - sigma^2) epsilon + sigma z`, `sigma^2 = eta^2 v s_u^2 / s_t^2`.

use super::{Run, StepVariance};
use crate::{
    Result,
    model::diffusion::{Denoiser, Sde, field::gaussian_noise},
};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;

/// The ancestral sampler.
pub(super) fn ddpm(run: &Run, mut x: Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
    for (t, u) in run.steps() {
        let data = run.data(&x, &run.noise(&x, t)?, t)?;
        let step = Step::new(run.sde, t, u);
        let std = match run.config.variance {
            StepVariance::Posterior => step.posterior_variance(),
            StepVariance::Transition => step.variance,
        }
        .sqrt();
        let left = step.factor * (step.s_u / step.s_t).powi(2);
        let right = step.m_u * step.variance / step.s_t.powi(2);
        let noise = gaussian_noise(x.nrows(), x.ncols(), std, rng);
        x = x * left + data * right + noise;
    }
    Ok(x)
}

/// DDIM; without noise nothing is drawn.
pub(super) fn ddim(run: &Run, mut x: Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
    let eta = run.config.eta;
    for (t, u) in run.steps() {
        let epsilon = run.noise(&x, t)?;
        let data = run.data(&x, &epsilon, t)?;
        let step = Step::new(run.sde, t, u);
        let variance = eta * eta * step.posterior_variance();
        // At eta = 1 and a long step the root's argument may be below 0 by rounding.
        let kept = (step.s_u * step.s_u - variance).max(0.0).sqrt();
        x = data * step.m_u + epsilon * kept;
        if eta > 0.0 {
            x += &gaussian_noise(x.nrows(), x.ncols(), variance.sqrt(), rng);
        }
    }
    Ok(x)
}

/// What lies between two times u < t.
struct Step {
    m_u: f64,
    s_u: f64,
    s_t: f64,
    /// Of the signal, from u to t.
    factor: f64,
    /// Of the noise that the step forward adds.
    variance: f64,
}

impl Step {
    fn new(sde: &Sde, t: f64, u: f64) -> Self {
        let (m_u, s_u, s_t) = (sde.mean(u), sde.std(u), sde.std(t));
        let factor = sde.mean(t) / m_u;
        Self { m_u, s_u, s_t, factor, variance: (s_t * s_t - (factor * s_u).powi(2)).max(0.0) }
    }

    fn posterior_variance(&self) -> f64 {
        self.variance * (self.s_u / self.s_t).powi(2)
    }
}
