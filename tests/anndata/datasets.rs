//! From files to datasets: counts, perturbations, lanes and library sizes by rule.

use super::{names, small};
use crate::common::real_data;
use genailab::{
    data::{
        AnnDataWriter, Column, Counts, Dataset, Effects, Expression, Naming, OpenOptions, Opened, Perturbation, Table,
        open,
    },
    ndarray::{Array2, array},
};
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

/// A folder with a file of four cells and two genes; the labels stand in `column`.
struct Sample {
    folder: TempDir,
    obs: Table,
    var: Table,
}

impl Sample {
    fn new(column: &str, labels: [&str; 4]) -> Self {
        let mut obs = Table::from_names(names("cell", 4));
        obs.set(column, Column::Text(labels.iter().map(|&label| Some(label.to_owned())).collect()));
        Self { folder: tempdir().expect("a folder"), obs, var: Table::from_names(names("gene", 2)) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sample.h5ad")
    }

    fn write(&self, x: &Array2<f32>) -> PathBuf {
        AnnDataWriter::new(&self.obs, &self.var).x(x).write(self.path()).expect("written");
        self.path()
    }
}

fn counts() -> Array2<f32> {
    array![[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0]]
}

fn labels(data: &Dataset) -> Vec<String> {
    (0..data.n_cells()).map(|cell| data.perturbation_of(cell).to_string()).collect()
}

#[test]
fn a_dataset_is_written_and_read_back() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("small.h5ad");
    // Names with `_` must survive, though nothing in the file has a `+`.
    let mut data = small().select_cells(&[0, 1, 3]);
    data.perturbations[1] = Perturbation::of(["Y_RNA"]);
    data.write(&path).expect("written");
    let read = Dataset::open(&path).expect("opened");
    assert_eq!(labels(&read), ["control", "Y_RNA", "B"]);
    assert_eq!(read.counts, data.counts);
    assert_eq!(read.library_size, [10.0, 11.0, 13.0]);
    assert_eq!((read.lanes, read.lane_of), (vec!["x".to_owned(), "y".to_owned()], vec![0, 1, 1]));
    assert_eq!(read.genes, data.genes);
    assert_eq!(read.notes, Vec::<String>::new());
}

#[test]
fn cells_and_genes_are_found() {
    let data = small();
    assert_eq!(
        data.perturbations.iter().map(Perturbation::to_string).collect::<Vec<_>>(),
        ["control", "A", "A+B", "B"]
    );
    assert_eq!(data.control_cells(), [0, 4]);
    assert_eq!(data.cells_of(&"B+A".parse().expect("a label")), [2]);
    assert_eq!(data.cells_of(&Perturbation::of(["Z"])), Vec::<usize>::new());
    assert_eq!(data.cells_per_perturbation(), [2, 2, 1, 1]);
    assert_eq!(["B+A", "B_A", "ctrl"].map(|name| data.perturbation(name).expect("known")), [2, 2, 0]);
    assert_eq!(data.genes_at(&["gene3", "gene0"]).expect("known"), [3, 0]);
    let error = data.gene("gene9").expect_err("unknown").to_string();
    assert!(error.contains("there is no gene \"gene9\"") && error.contains("did you mean gene0"), "{error}");
    let error = data.perturbation("C").expect_err("unknown").to_string();
    assert!(error.contains("there is no perturbation \"C\""), "{error}");

    let part = data.select_cells(&[5, 0]);
    assert_eq!(labels(&part), ["A", "control"]);
    assert_eq!(
        (part.library_size, part.lane_of, part.cells.names),
        (vec![15.0, 10.0], vec![1, 0], vec!["cell5".to_owned(), "cell0".to_owned()])
    );
    assert_eq!(part.perturbations, data.perturbations);
    let part = data.select_genes(&[2, 0]).expect("known");
    assert_eq!(part.counts.to_dense().column(0), small().counts.to_dense().column(2));
    assert_eq!(
        (part.gene_names(), &part.library_size),
        (&["gene2".to_owned(), "gene0".to_owned()][..], &data.library_size)
    );
    assert!(data.select_genes(&[1, 1]).is_err() && data.select_genes(&[9]).is_err());
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let data = small();
    let error = Dataset::new(data.counts, data.genes, Table::from_names(names("c", 5)), &[], None, None);
    assert_eq!(
        error.expect_err("5 names, 6 cells").to_string(),
        "5 cell names do not fit counts of 6 cells and 4 genes"
    );
}

