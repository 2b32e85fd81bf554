//! The memory of a CPU tensor as a slice, without a copy.
//!
//! dfdx gives single elements by index, but no slice: the trait with a getter of a tensor's storage is private to it, and
//! its public functions copy. Its CPU storage is one `Vec<f32>` per tensor, and `&tensor[[0, 0]]` is a reference into it; a
//! row-major tensor of `n` elements owns exactly `n` of them, one after the other. A copy instead would read and write
//! every weight and every activation once more in each step, in operations that are bound by memory.
//!
//! # The invariant
//! [`slice`] and [`slice_mut`] build a slice of `shape.num_elements()` from the address of element 0. It is valid
//! because
//! 1. the address is that of the first element of the tensor's `Vec`: index `[0, ..]` maps to offset 0 under any
//!    strides;
//! 2. the strides are checked to be those of a row-major tensor, whose `Vec` holds `num_elements` values;
//! 3. the slice borrows the tensor, which keeps the storage alive; dfdx writes to storage only through a unique borrow,
//!    and so does `slice_mut`: it goes through `IndexMut`, which first makes the storage unshared.
//!
//! # Provenance
//! The pointer comes from a reference to one element, and is used for all of them. Rust has not decided whether a
//! reference may reach beyond its type: the model Stacked Borrows forbids it, Tree Borrows allows it. The compiler cannot
//! make use of the stricter rule here:
//! - rustc tells LLVM of a returned reference only that it is not null, aligned, and dereferenceable for *at least* 4 bytes.
//!   LLVM knows no upper bound for a reference: its provenance is the allocation, and `Index::index` computes the address
//!   from the pointer of the `Vec`, so it stays within the allocation that the slice covers.
//! - `noalias` is given to references that are passed as arguments, for the length of that call. What is passed here is
//!   the tensor, whose own fields lie apart from the buffer. The reference to the element is turned into a raw pointer in
//!   the expression that makes it (`&raw`), and is never passed on or used again.
//! - Nothing else reads or writes the buffer while the slice lives, whatever the rule: point 3 above. So there are no two
//!   accesses whose order a narrower provenance could let the compiler change.

use dfdx::prelude::{Cpu, HasShape, Shape, Tensor};
use std::borrow::Cow;

/// Whether `tensor` lies in row-major order, i.e. is neither broadcast nor permuted. dfdx keeps the strides to itself,
/// so they are measured: along each axis, the distance from the first element to its neighbour.
pub fn is_row_major<S: Shape, T>(tensor: &Tensor<S, f32, Cpu, T>) -> bool {
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
pub fn slice<S: Shape, T>(tensor: &Tensor<S, f32, Cpu, T>) -> Cow<'_, [f32]> {
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
pub fn slice_mut<S: Shape, T>(tensor: &mut Tensor<S, f32, Cpu, T>) -> Option<&mut [f32]> {
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
