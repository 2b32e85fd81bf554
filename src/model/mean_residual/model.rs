//! The model in the contract of all models, and its predictions from metadata.

use super::{
    MeanResidualSettings, ResidualKind,
    mean::Mean,
    net::MeanNet,
    residual::{FLOW_KIND, Residual},
};
use crate::{
    Error, Result,
    data::{
        DataKind, Dataset, Expression, MetadataEncoder, Table, TargetSum, TrainingData, normalize::log_normalize,
        usual_total,
    },
    device::Device,
    math::{ridge::LinearFit, seeds::stream},
    model::{
        Abilities, ExpectedExpression, FromMetadata, Generated, HoldOut, Model, ModelConfig, State, Trained, flow::Flow,
    },
    nn::init::seeded,
    train::{History, Run},
};
use dfdx::prelude::Cpu;
use ndarray::{Array2, Axis};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Purposes of random streams.
const DRAWS: u64 = 5;
const INTERVALS: u64 = 6;
/// The quantile of the normal distribution at 0.95, the upper end of a central interval of 90 %.
const NORMAL_95: f64 = 1.644_853_626_951_472_2;
/// Library sizes that are kept to draw from.
const LIBRARIES: usize = 1000;

/// Expression from metadata: see the module.
#[derive(Clone)]
pub struct MeanResidual {
    about: Description,
    mean: Mean,
    residual: Residual,
}

/// The description in `model.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Description {
    settings: MeanResidualSettings,
    encoder: MetadataEncoder,
    genes: Vec<String>,
    expression: Expression,
    total: f32,
    /// Of training samples, to draw from.
    library_sizes: Vec<f32>,
    /// Smallest value of training samples that are no counts: draws are not below it.
    floor: f32,
    /// The unit of the networks' coordinates, w, and the number of networks.
    network: (f64, f64, usize),
    penalty: f64,
    /// Share of the linear part's squared error that the network takes away of unseen rows.
    gain: f64,
    has_size: bool,
}

impl Model for MeanResidual {
    const KIND: &'static str = "mean-residual";
    const ABOUT: &'static str =
        "expression of samples from their metadata (tissue, drug, dose, age): a mean with a distribution around it";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const NEEDS_COUNTS: bool = false;
    const TRAINS_ON_CUDA: bool = true;
    type Config = MeanResidualSettings;

    fn fit(data: &TrainingData, settings: &MeanResidualSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        settings.validate()?;
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no samples with metadata to train on"));
        };
        let data = cells.data.as_ref();
        let mut rows = [cells.split.train.as_slice(), &cells.split.validation].concat();
        rows.sort_unstable();
        let encoder = MetadataEncoder::fit(&data.cells, &rows, &settings.metadata.columns)?;
        let metadata = encoder.encode(&data.cells, &rows)?;
        let libraries: Vec<f32> = rows.iter().map(|&row| data.library_size[row]).collect();
        let total = usual_total(&libraries);
        let y = log_expression(data, &rows, total)?;
        let group_of = match settings.metadata.hold_out {
            HoldOut::Rows => (0..rows.len()).collect(),
            HoldOut::Combinations => encoder.level_combinations(&metadata).0,
        };
        let fitted = Mean::fit(&metadata, &y.mapv(f64::from), &group_of, settings, run)?;
        let residual = Residual::fit(&fitted.residual, &metadata, &fitted.fold_of, settings, run)?;
        let mean = fitted.mean;
        let step = libraries.len().div_ceil(LIBRARIES);
        let about = Description {
            settings: settings.clone(),
            encoder,
            genes: data.gene_names().to_vec(),
            expression: data.expression,
            total,
            library_sizes: libraries.into_iter().step_by(step).collect(),
            floor: if data.expression == Expression::Z { f32::MIN } else { y.fold(f32::MAX, |a, &b| a.min(b)) },
            network: (mean.unit, mean.weight, mean.nets.len()),
            penalty: fitted.penalty,
            gain: fitted.gain,
            has_size: residual.size.is_some(),
        };
        Ok((Self { about, mean, residual }, fitted.history))
    }

    fn restore(mut state: State, device: Device) -> Result<Self> {
        Self::check_device(device)?;
        let about: Description = state.description()?;
        let genes = about.genes.len();
        let features = about.encoder.n_levels() + about.encoder.n_numbers();
        let linear = LinearFit {
            weights: state.array("linear", Some(features), Some(genes))?,
            intercept: state.vector("intercept", genes)?,
        };
        let basis = state.array("basis", None, Some(genes))?;
        let (unit, weight, n_nets) = about.network;
        let sizes = (about.encoder.n_levels(), about.encoder.n_numbers());
        let mut nets = Vec::with_capacity(n_nets);
        for fold in 0..n_nets {
            let mut net =
                MeanNet::new(&Cpu::default(), sizes, basis.nrows(), &about.settings.mean, &mut seeded(fold as u64))?;
            state.fill(&format!("net-{fold}"), &mut net)?;
            nets.push(net);
        }
        let size = match about.has_size {
            true => Some(LinearFit {
                weights: state.array("size_weights", Some(features), Some(1))?,
                intercept: state.vector("size_intercept", 1)?,
            }),
            false => None,
        };
        let flow = match about.settings.residual.distribution {
            ResidualKind::Flow { sampling, .. } => {
                Some((Flow::restore(&state.part("flow", FLOW_KIND)?, device)?, sampling))
            }
            ResidualKind::Gaussian => None,
        };
        let loadings = state.array("loadings", None, Some(genes))?;
        let residual = Residual { size, loadings, noise: state.vector("noise", genes)?, flow };
        Ok(Self { mean: Mean { linear, basis, unit, weight, nets }, residual, about })
    }
}

