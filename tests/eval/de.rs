//! Differential expression against plain versions and against scanpy.

use super::{assert_close, numbers, real_cells, reference};
use genailab::{
    data::Counts,
    eval::*,
    ndarray::{Array2, array},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// `log1p(count * 1e4 / library size)`, as tests/reference/de.py computes it.
pub(super) fn log_normalise(counts: &Counts, library_size: &[f64]) -> Counts {
    let values = (0..counts.n_cells())
        .flat_map(|cell| {
            let scale = 1e4 / library_size[cell];
            counts.row(cell).1.iter().map(move |&count| (f64::from(count) * scale).ln_1p() as f32)
        })
        .collect();
    Counts::new(counts.n_genes(), counts.indptr().to_vec(), counts.indices().to_vec(), values).expect("same structure")
}

/// The tests of tests/reference/de.py.
const TESTS: [(&str, DeTest); 4] = [
    ("ties", DeTest::RankSum(RankSum { tie_correct: true })),
    ("no_ties", DeTest::RankSum(RankSum { tie_correct: false })),
    ("t_test", DeTest::TTest),
    ("t_test_overestim_var", DeTest::TTestOverestimVar),
];

/// Compares with scanpy's numbers at 1e-5. scanpy keeps scores and fold changes in f32, hence the absolute part.
fn compare_with_scanpy(expected: &Value, de: &DifferentialExpression, label: u32, genes: &[usize], what: &str) {
    let row = de.row_of(label).expect("the group was tested");
    for (column, table, absolute) in [
        ("scores", &de.scores, 1e-6),
        ("p_values", &de.p_values, 0.0),
        ("p_adjusted", &de.p_adjusted, 0.0),
        ("log2_fold_changes", &de.log2_fold_changes, 1e-6),
    ] {
        let expected: Vec<f64> = numbers(&expected[column]);
        assert_eq!(expected.len(), genes.len());
        for (&gene, &expected) in genes.iter().zip(&expected) {
            assert_close(table[[row, gene]], expected, 1e-5, absolute, &format!("{what}, {column}, gene {gene}"));
        }
    }
}

#[test]
fn tests_agree_with_scanpy_on_samples() {
    let reference = reference("de");
    for file in ["papalexi_cells", "norman_cells"] {
        let sample = &reference[file]["sample"];
        let n_genes = sample["n_genes"].as_u64().expect("a number") as usize;
        let counts =
            Counts::new(n_genes, numbers(&sample["indptr"]), numbers(&sample["indices"]), numbers(&sample["counts"]))
                .expect("a valid matrix");
        let expression = log_normalise(&counts, &numbers::<f64>(&sample["library_size"]));
        let labels: Vec<u32> = numbers(&sample["labels"]);
        let groups: Vec<String> = numbers(&sample["groups"]);
        let genes: Vec<usize> = (0..n_genes).collect();
        for (key, test) in TESTS {
            let de = differential_expression(&expression, &labels, DeReference::Group(0), test).expect("valid input");
            for (label, group) in groups.iter().enumerate().skip(1) {
                let what = format!("{file}, {group}, {key}");
                compare_with_scanpy(&sample["expected"][key][group], &de, label as u32, &genes, &what);
            }
        }
    }
}

/// The test as the textbook has it: rank every value of both groups, average ties, sum.
fn plain_rank_sum(perturbed: &[f32], control: &[f32], tie_correct: bool) -> f64 {
    let all: Vec<f32> = perturbed.iter().chain(control).copied().collect();
    let below = |v: f32| all.iter().filter(|&&x| x < v).count() as f64;
    let equal = |v: f32| all.iter().filter(|&&x| x == v).count() as f64;
    let rank_sum: f64 = perturbed.iter().map(|&v| below(v) + (equal(v) + 1.0) / 2.0).sum();
    // sum over tie groups of t^3 - t = sum over values of t^2 - 1
    let ties: f64 = all.iter().map(|&v| equal(v) * equal(v) - 1.0).sum();
    let (n, m) = (perturbed.len() as f64, control.len() as f64);
    let total = n + m;
    let correction = if tie_correct { 1.0 - ties / (total.powi(3) - total) } else { 1.0 };
    let z = (rank_sum - n * (total + 1.0) / 2.0) / (correction * n * m * (total + 1.0) / 12.0).sqrt();
    if z.is_nan() { 0.0 } else { z }
}

#[test]
fn rank_sum_agrees_with_the_plain_version() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (cells, genes) = (90, 30);
    // Mostly zeros, few distinct values (so many ties), negative ones too; gene 0 silent, gene 1 constant.
    let dense = Array2::from_shape_fn((cells, genes), |(_, gene)| match gene {
        0 => 0.0,
        1 => 2.0,
        _ if rng.random::<f32>() < 0.6 => 0.0,
        _ => rng.random_range(-2_i32..6) as f32 / 2.0,
    });
    let labels: Vec<u32> = (0..cells).map(|cell| [2, 0, 1, 2, 4][cell % 5]).collect(); // label 3 has no cells
    let of = |label: u32, gene: usize| -> Vec<f32> {
        (0..cells).filter(|&cell| labels[cell] == label).map(|cell| dense[[cell, gene]]).collect()
    };
    // Zeros that a file stores are zeros too.
    let all = Counts::new(
        genes,
        (0..=cells).map(|cell| cell * genes).collect(),
        (0..cells).flat_map(|_| 0..genes as u32).collect(),
        dense.iter().copied().collect(),
    )
    .expect("a full matrix");
    for tie_correct in [true, false] {
        for counts in [Counts::from_dense(&dense), all.clone()] {
            let de = rank_sum_test(&counts, &labels, 2, RankSum { tie_correct }).expect("valid input");
            assert_eq!(de.groups, [0, 1, 4]);
            for (row, &group) in de.groups.iter().enumerate() {
                for gene in 0..genes {
                    let plain = plain_rank_sum(&of(group, gene), &of(2, gene), tie_correct);
                    assert_close(de.scores[[row, gene]], plain, 1e-10, 1e-12, &format!("group {group}, gene {gene}"));
                }
                assert_eq!((de.scores[[row, 0]], de.p_values[[row, 0]]), (0.0, 1.0), "a silent gene is not changed");
                assert_eq!((de.scores[[row, 1]], de.p_values[[row, 1]]), (0.0, 1.0), "a constant gene is not changed");
            }
        }
    }
}

