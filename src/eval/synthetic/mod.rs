//! Are generated records as good as real ones, and are they not simply the training records?
//!
//! Everything is measured twice against the same held-out real records: for the generated records, and for as many real training
//! records, which say what can be reached at this size. The space of distances is fixed: principal components of as
//! many real training as held-out records.
//!
//! | file | quantity |
//! |---|---|
//! | `frechet` | Fréchet distance of the Gaussians of both sets |
//! | `inception` | Inception score: records clearly of one class each, and of many together, by the probe of a label |
//! | `manifold` | precision, recall, density and coverage by nearest neighbours |
//! | `marginals` | each gene's distribution: Kolmogorov-Smirnov, Wasserstein, share of zeros; correlations between genes |
//! | `privacy` | copies, and distances to the nearest training record |
//! | here | train on synthetic, test on real: a linear probe of a label |

mod frechet;
mod inception;
mod manifold;
mod marginals;
mod privacy;

pub use frechet::frechet_distance;
pub use inception::inception_score;
pub use manifold::{Manifold, manifold};
pub use marginals::{Marginals, kolmogorov_smirnov, marginals};
pub use privacy::{COPY, Privacy, privacy};

use super::{LinearProbe, ProbeConfig, accuracy, balanced_accuracy, sets::subsample};
use crate::{Error, Result, math::Pca};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Most records of a set that are compared; more are thinned at random.
pub const MOST_RECORDS: usize = 1_000;
/// Fewest records of a set.
pub const FEWEST_RECORDS: usize = 10;

/// Three sets of records in log expression, `(records, genes)`.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    /// Real records that the generator was trained on.
    pub train: ArrayView2<'a, f32>,
    /// Real records that it has not seen.
    pub held_out: ArrayView2<'a, f32>,
    /// Generated records.
    pub generated: ArrayView2<'a, f32>,
}

/// The label of each record, below `classes`.
#[derive(Debug, Clone, Copy)]
pub struct RecordLabels<'a> {
    /// Of the training records.
    pub train: &'a [u32],
    /// Of the held-out records.
    pub held_out: &'a [u32],
    /// Of the generated records.
    pub generated: &'a [u32],
    /// Number of classes.
    pub classes: usize,
}

/// How near a set of records is to the held-out real records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fidelity {
    /// Number of records.
    pub records: usize,
    /// Fréchet distance in the fixed space.
    pub frechet: f64,
    /// Precision, recall, density, coverage.
    pub manifold: Manifold,
    /// Genes one by one, and in pairs.
    pub marginals: Marginals,
}

/// A linear probe that is fitted to one set and asked for the label of the held-out real records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Utility {
    /// Share of labels that are found.
    pub accuracy: f64,
    /// Mean over classes of that share.
    pub balanced_accuracy: f64,
}

/// The probe of a label, fitted to three sets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UtilityTest {
    /// Fitted to generated records.
    pub generated: Utility,
    /// Fitted to as many real training records, or to all where there are fewer: the ceiling.
    pub real: Utility,
    /// Fitted to generated records whose labels are shuffled: the floor.
    pub shuffled: Utility,
    /// Of the class probabilities by the probe of real records.
    pub inception_score: InceptionScores,
}

/// Inception scores by one probe, of as many records each: see [`inception_score`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InceptionScores {
    /// Of generated records.
    pub generated: f64,
    /// Of held-out real records: what generated ones of the same mix of labels can reach.
    pub real: f64,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SyntheticEvaluation {
    /// Components of the fixed space.
    pub components: usize,
    /// Share of the variance of the real records that they hold.
    pub explained: f64,
    /// Of the generated records.
    pub generated: Fidelity,
    /// Of as many real training records.
    pub real: Fidelity,
    /// Copies and distances.
    pub privacy: Privacy,
    /// `None` without labels.
    pub utility: Option<UtilityTest>,
    /// Scores on the first two components, for a picture: held-out and generated records, `(records, 2)` each.
    #[serde(skip)]
    pub scores: [Array2<f32>; 2],
}

