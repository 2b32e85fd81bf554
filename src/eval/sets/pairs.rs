//! Sums over all pairs of cells of two sets, a block of distances at a time.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, linalg::general_mat_mul, s};
use rayon::prelude::*;

/// Rows of a block: 256 x 256 distances in f64 are 512 KiB, which stays in a core's own cache.
const BLOCK: usize = 256;
/// Running sums, so that additions do not wait for each other. Fixed, so that every machine adds in the same order.
const LANES: usize = 8;

/// A set of cells around a common origin.
///
/// `|x - y|^2 = |x|^2 + |y|^2 - 2 x.y` loses digits when the cells lie far from the origin or near each other. The
/// origin is therefore a mean of the data, and products are taken in f64: equal cells come out at 1e-8 of their norm
/// where f32 would leave 3e-4.
#[derive(Debug, Clone)]
pub(super) struct Cloud {
    /// The cells, `(cells, d)`.
    pub cells: Array2<f64>,
    /// Squared norm of each, `(cells,)`.
    pub squares: Array1<f64>,
}

impl Cloud {
    pub(super) fn new(cells: ArrayView2<'_, f32>, origin: ArrayView1<'_, f64>) -> Self {
        let cells = cells.mapv(f64::from) - origin;
        let squares = cells.map_axis(Axis(1), |cell| cell.dot(&cell));
        Self { cells, squares }
    }

    /// Both sets, around the mean of all their cells; `None` where either is empty, not finite, or the columns do not
    /// fit together.
    pub(super) fn pair(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Option<(Self, Self)> {
        if x.ncols() != y.ncols() || x.is_empty() || y.is_empty() {
            return None;
        }
        let sum = |set: ArrayView2<'_, f32>| set.fold_axis(Axis(0), 0.0, |sum: &f64, &value| sum + f64::from(value));
        let origin = (sum(x) + sum(y)) / (x.nrows() + y.nrows()) as f64;
        origin.iter().all(|value| value.is_finite()).then(|| (Self::new(x, origin.view()), Self::new(y, origin.view())))
    }

    pub(super) fn len(&self) -> usize {
        self.cells.nrows()
    }

    /// The cells `rows`.
    fn slice(&self, rows: std::ops::Range<usize>) -> (ArrayView2<'_, f64>, ArrayView1<'_, f64>) {
        (self.cells.slice(s![rows.clone(), ..]), self.squares.slice(s![rows]))
    }
}

/// `sum over i, j of f(|x_i - y_j|^2)`, in parallel over blocks. The same on any number of threads.
pub(super) fn sum_between(x: &Cloud, y: &Cloud, f: impl Fn(f64) -> f64 + Sync) -> f64 {
    let blocks: Vec<(usize, usize)> = (0..x.len())
        .step_by(BLOCK)
        .flat_map(|row| (0..y.len()).step_by(BLOCK).map(move |column| (row, column)))
        .collect();
    sum_blocks(&blocks, |products, &(row, column)| {
        let (a, aa) = x.slice(row..x.len().min(row + BLOCK));
        let (b, bb) = y.slice(column..y.len().min(column + BLOCK));
        block(products, a, aa, b, bb, &f)
    })
}

/// `sum over i, j of f(|x_i - x_j|^2)` within a set, both orders of a pair and, as `f(0)`, each cell with itself.
pub(super) fn sum_within(x: &Cloud, f: impl Fn(f64) -> f64 + Sync) -> f64 {
    let blocks: Vec<(usize, usize)> = (0..x.len())
        .step_by(BLOCK)
        .flat_map(|row| (row..x.len()).step_by(BLOCK).map(move |column| (row, column)))
        .collect();
    sum_blocks(&blocks, |products, &(row, column)| {
        let (a, aa) = x.slice(row..x.len().min(row + BLOCK));
        let (b, bb) = x.slice(column..x.len().min(column + BLOCK));
        if row != column {
            return 2.0 * block(products, a, aa, b, bb, &f);
        }
        // Half of a diagonal block, then what is exactly known.
        let n = a.nrows();
        let mut products = products.slice_mut(s![..n, ..n]);
        general_mat_mul(1.0, &a, &a.t(), 0.0, &mut products);
        let mut sum = 0.0;
        for (i, products) in products.rows().into_iter().enumerate() {
            sum += row_sum(aa[i], products.slice(s![i + 1..]), aa.slice(s![i + 1..]), &f);
        }
        2.0 * sum + n as f64 * f(0.0)
    })
}

/// Squared distances of all pairs, `(x cells, y cells)`. The caller keeps it small.
pub(super) fn squared_distances(x: &Cloud, y: &Cloud) -> Array2<f64> {
    let mut distances = x.cells.dot(&y.cells.t());
    for (mut row, xx) in distances.rows_mut().into_iter().zip(&x.squares) {
        row.zip_mut_with(&y.squares, |xy, yy| *xy = (xx + yy - 2.0 * *xy).max(0.0));
    }
    distances
}

fn sum_blocks<B: Sync>(blocks: &[B], f: impl Fn(&mut Array2<f64>, &B) -> f64 + Sync) -> f64 {
    let buffer = || Array2::zeros((BLOCK, BLOCK));
    if let [only] = blocks {
        return f(&mut buffer(), only);
    }
    blocks.par_iter().map_init(buffer, |products, block| f(products, block)).collect::<Vec<f64>>().iter().sum()
}

fn block(
    products: &mut Array2<f64>,
    a: ArrayView2<'_, f64>,
    aa: ArrayView1<'_, f64>,
    b: ArrayView2<'_, f64>,
    bb: ArrayView1<'_, f64>,
    f: &impl Fn(f64) -> f64,
) -> f64 {
    let mut products = products.slice_mut(s![..a.nrows(), ..b.nrows()]);
    general_mat_mul(1.0, &a, &b.t(), 0.0, &mut products);
    products.rows().into_iter().zip(aa).map(|(products, &xx)| row_sum(xx, products, bb, f)).sum()
}

fn row_sum(xx: f64, xy: ArrayView1<'_, f64>, yy: ArrayView1<'_, f64>, f: &impl Fn(f64) -> f64) -> f64 {
    let contiguous = "rows of a block and squared norms lie one after the other";
    let (xy, yy) = (xy.to_slice().expect(contiguous), yy.to_slice().expect(contiguous));
    let term = |xy: f64, yy: f64| f((xx + yy - 2.0 * xy).max(0.0));
    let mut lanes = [0.0; LANES];
    let (xy, yy) = (xy.chunks_exact(LANES), yy.chunks_exact(LANES));
    let rest: f64 = xy.remainder().iter().zip(yy.remainder()).map(|(&xy, &yy)| term(xy, yy)).sum();
    for (xy, yy) in xy.zip(yy) {
        for lane in 0..LANES {
            lanes[lane] += term(xy[lane], yy[lane]);
        }
    }
    lanes.iter().sum::<f64>() + rest
}
