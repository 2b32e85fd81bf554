//! Columns to mean 0 and standard deviation 1, and back.

use super::rows::check_condition;
use crate::{Error, ErrorKind, Result};
use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

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
        let widths = (self.x.mean.len(), self.condition.as_ref().map_or(0, |scale| scale.mean.len()));
        let usable = |scale: &Standard| {
            scale.mean.len() == scale.std.len()
                && scale.mean.iter().all(|mean| mean.is_finite())
                && scale.std.iter().all(|std| std.is_finite() && *std > 0.0)
        };
        match widths == (dims, condition) && usable(&self.x) && self.condition.as_ref().is_none_or(usable) {
            true => Ok(()),
            false => Err(Error::data("model.json was edited: its scales do not fit its widths; train again")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn there_and_back() {
        let x = array![[1.0_f32, 10.0], [3.0, 30.0], [5.0, 20.0]];
        let standard = Standard::of_samples(&x).expect("both columns vary");
        let z = standard.forward("x", &x).expect("it fits");
        assert!((z[[0, 0]] + 1.224_745).abs() < 1e-5, "{z}");
        let back = standard.back(z.mapv(f64::from));
        assert!(back.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-5), "{back}");
        let volume = ((8.0_f64 / 3.0).sqrt() * (200.0_f64 / 3.0).sqrt()).ln();
        assert!((standard.log_volume() - volume).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_learned_is_said() {
        let says = |x: &Array2<f32>| Standard::of_samples(x).expect_err("it must fail").to_string();
        assert!(says(&array![[1.0, f32::NAN], [2.0, 3.0]]).contains("NaN at row 0, column 1"));
        assert!(says(&array![[0.1, 2.0], [0.1, 3.0]]).starts_with("dimension 0 of x never varies"));
        assert!(says(&array![[0.1, 2.0], [0.1, 2.0]]).contains("the latent has collapsed"));
        let constant = Standard::of_conditions(&array![[0.0], [0.0]]).expect("only centred");
        assert_eq!(constant.forward("c", &array![[1.0]]).expect("it fits"), array![[1.0]]);
    }
}
