//! Derivatives by the input and by the weights, against difference quotients.

use super::{net, noise};
use genailab::{
    dfdx::prelude::*,
    model::ebm::{Batch, EnergyNet, contrastive_loss, denoising_loss, nce_loss, sliced_loss},
    ndarray::Array2,
    nn::{Scalar, init::seeded, ops},
};

type Traced = OwnedTape<f32, Cpu>;

fn values(net: &EnergyNet<Cpu>, x: &Array2<f32>, given: &Array2<f32>) -> Vec<f32> {
    let device = Cpu::default();
    let given = ops::upload(&device, given).expect("memory");
    net.value(ops::upload(&device, x).expect("memory"), Some(&given)).expect("it fits").as_vec()
}

#[test]
fn derivatives_by_the_input_are_difference_quotients() {
    let (device, net) = (Cpu::default(), net(3, 2, 1));
    let (x, given, v) = (noise(20, 3, 2), noise(20, 2, 3), noise(20, 3, 4));
    let upload = |values: &Array2<f32>| ops::upload(&device, values).expect("memory");
    let gradient = ops::download(&net.gradient(upload(&x), Some(&upload(&given))).expect("it fits"));
    let along = net.along(upload(&x), &upload(&v), Some(&upload(&given))).expect("it fits");
    let (first, second) = (along.first.as_vec(), along.second.as_vec());
    let h = 0.02;
    let at = |step: f32| values(&net, &(&x + &(&v * step)), &given);
    let (ahead, here, behind) = (at(h), at(0.0), at(-h));
    for row in 0..20 {
        let slope = gradient.row(row).dot(&v.row(row));
        let quotient = (ahead[row] - behind[row]) / (2.0 * h);
        let bend = (ahead[row] - 2.0 * here[row] + behind[row]) / (h * h);
        assert!((slope - quotient).abs() < 5e-3, "row {row}: {slope} {quotient}");
        assert!((first[row] - slope).abs() < 1e-5, "row {row}: {} {slope}", first[row]);
        assert!((second[row] - bend).abs() < 2e-2 * (1.0 + bend.abs()), "row {row}: {} {bend}", second[row]);
    }
}

/// A loss of a network with its tape.
type LossOf<'a> = &'a dyn Fn(&EnergyNet<Cpu>) -> Scalar<Cpu, Traced>;

fn check(what: &str, loss: LossOf<'_>) {
    let net = net(2, 1, 5);
    let gradients = loss(&net).backward();
    let weights: [(&str, Vec<f32>); 4] = [
        ("input", gradients.get(&net.input.weight).as_vec()),
        ("given", gradients.get(&net.given.as_ref().expect("conditional").weight).as_vec()),
        ("hidden", gradients.get(&net.hidden[0].weight).as_vec()),
        ("output", gradients.get(&net.output.weight).as_vec()),
    ];
    let h = 0.01;
    for (name, slopes) in weights {
        let largest = slopes.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!(largest > 1e-4, "{what}: the gradient of {name} is zero");
        for place in [0, slopes.len() / 2, slopes.len() - 1] {
            let at = |by: f32| {
                let mut other = net.clone();
                let weight = match name {
                    "input" => &mut other.input.weight,
                    "given" => &mut other.given.as_mut().expect("conditional").weight,
                    "hidden" => &mut other.hidden[0].weight,
                    _ => &mut other.output.weight,
                };
                let mut values = weight.as_vec();
                values[place] += by;
                *weight = Cpu::default().tensor_from_vec(values, *weight.shape());
                loss(&other).array()
            };
            let quotient = (at(h) - at(-h)) / (2.0 * h);
            let off = (slopes[place] - quotient).abs();
            assert!(off < 2e-3 + 0.02 * largest, "{what}, {name}[{place}]: {} {quotient}", slopes[place]);
        }
    }
}

/// The losses that training descends, each with the same random numbers at every call.
#[test]
fn gradients_of_the_losses_are_difference_quotients() {
    let (x, given, y) = (noise(32, 2, 6), noise(32, 1, 7), noise(32, 2, 8));
    let batch = Batch { x: &x, condition: Some(&given) };
    let samples = Batch { x: &y, condition: Some(&given) };
    let plain = Batch { x: &x, condition: None };
    check("nce", &|net| nce_loss(net, &batch, 3, Traced::default(), &mut seeded(1)).expect("it fits"));
    check("cd", &|net| contrastive_loss(net, &batch, &samples, 0.1, Traced::default()).expect("it fits").0);
    check("ssm", &|net| sliced_loss(net, &batch, 2, Traced::default(), &mut seeded(2)).expect("it fits"));
    // The noise level takes the place of the condition.
    check("dsm", &|net| {
        denoising_loss(net, &plain, &[2.0, 0.5, 0.1], Traced::default(), &mut seeded(3)).expect("it fits")
    });
}
