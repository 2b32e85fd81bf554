//! Three sizes of the JEPA on three shares of the training cells, at equal compute.
//!
//! Compute is `cells x passes x weights of the encoder`: half the cells are passed over twice as often, and an encoder of twice as
//! many weights half as often. So a size that wins here wins by what it is, not by longer training.

use super::{Ablation, Trial, judged};
use crate::{
    Error, Result,
    bench::{BenchmarkData, Task},
    data::{Split, SplitPlan, shuffle},
    model::jepa::{EncoderConfig, JepaSettings, Pretraining},
    show::{Figure, Panel, Series, training_curves},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

/// Factors of the widths of the encoder's layers and of F.
const WIDTHS: [f64; 3] = [0.5, 1.0, 2.0];
/// Shares of the training cells.
const SHARES: [f64; 3] = [0.25, 0.5, 1.0];
/// Cells of each condition that are kept in any case.
const FEWEST: usize = 4;

/// One point of the scaling study: a size of the encoder and a share of the training cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalingPoint {
    /// Features of a token.
    pub width: usize,
    /// Share of the training cells.
    pub share: f64,
}

impl ScalingPoint {
    fn name(self) -> String {
        format!("{} wide, {:.0} % of the cells", self.width, 100.0 * self.share)
    }

    /// What [`Self::name`] says.
    fn read(name: &str) -> Option<Self> {
        let (width, rest) = name.split_once(" wide, ")?;
        let percent: f64 = rest.split_once(' ')?.0.parse().ok()?;
        Some(Self { width: width.parse().ok()?, share: percent / 100.0 })
    }

    /// The mean L2 and E-distance over the seeds against the share of the cells, a curve for each size.
    ///
    /// # Errors
    /// No trial that was judged.
    pub fn figure(ablation: &Ablation) -> Result<Figure> {
        let panel = |name: &str, y_label: &str| {
            let mut of_width: BTreeMap<usize, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
            for trial in &ablation.trials {
                let value = trial.figures.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
                if let (Some(scale), Some(value)) = (Self::read(&trial.variant), value) {
                    let shares = of_width.entry(scale.width).or_default();
                    shares.entry((100.0 * scale.share).round() as u64).or_default().push(value);
                }
            }
            let series = of_width.into_iter().map(|(width, shares)| {
                let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
                let x = shares.keys().map(|&percent| percent as f64).collect();
                Series::new(format!("{width} wide"), x, shares.values().map(mean).collect())
            });
            Panel { y_label: y_label.to_owned(), series: series.collect() }
        };
        let panels = [panel("edistance_plain", "E-distance"), panel("l2", "L2")];
        let figure = training_curves("Held-out conditions, by size and data", "training cells, %", &panels)?;
        Ok(figure.with_caption("Means over the seeds; lower is better. A curve is a width of the encoder's tokens."))
    }
}

/// The settings with an encoder and an F of `factor` times the width.
///
/// # Errors
/// An encoder other than of gene groups.
fn sized(base: &JepaSettings, factor: f64) -> Result<(usize, JepaSettings)> {
    let mut settings = base.clone();
    let times = |size: usize| ((size as f64 * factor).round() as usize).max(2);
    let EncoderConfig::Groups(groups) = &mut settings.encoder.encoder else {
        return Err(Error::config("the sizes that are compared are those of an encoder of gene groups"));
    };
    (groups.tokens, groups.hidden) = (times(groups.tokens), times(groups.hidden));
    let width = groups.tokens;
    settings.response.hidden = times(settings.response.hidden);
    Ok((width, settings))
}

/// A share of the training cells of each label; the rest are validation cells, which a JEPA does not look at.
fn thinned(split: &Split, labels: &[u32], share: f64, seed: u64) -> Split {
    let mut of_label: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    split.train.iter().for_each(|&row| of_label.entry(labels[row]).or_default().push(row));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut train, mut validation) = (Vec::new(), split.validation.clone());
    for rows in of_label.values_mut() {
        shuffle(rows, &mut rng);
        let kept = ((rows.len() as f64 * share).round() as usize).max(FEWEST.min(rows.len()));
        train.extend_from_slice(&rows[..kept]);
        validation.extend_from_slice(&rows[kept..]);
    }
    train.sort_unstable();
    validation.sort_unstable();
    Split { train, validation, test: split.test.clone() }
}

/// Trains each size on each share of the training cells, those that are `wanted` by name and seed; `report` gets each trial when
/// it is done. A training that fails is a failed trial.
///
/// # Errors
/// Data that the split does not fit, effects; an interruption.
pub fn scale_jepa(
    data: &BenchmarkData,
    split: &str,
    base: &JepaSettings,
    (seeds, interrupt): (u64, Option<&Arc<AtomicBool>>),
    wanted: &dyn Fn(&str, u64) -> bool,
    report: &mut dyn FnMut(Trial) -> Result<()>,
) -> Result<()> {
    let BenchmarkData::Cells(cells) = data else {
        return Err(Error::config("an effects dataset has no cells; give a cells dataset"));
    };
    for seed in 0..seeds {
        let rows = data.rows();
        let divided = SplitPlan::parse(split, seed)?.divide(&rows)?;
        let whole = divided.split(&rows)?;
        let weights =
            |settings: &JepaSettings| Pretraining::new(&cells.data, &whole, settings.encoder.clone(), seed)?.n_params();
        let usual = weights(base)? as f64;
        for share in SHARES {
            let mut task = None;
            for factor in WIDTHS {
                let (width, mut settings) = sized(base, factor)?;
                let name = ScalingPoint { width, share }.name();
                if !wanted(&name, seed) {
                    continue;
                }
                let weights = weights(&settings)?;
                let passes =
                    |epochs: usize| ((epochs as f64 * usual / (weights as f64 * share)).round() as usize).max(1);
                settings.pretraining.epochs = passes(settings.pretraining.epochs);
                settings.response.training.epochs = passes(settings.response.training.epochs);
                settings.response.tuning.epochs = passes(settings.response.tuning.epochs);
                let task = match &mut task {
                    Some(task) => task,
                    None => {
                        let part = thinned(&whole, &cells.data.labels, share, seed);
                        task.insert(Task::new(data, &part, &divided.groups, seed)?)
                    }
                };
                let mut trial = judged(task, &name, settings, (seed, interrupt))?;
                if trial.failure.is_none() {
                    trial.figures.push(("weights".to_owned(), weights as f64));
                }
                report(trial)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_scale() {
        let scale = ScalingPoint { width: 32, share: 0.25 };
        assert_eq!(scale.name(), "32 wide, 25 % of the cells");
        assert_eq!(ScalingPoint::read(&scale.name()), Some(scale));
        assert_eq!(ScalingPoint::read("no phase A"), None);
    }

    #[test]
    fn a_share_of_each_label_is_kept() {
        let labels: Vec<u32> = (0..100).map(|cell| u32::from(cell >= 90)).collect();
        let split = Split { train: (0..100).collect(), validation: Vec::new(), test: vec![100] };
        let kept = thinned(&split, &labels, 0.2, 1);
        assert_eq!((kept.train.len(), kept.validation.len()), (18 + FEWEST, 82 - FEWEST));
        assert_eq!(kept.test, split.test);
        assert_eq!(thinned(&split, &labels, 1.0, 1).train, split.train);
    }
}
