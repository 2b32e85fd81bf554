//! Ordinary differential equations `dx/dt = v(x, t)`, forward or backward in time.
//!
//! | file | what |
//! |---|---|
//! | `config` | which solver, how many steps, which tolerances |
//! | `fixed` | Euler, Heun and the classical Runge-Kutta method on a grid of times |
//! | `dormand_prince` | steps as long as the tolerance allows |
//! | `likelihood` | log densities by the change of variables along the way |
//! | `probability_flow` | a denoiser as a velocity: encoding, decoding, likelihood |
//!
//! The sign of time is in the step: a solver gets `from` and `to`, and `to < from` runs the same equation backward.

mod config;
mod dormand_prince;
mod fixed;
mod likelihood;
mod probability_flow;

pub use config::{OdeConfig, Solver};
pub use likelihood::{Divergence, Likelihood, log_likelihood, standard_normal_log_density};
pub use probability_flow::ProbabilityFlow;

use super::field::{Velocity, check_finite, check_samples};
use crate::{Error, Result};
use ndarray::Array2;
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
/// runs out of steps.
pub fn integrate(field: &dyn Velocity, start: Array2<f64>, from: f64, to: f64, config: &OdeConfig) -> Result<Solution> {
    config.validate()?;
    if !(from.is_finite() && to.is_finite()) {
        return Err(Error::config(format!("ODE solver: the times {from} and {to} must be finite numbers")));
    }
    check_samples("ODE solver", &start, field.dims())?;
    if config.solver == Solver::DormandPrince {
        return dormand_prince::solve(&Watched::new(field), start, from, to, config);
    }
    let at = |i: usize| from + (to - from) * (i as f64 / config.steps as f64);
    let times: Vec<f64> = (0..=config.steps).map(at).collect();
    on_grid(field, start, &times, config.solver)
}

/// Carries samples along the given times with a solver of fixed steps.
pub(super) fn on_grid(field: &dyn Velocity, start: Array2<f64>, times: &[f64], solver: Solver) -> Result<Solution> {
    fixed::solve(&Watched::new(field), start, times, solver)
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
        self.evaluations.set(self.evaluations.get() + 1);
        let v = self.field.velocity(x, t)?;
        if v.dim() != x.dim() {
            return Err(Error::shape("ODE solver: samples and velocity", x.dim(), v.dim()));
        }
        check_finite(&v, || format!("ODE solver: the velocity at step {step} (t = {t:.4})"))?;
        Ok(v)
    }
}
