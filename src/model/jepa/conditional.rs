//! The conditional predictor `F(h, e) -> z`: from the embedding of a control and a perturbation to that of the perturbed
//! state.
//!
//! | conditioning | z |
//! |---|---|
//! | concatenation | `M([h, e])` |
//! | FiLM | `M((1 + gamma(e)) * LN(h) + beta(e))` |
//! | cross-attention | `M(h')`, h attending to the perturbed genes one by one |
//!
//! M is a perceptron. h `(rows, width)`, e `(sets, condition)` the perturbation of each set of rows, the genes' tokens
//! `(tokens, condition)`; z `(rows, width)`. The order of genes has no influence. A control has no tokens and `e = 0`.

use crate::{
    Result,
    nn::{
        Activation, AttentionConfig, Backend, Bottleneck, CrossAttentionBlock, Film, FinishConfig, LayerNorm, Linear,
        Matrix, Mlp, Norm, RowSets, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, Tape};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the perturbation enters the predictor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conditioning {
    /// Beside the control's embedding.
    #[default]
    Concatenation,
    /// It scales and shifts the control's embedding (Perez et al. 2018).
    Film,
    /// The control's embedding attends to the perturbed genes.
    CrossAttention,
}

/// Sizes and layers of a [`ConditionalPredictor`].
#[derive(Debug, Clone, Copy)]
pub struct ConditionalConfig {
    /// Features of h and z.
    pub width: usize,
    /// Features of e and of the tokens.
    pub condition: usize,
    /// Width of the two hidden layers.
    pub hidden: usize,
    /// How e enters.
    pub conditioning: Conditioning,
    /// After the normalisation of each hidden layer.
    pub activation: Activation,
    /// Probability that a hidden unit is dropped in training.
    pub dropout: f32,
}

/// What is known of the perturbations of a batch.
pub struct Perturbed<D: Backend, T: Tape<f32, D>> {
    /// One vector per perturbed gene, those of the first set first, `(tokens, condition)`.
    pub tokens: Matrix<D, T>,
    /// Which tokens belong to which set.
    pub sets: RowSets,
}

/// `F(h, e)`: see the module.
#[derive(Debug, Clone)]
pub struct ConditionalPredictor<D: Backend> {
    film: Option<Film<D>>,
    norm: Option<LayerNorm<D>>,
    attention: Option<CrossAttentionBlock<D>>,
    trunk: Mlp<D>,
    output: Linear<D>,
    /// After the hidden layers, in a predictor that was adapted so.
    adapter: Option<Bottleneck<D>>,
    conditioning: Conditioning,
}

walk_params!(ConditionalPredictor {
    params: [],
    buffers: [],
    layers: [film, norm, attention, trunk, output, adapter],
    kept: [conditioning]
});

impl<D: Backend> ConditionalPredictor<D> {
    /// A predictor between embeddings of `width` features.
    ///
    /// # Errors
    /// A dropout probability outside [0, 1), a width that no number of heads divides, a device without memory.
    pub fn new(
        device: &D,
        ConditionalConfig { width, condition, hidden, conditioning, activation, dropout }: ConditionalConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let attention = AttentionConfig::of_width(width);
        let inputs = if conditioning == Conditioning::Concatenation { width + condition } else { width };
        let finish = FinishConfig { norm: Norm::Layer, activation, dropout };
        Ok(Self {
            film: (conditioning == Conditioning::Film).then(|| Film::new(device, condition, width)).transpose()?,
            norm: (conditioning == Conditioning::Film).then(|| LayerNorm::new(device, width)).transpose()?,
            attention: (conditioning == Conditioning::CrossAttention)
                .then(|| CrossAttentionBlock::new(device, width, condition, attention, rng))
                .transpose()?,
            trunk: Mlp::new(device, &[inputs, hidden, hidden], finish, rng)?,
            output: Linear::new(device, hidden, width, rng)?,
            adapter: None,
            conditioning,
        })
    }

    /// Adds a bottleneck adapter after the hidden layers, which starts at no change.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn add_adapter(&mut self, bottleneck: usize, rng: &mut ChaCha8Rng) -> Result<()> {
        let weight = &self.output.weight;
        self.adapter = Some(Bottleneck::new(weight.device(), weight.shape().0, bottleneck, rng)?);
        Ok(())
    }

    /// The layer by which the perturbation enters, where it is that.
    pub fn film(&self) -> Option<&Film<D>> {
        self.film.as_ref()
    }

    /// The width of its bottleneck adapter, if it has one.
    pub fn bottleneck(&self) -> Option<usize> {
        self.adapter.as_ref().map(|adapter| adapter.down.bias.shape().0)
    }

    /// Multiplies the output by a factor. With 0, before training, it predicts 0 everywhere, so that what is added to it is what a
    /// training starts from.
    pub fn scale_output(&mut self, factor: f32) {
        let times = |values: Vec<f32>| values.into_iter().map(|value| value * factor).collect::<Vec<_>>();
        let Linear { weight, bias } = &mut self.output;
        weight.copy_from(&times(weight.as_vec()));
        bias.copy_from(&times(bias.as_vec()));
    }

    /// z of each row; `rows` says which rows of h are under which perturbation. Dropout where `rng` is given.
    ///
    /// # Errors
    /// Widths or sets that do not fit.
    pub fn forward<T: Tape<f32, D>>(
        &mut self,
        h: Matrix<D, T>,
        rows: &RowSets,
        perturbed: Perturbed<D, T>,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Matrix<D, T>> {
        let x = match self.conditioning {
            Conditioning::Concatenation => {
                let owners: Arc<[u32]> = rows.owners().into();
                ops::concat_columns(h, D::take_rows(sum_pool(perturbed)?, &owners)?)?
            }
            Conditioning::Film => {
                let norm = self.norm.as_ref().expect("made with the layer");
                let film = self.film.as_ref().expect("made with the conditioning");
                film.forward(norm.forward(h)?, sum_pool(perturbed)?, rows)?
            }
            Conditioning::CrossAttention => {
                let attention = self.attention.as_ref().expect("made with the conditioning");
                attention.forward(h, perturbed.tokens, rows, &perturbed.sets)?
            }
        };
        let x = match rng {
            Some(rng) => self.trunk.forward_training(x, rng)?,
            None => self.trunk.forward(x)?,
        };
        let x = match &self.adapter {
            Some(adapter) => adapter.forward(x)?,
            None => x,
        };
        self.output.forward(x)
    }
}

/// The sum of each set's tokens, `(sets, condition)`; zero for control.
fn sum_pool<D: Backend, T: Tape<f32, D>>(perturbed: Perturbed<D, T>) -> Result<Matrix<D, T>> {
    let width = perturbed.tokens.shape().1;
    let sizes = perturbed.sets.ranges().flat_map(|range| std::iter::repeat_n(range.len() as f32, width)).collect();
    D::multiply(D::set_mean(perturbed.tokens, &perturbed.sets)?, sizes)
}
