//! Diffusion pseudotime: scanpy's numbers, a dense version of the paper's sums, and what cannot be ordered.

use super::{assert_close, numbers, reference};
use crate::commands::tool::Place;
use genailab::{
    eval::{Pseudotime, PseudotimeConfig, diffusion_pseudotime, spearman},
    ndarray::{Array1, Array2, Axis, concatenate},
    nn::seeded,
};
use rand::Rng;
use rand_distr::StandardNormal;

fn ordered(x: &Array2<f32>, roots: &[usize], neighbours: usize, components: usize) -> Pseudotime {
    let config = PseudotimeConfig { neighbours, components, seed: 0 };
    diffusion_pseudotime(x.view(), roots, &config).expect("cells that can be ordered")
}

/// Cells along a line in three dimensions.
fn line(cells: usize, seed: u64) -> Array2<f32> {
    let mut rng = seeded(seed);
    Array2::from_shape_fn((cells, 3), |(cell, column)| {
        let along = if column == 0 { 4.0 * cell as f32 / cells as f32 } else { 0.0 };
        along + 0.1 * rng.sample::<f32, _>(StandardNormal)
    })
}

#[test]
fn pseudotimes_are_those_of_scanpy() {
    let wanted = reference("pseudotime");
    let count = |name: &str| wanted[name].as_u64().expect("a count") as usize;
    let (x, columns): (Vec<f32>, usize) = (numbers(&wanted["x"]), count("columns"));
    let x = Array2::from_shape_vec((x.len() / columns, columns), x).expect("rows of equal length");
    let found = ordered(&x, &[count("root")], count("neighbours"), count("components"));
    assert!(found.converged && found.reached == x.nrows() && found.parts == 1);
    for (place, (got, wanted)) in found.eigenvalues.iter().zip(numbers::<f64>(&wanted["eigenvalues"])).enumerate() {
        assert_close(*got, wanted, 0.0, 1e-5, &format!("eigenvalue {place}"));
    }
    // scanpy's stationary term changes its values by less than 1e-6 here.
    for which in ["paper", "scanpy"] {
        for (cell, (got, wanted)) in found.values.iter().zip(numbers::<f64>(&wanted[which])).enumerate() {
            assert_close(*got, wanted, 0.0, 1e-3, &format!("{which}, cell {cell}"));
        }
    }
}

