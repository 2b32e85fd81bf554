//! Markov chains whose samples have a density proportional to `exp(-E)`: Langevin dynamics and Hamiltonian Monte Carlo.
//!
//! ```text
//! Langevin:  x <- x - (e^2 / 2) grad E(x) + e z,                 z ~ N(0, I)
//! HMC:       p ~ N(0, I);  L leapfrog steps of length e;  accepted with probability min(1, exp(H - H')),  H = E(x) + |p|^2 / 2
//! ```
//!
//! Plain Langevin steps are off by their length; with the acceptance test of Metropolis and Hastings (MALA, Roberts and Tweedie
//! 1996) the density is exact, as it is for HMC (Duane et al. 1987; Neal 2011). The best acceptance rate in many dimensions is
//! about 0.57 for MALA and 0.65 for HMC (Roberts and Rosenthal 1998; Beskos et al. 2013).

use crate::{Error, ErrorKind, Result, model::diffusion::GaussianMixture, notebook};
use ndarray::{Array1, Array2, Axis, Zip};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

/// An energy: minus the logarithm of a density, up to a constant.
pub trait Energy {
    /// Numbers of a row.
    fn dims(&self) -> usize;

    /// E of each row of x `(rows, dims)`, `(rows,)`, in nats.
    ///
    /// # Errors
    /// Another width.
    fn energy(&self, x: &Array2<f64>) -> Result<Array1<f64>>;

    /// The gradient of E by x, `(rows, dims)`: minus the score.
    ///
    /// # Errors
    /// Another width.
    fn gradient(&self, x: &Array2<f64>) -> Result<Array2<f64>>;
}

impl Energy for GaussianMixture {
    fn dims(&self) -> usize {
        self.dims()
    }

    fn energy(&self, x: &Array2<f64>) -> Result<Array1<f64>> {
        Ok(-self.log_density(x)?)
    }

    fn gradient(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        Ok(-self.score(x)?)
    }
}

/// Which chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mcmc {
    /// Langevin steps, all of which are accepted.
    Langevin,
    /// Langevin steps with an acceptance test.
    Mala,
    /// Hamiltonian Monte Carlo.
    #[default]
    Hmc,
}

/// Settings of [`run_chains`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McmcConfig {
    /// The chain.
    pub kind: Mcmc,
    /// Steps; default 200.
    pub steps: usize,
    /// Length e of a step, in units of the data; default 0.2.
    pub step_size: f64,
    /// HMC: leapfrog steps per step of the chain; default 10.
    pub leapfrog: usize,
}

impl Default for McmcConfig {
    fn default() -> Self {
        Self { kind: Mcmc::Hmc, steps: 200, step_size: 0.2, leapfrog: 10 }
    }
}

impl McmcConfig {
    /// So many steps of this length.
    pub fn new(kind: Mcmc, steps: usize, step_size: f64) -> Self {
        Self { kind, steps, step_size, ..Self::default() }
    }

    /// # Errors
    /// A setting out of its range, by name.
    pub fn validate(&self) -> Result<()> {
        if !(self.step_size > 0.0 && self.step_size.is_finite()) {
            return Err(Error::config(format!("step_size = {}, but it must be above 0", self.step_size)));
        }
        match self.leapfrog {
            0 => Err(Error::config("leapfrog = 0, but it must be at least 1")),
            _ => Ok(()),
        }
    }
}

/// Where chains ended, and how they went.
#[derive(Debug, Clone)]
pub struct Chains {
    /// The last state of each chain, `(chains, dims)`.
    pub x: Array2<f64>,
    /// Its energy, `(chains,)`.
    pub energy: Array1<f64>,
    /// Share of proposals that were accepted; 1 for plain Langevin steps, which are not tested.
    pub acceptance: f64,
    /// Mean energy of the chains after each step: level once the chains have forgotten their start.
    pub mean_energy: Vec<f64>,
}

