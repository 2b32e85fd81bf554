//! Guidance without a classifier: a conditional and an unconditional model as one.
//!
//! `epsilon = epsilon_u + scale (epsilon_c - epsilon_u)` (Ho and Salimans 2022, with `scale = 1 + w`).
//!
//! Scale 0 ignores the condition, 1 is the conditional model, above 1 the samples lie where the condition is most certain, at the
//! cost of their spread. The same holds for velocities of flows.

use super::{Denoiser, Velocity};
use crate::{Error, Result};
use ndarray::Array2;

/// Moves the unconditional prediction towards the conditional one, and `scale` times as far.
pub fn guide(unconditional: &Array2<f64>, conditional: &Array2<f64>, scale: f64) -> Array2<f64> {
    unconditional + &((conditional - unconditional) * scale)
}

/// Two models as one, guided. At scale 0 or 1 only the one that counts is evaluated.
#[derive(Clone, Copy)]
pub struct Guided<'a, F: ?Sized> {
    unconditional: &'a F,
    conditional: &'a F,
    scale: f64,
}

impl<'a> Guided<'a, dyn Denoiser + 'a> {
    /// Guides a denoiser.
    ///
    /// # Errors
    /// Models of different widths; a scale that is negative or not finite.
    pub fn denoiser(unconditional: &'a dyn Denoiser, conditional: &'a dyn Denoiser, scale: f64) -> Result<Self> {
        check(unconditional.dims(), conditional.dims(), scale)?;
        Ok(Self { unconditional, conditional, scale })
    }
}

impl<'a> Guided<'a, dyn Velocity + 'a> {
    /// Guides a velocity.
    ///
    /// # Errors
    /// Models of different widths; a scale that is negative or not finite.
    pub fn velocity(unconditional: &'a dyn Velocity, conditional: &'a dyn Velocity, scale: f64) -> Result<Self> {
        check(unconditional.dims(), conditional.dims(), scale)?;
        Ok(Self { unconditional, conditional, scale })
    }
}

fn check(unconditional: usize, conditional: usize, scale: f64) -> Result<()> {
    if unconditional != conditional {
        return Err(Error::shape("guidance: the widths of the two models", unconditional, conditional));
    }
    check_scale(scale)
}

/// Checks a scale of guidance.
///
/// # Errors
/// A negative number, or one that is not finite.
pub(crate) fn check_scale(scale: f64) -> Result<()> {
    if scale >= 0.0 && scale.is_finite() {
        return Ok(());
    }
    Err(Error::config(format!(
        "the guidance scale is {scale}; it must be 0 (no condition), 1 (the condition) or any larger number"
    )))
}

impl<F: ?Sized> Guided<'_, F> {
    fn evaluate(&self, of: impl Fn(&F) -> Result<Array2<f64>>) -> Result<Array2<f64>> {
        match self.scale {
            0.0 => of(self.unconditional),
            1.0 => of(self.conditional),
            scale => Ok(guide(&of(self.unconditional)?, &of(self.conditional)?, scale)),
        }
    }
}

impl Denoiser for Guided<'_, dyn Denoiser + '_> {
    fn dims(&self) -> usize {
        self.conditional.dims()
    }

    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        self.evaluate(|model| model.noise(x, t))
    }

    fn difference_step(&self) -> f64 {
        self.conditional.difference_step()
    }
}

impl Velocity for Guided<'_, dyn Velocity + '_> {
    fn dims(&self) -> usize {
        self.conditional.dims()
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        self.evaluate(|model| model.velocity(x, t))
    }

    fn difference_step(&self) -> f64 {
        self.conditional.difference_step()
    }
}
