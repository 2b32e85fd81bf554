//! Cells in embedding space.

use super::{
    measured::{Hidden, Measured},
    source::StartCells,
};
use crate::{
    Result,
    data::{Condition, Dataset, Perturbation},
    device::Device,
    model::jepa::{encoder::Seen, heads::Backbone},
    nn::{Backend, Linear, ops},
};
use dfdx::prelude::{Cpu, HasShape, NoneTape};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use std::{collections::BTreeMap, sync::Arc};

/// Cells that go through the encoder at once when nothing is trained.
const AT_ONCE: usize = 256;

/// An encoder, and the map after which each feature of its output has mean 0 and variance 1 over the training cells.
#[derive(Debug, Clone)]
pub(in crate::model::jepa) struct Encoder {
    pub backbone: Backbone<Cpu>,
    pub standard: Linear<Cpu>,
    pub target_sum: f32,
    /// Where it embeds; its weights lie in host memory.
    pub device: Device,
}

impl Encoder {
    /// Number of features of z.
    pub fn width(&self) -> usize {
        self.standard.bias.shape().0
    }

    /// z of the cells `rows`, `(rows, width)`.
    pub fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(number) = self.device {
            use crate::nn::{Movable, cuda};
            let cuda = cuda(number)?;
            return self.embed_by(&self.backbone.copied_to(&cuda)?, &self.standard.copied_to(&cuda)?, (data, rows));
        }
        let _on = self.device.enter()?;
        self.embed_by(&self.backbone, &self.standard, (data, rows))
    }

    /// z of the cells `rows`, as cells that are moved.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn start(&self, data: &Dataset, rows: &[usize]) -> Result<StartCells> {
        Ok(StartCells::new(self.embed(data, rows)?, rows.iter().map(|&row| data.library_size[row])))
    }

    /// The same by its weights on a device.
    fn embed_by<D: Backend>(
        &self,
        backbone: &Backbone<D>,
        standard: &Linear<D>,
        (data, rows): (&Dataset, &[usize]),
    ) -> Result<Array2<f32>> {
        let blocks = rows.chunks(AT_ONCE).map(|rows| {
            let factors: Vec<f32> = rows.iter().map(|&row| self.target_sum / data.library_size[row].max(1.0)).collect();
            let counts = Arc::new(data.counts.select_cells(rows).scale_rows(&factors));
            let h = backbone.encoder.forward(&Seen::whole(counts), NoneTape)?;
            Ok(ops::download(&standard.forward(h)?))
        });
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        match views.is_empty() {
            true => Ok(Array2::zeros((0, self.width()))),
            false => Ok(concatenate(Axis(0), &views).expect("every block has the same width")),
        }
    }
}

/// z of the training cells.
pub struct Embedded {
    /// `(cells, width)`.
    pub z: Array2<f32>,
    /// The place of each row of the dataset.
    place: BTreeMap<usize, usize>,
    /// ln of the library size of each, `(cells,)`.
    log_library: Vec<f32>,
    rows: Vec<usize>,
}

impl Embedded {
    /// Of the cells `rows`.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn of(encoder: &Encoder, data: &Dataset, rows: &[usize]) -> Result<Self> {
        let place = rows.iter().enumerate().map(|(place, &row)| (row, place)).collect();
        let StartCells { z, log_library } = encoder.start(data, rows)?;
        Ok(Self { z, place, log_library, rows: rows.to_vec() })
    }

    /// z of some of them, by their rows of the dataset.
    pub fn pick(&self, rows: &[usize]) -> Array2<f32> {
        self.z.select(Axis(0), &self.places(rows))
    }

    /// The same as cells that are moved.
    pub fn start(&self, rows: &[usize]) -> StartCells {
        let places = self.places(rows);
        let log_library = places.iter().map(|&place| self.log_library[place]).collect();
        StartCells { z: self.z.select(Axis(0), &places), log_library }
    }

    /// The rows of the dataset that they are of, in the order of z.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The place in z of some of them, by their rows of the dataset.
    pub fn places(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.place[row]).collect()
    }

    /// Mean z of some of them.
    pub fn mean(&self, rows: &[usize]) -> Array1<f64> {
        self.pick(rows).mapv(f64::from).mean_axis(Axis(0)).expect("there are cells of every condition")
    }

    /// The difference that each measured perturbation makes to the mean, `(effects, width)`, and each gene's mean over
    /// contexts, `(genes, width)`.
    ///
    /// # Errors
    /// A context without control cells.
    pub fn effects(&self, measured: &Measured) -> Result<(Array2<f64>, Array2<f64>)> {
        let mut effects = Array2::zeros((0, self.z.ncols()));
        for (gene, context) in &measured.effects {
            let condition = Condition { perturbation: Perturbation::of([gene.as_str()]), context: context.clone() };
            let shift = self.mean(measured.rows(&condition)) - self.mean(measured.controls(context.as_deref())?);
            effects.push_row(shift.view()).expect("every effect has the same width");
        }
        let means = measured.means(&effects, Hidden::Nothing);
        Ok((effects, means))
    }

    /// Mean over the conditions, control aside, of the difference that each makes to the mean, `(width,)`; `None` where there
    /// are none whose context has control cells.
    pub fn mean_shift(&self, measured: &Measured) -> Option<Array1<f32>> {
        let controls: BTreeMap<&Option<String>, Array1<f64>> = measured
            .conditions()
            .filter(|condition| condition.perturbation.is_control())
            .map(|condition| (&condition.context, self.mean(measured.rows(condition))))
            .collect();
        let (mut sum, mut conditions) = (Array1::<f64>::zeros(self.z.ncols()), 0);
        for condition in measured.conditions().filter(|condition| !condition.perturbation.is_control()) {
            if let Some(control) = controls.get(&condition.context) {
                sum += &(self.mean(measured.rows(condition)) - control);
                conditions += 1;
            }
        }
        (conditions > 0).then(|| sum.mapv(|sum| (sum / f64::from(conditions)) as f32))
    }
}
