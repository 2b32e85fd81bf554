//! Opening a file of any format: which parts it has.

use super::{
    AnnData, OLD_RAW_VAR,
    column::Frame,
    foreign::{self, Found, Parts},
    hdf, list,
    matrix::Stored,
    metadata, names_in, records,
    source::Matrix,
};
use crate::{Error, Result, data::Table, guard::Reading};
use hdf5::{File, Group, LocationType};
use std::path::Path;

impl AnnData {
    /// Opens a file and reads its structure: shapes and names, no values (of a text table, all).
    ///
    /// The format is recognised by content: `.h5ad`, `.h5mu` (modality `rna`, or `FILE.h5mu:NAME`), the `.h5` of Cell Ranger
    /// (`FILE.h5:GENOME` where there are several), a folder with `matrix.mtx`, `barcodes.tsv` and `features.tsv`, `.loom`,
    /// and text tables (`.csv`, `.tsv`), also compressed with gzip.
    ///
    /// # Errors
    /// A missing, truncated or damaged file; a format that is not read; parts whose shapes do not fit.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let _reading = Reading::of(path);
        Self::of(foreign::find(path)?, path).map_err(|e| e.at(path.display()))
    }

    /// Opens a file, and gives its cells the columns of a table (`.csv`, `.tsv`) that names them: for formats that hold no
    /// annotation of cells. [`AnnData::notes`] says how many cells the table knows.
    ///
    /// # Errors
    /// As [`AnnData::open`]; a table that cannot be read, names none of the cells, or one of them twice.
    pub fn open_with_obs(path: impl AsRef<Path>, table: Option<&Path>) -> Result<Self> {
        let mut this = Self::open(path)?;
        if let Some(table) = table {
            let known = metadata::read_table(table)?;
            this.turn_towards(&known)?;
            let obs = this.obs()?;
            let (joined, note) = metadata::joined(obs, &known).map_err(|e| e.at(table.display()))?;
            this.obs = Frame::of_table(joined);
            this.notes.push(note);
        }
        Ok(this)
    }

    /// Exchanges the rows and columns of a text table whose columns, not its rows, are the cells of `known`.
    fn turn_towards(&mut self, known: &Table) -> Result<()> {
        let Some(Matrix::Table(counts)) = &self.x else { return Ok(()) };
        if metadata::matches(&self.obs.names()?, known) == 0 && metadata::matches(&self.var.names()?, known) > 0 {
            self.x = Some(Matrix::Table(foreign::transpose(counts).into()));
            std::mem::swap(&mut self.obs, &mut self.var);
            self.notes.retain(|note| !note.starts_with(foreign::ORIENTATION));
            self.notes.push(format!("{}genes x cells: --obs names its columns", foreign::ORIENTATION));
        }
        Ok(())
    }

    fn of(found: Found, path: &Path) -> Result<Self> {
        match found {
            Found::AnnData(file) => Self::of_group(file.group("/").map_err(|e| hdf::failed("open", "/", &e))?, path),
            Found::Modality { file, name } => Self::of_modality(&file, &name, path),
            Found::Parts(parts) => Self::of_parts(*parts, path),
        }
    }

    fn of_group(root: Group, path: &Path) -> Result<Self> {
        let (mut obs, mut var) = (Frame::open(&root, "obs")?, Frame::open(&root, "var")?);
        let mut uns = names_in(&root, "uns")?;
        if hdf::kind_of(&root, "obs") == Some(LocationType::Dataset)
            && let Some(group) = hdf::group(&root, "uns")?
        {
            let (mut cells, mut genes) = (obs.read()?.0, var.read()?.0);
            let used = records::set_categories(&group, [&mut cells, &mut genes])?;
            uns.retain(|name| !used.contains(name));
            (obs, var) = (Frame::of_table(cells), Frame::of_table(genes));
        }
        let x = Stored::open(&root, "X")?.map(Matrix::Hdf);
        let raw = match hdf::group(&root, "raw")? {
            Some(raw) if hdf::kind_of(&raw, "var").is_some() => Some(Frame::open(&raw, "var")?),
            _ if hdf::kind_of(&root, OLD_RAW_VAR).is_some() => Some(Frame::open(&root, OLD_RAW_VAR)?),
            _ => None,
        };
        let layers = names_in(&root, "layers")?;
        let obsm = names_in(&root, "obsm")?;
        let parts = Parts { obs, var, x, layers: Vec::new(), notes: Vec::new() };
        let mut this = Self { root: Some(root), layers, uns, raw, ..Self::of_parts(parts, path)? };
        this.obsm =
            obsm.into_iter().map(|name| this.obsm_shape(&name).map(|shape| (name, shape))).collect::<Result<_>>()?;
        Ok(this)
    }

    /// One modality of a `.h5mu`. Columns of cells that the file keeps for all modalities are joined to those of the modality.
    fn of_modality(file: &File, name: &str, path: &Path) -> Result<Self> {
        let modalities = hdf::group(file, "mod")?.ok_or_else(|| Error::data("there is no `mod`"))?;
        let names = hdf::members(&modalities)?;
        let group = hdf::group(&modalities, name)?.ok_or_else(|| {
            Error::config(format!(
                "this MuData file has no modality `{name}`; it has {}: choose one by FILE.h5mu:NAME",
                list(&names)
            ))
        })?;
        let mut this = Self::of_group(group, path)?;
        if names.len() > 1 {
            let others: Vec<String> = names.iter().filter(|other| *other != name).cloned().collect();
            this.notes.push(format!("modality `{name}` of the MuData file is read; {} left out", list(&others)));
        }
        if hdf::kind_of(file, "obs").is_some() {
            let mut shared = Frame::open(file, "obs")?.read()?.0;
            // `rna:n_counts` is a copy of the modality's own column.
            let is_copy =
                |column: &str| names.iter().any(|of| column.strip_prefix(of).is_some_and(|rest| rest.starts_with(':')));
            shared.columns.retain(|(column, _)| !is_copy(column) && !this.obs.columns.contains(column));
            if !shared.columns.is_empty() {
                this.obs = Frame::of_table(metadata::joined(this.obs()?, &shared)?.0);
            }
        }
        Ok(this)
    }

    fn of_parts(parts: Parts, path: &Path) -> Result<Self> {
        let Parts { obs, var, x, layers, notes } = parts;
        let (layers, other_layers) = layers.into_iter().unzip();
        let this = Self {
            path: path.to_owned(),
            root: None,
            obs,
            var,
            x,
            layers,
            other_layers,
            obsm: Vec::new(),
            uns: Vec::new(),
            raw: None,
            notes,
        };
        if let Some(x) = &this.x {
            this.check_shape(x, this.n_vars())?;
        }
        Ok(this)
    }
}
