//! Flow matching: points on the way from a source sample to a data sample, and the velocity there.
//!
//! For each data sample x_1 of a batch a source sample x_0 is drawn, the two are paired ([`Pairing`]), and at a time t in
//! (0, 1) the network sees `x_t` and shall answer `dx_t/dt` ([`FlowPath`]): Lipman et al. 2023, eq. 23; Liu et al. 2023, eq. 1.
//!
//! With conditions, only samples of the same condition are paired by their distance. A cheapest pairing across conditions
//! would give each condition its own part of the source, but a new sample of it starts anywhere in the source.

use super::{FlowPath, Pairing};
use crate::{
    Result,
    model::diffusion::{
        learner::{Corruption, Examples, normal, stratified_times},
        rows::{Rows, Source},
    },
};
use ndarray::{Array2, Axis, Zip};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// How examples are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matching {
    pub path: FlowPath,
    pub pairing: Pairing,
}

impl Matching {
    /// A source sample for each row of the batch, `(rows, dims)`.
    fn sources(&self, batch: &Rows, rng: &mut ChaCha8Rng) -> Result<Array2<f32>> {
        let drawn = match &batch.source {
            Source::Paired(source) => return Ok(source.clone()),
            Source::Noise => normal(batch.x.dim(), rng),
            Source::Drawn(pool) => {
                let rows: Vec<usize> = (0..batch.x.nrows()).map(|_| rng.random_range(0..pool.nrows())).collect();
                pool.select(Axis(0), &rows)
            }
        };
        if self.pairing == Pairing::Independent {
            // They are independent draws already.
            return Ok(drawn);
        }
        let mut source = Array2::zeros(batch.x.dim());
        for rows in of_one_condition(batch).into_values() {
            let wide = |values: &Array2<f32>| values.select(Axis(0), &rows).mapv(f64::from);
            let pairs = self.pairing.pair(&wide(&drawn), &wide(&batch.x), rng)?;
            for (&row, pair) in rows.iter().zip(pairs) {
                source.row_mut(row).assign(&drawn.row(rows[pair]));
            }
        }
        Ok(source)
    }
}

/// The rows of each condition, told apart by their bits; all rows where there is none.
fn of_one_condition(batch: &Rows) -> BTreeMap<Vec<u32>, Vec<usize>> {
    let mut groups = BTreeMap::<Vec<u32>, Vec<usize>>::new();
    for row in 0..batch.x.nrows() {
        let bits = |condition: &Array2<f32>| condition.row(row).iter().map(|v| v.to_bits()).collect();
        groups.entry(batch.condition.as_ref().map(bits).unwrap_or_default()).or_default().push(row);
    }
    groups
}

impl Corruption for Matching {
    fn examples(&self, batch: &Rows, rng: &mut ChaCha8Rng) -> Result<Examples> {
        let source = self.sources(batch, rng)?;
        let times = stratified_times(batch.x.nrows(), 0.0, rng);
        let (mut x, mut target) = (Array2::zeros(batch.x.dim()), Array2::zeros(batch.x.dim()));
        for (row, &t) in times.iter().enumerate() {
            let (a, b) = self.path.weights(t);
            let (da, db) = self.path.speeds(t);
            let [a, b, da, db] = [a, b, da, db].map(|v| v as f32);
            Zip::from(x.row_mut(row)).and(target.row_mut(row)).and(source.row(row)).and(batch.x.row(row)).for_each(
                |x, target, &from, &to| {
                    *x = a * from + b * to;
                    *target = da * from + db * to;
                },
            );
        }
        Ok(Examples { x, t: times.into_iter().map(|t| t as f32).collect(), target, weight: None })
    }
}
