//! Bulk RNA-seq samples with a known dependence on their metadata.
//!
//! ```text
//! eta_sg = b_g + sum over columns c of e_c[level of s]_g + a_s slope_g              additive part
//!        + i[tissue, disease of s]_g + a_s v[disease of s]_g                        interactions, of some genes
//!        + sum_k z_sk W_kg + noise_sd_g eps_sg,     z, eps ~ N(0, 1)                residual: low rank and independent
//! x_sg ~ Poisson( L_s exp(eta_sg) / sum_h exp(eta_sh) )                             counts, (samples, genes)
//! L_s  ~ LogNormal( ln median, sd )                                                 library size
//! ```
//!
//! The columns are `tissue`, `disease` (its first level is `healthy`), `sex` and `batch`; `a_s` is the standardised `age`. The
//! first level of `disease`, `sex` and `batch` has no effect and no interaction, as it is what the others are compared with.
//!
//! The file has these columns in `obs`, the mean at a residual of zero in the layer `true_mean` (log1p of counts per million), and
//! in `uns["bulk_truth"]` the additive effects of each column, `age_slope`, `interactions` `(tissues x diseases, genes)`,
//! `age_interactions` `(diseases, genes)`, `loadings` `(factors, genes)` and `noise_sd`.

use crate::{
    Error, Result,
    data::{AnnDataWriter, Column, Counts, Dataset, Perturbation, Table, Uns, labels::UNS},
};
use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};
use std::path::Path;

/// Where the truth is in `uns`.
const KEY: &str = "bulk_truth";
/// The layer of the true means.
pub const TRUE_MEAN: &str = "true_mean";
/// Counts that the true means are normalised to: counts per million.
const MILLION: f64 = 1e6;
/// The ages that are drawn, uniformly, in years; its mean and standard deviation standardise the age.
const AGES: std::ops::Range<f64> = 20.0..80.0;
/// Standard deviation of a gene's baseline log rate.
const BASELINE_SD: f64 = 1.2;

/// What is simulated. Effects and noise are in natural logarithms.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkConfig {
    /// Number of samples.
    pub n_samples: usize,
    /// Number of genes.
    pub n_genes: usize,
    /// The same seed gives the same data.
    pub seed: u64,
    /// Levels of `tissue`, `disease` and `batch`; `sex` has two.
    pub levels: [usize; 3],
    /// Standard deviation over genes of an additive effect of a tissue, a disease, a sex, a batch and one standard deviation of age.
    pub effect_sd: [f64; 5],
    /// Standard deviation of an interaction, of the genes that have one.
    pub interaction_sd: f64,
    /// Share of the genes that have interactions.
    pub interaction_share: f64,
    /// Number of hidden factors of the residual.
    pub n_factors: usize,
    /// Standard deviation of a factor's loadings.
    pub factor_sd: f64,
    /// Smallest and largest standard deviation of a gene's independent noise.
    pub noise_sd: [f64; 2],
    /// Median library size.
    pub library_size: f64,
    /// Standard deviation of its logarithm.
    pub library_size_sd: f64,
}

impl Default for BulkConfig {
    fn default() -> Self {
        Self {
            n_samples: 600,
            n_genes: 500,
            seed: 0,
            levels: [4, 3, 2],
            effect_sd: [0.7, 0.4, 0.15, 0.15, 0.15],
            interaction_sd: 0.8,
            interaction_share: 0.3,
            n_factors: 5,
            factor_sd: 0.15,
            noise_sd: [0.1, 0.35],
            library_size: 1e7,
            library_size_sd: 0.3,
        }
    }
}

impl BulkConfig {
    fn check(&self) -> Result<()> {
        let sizes = [("samples", self.n_samples, 2), ("genes", self.n_genes, 2)];
        let levels = ["tissues", "diseases", "batches"].into_iter().zip(self.levels).map(|(name, n)| (name, n, 1));
        if let Some((name, n, least)) = sizes.into_iter().chain(levels).find(|(_, n, least)| n < least) {
            return Err(Error::config(format!("{n} {name} are too few for bulk samples; ask for {least} or more")));
        }
        let widths = self.effect_sd.into_iter().chain(self.noise_sd).chain([
            self.interaction_sd,
            self.factor_sd,
            self.library_size_sd,
        ]);
        let fits = widths.into_iter().all(|sd| sd.is_finite() && sd >= 0.0)
            && self.noise_sd[0] <= self.noise_sd[1]
            && (0.0..=1.0).contains(&self.interaction_share)
            && self.library_size.is_finite()
            && self.library_size >= 1.0;
        match fits {
            true => Ok(()),
            false => Err(Error::config(
                "bulk samples: standard deviations must be 0 or more, the share of genes with interactions between 0 and 1, the \
                 library size 1 or more",
            )),
        }
    }
}

