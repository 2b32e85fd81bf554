//! What a network predicts, and what is made of it: the units it works in, and guidance by its condition.
//!
//! # One prediction as another
//!
//! With `x_t = m x_0 + s epsilon` (m, s: mean and standard deviation of the [`Sde`] at t) and `r^2 = m^2 + s^2`:
//!
//! | prediction | of | epsilon from it |
//! |---|---|---|
//! | epsilon | the noise | itself |
//! | x0 | the data | `(x - m x0) / s` |
//! | v | `(m epsilon - s x0) / r`: the data and noise axes, turned (Salimans and Ho 2022, where r = 1) | `(s x / r + m v) / r` |
//! | score | `grad ln p_t(x) = -E[epsilon] / s` | `-s score` |
//!
//! Each is `epsilon = a x + b output`, so that all conversions are lossless wherever m and s are above 0, for every SDE. Dividing by
//! r keeps v of unit size where the noise explodes.

use super::{Sde, denoiser::check_scale, guide};
use crate::{Error, ErrorKind, Result};
use ndarray::{Array2, ArrayView1, Axis, s};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a network's output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameterization {
    /// The noise.
    #[default]
    Epsilon,
    /// The data without noise.
    X0,
    /// A rotation of both, of unit size at every time.
    V,
    /// The gradient of the log density.
    Score,
}

impl Parameterization {
    /// `(a, b)` of `epsilon = a x_t + b output` where the data's factor is `mean` and the noise's `std`.
    pub fn epsilon_coefficients(self, mean: f64, std: f64) -> (f64, f64) {
        let r = mean.hypot(std);
        match self {
            Self::Epsilon => (0.0, 1.0),
            Self::X0 => (1.0 / std, -mean / std),
            Self::V => (std / (r * r), mean / r),
            Self::Score => (0.0, -std),
        }
    }

    /// `(p, q)` of the training target `p x_0 + q epsilon` where the data's factor is `mean` and the noise's `std`.
    pub fn target_coefficients(self, mean: f64, std: f64) -> (f64, f64) {
        let r = mean.hypot(std);
        match self {
            Self::Epsilon => (0.0, 1.0),
            Self::X0 => (1.0, 0.0),
            Self::V => (-std / r, mean / r),
            Self::Score => (0.0, -1.0 / std),
        }
    }

    /// The training target of data `x0` and noise `epsilon`, `(rows, dims)` each.
    pub fn target(self, x0: &Array2<f64>, epsilon: &Array2<f64>, t: f64, sde: &Sde) -> Array2<f64> {
        let (p, q) = self.target_coefficients(sde.mean(t), sde.std(t));
        x0 * p + epsilon * q
    }

    /// The noise that `output` means at samples `x` and time `t` in (0, 1], `(rows, dims)` each.
    ///
    /// # Errors
    /// A time at which there is no noise.
    pub fn to_epsilon(self, output: &Array2<f64>, x: &Array2<f64>, t: f64, sde: &Sde) -> Result<Array2<f64>> {
        let (a, b) = self.epsilon_coefficients(sde.mean(t), noise_at(sde, t)?);
        Ok(x * a + output * b)
    }

    /// The output that means the noise `epsilon`; the inverse of [`Self::to_epsilon`].
    ///
    /// # Errors
    /// A time at which there is no noise.
    pub fn from_epsilon(self, epsilon: &Array2<f64>, x: &Array2<f64>, t: f64, sde: &Sde) -> Result<Array2<f64>> {
        let (a, b) = self.epsilon_coefficients(sde.mean(t), noise_at(sde, t)?);
        Ok((epsilon - &(x * a)) / b)
    }

    /// The output of the parameterisation `to` that says what `output` says under this one.
    ///
    /// # Errors
    /// A time at which there is no noise.
    pub fn convert(self, to: Self, output: &Array2<f64>, x: &Array2<f64>, t: f64, sde: &Sde) -> Result<Array2<f64>> {
        to.from_epsilon(&self.to_epsilon(output, x, t, sde)?, x, t, sde)
    }
}

fn noise_at(sde: &Sde, t: f64) -> Result<f64> {
    let std = sde.std(t);
    if std > 0.0 {
        return Ok(std);
    }
    Err(Error::config(format!("there is no noise at time {t}; a time must lie in (0, 1]")))
}

/// The weight of a sample's squared error, by its signal-to-noise ratio.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LossWeight {
    /// 1: the squared error of the output as it is.
    #[default]
    Uniform,
    /// What makes the loss that of the noise, whatever the output (Ho et al. 2020, eq. 14): the SNR for x0.
    Snr,
    /// Hang et al. 2023, eq. 8: `min(SNR, gamma)` for x0, `min(SNR, gamma) / SNR` for the noise, `min(SNR, gamma) / (SNR + 1)` for v.
    MinSnr {
        /// Where the SNR is cut; 5 in the paper.
        gamma: f64,
    },
    /// `std^2`, which keeps the score's loss of one size over time (Song et al. 2021, eq. 7).
    Variance,
}

