//! The predictor `Delta(P | x, c)` of single perturbations: see the equations of the module.

use super::{
    config::ResponseConfig,
    decoder::GAIN,
    source::{Asked, ConditionTokens, StartCells},
};
use crate::{
    Error, Result,
    model::jepa::{ConditionalPredictor, Perturbed},
    nn::{Backend, Embedding, IndexSets, Linear, Matrix, RowSets, init, ops, walk_params},
};
use dfdx::prelude::{HasShape, NoneTape, PutTape, Tape, TryMatMul};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Deviation of ln library size below which it tells nothing.
const LEAST_DEVIATION: f32 = 1e-3;

/// Sizes of a predictor.
#[derive(Debug, Clone, Copy)]
pub struct PredictorShape {
    /// Features of an embedding.
    pub width: usize,
    /// Effects of single perturbations that were measured, each in a context.
    pub effects: usize,
    /// Levels that have a token.
    pub levels: usize,
    /// Whether the library size of a control cell is one, too.
    pub library: bool,
}

/// The library size n of a control cell as a token: `l t`, l the standardised ln n and t a learned vector.
#[derive(Debug, Clone)]
pub struct LibraryToken<D: Backend> {
    device: D,
    /// t, `(1, width)`; it starts at 0.
    pub weight: Matrix<D>,
    /// Mean and deviation of ln n over the control cells of the training, `(1, 2)`: not trained.
    pub scale: Matrix<D>,
}

walk_params!(LibraryToken { params: [weight], buffers: [scale], layers: [], device_field: device });

impl<D: Backend> LibraryToken<D> {
    fn new(device: &D, width: usize) -> Result<Self> {
        let zeros = |n| init::constant(device, (1, n), 0.0);
        Ok(Self { device: device.clone(), weight: zeros(width)?, scale: zeros(2)? })
    }

    /// `x + l t`, `(cells, width)`; `log_library` has ln n of each row of x.
    fn added_to<T: Tape<f32, D>>(&self, x: Matrix<D, T>, log_library: Vec<f32>) -> Result<Matrix<D, T>> {
        let scale = self.scale.as_vec();
        let l: Vec<f32> = log_library.into_iter().map(|log| (log - scale[0]) / scale[1].max(LEAST_DEVIATION)).collect();
        let fail = |e: D::Err| Error::device("library size as a token", e);
        let l = self.device.try_tensor_from_vec(l, (x.shape().0, 1)).map_err(fail)?.put_tape(T::default());
        ops::add(x, l.try_matmul(self.weight.clone()).map_err(fail)?)
    }
}

/// The predictor of single perturbations: `D(g | z, c) = s_gc + F(z, e_g)`, and Delta their sum.
#[derive(Debug, Clone)]
pub struct Predictor<D: Backend> {
    device: D,
    /// s, a row for each gene and context that was measured, `(rows, width)`.
    pub effects: Matrix<D>,
    /// The learned part of e, `(genes, width)`.
    pub identity: Embedding<D>,
    /// From the measured effect of a gene to the rest of e.
    pub measured: Linear<D>,
    /// t: one token per level of the columns that contexts are levels of, `(levels, width)`; it starts at 0. None where contexts
    /// are not combined of several columns.
    pub levels: Option<Embedding<D>>,
    /// Added to the embedding that F reads; none where F is not told the library size.
    pub library: Option<LibraryToken<D>>,
    /// F; it starts at 0.
    pub response: ConditionalPredictor<D>,
    /// The measured effect of each gene, the mean over contexts, of mean square 1, `(genes, width)`: not trained.
    pub features: Matrix<D>,
    /// a: how far a perturbation moves the logit of the perturbed gene itself, `(genes, 1)`.
    pub own: Matrix<D>,
    /// The column of each perturbed gene; `None` for one that is not measured.
    columns: Vec<Option<usize>>,
}

walk_params!(Predictor {
    params: [effects, own],
    buffers: [features],
    layers: [identity, measured, levels, library, response],
    kept: [columns],
    device_field: device
});

impl<D: Backend> Predictor<D> {
    /// A predictor for embeddings of `width` features, that starts at no effect.
    ///
    /// # Errors
    /// A device without memory for it; settings that do not fit.
    pub fn new(
        device: &D,
        PredictorShape { width, effects, levels, library }: PredictorShape,
        columns: Vec<Option<usize>>,
        config: &ResponseConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let genes = columns.len();
        let ResponseConfig { hidden, conditioning, dropout, .. } = *config;
        let mut response = ConditionalPredictor::new(device, width, hidden, conditioning, dropout, rng)?;
        response.scale_output(0.0);
        Ok(Self {
            device: device.clone(),
            effects: init::constant(device, (effects, width), 0.0)?,
            identity: Embedding { weight: init::normal(device, (genes, width), 0.1, rng)? },
            measured: Linear::new(device, width, width, rng)?,
            levels: match levels {
                0 => None,
                n => Some(Embedding { weight: init::constant(device, (n, width), 0.0)? }),
            },
            library: library.then(|| LibraryToken::new(device, width)).transpose()?,
            response,
            features: init::constant(device, (genes, width), 0.0)?,
            own: init::constant(device, (genes, 1), 0.0)?,
            columns,
        })
    }

    /// The column of each perturbed gene; `None` for one that is not measured.
    pub fn columns(&self) -> &[Option<usize>] {
        &self.columns
    }

