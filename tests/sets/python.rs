//! Against scperturb, pertpy, geomloss, POT, scipy, scikit-learn and statsmodels on real cells.

use super::close;
use crate::common::real_data;
use genailab::{
    data::{Counts, Dataset, Perturbation},
    eval::sets::*,
    ndarray::{Array2, Axis, s},
};
use serde_json::Value;

/// Relative difference to a Python peer.
const PARITY: f64 = 1e-5;

fn numbers<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).expect("a list of values")
}

fn reference() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/sets.json");
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn holm_sidak_agrees_with_statsmodels() {
    let reference = &reference()["holm_sidak"];
    let adjusted = holm_sidak(&numbers::<f64>(&reference["p"]));
    for (got, expected) in adjusted.into_iter().zip(numbers::<f64>(&reference["adjusted"])) {
        close(got, expected, 1e-10, "adjusted");
    }
    assert_eq!(holm_sidak(&[f64::NAN]), [1.0]);
    assert!(holm_sidak(&[]).is_empty());
}

/// Cells of a real file, embedded as tests/reference/sets.py does it.
struct Embedded {
    expression: Counts,
    scores: Array2<f32>,
    labels: Vec<u32>,
    groups: Vec<String>,
}

impl Embedded {
    fn open(name: &str, expected: &Value) -> Option<Self> {
        let all = Dataset::open(real_data(&format!("{name}.h5ad"))?).unwrap_or_else(|e| panic!("{name}: {e}"));
        let step = expected["step"].as_u64().expect("a number") as usize;
        let data = all.select_cells(&(0..all.n_cells()).step_by(step).collect::<Vec<_>>());
        let groups: Vec<String> = numbers(&expected["groups"]);
        // `A+B` is a set: the file may spell it the other way round.
        let known: Vec<Perturbation> = groups.iter().map(|group| group.parse().expect("a perturbation")).collect();
        let place = |cell| known.iter().position(|p| p == data.perturbation_of(cell)).expect("a known group") as u32;
        let d = 12;
        let mut scores = Array2::zeros((data.n_cells(), d));
        let mut values = Vec::with_capacity(data.counts.nnz());
        for cell in 0..data.n_cells() {
            let scale = 1e4 / f64::from(data.library_size[cell]);
            let mut sum = vec![0.0_f64; d];
            let (genes, counts) = data.counts.row(cell);
            for (&gene, &count) in genes.iter().zip(counts) {
                let y = (f64::from(count) * scale).ln_1p();
                values.push(y as f32);
                for (k, sum) in sum.iter_mut().enumerate() {
                    *sum += y * (0.7 * f64::from(gene + 1) * (k + 1) as f64).sin();
                }
            }
            scores.row_mut(cell).iter_mut().zip(sum).for_each(|(score, sum)| *score = sum as f32);
        }
        let expression =
            Counts::new(data.n_genes(), data.counts.indptr().to_vec(), data.counts.indices().to_vec(), values)
                .expect("same structure");
        let labels = (0..data.n_cells()).map(place).collect();
        Some(Self { expression, scores, labels, groups })
    }

    fn rows(&self, group: &str) -> Vec<usize> {
        let label = self.groups.iter().position(|known| known == group).expect("a known group") as u32;
        (0..self.labels.len()).filter(|&cell| self.labels[cell] == label).collect()
    }

    fn cells(&self, rows: &[usize]) -> Array2<f32> {
        self.scores.select(Axis(0), rows)
    }
}

