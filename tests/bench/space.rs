//! The space in which sets of cells are compared.

use genailab::{
    bench::PcaSpace,
    data::Counts,
    ndarray::{Array2, Axis, s},
};
use rayon::prelude::*;

fn cells() -> Counts {
    Counts::from_dense(&Array2::from_shape_fn((60, 9), |(cell, gene)| ((cell * 7 + gene * gene * 3) % 5) as f32))
}

#[test]
fn sparse_and_dense_cells_get_the_same_scores() {
    let expression = cells();
    let space = PcaSpace::of_training(&(0..40).collect::<Vec<_>>());
    let rows: Vec<usize> = (35..60).collect();
    let sparse = space.of_rows(&expression, &rows).expect("a space");
    let dense = space.of_cells(&expression, expression.to_dense().select(Axis(0), &rows).view()).expect("a space");
    assert_eq!(sparse.dim(), (25, 9));
    assert!((&sparse - &dense).iter().all(|difference| difference.abs() < 1e-5));
}

#[test]
fn test_cells_have_no_part_in_it() {
    let rows: Vec<usize> = (0..40).collect();
    let mut other = cells().to_dense();
    other.slice_mut(s![40.., ..]).fill(100.0);
    let (space, changed) = (PcaSpace::of_training(&rows), PcaSpace::of_training(&rows));
    let expected = &space.pca(&cells()).expect("a space").components;
    assert_eq!(expected, changed.pca(&Counts::from_dense(&other)).expect("a space").components);
}

#[test]
fn workers_that_all_ask_at_once_do_not_wait_for_each_other() {
    let expression = cells();
    for _ in 0..20 {
        let space = PcaSpace::of_training(&(0..60).collect::<Vec<_>>());
        let all: Vec<usize> =
            (0..64).into_par_iter().map(|_| space.pca(&expression).expect("a space").mean.len()).collect();
        assert!(all.iter().all(|&genes| genes == 9));
    }
}

#[test]
fn one_cell_is_no_space() {
    let error = PcaSpace::of_training(&[3]).pca(&cells()).expect_err("one cell").to_string();
    assert!(error.contains("fewer than two training cells"), "{error}");
}
