//! Finished parts of a benchmark (one model on one split), a file each, and how they become the results.
//!
//! A part is found by the SHA-256 of everything that its scores depend on (data, split, model and settings, metrics,
//! version), so a second run reads what the first computed, and a changed setting recomputes what it changes and nothing
//! else. The first line of a file is the SHA-256 of the rest: half a file, or a changed one, is computed again.

use super::{
    Absent, Benchmark, BenchmarkData, CEILING, DataFacts, Example, InteractionCurve, ModelFacts, Role, Row, SplitFacts,
    data::sha256, predict::CEILING_DESCRIPTION, run::Engine, statistics::mean,
};
use crate::{
    Error, Result,
    data::{Condition, Conditions, NamedSplit},
    files::write_atomically,
    predict::Predictor,
};
use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

/// The model that is the floor of every table.
const FLOOR: &str = "no_change";

/// One model on one split, finished.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) seed: u64,
    pub(super) model: String,
    pub(super) fit_seconds: Option<f64>,
    pub(super) predict_seconds: Option<f64>,
    /// Whether the model predicts cells itself.
    pub(super) draws_cells: bool,
    /// Condition, metric, value.
    pub(super) scores: Vec<(String, String, f64)>,
    /// Metric, reason, number of conditions.
    pub(super) absent: Vec<(String, String, usize)>,
    /// Effect of each judged condition, of the first split only: for figures.
    pub(super) effects: Option<Vec<Option<Vec<f32>>>>,
    /// How synergies are ranked, of the first split only: for figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interactions: Option<InteractionCurve>,
    /// Why the model failed, where it did; such a part is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
    /// The judged conditions, in the part that holds the observed effects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) conditions: Vec<Condition>,
}

impl Part {
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.scores.iter().map(|(perturbation, metric, value)| Row {
            seed: self.seed,
            model: self.model.clone(),
            perturbation: perturbation.clone(),
            metric: metric.clone(),
            value: *value,
        })
    }

    pub(super) fn absent(&self) -> impl Iterator<Item = Absent> + '_ {
        self.absent.iter().map(|(metric, reason, n)| Absent {
            model: self.model.clone(),
            metric: metric.clone(),
            reason: reason.clone(),
            n: *n,
        })
    }
}

/// The folder of parts; without one nothing is kept.
pub(super) struct Parts(Option<PathBuf>);

/// The state of a part on disk.
pub(super) enum Found {
    /// It is finished.
    Whole(Box<Part>),
    /// It is damaged: the file's name.
    Damaged(String),
    /// It was never computed.
    Nothing,
}

impl Parts {
    /// Parts in `folder/parts`, which is made when the first one is kept.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self(folder.map(|folder| folder.join("parts")))
    }

    /// The name of the part that depends on `material`.
    pub(super) fn key(material: &serde_json::Value) -> String {
        sha256(material.to_string().as_bytes())[..32].to_owned()
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(format!("{key}.json")))
    }

    pub(super) fn read(&self, key: &str) -> Found {
        let Some(path) = self.path(key) else { return Found::Nothing };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
            Err(_) => return Found::Damaged(path.display().to_string()),
        };
        let body = bytes.iter().position(|&byte| byte == b'\n').map(|end| (&bytes[..end], &bytes[end + 1..]));
        body.filter(|(sum, body)| sha256(body).as_bytes() == *sum)
            .and_then(|(_, body)| serde_json::from_slice(body).ok())
            .map_or_else(|| Found::Damaged(path.display().to_string()), |part| Found::Whole(Box::new(part)))
    }

    pub(super) fn write(&self, key: &str, part: &Part) -> Result<()> {
        let (Some(folder), Some(path)) = (&self.0, self.path(key)) else { return Ok(()) };
        fs::create_dir_all(folder).map_err(|error| Error::io("create the folder", folder, error))?;
        let body = serde_json::to_vec(part).expect("every score is finite and every name is text");
        let mut bytes = sha256(&body).into_bytes();
        bytes.push(b'\n');
        bytes.extend(body);
        write_atomically(&path, &bytes)
    }
}

