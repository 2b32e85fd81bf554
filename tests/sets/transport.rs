//! Entropic optimal transport against POT (tests/reference/sinkhorn.py), and its limits.

use genailab::{
    math::{SinkhornConfig, sinkhorn, squared_distances},
    ndarray::{Array1, Array2, Axis},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    x: Vec<Vec<f32>>,
    y: Vec<Vec<f32>>,
    z: Vec<Vec<f32>>,
    a: Vec<f64>,
    b: Vec<f64>,
    cost: Vec<Vec<f64>>,
    plans: Vec<Plan>,
    assignment: Vec<usize>,
}

#[derive(Deserialize)]
struct Plan {
    epsilon: f64,
    plan: Vec<Vec<f64>>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/sinkhorn.json")).expect("its script's form")
}

fn matrix<T: Copy>(rows: &[Vec<T>]) -> Array2<T> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn largest(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

const EXACT: SinkhornConfig = SinkhornConfig { iterations: 200_000, tolerance: 1e-12 };

#[test]
fn plans_are_those_of_pot_and_have_the_marginals() {
    let known = reference();
    let cost = squared_distances(matrix(&known.x).view(), matrix(&known.y).view());
    assert!(largest(&cost, &matrix(&known.cost)) < 1e-5, "the cost itself");
    let (a, b) = (Array1::from(known.a), Array1::from(known.b));
    for Plan { epsilon, plan } in &known.plans {
        let found = sinkhorn(cost.view(), &a, &b, *epsilon, &EXACT).expect("weights fit");
        let difference = largest(&found.plan, &matrix(plan));
        assert!(difference < 1e-5, "eps {epsilon}: {difference}");
        assert!(found.converged, "eps {epsilon}: marginals are off by {}", found.error);
        let rows = (found.plan.sum_axis(Axis(1)) - &a).mapv(f64::abs).sum();
        let columns = (found.plan.sum_axis(Axis(0)) - &b).mapv(f64::abs).sum();
        assert!(rows < 1e-11 && columns < 1e-11, "eps {epsilon}: rows off by {rows}, columns by {columns}");
    }
}

#[test]
fn a_small_regularisation_comes_near_the_exact_assignment_and_a_large_one_knows_no_pairs() {
    let known = reference();
    let n = known.x.len();
    let cost = squared_distances(matrix(&known.x).view(), matrix(&known.z).view());
    let weights = Array1::from_elem(n, 1.0 / n as f64);
    let near = |epsilon: f64| {
        let plan = sinkhorn(cost.view(), &weights, &weights, epsilon, &EXACT).expect("weights fit").plan;
        (0..n).map(|i| plan[[i, known.assignment[i]]]).sum::<f64>()
    };
    let shares = [100.0, 0.3, 0.003].map(near);
    assert!(shares[2] > 0.99, "{shares:?} of the mass is on the exact pairs");
    assert!(shares[0] < shares[1] && shares[1] < shares[2], "{shares:?}");
    assert!((shares[0] - 1.0 / n as f64).abs() < 0.02, "{shares:?}: every pair is as likely as another");
}

#[test]
fn what_is_no_transport_is_refused() {
    let cost = Array2::from_elem((2, 2), 1.0);
    let (half, config) = (Array1::from_elem(2, 0.5), SinkhornConfig::default());
    let says = |cost: &Array2<f64>, a: &Array1<f64>, epsilon: f64| {
        sinkhorn(cost.view(), a, &half, epsilon, &config).expect_err("it is refused").to_string()
    };
    assert!(says(&cost, &half, 0.0).contains("regularisation is 0"));
    assert!(says(&cost, &Array1::from_elem(2, 1.0), 1.0).contains("sum to 2 and 1"));
    assert!(says(&cost, &Array1::from(vec![1.0, 0.0]), 1.0).contains("weight"));
    assert!(says(&cost.mapv(|c| -c), &half, 1.0).contains("cost"));
    assert!(says(&cost, &Array1::from_elem(3, 0.5), 1.0).contains("(2, 2)"));
}
