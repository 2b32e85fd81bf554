//! One token per gene: the tokenisation `genes`, and the input of `latents`.
//!
//! ```text
//! h_g = E_g + W (x_g, sin(2 pi f_1 x_g), .., cos(2 pi f_k x_g)) + b        token of gene g, (width,)
//! f_g = h_g . u + c                                                        output of gene g
//! ```
//!
//! E_g is learned and says which gene it is, `(genes, width)`. The value enters once as it is (times the first row of W) and once
//! as Fourier features ([`FourierFeatures`]), which let the network tell zero from a little. W, b, u and c are the same for all
//! genes. A network over these tokens has no other idea of a gene than E: permute the genes and the rows of E with them, and the
//! output is permuted alike.
//!
//! Every gene attends to every gene, so time and memory grow with the square of their number: at most a few hundred genes on a CPU.
//!
//! Gene identity and value as one token: Cui et al. 2024, *scGPT*; Theodoris et al. 2023, *Geneformer* (there, the value is the
//! rank).

use super::super::tabular::{repeat, reshape};
use crate::{
    Result,
    nn::{Backend, Embedding, FourierFeatures, Linear, Matrix, init, ops, walk_params},
};
use dfdx::prelude::{HasShape, PutTape, SplitTape, Tape};
use rand_chacha::ChaCha8Rng;

/// Longest and shortest period of the Fourier features, in standard deviations of a gene. Values lie between about -4 (noise) and
/// 10 (a rare high count), so that the slowest pair never turns fully; differences below a quarter of a deviation are noise.
const PERIODS: (f32, f32) = (32.0, 1.0);
/// Pairs of Fourier features.
const FREQUENCIES: usize = 6;
/// Spread of E at the start: the tokens differ, by less than by their values of unit spread.
const IDENTITY_SPREAD: f32 = 0.5;

/// One token per gene.
#[derive(Debug, Clone)]
pub struct SingleTokens<D: Backend> {
    /// E, `(genes, width)`.
    pub identity: Embedding<D>,
    /// f.
    pub fourier: FourierFeatures<D>,
    /// W and b, of a value and its features.
    pub value: Linear<D>,
    /// u and c, `(width, 1)`; start at 0.
    pub output: Linear<D>,
}

walk_params!(SingleTokens { params: [], buffers: [], layers: [identity, fourier, value, output] });

impl<D: Backend> SingleTokens<D> {
    /// Tokens of `width` features for `genes` genes.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, genes: usize, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let fourier = FourierFeatures::new(device, FREQUENCIES, PERIODS, false)?;
        Ok(Self {
            identity: Embedding { weight: init::normal(device, (genes, width), IDENTITY_SPREAD, rng)? },
            value: Linear::new(device, 1 + fourier.width(), width, rng)?,
            fourier,
            output: super::super::zero_linear(device, width, 1)?,
        })
    }

    /// Number of tokens of a cell.
    pub fn count(&self) -> usize {
        self.identity.weight.shape().0
    }

    /// The cells' tokens: x `(rows, genes)` to `(rows * genes, width)`.
    pub(super) fn embed<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let rows = x.shape().0;
        let (x, tape) = reshape(x, 1)?.split_tape(); // (rows * genes, 1)
        let features = self.fourier.forward(x.clone().put_tape(tape))?;
        let value = self.value.forward(ops::concat_columns(x.retaped::<T>(), features)?)?;
        ops::add(value, repeat(&self.identity.weight, rows)?)
    }

    /// The genes' outputs: h `(rows * genes, width)` to `(rows, genes)`.
    pub(super) fn read<T: Tape<f32, D>>(&self, h: Matrix<D, T>) -> Result<Matrix<D, T>> {
        reshape(self.output.forward(h)?, self.count())
    }
}