#[test]
fn cells_tested_one_group_at_a_time_give_the_same_table() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    // Gene 0 silent, gene 1 constant, gene 2 never zero; negative values and zeros of both signs.
    let dense = Array2::from_shape_fn((120, 25), |(_, gene)| match gene {
        0 => 0.0,
        1 => 1.3,
        2 => 1.0 + rng.random::<f32>(),
        _ if rng.random::<f32>() < 0.4 => -0.0,
        _ => rng.random_range(-3_i32..9) as f32 / 4.0,
    });
    let labels: Vec<u32> = (0..120).map(|cell| [0, 0, 1, 0, 2, 1][cell % 6]).collect();
    let rows = |label: u32| -> Vec<usize> { (0..120).filter(|&cell| labels[cell] == label).collect() };
    let expression = Counts::from_dense(&dense);
    let control = ReferenceCells::new(&expression, &rows(0)).expect("control cells");
    assert_eq!((control.n_cells(), control.n_genes()), (60, 25));
    for (name, test) in TESTS {
        let table = differential_expression(&expression, &labels, DeReference::Group(0), test).expect("valid input");
        for (row, label) in [1, 2].into_iter().enumerate() {
            let cells = dense.select(genailab::ndarray::Axis(0), &rows(label));
            let one = control.test(cells.view(), test).expect("valid input");
            for gene in 0..25 {
                let what = format!("{name}, group {label}, gene {gene}");
                assert_close(one.scores[[0, gene]], table.scores[[row, gene]], 1e-9, 1e-12, &what);
                assert_close(one.p_adjusted[[0, gene]], table.p_adjusted[[row, gene]], 1e-9, 0.0, &what);
                let fold = table.log2_fold_changes[[row, gene]];
                if fold.is_finite() {
                    assert_close(one.log2_fold_changes[[0, gene]], fold, 1e-9, 1e-12, &what);
                }
            }
            assert_eq!((one.scores[[0, 0]], one.scores[[0, 1]]), (0.0, 0.0), "{name}: genes that do not vary");
        }
    }
    assert!(control.test(dense.view().slice_axis(genailab::ndarray::Axis(1), (..4).into()), TESTS[0].1).is_err());
    assert!(control.test(Array2::from_elem((3, 25), f32::NAN).view(), TESTS[0].1).is_err());
    assert!(control.test(Array2::zeros((1, 25)).view(), TESTS[0].1).is_err());
    assert!(ReferenceCells::new(&expression, &[3]).is_err());
}

