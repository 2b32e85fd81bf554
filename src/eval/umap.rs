//! UMAP: a two-dimensional picture that keeps near cells near (McInnes, Healy and Melville, arXiv 1802.03426).
//!
//! Three steps: exact nearest neighbours; the fuzzy graph of the crate `umap-rs`, whose weight of an edge is
//! `exp(-(d_ij - rho_i) / sigma_i)`, symmetrised by `w + w' - w w'`; and the layout. The layout is
//! ours because the crate's own draws from the thread's generator and lets threads race, so that no two pictures of the
//! same cells are equal. Here the same data and seed give the same picture on any number of threads.
//!
//! Distances between far clusters and their sizes mean nothing in such a picture; for a measurement use the latent space.
//!
//! The layout is stochastic gradient descent that pulls the ends of an edge together and pushes random
//! pairs apart.
//!
//! With `q(x) = 1 / (1 + a x^(2b))` the similarity of two points at distance x, an edge of weight w is visited in a share
//! of `w / max w` of the epochs, and each visit (McInnes et al., section 4.2 and umap-learn's `layouts.py`)
//!
//! ```text
//! pulls both ends by   -2 a b x^(2(b-1)) / (1 + a x^(2b))                 (y_i - y_j) alpha
//! pushes its head by    2 b / ((0.001 + x^2) (1 + a x^(2b)))              (y_i - y_k) alpha     for 5 random k
//! ```
//!
//! each component of a step clipped to 4, alpha falling linearly from 1 to 0. One thread, one seeded generator.
//!
//! The exact nearest neighbours ([`nearest_neighbours`]) take `O(n^2 d)`: about a second for 10,000 rows of 64 columns on two
//! cores. Take a subsample of larger sets.

use crate::{Error, Result, math::Pca};
use ndarray::{Array2, ArrayView2, Axis, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use umap_rs::{GraphParams, ManifoldParams, UmapConfig};

/// Rows whose distances to all others are held at once by a thread: `BLOCK * n` floats.
const BLOCK: usize = 64;
/// The spread of the first coordinates, as in umap-learn's `init="pca"`.
const INITIAL_SPREAD: f32 = 10.0;
/// Random points pushed away at each visit of an edge; umap-learn's `negative_sample_rate`.
const NEGATIVE_SAMPLES: usize = 5;
/// Keeps the push between coinciding points finite; umap-learn's constant.
const PUSH_SOFTENING: f32 = 0.001;
/// Largest component of a step, before the learning rate; umap-learn's constant.
const STEP_LIMIT: f32 = 4.0;
/// Spread of the noise that separates coinciding starting points.
const JITTER: f32 = 1e-4;

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
    Ok(layout(start, edges.collect(), manifold.curve_params(), n_epochs, settings.seed))
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

/// Moves the points `start` `(cells, 2)` along `edges` (head, tail, weight); `(a, b)` as above.
fn layout(
    start: Array2<f32>,
    edges: Vec<(u32, u32, f32)>,
    (a, b): (f32, f32),
    n_epochs: usize,
    seed: u64,
) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut points: Vec<[f32; 2]> = start
        .rows()
        .into_iter()
        .map(|row| [row[0] + JITTER * rng.random::<f32>(), row[1] + JITTER * rng.random::<f32>()])
        .collect();
    let heaviest = edges.iter().map(|&(_, _, weight)| weight).fold(0.0, f32::max);
    // An edge too light to be visited once is left out.
    let edges: Vec<_> = edges.into_iter().filter(|e| e.2 * n_epochs as f32 >= heaviest && e.0 != e.1).collect();
    let period: Vec<f32> = edges.iter().map(|&(_, _, weight)| heaviest / weight).collect();
    let mut due = period.clone();

    for epoch in 0..n_epochs {
        let alpha = 1.0 - epoch as f32 / n_epochs as f32;
        for (edge, &(head, tail, _)) in edges.iter().enumerate() {
            if due[edge] > epoch as f32 {
                continue;
            }
            due[edge] += period[edge];
            let (head, tail) = (head as usize, tail as usize);
            let (difference, square) = between(points[head], points[tail]);
            if square > 0.0 {
                let power = libm::powf(square, b); // x^(2b)
                let pull = -2.0 * a * b * power / (square * (1.0 + a * power));
                let step = step(difference, pull, alpha);
                points[head] = [points[head][0] + step[0], points[head][1] + step[1]];
                points[tail] = [points[tail][0] - step[0], points[tail][1] - step[1]];
            }
            for _ in 0..NEGATIVE_SAMPLES {
                let other = rng.random_range(0..points.len() as u32) as usize;
                let (difference, square) = between(points[head], points[other]);
                if other != head && square > 0.0 {
                    let push = 2.0 * b / ((PUSH_SOFTENING + square) * (1.0 + a * libm::powf(square, b)));
                    let step = step(difference, push, alpha);
                    points[head] = [points[head][0] + step[0], points[head][1] + step[1]];
                }
            }
        }
    }
    Array2::from(points)
}

