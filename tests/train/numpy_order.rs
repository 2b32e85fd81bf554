//! The order of batches that `bench-train` shares with its Python side.

#[path = "../../src/bin/genailab/bench_train/numpy_order.rs"]
mod order;

#[test]
fn it_is_numpys() {
    // numpy.random.default_rng(0).permutation(12000)[:6]
    assert_eq!(order::permutation(12_000)[..6], [236, 1761, 2052, 2074, 5270, 10053]);
    assert_eq!(order::permutation(1), [0]);
    assert!(order::permutation(0).is_empty());
}