/// Puts the results together from all parts; `notes` are about damaged files.
pub(super) fn assemble(
    engine: Engine<'_>,
    facts: DataFacts,
    splits: Vec<SplitFacts>,
    parts: Vec<Part>,
    mut notes: Vec<String>,
) -> Benchmark {
    let Engine { data, splits: named, models, options, .. } = engine;
    if let BenchmarkData::Cells(cells) = data {
        notes.splice(0..0, cells.data.notes.iter().cloned());
    }
    notes.extend(options.files.iter().flat_map(|file| file.notes().iter().cloned()));
    notes.extend(failures(&parts));
    let example = example(data, named[0].0, &parts);
    let seconds = |name: &str, of: fn(&Part) -> Option<f64>| {
        let all: Vec<f64> = parts.iter().filter(|part| part.model == name).filter_map(of).collect();
        (!all.is_empty()).then(|| mean(&all))
    };
    let model_facts = |model: &&dyn Predictor| {
        let name = model.name().to_owned();
        let role = match name.as_str() {
            FLOOR => Role::Floor,
            _ if options.files.iter().any(|file| file.name() == name) => Role::File,
            _ => Role::Model,
        };
        ModelFacts {
            description: model.description().to_owned(),
            role,
            settings: model.settings(),
            draws_cells: parts.iter().any(|part| part.model == name && part.draws_cells),
            fit_seconds: seconds(&name, |part| part.fit_seconds).filter(|_| role == Role::Model),
            predict_seconds: seconds(&name, |part| part.predict_seconds).filter(|_| role == Role::Model),
            name,
        }
    };
    let mut facts_of_models: Vec<ModelFacts> = models.iter().map(model_facts).collect();
    facts_of_models.push(ModelFacts {
        name: CEILING.to_owned(),
        description: CEILING_DESCRIPTION.to_owned(),
        role: Role::Ceiling,
        settings: serde_json::Value::Null,
        draws_cells: false,
        fit_seconds: None,
        predict_seconds: None,
    });
    let groups: HashMap<(u64, String), String> = named
        .iter()
        .flat_map(|(seed, split)| split.groups.iter().map(|(name, group)| ((*seed, name.clone()), group.clone())))
        .collect();
    let mut absent: BTreeMap<(usize, String, String), Absent> = BTreeMap::new();
    for part in &parts {
        let place = facts_of_models.iter().position(|model| model.name == part.model).unwrap_or(0);
        for one in part.absent() {
            let key = (place, one.metric.clone(), one.reason.clone());
            absent.entry(key).and_modify(|known| known.n += one.n).or_insert(one);
        }
    }
    let rows: Vec<_> = parts.iter().flat_map(Part::rows).collect();
    drop(parts);
    let judged: BTreeSet<&str> = rows.iter().map(|row| row.perturbation.as_str()).collect();
    let mut conditions: Vec<_> = data.condition_facts().into_values().collect();
    conditions.retain(|facts| judged.contains(facts.name.as_str()));
    Benchmark {
        genailab: env!("CARGO_PKG_VERSION").to_owned(),
        dataset: options.dataset.clone(),
        split: options.split.clone(),
        data: facts,
        splits,
        conditions,
        models: facts_of_models,
        notes,
        absent: absent.into_values().collect(),
        example,
        ..Benchmark::of_rows(rows, &groups)
    }
}

/// One sentence per model that failed, and per reason: the seeds on which it did.
fn failures(parts: &[Part]) -> Vec<String> {
    let mut seeds: Vec<((&str, &str), Vec<String>)> = Vec::new();
    for part in parts {
        let Some(reason) = &part.failure else { continue };
        let failed = (part.model.as_str(), reason.as_str());
        match seeds.iter_mut().find(|(known, _)| *known == failed) {
            Some((_, seeds)) => seeds.push(part.seed.to_string()),
            None => seeds.push((failed, vec![part.seed.to_string()])),
        }
    }
    let sentence = |((model, reason), seeds): ((&str, &str), Vec<String>)| {
        let many = if seeds.len() > 1 { "s" } else { "" };
        format!("{model} failed on seed{many} {}, so it has no scores there: {reason}", seeds.join(", "))
    };
    seeds.into_iter().map(sentence).collect()
}

/// Numbers of conditions, control left out; one may have cells in several parts.
pub(super) fn split_facts(seed: u64, split: &NamedSplit, conditions: &Conditions) -> Result<SplitFacts> {
    let rows = split.split(conditions)?;
    let n = |rows: &[usize]| {
        let seen: BTreeSet<u32> = rows.iter().map(|&row| conditions.of_cell[row]).collect();
        seen.into_iter().filter(|&index| !conditions.conditions[index as usize].perturbation.is_control()).count()
    };
    let mut groups = BTreeMap::new();
    split.groups.values().for_each(|group| *groups.entry(group.clone()).or_insert(0) += 1);
    Ok(SplitFacts { seed, train: n(&rows.train), validation: n(&rows.validation), test: n(&rows.test), groups })
}

/// The effects of the first split, as far as parts hold them.
fn example(data: &BenchmarkData, seed: u64, parts: &[Part]) -> Option<Example> {
    let genes = data.genes();
    let table = |rows: &[Option<Vec<f32>>]| {
        let mut table = Array2::from_elem((rows.len(), genes.len()), f32::NAN);
        for (mut row, effect) in table.rows_mut().into_iter().zip(rows) {
            if let Some(effect) = effect {
                row.assign(&ArrayView1::from(effect));
            }
        }
        table
    };
    let truth = parts.iter().find(|part| !part.conditions.is_empty())?;
    let of_models = parts.iter().filter(|part| part.seed == seed && part.conditions.is_empty());
    Some(Example {
        seed,
        genes: genes.to_vec().into(),
        conditions: truth.conditions.clone(),
        observed: table(truth.effects.as_ref()?),
        interactions: of_models.clone().filter_map(|part| part.interactions.clone()).collect(),
        predicted: of_models.filter_map(|part| Some((part.model.clone(), table(part.effects.as_ref()?)))).collect(),
    })
}
