//! The networks that learn a score or a velocity: `(x, t, condition)` to a vector of x's size.
//!
//! [`FilmMlp`] is small and fast; [`Tabular`] and [`Dit`] attend among the numbers of a latent, [`GeneTokens`] among genes. All begin at 0, take the
//! condition by a learned embedding, and have a learned embedding for "no condition".
//!
//! # Time
//!
//! It enters as features, and through a small network as an embedding.
//!
//! ```text
//! e(t) = (cos(w_0 s), .., cos(w_{h-1} s), sin(w_0 s), .., sin(w_{h-1} s))     s = 1000 t, w_i = 10000^{-i / h}
//! T(t) = W_2 SiLU(W_1 e(t) + b_1) + b_2
//! ```
//!
//! Vaswani et al. 2017, section 3.5; Ho et al. 2020, *DDPM*, appendix B, whose steps are 0 to 999. Our t runs from 0 to 1,
//! and of an unscaled t in [0, 1] all but the first few features would be constant: hence the 1000.
//!
//! # Condition
//!
//! A condition c is a vector of numbers: a perturbation's embedding, a control state, a label's one-hot code. Of a row
//! whose condition is dropped the embedding is a learned vector of its own, "no condition": a network that has seen both
//! in training can be guided without a classifier (Ho and Salimans 2022, *Classifier-Free Diffusion Guidance*).
//!
//! ```text
//! C(c) = W_2 SiLU(W_1 c + b_1) + b_2,   or n where c is dropped
//! ```

use crate::{
    Error, Result,
    nn::{
        Activation, Backend, Embedding, IndexSets, Linear, Matrix, Params, RowSets, Visitor, VisitorMut, init,
        movable_variants, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, PutTape, Tape};
use ndarray::{Array2, Axis};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

mod dit;
mod film_mlp;
mod tabular;
mod tokens;

pub(in crate::model) use dit::Plain;
pub use dit::{Conditioning, Cross, Dit, DitBlock, DitConfig, Gate};
pub use film_mlp::{FilmBlock, FilmMlp, FilmMlpConfig};
pub use tabular::{Tabular, TabularBlock, TabularConfig};
pub use tokens::{GeneTokens, GeneTokensConfig, GroupTokens, Latents, SingleTokens, Tokenization, Tokens};

/// Which network, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScoreNetConfig {
    /// [`FilmMlp`].
    FilmMlp(FilmMlpConfig),
    /// [`Tabular`].
    Tabular(TabularConfig),
    /// [`Dit`].
    Dit(DitConfig),
    /// [`GeneTokens`].
    GeneTokens(GeneTokensConfig),
}

impl Default for ScoreNetConfig {
    /// The FiLM MLP of 4 blocks of 256 features.
    fn default() -> Self {
        Self::FilmMlp(FilmMlpConfig::default())
    }
}

impl ScoreNetConfig {
    /// A FiLM MLP of this size.
    pub fn film_mlp(width: usize, depth: usize) -> Self {
        Self::FilmMlp(FilmMlpConfig { width, depth, ..FilmMlpConfig::default() })
    }

    /// A tabular attention network with so many numbers a token.
    pub fn tabular(group: usize) -> Self {
        Self::Tabular(TabularConfig { group, ..TabularConfig::default() })
    }

    /// A diffusion transformer with so many numbers a token.
    pub fn dit(group: usize) -> Self {
        Self::Dit(DitConfig { group, ..DitConfig::default() })
    }

    /// A diffusion transformer over tokens of genes.
    pub fn gene_tokens(tokens: Tokenization) -> Self {
        Self::GeneTokens(GeneTokensConfig { tokens, ..GeneTokensConfig::default() })
    }

