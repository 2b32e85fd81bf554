//! Ordinary differential equations `dx/dt = v(x, t)`, forward or backward in time: solvers, likelihoods, and the probability
//! flow of a diffusion.
//!
//! The sign of time is in the step: a solver gets `from` and `to`, and `to < from` runs the same equation backward.
//!
//! # Adaptive steps
//!
//! The pair of Dormand and Prince (1980), orders 5 and 4, with steps as long as the tolerance allows (Hairer, Norsett and Wanner
//! 1993, II.4 and table II.5.2).
//!
//! A step is taken if no row's error, the root mean square over dimensions of `error / (atol + rtol |x|)`, is above 1: rows are
//! judged one by one, so that many easy ones do not hide a hard one. The last evaluation of a step is the first of the next.
//!
//! # Likelihood
//!
//! Log densities by the instantaneous change of variables (Chen et al. 2018, theorem 1; Song et al. 2021, eq. 39):
//!
//! ```text
//! ln p_from(x) = ln p_to(x_to) + int_from^to div v(x_t, t) dt
//! ```
//!
//! along the solution that starts at `x_from = x`, whichever of the two times is the later. The integral is one more column beside
//! the samples, so that an adaptive solver holds it to the same tolerance.
//!
//! # Probability flow
//!
//! The probability-flow ODE of a diffusion: the velocity that carries the same densities without noise,
//! `dx/dt = f(t) x - g(t)^2 score / 2 = f(t) x + g(t)^2 epsilon / (2 std(t))` (Song et al. 2021, eq. 13).
//!
//! It maps data to noise and back one to one. Encoding is the abduction of a counterfactual: the noise that made this sample, kept
//! while the condition is changed.

use super::{
    Denoiser, Sde, Velocity,
    denoiser::{check_finite, check_samples, hutchinson},
};
use crate::{Error, ErrorKind, Result, notebook};
use ndarray::{Array1, Array2, Axis, Zip, concatenate, s};
use serde::{Deserialize, Serialize};
use std::{cell::Cell, f64::consts::PI};

/// Where a solver arrived, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The samples at the end, `(rows, dims)`.
    pub x: Array2<f64>,
    /// Evaluations of the velocity.
    pub evaluations: usize,
    /// Steps that were taken.
    pub steps: usize,
    /// Steps that an adaptive solver tried and took back.
    pub rejected: usize,
}

/// Carries the samples `start` `(rows, dims)` from time `from` to time `to`.
///
/// # Errors
/// Settings that make no solver; samples of another width or not finite; a velocity that is not finite; an adaptive solver that
/// runs out of steps; an interruption by a notebook's user.
pub fn integrate(field: &dyn Velocity, start: Array2<f64>, from: f64, to: f64, config: &OdeConfig) -> Result<Solution> {
    config.validate()?;
    if !(from.is_finite() && to.is_finite()) {
        return Err(Error::config(format!("ODE solver: the times {from} and {to} must be finite numbers")));
    }
    check_samples("ODE solver", &start, field.dims())?;
    if config.solver == Solver::DormandPrince {
        return adaptive(&Watched::new(field), start, from, to, config);
    }
    let at = |i: usize| from + (to - from) * (i as f64 / config.steps as f64);
    let times: Vec<f64> = (0..=config.steps).map(at).collect();
    on_grid(field, start, &times, config.solver)
}

/// Carries samples along the given times by Euler, Heun or the classical Runge-Kutta method, one step for each pair of
/// neighbouring times (Hairer, Norsett and Wanner 1993, II.1).
pub(super) fn on_grid(field: &dyn Velocity, start: Array2<f64>, times: &[f64], solver: Solver) -> Result<Solution> {
    let field = Watched::new(field);
    let mut x = start;
    for (i, pair) in times.windows(2).enumerate() {
        let (t, h, step) = (pair[0], pair[1] - pair[0], i + 1);
        let k1 = field.at(&x, t, step)?;
        let change = match solver {
            Solver::Euler => k1,
            Solver::Heun => {
                let k2 = field.at(&(&x + &(&k1 * h)), t + h, step)?;
                (k1 + k2) * 0.5
            }
            // The adaptive method has its own loop; on a grid that someone else chose, the classical one serves.
            Solver::Rk4 | Solver::DormandPrince => {
                let k2 = field.at(&(&x + &(&k1 * (0.5 * h))), t + 0.5 * h, step)?;
                let k3 = field.at(&(&x + &(&k2 * (0.5 * h))), t + 0.5 * h, step)?;
                let k4 = field.at(&(&x + &(&k3 * h)), t + h, step)?;
                (k1 + (k2 + k3) * 2.0 + k4) / 6.0
            }
        };
        x.scaled_add(h, &change);
    }
    Ok(Solution { x, evaluations: field.evaluations.get(), steps: times.len().saturating_sub(1), rejected: 0 })
}

