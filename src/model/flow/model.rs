//! A flow as users meet it: its settings, its training, its files.

use super::{FlowPath, Pairing, matching::Matching};
use crate::{
    Error, Result,
    device::Device,
    model::{
        State,
        diffusion::{
            OdeConfig, Solver,
            config::check_shares,
            learner::{LearnerConfig, Placed, Rows, Source},
            model::check_saved,
            net::ScoreNetConfig,
            prediction::{Scales, Standard, check_condition, check_finite},
        },
    },
    train::{History, Run, TrainConfig},
};
use ndarray::{Array2, Axis, concatenate};
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};

/// Along which paths, between which pairs, and by which network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowConfig {
    /// From a source sample to its data sample. Default: a straight line.
    pub path: FlowPath,
    /// Which go together in a batch. Default: those of the cheapest assignment.
    pub pairing: Pairing,
    /// The network.
    pub net: ScoreNetConfig,
    /// Probability that a training row's condition is dropped, which is what guidance needs; default 0.1 (Ho and Salimans
    /// 2022). Of no effect without conditions.
    pub condition_dropout: f64,
    /// Numbers at the end of a condition that are never dropped, so that guidance is by the others; default 0.
    pub condition_kept: usize,
    /// Largest momentum of the moving average of the weights; default 0.999.
    pub ema: f64,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            path: FlowPath::default(),
            pairing: Pairing::default(),
            net: ScoreNetConfig::default(),
            condition_dropout: 0.1,
            condition_kept: 0,
            ema: 0.999,
        }
    }
}

impl FlowConfig {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// A setting out of its range, with its name.
    pub fn validate(&self) -> Result<()> {
        self.pairing.validate()?;
        self.net.validate()?;
        check_shares(self.condition_dropout, self.ema)
    }
}

/// How a trained [`Flow`] carries its samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// The solver and its steps. Default: 25 steps of Heun's method.
    pub ode: OdeConfig,
    /// Scale of classifier-free guidance, of the velocity; 1, the default, is the conditional model.
    pub guidance: f64,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self::new(Solver::Heun, 25)
    }
}

impl TransportConfig {
    /// So many steps of a solver, without guidance.
    pub fn new(solver: Solver, steps: usize) -> Self {
        Self { ode: OdeConfig::fixed(solver, steps), guidance: 1.0 }
    }

    /// The same with this guidance.
    #[must_use]
    pub fn guided(self, guidance: f64) -> Self {
        Self { guidance, ..self }
    }
}

/// Where a trained flow begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowSource {
    /// At standard normal noise.
    Noise,
    /// At samples of a source, such as control cells, in the units of the data.
    Samples,
}

/// Samples to train a [`Flow`] on.
#[derive(Debug, Clone, Copy)]
pub struct FlowData<'a> {
    /// Where it begins, `(source rows, dims)`; noise where there is none.
    pub source: Option<&'a Array2<f32>>,
    /// Where it ends, `(rows, dims)`.
    pub x: &'a Array2<f32>,
    /// Of the rows of x, `(rows, condition)`.
    pub condition: Option<&'a Array2<f32>>,
}

/// A flow of vectors: a learned velocity that carries noise, or the samples of a source, to the data.
///
/// Samples and conditions are standardised inside, by the moments of the training rows (of source and data together).
///
/// ```no_run
/// use genailab::{device::Device, model::flow::{Flow, FlowConfig, TransportConfig}, ndarray::Array2};
///
/// let control = Array2::from_shape_fn((800, 2), |(row, column)| ((row * 7 + column * 3) % 11) as f32);
/// let perturbed = &control * 0.5 + 3.0; // (rows, dims); in earnest, other cells
/// let mut flow = Flow::new(2, 0, &FlowConfig::default(), 0, Device::Cpu)?;
/// flow.fit_between(&control, &perturbed, None, &Flow::training(), &mut Default::default())?;
/// let carried = flow.transport(&control, None, &TransportConfig::default())?; // (800, 2)
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Flow {
    config: FlowConfig,
    pub(super) dims: usize,
    pub(super) condition: usize,
    pub(super) net: Placed,
    /// Known once it is trained.
    pub(super) trained: Option<Trained>,
}

