//! Flows: they learn, carry one set to another, and are straighter with optimal transport and after a reflow.

use super::toys::*;
use genailab::{
    model::{
        diffusion::{Divergence, Solver, net::ScoreNetConfig},
        flow::{Flow, FlowConfig, FlowPath, Pairing, TransportConfig, noise},
    },
    ndarray::Array2,
};

fn config(pairing: Pairing) -> FlowConfig {
    FlowConfig { pairing, net: small(), ..FlowConfig::default() }
}

#[test]
fn flows_of_both_paths_learn_two_moons() {
    let (x, fresh) = (moons(2000, 1), moons(1000, 2));
    for path in [FlowPath::Linear, FlowPath::Vp] {
        let flow = flow(&FlowConfig { path, ..config(Pairing::Independent) }, &x, 80);
        let apart = apart(&flow.sample(1000, None, &TransportConfig::default(), 3).expect("trained"), &fresh);
        println!("{path:?}: {apart:.4}");
        assert!(apart < 0.03, "{path:?}: {apart}");
    }
}

#[test]
fn transformers_learn_them_too() {
    let (x, fresh) = (moons(2000, 1), moons(1000, 2));
    for net in [ScoreNetConfig::tabular(1), ScoreNetConfig::dit(1)] {
        let flow = flow(&FlowConfig { net, ..config(Pairing::Independent) }, &x, 15);
        let apart =
            apart(&flow.sample(1000, None, &TransportConfig::new(Solver::Heun, 10), 3).expect("trained"), &fresh);
        println!("{}: {apart:.4}", net.name());
        assert!(apart < 0.06, "{}: {apart}", net.name());
    }
}

/// Mean length of the paths over the mean distance of their ends: 1 if all are straight.
fn detour(flow: &Flow, source: &Array2<f32>) -> f64 {
    let places = flow.paths(source, None, &TransportConfig::new(Solver::Heun, 40)).expect("trained");
    let lengths = |from: &Array2<f32>, to: &Array2<f32>| -> f64 {
        let rows = (to - from).mapv(|v| v * v).sum_axis(genailab::ndarray::Axis(1));
        rows.iter().map(|square| f64::from(square.sqrt())).sum()
    };
    let walked: f64 = places.windows(2).map(|pair| lengths(&pair[0], &pair[1])).sum();
    walked / lengths(&places[0], &places[places.len() - 1])
}

#[test]
fn optimal_transport_straightens_and_reflow_straightens_further() {
    let (x, fresh, start) = (mixture(2000, 1).0, mixture(1000, 2).0, noise(500, 2, 5));
    let independent = flow(&config(Pairing::Independent), &x, 80);
    let transport = flow(&config(Pairing::OptimalTransport), &x, 40);
    let fine = TransportConfig::new(Solver::Heun, 25);
    let pairs = noise(2000, 2, 6);
    let second = independent.reflow(&pairs, None, &fine, &short(60), &mut silent()).expect("trained");
    let [a, b, c] = [&independent, &transport, &second].map(|flow| detour(flow, &start));
    let [ca, cb, cc] =
        [&independent, &transport, &second].map(|flow| flow.curvature(&start, None, 20).expect("trained"));
    println!("detour {a:.4} independent, {b:.4} transport, {c:.4} reflow; curvature {ca:.4} {cb:.4} {cc:.4}");
    assert!(b - 1.0 < 0.6 * (a - 1.0), "{b} with optimal transport, {a} without");
    assert!(c - 1.0 < 0.6 * (a - 1.0), "{c} after a reflow, {a} before");
    assert!(cb < 0.6 * ca && cc < 0.6 * ca, "curvatures {ca}, {cb}, {cc}");
    // Straighter paths bear longer steps.
    let few = |flow: &Flow| {
        apart(&flow.sample(1000, None, &TransportConfig::new(Solver::Euler, 3), 7).expect("trained"), &fresh)
    };
    let (crooked, straight) = (few(&independent), few(&second));
    println!("3 Euler steps: {crooked:.4}, after a reflow {straight:.4}");
    assert!(straight < 0.7 * crooked, "{straight} in 3 steps after a reflow, {crooked} before");
    let all = apart(&second.sample(1000, None, &fine, 7).expect("trained"), &fresh);
    assert!(all < 0.05, "the second flow's samples are {all} away");
}

