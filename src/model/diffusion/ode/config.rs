//! Which solver, how many steps, which tolerances.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

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

/// Settings of [`integrate`](super::integrate).
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
