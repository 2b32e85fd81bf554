//! Against two loops, by hand, and against closed forms.

use super::{close, gaussian};
use genailab::{
    data::Counts,
    eval::sets::*,
    ndarray::{Array2, ArrayView2, Axis, array, concatenate, s},
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Mean distance of all pairs by two loops; `same` leaves a cell with itself out.
fn plain_mean(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, root: bool, same: bool) -> f64 {
    let mut sum = 0.0;
    for a in x.rows() {
        for b in y.rows() {
            let squared: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
            sum += if root { squared.sqrt() } else { squared };
        }
    }
    sum / (x.nrows() * if same { y.nrows() - 1 } else { y.nrows() }) as f64
}

fn plain_edistance(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, form: EDistance) -> f64 {
    let (root, unbiased) = match form {
        EDistance::Squared => (false, true),
        EDistance::Plain => (true, false),
    };
    2.0 * plain_mean(x, y, root, false) - plain_mean(x, x, root, unbiased) - plain_mean(y, y, root, unbiased)
}

pub const FORMS: [EDistance; 2] = [EDistance::Squared, EDistance::Plain];

#[test]
fn edistance_agrees_with_two_loops_at_any_block_size() {
    // Around one block (256) and across several; far from the origin, where products lose digits.
    for (n, m, offset) in
        [(2, 2, 0.0), (3, 9, 100.0), (255, 257, 0.0), (256, 256, 0.0), (513, 40, 0.0), (300, 700, 1000.0)]
    {
        let x = gaussian(n, 7, offset, 1.0, 1);
        let y = gaussian(m, 7, offset + 0.3, 1.5, 2);
        for form in FORMS {
            let expected = plain_edistance(x.view(), y.view(), form);
            let got = edistance(x.view(), y.view(), form).expect("defined");
            assert!((got - expected).abs() < 1e-8 * (1.0 + expected.abs()), "{n} x {m} {form:?}: {got}, {expected}");
            let swapped = edistance(y.view(), x.view(), form).expect("defined");
            assert!((got - swapped).abs() < 1e-10, "symmetric: {got}, {swapped}");
        }
    }
}

#[test]
fn the_matrix_is_the_pairs() {
    let data =
        concatenate![Axis(0), gaussian(40, 5, 0.0, 1.0, 3), gaussian(33, 5, 0.5, 1.0, 4), gaussian(1, 5, 0.0, 1.0, 5)];
    let mut labels: Vec<u32> = (0..74)
        .map(|cell| {
            if cell < 40 {
                0
            } else if cell < 73 {
                2
            } else {
                3
            }
        })
        .collect();
    let mut order: Vec<usize> = (0..74).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(6));
    let shuffled = data.select(Axis(0), &order);
    let shuffled_labels: Vec<u32> = order.iter().map(|&cell| labels[cell]).collect();
    for form in FORMS {
        let matrix = edistance_matrix(data.view(), &labels, 4, form).expect("valid");
        let pair = edistance(data.slice(s![..40, ..]), data.slice(s![40..73, ..]), form);
        close(matrix[[0, 2]], pair.expect("defined"), 1e-10, "the pair");
        assert_eq!((matrix[[0, 0]], matrix[[0, 2]]), (0.0, matrix[[2, 0]]));
        // Group 1 is empty; one cell is enough for the plain form only.
        assert!(matrix[[1, 1]].is_nan() && matrix[[0, 1]].is_nan());
        assert_eq!(matrix[[0, 3]].is_nan(), form == EDistance::Squared);
        let again = edistance_matrix(shuffled.view(), &shuffled_labels, 4, form).expect("valid");
        close(again[[0, 2]], matrix[[0, 2]], 1e-10, "in another order of cells");
    }
    labels[3] = 4;
    let error = edistance_matrix(data.view(), &labels, 4, EDistance::Plain).expect_err("a label too many").to_string();
    assert!(error.contains("cell 3 has the label 4"), "{error}");
}

#[test]
fn edistance_of_gaussians_has_a_closed_form() {
    // Squared: E = 2 |mean x - mean y|^2 whatever the spreads. Plain in one dimension: X - Y is N(m, s2) with
    // E|N(m, s2)| = s sqrt(2/pi) exp(-m^2/(2 s2)) + m erf(m / sqrt(2 s2)).
    let (n, sd_x, sd_y, apart) = (4000, 1.0_f64, 2.0_f64, 0.8);
    let x = gaussian(n, 1, 0.0, sd_x, 7);
    let y = gaussian(n, 1, apart, sd_y, 8);
    let squared = edistance(x.view(), y.view(), EDistance::Squared).expect("defined");
    assert!((squared - 2.0 * apart * apart).abs() < 0.25, "{squared}");
    let folded = |mean: f64, variance: f64| {
        let s = variance.sqrt();
        s * (2.0 / std::f64::consts::PI).sqrt() * (-mean * mean / (2.0 * variance)).exp()
            + mean * statrs::function::erf::erf(mean / (s * 2.0_f64.sqrt()))
    };
    let expected = 2.0 * folded(apart, sd_x * sd_x + sd_y * sd_y)
        - folded(0.0, 2.0 * sd_x * sd_x)
        - folded(0.0, 2.0 * sd_y * sd_y);
    let plain = edistance(x.view(), y.view(), EDistance::Plain).expect("defined");
    assert!((plain - expected).abs() < 0.04, "{plain}, expected {expected}");
    // Equal means, other spread: the squared form is blind to it, the plain one is not.
    let wide = gaussian(n, 1, 0.0, 2.0, 9);
    assert!(edistance(x.view(), wide.view(), EDistance::Squared).expect("defined").abs() < 0.02);
    assert!(edistance(x.view(), wide.view(), EDistance::Plain).expect("defined") > 0.1);
}

