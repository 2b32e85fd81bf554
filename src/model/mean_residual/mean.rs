//! The mean, fitted by cross-fitting: every row gets a prediction by fits that have not seen it.

use super::{
    MeanResidualSettings,
    net::{MeanBatch, MeanNet, Rows},
};
use crate::{
    Error, Result,
    data::EncodedMetadata,
    math::{
        Pca,
        ridge::{LinearFit, PENALTIES, RidgePath, cross_validated},
        seeds::{derived, stream},
    },
    nn::init::seeded,
    train::{History, Run, TrainConfig, fit_on},
};
use dfdx::prelude::Cpu;
use ndarray::Array2;
use rand::seq::SliceRandom;

/// Purposes of random streams.
const FOLDS: u64 = 2;
const NETWORK: u64 = 3;
/// Below this the network is not worth its storage.
const NEGLIGIBLE_WEIGHT: f64 = 1e-3;

/// mu(m).
#[derive(Debug, Clone)]
pub(super) struct Mean {
    pub linear: LinearFit,
    /// B, `(components, genes)`.
    pub basis: Array2<f64>,
    /// The unit of the networks' coordinates, in log expression.
    pub unit: f64,
    /// w.
    pub weight: f64,
    /// One per fold; none where w is 0.
    pub nets: Vec<MeanNet<Cpu>>,
}

/// What the training of a mean leaves beside it.
pub(super) struct FittedMean {
    pub mean: Mean,
    /// Log expression less the prediction by fits that have not seen the row, `(rows, genes)`.
    pub residual: Array2<f64>,
    /// The fold of each row.
    pub fold_of: Vec<usize>,
    pub penalty: f64,
    /// Share of the linear part's squared error, of unseen rows, that the network takes away.
    pub gain: f64,
    pub history: History,
}

/// The fold of each row; rows of one group share theirs.
pub(super) fn folds(group_of: &[usize], folds: usize, seed: u64) -> Result<Vec<usize>> {
    let mut groups: Vec<usize> = group_of.to_vec();
    groups.sort_unstable();
    groups.dedup();
    if groups.len() < folds {
        return Err(Error::data(format!(
            "{} rows or combinations of metadata cannot be divided into {folds} folds; give more data, or set folds in [mean]",
            groups.len()
        )));
    }
    let mut order = groups.clone();
    order.shuffle(&mut stream(seed, FOLDS, 0));
    let place = |group: &usize| order.iter().position(|other| other == group).expect("one of the groups") % folds;
    let of_group: std::collections::HashMap<usize, usize> = groups.iter().map(|group| (*group, place(group))).collect();
    Ok(group_of.iter().map(|group| of_group[group]).collect())
}

fn parts(fold_of: &[usize], fold: usize) -> (Vec<usize>, Vec<usize>) {
    (0..fold_of.len()).partition(|&row| fold_of[row] != fold)
}

/// Sum of squares.
fn square(values: &Array2<f64>) -> f64 {
    values.iter().map(|value| value * value).sum()
}

impl Mean {
    /// Fits rows of log expression y `(rows, genes)` with their metadata; rows of one group stay in one fold.
    ///
    /// # Errors
    /// Fewer groups than folds; those of a training.
    pub fn fit(
        metadata: &EncodedMetadata,
        y: &Array2<f64>,
        group_of: &[usize],
        settings: &MeanResidualSettings,
        run: &mut Run<'_>,
    ) -> Result<FittedMean> {
        let fold_of = folds(group_of, settings.mean.folds, run.seed)?;
        let x = metadata.design();
        let chosen = cross_validated(&x, y, &fold_of, &PENALTIES)?;
        let linear = RidgePath::new(&x, y)?.fit(chosen.penalty);
        let residual = y - &chosen.unseen;
        let none = Self { linear, basis: Array2::zeros((0, y.ncols())), unit: 1.0, weight: 0.0, nets: Vec::new() };
        let mut fitted = FittedMean {
            mean: none,
            residual,
            fold_of,
            penalty: chosen.penalty,
            gain: 0.0,
            history: History::default(),
        };
        if settings.mean.network {
            fitted.add_network(metadata, y, (&x, &chosen.fits), settings, run)?;
        }
        Ok(fitted)
    }

