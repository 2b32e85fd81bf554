//! The recurrent state-space model: its networks, its loss, its roll-out.

use super::{RssmConfig, space::SequenceBatch};
use crate::{
    Error, Result,
    nn::{Activation, Backend, Gaussian, GruCell, Linear, Matrix, Scalar, Vector, balanced_kl, init, ops, walk_params},
    train::{Loss, StepContext, Trainable, portable},
};
use dfdx::prelude::{Axis, HasShape, NoneTape, PutTape, Rank0, SumTo, Tape, TryAdd, TryMul, TrySub};
use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// The networks of the [module](super)'s equations.
#[derive(Debug, Clone)]
pub struct Rssm<D: Backend> {
    /// The settings.
    pub config: RssmConfig,
    device: D,
    /// W: stochastic state to the unit's input.
    pub from_state: Linear<D>,
    /// U: action to the unit's input.
    pub from_action: Linear<D>,
    /// The recurrent unit.
    pub gru: GruCell<D>,
    /// The prior's hidden layer, its mean and its spread.
    pub prior: [Linear<D>; 3],
    /// The posterior's layer behind the profile.
    pub seen: Linear<D>,
    /// The posterior's hidden layer beside it, its mean and its spread.
    pub posterior: [Linear<D>; 3],
    /// The decoder's layers behind h and behind s, and its output.
    pub decoder: [Linear<D>; 3],
}

walk_params!(Rssm {
    params: [],
    buffers: [],
    layers: [from_state, from_action, gru, prior, seen, posterior, decoder],
    kept: [config],
    device_field: device
});

/// h and s of each row.
#[derive(Debug)]
pub struct Carry<D: Backend, T: Tape<f32, D>> {
    /// The deterministic state, `(rows, deterministic)`.
    pub h: Matrix<D, T>,
    /// The stochastic state, `(rows, stochastic)`.
    pub s: Matrix<D, T>,
}

