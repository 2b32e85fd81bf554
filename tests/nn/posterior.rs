//! Densities of latents: fused, composed, and numbers from numpy and scipy (`tests/reference/vae_objectives.py`).

use super::harness::*;
use genailab::{
    dfdx::prelude::*,
    nn::{Backend, Matrix, Scalar, composed, ops},
};
use serde_json::Value;

type Term = fn(Matrix<Cpu, Taped>, Matrix<Cpu, Taped>, Matrix<Cpu, Taped>) -> genailab::Result<Scalar<Cpu, Taped>>;

const TOTAL_CORRELATIONS: [(&str, Term); 2] =
    [("fused", Cpu::total_correlation), ("composed", composed::total_correlation)];

fn latent_reference() -> Value {
    serde_json::from_str(include_str!("../reference/vae_objectives.json")).expect("the reference file is JSON")
}

fn numbers<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).expect("a list of values")
}

/// z, mu and logvar of one width, and the gradient of a scalar for each.
fn term(f: Term, width: usize) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome {
    move |inputs, upstream| {
        let [z, mu, logvar] = [0, 1, 2].map(|input| matrix(&inputs[input], width));
        let y = f(z.leaky_trace(), mu.leaky_trace(), logvar.leaky_trace()).expect("shapes fit");
        outcome(y.reshape_like(&(1,)), upstream, &[Leaf::Matrix(z), Leaf::Matrix(mu), Leaf::Matrix(logvar)])
    }
}

#[test]
fn the_total_correlation_is_scipys() {
    let case = latent_reference();
    let (inputs, gradients): (Vec<Vec<f32>>, Vec<Vec<f64>>) =
        (numbers(&case["inputs"]), numbers(&case["total_correlation_gradients"]));
    let value = case["total_correlation"].as_f64().expect("a number");
    assert!(value.abs() > 0.1, "a case that says something: {value}");
    for (name, f) in TOTAL_CORRELATIONS {
        agree(name, &term(f, 3)(&inputs, &[1.0]), &[value], &gradients, 1e-5);
    }
}

#[test]
fn the_kernel_is_the_composed_form() {
    let inputs = [normal(165, 1), normal(165, 2), normal(165, 3)];
    let [fused, composed] = TOTAL_CORRELATIONS.map(|(_, f)| term(f, 5)(&inputs, &[3.0]));
    let gradients: Vec<Vec<f64>> = composed.gradients.iter().map(|gradient| wide(gradient)).collect();
    agree("33 rows of 5", &fused, &wide(&composed.output), &gradients, 2e-5);
    let one = term(Cpu::total_correlation, 1)(&[vec![0.3, 1.0], vec![0.0, 1.0], vec![0.0, 0.5]], &[1.0]);
    close("a single latent depends on nothing", &one.output, &[0.0], 1e-6, 1.0);
    assert!(one.gradients.iter().flatten().all(|slope| slope.abs() < 1e-6), "{one:?}");
    let refused = Cpu::total_correlation(matrix(&[0.0; 4], 2), matrix(&[0.0; 6], 2), matrix(&[0.0; 4], 2));
    assert!(refused.expect_err("another number of rows").to_string().contains("total_correlation"));
}

#[test]
fn log_ratios_and_bounds_are_scipys() {
    let case = latent_reference();
    let inputs: Vec<Vec<f32>> = numbers(&case["inputs"]);
    let [z, mu, logvar] = [0, 1, 2].map(|input| matrix(&inputs[input], 3));
    let ratio = ops::gaussian_log_ratio(z.leaky_trace(), mu.leaky_trace(), logvar.leaky_trace()).expect("shapes fit");
    let got = outcome(ratio, &[1.0; 7], &[Leaf::Matrix(z), Leaf::Matrix(mu), Leaf::Matrix(logvar)]);
    let gradients: Vec<Vec<f64>> = numbers(&case["log_ratio_gradients"]);
    agree("log ratio", &got, &numbers::<f64>(&case["log_ratio"]), &gradients, 1e-5);

    let weights = vector(&numbers::<f32>(&case["log_weights"]));
    let bounds = ops::log_mean_exp(weights.leaky_trace(), 4).expect("7 cells of 4 draws");
    let got = outcome(bounds, &[1.0; 7], &[Leaf::Vector(weights.clone())]);
    let gradients: Vec<Vec<f64>> = numbers(&case["bound_gradients"]);
    agree("bounds", &got, &numbers::<f64>(&case["bounds"]), &gradients, 1e-5);
    assert!(ops::log_mean_exp(weights, 5).is_err(), "28 draws are no multiple of 5");
}