#[test]
fn the_table_does_not_depend_on_the_number_of_threads() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let dense = Array2::from_shape_fn((80, 40), |_| if rng.random::<f32>() < 0.5 { 0.0 } else { rng.random::<f32>() });
    let labels: Vec<u32> = (0..80).map(|cell| cell % 4).collect();
    let expression = Counts::from_dense(&dense);
    for reference in [DeReference::Group(1), DeReference::Rest] {
        for (name, test) in TESTS {
            let table = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
                pool.install(|| differential_expression(&expression, &labels, reference, test).expect("valid input"))
            };
            let (one, three) = (table(1), table(3));
            assert_eq!((one.scores, one.p_adjusted), (three.scores, three.p_adjusted), "{name}, {reference:?}");
        }
    }
}

#[test]
fn rank_sum_refuses_what_it_cannot_test() {
    let counts = Counts::from_dense(&array![[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 4.0], [1.0, 1.0]]);
    let settings = RankSum::default();
    let message = |result: genailab::Result<DifferentialExpression>| result.expect_err("must be refused").to_string();
    assert!(message(rank_sum_test(&counts, &[0, 1], 0, settings)).contains("do not fit"));
    assert!(message(rank_sum_test(&counts, &[0, 1, 1, 1, 1], 0, settings)).contains("1 control cells"));
    assert!(message(rank_sum_test(&counts, &[0; 5], 9, settings)).contains("0 control cells"));
    let with_nan = Counts::from_dense(&array![[1.0, 0.0], [0.0, f32::NAN], [3.0, 0.0], [0.0, 4.0], [1.0, 1.0]]);
    assert!(message(rank_sum_test(&with_nan, &[0, 0, 1, 1, 1], 0, settings)).contains("cell 1 has a NaN for gene 1"));
    let lonely = rank_sum_test(&counts, &[0, 0, 0, 0, 1], 0, settings).expect("a group of one cell is left out");
    assert!(lonely.groups.is_empty() && lonely.changed(1, SIGNIFICANCE).is_none());
}

#[test]
fn tests_agree_with_scanpy_on_whole_files() {
    let reference = reference("de");
    for file in ["papalexi_cells", "norman_cells"] {
        let Some(data) = real_cells(file) else { continue };
        let full = &reference[file]["full"];
        let genes = data.genes_at(&numbers::<String>(&full["genes"])).expect("the genes are there");
        let library: Vec<f64> = data.library_size.iter().map(|&size| f64::from(size)).collect();
        let expression = log_normalise(&data.counts, &library);
        let control = data.perturbation("control").expect("control is there");
        for (key, test) in TESTS {
            for (against, reference) in [("expected", DeReference::Group(control)), ("rest", DeReference::Rest)] {
                let de = differential_expression(&expression, &data.labels, reference, test).expect("valid input");
                for (group, expected) in full[against][key].as_object().expect("groups") {
                    let label = data.perturbation(group).expect("the perturbation is there");
                    compare_with_scanpy(expected, &de, label, &genes, &format!("{file}, {group}, {key}, {against}"));
                }
            }
        }
    }
}
