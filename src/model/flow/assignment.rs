//! The cheapest one-to-one assignment, exactly, by shortest augmenting paths in O(n^2 m) (Jonker and Volgenant 1987; Crouse 2016).

use crate::{Error, Result};
use ndarray::Array2;

/// For each row of `cost` `(n, m)`, n <= m, the column it is given, no column twice, so that the sum of the costs is least.
///
/// # Errors
/// More rows than columns; a cost that is not finite.
pub fn assignment(cost: &Array2<f64>) -> Result<Vec<usize>> {
    let (n, m) = cost.dim();
    if n > m {
        return Err(Error::shape("assignment: at most as many rows as columns are needed, of costs", n, m));
    }
    if !cost.iter().all(|c| c.is_finite()) {
        return Err(Error::data("assignment: a cost is not a finite number"));
    }
    // The potentials keep cost - u - v at 0 or above, and at 0 on every pair that is assigned.
    let (mut u, mut v) = (vec![0.0; n], vec![0.0; m]);
    let mut row_of: Vec<Option<usize>> = vec![None; m];
    let mut column_of = vec![usize::MAX; n];
    for start in 0..n {
        // Dijkstra's shortest path from the row `start` to a free column, along reduced costs.
        let mut distance = vec![f64::INFINITY; m];
        let mut from = vec![start; m];
        let mut done = vec![false; m];
        let (mut row, mut reached) = (start, 0.0);
        let end = loop {
            let (mut nearest, mut least) = (usize::MAX, f64::INFINITY);
            for j in (0..m).filter(|&j| !done[j]) {
                let through = reached + cost[[row, j]] - u[row] - v[j];
                if through < distance[j] {
                    (distance[j], from[j]) = (through, row);
                }
                // Of equally near columns a free one ends the search.
                if distance[j] < least || (distance[j] == least && row_of[j].is_none()) {
                    (nearest, least) = (j, distance[j]);
                }
            }
            reached = least;
            done[nearest] = true;
            match row_of[nearest] {
                None => break nearest,
                Some(next) => row = next,
            }
        };
        u[start] += reached;
        for j in (0..m).filter(|&j| done[j] && j != end) {
            let behind = reached - distance[j];
            v[j] -= behind;
            u[row_of[j].expect("a column that the path went through has a row")] += behind;
        }
        // Turns the path over: each row on it takes the column it was reached through.
        let mut j = end;
        loop {
            let i = from[j];
            row_of[j] = Some(i);
            let before = std::mem::replace(&mut column_of[i], j);
            if i == start {
                break;
            }
            j = before;
        }
    }
    Ok(column_of)
}
