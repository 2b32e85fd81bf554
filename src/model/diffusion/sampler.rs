//! From noise to samples.
//!
//! The probability-flow ODE with a fixed solver is the deterministic limit of the reverse SDE. Every sampler ends with the data
//! predicted at the earliest time, `(x - s epsilon) / m`, so that no noise is left in the samples (Tweedie; Song et al. 2021,
//! appendix G).
//!
//! # DDPM and DDIM
//!
//! From time t to u < t through the data that the prediction means, `x0 = (x_t - s_t epsilon) / m_t`.
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
//!
//! # The reverse SDE and Langevin dynamics
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

use super::{
    Denoiser, ProbabilityFlow, Sde, Solver,
    denoiser::{check_finite, check_samples, gaussian_noise},
    ode,
};
use crate::{Error, Result, notebook};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Turns noise `start` `(rows, dims)` into samples `(rows, dims)`. `start` is usually [`prior`] noise.
///
/// # Errors
/// Settings that make no sampler; `start` of another width or not finite; a network whose output stops being finite, with the step
/// at which it did; an interruption by a notebook's user.
pub fn sample(
    denoiser: &dyn Denoiser,
    sde: &Sde,
    config: &SamplerConfig,
    start: Array2<f64>,
    rng: &mut ChaCha8Rng,
) -> Result<Array2<f64>> {
    sde.validate()?;
    config.validate()?;
    check_samples("sampling", &start, denoiser.dims())?;
    let run = Run { denoiser, sde, config, times: config.grid.times(sde, config) };
    let x = match config.kind {
        Sampler::Ddpm => ddpm(&run, start, rng)?,
        Sampler::Ddim => ddim(&run, start, rng)?,
        Sampler::EulerMaruyama => reverse_sde(&run, start, 0, rng)?,
        Sampler::PredictorCorrector => reverse_sde(&run, start, config.corrector_steps, rng)?,
        Sampler::Langevin => langevin(&run, start, rng)?,
        Sampler::ProbabilityFlow => {
            let flow = ProbabilityFlow::new(&run, *sde)?;
            ode::on_grid(&flow, start, &run.times, config.solver)?.x
        }
    };
    run.clean(&x)
}

/// Noise to start from, `(rows, dims)`: normal with the diffusion's [`prior_std`](Sde::prior_std), `sigma_max` for VE.
pub fn prior(sde: &Sde, rows: usize, dims: usize, rng: &mut ChaCha8Rng) -> Array2<f64> {
    gaussian_noise(rows, dims, sde.prior_std(), rng)
}

/// What all samplers share: the network with its guard, and the times.
struct Run<'a> {
    denoiser: &'a dyn Denoiser,
    sde: &'a Sde,
    config: &'a SamplerConfig,
    /// Falling, from `t_max` to `t_min`.
    times: Vec<f64>,
}

impl Run<'_> {
    /// Neighbouring times `(from, to)`, `from > to`.
    fn steps(&self) -> impl Iterator<Item = (f64, f64)> {
        self.times.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// The data that the samples mean: `(x - s epsilon) / m` at the earliest time.
    fn clean(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        let t = self.times[self.times.len() - 1];
        self.data(x, &self.noise(x, t)?, t)
    }

    fn data(&self, x: &Array2<f64>, epsilon: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        Ok((x - &(epsilon * self.sde.std(t))) / self.sde.mean(t))
    }

    /// Where in the times `t` lies, from 1; between two times, the step that is on its way.
    fn step_at(&self, t: f64) -> usize {
        self.times.partition_point(|&time| time >= t).max(1)
    }
}

impl Denoiser for Run<'_> {
    fn dims(&self) -> usize {
        self.denoiser.dims()
    }

    /// The network's noise, finite, with the data it means clipped if the settings say so.
    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        notebook::check_interrupt("sampling")?;
        let epsilon = self.denoiser.noise(x, t)?;
        if epsilon.dim() != x.dim() {
            return Err(Error::shape("sampling: samples and predicted noise", x.dim(), epsilon.dim()));
        }
        check_finite(&epsilon, || {
            let (step, steps) = (self.step_at(t), self.times.len());
            format!("sampling: the predicted noise at step {step} of {steps} (t = {t:.4})")
        })?;
        let Some(bound) = self.config.clip else { return Ok(epsilon) };
        let (m, s) = (self.sde.mean(t), self.sde.std(t));
        let data = self.data(x, &epsilon, t)?.mapv(|v| v.clamp(-bound, bound));
        Ok((x - &(data * m)) / s)
    }
}

