//! What is each part of a model good for? The model with one thing changed at a time, over several seeds.
//!
//! | model | data | judged by |
//! |---|---|---|
//! | the combination model | effects | unseen doubles: L2, its ratio to additive, median Pearson |
//! | the JEPA | cells | unseen doubles (or another split): L2, Pearson, plain E-distance |
//! | phase A of the JEPA, alone | cells | held-out cells: linear probe, kNN purity, effective rank |
//!
//! A seed draws the split, the weights and the training. All variants are compared over the same seeds.

use super::{BenchmarkData, MeasureOptions, Task, measure};
use crate::{
    Error, ErrorKind, Result,
    data::{DataKind, Dataset, SplitPlan},
    eval::{ProbeConfig, compare_embeddings, l2, pearson},
    model::{
        Model,
        combination::{CombinationConfig, CombinationModel},
        jepa::{
            AntiCollapse, Conditioning, EncoderConfig, GeneConfig, GroupConfig, Grouping, Jepa, JepaSettings,
            MaskConfig, MaskKind, Objective, Pairing, Phase, PredictorState, Pretraining, PretrainingConfig, Reader,
            Size, TeacherSees, ValueTokens, ViewNoise, effective_rank,
        },
    },
    nn::EmbeddingLoss,
    predict::{ModelPredictor, Predictor},
    train::{Progress, Run, TrainConfig},
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// Part of each perturbation's cells that is judged.
const JUDGED: f64 = 0.2;

/// One variant on one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was changed.
    pub variant: String,
    /// Of split, weights and training.
    pub seed: u64,
    /// Name and value of each figure, in the order of the table; none where the training failed.
    pub figures: Vec<(String, f64)>,
    /// Why there are none: a collapse, most likely.
    pub failure: Option<String>,
}

/// All trials of a model on a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    /// The data file.
    pub dataset: String,
    /// The split and the settings that the variants change, of an ablation that can be resumed.
    #[serde(default)]
    pub settings: serde_json::Value,
    /// In the order in which they were made: the unchanged model first.
    pub trials: Vec<Trial>,
}

impl Ablation {
    /// Takes the trials that an earlier ablation of the same data and settings wrote; those that failed are left out, so that
    /// they are tried again.
    ///
    /// # Errors
    /// A file that is not there or damaged, or of another dataset or other settings.
    pub fn resume(&mut self, file: &Path) -> Result<()> {
        let text = std::fs::read(file).map_err(|e| Error::io("reading", file, e))?;
        let damaged = |e: serde_json::Error| Error::data(format!("this is no ablation: {e}")).at(file.display());
        let known: Self = serde_json::from_slice(&text).map_err(damaged)?;
        if known.dataset != self.dataset {
            let other = format!("it is an ablation on {}, not on {}; give another --out", known.dataset, self.dataset);
            return Err(Error::config(other).at(file.display()));
        }
        if known.settings != self.settings {
            let other = "the ablation there has another split or other settings; give these, or another --out";
            return Err(Error::config(other).at(file.display()));
        }
        self.trials = known.trials.into_iter().filter(|trial| trial.failure.is_none()).collect();
        Ok(())
    }

    /// The variants, in the order of the trials.
    pub fn variants(&self) -> Vec<&str> {
        let mut seen: Vec<&str> = Vec::new();
        for trial in &self.trials {
            if !seen.contains(&trial.variant.as_str()) {
                seen.push(&trial.variant);
            }
        }
        seen
    }
}

