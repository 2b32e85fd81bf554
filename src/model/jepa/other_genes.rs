//! An encoder that was trained on some genes, for data with others: `--from`.
//!
//! Genes are matched by name. A gene that only the encoder has is treated as hidden: a perceptron and a linear encoder add its
//! vector P of a hidden gene; the token of a group is made with the gene at its mean in the cells of the first training, and is
//! left out where all genes of the group are missing; so is the token of a single gene. The other tokens were trained to do
//! without. A gene that only the data has begins with weights of 0, and without a place among the tokens.

use super::{
    encoder::CellEncoder,
    entry::{Entry, GroupEntry},
    transformer::NOWHERE,
};
use crate::{
    Result,
    nn::{Matrix, Vector, init, ops},
};
use dfdx::prelude::{Cpu, HasShape};
use ndarray::{Array1, Array2};
use std::collections::HashMap;

/// Which genes of an encoder the genes of other data are.
pub struct Matched {
    /// The encoder's gene that each gene of the data is.
    old_of: Vec<Option<usize>>,
    /// The encoder's genes that the data does not have.
    missing: Vec<usize>,
}

impl std::fmt::Display for Matched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shared, new) = (self.shared(), self.old_of.len() - self.shared());
        write!(
            f,
            "{shared} of its {} genes are in the data, and {new} genes of the data are new to it",
            shared + self.missing.len()
        )
    }
}

impl Matched {
    /// By name.
    pub fn new(old: &[String], new: &[String]) -> Self {
        let place: HashMap<&str, usize> = old.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let old_of: Vec<Option<usize>> = new.iter().map(|name| place.get(name.as_str()).copied()).collect();
        let mut found = vec![false; old.len()];
        old_of.iter().flatten().for_each(|&at| found[at] = true);
        Self { old_of, missing: (0..old.len()).filter(|&at| !found[at]).collect() }
    }

    /// Number of genes that both have.
    pub fn shared(&self) -> usize {
        self.old_of.iter().flatten().count()
    }

    /// The rows of the data's genes; 0 for those that the encoder does not know.
    fn rows(&self, of_old: &Matrix<Cpu>) -> Result<Matrix<Cpu>> {
        let old = ops::download(of_old);
        let mut new = Array2::zeros((self.old_of.len(), old.ncols()));
        for (mut row, old_gene) in new.rows_mut().into_iter().zip(&self.old_of) {
            if let Some(gene) = *old_gene {
                row.assign(&old.row(gene));
            }
        }
        ops::upload(&Cpu::default(), &new)
    }

    /// `bias + the sum over missing genes of the row of each`.
    fn with_missing(&self, bias: &mut Vector<Cpu>, of_hidden: &Matrix<Cpu>) {
        let of_hidden = ops::download(of_hidden);
        let mut sum = Array1::from_vec(bias.as_vec());
        self.missing.iter().for_each(|&gene| sum += &of_hidden.row(gene));
        bias.copy_from(&sum.to_vec());
    }
}

