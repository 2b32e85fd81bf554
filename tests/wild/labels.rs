//! Which column, what joins, what is control.

use super::{case, fails, says};

#[test]
fn c01_cells_without_a_label_are_left_out_and_said() {
    says(
        "01_nullable_strings.h5ad",
        "train --data FILE --model vae --epochs 1 --out OUT",
        &["5 cells without a label in `perturbation` were left out", "655 cells"],
    );
}

#[test]
fn c03_a_vector_is_no_gene_and_control_can_be_named() {
    let parts = ["no control cells", "63(mod)_pBA580 (97)", "--control NAME", "--guide-suffix", "0 combined"];
    says("03_adamson_vectors.h5ad", "inspect FILE", &parts);
    let line = "inspect FILE --control 63(mod)_pBA580 --guide-suffix";
    says("03_adamson_vectors.h5ad", line, &["of which 97 control", "11 single, 0 combined"]);
    let parts = ["33 single perturbations", "0 combined", "`_pBA571` and 2 others", "--guide-suffix"];
    says("03b_adamson_control_named.h5ad", "train --data FILE --model vae --epochs 1 --out OUT", &parts);
}

#[test]
fn c04_a_vehicle_is_control() {
    let parts = ["14 single perturbations", "control (100 cells)", "read as control in `perturbation`: \"DMSO\""];
    says("04_dmso.h5ad", "train --data FILE --model vae --epochs 1 --out OUT", &parts);
}

#[test]
fn c08_two_bars_join_and_na_can_be_control() {
    let parts = ["`genetic_perturbation_id`", "`||` was read as joining", "BPGM+SAMD1", "--control 'na'"];
    says("08_cellxgene_schema.h5ad", "inspect FILE", &parts);
    says("08_cellxgene_schema.h5ad", "inspect FILE --control na", &["of which 100 control", "8 single, 6 combined"]);
}

#[test]
fn c09_protospacer_calls_are_doubles_of_genes() {
    let line = "train --data FILE --perturbation-column feature_call --guide-suffix --model vae --epochs 1 --out OUT";
    says("09_protospacer_calls.h5ad", line, &["8 single perturbations (320 cells), 6 combined (240 cells)"]);
    says("09_protospacer_calls.h5ad", "inspect FILE --guide-suffix", &["`feature_call`", "KLF1+MAP2K6"]);
}

#[test]
fn c10_a_comma_joins_and_can_be_asked_for() {
    let parts = ["8 single, 6 combined", "`,` was read as joining", "\"KLF1,MAP2K6\"", "KLF1+MAP2K6"];
    says("10_comma.h5ad", "inspect FILE", &parts);
    let Some((place, ended)) = case("10_comma.h5ad", "train --data FILE --model vae --epochs 1 --out m") else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let asked =
        "predict --model m --separator , --perturbations KLF1,MAP2K6 --perturbations IER5L --cells 3 --out p.h5ad";
    place.run(asked).done();
    let read = genailab::data::AnnData::open(place.path("p.h5ad")).expect("a file");
    let labels = read.obs_column("perturbation").expect("readable").expect("there").to_text();
    assert_eq!((labels[0].as_deref(), labels[3].as_deref()), (Some("KLF1+MAP2K6"), Some("IER5L")));
}

#[test]
fn c11_a_chain_of_guides_is_not_the_perturbation() {
    let parts =
        ["`gene` is read as the perturbation", "`perturbation`", "--perturbation-column", "11 single, 0 combined"];
    says("11_chains.h5ad", "inspect FILE", &parts);
    let parts = ["0 combined", "`_` is not read as joining", "--separator _"];
    says("11_chains.h5ad", "inspect FILE --perturbation-column perturbation", &parts);
}

#[test]
fn c34_columns_and_controls_of_published_screens() {
    for (file, column, control) in [
        ("34_col1_guide_ids.h5ad", "guide_ids", "NegCtrl0"),
        ("34_col2_sgRNA.h5ad", "sgRNA", "non-targeting_00012"),
        ("34_col3_perturbation_name.h5ad", "perturbation_name", "neg"),
        ("34_col4_gene.h5ad", "gene", "non-targeting"),
    ] {
        let read = format!("labels of `{column}`: 8 single (320 cells), 6 combined (240 cells), 1 control (100 cells)");
        says(file, "inspect FILE", &["of which 100 control", &read, control]);
    }
    says("34_col5_condition.h5ad", "inspect FILE", &["`condition`", "100 cells have no label", "--control ''"]);
}

#[test]
fn c35_no_column_is_known() {
    let parts = ["no perturbation column", "label, cell_type", "--perturbation-column", "`label` has control labels"];
    says("35_kang.h5ad", "inspect FILE", &parts);
    let parts = ["of which 100 control", "1 single"];
    says("35_kang.h5ad", "inspect FILE --perturbation-column label", &parts);
}

#[test]
fn c40_numbers_are_no_names() {
    let parts = ["`perturbation` holds whole numbers (0, 1), not names", "`guide_id` is read", "of which 100 control"];
    says("40_integer_perturbation.h5ad", "inspect FILE", &parts);
}

#[test]
fn c41_truth_values_name_nothing() {
    let line = "train --data FILE --perturbation-column perturbed --model vae --epochs 1 --out OUT";
    fails("41_bool_perturbation.h5ad", line, &["truth values (false, true)", "name no perturbation", "--control"]);
}

#[test]
fn c42_missing_labels_can_be_control() {
    let line = "train --data FILE --model vae --epochs 1 --out OUT";
    fails("42_nan_is_control.h5ad", line, &["no control cells", "100 cells have no label", "--control 'NaN'"]);
    says("42_nan_is_control.h5ad", &format!("{line} --control NaN"), &["control (100 cells)"]);
}

#[test]
fn c49_an_encoder_needs_no_label() {
    let file = "../interop/scvi_pbmc_5k_protein.h5ad";
    // Fewer genes, so that the test is cheap: the pictures of 16,581 genes take half a minute.
    let Some(path) = crate::common::real_data("interop/scvi_pbmc_5k_protein.h5ad") else { return };
    let place = crate::commands::tool::Place::new();
    let options = genailab::data::OpenOptions { labels_optional: true, ..Default::default() };
    let data = genailab::data::Dataset::open_with(&path, &options).expect("opened");
    let part = data.select_genes(&(0..400).collect::<Vec<_>>()).expect("genes");
    let mut cells = part.cells.clone();
    cells.columns.retain(|(name, _)| name != "perturbation");
    genailab::data::AnnDataWriter::new(&cells, &part.genes)
        .x(&part.counts)
        .write(place.path("c.h5ad"))
        .expect("written");
    let ended = place.run("train --data c.h5ad --model jepa --phase a --epochs 1 --out m");
    assert!(ended.done().contains("no label is used"), "{}", ended.stdout);
    assert!(ended.stderr.contains("no column of obs names perturbations"), "{}", ended.stderr);
    place.run("embed --model m --data c.h5ad --out z.h5ad").done();
    fails(
        file,
        "train --data FILE --model jepa --phase a --label batch --epochs 1 --out OUT",
        &["--label batch", "n_genes"],
    );
}
