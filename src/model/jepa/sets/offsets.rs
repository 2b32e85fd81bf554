//! What embeddings do not carry: the fold changes of single perturbations that the decoder misses.
//!
//! An embedding keeps what many genes tell together, and loses what one gene does on its own (the target of a
//! perturbation, above all). For control, and for each single perturbation, observed counts X of a gene stand beside those
//! expected of the predicted cells, E; the log fold change `o = ln(X / E)` that is missing is added to the decoder's
//! logits, and for a combination those of its genes, times a factor t that is fitted to the training combinations by least
//! squares, weighted by 1 / v. An o that sampling explains is left out: it is shrunk as
//!
//! ```text
//! o (1 - 2 v / o^2)_+      v = 1 / E + 1 / (theta n): variance of ln X for n cells of a negative binomial
//! ```
//!
//! (the nonnegative garrote, Breiman 1995: what is far above its noise stays as it is).

use super::{cells::Cells, decoder::Decoder, members::Members, shifts::GeneTable, shifts::Shifts};
use crate::{
    Result,
    data::{Condition, Dataset, Perturbation},
    math::sum_factor,
    train::Run,
};
use ndarray::{Array1, Axis};
use std::collections::BTreeMap;

/// Predicted cells that an expectation is taken over.
const PREDICTED: usize = 256;
/// Counts that are added to X and E, so that both have a logarithm.
const PSEUDOCOUNT: f64 = 0.5;
/// Multiples of the variance that are taken off; see the module.
const GARROTE: f64 = 2.0;

/// Missing log fold changes.
pub(super) struct Offsets {
    pub controls: BTreeMap<Option<String>, Array1<f64>>,
    pub genes: GeneTable,
    /// t, 1 where there is no combination.
    pub factor: f64,
}

/// Missing log fold changes of the genes, `(genes,)` each, and their variances.
struct Missing {
    offset: Array1<f64>,
    variance: Array1<f64>,
}

impl Missing {
    /// See the module.
    fn shrunk(self) -> Array1<f64> {
        let keep = |offset: f64, variance: f64| match offset == 0.0 {
            true => 0.0,
            false => offset * (1.0 - GARROTE * variance / (offset * offset)).max(0.0),
        };
        self.offset.iter().zip(&self.variance).map(|(&offset, &variance)| keep(offset, variance)).collect()
    }
}

impl Offsets {
    /// Those of the training cells.
    ///
    /// # Errors
    /// Those of the decoder; an interruption.
    pub fn fit(
        data: &Dataset,
        cells: &Cells,
        shifts: &Shifts,
        members: &Members,
        decoder: &Decoder,
        run: &Run<'_>,
    ) -> Result<Self> {
        let mut fitted = Self { controls: BTreeMap::new(), genes: GeneTable::new(data.n_genes()), factor: 1.0 };
        // First all controls: what a perturbation misses comes on top of what its control misses.
        for (condition, places) in cells.places.iter().filter(|(condition, _)| condition.perturbation.is_control()) {
            run.check_interrupt()?;
            let sides = (places.as_slice(), places.as_slice());
            let offset = Self::missing(data, cells, sides, (shifts, members, decoder), condition, None)?;
            fitted.controls.insert(condition.context.clone(), offset.shrunk());
        }
        let (mut along, mut square) = (0.0, 0.0);
        // Single perturbations first: combinations are compared with what they say.
        let mut perturbed: Vec<_> = cells.places.iter().filter(|(c, _)| !c.perturbation.is_control()).collect();
        perturbed.sort_by_key(|(condition, _)| condition.perturbation.genes().len());
        for (condition, places) in perturbed {
            run.check_interrupt()?;
            let Ok(controls) = cells.controls(condition.context.as_deref()) else { continue };
            let genes = condition.perturbation.genes();
            if genes.len() > 1 && fitted.genes.members(condition).is_err() {
                continue;
            }
            let base = fitted.controls.get(&condition.context);
            let sides = (places.as_slice(), controls);
            let missing = Self::missing(data, cells, sides, (shifts, members, decoder), condition, base)?;
            if let [gene] = genes {
                fitted.genes.insert(gene, condition.context.as_ref(), missing.shrunk());
            } else {
                let sum = fitted.genes.members(condition)?.sum_axis(Axis(0));
                for ((sum, offset), variance) in sum.iter().zip(&missing.offset).zip(&missing.variance) {
                    along += sum * offset / variance;
                    square += sum * sum / variance;
                }
            }
        }
        fitted.factor = sum_factor(along, square);
        Ok(fitted)
    }

