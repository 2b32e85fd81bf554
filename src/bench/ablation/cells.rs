//! Cell-level pretraining with one thing changed at a time.

use super::Trial;
use crate::{
    Error, ErrorKind, Result,
    data::{Dataset, SplitPlan},
    device::Device,
    eval::{ProbeConfig, compare_embeddings},
    model::jepa::{AntiCollapse, CellJepa, CellJepaConfig, EncoderConfig, MaskKind, Objective, effective_rank},
    train::{Progress, Run, TrainConfig},
};
use std::{sync::Arc, sync::atomic::AtomicBool, time::Instant};

/// Part of each perturbation's cells that is judged.
const JUDGED: f64 = 0.2;

/// The variants: what is changed, the settings, and the epochs as a share of those given.
fn variants(base: &CellJepaConfig) -> Vec<(&'static str, CellJepaConfig, f64)> {
    let with = |change: &dyn Fn(&mut CellJepaConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    let masked = |change: &dyn Fn(&mut CellJepaConfig)| {
        with(&|c| {
            c.objective = Objective::Masks;
            change(c);
        })
    };
    let sized = |hidden: usize| with(&|c| c.encoder = EncoderConfig::Mlp { hidden: vec![hidden] });
    vec![
        ("two views", with(&|c| c.objective = Objective::split_views()), 1.0),
        (
            "two views, no anti-collapse",
            with(&|c| {
                c.objective = Objective::split_views();
                c.anti_collapse = AntiCollapse::None;
            }),
            1.0,
        ),
        ("masked genes", masked(&|_| {}), 1.0),
        ("masked genes, adversarial", masked(&|c| c.masks.kind = MaskKind::Adversarial), 1.0),
        ("masked genes, no EMA", masked(&|c| c.teacher.ema = None), 1.0),
        ("masked genes, no anti-collapse", masked(&|c| c.anti_collapse = AntiCollapse::None), 1.0),
        (
            "masked genes, variance and covariance",
            masked(&|c| c.anti_collapse = AntiCollapse::variance_covariance()),
            1.0,
        ),
        ("masked reconstruction", with(&|c| c.objective = Objective::Reconstruction), 1.0),
        ("sets of a condition's cells", with(&|c| c.objective = Objective::conditions()), 1.0),
        ("hidden 64, equal compute", sized(64), 4.0),
        ("hidden 1024, equal compute", sized(1024), 0.25),
    ]
}

/// Every variant on a stratified split of each seed; `told` is given each trial when it is done. A training that an alarm stops is a
/// trial that failed.
///
/// # Errors
/// Data that cannot be trained on; an interruption.
pub fn ablate_cells(
    data: &Dataset,
    base: &CellJepaConfig,
    training: &TrainConfig,
    seeds: u64,
    interrupt: Option<&Arc<AtomicBool>>,
    told: &mut dyn FnMut(Trial) -> Result<()>,
) -> Result<()> {
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    for seed in 0..seeds {
        let split = data.split(&SplitPlan::Stratified { validation: 0.0, test: JUDGED, seed })?;
        if split.test.is_empty() {
            return Err(Error::data("there are too few cells of each perturbation to hold a fifth of them out"));
        }
        for (variant, config, share) in variants(base) {
            let epochs = ((training.epochs as f64 * share).round() as usize).max(1);
            let training = TrainConfig { seed, epochs, ..training.clone() };
            let mut options = Run { progress: Progress::Silent, interrupt: interrupt.cloned(), ..Run::default() };
            let start = Instant::now();
            let mut model = CellJepa::new(data, &split, config, seed, Device::Cpu)?;
            let fitted = model.fit_with(data, &split, &training, &mut options);
            let seconds = start.elapsed().as_secs_f64();
            let (figures, failure) = match fitted {
                Err(error) if error.kind() != ErrorKind::Numeric => return Err(error),
                Err(error) => (Vec::new(), Some(error.to_string())),
                Ok(_) => {
                    let z = model.embed_rows(data, &rows, crate::model::jepa::Reader::Student)?;
                    let probe = ProbeConfig::default();
                    let found =
                        compare_embeddings(&[("z", z.view())], &data.labels, &split.train, &split.test, &probe)?;
                    let score = &found.scores[0];
                    let figures = vec![
                        ("probe accuracy", score.accuracy),
                        ("balanced accuracy", score.balanced_accuracy),
                        ("kNN purity", score.purity),
                        ("effective rank", effective_rank(z.view())),
                        ("seconds", seconds),
                    ];
                    (figures, None)
                }
            };
            let trial = Trial { variant: variant.to_owned(), seed, figures, failure };
            told(trial)?;
        }
    }
    Ok(())
}
