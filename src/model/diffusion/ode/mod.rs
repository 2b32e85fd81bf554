//! Ordinary differential equations `dx/dt = v(x, t)`, forward or backward in time.
//!
//! The sign of time is in the step: a solver gets `from` and `to`, and `to < from` runs the same equation backward.
//!
//! | file | what |
//! |---|---|
//! | `dormand_prince` | the solver whose steps are as long as a tolerance allows |
//! | `likelihood` | log densities along a solution |
//! | `probability_flow` | a diffusion as such an equation |

mod dormand_prince;
mod likelihood;
mod probability_flow;

pub use likelihood::{Divergence, FlowLikelihood, log_likelihood, standard_normal_log_density};
pub use probability_flow::ProbabilityFlow;

use super::{
    Velocity,
    denoiser::{check_finite, check_samples},
};
use crate::{Error, Result, notebook};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

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
        return dormand_prince::adaptive(&Watched::new(field), start, from, to, config);
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