    /// The offset that brings cells predicted from the control cells nearer to the observed ones.
    fn missing(
        data: &Dataset,
        cells: &Cells,
        (observed, controls): (&[usize], &[usize]),
        (shifts, members, decoder): (&Shifts, &Members, &Decoder),
        condition: &Condition,
        base: Option<&Array1<f64>>,
    ) -> Result<Missing> {
        let controls = &controls[..controls.len().min(PREDICTED)];
        let rows = |places: &[usize]| -> Vec<usize> { places.iter().map(|&place| cells.rows[place]).collect() };
        let moved = members.moved(&cells.z.select(Axis(0), controls), shifts, condition)?;
        let (expected, size) = decoder.totals(&moved, base, data, &rows(controls))?;
        let mut counts = Array1::<f64>::zeros(data.n_genes());
        let observed = rows(observed);
        for &row in &observed {
            let (genes, values) = data.counts.row(row);
            genes.iter().zip(values).for_each(|(&gene, &value)| counts[gene as usize] += f64::from(value));
        }
        let observed_size: f64 = decoder.size_factors(data, &observed).iter().map(|&size| f64::from(size)).sum();
        let scale = observed_size / size;
        let n = observed.len() as f64;
        let theta = decoder.theta();
        let expected = expected.mapv(|expected| expected * scale + PSEUDOCOUNT);
        Ok(Missing {
            offset: (counts + PSEUDOCOUNT).iter().zip(&expected).map(|(x, expected)| (x / expected).ln()).collect(),
            variance: expected.iter().zip(&theta).map(|(expected, theta)| 1.0 / expected + 1.0 / (theta * n)).collect(),
        })
    }

    /// What is added to the logits of a condition, `(genes,)`.
    ///
    /// # Errors
    /// Genes that were never perturbed alone, all named.
    pub fn of(&self, condition: &Condition) -> Result<Array1<f64>> {
        let base = self.controls.get(&condition.context);
        let mut offset = base.cloned().unwrap_or_else(|| Array1::zeros(self.genes.width()));
        if condition.perturbation != Perturbation::control() {
            let members = self.genes.members(condition)?;
            let factor = if members.nrows() > 1 { self.factor } else { 1.0 };
            offset.scaled_add(factor, &members.sum_axis(Axis(0)));
        }
        Ok(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn what_sampling_explains_is_left_out_and_what_is_far_above_it_stays() {
        // v = 0.01: a noise of 0.1, and of that size an offset is nothing; at 20 times it little is taken off.
        let shrunk =
            Missing { offset: array![0.0, 0.1, -0.14, 0.2, -2.0], variance: Array1::from_elem(5, 0.01) }.shrunk();
        assert_eq!((shrunk[0], shrunk[1], shrunk[2]), (0.0, 0.0, 0.0));
        assert!((shrunk[3] - 0.2 * 0.5).abs() < 1e-12, "o (1 - 2 v / o^2) = 0.2 (1 - 0.02 / 0.04): {shrunk}");
        assert!((shrunk[4] + 2.0 * 0.995).abs() < 1e-12, "{shrunk}");
    }

    #[test]
    fn a_combination_takes_the_factor_and_a_single_does_not() {
        let mut genes = GeneTable::new(2);
        genes.insert("A", None, array![1.0, 0.0]);
        genes.insert("B", None, array![0.5, -1.0]);
        let controls = BTreeMap::from([(None, array![0.1, 0.2])]);
        let offsets = Offsets { controls, genes, factor: 0.5 };
        let of = |genes: &[&str]| offsets.of(&Condition::of(Perturbation::of(genes.iter().copied())));
        let near = |found: Array1<f64>, expected: Array1<f64>| {
            assert!((&found - &expected).iter().all(|off| off.abs() < 1e-12), "{found}, expected {expected}");
        };
        near(offsets.of(&Condition::of(Perturbation::control())).expect("control"), array![0.1, 0.2]);
        near(of(&["A"]).expect("known"), array![1.1, 0.2]);
        near(of(&["A", "B"]).expect("known"), array![0.1 + 0.75, 0.2 - 0.5]);
        assert!(of(&["A", "NOGENE"]).expect_err("unknown").to_string().contains("NOGENE"));
        // A context whose control was never seen has no offset of its own.
        let elsewhere = Condition { perturbation: Perturbation::control(), context: Some("other".to_owned()) };
        near(offsets.of(&elsewhere).expect("control"), array![0.0, 0.0]);
    }
}
