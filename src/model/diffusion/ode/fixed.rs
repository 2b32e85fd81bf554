//! Euler, Heun and the classical Runge-Kutta method on a grid of times (Hairer, Norsett and Wanner 1993, II.1).

use super::{Solution, Solver, Watched};
use crate::Result;
use ndarray::Array2;

/// One step for each pair of neighbouring times.
pub(super) fn solve(field: &Watched, start: Array2<f64>, times: &[f64], solver: Solver) -> Result<Solution> {
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
