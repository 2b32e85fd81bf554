//! How long a transformer block takes; nothing is asserted. The peer is benches/torch_block.py.
//!
//! `cargo test --release --test nn -- --ignored --nocapture speed`

use crate::harness::*;
use genailab::{
    dfdx::prelude::*,
    nn::{AttentionConfig, EmbeddingLoss, Matrix, RowSets, SetDistance, TransformerBlock},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::time::Instant;

/// Prints the median of the milliseconds of `f`.
fn median_ms(what: &str, mut f: impl FnMut()) {
    let mut times: Vec<f64> = (0..25)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64() * 1e3
        })
        .skip(5)
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what}: {:.2} ms", times[times.len() / 2]);
}

#[test]
#[ignore = "measures time"]
fn speed_of_a_block() {
    let config = AttentionConfig { heads: 4, dropout: 0.0 };
    let block = TransformerBlock::new(&Cpu::default(), 128, config, &mut ChaCha8Rng::seed_from_u64(0)).expect("memory");
    let (sets, x) = (RowSets::uniform(64, 64), matrix(&normal(64 * 64 * 128, 1), 128));
    let target = matrix(&vec![0.0; 64 * 64 * 128], 128);
    let pass = |x: Matrix<Cpu, Taped>| block.forward(x, &sets).expect("shapes fit");
    median_ms("forward and backward", || {
        let y = pass(x.leaky_trace());
        EmbeddingLoss::L2.forward(y, &target).expect("shapes fit").backward();
    });
    median_ms("forward, taped", || drop(pass(x.leaky_trace())));
    median_ms("inference", || drop(block.forward(x.clone(), &sets).expect("shapes fit")));
}

#[test]
#[ignore = "measures time"]
fn speed_of_attention() {
    let config = AttentionConfig { heads: 8, dropout: 0.0 };
    let layer =
        genailab::nn::MultiHeadAttention::new(&Cpu::default(), 256, 256, config, &mut ChaCha8Rng::seed_from_u64(0))
            .expect("memory");
    let block = TransformerBlock::new(&Cpu::default(), 256, config, &mut ChaCha8Rng::seed_from_u64(0)).expect("memory");
    let (sets, x) = (RowSets::uniform(64, 64), matrix(&normal(64 * 64 * 256, 1), 256));
    let target = matrix(&vec![0.0; 64 * 64 * 256], 256);
    let spec = genailab::nn::AttentionSpec { queries: sets.clone(), keys: sets.clone(), heads: 8, dropout: None };
    let kv = matrix(&normal(64 * 64 * 512, 3), 512);
    median_ms("core", || {
        let y: Matrix<Cpu, Taped> =
            <Cpu as genailab::nn::TokenOps>::attention(x.leaky_trace(), kv.leaky_trace(), &spec).expect("shapes fit");
        EmbeddingLoss::L2.forward(y, &target).expect("shapes fit").backward();
    });
    median_ms("mha fb", || {
        let (x, tape) = x.leaky_trace().split_tape();
        let y = layer.forward(x.clone().put_tape(tape), x.retaped(), &sets, &sets).expect("shapes fit");
        EmbeddingLoss::L2.forward(y, &target).expect("shapes fit").backward();
    });
    median_ms("block fb", || {
        let y = block.forward(x.leaky_trace(), &sets).expect("shapes fit");
        EmbeddingLoss::L2.forward(y, &target).expect("shapes fit").backward();
    });
}

#[test]
#[ignore = "measures time"]
fn speed_of_set_distances() {
    let (width, n) = (256, 256);
    let (sets, x) = (RowSets::uniform(4, n), matrix(&normal(4 * n * width, 2), width));
    let y = matrix(&normal(4 * n * width, 3), width);
    for (name, distance) in [
        ("energy", SetDistance::Energy),
        ("MMD", SetDistance::Mmd { gammas: [0.001, 0.002, 0.004].into() }),
        ("sliced Wasserstein", SetDistance::sliced(width, 100, &mut ChaCha8Rng::seed_from_u64(4))),
    ] {
        median_ms(&format!("{name}, 4 pairs of sets of {n} x {width}, forward and backward"), || {
            let value = distance.forward(x.leaky_trace(), &sets, &y, &sets).expect("shapes fit");
            value.sum::<Rank0, _>().backward();
        });
    }
}