    /// The network's name: `film_mlp`, `tabular`, `dit`, `gene_tokens`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FilmMlp(_) => "film_mlp",
            Self::Tabular(_) => "tabular",
            Self::Dit(_) => "dit",
            Self::GeneTokens(_) => "gene_tokens",
        }
    }

    /// Weights of the largest layers of a network over `dims` numbers with conditions of `condition`, and no more than it
    /// has; `None` if there are more than can be counted. A description from a file is checked with it before the network is
    /// made.
    pub(crate) fn n_main_weights(&self, dims: usize, condition: usize) -> Option<usize> {
        let (inputs, tokens, width, depth, embedding) = match *self {
            Self::FilmMlp(FilmMlpConfig { width, depth, embedding }) => (dims, 0, width, depth, embedding),
            Self::Tabular(TabularConfig { group, width, depth, embedding, .. })
            | Self::Dit(DitConfig { group, width, depth, embedding, .. }) => {
                (group, dims.div_ceil(group.max(1)), width, depth, embedding)
            }
            Self::GeneTokens(GeneTokensConfig { tokens, width, depth, embedding, .. }) => {
                (dims, if tokens == Tokenization::Genes { 0 } else { tokens.count(dims) }, width, depth, embedding)
            }
        };
        let mut layers = vec![(inputs, width), (tokens, width), (condition, embedding), (embedding, embedding)];
        layers.push((depth, width.checked_mul(width)?));
        if let Self::Dit(DitConfig { conditioning, .. }) = self
            && condition > 0
        {
            layers.push((conditioning.tokens(), width.checked_mul(embedding)?));
        }
        layers.into_iter().try_fold(0_usize, |sum, (rows, columns)| sum.checked_add(rows.checked_mul(columns)?))
    }

    /// Checks that there is something of everything.
    ///
    /// # Errors
    /// A size of 0, with its name.
    pub fn validate(&self) -> Result<()> {
        let sizes: &[(&str, usize)] = match self {
            Self::FilmMlp(FilmMlpConfig { width, depth, embedding }) => {
                &[("width", *width), ("depth", *depth), ("embedding", *embedding)]
            }
            Self::Tabular(TabularConfig { group, width, depth, heads, embedding }) => {
                &[("group", *group), ("width", *width), ("depth", *depth), ("heads", *heads), ("embedding", *embedding)]
            }
            Self::Dit(DitConfig { group, width, depth, heads, embedding, conditioning }) => &[
                ("group", *group),
                ("width", *width),
                ("depth", *depth),
                ("heads", *heads),
                ("embedding", *embedding),
                ("conditioning.count", if *conditioning == Conditioning::AdaLn { 1 } else { conditioning.tokens() }),
            ],
            Self::GeneTokens(GeneTokensConfig { tokens, width, depth, heads, embedding }) => &[
                ("tokens.count", tokens.count(1)),
                ("width", *width),
                ("depth", *depth),
                ("heads", *heads),
                ("embedding", *embedding),
            ],
        };
        match sizes.iter().find(|(_, size)| *size == 0) {
            Some((name, _)) => Err(Error::config(format!("{}: {name} = 0, but it must be at least 1", self.name()))),
            None => Ok(()),
        }
    }
}

/// Any of the networks.
#[derive(Debug, Clone)]
pub enum ScoreNet<D: Backend> {
    /// Residual MLP.
    FilmMlp(Box<FilmMlp<D>>),
    /// Attention over features.
    Tabular(Box<Tabular<D>>),
    /// Diffusion transformer.
    Dit(Box<Dit<D>>),
    /// Diffusion transformer over tokens of genes.
    GeneTokens(Box<GeneTokens<D>>),
}

impl<D: Backend> Params<D> for ScoreNet<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::FilmMlp(net) => net.walk(path, visitor),
            Self::Tabular(net) => net.walk(path, visitor),
            Self::Dit(net) => net.walk(path, visitor),
            Self::GeneTokens(net) => net.walk(path, visitor),
        }
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::FilmMlp(net) => net.walk_mut(path, visitor),
            Self::Tabular(net) => net.walk_mut(path, visitor),
            Self::Dit(net) => net.walk_mut(path, visitor),
            Self::GeneTokens(net) => net.walk_mut(path, visitor),
        }
    }
}

movable_variants!(ScoreNet { FilmMlp, Tabular, Dit, GeneTokens });

impl<D: Backend> ScoreNet<D> {
    /// A network over rows of `dims` numbers with conditions of `condition`, 0 for none.
    ///
    /// # Errors
    /// A size of 0, heads that do not divide the width, a device without memory for it.
    pub fn new(
        device: &D,
        dims: usize,
        condition: usize,
        config: &ScoreNetConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        config.validate()?;
        if dims == 0 {
            return Err(Error::config("score network: rows of 0 numbers leave nothing to learn"));
        }
        Ok(match *config {
            ScoreNetConfig::FilmMlp(size) => Self::FilmMlp(Box::new(FilmMlp::new(device, dims, condition, size, rng)?)),
            ScoreNetConfig::Tabular(size) => Self::Tabular(Box::new(Tabular::new(device, dims, condition, size, rng)?)),
            ScoreNetConfig::Dit(size) => Self::Dit(Box::new(Dit::new(device, dims, condition, size, rng)?)),
            ScoreNetConfig::GeneTokens(size) => {
                Self::GeneTokens(Box::new(GeneTokens::new(device, dims, condition, size, rng)?))
            }
        })
    }

