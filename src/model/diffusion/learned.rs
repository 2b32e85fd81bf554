//! A trained network as a [`Denoiser`].

use super::{
    Denoiser,
    denoising::{Denoising, input_scale},
    guided_net::Guide,
    placed::Answers,
};
use crate::Result;
use ndarray::Array2;

/// Step of the central differences of a divergence: the cube root of the rounding error of `f32`.
pub(crate) const DIFFERENCE_STEP: f64 = 5e-3;

/// A network, its condition, and what its output means. Samples are in the network's units.
pub(crate) struct LearnedDenoiser<'a> {
    pub net: &'a dyn Answers,
    pub dims: usize,
    pub training: Denoising,
    pub guide: Guide,
}

impl Denoiser for LearnedDenoiser<'_> {
    fn dims(&self) -> usize {
        self.dims
    }

    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let Denoising { sde, parameterization, .. } = self.training;
        let scale = input_scale(&sde, t);
        let output = self.guide.output(self.net, &x.mapv(|v| (v * scale) as f32), t)?;
        parameterization.to_epsilon(&output, x, t, &sde)
    }

    fn difference_step(&self) -> f64 {
        DIFFERENCE_STEP
    }
}
