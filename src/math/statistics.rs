//! Small statistics that several models share.

/// The median; the mean of the two in the middle of an even number. `None` without values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let (n, middle) = (values.len(), values.len() / 2);
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Upper bound of [`sum_factor`].
const LARGEST_FACTOR: f64 = 1.5;

/// The factor on a sum of single effects by least squares, `<sum, effect> / <sum, sum>`, kept between 0 and
/// [`LARGEST_FACTOR`] so that few noisy combinations cannot turn a sum around; 1 where the sums have no length.
pub(crate) fn sum_factor(product: f64, square: f64) -> f64 {
    if square > 0.0 { (product / square).clamp(0.0, LARGEST_FACTOR) } else { 1.0 }
}
