//! Reading what a command needs of its data, and no more.

use crate::{
    options::{DataArgs, fetch_if_public, tell},
    sources::DataSource,
};
use genailab::{
    Error, Result,
    data::{AnnData, Counts, Dataset, Effects, LargeFile, Opened, Table, is_effects},
    ndarray::{Array2, Axis, concatenate},
};

impl DataArgs {
    /// A single file whose counts are too many to stand in memory; `None` where [`Self::open`] is to open it.
    pub fn open_large<D: DataSource + ?Sized>(&self, data: &D) -> Result<Option<LargeFile>> {
        let files = data.files();
        let [file] = files[..] else { return Ok(None) };
        fetch_if_public(file)?;
        let options = self.options_of(0, file, false)?;
        let anndata = AnnData::open_with_obs(file, options.obs.as_deref())?;
        if is_effects(&anndata) || !LargeFile::is_one(&anndata)? {
            return Ok(None);
        }
        let large = LargeFile::open(anndata, &options)?;
        large.iter().for_each(|large| tell(large.cells()));
        Ok(large)
    }

    /// Opens a file as effects; cells are summed up.
    pub fn open_effects<D: DataSource + ?Sized>(&self, data: &D) -> Result<Effects> {
        let here = |e: Error| e.at(data.files()[0].display());
        if let Some(large) = self.open_large(data)? {
            return Effects::of_large(&large).map_err(here);
        }
        match self.open(data)? {
            Opened::Effects(data) => Ok(data),
            Opened::Cells(cells) => Effects::of_cells(&cells).map_err(here),
        }
    }

    /// The labelled cells of one or several files, without counts, and their embedding `name` (obsm), `(cells, dimensions)`.
    pub fn open_embedding<D: DataSource + ?Sized>(&self, data: &D, name: &str) -> Result<(Dataset, Array2<f32>)> {
        let files = data.files();
        self.check_tables(&files)?;
        let (mut labels, mut scores): (Vec<_>, Vec<Array2<f32>>) = (Vec::new(), Vec::new());
        for (place, file) in files.iter().enumerate() {
            fetch_if_public(file)?;
            let options = self.options_of(place, file, false)?;
            let anndata = AnnData::open_with_obs(file, options.obs.as_deref())?;
            let (cells, of_file) = Dataset::with_embedding(&anndata, &options, name)?;
            if let Some(first) = scores.first().filter(|first| first.ncols() != of_file.ncols()) {
                return Err(Error::data(format!(
                    "{}: obsm/{name} has {} dimensions, and that of {} has {}, so they are not of one space",
                    file.display(),
                    of_file.ncols(),
                    files[0].display(),
                    first.ncols()
                )));
            }
            tell(&cells);
            labels.extend((0..cells.n_cells()).map(|cell| cells.perturbation_of(cell).clone()));
            scores.push(of_file);
        }
        let views: Vec<_> = scores.iter().map(|scores| scores.view()).collect();
        let scores = concatenate(Axis(0), &views).map_err(|e| Error::data(e.to_string()))?;
        let n = labels.len();
        let none = Counts::new(0, vec![0; n + 1], Vec::new(), Vec::new())?;
        let names = Table::from_names((0..n).map(|cell| cell.to_string()).collect());
        Ok((Dataset::new(none, Table::default(), names, &labels, None, None)?, scores))
    }
}