/// Simulated bulk samples and the truth behind them.
#[derive(Debug, Clone)]
pub struct BulkSimulation {
    /// The samples; `cells` holds their metadata. All are labelled as control: nothing is perturbed.
    pub dataset: Dataset,
    /// log1p counts per million of each sample at a residual of zero, `(samples, genes)`: what its metadata says of it.
    pub true_mean: Array2<f32>,
    /// Loadings W of the residual's factors, `(factors, genes)`.
    pub loadings: Array2<f64>,
    /// Standard deviation of the independent noise of each gene, `(genes,)`.
    pub noise_sd: Array1<f64>,
    effects: Effects,
}

/// The effects of the metadata on log rates.
#[derive(Debug, Clone)]
struct Effects {
    baseline: Array1<f64>,
    /// Of `tissue`, `disease`, `sex`, `batch`: `(levels, genes)` each.
    additive: [Array2<f64>; 4],
    age_slope: Array1<f64>,
    /// `(tissues x diseases, genes)`.
    interactions: Array2<f64>,
    /// `(diseases, genes)`.
    age_interactions: Array2<f64>,
}

/// The metadata of one sample: levels of the four columns, and the age in years.
#[derive(Debug, Clone, Copy)]
struct Sample {
    levels: [usize; 4],
    age: f64,
}

impl Sample {
    fn draw(levels: [usize; 4], rng: &mut ChaCha8Rng) -> Self {
        Self { levels: levels.map(|n| rng.random_range(0..n)), age: rng.random_range(AGES).round() }
    }

    fn standardised_age(self) -> f64 {
        let (middle, sd) = (f64::midpoint(AGES.start, AGES.end), (AGES.end - AGES.start) / 12.0_f64.sqrt());
        (self.age - middle) / sd
    }
}

fn normal(shape: (usize, usize), sd: f64, rng: &mut ChaCha8Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn(shape, || sd * rng.sample::<f64, _>(StandardNormal))
}

impl Effects {
    fn draw(config: &BulkConfig, rng: &mut ChaCha8Rng) -> Self {
        let genes = config.n_genes;
        let [tissues, diseases, batches] = config.levels;
        let levels = [tissues, diseases, 2, batches];
        let mut additive: [Array2<f64>; 4] =
            std::array::from_fn(|column| normal((levels[column], genes), config.effect_sd[column], rng));
        additive[1..].iter_mut().for_each(|effects| effects.row_mut(0).fill(0.0));
        let with: Vec<bool> = (0..genes).map(|_| rng.random::<f64>() < config.interaction_share).collect();
        let mut interactions = normal((tissues * diseases, genes), config.interaction_sd, rng);
        let mut age_interactions = normal((diseases, genes), 0.5 * config.interaction_sd, rng);
        for (gene, with) in with.into_iter().enumerate() {
            (0..interactions.nrows())
                .filter(|row| !with || row % diseases == 0)
                .for_each(|row| interactions[[row, gene]] = 0.0);
            (0..diseases).filter(|row| !with || *row == 0).for_each(|row| age_interactions[[row, gene]] = 0.0);
        }
        Self {
            baseline: normal((1, genes), BASELINE_SD, rng).row(0).to_owned(),
            additive,
            age_slope: normal((1, genes), config.effect_sd[4], rng).row(0).to_owned(),
            interactions,
            age_interactions,
        }
    }

    /// Log rates at a residual of zero, `(genes,)`, up to a constant.
    fn log_rates(&self, sample: Sample) -> Array1<f64> {
        let [tissue, disease, ..] = sample.levels;
        let age = sample.standardised_age();
        let mut eta = &self.baseline + &(&self.age_slope * age);
        for (effects, level) in self.additive.iter().zip(sample.levels) {
            eta += &effects.row(level);
        }
        eta += &self.interactions.row(tissue * self.age_interactions.nrows() + disease);
        eta.scaled_add(age, &self.age_interactions.row(disease));
        eta
    }

    fn to_uns(&self, loadings: &Array2<f64>, noise_sd: &Array1<f64>) -> Uns {
        let array = |values: &Array2<f64>| Uns::Array(values.mapv(|value| value as f32).into_dyn());
        let vector = |values: &Array1<f64>| Uns::Array(values.mapv(|value| value as f32).into_dyn());
        let [tissue, disease, sex, batch] = &self.additive;
        [
            ("baseline", vector(&self.baseline)),
            ("tissue", array(tissue)),
            ("disease", array(disease)),
            ("sex", array(sex)),
            ("batch", array(batch)),
            ("age_slope", vector(&self.age_slope)),
            ("interactions", array(&self.interactions)),
            ("age_interactions", array(&self.age_interactions)),
            ("loadings", array(loadings)),
            ("noise_sd", vector(noise_sd)),
        ]
        .into_iter()
        .collect()
    }
}

