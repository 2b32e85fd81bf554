//! From an `.h5ad` file to predictions in the dataset's genes, or one clear error.

use super::{BenchmarkData, PredictionKind, Rows, Values};
use crate::{
    Error, Result,
    data::{
        AnnData, Column, Condition, Counts, OpenOptions, Table, TargetSum, first_names, library_size, normalize,
        perturbation_labels,
    },
    model::NORMALISED_TOTAL,
};
use ndarray::{Array2, Axis};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Columns of `obs` that say for which split a row was predicted.
const SEED_COLUMNS: [&str; 2] = ["split_seed", "seed"];
/// log1p of 10,000 counts per cell cannot be larger, but for rounding: a cell with all its counts in one gene.
const LARGEST: f32 = 9.22;

pub(super) struct Read {
    pub(super) rows: Rows,
    pub(super) notes: Vec<String>,
}

pub(super) fn read(
    path: &std::path::Path,
    name: &str,
    kind: Option<PredictionKind>,
    data: &BenchmarkData,
    options: &OpenOptions,
) -> Result<Read> {
    let file = AnnData::open(path)?;
    let (obs, var) = (file.obs()?, file.var()?);
    let mut notes = Vec::new();
    let columns = align(&var.names, data.genes(), &mut notes)?;
    let (of, labels) = rows_of(&file, &obs, &var, data, options, &mut notes)?;
    let single = of.values().all(|rows| rows.len() == 1);
    let kind = kind_of(&file, kind, data, single)?;
    let values = match kind {
        Some(PredictionKind::Cells) => cells(&file, &obs, &columns, data, &labels, &mut notes)?,
        _ => means(&file, &columns, &labels, &var.names)?,
    };
    let kind = match (kind, &values) {
        (Some(kind), _) => kind,
        (None, Values::Means(means)) if means.iter().all(|&value| value >= 0.0) => PredictionKind::Profiles,
        _ => {
            return Err(Error::data(
                "each condition has one row, and some values are negative: the file does not say whether these are \
                 effects (differences to control) or profiles (mean log-normalised expression); give \
                 --predictions-are effects, or profiles",
            ));
        }
    };
    check_scale(kind, &values)?;
    notes.push(format!("{} of {} conditions were read", kind.name(), of.len()));
    Ok(Read { rows: Rows { values, of, name: name.to_owned(), kind }, notes })
}

/// The file's column of each gene of the data.
fn align(found: &[String], wanted: &[String], notes: &mut Vec<String>) -> Result<Vec<usize>> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(found.len());
    let mut twice = BTreeSet::new();
    for (place, gene) in found.iter().enumerate() {
        if places.insert(gene, place).is_some() {
            twice.insert(gene.clone());
        }
    }
    let missing: Vec<String> = wanted.iter().filter(|gene| !places.contains_key(gene.as_str())).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::data(format!(
            "{} of the data's {} genes are not in the file: {}; predict every gene of the data, and name them in var as \
             the data does",
            missing.len(),
            wanted.len(),
            first_names(&missing)
        )));
    }
    if let Some(gene) = wanted.iter().find(|gene| twice.contains(*gene)) {
        return Err(Error::data(format!("the gene {gene:?} stands twice in the file; which one is meant?")));
    }
    if found.len() > wanted.len() {
        notes.push(format!("{} genes that the data does not have were left out", found.len() - wanted.len()));
    }
    Ok(wanted.iter().map(|gene| places[gene.as_str()]).collect())
}

type RowsOf = BTreeMap<(Option<u64>, Condition), Vec<usize>>;

/// The rows of each split and condition that the data has, and a name for every row.
fn rows_of(
    file: &AnnData,
    obs: &Table,
    var: &Table,
    data: &BenchmarkData,
    options: &OpenOptions,
    notes: &mut Vec<String>,
) -> Result<(RowsOf, Vec<String>)> {
    // The data's column may be called otherwise here; then it is found by its usual names.
    let column = options.perturbation_column.clone().filter(|name| obs.column(name).is_some());
    // Names that the data knows are no guides or separators of this file.
    let mut known = var.clone();
    known.names.extend(data.conditions().iter().flat_map(|condition| condition.perturbation.genes().to_vec()));
    let read = perturbation_labels(file, obs, &known, &OpenOptions { perturbation_column: column, ..options.clone() })?;
    let contexts = data
        .context()
        .map(|name| {
            obs.column(name).map(Column::to_text).ok_or_else(|| {
                Error::data(format!(
                    "the split divides perturbations by the column {name:?} of cells, and obs of the predictions has no \
                     such column; it has {}",
                    obs.column_names().join(", ")
                ))
            })
        })
        .transpose()?;
    let seeds = seeds(obs)?;
    let known: BTreeSet<Condition> = data.conditions().into_iter().collect();
    let (mut of, mut unknown, mut unlabelled) = (RowsOf::new(), BTreeSet::new(), 0);
    let mut names = Vec::with_capacity(obs.len());
    for (row, label) in read.labels.into_iter().enumerate() {
        let context = contexts.as_ref().and_then(|contexts| contexts[row].clone());
        let Some(condition) = label.map(|perturbation| Condition { perturbation, context }) else {
            unlabelled += 1;
            names.push(obs.names[row].clone());
            continue;
        };
        names.push(condition.to_string());
        if condition.perturbation.is_control() {
            continue;
        }
        if known.contains(&condition) {
            of.entry((seeds.as_ref().map(|seeds| seeds[row]), condition)).or_insert_with(Vec::new).push(row);
        } else {
            unknown.insert(condition.to_string());
        }
    }
    let unknown: Vec<String> = unknown.into_iter().collect();
    if of.is_empty() {
        let all: Vec<String> =
            known.iter().filter(|c| !c.perturbation.is_control()).map(Condition::to_string).collect();
        return Err(Error::data(format!(
            "no row is of a condition of the data: column `{}` of the predictions has {}, the data has {}",
            read.read_as.column,
            if unknown.is_empty() { "control only".to_owned() } else { first_names(&unknown) },
            first_names(&all)
        )));
    }
    if !unknown.is_empty() {
        notes.push(format!("conditions that the data does not have were left out: {}", first_names(&unknown)));
    }
    if unlabelled > 0 {
        notes.push(format!("{unlabelled} rows without a label in `{}` were left out", read.read_as.column));
    }
    if seeds.is_none() {
        notes.push(
            "the same predictions stand for every seed, because obs has no column `split_seed`; whether the model behind \
             them has seen held-out conditions cannot be checked"
                .to_owned(),
        );
    }
    Ok((of, names))
}