/// Difference of two points and its squared length.
fn between(from: [f32; 2], to: [f32; 2]) -> ([f32; 2], f32) {
    let difference = [from[0] - to[0], from[1] - to[1]];
    (difference, difference[0] * difference[0] + difference[1] * difference[1])
}

fn step(difference: [f32; 2], coefficient: f32, alpha: f32) -> [f32; 2] {
    difference.map(|d| (coefficient * d).clamp(-STEP_LIMIT, STEP_LIMIT) * alpha)
}

/// The nearest rows of each row, itself first.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// Row indices, `(rows, k)`, nearest first; column 0 is the row itself.
    pub indices: Array2<u32>,
    /// Euclidean distances, `(rows, k)`.
    pub distances: Array2<f32>,
}

/// Finds the `k` nearest rows of each row of `data` `(rows, d)`, itself included. Equal distances go by index.
///
/// # Errors
/// `k` of 0 or more than there are rows; a value that is not finite.
pub fn nearest_neighbours(data: ArrayView2<'_, f32>, k: usize) -> Result<Neighbours> {
    let n = data.nrows();
    if k == 0 || k > n {
        return Err(Error::config(format!("{k} nearest neighbours cannot be taken from {n} rows")));
    }
    if let Some(((row, column), value)) = data.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::data(format!(
            "nearest neighbours: row {row}, column {column} is {value}; it must be finite"
        )));
    }
    let squares = data.map_axis(Axis(1), |row| row.dot(&row)); // (rows,)
    let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
    let blocks: Vec<Vec<(u32, f32)>> = starts
        .into_par_iter()
        .map(|start| {
            let rows = data.slice(s![start..n.min(start + BLOCK), ..]);
            let products = rows.dot(&data.t()); // (block, rows)
            let mut found = Vec::with_capacity(rows.nrows() * k);
            for (i, products) in products.rows().into_iter().enumerate() {
                let own = start + i;
                // |x - y|^2 = |x|^2 + |y|^2 - 2 x.y is fast but loses digits for near rows: it only makes the short
                // list, whose distances are then computed anew.
                let rough: Vec<f32> = products.iter().zip(&squares).map(|(xy, yy)| yy - 2.0 * xy).collect();
                let mut list: Vec<u32> = (0..n as u32).filter(|&j| j as usize != own).collect();
                let keep = (2 * k).min(list.len());
                if keep > 0 && keep < list.len() {
                    list.select_nth_unstable_by(keep - 1, |&a, &b| {
                        rough[a as usize].total_cmp(&rough[b as usize]).then(a.cmp(&b))
                    });
                    list.truncate(keep);
                }
                let mut near: Vec<(u32, f32)> =
                    list.into_iter().map(|j| (j, distance(&data, own, j as usize))).collect();
                near.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                found.push((own as u32, 0.0));
                found.extend(near.into_iter().take(k - 1));
            }
            found
        })
        .collect();
    let flat: Vec<(u32, f32)> = blocks.into_iter().flatten().collect();
    let indices = flat.iter().map(|&(index, _)| index).collect();
    let distances = flat.iter().map(|&(_, distance)| distance).collect();
    let shaped = "k entries were pushed for each row";
    Ok(Neighbours {
        indices: Array2::from_shape_vec((n, k), indices).expect(shaped),
        distances: Array2::from_shape_vec((n, k), distances).expect(shaped),
    })
}

fn distance(data: &ArrayView2<'_, f32>, i: usize, j: usize) -> f32 {
    let squares = data.row(i).iter().zip(data.row(j)).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum::<f64>();
    squares.sqrt() as f32
}
