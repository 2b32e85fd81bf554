//! Adaptive steps: the pair of Dormand and Prince (1980), orders 5 and 4, with steps as long as the tolerance allows (Hairer,
//! Norsett and Wanner 1993, II.4 and table II.5.2).
//!
//! A step is taken if no row's error, the root mean square over dimensions of `error / (atol + rtol |x|)`, is above 1: rows are
//! judged one by one, so that many easy ones do not hide a hard one. The last evaluation of a step is the first of the next.

use super::{OdeConfig, Solution, Watched};
use crate::{Error, ErrorKind, Result};
use ndarray::{Array2, Zip};

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
pub(super) fn adaptive(
    field: &Watched,
    start: Array2<f64>,
    from: f64,
    to: f64,
    config: &OdeConfig,
) -> Result<Solution> {
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
