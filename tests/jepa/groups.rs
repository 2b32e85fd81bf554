//! Gene-group tokens: how genes are divided, and what is hidden from the encoder.

use super::small;
use genailab::{
    data::{Counts, Dataset},
    dfdx::prelude::{Cpu, NoneTape},
    model::jepa::{GeneMasks, GroupConfig, Grouping, MaskConfig, MaskKind, Seen, Size, TransformerEncoder},
    ndarray::Array2,
    nn::{IndexSets, ops::download},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::sync::Arc;

fn encoder(genes: usize, group_of: &[u32]) -> TransformerEncoder<Cpu> {
    let config = GroupConfig { groups: 4, hidden: 8, tokens: 8, depth: 1, ..GroupConfig::of(Size::Tiny) };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut encoder = TransformerEncoder::of_groups(&Cpu::default(), genes, &config, 6, &mut rng).expect("it fits");
    encoder.set_places(group_of);
    encoder
}

fn embedded(encoder: &TransformerEncoder<Cpu>, seen: &Seen) -> Array2<f32> {
    let visible = encoder.visible(seen).expect("its genes");
    let tokens = encoder.tokens(&visible, NoneTape, None).expect("it computes");
    download(&encoder.embedding(tokens, &visible).expect("its tokens"))
}

#[test]
fn every_gene_has_a_group_and_every_group_a_gene() {
    let (data, split) = small();
    for grouping in [Grouping::Correlation, Grouping::Random] {
        let groups = grouping.divide(8, &data, &split.train, 1).expect("enough genes");
        assert_eq!(groups, grouping.divide(8, &data, &split.train, 1).expect("the same seed, the same groups"));
        assert_ne!(groups, grouping.divide(8, &data, &split.train, 2).expect("another seed"));
        assert_eq!(groups.len(), data.n_genes());
        (0..8).for_each(|group| assert!(groups.contains(&group), "{grouping:?}: group {group} is empty"));
    }
    let even = Grouping::EvenCorrelation.divide(7, &data, &split.train, 1).expect("enough genes");
    let mut sizes = [0; 7];
    even.iter().for_each(|&group| sizes[group as usize] += 1);
    sizes.sort_unstable();
    // 120 genes.
    assert_eq!(sizes, [17, 17, 17, 17, 17, 17, 18]);
    let error = Grouping::Random.divide(1000, &data, &split.train, 0).expect_err("120 genes").to_string();
    assert!(error.contains("encoder.groups = 1000") && error.contains("120 genes"), "{error}");
}

#[test]
fn gene_sets_come_first_and_the_rest_is_divided() {
    let (data, split) = small();
    let (names, dir) = (data.gene_names(), tempfile::tempdir().expect("a folder"));
    let file = dir.path().join("sets.gmt");
    let line = |name: &str, genes: &[String]| format!("{name}\tfrom a test\t{}\n", genes.join("\t"));
    // The second set shares five genes with the first, which is larger and has them.
    let text = line("LARGE", &names[..30]) + &line("SMALL", &names[25..45]);
    std::fs::write(&file, text).expect("written");
    let groups = Grouping::GeneSets { file }.divide(4, &data, &split.train, 0).expect("enough genes");
    assert!(groups[..30].iter().all(|group| *group == 0), "{groups:?}");
    assert!(groups[30..45].iter().all(|group| *group == 1), "{groups:?}");
    assert!(groups[45..].iter().all(|group| [2, 3].contains(group)), "{groups:?}");
    [2, 3].into_iter().for_each(|group| assert!(groups[45..].contains(&group)));
}

#[test]
fn genes_that_vary_together_come_into_one_group() {
    // Four blocks of ten genes, each driven by a factor of its own.
    let (cells, block) = (400, 10);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let factors = Array2::from_shape_simple_fn((cells, 4), || rand::Rng::random_range(&mut rng, 0..2) as f32);
    let counts = Array2::from_shape_fn((cells, 4 * block), |(cell, gene)| {
        1.0 + 30.0 * factors[[cell, gene / block]] + rand::Rng::random_range(&mut rng, 0..3) as f32
    });
    let names: Vec<String> = (0..4 * block).map(|gene| format!("g{gene}")).collect();
    let data = Dataset::new(
        Counts::from_dense(&counts),
        genailab::data::Table::from_names(names),
        genailab::data::Table::from_names((0..cells).map(|cell| format!("c{cell}")).collect()),
        &vec![genailab::data::Perturbation::control(); cells],
        None,
        None,
    )
    .expect("a dataset");
    let train: Vec<usize> = (0..cells).collect();
    let groups = Grouping::Correlation.divide(4, &data, &train, 0).expect("enough genes");
    // Blocks of one size are found by groups of one size too.
    let even = Grouping::EvenCorrelation.divide(4, &data, &train, 0).expect("enough genes");
    assert!(even.chunks(10).all(|block| block.iter().all(|group| *group == block[0])), "{even:?}");
    for block in groups.chunks(block) {
        assert!(block.iter().all(|group| *group == block[0]), "{groups:?}");
    }
}

#[test]
fn what_is_hidden_changes_nothing_and_what_is_visible_does() {
    let group_of: Vec<u32> = (0..12).map(|gene| gene / 3).collect();
    let encoder = encoder(12, &group_of);
    // The second cell differs from the first in gene 4, of group 1.
    let mut counts = Array2::from_shape_fn((2, 12), |(_, gene)| (gene % 4) as f32);
    counts[[1, 4]] = 9.0;
    let hidden = Arc::new(IndexSets::from_sets([vec![3_u32, 4, 5]]));
    let seen = Seen::masked(&Counts::from_dense(&counts), &[0, 1], hidden, vec![0, 0].into());
    let visible = encoder.visible(&seen).expect("its genes");
    assert_eq!(visible.place.to_vec(), [0, 2, 3, 0, 2, 3], "group 1 has no token");
    let z = embedded(&encoder, &seen);
    assert_eq!(z.row(0), z.row(1));
    let whole = embedded(&encoder, &Seen::whole(Arc::new(Counts::from_dense(&counts))));
    assert_ne!(whole.row(0), whole.row(1));
    assert_ne!(whole.row(0), z.row(0));
}

#[test]
fn standardised_inputs_are_those_of_a_dense_computation() {
    let group_of: Vec<u32> = (0..12).map(|gene| gene % 4).collect();
    let (plain, mut standardised) = (encoder(12, &group_of), encoder(12, &group_of));
    let mean: Vec<f64> = (0..12).map(|gene| 0.1 * f64::from(gene)).collect();
    let sd: Vec<f64> = (0..12).map(|gene| 0.5 + 0.1 * f64::from(gene)).collect();
    standardised.standardise_inputs(&mean, &sd);
    // exp(y) - 1 with y = (x - m) / (s + 0.1), so that the plain encoder's log1p gives y back.
    let x = Array2::from_shape_fn((3, 12), |(cell, gene)| 1.5 + 0.2 * (cell * gene) as f64);
    let counts = x.mapv(|x| (x.exp() - 1.0) as f32);
    let y = Array2::from_shape_fn((3, 12), |(cell, gene)| (x[[cell, gene]] - mean[gene]) / (sd[gene] + 0.1));
    let of = |encoder: &TransformerEncoder<Cpu>, counts: &Array2<f32>| {
        embedded(encoder, &Seen::whole(Arc::new(Counts::from_dense(counts))))
    };
    let (found, expected) = (of(&standardised, &counts), of(&plain, &y.mapv(|y| (y.exp() - 1.0) as f32)));
    let off = (found - expected).mapv(f32::abs).fold(0.0_f32, |a, &b| a.max(b));
    assert!(off < 1e-4, "{off}");
}

#[test]
fn masks_hide_whole_groups_and_leave_one() {
    let (data, split) = small();
    let group_of: Vec<u32> = (0..120).map(|gene| gene % 8).collect();
    for kind in [MaskKind::Random, MaskKind::Adversarial] {
        let config = MaskConfig { kind, fraction: 0.25, targets: 3, ..MaskConfig::default() };
        let masks = GeneMasks::new(&config, &data, &split.train).expect("they fit");
        for seed in 0..20 {
            let draw = || masks.draw_places(&group_of, 8, &mut ChaCha8Rng::seed_from_u64(seed));
            let (hidden, targets) = draw();
            assert_eq!((hidden.clone(), targets.clone()), draw());
            assert!(targets.iter().all(|target| target.len() == 2 && target.is_sorted()));
            assert!((2..=6).contains(&hidden.len()) && hidden.iter().all(|&group| group < 8), "{hidden:?}");
        }
    }
    // So many targets that they would hide all: one group stays visible.
    let group_of: Vec<u32> = (0..120).map(|gene| gene % 2).collect();
    let config = MaskConfig { fraction: 0.3, targets: 3, ..MaskConfig::default() };
    let masks = GeneMasks::new(&config, &data, &split.train).expect("they fit");
    for seed in 0..50 {
        let (hidden, _) = masks.draw_places(&group_of, 2, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(hidden.len(), 1);
    }
}
