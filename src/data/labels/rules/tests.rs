//! Columns as published screens have them.

use super::{LabelCounts, Reading, Rules};
use crate::data::Naming;
use std::collections::HashSet;

fn read(labels: &[&str], genes: &[&str], naming: &Naming) -> Vec<String> {
    let counts: LabelCounts = labels.iter().map(|label| (Some((*label).to_owned()), 1)).collect();
    let genes: HashSet<&str> = genes.iter().copied().collect();
    let rules = Rules::of("gene", &counts, &genes, (naming, false));
    let text = |label: &&str| match rules.read(Some(label)).expect("a label") {
        Reading::Perturbed(read) => read.to_string(),
        other => format!("{other:?}"),
    };
    labels.iter().map(text).collect()
}

#[test]
fn a_column_says_what_joins_its_genes() {
    let (usual, guides) = (Naming::default(), Naming { guide_suffix: true, ..Naming::default() });
    assert_eq!(read(&["NT", "A", "B", "A || B"], &[], &usual), ["control", "A", "B", "A+B"]);
    assert_eq!(read(&["NT", "A_1", "B_2", "A_1|B_2"], &[], &guides), ["control", "A", "B", "A+B"]);
    assert_eq!(read(&["NT", "A_1", "B_2", "A_1|B_2"], &[], &usual), ["control", "A_1", "B_2", "A_1+B_2"]);
    assert_eq!(read(&["DMSO", "N,N-amine", "drug"], &[], &usual), ["control", "N,N-amine", "drug"]);
    assert_eq!(read(&["NT", "A", "B", "A,B"], &[], &usual), ["control", "A", "B", "A+B"]);
    assert_eq!(read(&["NT", "A_B", "A;NT"], &["A", "B"], &usual), ["control", "A_B", "A"]);
    assert_eq!(read(&["NT", "chr1.5_top_two_chr2.6_top_two"], &[], &usual)[1], "chr1.5_top_two_chr2.6_top_two");
    assert_eq!(read(&["NegCtrl0_NegCtrl0__NegCtrl0_NegCtrl0", "A_B__A_B", "A"], &[], &usual), ["control", "A+B", "A"]);
}

#[test]
fn vectors_strands_and_doses_are_no_genes() {
    let (usual, guides) = (Naming::default(), Naming { guide_suffix: true, ..Naming::default() });
    let vectors = ["control", "A_pDS258", "A_pBA571", "B_pDS258", "B_pBA571"];
    assert_eq!(read(&vectors, &[], &usual), vectors);
    assert_eq!(read(&vectors, &[], &guides), ["control", "A", "A", "B", "B"]);
    let strands =
        ["non-targeting_1", "TP53_+_7590687.23-P1P2", "TP53_-_7.23-P1", "A_+_1.2-P1|B_-_3.4-P2", "B_+_5.5-P1"];
    assert_eq!(read(&strands, &[], &usual), ["control", "TP53", "TP53", "A+B", "B"]);
    let doses = ["[('DMSO_TF', 0.0, 'uM')]", "[('X', 1.0, 'uM')]", "[('X', 5.0, 'uM')]", "[('Y', 5.0, 'uM')]"];
    assert_eq!(read(&doses, &[], &usual), ["control", "X 1.0 uM", "X 5.0 uM", "Y"]);
    assert_eq!(read(&["DMSO", "(+)-JQ1", "drug"], &[], &usual), ["control", "(+)-JQ1", "drug"]);
}

#[test]
fn options_come_first() {
    let naming =
        Naming { control_names: vec!["".into(), "sgX*".into()], drop_labels: vec!["bad".into()], ..Naming::default() };
    assert_eq!(read(&["", "sgX_1", "bad", "A"], &[], &naming), ["control", "control", "Dropped", "A"]);
    assert_eq!(read(&["WT", "A", "B"], &[], &Naming::default()), ["control", "A", "B"]);
    assert_eq!(read(&["NT", "WT", "A"], &[], &Naming::default()), ["control", "WT", "A"]);
}