impl CellEncoder<Cpu> {
    /// The encoder for other genes; `means` are the mean log1p expressions of its own genes.
    ///
    /// # Errors
    /// No memory for it.
    pub(super) fn for_genes(&self, matched: &Matched, means: &[f32]) -> Result<Self> {
        let mut encoder = self.clone();
        match &mut encoder {
            Self::Linear(encoder) => {
                matched.with_missing(&mut encoder.input.bias, &encoder.hidden.weight);
                encoder.input.weight = matched.rows(&encoder.input.weight)?;
                encoder.hidden.weight = matched.rows(&encoder.hidden.weight)?;
            }
            Self::Mlp(encoder) => {
                matched.with_missing(&mut encoder.input.bias, &encoder.hidden.weight);
                encoder.input.weight = matched.rows(&encoder.input.weight)?;
                encoder.hidden.weight = matched.rows(&encoder.hidden.weight)?;
            }
            Self::Tokens(encoder) => encoder.identity.weight = matched.rows(&encoder.identity.weight)?,
            Self::Transformer(encoder) => {
                let old = encoder.place_of_genes();
                if let Entry::Groups(GroupEntry { input, bias, .. }) = &mut encoder.entry {
                    let (weight, hidden) = (ops::download(&input.weight), bias.shape().1);
                    let mut biases = bias.as_vec();
                    for &gene in matched.missing.iter().filter(|&&gene| old[gene] != NOWHERE) {
                        let of_group = &mut biases[old[gene] as usize * hidden..][..hidden];
                        of_group.iter_mut().zip(weight.row(gene)).for_each(|(bias, w)| *bias += means[gene] * w);
                    }
                    bias.copy_from(&biases);
                    input.weight = matched.rows(&input.weight)?;
                }
                let places: Vec<u32> = matched.old_of.iter().map(|gene| gene.map_or(NOWHERE, |at| old[at])).collect();
                encoder.place_of = init::constant(&Cpu::default(), (places.len(),), 0.0)?;
                encoder.set_places(&places);
            }
        }
        Ok(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::Counts,
        model::jepa::{EncoderConfig, GeneConfig, PretrainingConfig, Seen, Size, ValueTokens, pretrain::PretrainNet},
        nn::IndexSets,
        train::StepContext,
    };
    use dfdx::prelude::NoneTape;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
    use std::sync::Arc;

    const GENES: usize = 12;

    /// Counts of six cells, and the names of their genes.
    fn cells() -> (Array2<f32>, Vec<String>) {
        let counts = Array2::from_shape_fn((6, GENES), |(cell, gene)| ((cell * 5 + gene * 3) % 7) as f32);
        (counts, (0..GENES).map(|gene| format!("G{gene}")).collect())
    }

    fn encoder(config: &PretrainingConfig) -> CellEncoder<Cpu> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut encoder = CellEncoder::new(&Cpu::default(), GENES, config, &mut rng).expect("a valid configuration");
        // Some groups hold two genes, so that one of them can be missing.
        if let Some(places) = config.encoder.places().map(|places| places.places) {
            encoder.set_places(&(0..GENES).map(|gene| (gene % places) as u32).collect::<Vec<_>>(), None);
        }
        encoder
    }

    fn z(encoder: &CellEncoder<Cpu>, seen: &Seen) -> Array2<f32> {
        ops::download(&encoder.forward(seen, NoneTape).expect("its genes"))
    }

    fn whole(counts: &Array2<f32>) -> Seen {
        Seen::whole(Arc::new(Counts::from_dense(counts)))
    }

    fn configs() -> Vec<PretrainingConfig> {
        let genes = |value| EncoderConfig::Genes(GeneConfig { genes: GENES, value, ..GeneConfig::of(Size::Tiny) });
        let with = |encoder, usual: PretrainingConfig| PretrainingConfig { encoder, ..usual };
        vec![
            with(EncoderConfig::Linear, PretrainingConfig::mlp(Size::Tiny)),
            PretrainingConfig::mlp(Size::Tiny),
            with(genes(ValueTokens::default()), PretrainingConfig::genes(Size::Tiny)),
            with(genes(ValueTokens::Ranks { levels: 4 }), PretrainingConfig::genes(Size::Tiny)),
            PretrainingConfig::tokens(Size::Tiny),
            PretrainingConfig::groups(Size::Tiny),
        ]
    }

    fn close(a: &Array2<f32>, b: &Array2<f32>, what: &EncoderConfig) {
        let off = (a - b).fold(0.0, |most: f32, v| most.max(v.abs()));
        assert!(off < 1e-4, "{what:?}: {off}");
    }

