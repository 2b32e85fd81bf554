//! Data frames of an `.h5ad` file (`obs`, `var`, `raw/var`) to [`Table`]s.
//!
//! A data frame is a group with one member per column. `_index` (an attribute) names the member that holds the row
//! names, `column-order` the columns. A column is an array, or a group: `categorical` (categories, codes),
//! `nullable-integer`, `nullable-boolean` and `nullable-string-array` (values, mask). AnnData 0.7 kept the categories
//! of `NAME` at `__categories/NAME`.
//! Source: <https://anndata.readthedocs.io/en/stable/fileformat-prose.html>.

use super::{hdf, records};
use crate::{
    Error, Result,
    data::{Column, Table},
};
use hdf5::{Dataset, Group, LocationType, types::TypeDescriptor};
use std::sync::Arc;

/// The member of AnnData 0.7's data frames that holds the categories.
const OLD_CATEGORIES: &str = "__categories";

/// The structure of a data frame: what can be known without reading its columns.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Column names in the file's order, without the row names.
    pub(super) columns: Vec<String>,
    /// Number of rows.
    pub(super) rows: usize,
    source: Source,
}

/// Where the columns of a data frame are.
#[derive(Debug, Clone)]
enum Source {
    /// Members of a group; `index` holds the row names.
    Group { group: Group, index: String },
    /// Already in memory: record arrays, and tables of other formats.
    Table(Arc<Table>),
}

impl Frame {
    /// Reads the structure of the data frame `name`, and checks that every column has as many rows as there are names. A
    /// record array (AnnData before 0.7) is read whole.
    ///
    /// # Errors
    /// No such data frame, or columns of different lengths.
    pub(super) fn open(parent: &Group, name: &str) -> Result<Self> {
        match hdf::kind_of(parent, name) {
            Some(LocationType::Group) => {
                let group = parent.group(name).map_err(|e| hdf::failed("open", name, &e))?;
                Self::of_group(group, name)
            }
            Some(_) => records::read(&hdf::dataset(parent, name)?).map(Self::of_table),
            None => Err(Error::data(format!("there is no `{name}`, so this is not an AnnData file"))),
        }
    }

    fn of_group(group: Group, name: &str) -> Result<Self> {
        let members = hdf::members(&group)?;
        let index = hdf::text_attr(&group, "_index")
            .or_else(|| ["_index", "index"].map(str::to_owned).into_iter().find(|name| members.contains(name)))
            .ok_or_else(|| Error::data(format!("`{name}` does not say which column holds its row names (`_index`)")))?;
        let columns = match hdf::texts_attr(&group, "column-order")? {
            Some(columns) => columns,
            None => members.into_iter().filter(|name| *name != index && name != OLD_CATEGORIES).collect(),
        };
        let rows = length_of(&group, &index)?;
        for column in &columns {
            let length = length_of(&group, column)?;
            if length != rows {
                return Err(Error::data(format!(
                    "column `{column}` of `{}` has {length} values, but there are {rows} rows; the file is damaged",
                    hdf::place(&group)
                )));
            }
        }
        Ok(Self { columns, rows, source: Source::Group { group, index } })
    }

    /// A data frame that is in memory.
    pub(super) fn of_table(table: Table) -> Self {
        let columns = table.columns.iter().map(|(name, _)| name.clone()).collect();
        Self { columns, rows: table.len(), source: Source::Table(Arc::new(table)) }
    }

    /// Reads the row names.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let (group, index) = match &self.source {
            Source::Group { group, index } => (group, index),
            Source::Table(table) => return Ok(table.names.clone()),
        };
        let names = read_column(group, index)?
            .ok_or_else(|| Error::data(format!("the row names of `{}` are not text", hdf::place(group))))?;
        Ok(names.to_text().into_iter().map(|name| name.unwrap_or_else(|| "nan".to_owned())).collect())
    }

    /// Reads all columns. A column of a type that [`Column`] has no place for (dates, records) is left out, and its
    /// name is given back beside the table.
    pub(super) fn read(&self) -> Result<(Table, Vec<String>)> {
        let group = match &self.source {
            Source::Group { group, .. } => group,
            Source::Table(table) => return Ok((Table::clone(table), Vec::new())),
        };
        let mut table = Table::from_names(self.names()?);
        let mut left_out = Vec::new();
        for name in &self.columns {
            match read_column(group, name)? {
                Some(column) => table.set(name, column),
                None => left_out.push(name.clone()),
            }
        }
        Ok((table, left_out))
    }

    /// Reads one column; `None` where its type is not known.
    pub(super) fn column(&self, name: &str) -> Result<Option<Column>> {
        match &self.source {
            Source::Group { group, .. } => read_column(group, name),
            Source::Table(table) => Ok(table.column(name).cloned()),
        }
    }
}

