//! Drawing the cells: each from its own random stream, so that the result does not depend on the number of threads.

use super::super::{Column, Counts, Dataset, Expression, Table};
use super::landscape::{Landscape, State};
use crate::{Result, data::split::shuffle};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Poisson, StandardNormal};
use rayon::prelude::*;

/// By what factor mitochondrial expression rises in a damaged cell, and what is left of its library size.
const DAMAGED_MITOCHONDRIAL: f64 = 8.0;
const DAMAGED_LIBRARY: f64 = 0.4;
/// Counts of a smaller mean are drawn by inversion, of a larger one as a Poisson with a gamma-distributed mean.
const INVERSION_BELOW: f64 = 16.0;
/// Inversion stops here; at a mean below [`INVERSION_BELOW`] no probability is left by then.
const INVERSION_STEPS: u32 = 10_000;
/// The first random stream of the cells; lower ones are for what all cells share.
const FIRST_CELL_STREAM: u64 = 1 << 32;

/// What is drawn of a cell before its counts.
pub struct DrawnState {
    /// Where it stands.
    pub state: State,
    /// Whether it is damaged.
    pub damaged: bool,
    /// Its library size, over all genes, before damage.
    pub library: f64,
}

struct Cell {
    genes: Vec<u32>,
    values: Vec<f32>,
    lane: u32,
    cell_type: u32,
    total: f64,
    damaged: bool,
}

/// A negative binomial count of mean `mu` and inverse dispersion `theta`: variance `mu + mu^2 / theta`.
pub fn sample_nb(mu: f64, theta: f64, rng: &mut ChaCha8Rng) -> u32 {
    if mu < INVERSION_BELOW {
        let odds = mu / (mu + theta);
        let mut probability = (-theta * (mu / theta).ln_1p()).exp();
        let mut left = rng.random::<f64>() - probability;
        let mut count = 0;
        while left > 0.0 && count < INVERSION_STEPS {
            probability *= (f64::from(count) + theta) / f64::from(count + 1) * odds;
            left -= probability;
            count += 1;
        }
        count
    } else {
        let mean = Gamma::new(theta, mu / theta).expect("theta and mu are positive and finite").sample(rng);
        sample_poisson(mean, rng) as u32
    }
}

fn sample_poisson(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    if mean > 0.0 { Poisson::new(mean).expect("the mean is positive and finite").sample(rng) } else { 0.0 }
}

impl Landscape {
    /// Draws all cells, in random order.
    pub fn draw_cells(&self, seed: u64) -> Result<Dataset> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(2);
        let mut labels: Vec<u32> =
            self.cells.iter().enumerate().flat_map(|(label, &n)| std::iter::repeat_n(label as u32, n)).collect();
        shuffle(&mut labels, &mut rng);