impl LossWeight {
    /// # Errors
    /// A gamma that is not positive.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::MinSnr { gamma } if !(gamma > 0.0 && gamma.is_finite()) => {
                Err(Error::config(format!("the loss weight's gamma is {gamma}; it must be a positive number")))
            }
            _ => Ok(()),
        }
    }

    /// The weight of the squared error of the output of `parameterization` where the data's factor is `mean` and the noise's
    /// `std` (above 0).
    pub fn weight(self, parameterization: Parameterization, mean: f64, std: f64) -> f64 {
        // |error of epsilon|^2 = b^2 |error of the output|^2.
        let of_noise = parameterization.epsilon_coefficients(mean, std).1.powi(2);
        match self {
            Self::Uniform => 1.0,
            Self::Snr => of_noise,
            Self::MinSnr { gamma } => of_noise * (gamma * (std / mean).powi(2)).min(1.0),
            Self::Variance => std * std,
        }
    }
}

/// A column whose standard deviation is below this share of its size does not vary: what is left is rounding of `f32`.
const CONSTANT: f64 = 1e-6;

/// Mean and standard deviation of each column, `(columns,)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standard {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Standard {
    /// Of samples x `(rows, columns)`, all of whose columns must vary.
    ///
    /// # Errors
    /// No rows, a value that is not finite, a column that does not vary.
    pub fn of_samples(x: &Array2<f32>) -> Result<Self> {
        let moments = Self::moments("x", x)?;
        let constant: Vec<usize> = (0..x.ncols()).filter(|&column| moments.is_constant(column)).collect();
        match constant[..] {
            [] => Ok(moments),
            _ if constant.len() == x.ncols() => Err(Error::data(format!(
                "all {} dimensions of x are the same in each of the {} rows: the latent has collapsed, there is no \
                 distribution to learn; train its encoder again",
                x.ncols(),
                x.nrows()
            ))),
            _ => Err(Error::data(format!(
                "dimension {} of x never varies ({} of {} do not): take such columns out, or use a latent without \
                 collapsed dimensions",
                constant[0],
                constant.len(),
                x.ncols()
            ))),
        }
    }

    /// Of conditions `(rows, columns)`; a column that does not vary is only centred.
    ///
    /// # Errors
    /// No rows, a value that is not finite.
    pub fn of_conditions(condition: &Array2<f32>) -> Result<Self> {
        let mut moments = Self::moments("the condition", condition)?;
        for column in 0..condition.ncols() {
            if moments.is_constant(column) {
                moments.std[column] = 1.0;
            }
        }
        Ok(moments)
    }

    fn moments(what: &str, x: &Array2<f32>) -> Result<Self> {
        check_finite(what, x)?;
        if x.nrows() == 0 {
            return Err(Error::data(format!("{what} has no rows: there is nothing to learn from")));
        }
        let moments = |column: ArrayView1<'_, f32>| {
            let n = column.len() as f64;
            let mean = column.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let variance = column.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
            (mean, variance.sqrt())
        };
        let (mean, std) = x.columns().into_iter().map(moments).unzip();
        Ok(Self { mean, std })
    }

    fn is_constant(&self, column: usize) -> bool {
        self.std[column] <= CONSTANT * self.mean[column].abs().max(f64::MIN_POSITIVE)
    }

    /// `(x - mean) / std`, in `f32` for a network.
    ///
    /// # Errors
    /// Another width, a value that is not finite; `what` names the array.
    pub fn forward(&self, what: &str, x: &Array2<f32>) -> Result<Array2<f32>> {
        self.check(what, x.ncols())?;
        check_finite(what, x)?;
        let mut y = x.clone();
        for (mut column, (mean, std)) in y.columns_mut().into_iter().zip(self.mean.iter().zip(&self.std)) {
            column.mapv_inplace(|v| ((f64::from(v) - mean) / std) as f32);
        }
        Ok(y)
    }

    /// `z std + mean`, from the network's units to the data's.
    pub fn back(&self, mut z: Array2<f64>) -> Array2<f32> {
        for (mut column, (mean, std)) in z.columns_mut().into_iter().zip(self.mean.iter().zip(&self.std)) {
            column.mapv_inplace(|v| v * std + mean);
        }
        z.mapv(|v| v as f32)
    }

    /// `sum ln std`: what a log density in the network's units is reduced by to be one in the data's.
    pub fn log_volume(&self) -> f64 {
        self.std.iter().map(|std| std.ln()).sum()
    }

    /// Checks moments from a file against the width of a model.
    ///
    /// # Errors
    /// Another number of columns; a deviation that is not above 0.
    pub fn check_saved(&self, columns: usize) -> Result<()> {
        let usable = self.std.iter().all(|std| std.is_finite() && *std > 0.0);
        match self.mean.len() == columns
            && self.std.len() == columns
            && self.mean.iter().all(|m| m.is_finite())
            && usable
        {
            true => Ok(()),
            false => Err(Error::data("model.json was edited: its scales do not fit its widths; train again")),
        }
    }

    fn check(&self, what: &str, columns: usize) -> Result<()> {
        if columns == self.mean.len() {
            return Ok(());
        }
        Err(Error::config(format!("{what} has {columns} columns, but the model was trained on {}", self.mean.len())))
    }
}