/// Number of rows of a column, without reading it.
fn length_of(frame: &Group, name: &str) -> Result<usize> {
    let array = match hdf::group(frame, name)? {
        Some(group) => {
            let values = if hdf::kind_of(&group, "codes").is_some() { "codes" } else { "values" };
            hdf::dataset(&group, values)?
        }
        None => hdf::dataset(frame, name)?,
    };
    Ok(array.shape().first().copied().unwrap_or(0))
}

fn read_column(frame: &Group, name: &str) -> Result<Option<Column>> {
    if let Some(group) = hdf::group(frame, name)? {
        return match hdf::text_attr(&group, "encoding-type").as_deref() {
            Some("categorical") => {
                let categories = match read_column(&group, "categories")? {
                    Some(categories) => categories,
                    None => return Ok(None),
                };
                categorical(&hdf::dataset(&group, "codes")?, &categories).map(Some)
            }
            Some("nullable-integer" | "nullable-boolean" | "nullable-string-array") => nullable(&group),
            _ => Ok(None),
        };
    }
    let array = hdf::dataset(frame, name)?;
    // AnnData 0.7: integer codes with a reference to the categories, which always stand beside the columns.
    if array.attr("categories").is_ok()
        && let Some(old) = hdf::group(frame, OLD_CATEGORIES)?
        && let Some(categories) = read_array(&hdf::dataset(&old, name)?)?
    {
        return categorical(&array, &categories).map(Some);
    }
    read_array(&array)
}

fn categorical(codes: &Dataset, categories: &Column) -> Result<Column> {
    let categories: Vec<String> =
        categories.to_text().into_iter().map(|category| category.unwrap_or_else(|| "nan".to_owned())).collect();
    let codes = hdf::numbers::<i32>(codes).and_then(|values| {
        match values.iter().find(|&&code| code < -1 || code >= categories.len() as i32) {
            Some(code) => Err(Error::data(format!(
                "`{}` holds the code {code}, but there are {} categories; the file is damaged",
                hdf::place(codes),
                categories.len()
            ))),
            None => Ok(values),
        }
    })?;
    Ok(Column::Categorical { codes, categories })
}

/// Values with a mask: `true` where missing.
fn nullable(group: &Group) -> Result<Option<Column>> {
    let mask = hdf::dataset(group, "mask")?;
    let missing = truths(&mask)?;
    let Some(mut column) = read_array(&hdf::dataset(group, "values")?)? else { return Ok(None) };
    if missing.len() != column.len() {
        return Err(Error::data(format!(
            "`{}` has {} values, but its mask has {}; the file is damaged",
            hdf::place(group),
            column.len(),
            missing.len()
        )));
    }
    let rows = missing.iter().enumerate().filter(|(_, missing)| **missing).map(|(row, _)| row);
    match &mut column {
        Column::Text(values) => rows.for_each(|row| values[row] = None),
        Column::Integer(values) => rows.for_each(|row| values[row] = None),
        Column::Boolean(values) => rows.for_each(|row| values[row] = None),
        Column::Float(values) => rows.for_each(|row| values[row] = f64::NAN),
        Column::Categorical { codes, .. } => rows.for_each(|row| codes[row] = -1),
    }
    Ok(Some(column))
}

/// Truth values, read as integers: any bit pattern that a damaged file may hold is then a valid value.
fn truths(array: &Dataset) -> Result<Vec<bool>> {
    Ok(hdf::numbers::<i8>(array)?.into_iter().map(|value| value != 0).collect())
}

/// A one-dimensional array of text, numbers or truth values; `None` for any other.
pub(super) fn read_array(array: &Dataset) -> Result<Option<Column>> {
    let shape = array.shape();
    let Ok(descriptor) = array.dtype().and_then(|dtype| dtype.to_descriptor()) else { return Ok(None) };
    if shape.len() != 1 {
        return Ok(None);
    }
    Ok(Some(match descriptor {
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
            Column::Integer(hdf::numbers::<i64>(array)?.into_iter().map(Some).collect())
        }
        TypeDescriptor::Float(_) => Column::Float(hdf::numbers(array)?),
        TypeDescriptor::Boolean => Column::Boolean(truths(array)?.into_iter().map(Some).collect()),
        TypeDescriptor::FixedAscii(_)
        | TypeDescriptor::FixedUnicode(_)
        | TypeDescriptor::VarLenAscii
        | TypeDescriptor::VarLenUnicode => Column::Text(hdf::strings(array, &shape)?.into_iter().map(Some).collect()),
        _ => return Ok(None),
    }))
}
