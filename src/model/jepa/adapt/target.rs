//! The target's cells with the genes of the base, and its contexts under names of their own.

use crate::{
    Error, Result,
    data::{Condition, Conditions, Counts, Dataset, Split, Table, TrainingCells},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Share of the base's genes that the target must have.
const LEAST_SHARED: f64 = 0.5;
/// Missing genes that are named.
const NAMED: usize = 5;

/// The cells of another dataset, ready for a model to be adapted to.
#[derive(Debug, Clone)]
pub struct Target {
    /// The cells, with the genes of the base in its order.
    pub data: Arc<Dataset>,
    /// The condition of each cell; the context is the target's name, or `NAME/CONTEXT`.
    pub conditions: Vec<Condition>,
    /// The genes of the base that the target's file has, by their numbers.
    pub present: Vec<usize>,
    /// How genes were matched, for the user.
    pub note: String,
}

impl Target {
    /// The cells of `data` under the name `name`, with the column `context` of cells as the context, if there is one.
    ///
    /// # Errors
    /// Values that are no counts; fewer than half of the genes `genes`; a column that is not there.
    pub fn new(data: &Dataset, genes: &[String], name: &str, context: Option<&str>) -> Result<Self> {
        data.require_counts("genailab adapt")?;
        let (aligned, note) = align(data, genes)?;
        let known = Conditions::of(data, context)?;
        let named = |row: usize| {
            let Condition { perturbation, context } = known.of_row(row).clone();
            let context = context.map_or_else(|| name.to_owned(), |context| format!("{name}/{context}"));
            Condition { perturbation, context: Some(context) }
        };
        let conditions = (0..data.n_cells()).map(named).collect();
        let own: HashSet<&str> = data.gene_names().iter().map(String::as_str).collect();
        let present = (0..genes.len()).filter(|&gene| own.contains(genes[gene].as_str())).collect();
        Ok(Self { data: Arc::new(aligned), conditions, present, note })
    }

    /// The cells of these conditions, and all control cells, to train on.
    ///
    /// # Errors
    /// A context without control cells.
    pub fn training(&self, seen: &[Condition]) -> Result<TrainingCells> {
        let used =
            |&row: &usize| self.conditions[row].perturbation.is_control() || seen.contains(&self.conditions[row]);
        let (train, test) = (0..self.data.n_cells()).partition(used);
        let split = Split { train, validation: Vec::new(), test };
        TrainingCells::new(Arc::clone(&self.data), self.conditions.clone(), &split)
    }

    /// The rows of a condition.
    pub fn rows(&self, condition: &Condition) -> Vec<usize> {
        (0..self.data.n_cells()).filter(|&row| self.conditions[row] == *condition).collect()
    }

    /// The conditions of one perturbed gene for which `known` holds, sorted.
    pub fn singles(&self, known: impl Fn(&str) -> bool) -> Vec<Condition> {
        let mut found: Vec<Condition> = self
            .conditions
            .iter()
            .filter(|condition| matches!(condition.perturbation.genes(), [gene] if known(gene)))
            .cloned()
            .collect();
        found.sort();
        found.dedup();
        found
    }
}

/// The cells of `data` with the genes `genes`, by name, and what was found. A gene that the data does not have holds no counts,
/// and genes of the data that are not among them are left out; library sizes stay.
///
/// # Errors
/// Fewer than half of the genes are there.
pub fn align(data: &Dataset, genes: &[String]) -> Result<(Dataset, String)> {
    if data.genes.names == genes {
        return Ok((data.clone(), format!("all {} genes of the model are in the data", genes.len())));
    }
    let place: HashMap<&str, u32> = genes.iter().map(String::as_str).zip(0..).collect();
    let new_of: Vec<Option<u32>> = data.gene_names().iter().map(|gene| place.get(gene.as_str()).copied()).collect();
    let shared = new_of.iter().flatten().count();
    let missing: Vec<&str> =
        genes.iter().map(String::as_str).filter(|gene| !data.genes.names.iter().any(|name| name == gene)).collect();
    let named = missing.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if missing.len() > NAMED { ", …" } else { "" };
    if (shared as f64) < LEAST_SHARED * genes.len() as f64 {
        return Err(Error::data(format!(
            "it has {shared} of the model's {} genes, and at least half must be there; missing are {named}{more}; are the genes \
             named alike?",
            genes.len()
        )));
    }
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for cell in 0..data.n_cells() {
        let (columns, row) = data.counts.row(cell);
        let mut kept: Vec<(u32, f32)> = columns
            .iter()
            .zip(row)
            .filter_map(|(&column, &value)| new_of[column as usize].map(|new| (new, value)))
            .collect();
        kept.sort_by_key(|(gene, _)| *gene);
        indices.extend(kept.iter().map(|(gene, _)| *gene));
        values.extend(kept.iter().map(|(_, value)| *value));
        indptr.push(indices.len());
    }
    let counts = Counts::new(genes.len(), indptr, indices, values)?;
    let aligned = Dataset { counts, genes: Table::from_names(genes.to_vec()), ..data.clone() };
    let left = data.n_genes() - shared;
    let note = match missing.len() {
        0 => format!("all {} genes of the model are in the data; its other {left} genes are not used", genes.len()),
        n => format!(
            "{shared} of the model's {} genes are in the data; {n} are missing and count as not expressed: {named}{more}; {left} \
             genes of the data are not in the model",
            genes.len()
        ),
    };
    Ok((aligned, note))
}
