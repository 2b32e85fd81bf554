//! Diffusion pseudotime: how far along a process each cell is, seen from a root (Haghverdi et al., Nature Methods 13:845, 2016).
//!
//! Sequencing destroys a cell, so no cell is followed. But cells of one process are at different points of it, and a random walk
//! over similar cells gets from one end to the other. With T the symmetric transition matrix of the cells' nearest neighbours
//! (its equations are in `graph.rs`), and psi_0 the eigenvector of its eigenvalue 1, walks of all lengths add up to
//!
//! ```text
//! M = sum_{t >= 1} (T - psi_0 psi_0')^t = sum_i lambda_i / (1 - lambda_i) psi_i psi_i'        i >= 1
//! dpt(r, x) = |M_r - M_x| = sqrt( sum_i (lambda_i / (1 - lambda_i))^2 (psi_i(r) - psi_i(x))^2 )
//! ```
//!
//! (online methods, eqs. 6 and 9). The sum is over the leading [`PseudotimeConfig::components`] eigenvectors, whose factors are the
//! largest. With several root cells M_r is their mean. Pseudotimes are divided by the largest, so they have no unit: equal steps are not
//! equal times.
//!
//! scanpy's `tl.dpt` adds `(psi_0(r) - psi_0(x))^2`, which the paper leaves out; `tests/reference/pseudotime.py` has both.
//!
//! Time is that of the exact neighbours, `O(cells^2 d)`, and of the eigenvectors, some hundred products with a sparse matrix of about
//! `1.5 cells * neighbours` entries. Memory is `8 * cells` bytes for each of at most 600 such products.

mod graph;

use super::nearest_neighbours;
use crate::{
    Error, Result,
    math::{LANCZOS_TOLERANCE, leading_eigenvectors},
};
use graph::Graph;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use std::collections::HashSet;

/// Fewest cells that are ordered.
pub const FEWEST_CELLS: usize = 10;

/// Settings of diffusion pseudotime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PseudotimeConfig {
    /// Neighbours of a cell, itself included, as scanpy counts them. Default 15.
    pub neighbours: usize,
    /// Eigenvectors, without that of eigenvalue 1. Default 15, as scanpy's `n_comps`.
    pub components: usize,
    /// Where the search for eigenvectors starts; it does not change the result beyond rounding. Default 0.
    pub seed: u64,
}

impl Default for PseudotimeConfig {
    fn default() -> Self {
        Self { neighbours: 15, components: 15, seed: 0 }
    }
}

/// The order of cells along a process.
#[derive(Debug, Clone)]
pub struct Pseudotime {
    /// Of each cell, from 0 at the root to 1 at the farthest cell; NaN of a cell that no walk from the root reaches.
    pub values: Vec<f64>,
    /// Leading eigenvalues of T without the 1, largest first.
    pub eigenvalues: Vec<f64>,
    /// Their eigenvectors psi (diffusion components), `(cells, components)`; NaN of cells that are not reached.
    pub components: Array2<f32>,
    /// Number of cells that are reached.
    pub reached: usize,
    /// Number of root cells among these.
    pub roots_reached: usize,
    /// Number of connected parts of the graph.
    pub parts: usize,
    /// Whether the eigenvectors reached their tolerance.
    pub converged: bool,
}

/// Orders the rows of `data` `(cells, d)` from the cells `roots`.
///
/// Where the graph falls into several parts, the one with the most root cells is ordered, and the others are not reached.
///
/// # Errors
/// No root cell, or one that is not there; fewer than [`FEWEST_CELLS`] cells, in all or connected to the root; neighbours that are
/// not between 3 and the number of cells; no components; a value that is not finite; cells that are all alike.
pub fn diffusion_pseudotime(
    data: ArrayView2<'_, f32>,
    roots: &[usize],
    config: &PseudotimeConfig,
) -> Result<Pseudotime> {
    let n = data.nrows();
    check(n, roots, config)?;
    let graph = Graph::of(&nearest_neighbours(data, config.neighbours)?)?;
    let (part, parts) = graph.parts();
    let mut roots_in = vec![0; parts];
    roots.iter().for_each(|&root| roots_in[part[root]] += 1);
    // Of equal ones the first.
    let own = (0..parts).rev().max_by_key(|&part| roots_in[part]).expect("there is a cell, so there is a part");
    let cells: Vec<usize> = (0..n).filter(|&cell| part[cell] == own).collect();
    if cells.len() < FEWEST_CELLS {
        return Err(Error::data(format!(
            "pseudotime: {} of {n} cells are connected to the root by nearest neighbours, too few to order; take more neighbours than \
             {}, or another root",
            cells.len(),
            config.neighbours
        )));
    }
    let (transitions, stationary) = graph.restricted(&cells).into_transitions();
    let leading = leading_eigenvectors(cells.len(), config.components, config.seed, |vector| {
        let mut product = transitions.product(vector);
        product.scaled_add(-stationary.dot(vector), &stationary);
        product
    });
    // A gap below the tolerance is rounding, and would outweigh all others.
    let factors = leading.values.mapv(|value| value / (1.0 - value).max(LANCZOS_TOLERANCE));
    let walks = &leading.vectors * &factors.insert_axis(Axis(1)); // rows of M in the basis psi, (components, reached)
    let roots: HashSet<usize> = roots.iter().copied().collect();
    let own_roots: Vec<usize> = (0..cells.len()).filter(|&place| roots.contains(&cells[place])).collect();
    let root = walks.select(Axis(1), &own_roots).mean_axis(Axis(1)).expect("the part was chosen for its root cells");
    let distances: Array1<f64> = walks.columns().into_iter().map(|walk| distance(walk, root.view())).collect();
    let farthest = distances.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut found = Pseudotime {
        values: vec![f64::NAN; n],
        eigenvalues: leading.values.to_vec(),
        components: Array2::from_elem((n, leading.vectors.nrows()), f32::NAN),
        reached: cells.len(),
        roots_reached: own_roots.len(),
        parts,
        converged: leading.residual <= LANCZOS_TOLERANCE,
    };
    for (place, &cell) in cells.iter().enumerate() {
        found.values[cell] = distances[place] / farthest;
        found.components.row_mut(cell).assign(&leading.vectors.column(place).mapv(|value| value as f32));
    }
    Ok(found)
}

fn check(n: usize, roots: &[usize], config: &PseudotimeConfig) -> Result<()> {
    if n < FEWEST_CELLS {
        return Err(Error::data(format!("pseudotime: {n} cells are too few to order; give {FEWEST_CELLS} or more")));
    }
    if config.neighbours < 3 || config.neighbours > n {
        return Err(Error::config(format!(
            "pseudotime: {} neighbours, of {n} cells; a cell and its neighbours must be at least 3, and at most all cells",
            config.neighbours
        )));
    }
    if config.components == 0 {
        return Err(Error::config("pseudotime: 0 eigenvectors hold no order; take at least 1"));
    }
    match roots.iter().find(|&&root| root >= n) {
        _ if roots.is_empty() => Err(Error::config("pseudotime: no cell is the root; name one at least")),
        Some(root) => Err(Error::config(format!("pseudotime: cell {root} is the root, but there are {n} cells"))),
        None => Ok(()),
    }
}

fn distance(x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
}
