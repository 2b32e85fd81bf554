//! The elements of an `.h5ad` file as AnnData encodes them: each an array or a group with the attributes
//! `encoding-type` and `encoding-version`.

use super::{uns::Uns, write::MatrixRef};
use crate::data::{Column, Counts, Table};
use hdf5::{Dataset, Group, H5Type, Location, Result, types::VarLenUnicode};
use ndarray::ArrayView2;
use std::str::FromStr;

/// Gzip level: with the bytes shuffled first, higher ones make counts little smaller and much slower to write.
const GZIP_LEVEL: u8 = 1;
/// Values in a chunk: 512 KiB of `f32`, half of HDF5's chunk cache.
const CHUNK: usize = 1 << 17;
/// Arrays shorter than this are written as they are: a chunk's index would outweigh them.
const COMPRESS_FROM: usize = 256;

/// Sets the attributes that tell how an element is encoded.
pub(super) fn mark(location: &Location, kind: &str, version: &str) -> Result<()> {
    text_attr(location, "encoding-type", kind)?;
    text_attr(location, "encoding-version", version)
}

/// An empty dictionary.
pub(super) fn dict(parent: &Group, name: &str) -> Result<Group> {
    let group = parent.create_group(name)?;
    mark(&group, "dict", "0.1.0")?;
    Ok(group)
}

/// A data frame: the row names at `_index`, one member a column.
pub(super) fn frame(parent: &Group, name: &str, table: &Table) -> Result<()> {
    let group = parent.create_group(name)?;
    mark(&group, "dataframe", "0.2.0")?;
    text_attr(&group, "_index", "_index")?;
    let names = table.columns.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>>>()?;
    group.new_attr::<VarLenUnicode>().shape([names.len()]).create("column-order")?.write_raw(&names)?;
    texts(&group, "_index", &table.names)?;
    for (name, values) in &table.columns {
        column(&group, name, values)?;
    }
    Ok(())
}

/// A matrix, sparse or dense.
pub(super) fn matrix(parent: &Group, name: &str, matrix: &MatrixRef<'_>) -> Result<()> {
    match matrix {
        MatrixRef::Sparse(counts) => csr(parent, name, counts),
        MatrixRef::Dense(array) => dense(parent, name, array),
    }
}

/// An entry of `uns`.
pub(super) fn uns(parent: &Group, name: &str, entry: &Uns) -> Result<()> {
    match entry {
        Uns::Text(value) => {
            let array = parent.new_dataset::<VarLenUnicode>().create(name)?;
            array.write_scalar(&text(value)?)?;
            mark(&array, "string", "0.2.0")
        }
        Uns::Texts(values) => texts(parent, name, values),
        Uns::Number(value) => {
            let array = parent.new_dataset::<f64>().create(name)?;
            array.write_scalar(value)?;
            mark(&array, "numeric-scalar", "0.2.0")
        }
        Uns::Array(values) => {
            let values = values.as_standard_layout();
            let array = create::<f32>(parent, name, values.shape())?;
            array.write(values.view())?;
            mark(&array, "array", "0.2.0")
        }
        Uns::Dict(entries) => {
            let group = dict(parent, name)?;
            entries.iter().try_for_each(|(name, entry)| uns(&group, name, entry))
        }
    }
}

fn csr(parent: &Group, name: &str, counts: &Counts) -> Result<()> {
    let group = parent.create_group(name)?;
    mark(&group, "csr_matrix", "0.1.0")?;
    let shape = [counts.n_cells() as i64, counts.n_genes() as i64];
    group.new_attr::<i64>().shape([2]).create("shape")?.write_raw(&shape)?;
    create::<f32>(&group, "data", &[counts.nnz()])?.write_raw(counts.values())?;
    // scipy wants both index arrays of one signed type; the narrow one serves up to 2^31 - 1 values and genes.
    let narrow = i32::try_from(counts.nnz().max(counts.n_genes())).is_ok();
    let array = |name, length| {
        if narrow { create::<i32>(&group, name, &[length]) } else { create::<i64>(&group, name, &[length]) }
    };
    array("indices", counts.nnz())?.write_raw(counts.indices())?;
    let offsets: Vec<i64> = counts.indptr().iter().map(|&offset| offset as i64).collect();
    array("indptr", offsets.len())?.write_raw(&offsets)
}

