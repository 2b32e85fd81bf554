//! Dense matrix products on the `gemm` crate, with slices instead of pointers.

use gemm::Parallelism;

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

    pub(crate) fn rows(&self) -> usize {
        self.rows
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

/// `out += a b`; out is row-major `(a.rows, b.cols)`.
pub(crate) fn add_product(out: &mut [f32], a: MatRef<'_>, b: MatRef<'_>) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!((b.rows, out.len()), (k, m * n), "the factors and the product fit together");
    // SAFETY: the pointers cover rows x cols elements at these strides (`MatRef::new` and the assertion above), and
    // `out` is a unique borrow, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            true,
            a.values.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(0),
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
}
