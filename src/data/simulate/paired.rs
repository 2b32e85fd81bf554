//! Counterfactuals of the same cell: what each of some control cells is expected to be under every perturbation.
//!
//! Cells are destroyed when they are measured, so real data pair no perturbed cell with its own control state, and unpaired
//! cells do not say how a single cell responds: any coupling of the two populations fits them. A simulation knows.
//!
//! Where a simulated file keeps them: the dictionary `uns["paired"]`, which Python's anndata reads too.
//!
//! | entry | what |
//! |---|---|
//! | `means` | `(cells, perturbations, genes)`, expected counts at the cell's own library size, state and lane |
//! | `cells`, `perturbations`, `genes` | names along the three axes; the first perturbation is `control` |
//! | `library_size` | `(cells,)`, expected count over all measured genes |
//! | `states` | `(cells, programs)`, the control state s |

use super::super::{AnnData, Dataset, Perturbation, Uns};
use super::{landscape::Landscape, truth};
use crate::{Error, Result};
use ndarray::{Array1, Array2, Array3, Axis};
use rayon::prelude::*;
use std::path::Path;

/// The key in `uns`.
pub(super) const KEY: &str = "paired";

/// Expected counts of some control cells under every perturbation.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// Names of the control cells, as in the dataset.
    pub cells: Vec<String>,
    /// Control first.
    pub perturbations: Vec<Perturbation>,
    /// Gene names.
    pub genes: Vec<String>,
    /// Expected counts at the cell's own library size, state and lane, `(cells, perturbations, genes)`.
    pub means: Array3<f32>,
    /// Expected count of each cell over all measured genes, `(cells,)`.
    pub library_size: Array1<f32>,
    /// Control state of each cell, `(cells, programs)`.
    pub states: Array2<f32>,
}

impl Landscape {
    /// The counterfactuals of the first `n` healthy control cells of the dataset that this landscape drew with this seed; its
    /// cells stand in random order.
    ///
    /// # Errors
    /// Fewer healthy control cells than asked for.
    pub fn paired(&self, data: &Dataset, n: usize, seed: u64) -> Result<Paired> {
        let control = |&cell: &usize| data.labels[cell] == 0 && !self.draw_state(cell, seed).0.damaged;
        let chosen: Vec<usize> = (0..data.n_cells()).filter(control).take(n).collect();
        if chosen.len() < n {
            return Err(Error::config(format!(
                "counterfactuals of {n} control cells are asked for, and there are {}; ask for more cells, or for fewer \
                 counterfactuals",
                chosen.len()
            )));
        }
        let (perturbations, genes) = self.log_effects.dim();
        let mut paired = Paired {
            cells: chosen.iter().map(|&cell| data.cells.names[cell].clone()).collect(),
            perturbations: self.perturbations.clone(),
            genes: self.genes.clone(),
            means: Array3::zeros((n, perturbations, genes)),
            library_size: Array1::zeros(n),
            states: Array2::zeros((n, self.loadings.nrows())),
        };
        paired.means.axis_iter_mut(Axis(0)).into_par_iter().zip(&chosen).for_each(|(mut means, &cell)| {
            let (drawn, _) = self.draw_state(cell, seed);
            let mut control = vec![0.0; genes];
            self.weigh(&drawn.state, &mut control);
            for (perturbation, mut mean) in means.rows_mut().into_iter().enumerate() {
                let mut weights = control.clone();
                self.respond(perturbation, &drawn.state, &mut weights);
                let scale = drawn.library / (self.remainder + weights.iter().sum::<f64>());
                mean.iter_mut().zip(weights).for_each(|(mean, weight)| *mean = (weight * scale) as f32);
            }
        });
        for (place, &cell) in chosen.iter().enumerate() {
            let (drawn, _) = self.draw_state(cell, seed);
            paired.library_size[place] = drawn.library as f32;
            paired.states.row_mut(place).iter_mut().zip(&drawn.state.activities).for_each(|(to, &s)| *to = s as f32);
        }
        Ok(paired)
    }
}

impl Paired {
    /// Reads the counterfactuals of a file that [`Simulation::write`](super::Simulation::write) wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds none.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let entries = AnnData::open(path)?.uns(KEY).map_err(|error| error.at(path.display()))?;
        let entries = entries.ok_or_else(|| {
            Error::data(format!(
                "{} holds no uns[\"{KEY}\"]: only files that `genailab simulate --paired N` wrote hold counterfactuals",
                path.display()
            ))
        })?;
        Self::from_uns(&entries).map_err(|error| error.at(path.display()))
    }

    pub(super) fn to_uns(&self) -> Uns {
        let names = self.perturbations.iter().map(ToString::to_string).collect();
        [
            ("cells", Uns::Texts(self.cells.clone())),
            ("perturbations", Uns::Texts(names)),
            ("genes", Uns::Texts(self.genes.clone())),
            ("means", Uns::from(self.means.clone())),
            ("library_size", Uns::from(self.library_size.clone())),
            ("states", Uns::from(self.states.clone())),
        ]
        .into_iter()
        .collect()
    }

    fn from_uns(entries: &Uns) -> Result<Self> {
        let paired = Self {
            cells: truth::texts(entries, KEY, "cells")?.to_vec(),
            perturbations: truth::perturbations(entries, KEY)?,
            genes: truth::texts(entries, KEY, "genes")?.to_vec(),
            means: truth::array(entries, KEY, "means")?,
            library_size: truth::array(entries, KEY, "library_size")?,
            states: truth::array(entries, KEY, "states")?,
        };
        let shape = (paired.cells.len(), paired.perturbations.len(), paired.genes.len());
        if paired.means.dim() != shape || paired.library_size.len() != shape.0 || paired.states.nrows() != shape.0 {
            return Err(Error::data(format!(
                "uns[\"{KEY}\"] is damaged: the shapes of its entries do not fit together"
            )));
        }
        Ok(paired)
    }
}