#[test]
fn real_cells_agree_with_python() {
    let reference = reference();
    for name in ["norman_cells", "papalexi_cells"] {
        let expected = &reference[name];
        let Some(data) = Embedded::open(name, expected) else { continue };
        let n = data.groups.len();
        for (key, form) in [("squared", EDistance::Squared), ("plain", EDistance::Plain)] {
            let matrix = edistance_matrix(data.scores.view(), &data.labels, n, form).expect("valid");
            let mut values = numbers::<f64>(&expected[key]).into_iter();
            for i in 0..n {
                for j in i + 1..n {
                    let what = format!("{name}: {key} {} to {}", data.groups[i], data.groups[j]);
                    close(matrix[[i, j]], values.next().expect("one a pair"), PARITY, &what);
                }
            }
        }
        let control_rows = data.rows("control");
        let control = data.cells(&control_rows);
        let directions = Array2::from_shape_vec((10, 12), numbers::<f64>(&expected["directions"])).expect("10 x 12");
        for pair in expected["pairs"].as_array().expect("pairs") {
            let group = pair["group"].as_str().expect("a name");
            let rows = data.rows(group);
            let x = data.cells(&rows);
            let gamma = median_gamma(x.view());
            let (a, b) = (
                GeneMoments::of_sparse(&data.expression, &rows).expect("cells"),
                GeneMoments::of_sparse(&data.expression, &control_rows).expect("cells"),
            );
            let genes: Vec<usize> = numbers(&pair["kl_genes"]);
            let panel = |moments: &GeneMoments| GeneMoments {
                n: moments.n,
                mean: genes.iter().map(|&gene| moments.mean[gene]).collect(),
                variance: genes.iter().map(|&gene| moments.variance[gene]).collect(),
                zero_fraction: genes.iter().map(|&gene| moments.zero_fraction[gene]).collect(),
            };
            for (key, got) in [
                ("gamma", gamma),
                ("mmd_rbf", mmd_rbf(x.view(), control.view(), gamma.expect("defined"))),
                ("mmd_linear", mmd_linear(x.view(), control.view())),
                ("mmd_energy", mmd_energy(x.view(), control.view())),
                ("sliced_wasserstein", sliced_wasserstein_along(x.view(), control.view(), directions.view())),
                ("variance_correlation", variance_correlation(&a, &b)),
                ("zero_fraction_error", zero_fraction_error(&a, &b)),
                ("symmetric_kl", symmetric_kl(&panel(&a), &panel(&b), 1e-8)),
            ] {
                close(got, pair[key].as_f64().expect("a number"), PARITY, &format!("{name}: {key} of {group}"));
            }
            for (k, expected) in numbers::<f64>(&pair["wasserstein_1d"]).into_iter().enumerate() {
                let column = |cells: &Array2<f32>| cells.column(k).iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
                close(
                    wasserstein_1d(&column(&x), &column(&control)),
                    expected,
                    PARITY,
                    &format!("{group}, column {k}"),
                );
            }
            // Five cells against five: all 252 ways are known, and shuffles must find their share.
            let exact: Vec<f64> = numbers(&pair["exact_test"]);
            let (few, many) = (x.slice(s![..5, ..]), 100_000);
            let test = energy_test(few, control.slice(s![..5, ..]), EDistance::Squared, many, 5).expect("defined");
            close(test.statistic, exact[0], PARITY, "statistic of five cells");
            let allowed = 4.0 * (exact[1] * (1.0 - exact[1]) / many as f64).sqrt() + 1e-9;
            assert!((test.p_value - exact[1]).abs() <= allowed, "{group}: p = {}, exactly {}", test.p_value, exact[1]);
        }
        let (distances, p_values): (Vec<f64>, Vec<f64>) =
            (numbers(&expected["etest"]["edist"]), numbers(&expected["etest"]["pvalue"]));
        let shuffles = 1000.0_f64;
        for (place, group) in data.groups.iter().filter(|group| *group != "control").enumerate() {
            let x = data.cells(&data.rows(group));
            let test = energy_test(x.view(), control.view(), EDistance::Squared, 1000, 9).expect("defined");
            close(test.statistic, distances[place], PARITY, &format!("{name}: etest of {group}"));
            // Both are 1,000 shuffles: they differ by chance, but by no more than five standard errors and one shuffle.
            let p = 0.5 * (test.p_value + p_values[place]);
            let allowed = 5.0 * (2.0 * p * (1.0 - p) / shuffles).sqrt() + 1.0 / shuffles;
            assert!(
                (test.p_value - p_values[place]).abs() <= allowed,
                "{name} {group}: {} {}",
                test.p_value,
                p_values[place]
            );
        }
        // kNN: even cells of each group are the pool, odd ones the query.
        let (mut pool, mut labels) = (Vec::new(), Vec::new());
        for (label, group) in data.groups.iter().enumerate() {
            let half: Vec<usize> = data.rows(group).into_iter().step_by(2).take(40).collect();
            labels.extend(vec![label as u32; half.len()]);
            pool.extend(half);
        }
        let pool = data.cells(&pool);
        for (label, expected) in numbers::<f64>(&expected["knn"]).into_iter().enumerate() {
            let rows: Vec<usize> = data.rows(&data.groups[label]).into_iter().skip(1).step_by(2).collect();
            let query = data.cells(&rows);
            let got = knn_retrieval(query.view(), label as u32, pool.view(), &labels, 20);
            close(got, expected, PARITY, &format!("{name}: neighbours of {}", data.groups[label]));
        }
    }
}
