//! The embedding space of a trained JEPA, for a model that draws points in it.

use super::{
    Jepa,
    response::{Embedded, Judge, Response, StartCells},
};
use crate::{
    Result,
    data::{Condition, Dataset, TrainingCells},
    model::Generated,
};
use ndarray::{Array1, Array2};
use std::borrow::Cow;

impl Jepa {
    /// Number of features of z.
    pub(crate) fn width(&self) -> usize {
        self.encoder.width()
    }

    /// The same for control cells of embeddings z `(cells, width)`, which are of a context that it knows, or else of a new one.
    pub(crate) fn knowing(&self, context: &Option<String>, z: &Array2<f32>) -> Result<Cow<'_, Self>> {
        Ok(match self.trained()?.knowing(context, z) {
            Cow::Borrowed(_) => Cow::Borrowed(self),
            Cow::Owned(response) => Cow::Owned(Self { response: Some(response), ..self.clone() }),
        })
    }

    /// The contexts with control cells, in order.
    ///
    /// # Errors
    /// A model of phase A alone; so for all that follow.
    pub(crate) fn contexts(&self) -> Result<&[Option<String>]> {
        Ok(&self.trained()?.measured.contexts)
    }

    /// Mean z of the control cells of a context, `(width,)`; the mean over contexts where it has none.
    pub(crate) fn centre(&self, context: &Option<String>) -> Result<Array1<f32>> {
        Ok(self.trained()?.measured.centre(context.as_ref()))
    }

    /// The embeddings that control cells have under a condition, `(cells, width)`; see [`Jepa::predicted_embeddings`].
    pub(crate) fn moved(&self, start: &StartCells, condition: &Condition) -> Result<Array2<f32>> {
        self.trained()?.moved(start, condition)
    }

    /// The points that the JEPA itself decodes for control cells: moved, and spread around their mean by the
    /// factor that it chose.
    pub(crate) fn spread(&self, start: &StartCells, condition: &Condition) -> Result<Array2<f32>> {
        let response = self.trained()?;
        Ok(response.widened(&start.z, response.moved(start, condition)?, condition))
    }

    /// Number of features of e(p).
    pub(crate) fn perturbation_width(&self) -> usize {
        self.settings.response.perturbation_width.unwrap_or_else(|| self.width())
    }

    /// `e(p) = sum over g of e_g`, the predictor's embedding of a perturbation, with the tokens of the levels of its context,
    /// `(perturbation width,)`; 0 for control.
    pub(crate) fn perturbation_embedding(&self, condition: &Condition) -> Result<Array1<f32>> {
        self.trained()?.embedding(condition, self.perturbation_width())
    }

    /// The control cells that the model keeps, and the context of each.
    pub(crate) fn reference(&self) -> Result<(&Dataset, &[Option<String>])> {
        let reference = &self.trained()?.reference;
        Ok((&reference.data, &reference.contexts))
    }

    /// Cells of embeddings z `(cells, width)` under a condition, with the library sizes of the rows `from` of `data`.
    pub(crate) fn decoded(
        &self,
        z: &Array2<f32>,
        condition: &Condition,
        (data, from): (&Dataset, &[usize]),
        seed: u64,
    ) -> Result<Generated> {
        let response = self.trained()?;
        let values = response.decoder.counts((z, &response.own(condition)?), data, from, seed)?;
        let library_size = from.iter().map(|&row| data.library_size[row]).collect();
        Ok(Generated { values, library_size, are_counts: true })
    }

    /// Mean expected log-normalised expression, `(genes,)`, of the same cells.
    pub(crate) fn decoded_mean(
        &self,
        z: &Array2<f32>,
        condition: &Condition,
        (data, from): (&Dataset, &[usize]),
    ) -> Result<Array1<f64>> {
        let response = self.trained()?;
        response.decoder.expected((z, &response.own(condition)?), data, from)
    }

    /// The cells `rows` in the space of the JEPA.
    pub(crate) fn embedded<'a>(&'a self, cells: &'a TrainingCells, rows: &[usize]) -> Result<EmbeddedCells<'a>> {
        let response = self.trained()?;
        Ok(EmbeddedCells { jepa: self, response, cells, z: Embedded::of(&self.encoder, &cells.data, rows)? })
    }
}

/// Cells in the space of a JEPA.
pub(crate) struct EmbeddedCells<'a> {
    jepa: &'a Jepa,
    response: &'a Response,
    cells: &'a TrainingCells,
    z: Embedded,
}

impl EmbeddedCells<'_> {
    /// z of some of them by their rows of the dataset, `(rows, width)`.
    pub(crate) fn pick(&self, rows: &[usize]) -> Array2<f32> {
        self.z.pick(rows)
    }

    /// The same as cells that are moved.
    pub(crate) fn start(&self, rows: &[usize]) -> StartCells {
        self.z.start(rows)
    }

    /// The dataset that they are rows of.
    pub(crate) fn data(&self) -> &Dataset {
        &self.cells.data
    }

    /// The JEPA.
    pub(crate) fn jepa(&self) -> &Jepa {
        self.jepa
    }

    /// Judges decoded points by their E-distance to observed cells, in principal components of the training cells.
    pub(crate) fn judge(&self, seed: u64) -> Result<SpaceJudge<'_>> {
        let expression = self.cells.expression()?;
        let judge = Judge::new(&self.cells.data, expression, &self.cells.split.train, &self.z, seed)?;
        Ok(SpaceJudge { response: self.response, judge })
    }
}

/// How near decoded points come to observed cells.
pub(crate) struct SpaceJudge<'a> {
    response: &'a Response,
    judge: Judge<'a>,
}

impl SpaceJudge<'_> {
    /// E-distance of the cells decoded from z `(cells, width)` under a condition, with the library sizes of the control
    /// cells `from`, to the cells `rows`.
    pub(crate) fn distance(
        &self,
        z: &Array2<f32>,
        condition: &Condition,
        from: &[usize],
        rows: &[usize],
    ) -> Result<f64> {
        self.judge.distance(&self.response.decoder, (z, &self.response.own(condition)?), from, rows)
    }
}
