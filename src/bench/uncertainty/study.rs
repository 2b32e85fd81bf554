//! A model that draws cells or mean effects, judged on the held-out conditions of a task.

use super::{
    CellCalibration, GaussianReference, LEVELS, MeanCalibration, NextExperiment, Opponent, judge_cells, judge_means,
    next::next,
};
use crate::{
    Error, ErrorKind, Result,
    bench::{MOST_CELLS, Task},
    data::{Condition, Truth, mean_expression},
    eval::{
        calibration::{calibration_error, selective_curve},
        pearson,
        sets::subsample,
        spearman,
    },
    math::seeds::derived,
    model::{
        Sampling, Trained,
        latent_diffusion::{Draw, EffectDiffusion, LatentDiffusion, LeftOut, Library, Novelty, Spread, SpreadConfig},
    },
    predict::fitted,
    train::Run,
};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The name of the opponent that has the mean of the drawn cells and the spread of control cells.
pub const SHIFTED_CONTROL: &str = "control cells shifted by the drawn mean";
/// That of the decoder alone.
const DECODED_NOISE: &str = "decoder fed with noise";
/// Draws of a mean effect.
const DRAWS: usize = 100;
/// Purpose of the random streams that cells are drawn with, one per condition.
const CELL_DRAWS: u64 = 1;
/// Cells drawn of a condition.
const CELLS: usize = 500;
/// Cells drawn to know variances of counts.
const COUNTED: usize = 1000;

/// The results of one held-out condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyRow {
    /// Its name.
    pub condition: String,
    /// Whether it was trained on, with other cells.
    pub seen: bool,
    /// How drawn cells compare with held-out cells; none for an effects dataset, or with fewer than four cells.
    pub cells: Option<CellCalibration>,
    /// How drawn means compare with the held-out effect; none where the mean was measured or no spread is known.
    pub means: Option<MeanCalibration>,
    /// Pearson correlation over genes of the predicted variance of counts with the simulation's true one.
    pub true_variance: Option<f64>,
}

/// A model that draws cells or mean effects, judged on a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// One row per held-out condition.
    pub rows: Vec<StudyRow>,
    /// Perturbations that were not measured, the most informative experiment first.
    pub next: Vec<NextExperiment>,
    /// What could not be judged, and why.
    pub notes: Vec<String>,
}

/// Means over the judged conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudySummary {
    /// Conditions that it is the mean over.
    pub n: usize,
    /// Share of held-out values inside the central interval of each of [`LEVELS`].
    pub coverage: Vec<f64>,
    /// Mean distance of the coverage from its level.
    pub calibration_error: f64,
    /// CRPS of the draws, of a point at the prediction, of a normal distribution around it.
    pub crps: [f64; 3],
}

