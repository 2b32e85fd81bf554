//! Distances between sets on the CPU: value and gradient in one pass, so that no matrix of pairs is kept.
//!
//! Energy and MMD are `2 mean f(x_i, y_j) - mean f(x_i, x_k) - mean f(y_j, y_l)` with a function f of the squared
//! distance s: sqrt(s), or minus the kernel. With w = f'(s), `df/dx_i = 2 w (x_i - y_j)`, so a gradient is a row sum and
//! a matrix product. Squared distances come from a matrix product too, of rows centred at the observed mean; where that
//! loses digits, because two rows are close, they are summed up again.

use super::{
    Matrix, RowSets, SetDistance, Vector,
    gemm::{MatRef, add_product},
    set_distance::{couple, ranked},
    vmath::{LANES, exp, sum},
};
use crate::{
    Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;

/// A squared distance below this share of the squared norms is computed from differences: the matrix product leaves it
/// fewer than 4 digits.
const CLOSE: f32 = 1e-3;

/// See [`SetDistance`].
pub(crate) fn set_distance<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    x_sets: &RowSets,
    y: &Matrix<Cpu>,
    y_sets: &RowSets,
    distance: &SetDistance,
) -> Result<Vector<Cpu, T>> {
    distance.check(*x.shape(), x_sets, *y.shape(), y_sets)?;
    let (x, mut tape) = super::input("distance of sets", x)?;
    let y = super::weight("distance of sets", y, &mut tape)?;
    let width = x.shape().1;
    let sets: Vec<(f64, Vec<f32>)> = {
        let (x, y) = (raw::slice(&x), raw::slice(&y));
        let pairs: Vec<_> = x_sets.ranges().zip(y_sets.ranges()).collect();
        let one = |(a, b): (std::ops::Range<usize>, std::ops::Range<usize>)| {
            let pair = Pair { x: &x[a.start * width..a.end * width], y: &y[b.start * width..b.end * width], width };
            match distance {
                SetDistance::Energy => pair.radial(|s| {
                    let root = s.sqrt();
                    (root, if s > 0.0 { 0.5 / root } else { 0.0 })
                }),
                SetDistance::Mmd { gammas } => {
                    let share = 1.0 / gammas.len() as f32;
                    pair.radial(|s| {
                        gammas.iter().fold((0.0, 0.0), |(value, slope), gamma| {
                            let kernel = share * exp(-gamma * s);
                            (value - kernel, slope + gamma * kernel)
                        })
                    })
                }
                SetDistance::SlicedWasserstein { directions } => pair.sliced(directions),
            }
        };
        pairs.into_par_iter().map(one).collect()
    };
    let values = sets.iter().map(|(value, _)| *value as f32).collect();
    let values = super::tensor("distance of sets", values, (x_sets.len(),), x.device())?;
    if T::OWNS_TAPE {
        let (x, values) = (x.ghost(), values.ghost());
        tape.add_backward_op(move |grads| {
            let upstream = grads.get_or_alloc_mut(&values)?.to_vec();
            let mut dx = grads.get_or_alloc_mut(&x)?.as_mut_slice();
            for ((_, gradient), upstream) in sets.iter().zip(upstream) {
                let (part, rest) = dx.split_at_mut(gradient.len());
                part.iter_mut().zip(gradient).for_each(|(dx, g)| *dx += upstream * g);
                dx = rest;
            }
            Ok(())
        });
    }
    Ok(values.put_tape(tape))
}

/// A predicted set and its observed one, rows of `width`.
struct Pair<'a> {
    x: &'a [f32],
    y: &'a [f32],
    width: usize,
}

