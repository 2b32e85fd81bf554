//! What an encoder is shown, and that it sees no more.

use genailab::{
    data::Counts,
    dfdx::prelude::{Cpu, NoneTape},
    model::jepa::{CellEncoder, PretrainingConfig, Regulons, Seen, Size},
    ndarray::{Array2, array},
    nn::IndexSets,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{io::Write, sync::Arc};

fn encoders() -> Vec<CellEncoder<Cpu>> {
    [PretrainingConfig::mlp(Size::Small), PretrainingConfig::tokens(Size::Small)]
        .iter()
        .map(|config| {
            CellEncoder::new(&Cpu::default(), 6, config, &mut ChaCha8Rng::seed_from_u64(1)).expect("valid settings")
        })
        .collect()
}

fn embed(encoder: &CellEncoder<Cpu>, seen: &Seen) -> Vec<f32> {
    encoder.forward(seen, NoneTape).expect("it fits").as_vec()
}

fn hide(counts: &Array2<f32>, hidden: &[&[u32]], pattern: &[u32]) -> Seen {
    let cells: Vec<usize> = (0..counts.nrows()).collect();
    Seen::masked(
        &Counts::from_dense(counts),
        &cells,
        Arc::new(IndexSets::from_sets(hidden.iter().map(|set| set.to_vec()))),
        pattern.into(),
    )
}

#[test]
fn hidden_genes_contribute_nothing_and_are_told_from_zeros() {
    let one = array![[3.0, 0.0, 5.0, 1.0, 0.0, 2.0]];
    let other = array![[3.0, 7.0, 0.0, 1.0, 0.0, 2.0]]; // differs in genes 1 and 2
    let without = array![[3.0, 0.0, 0.0, 1.0, 0.0, 2.0]];
    for encoder in encoders() {
        let masked = embed(&encoder, &hide(&one, &[&[1, 2]], &[0]));
        assert_eq!(masked, embed(&encoder, &hide(&other, &[&[1, 2]], &[0])), "hidden values must not be seen");
        assert_ne!(masked, embed(&encoder, &Seen::whole(Arc::new(Counts::from_dense(&without)))), "hidden is not zero");
        assert_ne!(embed(&encoder, &hide(&one, &[&[1]], &[0])), embed(&encoder, &hide(&other, &[&[1]], &[0])));
    }
}

#[test]
fn each_row_has_its_own_pattern() {
    let two = array![[3.0, 4.0, 5.0, 1.0, 0.0, 2.0], [3.0, 4.0, 5.0, 1.0, 0.0, 2.0]];
    let one = array![[3.0, 4.0, 5.0, 1.0, 0.0, 2.0]];
    for encoder in encoders() {
        let both = embed(&encoder, &hide(&two, &[&[0], &[1, 5]], &[1, 0]));
        let (first, second) = both.split_at(both.len() / 2);
        for (row, hidden) in [(first, &[1, 5][..]), (second, &[0])] {
            let alone = embed(&encoder, &hide(&one, &[hidden], &[0]));
            assert!(row.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-5), "{row:?}\n{alone:?}");
        }
    }
}

#[test]
fn a_cell_without_counts_has_an_embedding() {
    for encoder in encoders() {
        let z = embed(&encoder, &Seen::whole(Arc::new(Counts::from_dense(&Array2::zeros((1, 6))))));
        assert!(z.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn regulons_are_read_and_mistakes_name_the_line() {
    let read =
        Regulons::parse("# from somewhere\ntf\ttarget\tweight\nSTAT1\tIRF1\t1.0\nSTAT1\tCD274\t-1\n\nMYC\tNPM1\n");
    let read = read.expect("valid").regulons;
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].tf.as_str(), read[0].targets[0].1), ("MYC", 1.0));
    assert_eq!(read[1].targets, [("IRF1".to_owned(), 1.0), ("CD274".to_owned(), -1.0)]);
    for (text, line, word) in [
        ("", "line 1", "no regulon"),
        ("STAT1\tIRF1\nSTAT1", "line 2", "one field"),
        ("STAT1\t\t1", "line 1", "a name is empty"),
        ("A\tB\tstrong", "line 1", "\"strong\""),
        ("A\tB\tinf", "line 1", "no number"),
        ("A\tB\n\nA\tB\t2", "line 3", "stand in line 1"),
    ] {
        let error = Regulons::parse(text).expect_err(text).to_string();
        assert!(error.contains(line) && error.contains(word), "{error}");
    }
    let names: Vec<String> = ["IRF1", "CD274", "ACTB"].map(str::to_owned).into();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("regulons.tsv.gz");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"tf\ttarget\tmor\tconfidence\nSTAT1\tIRF1\t1.0\tA\n").expect("in memory");
    let packed = packed.finish().expect("in memory");
    std::fs::write(&file, &packed).expect("writable");
    let read = Regulons::open(&file).expect("a compressed file");
    assert_eq!(read.regulons[0].targets, [("IRF1".to_owned(), 1.0)]);
    std::fs::write(&file, &packed[..packed.len() / 2]).expect("writable");
    let error = Regulons::open(&file).expect_err("half of a file").to_string();
    assert!(error.contains("regulons.tsv.gz") && error.contains("gzip"), "{error}");
    let sets = Regulons::parse("S\tCD274\nS\tIRF1\nS\tnone\nT\tACTB\nU\tACTB\t0").expect("valid");
    assert_eq!(sets.measured(&names, 1).expect("two are measured"), [vec![0, 1], vec![2]]);
    assert!(sets.measured(&names, 3).expect_err("too few").to_string().contains("3 measured targets"));
}
