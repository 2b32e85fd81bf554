//! What predicted embeddings are drawn to: the perturbed set as a whole, or a partner for each cell.

use crate::{
    Result,
    math::{SinkhornConfig, sinkhorn, squared_distances},
    nn::{Backend, EmbeddingLoss, Matrix, RowSets, Scalar, SetDistance, ops},
};
use dfdx::prelude::Tape;
use ndarray::{Array1, Array2, s};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Regularisation of the transport, as a share of the mean squared distance between the two sets.
const REGULARISATION: f64 = 0.05;
/// Few iterations suffice: targets of a plan whose row sums are off by 0.1 % in total train as well.
const ITERATIONS: SinkhornConfig = SinkhornConfig { iterations: 200, tolerance: 1e-3 };

/// How control cells are paired with perturbed cells of a condition, so that the predicted ones can be compared with the observed
/// ones; no cell is measured both before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlPairing {
    /// As sets, by the energy distance.
    #[default]
    None,
    /// Each control cell with a perturbed cell at random, by the squared error. The best prediction under this loss is the
    /// mean of the perturbed cells, whatever the control cell.
    Random,
    /// Each control cell with the barycentre of the perturbed cells that entropic optimal transport in z takes it to (Cuturi
    /// 2013), by the squared error. Both sets are training cells.
    Transport,
}

impl ControlPairing {
    /// What its part of the loss is called.
    pub fn part(self) -> &'static str {
        match self {
            Self::None => "energy",
            Self::Random | Self::Transport => "pairs",
        }
    }

    /// The distance of `moved`, `(cells, width)`, to the observed embeddings `target` of the same sets; `z` are the embeddings
    /// that were moved. No gradient reaches the choice of the partners.
    ///
    /// # Errors
    /// Sets that do not fit.
    pub fn distance<D: Backend, T: Tape<f32, D>>(
        self,
        (moved, z): (Matrix<D, T>, &Array2<f32>),
        sets: &RowSets,
        (target, target_sets): (&Matrix<D>, &RowSets),
        rng: &mut ChaCha8Rng,
    ) -> Result<Scalar<D, T>> {
        if self == Self::None {
            return ops::mean(SetDistance::Energy.forward(moved, sets, target, target_sets)?);
        }
        let observed = ops::download(target);
        let mut partners = Array2::zeros(z.dim());
        for (cells, candidates) in sets.ranges().zip(target_sets.ranges()) {
            let there = observed.slice(s![candidates.clone(), ..]);
            match self {
                Self::Transport => {
                    let cost = squared_distances(z.slice(s![cells.clone(), ..]), there);
                    let even = |n: usize| Array1::from_elem(n, 1.0 / n as f64);
                    let epsilon = (REGULARISATION * cost.mean().unwrap_or(0.0)).max(f64::MIN_POSITIVE);
                    let plan =
                        sinkhorn(cost.view(), &even(cells.len()), &even(candidates.len()), epsilon, &ITERATIONS)?;
                    partners.slice_mut(s![cells, ..]).assign(&plan.barycentres(there));
                }
                Self::None | Self::Random => cells.for_each(|cell| {
                    partners.row_mut(cell).assign(&there.row(rng.random_range(0..there.nrows())));
                }),
            }
        }
        let device = target.device().clone();
        EmbeddingLoss::L2.forward(moved, &ops::upload(&device, &partners)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfdx::prelude::{Cpu, NoneTape, PutTape};
    use rand_chacha::rand_core::SeedableRng;

    /// Two sets of two cells and of three; in the second, the perturbed cells are the control cells moved by (10, 0).
    fn distance(pairing: ControlPairing, by: [f32; 2]) -> f32 {
        let device = Cpu::default();
        let z = ndarray::array![[0.0_f32, 0.0], [0.0, 4.0], [1.0, 0.0], [1.0, 9.0], [1.0, 20.0]];
        let there = ndarray::array![[10.0_f32, 4.0], [10.0, 0.0], [11.0, 20.0], [11.0, 0.0], [11.0, 9.0]];
        let moved = &z + &ndarray::arr1(&by);
        let (sets, mut rng) = (RowSets::from_sizes([2, 3]), ChaCha8Rng::seed_from_u64(1));
        let upload = |x: &Array2<f32>| ops::upload(&device, x).expect("memory");
        let moved = upload(&moved).put_tape(NoneTape);
        let target = upload(&there);
        let found = pairing.distance((moved, &z), &sets, (&target, &sets), &mut rng);
        ops::to_f32(&found.expect("the sets fit"))
    }

    #[test]
    fn transport_finds_each_cells_own_partner_and_chance_does_not() {
        assert!(distance(ControlPairing::None, [10.0, 0.0]).abs() < 1e-4, "the sets are the same");
        assert!(distance(ControlPairing::Transport, [10.0, 0.0]) < 0.2);
        // Off by (3, 0) everywhere: half of 9, the mean over two features.
        let off = distance(ControlPairing::Transport, [7.0, 0.0]);
        assert!((off - 4.5).abs() < 0.3, "{off}");
        assert!(distance(ControlPairing::Random, [10.0, 0.0]) > 5.0);
    }
}
