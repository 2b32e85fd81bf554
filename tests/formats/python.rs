//! Files as h5py, scipy, pandas and anndata write them: every one is read by the tool, and agrees with the truth in Python again.

use crate::{
    commands::tool::{Ended, Place},
    common::{self, root},
};
use std::{path::Path, process::Command, sync::OnceLock};

/// A file or folder, and what else has to be said to the tool.
const CONVERTED: [(&str, &str); 11] = [
    ("v3.h5", "--obs calls.csv"),
    ("v2.h5", "--obs calls.csv"),
    ("two_genomes.h5:hg19", "--obs calls.csv"),
    ("mtx3", "--obs calls.csv"),
    ("mtx2", "--obs calls.csv"),
    ("multi.h5mu", ""),
    ("cells.loom", "--gzip 0"),
    ("old_fixed.h5ad", ""),
    ("old_variable.h5ad", ""),
    ("cells.csv", ""),
    ("cells.tsv.gz", "--gzip 9"),
];
/// Tables whose lines are genes.
const TURNED: [(&str, &str); 2] = [("genes_by_cells.csv", "--obs calls.csv"), ("r_style.txt", "--obs calls.csv")];

fn script(interpreter: &Path, task: &str, folder: &Path) -> String {
    let script = root().join("tests/reference/formats.py");
    let output =
        Command::new(interpreter).arg("-Wignore").arg(script).arg(task).arg(folder).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folder with the files, made once.
pub fn files() -> Option<&'static Place> {
    static FILES: OnceLock<Option<Place>> = OnceLock::new();
    let make = || {
        let interpreter = common::python(&["anndata", "h5py", "scipy"])?;
        let place = Place::new();
        script(&interpreter, "make", &place.path(""));
        Some(place)
    };
    FILES.get_or_init(make).as_ref()
}

#[test]
fn what_is_converted_is_the_truth_in_anndata() {
    let Some(place) = files() else { return };
    std::fs::create_dir_all(place.path("converted")).expect("a folder");
    let all = CONVERTED.iter().chain(&TURNED);
    for (name, options) in all.clone() {
        let out = name.replace([':', '.'], "_").replace("_h5ad", "");
        let ended = place.run(&format!("convert {name} converted/{out}.h5ad {options}"));
        ended.done();
        assert!(ended.stdout.contains("60 cells x 25 genes"), "{name}: {}", ended.stdout);
    }
    let said = script(&common::python(&[]).expect("it was there"), "check", &place.path(""));
    assert_eq!(said.lines().filter(|line| line.starts_with("agrees")).count(), all.count(), "{said}");
}

fn run(line: &str) -> Option<Ended> {
    files().map(|place| place.run(line))
}

/// Commands read every format themselves, not only `convert`, and say what they chose.
#[test]
fn commands_read_all_formats() {
    let cases: [(&str, &[&str]); 8] = [
        (
            "v3.h5 --obs calls.csv",
            &["no genes were left out", "4 CRISPR Guide Capture", "60 of 60 cells are in the table of --obs"],
        ),
        ("two_genomes.h5:mm10 --obs calls.csv", &["genome `mm10` of the 10x file is read; hg19 left out"]),
        ("mtx3 --obs calls.csv", &["by `cell_barcode`", "4 CRISPR Guide Capture"]),
        ("multi.h5mu", &["modality `rna` of the MuData file is read; prot left out"]),
        ("cells.loom", &["`col_attrs` that are no list of 60 texts or numbers were left out: X_umap"]),
        ("old_fixed.h5ad", &[]),
        ("cells.csv", &["the table is read as cells x genes: 60 cells, 25 genes"]),
        ("r_style.txt --obs calls.csv", &["the table is read as genes x cells"]),
    ];
    for (data, parts) in cases {
        let Some(ended) = run(&format!("split --data {data} --split stratified --out split.json")) else { return };
        ended.done();
        parts.iter().for_each(|part| assert!(ended.stderr.contains(part), "{data}: {part}: {}", ended.stderr));
    }
    let inspected = run("inspect v3.h5 --obs calls.csv").expect("the files are there");
    assert!(inspected.done().contains("60, of which 20 control"), "{}", inspected.stdout);
}

#[test]
fn what_is_not_read_is_refused_with_the_line_that_converts_it() {
    for (file, parts) in [
        ("cells.zarr", ["is a Zarr store", "anndata.read_zarr('cells.zarr').write_h5ad('cells.h5ad')"]),
        ("counts.npz", ["NumPy archive", "load_npz('counts.npz')"]),
        ("cells.pkl", ["Python pickle", "pickle.load(open('cells.pkl', 'rb'))"]),
        ("cells.rds", ["is a file of R", "zellkonverter::writeH5AD(x, \"cells.h5ad\")"]),
        ("cells.h5seurat", ["h5Seurat", "SeuratDisk::Convert(\"cells.h5seurat\", dest = \"h5ad\")"]),
        ("v2.h5.gz", ["an HDF5 file compressed by gzip", "gunzip v2.h5.gz"]),
        ("raw.tar", ["is a tar archive", "tar -xf raw.tar"]),
        ("two_genomes.h5", ["holds several genomes: hg19, mm10", "FILE.h5:GENOME"]),
        ("multi.h5mu:atac", ["no modality `atac`", "it has prot, rna"]),
        ("v2.h5", ["there is no perturbation column", "--obs FILE.csv"]),
    ] {
        let Some(ended) = run(&format!("split --data {file} --split stratified --out none.json")) else { return };
        ended.one_line(&parts);
    }
}