/// Measures generated records.
///
/// # Errors
/// Sets of other genes, or of fewer than [`FEWEST_RECORDS`] records; a value that is not finite; labels that do not fit.
pub fn evaluate(
    records: &Records<'_>,
    labels: Option<&RecordLabels<'_>>,
    components: usize,
    seed: u64,
) -> Result<SyntheticEvaluation> {
    let sets = [("training", records.train), ("held-out", records.held_out), ("generated", records.generated)];
    for (name, set) in sets {
        if set.nrows() < FEWEST_RECORDS {
            let n = set.nrows();
            return Err(Error::data(format!(
                "{n} {name} records are too few to compare; give {FEWEST_RECORDS} or more"
            )));
        }
        if set.ncols() != records.train.ncols() {
            return Err(Error::shape("synthetic records: training and other records", records.train.dim(), set.dim()));
        }
        if set.iter().any(|value| !value.is_finite()) {
            return Err(Error::data(format!("a value of the {name} records is not finite")));
        }
    }
    let n = records.train.nrows().min(records.generated.nrows()).min(MOST_RECORDS);
    let thinned = |set: ArrayView2<'_, f32>, most: usize| {
        set.select(Axis(0), &subsample(&(0..set.nrows()).collect::<Vec<_>>(), most, seed))
    };
    let (train, generated) = (thinned(records.train, n), thinned(records.generated, n));
    let held_out = thinned(records.held_out, MOST_RECORDS);
    // As many of either: in components of the training records alone these lie farther out than records that the components have
    // not seen, and a record would be nearer to a held-out one for this reason.
    let halves = records.train.nrows().min(records.held_out.nrows()).min(MOST_RECORDS);
    let fitted_on =
        concatenate(Axis(0), &[thinned(records.train, halves).view(), thinned(records.held_out, halves).view()])
            .map_err(|_| Error::shape("real records", records.train.dim(), records.held_out.dim()))?;
    let components = components.min(fitted_on.ncols()).min(fitted_on.nrows() - 1);
    let space = Pca::fit(fitted_on.view(), components, seed)?;
    let place = |set: &Array2<f32>| space.transform(set.view());
    let (z_held_out, z_generated) = (place(&held_out)?, place(&generated)?);
    let fidelity = |set: &Array2<f32>| {
        let z = place(set)?;
        Ok::<_, Error>(Fidelity {
            records: set.nrows(),
            frechet: frechet_distance(z.view(), z_held_out.view())?,
            manifold: manifold(z.view(), z_held_out.view())?,
            marginals: marginals(set.view(), held_out.view()),
        })
    };
    Ok(SyntheticEvaluation {
        components,
        explained: space.explained_variance_ratio.sum(),
        generated: fidelity(&generated)?,
        real: fidelity(&train)?,
        privacy: privacy(z_generated.view(), space.transform(records.train)?.view(), z_held_out.view(), seed)?,
        utility: labels.map(|labels| utility(records, labels, seed)).transpose()?,
        scores: [&z_held_out, &z_generated].map(|z| z.select(Axis(1), &[0, 1.min(components - 1)])),
    })
}

/// Asks a probe for the labels of the held-out records.
fn asked(probe: &LinearProbe, records: &Records<'_>, all: &RecordLabels<'_>) -> Result<Utility> {
    let found = probe.predict(records.held_out)?;
    Ok(Utility {
        accuracy: accuracy(&found, all.held_out)?,
        balanced_accuracy: balanced_accuracy(&found, all.held_out)?,
    })
}

fn utility(records: &Records<'_>, labels: &RecordLabels<'_>, seed: u64) -> Result<UtilityTest> {
    let chosen = |n: usize, most: usize| subsample(&(0..n).collect::<Vec<_>>(), most, seed);
    let of_generated = chosen(records.generated.nrows(), MOST_RECORDS);
    let of_train = chosen(records.train.nrows(), of_generated.len());
    let pick = |labels: &[u32], rows: &[usize]| rows.iter().map(|&row| labels[row]).collect::<Vec<u32>>();
    let generated = records.generated.select(Axis(0), &of_generated);
    let own = pick(labels.generated, &of_generated);
    let mut shuffled = own.clone();
    shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let train = records.train.select(Axis(0), &of_train);
    let fitted =
        |set: &Array2<f32>, own: &[u32]| LinearProbe::fit(set.view(), own, labels.classes, &ProbeConfig::default());
    let of_real = fitted(&train, &pick(labels.train, &of_train))?;
    let score = |set: ArrayView2<'_, f32>| inception_score(of_real.probabilities(set)?.view());
    // The score grows with the number of records, so both sets have as many.
    let fewest = of_generated.len().min(records.held_out.nrows());
    let thinned = |set: ArrayView2<'_, f32>| set.select(Axis(0), &chosen(set.nrows(), fewest));
    Ok(UtilityTest {
        generated: asked(&fitted(&generated, &own)?, records, labels)?,
        real: asked(&of_real, records, labels)?,
        shuffled: asked(&fitted(&generated, &shuffled)?, records, labels)?,
        inception_score: InceptionScores {
            generated: score(thinned(generated.view()).view())?,
            real: score(thinned(records.held_out).view())?,
        },
    })
}
