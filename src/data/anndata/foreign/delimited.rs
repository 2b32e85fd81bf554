//! Text tables: counts of cells x genes (or genes x cells), one line per cell, with columns of text beside them.
//!
//! The separator (tab, comma, semicolon) is the most frequent of the header. The first column names the rows; R's `write.table`
//! leaves its name out of the header. Columns that hold anything but numbers annotate the cells.

use super::{Parts, orientation::is_transposed, text::Lines};
use crate::{
    Error, Result,
    data::{
        Column, Counts, Table,
        anndata::{column::Frame, source::Matrix},
    },
};
use std::{path::Path, sync::Arc};

/// How the note on the orientation begins.
pub(in crate::data::anndata) const ORIENTATION: &str = "the table is read as ";
const SEPARATORS: [char; 3] = ['\t', ',', ';'];
/// Lines by which it is decided which columns hold numbers.
const SAMPLE: usize = 500;
/// Numbers that describe a cell and are no gene, in lower case.
const ANNOTATIONS: [&str; 22] = [
    "n_counts",
    "ncounts",
    "total_counts",
    "ncount_rna",
    "nfeature_rna",
    "umi_count",
    "n_umis",
    "n_genes",
    "n_genes_by_counts",
    "percent_mito",
    "percent.mt",
    "pct_counts_mt",
    "batch",
    "lane",
    "replicate",
    "gem_group",
    "cluster",
    "leiden",
    "louvain",
    "dose",
    "num_features",
    "doublet_score",
];
/// Names of a first column that holds names, even if they are numbers.
const NAMES: [&str; 10] =
    ["", "index", "cell", "cells", "cell_id", "cellid", "barcode", "cell_barcode", "obs_names", "unnamed: 0"];

/// Whether text begins as a table does: two lines with the same separator.
pub(super) fn looks_like_table(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(header), Some(first)) => separator(header).is_some_and(|separator| first.contains(separator)),
        _ => false,
    }
}

/// Reads a table of counts.
pub(super) fn open(path: &Path) -> Result<Parts> {
    let Read { names, header, columns, counts, mut notes } = read(path)?;
    let mut lines = Table { names, columns };
    let genes = Table::from_names(header);
    let (obs, var, x) = match is_transposed(&lines.names, &genes.names) {
        Some(why) if counts.n_genes() > 0 => {
            notes.push(format!("{ORIENTATION}genes x cells: {why}"));
            (genes, lines, transpose(&counts))
        }
        _ => {
            notes.push(format!("{ORIENTATION}cells x genes: {} cells, {} genes", lines.len(), genes.len()));
            (std::mem::take(&mut lines), genes, counts)
        }
    };
    Ok(Parts {
        obs: Frame::of_table(obs),
        var: Frame::of_table(var),
        x: Some(Matrix::Table(Arc::new(x))),
        layers: Vec::new(),
        notes,
    })
}

/// Reads a table of annotations: every column, the first one too, which also names the rows.
pub(in crate::data::anndata) fn table(path: &Path) -> Result<Table> {
    let mut lines = Lines::open(path)?;
    let (header, separator) = header(&mut lines)?;
    let mut columns: Vec<Vec<String>> = Vec::new();
    while let Some(line) = lines.next()? {
        if line.is_empty() {
            continue;
        }
        let fields = fields(line, separator);
        if columns.is_empty() {
            columns.resize(fields.len(), Vec::new());
        }
        check_fields(lines.number, fields.len(), columns.len())?;
        columns.iter_mut().zip(fields).for_each(|(column, field)| column.push(field));
    }
    // R's header lacks the name of the first column.
    let lacking = columns.len().saturating_sub(header.len()).min(1);
    let header = std::iter::repeat_n(String::new(), lacking).chain(header);
    let mut table = Table::from_names(columns.first().cloned().unwrap_or_default());
    for (name, values) in header.zip(columns) {
        table.set(if name.is_empty() { "index" } else { &name }, typed(values));
    }
    Ok(table)
}

