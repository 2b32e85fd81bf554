//! Pretraining of an encoder without labels: made for a dataset, trained on its cells, asked for embeddings. Phase A of the
//! JEPA, and by itself where only the encoder is studied.

use super::{
    Jepa,
    config::{EncoderConfig, PretrainingConfig, PretrainingObjective},
    masks::GeneMasks,
    other_genes::Matched,
    pretrain::PretrainNet,
    transformer::NOWHERE,
    views::{CellSets, JepaBatch},
};
use crate::{
    Error, Result,
    data::{Dataset, HvgFlavour, Split, TargetSum, highly_variable, shuffle},
    math::Pca,
    nn::{count_params, ops},
    train::{BatchSource, History, Run, TrainConfig, fit_on},
};
use dfdx::prelude::Cpu;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Mean and standard deviation of each gene's log1p expression at this target sum over the cells `rows`, `(genes,)` each.
fn moments(data: &Dataset, rows: &[usize], target_sum: f32) -> (Vec<f64>, Vec<f64>) {
    let (mut sum, mut square) = (vec![0.0; data.n_genes()], vec![0.0; data.n_genes()]);
    for &row in rows {
        let scale = target_sum / data.library_size[row].max(1.0);
        let (genes, counts) = data.counts.row(row);
        for (&gene, &count) in genes.iter().zip(counts) {
            let value = f64::from((count * scale).ln_1p());
            sum[gene as usize] += value;
            square[gene as usize] += value * value;
        }
    }
    let n = rows.len() as f64;
    let mean: Vec<f64> = sum.iter().map(|sum| sum / n).collect();
    let sd = square.iter().zip(&mean).map(|(square, mean)| (square / n - mean * mean).max(0.0).sqrt());
    let sd = sd.collect();
    (mean, sd)
}

/// The `n` genes that vary most over the cells `rows` for their mean expression, ascending; fewer where fewer vary.
fn most_variable(data: &Dataset, rows: &[usize], n: usize) -> Result<Vec<usize>> {
    let table = highly_variable(data, HvgFlavour::SeuratV3, n.min(data.n_genes()), Some(rows))?;
    match table.genes() {
        genes if genes.len() < 2 => Err(Error::data("fewer than two genes vary over the training cells")),
        genes => Ok(genes),
    }
}

/// Cells that principal components are computed from, at most.
const COMPONENT_CELLS: usize = 6_000;

/// The first `width` principal components of log1p expression at this target sum over the cells `rows`.
///
/// # Errors
/// Fewer cells or genes than components.
fn components(data: &Dataset, rows: &[usize], (width, target_sum): (usize, f32), seed: u64) -> Result<Pca> {
    let mut rows = rows.to_vec();
    shuffle(&mut rows, &mut ChaCha8Rng::seed_from_u64(seed));
    rows.truncate(COMPONENT_CELLS);
    let scales: Vec<f32> = rows.iter().map(|&row| target_sum / data.library_size[row].max(1.0)).collect();
    let cells = data.counts.select_cells(&rows).scale_rows(&scales).map_values(f32::ln_1p).to_dense();
    Pca::fit(cells.view(), width, seed)
}

/// Cells that go through the network at once when nothing is trained.
const EVALUATION_BATCH: usize = 256;

/// Which encoder reads cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The one that is trained.
    Student,
    /// Its moving average.
    Teacher,
}

/// An encoder of cells and its training without labels, on the CPU: see [`PretrainNet`] for the equations. What is saved and
/// read back is a [`Jepa`](super::Jepa).
///
/// ```no_run
/// use genailab::{data::{Dataset, SplitPlan}, model::jepa::{Pretraining, PretrainingConfig}};
/// use genailab::train::{Run, TrainConfig};
///
/// let data = Dataset::simulated(7);
/// let split = data.split(&SplitPlan::default())?;
/// let mut encoder = Pretraining::new(&data, &split, PretrainingConfig::default(), 0)?;
/// encoder.fit_with(&data, &split, &TrainConfig { epochs: 20, ..TrainConfig::default() }, &mut Run::new(0))?;
/// let z = encoder.embed(&data, &[0, 1, 2])?; // (cells, width)
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pretraining {
    config: PretrainingConfig,
    genes: Vec<String>,
    /// What each cell's counts are scaled to.
    pub(super) target_sum: f32,
    pub(super) net: PretrainNet<Cpu>,
    /// Mean log1p expression of each gene over the training cells.
    pub(super) means: Vec<f32>,
}

