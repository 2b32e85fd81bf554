//! A flow as users meet it: made, trained, asked for samples or to carry given ones.

use super::{
    config::{FlowConfig, TransportConfig},
    curvature,
    learned::LearnedVelocity,
    matching::Matching,
};
use crate::{
    Error, Result,
    device::Device,
    model::diffusion::{
        Divergence, Velocity,
        guided_net::Guide,
        learner::LearnerConfig,
        placed::Placed,
        rows::{Rows, Source, check_condition},
        standard::{Scales, Standard},
    },
    train::{FitOptions, History, TrainConfig},
};
use ndarray::{Array1, Array2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};
use std::{ops::Range, sync::Arc};

/// Where a trained flow begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
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
    pub(super) config: FlowConfig,
    pub(super) dims: usize,
    pub(super) condition: usize,
    pub(super) net: Placed,
    /// Known once it is trained.
    pub(super) trained: Option<Trained>,
}

/// What a training leaves beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trained {
    pub origin: Origin,
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
        let FlowConfig { path, pairing, net, condition_dropout, ema } = *config;
        let corruption = Arc::new(Matching { path, pairing });
        let learner = LearnerConfig { dims, condition, net, condition_dropout, ema, corruption };
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
    pub fn origin(&self) -> Result<Origin> {
        Ok(self.trained()?.origin)
    }

    /// Number of trained weights; their moving average is not counted.
    ///
    /// # Errors
    /// None of its own; those of the model's walk.
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
        options: &mut FitOptions<'_>,
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
        options: &mut FitOptions<'_>,
    ) -> Result<History> {
        self.fit_with(FlowData { source: Some(source), x: target, condition }, None, train, options)
    }

    /// Trains, watching `validation`. The loss is the mean squared error of the velocity, a dimension; its least is not 0, as
    /// paths cross. Validation is of the averaged weights, at times and sources that are the same in every epoch.
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
        options: &mut FitOptions<'_>,
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
                crate::model::diffusion::standard::check_finite("the source", source)?;
                crate::model::diffusion::standard::check_finite("x", data.x)?;
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
        let origin = if data.source.is_some() { Origin::Samples } else { Origin::Noise };
        self.trained = Some(Trained { origin, scales });
        Ok(history)
    }

    /// A second flow, trained on where this one takes the rows of `source` `(rows, dims)` (noise, for a flow from noise:
    /// [`noise`](super::noise)), with their conditions. Its pairs do not cross, so that its paths are straighter and fewer
    /// steps suffice (Liu et al. 2023, section 2.1). It begins with this one's weights.
    ///
    /// # Errors
    /// As [`Self::transport`] and [`Self::fit`].
    pub fn reflow(
        &self,
        source: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        how: &TransportConfig,
        train: &TrainConfig,
        options: &mut FitOptions<'_>,
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

    /// Carries source rows `(rows, dims)` to the data, `(rows, dims)`, with a condition of as many rows or of one for all of
    /// them. The source is in the units of the data, and noise for a flow from noise.
    ///
    /// # Errors
    /// A flow that is not trained; a source of another width or not finite; a condition that is missing, not expected or of
    /// another shape; a guidance that is negative, or other than 1 on an unconditional flow; no steps.
    pub fn transport(
        &self,
        source: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        how: &TransportConfig,
    ) -> Result<Array2<f32>> {
        let start = self.enter(source)?;
        let guide = self.guide(source.nrows(), condition, how.guidance)?;
        Ok(self.trained()?.scales.x.back(self.carry(&start, &guide, how)?))
    }

    /// New samples, `(n, dims)`, of a flow from noise. The same seed gives the same samples.
    ///
    /// # Errors
    /// As [`Self::transport`]; a flow that begins at samples: there is nothing to draw them from.
    pub fn sample(
        &self,
        n: usize,
        condition: Option<&Array2<f32>>,
        how: &TransportConfig,
        seed: u64,
    ) -> Result<Array2<f32>> {
        self.check_origin("sample")?;
        if n == 0 {
            return Err(Error::config("no rows are asked for; give at least 1"));
        }
        self.transport(&super::noise(n, self.dims, seed), condition, how)
    }

    /// The places of source rows on their way, `steps + 1` arrays `(rows, dims)` at evenly spaced times from 0 to 1, in the
    /// units of the data; for a flow from noise, the noise too.
    ///
    /// # Errors
    /// As [`Self::transport`].
    pub fn paths(
        &self,
        source: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        how: &TransportConfig,
    ) -> Result<Vec<Array2<f32>>> {
        how.ode.validate()?;
        let steps = how.ode.steps;
        let one = TransportConfig { ode: crate::model::diffusion::OdeConfig { steps: 1, ..how.ode }, ..*how };
        let guide = self.guide(source.nrows(), condition, how.guidance)?;
        let mut x = self.enter(source)?;
        let scale = &self.trained()?.scales.x;
        let mut places = vec![scale.back(x.clone())];
        for step in 0..steps {
            let at = |step: usize| step as f64 / steps as f64;
            x = self.integrate(&x, &guide, (at(step), at(step + 1)), &one)?;
            places.push(scale.back(x.clone()));
        }
        Ok(places)
    }

    /// The source that data rows come from, by the flow backward: noise, or in the units of the data, `(rows, dims)`.
    ///
    /// # Errors
    /// As [`Self::transport`].
    pub fn encode(
        &self,
        x: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        how: &TransportConfig,
    ) -> Result<Array2<f32>> {
        let Trained { origin, scales } = self.trained()?;
        let guide = self.guide(x.nrows(), condition, how.guidance)?;
        let z = self.integrate(&scales.x.forward("x", x)?.mapv(f64::from), &guide, (1.0, 0.0), how)?;
        Ok(match origin {
            Origin::Noise => z.mapv(|v| v as f32),
            Origin::Samples => scales.x.back(z),
        })
    }

    /// Log density of the rows of x in nats, in the units of the data, `(rows,)`, of a flow from noise. The exact divergence
    /// takes 2 x dims evaluations of the network at each step; see [`Divergence`].
    ///
    /// # Errors
    /// As [`Self::transport`]; a flow that begins at samples, whose density nobody knows.
    pub fn log_likelihood(
        &self,
        x: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        divergence: Divergence,
        how: &TransportConfig,
    ) -> Result<Array1<f64>> {
        self.check_origin("a log likelihood")?;
        let scale = &self.trained()?.scales.x;
        let guide = self.guide(x.nrows(), condition, how.guidance)?;
        let z = scale.forward("x", x)?.mapv(f64::from);
        let density = self.along(z.nrows(), &guide, &|velocity, rows| {
            let z = z.slice(s![rows, ..]).to_owned();
            let of = super::flow_log_likelihood(velocity, &z, divergence, &how.ode)?;
            Ok(of.log_density.insert_axis(Axis(1)))
        })?;
        Ok(density.remove_axis(Axis(1)) - scale.log_volume())
    }

    /// How far the paths of source rows are from straight lines; see [`curvature`]. In units of the standardised data.
    ///
    /// # Errors
    /// As [`Self::transport`].
    pub fn curvature(&self, source: &Array2<f32>, condition: Option<&Array2<f32>>, steps: usize) -> Result<f64> {
        let start = self.enter(source)?;
        let guide = self.guide(source.nrows(), condition, 1.0)?;
        curvature(&LearnedVelocity { net: &self.net, dims: self.dims, guide }, &start, steps)
    }

    /// The trained network as a velocity for the solvers of this library, of rows in the flow's own units (mean 0 and
    /// standard deviation 1 a dimension), with a condition of `rows` rows or of one for all of them.
    ///
    /// # Errors
    /// As [`Self::transport`].
    pub fn velocity(&self, rows: usize, condition: Option<&Array2<f32>>, guidance: f64) -> Result<impl Velocity + '_> {
        Ok(LearnedVelocity { net: &self.net, dims: self.dims, guide: self.guide(rows, condition, guidance)? })
    }

    pub(super) fn trained(&self) -> Result<&Trained> {
        self.trained.as_ref().ok_or_else(|| Error::config("this flow is not trained; call fit first"))
    }

    fn check_origin(&self, what: &str) -> Result<()> {
        match self.origin()? {
            Origin::Noise => Ok(()),
            Origin::Samples => Err(Error::inapplicable(format!(
                "{what} needs a flow from noise, and this one begins at given samples; carry some with transport"
            ))),
        }
    }

    /// Source rows in the network's units.
    fn enter(&self, source: &Array2<f32>) -> Result<Array2<f64>> {
        let Trained { origin, scales } = self.trained()?;
        let start = match origin {
            Origin::Samples => scales.x.forward("the source", source)?,
            Origin::Noise => source.clone(),
        };
        Ok(start.mapv(f64::from))
    }

    fn guide(&self, rows: usize, condition: Option<&Array2<f32>>, guidance: f64) -> Result<Guide> {
        Guide::new(self.trained()?.scales.conditions(rows, condition, self.condition)?, guidance)
    }

    fn carry(&self, start: &Array2<f64>, guide: &Guide, how: &TransportConfig) -> Result<Array2<f64>> {
        self.integrate(start, guide, (0.0, 1.0), how)
    }

    fn integrate(
        &self,
        start: &Array2<f64>,
        guide: &Guide,
        (from, to): (f64, f64),
        how: &TransportConfig,
    ) -> Result<Array2<f64>> {
        self.along(start.nrows(), guide, &|velocity, rows| {
            let start = start.slice(s![rows, ..]).to_owned();
            Ok(crate::model::diffusion::integrate(velocity, start, from, to, &how.ode)?.x)
        })
    }

    /// Runs `f` with the velocity of each block of rows.
    fn along(
        &self,
        rows: usize,
        guide: &Guide,
        f: &(dyn Fn(&LearnedVelocity<'_>, Range<usize>) -> Result<Array2<f64>> + Sync),
    ) -> Result<Array2<f64>> {
        let dims = self.dims;
        self.net
            .in_blocks(rows, &|net, _, rows| f(&LearnedVelocity { net, dims, guide: guide.rows(rows.clone()) }, rows))
    }
}