/// The units of samples and of their conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scales {
    pub x: Standard,
    pub condition: Option<Standard>,
}

impl Scales {
    /// Checks scales from a file against the widths of a model.
    ///
    /// # Errors
    /// Another number of columns; a deviation that is not above 0.
    pub fn check(&self, dims: usize, condition: usize) -> Result<()> {
        self.x.check_saved(dims)?;
        match &self.condition {
            Some(scale) => scale.check_saved(condition),
            None if condition == 0 => Ok(()),
            None => Err(Error::data("model.json was edited: its scales do not fit its widths; train again")),
        }
    }

    /// Conditions in the network's units.
    ///
    /// # Errors
    /// Another width, a value that is not finite.
    pub fn condition(&self, condition: Option<&Array2<f32>>) -> Result<Option<Array2<f32>>> {
        condition.zip(self.condition.as_ref()).map(|(c, scale)| scale.forward("the condition", c)).transpose()
    }

    /// The same for `rows` rows, where a single row stands for all of them; `width` is what the model was made for.
    ///
    /// # Errors
    /// No rows; a condition that is missing, not expected or of another shape.
    pub fn conditions(
        &self,
        rows: usize,
        condition: Option<&Array2<f32>>,
        width: usize,
    ) -> Result<Option<Array2<f32>>> {
        if rows == 0 {
            return Err(Error::config("no rows are asked for; give at least 1"));
        }
        let one = condition.is_some_and(|condition| condition.nrows() == 1);
        check_condition(condition, if one { 1 } else { rows }, width)?;
        let Some(condition) = self.condition(condition)? else { return Ok(None) };
        let shape = (rows, condition.ncols());
        Ok(Some(condition.broadcast(shape).expect("one row, or as many").to_owned()))
    }
}

/// All values are finite.
///
/// # Errors
/// One that is not: its row and column.
pub(crate) fn check_finite(what: &str, x: &Array2<f32>) -> Result<()> {
    match x.axis_iter(Axis(0)).enumerate().find_map(|(row, values)| {
        values.iter().position(|v| !v.is_finite()).map(|column| (row, column, values[column]))
    }) {
        None => Ok(()),
        Some((row, column, value)) => Err(Error::new(
            ErrorKind::Numeric,
            format!("{what} holds {value} at row {row}, column {column}; every value must be a finite number"),
        )),
    }
}

/// Checks a condition against what a model was made for, `width` numbers a row or 0 for none, and `rows` rows.
///
/// # Errors
/// One that is missing, not expected, or of another shape.
pub(crate) fn check_condition(condition: Option<&Array2<f32>>, rows: usize, width: usize) -> Result<()> {
    match condition {
        None if width == 0 => Ok(()),
        None => Err(Error::config(format!("the model is conditional: give a condition of {width} columns"))),
        Some(_) if width == 0 => {
            Err(Error::config("the model is unconditional (condition = 0): leave the condition out"))
        }
        Some(c) if c.ncols() != width => {
            Err(Error::config(format!("the condition has {} columns, but the model was made for {width}", c.ncols())))
        }
        Some(c) if c.nrows() != rows => {
            Err(Error::config(format!("the condition has {} rows, where {rows} were expected", c.nrows())))
        }
        Some(_) => Ok(()),
    }
}

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
        let answer = |dropped| net.answer(x, t, self.condition.as_ref(), dropped);
        if self.condition.is_none() || self.guidance == 0.0 {
            return answer(true);
        }
        let conditional = answer(false)?;
        if self.guidance == 1.0 {
            return Ok(conditional);
        }
        Ok(guide(&answer(true)?, &conditional, self.guidance))
    }
}

/// Checks a guidance scale against a model with conditions of `condition` numbers.
pub(crate) fn check_guidance(guidance: f64, condition: usize) -> Result<()> {
    check_scale(guidance)?;
    if condition == 0 && guidance != 1.0 {
        return Err(Error::config(format!(
            "guidance {guidance} on an unconditional model: there is no condition to guide by; leave it at 1"
        )));
    }
    Ok(())
}

/// Gives the averaged network's answer.
pub(crate) trait Answers {
    /// To x `(rows, dims)` at one time with conditions `(rows, condition)` or none, or with only what is kept of a dropped
    /// condition: `(rows, dims)`.
    ///
    /// # Errors
    /// Widths that do not fit; a device that fails.
    fn answer(&self, x: &Array2<f32>, t: f64, condition: Option<&Array2<f32>>, dropped: bool) -> Result<Array2<f64>>;
}
