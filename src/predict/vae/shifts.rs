//! Latent arithmetic: what each trained perturbation did to the latents of cells.

use crate::{
    Error, Result,
    data::TrainingCells,
    data::{Condition, Perturbation, Split},
    model::CountVae,
};
use ndarray::Array1;
use std::collections::BTreeMap;

/// What each trained condition did to the latents of cells that are read as control.
pub(super) struct Shifts {
    /// `mean z of the condition's cells - mean z of the control cells of its context`, `(latent,)`.
    of: BTreeMap<Condition, Array1<f64>>,
    latent: usize,
}

impl Shifts {
    /// Those of the training cells of `split`.
    pub fn of(vae: &CountVae, cells: &TrainingCells, split: &Split) -> Result<Self> {
        let z = vae.embed_as_control(&cells.data, &split.train)?; // (training cells, latent)
        let mut centers: BTreeMap<&Condition, (Array1<f64>, usize)> = BTreeMap::new();
        for (&row, z) in split.train.iter().zip(z.rows()) {
            let (sum, n) = centers.entry(&cells.conditions[row]).or_insert_with(|| (Array1::zeros(z.len()), 0));
            sum.zip_mut_with(&z, |sum, &z| *sum += f64::from(z));
            *n += 1;
        }
        let centers: BTreeMap<&Condition, Array1<f64>> =
            centers.into_iter().map(|(condition, (sum, n))| (condition, sum / n as f64)).collect();
        let shift = |(condition, center): (&&Condition, &Array1<f64>)| {
            let control = Condition { perturbation: Perturbation::control(), context: condition.context.clone() };
            Some(((*condition).clone(), center - centers.get(&control)?))
        };
        Ok(Self { of: centers.iter().filter_map(shift).collect(), latent: z.ncols() })
    }

    /// The sum over genes, each gene's as in the condition's context, else its mean over the other contexts.
    pub fn sum(&self, condition: &Condition) -> Result<Array1<f32>> {
        let mut sum = Array1::<f64>::zeros(self.latent);
        for gene in condition.perturbation.genes() {
            let own = Condition { perturbation: Perturbation::of([gene.as_str()]), context: condition.context.clone() };
            match self.of.get(&own) {
                Some(shift) => sum += shift,
                None => {
                    let others = self.of.iter().filter(|(other, _)| other.perturbation == own.perturbation);
                    let others: Vec<_> = others.map(|(_, shift)| shift).collect();
                    if others.is_empty() {
                        return Err(Error::inapplicable(format!(
                            "the single perturbation of {gene} was not trained on"
                        )));
                    }
                    others.iter().for_each(|&shift| sum.scaled_add(1.0 / others.len() as f64, shift));
                }
            }
        }
        Ok(sum.mapv(|value| value as f32))
    }
}
