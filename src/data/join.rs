//! Several cells datasets as one: on the genes that they share, with a column that says where each cell is from.

use super::{Column, Counts, Dataset, Perturbation, Table, names};
use crate::{Error, Result};
use std::collections::HashMap;

/// The column that [`join`] gives to cells, and the context of [`SplitPlan::CrossDataset`](super::SplitPlan::CrossDataset).
pub const DATASET_COLUMN: &str = "dataset";

/// Puts cells datasets together, each with the name that its cells are to be known by.
///
/// - **Genes**: those that all have, matched by name (exactly), in the order of the first.
/// - **Cells**: `CELL-DATASET`, as AnnData's `concat(index_unique="-")` names them, with the columns that all datasets
///   have (as text where their types differ) and [`DATASET_COLUMN`] with the dataset's name.
/// - **Perturbations**: matched by their normal names; all are kept.
/// - **Lanes**: `DATASET:LANE`, since lane 1 of one experiment is not lane 1 of another.
/// - **Library sizes** stay: they count all genes that each experiment measured.
///
/// # Errors
/// No dataset, two of one name, or no gene that all share.
pub fn join(datasets: &[(&str, &Dataset)]) -> Result<Dataset> {
    let Some((_, first)) = datasets.first() else {
        return Err(Error::config("no dataset to join was given"));
    };
    let labels: Vec<&str> = datasets.iter().map(|(label, _)| *label).collect();
    if let Some(twice) = labels.iter().enumerate().find_map(|(i, label)| labels[..i].contains(label).then_some(label)) {
        return Err(Error::config(format!("two datasets to join are called {twice:?}; give each its own name")));
    }
    let expression = first.expression;
    if let Some((label, other)) = datasets.iter().find(|(_, data)| data.expression != expression) {
        return Err(Error::data(format!(
            "{} holds {expression} values and {label} holds {}: they cannot be compared; say what they are by --expression, or \
             give both in one form",
            labels[0], other.expression
        )));
    }
    let columns = shared_genes(datasets)?;
    let genes = first.genes.select(&columns[0]);

    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for ((_, dataset), columns) in datasets.iter().zip(&columns) {
        let counts = dataset.counts.select_genes(columns)?;
        let start = indices.len();
        indptr.extend(counts.indptr()[1..].iter().map(|end| start + end));
        indices.extend_from_slice(counts.indices());
        values.extend_from_slice(counts.values());
    }
    let counts = Counts::new(genes.len(), indptr, indices, values)?;

    let (mut perturbations, mut lanes, mut library_size) = (Vec::new(), Vec::new(), Vec::new());
    for (label, dataset) in datasets {
        perturbations.extend((0..dataset.n_cells()).map(|cell| dataset.perturbation_of(cell).clone()));
        lanes.extend(dataset.lane_of.iter().map(|&lane| format!("{label}:{}", dataset.lanes[lane as usize])));
        library_size.extend_from_slice(&dataset.library_size);
    }
    let mut joined = Dataset::new(counts, genes, cells(datasets), &perturbations, Some(&lanes), Some(library_size))?;
    joined.expression = expression;
    joined.notes =
        datasets.iter().flat_map(|(label, d)| d.notes.iter().map(move |n| format!("{label}: {n}"))).collect();
    let sizes: Vec<String> = datasets.iter().map(|(label, d)| format!("{} of {label}", d.n_genes())).collect();
    joined.notes.push(format!("{} genes are shared by name, out of {}", joined.n_genes(), sizes.join(", ")));
    Ok(joined)
}