impl Study {
    /// Judges a model of effects on the held-out conditions of a task.
    ///
    /// # Errors
    /// A draw that is not finite.
    pub fn of_effects(model: &EffectDiffusion, task: &Task) -> Result<Self> {
        let mut study = Self { rows: Vec::new(), next: Vec::new(), notes: Vec::new() };
        for (condition, observed) in task.observed.conditions.iter().zip(task.observed.effects.rows()) {
            let draws = model.draws(condition, DRAWS, task.training.seed);
            let predicted = match model.mean().effect(condition) {
                Ok(predicted) => predicted,
                Err(error) if error.kind() == ErrorKind::Inapplicable => {
                    study.note(condition, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let observed = observed.mapv(f64::from);
            let deviation = model.spread().deviation();
            let judge = |draws: &Array2<f64>| judge_means(&observed, &predicted, draws, deviation, task.training.seed);
            let means = study.means(condition, draws, judge)?;
            study.rows.push(StudyRow {
                condition: condition.to_string(),
                seen: false,
                cells: None,
                means,
                true_variance: None,
            });
        }
        study.next = next(model.mean(), Ok(model.spread()), task)?;
        Ok(study)
    }

    /// Judges a model of cells on the held-out cells of a task; `truth` is that of simulated cells.
    ///
    /// # Errors
    /// A task without cells; a draw that is not finite.
    pub fn of_cells(model: &LatentDiffusion, task: &Task, truth: Option<&Truth>) -> Result<Self> {
        Self::of_cells_while(model, task, truth, &|| Ok(()))
    }

    /// The same, as long as `go_on`, which is asked before each condition, says so.
    ///
    /// # Errors
    /// As [`Self::of_cells`], and what `go_on` says.
    pub fn of_cells_while(
        model: &LatentDiffusion,
        task: &Task,
        truth: Option<&Truth>,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let controls = task.observed.controls.as_ref().ok_or_else(no_cells)?;
        let seed = task.training.seed;
        let mut study = Self { rows: Vec::new(), next: Vec::new(), notes: Vec::new() };
        for (index, condition) in task.observed.conditions.iter().enumerate() {
            go_on()?;
            let draw = Draw { cells: CELLS, ..Draw::default() };
            let drawn = match model.sample(condition, draw, derived(seed, CELL_DRAWS, index as u64)) {
                Ok(drawn) => drawn.log_normalised(),
                Err(error) if error.kind() == ErrorKind::Inapplicable => {
                    study.note(condition, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let seen = model.novelty(condition).is_none();
            // What the combination model alone says; for a condition that was trained on, its measured mean.
            let control = controls.row(index).mapv(f64::from);
            let predicted =
                match task.training.effects()?.effect_of(&condition.perturbation, condition.context.as_deref()) {
                    Some(effect) if seen => effect.mapv(f64::from),
                    _ => model.mean().effect(condition)?,
                };
            let judged = study.judged(task, index, &drawn, &control + &predicted, None)?;
            let means = match model.spread() {
                _ if seen => None,
                Err(reason) => {
                    study.notes.push(format!("{condition}: {reason}"));
                    None
                }
                Ok(spread) => {
                    let observed = task.observed.effects.row(index).mapv(f64::from);
                    let draws = model.mean_draws(condition, DRAWS, seed);
                    study.means(condition, draws, |draws| {
                        judge_means(&observed, &predicted, draws, spread.deviation(), seed)
                    })?
                }
            };
            let true_variance = truth.map(|truth| true_variance(model, condition, truth, seed)).transpose()?.flatten();
            study.rows.push(StudyRow { condition: condition.to_string(), seen, cells: judged, means, true_variance });
        }
        study.next = next(model.mean(), model.spread(), task)?;
        Ok(study)
    }

    /// Judges the cells of any model on the held-out cells of a task, and the mean effects of combinations, where the model
    /// was not trained on combinations: their spread is learned from what it misses of the training combinations.
    ///
    /// # Errors
    /// A task without cells; a draw that is not finite; what `go_on`, asked before each condition, says.
    pub fn of_model(model: Box<dyn Trained>, task: &Task, go_on: &dyn Fn() -> Result<()>) -> Result<Self> {
        let (Some(cells), Some(controls)) = (&task.observed.cells, &task.observed.controls) else {
            return Err(no_cells());
        };
        let seed = task.training.seed;
        let trained_on: HashSet<&Condition> = task.training.effects()?.conditions.iter().collect();
        let mut study = Self { rows: Vec::new(), next: Vec::new(), notes: Vec::new() };
        let unseen =
            |condition: &&Condition| condition.perturbation.genes().len() > 1 && !trained_on.contains(*condition);
        let combination = task.observed.conditions.iter().find(unseen);
        let spread = match combination {
            Some(_) => spread_of_combinations(model.without_combinations(), task)?,
            None => Err("no combination is judged that was not trained on".to_owned()),
        };
        let fitted = fitted(model, &task.training)?;
        let Some(model) = fitted.model() else { unreachable!("it was made of a model") };
        if let (Err(reason), Some(_)) = (&spread, combination) {
            study.notes.push(format!("mean effects: {reason}"));
        }
        for (index, condition) in task.observed.conditions.iter().enumerate() {
            go_on()?;
            let sampling = Sampling::new(CELLS, derived(seed, CELL_DRAWS, index as u64));
            let drawn = match model.cells(condition, &sampling) {
                Ok(drawn) => drawn.log_normalised(),
                Err(error) if error.kind() == ErrorKind::Inapplicable => {
                    study.note(condition, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let noise = match model.cells_of_noise(condition, &sampling) {
                Ok(noise) => Some(noise.log_normalised()),
                Err(error) if error.kind() == ErrorKind::Inapplicable => None,
                Err(error) => return Err(error),
            };
            let control = mean_expression(&cells.expression, &cells.control_rows[index]).mapv(f64::from);
            let centre = controls.row(index).mapv(f64::from) + &(mean(&drawn) - control);
            let judged = study.judged(task, index, &drawn, centre, noise)?;
            let seen = trained_on.contains(condition);
            let several = condition.perturbation.genes().len() > 1;
            let means = match spread.as_ref().ok().filter(|_| several && !seen) {
                None => None,
                Some(spread) => {
                    let effect = fitted.effect(condition)?.mapv(f64::from);
                    let observed = task.observed.effects.row(index).mapv(f64::from);
                    let draws = spread.draws(effect.view(), Novelty::Combination, DRAWS, seed);
                    study.means(condition, draws, |draws| {
                        judge_means(&observed, &effect, draws, spread.deviation(), seed)
                    })?
                }
            };
            let condition = condition.to_string();
            study.rows.push(StudyRow { condition, seen, cells: judged, means, true_variance: None });
        }
        Ok(study)
    }

    /// Judges the cells drawn of the condition of this index beside a point at the predicted mean `(genes,)`, shifted control
    /// cells and decoded noise, or notes why it cannot.
    fn judged(
        &mut self,
        task: &Task,
        index: usize,
        drawn: &Array2<f32>,
        mean: Array1<f64>,
        noise: Option<Array2<f32>>,
    ) -> Result<Option<CellCalibration>> {
        let cells = task.observed.cells.as_ref().ok_or_else(no_cells)?;
        let (space, seed) = (cells.space.pca(&cells.expression)?, task.training.seed);
        // A screen may have tens of thousands of them, and here they are dense.
        let control = subsample(&cells.control_rows[index], MOST_CELLS, seed);
        let control = cells.expression.select_cells(&control).to_dense();
        let deviation = control.mapv(f64::from).var_axis(Axis(0), 0.0).mapv(f64::sqrt);
        let observed = cells.expression.select_cells(&cells.rows[index]).to_dense();
        let mut opponents = vec![(SHIFTED_CONTROL, shifted(&control, drawn))];
        opponents.extend(noise.map(|noise| (DECODED_NOISE, noise)));
        let judged = judge_cells(&observed, drawn, &GaussianReference { mean, deviation }, space, seed)
            .map(|judged| judged.beside((&observed, drawn), &control, &opponents, space, seed));
        if judged.is_none() {
            self.notes.push(format!("{}: fewer than four held-out cells", task.observed.conditions[index]));
        }
        Ok(judged)
    }

    /// Judges drawn means, or notes why there are none.
    fn means(
        &mut self,
        condition: &Condition,
        draws: Result<Array2<f64>>,
        judge: impl FnOnce(&Array2<f64>) -> Option<MeanCalibration>,
    ) -> Result<Option<MeanCalibration>> {
        match draws {
            Ok(draws) => Ok(judge(&draws)),
            Err(error) if error.kind() == ErrorKind::Inapplicable => {
                self.note(condition, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn note(&mut self, condition: &Condition, error: &Error) {
        self.notes.push(format!("{condition}: {error}"));
    }

    /// Cells of conditions that were trained on (`seen`) or were not; `None` where no such condition was judged.
    pub fn cells(&self, seen: bool) -> Option<StudySummary> {
        let rows: Vec<&CellCalibration> =
            self.rows.iter().filter(|row| row.seen == seen).filter_map(|row| row.cells.as_ref()).collect();
        summary(rows.iter().map(|row| (&row.coverage, [row.crps, row.crps_point, row.crps_gaussian])))
    }

    /// Mean effects; `None` where none was judged.
    pub fn effects(&self) -> Option<StudySummary> {
        let rows = self.rows.iter().filter_map(|row| row.means.as_ref());
        summary(rows.map(|row| (&row.coverage, [row.crps, row.crps_point, row.crps_gaussian])))
    }

    /// Each opponent of the drawn cells of conditions that were trained on (`seen`) or were not: means over conditions.
    pub fn opponents(&self, seen: bool) -> Vec<Opponent> {
        let rows = || self.rows.iter().filter(|row| row.seen == seen).filter_map(|row| row.cells.as_ref());
        let mut names: Vec<&str> = Vec::new();
        for opponent in rows().flat_map(|cells| &cells.opponents) {
            if !names.contains(&opponent.name.as_str()) {
                names.push(&opponent.name);
            }
        }
        let mean = |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let of = |name: &str| {
            let all = || rows().flat_map(|cells| &cells.opponents).filter(|opponent| opponent.name == name);
            let crps = mean(all().map(|opponent| opponent.crps).collect()).expect("at least one has this name");
            let e_distance = mean(all().filter_map(|opponent| opponent.e_distance).collect());
            Opponent { name: name.to_owned(), crps, e_distance }
        };
        names.into_iter().map(of).collect()
    }

    /// The mean of a quantity over the conditions that have it, of those trained on or of the others.
    pub fn mean(&self, seen: bool, of: impl Fn(&StudyRow) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.rows.iter().filter(|row| row.seen == seen).filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Mean error of the most certain share of the predictions, for every share, as `(share, error)`: does it fall when the
    /// least certain ones are left out? `None` for fewer than two.
    pub fn selective(&self) -> Option<Vec<(f64, f64)>> {
        let rows: Vec<&MeanCalibration> = self.rows.iter().filter_map(|row| row.means.as_ref()).collect();
        let of = |value: fn(&MeanCalibration) -> f64| rows.iter().map(|row| value(row)).collect::<Vec<f64>>();
        (rows.len() > 1).then(|| selective_curve(&of(|row| row.error), &of(|row| row.expected_error))).flatten()
    }

    /// Spearman correlation over conditions of the expected with the actual error.
    pub fn error_correlation(&self) -> Option<f64> {
        let rows: Vec<&MeanCalibration> = self.rows.iter().filter_map(|row| row.means.as_ref()).collect();
        let of = |value: fn(&MeanCalibration) -> f64| rows.iter().map(|row| value(row) as f32).collect::<Vec<f32>>();
        spearman(&of(|row| row.expected_error), &of(|row| row.error))
    }
}

fn no_cells() -> Error {
    Error::inapplicable("the task has no cells to judge drawn cells by")
}

/// The spread of mean effects around predictions of combinations, learned from what a model without them misses of the training
/// combinations; or why there is none.
fn spread_of_combinations(model: Option<Box<dyn Trained>>, task: &Task) -> Result<Result<Spread, String>> {
    let Some(model) = model else {
        return Ok(Err("the model was trained on the training combinations, so that they tell no spread".to_owned()));
    };
    let fitted = fitted(model, &task.training)?;
    let observed = task.training.effects()?;
    let genes = observed.effects.ncols();
    let mut left =
        LeftOut { novelty: Vec::new(), predicted: Array2::zeros((0, genes)), residuals: Array2::zeros((0, genes)) };
    for (condition, effect) in observed.conditions.iter().zip(observed.effects.rows()) {
        if condition.perturbation.genes().len() < 2 {
            continue;
        }
        let predicted = match fitted.effect(condition) {
            Ok(predicted) => predicted.mapv(f64::from),
            Err(error) if error.kind() == ErrorKind::Inapplicable => continue,
            Err(error) => return Err(error),
        };
        let residual = effect.mapv(f64::from) - &predicted;
        left.novelty.push(Novelty::Combination);
        left.predicted.push_row(predicted.view()).expect("a value a gene");
        left.residuals.push_row(residual.view()).expect("a value a gene");
    }
    match Spread::fit(&left, &SpreadConfig::default(), task.training.seed, &mut Run::quiet(task.training.seed)) {
        Ok((spread, _)) => Ok(Ok(spread)),
        Err(error) if error.kind() == ErrorKind::Inapplicable => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Mean of each gene over cells.
fn mean(cells: &Array2<f32>) -> Array1<f64> {
    let mut sum = Array1::zeros(cells.ncols());
    cells.rows().into_iter().for_each(|cell| sum.zip_mut_with(&cell, |sum, &value| *sum += f64::from(value)));
    sum / cells.nrows().max(1) as f64
}

/// Control cells moved so that their mean is that of the drawn cells: the same mean with no change of the spread. They are not
/// cut off at 0, which would move the mean.
fn shifted(control: &Array2<f32>, drawn: &Array2<f32>) -> Array2<f32> {
    control + &(mean(drawn) - mean(control)).mapv(|v| v as f32)
}

/// Means over conditions.
fn summary<'a>(rows: impl Iterator<Item = (&'a Vec<f64>, [f64; 3])>) -> Option<StudySummary> {
    let (mut n, mut coverage, mut crps) = (0_usize, vec![0.0; LEVELS.len()], [0.0; 3]);
    for (covered, scores) in rows {
        coverage.iter_mut().zip(covered).for_each(|(sum, value)| *sum += value);
        crps.iter_mut().zip(scores).for_each(|(sum, value)| *sum += value);
        n += 1;
    }
    if n == 0 {
        return None;
    }
    coverage.iter_mut().for_each(|sum| *sum /= n as f64);
    crps.iter_mut().for_each(|sum| *sum /= n as f64);
    let calibration_error = calibration_error(&LEVELS, &coverage)?;
    Some(StudySummary { n, coverage, calibration_error, crps })
}

/// Correlation over genes of the variance of drawn counts at the truth's library size with the true one.
fn true_variance(model: &LatentDiffusion, condition: &Condition, truth: &Truth, seed: u64) -> Result<Option<f64>> {
    let Some(row) = truth.perturbations.iter().position(|known| *known == condition.perturbation) else {
        return Ok(None);
    };
    let draw = Draw { cells: COUNTED, library: Library::Given(truth.library_size), ..Draw::default() };
    let drawn = model.sample(condition, draw, seed)?;
    if !drawn.are_counts {
        return Ok(None);
    }
    let truth = truth.select_genes(&model.vae().vocabulary().genes)?;
    let predicted = drawn.values.mapv(f64::from).var_axis(Axis(0), 1.0).mapv(|v| v as f32);
    Ok(pearson(&predicted.to_vec(), &truth.variances.row(row).to_vec()))
}