    /// `(rows, genes)`.
    ///
    /// # Errors
    /// Metadata of another encoder.
    pub fn predict(&self, metadata: &EncodedMetadata) -> Result<Array2<f64>> {
        let mut mean = self.linear.predict(&metadata.design());
        if !self.nets.is_empty() {
            let batch = MeanBatch::of(metadata);
            let mut sum = Array2::<f64>::zeros((metadata.levels.len(), self.basis.nrows()));
            for net in &self.nets {
                sum += &net.predict(&batch)?.mapv(f64::from);
            }
            mean.scaled_add(self.weight * self.unit / self.nets.len() as f64, &sum.dot(&self.basis));
        }
        Ok(mean)
    }
}

impl FittedMean {
    /// Trains a network per fold on what the fold's regression leaves over of its rows, and weighs them by the unseen rows.
    fn add_network(
        &mut self,
        metadata: &EncodedMetadata,
        y: &Array2<f64>,
        (x, fits): (&Array2<f64>, &[LinearFit]),
        settings: &MeanResidualSettings,
        run: &mut Run<'_>,
    ) -> Result<()> {
        let most = self.residual.ncols().min(self.residual.nrows().saturating_sub(1));
        let components = settings.mean.components.min(most);
        let pca = Pca::fit(self.residual.mapv(|value| value as f32).view(), components, 0)?;
        let unit = pca.explained_variance[0].sqrt().max(f64::MIN_POSITIVE);
        let basis = pca.components;
        let coordinates = |values: &Array2<f64>| values.dot(&basis.t()) / unit;
        let mut unseen = Array2::<f64>::zeros((y.nrows(), components));
        let mut nets = Vec::with_capacity(fits.len());
        let sizes = (metadata.design().ncols() - metadata.numbers.ncols(), metadata.numbers.ncols());
        for (fold, fit_of_fold) in fits.iter().enumerate() {
            run.check_interrupt()?;
            let (train, held_out) = parts(&self.fold_of, fold);
            let target = coordinates(&(y - &fit_of_fold.predict(x))).mapv(|value| value as f32);
            let seed = derived(run.seed, NETWORK, fold as u64);
            let cpu = Cpu::seed_from_u64(seed);
            let mut net = MeanNet::new(&cpu, sizes, components, &settings.mean, &mut seeded(seed))?;
            let source = |rows| Rows { metadata, target: &target, rows };
            let (train, watched) = (source(train.as_slice()), source(held_out.as_slice()));
            let config = TrainConfig { seed, ..settings.train.clone() };
            let mut part = run.part(&format!("fold-{}", fold + 1));
            if fold == 0 {
                part.progress = run.progress;
            }
            let history = fit_on(&mut net, &train, Some(&watched), &config, &mut part)?;
            if fold == 0 {
                self.history = history;
            }
            let found = net.predict(&MeanBatch::of(&metadata.select(&held_out)))?;
            for (&row, values) in held_out.iter().zip(found.rows()) {
                unseen.row_mut(row).assign(&values.mapv(f64::from));
            }
            nets.push(net);
        }
        let left = coordinates(&self.residual);
        let (product, length) = ((&left * &unseen).sum(), square(&unseen));
        let weight = if length > 0.0 { (product / length).clamp(0.0, 1.0) } else { 0.0 };
        if weight < NEGLIGIBLE_WEIGHT {
            return Ok(());
        }
        let before = square(&self.residual);
        self.residual.scaled_add(-weight * unit, &unseen.dot(&basis));
        self.gain = 1.0 - square(&self.residual) / before;
        let linear = self.mean.linear.clone();
        self.mean = Mean { linear, basis, unit, weight, nets };
        Ok(())
    }
}