/// A velocity that counts its evaluations and refuses values that are not finite.
struct Watched<'a> {
    field: &'a dyn Velocity,
    evaluations: Cell<usize>,
}

impl<'a> Watched<'a> {
    fn new(field: &'a dyn Velocity) -> Self {
        Self { field, evaluations: Cell::new(0) }
    }

    /// The velocity at step `step`, counted from 1.
    fn at(&self, x: &Array2<f64>, t: f64, step: usize) -> Result<Array2<f64>> {
        notebook::check_interrupt("the ODE solver")?;
        self.evaluations.set(self.evaluations.get() + 1);
        let v = self.field.velocity(x, t)?;
        if v.dim() != x.dim() {
            return Err(Error::shape("ODE solver: samples and velocity", x.dim(), v.dim()));
        }
        check_finite(&v, || format!("ODE solver: the velocity at step {step} (t = {t:.4})"))?;
        Ok(v)
    }
}

/// A method for ordinary differential equations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Order 1, one evaluation a step.
    Euler,
    /// Order 2, two evaluations a step (Karras et al. 2022, algorithm 1).
    Heun,
    /// The classical Runge-Kutta method: order 4, four evaluations a step.
    Rk4,
    /// Order 5 with an error estimate of order 4, six evaluations a step, steps as long as the tolerance allows.
    #[default]
    DormandPrince,
}

/// Settings of [`integrate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OdeConfig {
    /// The method.
    pub solver: Solver,
    /// Steps of a fixed method, all of one length.
    pub steps: usize,
    /// Adaptive: error of a step that is allowed, as a part of the value.
    pub rtol: f64,
    /// Adaptive: error of a step that is allowed at value 0.
    pub atol: f64,
    /// Adaptive: steps, taken or taken back, after which it gives up.
    pub max_steps: usize,
}

impl Default for OdeConfig {
    fn default() -> Self {
        Self { solver: Solver::default(), steps: 100, rtol: 1e-5, atol: 1e-5, max_steps: 10_000 }
    }
}

impl OdeConfig {
    /// A method of fixed steps.
    pub fn fixed(solver: Solver, steps: usize) -> Self {
        Self { solver, steps, ..Self::default() }
    }

    /// Dormand-Prince with one number for both tolerances.
    pub fn adaptive(tolerance: f64) -> Self {
        Self { rtol: tolerance, atol: tolerance, ..Self::default() }
    }

    /// # Errors
    /// No steps, or a tolerance that is not positive.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::config(format!("ODE solver: {message}")));
        if self.steps == 0 || self.max_steps == 0 {
            return fail("the number of steps is 0; it must be at least 1".to_owned());
        }
        for (name, tolerance) in [("rtol", self.rtol), ("atol", self.atol)] {
            if !(tolerance > 0.0 && tolerance.is_finite()) {
                return fail(format!("{name} is {tolerance}; it must be a positive number"));
            }
        }
        Ok(())
    }
}

