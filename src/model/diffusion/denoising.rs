//! Denoising score matching: samples with noise on them, and what a network shall say of it.
//!
//! ```text
//! x_t = m(t) x_0 + s(t) epsilon,   t in (t_min, 1),   epsilon ~ N(0, 1)        seen as x_t / sqrt(m^2 + s^2)
//! target = p x_0 + q epsilon                                                     by the parameterisation
//! ```
//!
//! Vincent 2011; Ho et al. 2020, eq. 14; Song et al. 2021, eq. 7. What the network sees is of unit size at every time
//! (Karras et al. 2022, section 5), which only matters where the noise explodes.

use super::{
    LossWeight, Parameterization, Sde,
    learner::{Corruption, Examples, normal, stratified_times},
    rows::Rows,
};
use crate::Result;
use ndarray::{Array2, Zip};
use rand_chacha::ChaCha8Rng;

/// How examples are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denoising {
    pub sde: Sde,
    pub parameterization: Parameterization,
    pub weight: LossWeight,
    pub t_min: f64,
}

/// What x at time t is multiplied by before the network sees it.
pub(crate) fn input_scale(sde: &Sde, t: f64) -> f64 {
    1.0 / sde.mean(t).hypot(sde.std(t))
}

impl Corruption for Denoising {
    fn examples(&self, batch: &Rows, rng: &mut ChaCha8Rng) -> Result<Examples> {
        let (rows, dims) = batch.x.dim();
        let times = stratified_times(rows, self.t_min, rng);
        let epsilon = normal((rows, dims), rng);
        let (mut x, mut target) = (Array2::zeros((rows, dims)), Array2::zeros((rows, dims)));
        let mut weight = Vec::with_capacity(rows);
        for (row, &t) in times.iter().enumerate() {
            let (m, s) = (self.sde.mean(t), self.sde.std(t));
            let (p, q) = self.parameterization.target_coefficients(m, s);
            let scale = input_scale(&self.sde, t);
            weight.push(self.weight.weight(self.parameterization, m, s) as f32);
            let [signal, noise, p, q] = [scale * m, scale * s, p, q].map(|v| v as f32);
            Zip::from(x.row_mut(row)).and(target.row_mut(row)).and(batch.x.row(row)).and(epsilon.row(row)).for_each(
                |x, target, &x0, &epsilon| {
                    *x = signal * x0 + noise * epsilon;
                    *target = p * x0 + q * epsilon;
                },
            );
        }
        let t = times.into_iter().map(|t| t as f32).collect();
        Ok(Examples { x, t, target, weight: (self.weight != LossWeight::Uniform).then_some(weight) })
    }
}
