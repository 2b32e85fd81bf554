//! What is chosen by how near decoded training cells come to observed ones.

use super::{
    decoder::{Calibrated, Decoder},
    embedded::Embedded,
    fit::Response,
};
use crate::{
    Result,
    data::{Condition, Counts, Dataset, shuffle},
    math::Pca,
    model::Generated,
    nn::{RowSets, SetDistance, ops},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Factors of the spread that are tried.
pub const WIDTHS: [f64; 6] = [1.0, 1.2, 1.4, 1.6, 1.8, 2.0];
/// Components of the space that predicted cells are judged in, and cells that it is fitted to.
const SPACE: (usize, usize) = (30, 2_000);
/// Conditions that a factor is judged on, and cells of each.
pub const JUDGES: (usize, usize) = (16, 128);
/// Cells of a condition that are embedded to be judged.
pub const JUDGED: usize = 256;

/// Those of a condition's rows that are embedded to be judged.
pub fn few(rows: &[usize]) -> Vec<usize> {
    rows[..rows.len().min(JUDGED)].to_vec()
}

/// The place of the least value.
pub fn least_of(values: &[f64]) -> usize {
    (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b])).expect("there is a value")
}

/// The share with the least mean error, and that error as a share of the first share's, 0; `None` where the gain over it is
/// not more than its own standard error: a few conditions are easily fitted by chance.
pub fn gained<const N: usize>(errors: &[[f64; N]]) -> Option<(usize, f64)> {
    let n = errors.len();
    let mean = |share: usize| errors.iter().map(|of| of[share]).sum::<f64>() / n.max(1) as f64;
    let best = least_of(&(0..N).map(mean).collect::<Vec<_>>());
    let gain = mean(0) - mean(best);
    let variance = errors.iter().map(|of| (of[0] - of[best] - gain).powi(2)).sum::<f64>();
    let standard_error = (variance / (n.saturating_sub(1).max(1) * n.max(1)) as f64).sqrt();
    (gain > standard_error).then(|| (best, mean(best) / mean(0).max(f64::MIN_POSITIVE)))
}

/// Judges decoded cells by their E-distance to observed ones, in principal components of the training cells' log-normalised
/// expression.
pub struct Judge<'a> {
    /// The cells.
    pub data: &'a Dataset,
    expression: &'a Counts,
    /// Their embeddings.
    pub z: &'a Embedded,
    pca: Pca,
    seed: u64,
}

impl<'a> Judge<'a> {
    /// In principal components of the cells `train`.
    ///
    /// # Errors
    /// Cells that have no components.
    pub fn new(data: &'a Dataset, expression: &'a Counts, train: &[usize], z: &'a Embedded, seed: u64) -> Result<Self> {
        let mut rows = train.to_vec();
        shuffle(&mut rows, &mut ChaCha8Rng::seed_from_u64(seed));
        rows.truncate(SPACE.1);
        let cells = expression.select_cells(&rows).to_dense();
        let pca = Pca::fit(cells.view(), SPACE.0.min(cells.nrows()).min(cells.ncols()), seed)?;
        Ok(Self { data, expression, z, pca, seed })
    }

    /// E-distance of the cells decoded from z, with the library sizes of the rows `from`, to the cells `rows`.
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn distance(
        &self,
        decoder: &Decoder,
        (z, own): (&Array2<f32>, &Array1<f32>),
        from: &[usize],
        rows: &[usize],
    ) -> Result<f64> {
        let n = JUDGES.1.min(from.len());
        let (z, from) = (z.slice(ndarray::s![..n, ..]).to_owned(), &from[..n]);
        let values = decoder.counts((&z, own), self.data, from, self.seed)?;
        let library_size = from.iter().map(|&row| self.data.library_size[row]).collect();
        let drawn = Generated { values, library_size, are_counts: true }.log_normalised();
        let observed = self.expression.select_cells(&rows[..JUDGES.1.min(rows.len())]).to_dense();
        let (x, y) = (self.pca.transform(drawn.view())?, self.pca.transform(observed.view())?);
        let (a, b) = (RowSets::uniform(1, x.nrows()), RowSets::uniform(1, y.nrows()));
        let device = Cpu::default();
        let (x, y) = (ops::upload(&device, &x)?, ops::upload(&device, &y)?);
        Ok(f64::from(SetDistance::Energy.forward(x, &a, &y, &b)?.as_vec()[0]))
    }
}

impl Response {
    /// Chooses how far decoded cells are spread, by the E-distance of training cells; the decoder is calibrated for it.
    pub(super) fn choose_width(&mut self, judge: &Judge<'_>, learned: &[Condition], widths: &[f64]) -> Result<()> {
        let (data, z) = (judge.data, judge.z);
        let mut conditions = Vec::new();
        for condition in learned {
            let from = few(self.measured.controls(condition.context.as_deref())?);
            let start = z.start(&from);
            let moved = self.moved(&start, condition)?;
            let rows = self.measured.rows(condition).to_vec();
            conditions.push((condition, start.z, moved, self.own(condition)?, from, rows));
        }
        let uncalibrated = self.decoder.clone();
        let mut best: Option<(f64, f64, Decoder)> = None;
        for &width in widths {
            self.share.width = width;
            self.decoder = uncalibrated.clone();
            let spread: Vec<_> = conditions
                .iter()
                .map(|(condition, h, moved, own, from, rows)| Calibrated {
                    z: self.widened(h, moved.clone(), condition),
                    own: own.clone(),
                    from: from.clone(),
                    observed: rows.clone(),
                })
                .collect();
            let mut of_control = Array2::zeros((0, z.z.ncols()));
            let mut control_rows = Vec::new();
            for (condition, h, _, _, from, _) in conditions.iter().filter(|(c, ..)| c.perturbation.is_control()) {
                let widened = self.widened(h, h.clone(), condition);
                of_control.append(Axis(0), widened.view()).expect("all have one width");
                control_rows.extend_from_slice(from);
            }
            self.decoder.calibrate(data, (&of_control, &control_rows), &spread)?;
            let mut total = 0.0;
            for Calibrated { z, own, from, observed } in spread.iter().take(JUDGES.0) {
                total += judge.distance(&self.decoder, (z, own), from, observed)?;
            }
            if best.as_ref().is_none_or(|(least, ..)| total < *least) {
                best = Some((total, width, self.decoder.clone()));
            }
        }
        let (_, width, decoder) = best.expect("there are widths");
        self.share.width = width;
        self.decoder = decoder;
        Ok(())
    }

    /// `moved` embeddings with the spread of the control embeddings z `(cells, width)` that they were made of, times the
    /// chosen factor: what is decoded.
    pub fn widened(&self, z: &Array2<f32>, moved: Array2<f32>, condition: &Condition) -> Array2<f32> {
        let centre = self.measured.centre(condition.context.as_ref());
        moved + &((z - &centre) * (self.share.width - 1.0) as f32)
    }
}
