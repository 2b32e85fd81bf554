//! The `.h5` files of Cell Ranger (and of CellBender and STARsolo, which write the same).
//!
//! Version 3 has a group `matrix` with `barcodes`, `features` (`id`, `name`, `feature_type`, `genome`), and a matrix `(features,
//! barcodes)` in compressed columns: `data`, `indices`, `indptr`, `shape`. Version 2 has one group per genome with `barcodes`,
//! `genes`, `gene_names` and the same matrix. Compressed columns of `(features, barcodes)` are compressed rows of `(cells, genes)`.
//! Source: <https://www.10xgenomics.com/support/software/cell-ranger/latest/analysis/outputs/cr-outputs-h5-matrices>.
//! Genes are named as `scanpy.read_10x_h5` names them: by symbol, with the ids in `gene_ids`.

use super::{Parts, hdf};
use crate::{
    Error, Result,
    data::{
        Column, Table,
        anndata::{column::Frame, matrix::Stored, source::Matrix},
    },
};
use hdf5::{Group, LocationType};

/// Opens a 10x file; `None` where the file is none. `genome` chooses among those of version 2.
pub(super) fn open(file: &Group, genome: Option<&str>) -> Result<Option<Parts>> {
    let is_matrix =
        |group: &Group| ["barcodes", "data", "indices", "indptr"].iter().all(|name| group.link_exists(name));
    if let Some(group) = hdf::group(file, "matrix")?.filter(|group| is_matrix(group) && group.link_exists("features")) {
        let features = hdf::group(&group, "features")?.ok_or_else(|| Error::data("`matrix/features` is no group"))?;
        return parts(&group, version_3(&features)?, Vec::new()).map(Some);
    }
    let mut genomes = Vec::new();
    for name in hdf::members(file)? {
        if let Some(group) = hdf::group(file, &name)?.filter(|group| is_matrix(group) && group.link_exists("genes")) {
            genomes.push((name, group));
        }
    }
    let names: Vec<&str> = genomes.iter().map(|(name, _)| name.as_str()).collect();
    let chosen = match (genome, names.as_slice()) {
        (_, []) => return Ok(None),
        (None, [_]) => 0,
        (None, _) => {
            return Err(Error::config(format!(
                "this 10x file holds several genomes: {}; choose one by FILE.h5:GENOME",
                names.join(", ")
            )));
        }
        (Some(genome), _) => names.iter().position(|name| *name == genome).ok_or_else(|| {
            Error::config(format!("this 10x file has no genome `{genome}`; it has {}", names.join(", ")))
        })?,
    };
    let left_out: Vec<&str> = names.iter().copied().filter(|name| *name != names[chosen]).collect();
    let notes = match left_out.is_empty() {
        true => Vec::new(),
        false => vec![format!("genome `{}` of the 10x file is read; {} left out", names[chosen], left_out.join(", "))],
    };
    let group = &genomes[chosen].1;
    parts(group, version_2(group)?, notes).map(Some)
}

fn parts(group: &Group, genes: Table, notes: Vec<String>) -> Result<Parts> {
    let cells = Table::from_names(texts(group, "barcodes")?);
    let shape = hdf::numbers::<i64>(&hdf::dataset(group, "shape")?)?;
    let &[features, barcodes] = shape.as_slice() else {
        return Err(Error::data(format!("`shape` has {} numbers, not 2; the file is damaged", shape.len())));
    };
    if (features, barcodes) != (genes.len() as i64, cells.len() as i64) {
        return Err(Error::data(format!(
            "the matrix is {features} x {barcodes}, but there are {} features and {} barcodes; the file is damaged",
            genes.len(),
            cells.len()
        )));
    }
    let part = |name| hdf::dataset(group, name);
    let arrays = [part("data")?, part("indices")?, part("indptr")?];
    let x = Stored::of_rows(hdf::place(group), (cells.len(), genes.len()), arrays);
    Ok(Parts {
        obs: Frame::of_table(cells),
        var: Frame::of_table(genes),
        x: Some(Matrix::Hdf(x)),
        layers: Vec::new(),
        notes,
    })
}

fn version_3(features: &Group) -> Result<Table> {
    let mut genes = Table::from_names(texts(features, "name")?);
    let columns = [("id", "gene_ids"), ("feature_type", "feature_types"), ("genome", "genome")];
    for (stored, name) in columns {
        if hdf::kind_of(features, stored) == Some(LocationType::Dataset) {
            set(&mut genes, name, texts(features, stored)?)?;
        }
    }
    Ok(genes)
}

fn version_2(group: &Group) -> Result<Table> {
    let ids = texts(group, "genes")?;
    if hdf::kind_of(group, "gene_names").is_none() {
        return Ok(Table::from_names(ids));
    }
    let mut genes = Table::from_names(texts(group, "gene_names")?);
    set(&mut genes, "gene_ids", ids)?;
    Ok(genes)
}

fn set(genes: &mut Table, name: &str, values: Vec<String>) -> Result<()> {
    if values.len() != genes.len() {
        return Err(Error::data(format!(
            "there are {} values of `{name}`, but {} features; the file is damaged",
            values.len(),
            genes.len()
        )));
    }
    genes.set(name, Column::Text(values.into_iter().map(Some).collect()));
    Ok(())
}

fn texts(group: &Group, name: &str) -> Result<Vec<String>> {
    let array = hdf::dataset(group, name)?;
    hdf::strings(&array, &array.shape())
}
