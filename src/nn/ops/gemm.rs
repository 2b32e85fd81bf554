//! Dense matrix products on the `gemm` crate, with slices instead of pointers.

use super::RowSets;
use gemm::Parallelism;
use std::{marker::PhantomData, ops::Range};

/// A row-major matrix in memory, or its transpose.
#[derive(Clone, Copy)]
pub struct MatRef<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> MatRef<'a> {
    /// `values` as a row-major `(rows, cols)` matrix.
    pub fn new(values: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix of {rows} x {cols} has this many values");
        Self { values, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The part of a row-major matrix of width `row_stride` that starts at element `start`.
    pub fn tile(values: &'a [f32], start: usize, rows: usize, cols: usize, row_stride: usize) -> Self {
        if rows == 0 || cols == 0 {
            return Self { values: &[], rows, cols, row_stride, col_stride: 1 };
        }
        let values = &values[start..start + (rows - 1) * row_stride + cols];
        Self { values, rows, cols, row_stride, col_stride: 1 }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows `range` of a matrix that is not transposed.
    pub fn row_block(self, range: Range<usize>) -> Self {
        debug_assert_eq!(self.col_stride, 1, "rows of a row-major matrix");
        Self::tile(self.values, range.start * self.row_stride, range.len(), self.cols, self.row_stride)
    }

    /// One row of a matrix that is not transposed.
    pub fn row(&self, row: usize) -> &'a [f32] {
        debug_assert_eq!(self.col_stride, 1, "a row of a row-major matrix");
        &self.values[row * self.row_stride..][..self.cols]
    }

    /// The transpose, without moving anything.
    pub fn t(self) -> Self {
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
pub struct MatMut<'a> {
    start: *mut f32,
    rows: usize,
    cols: usize,
    row_stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for unique borrows of its rows (see the invariant), and a `&mut [f32]` is `Send`.
unsafe impl Send for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// `values` as a row-major `(rows, cols)` matrix.
    pub fn new(values: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix of {rows} x {cols} has this many values");
        Self { start: values.as_mut_ptr(), rows, cols, row_stride: cols, borrow: PhantomData }
    }

    /// A row-major matrix `(rows, per_set * cols)` cut into one tile a set of rows and block of `cols` columns; set by
    /// set, and within a set from left to right.
    pub fn tiles(values: &'a mut [f32], sets: &RowSets, per_set: usize, cols: usize) -> Vec<Self> {
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
    pub fn row_block(&mut self, range: Range<usize>) -> MatMut<'_> {
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
pub fn add_product(out: &mut [f32], a: MatRef<'_>, b: MatRef<'_>) {
    add_scaled_product(out, a, b, 1.0);
}

/// `out += scale * a b`; out is row-major `(a.rows, b.cols)`.
pub fn add_scaled_product(out: &mut [f32], a: MatRef<'_>, b: MatRef<'_>, scale: f32) {
    let (rows, cols) = (a.rows, b.cols);
    product(MatMut::new(out, rows, cols), a, b, Product { scale, add: true, threads: Parallelism::Rayon(0) });
}

/// `a b`, row-major.
pub fn product_of(a: MatRef<'_>, b: MatRef<'_>) -> Vec<f32> {
    let (rows, cols) = (a.rows, b.cols);
    let mut out = vec![0.0; rows * cols];
    let how = Product { scale: 1.0, add: false, threads: Parallelism::Rayon(0) };
    product(MatMut::new(&mut out, rows, cols), a, b, how);
    out
}

/// `out = scale * a b`, on this thread.
pub fn set_product(out: MatMut<'_>, a: MatRef<'_>, b: MatRef<'_>, scale: f32) {
    product(out, a, b, Product { scale, add: false, threads: Parallelism::None });
}

/// `out += scale * a b`, on this thread.
pub fn add_product_here(out: MatMut<'_>, a: MatRef<'_>, b: MatRef<'_>, scale: f32) {
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
