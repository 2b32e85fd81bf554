//! The space that diffusion runs in: latents of a count VAE, or, for comparison, principal components of expression.
//!
//! # Cells whose mean is a wanted one
//!
//! An offset per gene is added to the logits of the count decoder. It is the residual form of the latent diffusion: what
//! cells have in common is what the mean predictor says, how they differ
//! is what the diffusion says. For decoded cells with expected log-normalised mean E and a wanted mean t, `(genes,)` each,
//! the logits get `o += ln((e^t - 1) / (e^E - 1))` until E is t: for small rates E is in proportion to the rate, for large
//! ones it is its logarithm, and both are met by this step.

use crate::{
    Error, Result,
    data::{Counts, DataKind, Dataset, Perturbation, TargetSum, normalize::log_normalize},
    math::Pca,
    model::{
        CellCovariates, CountVae, Generated, Likelihood, NORMALISED_TOTAL,
        vae::{CountModel, sample_counts},
    },
};
use ndarray::{Array1, Array2, ArrayView1, Axis, Zip};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Steps of the search for offsets in expression space, where zeros cut values off.
const CUT_STEPS: usize = 8;

/// Which space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum SpaceKind {
    /// Latents of the count VAE; its decoder gives counts.
    #[default]
    Latent,
    /// Principal components of log-normalised expression, with Gaussian noise for what they leave out: what direct
    /// diffusion of expression does (compare scPPDM, 2025). No counts come of it.
    Expression {
        /// Number of components.
        components: usize,
    },
}

/// A space, and the way back to expression.
#[derive(Debug, Clone)]
pub(super) enum Space {
    Latent(CountVae),
    Expression(Expression),
}

/// Principal components of log-normalised expression.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    /// `(genes,)`.
    pub mean: Array1<f64>,
    /// `(components, genes)`.
    pub components: Array2<f64>,
    /// Standard deviation of what the components leave out, `(genes,)`.
    pub rest: Array1<f64>,
    /// Kept for its vocabulary of lanes and genes.
    pub vae: CountVae,
}

/// Decoded cells, not yet drawn.
pub(super) enum Decoded {
    Counts {
        model: CountModel,
        remainder: bool,
    },
    /// Values `(cells, genes)`, and the standard deviation of the noise around them, `(genes,)`; what is drawn is cut off at
    /// zero.
    Values {
        values: Array2<f64>,
        rest: Array1<f64>,
    },
}

impl Space {
    /// That of a trained VAE, or of the training cells `rows`.
    ///
    /// # Errors
    /// A VAE of effects, or not of negative binomial counts, or whose latents are all unused; fewer cells than components.
    pub fn new(kind: SpaceKind, vae: CountVae, data: &Dataset, rows: &[usize]) -> Result<Self> {
        if vae.trained_on() != DataKind::Cells || vae.config().likelihood != Likelihood::Nb {
            return Err(Error::config("latent diffusion needs a count VAE of cells with likelihood = \"nb\""));
        }
        let SpaceKind::Expression { components } = kind else {
            let collapse = vae.collapse(data, rows)?;
            return match collapse.active {
                0 => Err(Error::data(format!(
                    "all {} latents of the VAE have collapsed (no posterior mean varies over its {} training cells): samples of it \
                     would say nothing of a cell; set free_nats = 10 in the table [vae] of --config, so that latents cost nothing up \
                     to 10 nats per cell, or give more cells (training longer does not help)",
                    collapse.variance.len(),
                    rows.len()
                ))),
                _ => Ok(Self::Latent(vae)),
            };
        };
        let values = normalised(data, rows)?;
        let pca = Pca::fit(values.view(), components, 0)?;
        let scores = pca.transform(values.view())?.mapv(f64::from);
        let mut left = values.mapv(f64::from) - &pca.mean;
        left -= &scores.dot(&pca.components);
        let rest = left.mapv(|v| v * v).mean_axis(Axis(0)).expect("at least two cells").mapv(f64::sqrt);
        Ok(Self::Expression(Expression { mean: pca.mean, components: pca.components, rest, vae }))
    }