    /// Sets what the training begins with: the measured effects `(rows, width)`, and each gene's mean `(genes, width)`.
    pub fn begin_with(&mut self, effects: &Array2<f64>, means: &Array2<f64>) {
        let square = means.iter().map(|v| v * v).sum::<f64>() / means.len().max(1) as f64;
        let scale = if square > 0.0 { 1.0 / square.sqrt() } else { 1.0 };
        self.effects.copy_from(&effects.iter().map(|&v| v as f32).collect::<Vec<_>>());
        self.features.copy_from(&means.iter().map(|&v| (v * scale) as f32).collect::<Vec<_>>());
    }

    /// Sets what the library size is measured by: mean and deviation of its logarithm.
    pub fn begin_library(&mut self, scale: [f32; 2]) {
        if let Some(library) = &mut self.library {
            library.scale.copy_from(&scale);
        }
    }

    /// What [`Self::begin_library`] has set; 0 where there is nothing to set.
    pub fn library_scale(&self) -> [f32; 2] {
        self.library.as_ref().map_or([0.0; 2], |library| [0, 1].map(|at: usize| library.scale.as_vec()[at]))
    }

    /// `sum over g of D(g | z, c)` for each row of z `(rows, width)`.
    ///
    /// # Errors
    /// Widths or rows that do not fit.
    pub fn forward<T: Tape<f32, D>>(
        &mut self,
        z: Matrix<D, T>,
        asked: &Asked,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Matrix<D, T>> {
        let width = z.shape().1;
        // s of each token: the weighted mean of the measured rows.
        let rows: Arc<[u32]> = asked.effect_rows.clone().into();
        let weighted =
            D::multiply(D::take_rows(self.effects.retaped::<T>(), &rows)?, spread_over(&asked.weights, width))?;
        let sizes: Vec<f32> = asked.of_token.ranges().map(|range| range.len() as f32).collect();
        let s = D::multiply(D::set_mean(weighted, &asked.of_token)?, spread_over(&sizes, width))?; // (tokens, width)
        let e = self.embedded::<T>(asked)?;
        // F for each pair of a token and a control cell of its set, tokens in order.
        let pairs = asked.pairs();
        let x = D::take_rows(z, &pairs.row)?;
        let x = match &self.library {
            None => x,
            Some(library) => {
                library.added_to(x, pairs.row.iter().map(|&row| asked.log_library[row as usize]).collect())?
            }
        };
        let perturbed = Perturbed { tokens: e, sets: RowSets::uniform(asked.genes.len(), 1) };
        let f = self.response.forward(x, &pairs.of_token, perturbed, rng)?;
        let d = ops::add(f, D::take_rows(s, &pairs.token)?)?;
        // Summed over the tokens of each cell.
        let sizes: Vec<f32> = pairs.of_row.ranges().map(|range| range.len() as f32).collect();
        let d = D::take_rows(d, &pairs.by_row)?;
        D::multiply(D::set_mean(d, &pairs.of_row)?, spread_over(&sizes, width))
    }

    /// e of each token, `(tokens, width)`: that of its gene, and the tokens of the levels of its context.
    ///
    /// # Errors
    /// A gene or a level that is not there.
    pub fn embedded<T: Tape<f32, D>>(&self, asked: &Asked) -> Result<Matrix<D, T>> {
        let numbers: Arc<[u32]> = asked.genes.clone().into();
        let features = D::take_rows(self.features.clone(), &numbers)?.put_tape(T::default());
        let sets = Arc::new(IndexSets::from_indices(asked.genes.clone()));
        let e = ops::add(self.identity.forward(&sets, T::default())?, self.measured.forward(features)?)?;
        match &self.levels {
            None => Ok(e),
            Some(levels) => {
                let sets = Arc::new(IndexSets::from_sets(&asked.levels));
                ops::add(e, levels.forward(&sets, T::default())?)
            }
        }
    }

    /// What is added to the decoder's logits of each set, `(sets, genes)`: `GAIN a_g` in the column of each perturbed gene g.
    ///
    /// # Errors
    /// A device that fails.
    pub fn own_logits<T: Tape<f32, D>>(&self, asked: &Asked, genes: usize) -> Result<Matrix<D, T>> {
        let numbers: Arc<[u32]> = asked.genes.clone().into();
        let a = D::take_rows(self.own.retaped::<T>(), &numbers)?; // (tokens, 1)
        let mut columns = Array2::<f32>::zeros((asked.genes.len(), genes));
        for (mut row, &gene) in columns.rows_mut().into_iter().zip(&asked.genes) {
            if let Some(column) = self.columns[gene as usize] {
                row[column] = GAIN;
            }
        }
        let fail = |e: D::Err| Error::device("shift of the perturbed gene", e);
        let ones = self.device.try_ones_like(&(1, genes)).map_err(fail)?;
        let spread = a.try_matmul(ones).map_err(fail)?;
        let shift = D::multiply(spread, columns.into_iter().collect())?; // (tokens, genes)
        let sizes: Vec<f32> = asked.tokens.ranges().map(|range| range.len() as f32).collect();
        D::multiply(D::set_mean(shift, &asked.tokens)?, spread_over(&sizes, genes))
    }

    /// As [`Self::forward`] for control cells under the tokens of one condition, without dropout.
    ///
    /// # Errors
    /// As there.
    pub fn shift(&self, start: &StartCells, tokens: &ConditionTokens) -> Result<Array2<f32>> {
        let z = ops::upload(&self.device, &start.z)?.put_tape(NoneTape);
        Ok(ops::download(&self.clone().forward(z, &Asked::about(start, tokens), None)?))
    }
}

/// Each value `width` times.
pub fn spread_over(values: &[f32], width: usize) -> Vec<f32> {
    values.iter().flat_map(|&value| std::iter::repeat_n(value, width)).collect()
}