#[test]
fn equal_sets_duplicates_and_tiny_groups() {
    let x = gaussian(60, 4, 5.0, 1.0, 10);
    // The unbiased form is below 0 by the error that it expects of two independent sets: -2 (v/n + v/n).
    let variance: f64 = x.axis_iter(Axis(1)).map(|column| f64::from(column.var(1.0))).sum();
    close(edistance(x.view(), x.view(), EDistance::Squared), -4.0 * variance / 60.0, 1e-5, "a set and itself, squared");
    assert!(edistance(x.view(), x.view(), EDistance::Plain).expect("defined").abs() < 1e-6);
    let gamma = median_gamma(x.view()).expect("the cells differ");
    assert!(mmd_rbf(x.view(), x.view(), gamma).expect("defined").abs() < 1e-12);
    assert_eq!(sliced_wasserstein(x.view(), x.view(), 20, 0), Some(0.0));
    assert_eq!(mmd_linear(x.view(), x.view()), Some(0.0));

    // Every cell twice: means over all pairs do not notice.
    let twice = concatenate![Axis(0), x, x];
    let y = gaussian(50, 4, 5.5, 1.0, 11);
    for (once, doubled) in [
        (edistance(x.view(), y.view(), EDistance::Plain), edistance(twice.view(), y.view(), EDistance::Plain)),
        (mmd_rbf(x.view(), y.view(), gamma), mmd_rbf(twice.view(), y.view(), gamma)),
        (sliced_wasserstein(x.view(), y.view(), 9, 0), sliced_wasserstein(twice.view(), y.view(), 9, 0)),
    ] {
        close(once, doubled.expect("defined"), 1e-9, "every cell twice");
    }

    // One cell repeated: no spread at all.
    let still = Array2::from_elem((5, 3), 2.0_f32);
    let moved = Array2::from_elem((4, 3), 3.0_f32);
    close(edistance(still.view(), moved.view(), EDistance::Squared), 6.0, 1e-12, "two points, squared");
    close(edistance(still.view(), moved.view(), EDistance::Plain), 2.0 * 3.0_f64.sqrt(), 1e-7, "two points, plain");
    assert_eq!(median_gamma(still.view()), None, "no width from cells that are all the same");

    let (none, one) = (Array2::<f32>::zeros((0, 3)), array![[0.0_f32, 0.0, 0.0]]);
    assert_eq!(edistance(one.view(), moved.view(), EDistance::Squared), None);
    close(edistance(one.view(), moved.view(), EDistance::Plain), 2.0 * 27.0_f64.sqrt(), 1e-7, "one cell");
    for form in FORMS {
        assert_eq!(edistance(none.view(), moved.view(), form), None);
        assert_eq!(edistance(still.view(), y.view(), form), None, "other columns");
        assert_eq!(edistance(array![[0.0, f32::NAN, 0.0], [0.0; 3]].view(), moved.view(), form), None);
        assert_eq!(energy_test(one.view(), moved.view(), form, 100, 0), None);
    }
    assert_eq!(mmd_rbf(none.view(), moved.view(), 1.0), None);
    assert_eq!(mmd_rbf(still.view(), moved.view(), 0.0), None);
    assert_eq!(wasserstein_1d(&[], &[1.0]), None);
    assert_eq!(sliced_wasserstein(still.view(), moved.view(), 0, 0), None);
    assert!(GeneMoments::of_dense(none.view()).is_none());
}

#[test]
fn one_dimensional_wasserstein_by_hand() {
    assert_eq!(wasserstein_1d(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0]), Some(5.0));
    // Half of the mass of 0 moves to 1.
    assert_eq!(wasserstein_1d(&[0.0], &[0.0, 1.0]), Some(0.5));
    assert_eq!(wasserstein_1d(&[2.0, 2.0, 2.0], &[2.0]), Some(0.0));
    // In two dimensions a shift by 1 has a mean |cos| of 2 / pi over directions.
    let x = gaussian(200, 2, 0.0, 1.0, 12);
    let y = &x + &array![[1.0_f32, 0.0]];
    close(sliced_wasserstein(x.view(), y.view(), 20_000, 3), 2.0 / std::f64::consts::PI, 0.01, "a shift");
}