        let effects = self.log_effects.mapv(f64::exp);
        let cells: Vec<Cell> = labels
            .par_iter()
            .enumerate()
            .map_init(
                || vec![0.0; self.genes.len()],
                |weights, (cell, &label)| {
                    let (drawn, mut rng) = self.draw_state(cell, seed);
                    self.weigh(&drawn.state, weights);
                    match self.cell_types {
                        Some(_) => self.respond(label as usize, &drawn.state, weights),
                        None => {
                            let effect = effects.row(label as usize);
                            weights.iter_mut().zip(effect).for_each(|(weight, effect)| *weight *= effect);
                        }
                    }
                    self.draw_counts(drawn, weights, &mut rng)
                },
            )
            .collect();
        self.assemble(labels, cells)
    }

    /// The state of the cell of this number, and its random numbers from there on.
    pub fn draw_state(&self, cell: usize, seed: u64) -> (DrawnState, ChaCha8Rng) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(FIRST_CELL_STREAM + cell as u64);
        let state = State::draw(self, &mut rng);
        let damaged = rng.random::<f64>() < self.damaged_fraction;
        let library = self.median_library * (self.library_sd * rng.sample::<f64, _>(StandardNormal)).exp();
        (DrawnState { state, damaged, library }, rng)
    }

    /// The counts of a cell whose genes have these weights, `(genes,)`.
    fn draw_counts(&self, drawn: DrawnState, weights: &mut [f64], rng: &mut ChaCha8Rng) -> Cell {
        let DrawnState { state, damaged, mut library } = drawn;
        if damaged {
            library *= DAMAGED_LIBRARY;
            weights
                .iter_mut()
                .zip(&self.mitochondrial)
                .filter(|(_, mito)| **mito)
                .for_each(|(weight, _)| *weight *= DAMAGED_MITOCHONDRIAL);
        }
        let scale = library / (self.remainder + weights.iter().sum::<f64>());
        let (mut genes, mut values, mut total) = (Vec::new(), Vec::new(), 0.0);
        for (gene, (&weight, &theta)) in weights.iter().zip(&self.theta).enumerate() {
            let count = sample_nb(weight * scale, theta, rng);
            if count > 0 {
                genes.push(gene as u32);
                values.push(count as f32);
                total += f64::from(count);
            }
        }
        total += sample_poisson(self.remainder * scale, rng);
        genes.shrink_to_fit();
        values.shrink_to_fit();
        Cell { genes, values, lane: state.lane as u32, cell_type: state.cell_type as u32, total, damaged }
    }

    fn assemble(&self, labels: Vec<u32>, cells: Vec<Cell>) -> Result<Dataset> {
        let nnz = cells.iter().map(|cell| cell.values.len()).sum();
        let mut indptr = Vec::with_capacity(cells.len() + 1);
        indptr.push(0);
        let (mut indices, mut values) = (Vec::with_capacity(nnz), Vec::with_capacity(nnz));
        let (mut lane_of, mut library_size) = (Vec::with_capacity(cells.len()), Vec::with_capacity(cells.len()));
        let mut damaged = Vec::with_capacity(cells.len());
        let mut type_of = Vec::with_capacity(cells.len());
        for cell in cells {
            indices.extend(cell.genes);
            values.extend(cell.values);
            indptr.push(indices.len());
            lane_of.push(cell.lane);
            type_of.push(cell.cell_type);
            library_size.push(cell.total as f32);
            damaged.push(Some(cell.damaged));
        }
        let lanes: Vec<String> = (1..=self.lanes.nrows()).map(|lane| lane.to_string()).collect();
        let width = labels.len().to_string().len();
        let mut table = Table::from_names((1..=labels.len()).map(|cell| format!("cell{cell:0width$}")).collect());
        table.set("perturbation", categorical(&labels, self.perturbations.iter().map(ToString::to_string).collect()));
        let genes_perturbed =
            labels.iter().map(|&label| Some(self.perturbations[label as usize].genes().len() as i64)).collect();
        table.set("n_genes_perturbed", Column::Integer(genes_perturbed));
        table.set("gem_group", categorical(&lane_of, lanes.clone()));
        if let Some(types) = &self.cell_types {
            table.set("cell_type", categorical(&type_of, types.names.clone()));
        }
        table.set("ncounts", Column::Float(library_size.iter().map(|&size| f64::from(size)).collect()));
        if self.damaged_fraction > 0.0 {
            table.set("damaged", Column::Boolean(damaged));
        }
        Ok(Dataset {
            counts: Counts::new(self.genes.len(), indptr, indices, values)?,
            expression: Expression::Counts,
            genes: Table::from_names(self.genes.clone()),
            cells: table,
            perturbations: self.perturbations.clone(),
            labels,
            lanes,
            lane_of,
            library_size,
            genes_in_file: None,
            notes: Vec::new(),
        })
    }
}

fn categorical(codes: &[u32], categories: Vec<String>) -> Column {
    Column::Categorical { codes: codes.iter().map(|&code| code as i32).collect(), categories }
}
