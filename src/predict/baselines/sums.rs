//! The sum of single effects, and how much of it is left in the combinations that were trained on.

use crate::{
    Error, Result,
    data::{Condition, EffectTable},
};
use ndarray::{Array1, Array2, s};

/// `sum over the genes of their single effects`, `(genes,)`.
///
/// # Errors
/// A gene whose single effect was not trained on: [`ErrorKind::Inapplicable`](crate::ErrorKind), with its name.
pub(super) fn sum(training: &EffectTable, condition: &Condition) -> Result<Array1<f64>> {
    let mut sum = Array1::<f64>::zeros(training.genes.len());
    for gene in condition.perturbation.genes() {
        let effect = training.single(gene, condition.context.as_deref())?;
        sum.zip_mut_with(&effect, |sum, &value| *sum += f64::from(value));
    }
    Ok(sum)
}

/// The training conditions of several genes whose single effects were all trained on.
pub(super) struct Combinations {
    /// Which they are.
    pub conditions: Vec<Condition>,
    /// Their effects y, `(combinations, genes)`.
    pub effects: Array2<f64>,
    /// Their sums of single effects a, `(combinations, genes)`.
    pub sums: Array2<f64>,
}

impl Combinations {
    /// Those of a training fold.
    ///
    /// # Errors
    /// There is none, so that nothing can be fitted to them: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn of(training: &EffectTable) -> Result<Self> {
        let known: Vec<(usize, Array1<f64>)> = (0..training.conditions.len())
            .filter(|&row| training.conditions[row].perturbation.genes().len() > 1)
            .filter_map(|row| Some((row, sum(training, &training.conditions[row]).ok()?)))
            .collect();
        if known.is_empty() {
            return Err(Error::inapplicable(
                "no perturbation of several genes was trained on together with its single perturbations, so there is \
                 nothing to fit to",
            ));
        }
        let shape = (known.len(), training.genes.len());
        let (mut effects, mut sums) = (Array2::zeros(shape), Array2::zeros(shape));
        for (i, (row, sum)) in known.iter().enumerate() {
            effects.slice_mut(s![i, ..]).assign(&training.effects.row(*row).mapv(f64::from));
            sums.slice_mut(s![i, ..]).assign(sum);
        }
        let conditions = known.iter().map(|(row, _)| training.conditions[*row].clone()).collect();
        Ok(Self { conditions, effects, sums })
    }

    /// The least-squares factor of `y = s a` over all combinations and genes: `s = sum y a / sum a^2`.
    ///
    /// # Errors
    /// All sums are zero: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn factor(&self) -> Result<f64> {
        let square = (&self.sums * &self.sums).sum();
        match square > 0.0 {
            true => Ok((&self.effects * &self.sums).sum() / square),
            false => Err(Error::inapplicable("all single effects are zero, so no factor can be fitted to their sums")),
        }
    }

    /// A factor for each measured gene, `(genes,)`, shrunk to the common one s:
    /// `s_g = (sum_i y_ig a_ig + c s) / (sum_i a_ig^2 + c)` with `c` the mean over genes of `sum_i a_ig^2`, so that a
    /// gene of average signal goes half the way.
    ///
    /// # Errors
    /// As [`Self::factor`].
    pub fn factors(&self) -> Result<Array1<f64>> {
        let common = self.factor()?;
        let squares = (&self.sums * &self.sums).sum_axis(ndarray::Axis(0));
        let products = (&self.effects * &self.sums).sum_axis(ndarray::Axis(0));
        let weight = squares.mean().expect("a factor was found, so there are genes");
        Ok((products + weight * common) / (squares + weight))
    }
}
