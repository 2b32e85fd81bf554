//! Perturbed cells, ready to train on.

use super::{Column, Counts, Expression, Perturbation, Table, names};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The lane of every cell where a file names none.
const ONE_LANE: &str = "all";

/// A cells dataset: one row per cell, counts, and which perturbation each cell had.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// UMI counts, `(cells, genes)`; or other values, as `expression` says.
    pub counts: Counts,
    /// What the values of `counts` are.
    pub expression: Expression,
    /// Gene names and annotations.
    pub genes: Table,
    /// Cell names and annotations, with the file's own columns.
    pub cells: Table,
    /// The distinct perturbations: control first, then sorted by name.
    pub perturbations: Vec<Perturbation>,
    /// Index into `perturbations`, one per cell.
    pub labels: Vec<u32>,
    /// The distinct lanes (batches, replicates), sorted; one entry `"all"` where the file names none.
    pub lanes: Vec<String>,
    /// Index into `lanes`, one per cell.
    pub lane_of: Vec<u32>,
    /// Total UMI count of each cell over ALL genes that were measured, not only those kept here.
    pub library_size: Vec<f32>,
    /// How many genes the file has, where only some were read and the columns of cells for quality control count all.
    pub genes_in_file: Option<usize>,
    /// What was decided or repaired while the data was read, one sentence each, for the user to see.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Puts a dataset together from its parts.
    ///
    /// `labels` and `lanes` hold one entry a cell; without `lanes` all cells share one, without `library_size` it is
    /// the sum of each row.
    ///
    /// # Errors
    /// Parts of different lengths.
    pub fn new(
        counts: Counts,
        genes: Table,
        cells: Table,
        labels: &[Perturbation],
        lanes: Option<&[String]>,
        library_size: Option<Vec<f32>>,
    ) -> Result<Self> {
        let (n_cells, n_genes) = (counts.n_cells(), counts.n_genes());
        let library_size = library_size.unwrap_or_else(|| counts.row_sums());
        let fits = |what: &str, length: usize, expected: usize| {
            if length == expected {
                return Ok(());
            }
            Err(Error::data(format!("{length} {what} do not fit counts of {n_cells} cells and {n_genes} genes")))
        };
        fits("gene names", genes.len(), n_genes)?;
        fits("cell names", cells.len(), n_cells)?;
        fits("perturbation labels", labels.len(), n_cells)?;
        fits("library sizes", library_size.len(), n_cells)?;
        if let Some(lanes) = lanes {
            fits("lanes", lanes.len(), n_cells)?;
        }
        let (perturbations, labels) = number(labels.iter());
        let (lanes, lane_of) = match lanes {
            Some(lanes) if !lanes.is_empty() => number(lanes.iter()),
            _ => (vec![ONE_LANE.to_owned()], vec![0; n_cells]),
        };
        Ok(Self {
            counts,
            expression: Expression::Counts,
            genes,
            cells,
            perturbations,
            labels,
            lanes,
            lane_of,
            library_size,
            genes_in_file: None,
            notes: Vec::new(),
        })
    }

    /// Refuses values that are no counts, for `what` needs them (a model, a command).
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind) where they are none; the message names what takes them.
    pub fn require_counts(&self, what: &str) -> Result<()> {
        if self.expression.is_counts() {
            return Ok(());
        }
        Err(Error::inapplicable(format!(
            "{what} needs counts, and the values are {} values (--expression); without counts work the model combination, the \
             baselines of `genailab bench`, `de`, `distances`, `enrich` and `screen`",
            self.expression
        )))
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.counts.n_cells()
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        self.counts.n_genes()
    }

    /// Names of the genes, one per column of the counts.
    pub fn gene_names(&self) -> &[String] {
        &self.genes.names
    }

    /// The column of a gene.
    ///
    /// # Errors
    /// It was not measured; the message gives names close to it.
    pub fn gene(&self, name: &str) -> Result<usize> {
        names::position("gene", name, &self.genes.names)
    }

    /// The columns of several genes: see [`Dataset::gene`].
    ///
    /// # Errors
    /// As [`Dataset::gene`].
    pub fn genes_at<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<usize>> {
        names.iter().map(|name| self.gene(name.as_ref())).collect()
    }

    /// The perturbation that a user calls `name`, as its index into `perturbations`: the name as this dataset writes
    /// it, or any spelling that [`Perturbation`] parses.
    ///
    /// # Errors
    /// No cell of the dataset has it; the message gives names close to it.
    pub fn perturbation(&self, name: &str) -> Result<u32> {
        let known: Vec<String> = self.perturbations.iter().map(Perturbation::to_string).collect();
        let place = known.iter().position(|known| known == name.trim()).or_else(|| {
            let parsed = name.parse::<Perturbation>().ok()?;
            self.perturbations.iter().position(|known| *known == parsed)
        });
        place.map_or_else(|| names::position("perturbation", name, &known), Ok).map(|index| index as u32)
    }

    /// The perturbation of a cell.
    pub fn perturbation_of(&self, cell: usize) -> &Perturbation {
        &self.perturbations[self.labels[cell] as usize]
    }

    /// The cells that had this perturbation, in order; none if there is no such perturbation.
    pub fn cells_of(&self, perturbation: &Perturbation) -> Vec<usize> {
        match self.perturbations.iter().position(|known| known == perturbation) {
            Some(label) => (0..self.n_cells()).filter(|&cell| self.labels[cell] as usize == label).collect(),
            None => Vec::new(),
        }
    }

    /// The unperturbed cells.
    pub fn control_cells(&self) -> Vec<usize> {
        self.cells_of(&Perturbation::control())
    }

    /// Number of cells of each perturbation, in the order of `perturbations`.
    pub fn cells_per_perturbation(&self) -> Vec<usize> {
        let mut numbers = vec![0; self.perturbations.len()];
        self.labels.iter().for_each(|&label| numbers[label as usize] += 1);
        numbers
    }

    /// The cells `cells`, in that order. `perturbations` and `lanes` stay as they are, so that indices into them mean
    /// the same in every part of a dataset.
    ///
    /// # Panics
    /// If a cell is not there.
    #[must_use]
    pub fn select_cells(&self, cells: &[usize]) -> Self {
        Self {
            counts: self.counts.select_cells(cells),
            expression: self.expression,
            genes: self.genes.clone(),
            cells: self.cells.select(cells),
            perturbations: self.perturbations.clone(),
            labels: cells.iter().map(|&cell| self.labels[cell]).collect(),
            lanes: self.lanes.clone(),
            lane_of: cells.iter().map(|&cell| self.lane_of[cell]).collect(),
            library_size: cells.iter().map(|&cell| self.library_size[cell]).collect(),
            genes_in_file: self.genes_in_file,
            notes: self.notes.clone(),
        }
    }

    /// The genes `genes`, in that order. `library_size` stays: it counts all genes that were measured.
    ///
    /// # Errors
    /// A gene that is not there, or that is given twice.
    pub fn select_genes(&self, genes: &[usize]) -> Result<Self> {
        let counts = self.counts.select_genes(genes)?;
        Ok(Self { counts, genes: self.genes.select(genes), ..self.without_counts() })
    }

    /// Everything but the counts and the genes, which are large and about to be replaced.
    fn without_counts(&self) -> Self {
        Self {
            counts: Counts::default(),
            expression: self.expression,
            genes: Table::default(),
            cells: self.cells.clone(),
            perturbations: self.perturbations.clone(),
            labels: self.labels.clone(),
            lanes: self.lanes.clone(),
            lane_of: self.lane_of.clone(),
            library_size: self.library_size.clone(),
            genes_in_file: self.genes_in_file,
            notes: self.notes.clone(),
        }
    }

    /// The perturbation of each cell as a column, by normal names.
    pub(super) fn perturbation_column(&self) -> Column {
        Column::Categorical {
            codes: self.labels.iter().map(|&label| label as i32).collect(),
            categories: self.perturbations.iter().map(Perturbation::to_string).collect(),
        }
    }
}

/// The distinct values, sorted, and the index of each value among them.
fn number<'a, T: Ord + Clone + 'a>(values: impl Iterator<Item = &'a T> + Clone) -> (Vec<T>, Vec<u32>) {
    let mut places: BTreeMap<&T, u32> = values.clone().map(|value| (value, 0)).collect();
    places.values_mut().zip(0..).for_each(|(place, index)| *place = index);
    let indices = values.map(|value| places[value]).collect();
    (places.into_keys().cloned().collect(), indices)
}