    /// Dimensions of a point.
    pub fn dims(&self) -> usize {
        match self {
            Self::Latent(vae) => vae.config().latent,
            Self::Expression(space) => space.components.nrows(),
        }
    }

    /// The VAE of the latent space, or that of the same cells.
    pub fn vae(&self) -> &CountVae {
        match self {
            Self::Latent(vae) => vae,
            Self::Expression(space) => &space.vae,
        }
    }

    /// Points of the cells `rows`, `(rows, dims)`: drawn from the posterior, or scores; and what else each cell has.
    ///
    /// # Errors
    /// No cells; genes that are not the model's; a point that is not finite.
    pub fn points(
        &self,
        data: &Dataset,
        rows: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Result<(Array2<f32>, Vec<CellCovariates>)> {
        let (mut z, carriers) = self.vae().draw_latents(data, rows, rng)?;
        if let Self::Expression(space) = self {
            let values = normalised(data, rows)?.mapv(f64::from) - &space.mean;
            z = values.dot(&space.components.t()).mapv(|value| value as f32);
        }
        match z.indexed_iter().find(|(_, value)| !value.is_finite()) {
            Some(((row, column), value)) => Err(Error::data(format!(
                "latent {column} of the cell {} is {value}: the model that gives the latents is damaged; train it again",
                data.cells.names[rows[row]]
            ))),
            None => Ok((z, carriers)),
        }
    }

    /// Decodes points `z` `(cells, dims)` under a perturbation.
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn decode(&self, z: &Array2<f32>, perturbation: &Perturbation, carriers: &[CellCovariates]) -> Result<Decoded> {
        Ok(match self {
            Self::Latent(vae) => {
                Decoded::Counts { model: vae.decode_latents(z, perturbation, carriers)?, remainder: vae.with_remainder }
            }
            Self::Expression(space) => Decoded::Values {
                values: z.mapv(f64::from).dot(&space.components) + &space.mean,
                rest: space.rest.clone(),
            },
        })
    }
}

impl Decoded {
    /// Expected log-normalised expression with `offset`, mean over the cells, `(genes,)`.
    pub fn expected(&self, offset: &Array1<f64>, carriers: &[CellCovariates]) -> Array1<f64> {
        match self {
            Self::Counts { model, remainder } => expected(model, offset, carriers, *remainder),
            Self::Values { .. } => {
                self.mean(offset, carriers).mapv(f64::from).mean_axis(Axis(0)).expect("cells are asked for")
            }
        }
    }

    /// The offset `(genes,)` with which the mean is `wanted`.
    pub fn offset_to(&self, wanted: &Array1<f64>, carriers: &[CellCovariates]) -> Array1<f64> {
        match self {
            Self::Counts { model, remainder } => offset_to(model, wanted, carriers, *remainder),
            Self::Values { .. } => {
                let mut offset = Array1::zeros(wanted.len());
                for _ in 0..CUT_STEPS {
                    offset = &offset + wanted - &self.expected(&offset, carriers);
                }
                offset
            }
        }
    }

    /// How an offset changes where the wanted mean changes from `wanted` to `other`, `(genes,)`.
    pub fn offset_between(&self, wanted: &Array1<f64>, other: &Array1<f64>) -> Array1<f64> {
        match self {
            Self::Counts { .. } => log_ratio(other, wanted),
            Self::Values { .. } => other - wanted,
        }
    }

    /// Draws one cell a point.
    pub fn draw(&self, offset: &Array1<f64>, carriers: &[CellCovariates], rng: &mut ChaCha8Rng) -> Generated {
        let library_size = carriers.iter().map(|carrier| carrier.library_size).collect();
        match self {
            Self::Counts { model, remainder } => {
                let sizes: Vec<f32> = carriers.iter().map(|carrier| carrier.size_factor).collect();
                let values = sample_counts(&model.with_offset(offset), &sizes, *remainder, rng);
                Generated { values, library_size, are_counts: true }
            }
            Self::Values { values, rest } => {
                let mut drawn = values + offset;
                for mut cell in drawn.rows_mut() {
                    Zip::from(&mut cell).and(rest).for_each(|value, sd| {
                        *value += sd * rng.sample::<f64, _>(StandardNormal);
                    });
                }
                Generated { values: drawn.mapv(|v| v.max(0.0) as f32), library_size, are_counts: false }
            }
        }
    }