/// Runs one chain from each row of `start` `(chains, dims)`.
///
/// # Errors
/// A setting out of its range; no chain; an energy that is not finite at the start, or after a step that is not tested.
pub fn run_chains(
    energy: &(impl Energy + ?Sized),
    start: Array2<f64>,
    config: &McmcConfig,
    rng: &mut ChaCha8Rng,
) -> Result<Chains> {
    config.validate()?;
    if start.nrows() == 0 {
        return Err(Error::config("no chain is asked for; give at least 1"));
    }
    let mut chains = State { e: energy.energy(&start)?, g: energy.gradient(&start)?, x: start };
    if let Some(row) = chains.e.iter().position(|e| !e.is_finite()) {
        let message = format!("chain {row} starts where the energy is {}; start nearer to the data", chains.e[row]);
        return Err(Error::new(ErrorKind::Numeric, message));
    }
    let (mut accepted, mut mean_energy) = (0, Vec::with_capacity(config.steps));
    for step in 0..config.steps {
        notebook::check_interrupt("sampling")?;
        accepted += match config.kind {
            Mcmc::Langevin => chains.langevin(energy, config.step_size, false, rng)?,
            Mcmc::Mala => chains.langevin(energy, config.step_size, true, rng)?,
            Mcmc::Hmc => chains.hmc(energy, config, rng)?,
        };
        let mean = chains.e.mean().expect("there is a chain");
        if !mean.is_finite() {
            let message =
                format!("the chains left the data in step {}: lower step_size ({})", step + 1, config.step_size);
            return Err(Error::new(ErrorKind::Numeric, message));
        }
        mean_energy.push(mean);
    }
    let proposals = (config.steps * chains.x.nrows()).max(1);
    Ok(Chains { acceptance: accepted as f64 / proposals as f64, x: chains.x, energy: chains.e, mean_energy })
}

/// Positions, energies and gradients of all chains.
struct State {
    x: Array2<f64>,
    e: Array1<f64>,
    g: Array2<f64>,
}

impl State {
    /// One Langevin step; how many chains took it.
    fn langevin(
        &mut self,
        energy: &(impl Energy + ?Sized),
        length: f64,
        tested: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<usize> {
        let drift = length * length / 2.0;
        let noise = normal(self.x.dim(), rng);
        let x = &self.x - &(&self.g * drift) + &(&noise * length);
        let next = State { e: energy.energy(&x)?, g: energy.gradient(&x)?, x };
        if !tested {
            *self = next;
            return Ok(self.x.nrows());
        }
        // ln q(x | x') - ln q(x' | x), of normal proposals around the drifted places.
        let back = (&self.x - &next.x + &(&next.g * drift)) / length;
        let log_q = (squares(&noise) - squares(&back)) / 2.0;
        let log_ratio = &self.e - &next.e + &log_q;
        Ok(self.accept(next, &log_ratio, rng))
    }

    /// One step of HMC; how many chains took it.
    fn hmc(&mut self, energy: &(impl Energy + ?Sized), config: &McmcConfig, rng: &mut ChaCha8Rng) -> Result<usize> {
        let e = config.step_size;
        let start = normal(self.x.dim(), rng);
        let mut p = &start - &(&self.g * (e / 2.0));
        let (mut x, mut g) = (self.x.clone(), self.g.clone());
        for step in 1..=config.leapfrog {
            x.scaled_add(e, &p);
            g = energy.gradient(&x)?;
            p.scaled_add(if step == config.leapfrog { -e / 2.0 } else { -e }, &g);
        }
        let next = State { e: energy.energy(&x)?, g, x };
        let log_ratio = &self.e - &next.e + &((squares(&start) - squares(&p)) / 2.0);
        Ok(self.accept(next, &log_ratio, rng))
    }

    /// Takes over the rows that pass the test; a proposal whose energy is not finite fails it.
    fn accept(&mut self, next: State, log_ratio: &Array1<f64>, rng: &mut ChaCha8Rng) -> usize {
        let mut accepted = 0;
        for (row, &log_ratio) in log_ratio.iter().enumerate() {
            let threshold = rng.random::<f64>().ln();
            if log_ratio.is_finite() && threshold < log_ratio {
                self.x.row_mut(row).assign(&next.x.row(row));
                self.g.row_mut(row).assign(&next.g.row(row));
                self.e[row] = next.e[row];
                accepted += 1;
            }
        }
        accepted
    }
}

fn squares(x: &Array2<f64>) -> Array1<f64> {
    Zip::from(x.rows()).map_collect(|row| row.dot(&row))
}

/// `(rows, dims)` of independent N(0, 1).
pub(super) fn normal(shape: (usize, usize), rng: &mut ChaCha8Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn(shape, || rng.sample(StandardNormal))
}

/// Shares of the values in equal bins between `low` and `high`, which must differ: an energy histogram. Values beyond count in
/// the outer bins.
pub fn shares(values: &Array1<f64>, low: f64, high: f64, bins: usize) -> Vec<f64> {
    let mut counts = vec![0.0; bins];
    for value in values {
        let place = ((value - low) / (high - low) * bins as f64).floor().clamp(0.0, bins as f64 - 1.0);
        counts[place as usize] += 1.0 / values.len_of(Axis(0)) as f64;
    }
    counts
}
