//! How the settings of the combination model are chosen: by cross-validation inside the training half; the test half is
//! never used.
//!
//! ```sh
//! cargo bench --bench choose_combination -- norman_pseudobulk.h5ad [SPLITS]
//! ```
//!
//! Of each split `doubles` (half of the doubles unseen) the training half alone is used: its doubles are divided into five
//! folds, each fold is predicted by a model of the singles and the other folds. One setting is changed at a time. The
//! difference to the defaults is paired by left-out double; its standard error is over (split, double), which overlap
//! between splits, so that it is rather too small.

use genailab::data::EffectTable;
use genailab::{
    data::{Condition, Conditions, Effects, NamedSplit, SplitPlan},
    eval::l2,
    model::combination::{CombinationConfig, CombinationModel},
    train::Run,
    train::TrainConfig,
};
use rayon::prelude::*;
use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

const FOLDS: usize = 5;
/// A third of the default: the settings below are those of the scaled sum and the kernel ridge, and they rank the same.
const EPOCHS: usize = 20;

fn main() {
    // `cargo bench` adds an argument of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(path) = arguments.next() else {
        eprintln!("give the .h5ad file of an effects dataset");
        std::process::exit(2);
    };
    let splits: u64 = arguments.next().map_or(2, |n| n.parse().expect("a number of splits"));
    let data = Effects::open(&path).expect("an effects dataset");
    let conditions = Conditions::of_effects(&data);
    let row_of: BTreeMap<String, usize> = data.perturbations.iter().map(ToString::to_string).zip(0..).collect();
    let halves: Vec<Vec<usize>> = (0..splits)
        .map(|seed| {
            let plan = SplitPlan::parse("doubles", seed).expect("a known split");
            let split: NamedSplit = plan.divide(&conditions).expect("there are doubles");
            let names = split.train.iter().chain(&split.validation).map(ToString::to_string);
            names.filter_map(|name| row_of.get(&name).copied()).collect()
        })
        .collect();
    let begin = Instant::now();
    let table: Vec<(String, Vec<f64>)> =
        settings().into_iter().map(|(name, config)| (name, errors(&data, &halves, &config))).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let usual = &table[0].1;
    println!("| setting | L2 of left-out training doubles | difference to the defaults ± standard error |");
    println!("|---|---|---|");
    for (name, errors) in &table {
        let apart: Vec<f64> = errors.iter().zip(usual).map(|(a, b)| a - b).collect();
        let centre = mean(&apart);
        let square = apart.iter().map(|d| (d - centre).powi(2)).sum::<f64>() / (apart.len() - 1) as f64;
        let error = (square / apart.len() as f64).sqrt();
        println!("| {name} | {:.3} | {centre:+.3} ± {error:.3} |", mean(errors));
    }
    let (n, seconds) = (usual.len(), begin.elapsed().as_secs_f64());
    println!("\n{splits} splits, {FOLDS} folds inside each training half, {n} left-out doubles in all, {seconds:.0} s");
}

/// The defaults, and each with one setting changed.
fn settings() -> Vec<(String, CombinationConfig)> {
    let usual = CombinationConfig {
        training: TrainConfig { epochs: EPOCHS, ..CombinationConfig::default().training },
        ..CombinationConfig::default()
    };
    let mut all = vec![("defaults".to_owned(), usual.clone())];
    for half_trust in [0.0, 50.0, 800.0] {
        all.push((format!("half_trust {half_trust}"), CombinationConfig { half_trust, ..usual.clone() }));
    }
    for shrinkage in [0.3, 30.0] {
        all.push((format!("shrinkage {shrinkage}"), CombinationConfig { shrinkage, ..usual.clone() }));
    }
    for smooth in [10, 40] {
        all.push((format!("smooth {smooth}"), CombinationConfig { smooth, ..usual.clone() }));
    }
    for kernel_width in [0.5, 2.0] {
        all.push((format!("kernel_width {kernel_width}"), CombinationConfig { kernel_width, ..usual.clone() }));
    }
    for components in [15, 60] {
        all.push((format!("components {components}"), CombinationConfig { components, ..usual.clone() }));
    }
    all.push(("kernel_ridge false".to_owned(), CombinationConfig { kernel_ridge: false, ..usual }));
    all
}

/// L2 of every left-out double of every training half, in order.
fn errors(data: &Effects, halves: &[Vec<usize>], config: &CombinationConfig) -> Vec<f64> {
    let jobs: Vec<(u64, usize)> =
        (0..halves.len() as u64).flat_map(|split| (0..FOLDS).map(move |fold| (split, fold))).collect();
    let one = |(split, fold): (u64, usize)| -> Vec<f64> {
        let half = &halves[split as usize];
        let genes = |row: usize| data.perturbations[row].genes();
        let alone: HashSet<&String> =
            half.iter().filter(|&&row| genes(row).len() == 1).flat_map(|&row| genes(row)).collect();
        // A double of a gene that was never perturbed alone asks another question.
        let known = |row: &usize| genes(*row).len() == 2 && genes(*row).iter().all(|gene| alone.contains(gene));
        let doubles: Vec<usize> = half.iter().copied().filter(known).collect();
        let left_out: Vec<usize> = doubles.into_iter().skip(fold).step_by(FOLDS).collect();
        let kept: Vec<usize> = half.iter().copied().filter(|row| !left_out.contains(row)).collect();
        let model = CombinationModel::fit_table(&EffectTable::of_effects(data, &kept), config, &Run::quiet(split))
            .expect("it trains");
        let asked: Vec<Condition> =
            left_out.iter().map(|&row| Condition::of(data.perturbations[row].clone())).collect();
        let predicted = model.effects(&asked).expect("their singles are trained on").mapv(|value| value as f32);
        let rows = predicted.rows().into_iter().zip(&left_out);
        rows.map(|(row, &place)| l2(&row.to_vec(), &data.values.row(place).to_vec()).expect("as long")).collect()
    };
    jobs.into_par_iter().map(one).collect::<Vec<_>>().concat()
}