/// Log expression of samples: log1p of counts normalised to `total`, or the values.
fn log_expression(data: &Dataset, rows: &[usize], total: f32) -> Result<Array2<f32>> {
    Ok(log_normalize(&data.select_cells(rows), TargetSum::Fixed(total))?.to_dense())
}

impl MeanResidual {
    /// The linear part alone, without the network: what an additive model of the metadata predicts, `(rows, genes)`.
    ///
    /// # Errors
    /// As [`FromMetadata::expected`].
    pub fn linear_part(&self, metadata: &Table) -> Result<Array2<f32>> {
        let encoded = self.about.encoder.encode(metadata, &all_rows(metadata))?;
        Ok(self.mean.linear.predict(&encoded.design()).mapv(|value| value as f32))
    }

    /// The settings.
    pub fn settings(&self) -> &MeanResidualSettings {
        &self.about.settings
    }
}

fn all_rows(table: &Table) -> Vec<usize> {
    (0..table.len()).collect()
}

impl FromMetadata for MeanResidual {
    fn encoder(&self) -> &MetadataEncoder {
        &self.about.encoder
    }

    fn total(&self) -> f32 {
        self.about.total
    }

    fn expected(&self, metadata: &Table) -> Result<ExpectedExpression> {
        let encoded = self.about.encoder.encode(metadata, &all_rows(metadata))?;
        let mean = self.mean.predict(&encoded)?;
        let mut rng = stream(0, INTERVALS, 0);
        let (lower, upper) = self.residual.interval(&encoded.design(), NORMAL_95, &mut rng)?;
        let floor = self.about.floor;
        let single = |values: Array2<f64>| values.mapv(|value| (value as f32).max(floor));
        Ok(ExpectedExpression { lower: single(&mean + &lower), upper: single(&mean + &upper), mean: single(mean) })
    }

    fn draw(&self, metadata: &Table, n: usize, seed: u64) -> Result<Generated> {
        let encoded = self.about.encoder.encode(metadata, &all_rows(metadata))?;
        let mean = self.mean.predict(&encoded)?;
        let mut rng = stream(seed, DRAWS, 0);
        let mut values = self.residual.draw(&encoded.design(), n, &mut rng)?;
        values.rows_mut().into_iter().enumerate().for_each(|(draw, mut row)| row += &mean.row(draw / n.max(1)));
        let floor = f64::from(self.about.floor);
        values.mapv_inplace(|value| value.max(floor));
        let known = &self.about.library_sizes;
        let library_size: Vec<f32> = (0..values.nrows()).map(|_| known[rng.random_range(0..known.len())]).collect();
        let are_counts = self.about.expression.is_counts();
        if are_counts {
            // The residual was fitted to counts: it holds their sampling noise, which must not be added again.
            for (mut row, &library) in values.axis_iter_mut(Axis(0)).zip(&library_size) {
                let scale = f64::from(library / self.about.total);
                row.mapv_inplace(|value| (value.exp_m1() * scale).round());
            }
        }
        Ok(Generated { values: values.mapv(|value| value as f32), library_size, are_counts })
    }

    fn log_expression(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        let data = match data.gene_names() == self.about.genes {
            true => data,
            false => &data.select_genes(&data.genes_at(&self.about.genes)?)?,
        };
        log_expression(data, rows, self.about.total)
    }
}

impl Trained for MeanResidual {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn genes(&self) -> &[String] {
        &self.about.genes
    }

    fn perturbs(&self, _: &str) -> bool {
        false
    }

    fn metadata_model(&self) -> Option<&dyn FromMetadata> {
        Some(self)
    }

    fn state(&self) -> Result<State> {
        let mut state = State::new(&self.about)
            .with_array("linear", &self.mean.linear.weights)
            .with_vector("intercept", &self.mean.linear.intercept)
            .with_array("basis", &self.mean.basis);
        for (fold, net) in self.mean.nets.iter().enumerate() {
            state = state.with_network(&format!("net-{fold}"), net)?;
        }
        self.residual.add_to(state)
    }

    fn notes(&self) -> Vec<String> {
        let Description { encoder, penalty, gain, network: (_, weight, _), has_size, .. } = &self.about;
        let network = match *weight > 0.0 {
            true => format!(
                "the network has weight {weight:.2} and takes away {:.1} % of the squared error that the linear part leaves on \
                 rows that neither has seen",
                100.0 * gain
            ),
            false => "the network has weight 0: rows that it has not seen are predicted no better with it".to_owned(),
        };
        let size = match has_size {
            true => "the size of the residual depends on the metadata",
            false => "the size of the residual does not depend on the metadata",
        };
        vec![format!("metadata: {}", encoder.described()), format!("ridge penalty {penalty}; {network}; {size}")]
    }

    fn choices(&self) -> serde_json::Value {
        let Description { penalty, gain, network: (_, weight, _), has_size, total, .. } = &self.about;
        serde_json::json!({
            "ridge_penalty": penalty, "network_weight": weight, "network_gain": gain, "residual_size_by_metadata": has_size,
            "normalised_to": total,
        })
    }
}