/// M of the paper, by adding up the powers of the transition matrix without its eigenvalue 1, `(cells, cells)`.
fn accumulated(x: &Array2<f32>, k: usize) -> Array2<f64> {
    let n = x.nrows();
    let squared = |i: usize, j: usize| -> f64 {
        x.row(i).iter().zip(x.row(j)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
    };
    let near: Vec<Vec<usize>> = (0..n)
        .map(|i| {
            let mut order: Vec<usize> = (0..n).filter(|&j| j != i).collect();
            order.sort_by(|&a, &b| squared(i, a).total_cmp(&squared(i, b)));
            order[..k - 1].to_vec()
        })
        .collect();
    // k - 1 is odd, so that the median is one of the distances.
    let width: Vec<f64> = (0..n).map(|i| squared(i, near[i][(k - 1) / 2])).collect();
    let kernel = Array2::from_shape_fn((n, n), |(i, j)| match near[i].contains(&j) || near[j].contains(&i) {
        false => 0.0,
        true => {
            let sum = width[i] + width[j];
            (2.0 * (width[i] * width[j]).sqrt() / sum).sqrt() * (-squared(i, j) / sum).exp()
        }
    });
    let divided = |matrix: &Array2<f64>, by: &Array1<f64>| {
        Array2::from_shape_fn((n, n), |(i, j)| matrix[[i, j]] / (by[i] * by[j]))
    };
    let without_density = divided(&kernel, &kernel.sum_axis(Axis(1)));
    let sums = without_density.sum_axis(Axis(1));
    let stationary = (&sums / sums.sum()).mapv(f64::sqrt).insert_axis(Axis(1));
    let mut power = divided(&without_density, &sums.mapv(f64::sqrt)) - stationary.dot(&stationary.t());
    let mut sum = power.clone();
    // The sum of the first 2^m powers doubles with each step.
    for _ in 0..24 {
        sum = &sum + &power.dot(&sum);
        power = power.dot(&power);
    }
    sum
}

#[test]
fn all_eigenvectors_together_are_the_sum_over_walks_of_all_lengths() {
    let x = line(60, 2);
    let roots = [0, 3, 7];
    let found = ordered(&x, &roots, 6, 60);
    let walks = accumulated(&x, 6);
    let root = walks.select(Axis(0), &roots).mean_axis(Axis(0)).expect("three roots");
    let distance = |row: usize| (&walks.row(row) - &root).mapv(|d| d * d).sum().sqrt();
    let distances: Vec<f64> = (0..60).map(distance).collect();
    let farthest = distances.iter().copied().fold(0.0, f64::max);
    for (cell, (got, wanted)) in found.values.iter().zip(distances).enumerate() {
        assert_close(*got, wanted / farthest, 0.0, 1e-6, &format!("cell {cell}"));
    }
}

#[test]
fn a_line_is_ordered_from_either_end_and_parts_are_not_reached() {
    let x = line(300, 1);
    let along: Vec<f32> = (0..300).map(|cell| cell as f32).collect();
    let own = |found: &Pseudotime| found.values[..300].iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let forth = own(&ordered(&x, &[0, 1, 2], 15, 15));
    let back = own(&ordered(&x, &[299], 15, 15));
    // The noise of a cell is that of 8 places along the line.
    assert!(spearman(&forth, &along).expect("both vary") > 0.97);
    assert!(spearman(&back, &along).expect("both vary") < -0.97);
    let far = line(40, 3) + 1_000.0;
    let two = concatenate![Axis(0), x, far];
    let found = ordered(&two, &[5, 310, 6], 15, 15);
    assert_eq!((found.reached, found.parts, found.roots_reached), (300, 2, 2));
    assert!(found.values[300..].iter().all(|value| value.is_nan()) && own(&found).iter().all(|v| v.is_finite()));
    assert!(found.components.row(320).iter().all(|value| value.is_nan()));
}

#[test]
fn what_cannot_be_ordered_is_refused() {
    let x = line(30, 1);
    let says = |x: &Array2<f32>, roots: &[usize], neighbours: usize| {
        let config = PseudotimeConfig { neighbours, ..PseudotimeConfig::default() };
        diffusion_pseudotime(x.view(), roots, &config).expect_err("no order").to_string()
    };
    assert!(says(&line(9, 1), &[0], 5).contains("9 cells are too few"));
    assert!(says(&x, &[], 5).contains("no cell is the root"));
    assert!(says(&x, &[30], 5).contains("cell 30 is the root"));
    assert!(says(&x, &[0], 31).contains("31 neighbours"));
    assert!(says(&Array2::ones((30, 2)), &[0], 5).contains("copies"));
    let lonely = concatenate![Axis(0), x, line(5, 2) + 1_000.0];
    assert!(says(&lonely, &[32], 5).contains("5 of 35 cells are connected to the root"));
    assert!(says(&(x * f32::NAN), &[0], 5).contains("finite"));
}

#[test]
fn the_command_orders_a_simulated_course() {
    let place = Place::new();
    place.run("simulate --cells 400 --genes 60 --time-points 3 --seed 3 --out course.h5ad").done();
    let line = "pseudotime --data course.h5ad --root control --compare time --components 10 --out p.h5ad";
    let ended = place.run(&format!("{line} --json"));
    let found: serde_json::Value = serde_json::from_str(ended.done()).expect("one line of JSON");
    assert_eq!(found["cells"], 400);
    assert_eq!(found["space"], "X_pca");
    assert_eq!(found["compare"]["column"], "time");
    let of = found["perturbations"].as_array().expect("a list");
    assert_eq!(of.iter().map(|of| of["cells"].as_u64().expect("a count")).sum::<u64>(), 400);
    assert!(found["compare"]["spearman"].as_f64().expect("defined").abs() <= 1.0);
    let written = genailab::data::AnnData::open(place.path("p.h5ad")).expect("an AnnData file");
    let times = written.obs_column("pseudotime").expect("readable").expect("it is there").to_f64().expect("numbers");
    assert_eq!(
        times.iter().filter(|time| time.is_finite()).count() as u64,
        found["reached"].as_u64().expect("a count")
    );
    assert_eq!(written.read_obsm("X_diffmap").expect("it is there").dim(), (400, 15));
    place.fails("pseudotime --data course.h5ad --root nobody --out q.h5ad", &["--root nobody"]);
    place.fails("pseudotime --data course.h5ad --root time=99 --out q.h5ad", &["--root time=99", "no cell is left"]);
    place.fails("pseudotime --data course.h5ad --root control --compare course --out q.h5ad", &["no numbers"]);
    assert!(!place.path("q.h5ad").exists());
}