#[test]
fn rbf_agrees_with_the_sum_of_its_widths() {
    let x = gaussian(37, 6, 0.0, 1.0, 30);
    let y = gaussian(300, 6, 0.4, 1.2, 31);
    let gamma = median_gamma(x.view()).expect("defined");
    let kernel = |a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>| {
        let mut sum = 0.0;
        for p in a.rows() {
            for q in b.rows() {
                let squared: f64 = p.iter().zip(q).map(|(&p, &q)| f64::from(p - q).powi(2)).sum();
                sum += RBF_WIDTHS.iter().map(|width| (-width * gamma * squared).exp()).sum::<f64>();
            }
        }
        sum / (a.nrows() * b.nrows()) as f64
    };
    let expected = kernel(x.view(), x.view()) + kernel(y.view(), y.view()) - 2.0 * kernel(x.view(), y.view());
    close(mmd_rbf(x.view(), y.view(), gamma), expected, 1e-5, "a sum of widths");
}

#[test]
fn moments_of_genes_dense_and_sparse() {
    let cells = array![[0.0_f32, 2.0, 1.0], [0.0, 0.0, 1.0], [3.0, 1.0, 1.0], [1.0, 1.0, 1.0]];
    let dense = GeneMoments::of_dense(cells.view()).expect("cells");
    assert_eq!(dense.mean, [1.0, 1.0, 1.0]);
    assert_eq!(dense.variance, [1.5, 0.5, 0.0]);
    assert_eq!(dense.zero_fraction, [0.5, 0.25, 0.0]);
    assert_eq!(GeneMoments::of_sparse(&Counts::from_dense(&cells), &[3, 2, 1, 0]).expect("cells"), dense);
    let other = GeneMoments::of_sparse(&Counts::from_dense(&cells), &[0, 2]).expect("cells");
    assert_eq!(other.zero_fraction, [0.5, 0.0, 0.0]);
    assert_eq!(zero_fraction_error(&dense, &other), Some(0.0), "the median of 0, 0.25, 0");
    close(variance_correlation(&dense, &dense), 1.0, 1e-12, "with itself");
    let flat = GeneMoments::of_dense(array![[0.0_f32, 0.0, 0.0], [1.0, 1.0, 1.0]].view()).expect("cells");
    assert_eq!(variance_correlation(&flat, &dense), None, "genes that all vary alike have no correlation");
    assert!(symmetric_kl(&dense, &dense, 1e-8).expect("defined").abs() < 1e-12);
}

#[test]
fn retrieval_counts_own_neighbours() {
    let pool = array![[0.0_f32, 0.0], [0.1, 0.0], [5.0, 5.0], [5.1, 5.0]];
    let labels = [0, 0, 1, 1];
    let near = array![[0.05_f32, 0.1], [5.0, 5.2]];
    assert_eq!(knn_retrieval(near.view(), 0, pool.view(), &labels, 2), Some(0.5));
    assert_eq!(knn_retrieval(near.slice(s![..1, ..]), 0, pool.view(), &labels, 2), Some(1.0));
    assert_eq!(knn_retrieval(near.slice(s![..1, ..]), 0, pool.view(), &labels, 4), Some(0.5));
    assert_eq!(knn_retrieval(near.view(), 0, pool.view(), &labels, 5), None);
    assert_eq!(knn_retrieval(near.view(), 0, pool.view(), &labels[..3], 2), None);
    // A query that says nothing gets its share of a balanced pool.
    let pool = gaussian(1000, 5, 0.0, 1.0, 40);
    let labels: Vec<u32> = (0..1000).map(|cell| cell % 10).collect();
    let share = knn_retrieval(gaussian(200, 5, 0.0, 1.0, 41).view(), 3, pool.view(), &labels, 20).expect("defined");
    assert!((share - 0.1).abs() < 0.03, "{share}");
}

#[test]
fn subsamples_are_ordered_and_seeded() {
    let rows: Vec<usize> = (0..100).map(|row| row * 3).collect();
    let kept = subsample(&rows, 10, 1);
    assert!(kept.len() == 10 && kept.is_sorted() && kept.iter().all(|row| rows.contains(row)));
    assert_eq!(kept, subsample(&rows, 10, 1));
    assert_ne!(kept, subsample(&rows, 10, 2));
    assert_eq!(subsample(&rows, 100, 1), rows);
}

#[test]
fn nothing_depends_on_the_number_of_threads() {
    let mut rng = ChaCha8Rng::seed_from_u64(50);
    let x = gaussian(700, 9, 0.0, 1.0, 51);
    let y = gaussian(600, 9, rng.random_range(0.1..0.3), 1.0, 52);
    let all = || {
        let gamma = median_gamma(x.view()).expect("defined");
        let labels: Vec<u32> = (0..600).map(|cell| cell % 3).collect();
        [
            edistance(x.view(), y.view(), EDistance::Squared),
            edistance(x.view(), y.view(), EDistance::Plain),
            mmd_rbf(x.view(), y.view(), gamma),
            sliced_wasserstein(x.view(), y.view(), 33, 4),
            knn_retrieval(x.view(), 1, y.view(), &labels, 20),
        ]
        .map(|value| value.expect("defined").to_bits())
    };
    let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(all);
    assert_eq!(with(1), with(4));
}