/// Control to perturbed: a shift and another spread.
#[test]
fn a_flow_between_sets_carries_moments() {
    let control = moons(1500, 11);
    let perturbed = moons(1500, 12) * 0.6 + 4.0;
    let mut flow = Flow::new(2, 0, &config(Pairing::OptimalTransport), 0, Default::default()).expect("it fits");
    flow.fit_between(&control, &perturbed, None, &short(50), &mut silent()).expect("it trains");
    let carried = flow.transport(&moons(1000, 13), None, &TransportConfig::default()).expect("trained");
    let ((mean, std), (want_mean, want_std)) = (moments(&carried), moments(&perturbed));
    for axis in 0..2 {
        assert!((mean[axis] - want_mean[axis]).abs() < 0.1, "axis {axis}: mean {} {}", mean[axis], want_mean[axis]);
        let ratio = std[axis] / want_std[axis];
        assert!((0.9..1.1).contains(&ratio), "axis {axis}: spread {} {}", std[axis], want_std[axis]);
    }
    // The cheapest way is the same shape, shrunk and moved: each cell goes where its like is.
    let straight = moons(1000, 13) * 0.6 + 4.0;
    let off = (&carried - &straight).mapv(|v| f64::from(v * v)).mean().expect("rows").sqrt();
    println!("root mean square distance from the affine map {off:.4}");
    assert!(off < 0.2, "{off} from the affine map");
    let back = flow.encode(&carried, None, &TransportConfig::new(Solver::Heun, 50)).expect("trained");
    let worst = (&back - &moons(1000, 13)).mapv(f32::abs).into_iter().fold(0.0, f32::max);
    assert!(worst < 0.1, "there and back is off by {worst}");
    let error = flow.sample(10, None, &TransportConfig::default(), 0).expect_err("it begins at cells").to_string();
    assert!(error.contains("begins at given samples"), "{error}");
}

/// The noise of a label is the whole noise: a pairing across labels would have given each a corner of it.
#[test]
fn a_conditional_flow_follows_its_label() {
    let (x, labels) = mixture(2000, 1);
    let mut flow = Flow::new(2, 4, &config(Pairing::OptimalTransport), 0, Default::default()).expect("it fits");
    flow.fit(&x, Some(&labels), &short(60), &mut silent()).expect("it trains");
    for (component, centre) in CENTRES.iter().enumerate() {
        let samples = flow.sample(400, Some(&label(component)), &TransportConfig::default(), 2).expect("trained");
        let (mean, std) = moments(&samples);
        for axis in 0..2 {
            let off = (mean[axis] - f64::from(centre[axis])).abs();
            assert!(off < 0.2, "label {component}, axis {axis}: the mean is off by {off}");
            assert!((0.25..0.6).contains(&std[axis]), "label {component}, axis {axis}: spread {}", std[axis]);
        }
    }
}

#[test]
fn a_flow_knows_the_density() {
    let (x, fresh) = (mixture(2000, 1).0, mixture(300, 2).0);
    let flow = flow(&config(Pairing::OptimalTransport), &x, 60);
    let how = TransportConfig::new(Solver::Heun, 40);
    let density = flow.log_likelihood(&fresh, None, Divergence::Exact, &how).expect("trained");
    // ln 4 + ln(2 pi e SPREAD^2): the entropy of four components that do not overlap.
    let entropy = 4_f64.ln() + (2.0 * std::f64::consts::PI * std::f64::consts::E * f64::from(SPREAD).powi(2)).ln();
    let mean = density.mean().expect("rows");
    println!("log density {mean:.3}, entropy {entropy:.3}");
    assert!((mean + entropy).abs() < 0.25, "{mean} nats, where the entropy is {entropy}");
}
