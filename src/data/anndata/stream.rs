//! The values of a matrix one after the other, for what must not hold all of them.
//!
//! A cell of a whole transcriptome has some 3,000 counts, of which a model of 5,000 variable genes uses a third: only what is
//! asked for is kept.

use super::{
    chunks::Array,
    hdf,
    matrix::{Form, Stored},
};
use crate::{Error, Result, data::Counts};
use hdf5::Dataset;
use std::{
    ops::{ControlFlow, Range},
    slice,
};

/// A column that is not kept.
const LEFT_OUT: u32 = u32::MAX;

impl Stored {
    /// Hands every stored value of the rows `rows` to `each` as (row, column, value), row by row (CSR,
    /// dense) or column by column (CSC, all of which passes by), until it breaks off. Zeros of a dense matrix are left out.
    ///
    /// # Errors
    /// A damaged matrix.
    pub(super) fn for_each_entry(
        &self,
        rows: &[Range<usize>],
        mut each: impl FnMut(usize, u32, f32) -> ControlFlow<()>,
    ) -> Result<()> {
        match self.form() {
            Form::Dense(array) => {
                let mut stopped = false;
                self.for_each_dense_block::<f32>(array, rows.iter().cloned(), |start, block| {
                    for ((row, column), &value) in block.indexed_iter().filter(|(_, value)| **value != 0.0) {
                        if stopped {
                            break;
                        }
                        stopped = each(start + row, column as u32, value).is_break();
                    }
                    Ok(())
                })
            }
            Form::Sparse { by_row: true, data, indices, indptr } => {
                self.for_each_sparse([data, indices, indptr], rows, each)
            }
            Form::Sparse { by_row: false, data, indices, indptr } => {
                let all = 0..self.shape.1;
                self.for_each_sparse([data, indices, indptr], &[all], |column, row, value| {
                    let row = row as usize;
                    match rows.iter().any(|asked| asked.contains(&row)) {
                        true => each(row, column as u32, value),
                        false => ControlFlow::Continue(()),
                    }
                })
            }
        }
    }

    /// As [`Self::for_each_entry`]: (row, column, value) of CSR, (column, row, value) of CSC; `asked` are majors.
    fn for_each_sparse(
        &self,
        [data, indices, indptr]: [&Dataset; 3],
        asked: &[Range<usize>],
        mut each: impl FnMut(usize, u32, f32) -> ControlFlow<()>,
    ) -> Result<()> {
        let (majors, minors) = self.major_minor(matches!(self.form(), Form::Sparse { by_row: true, .. }));
        let offsets = self.offsets(indptr, majors, data, indices)?;
        let (values, minor_indices) = (Array::new(data), Array::new(indices));
        let block = values.block_length().max(minor_indices.block_length());
        let blocks = asked.iter().flat_map(|asked| {
            let (start, end) = (offsets[asked.start], offsets[asked.end]);
            hdf::ranges(end - start, block).map(move |range| (asked.start, start + range.start..start + range.end))
        });
        let mut major = 0;
        for (first, range) in blocks {
            major = first.max(major);
            let minor_block = minor_indices.read::<i64>(range.clone())?;
            let value_block = values.read::<f32>(range.clone())?;
            for ((position, &minor), &value) in range.zip(&minor_block).zip(&value_block) {
                while position >= offsets[major + 1] {
                    major += 1;
                }
                if minor < 0 || minor >= minors as i64 {
                    return Err(self.index_out_of_range(minor, position, minors));
                }
                if each(major, minor as u32, value).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    pub(super) fn index_out_of_range(&self, index: i64, position: usize, there_are: usize) -> Error {
        Error::data(format!(
            "`{}`: index {index} (value {position}) is out of range: there are {there_are}; the file is damaged",
            self.place
        ))
    }

    /// The columns `kept`, increasing, of all rows.
    ///
    /// # Errors
    /// A damaged matrix.
    pub(super) fn read_columns(&self, kept: &[usize]) -> Result<Counts> {
        let (rows, columns) = self.shape;
        let all = 0..rows;
        let mut place = vec![LEFT_OUT; columns];
        kept.iter().zip(0..).for_each(|(&column, new)| place[column] = new);
        let by_column = matches!(self.form(), Form::Sparse { by_row: false, .. });
        let mut starts = vec![0_usize; rows + 1];
        let (mut genes, mut values) = (Vec::new(), Vec::new());
        if by_column {
            // A first pass says how much room each row needs.
            self.for_each_entry(slice::from_ref(&all), |row, column, _| {
                starts[row + 1] += usize::from(place[column as usize] != LEFT_OUT);
                ControlFlow::Continue(())
            })?;
            (0..rows).for_each(|row| starts[row + 1] += starts[row]);
            genes.resize(starts[rows], 0);
            values.resize(starts[rows], 0.0);
            let mut next = starts.clone();
            self.for_each_entry(slice::from_ref(&all), |row, column, value| {
                let column = place[column as usize];
                if column != LEFT_OUT {
                    genes[next[row]] = column;
                    values[next[row]] = value;
                    next[row] += 1;
                }
                ControlFlow::Continue(())
            })?;
        } else {
            self.for_each_entry(slice::from_ref(&all), |row, column, value| {
                let column = place[column as usize];
                if column != LEFT_OUT {
                    genes.push(column);
                    values.push(value);
                    starts[row + 1] += 1;
                }
                ControlFlow::Continue(())
            })?;
            (0..rows).for_each(|row| starts[row + 1] += starts[row]);
            genes.shrink_to_fit();
            values.shrink_to_fit();
        }
        Counts::new(kept.len(), starts, genes, values).map_err(|e| e.at(format!("`{}`", self.place)))
    }
}