impl<D: Backend> Rssm<D> {
    /// Networks for states of `dims` and actions of `actions` numbers.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, (dims, actions): (usize, usize), config: RssmConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let RssmConfig { deterministic, stochastic, width, .. } = config;
        let mut layer = |from: usize, to: usize| Linear::new(device, from, to, rng);
        let prior = [layer(deterministic, width)?, layer(width, stochastic)?, layer(width, stochastic)?];
        let posterior = [layer(deterministic, width)?, layer(width, stochastic)?, layer(width, stochastic)?];
        let decoder = [layer(deterministic, width)?, layer(stochastic, width)?, layer(width, dims)?];
        let (from_state, from_action, seen) = (layer(stochastic, width)?, layer(actions, width)?, layer(dims, width)?);
        let gru = GruCell::new(device, width, deterministic, rng)?;
        Ok(Self { config, device: device.clone(), from_state, from_action, gru, prior, seen, posterior, decoder })
    }

    /// `h_t` of the state before it and the action, `(rows, actions)`.
    ///
    /// # Errors
    /// Widths that do not fit.
    pub fn advance<T: Tape<f32, D>>(&self, carry: Carry<D, T>, action: &Array2<f32>) -> Result<Matrix<D, T>> {
        let action = ops::upload(&self.device, action)?;
        let input = ops::add(self.from_state.forward(carry.s)?, self.from_action.forward(action.retaped::<T>())?)?;
        self.gru.forward(Activation::Silu.forward(input)?, carry.h)
    }

    /// The prior of s at h.
    ///
    /// # Errors
    /// An h of another width.
    pub fn expect<T: Tape<f32, D>>(&self, h: Matrix<D, T>) -> Result<Gaussian<D, T>> {
        self.gaussian(&self.prior, self.prior[0].forward(h)?)
    }

    /// The posterior of s at h and a profile x `(rows, dims)`.
    ///
    /// # Errors
    /// Widths that do not fit.
    pub fn observe<T: Tape<f32, D>>(&self, h: Matrix<D, T>, x: &Array2<f32>) -> Result<Gaussian<D, T>> {
        let seen = self.seen.forward(ops::upload(&self.device, x)?.retaped::<T>())?;
        self.gaussian(&self.posterior, ops::add(self.posterior[0].forward(h)?, seen)?)
    }

    /// The expected profile, `(rows, dims)`.
    ///
    /// # Errors
    /// Widths that do not fit.
    pub fn decode<T: Tape<f32, D>>(&self, carry: Carry<D, T>) -> Result<Matrix<D, T>> {
        let hidden = ops::add(self.decoder[0].forward(carry.h)?, self.decoder[1].forward(carry.s)?)?;
        self.decoder[2].forward(Activation::Silu.forward(hidden)?)
    }

    /// h before anything has happened: zero.
    fn nothing<T: Tape<f32, D>>(&self, rows: usize) -> Result<Matrix<D, T>> {
        Ok(init::constant(&self.device, (rows, self.config.deterministic), 0.0)?.retaped::<T>())
    }

    /// The standard deviation is `2 sigmoid(raw / 2)` above the smallest: 1 at raw = 0, and at most 2 (Hafner et al. 2021).
    fn gaussian<T: Tape<f32, D>>(&self, layers: &[Linear<D>; 3], hidden: Matrix<D, T>) -> Result<Gaussian<D, T>> {
        let hidden = Activation::Silu.forward(hidden)?;
        let mean = layers[1].forward(hidden.retaped::<T>())?;
        let raw = layers[2].forward(hidden)?;
        let smallest = self.config.min_std as f32;
        let std = raw.try_mul(0.5).and_then(|x| x.try_sigmoid()?.try_mul(2.0)?.try_add(smallest));
        Ok(Gaussian { mean, std: std.map_err(|e| Error::device("spread of a state", e))? })
    }

    /// A draw of s, or its mean where nothing is drawn.
    fn draw<T: Tape<f32, D>>(&self, of: Gaussian<D, T>, rng: Option<&mut ChaCha8Rng>) -> Result<Matrix<D, T>> {
        let noise = match rng {
            Some(rng) => Array2::from_shape_simple_fn(*of.mean.shape(), || rng.sample::<f32, _>(StandardNormal)),
            None => Array2::zeros(*of.mean.shape()),
        };
        of.sample(ops::upload(&self.device, &noise)?)
    }

    /// The state after the profiles `seen`, the first at the start, and the actions between them (one less): h and s are filtered
    /// through the posteriors.
    ///
    /// # Errors
    /// No profile; widths that do not fit.
    pub fn filter<T: Tape<f32, D>>(
        &self,
        seen: &[Array2<f32>],
        actions: &[Array2<f32>],
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Carry<D, T>> {
        let first = seen.first().ok_or_else(|| Error::data("a roll-out needs the profile that it starts from"))?;
        let mut h = self.nothing::<T>(first.nrows())?;
        let mut s = self.draw(self.observe(h.retaped::<T>(), first)?, rng.as_deref_mut())?;
        for (x, action) in seen[1..].iter().zip(actions) {
            h = self.advance(Carry { h, s }, action)?;
            s = self.draw(self.observe(h.retaped::<T>(), x)?, rng.as_deref_mut())?;
        }
        Ok(Carry { h, s })
    }

    /// Imagines: the decoded states under actions, without a profile, `(rows, dims)` each; with `rng` s is drawn.
    ///
    /// # Errors
    /// Widths that do not fit.
    pub fn imagine<T: Tape<f32, D>>(
        &self,
        mut carry: Carry<D, T>,
        actions: &[Array2<f32>],
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Vec<Matrix<D, T>>> {
        let mut profiles = Vec::with_capacity(actions.len());
        for (step, action) in actions.iter().enumerate() {
            let h = self.advance(carry, action)?;
            let s = self.draw(self.expect(h.retaped::<T>())?, rng.as_deref_mut())?;
            if step + 1 == actions.len() {
                profiles.push(self.decode(Carry { h, s })?);
                break;
            }
            profiles.push(self.decode(Carry { h: h.retaped::<T>(), s: s.retaped::<T>() })?);
            carry = Carry { h, s };
        }
        Ok(profiles)
    }

    /// `1/2 |x - x^|^2` summed over the counting rows.
    fn misfit<T: Tape<f32, D>>(&self, profile: Matrix<D, T>, x: &Array2<f32>, weights: &[f32]) -> Result<Scalar<D, T>> {
        let x = ops::upload(&self.device, x)?;
        let squares = || profile.try_sub(x)?.try_square()?.try_mul(0.5)?.try_sum::<(usize,), Axis<1>>();
        self.sum(squares().map_err(|e: D::Err| Error::device("reconstruction", e))?, weights)
    }

    fn sum<T: Tape<f32, D>>(&self, of_rows: Vector<D, T>, weights: &[f32]) -> Result<Scalar<D, T>> {
        let run = || {
            let weights = self.device.try_tensor_from_vec(weights.to_vec(), (weights.len(),))?;
            of_rows.try_mul(weights)?.try_sum::<Rank0, Axis<0>>()
        };
        run().map_err(|e: D::Err| Error::device("sum over rows", e))
    }
}

/// Sums of a loss, per counting step at the end.
struct Sums<D: Backend, T: Tape<f32, D>> {
    reconstruction: Scalar<D, T>,
    rollout: Scalar<D, T>,
    of_prior: Scalar<D, T>,
    of_posterior: Scalar<D, T>,
}

impl<D: Backend, T: Tape<f32, D>> Sums<D, T> {
    fn new(device: &D) -> Result<Self> {
        let zero = || {
            let zero: Scalar<D> = device.try_zeros().map_err(|e| Error::device("allocation of a sum", e))?;
            Ok::<_, Error>(zero.retaped::<T>())
        };
        Ok(Self { reconstruction: zero()?, rollout: zero()?, of_prior: zero()?, of_posterior: zero()? })
    }
}

portable!(Rssm);

impl<D: Backend> Trainable<D> for Rssm<D> {
    type Batch = SequenceBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &SequenceBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let config = self.config;
        let mut sums = Sums::<D, T>::new(&self.device)?;
        let mut rng = if context.training { Some(&mut *context.rng) } else { None };
        let rows = batch.states[0].nrows();
        // The trainer's tape holds the gradients of the weights; all other tapes join it.
        let mut first = Some(self.nothing::<NoneTape>(rows)?.put_tape(tape));
        let (mut carry, mut start) = (None, None);
        for (step, (x, weights)) in batch.states.iter().zip(&batch.weights).enumerate() {
            let h = match carry.take() {
                Some(before) => self.advance(before, &batch.actions[step - 1])?,
                None => first.take().expect("only the first step has nothing before it"),
            };
            let posterior = self.observe(h.retaped::<T>(), x)?;
            let prior = self.expect(h.retaped::<T>())?;
            let s = self.draw(posterior.retaped(), rng.as_deref_mut())?;
            let kl = balanced_kl(posterior, prior)?;
            sums.of_prior = ops::add_scaled(sums.of_prior, self.sum(kl.of_prior, weights)?, 1.0)?;
            sums.of_posterior = ops::add_scaled(sums.of_posterior, self.sum(kl.of_posterior, weights)?, 1.0)?;
            let again = || Carry { h: h.retaped::<T>(), s: s.retaped::<T>() };
            let misfit = self.misfit(self.decode(again())?, x, weights)?;
            sums.reconstruction = ops::add_scaled(sums.reconstruction, misfit, 1.0)?;
            start.get_or_insert_with(again);
            carry = Some(again());
            sums.reconstruction = ops::keep_tape(ops::keep_tape(sums.reconstruction, s)?, h)?;
        }
        if config.overshooting > 0.0 {
            let start = start.expect("a batch has a start");
            let profiles = self.imagine(start, &batch.actions, rng)?;
            for ((profile, x), weights) in profiles.into_iter().zip(&batch.states[1..]).zip(&batch.weights[1..]) {
                sums.rollout = ops::add_scaled(sums.rollout, self.misfit(profile, x, weights)?, 1.0)?;
            }
        }
        let all: f32 = batch.weights.iter().flatten().sum();
        let after: f32 = batch.weights[1..].iter().flatten().sum::<f32>().max(1.0);
        let reconstruction = ops::scaled(sums.reconstruction, 1.0 / all)?;
        let rollout = ops::scaled(sums.rollout, 1.0 / after)?;
        let of_prior = ops::scaled(sums.of_prior, 1.0 / all)?;
        let of_posterior = ops::scaled(sums.of_posterior, 1.0 / all)?;
        let parts = vec![
            ("reconstruction", ops::to_f32(&reconstruction)),
            ("rollout", ops::to_f32(&rollout)),
            ("kl", ops::to_f32(&of_prior)),
        ];
        let (alpha, beta) = (config.kl_balance as f32, config.kl_weight as f32);
        let free = config.free_nats as f32;
        let total = ops::add_scaled(reconstruction, rollout, config.overshooting as f32)?;
        let total = ops::add_scaled(total, ops::at_least(of_prior, free)?, beta * alpha)?;
        let total = ops::add_scaled(total, ops::at_least(of_posterior, free)?, beta * (1.0 - alpha))?;
        Ok(Loss { total, parts })
    }
}
