//! How the finished parts of a benchmark become its results.

use super::{
    Absent, Benchmark, BenchmarkData, CEILING, DataFacts, Example, FileFacts, ModelFacts, NO_CHANGE, OwnSpace, Role,
    SplitFacts,
    notes::{adjustments, failures, file_notes},
    own_space::{self, OwnSpacePart},
    parts::Part,
    predict::CEILING_DESCRIPTION,
    predictions::PredictionFile,
    run::Engine,
    statistics::mean,
};
use crate::{
    Result,
    data::{Conditions, NamedSplit},
    predict::Predictor,
};
use ndarray::{Array2, ArrayView1};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Puts the results together from all parts; `notes` are about damaged files.
pub(super) fn assemble(
    engine: Engine<'_>,
    facts: DataFacts,
    splits: Vec<SplitFacts>,
    parts: Vec<Part>,
    mut notes: Vec<String>,
) -> Benchmark {
    let Engine { data, splits: named, models, files, options, .. } = engine;
    if let BenchmarkData::Cells(cells) = data {
        notes.splice(0..0, cells.data.notes.iter().cloned());
    }
    notes.extend(files.iter().flat_map(|file| file.notes().iter().cloned()));
    for file in files {
        match file.refusal() {
            Some(reason) => notes.push(format!("{} cannot be scored: {reason}", file.name())),
            None => notes.extend(file_notes(file.name(), &parts)),
        }
    }
    notes.extend(failures(parts.iter().filter(|part| !files.iter().any(|file| file.name() == part.model))));
    notes.extend(adjustments(&parts));
    let example = example(data, named[0].0, &parts);
    let seconds = |name: &str, of: fn(&Part) -> Option<f64>| {
        let all: Vec<f64> = parts.iter().filter(|part| part.model == name).filter_map(of).collect();
        (!all.is_empty()).then(|| mean(&all))
    };
    let model_facts = |model: &&dyn Predictor| {
        let name = model.name().to_owned();
        let role = match name.as_str() {
            NO_CHANGE => Role::Floor,
            _ if files.iter().any(|file| file.name() == name) => Role::File,
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
    let own_spaces = own_spaces(parts);
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
        own_spaces,
        ..Benchmark::of_rows(rows, &groups)
    }
}

/// The own space of each model that has one, models in their order.
fn own_spaces(parts: Vec<Part>) -> Vec<OwnSpace> {
    let mut of: Vec<(String, Vec<OwnSpacePart>)> = Vec::new();
    for part in parts {
        let Some(space) = part.own_space else { continue };
        match of.iter_mut().find(|(model, _)| *model == part.model) {
            Some((_, spaces)) => spaces.push(space),
            None => of.push((part.model, vec![space])),
        }
    }
    of.into_iter().map(|(model, spaces)| own_space::assemble(&model, spaces)).collect()
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
        points: truth.points.clone().map(|mut points| {
            points.predicted =
                of_models.clone().filter_map(|part| part.points.as_ref()?.predicted.first().cloned()).collect();
            points
        }),
        predicted: of_models.filter_map(|part| Some((part.model.clone(), table(part.effects.as_ref()?)))).collect(),
    })
}

/// What is known of a file, as it was read and on the shared genes.
pub(super) fn facts_of(read: &PredictionFile, shared: &PredictionFile, data_genes: usize) -> FileFacts {
    FileFacts {
        name: read.name().to_owned(),
        genes: read.genes().len(),
        data_genes,
        not_scored: shared.refusal().map(str::to_owned),
    }
}
