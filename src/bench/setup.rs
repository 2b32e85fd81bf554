//! From a file and the name of a split to what a benchmark runs on.

use super::{ADDITIVE, Benchmark, BenchmarkData, NO_CHANGE, RunOptions, SIMILARITY_WEIGHTED, run_with};
use crate::{
    Error, Result,
    data::{AnnData, Conditions, Dataset, OpenOptions, Opened, SplitPlan, open_with},
    predict::{
        Predictor,
        baselines::{baselines, dose_baselines, models, predictor},
    },
};
use std::path::Path;

/// Models that every benchmark measures in addition to those that the user names: the floor, and the reference.
pub const ALWAYS: [&str; 2] = [NO_CHANGE, ADDITIVE];

/// The data and one plan per seed.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The data, with the split's context.
    pub data: BenchmarkData,
    /// Seed and plan of each split.
    pub plans: Vec<(u64, SplitPlan)>,
    /// What was decided while a second file of the split was read, for the user to see.
    pub notes: Vec<String>,
}

impl Setup {
    /// Reads the split's name ([`SplitPlan::parse`]) for the seeds `0..seeds` and prepares the data for it. `name` is
    /// what the data is called where two datasets are joined; `options` are for the second file.
    ///
    /// # Errors
    /// No seed, no such split, a split that does not go with the data.
    pub fn new(data: Opened, name: &str, split: &str, seeds: u64, options: &OpenOptions) -> Result<Self> {
        let plans = Self::plans(split, seeds)?;
        let plan = &plans[0].1;
        let mut notes = Vec::new();
        let data = plan.joined(data, name, |file| {
            let (opened, told) = open_second(file, options)?;
            notes = told;
            Ok(opened)
        })?;
        Ok(Self { data: BenchmarkData::new(data, plan.context_column())?, plans, notes })
    }

    /// The plans alone: what can be checked before a large file is read.
    ///
    /// # Errors
    /// No seed, no such split.
    pub fn plans(split: &str, seeds: u64) -> Result<Vec<(u64, SplitPlan)>> {
        if seeds == 0 {
            return Err(Error::config("a benchmark of 0 seeds has no split to run; give at least 1"));
        }
        (0..seeds).map(|seed| Ok((seed, SplitPlan::parse(split, seed)?))).collect()
    }

    /// The cells that every plan trains on, by which genes can be chosen that are the same in all splits; control cells where no
    /// cell is trained on in all, or another dataset is judged. `data` needs no counts.
    ///
    /// # Errors
    /// A split that does not go with the data.
    pub fn training_cells(plans: &[(u64, SplitPlan)], data: &Dataset) -> Result<Vec<usize>> {
        let of_another = plans.iter().any(|(_, plan)| plan.other_file().is_some());
        let mut trained = vec![!of_another; data.n_cells()];
        for (_, plan) in plans.iter().filter(|_| !of_another) {
            let conditions = Conditions::of(data, plan.context_column())?;
            let split = plan.divide(&conditions)?.split(&conditions)?;
            split.validation.iter().chain(&split.test).for_each(|&cell| trained[cell] = false);
        }
        let common: Vec<usize> = (0..trained.len()).filter(|&cell| trained[cell]).collect();
        Ok(if common.len() < 2 { data.control_cells() } else { common })
    }
}

/// Opens the second file of a split, which may name its columns otherwise than the first and have a `genailab.toml` of its own.
fn open_second(file: &Path, options: &OpenOptions) -> Result<(Opened, Vec<String>)> {
    let (options, mut notes) = options.for_another(&AnnData::open(file)?);
    let opened = open_with(file, &options.or_beside(file)?)?;
    if let Opened::Cells(data) = &opened {
        notes.extend(data.notes.iter().cloned());
    }
    Ok((opened, notes.into_iter().map(|note| format!("{}: {note}", file.display())).collect()))
}

