//! What is each part of a model good for? The model with one thing changed at a time, over several seeds.
//!
//! | model | data | judged by |
//! |---|---|---|
//! | the combination model | effects | unseen doubles: L2, its ratio to additive, median Pearson |
//! | the JEPA | cells | unseen doubles (or another split): L2, Pearson, plain E-distance |
//! | pretraining alone, of a perceptron | cells | held-out cells: linear probe, kNN purity, effective rank |
//!
//! [`compare_generators`] trains generators of expression and judges the cells that they draw. [`scale_jepa`] changes the size of the JEPA and the number of training cells instead, at equal compute.
//!
//! A seed draws the split, the weights and the training. All variants are compared over the same seeds, and where conditions are
//! judged one by one ([`Trial::scores`]), on the same conditions: [`Ablation::differences`].

mod differences;
mod generators;
mod modules;
mod scaling;
mod variants;

pub use generators::{GeneratorStudy, compare_generators, evaluations_figure};
pub use modules::{MaskModules, option_of_jepa_variant};
pub use scaling::{ScalingPoint, scale_jepa};
pub use variants::{UNCHANGED, names_of_jepa_variants};

use super::{BenchmarkData, MeasureOptions, ObservedEffects, Row, Task, measure};
use crate::{
    Error, ErrorKind, Result,
    data::{DataKind, Dataset, SplitPlan},
    eval::{ProbeConfig, compare_embeddings, l2, pearson},
    model::{
        Model,
        combination::{CombinationConfig, CombinationModel},
        jepa::{Jepa, JepaSettings, Pretraining, PretrainingConfig, Reader, effective_rank},
    },
    predict::{Fitted, ModelPredictor, Predictor},
    train::{Progress, Run, TrainConfig},
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::{
    any::Any,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};
use variants::{variants_of_cells, variants_of_effects, variants_of_jepa};

/// Part of each perturbation's cells that is judged.
const JUDGED: f64 = 0.2;
/// What the JEPA is judged by.
const METRICS: [&str; 3] = ["l2", "pearson", "edistance_plain"];

/// One variant on one seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was changed.
    pub variant: String,
    /// Of split, weights and training.
    pub seed: u64,
    /// Name and value of each figure, in the order of the table; none where the training failed.
    pub figures: Vec<(String, f64)>,
    /// Why there are none: a collapse, most likely.
    pub failure: Option<String>,
    /// The scores of each judged condition, with the variant as their model; none where conditions are not judged one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<Row>,
    /// Genes of the smallest, the median and the largest token of a JEPA; `None` where tokens are not of fixed genes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sizes: Option<[usize; 3]>,
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
        let text = std::fs::read(file).map_err(|e| Error::io("read", file, e))?;
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
            let scores = scores_of_effects((variant, seed), observed, &predicted);
            report(Trial { variant: variant.to_owned(), seed, figures, scores, ..Trial::default() })?;
        }
    }
    Ok(())
}

/// L2 and Pearson correlation of each predicted effect `(conditions, genes)`.
fn scores_of_effects((variant, seed): (&str, u64), observed: &ObservedEffects, predicted: &Array2<f32>) -> Vec<Row> {
    let mut rows = Vec::new();
    let pairs = predicted.rows().into_iter().zip(observed.effects.rows());
    for (condition, (predicted, observed)) in observed.conditions.iter().zip(pairs) {
        let (predicted, observed) = (predicted.to_vec(), observed.to_vec());
        for (metric, value) in [("l2", l2(&predicted, &observed)), ("pearson", pearson(&predicted, &observed))] {
            let row = |value| Row {
                seed,
                model: variant.to_owned(),
                perturbation: condition.to_string(),
                metric: metric.to_owned(),
                value,
            };
            rows.extend(value.filter(|value| value.is_finite()).map(row));
        }
    }
    rows
}

