//! `--data`: one file, or several of one screen.

use crate::options::data_file;
use genailab::{
    Error, Result,
    data::{AnnData, DATASET_COLUMN, Dataset, Opened, Truth, join},
};
use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

/// The files of one screen as one dataset; the column `dataset` says which file a cell is from.
pub fn together(files: &[&Path], all: Vec<Opened>) -> Result<Opened> {
    let stems: Vec<String> =
        files.iter().map(|file| file.file_stem().unwrap_or_default().to_string_lossy().into_owned()).collect();
    let is_unique = (0..stems.len()).all(|place| !stems[..place].contains(&stems[place]));
    let names = if is_unique { stems } else { files.iter().map(|file| file.display().to_string()).collect() };
    let cells = files.iter().zip(&all).map(|(file, opened)| match opened {
        Opened::Cells(cells) => Ok(cells),
        Opened::Effects(_) => {
            Err(Error::config("it is an effects dataset; files of cells alone can be put together").at(file.display()))
        }
    });
    let cells = cells.collect::<Result<Vec<_>>>()?;
    let named: Vec<(&str, &Dataset)> = names.iter().map(String::as_str).zip(cells).collect();
    let mut joined = join(&named)?;
    joined
        .notes
        .push(format!("the column `{DATASET_COLUMN}` of cells says which file a cell is from: {}", names.join(", ")));
    Ok(Opened::Cells(joined))
}

/// What `--data` names.
pub trait DataSource {
    /// The files, one at least.
    fn files(&self) -> Vec<&Path>;
}

impl DataSource for Path {
    fn files(&self) -> Vec<&Path> {
        vec![self]
    }
}

impl DataSource for PathBuf {
    fn files(&self) -> Vec<&Path> {
        vec![self]
    }
}

impl DataSource for DataFiles {
    fn files(&self) -> Vec<&Path> {
        self.data.iter().map(PathBuf::as_path).collect()
    }
}

/// The files of a screen. As a path it is the first of them.
#[derive(clap::Args, Debug, Clone)]
pub struct DataFiles {
    /// The file to use: .h5ad, .h5mu, 10x .h5, a folder with matrix.mtx, .loom, .csv or .tsv; or a name of `genailab datasets`,
    /// which is fetched; given several times, their cells are put together on the genes that all have
    #[arg(long, value_name = "FILE", required = true, value_parser = data_file)]
    data: Vec<PathBuf>,
}

impl DataFiles {
    /// Some files, if there are any.
    pub fn of(files: &[PathBuf]) -> Option<Self> {
        (!files.is_empty()).then(|| Self { data: files.to_vec() })
    }

    /// The file, if it is the only one.
    pub fn only(&self) -> Option<&Path> {
        (self.data.len() == 1).then(|| self.data[0].as_path())
    }

    /// For messages and reports.
    pub fn display(&self) -> String {
        self.data.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" + ")
    }

    /// The truth of simulated cells, where the file holds it.
    pub fn truth(&self) -> Result<Option<Truth>> {
        let Some(file) = self.only() else { return Ok(None) };
        let is_simulated = AnnData::open(file)?.uns_keys().iter().any(|key| key == "truth");
        is_simulated.then(|| Truth::read(file)).transpose()
    }
}

impl Deref for DataFiles {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.data[0]
    }
}
