//! A choice of genes while a file is read: the same cells and numbers as all genes read and some of them kept.

use genailab::data::{
    AnnData, AnnDataWriter, Counts, Dataset, Expression, GeneChoice, HvgFlavour, OpenOptions, Perturbation, QcConfig,
    Simulation, SimulationConfig, SplitPlan, highly_variable,
};
use ndarray::Axis;
use std::{collections::HashSet, path::Path};
use tempfile::tempdir;

fn simulated() -> Dataset {
    let config = SimulationConfig { n_cells: 1_500, n_genes: 800, seed: 4, ..SimulationConfig::default() };
    Simulation::new(&config).expect("valid settings").dataset
}

fn plan() -> SplitPlan {
    SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: 3 }
}

/// A perturbation of this simulation has some 20 cells.
fn qc() -> QcConfig {
    QcConfig { min_cells_per_perturbation: 10, ..QcConfig::default() }
}

/// Training cells after quality control, as places among all cells.
fn training(data: &Dataset) -> Vec<usize> {
    let good = qc().good_cells(data).expect("good cells").0;
    let split = data.select_cells(&good).split(&plan()).expect("a split");
    split.train.into_iter().map(|row| good[row]).collect()
}

fn open(path: &Path, choice: &GeneChoice) -> Dataset {
    let file = AnnData::open(path).expect("opened");
    Dataset::open_genes(&file, &OpenOptions::default(), choice, |data| Ok(training(data))).expect("read")
}

/// What reading everything and choosing afterwards gives.
fn chosen_afterwards(all: &Dataset, n: usize) -> Dataset {
    let table = highly_variable(all, HvgFlavour::SeuratV3, n, Some(&training(all))).expect("variable genes");
    let perturbed: HashSet<&String> = all.perturbations.iter().flat_map(Perturbation::genes).collect();
    let kept: Vec<usize> =
        (0..all.n_genes()).filter(|&g| table.selected[g] || perturbed.contains(&all.genes.names[g])).collect();
    all.select_genes(&kept).expect("genes that are there")
}

fn same(narrow: &Dataset, wide: &Dataset) {
    assert_eq!(narrow.genes.names, wide.genes.names);
    assert!(narrow.counts == wide.counts, "the counts differ");
    assert_eq!(narrow.library_size, wide.library_size, "library sizes count all genes");
    assert_eq!((&narrow.labels, &narrow.lane_of), (&wide.labels, &wide.lane_of));
}

#[test]
fn variable_genes_as_if_all_had_been_read() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("cells.h5ad");
    simulated().write(&path).expect("written");
    let all = Dataset::open(&path).expect("read");
    let narrow = open(&path, &GeneChoice::MostVariable(100));
    same(&narrow, &chosen_afterwards(&all, 100));
    assert!((100..150).contains(&narrow.n_genes()), "{} genes", narrow.n_genes());
    let note = narrow.notes.last().expect("the choice is said");
    assert!(note.contains("of 800 genes are used: the 100 that vary most among"), "{note}");

    // Quality control decides as it does with all genes.
    assert_eq!(QcConfig::for_dataset(&narrow), QcConfig::for_dataset(&all));
    let (wide, narrow) = (qc().apply(&all), qc().apply(&narrow));
    let (wide, narrow) = (wide.expect("wide").0, narrow.expect("narrow").0);
    assert!(wide.n_cells() < 1_500, "some cells are damaged, or this shows nothing");
    assert_eq!(narrow.cells.names, wide.cells.names);
    assert_eq!(narrow.split(&plan()).expect("a split"), wide.split(&plan()).expect("a split"));
}

#[test]
fn every_form_of_a_matrix_passes_by() {
    let folder = tempdir().expect("a folder");
    let data = simulated();
    let dense = data.counts.to_dense();
    let (plain, layer) = (folder.path().join("dense.h5ad"), folder.path().join("layer.h5ad"));
    AnnDataWriter::new(&data.cells, &data.genes).x(&dense).write(&plain).expect("written");
    let logged = data.counts.clone().map_values(f32::ln_1p);
    AnnDataWriter::new(&data.cells, &data.genes)
        .x(&logged)
        .layer("counts", &data.counts)
        .write(&layer)
        .expect("written");
    let columns = folder.path().join("columns.h5ad");
    std::fs::copy(&layer, &columns).expect("copied");
    as_columns(&columns, "layers/counts", &data.counts);
    for path in [&plain, &layer, &columns] {
        let narrow = open(path, &GeneChoice::MostVariable(60));
        same(&narrow, &chosen_afterwards(&Dataset::open(path).expect("read"), 60));
    }
}

