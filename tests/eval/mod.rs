//! `eval`: against plain versions, and against scanpy, scipy, scikit-learn and statsmodels (`tests/reference/`).

mod de;
mod disentanglement;
mod measure;
mod multiple_testing;
mod pseudotime;

use crate::common::real_data;
use genailab::{
    bench::Evaluation,
    data::Dataset,
    eval::*,
    math::Pca,
    ndarray::{Array2, ArrayView2, Axis, array},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

fn reference(name: &str) -> Value {
    let path = format!("{}/tests/reference/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn numbers<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).expect("a list of values")
}

#[track_caller]
fn assert_close(got: f64, expected: f64, relative: f64, absolute: f64, what: &str) {
    let allowed = relative * expected.abs() + absolute;
    assert!((got - expected).abs() <= allowed, "{what}: {got}, expected {expected} (allowed difference {allowed:e})");
}

/// Cells of the real data.
fn real_cells(name: &str) -> Option<Dataset> {
    real_data(&format!("{name}.h5ad")).map(|path| Dataset::open(path).expect("a readable file"))
}

#[test]
fn metrics_agree_with_scipy_and_scikit_learn() {
    type Metric = fn(&[f32], &[f32]) -> Option<f64>;
    let metrics: [(&str, Metric); 8] = [
        ("pearson", pearson),
        ("spearman", spearman),
        ("r2", r2),
        ("mse", mse),
        ("mae", mae),
        ("rmse", rmse),
        ("l2", l2),
        ("cosine", cosine),
    ];
    for case in reference("metrics")["cases"].as_array().expect("a list") {
        let (x, y): (Vec<f32>, Vec<f32>) = (numbers(&case["predicted"]), numbers(&case["observed"]));
        for (name, metric) in metrics {
            let expected = case[name].as_f64().expect("a number");
            assert_close(metric(&x, &y).expect("defined"), expected, 1e-6, 1e-7, name);
        }
        let size: Vec<f32> = x.iter().map(|v| v.abs()).collect();
        let changed: Vec<bool> = numbers(&case["changed"]);
        let expected = case["auroc"].as_f64().expect("a number");
        assert_close(auroc(&size, &changed).expect("defined"), expected, 1e-9, 0.0, "auroc");
        let expected = case["average_precision"].as_f64().expect("a number");
        assert_close(average_precision(&size, &changed).expect("defined"), expected, 1e-9, 0.0, "average precision");
        let weights: Vec<f64> = numbers(&case["weights"]);
        for (name, got) in [("wmse", wmse(&x, &y, &weights)), ("r2_weighted", r2_weighted(&x, &y, &weights))] {
            assert_close(got.expect("defined"), case[name].as_f64().expect("a number"), 1e-9, 1e-12, name);
        }
        let apart = Separation::new(&x, &y);
        for (name, got) in [("manhattan", apart.l1()), ("l2", apart.l2())] {
            assert_close(got, case[name].as_f64().expect("a number"), 1e-9, 0.0, name);
        }
        assert_close(1.0 - apart.cosine(), case["cosine"].as_f64().expect("a number"), 1e-9, 0.0, "cosine");
        let (tail, whole) = (Separation::new(&x[1..], &y[1..]), apart.without(x[0], y[0]));
        for (got, expected) in [(whole.l1(), tail.l1()), (whole.l2(), tail.l2()), (whole.cosine(), tail.cosine())] {
            assert_close(got, expected, 1e-9, 1e-12, "without the first gene");
        }
        let adjusted = benjamini_hochberg(&numbers::<f64>(&case["p_values"]));
        for (got, expected) in adjusted.iter().zip(numbers::<f64>(&case["p_adjusted"])) {
            assert_close(*got, expected, 1e-12, 0.0, "Benjamini-Hochberg");
        }
    }
}

#[test]
fn p_values_of_students_t_agree_with_scipy() {
    for case in reference("metrics")["students"].as_array().expect("a list") {
        let [t, df, p]: [f64; 3] = numbers(case).try_into().expect("three numbers");
        assert_close(student_two_sided(t, df), p, 1e-8, 1e-300, &format!("t = {t}, {df} degrees of freedom"));
    }
    assert_eq!((student_two_sided(f64::NAN, 3.0), student_two_sided(1.0, f64::NAN)), (1.0, 1.0));
    assert_eq!((student_two_sided(f64::INFINITY, 3.0), student_two_sided(0.0, 3.0)), (0.0, 1.0));
}

#[test]
fn metrics_are_none_where_they_are_not_defined() {
    let flat = [0.1_f32; 4]; // 0.1 is not exact: the mean differs from it in the last bit
    let x = [1.0, 2.0, 3.0, 5.0];
    assert_eq!((pearson(&flat, &x), pearson(&x, &flat), spearman(&flat, &x), r2(&x, &flat)), (None, None, None, None));
    assert_eq!((cosine(&[0.0; 4], &x), pearson(&[], &[]), l2(&x, &x[..3])), (None, None, None));
    assert_eq!((mse(&[f32::NAN, 1.0], &[1.0, 2.0]), spearman(&[f32::NAN, 1.0], &[1.0, 2.0])), (None, None));
    assert_eq!(r2(&flat, &x).map(|r2| r2 < 0.0), Some(true), "worse than the mean is negative");
    assert_eq!((auroc(&x, &[false; 4]), auroc(&x, &[true; 4]), auroc(&x, &[true])), (None, None, None));
    assert_eq!((precision_at_k(&x, &[false; 4], 2), recall_at_k(&x, &[false; 4], 2)), (None, None));
    assert_eq!((precision_at_k(&x, &[true; 4], 5), precision_at_k(&x, &[true; 4], 0)), (None, None));
}

#[test]
fn ranking_by_hand() {
    let changed = [true, false, true, false, false];
    let scores = [0.9, 0.8, 0.7, 0.1, 0.0];
    assert_eq!(top_k(&scores, 2), [0, 1]);
    assert_eq!((precision_at_k(&scores, &changed, 2), recall_at_k(&scores, &changed, 2)), (Some(0.5), Some(0.5)));
    assert_eq!((precision_at_k(&scores, &changed, 3), recall_at_k(&scores, &changed, 3)), (Some(2.0 / 3.0), Some(1.0)));
    assert_eq!(auroc(&scores, &changed), Some(5.0 / 6.0));
    // Nothing is known: every order is as likely, so precision is the share of changed genes.
    assert_eq!((precision_at_k(&[1.0; 5], &changed, 2), auroc(&[1.0; 5], &changed)), (Some(0.4), Some(0.5)));
}

#[test]
fn recall_of_the_largest_by_hand() {
    let observed = [5.0, 4.0, 3.0, 0.0, 0.0, 0.0];
    assert_eq!(top_k_recall(&[9.0, 0.0, 8.0, 7.0, 0.0, 0.0], &observed, 2), Some(0.5));
    assert_eq!(top_k_recall(&observed, &observed, 5), Some(1.0), "three can be found, and they are");
    assert_eq!(top_k_recall(&[1.0; 6], &observed, 2), Some(2.0 / 6.0), "what chance finds");
    let tied = [2.0, 1.0, 1.0, 1.0, 0.0, 0.0];
    assert_eq!(top_k_recall(&tied, &tied, 2), Some(1.0), "the truth finds itself, whichever of equals comes first");
    assert_eq!((top_k_recall(&observed, &[0.0; 6], 2), top_k_recall(&observed, &observed, 7)), (None, None));
    assert_eq!(top_k(&[-0.0, 0.0, -0.0], 2), [0, 1], "-0 and 0 are equal");
}

#[test]
fn ranks_among_perturbations_by_hand() {
    let distances = [2.0, 1.0, 3.0, 2.0];
    assert_eq!(discrimination_score(&distances, 1), Some(1.0));
    assert_eq!(discrimination_score(&distances, 2), Some(0.25), "the worst is 1 / n, never 0");
    assert_eq!(discrimination_score(&distances, 0), Some(1.0 - 1.5 / 4.0), "two as near share their places");
    assert_eq!((centroid_accuracy(&distances, 1), centroid_accuracy(&distances, 0)), (Some(1.0), Some(1.0 / 3.0)));
    assert_eq!((perturbench_rank(&distances, 1), perturbench_rank(&distances, 2)), (Some(0.0), Some(1.0)));
    assert_eq!((discrimination_score(&[1.0], 0), perturbench_rank(&[1.0], 0)), (None, None));
    assert_eq!((centroid_accuracy(&[1.0, f64::NAN], 0), centroid_accuracy(&distances, 4)), (None, None));
}

#[test]
fn weights_and_fold_changes_by_hand() {
    assert_eq!(perturbation_weights(&[-3.0, 1.0, 2.0]), Some(vec![1.0, 0.0, 0.25]));
    assert_eq!(perturbation_weights(&[2.0, -2.0]), Some(vec![1.0, 1.0]));
    assert_eq!((perturbation_weights(&[0.0; 3]), perturbation_weights(&[1.0, f64::INFINITY])), (None, None));
    let (x, y) = ([1.0, 2.0, 9.0], [1.0, 4.0, 0.0]);
    assert_eq!(wmse(&x, &y, &[1.0, 3.0, 0.0]), Some(3.0), "3 * 2^2 / 4");
    assert_eq!(r2_weighted(&x, &y, &[1.0, 1.0, 0.0]), Some(1.0 - 4.0 / 4.5), "around the weighted mean of 2.5");
    assert_eq!((wmse(&x, &y, &[0.0; 3]), r2_weighted(&x, &y, &[0.0, 1.0, 0.0])), (None, None));

    let folds = perturbench_log_fold_change(&[0.3, 0.1, 0.1], &[0.4, -0.5, 0.0]);
    assert_close(f64::from(folds[0]), 1.0, 1e-6, 0.0, "from 0.4 to 0.8 with the pseudocount");
    assert_close(f64::from(folds[1]), -1.0, 1e-6, 0.0, "less than nothing is nothing: from 0.2 to 0.1");
    assert_eq!(folds[2], 0.0);
    let folds = fold_change_of_means(&[2.0_f32.ln_1p(), 0.5], &[4.0_f32.ln_1p() - 2.0_f32.ln_1p(), -1.0]);
    assert_close(f64::from(folds[0]), 1.0, 1e-6, 0.0, "from 2 to 4");
    assert!(folds[1] < -29.0, "to the pseudocount: {}", folds[1]);
    assert_eq!(difference(&[1.0, 0.1 + 0.2, -2.0], &[0.5, 0.3, -2.0]), [0.5, 0.0, 0.0]);
}

#[test]
fn overlap_at_n_by_hand() {
    let observed =
        DeTable { p_adjusted: &[0.01, 0.01, 0.2, 0.9, 0.04], log2_fold_changes: &[1.0, -2.0, 3.0, 0.1, 0.5] };
    let overlap =
        |p: [f64; 5], folds: [f64; 5]| overlap_at_n(observed, DeTable { p_adjusted: &p, log2_fold_changes: &folds });
    let folds = [5.0, 4.0, 3.0, 2.0, 1.0];
    assert_eq!(overlap([0.0; 5], folds), Some(2.0 / 3.0), "the first three, and two of them right");
    assert_eq!(overlap([1.0, 1.0, 0.0, 1.0, 0.0], folds), Some(1.0 / 3.0), "two are called, one rightly");
    assert_eq!(overlap([1.0; 5], folds), Some(0.0), "nothing is called");
    assert_close(
        overlap([0.0; 5], [1.0; 5]).expect("defined"),
        0.6,
        1e-12,
        0.0,
        "three of five by chance: 3 * 3/5 / 3",
    );
    let nothing = DeTable { p_adjusted: &[0.5; 5], log2_fold_changes: &folds };
    assert_eq!((overlap_at_n(nothing, observed), significant_genes_recall(nothing, observed)), (None, None));
    assert_eq!(significant_genes_recall(observed, nothing), Some(0.0));
    let significant = observed.significant();
    assert_eq!(direction_match(&significant, observed.log2_fold_changes, &[0.3, 0.3, 0.3, 0.3, 0.0]), Some(1.0 / 3.0));
}

#[test]
fn pca_agrees_with_scikit_learn() {
    for case in reference("pca").as_array().expect("a list") {
        let shape: Vec<usize> = numbers(&case["shape"]);
        let data = Array2::from_shape_vec((shape[0], shape[1]), numbers::<f32>(&case["data"])).expect("shaped");
        let variance: Vec<f64> = numbers(&case["explained_variance"]);
        let components: Vec<f64> = numbers(&case["components"]);
        let pca = Pca::fit(data.view(), variance.len(), 1).expect("valid input");
        let ratio: Vec<f64> = numbers(&case["explained_variance_ratio"]);
        for (k, expected) in variance.iter().enumerate() {
            assert_close(pca.explained_variance[k], *expected, 1e-6, 0.0, "explained variance");
            assert_close(pca.explained_variance_ratio[k], ratio[k], 1e-6, 0.0, "explained variance ratio");
        }
        for (got, expected) in pca.components.iter().zip(&components) {
            assert_close(*got, *expected, 0.0, 1e-3, "component, with its sign");
        }
        let scores = pca.transform(data.view()).expect("same columns");
        for (got, expected) in scores.row(0).iter().zip(numbers::<f64>(&case["first_scores"])) {
            assert_close(f64::from(*got), expected, 1e-3, 1e-3, "score");
        }
        assert!(pca.transform(data.view().slice_axis(Axis(1), (..2).into())).is_err(), "fewer columns are refused");
    }
    assert!(Pca::fit(array![[1.0, 2.0], [3.0, 4.0]].view(), 2, 0).is_err(), "two rows span one direction");
    let flat = Pca::fit(Array2::<f32>::ones((5, 3)).view(), 2, 0).expect("an array that does not vary is no mistake");
    assert_eq!(flat.explained_variance_ratio.to_vec(), [0.0, 0.0]);
}

/// Three well separated clouds of points in `d` dimensions, and the cloud of each row.
fn clouds(per_cloud: usize, d: usize) -> (Array2<f32>, Vec<usize>) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let cloud: Vec<usize> = (0..3 * per_cloud).map(|row| row % 3).collect();
    let data = Array2::from_shape_fn((cloud.len(), d), |(row, column)| {
        rng.random::<f32>() + if column % 3 == cloud[row] { 6.0 } else { 0.0 }
    });
    (data, cloud)
}

#[test]
fn neighbours_agree_with_the_plain_version() {
    let (data, _) = clouds(70, 7);
    let found = nearest_neighbours(data.view(), 6).expect("valid input");
    let distance = |i: usize, j: usize| (&data.row(i) - &data.row(j)).mapv(|v| v * v).sum().sqrt();
    for i in 0..data.nrows() {
        let mut all: Vec<usize> = (0..data.nrows()).collect();
        all.sort_by(|&a, &b| distance(i, a).total_cmp(&distance(i, b)));
        let expected: Vec<u32> = all[..6].iter().map(|&j| j as u32).collect();
        assert_eq!(found.indices.row(i).to_vec(), expected, "row {i}");
        assert_close(f64::from(found.distances[[i, 5]]), f64::from(distance(i, all[5])), 1e-5, 0.0, "distance");
    }
    assert!(nearest_neighbours(data.view(), 0).is_err() && nearest_neighbours(data.view(), 211).is_err());
    let all = nearest_neighbours(Array2::<f32>::zeros((4, 2)).view(), 4).expect("all rows, all equal");
    assert_eq!(all.indices.row(2).to_vec(), [2, 0, 1, 3], "itself first, then by index");
}

#[test]
fn umap_keeps_clouds_apart_and_is_reproducible() {
    let (data, cloud) = clouds(60, 9);
    let settings = Umap { n_epochs: Some(200), seed: 5, ..Umap::default() };
    let lay_out = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
        pool.install(|| umap(data.view(), settings).expect("valid input"))
    };
    let picture = lay_out(1);
    assert_eq!(picture, lay_out(3), "the same picture on any number of threads");
    assert_ne!(picture, umap(data.view(), Umap { seed: 6, ..settings }).expect("valid input"), "the seed matters");
    // Nearest neighbours in the picture are of the same cloud.
    let near = nearest_neighbours(picture.view(), 11).expect("valid input");
    let same = near.indices.indexed_iter().filter(|((row, _), other)| cloud[*row] == cloud[**other as usize]).count();
    assert!(same as f64 > 0.99 * near.indices.len() as f64, "only {same} of {} neighbours", near.indices.len());
    assert!(umap(data.view(), Umap { n_neighbors: 180, ..settings }).is_err());
    assert!(umap(data.view(), Umap { min_dist: -1.0, ..settings }).is_err());
    umap(Array2::<f32>::ones((30, 1)).view(), settings).expect("cells that are all equal are no mistake");
}