fn dense(parent: &Group, name: &str, values: &ArrayView2<'_, f32>) -> Result<()> {
    let array = create::<f32>(parent, name, values.shape())?;
    array.write(values.as_standard_layout().view())?;
    mark(&array, "array", "0.2.0")
}

fn column(group: &Group, name: &str, values: &Column) -> Result<()> {
    match values {
        Column::Categorical { codes, categories } => categorical(group, name, codes, categories),
        Column::Text(values) if values.iter().all(Option::is_some) => {
            texts(group, name, &values.iter().flatten().cloned().collect::<Vec<_>>())
        }
        // Missing texts have no encoding of their own before AnnData 0.11; missing categories always had one.
        Column::Text(values) => {
            let mut categories: Vec<String> = values.iter().flatten().cloned().collect();
            categories.sort_unstable();
            categories.dedup();
            let code = |value: &String| categories.binary_search(value).map_or(-1, |place| place as i32);
            let codes: Vec<i32> = values.iter().map(|value| value.as_ref().map_or(-1, code)).collect();
            categorical(group, name, &codes, &categories)
        }
        Column::Integer(values) => nullable(group, name, "nullable-integer", values),
        Column::Boolean(values) => nullable(group, name, "nullable-boolean", values),
        Column::Float(values) => array(group, name, values),
    }
}

/// A plain array, or values with a mask where any is missing.
fn nullable<T: H5Type + Copy + Default>(group: &Group, name: &str, kind: &str, values: &[Option<T>]) -> Result<()> {
    let plain: Vec<T> = values.iter().map(|value| value.unwrap_or_default()).collect();
    if values.iter().all(Option::is_some) {
        return array(group, name, &plain);
    }
    let group = group.create_group(name)?;
    mark(&group, kind, "0.1.0")?;
    array(&group, "values", &plain)?;
    array(&group, "mask", &values.iter().map(Option::is_none).collect::<Vec<_>>())
}

fn categorical(parent: &Group, name: &str, codes: &[i32], categories: &[String]) -> Result<()> {
    let group = parent.create_group(name)?;
    mark(&group, "categorical", "0.2.0")?;
    group.new_attr::<bool>().create("ordered")?.write_scalar(&false)?;
    texts(&group, "categories", categories)?;
    // The narrowest type that holds the codes, as pandas has it.
    let shape = [codes.len()];
    let array = match categories.len() {
        0..=127 => create::<i8>(&group, "codes", &shape),
        128..=32767 => create::<i16>(&group, "codes", &shape),
        _ => create::<i32>(&group, "codes", &shape),
    }?;
    array.write_raw(codes)?;
    mark(&array, "array", "0.2.0")
}

fn array<T: H5Type>(parent: &Group, name: &str, values: &[T]) -> Result<()> {
    let array = create::<T>(parent, name, &[values.len()])?;
    array.write_raw(values)?;
    mark(&array, "array", "0.2.0")
}

fn texts(parent: &Group, name: &str, values: &[String]) -> Result<()> {
    let values = values.iter().map(|value| text(value)).collect::<Result<Vec<_>>>()?;
    let array = create::<VarLenUnicode>(parent, name, &[values.len()])?;
    array.write_raw(&values)?;
    mark(&array, "string-array", "0.2.0")
}

/// An array of this shape, in compressed chunks if it is long.
fn create<T: H5Type>(parent: &Group, name: &str, shape: &[usize]) -> Result<Dataset> {
    let size: usize = shape.iter().product();
    let builder = parent.new_dataset::<T>();
    if size < COMPRESS_FROM {
        return builder.shape(shape).create(name);
    }
    let mut chunk = shape.to_vec();
    let row: usize = shape[1..].iter().product();
    chunk[0] = (CHUNK / row.max(1)).clamp(1, shape[0]);
    builder.chunk(chunk).shuffle().deflate(GZIP_LEVEL).shape(shape).create(name)
}

fn text_attr(location: &Location, name: &str, value: &str) -> Result<()> {
    location.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text(value)?)
}

fn text(value: &str) -> Result<VarLenUnicode> {
    VarLenUnicode::from_str(value).map_err(|_| format!("the text {value:?} holds a zero byte").into())
}
