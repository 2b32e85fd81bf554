//! The memory of a CPU tensor as a slice, without a copy.
//!
//! dfdx gives single elements by index, but no slice. Its CPU storage is one `Vec<f32>` a tensor, and `&tensor[[0, 0]]`
//! is a reference into it; a row-major tensor of `n` elements owns exactly `n` of them, one after the other.
//!
//! # The invariant
//! [`slice`] and [`slice_mut`] build a slice of `shape.num_elements()` from the address of element 0. It is valid
//! because
//! 1. the address is that of the first element of the tensor's `Vec`: index `[0, ..]` maps to offset 0 under any
//!    strides;
//! 2. the strides are checked to be those of a row-major tensor, whose `Vec` holds `num_elements` values;
//! 3. the slice borrows the tensor, which keeps the storage alive; dfdx writes to storage only through a unique borrow,
//!    and so does `slice_mut`: it goes through `IndexMut`, which first makes the storage unshared.

use dfdx::prelude::{Cpu, HasShape, Shape, Tensor};
use std::borrow::Cow;

/// Whether `tensor` lies in row-major order, i.e. is neither broadcast nor permuted. dfdx keeps the strides to itself,
/// so they are measured: along each axis, the distance from the first element to its neighbour.
pub(crate) fn is_row_major<S: Shape, T>(tensor: &Tensor<S, f32, Cpu, T>) -> bool {
    if tensor.shape().num_elements() == 0 {
        return true;
    }
    let (sizes, expected) = (tensor.shape().concrete(), tensor.shape().strides());
    let base = (&raw const tensor[S::Concrete::default()]).addr();
    (0..S::NUM_DIMS).filter(|&axis| sizes[axis] > 1).all(|axis| {
        let mut index = S::Concrete::default();
        index[axis] = 1;
        (&raw const tensor[index]).addr() == base + expected[axis] * size_of::<f32>()
    })
}

/// All elements in row-major order: borrowed where the tensor lies that way in memory, copied where it is broadcast or
/// permuted.
pub(crate) fn slice<S: Shape, T>(tensor: &Tensor<S, f32, Cpu, T>) -> Cow<'_, [f32]> {
    let len = tensor.shape().num_elements();
    if len == 0 {
        return Cow::Borrowed(&[]);
    }
    if !is_row_major(tensor) {
        return Cow::Owned(tensor.as_vec());
    }
    let base = &raw const tensor[S::Concrete::default()];
    // SAFETY: see the invariant in the module's documentation; `len > 0`, so element 0 exists.
    Cow::Borrowed(unsafe { std::slice::from_raw_parts(base, len) })
}

/// All elements in row-major order, to write to; `None` where the tensor is broadcast or permuted. Storage that is
/// shared with another tensor is copied first.
pub(crate) fn slice_mut<S: Shape, T>(tensor: &mut Tensor<S, f32, Cpu, T>) -> Option<&mut [f32]> {
    let len = tensor.shape().num_elements();
    if len == 0 {
        return Some(&mut []);
    }
    if !is_row_major(tensor) {
        return None;
    }
    let base = &raw mut tensor[S::Concrete::default()];
    // SAFETY: see the invariant in the module's documentation; `len > 0`, so element 0 exists.
    Some(unsafe { std::slice::from_raw_parts_mut(base, len) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfdx::prelude::{AsArray, BroadcastTo, PermuteTo, Rank1, Rank2, TensorFrom, ZerosTensor};

    #[test]
    fn contiguous_is_borrowed_and_the_rest_is_copied() {
        let dev = Cpu::default();
        let a: Tensor<Rank2<2, 3>, f32, _> = dev.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        assert!(matches!(slice(&a), Cow::Borrowed([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])));
        let t: Tensor<Rank2<3, 2>, f32, _> = a.clone().permute();
        assert!(matches!(slice(&t), Cow::Owned(_)));
        assert_eq!(*slice(&t), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let row: Tensor<Rank1<3>, f32, _> = dev.tensor([7.0, 8.0, 9.0]);
        let wide: Tensor<Rank2<2, 3>, f32, _> = row.broadcast();
        assert!(!is_row_major(&wide));
        assert_eq!(*slice(&wide), [7.0, 8.0, 9.0, 7.0, 8.0, 9.0]);
    }

    #[test]
    fn writing_does_not_reach_a_clone() {
        let dev = Cpu::default();
        let mut a: Tensor<Rank2<1, 2>, f32, _> = dev.tensor([[1.0, 2.0]]);
        let b = a.clone();
        slice_mut(&mut a).expect("row-major").copy_from_slice(&[3.0, 4.0]);
        assert_eq!((a.array(), b.array()), ([[3.0, 4.0]], [[1.0, 2.0]]));
        let row: Tensor<Rank1<2>, f32, _> = dev.tensor([1.0, 2.0]);
        let mut wide: Tensor<Rank2<3, 2>, f32, _> = row.broadcast();
        assert!(slice_mut(&mut wide).is_none(), "a broadcast tensor has fewer elements in memory than it shows");
    }

    #[test]
    fn empty_tensors_give_empty_slices() {
        let empty: Tensor<(usize, usize), f32, Cpu> = Cpu::default().zeros_like(&(0, 5));
        assert!(slice(&empty).is_empty());
    }
}
