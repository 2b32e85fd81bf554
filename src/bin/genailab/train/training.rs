//! A training and what is measured at its end, on cells or on effects.

use super::{Args, embedding_report};
use crate::{
    contexts::check_controls,
    options::{Fractions, interrupt_flag, say, say_division},
    output::OutputFolder,
};
use genailab::{
    Result,
    bench::{evaluate_effects, evaluate_metadata},
    data::{Condition, ContextColumns, Dataset, Effects, Split, SplitPlan, TrainingData},
    model::{
        Trained,
        registry::{Family, Settings},
    },
    ndarray::{Array2, Axis},
    train::Run,
};
use rand::{SeedableRng, seq::SliceRandom};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc};

/// Draws behind the expected error of a predicted effect.
const DRAWS: usize = 100;

/// A training about to begin.
pub struct Training<'a> {
    pub args: &'a Args,
    pub family: &'a dyn Family,
    pub settings: Box<dyn Settings>,
    pub split: Fractions,
    pub seed: u64,
    pub out: OutputFolder,
}

impl Training<'_> {
    fn run(&self) -> Result<Run<'static>> {
        Ok(Run {
            seed: self.seed,
            device: self.args.device,
            dir: Some(self.out.to_owned()),
            resume: self.args.resume,
            interrupt: Some(interrupt_flag()),
            ..Run::default()
        })
    }

    /// Trains on cells, and gives the content of metrics.json.
    pub fn on_cells(&self, data: Dataset) -> Result<Value> {
        let Fractions { validation, test } = self.split;
        let split = match self.settings.divide(&data, self.split.held_out(), self.seed)? {
            Some(split) => split,
            None => data.split(&SplitPlan::Stratified { validation, test, seed: self.seed })?,
        };
        let report = match self.settings.encoder_alone() {
            true => Some(embedding_report::Prepared::new(self.args, &data, &split)?),
            false => None,
        };
        say(format_args!(
            "{} cells x {} genes, {} perturbations; {} cells to train on, {} to validate on, {} held out",
            data.n_cells(),
            data.n_genes(),
            data.perturbations.len(),
            split.train.len(),
            split.validation.len(),
            split.test.len()
        ))?;
        self.args.check_covariates(&data)?;
        let data = Arc::new(data);
        let columns = ContextColumns::new(self.args.context.iter().cloned()).map_err(|e| e.at("--context"))?;
        let training =
            TrainingData::in_columns(Arc::clone(&data), columns, &split, self.seed).map_err(|e| e.at("--context"))?;
        if let (Some(cells), true) = (&training.cells, self.family.combines_contexts()) {
            check_controls(cells)?;
        }
        let (model, history) = self.settings.train(&training, &mut self.run()?)?;
        split.save(self.out.join("split.json"))?;
        model.notes().iter().try_for_each(say)?;
        if let Some(report) = report {
            let facts = embedding_report::Facts {
                source: self.args.data.display().to_string(),
                data: &data,
                split: &split,
                model: model.as_ref(),
                settings: self.settings.to_json(),
                history: &history,
            };
            return report.write(&facts, &self.out);
        }
        if let (Some(known), false) = (model.metadata_model(), split.test.is_empty()) {
            let evaluation = evaluate_metadata(known, &data, &split)?;
            say(evaluation.to_grid())?;
            evaluation.notes().iter().try_for_each(say)?;
            return Ok(json!({ "test": evaluation, "chosen": model.choices() }));
        }
        let score = |rows: &[usize]| match rows.is_empty() {
            true => Ok(None),
            false => model.held_out(&data, rows, self.seed),
        };
        let (validation, test) = (score(&split.validation)?, score(&split.test)?);
        test.iter().try_for_each(|test| say(&test.line))?;
        let best = history.best().map(|record| record.monitored_loss());
        Ok(json!({
            "validation": validation.map(|score| score.json),
            "test": test.map(|score| score.json),
            "best_validation_loss": best,
            "chosen": model.choices(),
        }))
    }

    /// The same with mean effects.
    pub fn on_effects(&self, data: &Effects) -> Result<Value> {
        let split = split_effects(data, self.split, self.seed);
        say_division(data, &split)?;
        let training = TrainingData::of_effects(data, &split, self.seed)?;
        let (model, _) = self.settings.train(&training, &mut self.run()?)?;
        split.save(self.out.join("split.json"))?;
        model.notes().iter().try_for_each(say)?;
        let predict = |perturbations: &[_]| {
            let conditions: Vec<Condition> = perturbations.iter().cloned().map(Condition::of).collect();
            Ok(model.effects(&conditions)?.mapv(|value| value as f32))
        };
        let scores = evaluate_effects(self.family.kind(), data, &split.test, predict)?;
        scores.iter().flatten().try_for_each(say)?;
        let expected = match model.abilities().effect_draws {
            true => expected_errors(model.as_ref(), data, &split)?,
            false => Value::Null,
        };
        Ok(json!({ "chosen": model.choices(), "test": scores, "expected_error": expected }))
    }
}

/// How far each held-out effect is expected to be off, root mean square over genes of the deviation of its draws.
fn expected_errors(model: &dyn Trained, data: &Effects, split: &Split) -> Result<Value> {
    let mut errors = serde_json::Map::new();
    for &row in &split.test {
        let condition = Condition::of(data.perturbations[row].clone());
        let draws: Array2<f64> = model.effect_draws(&condition, DRAWS, 0)?;
        let error = draws.var_axis(Axis(0), 0.0).mean().unwrap_or(0.0).sqrt();
        errors.insert(condition.to_string(), json!(error));
    }
    Ok(Value::Object(errors))
}

/// Only perturbations whose genes are in the training part can be judged, so doubles are held out. A double with a gene that
/// is in no other perturbation cannot be predicted; it is trained on instead.
pub fn split_effects(data: &Effects, fractions: Fractions, seed: u64) -> Split {
    let genes = |row: usize| data.perturbations[row].genes();
    let mut doubles: Vec<usize> = (0..data.perturbations.len()).filter(|&row| genes(row).len() > 1).collect();
    doubles.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
    let count = |fraction: f64| (fraction * doubles.len() as f64).round() as usize;
    let (n_validation, n_test) = (count(fractions.validation), count(fractions.test));
    let held_out = &doubles[..(n_validation + n_test).min(doubles.len())];
    let mut train: Vec<usize> = (0..data.perturbations.len()).filter(|row| !held_out.contains(row)).collect();
    let known: HashSet<&String> = train.iter().flat_map(|&row| genes(row)).collect();
    let (judged, unknown): (Vec<usize>, Vec<usize>) =
        held_out.iter().partition(|&&row| genes(row).iter().all(|gene| known.contains(gene)));
    train.extend(&unknown);
    train.sort_unstable();
    let (validation, test) = judged.split_at(n_validation.min(judged.len()));
    Split { train, validation: validation.to_vec(), test: test.to_vec() }
}