/// A way from noise to data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// The ancestral sampler of DDPM (Ho et al. 2020, algorithm 2).
    Ddpm,
    /// DDIM (Song, Meng and Ermon 2021, eq. 12), with `eta` of the noise of DDPM; without noise the fewest steps suffice.
    #[default]
    Ddim,
    /// The reverse SDE `dx = (f x - g^2 score) dt + g dw` in Euler's steps.
    EulerMaruyama,
    /// The same, with Langevin steps after each (Song et al. 2021, algorithms 2 and 3).
    PredictorCorrector,
    /// Langevin steps alone, at falling noise (Song and Ermon 2019, algorithm 1).
    Langevin,
    /// The probability-flow ODE with a solver of fixed steps.
    ProbabilityFlow,
}

/// The variance of a DDPM step (Ho et al. 2020, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepVariance {
    /// Of the step back, given the data: right if the data are one point.
    #[default]
    Posterior,
    /// Of the step forward: right if the data are standard normal.
    Transition,
}

/// Settings of [`sample`]. What a sampler does not use is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// The sampler.
    pub kind: Sampler,
    /// Times at which the network is evaluated, the first `t_max` and the last `t_min`; one evaluation each, and more for Heun, RK4 and
    /// Langevin steps.
    pub steps: usize,
    /// How these times are spread.
    pub grid: TimeGrid,
    /// The earliest time. A network is no use before the earliest time it was trained at.
    pub t_min: f64,
    /// Where the samples start, the time of pure noise.
    pub t_max: f64,
    /// DDIM: noise, as a part of DDPM's; 0 is deterministic.
    pub eta: f64,
    /// DDPM: how much noise.
    pub variance: StepVariance,
    /// Predictor-corrector and Langevin: Langevin steps at each time.
    pub corrector_steps: usize,
    /// Predictor-corrector and Langevin: size r of a Langevin step, whose length is `2 (r std)^2`; 0.16 in Song et al. 2021.
    pub corrector_snr: f64,
    /// Probability flow: the solver.
    pub solver: Solver,
    /// Bounds the predicted data to `-clip..=clip` in every dimension, which tames a network's errors at times of nearly pure noise.
    pub clip: Option<f64>,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            kind: Sampler::default(),
            steps: 50,
            grid: TimeGrid::default(),
            t_min: 1e-3,
            t_max: 1.0,
            eta: 0.0,
            variance: StepVariance::default(),
            corrector_steps: 1,
            corrector_snr: 0.16,
            solver: Solver::Heun,
            clip: None,
        }
    }
}

impl SamplerConfig {
    /// A sampler with a number of steps.
    pub fn new(kind: Sampler, steps: usize) -> Self {
        Self { kind, steps, ..Self::default() }
    }

    /// # Errors
    /// A setting that makes no sampler.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::config(format!("sampler: {message}")));
        if self.steps == 0 {
            return fail("the number of steps is 0; it must be at least 1".to_owned());
        }
        if !(self.t_min > 0.0 && self.t_min < self.t_max && self.t_max <= 1.0) {
            return fail(format!("the times go from {} to {}; they must fall within (0, 1]", self.t_max, self.t_min));
        }
        if !(self.eta >= 0.0 && self.eta <= 1.0) {
            return fail(format!(
                "eta is {}; it must lie between 0 (deterministic) and 1 (the noise of DDPM)",
                self.eta
            ));
        }
        if !(self.corrector_snr > 0.0 && self.corrector_snr < 1.0) {
            return fail(format!("corrector_snr is {}; it must lie between 0 and 1", self.corrector_snr));
        }
        if self.kind == Sampler::Langevin && self.corrector_steps == 0 {
            return fail("corrector_steps is 0, but Langevin dynamics has no other steps".to_owned());
        }
        if self.kind == Sampler::ProbabilityFlow && self.solver == Solver::DormandPrince {
            return fail(
                "the adaptive solver chooses its own times; take euler, heun or rk4, or decode with the probability flow"
                    .to_owned(),
            );
        }
        match self.clip {
            Some(clip) if !(clip > 0.0 && clip.is_finite()) => {
                fail(format!("clip is {clip}; it must be a positive number"))
            }
            _ => Ok(()),
        }
    }
}

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

/// The ancestral sampler.
fn ddpm(run: &Run, mut x: Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
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
fn ddim(run: &Run, mut x: Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
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

/// Euler-Maruyama, with `corrections` Langevin steps after each step.
fn reverse_sde(run: &Run, mut x: Array2<f64>, corrections: usize, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
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
fn langevin(run: &Run, mut x: Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
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