/// The variants: what is changed, and the settings.
fn variants_of_effects(base: &CombinationConfig) -> Vec<(&'static str, CombinationConfig)> {
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
        ("scaled sum alone", with(&|c| (c.kernel_ridge, c.network) = (false, false))),
        ("no kernel ridge", with(&|c| c.kernel_ridge = false)),
        ("no network", with(&|c| c.network = false)),
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

/// Every variant on the doubles split of each seed; `report` gets each trial when it is done.
///
/// # Errors
/// Data without doubles whose two single perturbations are there; those of the fit.
pub fn ablate_effects(
    data: &BenchmarkData,
    base: &CombinationConfig,
    seeds: u64,
    report: &mut dyn FnMut(Trial) -> Result<()>,
) -> Result<()> {
    for seed in 0..seeds {
        let task = Task::of_plan(data, &SplitPlan::parse("doubles", seed)?, seed)?;
        let training = task.training.effects()?;
        for (variant, config) in variants_of_effects(base) {
            let start = Instant::now();
            let model = CombinationModel::fit_table(training, &config, &Run::quiet(seed))?;
            let seconds = start.elapsed().as_secs_f64();
            let observed = &task.observed;
            let predicted = model.effects(&observed.conditions)?.mapv(|value| value as f32);
            let (ours, additive) =
                (mean_l2(&predicted, &observed.effects), mean_l2(&observed.additive, &observed.effects));
            let mut figures = vec![("L2".to_owned(), ours), ("ratio to additive".to_owned(), ours / additive)];
            let rows = predicted.rows().into_iter().zip(observed.effects.rows());
            let mut correlations: Vec<f64> = rows.filter_map(|(p, y)| pearson(&p.to_vec(), &y.to_vec())).collect();
            correlations.sort_unstable_by(f64::total_cmp);
            figures
                .extend(correlations.get(correlations.len() / 2).map(|&median| ("median Pearson".to_owned(), median)));
            figures.extend(model.mixture().left_out_l2.map(|l2| ("L2 of left-out training doubles".to_owned(), l2)));
            figures.push(("seconds".to_owned(), seconds));
            let trial = Trial { variant: variant.to_owned(), seed, figures, failure: None };
            report(trial)?;
        }
    }
    Ok(())
}

fn mean_l2(predicted: &Array2<f32>, observed: &Array2<f32>) -> f64 {
    let rows = predicted.rows().into_iter().zip(observed.rows());
    let distances: Vec<f64> = rows.filter_map(|(p, y)| l2(&p.to_vec(), &y.to_vec())).collect();
    distances.iter().sum::<f64>() / distances.len().max(1) as f64
}

/// The variants: what is changed, and the settings.
fn variants_of_jepa(base: &JepaSettings) -> Vec<(&'static str, JepaSettings)> {
    let with = |change: &dyn Fn(&mut JepaSettings)| {
        let mut settings = base.clone();
        change(&mut settings);
        settings
    };
    // The same predictor and decoder on an embedding that phase B leaves as it is.
    let frozen = |change: &dyn Fn(&mut JepaSettings)| {
        with(&|s| {
            s.response.train_encoder = false;
            change(s);
        })
    };
    let masks = |change: &dyn Fn(&mut MaskConfig)| with(&|s| change(&mut s.encoder.masks));
    let groups = |change: &dyn Fn(&mut GroupConfig)| {
        with(&|s| {
            if let EncoderConfig::Groups(groups) = &mut s.encoder.encoder {
                change(groups);
            }
        })
    };
    let reconstruction = |s: &mut JepaSettings| {
        s.encoder.objective = Objective::Reconstruction;
        s.encoder.teacher.sees = TeacherSees::default();
    };
    let two_views = |s: &mut JepaSettings| {
        s.encoder.objective = Objective::split_views();
        s.encoder.teacher.sees = TeacherSees::default();
    };
    // Another encoder of the same size; one whose tokens have no places predicts the embedding of hidden genes.
    let size = base.encoder.encoder.places().map_or(Size::Small, |places| match places.tokens {
        0..=32 => Size::Tiny,
        33..=64 => Size::Small,
        65..=128 => Size::Medium,
        _ => Size::Large,
    });
    let encoder = |of: &dyn Fn(Size) -> PretrainingConfig| {
        with(&|s| {
            let other = of(size);
            (s.encoder.encoder, s.encoder.teacher.sees) = (other.encoder, other.teacher.sees);
        })
    };
    let genes = |value: ValueTokens| {
        encoder(&|size| PretrainingConfig {
            encoder: EncoderConfig::Genes(GeneConfig { value, ..GeneConfig::of(size) }),
            ..PretrainingConfig::genes(size)
        })
    };
    vec![
        ("as it is", base.clone()),
        ("predictor as it began", with(&|s| s.response.predictor = PredictorState::Initial)),
        ("predictor as measured", with(&|s| s.response.predictor = PredictorState::Measured)),
        ("phase A by reconstruction", with(&reconstruction)),
        ("phase A by two views", with(&two_views)),
        ("no phase A", with(&|s| s.phase = Phase::B)),
        ("encoder frozen after phase A", frozen(&|_| {})),
        ("encoder frozen after reconstruction", frozen(&reconstruction)),
        ("encoder frozen after two views", frozen(&two_views)),
        ("encoder frozen at random weights", frozen(&|s| s.phase = Phase::B)),
        ("no EMA", with(&|s| s.encoder.teacher.ema = None)),
        ("no VICReg", with(&|s| (s.response.weights.variance, s.response.weights.covariance) = (0.0, 0.0))),
        ("counts do not train the encoder", with(&|s| s.response.weights.counts_reach_encoder = false)),
        ("no energy distance", with(&|s| s.response.weights.energy = 0.0)),
        ("no decoded means", with(&|s| (s.response.weights.profile, s.response.weights.effect) = (0.0, 0.0))),
        ("no tuning", with(&|s| s.response.tuning.epochs = 0)),
        // Of size tiny's 8 groups a target is 2; here 1, and 3.
        ("masks: 10 % a target", masks(&|m| m.fraction = 0.1)),
        ("masks: 32 % a target", masks(&|m| m.fraction = 0.32)),
        ("masks: 1 target", masks(&|m| m.targets = 1)),
        ("masks: overlap 0.5", masks(&|m| m.overlap = 0.5)),
        ("random groups", groups(&|g| g.grouping = Grouping::Random)),
        ("16 groups", groups(&|g| g.groups = 16)),
        ("32 groups", groups(&|g| g.groups = 32)),
        ("cross-attention", with(&|s| s.response.conditioning = Conditioning::CrossAttention)),
        ("concatenation", with(&|s| s.response.conditioning = Conditioning::Concatenation)),
        ("random pairs", with(&|s| s.response.pairing = Pairing::Random)),
        ("transport pairs", with(&|s| s.response.pairing = Pairing::Transport)),
        ("gene tokens", encoder(&PretrainingConfig::genes)),
        ("binned gene tokens", genes(ValueTokens::Bins { levels: 16 })),
        ("ranked gene tokens", genes(ValueTokens::Ranks { levels: 16 })),
        ("Perceiver", encoder(&PretrainingConfig::tokens)),
        ("perceptron", encoder(&PretrainingConfig::mlp)),
        ("context thinned", masks(&|m| m.noise = ViewNoise::Split)),
    ]
}

/// The names of the variants of the JEPA.
pub fn names_of_jepa_variants() -> Vec<&'static str> {
    variants_of_jepa(&JepaSettings::default()).into_iter().map(|(name, _)| name).collect()
}

