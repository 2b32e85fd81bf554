//! `genailab train --model jepa`: the JEPA of mean effects.

use super::{Args, split_effects, write_json};
use crate::options::{Fractions, OutputFolder, interrupt_flag, read_toml, say};
use genailab::data::EffectTable;
use genailab::{
    Error, ErrorKind, Result,
    bench::evaluate_effects,
    data::{Condition, Effects, Opened},
    model::combination::{CombinationConfig, CombinationModel},
    train::{History, Run},
};
use serde::Deserialize;
use serde_json::json;

/// A configuration file: every key may be left out, an unknown one is refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    model: CombinationConfig,
    split: Fractions,
}

impl Config {
    fn validate(&self) -> Result<()> {
        self.split.validate()?;
        self.model.validate()?;
        self.model.training.validate()
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.device.check()?;
    if args.resume {
        return Err(Error::config("the JEPA of mean effects trains in seconds and is not resumed; leave out --resume"));
    }
    let mut config =
        args.config.as_deref().map(|path| read_toml(path, Config::validate)).transpose()?.unwrap_or_default();
    config.model.training.epochs = args.epochs.unwrap_or(config.model.training.epochs);
    let seed = args.seed.unwrap_or(config.model.training.seed);
    config.validate()?;
    let data = match args.columns.open(&args.data)? {
        Opened::Effects(data) => data,
        Opened::Cells(cells) => {
            say("a dataset of cells: trained on the mean effect of each perturbation")?;
            Effects::of_cells(&cells).map_err(|e| e.at(args.data.display()))?
        }
    };
    let out = OutputFolder::new(&args.out)?;
    let split = split_effects(&data, config.split, seed);
    say(format_args!(
        "{} perturbations x {} genes; {} to train on, {} doubles held out",
        data.perturbations.len(),
        data.genes.len(),
        split.train.len() + split.validation.len(),
        split.test.len()
    ))?;
    // Its settings are chosen by folds of the training part, so that what others watch is trained on.
    let mut rows = [split.train.clone(), split.validation.clone()].concat();
    rows.sort_unstable();
    let options = Run { dir: Some(out.to_owned()), interrupt: Some(interrupt_flag()?), ..Run::default() };
    let fit = CombinationModel::fit_with(&EffectTable::of_effects(&data, &rows), &config.model, seed, &options);
    let model = fit.map_err(|e| match e.kind() {
        ErrorKind::Data => e.at(args.data.display()),
        // A member cannot be gone on with, whatever it left in its folder.
        ErrorKind::Interrupted => Error::new(
            ErrorKind::Interrupted,
            "interrupted; no model is kept: the same command begins anew, and takes seconds",
        ),
        _ => e,
    })?;
    model.save(&out)?;
    History::mean(model.history()).write(&out.join("history.jsonl"))?;
    split.save(out.join("split.json"))?;
    let mixture = model.mixture();
    match (mixture.start_l2, mixture.left_out_l2) {
        (Some(start), Some(l2)) => say(format_args!(
            "left-out training combinations: L2 {start:.3} of the scaled sum, {l2:.3} with {:.0} % of the remembered and \
             {:.0} % of the decoded departure",
            100.0 * mixture.remembered,
            100.0 * mixture.decoded
        ))?,
        _ => say("too few combinations to learn a departure from: predictions of combinations are the scaled sum")?,
    }
    let predict = |asked: &[_]| {
        let asked: Vec<Condition> = asked.iter().cloned().map(Condition::of).collect();
        Ok(model.effects(&asked)?.mapv(|value| value as f32))
    };
    let scores = evaluate_effects("jepa", &data, &split.test, predict)?;
    for evaluation in scores.iter().flatten() {
        say(evaluation)?;
    }
    let chosen = json!({ "mixture": mixture, "unseen_genes": model.unseen() });
    write_json(&out.join("metrics.json"), &json!({ "chosen": chosen, "test": scores }))?;
    say(format_args!("model: {}", out.display()))
}
