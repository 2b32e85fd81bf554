//! A trained network as a [`Velocity`].

use crate::{
    Result,
    model::diffusion::{Velocity, guided_net::Guide, learned::DIFFERENCE_STEP, placed::Answers},
};
use ndarray::Array2;

/// A network and its condition. Samples are in the network's units.
pub(super) struct LearnedVelocity<'a> {
    pub net: &'a dyn Answers,
    pub dims: usize,
    pub guide: Guide,
}

impl Velocity for LearnedVelocity<'_> {
    fn dims(&self) -> usize {
        self.dims
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        self.guide.output(self.net, &x.mapv(|v| v as f32), t)
    }

    fn difference_step(&self) -> f64 {
        DIFFERENCE_STEP
    }
}