impl Pair<'_> {
    /// Value and gradient for a function of the squared distance that gives its value and derivative.
    fn radial(&self, f: impl Fn(f32) -> (f32, f32) + Copy + Send + Sync) -> (f64, Vec<f32>) {
        let width = self.width;
        let (n, m) = (self.x.len() / width, self.y.len() / width);
        let mean = mean_row(self.y, width);
        let [x, y] = [self.x, self.y].map(|rows| centred(rows, &mean));
        let mut gradient = vec![0.0; x.len()];
        let (nm, nn, mm) = ((n * m) as f64, (n * n) as f64, (m * m) as f64);
        let across = pairs(&x, &y, width, f, Some((&mut gradient, 4.0 / nm)));
        // Each pair within x stands twice, once for either row.
        let within_x = pairs(&x, &x, width, f, Some((&mut gradient, -4.0 / nn)));
        let within_y = pairs(&y, &y, width, f, None);
        (2.0 * across / nm - within_x / nn - within_y / mm, gradient)
    }

    /// Mean over directions of the squared distance of the sorted projections.
    fn sliced(&self, directions: &[f32]) -> (f64, Vec<f32>) {
        let width = self.width;
        let count = directions.len() / width;
        let directions = MatRef::new(directions, width, count);
        let [x, y] = [self.x, self.y].map(|rows| {
            let rows = MatRef::new(rows, rows.len() / width, width);
            let mut projected = vec![0.0; count * rows.rows()];
            add_product(&mut projected, directions.t(), rows.t()); // (directions, rows)
            projected
        });
        let (n, m) = (x.len() / count, y.len() / count);
        let mut slopes = vec![0.0f32; count * n];
        let lines = x.par_chunks_exact(n).zip(y.par_chunks_exact(m)).zip(slopes.par_chunks_exact_mut(n));
        let values: Vec<f64> = lines
            .map(|((x, y), slopes)| {
                let (x_order, y_order) = (ranked(x), ranked(y));
                let mut value = 0.0;
                couple(n, m, |i, j, weight| {
                    let (i, j) = (x_order[i] as usize, y_order[j] as usize);
                    let difference = f64::from(x[i]) - f64::from(y[j]);
                    value += weight * difference * difference;
                    slopes[i] += (2.0 * weight * difference / count as f64) as f32;
                });
                value
            })
            .collect();
        let mut gradient = vec![0.0; self.x.len()];
        add_product(&mut gradient, MatRef::new(&slopes, count, n).t(), directions.t());
        (values.iter().sum::<f64>() / count as f64, gradient)
    }
}

/// The sum of f over all pairs of a row of a and a row of b; adds `scale` times half its derivative for the rows of a to
/// the gradient, if there is one.
fn pairs(
    a: &[f32],
    b: &[f32],
    width: usize,
    f: impl Fn(f32) -> (f32, f32) + Copy + Send + Sync,
    gradient: Option<(&mut [f32], f64)>,
) -> f64 {
    let (n, m) = (a.len() / width, b.len() / width);
    let (a_norms, b_norms) = (norms(a, width), norms(b, width));
    let mut table = vec![0.0; n * m];
    add_product(&mut table, MatRef::new(a, n, width), MatRef::new(b, m, width).t());
    let scale = gradient.as_ref().map_or(0.0, |(_, scale)| *scale as f32);
    let sums = table.par_chunks_exact_mut(m).zip(a.par_chunks_exact(width)).zip(&a_norms).map(|((row, a), a_norm)| {
        dispatch!({
            for (s, b_norm) in row.iter_mut().zip(&b_norms) {
                *s = a_norm + b_norm - 2.0 * *s;
            }
        });
        for ((s, b_norm), b) in row.iter_mut().zip(&b_norms).zip(b.chunks_exact(width)) {
            if *s < CLOSE * (a_norm + b_norm) {
                *s = dispatch!(squared_distance(a, b));
            }
        }
        dispatch!(values_and_slopes(row, scale, f))
    });
    let sums: Vec<(f64, f64)> = sums.collect();
    if let Some((gradient, _)) = gradient {
        // sum_j w_ij (a_i - b_j), the weights being in the table and their sums beside it
        for ((gradient, a), (_, weight)) in gradient.chunks_exact_mut(width).zip(a.chunks_exact(width)).zip(&sums) {
            gradient.iter_mut().zip(a).for_each(|(g, &a)| *g += (weight * f64::from(a)) as f32);
        }
        table.iter_mut().for_each(|weight| *weight = -*weight);
        add_product(gradient, MatRef::new(&table, n, m), MatRef::new(b, m, width));
    }
    sums.iter().map(|(value, _)| value).sum()
}

/// The sums of f and of `scale` f'; leaves the latter's terms in the row.
#[inline(always)]
fn values_and_slopes(row: &mut [f32], scale: f32, f: impl Fn(f32) -> (f32, f32)) -> (f64, f64) {
    let mut lanes = [0.0f64; LANES];
    for chunk in row.chunks_mut(LANES) {
        for (lane, s) in lanes.iter_mut().zip(chunk) {
            let (value, slope) = f(*s);
            *lane += f64::from(value);
            *s = slope * scale;
        }
    }
    (lanes.iter().sum(), sum(row))
}

#[inline(always)]
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += (a - b) * (a - b);
        }
    }
    lanes.iter().sum()
}

fn norms(rows: &[f32], width: usize) -> Vec<f32> {
    let zero = vec![0.0; width];
    rows.par_chunks_exact(width).map(|row| dispatch!(squared_distance(row, &zero))).collect()
}

fn mean_row(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.iter().map(|sum| (sum * width as f64 / rows.len() as f64) as f32).collect()
}

fn centred(rows: &[f32], mean: &[f32]) -> Vec<f32> {
    rows.chunks_exact(mean.len()).flat_map(|row| row.iter().zip(mean).map(|(value, mean)| value - mean)).collect()
}
