//! What an unseen combination does beyond the sum of its genes, told by the training combinations that are like it.
//!
//! Attention over the measured combinations, in closed form: two combinations are alike where the sums of their single shifts are,
//!
//! ```text
//! S(P) = w k(u_P) (K + l I)^-1 R       u_P = sum over g in P of s_g
//! K_ij = k_i(u_j),  k_i(u) = exp(-|u - u_i|^2 / (2 h^2))
//! ```
//!
//! with R what the mean embedding of each training combination shows beyond control and f times the sum. h (as a share of the median
//! length of u), l and w are those with the least error on training combinations that are left out one by one (`math::left_out`); where
//! the gain is below its own standard error there is no S. Far from all training combinations S is 0.
//!
//! The keys are those of the combination model, which works in expression; here keys and values are embeddings.

use crate::{
    Result,
    math::{
        left_out::{LeftOut, lengths},
        median,
    },
};
use ndarray::{Array1, Array2, ArrayView1, Axis};

/// Candidates of h, in median lengths of u.
const WIDTHS: [f64; 3] = [0.5, 0.7, 1.0];
/// Fewer combinations are too few to choose by.
const FEWEST: usize = 6;

/// S.
#[derive(Debug, Clone)]
pub struct Similar {
    /// u of the training combinations, `(combinations, width)`.
    pub keys: Array2<f32>,
    /// `w (K + l I)^-1 R`, `(combinations, width)`.
    pub values: Array2<f32>,
    /// h.
    pub width: f64,
}

/// S, and what it says of each combination by the others.
pub struct Fitted {
    /// S by all.
    pub similar: Similar,
    /// `(combinations, width)`.
    pub left_out: Array2<f32>,
    /// Mean distance in embedding space of the left-out combinations, as a share of that without S.
    pub error: f64,
}

impl Similar {
    /// By the training combinations' `keys` u and `residuals` R, `(combinations, width)` both; `None` where they tell nothing of one
    /// another.
    ///
    /// # Errors
    /// Those of the linear algebra and of `go_on`, which is asked before each solution.
    pub fn fit(keys: &Array2<f64>, residuals: &Array2<f64>, go_on: impl Fn() -> Result<()>) -> Result<Option<Fitted>> {
        let usual = median(lengths(keys).to_vec()).unwrap_or(0.0);
        let alone = lengths(residuals);
        let scale = alone.sum();
        if keys.nrows() < FEWEST || !(usual > 0.0 && scale > 0.0) {
            return Ok(None);
        }
        let kernels = WIDTHS.map(|width| {
            let mut kernel = Array2::zeros((keys.nrows(), keys.nrows()));
            kernel.rows_mut().into_iter().zip(keys.rows()).for_each(|(mut row, key)| {
                row.assign(&alike(keys, key, width * usual));
            });
            kernel
        });
        let left_out = LeftOut {
            targets: residuals,
            means: &Array2::zeros(residuals.dim()),
            residuals,
            alone: &alone,
            centre_error: 1.0,
            scale,
        };
        let Some(best) = left_out.best(&kernels, go_on)? else { return Ok(None) };
        let values = best.inverse.dot(residuals); // (combinations, width)
        let pivots = best.inverse.diag().insert_axis(Axis(1)).mapv(|pivot| 1.0 / pivot);
        let of_others = (residuals - &(&values * &pivots)) * best.weight;
        let similar = Self {
            keys: keys.mapv(|v| v as f32),
            values: values.mapv(|v| (v * best.weight) as f32),
            width: WIDTHS[best.kernel] * usual,
        };
        Ok(Some(Fitted { similar, left_out: of_others.mapv(|v| v as f32), error: best.error }))
    }

    /// S of a combination with the sum u `(width,)` of single shifts, `(width,)`.
    pub fn of(&self, u: &Array1<f32>) -> Array1<f32> {
        let (keys, u) = (self.keys.mapv(f64::from), u.mapv(f64::from));
        alike(&keys, u.view(), self.width).mapv(|weight| weight as f32).dot(&self.values)
    }
}

/// k(u), `(combinations,)`.
fn alike(keys: &Array2<f64>, u: ArrayView1<'_, f64>, width: f64) -> Array1<f64> {
    let distance = |key: ArrayView1<'_, f64>| key.iter().zip(&u).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    keys.rows().into_iter().map(|key| (-0.5 * distance(key) / (width * width)).exp()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Array2<f64> {
        Array2::from_shape_fn((24, 3), |(row, column)| ((row * 5 + column * 11) as f64).sin())
    }

    /// A smooth function of the key is learned, each left-out estimate is that of a fit without the combination, and far from all
    /// keys nothing is said.
    #[test]
    fn what_similar_combinations_do_is_told_to_unseen_ones() {
        let keys = keys();
        let residuals =
            Array2::from_shape_fn((24, 2), |(row, column)| (keys[[row, column]] - 0.5 * keys[[row, 2]]).tanh());
        let fitted = Similar::fit(&keys, &residuals, || Ok(())).unwrap().expect("keys tell all");
        assert!(fitted.error < 0.5, "{}", fitted.error);
        let left = lengths(&(&residuals - &fitted.left_out.mapv(f64::from))).sum();
        assert!((left / lengths(&residuals).sum() - fitted.error).abs() < 1e-6);
        let far = fitted.similar.of(&Array1::from_elem(3, 50.0));
        assert!(far.iter().all(|v| v.abs() < 1e-6), "{far}");
        // At a key that was fitted it comes near the residual that stands there.
        let near = fitted.similar.of(&keys.row(3).mapv(|v| v as f32));
        assert!((near[0] - residuals[[3, 0]] as f32).abs() < 0.2, "{near} {}", residuals.row(3));
    }

    #[test]
    fn residuals_that_do_not_depend_on_the_genes_are_left_alone() {
        let noise =
            Array2::from_shape_fn((24, 2), |(row, column)| if (row * 7 + column) % 2 == 0 { 1.0 } else { -1.0 });
        assert!(Similar::fit(&keys(), &noise, || Ok(())).unwrap().is_none());
        assert!(Similar::fit(&Array2::zeros((24, 3)), &noise, || Ok(())).unwrap().is_none());
        let few = keys().slice(ndarray::s![..5, ..]).to_owned();
        assert!(Similar::fit(&few, &few, || Ok(())).unwrap().is_none());
    }
}
