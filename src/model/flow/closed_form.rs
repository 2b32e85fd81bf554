//! The exact velocity of a flow from standard normal noise to a Gaussian mixture, drawn independently of each other:
//! `v(x, t) = E[dx_t/dt | x_t = x] = a' E[x_0 | x_t] + b' E[x_1 | x_t]` with the weights a, b of the path.

use super::FlowPath;
use crate::{
    Result,
    model::diffusion::{GaussianMixture, Velocity},
};
use ndarray::Array2;

/// What a perfect velocity network would predict for a [`GaussianMixture`].
#[derive(Debug, Clone)]
pub struct MixtureVelocity {
    mixture: GaussianMixture,
    path: FlowPath,
}

impl MixtureVelocity {
    /// The velocity that carries standard normal noise to `mixture` along `path`.
    pub fn new(mixture: GaussianMixture, path: FlowPath) -> Self {
        Self { mixture, path }
    }
}

impl Velocity for MixtureVelocity {
    fn dims(&self) -> usize {
        self.mixture.dims()
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let (of_source, of_data) = self.path.weights(t);
        let (data, source) = self.mixture.expectations(x, of_data, of_source)?;
        let (source_speed, data_speed) = self.path.speeds(t);
        Ok(source * source_speed + data * data_speed)
    }
}
