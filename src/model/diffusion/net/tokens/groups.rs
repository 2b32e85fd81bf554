//! Groups of genes as tokens: the tokenisations `patches` and `modules`.
//!
//! ```text
//! h_j = p_j + sum over genes g of group j of x_g w_g          token j of a cell, (width,)
//! f_g = h_j . u_g + c_g                                       output of gene g, read from the token of its group
//! ```
//!
//! Each gene has its own row w_g of the input and u_g of the output, `(genes, width)` each, and each group a position p_j. A gene
//! that moves to another group takes its rows along, so the network does not depend on the order of the genes, only on which of
//! them share a token. That is what the two tokenisations differ in:
//!
//! - `patches`: genes that are neighbours in the file. The order of a file means nothing (often the alphabet, or the position in the
//!   genome), so this is the naive one, taken over from images;
//! - `modules`: genes that vary together over the training cells, or gene sets of a GMT file.
//!
//! The cost is that of few tokens, whatever the number of genes. What happens within a group is linear: two genes of one token act
//! on each other only through the `width` numbers that they share.
//!
//! The sums over groups are products with two matrices in which the rows of a gene stand in the columns of its group and the rest is
//! 0: `(genes, groups * width)` for the input and its counterpart for the output.

use super::super::tabular::reshape;
use crate::{
    Error, Result,
    nn::{Backend, Embedding, IndexSets, Matrix, Vector, init, walk_params},
};
use dfdx::prelude::{Axes2, HasShape, PermuteTo, PutTape, ReshapeTo, SplitTape, Tape, Tensor};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Groups of genes as tokens.
#[derive(Debug, Clone)]
pub struct GroupTokens<D: Backend> {
    /// w, `(genes, width)`.
    pub input: Embedding<D>,
    /// p, `(groups, width)`.
    pub position: Matrix<D>,
    /// u, `(genes, width)`; starts at 0.
    pub output: Embedding<D>,
    /// c, `(genes,)`; starts at 0.
    pub output_bias: Vector<D>,
    /// The group of each gene, `(genes,)`: whole numbers, saved beside the weights and not trained.
    pub group_of: Vector<D>,
}

walk_params!(GroupTokens { params: [position, output_bias], buffers: [group_of], layers: [input, output] });

impl<D: Backend> GroupTokens<D> {
    /// Tokens of `width` features for `genes` genes in `groups` groups of neighbours.
    ///
    /// # Errors
    /// More groups than genes; a device without memory for it.
    pub fn new(device: &D, genes: usize, groups: usize, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        if groups > genes {
            return Err(Error::config(format!(
                "gene tokens: {groups} groups of {genes} genes leave groups without genes"
            )));
        }
        // A token is a sum over its genes, of about unit size for values of unit spread.
        let spread = (genes as f32 / groups as f32).sqrt().recip();
        let mut made = Self {
            input: Embedding { weight: init::normal(device, (genes, width), spread, rng)? },
            position: init::normal(device, (groups, width), super::POSITION_SPREAD, rng)?,
            output: Embedding { weight: init::constant(device, (genes, width), 0.0)? },
            output_bias: init::constant(device, (genes,), 0.0)?,
            group_of: init::constant(device, (genes,), 0.0)?,
        };
        let neighbours: Vec<u32> = (0..genes).map(|gene| (gene * groups / genes) as u32).collect();
        made.set_groups(&neighbours)?;
        Ok(made)
    }

    /// Takes the group of each gene, `(genes,)`.
    ///
    /// # Errors
    /// Another number of genes; a group that has no token.
    pub fn set_groups(&mut self, group_of: &[u32]) -> Result<()> {
        let (genes, groups) = (self.group_of.shape().0, self.position.shape().0);
        if group_of.len() != genes || group_of.iter().any(|&group| group as usize >= groups) {
            return Err(Error::config(format!(
                "gene tokens: the groups of {} genes were given, up to group {:?}; the network has {genes} genes and groups 0 to {}",
                group_of.len(),
                group_of.iter().max(),
                groups - 1
            )));
        }
        let values = group_of.iter().map(|&group| group as f32).collect();
        let device = self.position.device();
        self.group_of =
            device.try_tensor_from_vec(values, (genes,)).map_err(|e| Error::device("groups of genes", e))?;
        Ok(())
    }

    /// Number of tokens of a cell.
    pub fn count(&self) -> usize {
        self.position.shape().0
    }

    /// For each pair of gene and group, the gene where it is of this group: `(genes * groups,)` sets.
    fn places(&self) -> Result<Arc<IndexSets>> {
        let groups = self.count();
        let group_of = self.group_of.as_vec();
        if group_of.iter().any(|group| !(0.0..groups as f32).contains(group)) {
            return Err(Error::data(
                "gene tokens: a gene is in a group that has no token; the model was edited, train again",
            ));
        }
        let sets = group_of.iter().enumerate().flat_map(|(gene, &group)| {
            (0..groups).map(move |at| if at == group as usize { vec![gene as u32] } else { Vec::new() })
        });
        Ok(Arc::new(IndexSets::from_sets(sets)))
    }

    /// The cells' tokens: x `(rows, genes)` to `(rows * groups, width)`.
    pub(super) fn embed<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let (genes, groups) = (self.group_of.shape().0, self.count());
        let width = self.position.shape().1;
        let weight = self.input.forward(&self.places()?, T::default())?; // (genes * groups, width)
        let (weight, of_weight) = reshape(weight, groups * width)?.split_tape(); // (genes, groups * width)
        let (x, tape) = x.split_tape();
        if x.shape().1 != genes {
            return Err(Error::shape("gene tokens", *x.shape(), genes));
        }
        let (position, of_position) = flat(self.position.retaped::<T>())?.split_tape(); // (groups * width,)
        let x = x.put_tape(tape.merge(of_weight).merge(of_position));
        reshape(D::linear(x, &weight, &position)?, width)
    }

    /// The genes' outputs: h `(rows * groups, width)` to `(rows, genes)`.
    pub(super) fn read<T: Tape<f32, D>>(&self, h: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let (genes, groups) = (self.group_of.shape().0, self.count());
        let width = self.position.shape().1;
        let weight = reshape(self.output.forward(&self.places()?, T::default())?, groups * width)?;
        let turned = || weight.try_permute::<(usize, usize), Axes2<1, 0>>()?.try_contiguous();
        let (weight, of_weight) = turned().map_err(|e: D::Err| Error::device("gene tokens", e))?.split_tape();
        let (h, tape) = reshape(h, groups * width)?.split_tape();
        debug_assert_eq!(*weight.shape(), (groups * width, genes));
        D::linear(h.put_tape(tape.merge(of_weight)), &weight, &self.output_bias)
    }
}

/// `(a, b)` as `(a b,)`.
fn flat<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Tensor<(usize,), f32, D, T>> {
    let size = (x.shape().0 * x.shape().1,);
    x.try_reshape_like(&size).map_err(|e| Error::device("gene tokens", e))
}