/// Baselines that are trained step by step: seconds per split, where the others take a fraction of one. They are measured
/// only if the user names them.
const TRAINED: [&str; 1] = ["latent_additive"];

/// The models of these names, in the order of tables; `all` means every model, and no name means the baselines
/// that have a closed form. [`ALWAYS`] are among them.
///
/// # Errors
/// A name that no model has; the message lists all.
pub fn chosen(names: &[&str]) -> Result<Vec<Box<dyn Predictor>>> {
    with_always(names, &ALWAYS)
}

/// As [`chosen`] for the splits of a plan: where it holds a context out, `similarity_weighted`, the reference there, is
/// among them, too; where it holds doses out, `dose_interpolation` and `dose_mean` are.
///
/// # Errors
/// As [`chosen`].
pub fn chosen_for(names: &[&str], plan: &SplitPlan) -> Result<Vec<Box<dyn Predictor>>> {
    if let SplitPlan::Doses { .. } = plan {
        let named: Vec<&str> = names.iter().copied().filter(|name| !is_of_doses(name)).collect();
        // Named doses alone are no request for all baselines.
        let others =
            if named.is_empty() && !names.is_empty() { with_always(&[ADDITIVE], &ALWAYS) } else { chosen(&named) };
        return Ok(others?.into_iter().chain(dose_baselines()).collect());
    }
    match plan.context_column() {
        Some(_) => with_always(names, &[NO_CHANGE, ADDITIVE, SIMILARITY_WEIGHTED]),
        None => chosen(names),
    }
}

fn is_of_doses(name: &str) -> bool {
    dose_baselines().iter().any(|baseline| baseline.name() == name)
}

fn with_always(names: &[&str], always: &[&str]) -> Result<Vec<Box<dyn Predictor>>> {
    if names.contains(&"all") {
        return Ok(models());
    }
    if names.is_empty() {
        let mut models = baselines();
        models.retain(|model| !TRAINED.contains(&model.name()));
        return Ok(models);
    }
    let mut models: Vec<Box<dyn Predictor>> = models().into_iter().chain(dose_baselines()).collect();
    for name in names {
        predictor(name)?;
    }
    models.retain(|model| names.contains(&model.name()) || always.contains(&model.name()));
    Ok(models)
}

impl Benchmark {
    /// Measures models on held-out conditions, in one call: what a notebook needs.
    ///
    /// `data` is a [`Dataset`](crate::data::Dataset) or [`Effects`](crate::data::Effects), by reference or not; `split`
    /// as in [`SplitPlan::parse`]; `models` are names, none for the baselines of closed form, `["all"]` for every model. Nothing is
    /// kept on disk.
    ///
    /// ```no_run
    /// # fn main() -> genailab::Result<()> {
    /// use genailab::prelude::*;
    /// let data = Effects::open("effects.h5ad")?;
    /// let benchmark = Benchmark::run(&data, "doubles", 5, &["additive", "mean"])?;
    /// println!("{benchmark}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A split or a model that is not there, a split that does not go with the data, a training that failed.
    pub fn run(data: impl Into<Opened>, split: &str, seeds: u64, models: &[&str]) -> Result<Self> {
        let models = chosen_for(models, &Setup::plans(split, seeds)?[0].1)?;
        let Setup { data, plans, .. } = Setup::new(data.into(), "data", split, seeds, &OpenOptions::default())?;
        let options = RunOptions { dataset: "data".to_owned(), split: split.to_owned(), ..RunOptions::default() };
        run_with(&data, &plans, &models, &options)
    }

    /// Writes the results as JSON by the contract, whole or not at all.
    ///
    /// # Errors
    /// A folder that is not there or not writable, a full disk.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::files::write_atomically_with(path.as_ref(), |file, _| {
            let mut buffer = std::io::BufWriter::new(file);
            serde_json::to_writer(&mut buffer, self)?;
            std::io::Write::write_all(&mut buffer, b"\n")?;
            std::io::Write::flush(&mut buffer)
        })
    }
}
