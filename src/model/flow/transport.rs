//! A flow in use: sampling, encoding, likelihood, and how straight it is; of any velocity, and of a trained [`Flow`].
//!
//! # Exact velocities
//!
//! That of a flow from standard normal noise to a Gaussian mixture, drawn independently of each other:
//! `v(x, t) = E[dx_t/dt | x_t = x] = a' E[x_0 | x_t] + b' E[x_1 | x_t]` with the weights a, b of the path.

use super::{
    Flow, FlowPath, FlowSource,
    model::{Trained, TransportConfig},
    noise,
};
use crate::{
    Error, Result,
    model::diffusion::{
        Divergence, FlowLikelihood, GaussianMixture, OdeConfig, Solution, Velocity, integrate,
        learner::DIFFERENCE_STEP,
        log_likelihood,
        ode::standard_normal_log_density,
        prediction::{Answers, Guide},
    },
};
use ndarray::{Array1, Array2, Axis, s};
use std::ops::Range;

/// Source samples (noise, control cells) to data, `(rows, dims)`.
///
/// # Errors
/// See [`integrate`].
pub fn transport(velocity: &dyn Velocity, source: &Array2<f64>, config: &OdeConfig) -> Result<Solution> {
    integrate(velocity, source.clone(), 0.0, 1.0, config)
}

/// Data to the source samples they come from, `(rows, dims)`.
///
/// # Errors
/// See [`integrate`].
pub fn encode(velocity: &dyn Velocity, data: &Array2<f64>, config: &OdeConfig) -> Result<Solution> {
    integrate(velocity, data.clone(), 1.0, 0.0, config)
}

/// Log density of data `(rows, dims)` in nats, for a flow whose source is standard normal.
///
/// # Errors
/// See [`integrate`].
pub fn flow_log_likelihood(
    velocity: &dyn Velocity,
    data: &Array2<f64>,
    divergence: Divergence,
    config: &OdeConfig,
) -> Result<FlowLikelihood> {
    let source = |x: &Array2<f64>| standard_normal_log_density(x, 1.0);
    log_likelihood(velocity, data, 1.0, 0.0, &source, divergence, config)
}

/// How far the flow from `source` `(rows, dims)` is from straight lines: the mean over rows and times of
/// `|(x_1 - x_0) - v(x_t, t)|^2` along the solution (Liu et al. 2023, section 2.2), with `steps` steps of Heun. 0 if one Euler step
/// is exact.
///
/// # Errors
/// See [`integrate`]; no steps.
pub fn curvature(velocity: &dyn Velocity, source: &Array2<f64>, steps: usize) -> Result<f64> {
    if steps == 0 || source.nrows() == 0 {
        return Err(Error::config("curvature: at least one step and one sample are needed"));
    }
    let config = OdeConfig::fixed(crate::model::diffusion::Solver::Heun, 1);
    let mut x = source.clone();
    let mut speeds = Vec::with_capacity(steps);
    for i in 0..steps {
        let (t, u) = (i as f64 / steps as f64, (i + 1) as f64 / steps as f64);
        let next = integrate(velocity, x.clone(), t, u, &config)?.x;
        // The mean velocity of the step: its length is exactly what the solution moved by.
        speeds.push((&next - &x) * steps as f64);
        x = next;
    }
    let chord = x - source;
    let apart = |v: &Array2<f64>| -> Array1<f64> { (&chord - v).map_axis(Axis(1), |row| row.dot(&row)) };
    Ok(speeds.iter().map(|v| apart(v).sum()).sum::<f64>() / (steps * source.nrows()) as f64)
}

/// What a perfect velocity network would predict for a [`GaussianMixture`].
#[derive(Debug, Clone)]
pub struct MixtureVelocity {
    mixture: GaussianMixture,
    path: FlowPath,
}

impl MixtureVelocity {
    /// The velocity that carries standard normal noise to `mixture` along `path`.
    pub fn new(mixture: GaussianMixture, path: FlowPath) -> Self {
        Self { mixture, path }
    }
}

impl Velocity for MixtureVelocity {
    fn dims(&self) -> usize {
        self.mixture.dims()
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let (of_source, of_data) = self.path.weights(t);
        let (data, source) = self.mixture.expectations(x, of_data, of_source)?;
        let (source_speed, data_speed) = self.path.speeds(t);
        Ok(source * source_speed + data * data_speed)
    }
}

/// A network and its condition. Samples are in the network's units.
pub(super) struct LearnedVelocity<'a> {
    pub net: &'a dyn Answers,
    pub dims: usize,
    pub guide: Guide,
}

impl Velocity for LearnedVelocity<'_> {
    fn dims(&self) -> usize {
        self.dims
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        self.guide.output(self.net, &x.mapv(|v| v as f32), t)
    }

    fn difference_step(&self) -> f64 {
        DIFFERENCE_STEP
    }
}

impl Flow {
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
        self.transport(&noise(n, self.dims, seed), condition, how)
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
        let one = TransportConfig { ode: OdeConfig { steps: 1, ..how.ode }, ..*how };
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
            FlowSource::Noise => z.mapv(|v| v as f32),
            FlowSource::Samples => scales.x.back(z),
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
            let of = flow_log_likelihood(velocity, &z, divergence, &how.ode)?;
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

    fn check_origin(&self, what: &str) -> Result<()> {
        match self.origin()? {
            FlowSource::Noise => Ok(()),
            FlowSource::Samples => Err(Error::inapplicable(format!(
                "{what} needs a flow from noise, and this one begins at given samples; carry some with transport"
            ))),
        }
    }

    /// Source rows in the network's units.
    pub(super) fn enter(&self, source: &Array2<f32>) -> Result<Array2<f64>> {
        let Trained { origin, scales } = self.trained()?;
        let start = match origin {
            FlowSource::Samples => scales.x.forward("the source", source)?,
            FlowSource::Noise => source.clone(),
        };
        Ok(start.mapv(f64::from))
    }

    pub(super) fn guide(&self, rows: usize, condition: Option<&Array2<f32>>, guidance: f64) -> Result<Guide> {
        Guide::new(self.trained()?.scales.conditions(rows, condition, self.condition)?, guidance)
    }

    pub(super) fn carry(&self, start: &Array2<f64>, guide: &Guide, how: &TransportConfig) -> Result<Array2<f64>> {
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
            Ok(integrate(velocity, start, from, to, &how.ode)?.x)
        })
    }

    /// Runs `f` with the velocity of each block of rows.
    fn along(&self, rows: usize, guide: &Guide, f: VelocityTask<'_>) -> Result<Array2<f64>> {
        let dims = self.dims;
        self.net
            .in_blocks(rows, &|net, _, rows| f(&LearnedVelocity { net, dims, guide: guide.rows(rows.clone()) }, rows))
    }
}

/// What is done with the velocity of a block of rows, and their range.
type VelocityTask<'a> = &'a (dyn Fn(&LearnedVelocity<'_>, Range<usize>) -> Result<Array2<f64>> + Sync);
