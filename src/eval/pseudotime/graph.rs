//! The graph of cells that pseudotime walks on: nearest neighbours, kernel weights, and the symmetric transition matrix.
//!
//! With d_ij the distance of two neighbours and sigma_i^2 the median squared distance of cell i to its neighbours,
//!
//! ```text
//! W_ij = sqrt(2 sigma_i sigma_j / (sigma_i^2 + sigma_j^2)) exp(-d_ij^2 / (sigma_i^2 + sigma_j^2))     i among the neighbours of j, or j of i
//! K_ij = W_ij / (q_i q_j),   q_i = sum_j W_ij                                                          without the density of sampling
//! T_ij = K_ij / sqrt(z_i z_j),   z_i = sum_j K_ij
//! ```
//!
//! T has the eigenvalue 1 once for each connected part of the graph; its eigenvector is `sqrt(z)`. The kernel is that of Haghverdi
//! et al. 2016 (eq. 1) with scanpy's sigma (`neighbors(method="gauss")`), the division by densities that of Coifman and Lafon 2006.

use super::super::Neighbours;
use crate::{Error, Result, math::median};
use ndarray::Array1;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A smaller weight is no edge: a walk would not take it in any number of steps that matters.
const NEGLIGIBLE: f64 = 1e-14;

/// A symmetric sparse matrix: row i holds the entries `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f64>,
}

impl Graph {
    /// The kernel weights W of cells and their neighbours.
    ///
    /// # Errors
    /// All cells are the same point.
    pub fn of(neighbours: &Neighbours) -> Result<Self> {
        let (n, k) = neighbours.distances.dim();
        let squared = |i: usize, j: usize| f64::from(neighbours.distances[[i, j]]).powi(2);
        let mut widths: Vec<f64> =
            (0..n).map(|i| median((1..k).map(|j| squared(i, j)).collect()).unwrap_or(0.0)).collect();
        // Copies of a cell have no distance to scale by; the smallest of the others keeps their weights finite.
        let smallest = widths.iter().copied().filter(|&width| width > 0.0).fold(f64::INFINITY, f64::min);
        if smallest.is_infinite() {
            return Err(Error::data(
                "pseudotime: most cells are copies of each other, so there are no distances to order",
            ));
        }
        widths.iter_mut().for_each(|width| *width = width.max(smallest));
        let mut edges = BTreeMap::new();
        for i in 0..n {
            for place in 1..k {
                let j = neighbours.indices[[i, place]] as usize;
                let sum = widths[i] + widths[j];
                let weight = (2.0 * (widths[i] * widths[j]).sqrt() / sum).sqrt() * (-squared(i, place) / sum).exp();
                if weight > NEGLIGIBLE {
                    edges.insert((i as u32, j as u32), weight);
                    edges.insert((j as u32, i as u32), weight);
                }
            }
        }
        Ok(Self::sorted(n, edges.into_iter()))
    }

    /// From entries sorted by row.
    fn sorted(n: usize, entries: impl Iterator<Item = ((u32, u32), f64)>) -> Self {
        let (mut offsets, mut columns, mut weights) = (vec![0; n + 1], Vec::new(), Vec::new());
        for ((row, column), weight) in entries {
            offsets[row as usize + 1] += 1;
            columns.push(column);
            weights.push(weight);
        }
        (0..n).for_each(|row| offsets[row + 1] += offsets[row]);
        Self { offsets, columns, weights }
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn row(&self, row: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.offsets[row]..self.offsets[row + 1];
        self.columns[range.clone()].iter().map(|&column| column as usize).zip(self.weights[range].iter().copied())
    }

    /// The connected part of each cell, numbered from 0 in the order of their first cells; and the number of parts.
    pub fn parts(&self) -> (Vec<usize>, usize) {
        let (mut part, mut parts) = (vec![usize::MAX; self.len()], 0);
        for start in 0..self.len() {
            if part[start] != usize::MAX {
                continue;
            }
            part[start] = parts;
            let mut waiting = vec![start];
            while let Some(cell) = waiting.pop() {
                for (other, _) in self.row(cell) {
                    if part[other] == usize::MAX {
                        part[other] = parts;
                        waiting.push(other);
                    }
                }
            }
            parts += 1;
        }
        (part, parts)
    }

    /// The cells `cells`, in ascending order, which are a connected part.
    pub fn restricted(&self, cells: &[usize]) -> Self {
        let mut place = vec![0_u32; self.len()];
        cells.iter().zip(0..).for_each(|(&cell, number)| place[cell] = number);
        let entries = cells.iter().zip(0_u32..).flat_map(|(&cell, number)| {
            let place = &place;
            self.row(cell).map(move |(other, weight)| ((number, place[other]), weight))
        });
        Self::sorted(cells.len(), entries)
    }

    /// The transition matrix T of a connected graph, and the unit eigenvector of its eigenvalue 1, `(cells,)`.
    pub fn into_transitions(mut self) -> (Self, Array1<f64>) {
        let density = self.row_sums();
        self.divide_by(&density);
        let sums = self.row_sums();
        self.divide_by(&sums.mapv(f64::sqrt));
        let stationary = sums.mapv(f64::sqrt);
        let length = stationary.dot(&stationary).sqrt();
        (self, stationary / length)
    }

    fn row_sums(&self) -> Array1<f64> {
        (0..self.len()).map(|row| self.row(row).map(|(_, weight)| weight).sum()).collect()
    }

    /// Divides entry (i, j) by `by_i by_j`.
    fn divide_by(&mut self, by: &Array1<f64>) {
        for row in 0..self.len() {
            for place in self.offsets[row]..self.offsets[row + 1] {
                self.weights[place] /= by[row] * by[self.columns[place] as usize];
            }
        }
    }

    /// The product with a vector, `(cells,)`.
    pub fn product(&self, vector: &Array1<f64>) -> Array1<f64> {
        let of_row = |row: usize| self.row(row).map(|(column, weight)| weight * vector[column]).sum::<f64>();
        (0..self.len()).into_par_iter().map(of_row).collect::<Vec<f64>>().into()
    }
}