struct Read {
    /// Of the lines.
    names: Vec<String>,
    /// Of the columns of numbers.
    header: Vec<String>,
    /// Those that annotate the lines.
    columns: Vec<(String, Column)>,
    /// Lines x columns of numbers.
    counts: Counts,
    notes: Vec<String>,
}

/// What a column is read as.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Name,
    Annotation,
    Number,
}

fn read(path: &Path) -> Result<Read> {
    let mut lines = Lines::open(path)?;
    let (mut header, separator) = header(&mut lines)?;
    let mut sample = Vec::new();
    while sample.len() < SAMPLE
        && let Some(line) = lines.next()?
    {
        if !line.is_empty() {
            let fields = fields(line, separator);
            sample.push((lines.number, fields));
        }
    }
    let width = sample.first().map_or(0, |(_, fields)| fields.len());
    if width == header.len() + 1 {
        header.insert(0, String::new());
    }
    if sample.is_empty() || width != header.len() {
        return Err(Error::data(format!(
            "the header names {} columns, and the next line has {width}; a table has a header and one line per cell",
            header.len()
        )));
    }
    let kinds: Vec<Kind> = (0..width).map(|place| kind(place, &header[place], &sample)).collect();
    let mut rows = Rows {
        kinds: &kinds,
        header: &header,
        names: Vec::new(),
        texts: vec![Vec::new(); width],
        indptr: vec![0],
        indices: Vec::new(),
        values: Vec::new(),
    };
    for (number, fields) in sample {
        rows.push(number, fields)?;
    }
    while let Some(line) = lines.next()? {
        if !line.is_empty() {
            let fields = fields(line, separator);
            rows.push(lines.number, fields)?;
        }
    }
    let Rows { mut names, texts, indptr, indices, values, .. } = rows;
    let mut notes = Vec::new();
    if names.is_empty() {
        notes.push("the table has no column of names, so its lines are numbered".to_owned());
        names = (0..indptr.len() - 1).map(|line| line.to_string()).collect();
    }
    let of = |wanted: Kind| {
        header.iter().zip(&kinds).filter(move |(_, kind)| **kind == wanted).map(|(name, _)| name.clone())
    };
    let columns: Vec<(String, Column)> = of(Kind::Annotation)
        .zip(
            texts
                .into_iter()
                .zip(&kinds)
                .filter(|(_, kind)| **kind == Kind::Annotation)
                .map(|(values, _)| typed(values)),
        )
        .collect();
    let header: Vec<String> = of(Kind::Number).collect();
    let counts = Counts::new(header.len(), indptr, indices, values)?;
    Ok(Read { names, header, columns, counts, notes })
}

/// The lines that were read so far.
struct Rows<'a> {
    kinds: &'a [Kind],
    header: &'a [String],
    names: Vec<String>,
    texts: Vec<Vec<String>>,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl Rows<'_> {
    fn push(&mut self, line: usize, fields: Vec<String>) -> Result<()> {
        check_fields(line, fields.len(), self.kinds.len())?;
        let mut gene = 0;
        for (place, field) in fields.into_iter().enumerate() {
            match self.kinds[place] {
                Kind::Name => self.names.push(field),
                Kind::Annotation => self.texts[place].push(field),
                Kind::Number => {
                    let value = if is_missing(&field) { Some(f32::NAN) } else { field.trim().parse().ok() };
                    let value: f32 = value.ok_or_else(|| {
                        Error::data(format!("line {line}, column {:?}: {field:?} is no number", self.header[place]))
                    })?;
                    if value != 0.0 {
                        self.indices.push(gene);
                        self.values.push(value);
                    }
                    gene += 1;
                }
            }
        }
        self.indptr.push(self.indices.len());
        Ok(())
    }
}

