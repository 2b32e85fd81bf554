//! A network that is copied to a device, trained there and taken back is the one that was trained in place. The CPU stands in
//! for the device: a copy has tensors of its own there too.

use genailab::{
    data::{Dataset, Simulation, SimulationConfig},
    device::Device,
    dfdx::prelude::Cpu,
    model::jepa::{
        CellSets, EncoderConfig, GeneConfig, GeneMasks, GroupConfig, PretrainNet, PretrainingConfig, Size, TokenConfig,
    },
    nn::{EmaMomentum, Snapshot, count_params, seeded},
    train::{Run, TrainConfig, fit, fit_copy, fit_on},
};
use std::sync::Arc;

fn cells() -> Dataset {
    let config = SimulationConfig { n_cells: 128, n_genes: 60, seed: 2, ..SimulationConfig::default() };
    Simulation::new(&config).expect("a small world").dataset
}

/// One of each kind of encoder.
fn configurations() -> Vec<PretrainingConfig> {
    let tiny = PretrainingConfig::mlp(Size::Tiny);
    let groups = GroupConfig { groups: 6, hidden: 8, tokens: 8, depth: 1, ..GroupConfig::of(Size::Tiny) };
    let genes = GeneConfig { genes: 60, ..GeneConfig::of(Size::Tiny) };
    let slow = |mut config: PretrainingConfig| {
        config.teacher.ema = Some(EmaMomentum::Constant { momentum: 0.9 });
        config
    };
    vec![
        slow(PretrainingConfig { encoder: EncoderConfig::Linear, ..tiny.clone() }),
        slow(PretrainingConfig { encoder: EncoderConfig::Tokens(TokenConfig::of(Size::Tiny)), ..tiny.clone() }),
        slow(PretrainingConfig { encoder: EncoderConfig::Groups(groups), ..PretrainingConfig::groups(Size::Tiny) }),
        slow(PretrainingConfig { encoder: EncoderConfig::Genes(genes), ..PretrainingConfig::genes(Size::Tiny) }),
        slow(tiny),
    ]
}

#[test]
fn a_copy_that_is_trained_elsewhere_comes_back_as_if_it_had_been_trained_in_place() {
    let data = cells();
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    for config in configurations() {
        let what = format!("{:?}", config.encoder);
        let masks = GeneMasks::new(&config.masks, &data, &rows).expect("masks can be made");
        let objective = &config.objective;
        let source = CellSets::new(&data, &rows, &data.genes.names, objective, 1e3, 0).expect("its own genes");
        let start = || {
            let mut net =
                PretrainNet::new(&Cpu::default(), 60, &config, &mut seeded(1)).expect("a valid configuration");
            net.set_masks(Some(Arc::new(masks.clone())));
            net
        };
        let training = TrainConfig { epochs: 1, batch_size: 64, ..TrainConfig::default() };
        let (mut stayed, mut moved) = (start(), start());
        let here = fit(&mut stayed, &source, None, &Cpu::default(), &training, &mut Run::quiet(0)).expect("it trains");
        let there =
            fit_copy(&mut moved, &source, None, &Cpu::default(), &training, &mut Run::quiet(0)).expect("it trains");
        let tensors = |net: &PretrainNet<Cpu>| Snapshot::of(net).expect("its own tensors");
        assert_ne!(tensors(&moved), tensors(&start()), "{what}: nothing was learned");
        assert_eq!(tensors(&moved), tensors(&stayed), "{what}");
        assert_eq!(here.last().map(|last| last.train.loss), there.last().map(|last| last.train.loss), "{what}");
        assert!(count_params(&moved).expect("its own weights") > 0, "{what}");
    }
}

/// A training for CUDA whose network was left in host memory would compute on the CPU.
#[test]
fn weights_in_host_memory_are_not_trained_for_cuda_unnoticed() {
    let data = cells();
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    let config = PretrainingConfig::mlp(Size::Tiny);
    let source = CellSets::new(&data, &rows, &data.genes.names, &config.objective, 1e3, 0).expect("its own genes");
    let mut net = PretrainNet::new(&Cpu::default(), 60, &config, &mut seeded(1)).expect("a valid configuration");
    let mut run = Run { device: Device::Cuda(0), ..Run::quiet(0) };
    let training = TrainConfig { epochs: 1, batch_size: 64, ..TrainConfig::default() };
    let error = fit(&mut net, &source, None, &Cpu::default(), &training, &mut run).expect_err("the CPU is no CUDA");
    assert!(error.to_string().contains("cuda"), "{error}");
    fit_on(&mut net, &source, None, &training, &mut run).expect_err("there is no CUDA here, or no masks");
}
