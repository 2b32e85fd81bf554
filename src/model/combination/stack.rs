//! How much of each departure is used: chosen on combinations that its parts have not seen.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Steps that a share is tried in.
const STEPS: usize = 4;

/// Shares of the two departures, each from 0 to 1, at most 1 together: both estimate the same remainder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Of what similar training combinations show.
    pub remembered: f64,
    /// Of what is decoded from the predicted embedding.
    pub decoded: f64,
    /// Mean L2 of the mixture on left-out training combinations, in units of the effects; `None` where there were too few
    /// to choose by.
    pub left_out_l2: Option<f64>,
    /// The same of the scaled sum alone.
    pub start_l2: Option<f64>,
}

impl Mixture {
    /// The start alone.
    pub(super) const NONE: Self = Self { remembered: 0.0, decoded: 0.0, left_out_l2: None, start_l2: None };

    /// The shares with the smallest weighted mean L2 of `departures - mixture`; all arrays `(combinations, genes)`, the
    /// parts in the order of the fields, the weights of mean 1. A part that is not `allowed` has no share.
    pub(super) fn choose(
        departures: &Array2<f64>,
        parts: &[Array2<f64>; 2],
        weights: &[f64],
        allowed: [bool; 2],
    ) -> Self {
        let columns = [departures, &parts[0], &parts[1]];
        // |r - sum_k c_k p_k|^2 from the products of the three, for all mixtures at once.
        let products: Vec<[[f64; 3]; 3]> = (0..departures.nrows())
            .map(|row| std::array::from_fn(|a| std::array::from_fn(|b| columns[a].row(row).dot(&columns[b].row(row)))))
            .collect();
        let error = |remembered: f64, decoded: f64| -> f64 {
            let c = [-1.0, remembered, decoded];
            let square = |m: &[[f64; 3]; 3]| -> f64 {
                c.iter().zip(m).map(|(a, row)| a * row.iter().zip(&c).map(|(v, b)| v * b).sum::<f64>()).sum()
            };
            let sum: f64 = products.iter().zip(weights).map(|(m, weight)| weight * square(m).max(0.0).sqrt()).sum();
            sum / products.len().max(1) as f64
        };
        let share = |step: usize| step as f64 / STEPS as f64;
        let candidates = (0..=STEPS).flat_map(|i| (0..=STEPS - i).map(move |j| (share(i), share(j))));
        let candidates = candidates.filter(|(i, j)| (allowed[0] || *i == 0.0) && (allowed[1] || *j == 0.0));
        let start = error(0.0, 0.0);
        candidates.fold(Self { left_out_l2: Some(start), start_l2: Some(start), ..Self::NONE }, |best, (i, j)| {
            let l2 = error(i, j);
            match best.left_out_l2.is_some_and(|least| l2 < least) {
                true => Self { remembered: i, decoded: j, left_out_l2: Some(l2), ..best },
                false => best,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_part_that_carries_over_is_used_and_the_other_is_not() {
        let truth = array![[2.0, 0.0], [0.0, 4.0]];
        let noise = array![[0.0, 3.0], [-3.0, 0.0]];
        let chosen = Mixture::choose(&truth, &[noise.clone(), truth.clone()], &[1.0, 1.0], [true; 2]);
        assert_eq!((chosen.remembered, chosen.decoded), (0.0, 1.0));
        assert_eq!((chosen.start_l2, chosen.left_out_l2), (Some(3.0), Some(0.0)));
        let refused = Mixture::choose(&truth, &[noise.clone(), truth.clone()], &[1.0, 1.0], [true, false]);
        assert_eq!(refused.decoded, 0.0);
        let none = Mixture::choose(&truth, &[noise.clone(), noise], &[1.0, 1.0], [true; 2]);
        assert_eq!((none.remembered, none.decoded, none.left_out_l2), (0.0, 0.0, none.start_l2));
    }

    #[test]
    fn half_of_a_part_that_is_twice_too_long() {
        let truth = array![[1.0, 1.0]];
        let chosen = Mixture::choose(&truth, &[&truth * 2.0, Array2::zeros((1, 2))], &[1.0], [true; 2]);
        assert_eq!((chosen.remembered, chosen.left_out_l2), (0.5, Some(0.0)));
    }
}
