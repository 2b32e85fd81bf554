//! What each perturbed gene does to the embeddings of cells.

use super::cells::Cells;
use crate::{
    Error, Result,
    data::{Condition, Perturbation},
    math::sum_factor,
};
use ndarray::{Array1, Array2, Axis};
use std::collections::BTreeMap;

/// A vector for each gene that was perturbed alone, in each context in which it was.
pub(super) struct GeneTable {
    /// By gene, then context.
    of: BTreeMap<String, BTreeMap<Option<String>, Array1<f64>>>,
    width: usize,
}

impl GeneTable {
    /// No gene yet; vectors will be of `width`.
    pub fn new(width: usize) -> Self {
        Self { of: BTreeMap::new(), width }
    }

    /// Length of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// From a vector a row, and the gene and context of each.
    pub fn from_rows(names: &[(String, Option<String>)], vectors: &Array2<f64>) -> Self {
        let mut table = Self::new(vectors.ncols());
        for ((gene, context), vector) in names.iter().zip(vectors.rows()) {
            table.insert(gene, context.as_ref(), vector.to_owned());
        }
        table
    }

    /// Gene and context of each vector, in order.
    pub fn names(&self) -> Vec<(String, Option<String>)> {
        let of = |(gene, contexts): (&String, &BTreeMap<Option<String>, Array1<f64>>)| {
            contexts.keys().map(|context| (gene.clone(), context.clone())).collect::<Vec<_>>()
        };
        self.of.iter().flat_map(of).collect()
    }

    /// The vectors in the order of their names, `(vectors, width)`.
    pub fn vectors(&self) -> Array2<f64> {
        let mut rows = Array2::zeros((0, self.width));
        for vector in self.of.values().flat_map(BTreeMap::values) {
            rows.push_row(vector.view()).expect("all vectors are of one width");
        }
        rows
    }

    /// Whether a gene has a vector.
    pub fn knows(&self, gene: &str) -> bool {
        self.of.contains_key(gene)
    }

    /// The vector of a gene in a context.
    pub fn insert(&mut self, gene: &str, context: Option<&String>, vector: Array1<f64>) {
        self.of.entry(gene.to_owned()).or_default().insert(context.cloned(), vector);
    }

    /// The vector of each gene of a condition, `(genes, width)`: as in its context, else the mean over the contexts in
    /// which the gene was perturbed alone.
    ///
    /// # Errors
    /// Genes that were never perturbed alone, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn members(&self, condition: &Condition) -> Result<Array2<f64>> {
        let mut members = Array2::zeros((0, self.width));
        let mut unknown = Vec::new();
        for gene in condition.perturbation.genes() {
            let Some(contexts) = self.of.get(gene) else {
                unknown.push(gene.as_str());
                continue;
            };
            let vector = contexts.get(&condition.context).cloned().unwrap_or_else(|| {
                let sum = contexts.values().fold(Array1::zeros(self.width), |sum, vector| sum + vector);
                sum / contexts.len() as f64
            });
            members.push_row(vector.view()).expect("all vectors are of one width");
        }
        match unknown.as_slice() {
            [] => Ok(members),
            [gene] => Err(Error::inapplicable(format!("the single perturbation of {gene} was not trained on"))),
            genes => {
                let genes = genes.join(", ");
                Err(Error::inapplicable(format!("the single perturbations of {genes} were not trained on")))
            }
        }
    }
}

/// Mean shifts of the single perturbations of a fold.
pub(super) struct Shifts {
    table: GeneTable,
    /// Root mean square of all shifts: tokens are in units of it.
    scale: f64,
}

impl Shifts {
    /// Those of the single perturbations among the cells.
    pub fn of(cells: &Cells) -> Self {
        let mut table = GeneTable::new(cells.z.ncols());
        let (mut squares, mut n) = (0.0, 0_usize);
        for condition in cells.places.keys() {
            let [gene] = condition.perturbation.genes() else { continue };
            if let Some(shift) = cells.shift(condition) {
                squares += shift.dot(&shift);
                n += shift.len();
                table.insert(gene, condition.context.as_ref(), shift);
            }
        }
        let scale = if squares > 0.0 { (squares / n as f64).sqrt() } else { 1.0 };
        Self { table, scale }
    }

    /// From what is saved.
    pub fn from_parts(table: GeneTable, scale: f64) -> Self {
        Self { table, scale }
    }

    /// The shifts.
    pub fn table(&self) -> &GeneTable {
        &self.table
    }

    /// What tokens are in units of.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Number of genes that were perturbed alone.
    pub fn len(&self) -> usize {
        self.table.of.len()
    }

    /// The shift of each gene of a condition, `(genes, width)`; see [`GeneTable::members`].
    ///
    /// # Errors
    /// As there.
    pub fn members(&self, condition: &Condition) -> Result<Array2<f64>> {
        self.table.members(condition)
    }

    /// Shifts as tokens, of mean square 1.
    pub fn tokens(&self, members: &Array2<f64>) -> Array2<f32> {
        members.mapv(|v| (v / self.scale) as f32)
    }

    /// The number of each gene of a condition whose genes are all known.
    pub fn numbers(&self, condition: &Condition) -> Vec<u32> {
        let place = |gene: &String| self.table.of.keys().position(|known| known == gene).map(|place| place as u32);
        condition.perturbation.genes().iter().filter_map(place).collect()
    }

    /// The factor s on the sums of the combinations `conditions`, by least squares. Sums of measured shifts are longer than
    /// the true ones by their noise, and share that of control with what they predict; both are taken off (errors in
    /// variables, Fuller 1987), as the decoder sees through noise by itself and would shrink a second time. 1 where there is
    /// no combination; from 0 to 1.5 otherwise.
    pub fn factor<'a>(&self, cells: &Cells, conditions: impl Iterator<Item = &'a Condition>) -> f64 {
        let (mut along, mut square) = (0.0, 0.0);
        for condition in conditions.filter(|condition| condition.perturbation.genes().len() > 1) {
            let context = condition.context.as_deref();
            let (Ok(members), Some(shift), Ok(controls)) =
                (self.members(condition), cells.shift(condition), cells.controls(context))
            else {
                continue;
            };
            let (sum, n) = (members.sum_axis(Axis(0)), members.nrows() as f64);
            let of_control = cells.noise(controls);
            let alone = |gene: &String| Condition {
                perturbation: Perturbation::of([gene.as_str()]),
                context: condition.context.clone(),
            };
            let singles = condition.perturbation.genes().iter().filter_map(|gene| cells.places.get(&alone(gene)));
            let of_singles: f64 = singles.map(|places| cells.noise(places)).sum();
            along += sum.dot(&shift) - n * of_control;
            square += sum.dot(&sum) - n * n * of_control - of_singles;
        }
        sum_factor(along, square)
    }
}

/// `s sum_g d_g` `(width,)`: a single shift is taken as it is.
pub(super) fn start(members: &Array2<f64>, factor: f64) -> Array1<f32> {
    let factor = if members.nrows() > 1 { factor } else { 1.0 };
    members.sum_axis(Axis(0)).mapv(|v| (v * factor) as f32)
}
