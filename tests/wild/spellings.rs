//! Every spelling of control is read as control or asked about, and none becomes a gene without a word.

use super::write_labels;
use crate::{commands::tool::Place, common::real_data};

/// Genes that look like spellings of control.
const GENES: [&str; 6] = ["REST", "NT5E", "NTRK1", "WT1", "SAFB", "NEGR1"];

/// The spelling is read as control (60 cells with a control beside it), or `--control` is named.
fn is_read_or_asked_about(label: Option<&str>) {
    let place = Place::new();
    write_labels(&place, "alone.h5ad", "perturbation", &[label, Some("KLF1"), Some("EGR1")], &["A1", "B1", "C1"]);
    let said = place.run("inspect alone.h5ad").done().to_owned();
    let read = said.contains("of which 30 control");
    assert!(read || said.contains("--control"), "{label:?}: {said}");
    let option = label.unwrap_or("NaN");
    let named = place.command(["inspect", "alone.h5ad", "--control", option]).output().expect("it starts");
    assert!(String::from_utf8_lossy(&named.stdout).contains("of which 30 control"), "--control {option:?}");
    // Beside a control label it must not become a gene without a word either.
    write_labels(&place, "beside.h5ad", "perturbation", &[label, Some("control"), Some("EGR1")], &["A1", "B1", "C1"]);
    let said = place.run("inspect beside.h5ad").done().to_owned();
    assert!(said.contains("of which 60 control") || said.contains("--control"), "{label:?}: {said}");
}

#[test]
fn spellings_of_published_screens() {
    let Some(file) = real_data("wild/control_spellings.txt") else { return };
    let text = std::fs::read_to_string(file).expect("a text");
    for label in text.lines() {
        is_read_or_asked_about(Some(label));
    }
    is_read_or_asked_about(None);
}

#[test]
fn further_spellings() {
    for label in [
        "neg-ctrl",
        "Neg_Ctrl_12",
        "NEG CTRL",
        "nontargeting_3",
        "sgNonTargeting_7",
        "sgCtrl",
        "shScramble",
        "siNT",
        "safe_harbor_2",
        "AAVS1_2",
        "sgAAVS1-1",
        "Rosa26_1",
        "LacZ_g1",
        "GFP",
        "vehicle (DMSO)",
        "dmso_0.1%",
        "uninfected",
        "mock_infected",
        "none",
        "N/A",
        "unassigned",
        "no guide",
        "ONE_NON-GENE_SITE",
        "NO_SITE",
        "empty",
        "parental",
        "resting",
        "intergenic_chr1_12345",
        "[('DMSO_TF', 0.0, 'uM')]",
        "non-targeting|non-targeting",
        "NT_1;NT_2",
        "NegCtrl1_NegCtrl0__NegCtrl1_NegCtrl0",
    ] {
        is_read_or_asked_about(Some(label));
    }
}

#[test]
fn genes_stay_genes() {
    let place = Place::new();
    let labels: Vec<Option<&str>> = ["non-targeting"].into_iter().chain(GENES).map(Some).collect();
    for genes in [&["A1", "B1"][..], &GENES] {
        write_labels(&place, "genes.h5ad", "perturbation", &labels, genes);
        let said = place.run("inspect genes.h5ad");
        assert!(
            said.done().contains("of which 30 control") && said.stdout.contains("6 single, 0 combined"),
            "{}",
            said.stdout
        );
    }
    // The measured gene wins over the spelling.
    write_labels(&place, "nt5.h5ad", "gene", &[Some("NTC"), Some("NT5"), Some("EV")], &["NT5", "EV"]);
    let said = place.run("inspect nt5.h5ad");
    assert!(said.done().contains("2 single, 0 combined"), "{}", said.stdout);
}