    /// `(rows, dims)` to the same shape; goes on with the tape of x.
    ///
    /// # Errors
    /// An x of another width; what is given is of other rows, or its condition of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: &Given) -> Result<Matrix<D, T>> {
        given.check(x.shape().0, self.condition())?;
        match self {
            Self::FilmMlp(net) => net.forward(x, given),
            Self::Tabular(net) => net.forward(x, given),
            Self::Dit(net) => net.forward(x, given),
            Self::GeneTokens(net) => net.forward(x, given),
        }
    }

    /// Takes the group of each gene, `(genes,)`, for tokens that are groups of genes.
    ///
    /// # Errors
    /// A network without such tokens; another number of genes; a group that has no token.
    pub fn set_gene_groups(&mut self, group_of: &[u32]) -> Result<()> {
        match self {
            Self::GeneTokens(net) => net.set_groups(group_of),
            _ => Err(Error::config("only a network of gene tokens has groups of genes")),
        }
    }

    /// Numbers of a condition; 0 of an unconditional network.
    pub fn condition(&self) -> usize {
        let condition = match self {
            Self::FilmMlp(net) => &net.condition,
            Self::Tabular(net) => &net.condition,
            Self::Dit(net) => &net.condition,
            Self::GeneTokens(net) => &net.condition,
        };
        condition.as_ref().map_or(0, |condition| condition.up.weight.shape().0)
    }
}

/// A linear layer that starts at 0.
pub(in crate::model) fn zero_linear<D: Backend>(device: &D, inputs: usize, outputs: usize) -> Result<Linear<D>> {
    let weight = init::constant(device, (inputs, outputs), 0.0)?;
    Ok(Linear { weight, bias: init::constant(device, (outputs,), 0.0)? })
}

/// Steps of the discrete process that a t of 1 stands for; Ho et al. 2020.
pub const TIME_SCALE: f64 = 1000.0;
/// The longest period, in steps over 2 pi; Vaswani et al. 2017.
const LONGEST: f64 = 10_000.0;
/// Features of a time, half of them cosines.
const FEATURES: usize = 64;

/// The features of each time, `(times, width)`; `width` is even.
pub fn sinusoidal(times: &[f32], width: usize) -> Array2<f32> {
    let half = width / 2;
    Array2::from_shape_fn((times.len(), 2 * half), |(row, column)| {
        let frequency = (-LONGEST.ln() * (column % half) as f64 / half as f64).exp();
        let angle = TIME_SCALE * f64::from(times[row]) * frequency;
        (if column < half { angle.cos() } else { angle.sin() }) as f32
    })
}

/// Times to embeddings.
#[derive(Debug, Clone)]
pub struct TimeEmbedding<D: Backend> {
    /// W_1, b_1.
    pub up: Linear<D>,
    /// W_2, b_2.
    pub down: Linear<D>,
    device: D,
}

walk_params!(TimeEmbedding { params: [], buffers: [], layers: [up, down], device_field: device });

impl<D: Backend> TimeEmbedding<D> {
    /// Embeddings of `width` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let up = Linear::new(device, FEATURES, width, rng)?;
        Ok(Self { up, down: Linear::new(device, width, width, rng)?, device: device.clone() })
    }

    /// `(times,)` to `(times, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward<T: Tape<f32, D>>(&self, times: &[f32], tape: T) -> Result<Matrix<D, T>> {
        let features = ops::upload(&self.device, &sinusoidal(times, FEATURES))?.put_tape(tape);
        self.down.forward(Activation::Silu.forward(self.up.forward(features)?)?)
    }
}

/// Spread of the learned vector at the start, as DiT's table of labels (Peebles and Xie 2023).
const NULL_SPREAD: f32 = 0.02;

/// Time and condition of each row of a batch. Neighbouring rows that have the same are told once: in sampling all rows
/// share their time and often their condition, and a network then embeds and projects them once and not ten thousand
/// times.
#[derive(Debug, Clone)]
pub struct Given {
    runs: RowSets,
    times: Vec<f32>,
    /// `(runs, condition)`.
    condition: Option<Array2<f32>>,
    dropped: Vec<bool>,
}