fn mean_l2(predicted: &Array2<f32>, observed: &Array2<f32>) -> f64 {
    let rows = predicted.rows().into_iter().zip(observed.rows());
    let distances: Vec<f64> = rows.filter_map(|(p, y)| l2(&p.to_vec(), &y.to_vec())).collect();
    distances.iter().sum::<f64>() / distances.len().max(1) as f64
}

/// The variants of the JEPA, with masks by the `modules` that there are, on a split of each seed, those that are `wanted` by name and
/// seed; `report` gets each trial when it is done. A training that fails is a failed trial.
///
/// # Errors
/// Data that the split does not fit; an interruption.
pub fn ablate_jepa(
    data: &BenchmarkData,
    split: &str,
    (base, modules): (&JepaSettings, &MaskModules),
    (seeds, interrupt): (u64, Option<&Arc<AtomicBool>>),
    wanted: &dyn Fn(&str, u64) -> bool,
    report: &mut dyn FnMut(Trial) -> Result<()>,
) -> Result<()> {
    for seed in 0..seeds {
        let task = Task::of_plan(data, &SplitPlan::parse(split, seed)?, seed)?;
        task.observed.prepare();
        for (variant, settings) in variants_of_jepa(base, modules) {
            if !wanted(variant, seed) {
                continue;
            }
            report(judged(&task, variant, settings, (seed, interrupt))?)?;
        }
    }
    Ok(())
}

/// Trains a JEPA and judges it. A training that collapses is a failed trial.
fn judged(
    task: &Task,
    variant: &str,
    settings: JepaSettings,
    (seed, interrupt): (u64, Option<&Arc<AtomicBool>>),
) -> Result<Trial> {
    let mut model = ModelPredictor::new::<Jepa>(Jepa::KIND, &[DataKind::Cells]).with_config::<Jepa>(settings);
    if let Some(flag) = interrupt {
        model.set_interrupt(flag);
    }
    let mut trial = Trial { variant: variant.to_owned(), seed, ..Trial::default() };
    match task.answer_and(&model, |fitted| Ok(token_sizes(fitted))) {
        Err(error) if error.kind() != ErrorKind::Numeric => return Err(error),
        Err(error) => trial.failure = Some(error.to_string()),
        // Where no condition has a prediction, each has the reason.
        Ok((answer, _)) if answer.predicted.effects.iter().all(Result::is_err) => {
            trial.failure = answer.predicted.effects.into_iter().find_map(Result::err);
        }
        Ok((answer, sizes)) => {
            let scores = measure(&task.observed, &answer.predicted, &MeasureOptions::default(), seed);
            let mean = |name: &'static str| {
                let values: Vec<f64> =
                    scores.rows.iter().filter(|row| row.metric == name).map(|row| row.value).collect();
                (!values.is_empty()).then(|| (name.to_owned(), values.iter().sum::<f64>() / values.len() as f64))
            };
            trial.figures = METRICS.into_iter().filter_map(mean).collect();
            trial.figures.push(("seconds".to_owned(), answer.fit_seconds));
            trial.token_sizes = sizes.flatten();
            let judged = scores.rows.into_iter().filter(|row| METRICS.contains(&row.metric.as_str()));
            trial.scores = judged.map(|row| Row { model: variant.to_owned(), ..row }).collect();
        }
    }
    Ok(trial)
}

/// Genes of the smallest, the median and the largest token of a JEPA.
fn token_sizes(fitted: &dyn Fitted) -> Option<[usize; 3]> {
    let model: &dyn Any = fitted.model()?;
    let mut sizes = model.downcast_ref::<Jepa>()?.token_sizes()?;
    sizes.sort_unstable();
    Some([*sizes.first()?, sizes[sizes.len() / 2], *sizes.last()?])
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
            let fitted = match share > 0.0 {
                true => model.fit_with(data, &split, &training, &mut options).map(drop),
                false => Ok(()),
            };
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
            report(Trial { variant: variant.to_owned(), seed, figures, failure, ..Trial::default() })?;
        }
    }
    Ok(())
}