    /// Expected values of each cell: counts, or log-normalised expression, `(cells, genes)`.
    pub fn mean(&self, offset: &Array1<f64>, carriers: &[CellCovariates]) -> Array2<f32> {
        match self {
            Self::Counts { model, remainder } => {
                let sizes: Vec<f32> = carriers.iter().map(|carrier| carrier.size_factor).collect();
                model.with_offset(offset).mean(&sizes, *remainder)
            }
            Self::Values { values, rest } => {
                let mut mean = values + offset;
                for mut cell in mean.rows_mut() {
                    Zip::from(&mut cell).and(rest).for_each(|value, &sd| *value = cut_mean(*value, sd));
                }
                mean.mapv(|v| v as f32)
            }
        }
    }
}

/// `E[max(0, X)]` of a normal X: `m Phi(m / sd) + sd phi(m / sd)`.
fn cut_mean(mean: f64, sd: f64) -> f64 {
    if sd <= 0.0 {
        return mean.max(0.0);
    }
    let z = mean / sd;
    let phi = (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
    mean * 0.5 * libm::erfc(-z * FRAC_1_SQRT_2) + sd * phi
}

/// Log-normalised expression of the cells `rows` (10,000 counts a cell), `(rows, genes)`.
fn normalised(data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
    let cells = data.select_cells(rows);
    let counts: Counts = log_normalize(&cells, TargetSum::Fixed(NORMALISED_TOTAL))?;
    Ok(counts.to_dense())
}

/// Mean of some rows of a sparse matrix, `(genes,)`.
pub(super) fn mean_of(values: &Counts, rows: &[usize]) -> Array1<f64> {
    let mut sum = Array1::<f64>::zeros(values.n_genes());
    for &row in rows {
        let (genes, counts) = values.row(row);
        genes.iter().zip(counts).for_each(|(&gene, &value)| sum[gene as usize] += f64::from(value));
    }
    sum / rows.len().max(1) as f64
}

/// Squared length of a vector.
pub(super) fn square(vector: ArrayView1<'_, f64>) -> f64 {
    vector.dot(&vector)
}

/// Steps; each takes off most of what is left.
const STEPS: usize = 6;
/// Means below it are not told from zero: about one count in ten thousand cells.
const SMALLEST: f64 = 1e-4;
/// Largest offset, a factor of 150.
const LARGEST: f64 = 5.0;

/// Expected log-normalised expression of decoded cells with `offset` added to their logits, mean over the cells, `(genes,)`.
fn expected(decoded: &CountModel, offset: &Array1<f64>, carriers: &[CellCovariates], remainder: bool) -> Array1<f64> {
    let sizes: Vec<f32> = carriers.iter().map(|carrier| carrier.size_factor).collect();
    let scales: Vec<f64> = carriers.iter().map(|c| f64::from(NORMALISED_TOTAL / c.library_size.max(1.0))).collect();
    decoded.with_offset(offset).expected_log1p(&sizes, &scales, remainder) / carriers.len().max(1) as f64
}

/// The offset `(genes,)` with which the decoded cells have the wanted mean.
fn offset_to(decoded: &CountModel, wanted: &Array1<f64>, carriers: &[CellCovariates], remainder: bool) -> Array1<f64> {
    let mut offset = Array1::zeros(wanted.len());
    for _ in 0..STEPS {
        let mean = expected(decoded, &offset, carriers, remainder);
        offset = &offset + &log_ratio(wanted, &mean);
        offset.mapv_inplace(|o: f64| o.clamp(-LARGEST, LARGEST));
    }
    offset
}

/// `ln((e^t - 1) / (e^E - 1))`, with both means at least [`SMALLEST`].
fn log_ratio(wanted: &Array1<f64>, mean: &Array1<f64>) -> Array1<f64> {
    let rate = |mean: f64| mean.max(SMALLEST).exp_m1().ln();
    wanted.iter().zip(mean).map(|(&wanted, &mean)| rate(wanted) - rate(mean)).collect()
}
