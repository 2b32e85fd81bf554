//! What the network is told (k), the mean around which residuals are (m_c), and the rows that it is trained on.

use crate::{
    Error, ErrorKind, Result,
    data::{Condition, rows_by_condition},
    model::{
        Trained,
        jepa::{EmbeddedCells, Jepa, StartCells},
    },
};
use ndarray::{Array1, Array2, Axis, concatenate};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// The control cells that the JEPA keeps, by context.
#[derive(Debug, Clone)]
pub(super) struct KeptControls {
    /// z of all of them, `(cells, width)`.
    pub z: Array2<f32>,
    /// Their library sizes, `(cells,)`.
    pub library_size: Vec<f32>,
    /// Rows of them.
    of: BTreeMap<Option<String>, Vec<usize>>,
}

impl KeptControls {
    /// Of a trained JEPA.
    ///
    /// # Errors
    /// A JEPA of phase A alone.
    pub fn of(jepa: &Jepa) -> Result<Self> {
        let (data, contexts) = jepa.reference()?;
        let mut of: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        contexts.iter().enumerate().for_each(|(row, context)| of.entry(context.clone()).or_default().push(row));
        let rows: Vec<usize> = (0..contexts.len()).collect();
        Ok(Self { z: jepa.embed(data, &rows)?, library_size: data.library_size.clone(), of })
    }

    /// The same with the control cells of a context that was not trained on.
    pub fn with_context(mut self, context: &Option<String>, z: &Array2<f32>, library_size: &[f32]) -> Self {
        let first = self.library_size.len();
        self.z.append(Axis(0), z.view()).expect("all have one width");
        self.library_size.extend_from_slice(library_size);
        self.of.insert(context.clone(), (first..first + z.nrows()).collect());
        self
    }

    /// Those of the context of a condition.
    ///
    /// # Errors
    /// There is none: [`ErrorKind::Inapplicable`].
    pub fn rows(&self, condition: &Condition) -> Result<&[usize]> {
        let none = || Error::inapplicable(format!("{condition}: no control cell of its context was trained on"));
        Ok(self.of.get(&condition.context).ok_or_else(none)?)
    }

    /// m_c, the mean of the embeddings that the JEPA predicts for them under a condition, `(width,)`.
    ///
    /// # Errors
    /// Genes that the JEPA cannot predict; no control cell of the context.
    pub fn mean(&self, jepa: &Jepa, condition: &Condition) -> Result<Array1<f64>> {
        let moved = jepa.moved(&self.start(self.rows(condition)?), condition)?.mapv(f64::from);
        Ok(moved.mean_axis(Axis(0)).expect("a context has a control cell"))
    }

    /// k of these cells under a condition, `(cells, width of k)`.
    ///
    /// # Errors
    /// As [`Self::mean`].
    pub fn given(&self, jepa: &Jepa, condition: &Condition) -> Result<Array2<f32>> {
        let rows = self.rows(condition)?;
        let library: Vec<f32> = rows.iter().map(|&row| self.library_size[row]).collect();
        given(jepa, condition, &self.start(rows), &library)
    }

    /// The cells `rows` of them, as cells that are moved.
    pub fn start(&self, rows: &[usize]) -> StartCells {
        StartCells::new(self.z.select(Axis(0), rows), rows.iter().map(|&row| self.library_size[row]))
    }
}

/// Numbers of k: see the equations of the module.
///
/// # Errors
/// A JEPA of phase A alone.
pub(super) fn given_width(jepa: &Jepa) -> Result<usize> {
    let of_cells = if jepa.contexts()?.len() > 1 { 3 } else { 2 };
    Ok(of_cells * jepa.width() + jepa.perturbation_width() + 1)
}

/// k of control cells under a condition, for drawn cells of these library sizes,
/// `(cells, width of k)`.
///
/// # Errors
/// Genes that the JEPA cannot predict.
pub(super) fn given(
    jepa: &Jepa,
    condition: &Condition,
    start: &StartCells,
    library_size: &[f32],
) -> Result<Array2<f32>> {
    let z = &start.z;
    let (cells, centre) = (z.nrows(), jepa.centre(&condition.context)?);
    let repeated = |row: &Array1<f32>| row.broadcast((cells, row.len())).expect("one row for all").to_owned();
    let shift = jepa.moved(start, condition)? - z;
    let e = repeated(&jepa.perturbation_embedding(condition)?);
    let library = Array2::from_shape_fn((cells, 1), |(cell, _)| library_size[cell].max(1.0).ln());
    let mut blocks = vec![z - &centre, shift, e, library];
    if jepa.contexts()?.len() > 1 {
        blocks.push(repeated(&centre));
    }
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    Ok(concatenate(Axis(1), &views).expect("every block has a row per cell"))
}

/// Residuals and what the network is told of each.
pub(super) struct TrainingRows {
    /// `(rows, width)`.
    pub r: Array2<f32>,
    /// `(rows, width of k)`.
    pub given: Array2<f32>,
}

/// Which control cells training cells are given.
pub(super) struct Pairing<'a> {
    /// Cells among which the control cells are.
    pub cells: &'a EmbeddedCells<'a>,
    /// Rows of the control cells of each context.
    pub controls: &'a BTreeMap<Option<String>, Vec<usize>>,
    /// Number for each cell.
    pub each: usize,
}

impl TrainingRows {
    /// Of the cells `rows`, each with control cells drawn at random from its context, never itself. Cells of a condition that
    /// the JEPA cannot predict are left out.
    ///
    /// # Errors
    /// Those of the JEPA.
    pub fn of(
        cells: &EmbeddedCells<'_>,
        kept: &KeptControls,
        (conditions, rows): (&[Condition], &[usize]),
        pairing: &Pairing<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let jepa = cells.jepa();
        let library = &cells.data().library_size;
        let (mut r, mut told) = (Array2::zeros((0, jepa.width())), Array2::zeros((0, given_width(jepa)?)));
        for (condition, rows) in rows_by_condition(conditions, rows) {
            let Some(controls) = pairing.controls.get(&condition.context) else { continue };
            let mean = match kept.mean(jepa, condition) {
                Err(error) if error.kind() == ErrorKind::Inapplicable => continue,
                mean => mean?,
            };
            let around = (cells.pick(&rows).mapv(f64::from) - &mean).mapv(|v| v as f32);
            let sizes: Vec<f32> = rows.iter().map(|&row| library[row]).collect();
            for _ in 0..pairing.each {
                let drawn: Vec<usize> = rows.iter().map(|&row| other_than(row, controls, rng)).collect();
                r.append(Axis(0), around.view()).expect("one width");
                let k = given(jepa, condition, &pairing.cells.start(&drawn), &sizes)?;
                told.append(Axis(0), k.view()).expect("one width");
            }
        }
        Ok(Self { r, given: told })
    }
}

/// One of `controls`, and not `row` where there is another.
fn other_than(row: usize, controls: &[usize], rng: &mut ChaCha8Rng) -> usize {
    let place = rng.random_range(0..controls.len());
    match controls[place] == row {
        true => controls[(place + 1) % controls.len()],
        false => controls[place],
    }
}