    #[test]
    fn the_same_genes_in_another_order_have_the_same_embedding_and_new_genes_change_nothing() {
        let (counts, names) = cells();
        let order: Vec<usize> = (0..GENES).rev().collect();
        let mut turned = counts.select(ndarray::Axis(1), &order);
        let mut others: Vec<String> = order.iter().map(|&gene| names[gene].clone()).collect();
        for config in configs() {
            let encoder = encoder(&config);
            let carried = encoder.for_genes(&Matched::new(&names, &others), &[0.0; GENES]).expect("memory");
            // The zeros that a Perceiver draws depend on the numbers of the genes.
            if !matches!(config.encoder, EncoderConfig::Tokens(_)) {
                close(&z(&encoder, &whole(&counts)), &z(&carried, &whole(&turned)), &config.encoder);
            }
        }
        turned.push_column(Array1::from_elem(6, 5.0).view()).expect("as many cells");
        others.push("NEW".to_owned());
        let matched = Matched::new(&names, &others);
        assert_eq!(matched.to_string(), "12 of its 12 genes are in the data, and 1 genes of the data are new to it");
        for config in configs().into_iter().filter(|config| !matches!(config.encoder, EncoderConfig::Tokens(_))) {
            let encoder = encoder(&config);
            let carried = encoder.for_genes(&matched, &[0.0; GENES]).expect("memory");
            close(&z(&encoder, &whole(&counts)), &z(&carried, &whole(&turned)), &config.encoder);
        }
    }

    #[test]
    fn a_missing_gene_is_hidden_and_in_a_group_it_is_at_its_mean() {
        let (counts, names) = cells();
        let kept: Vec<usize> = (0..GENES).filter(|&gene| gene != 3 && gene != 10).collect();
        let fewer = counts.select(ndarray::Axis(1), &kept);
        let others: Vec<String> = kept.iter().map(|&gene| names[gene].clone()).collect();
        let means: Vec<f32> = (0..GENES).map(|gene| 0.1 * gene as f32).collect();
        let matched = Matched::new(&names, &others);
        for config in configs().into_iter().filter(|config| !matches!(config.encoder, EncoderConfig::Tokens(_))) {
            let encoder = encoder(&config);
            let wanted = match &config.encoder {
                EncoderConfig::Groups(_) => {
                    let mut at_mean = counts.clone();
                    for gene in [3, 10] {
                        at_mean.column_mut(gene).fill(means[gene].exp_m1());
                    }
                    z(&encoder, &whole(&at_mean))
                }
                _ => {
                    let hidden = Arc::new(IndexSets::from_sets([[3_u32, 10]]));
                    let rows: Vec<usize> = (0..6).collect();
                    let all = Counts::from_dense(&counts);
                    z(&encoder, &Seen::masked(&all, &rows, hidden, vec![0; 6].into()))
                }
            };
            let carried = encoder.for_genes(&matched, &means).expect("memory");
            close(&wanted, &z(&carried, &whole(&fewer)), &config.encoder);
        }
    }

    #[test]
    fn phase_a_goes_on_where_a_place_has_lost_its_gene() {
        let (counts, names) = cells();
        let genes = EncoderConfig::Genes(GeneConfig { genes: GENES, ..GeneConfig::of(Size::Tiny) });
        let config = PretrainingConfig { encoder: genes, ..PretrainingConfig::genes(Size::Tiny) };
        let carried = encoder(&config).for_genes(&Matched::new(&names, &names[1..]), &[0.0; GENES]).expect("memory");
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut net = PretrainNet::new(&Cpu::default(), GENES - 1, &config, &mut rng).expect("a valid configuration");
        net.set_encoder(&carried).expect("memory");
        let fewer = Counts::from_dense(&counts.slice(ndarray::s![.., 1..]).to_owned());
        let mut context =
            StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: false, rng: &mut rng };
        // Place 0, whose gene is missing, is asked for beside place 2.
        let drawn = [(vec![0, 2], vec![vec![0, 2]])];
        let found =
            net.hidden_places_of([fewer.clone(), fewer], &drawn, dfdx::prelude::OwnedTape::default(), &mut context);
        assert!(ops::to_f32(&found.expect("it is left out").loss).is_finite());
    }
}
