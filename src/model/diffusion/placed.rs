//! A learner on the device that it was made for.

use super::{
    learner::{Learner, LearnerConfig},
    net::Given,
    rows::Rows,
};
use crate::{
    Error, Result,
    device::Device,
    model::State,
    nn::{Backend, count_params},
    train::{History, Run, TrainConfig, fit},
};
use dfdx::prelude::Cpu;
use ndarray::{Array2, Axis, concatenate, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::ops::Range;

/// Rows that go through the network at once: its activations stay in a core's cache.
const BLOCK: usize = 256;

#[derive(Debug, Clone)]
pub(crate) enum Placed {
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
    /// A device that is not there; settings that make no network.
    pub fn new(config: LearnerConfig, seed: u64, device: Device) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        device.check()?;
        Ok(match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => {
                let cuda = dfdx::prelude::Cuda::try_build(ordinal, seed)
                    .map_err(|e| Error::device(&format!("opening CUDA device {ordinal}"), e))?;
                Self::Cuda(Learner::new(&cuda, config, &mut rng)?)
            }
            // Nothing else passes the check.
            _ => Self::Cpu(Learner::new(&Cpu::seed_from_u64(seed), config, &mut rng)?),
        })
    }

    pub fn n_params(&self) -> Result<usize> {
        on_device!(self, net => count_params(net))
    }

    pub fn fit(
        &mut self,
        train: &Rows,
        validation: Option<&Rows>,
        config: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<History> {
        on_device!(self, net => {
            let device = net.device().clone();
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

    /// Runs `f` with the averaged network on each block of `rows` rows, its number and its range, and puts the results
    /// together by rows. On the CPU blocks run side by side; their size does not depend on the number of threads.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn in_blocks(&self, rows: usize, f: BlockTask<'_>) -> Result<Array2<f64>> {
        match self {
            Self::Cpu(net) => {
                let starts: Vec<usize> = (0..rows.max(1)).step_by(BLOCK).collect();
                let block = |(number, &start): (usize, &usize)| f(net, number, start..rows.min(start + BLOCK));
                let blocks = starts.par_iter().enumerate().map(block).collect::<Result<Vec<_>>>()?;
                let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
                Ok(concatenate(Axis(0), &views).expect("every block has the same number of columns"))
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(net) => f(net, 0, 0..rows),
        }
    }
}

/// What is done with a block of rows: the network, the block's number, its rows; to one row each.
pub(crate) type BlockTask<'a> = &'a (dyn Fn(&dyn Answers, usize, Range<usize>) -> Result<Array2<f64>> + Sync);

/// Gives the averaged network's answer.
pub(crate) trait Answers {
    /// To x `(rows, dims)` at one time with conditions `(rows, condition)` or none: `(rows, dims)`.
    ///
    /// # Errors
    /// Widths that do not fit; a device that fails.
    fn answer(&self, x: &Array2<f32>, t: f64, condition: Option<&Array2<f32>>) -> Result<Array2<f64>>;
}

impl<D: Backend> Answers for Learner<D> {
    fn answer(&self, x: &Array2<f32>, t: f64, condition: Option<&Array2<f32>>) -> Result<Array2<f64>> {
        let given = Given::new(&vec![t as f32; x.nrows()], condition, &[])?;
        Ok(self.output(x, &given)?.mapv(f64::from))
    }
}

impl Answers for Placed {
    fn answer(&self, x: &Array2<f32>, t: f64, condition: Option<&Array2<f32>>) -> Result<Array2<f64>> {
        if let Some(condition) = condition.filter(|condition| condition.nrows() != x.nrows()) {
            return Err(Error::shape("score network: x and conditions", x.dim(), condition.dim()));
        }
        self.in_blocks(x.nrows(), &|net, _, rows| {
            let condition = condition.map(|condition| condition.slice(s![rows.clone(), ..]).to_owned());
            net.answer(&x.slice(s![rows, ..]).to_owned(), t, condition.as_ref())
        })
    }
}