fn header(lines: &mut Lines) -> Result<(Vec<String>, char)> {
    let line = lines.next()?.map(<[u8]>::to_vec).unwrap_or_default();
    let text = String::from_utf8_lossy(&line);
    let separator = separator(&text)
        .ok_or_else(|| Error::data("its first line has neither tabs, commas nor semicolons, so this is no table"))?;
    Ok((fields(&line, separator), separator))
}

/// The most frequent of the separators.
fn separator(header: &str) -> Option<char> {
    let count = |separator: &char| header.chars().filter(|c| c == separator).count();
    SEPARATORS.into_iter().rev().max_by_key(count).filter(|separator| count(separator) > 0)
}

/// The fields of a line; quotation marks around one are taken off.
fn fields(line: &[u8], separator: char) -> Vec<String> {
    let text = String::from_utf8_lossy(line);
    if !text.contains('"') {
        return text.split(separator).map(str::to_owned).collect();
    }
    let (mut all, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                field.push('"');
            }
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => all.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    all.push(field);
    all
}

fn check_fields(line: usize, given: usize, wanted: usize) -> Result<()> {
    match given == wanted {
        true => Ok(()),
        false => Err(Error::data(format!(
            "line {line} has {given} fields, and the first has {wanted}; the file is cut off or damaged"
        ))),
    }
}

fn is_missing(field: &str) -> bool {
    matches!(field.trim(), "" | "NA" | "NaN" | "nan" | "N/A" | "null" | "None")
}

fn kind(place: usize, name: &str, sample: &[(usize, Vec<String>)]) -> Kind {
    let values = || sample.iter().filter_map(|(_, fields)| fields.get(place));
    let are_numbers = values().all(|value| is_missing(value) || value.trim().parse::<f32>().is_ok());
    let name = name.to_lowercase();
    match place {
        0 if !are_numbers || NAMES.contains(&name.as_str()) => Kind::Name,
        _ if !are_numbers || ANNOTATIONS.contains(&name.as_str()) => Kind::Annotation,
        _ => Kind::Number,
    }
}

/// Texts as whole numbers, numbers or truth values, where all are.
fn typed(values: Vec<String>) -> Column {
    fn all<T>(values: &[String], parse: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
        values.iter().map(|value| if is_missing(value) { Some(None) } else { parse(value.trim()).map(Some) }).collect()
    }
    if values.iter().all(|value| is_missing(value)) {
        return Column::Text(vec![None; values.len()]);
    }
    if let Some(whole) = all(&values, |value| value.parse::<i64>().ok()) {
        return Column::Integer(whole);
    }
    if let Some(numbers) = all(&values, |value| value.parse::<f64>().ok()) {
        return Column::Float(numbers.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect());
    }
    if let Some(truths) = all(&values, |value| value.to_lowercase().parse::<bool>().ok()) {
        return Column::Boolean(truths);
    }
    Column::Text(values.into_iter().map(|value| (!is_missing(&value)).then_some(value)).collect())
}

/// Rows and columns exchanged.
pub(in crate::data::anndata) fn transpose(counts: &Counts) -> Counts {
    let mut indptr = vec![0_usize; counts.n_genes() + 1];
    counts.indices().iter().for_each(|&gene| indptr[gene as usize + 1] += 1);
    (0..counts.n_genes()).for_each(|gene| indptr[gene + 1] += indptr[gene]);
    let mut next = indptr.clone();
    let (mut indices, mut values) = (vec![0_u32; counts.nnz()], vec![0.0; counts.nnz()]);
    for row in 0..counts.n_cells() {
        let (genes, row_values) = counts.row(row);
        for (&gene, &value) in genes.iter().zip(row_values) {
            let slot = &mut next[gene as usize];
            indices[*slot] = row as u32;
            values[*slot] = value;
            *slot += 1;
        }
    }
    Counts::new(counts.n_cells(), indptr, indices, values).expect("the transpose of a valid matrix is valid")
}