impl Pretraining {
    /// A new network for the genes of `data`. The seed of the weights is `seed`.
    ///
    /// # Errors
    /// A configuration that cannot train; no training cell.
    pub fn new(data: &Dataset, split: &Split, mut config: PretrainingConfig, seed: u64) -> Result<Self> {
        if split.train.is_empty() || data.genes.is_empty() {
            return Err(Error::data("there is nothing to train on: no cell or no gene is left"));
        }
        config.validate()?;
        let libraries: Vec<f32> = split.train.iter().map(|&row| data.library_size[row]).collect();
        let target_sum = config.target_sum.map_or(TargetSum::Median, TargetSum::Fixed).resolve(&libraries)?;
        let moments = moments(data, &split.train, target_sum);
        let place_of = match &mut config.encoder {
            EncoderConfig::Groups(groups) => {
                groups.groups = groups.groups.min(data.n_genes() / 2).max(2);
                Some(groups.grouping.divide(groups.groups, data, &split.train, seed)?)
            }
            EncoderConfig::Genes(tokens) => {
                let chosen = most_variable(data, &split.train, tokens.genes)?;
                tokens.genes = chosen.len();
                let mut place_of = vec![NOWHERE; data.n_genes()];
                chosen.iter().enumerate().for_each(|(place, &gene)| place_of[gene] = place as u32);
                Some(place_of)
            }
            EncoderConfig::Linear | EncoderConfig::Mlp { .. } | EncoderConfig::Tokens(_) => None,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = PretrainNet::new(&Cpu::seed_from_u64(seed), data.n_genes(), &config, &mut rng)?;
        if let Some(place_of) = place_of {
            // Tokens of genes do not standardise.
            let standardises = matches!(config.encoder, EncoderConfig::Groups(_));
            net.set_places(&place_of, standardises.then_some(&moments))?;
        }
        if config.encoder == EncoderConfig::Linear {
            net.begin_at(&components(data, &split.train, (config.width, target_sum), seed)?)?;
        }
        let means = moments.0.iter().map(|&mean| mean as f32).collect();
        Ok(Self { config, genes: data.genes.names.clone(), target_sum, net, means })
    }

    /// A network that begins with the encoder of a trained JEPA, for the genes of `data`. The target sum is that of the JEPA.
    ///
    /// # Errors
    /// No training cell; fewer than two genes of the JEPA in `data`.
    pub(super) fn begun_with(trained: &Jepa, data: &Dataset, split: &Split, seed: u64) -> Result<(Self, Matched)> {
        let config = trained.settings.encoder.clone();
        let matched = Matched::new(&trained.genes, &data.genes.names);
        if split.train.is_empty() || matched.shared() < 2 {
            let found = matched.shared();
            return Err(Error::data(format!(
                "{found} of the encoder's {} genes are in the data, by name, of {} training cells: there is nothing to begin with",
                trained.genes.len(),
                split.train.len()
            )));
        }
        let target_sum = trained.encoder.target_sum;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = PretrainNet::new(&Cpu::seed_from_u64(seed), data.n_genes(), &config, &mut rng)?;
        net.set_encoder(&trained.encoder.backbone.encoder.for_genes(&matched, &trained.means)?)?;
        let means = moments(data, &split.train, target_sum).0.into_iter().map(|mean| mean as f32).collect();
        Ok((Self { config, genes: data.genes.names.clone(), target_sum, net, means }, matched))
    }

    /// The settings.
    pub fn config(&self) -> &PretrainingConfig {
        &self.config
    }

    /// Number of trained weights; the teacher's are not.
    ///
    /// # Errors
    /// Those of the walk over the model's parameters.
    pub fn n_params(&self) -> Result<usize> {
        count_params(&self.net)
    }

    /// Trains on the split's training cells and validates on its validation cells, as `run` says of everything but seed and
    /// device.
    ///
    /// The validation loss is against a teacher that moves, and falls or rises with it: it shows a collapse or a
    /// training that diverges, but training must not be stopped early by it.
    ///
    /// # Errors
    /// A collapse of the embeddings ([`CollapseAlarm`](super::CollapseAlarm)); masks that cannot be made; a loss that
    /// stops being finite, an interruption, a folder that cannot be written.
    pub fn fit_with(
        &mut self,
        data: &Dataset,
        split: &Split,
        config: &TrainConfig,
        run: &mut Run<'_>,
    ) -> Result<History> {
        let hides = matches!(self.config.objective, PretrainingObjective::Masks | PretrainingObjective::Reconstruction);
        let masks = hides.then(|| GeneMasks::new(&self.config.masks, data, &split.train)).transpose()?.map(Arc::new);
        let objective = &self.config.objective;
        let train = CellSets::new(data, &split.train, &self.genes, objective, self.target_sum, config.seed)?;
        let validation = CellSets::new(data, &split.validation, &self.genes, objective, self.target_sum, config.seed)?;
        let validation = (!validation.is_empty()).then_some(&validation);
        self.net.set_masks(masks);
        fit_on(&mut self.net, &train, validation, config, run)
    }

    /// The embeddings of the cells `rows`, `(rows, width)`: by the teacher where there is one that averages (as I-JEPA is
    /// judged: its weights are those of many steps, with less of the last batches' noise in them), else by the student.
    ///
    /// # Errors
    /// As [`Self::embed_rows`].
    pub fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        let averages = self.config.objective.has_teacher() && self.config.teacher.ema.is_some();
        self.embed_rows(data, rows, if averages { Reader::Teacher } else { Reader::Student })
    }

    /// The embeddings of the cells `rows` by one of the two encoders, `(rows, width)`; both are the same where there is no
    /// teacher.
    ///
    /// # Errors
    /// No cells; other genes than the model's.
    pub fn embed_rows(&self, data: &Dataset, rows: &[usize], reader: Reader) -> Result<Array2<f32>> {
        if rows.is_empty() {
            return Err(Error::data("no cells were chosen"));
        }
        let source = CellSets::new(data, rows, &self.genes, &PretrainingObjective::Masks, self.target_sum, 0)?;
        let places: Vec<usize> = (0..rows.len()).collect();
        let embed = |chunk: &[usize]| -> Result<Array2<f32>> {
            let batch: JepaBatch = source.batch(chunk)?;
            let counts = Arc::new(batch.normalised());
            Ok(ops::download(&self.net.embed(counts, reader == Reader::Teacher)?))
        };
        let blocks = places.chunks(EVALUATION_BATCH).map(embed).collect::<Result<Vec<_>>>()?;
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        Ok(concatenate(Axis(0), &views).expect("every block has the same number of columns"))
    }
}
