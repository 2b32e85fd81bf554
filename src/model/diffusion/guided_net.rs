//! A trained network with its condition and guidance: one prediction.

use super::{config::check_guidance, placed::Answers};
use crate::Result;
use ndarray::{Array2, s};
use std::ops::Range;

/// The condition of some rows, and how strongly they are guided by it.
#[derive(Debug, Clone)]
pub(crate) struct Guide {
    /// In the network's units, `(rows, condition)`.
    condition: Option<Array2<f32>>,
    guidance: f64,
}

impl Guide {
    /// # Errors
    /// A guidance that is negative, or other than 1 without a condition.
    pub fn new(condition: Option<Array2<f32>>, guidance: f64) -> Result<Self> {
        check_guidance(guidance, condition.as_ref().map_or(0, Array2::ncols))?;
        Ok(Self { condition, guidance })
    }

    /// That of some of the rows.
    pub fn rows(&self, range: Range<usize>) -> Self {
        let condition = self.condition.as_ref().map(|condition| condition.slice(s![range, ..]).to_owned());
        Self { condition, guidance: self.guidance }
    }

    /// `u + guidance (c - u)` of the answers with and without the condition (Ho and Salimans 2022), both linear in what a
    /// network predicts, whatever that is. At 0 and 1 only one of them is computed.
    pub fn output(&self, net: &dyn Answers, x: &Array2<f32>, t: f64) -> Result<Array2<f64>> {
        if self.condition.is_none() || self.guidance == 0.0 {
            return net.answer(x, t, None);
        }
        let conditional = net.answer(x, t, self.condition.as_ref())?;
        if self.guidance == 1.0 {
            return Ok(conditional);
        }
        let unconditional = net.answer(x, t, None)?;
        Ok(&unconditional + &((conditional - &unconditional) * self.guidance))
    }
}