#[test]
fn labels_are_read_by_the_files_own_spelling() {
    let read = |column: &str, spelled: [&str; 4]| {
        labels(&Dataset::open(Sample::new(column, spelled).write(&counts())).expect("opened"))
    };
    assert_eq!(read("perturbation", ["control", "A_B", "A", "B_A"]), ["control", "A+B", "A", "A+B"]);
    assert_eq!(read("condition", ["ctrl", "A+ctrl", "ctrl+B", "B+A"]), ["control", "A", "B", "A+B"]);
    assert_eq!(read("gene", ["NT", "HLA_A+B", "HLA_A", "B"]), ["control", "B+HLA_A", "HLA_A", "B"]);
    assert_eq!(read("target_gene", ["non-targeting", "gene1", "X_1", "X_2"]), ["control", "gene1", "X_1", "X_2"]);
    // A measured gene's name is one name.
    let mut sample = Sample::new("perturbation", ["control", "Y_RNA", "A_B", "A"]);
    sample.var.names[1] = "Y_RNA".to_owned();
    let data = Dataset::open(sample.write(&counts())).expect("opened");
    assert_eq!(labels(&data), ["control", "Y_RNA", "A+B", "A"]);
    assert_eq!(data.notes[0], "`_` was read as joining two genes in `perturbation`, as in \"A_B\"");
}

#[test]
fn options_say_otherwise() {
    let mut sample = Sample::new("perturbation", ["DMSO", "X_1", "X_2", "P_Q"]);
    sample.obs.set("well", Column::Text(["w1", "w2", "w1", "w1"].map(|well| Some(well.to_owned())).to_vec()));
    let path = sample.write(&counts());
    let naming = Naming {
        separator: Some("+".to_owned()),
        guide_suffix: true,
        control_names: vec!["DMSO".to_owned()],
        ..Naming::default()
    };
    let options = OpenOptions { lane_column: Some("well".to_owned()), naming, ..OpenOptions::default() };
    let data = Dataset::open_with(&path, &options).expect("opened");
    assert_eq!(labels(&data), ["control", "X", "X", "P_Q"]);
    assert_eq!((data.lanes, data.lane_of), (vec!["w1".to_owned(), "w2".to_owned()], vec![0, 1, 0, 0]));
    let absent = |options: OpenOptions| Dataset::open_with(&path, &options).expect_err("absent").to_string();
    let error = absent(OpenOptions { perturbation_column: Some("nothing".to_owned()), ..OpenOptions::default() });
    assert!(error.contains("no column `nothing`") && error.contains("perturbation, well"), "{error}");
    let error = absent(OpenOptions { counts_layer: Some("nothing".to_owned()), ..options.clone() });
    assert!(error.contains("no matrix `layers/nothing`"), "{error}");
    let error = absent(OpenOptions { lane_column: Some("nothing".to_owned()), ..options });
    assert!(error.contains("no lane column `nothing`"), "{error}");
}

#[test]
fn a_column_with_controls_is_preferred() {
    let mut sample = Sample::new("perturbation", ["stimulated", "stimulated", "rested", "rested"]);
    sample.obs.set("condition", Column::Text(["ctrl", "A+ctrl", "A+B", "B"].map(|l| Some(l.to_owned())).to_vec()));
    assert_eq!(labels(&Dataset::open(sample.write(&counts())).expect("opened")), ["control", "A", "A+B", "B"]);
}

#[test]
fn missing_labels_drop_their_cells() {
    let sample = Sample::new("perturbation", ["control", "nan", "A", ""]);
    let data = Dataset::open(sample.write(&counts())).expect("opened");
    assert_eq!(labels(&data), ["control", "A"]);
    assert_eq!(data.cells.names, ["cell0", "cell2"]);
    assert_eq!(data.counts.to_dense(), array![[1.0, 0.0], [3.0, 3.0]]);
    let told = "2 cells without a label in `perturbation` were left out (\"\": 1, \"nan\": 1); --control '' makes them control";
    assert_eq!(data.notes[0], told);
    let error = Dataset::open(Sample::new("perturbation", ["nan", "", "None", "NaN"]).write(&counts()));
    assert!(error.expect_err("all missing").to_string().contains("all labels are missing"));
}

#[test]
fn library_sizes_must_be_plausible() {
    let mut sample = Sample::new("perturbation", ["control", "A", "A", "A"]);
    sample.obs.set("n_counts", Column::Integer([10, 20, 30, 40].map(Some).to_vec()));
    assert_eq!(Dataset::open(sample.write(&counts())).expect("opened").library_size, [10.0, 20.0, 30.0, 40.0]);
    sample.obs.set("n_counts", Column::Float(vec![10.0, 20.0, 5.0, 40.0]));
    let data = Dataset::open(sample.write(&counts())).expect("opened");
    assert_eq!(data.library_size, [1.0, 2.0, 6.0, 0.0]);
    assert!(data.notes[0].contains("`n_counts` is not the library size (cell \"cell2\": 5"), "{:?}", data.notes);
}

#[test]
fn repeated_genes_become_unique() {
    let mut sample = Sample::new("perturbation", ["control", "A", "A", "A"]);
    sample.var.names = vec!["G".to_owned(), "G".to_owned()];
    let data = Dataset::open(sample.write(&counts())).expect("opened");
    assert_eq!(data.gene_names(), ["G", "G-1"]);
    assert!(data.notes[0].starts_with("1 gene names occurred more than once"), "{:?}", data.notes);
}