/// For which split each row was predicted; `None` without such a column.
fn seeds(obs: &Table) -> Result<Option<Vec<u64>>> {
    let Some((name, column)) = SEED_COLUMNS.iter().find_map(|name| obs.column(name).map(|column| (name, column)))
    else {
        return Ok(None);
    };
    let seed = |text: &Option<String>| text.as_deref().and_then(|text| text.trim_end_matches(".0").parse().ok());
    let values = column.to_text();
    if let Some(row) = values.iter().position(|text| seed(text).is_none()) {
        let value = values[row].as_deref().unwrap_or("nothing");
        return Err(Error::data(format!(
            "column `{name}` of obs holds {value} for {:?}; it must be the seed of the split, a whole number from 0",
            obs.names[row]
        )));
    }
    Ok(Some(values.iter().filter_map(seed).collect()))
}

/// What the rows are, where the user or the file says so: `None` for means of either kind.
fn kind_of(
    file: &AnnData,
    given: Option<PredictionKind>,
    data: &BenchmarkData,
    single: bool,
) -> Result<Option<PredictionKind>> {
    let marked = file.uns_keys().iter().any(|key| key == "effect");
    let kind = match (data, given) {
        (BenchmarkData::Effects(_), Some(kind)) if kind != PredictionKind::Effects => {
            return Err(Error::config(format!(
                "the data holds effects (differences to control), so predictions cannot be {}: without the control there \
                 is no effect to take from them",
                kind.name()
            )));
        }
        (BenchmarkData::Effects(_), _) => Some(PredictionKind::Effects),
        (BenchmarkData::Cells(_), Some(kind)) => Some(kind),
        (BenchmarkData::Cells(_), None) if marked => Some(PredictionKind::Effects),
        (BenchmarkData::Cells(_), None) if single => None,
        (BenchmarkData::Cells(_), None) => Some(PredictionKind::Cells),
    };
    match kind {
        Some(PredictionKind::Effects | PredictionKind::Profiles) if !single => Err(Error::data(
            "a condition has several rows, but effects and profiles have one row per condition; average them, or tell the \
             splits apart by a column `split_seed`",
        )),
        kind => Ok(kind),
    }
}

fn means(file: &AnnData, columns: &[usize], labels: &[String], genes: &[String]) -> Result<Values> {
    let values = file.read_dense("X")?;
    let means: Array2<f32> = values.select(Axis(1), columns);
    match means.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, gene), value)) => Err(not_finite(&labels[row], &genes[columns[gene]], *value)),
        None => Ok(Values::Means(means)),
    }
}

/// Cells, log-normalised where the file holds counts.
fn cells(
    file: &AnnData,
    obs: &Table,
    columns: &[usize],
    data: &BenchmarkData,
    labels: &[String],
    notes: &mut Vec<String>,
) -> Result<Values> {
    let mut all = file.read_matrix("X")?;
    if all.first_non_count().is_none() {
        let (sizes, note) = library_size(file, obs, all.row_sums());
        notes.extend(note);
        let own_sums = sizes == all.row_sums();
        if own_sums
            && let BenchmarkData::Cells(cells) = data
            && cells.data.library_size != cells.data.counts.row_sums()
        {
            notes.push(
                "the counts were normalised by their own sums, but the data's library sizes count more genes than the \
                 file has; give them in a column `ncounts` of obs"
                    .to_owned(),
            );
        }
        notes.push("X holds counts; they were log-normalised to 10,000 per cell".to_owned());
        all = normalize::log1p(normalize::normalize_total(&all, &sizes, TargetSum::Fixed(NORMALISED_TOTAL))?);
    }
    let cells: Counts = all.select_genes(columns)?;
    for (row, label) in labels.iter().enumerate() {
        let (genes, values) = cells.row(row);
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(not_finite(label, &data.genes()[genes[place] as usize], values[place]));
        }
    }
    Ok(Values::Cells(cells))
}

fn not_finite(label: &str, gene: &str, value: f32) -> Error {
    Error::data(format!(
        "the prediction of {label} for the gene {gene} is {value}; every value must be a finite number"
    ))
}

/// Profiles and cells must be on the scale that the data is scored on.
fn check_scale(kind: PredictionKind, values: &Values) -> Result<()> {
    let largest = match values {
        Values::Means(means) => means.iter().copied().fold(0.0, f32::max),
        Values::Cells(cells) => cells.values().iter().copied().fold(0.0, f32::max),
    };
    if kind == PredictionKind::Effects || largest <= LARGEST {
        return Ok(());
    }
    Err(Error::data(format!(
        "X holds {largest}, more than the log1p of 10,000 counts per cell can be ({LARGEST}): give log1p(10,000 x count / \
         library size), natural logarithm, or for cells the counts themselves"
    )))
}
