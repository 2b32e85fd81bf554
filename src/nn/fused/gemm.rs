//! Dense matrix products on the `gemm` crate, with slices instead of pointers.

use crate::nn::RowSets;
use gemm::Parallelism;
use std::{marker::PhantomData, ops::Range};

/// A row-major matrix in memory, or its transpose.
#[derive(Clone, Copy)]
pub(crate) struct MatRef<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> MatRef<'a> {
    /// `values` as a row-major `(rows, cols)` matrix.
    pub(crate) fn new(values: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix of {rows} x {cols} has this many values");
        Self { values, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The part of a row-major matrix of width `row_stride` that starts at element `start`.
    pub(crate) fn tile(values: &'a [f32], start: usize, rows: usize, cols: usize, row_stride: usize) -> Self {
        if rows == 0 || cols == 0 {
            return Self { values: &[], rows, cols, row_stride, col_stride: 1 };
        }
        let values = &values[start..start + (rows - 1) * row_stride + cols];
        Self { values, rows, cols, row_stride, col_stride: 1 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The rows `range` of a matrix that is not transposed.
    pub(crate) fn row_block(self, range: Range<usize>) -> Self {
        debug_assert_eq!(self.col_stride, 1, "rows of a row-major matrix");
        Self::tile(self.values, range.start * self.row_stride, range.len(), self.cols, self.row_stride)
    }

    /// One row of a matrix that is not transposed.
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        debug_assert_eq!(self.col_stride, 1, "a row of a row-major matrix");
        &self.values[row * self.row_stride..][..self.cols]
    }

    /// The transpose, without moving anything.
    pub(crate) fn t(self) -> Self {
        Self {
            values: self.values,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// A row-major matrix to write to, or a block of its rows and columns.
///
/// # Invariant
/// `start` points to the first of `rows` rows of `cols` elements, `row_stride` apart, that nothing else reads or writes
/// during `'a`. Two tiles of one matrix interleave in memory but share no element.
pub(super) struct MatMut<'a> {
    start: *mut f32,
    rows: usize,
    cols: usize,
    row_stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for unique borrows of its rows (see the invariant), and a `&mut [f32]` is `Send`.
unsafe impl Send for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// `values` as a row-major `(rows, cols)` matrix.
    pub(super) fn new(values: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix of {rows} x {cols} has this many values");
        Self { start: values.as_mut_ptr(), rows, cols, row_stride: cols, borrow: PhantomData }
    }

    /// A row-major matrix `(rows, per_set * cols)` cut into one tile a set of rows and block of `cols` columns; set by
    /// set, and within a set from left to right.
    pub(super) fn tiles(values: &'a mut [f32], sets: &RowSets, per_set: usize, cols: usize) -> Vec<Self> {
        let row_stride = per_set * cols;
        assert_eq!(values.len(), sets.rows() * row_stride, "the tiles cover the matrix");
        let first = values.as_mut_ptr();
        sets.ranges()
            .flat_map(|rows| (0..per_set).map(move |block| (rows.clone(), block * cols)))
            .map(|(rows, column)| Self {
                // `wrapping_add`: the tile of an empty set may begin beyond the end; it has no element.
                start: first.wrapping_add(rows.start * row_stride + column),
                rows: rows.len(),
                cols,
                row_stride,
                borrow: PhantomData,
            })
            .collect()
    }

    /// The rows `range`, borrowed from this.
    pub(super) fn row_block(&mut self, range: Range<usize>) -> MatMut<'_> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of {}", self.rows);
        MatMut {
            start: self.start.wrapping_add(range.start * self.row_stride),
            rows: range.len(),
            borrow: PhantomData,
            ..*self
        }
    }
}

/// `out += a b`; out is row-major `(a.rows, b.cols)`.
pub(crate) fn add_product(out: &mut [f32], a: MatRef<'_>, b: MatRef<'_>) {
    let (rows, cols) = (a.rows, b.cols);
    product(MatMut::new(out, rows, cols), a, b, Product { scale: 1.0, add: true, threads: Parallelism::Rayon(0) });
}

/// `out = scale * a b`, on this thread.
pub(super) fn set_product(out: MatMut<'_>, a: MatRef<'_>, b: MatRef<'_>, scale: f32) {
    product(out, a, b, Product { scale, add: false, threads: Parallelism::None });
}

/// `out += scale * a b`, on this thread.
pub(super) fn add_product_here(out: MatMut<'_>, a: MatRef<'_>, b: MatRef<'_>, scale: f32) {
    product(out, a, b, Product { scale, add: true, threads: Parallelism::None });
}

/// How a product is computed.
struct Product {
    scale: f32,
    /// Whether it is added to what is there.
    add: bool,
    threads: Parallelism,
}

fn product(out: MatMut<'_>, a: MatRef<'_>, b: MatRef<'_>, how: Product) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!((b.rows, out.rows, out.cols), (k, m, n), "the factors and the product fit together");
    // SAFETY: the pointers cover rows x cols elements at these strides (`MatRef::new` and `tile`, `MatMut`'s invariant
    // and the assertion above), and `out` is a unique borrow, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.start,
            1,
            out.row_stride as isize,
            how.add,
            a.values.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            how.scale,
            false,
            false,
            false,
            how.threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_transposes() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, 1.0, 0.0, 3.0]);
        let mut out = [1.0; 4];
        add_product(&mut out, MatRef::new(&a, 2, 3), MatRef::new(&b, 3, 2));
        assert_eq!(out, [6.0, 12.0, 15.0, 24.0]);
        let mut out = [0.0; 9];
        add_product(&mut out, MatRef::new(&a, 2, 3).t(), MatRef::new(&b, 3, 2).t());
        assert_eq!(out, [1.0, 6.0, 12.0, 2.0, 9.0, 15.0, 3.0, 12.0, 18.0]);
        add_product(&mut [], MatRef::new(&[], 0, 3), MatRef::new(&b, 3, 2));
    }

    #[test]
    fn tiles_cover_a_matrix_once() {
        // 3 rows in sets of 2, 0 and 1; two blocks of 2 columns.
        let (mut out, one) = ([0.0; 12], [1.0; 2]);
        let tiles = MatMut::tiles(&mut out, &RowSets::from_sizes([2, 0, 1]), 2, 2);
        for (at, mut tile) in tiles.into_iter().enumerate() {
            let column = [1.0 + at as f32; 2];
            for row in 0..tile.rows {
                let (column, one) = (MatRef::new(&column[..1], 1, 1), MatRef::new(&one, 1, 2));
                add_product_here(tile.row_block(row..row + 1), column, one, 1.0);
            }
        }
        assert_eq!(out, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 6.0, 6.0]);
    }

    #[test]
    fn a_tile_is_read_in_place() {
        let a: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let tile = MatRef::tile(&a, 5, 2, 2, 4); // rows 1 and 2, columns 1 and 2
        assert_eq!((tile.row(0), tile.row_block(1..2).row(0)), (&[5.0, 6.0][..], &[9.0, 10.0][..]));
        let mut out = [9.0; 4];
        set_product(MatMut::new(&mut out, 2, 2), tile, tile.t(), 2.0);
        assert_eq!(out, [122.0, 210.0, 210.0, 362.0]);
    }
}
