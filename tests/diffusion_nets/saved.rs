//! What is saved is what is loaded.

use super::toys::*;
use genailab::{
    device::Device,
    model::{
        diffusion::{Diffusion, DiffusionConfig, SampleConfig, net::ScoreNetConfig},
        flow::{Flow, FlowConfig, TransportConfig},
        saved_kind,
    },
};
use std::ops::ControlFlow;

#[test]
fn a_loaded_diffusion_draws_the_same_samples() {
    for net in [small(), ScoreNetConfig::tabular(1), ScoreNetConfig::dit(1)] {
        let model = diffusion(&DiffusionConfig { net, ..DiffusionConfig::default() }, true, 1);
        let dir = tempfile::tempdir().expect("a folder");
        model.save(dir.path()).expect("it can be written");
        assert_eq!(saved_kind(dir.path()).expect("a model"), Diffusion::KIND);
        let loaded = Diffusion::load(dir.path(), Device::Cpu).expect("it can be read");
        let draw = |model: &Diffusion| {
            let how = SampleConfig::ddim(5).guided(2.0);
            model.sample(50, Some(&label(1)), &how, 3).expect("it is trained")
        };
        assert_eq!(draw(&model), draw(&loaded), "{}", net.name());
        let error = Flow::load(dir.path(), Device::Cpu).expect_err("another kind").to_string();
        assert!(error.contains("\"score-network\", where \"flow\" was expected"), "{error}");
    }
}

#[test]
fn a_loaded_flow_carries_the_same() {
    let (control, target) = (moons(600, 1), mixture(500, 1).0);
    let config = FlowConfig { net: small(), ..FlowConfig::default() };
    let mut flow = Flow::new(2, 0, &config, 0, Device::Cpu).expect("it fits");
    flow.fit_between(&control, &target, None, &short(1), &mut silent()).expect("it trains");
    let dir = tempfile::tempdir().expect("a folder");
    flow.save(dir.path()).expect("it can be written");
    let loaded = Flow::load(dir.path(), Device::Cpu).expect("it can be read");
    let carry = |flow: &Flow| flow.transport(&control, None, &TransportConfig::default()).expect("trained");
    assert_eq!(carry(&flow), carry(&loaded));
    assert_eq!(flow.origin().expect("trained"), loaded.origin().expect("trained"));
}

/// A training that stopped goes on bit for bit, the moving average included.
#[test]
fn a_resumed_training_is_the_same() {
    let (x, _) = mixture(600, 1);
    let config = DiffusionConfig { net: small(), ..DiffusionConfig::default() };
    let fit = |dir: &std::path::Path, epochs: usize, resume: bool| {
        let mut model = Diffusion::new(2, 0, &config, 0, Device::Cpu).expect("it fits");
        let mut options = silent();
        (options.dir, options.resume) = (Some(dir.to_owned()), resume);
        if epochs < 4 {
            let mut left = epochs;
            options.callbacks.push(Box::new(move |_: &genailab::train::EpochRecord| {
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }));
        }
        model.fit(&x, None, None, &short(4), &mut options).expect("it trains");
        model
    };
    let (whole, parts) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let once = fit(whole.path(), 4, false);
    fit(parts.path(), 2, false);
    let resumed = fit(parts.path(), 4, true);
    let draw = |model: &Diffusion| model.sample(20, None, &SampleConfig::ddim(5), 3).expect("it is trained");
    assert_eq!(draw(&once), draw(&resumed));
}
