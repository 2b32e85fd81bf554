//! The energy network in training: its rows, its chains, its moving average, its device.

use super::{
    config::{EbmConfig, EnergyObjective},
    net::EnergyNet,
    objective::{
        Batch, Preconditioning, contrastive_loss, denoising_loss, nce_loss, short_run, sliced_loss, with_level,
    },
    sampler::normal,
    score_matching::NoiseLevels,
};
use crate::{
    Error, Result,
    device::Device,
    model::State,
    nn::{Backend, Frozen, Matrix, count_params, ema_update, ops, walk_params},
    train::{BatchSource, History, Loss, Run, StepContext, TrainConfig, Trainable, fit},
};
use dfdx::prelude::{Cpu, HasShape, NoneTape, Tape};
use ndarray::{Array1, Array2, Axis};
use rand::{Rng, SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

/// Rows whose energies are computed at once.
const BLOCK: usize = 1024;

/// Rows in the network's units.
pub(super) struct Rows {
    /// `(rows, dims)`.
    pub x: Array2<f32>,
    /// `(rows, condition)`.
    pub condition: Option<Array2<f32>>,
}

impl BatchSource for Rows {
    type Batch = Rows;

    fn len(&self) -> usize {
        self.x.nrows()
    }

    fn batch(&self, rows: &[usize]) -> Result<Rows> {
        let select = |values: &Array2<f32>| values.select(Axis(0), rows);
        Ok(Rows { x: select(&self.x), condition: self.condition.as_ref().map(select) })
    }

    fn name(&self, row: usize) -> String {
        format!("row {row}")
    }
}

/// Chains that go on from step to step; saved with the weights, so that a resumed training gives the same bits.
#[derive(Debug, Clone)]
struct Persistent<D: Backend> {
    /// `(chains, dims)`.
    x: Matrix<D>,
    /// The condition of each chain, `(chains, condition)`; of one column where there is none.
    condition: Matrix<D>,
}

walk_params!(Persistent { params: [], buffers: [x, condition], layers: [] });

#[derive(Debug, Clone)]
pub(super) struct Learner<D: Backend> {
    device: D,
    net: EnergyNet<D>,
    average: Frozen<EnergyNet<D>>,
    chains: Option<Persistent<D>>,
    config: EbmConfig,
    levels: Vec<f64>,
}

walk_params!(Learner {
    params: [],
    buffers: [],
    layers: [net, average, chains],
    kept: [config, levels],
    device_field: device
});

impl<D: Backend> Learner<D> {
    fn new(device: &D, (dims, condition): (usize, usize), config: EbmConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let level = usize::from(matches!(config.objective, EnergyObjective::Dsm { .. }));
        let sizes = (dims, condition + level);
        let net = EnergyNet::new(device, sizes, config.net, rng)?;
        // A copy of its own memory: a shared tensor would be copied at every step of the optimizer.
        let mut average = EnergyNet::new(device, sizes, config.net, rng)?;
        ema_update(&mut average, &net, 0.0)?;
        let chains = match config.objective {
            EnergyObjective::Pcd { chains, .. } => Some(Persistent {
                x: ops::upload(device, &normal((chains, dims), rng).mapv(|v| v as f32))?,
                condition: ops::upload(device, &Array2::zeros((chains, condition.max(1))))?,
            }),
            _ => None,
        };
        Ok(Self { device: device.clone(), net, average: Frozen(average), chains, config, levels: Vec::new() })
    }

    /// Gives each chain the condition of a training row.
    fn start_chains(&mut self, rows: &Rows, seed: u64) -> Result<()> {
        let (Some(chains), Some(condition)) = (&mut self.chains, &rows.condition) else { return Ok(()) };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n = chains.x.shape().0;
        let chosen: Vec<usize> = (0..n).map(|_| rng.random_range(0..rows.len())).collect();
        chains.condition = ops::upload(&self.device, &condition.select(Axis(0), &chosen))?;
        Ok(())
    }

    /// Moves as many chains as a batch has rows, and gives them with their conditions.
    fn moved_chains(
        &mut self,
        rows: usize,
        conditional: bool,
        training: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<(Array2<f32>, Option<Array2<f32>>)> {
        let EnergyObjective::Pcd { restart, steps, step_size, .. } = self.config.objective else {
            return Err(Error::config("only persistent contrastive divergence has chains"));
        };
        let chains = self.chains.as_mut().expect("pcd is made with chains");
        let (mut all, conditions) = (ops::download(&chains.x), ops::download(&chains.condition));
        let chosen = index::sample(rng, all.nrows(), rows.min(all.nrows())).into_vec();
        let mut start = all.select(Axis(0), &chosen);
        for mut row in start.rows_mut() {
            if rng.random::<f64>() < restart {
                let fresh = normal((1, row.len()), rng).mapv(|v| v as f32);
                row.assign(&fresh.row(0));
            }
        }
        let condition = conditional.then(|| conditions.select(Axis(0), &chosen));
        let from = Batch { x: &start, condition: condition.as_ref() };
        let x = short_run(&self.net, &from, (steps, step_size), rng)?;
        if training {
            chosen.iter().zip(x.rows()).for_each(|(&chain, row)| all.row_mut(chain).assign(&row));
            chains.x = ops::upload(&self.device, &all)?;
        }
        Ok((x, condition))
    }

    /// f of the averaged network at u `(rows, dims)`, `(rows,)`.
    fn value(&self, u: &Array2<f32>, given: Option<&Array2<f32>>) -> Result<Array1<f64>> {
        let given = given.map(|given| ops::upload(&self.device, given)).transpose()?;
        let f = self.average.0.value::<NoneTape>(ops::upload(&self.device, u)?, given.as_ref())?;
        Ok(ops::download(&f).column(0).mapv(f64::from))
    }

    /// Its gradient by u, `(rows, dims)`.
    fn gradient(&self, u: &Array2<f32>, given: Option<&Array2<f32>>) -> Result<Array2<f64>> {
        let given = given.map(|given| ops::upload(&self.device, given)).transpose()?;
        let slope = self.average.0.gradient::<NoneTape>(ops::upload(&self.device, u)?, given.as_ref())?;
        Ok(ops::download(&slope).mapv(f64::from))
    }
}

impl<D: Backend> Trainable<D> for Learner<D> {
    type Batch = Rows;

    fn loss<T: Tape<f32, D>>(&mut self, batch: &Rows, tape: T, context: &mut StepContext<'_>) -> Result<Loss<D, T>> {
        let rng = &mut *context.rng;
        let data = Batch { x: &batch.x, condition: batch.condition.as_ref() };
        let samples = match self.config.objective {
            EnergyObjective::Cd { steps, step_size, .. } => {
                Some((short_run(&self.net, &data, (steps, step_size), rng)?, batch.condition.clone()))
            }
            EnergyObjective::Pcd { .. } => {
                Some(self.moved_chains(batch.x.nrows(), data.condition.is_some(), context.training, rng)?)
            }
            _ => None,
        };
        // Validation is of the weights whose energies are used.
        let net = if context.training { &self.net } else { &self.average.0 };
        let samples = samples.as_ref().map(|(x, condition)| Batch { x, condition: condition.as_ref() });
        let alone = |total| Loss { total, parts: Vec::new() };
        Ok(match (self.config.objective, samples) {
            (EnergyObjective::Nce { noise }, _) => alone(nce_loss(net, &data, noise, tape, rng)?),
            (EnergyObjective::Cd { regularisation, .. } | EnergyObjective::Pcd { regularisation, .. }, samples) => {
                let samples = samples.expect("they were drawn above");
                let (total, parts) = contrastive_loss(net, &data, &samples, regularisation, tape)?;
                Loss { total, parts }
            }
            (EnergyObjective::Dsm { .. }, _) => alone(denoising_loss(net, &data, &self.levels, tape, rng)?),
            (EnergyObjective::Ssm { projections }, _) => alone(sliced_loss(net, &data, projections, tape, rng)?),
        })
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        let step = context.step as f64;
        ema_update(&mut self.average.0, &self.net, self.config.ema.min((1.0 + step) / (10.0 + step)))
    }
}

/// A learner on its device.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cuda", allow(clippy::large_enum_variant, reason = "one per model, made once and never moved"))]
pub(super) enum Placed {
    Cpu(Learner<Cpu>),
    #[cfg(feature = "cuda")]
    Cuda(Learner<dfdx::prelude::Cuda>),
}

/// Runs `$body` with `$net` bound to the learner, whatever device it is on.
macro_rules! on_device {
    ($on:expr, $net:ident => $body:expr) => {
        match $on {
            Placed::Cpu($net) => $body,
            #[cfg(feature = "cuda")]
            Placed::Cuda($net) => $body,
        }
    };
}

impl Placed {
    /// # Errors
    /// A device that is not there.
    pub fn new(sizes: (usize, usize), config: EbmConfig, seed: u64, device: Device) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        device.check()?;
        Ok(match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(number) => Self::Cuda(Learner::new(&crate::nn::cuda(number)?, sizes, config, &mut rng)?),
            // Nothing else passes the check.
            _ => Self::Cpu(Learner::new(&Cpu::seed_from_u64(seed), sizes, config, &mut rng)?),
        })
    }

    pub fn n_params(&self) -> Result<usize> {
        on_device!(self, net => count_params(net))
    }

    pub fn set_levels(&mut self, levels: Option<&NoiseLevels>) {
        let levels = levels.map(|levels| levels.sigmas().to_vec()).unwrap_or_default();
        on_device!(self, net => net.levels = levels);
    }

    pub fn fit(
        &mut self,
        train: &Rows,
        validation: Option<&Rows>,
        config: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<History> {
        on_device!(self, net => {
            let device = net.device.clone();
            net.start_chains(train, config.seed)?;
            fit(net, train, validation, &device, config, options)
        })
    }

    /// Adds the weights to a state.
    pub fn add_to(&self, state: State) -> Result<State> {
        on_device!(self, net => state.with_network("net", net))
    }

    /// Takes the weights from a state.
    pub fn fill_from(&mut self, state: &State) -> Result<()> {
        on_device!(self, net => state.fill("net", net))
    }

    /// The energy at x `(rows, dims)` in the network's units, `(rows,)`.
    pub fn energy(&self, x: &Array2<f64>, condition: Option<&Array2<f32>>, sigma: Option<f64>) -> Result<Array1<f64>> {
        let scale = Preconditioning::at(sigma);
        let mut energy = Array1::zeros(x.nrows());
        for start in (0..x.nrows()).step_by(BLOCK) {
            let rows: Vec<usize> = (start..x.nrows().min(start + BLOCK)).collect();
            let (u, given) = network_input(x, condition, sigma, &rows);
            let f = on_device!(self, net => net.value(&u.mapv(|v| v as f32), given.as_ref()))?;
            for (place, (&row, f)) in rows.iter().zip(f).enumerate() {
                energy[row] = 0.5 * u.row(place).dot(&u.row(place)) + scale.outer * f;
            }
        }
        Ok(energy)
    }

    /// Its gradient by x, `(rows, dims)`.
    pub fn gradient(
        &self,
        x: &Array2<f64>,
        condition: Option<&Array2<f32>>,
        sigma: Option<f64>,
    ) -> Result<Array2<f64>> {
        let scale = Preconditioning::at(sigma);
        let mut gradient = Array2::zeros(x.dim());
        for start in (0..x.nrows()).step_by(BLOCK) {
            let rows: Vec<usize> = (start..x.nrows().min(start + BLOCK)).collect();
            let (u, given) = network_input(x, condition, sigma, &rows);
            let slope = on_device!(self, net => net.gradient(&u.mapv(|v| v as f32), given.as_ref()))?;
            let of_rows = (u + slope * scale.outer) * scale.inner;
            rows.iter().zip(of_rows.rows()).for_each(|(&row, values)| gradient.row_mut(row).assign(&values));
        }
        Ok(gradient)
    }
}

/// What the network reads of some rows: u, and the condition with the noise level.
fn network_input(
    x: &Array2<f64>,
    condition: Option<&Array2<f32>>,
    sigma: Option<f64>,
    rows: &[usize],
) -> (Array2<f64>, Option<Array2<f32>>) {
    let u = x.select(Axis(0), rows) * Preconditioning::at(sigma).inner;
    let condition = condition.map(|condition| condition.select(Axis(0), rows));
    match sigma {
        None => (u, condition),
        Some(sigma) => (u, Some(with_level(condition.as_ref(), &Array1::from_elem(rows.len(), sigma)))),
    }
}
