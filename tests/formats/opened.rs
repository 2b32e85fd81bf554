//! MatrixMarket folders that do not fit together, and several files of one screen.

use crate::commands::tool::{Place, json};

const MATRIX: &str =
    "%%MatrixMarket matrix coordinate integer general\n%made by hand\n3 4 5\n1 1 2\n3 1 1\n2 2 7\n1 4 1\n3 3 4\n";

/// Four cells, three genes; `obs.tsv` names the first `control` and the others.
fn folder(matrix: &str) -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("mtx")).expect("a folder");
    place.write("mtx/matrix.mtx", matrix);
    place.write("mtx/barcodes.tsv", "AAAC-1\nAAAG-1\nAAAT-1\nAACC-1\n");
    place.write("mtx/genes.tsv", "ENSG00000000001\tKLF1\nENSG00000000002\tSET\nENSG00000000003\tGATA1\n");
    place.write("obs.tsv", "barcode\tperturbation\nAACC\tSET\nAAAC\tcontrol\nAAAG\tKLF1\nAAAT\tcontrol\n");
    place
}

#[test]
fn a_folder_is_read_with_barcodes_that_lack_their_lane() {
    let place = folder(MATRIX);
    let ended = place.run("inspect --json mtx");
    assert_eq!(
        ended.done(),
        "{\"n_obs\":4,\"n_vars\":3,\"nnz\":5,\"sum\":15.0,\"x\":\"csr\",\"obs\":[],\"var\":[\"gene_ids\"],\"layers\":[],\"obsm\":[]}\n"
    );
    let ended = place.run("inspect mtx/matrix.mtx --obs obs.tsv");
    assert!(ended.done().contains("4 of 4 cells are in the table of --obs, by `barcode`"), "{}", ended.stdout);
    assert!(ended.stdout.contains("4, of which 2 control"), "{}", ended.stdout);
    place.fails("convert mtx out.h5ad --obs mtx/genes.tsv", &["mtx/genes.tsv: it names none of the cells", "AAAC-1"]);
    place.write("twice.csv", "cell,perturbation\nAAAC-1,control\nAAAC-1,SET\n");
    place
        .fails("convert mtx out.h5ad --obs twice.csv", &["twice.csv: the cell \"AAAC-1\" stands in more than one row"]);
}

#[test]
fn matrices_that_are_damaged() {
    for (matrix, parts) in [
        (MATRIX.replace("3 4 5", "3 4 6"), ["promises 6 values, and there are 5", "cut off"]),
        (MATRIX.replace("3 4 5", "3 5 5"), ["the matrix is 3 x 5", "3 features and 4 barcodes"]),
        (MATRIX.replace("3 4 5", "3 4 5000000000"), ["cannot be in a file of", "damaged"]),
        (MATRIX.replace("2 2 7", "4 2 7"), ["line 6: \"4 2 7\" is no entry", "3 x 4"]),
        (MATRIX.replace("2 2 7", "2 2 x"), ["line 6", "is no entry"]),
        (MATRIX.replace("2 2 7", "1 1 7"), ["the column index 0 twice", "damaged"]),
        (MATRIX.replace("coordinate", "array"), ["MatrixMarket header", "is read"]),
        (MATRIX.replace("general", "symmetric"), ["MatrixMarket header", "is read"]),
    ] {
        folder(&matrix).fails("convert mtx out.h5ad", &parts);
    }
    let place = folder(MATRIX);
    std::fs::remove_file(place.path("mtx/genes.tsv")).expect("it is there");
    place.fails("convert mtx out.h5ad", &["there is no features.tsv or", "genes.tsv"]);
    std::fs::remove_file(place.path("mtx/matrix.mtx")).expect("it is there");
    place.fails("convert mtx out.h5ad", &["a folder without a matrix.mtx"]);
}

#[test]
fn several_files_are_one_screen() {
    let place = Place::new();
    let lines = |genes: &str, labels: [&str; 4]| -> String {
        let row = |(cell, label): (usize, &str)| format!("cell{cell},{label},{cell},1,2\n");
        format!(",perturbation,{genes}\n") + &labels.into_iter().enumerate().map(row).collect::<String>()
    };
    place.write("one.csv", &lines("KLF1,SET,GAPDH", ["control", "KLF1", "KLF1", "control"]));
    place.write("two.csv", &lines("GAPDH,OTHER,SET", ["control", "SET", "SET", "SET"]));
    let ended = place.run("split --data one.csv --data two.csv --split context:dataset=two --out split.json");
    ended.done();
    for part in [
        "2 genes are shared by name, out of 3 of one, 3 of two",
        "the column `dataset` of cells says which file a cell is from: one, two",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    let split = json(&place.path("split.json"));
    assert_eq!(split["dataset"], "one.csv + two.csv");
    place.fails(
        "split --data one.csv --data two.csv --obs a.csv --split stratified --out x.json",
        &["there are 2 --data and 1 --obs"],
    );
    place.write("three.csv", ",perturbation,A,B\nc,control,1,2\n");
    place.fails("split --data one.csv --data three.csv --split stratified --out x.json", &["share no gene name"]);
}
