//! UMAP: a two-dimensional picture that keeps near cells near (McInnes, Healy and Melville, arXiv 1802.03426).
//!
//! Three steps: exact nearest neighbours; the fuzzy graph of the crate `umap-rs`, whose weight of an edge is
//! `exp(-(d_ij - rho_i) / sigma_i)`, symmetrised by `w + w' - w w'`; and the layout of `umap_layout`. The layout is
//! ours because the crate's own draws from the thread's generator and lets threads race, so that no two pictures of the
//! same cells are equal. Here the same data and seed give the same picture on any number of threads.
//!
//! Distances between far clusters and their sizes mean nothing in such a picture; for a measurement use the latent space.

use super::{nearest_neighbours, umap_layout};
use crate::math::Pca;
use crate::{Error, Result};
use ndarray::{Array2, ArrayView2};
use umap_rs::{GraphParams, ManifoldParams, UmapConfig};

/// The spread of the first coordinates, as in umap-learn's `init="pca"`.
const INITIAL_SPREAD: f32 = 10.0;

/// Settings; the defaults are umap-learn's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Umap {
    /// Neighbours of a cell, itself included: larger shows more of the whole, smaller more of the detail.
    pub n_neighbors: usize,
    /// How near points may come to each other, in units of the picture.
    pub min_dist: f32,
    /// Passes over the edges; `None` for 500, or 200 above 2,000 cells (umap-learn's limit is 10,000; between the two
    /// the pictures differ little, and it is a third of the wait).
    pub n_epochs: Option<usize>,
    /// Seed of the layout.
    pub seed: u64,
}

impl Default for Umap {
    fn default() -> Self {
        Self { n_neighbors: 15, min_dist: 0.1, n_epochs: None, seed: 0 }
    }
}

/// Lays out the rows of `data` `(cells, d)` in two dimensions, `(cells, 2)`.
///
/// Neighbours are exact, `O(cells^2 d)`: take a subsample above some 20,000 cells.
///
/// # Errors
/// Fewer than two neighbours, not more cells than neighbours, `min_dist` outside 0 to 1, a value that is not finite.
pub fn umap(data: ArrayView2<'_, f32>, settings: Umap) -> Result<Array2<f32>> {
    let (n, k) = (data.nrows(), settings.n_neighbors);
    if k < 2 || n <= k {
        return Err(Error::config(format!(
            "UMAP: n_neighbors is {k} and there are {n} cells; it must be at least 2 and below the number of cells"
        )));
    }
    if !(0.0..=1.0).contains(&settings.min_dist) {
        return Err(Error::config(format!("UMAP: min_dist is {}; it must be between 0 and 1", settings.min_dist)));
    }
    let neighbours = nearest_neighbours(data, k)?;
    let config = UmapConfig {
        manifold: ManifoldParams { min_dist: settings.min_dist, ..ManifoldParams::default() },
        graph: GraphParams { n_neighbors: k, ..GraphParams::default() },
        ..UmapConfig::default()
    };
    let manifold =
        umap_rs::Umap::new(config).learn_manifold(data, neighbours.indices.view(), neighbours.distances.view());
    let edges = manifold.graph().outer_iterator().enumerate().flat_map(|(head, row)| {
        let row: Vec<_> = row.iter().map(|(tail, &weight)| (head as u32, tail as u32, weight)).collect();
        row
    });
    let n_epochs = settings.n_epochs.unwrap_or(if n <= 2_000 { 500 } else { 200 });
    let start = first_coordinates(data, settings.seed)?;
    Ok(umap_layout::layout(start, edges.collect(), manifold.curve_params(), n_epochs, settings.seed))
}

/// The first two principal components, scaled; the second is 0 where there is only one.
fn first_coordinates(data: ArrayView2<'_, f32>, seed: u64) -> Result<Array2<f32>> {
    let components = data.ncols().min(data.nrows() - 1).min(2);
    let scores = Pca::fit(data, components, seed)?.transform(data)?;
    let largest = scores.iter().fold(0.0_f32, |a, b| a.max(b.abs())).max(f32::MIN_POSITIVE);
    let mut start = Array2::zeros((data.nrows(), 2));
    for (mut to, from) in start.columns_mut().into_iter().zip(scores.columns()) {
        to.assign(&(&from * (INITIAL_SPREAD / largest)));
    }
    Ok(start)
}
