//! The memory of a CPU tensor as a slice.

use genailab::{
    dfdx::prelude::{
        AsArray, BroadcastTo, Cpu, PermuteTo, Rank1, Rank2, Tensor, TensorFrom, TensorFromVec, ZerosTensor,
    },
    nn::raw::{is_row_major, slice, slice_mut},
};
use std::borrow::Cow;

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

/// Reads and writes reach the last element, also of a tensor that is much larger than the first one whose address they
/// start from, and each read sees the write before it.
#[test]
fn every_element_is_read_and_written() {
    let (rows, width) = (1000, 257);
    let values: Vec<f32> = (0..rows * width).map(|i| i as f32).collect();
    let mut a = Cpu::default().tensor_from_vec(values.clone(), (rows, width));
    assert_eq!(*slice(&a), values);
    for round in 1..4 {
        slice_mut(&mut a).expect("row-major").iter_mut().for_each(|value| *value += 1.0);
        let expected: Vec<f32> = values.iter().map(|value| value + round as f32).collect();
        assert_eq!(*slice(&a), expected);
        assert_eq!((a[[0, 0]], a[[rows - 1, width - 1]]), (expected[0], expected[rows * width - 1]));
        assert_eq!(a.as_vec(), expected);
    }
}
