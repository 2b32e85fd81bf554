//! Arrays of a saved model beside its networks' weights. They are rounded to single precision.

use crate::{
    Error, Result,
    nn::{HostTensor, Snapshot},
};
use ndarray::{Array1, Array2, Axis};

/// An array as it is saved.
pub(super) fn host(array: &Array2<f64>) -> HostTensor {
    let (rows, columns) = array.dim();
    HostTensor { shape: vec![rows, columns], values: array.iter().map(|&value| value as f32).collect() }
}

/// A vector as it is saved: one row.
pub(super) fn host_row(values: &Array1<f64>) -> HostTensor {
    host(&values.clone().insert_axis(Axis(0)))
}

/// Rows of one width as they are saved.
pub(super) fn host_rows<'a>(rows: impl IntoIterator<Item = &'a Array1<f64>>) -> HostTensor {
    let (mut values, mut n, mut width) = (Vec::new(), 0, 0);
    for row in rows {
        values.extend(row.iter().map(|&value| value as f32));
        (n, width) = (n + 1, row.len());
    }
    HostTensor { shape: vec![n, width], values }
}

/// The array `name`, of so many columns where that is known.
///
/// # Errors
/// It is not there, or has another shape.
pub(super) fn array(arrays: &Snapshot, name: &str, columns: Option<usize>) -> Result<Array2<f64>> {
    let wrong = || Error::data(format!("there is no array `{name}` that fits the description; train again"));
    let tensor = arrays.tensors().get(name).ok_or_else(wrong)?;
    let [rows, width] = tensor.shape[..] else { return Err(wrong()) };
    let values = tensor.values.iter().map(|&value| f64::from(value)).collect();
    let array = Array2::from_shape_vec((rows, width), values).map_err(|_| wrong())?;
    if columns.is_some_and(|columns| columns != width) { Err(wrong()) } else { Ok(array) }
}

/// The vector `name`, `(columns,)`.
///
/// # Errors
/// As [`array`], and other than one row.
pub(super) fn row(arrays: &Snapshot, name: &str, columns: usize) -> Result<Array1<f64>> {
    let found = array(arrays, name, Some(columns))?;
    match found.nrows() {
        1 => Ok(found.row(0).to_owned()),
        _ => Err(Error::data(format!("the array `{name}` has {} rows, not one; train again", found.nrows()))),
    }
}
