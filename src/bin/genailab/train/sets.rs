//! `genailab train --model jepa-sets` and `jepa-pairs`: levels 1 and 2 of the JEPA, on cells.

use super::{Args, write_json};
use crate::options::{Fractions, OutputFolder, read_toml, say};
use genailab::{
    Error, ErrorKind, Result,
    data::{Condition, Opened, QcConfig, SplitPlan},
    model::jepa::{Level, SetsConfig, SetsJepa},
    train::History,
};
use serde::Deserialize;
use serde_json::json;

/// A configuration file: every key may be left out, an unknown one is refused. The model's tables `pretraining`,
/// `training` and `decoding` take the place of [train].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Without it, the defaults of the level.
    model: Option<SetsConfig>,
    split: Fractions,
    qc: Option<QcConfig>,
}

impl Config {
    fn validate(&self) -> Result<()> {
        self.split.validate()?;
        let Some(model) = &self.model else { return Ok(()) };
        [&model.pretraining, &model.training, &model.decoding]
            .into_iter()
            .try_for_each(|training| training.validate())?;
        model.validate()
    }
}

pub fn run(args: &Args) -> Result<()> {
    args.device.check()?;
    if args.resume {
        return Err(Error::config(format!(
            "{} is a chain of short trainings and is not resumed; leave out --resume",
            args.model
        )));
    }
    let config = args.config.as_deref().map(|path| read_toml(path, Config::validate)).transpose()?.unwrap_or_default();
    let usual = if args.model == "jepa-pairs" { SetsConfig::pairs() } else { SetsConfig::sets() };
    let mut model = config.model.unwrap_or_else(|| usual.clone());
    // A file that says nothing of the level means the one that is asked for.
    if matches!(model.level, Level::Sets { .. }) != matches!(usual.level, Level::Sets { .. }) {
        model.level = usual.level;
    }
    model.training.epochs = args.epochs.unwrap_or(model.training.epochs);
    model.training.validate()?;
    let seed = args.seed.unwrap_or(0);
    let located = |e: Error| if e.kind() == ErrorKind::Data { e.at(args.data.display()) } else { e };
    let Opened::Cells(mut data) = args.columns.open(&args.data)? else {
        return Err(Error::config(format!(
            "{} is an effects dataset, and {} learns from sets of cells; give a cells dataset, or train jepa, the JEPA of \
             mean effects",
            args.data.display(),
            args.model
        )));
    };
    if let Some(qc) = &config.qc {
        let report;
        (data, report) = qc.apply(&data).map_err(located)?;
        say(report)?;
    }
    let Fractions { validation, test } = config.split;
    let split = data.split(&SplitPlan::Stratified { validation, test, seed }).map_err(located)?;
    let out = OutputFolder::new(&args.out)?;
    say(format_args!(
        "{} cells x {} genes, {} perturbations; {} cells to train on",
        data.n_cells(),
        data.n_genes(),
        data.perturbations.len(),
        split.train.len()
    ))?;
    let conditions: Vec<Condition> =
        (0..data.n_cells()).map(|cell| Condition::of(data.perturbation_of(cell).clone())).collect();
    let fitted = SetsJepa::fit(&data, &conditions, &split, &model, seed).map_err(located)?;
    fitted.save(&out)?;
    split.save(out.join("split.json"))?;
    History::mean(fitted.histories()).write(&out.join("history.jsonl"))?;
    let choice = fitted.choice();
    write_json(&out.join("metrics.json"), &json!({ "chosen": choice }))?;
    say(format_args!(
        "left-out training combinations: {:.0} % of the departure is used, energy distance {:.3} of the scaled sum's",
        100.0 * choice.combinations,
        choice.error
    ))?;
    say(format_args!("model: {}", out.display()))
}