const C: [f64; 6] = [0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0];
const A: [[f64; 6]; 6] = [
    [0.2, 0.0, 0.0, 0.0, 0.0, 0.0],
    [3.0 / 40.0, 9.0 / 40.0, 0.0, 0.0, 0.0, 0.0],
    [44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0, 0.0, 0.0, 0.0],
    [19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0, 0.0, 0.0],
    [9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0, 0.0],
    // The last row is the solution of order 5.
    [35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
];
/// Order 5 less order 4.
const E: [f64; 7] =
    [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339_200.0, 22.0 / 525.0, -1.0 / 40.0];

/// A step's length is the longest expected to pass, times this.
const SAFETY: f64 = 0.9;
/// A step is at least and at most so many times as long as the one before.
const CHANGE: (f64, f64) = (0.2, 5.0);

/// Dormand and Prince's method, with steps as long as the tolerance allows.
fn adaptive(field: &Watched, start: Array2<f64>, from: f64, to: f64, config: &OdeConfig) -> Result<Solution> {
    let mut solution = Solution { x: start, evaluations: 0, steps: 0, rejected: 0 };
    if from == to {
        return Ok(solution);
    }
    let mut t = from;
    let mut first = field.at(&solution.x, t, 1)?;
    let mut h = first_step(field, &solution.x, &first, from, to, config)?;
    let mut longest = CHANGE.1;
    loop {
        let tried = solution.steps + solution.rejected;
        if tried == config.max_steps {
            return Err(Error::new(
                ErrorKind::Numeric,
                format!(
                    "ODE solver: {tried} steps were not enough, it reached t = {t:.4} on the way from {from} to {to}; \
                     raise max_steps, rtol or atol"
                ),
            ));
        }
        let last = (t + h - to) * (to - from) >= 0.0;
        if last {
            h = to - t;
        }
        let mut slopes = vec![first.clone()];
        let mut x = solution.x.clone();
        for (c, row) in C.iter().zip(&A) {
            x.assign(&solution.x);
            for (a, slope) in row.iter().zip(&slopes) {
                x.scaled_add(h * a, slope);
            }
            slopes.push(field.at(&x, t + c * h, tried + 1)?);
        }
        // x is now the solution of order 5, and the last slope the one there.
        let mut difference = Array2::zeros(x.dim());
        for (e, slope) in E.iter().zip(&slopes) {
            difference.scaled_add(h * e, slope);
        }
        let error = worst_row(&difference, &solution.x, &x, config);
        let factor = (SAFETY * error.powf(-0.2)).clamp(CHANGE.0, longest);
        if error <= 1.0 {
            solution.steps += 1;
            solution.x = x;
            t += h;
            if last {
                solution.evaluations = field.evaluations.get();
                return Ok(solution);
            }
            first = slopes.pop().expect("seven slopes");
            longest = CHANGE.1;
        } else {
            solution.rejected += 1;
            // After a failure the next step does not grow at once.
            longest = 1.0;
            if h.abs() <= 16.0 * f64::EPSILON * t.abs().max(1e-8) {
                return Err(Error::new(
                    ErrorKind::Numeric,
                    format!("ODE solver: the step at t = {t:.6} became too short; the velocity jumps there"),
                ));
            }
        }
        h *= factor;
    }
}

/// The first step's length, from the sizes of the samples, of the slope and of its change (Hairer et al., II.4).
fn first_step(
    field: &Watched,
    x: &Array2<f64>,
    slope: &Array2<f64>,
    from: f64,
    to: f64,
    config: &OdeConfig,
) -> Result<f64> {
    let (size, speed) = (worst_row(x, x, x, config), worst_row(slope, x, x, config));
    let guess = if size < 1e-5 || speed < 1e-5 { 1e-6 } else { 0.01 * size / speed };
    let guess = guess.min((to - from).abs()).copysign(to - from);
    let ahead = field.at(&(x + &(slope * guess)), from + guess, 1)?;
    let bend = worst_row(&(ahead - slope), x, x, config) / guess.abs();
    let top = speed.max(bend);
    let length = if top <= 1e-15 { (guess.abs() * 1e-3).max(1e-6) } else { (0.01 / top).powf(0.2) };
    Ok(length.min(100.0 * guess.abs()).min((to - from).abs()).copysign(to - from))
}

/// The largest over rows of the root mean square of `value / (atol + rtol max(|before|, |after|))`.
fn worst_row(value: &Array2<f64>, before: &Array2<f64>, after: &Array2<f64>, config: &OdeConfig) -> f64 {
    let mut worst: f64 = 0.0;
    Zip::from(value.rows()).and(before.rows()).and(after.rows()).for_each(|value, before, after| {
        let scaled = value.iter().zip(before).zip(after).map(|((v, b), a)| {
            let allowed = config.atol + config.rtol * b.abs().max(a.abs());
            (v / allowed).powi(2)
        });
        worst = worst.max((scaled.sum::<f64>() / value.len() as f64).sqrt());
    });
    worst
}

/// How the divergence of a velocity is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Divergence {
    /// Along each axis; see [`Velocity::divergence`].
    #[default]
    Exact,
    /// By random probes; see [`hutchinson`].
    Hutchinson {
        /// Number of probes, two evaluations each.
        probes: usize,
        /// Of their random signs.
        seed: u64,
    },
}

/// Log densities and where they were read off.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowLikelihood {
    /// In nats, `(rows,)`.
    pub log_density: Array1<f64>,
    /// The samples at the other end, `(rows, dims)`.
    pub latent: Array2<f64>,
    /// Steps of the solver.
    pub steps: usize,
}