/// Stores a matrix anew as compressed columns.
fn as_columns(path: &Path, place: &str, counts: &Counts) {
    let file = hdf5::File::open_rw(path).expect("opened");
    let group = file.group(place).expect("a sparse matrix");
    ["data", "indices", "indptr"].iter().for_each(|name| group.unlink(name).expect("it was there"));
    let (mut columns, mut indptr) = (vec![Vec::new(); counts.n_genes()], vec![0_i64]);
    for cell in 0..counts.n_cells() {
        let (genes, values) = counts.row(cell);
        genes.iter().zip(values).for_each(|(&gene, &value)| columns[gene as usize].push((cell as i32, value)));
    }
    columns.iter().for_each(|column| indptr.push(indptr.last().expect("a first") + column.len() as i64));
    let entries: Vec<(i32, f32)> = columns.into_iter().flatten().collect();
    let (rows, values): (Vec<i32>, Vec<f32>) = entries.into_iter().unzip();
    let chunked = |n: usize| group.new_dataset_builder().chunk([n]).deflate(4);
    chunked(1_000).with_data(&values).create("data").expect("created");
    chunked(777).with_data(&rows).create("indices").expect("created");
    group.new_dataset_builder().with_data(&indptr).create("indptr").expect("created");
    group.delete_attr("encoding-type").expect("it was there");
    let kind: hdf5::types::VarLenUnicode = "csc_matrix".parse().expect("text");
    group
        .new_attr::<hdf5::types::VarLenUnicode>()
        .create("encoding-type")
        .expect("new")
        .write_scalar(&kind)
        .expect("set");
}

#[test]
fn named_genes_and_all() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("cells.h5ad");
    let data = simulated();
    data.write(&path).expect("written");
    let names = vec![data.genes.names[700].clone(), "NOT_THERE".to_owned(), data.genes.names[5].clone()];
    let narrow = open(&path, &GeneChoice::Named(names));
    same(&narrow, &data.select_genes(&[5, 700]).expect("there"));
    assert!(
        narrow.notes.iter().any(|note| note.contains("2 of 800") && note.contains("1 of those")),
        "{:?}",
        narrow.notes
    );
    for all in [GeneChoice::All, GeneChoice::MostVariable(800), GeneChoice::default()] {
        same(&open(&path, &all), &data);
    }
    let file = AnnData::open(&path).expect("opened");
    let none = GeneChoice::Named(vec!["NOT_THERE".to_owned()]);
    let error = Dataset::open_genes(&file, &OpenOptions::default(), &none, |_| Ok(vec![])).expect_err("no gene");
    assert!(error.to_string().contains("none of the 1 genes asked for (NOT_THERE"), "{error}");
}

#[test]
fn counts_that_are_rounded_first() {
    let folder = tempdir().expect("a folder");
    let (path, plain) = (folder.path().join("fractions.h5ad"), folder.path().join("counts.h5ad"));
    let data = simulated();
    data.write(&plain).expect("written");
    let fractions = data.counts.clone().map_values(|count| count + 0.25);
    AnnDataWriter::new(&data.cells, &data.genes).x(&fractions).write(&path).expect("written");
    let options = OpenOptions { round_counts: true, ..OpenOptions::default() };
    let choice = GeneChoice::MostVariable(60);
    let file = AnnData::open(&path).expect("opened");
    let narrow = Dataset::open_genes(&file, &options, &choice, |data| Ok(training(data))).expect("read");
    same(&narrow, &open(&plain, &choice));
    let (narrow, wide) = (qc().good_cells(&narrow), qc().good_cells(&data));
    assert_eq!(narrow.expect("narrow").0, wide.expect("wide").0, "quality control counts all genes");
}

#[test]
fn real_values_by_their_variance() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("log.h5ad");
    let data = simulated();
    let logged = data.counts.clone().map_values(f32::ln_1p);
    AnnDataWriter::new(&data.cells, &data.genes).x(&logged).write(&path).expect("written");
    let file = AnnData::open(&path).expect("opened");
    let cells: Vec<usize> = (0..400).collect();
    let choice = GeneChoice::MostVariable(60);
    let options = OpenOptions { expression: Some(Expression::Log), ..OpenOptions::default() };
    let narrow = Dataset::open_genes(&file, &options, &choice, |_| Ok(cells.clone())).expect("read");
    assert_eq!(narrow.expression, Expression::Log);
    let variance = logged.to_dense().select(Axis(0), &cells).mapv(f64::from).var_axis(Axis(0), 0.0);
    let mut order: Vec<usize> = (0..variance.len()).collect();
    order.sort_by(|&a, &b| variance[b].total_cmp(&variance[a]));
    let perturbed: HashSet<&String> = data.perturbations.iter().flat_map(Perturbation::genes).collect();
    let names = &data.genes.names;
    let kept: Vec<&String> = names
        .iter()
        .enumerate()
        .filter(|(g, name)| order[..60].contains(g) || perturbed.contains(name))
        .map(|p| p.1)
        .collect();
    assert_eq!(narrow.genes.names.iter().collect::<Vec<_>>(), kept);
    assert!(narrow.notes.iter().any(|note| note.contains("among 400 training cells (by variance)")));
}

#[test]
fn a_damaged_chunk_is_said() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("cells.h5ad");
    simulated().write(&path).expect("written");
    let file = hdf5::File::open(&path).expect("opened");
    let data = file.dataset("X/data").expect("values");
    let chunk = data.chunk_info(1).expect("more than one chunk");
    drop((data, file));
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = chunk.addr as usize + chunk.size as usize / 2;
    bytes[middle..middle + 64].fill(0xFF);
    std::fs::write(&path, bytes).expect("written");
    let error = Dataset::open(&path).expect_err("damaged").to_string();
    assert!(error.contains("X/data") && error.contains("chunk 1") && error.contains("damaged"), "{error}");
}