/// Puts a dataset to train on and one to judge on together: [`join`](fn@join), without the cells of the second whose
/// perturbation the first does not have.
///
/// # Errors
/// As [`join`](fn@join), and where they share no perturbation.
pub(super) fn cross(train: (&str, &Dataset), judged: (&str, &Dataset)) -> Result<Dataset> {
    let known = |perturbation: &Perturbation| train.1.perturbations.contains(perturbation);
    let shared: Vec<bool> = judged.1.perturbations.iter().map(known).collect();
    let n_shared = judged.1.perturbations.iter().zip(&shared).filter(|(p, shared)| **shared && !p.is_control()).count();
    if n_shared == 0 {
        let named = |data: &Dataset| {
            names::first(
                &data.perturbations.iter().filter(|p| !p.is_control()).map(Perturbation::to_string).collect::<Vec<_>>(),
            )
        };
        return Err(Error::inapplicable(format!(
            "{} and {} share no perturbation, so nothing learnt on one can be judged on the other: the first has {}, the \
             second {}",
            train.0,
            judged.0,
            named(train.1),
            named(judged.1)
        )));
    }
    let kept: Vec<usize> = (0..judged.1.n_cells()).filter(|&cell| shared[judged.1.labels[cell] as usize]).collect();
    let mut joined = join(&[train, (judged.0, &judged.1.select_cells(&kept))])?;
    joined.notes.push(format!(
        "{n_shared} perturbations are shared; {} cells of {} with other perturbations were left out",
        judged.1.n_cells() - kept.len(),
        judged.0
    ));
    Ok(joined)
}

/// The columns of the shared genes in each dataset.
fn shared_genes(datasets: &[(&str, &Dataset)]) -> Result<Vec<Vec<usize>>> {
    let places: Vec<HashMap<&str, usize>> = datasets
        .iter()
        .map(|(_, data)| data.gene_names().iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect())
        .collect();
    let shared: Vec<&str> = datasets[0]
        .1
        .gene_names()
        .iter()
        .map(String::as_str)
        .filter(|name| places.iter().all(|known| known.contains_key(name)))
        .collect();
    if shared.is_empty() {
        let examples: Vec<String> =
            datasets.iter().map(|(label, data)| format!("{label} has {}", names::first(data.gene_names()))).collect();
        return Err(Error::data(format!(
            "the datasets share no gene name: {}; name the genes of all in one way (symbols or Ensembl identifiers)",
            examples.join("; ")
        )));
    }
    Ok(places.iter().map(|known| shared.iter().map(|name| known[name]).collect()).collect())
}

/// The annotations of all cells.
fn cells(datasets: &[(&str, &Dataset)]) -> Table {
    let names = datasets.iter().flat_map(|(label, d)| d.cells.names.iter().map(move |name| format!("{name}-{label}")));
    let mut cells = Table::from_names(names.collect());
    for name in datasets[0].1.cells.column_names() {
        let columns: Vec<&Column> = datasets.iter().filter_map(|(_, data)| data.cells.column(name)).collect();
        if columns.len() == datasets.len() && name != DATASET_COLUMN {
            cells.set(name, concatenated(&columns));
        }
    }
    let codes = datasets.iter().zip(0..).flat_map(|((_, data), code)| std::iter::repeat_n(code, data.n_cells()));
    let categories = datasets.iter().map(|(label, _)| (*label).to_owned()).collect();
    cells.set(DATASET_COLUMN, Column::Categorical { codes: codes.collect(), categories });
    cells
}

/// Numbers stay numbers; everything else that is not of one type becomes text.
fn concatenated(columns: &[&Column]) -> Column {
    let integers: Option<Vec<_>> =
        columns.iter().map(|column| if let Column::Integer(values) = column { Some(values) } else { None }).collect();
    let booleans: Option<Vec<_>> =
        columns.iter().map(|column| if let Column::Boolean(values) = column { Some(values) } else { None }).collect();
    let numbers: Option<Vec<_>> = columns.iter().map(|column| column.to_f64()).collect();
    if let Some(values) = integers {
        Column::Integer(values.into_iter().flatten().copied().collect())
    } else if let Some(values) = booleans {
        Column::Boolean(values.into_iter().flatten().copied().collect())
    } else if let Some(values) = numbers {
        Column::Float(values.concat())
    } else {
        Column::Text(columns.iter().flat_map(|column| column.to_text()).collect())
    }
}
