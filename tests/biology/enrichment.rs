//! Gene-set enrichment, and the command line that shows it.

use super::{close, list, number, reference};
use crate::common::real_data;
use genailab::{
    data::{Effects, GeneSets, MeasuredSets, Perturbation},
    eval::enrichment::*,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::process::Command;

fn assert_tests(scores: &[f32], changed: &[usize], sets: &MeasuredSets, expected: &Value, what: &str) {
    let names: Vec<String> = list(&expected["names"]);
    assert_eq!(sets.names, names, "{what}");
    let rank = rank_enrichment(scores, sets).expect("the scores differ");
    let over = over_representation(changed, sets);
    assert_eq!(over.hits, list::<usize>(&expected["hits"]), "{what}");
    for (key, got) in [
        ("z", &rank.z),
        ("p", &rank.p_values),
        ("p_adjusted", &rank.p_adjusted),
        ("over_p", &over.p_values),
        ("over_p_adjusted", &over.p_adjusted),
    ] {
        for ((name, &got), expected) in names.iter().zip(got).zip(list::<f64>(&expected[key])) {
            assert!(
                (got - expected).abs() <= 1e-5 * expected.abs() + 1e-12,
                "{what}, {name}, {key}: {got}, {expected}"
            );
        }
    }
    for (name, p) in expected["gseapy_over_p"].as_object().expect("an object") {
        let set = names.iter().position(|n| n == name).expect("a tested set");
        close(over.p_values[set], number(p), 1e-5, &format!("{what}, {name}: gseapy's enrich"));
    }
}

#[test]
fn tests_agree_with_scipy_and_gseapy() {
    let reference = &reference("enrichment")["simulated"];
    let genes: Vec<String> = list(&reference["genes"]);
    let text: String = list::<String>(&reference["expected"]["names"])
        .iter()
        .map(|name| format!("{name}\tof the test\t{}\n", list::<String>(&reference["sets"][name]).join("\t")))
        .collect();
    let sets = GeneSets::parse(&text).expect("valid").measured(&genes, 1, 1000).expect("all fit");
    let (scores, changed): (Vec<f32>, Vec<usize>) = (list(&reference["scores"]), list(&reference["changed"]));
    assert_tests(&scores, &changed, &sets, &reference["expected"], "simulated");
    let untied: Vec<f32> = list(&reference["untied"]);
    for (set, expected) in sets.columns.iter().zip(list::<f64>(&reference["expected"]["es"])) {
        close(running_sum(&untied, set).expect("defined").0, expected, 1e-5, "running sum");
    }
}

#[test]
fn norman_effects_agree_with_scipy_and_gseapy() {
    let (Some(path), Some(gmt)) = (real_data("norman_pseudobulk.h5ad"), real_data("genesets/hallmark.gmt")) else {
        return;
    };
    let data = Effects::open(path).expect("a valid file");
    let sets = testable(&GeneSets::open(gmt).expect("a valid file"), &data.genes.names).expect("sets are left");
    for (name, expected) in reference("enrichment")["norman"].as_object().expect("an object") {
        let name: Perturbation = name.parse().expect("a perturbation");
        let row = data.perturbations.iter().position(|p| *p == name).expect("it is measured");
        let effect = data.values.row(row).to_vec();
        let mut changed = most_changed(&effect);
        changed.sort_unstable();
        assert_tests(&effect, &changed, &sets, expected, &name.to_string());
        for (set, expected) in sets.columns.iter().zip(list::<f64>(&expected["es"])) {
            // 12 % of the effects have an equal, and gseapy walks over equals in another order: a step is 1 / 2,000.
            close(running_sum(&effect, set).expect("defined").0, expected, 1e-3, "running sum");
        }
    }
}

/// 40 sets of 10 genes over 400 genes; the genes of set 3 are raised, those of set 7 lowered.
fn planted() -> (MeasuredSets, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let columns: Vec<Vec<usize>> = (0..40).map(|set| (10 * set..10 * set + 10).collect()).collect();
    let names = (0..40).map(|set| format!("S{set}")).collect();
    let effect = (0..400)
        .map(|gene| {
            let planted = match gene / 10 {
                3 => 2.0,
                7 => -2.0,
                _ => 0.0,
            };
            planted + rng.random_range(-0.5..0.5)
        })
        .collect();
    (MeasuredSets { names, columns, n_genes: 400, notes: Vec::new() }, effect)
}

#[test]
fn planted_sets_are_found_and_nothing_else() {
    let (sets, effect) = planted();
    let rank = rank_enrichment(&effect, &sets).expect("the scores differ");
    let over = over_representation(&most_changed(&effect), &sets);
    for set in 0..40 {
        assert_eq!(rank.p_adjusted[set] < SIGNIFICANT, set == 3 || set == 7, "set {set}: {}", rank.p_adjusted[set]);
        assert_eq!(over.p_adjusted[set] < SIGNIFICANT, set == 3 || set == 7, "set {set}: {}", over.p_adjusted[set]);
    }
    assert!(rank.z[3] > 4.0 && rank.z[7] < -4.0);
    let (up, place) = running_sum(&effect, &sets.columns[3]).expect("defined");
    assert_eq!((up, place), (1.0, 10));
    let (down, _) = running_sum(&effect, &sets.columns[7]).expect("defined");
    close(down, -1.0, 1e-12, "a set at the bottom");
}

#[test]
fn what_is_undefined_is_none() {
    let (sets, effect) = planted();
    assert!(rank_enrichment(&[1.0; 400], &sets).is_none());
    assert!(rank_enrichment(&effect[..399], &sets).is_none());
    assert_eq!(running_sum(&[0.0; 400], &[1, 2]), None);
    assert_eq!(running_sum(&effect, &[]), None);
    assert_eq!(hypergeometric_upper(0, 100, 10, 10), 1.0);
    close(hypergeometric_upper(2, 4, 2, 2), 1.0 / 6.0, 1e-12, "two of two in a draw of two from four");
    assert_eq!(agreement(&[false, false], &[false, false]), None);
    assert_eq!(agreement(&[true, true, false], &[true, false, false]), Some(0.5));
}

fn genailab(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_genailab")).args(args).output().expect("the tool starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_shows_enriched_sets_of_effects_and_of_cells() {
    let (Some(effects), Some(cells), Some(gmt)) =
        (real_data("norman_pseudobulk.h5ad"), real_data("papalexi_cells.h5ad"), real_data("genesets/hallmark.gmt"))
    else {
        return;
    };
    let [effects, cells, gmt] = [&effects, &cells, &gmt].map(|path| path.to_str().expect("UTF-8"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let csv = folder.path().join("sets.csv");
    let csv = csv.to_str().expect("UTF-8");
    let (code, stdout, stderr) =
        genailab(&["enrich", "--data", effects, "--gene-sets", gmt, "--perturbations", "KLF1,CNN1+CBL", "--out", csv]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("KLF1") && stdout.contains("HALLMARK_HEME_METABOLISM"), "{stdout}");
    let text = std::fs::read_to_string(csv).expect("it was written");
    let expected = &reference("enrichment")["norman"]["KLF1"];
    let (names, z): (Vec<String>, Vec<f64>) = (list(&expected["names"]), list(&expected["z"]));
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2 * names.len());
    for (name, z) in names.iter().zip(z) {
        let row = rows.iter().find(|row| row[0] == "KLF1" && row[1] == name).expect("each set has a row");
        close(row[3].parse().expect("a number"), z, 1e-5, name);
    }
    // IFNGR1 is the receptor of interferon gamma: without it the response falls.
    let (code, stdout, stderr) =
        genailab(&["enrich", "--data", cells, "--gene-sets", gmt, "--perturbations", "IFNGR1", "--top", "3"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let line = stdout.lines().find(|line| line.contains("HALLMARK_INTERFERON_GAMMA_RESPONSE")).expect(&stdout);
    assert!(line.contains(" -"), "{line}");
}

#[test]
fn mistakes_are_one_clear_line() {
    let Some(effects) = real_data("norman_pseudobulk.h5ad") else { return };
    let effects = effects.to_str().expect("UTF-8");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gmt = folder.path().join("sets.gmt");
    let file = gmt.to_str().expect("UTF-8");
    for (text, parts) in [
        ("A\tx\tKLF1\tGATA1\nB only\n", ["sets.gmt", "line 2"]),
        ("A\tx\tENSG01\tENSG02\n", ["no measured gene", "ENSG01"]),
    ] {
        std::fs::write(&gmt, text).expect("written");
        let (code, _, stderr) = genailab(&["enrich", "--data", effects, "--gene-sets", file]);
        assert_eq!(code, Some(1), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
        parts.iter().for_each(|part| assert!(stderr.contains(part), "{part}: {stderr}"));
    }
}