fn evaluate(predicted: ArrayView2<'_, f32>, observed: ArrayView2<'_, f32>) -> genailab::Result<Evaluation> {
    let changed = [Some(vec![true, false, false, true]), Some(vec![false; 4]), None];
    Evaluation::new(
        "additive",
        &["A".into(), "B<1>".into(), "A+B".into()],
        &[10, 20, 30],
        predicted,
        observed,
        &changed,
    )
}

#[test]
fn evaluation_is_a_row_a_perturbation_and_a_summary() {
    let observed = array![[2.0, 0.1, 0.0, -1.0], [0.0, 0.1, 0.2, 0.3], [1.0, 1.0, 1.0, 2.0]];
    let predicted = array![[1.0, 0.0, 0.1, -0.6], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 2.0]];
    let evaluation = evaluate(predicted.view(), observed.view()).expect("valid input");
    let [a, b, ab] = &evaluation.scores[..] else { panic!("three rows") };
    assert_eq!((a.n_changed, a.auroc, a.precision_at_20), (Some(2), Some(1.0), None), "4 genes have no top 20");
    assert_eq!((b.n_changed, b.pearson, b.auroc), (Some(0), None, None), "no prediction, no changed gene");
    assert_eq!((ab.n_changed, ab.auroc, ab.l2), (None, None, Some(0.0)));
    assert_close(ab.pearson.expect("defined"), 1.0, 1e-12, 0.0, "a perfect prediction");
    let pearson = evaluation.summary_of("pearson").expect("a metric");
    assert_eq!(pearson.n, 2);
    assert_close(pearson.mean.expect("two values"), (a.pearson.expect("defined") + 1.0) / 2.0, 1e-12, 0.0, "mean");

    let text = evaluation.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[3].starts_with("A+B") && lines[5].starts_with("B<1>") && lines[6].starts_with("mean"), "{text}");
    assert!(lines[5].contains(" - "), "not defined is a dash: {text}");
    let html = evaluation.to_grid().to_html();
    assert!(html.contains("B&lt;1&gt;") && !html.contains("B<1>"), "names are escaped: {html}");
    let json = serde_json::to_string(&evaluation).expect("finite numbers");
    let read: Evaluation = serde_json::from_str(&json).expect("what was written");
    assert_eq!((read.scores[1].pearson, &*read.scores[2].perturbation, read.summary.len()), (None, "A+B", 6));
    assert!(json.contains("\"auroc\":null") && !json.contains("NaN"));
}

#[test]
fn evaluation_refuses_what_does_not_fit() {
    let observed = Array2::<f32>::zeros((3, 4));
    assert!(evaluate(Array2::zeros((3, 5)).view(), observed.view()).is_err());
    assert!(evaluate(Array2::zeros((2, 4)).view(), Array2::zeros((2, 4)).view()).is_err());
    let mut predicted = observed.clone();
    predicted[[1, 2]] = f32::NAN;
    let message = evaluate(predicted.view(), observed.view()).expect_err("NaN").to_string();
    assert_eq!(message, "evaluation of additive: the predicted effect of B<1> on gene 2 is NaN; it must be finite");
}
