//! Data frames of AnnData before 0.7 (2020): `obs` and `var` as arrays of records, one record per row.
//!
//! The first field holds the row names. A categorical column holds codes, and its categories are `uns/NAME_categories`.
//! Read as `anndata._io.h5ad.read_dataframe_legacy` and `_clean_uns` read them: categories belong to every column of that
//! name, of `obs` and of `var`, whose codes are all below their number.

use super::hdf;
use crate::{
    Error, Result,
    data::{Column, Table},
};
use hdf5::{
    Dataset, Group, H5Type, LocationType,
    types::{CompoundField, CompoundType, FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode},
};
use std::cell::RefCell;

/// How the name of a list of categories ends.
const CATEGORIES: &str = "_categories";

/// Reads an array of records as a table; fields that [`Column`] has no place for are left out.
///
/// # Errors
/// The array holds no records, or its first field is no text.
pub(super) fn read(array: &Dataset) -> Result<Table> {
    let place = hdf::place(array);
    let fields = match array.dtype().and_then(|dtype| dtype.to_descriptor()) {
        Ok(TypeDescriptor::Compound(CompoundType { fields, .. })) => fields,
        Ok(other) => {
            return Err(Error::data(format!(
                "`{place}` holds {other}; a data frame is a group, or an array of records (AnnData before 0.7)"
            )));
        }
        Err(error) => return Err(hdf::failed("read", &place, &error)),
    };
    let mut fields = fields.into_iter();
    let first = fields.next().ok_or_else(|| Error::data(format!("`{place}` has no field for its row names")))?;
    let names = column(array, &first)?
        .ok_or_else(|| Error::data(format!("the first field of `{place}` holds no row names")))?
        .to_text()
        .into_iter()
        .map(|name| name.unwrap_or_else(|| "nan".to_owned()));
    let mut table = Table::from_names(names.collect());
    for field in fields {
        if let Some(values) = column(array, &field)? {
            table.set(&field.name, values);
        }
    }
    Ok(table)
}

/// Gives columns of codes their categories, from `uns`; the names of the entries that were used come back.
///
/// # Errors
/// Damaged categories.
pub(super) fn set_categories(uns: &Group, tables: [&mut Table; 2]) -> Result<Vec<String>> {
    let mut known = Vec::new();
    for entry in hdf::members(uns)? {
        let Some(name) = entry.strip_suffix(CATEGORIES) else { continue };
        if hdf::kind_of(uns, &entry) != Some(LocationType::Dataset) {
            continue;
        }
        let array = hdf::dataset(uns, &entry)?;
        // A single category may be a scalar.
        let categories = match array.shape().as_slice() {
            [] => hdf::strings(&array, &[]).unwrap_or_default(),
            _ => super::column::read_array(&array)?.map_or(Vec::new(), |values| {
                values.to_text().into_iter().map(|value| value.unwrap_or_else(|| "nan".to_owned())).collect()
            }),
        };
        known.push((name.to_owned(), categories));
    }
    let mut used = Vec::new();
    for table in tables {
        for (name, categories) in &known {
            let Some(Column::Integer(codes)) = table.column(name) else { continue };
            let codes: Option<Vec<i32>> =
                codes.iter().map(|code| code.and_then(|code| i32::try_from(code).ok())).collect();
            let fits = |code: &i32| *code >= -1 && *code < categories.len() as i32;
            if let Some(codes) = codes.filter(|codes| codes.iter().all(fits)) {
                table.set(name, Column::Categorical { codes, categories: categories.clone() });
                used.push(format!("{name}{CATEGORIES}"));
            }
        }
    }
    Ok(used)
}

/// The values of one field; `None` where its type has no place in [`Column`].
fn column(array: &Dataset, field: &CompoundField) -> Result<Option<Column>> {
    let text = |values: Vec<String>| Some(Column::Text(values.into_iter().map(Some).collect()));
    let name = &field.name;
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match &field.ty {
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
            Some(Column::Integer(values::<i64, _>(array, name, |value| Some(*value))?))
        }
        TypeDescriptor::Float(_) => Some(Column::Float(values::<f64, _>(array, name, |value| *value)?)),
        TypeDescriptor::Boolean => Some(Column::Boolean(values::<i8, _>(array, name, |value| Some(*value != 0))?)),
        TypeDescriptor::VarLenAscii => text(values::<VarLenAscii, _>(array, name, |value| of(value.as_bytes()))?),
        TypeDescriptor::VarLenUnicode => text(values::<VarLenUnicode, _>(array, name, |value| of(value.as_bytes()))?),
        TypeDescriptor::FixedAscii(0..=256) => {
            text(values::<FixedAscii<256>, _>(array, name, |value| of(value.as_bytes()))?)
        }
        TypeDescriptor::FixedUnicode(0..=256) => {
            text(values::<FixedUnicode<256>, _>(array, name, |value| of(value.as_bytes()))?)
        }
        _ => None,
    })
}

thread_local! {
    /// The field that is being read: an HDF5 type is described by a function without arguments.
    static FIELD: RefCell<String> = const { RefCell::new(String::new()) };
}

/// One field of a record, alone in memory: HDF5 reads of a record what the type in memory names.
#[repr(transparent)]
struct Field<T>(T);

// SAFETY: the type described has one field, of type `T` and at offset 0, and the size of `T`; `Field` is transparent.
unsafe impl<T: H5Type> H5Type for Field<T> {
    fn type_descriptor() -> TypeDescriptor {
        let field = CompoundField::new(&FIELD.with_borrow(Clone::clone), T::type_descriptor(), 0, 0);
        TypeDescriptor::Compound(CompoundType { fields: vec![field], size: size_of::<T>() })
    }
}

fn values<T: H5Type, V>(array: &Dataset, name: &str, of: impl Fn(&T) -> V) -> Result<Vec<V>> {
    FIELD.set(name.to_owned());
    let mut all = Vec::new();
    for rows in hdf::ranges(array.size(), hdf::block_length(array)) {
        let block = array.read_slice_1d::<Field<T>, _>(rows).map_err(|e| hdf::unreadable(array, &e))?;
        all.extend(block.iter().map(|field| of(&field.0)));
    }
    Ok(all)
}