/// What a training leaves beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trained {
    pub origin: FlowSource,
    pub scales: Scales,
}

impl Flow {
    /// A flow of rows of `dims` numbers, with conditions of `condition` numbers or 0 for none. The seed of the weights is
    /// `seed`.
    ///
    /// # Errors
    /// Settings out of range; no dimensions; a device that is not there.
    pub fn new(dims: usize, condition: usize, config: &FlowConfig, seed: u64, device: Device) -> Result<Self> {
        config.validate()?;
        let FlowConfig { path, pairing, net, condition_dropout, condition_kept: kept, ema } = *config;
        let corruption = Arc::new(Matching { path, pairing });
        let learner = LearnerConfig { dims, condition, net, condition_dropout, kept, ema, corruption };
        Ok(Self { config: *config, dims, condition, net: Placed::new(learner, seed, device)?, trained: None })
    }

    /// The settings.
    pub fn config(&self) -> &FlowConfig {
        &self.config
    }

    /// Numbers of a row.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Numbers of a condition; 0 of an unconditional flow.
    pub fn condition(&self) -> usize {
        self.condition
    }

    /// Where the trained flow begins.
    ///
    /// # Errors
    /// A flow that is not trained.
    pub fn origin(&self) -> Result<FlowSource> {
        Ok(self.trained()?.origin)
    }

    /// Takes the group of each gene `(genes,)` for a network of gene tokens, before the training: which genes share a token.
    ///
    /// # Errors
    /// A network without such tokens; another number of genes; a group that has no token.
    pub fn set_gene_groups(&mut self, group_of: &[u32]) -> Result<()> {
        self.net.set_gene_groups(group_of)
    }

    /// Number of trained weights; their moving average is not counted.
    ///
    /// # Errors
    /// Those of the walk over the model's parameters.
    pub fn n_params(&self) -> Result<usize> {
        self.net.n_params()
    }

    /// The settings of a training that suit a few thousand rows: those of
    /// [`DiffusionConfig::training`](crate::model::diffusion::DiffusionConfig::training).
    pub fn training() -> TrainConfig {
        crate::model::diffusion::DiffusionConfig::training()
    }

