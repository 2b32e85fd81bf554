//! What a flow is trained on: pairs of a source and a data sample, the path between them, and the velocity along it.
//!
//! # Paths
//!
//! They lead from a source sample `x_0` at time 0 to a data sample `x_1` at time 1.
//!
//! **Time runs from the source (noise, or control cells) at 0 to the data at 1**, against the time of a diffusion.
//!
//! | path | x_t | velocity dx_t/dt |
//! |---|---|---|
//! | linear | `(1 - t) x_0 + t x_1` | `x_1 - x_0` (rectified flow, Liu et al. 2023; Lipman et al. 2023 with sigma_min = 0) |
//! | VP | `cos(pi t / 2) x_0 + sin(pi t / 2) x_1` | `pi/2 (cos(pi t / 2) x_1 - sin(pi t / 2) x_0)` (Albergo and Vanden-Eijnden 2023) |
//!
//! VP keeps the variance of independent ends of variance 1, and starts and ends exactly at them, as a source that is not noise needs;
//! it is the diffusion path of the cosine schedule with s = 0. A network trained on `|v(x_t, t) - dx_t/dt|^2` learns
//! `E[dx_t/dt | x_t]`, which carries the density of the source to that of the data (Lipman et al. 2023, theorems 1 and 2).
//!
//! # Pairs
//!
//! Drawn independently, the paths of a minibatch cross, and the velocity, their mean, is curved. Pairing the minibatch by optimal
//! transport uncrosses most of them, which straightens the flow and steadies its training (OT-CFM: Tong et al. 2024; Pooladian et al.
//! 2023). Reflow straightens a flow that is already trained, by pairing each source sample with where the flow takes it (Liu et al.
//! 2023).
//!
//! # Examples
//!
//! For each data sample x_1 of a batch a source sample x_0 is drawn, the two are paired ([`Pairing`]), and at a time t in
//! (0, 1) the network sees `x_t` and shall answer `dx_t/dt` ([`FlowPath`]): Lipman et al. 2023, eq. 23; Liu et al. 2023, eq. 1.
//!
//! With conditions, only samples of the same condition are paired by their distance. A cheapest pairing across conditions
//! would give each condition its own part of the source, but a new sample of it starts anywhere in the source.

use crate::{
    Error, Result,
    math::{SinkhornConfig, sinkhorn},
    model::diffusion::{
        OdeConfig, Velocity, integrate,
        learner::{Corruption, Examples, Rows, Source, normal, stratified_times},
    },
};
use ndarray::{Array1, Array2, Axis, Zip};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, f64::consts::FRAC_PI_2};

/// How a source sample moves to its data sample, from time 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowPath {
    /// A straight line at constant speed.
    #[default]
    Linear,
    /// A quarter of an ellipse.
    Vp,
}

impl FlowPath {
    /// `(of the source, of the data)` in `x_t`.
    pub fn weights(self, t: f64) -> (f64, f64) {
        match self {
            Self::Linear => (1.0 - t, t),
            Self::Vp => ((FRAC_PI_2 * t).cos(), (FRAC_PI_2 * t).sin()),
        }
    }

    /// The derivatives of [`Self::weights`]: `(of the source, of the data)` in the velocity.
    pub fn speeds(self, t: f64) -> (f64, f64) {
        match self {
            Self::Linear => (-1.0, 1.0),
            Self::Vp => (-FRAC_PI_2 * (FRAC_PI_2 * t).sin(), FRAC_PI_2 * (FRAC_PI_2 * t).cos()),
        }
    }

    /// `x_t` of each pair of rows, and the target of the velocity there, `(rows, dims)` each.
    ///
    /// # Errors
    /// Ends of different shapes.
    pub fn point(self, source: &Array2<f64>, data: &Array2<f64>, t: f64) -> Result<(Array2<f64>, Array2<f64>)> {
        if source.dim() != data.dim() {
            return Err(Error::shape("flow: source and data", source.dim(), data.dim()));
        }
        let mix = |(a, b): (f64, f64)| source * a + data * b;
        Ok((mix(self.weights(t)), mix(self.speeds(t))))
    }
}

/// Largest minibatch for the exact assignment, whose time grows with the third power of its size; larger ones have Sinkhorn.
pub const EXACT_ROWS: usize = 1024;

/// How the samples of a minibatch are paired.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pairing {
    /// By chance.
    Independent,
    /// By the assignment of the least sum of squared distances.
    #[default]
    OptimalTransport,
    /// By draws from the entropic optimal transport plan: faster for large minibatches, and a sample may be taken twice.
    Sinkhorn {
        /// The regularisation, as a part of the mean cost.
        epsilon: f64,
    },
}

impl Pairing {
    /// # Errors
    /// A regularisation that is not positive.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Sinkhorn { epsilon } if !(epsilon > 0.0 && epsilon.is_finite()) => Err(Error::config(format!(
                "pairing: the regularisation epsilon is {epsilon}; it must be a positive number"
            ))),
            _ => Ok(()),
        }
    }

    /// For each row of `data` `(rows, dims)`, the row of `source` `(at least as many, dims)` it is paired with. Each data row is used
    /// once, so that the data keep their distribution.
    ///
    /// # Errors
    /// Different widths; fewer source rows than data rows; too many rows for the exact assignment; values that are not finite.
    pub fn pair(&self, source: &Array2<f64>, data: &Array2<f64>, rng: &mut ChaCha8Rng) -> Result<Vec<usize>> {
        self.validate()?;
        if source.ncols() != data.ncols() || source.nrows() < data.nrows() {
            return Err(Error::shape("pairing: source and data", source.dim(), data.dim()));
        }
        match *self {
            Self::Independent => {
                let mut rows: Vec<usize> = (0..source.nrows()).collect();
                rows.shuffle(rng);
                rows.truncate(data.nrows());
                Ok(rows)
            }
            Self::OptimalTransport if source.nrows() > EXACT_ROWS => Err(Error::config(format!(
                "pairing: {} samples are too many for the exact assignment (at most {EXACT_ROWS}); take smaller minibatches \
                 or the pairing sinkhorn",
                source.nrows()
            ))),
            Self::OptimalTransport => assignment(&squared_distances(data, source)),
            Self::Sinkhorn { epsilon } => from_plan(&squared_distances(data, source), epsilon, rng),
        }
    }
}

