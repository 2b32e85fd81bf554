//! From embeddings to counts: a decoder to negative binomials.
//!
//! ```text
//! rho = softmax(W M(z) + b),  x_g ~ NB(mean = l rho_g, inverse dispersion theta_g)      l: library size
//! ```
//!
//! The library size of a predicted cell is that of the control cell it started from.

use crate::{
    Error, Result,
    data::{Counts, Dataset},
    model::{
        NORMALISED_TOTAL, State,
        vae::{CountModel, sample_counts},
    },
    nn::{Backend, FinishConfig, Linear, Matrix, Mlp, Norm, Vector, init, ops, walk_params},
};
use dfdx::prelude::{Cpu, Tape, TryMul};
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The part of a model that decodes embeddings.
const DECODER: &str = "decoder";
/// What the decoder's output layer is multiplied by. Adam moves every weight at the same pace; logits have to move ten times as
/// fast as what comes before them.
pub const GAIN: f32 = 10.0;
/// Bounds of 1 / theta.
const DISPERSIONS: (f64, f64) = (0.01, 50.0);
/// Largest correction of a gene's logit so that control cells are met.
const LARGEST_CORRECTION: f64 = 1.0;
/// Cells whose expectations are held at once.
const BLOCK: usize = 256;

/// The network of the decoder.
#[derive(Debug, Clone)]
pub struct DecoderNet<D: Backend> {
    trunk: Mlp<D>,
    output: Linear<D>,
    /// Log of the inverse dispersion of each gene.
    pub log_theta: Vector<D>,
    /// Whether a library counts genes that are not modelled.
    pub with_remainder: bool,
}

walk_params!(DecoderNet { params: [log_theta], buffers: [], layers: [trunk, output], kept: [with_remainder] });

impl<D: Backend> DecoderNet<D> {
    /// From embeddings of `width` features, through one hidden layer or none, to `genes` genes.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(
        device: &D,
        (width, hidden, genes): (usize, usize, usize),
        with_remainder: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let finish = FinishConfig { norm: Norm::Layer, ..FinishConfig::default() };
        let (widths, last) = if hidden == 0 { (vec![width], width) } else { (vec![width, hidden], hidden) };
        Ok(Self {
            trunk: Mlp::new(device, &widths, finish, rng)?,
            output: Linear::new(device, last, genes, rng)?,
            log_theta: init::constant(device, (genes,), 0.0)?,
            with_remainder,
        })
    }

    /// Logits of the shares, `(cells, genes)`.
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn logits<T: Tape<f32, D>>(&self, z: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let logits = self.output.forward(self.trunk.forward(z)?)?;
        logits.try_mul(GAIN).map_err(|e| Error::device("decoder", e))
    }

    /// Starts at the log-linear model of the cells `rows`, whose embeddings z `(rows, width)` were made of the first of two
    /// parts of their molecules and whose `counts` are the second: the bias is the mean share of each gene, and the weight
    /// of a gene the covariance of z with its relative expression,
    ///
    /// ```text
    /// W_dg = mean over cells of z_d (x_g / (l rho_g) - 1)     for features z_d of mean 0 and variance 1
    /// ```
    ///
    /// (the regression weight where features do not correlate, and a place to start from where they do), each shrunk by the nonnegative garrote `w (1 - v / w^2)_+`, v its sampling variance. With a hidden layer only the bias.
    pub fn begin_with(&mut self, z: &Array2<f32>, counts: &Counts, libraries: &[f32], bias: &[f32]) {
        self.output.bias.copy_from(&bias.iter().map(|b| b / GAIN).collect::<Vec<_>>());
        if !self.trunk.blocks.is_empty() {
            return;
        }
        let (n, width, genes) = (z.nrows() as f64, z.ncols(), counts.n_genes());
        let mut share = vec![0.0_f64; genes];
        let total: f64 = libraries.iter().map(|&l| f64::from(l)).sum();
        counts.indices().iter().zip(counts.values()).for_each(|(&g, &x)| share[g as usize] += f64::from(x) / total);
        let mut weight = Array2::<f64>::zeros((width, genes));
        let mut square = vec![0.0_f64; genes];
        for (cell, &library) in libraries.iter().enumerate() {
            let (columns, values) = counts.row(cell);
            for (&gene, &value) in columns.iter().zip(values).filter(|(_, value)| **value > 0.0) {
                let relative = f64::from(value) / (f64::from(library) * share[gene as usize]);
                square[gene as usize] += relative * relative;
                for d in 0..width {
                    weight[[d, gene as usize]] += f64::from(z[[cell, d]]) * relative;
                }
            }
        }
        let means: Vec<f64> = (0..width).map(|d| z.column(d).iter().map(|&v| f64::from(v)).sum::<f64>()).collect();
        for ((d, gene), w) in weight.indexed_iter_mut() {
            if share[gene] == 0.0 {
                *w = 0.0;
                continue;
            }
            *w = (*w - means[d]) / n;
            let noise = (square[gene] / n - 1.0).max(0.0) / n;
            let kept: f64 = 1.0 - noise / (*w * *w).max(f64::MIN_POSITIVE);
            *w *= kept.max(0.0);
        }
        // Moments about the mean alone, of which states explain a part; the training goes on from there.
        let theta = square.iter().zip(&share).map(|(square, share)| {
            let relative_variance = square / n - 1.0 - 1.0 / (share * total / n).max(f64::MIN_POSITIVE);
            -(relative_variance.clamp(DISPERSIONS.0, DISPERSIONS.1).ln()) as f32
        });
        self.log_theta.copy_from(&theta.collect::<Vec<_>>());
        self.output.weight.copy_from(&weight.iter().map(|&w| w as f32 / GAIN).collect::<Vec<_>>());
    }
}