/// `exp(eta) / sum exp(eta)`, `(genes,)`.
fn shares(eta: &Array1<f64>) -> Array1<f64> {
    let highest = eta.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let rates = eta.mapv(|value| (value - highest).exp());
    let sum = rates.sum();
    rates / sum
}

impl BulkSimulation {
    /// Simulates samples.
    ///
    /// # Errors
    /// A setting that is out of range.
    pub fn new(config: &BulkConfig) -> Result<Self> {
        config.check()?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let effects = Effects::draw(config, &mut rng);
        let loadings = normal((config.n_factors, config.n_genes), config.factor_sd, &mut rng);
        let [low, high] = config.noise_sd;
        let noise_sd = Array1::from_shape_simple_fn(config.n_genes, || low + (high - low) * rng.random::<f64>());
        let [tissues, diseases, batches] = config.levels;
        let samples: Vec<Sample> =
            (0..config.n_samples).map(|_| Sample::draw([tissues, diseases, 2, batches], &mut rng)).collect();
        let mut true_mean = Array2::zeros((config.n_samples, config.n_genes));
        let mut counts = Array2::<f32>::zeros(true_mean.dim());
        for (row, &sample) in samples.iter().enumerate() {
            let mean = effects.log_rates(sample);
            true_mean.row_mut(row).assign(&shares(&mean).mapv(|share| (MILLION * share).ln_1p() as f32));
            let z = normal((1, config.n_factors), 1.0, &mut rng);
            let noise = normal((1, config.n_genes), 1.0, &mut rng);
            let eta = mean + z.row(0).dot(&loadings) + &(&noise.row(0) * &noise_sd);
            let spread: f64 = rng.sample(StandardNormal);
            let library = config.library_size * (config.library_size_sd * spread).exp();
            for (gene, share) in shares(&eta).into_iter().enumerate() {
                let mean = (library * share).max(f64::MIN_POSITIVE);
                let drawn = Poisson::new(mean).map_err(|e| Error::config(format!("a count of mean {mean}: {e}")))?;
                counts[[row, gene]] = drawn.sample(&mut rng) as f32;
            }
        }
        let dataset = dataset(&counts, &samples, config)?;
        Ok(Self { dataset, true_mean, loadings, noise_sd, effects })
    }

    /// Writes the samples as `.h5ad` as [`Dataset::write`] does, with the truth.
    ///
    /// # Errors
    /// A folder that is not there or not writable, or a full disk.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut cells = self.dataset.cells.clone();
        self.dataset.annotate(&mut cells);
        AnnDataWriter::new(&cells, &self.dataset.genes)
            .x(&self.dataset.counts)
            .layer(TRUE_MEAN, &self.true_mean)
            .uns(UNS, self.dataset.hints())
            .uns(KEY, self.effects.to_uns(&self.loadings, &self.noise_sd))
            .write(path)
    }
}

fn dataset(counts: &Array2<f32>, samples: &[Sample], config: &BulkConfig) -> Result<Dataset> {
    let mut cells = Table::from_names((1..=samples.len()).map(|number| format!("sample-{number}")).collect());
    let [tissues, diseases, batches] = config.levels;
    let numbered = |name: &str, n: usize| (1..=n).map(|level| format!("{name}_{level}")).collect::<Vec<_>>();
    let mut diseases = numbered("disease", diseases.saturating_sub(1));
    diseases.insert(0, "healthy".to_owned());
    let names = [
        ("tissue", numbered("tissue", tissues)),
        ("disease", diseases),
        ("sex", vec!["female".to_owned(), "male".to_owned()]),
        ("batch", numbered("batch", batches)),
    ];
    for (place, (column, categories)) in names.into_iter().enumerate() {
        let codes = samples.iter().map(|sample| sample.levels[place] as i32).collect();
        cells.set(column, Column::Categorical { codes, categories });
    }
    cells.set("age", Column::Float(samples.iter().map(|sample| sample.age).collect()));
    let genes = Table::from_names((1..=config.n_genes).map(|gene| format!("GENE{gene}")).collect());
    let labels = vec![Perturbation::control(); samples.len()];
    Dataset::new(Counts::from_dense(counts), genes, cells, &labels, None, None)
}