/// Squared Euclidean distances between the rows of x and y, `(rows of x, rows of y)`.
pub fn squared_distances(x: &Array2<f64>, y: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), y.nrows()), |(i, j)| {
        x.row(i).iter().zip(y.row(j)).map(|(a, b)| (a - b).powi(2)).sum()
    })
}

/// Draws a column for each row, by the plan's row.
fn from_plan(cost: &Array2<f64>, epsilon: f64, rng: &mut ChaCha8Rng) -> Result<Vec<usize>> {
    let (n, m) = cost.dim();
    let scale = cost.mean().unwrap_or(0.0);
    let uniform = |count: usize| Array1::from_elem(count, 1.0 / count as f64);
    // A plan for a minibatch is itself an estimate: a percent of the weights is exact enough.
    let config = SinkhornConfig { iterations: 200, tolerance: 1e-2 };
    let epsilon = if scale > 0.0 { epsilon * scale } else { epsilon };
    let plan = sinkhorn(cost.view(), &uniform(n), &uniform(m), epsilon, &config)?.plan;
    Ok(plan
        .axis_iter(Axis(0))
        .map(|row| {
            let mut left = rng.random::<f64>() * row.sum();
            let drawn = row.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            drawn.unwrap_or(m - 1)
        })
        .collect())
}

/// Where a velocity takes each row of `source` `(rows, dims)`: the pairs of the next, straighter flow.
///
/// # Errors
/// See [`integrate`].
pub fn reflow(velocity: &dyn Velocity, source: &Array2<f64>, config: &OdeConfig) -> Result<Array2<f64>> {
    Ok(integrate(velocity, source.clone(), 0.0, 1.0, config)?.x)
}

/// For each row of `cost` `(n, m)`, n <= m, the column it is given, no column twice, so that the sum of the costs is least:
/// exactly, by shortest augmenting paths in O(n^2 m) (Jonker and Volgenant 1987; Crouse 2016).
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

/// How examples are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matching {
    pub path: FlowPath,
    pub pairing: Pairing,
}

impl Matching {
    /// A source sample for each row of the batch, `(rows, dims)`.
    fn sources(&self, batch: &Rows, rng: &mut ChaCha8Rng) -> Result<Array2<f32>> {
        let drawn = match &batch.source {
            Source::Paired(source) => return Ok(source.clone()),
            Source::Noise => normal(batch.x.dim(), rng),
            Source::Drawn(pool) => {
                let rows: Vec<usize> = (0..batch.x.nrows()).map(|_| rng.random_range(0..pool.nrows())).collect();
                pool.select(Axis(0), &rows)
            }
        };
        if self.pairing == Pairing::Independent {
            // They are independent draws already.
            return Ok(drawn);
        }
        let mut source = Array2::zeros(batch.x.dim());
        for rows in of_one_condition(batch).into_values() {
            let wide = |values: &Array2<f32>| values.select(Axis(0), &rows).mapv(f64::from);
            let pairs = self.pairing.pair(&wide(&drawn), &wide(&batch.x), rng)?;
            for (&row, pair) in rows.iter().zip(pairs) {
                source.row_mut(row).assign(&drawn.row(rows[pair]));
            }
        }
        Ok(source)
    }
}

/// The rows of each condition, told apart by their bits; all rows where there is none.
fn of_one_condition(batch: &Rows) -> BTreeMap<Vec<u32>, Vec<usize>> {
    let mut groups = BTreeMap::<Vec<u32>, Vec<usize>>::new();
    for row in 0..batch.x.nrows() {
        let bits = |condition: &Array2<f32>| condition.row(row).iter().map(|v| v.to_bits()).collect();
        groups.entry(batch.condition.as_ref().map(bits).unwrap_or_default()).or_default().push(row);
    }
    groups
}

impl Corruption for Matching {
    fn examples(&self, batch: &Rows, rng: &mut ChaCha8Rng) -> Result<Examples> {
        let source = self.sources(batch, rng)?;
        let times = stratified_times(batch.x.nrows(), 0.0, rng);
        let (mut x, mut target) = (Array2::zeros(batch.x.dim()), Array2::zeros(batch.x.dim()));
        for (row, &t) in times.iter().enumerate() {
            let (a, b) = self.path.weights(t);
            let (da, db) = self.path.speeds(t);
            let [a, b, da, db] = [a, b, da, db].map(|v| v as f32);
            Zip::from(x.row_mut(row)).and(target.row_mut(row)).and(source.row(row)).and(batch.x.row(row)).for_each(
                |x, target, &from, &to| {
                    *x = a * from + b * to;
                    *target = da * from + db * to;
                },
            );
        }
        Ok(Examples { x, t: times.into_iter().map(|t| t as f32).collect(), target, weight: None })
    }
}