/// Log density at time `from` of the rows of `x`, for a velocity that carries them to time `to`, where `log_density` `(rows,)` is
/// known.
///
/// # Errors
/// Those of [`integrate`]; no probes.
pub fn log_likelihood(
    field: &dyn Velocity,
    x: &Array2<f64>,
    from: f64,
    to: f64,
    log_density: &dyn Fn(&Array2<f64>) -> Array1<f64>,
    divergence: Divergence,
    config: &OdeConfig,
) -> Result<FlowLikelihood> {
    if x.ncols() != field.dims() {
        return Err(Error::shape("likelihood: samples, and the model's width", x.dim(), field.dims()));
    }
    let start = concatenate![Axis(1), *x, Array2::zeros((x.nrows(), 1))];
    let solution = integrate(&WithDivergence { field, divergence }, start, from, to, config)?;
    let latent = solution.x.slice(s![.., ..-1]).to_owned();
    let log_density = log_density(&latent) + solution.x.column(field.dims());
    Ok(FlowLikelihood { log_density, latent, steps: solution.steps })
}

/// Log density of centred normal samples `x` `(rows, dims)` of standard deviation `std`, in nats, `(rows,)`.
pub fn standard_normal_log_density(x: &Array2<f64>, std: f64) -> Array1<f64> {
    let constant = -0.5 * x.ncols() as f64 * (2.0 * PI * std * std).ln();
    x.map_axis(Axis(1), |row| constant - 0.5 * row.dot(&row) / (std * std))
}

/// Samples with the integral of the divergence as one more column.
struct WithDivergence<'a> {
    field: &'a dyn Velocity,
    divergence: Divergence,
}

impl Velocity for WithDivergence<'_> {
    fn dims(&self) -> usize {
        self.field.dims() + 1
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let x = x.slice(s![.., ..-1]).to_owned();
        let divergence = match self.divergence {
            Divergence::Exact => self.field.divergence(&x, t)?,
            Divergence::Hutchinson { probes, seed } => hutchinson(self.field, &x, t, probes, seed)?,
        };
        Ok(concatenate![Axis(1), self.field.velocity(&x, t)?, divergence.insert_axis(Axis(1))])
    }
}

/// A [`Denoiser`] as a [`Velocity`] over diffusion time.
#[derive(Clone, Copy)]
pub struct ProbabilityFlow<'a> {
    denoiser: &'a dyn Denoiser,
    sde: Sde,
    earliest: f64,
}

impl<'a> ProbabilityFlow<'a> {
    /// Where data end by default: at time 0 itself the score of data without noise may be infinite.
    pub const EARLIEST: f64 = 1e-5;

    /// The flow of this denoiser, trained (or exact) under `sde`.
    ///
    /// # Errors
    /// Settings that make no diffusion.
    pub fn new(denoiser: &'a dyn Denoiser, sde: Sde) -> Result<Self> {
        sde.validate()?;
        Ok(Self { denoiser, sde, earliest: Self::EARLIEST })
    }

    /// Ends at another time than [`Self::EARLIEST`]: a network is no use before the earliest time it was trained at.
    ///
    /// # Errors
    /// A time outside (0, 1).
    pub fn ending_at(self, earliest: f64) -> Result<Self> {
        if !(earliest > 0.0 && earliest < 1.0) {
            return Err(Error::config(format!("the earliest time is {earliest}; it must lie between 0 and 1")));
        }
        Ok(Self { earliest, ..self })
    }

    /// Data to noise, `(rows, dims)`.
    ///
    /// # Errors
    /// See [`integrate`].
    pub fn encode(&self, x: &Array2<f64>, config: &OdeConfig) -> Result<Solution> {
        integrate(self, x.clone(), self.earliest, 1.0, config)
    }

    /// Noise to data, `(rows, dims)`.
    ///
    /// # Errors
    /// See [`integrate`].
    pub fn decode(&self, noise: &Array2<f64>, config: &OdeConfig) -> Result<Solution> {
        integrate(self, noise.clone(), 1.0, self.earliest, config)
    }

    /// Log density of data `x` `(rows, dims)` in nats, if the noise at time 1 is the samplers' prior.
    ///
    /// # Errors
    /// See [`integrate`].
    pub fn log_likelihood(&self, x: &Array2<f64>, divergence: Divergence, config: &OdeConfig) -> Result<FlowLikelihood> {
        let prior = |noise: &Array2<f64>| standard_normal_log_density(noise, self.sde.prior_std());
        log_likelihood(self, x, self.earliest, 1.0, &prior, divergence, config)
    }
}

impl Velocity for ProbabilityFlow<'_> {
    fn dims(&self) -> usize {
        self.denoiser.dims()
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let noise = self.denoiser.noise(x, t)?;
        if noise.dim() != x.dim() {
            return Err(Error::shape("probability flow: samples and predicted noise", x.dim(), noise.dim()));
        }
        let pull = 0.5 * self.sde.diffusion_squared(t) / self.sde.std(t);
        Ok(x * self.sde.drift(t) + noise * pull)
    }

    fn difference_step(&self) -> f64 {
        self.denoiser.difference_step()
    }
}