/// A training condition that a decoder is calibrated on.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// Predicted embeddings, `(cells, width)`.
    pub z: Array2<f32>,
    /// What is added to their logits, `(genes,)`.
    pub own: Array1<f32>,
    /// Rows of the control cells that they come from.
    pub from: Vec<usize>,
    /// Rows of the observed cells.
    pub observed: Vec<usize>,
}

/// A trained decoder.
#[derive(Debug, Clone)]
pub struct Decoder {
    net: DecoderNet<Cpu>,
}

impl Decoder {
    /// A trained network.
    pub fn new(net: DecoderNet<Cpu>) -> Self {
        Self { net }
    }

    /// From saved weights.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn restored(shape: (usize, usize, usize), with_remainder: bool, state: &State) -> Result<Self> {
        let mut net = DecoderNet::new(&Cpu::default(), shape, with_remainder, &mut ChaCha8Rng::seed_from_u64(0))?;
        state.fill(DECODER, &mut net)?;
        Ok(Self { net })
    }

    /// Corrects what many steps of training still leave: the logit of each gene, so that the mean share of the control cells is
    /// met (z `(cells, width)`, the rows of `data` that they are of), and then the dispersion of each gene, so that the
    /// predicted cells of each training condition have the observed variance:
    ///
    /// ```text
    /// 1 / theta_g = sum_c n_c (Var_c x_g - mean mu_g - Var mu_g) / sum_c n_c mean mu_g^2
    /// ```
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn calibrate(
        &mut self,
        data: &Dataset,
        (z, controls): (&Array2<f32>, &[usize]),
        conditions: &[Calibrated],
    ) -> Result<()> {
        self.meet_controls(data, (z, controls))?;
        let remainder = self.net.with_remainder;
        let genes = data.n_genes();
        let (mut above, mut square) = (Array1::<f64>::zeros(genes), Array1::<f64>::zeros(genes));
        for Calibrated { z, own, from, observed } in conditions.iter().filter(|c| c.observed.len() > 1) {
            let n = observed.len() as f64;
            let mu = self.decoded(z, own)?.mean(&self.size_factors(data, from), remainder).mapv(f64::from);
            let counts = data.counts.select_cells(observed);
            let (mean, of_squares) = (sums(&counts) / n, sums(&counts.map_values(|x| x * x)) / n);
            let of_mu = mu.mean_axis(Axis(0)).expect("there are predicted cells");
            let mu_squares = mu.mapv(|v| v * v).mean_axis(Axis(0)).expect("there are predicted cells");
            for gene in 0..genes {
                let variance = of_squares[gene] - mean[gene] * mean[gene];
                let of_means = mu_squares[gene] - of_mu[gene] * of_mu[gene];
                above[gene] += n * (variance - of_mu[gene] - of_means);
                square[gene] += n * mu_squares[gene];
            }
        }
        let theta = above.iter().zip(&square).map(|(above, square)| {
            let dispersion = above / square.max(f64::MIN_POSITIVE);
            (-dispersion.clamp(DISPERSIONS.0, DISPERSIONS.1).ln()) as f32
        });
        self.net.log_theta.copy_from(&theta.collect::<Vec<_>>());
        Ok(())
    }

    /// The first of these corrections alone, by at most a factor of e a gene.
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn meet_controls(&mut self, data: &Dataset, (z, controls): (&Array2<f32>, &[usize])) -> Result<()> {
        let none = Array1::zeros(data.n_genes());
        let expected = self.decoded(z, &none)?.mean(&self.size_factors(data, controls), self.net.with_remainder);
        let expected = expected.mapv(f64::from).sum_axis(Axis(0));
        let observed = sums(&data.counts.select_cells(controls));
        let mut bias = self.net.output.bias.as_vec();
        for ((bias, observed), expected) in bias.iter_mut().zip(&observed).zip(&expected) {
            let correction = ((observed + 1.0) / (expected + 1.0)).ln();
            *bias += correction.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION) as f32 / GAIN;
        }
        self.net.output.bias.copy_from(&bias);
        Ok(())
    }

    /// The network.
    pub fn net(&self) -> &DecoderNet<Cpu> {
        &self.net
    }

    /// Adds its weights.
    ///
    /// # Errors
    /// Those of the network's walk.
    pub fn add_to(&self, state: State) -> Result<State> {
        state.with_network(DECODER, &self.net)
    }

    /// Whether a library counts genes that are not modelled; see `CountTarget`.
    pub fn with_remainder(&self) -> bool {
        self.net.with_remainder
    }

    /// What the decoder says of embeddings, with `own` `(genes,)` added to its logits.
    fn decoded(&self, z: &Array2<f32>, own: &Array1<f32>) -> Result<CountModel> {
        let logits = ops::download(&self.net.logits(ops::upload(&Cpu::default(), z)?)?) + own;
        let log_theta = Array2::from_shape_vec((1, logits.ncols()), self.net.log_theta.as_vec()).expect("one a gene");
        Ok(CountModel::negative_binomial(logits, log_theta))
    }

    /// Counts of cells of embeddings z `(cells, width)`, with `own` `(genes,)` added to the logits, `(cells, genes)`; the
    /// library sizes are those of the rows `from` of the dataset.
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn counts(
        &self,
        (z, own): (&Array2<f32>, &Array1<f32>),
        data: &Dataset,
        from: &[usize],
        seed: u64,
    ) -> Result<Array2<f32>> {
        let sizes = self.size_factors(data, from);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Ok(sample_counts(&self.decoded(z, own)?, &sizes, self.net.with_remainder, &mut rng))
    }

    /// Expected log-normalised expression, the mean over the cells z, `(genes,)`: without the noise of a draw.
    ///
    /// # Errors
    /// No cells; a width that does not fit.
    pub fn expected(
        &self,
        (z, own): (&Array2<f32>, &Array1<f32>),
        data: &Dataset,
        from: &[usize],
    ) -> Result<Array1<f64>> {
        if from.is_empty() {
            return Err(Error::data("no cells were chosen"));
        }
        let mut sum = Array1::<f64>::zeros(data.n_genes());
        for (z, from) in z.axis_chunks_iter(Axis(0), BLOCK).zip(from.chunks(BLOCK)) {
            let sizes = self.size_factors(data, from);
            let scales: Vec<f64> =
                from.iter().map(|&row| f64::from(NORMALISED_TOTAL / data.library_size[row].max(1.0))).collect();
            let decoded = self.decoded(&z.to_owned(), own)?;
            sum += &decoded.expected_log1p(&sizes, &scales, self.net.with_remainder);
        }
        Ok(sum / from.len() as f64)
    }

    /// What the shares of the cells `rows` are multiplied by, `(rows,)`.
    pub fn size_factors(&self, data: &Dataset, rows: &[usize]) -> Vec<f32> {
        size_factors(data, rows, self.net.with_remainder)
    }

    /// Number of genes.
    pub fn n_genes(&self) -> usize {
        use dfdx::prelude::HasShape;
        self.net.log_theta.shape().0
    }
}

/// The sum of each gene's counts, `(genes,)`.
fn sums(counts: &Counts) -> Array1<f64> {
    let mut sum = Array1::<f64>::zeros(counts.n_genes());
    counts.indices().iter().zip(counts.values()).for_each(|(&g, &x)| sum[g as usize] += f64::from(x));
    sum
}

/// What the shares of a cell are multiplied by: its library over all genes, or over those modelled.
pub fn size_factors(data: &Dataset, rows: &[usize], total: bool) -> Vec<f32> {
    let factor = |&row: &usize| {
        let kept: f32 = data.counts.row(row).1.iter().sum();
        (if total { data.library_size[row].max(kept) } else { kept }).max(1.0)
    };
    rows.iter().map(factor).collect()
}