/// The variants of the JEPA on a split of each seed, those that are `wanted` by name and seed; `report` gets each trial when it
/// is done. A training that fails is a failed trial.
///
/// # Errors
/// Data that the split does not fit; an interruption.
pub fn ablate_jepa(
    data: &BenchmarkData,
    split: &str,
    base: &JepaSettings,
    (seeds, interrupt): (u64, Option<&Arc<AtomicBool>>),
    wanted: &dyn Fn(&str, u64) -> bool,
    report: &mut dyn FnMut(Trial) -> Result<()>,
) -> Result<()> {
    for seed in 0..seeds {
        let task = Task::of_plan(data, &SplitPlan::parse(split, seed)?, seed)?;
        task.observed.prepare();
        for (variant, settings) in variants_of_jepa(base) {
            if !wanted(variant, seed) {
                continue;
            }
            let mut model = ModelPredictor::new::<Jepa>(Jepa::KIND, &[DataKind::Cells]).with_config::<Jepa>(settings);
            if let Some(flag) = interrupt {
                model.set_interrupt(flag);
            }
            let (figures, failure) = match task.answer(&model) {
                Err(error) if error.kind() != ErrorKind::Numeric => return Err(error),
                Err(error) => (Vec::new(), Some(error.to_string())),
                Ok(answer) => {
                    let scores = measure(&task.observed, &answer.predicted, &MeasureOptions::default(), seed);
                    let mean = |name: &'static str| {
                        let values: Vec<f64> =
                            scores.rows.iter().filter(|row| row.metric == name).map(|row| row.value).collect();
                        (!values.is_empty())
                            .then(|| (name.to_owned(), values.iter().sum::<f64>() / values.len() as f64))
                    };
                    let mut figures: Vec<_> =
                        ["l2", "pearson", "edistance_plain"].into_iter().filter_map(mean).collect();
                    figures.push(("seconds".to_owned(), answer.fit_seconds));
                    (figures, None)
                }
            };
            report(Trial { variant: variant.to_owned(), seed, figures, failure })?;
        }
    }
    Ok(())
}

