//! The recurrent unit and the balanced divergence against PyTorch (`tests/reference/world.py`).

use genailab::{
    dfdx::prelude::*,
    nn::{Gaussian, GruCell, Linear, Matrix, balanced_kl, ops, seeded},
};
use serde_json::Value;

/// Single precision on sums of a few terms.
const TOLERANCE: f32 = 2e-6;

fn reference(part: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../reference/world.json")).expect("the reference file is JSON");
    all[part].clone()
}

fn values(of: &Value) -> Vec<f32> {
    of["values"].as_array().expect("values").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}

fn matrix(device: &Cpu, of: &Value) -> Matrix<Cpu> {
    let side = |axis: usize| of["shape"][axis].as_u64().expect("a side") as usize;
    device.tensor_from_vec(values(of), (side(0), side(1)))
}

fn close(found: &[f32], expected: &Value, what: &str) {
    let expected = values(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= TOLERANCE * expected.abs().max(1.0), "{what}: {found} and {expected}");
    }
}

#[test]
fn the_recurrent_unit_and_its_gradients_are_pytorchs() {
    let (device, of) = (Cpu::default(), reference("gru"));
    let mut cell = GruCell::new(&device, 4, 5, &mut seeded(0)).expect("memory");
    let names = ["input_reset", "input_update", "input_new", "hidden_reset", "hidden_update", "hidden_new"];
    let fill = |layer: &mut Linear<Cpu>, name: &str| {
        layer.weight = matrix(&device, &of[name]["weight"]);
        layer.bias.copy_from(&values(&of[name]["bias"]));
    };
    fill(&mut cell.input_reset, names[0]);
    fill(&mut cell.input_update, names[1]);
    fill(&mut cell.input_new, names[2]);
    fill(&mut cell.hidden_reset, names[3]);
    fill(&mut cell.hidden_update, names[4]);
    fill(&mut cell.hidden_new, names[5]);

    let (x, h) = (matrix(&device, &of["x"]), matrix(&device, &of["h"]));
    let out = cell.forward(x.leaky_trace(), h.retaped::<OwnedTape<f32, Cpu>>()).expect("shapes fit");
    close(&out.as_vec(), &of["out"], "out");
    let weighted = out * matrix(&device, &of["weight"]);
    let gradients = weighted.sum::<Rank0, _>().backward();
    close(&gradients.get(&x).as_vec(), &of["x_grad"], "gradient of x");
    close(&gradients.get(&h).as_vec(), &of["h_grad"], "gradient of h");
    let layers = [
        &cell.input_reset,
        &cell.input_update,
        &cell.input_new,
        &cell.hidden_reset,
        &cell.hidden_update,
        &cell.hidden_new,
    ];
    for (layer, name) in layers.into_iter().zip(names) {
        close(&gradients.get(&layer.weight).as_vec(), &of[name]["grad"], name);
    }
}

#[test]
fn the_balanced_divergence_and_its_gradients_are_pytorchs() {
    let (device, of) = (Cpu::default(), reference("kl"));
    let of_name = |name: &str| matrix(&device, &of[name]);
    let (post_mean, post_std) = (of_name("post_mean"), of_name("post_std"));
    let (prior_mean, prior_std) = (of_name("prior_mean"), of_name("prior_std"));
    let posterior = Gaussian { mean: post_mean.leaky_trace(), std: post_std.leaky_trace() };
    let prior = Gaussian { mean: prior_mean.leaky_trace(), std: prior_std.leaky_trace() };
    let kl = balanced_kl(posterior, prior).expect("shapes fit");
    close(&kl.of_prior.as_vec(), &of["of_rows"], "KL of each row");
    close(&kl.of_posterior.as_vec(), &of["of_rows"], "KL of each row");
    let number = |name: &str| of[name].as_f64().expect("a number") as f32;
    let (alpha, free) = (number("alpha"), number("free"));
    let side = |kl, weight: f32| {
        let mean = ops::at_least(ops::mean(kl).expect("rows"), free).expect("a scalar");
        ops::scaled(mean, weight).expect("a scalar")
    };
    let loss = side(kl.of_prior, alpha) + side(kl.of_posterior, 1.0 - alpha);
    assert!((loss.array() - number("loss")).abs() < 1e-5, "{} and {}", loss.array(), number("loss"));
    let gradients = loss.backward();
    for (tensor, name) in [
        (&post_mean, "post_mean_grad"),
        (&post_std, "post_std_grad"),
        (&prior_mean, "prior_mean_grad"),
        (&prior_std, "prior_std_grad"),
    ] {
        close(&gradients.get(tensor).as_vec(), &of[name], name);
    }
}

#[test]
fn below_the_free_nats_no_gradient_flows() {
    let device = Cpu::default();
    let mean: Matrix<Cpu> = device.tensor_from_vec(vec![0.1, -0.1], (1, 2));
    let one: Matrix<Cpu> = device.tensor_from_vec(vec![1.0, 1.0], (1, 2));
    let zero: Matrix<Cpu> = device.tensor_from_vec(vec![0.0, 0.0], (1, 2));
    let posterior = Gaussian { mean: mean.leaky_trace(), std: one.leaky_trace() };
    let prior = Gaussian { mean: zero.leaky_trace(), std: one.leaky_trace() };
    let kl = balanced_kl(posterior, prior).expect("shapes fit");
    let loss = ops::at_least(ops::mean(kl.of_posterior).expect("rows"), 1.0).expect("a scalar");
    assert!((loss.array() - 1.0).abs() < 1e-6);
    assert_eq!(loss.backward().get(&mean).as_vec(), [0.0, 0.0]);
}
