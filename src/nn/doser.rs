//! Learned saturating dose-response curves: what a perturbation's vector is multiplied by at a dose.
//!
//! For perturbation p with the highest training dose `D_p`, half-maximal dose `k_p` and slope `h_p` (Hill 1910):
//!
//! ```text
//! s_p(d) = H(d) / H(D_p),   H(d) = d^h_p / (d^h_p + k_p^h_p) = sigmoid( h_p (ln d - ln k_p) )
//! ```
//!
//! so that `s_p(D_p) = 1`, `s_p(0) = 0`, and the curve saturates at `1 / H(D_p)`. `k` and `h` are learned per perturbation and
//! positive: their logarithms are the weights. CPA learns a curve per drug in this place, too ("dosers", Lotfollahi et al. 2023,
//! a sigmoid of the dose or a small network).
//!
//! The weights are the logarithms divided by [`RATE`]: Adam moves a weight by about its learning rate per step, and a half-maximal
//! dose may be off by a factor of ten where a network's weights are off by a tenth.

use super::{Backend, Embedding, IndexSets, Matrix, ops, walk_params};
use crate::{Error, Result};
use dfdx::prelude::{Axis, BroadcastTo, HasShape, PutTape, ReshapeTo, Tape, TryDiv, TryMul, TrySub};
use std::sync::Arc;

/// How many times faster than other weights the logarithms of k and h move.
pub const RATE: f32 = 5.0;
/// Most that the logarithms of `k / D` and of h may be from 0: beyond, a curve is flat or a step in single precision.
const LARGEST: (f64, f64) = (9.0, 2.5);

/// Some doses of some perturbations: the rows of a table of scaled vectors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DoseLevels {
    /// Index of the perturbation of each row.
    pub entries: Vec<u32>,
    /// ln of its dose relative to the perturbation's highest training dose.
    pub log_dose: Vec<f32>,
}

/// The curves of some perturbations.
#[derive(Debug, Clone)]
pub struct Doser<D: Backend> {
    /// ln(k / D) of each perturbation over `RATE`, `(entries, 1)`.
    pub half_dose: Embedding<D>,
    /// ln h of each, over `RATE`, `(entries, 1)`.
    pub slope: Embedding<D>,
}

walk_params!(Doser { params: [], buffers: [], layers: [half_dose, slope] });

impl<D: Backend> Doser<D> {
    /// Curves of slope 1 that start with these ln(k / D), one per perturbation.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, log_half_dose: &[f32]) -> Result<Self> {
        let column = |values: Vec<f32>| {
            let shape = (values.len(), 1);
            let weight = device.try_tensor_from_vec(values, shape).map_err(|e| Error::device("making a doser", e))?;
            Ok::<_, Error>(Embedding { weight })
        };
        Ok(Self {
            half_dose: column(log_half_dose.iter().map(|log| log / RATE).collect())?,
            slope: column(vec![0.0; log_half_dose.len()])?,
        })
    }

    /// ln(k / D) and h of each perturbation, on the host.
    pub fn curves(&self) -> Vec<(f32, f32)> {
        let bounded = |weight: &f32, most: f64| (RATE * weight).clamp(-most as f32, most as f32);
        let (halves, slopes) = (ops::download(&self.half_dose.weight), ops::download(&self.slope.weight));
        let curve = |(half, slope)| (bounded(half, LARGEST.0), bounded(slope, LARGEST.1).exp());
        halves.iter().zip(&slopes).map(curve).collect()
    }

    /// The vectors of `table` `(entries, width)` at these levels, `(levels, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A level of an entry that is not there.
    pub fn forward<T: Tape<f32, D>>(&self, table: &Embedding<D>, levels: &DoseLevels, tape: T) -> Result<Matrix<D, T>> {
        let rows = Arc::new(IndexSets::from_indices(levels.entries.clone()));
        let vectors = table.forward(&rows, tape)?; // (levels, width)
        let scale = self.scale(&rows, &levels.log_dose)?; // (levels, 1)
        let shape = *vectors.shape();
        let run = || {
            let column = scale.try_reshape_like(&(shape.0,))?;
            let wide: Matrix<D, T> = column.try_broadcast_like::<_, Axis<1>>(&shape)?;
            vectors.try_mul(wide)
        };
        run().map_err(|e: D::Err| Error::device("scaling by doses", e))
    }

    /// s of each level, `(levels, 1)`.
    fn scale<T: Tape<f32, D>>(&self, rows: &Arc<IndexSets>, log_dose: &[f32]) -> Result<Matrix<D, T>> {
        let half = self.half_dose.forward(rows, T::default())?;
        let slope = self.slope.forward(rows, T::default())?;
        let dose = half.device().try_tensor_from_vec(log_dose.to_vec(), (log_dose.len(), 1));
        let run = || {
            let half = half.try_mul(RATE)?.try_clamp(-LARGEST.0, LARGEST.0)?;
            let slope = slope.try_mul(RATE)?.try_clamp(-LARGEST.1, LARGEST.1)?.try_exp()?;
            let at_highest = half.retaped::<T>().try_negate()?.try_mul(slope.retaped::<T>())?.try_sigmoid()?;
            let at_dose = dose?.put_tape(T::default()).try_sub(half)?.try_mul(slope)?.try_sigmoid()?;
            at_dose.try_div(at_highest)
        };
        run().map_err(|e: D::Err| Error::device("a dose-response curve", e))
    }
}