    /// Trains from noise to the rows of x `(rows, dims)` with conditions `(rows, condition)`.
    ///
    /// # Errors
    /// As [`Self::fit_with`].
    pub fn fit(
        &mut self,
        x: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        train: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<History> {
        self.fit_with(FlowData { source: None, x, condition }, None, train, options)
    }

    /// Trains from the rows of `source` `(source rows, dims)` to those of `target` `(rows, dims)` with the targets' conditions
    /// `(rows, condition)`: in each batch as many source rows are drawn as there are targets, and paired with them.
    ///
    /// # Errors
    /// As [`Self::fit_with`].
    pub fn fit_between(
        &mut self,
        source: &Array2<f32>,
        target: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        train: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<History> {
        self.fit_with(FlowData { source: Some(source), x: target, condition }, None, train, options)
    }

    /// Trains, and computes the loss of `validation` after each epoch. The loss is the mean squared error of the velocity per
    /// dimension; its minimum is not 0, because the lines of different pairs
    /// meet: at one place and time there are several velocities, and the network learns their mean. The validation loss is that of
    /// the averaged weights, at times and sources that are the same in every epoch.
    ///
    /// # Errors
    /// A value that is not finite, with its row and column; a dimension that never varies; a condition that is missing, not
    /// expected or of another shape; a batch too large for its pairing; a loss that stops being finite, an interruption, a
    /// folder that cannot be written.
    pub fn fit_with(
        &mut self,
        data: FlowData<'_>,
        validation: Option<FlowData<'_>>,
        train: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<History> {
        for (what, x) in [("x", Some(data.x)), ("the source", data.source)] {
            if let Some(x) = x.filter(|x| x.ncols() != self.dims) {
                let (found, dims) = (x.ncols(), self.dims);
                return Err(Error::config(format!("{what} has {found} columns, but the flow was made for {dims}")));
            }
        }
        check_condition(data.condition, data.x.nrows(), self.condition)?;
        let x = match data.source {
            None => Standard::of_samples(data.x)?,
            Some(source) => {
                if source.nrows() == 0 {
                    return Err(Error::data("the source has no rows: there is nowhere to begin"));
                }
                check_finite("the source", source)?;
                check_finite("x", data.x)?;
                let both = concatenate(Axis(0), &[source.view(), data.x.view()]).expect("both are of this width");
                Standard::of_samples(&both)?
            }
        };
        let scales = Scales { x, condition: data.condition.map(Standard::of_conditions).transpose()? };
        let rows = |data: FlowData<'_>| -> Result<Rows> {
            check_condition(data.condition, data.x.nrows(), self.condition)?;
            let source = match data.source {
                None => Source::Noise,
                Some(source) => Source::Drawn(Arc::new(scales.x.forward("the source", source)?)),
            };
            Ok(Rows { x: scales.x.forward("x", data.x)?, source, condition: scales.condition(data.condition)? })
        };
        let train_rows = rows(data)?;
        let validation = validation.map(rows).transpose()?;
        // Until the training has come to its end there is nothing to carry samples with.
        self.trained = None;
        let history = self.net.fit(&train_rows, validation.as_ref(), train, options)?;
        let origin = if data.source.is_some() { FlowSource::Samples } else { FlowSource::Noise };
        self.trained = Some(Trained { origin, scales });
        Ok(history)
    }

    /// A second flow, trained on where this one takes the rows of `source` `(rows, dims)` (noise, for a flow from noise:
    /// [`noise`](super::noise)), with their conditions. The paths of a flow may cross in space, but two never meet at the
    /// same time, so that the new pairs' lines meet less often: paths become straighter and fewer steps suffice (Liu et al. 2023,
    /// section 2.1). It begins with this one's weights.
    ///
    /// # Errors
    /// As [`Self::transport`] and [`Self::fit`].
    pub fn reflow(
        &self,
        source: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        how: &TransportConfig,
        train: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<Self> {
        let start = self.enter(source)?;
        let guide = self.guide(source.nrows(), condition, how.guidance)?;
        let scales = &self.trained()?.scales;
        let rows = Rows {
            x: self.carry(&start, &guide, how)?.mapv(|v| v as f32),
            source: Source::Paired(start.mapv(|v| v as f32)),
            condition: scales.conditions(source.nrows(), condition, self.condition)?,
        };
        let mut second = self.clone();
        second.trained = None;
        second.net.fit(&rows, None, train, options)?;
        second.trained.clone_from(&self.trained);
        Ok(second)
    }

    pub(super) fn trained(&self) -> Result<&Trained> {
        self.trained.as_ref().ok_or_else(|| Error::config("this flow is not trained; call fit first"))
    }
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: FlowConfig,
    dims: usize,
    condition: usize,
    trained: Trained,
}

impl Flow {
    /// Its kind in `model.json`.
    pub const KIND: &'static str = "flow";

    /// The model as data.
    ///
    /// # Errors
    /// A model that is not trained.
    pub fn state(&self) -> Result<State> {
        let description = Description {
            config: self.config,
            dims: self.dims,
            condition: self.condition,
            trained: self.trained()?.clone(),
        };
        self.net.add_to(State::new(&description))
    }

    /// The model that [`Self::state`] described.
    ///
    /// # Errors
    /// Weights that do not fit the description.
    pub fn restore(state: &State, device: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        check_saved(&saved.config.net, (saved.dims, saved.condition), &saved.trained.scales, state)?;
        let mut model = Self::new(saved.dims, saved.condition, &saved.config, 0, device)?;
        model.net.fill_from(state)?;
        model.trained = Some(saved.trained);
        Ok(model)
    }

    /// Writes the model to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A model that is not trained; a folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.state()?.write(dir, Self::KIND)
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, one of another kind or version, weights that do not fit.
    pub fn load(dir: &Path, device: Device) -> Result<Self> {
        Self::restore(&State::read(dir, Self::KIND)?, device).map_err(|e| e.at(dir.display()))
    }
}