/// The variants: what is changed, the settings, and the epochs as a share of those given.
fn variants_of_cells(base: &PretrainingConfig) -> Vec<(&'static str, PretrainingConfig, f64)> {
    let with = |change: &dyn Fn(&mut PretrainingConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    let masked = |change: &dyn Fn(&mut PretrainingConfig)| {
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

/// Every variant on a stratified split of each seed; `report` gets each trial when it is done. A training that an
/// alarm stops counts as a failed trial.
///
/// # Errors
/// Data that cannot be trained on; an interruption.
pub fn ablate_cells(
    data: &Dataset,
    base: &PretrainingConfig,
    training: &TrainConfig,
    seeds: u64,
    interrupt: Option<&Arc<AtomicBool>>,
    report: &mut dyn FnMut(Trial) -> Result<()>,
) -> Result<()> {
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    for seed in 0..seeds {
        let split = data.split(&SplitPlan::Stratified { validation: 0.0, test: JUDGED, seed })?;
        if split.test.is_empty() {
            return Err(Error::data("there are too few cells of each perturbation to hold a fifth of them out"));
        }
        for (variant, config, share) in variants_of_cells(base) {
            let epochs = ((training.epochs as f64 * share).round() as usize).max(1);
            let training = TrainConfig { seed, epochs, ..training.clone() };
            let mut options = Run { progress: Progress::Silent, interrupt: interrupt.cloned(), ..Run::default() };
            let start = Instant::now();
            let mut model = Pretraining::new(data, &split, config, seed)?;
            let fitted = model.fit_with(data, &split, &training, &mut options);
            let seconds = start.elapsed().as_secs_f64();
            let (figures, failure) = match fitted {
                Err(error) if error.kind() != ErrorKind::Numeric => return Err(error),
                Err(error) => (Vec::new(), Some(error.to_string())),
                Ok(_) => {
                    let z = model.embed_rows(data, &rows, Reader::Student)?;
                    let probe = ProbeConfig::default();
                    let found =
                        compare_embeddings(&[("z", z.view())], &data.labels, &split.train, &split.test, &probe)?;
                    let score = &found.scores[0];
                    let figures = [
                        ("probe accuracy", score.accuracy),
                        ("balanced accuracy", score.balanced_accuracy),
                        ("kNN purity", score.purity),
                        ("effective rank", effective_rank(z.view())),
                        ("seconds", seconds),
                    ];
                    (figures.map(|(name, value): (&str, f64)| (name.to_owned(), value)).into(), None)
                }
            };
            let trial = Trial { variant: variant.to_owned(), seed, figures, failure };
            report(trial)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use std::collections::HashSet;

    #[test]
    fn every_variant_of_the_jepa_is_valid_and_another_model() {
        let mut seen = HashSet::new();
        for (name, settings) in variants_of_jepa(&JepaSettings::preset(Size::Tiny)) {
            settings.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
            // What phase A hides is a whole number of places.
            let places = settings.encoder.encoder.places().map_or(0, |places| places.places);
            let hidden = (settings.encoder.masks.fraction * places as f64).round();
            let mut rest = settings.clone();
            rest.encoder.masks.fraction = 0.2;
            let rest = serde_json::to_string(&rest).expect("settings always serialise");
            assert!(seen.insert((hidden as usize, rest)), "{name} is the same as another variant");
        }
    }
}