#[test]
fn counts_are_picked_by_rule() {
    let sample = Sample::new("perturbation", ["control", "A", "A", "A"]);
    let log = counts().mapv(f32::ln_1p);
    let (sparse, path) = (Counts::from_dense(&counts()), sample.path());
    // The layer goes before X, even if X holds counts.
    let twice = counts() * 2.0;
    AnnDataWriter::new(&sample.obs, &sample.var).x(&twice).layer("counts", &sparse).write(&path).expect("written");
    let data = Dataset::open(&path).expect("opened");
    let notes = ["counts are read from `layers/counts`", "1 cell holds no counts"].map(str::to_owned).to_vec();
    assert_eq!((data.counts, data.notes), (sparse, notes));
    let options = OpenOptions { counts_layer: Some("X".to_owned()), ..OpenOptions::default() };
    assert_eq!(Dataset::open_with(&path, &options).expect("opened").counts.to_dense(), twice);
    // raw/X where X is normalised; it has genes of its own.
    sample.write(&log);
    let file = hdf5::File::open_rw(&path).expect("opened");
    let raw = file.create_group("raw").expect("new");
    let three = array![[1.0_f32, 0.0, 5.0], [0.0, 2.0, 0.0], [3.0, 3.0, 0.0], [0.0, 0.0, 1.0]];
    raw.new_dataset_builder().with_data(&three).create("X").expect("new");
    let var = Table::from_names(names("raw gene", 3));
    let other = sample.folder.path().join("other.h5ad");
    AnnDataWriter::new(&sample.obs, &var).write(&other).expect("written");
    hdf5::File::open(&other).expect("opened").group("var").expect("there").copy_to(&raw, "var").expect("copied");
    drop((raw, file));
    let data = Dataset::open(&path).expect("opened");
    assert_eq!(data.counts.to_dense(), three);
    assert_eq!(data.gene_names(), var.names);
    assert_eq!(data.notes, ["counts are read from `raw/X`, because X holds none; it has 3 genes where X has 2"]);
}

#[test]
fn effects_are_told_from_cells() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("effects.h5ad");
    let effects = Effects {
        values: array![[0.5, -1.0], [0.0, 2.0]],
        genes: Table::from_names(names("gene", 2)),
        perturbations: vec![Perturbation::of(["A"]), Perturbation::of(["B", "A"])],
        table: Table::from_names(names("row", 2)),
    };
    effects.write(&path).expect("written");
    let Opened::Effects(read) = open(&path).expect("opened") else { panic!("an effects dataset") };
    assert_eq!((read.values, read.perturbations), (effects.values, effects.perturbations));
    let error = Dataset::open(&path).expect_err("no cells").to_string();
    assert!(error.contains("this is an effects dataset"), "{error}");
    small().write(&path).expect("written");
    assert!(matches!(open(&path).expect("opened"), Opened::Cells(_)));
}

#[test]
fn real_datasets() {
    let Some(folder) = real_data("") else { return };
    let read = |name: &str| Dataset::open(folder.join(name)).expect("opened");
    // The numbers are those of the data's own description.
    let norman = read("norman_cells.h5ad");
    let doubles = norman.perturbations.iter().filter(|perturbation| perturbation.genes().len() == 2).count();
    assert_eq!((norman.n_cells(), norman.n_genes(), norman.perturbations.len(), doubles), (3375, 500, 34, 15));
    assert_eq!((norman.lanes.len(), norman.library_size[0]), (8, 19854.0));
    let papalexi = read("papalexi_cells.h5ad");
    assert_eq!((papalexi.n_cells(), papalexi.perturbations.len(), papalexi.lanes.len()), (20729, 26, 3));
    assert_eq!(papalexi.library_size, papalexi.counts.row_sums());
    let jurkat = read("jurkat_tcr_cells.h5ad");
    assert_eq!((jurkat.perturbations.len(), jurkat.lanes.as_slice()), (41, &["all".to_owned()][..]));
    let naming = Naming { guide_suffix: true, ..Naming::default() };
    let options = OpenOptions { naming, ..OpenOptions::default() };
    let genes = Dataset::open_with(folder.join("jurkat_tcr_cells.h5ad"), &options).expect("opened");
    assert_eq!(genes.perturbations.len(), 21);
    let Opened::Effects(effects) = open(folder.join("norman_pseudobulk.h5ad")).expect("opened") else {
        panic!("norman_pseudobulk.h5ad is an effects dataset")
    };
    let doubles = effects.perturbations.iter().filter(|perturbation| perturbation.genes().len() == 2).count();
    assert_eq!((effects.values.dim(), doubles), ((184, 2000), 80));
    let log = read("interop/perturbench_devel.h5ad");
    assert_eq!(log.expression, Expression::Log);
    assert!(log.notes.iter().any(|note| note.contains("`X` is read as logarithms")), "{:?}", log.notes);
    let options = OpenOptions { expression: Some(Expression::Counts), ..OpenOptions::default() };
    let error = Dataset::open_with(folder.join("interop/perturbench_devel.h5ad"), &options).expect_err("no counts");
    assert!(error.to_string().contains("`X` holds fractions (log-normalised?) such as 0.40959"), "{error}");
}