impl Given {
    /// Of rows with the times `t` `(rows,)`, conditions `(rows, condition)` and whether each is dropped `(rows,)`, or an
    /// empty slice for none. Without `condition` every row's is dropped.
    ///
    /// # Errors
    /// Lengths that differ.
    pub fn new(t: &[f32], condition: Option<&Array2<f32>>, dropped: &[bool]) -> Result<Self> {
        let rows = t.len();
        if let Some(condition) = condition.filter(|condition| condition.nrows() != rows) {
            return Err(Error::shape("times and conditions", (rows,), condition.dim()));
        }
        if !dropped.is_empty() && dropped.len() != rows {
            return Err(Error::shape("times and dropped conditions", (rows,), (dropped.len(),)));
        }
        let is_dropped = |row: usize| condition.is_none() || dropped.get(row).copied().unwrap_or(false);
        let same = |a: usize, b: usize| {
            let conditions = || condition.is_none_or(|c| is_dropped(a) || c.row(a) == c.row(b));
            t[a] == t[b] && is_dropped(a) == is_dropped(b) && conditions()
        };
        let starts: Vec<usize> = (0..rows).filter(|&row| row == 0 || !same(row - 1, row)).collect();
        let ends = starts.iter().skip(1).copied().chain((rows > 0).then_some(rows));
        Ok(Self {
            runs: RowSets::from_sizes(starts.iter().zip(ends).map(|(start, end)| end - start)),
            times: starts.iter().map(|&row| t[row]).collect(),
            condition: condition.map(|condition| condition.select(Axis(0), &starts)),
            dropped: starts.iter().map(|&row| is_dropped(row)).collect(),
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.runs.rows()
    }

    /// The runs of rows that share time and condition.
    pub fn runs(&self) -> &RowSets {
        &self.runs
    }

    /// The same runs where each row is `size` tokens.
    pub fn runs_of_tokens(&self, size: usize) -> RowSets {
        RowSets::from_sizes(self.runs.ranges().map(|run| run.len() * size))
    }

    /// The time of each run.
    pub fn times(&self) -> &[f32] {
        &self.times
    }

    /// Checks that the rows are `rows` and the condition is of `width` numbers, 0 where the network takes none.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&self, rows: usize, width: usize) -> Result<()> {
        if self.rows() != rows {
            return Err(Error::shape("score network: x and times", rows, self.rows()));
        }
        match &self.condition {
            Some(_) if width == 0 => Err(Error::config(
                "a condition is given to a network that was made without one (condition = 0); leave it out",
            )),
            Some(condition) if condition.ncols() != width => Err(Error::config(format!(
                "the condition has {} columns, but the network was made for {width}",
                condition.ncols()
            ))),
            _ => Ok(()),
        }
    }
}

/// Conditions to embeddings.
#[derive(Debug, Clone)]
pub struct ConditionEmbedding<D: Backend> {
    /// W_1, b_1.
    pub up: Linear<D>,
    /// W_2, b_2.
    pub down: Linear<D>,
    /// n, one row.
    pub null: Embedding<D>,
    device: D,
}

walk_params!(ConditionEmbedding { params: [], buffers: [], layers: [up, down, null], device_field: device });

impl<D: Backend> ConditionEmbedding<D> {
    /// Conditions of `condition` numbers through `hidden` to embeddings of `width`.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, condition: usize, hidden: usize, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        Ok(Self {
            up: Linear::new(device, condition, hidden, rng)?,
            down: Linear::new(device, hidden, width, rng)?,
            null: Embedding { weight: init::normal(device, (1, width), NULL_SPREAD, rng)? },
            device: device.clone(),
        })
    }

    /// The embedding of each run, `(runs, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A condition of another width.
    pub fn forward<T: Tape<f32, D>>(&self, given: &Given, tape: T) -> Result<Matrix<D, T>> {
        let null = |dropped: bool| if dropped { &[0][..] } else { &[] };
        let sets = Arc::new(IndexSets::from_sets(given.dropped.iter().map(|&dropped| null(dropped))));
        let nulls = self.null.forward(&sets, tape)?; // (runs, width), 0 where the condition is there
        let Some(condition) = given.condition.as_ref().filter(|_| !given.dropped.iter().all(|&dropped| dropped)) else {
            return Ok(nulls);
        };
        let condition = ops::upload(&self.device, condition)?.put_tape(T::default());
        let embedded = self.down.forward(Activation::Silu.forward(self.up.forward(condition)?)?)?;
        if !given.dropped.iter().any(|&dropped| dropped) {
            // The learned vector has no part in it, and keeps its place on the tape.
            return ops::add(nulls, embedded);
        }
        let width = embedded.shape().1;
        let kept =
            given.dropped.iter().flat_map(|&dropped| std::iter::repeat_n(if dropped { 0.0 } else { 1.0 }, width));
        ops::add(nulls, D::multiply(embedded, kept.collect())?)
    }
}
