//! Level 0 with one thing changed at a time.

use super::Trial;
use crate::{
    Result,
    bench::{BenchmarkData, Task},
    data::SplitPlan,
    eval::{l2, pearson},
    model::{
        combination::{CombinationConfig, CombinationModel},
        jepa::Conditioning,
    },
    nn::EmbeddingLoss,
    train::Run,
};
use ndarray::Array2;
use std::time::Instant;

/// The variants: what is changed, and the settings.
fn variants(base: &CombinationConfig) -> Vec<(&'static str, CombinationConfig)> {
    let with = |change: &dyn Fn(&mut CombinationConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    // Weights grow with the square of the width; the epochs make up for it, so that all sizes cost the same.
    let sized = |width: usize, hidden: usize, epochs: f64| {
        with(&|c| {
            (c.width, c.hidden) = (width, hidden);
            c.training.epochs = ((c.training.epochs as f64 * epochs).round() as usize).max(1);
        })
    };
    vec![
        ("as it is", base.clone()),
        ("scaled sum alone", with(&|c| (c.remember, c.decode) = (false, false))),
        ("no memory", with(&|c| c.remember = false)),
        ("no decoded departure", with(&|c| c.decode = false)),
        ("no trust in cell numbers", with(&|c| c.half_trust = 0.0)),
        ("no smoothing", with(&|c| c.smooth = 1)),
        ("no EMA", with(&|c| c.ema = None)),
        ("no variance, no covariance", with(&|c| (c.variance, c.covariance) = (0.0, 0.0))),
        ("L2 loss", with(&|c| c.loss = EmbeddingLoss::L2)),
        ("cosine loss", with(&|c| c.loss = EmbeddingLoss::Cosine)),
        ("FiLM", with(&|c| c.conditioning = Conditioning::Film)),
        ("cross-attention", with(&|c| c.conditioning = Conditioning::CrossAttention)),
        ("a learned vector a gene", with(&|c| c.learned = true)),
        ("an ensemble of 3", with(&|c| c.ensembles = 3)),
        ("small (16, 32), equal compute", sized(16, 32, 3.0)),
        ("large (64, 128), equal compute", sized(64, 128, 1.0 / 3.0)),
    ]
}

/// Every variant on the doubles split of each seed; `told` is given each trial when it is done.
///
/// # Errors
/// Data without doubles whose two single perturbations are there; those of the fit.
pub fn ablate_effects(
    data: &BenchmarkData,
    base: &CombinationConfig,
    seeds: u64,
    told: &mut dyn FnMut(Trial) -> Result<()>,
) -> Result<()> {
    for seed in 0..seeds {
        let task = Task::of_plan(data, &SplitPlan::parse("doubles", seed)?, seed)?;
        let effects = task.training.effects()?;
        for (variant, config) in variants(base) {
            let start = Instant::now();
            let model = CombinationModel::fit_table(effects, &config, &Run::quiet(seed))?;
            let seconds = start.elapsed().as_secs_f64();
            let observed = &task.observed;
            let predicted = model.effects(&observed.conditions)?.mapv(|value| value as f32);
            let (ours, additive) =
                (mean_l2(&predicted, &observed.effects), mean_l2(&observed.additive, &observed.effects));
            let mut figures = vec![("L2", ours), ("ratio to additive", ours / additive)];
            let rows = predicted.rows().into_iter().zip(observed.effects.rows());
            let mut correlations: Vec<f64> = rows.filter_map(|(p, y)| pearson(&p.to_vec(), &y.to_vec())).collect();
            correlations.sort_unstable_by(f64::total_cmp);
            figures.extend(correlations.get(correlations.len() / 2).map(|&median| ("median Pearson", median)));
            figures.extend(model.mixture().left_out_l2.map(|l2| ("L2 of left-out training doubles", l2)));
            figures.push(("seconds", seconds));
            let trial = Trial { variant: variant.to_owned(), seed, figures, failure: None };
            told(trial)?;
        }
    }
    Ok(())
}

fn mean_l2(predicted: &Array2<f32>, observed: &Array2<f32>) -> f64 {
    let rows = predicted.rows().into_iter().zip(observed.rows());
    let distances: Vec<f64> = rows.filter_map(|(p, y)| l2(&p.to_vec(), &y.to_vec())).collect();
    distances.iter().sum::<f64>() / distances.len().max(1) as f64
}
