//! Any file that is read, written as an `.h5ad`.

use super::{AnnData, AnnDataWriter, Counts, Table, features, names};
use crate::Result;
use ndarray::Array2;
use std::path::Path;

/// 32-bit floats hold every whole number up to here.
const EXACT: f32 = 16_777_216.0;
/// A matrix with a greater share of values that are not zero is smaller in full.
const DENSE: f64 = 0.5;

/// How a file is converted.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// Gzip level of the arrays, 0 (none) to 9.
    pub gzip: u8,
    /// Whether features that are no genes (guides, antibodies) are kept.
    pub all_features: bool,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Converted {
    /// Cells and genes.
    pub shape: (usize, usize),
    /// Values of `X` that are not zero.
    pub nonzero: usize,
    /// What was chosen, repaired or left out.
    pub notes: Vec<String>,
}

/// Writes an open file as an `.h5ad` that AnnData and scanpy open: `X` and layers as CSR (in full where most values are not
/// zero), `obs`, `var`, `obsm`, and of `uns` texts, numbers and arrays. Gene names are made unique as scanpy does.
///
/// # Errors
/// A damaged file, or one that cannot be written; then nothing is left at `out`.
pub fn convert(file: &AnnData, out: impl AsRef<Path>, options: &ConvertOptions) -> Result<Converted> {
    let mut notes = file.notes().to_vec();
    let obs = file.obs()?;
    let mut var = file.var()?;
    let mut left_out = unread_columns(file, &obs, &var);
    left_out.extend(file.unread_parts()?);
    let kept = match features::genes_only(&var) {
        Some((kept, note)) if !options.all_features => {
            notes.push(format!("{note} (--all-features keeps them)"));
            var = var.select(&kept);
            Some(kept)
        }
        _ => None,
    };
    let renamed = names::make_unique(&mut var.names);
    if renamed > 0 {
        notes.push(format!(
            "{renamed} gene names occurred more than once; they got the endings -1, -2, …, as in scanpy"
        ));
    }
    let read = |name: &str| -> Result<Matrix> {
        let counts = file.read_matrix(name)?;
        let counts = kept.as_ref().map_or(Ok(counts.clone()), |kept| counts.select_genes(kept))?;
        let size = counts.n_cells() as f64 * counts.n_genes() as f64;
        Ok(if counts.nnz() as f64 > DENSE * size { Matrix::Dense(counts.to_dense()) } else { Matrix::Sparse(counts) })
    };
    let x = file.has_matrix("X").then(|| read("X")).transpose()?;
    let layers: Vec<(&String, Matrix)> =
        file.layers().iter().map(|name| Ok((name, read(&format!("layers/{name}"))?))).collect::<Result<_>>()?;
    let mut embeddings = Vec::new();
    for (name, _) in file.obsm() {
        match file.read_obsm(name) {
            Ok(values) => embeddings.push((name, values)),
            Err(_) => left_out.push(format!("obsm/{name}")),
        }
    }
    let mut writer = AnnDataWriter::new(&obs, &var).gzip(options.gzip);
    if let Some(x) = &x {
        notes.extend(x.greatest().filter(|greatest| *greatest > EXACT).map(|greatest| {
            format!(
                "counts up to {greatest} are written as 32-bit floats, which hold whole numbers exactly up to {EXACT}"
            )
        }));
        writer = match x {
            Matrix::Sparse(counts) => writer.x(counts),
            Matrix::Dense(values) => writer.x(values),
        };
    }
    for (name, layer) in &layers {
        writer = match layer {
            Matrix::Sparse(counts) => writer.layer(name, counts),
            Matrix::Dense(values) => writer.layer(name, values),
        };
    }
    for (name, values) in &embeddings {
        writer = writer.obsm(name, values);
    }
    for name in file.uns_keys() {
        if let Some(entry) = file.uns(name)? {
            writer = writer.uns(name, entry);
        }
    }
    writer.write(out)?;
    if !left_out.is_empty() {
        notes.push(format!("left out, because genailab does not read it: {}", left_out.join(", ")));
    }
    let nonzero = x.as_ref().map_or(0, Matrix::nonzero);
    Ok(Converted { shape: (obs.len(), var.len()), nonzero, notes })
}

/// Columns that [`Column`](super::Column) has no place for.
fn unread_columns(file: &AnnData, obs: &Table, var: &Table) -> Vec<String> {
    let of = |place: &'static str, columns: &[String], table: &Table| -> Vec<String> {
        columns.iter().filter(|name| table.column(name).is_none()).map(|name| format!("{place}/{name}")).collect()
    };
    let mut unread = of("obs", file.obs_columns(), obs);
    unread.extend(of("var", file.var_columns(), var));
    unread
}

enum Matrix {
    Sparse(Counts),
    Dense(Array2<f32>),
}

impl Matrix {
    fn values(&self) -> Box<dyn Iterator<Item = f32> + '_> {
        match self {
            Self::Sparse(counts) => Box::new(counts.values().iter().copied()),
            Self::Dense(values) => Box::new(values.iter().copied()),
        }
    }

    fn nonzero(&self) -> usize {
        self.values().filter(|value| *value != 0.0).count()
    }

    fn greatest(&self) -> Option<f32> {
        self.values().reduce(f32::max)
    }
}
