//! A flow in use: sampling, encoding, likelihood, and how straight it is.

use crate::{
    Error, Result,
    model::diffusion::{
        Divergence, Likelihood, OdeConfig, Solution, Velocity, integrate, log_likelihood,
        ode::standard_normal_log_density,
    },
};
use ndarray::{Array1, Array2, Axis};

/// Source samples (noise, control cells) to data, `(rows, dims)`.
///
/// # Errors
/// See [`integrate`].
pub fn transport(velocity: &dyn Velocity, source: &Array2<f64>, config: &OdeConfig) -> Result<Solution> {
    integrate(velocity, source.clone(), 0.0, 1.0, config)
}

/// Data to the source samples they come from, `(rows, dims)`.
///
/// # Errors
/// See [`integrate`].
pub fn encode(velocity: &dyn Velocity, data: &Array2<f64>, config: &OdeConfig) -> Result<Solution> {
    integrate(velocity, data.clone(), 1.0, 0.0, config)
}

/// Log density of data `(rows, dims)` in nats, for a flow whose source is standard normal.
///
/// # Errors
/// See [`integrate`].
pub fn flow_log_likelihood(
    velocity: &dyn Velocity,
    data: &Array2<f64>,
    divergence: Divergence,
    config: &OdeConfig,
) -> Result<Likelihood> {
    let source = |x: &Array2<f64>| standard_normal_log_density(x, 1.0);
    log_likelihood(velocity, data, 1.0, 0.0, &source, divergence, config)
}

/// How far the flow from `source` `(rows, dims)` is from straight lines: the mean over rows and times of
/// `|(x_1 - x_0) - v(x_t, t)|^2` along the solution (Liu et al. 2023, section 2.2), with `steps` steps of Heun. 0 if one Euler step
/// is exact.
///
/// # Errors
/// See [`integrate`]; no steps.
pub fn curvature(velocity: &dyn Velocity, source: &Array2<f64>, steps: usize) -> Result<f64> {
    if steps == 0 || source.nrows() == 0 {
        return Err(Error::config("curvature: at least one step and one sample are needed"));
    }
    let config = OdeConfig::fixed(crate::model::diffusion::Solver::Heun, 1);
    let mut x = source.clone();
    let mut speeds = Vec::with_capacity(steps);
    for i in 0..steps {
        let (t, u) = (i as f64 / steps as f64, (i + 1) as f64 / steps as f64);
        let next = integrate(velocity, x.clone(), t, u, &config)?.x;
        // The mean velocity of the step: its length is exactly what the solution moved by.
        speeds.push((&next - &x) * steps as f64);
        x = next;
    }
    let chord = x - source;
    let apart = |v: &Array2<f64>| -> Array1<f64> { (&chord - v).map_axis(Axis(1), |row| row.dot(&row)) };
    Ok(speeds.iter().map(|v| apart(v).sum()).sum::<f64>() / (steps * source.nrows()) as f64)
}
