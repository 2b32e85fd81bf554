//! Training on one dataset and judging on another: the two become one, with the dataset as the context.

use super::SplitPlan;
use crate::{
    Error, Result,
    data::{Opened, join::cross},
};
use std::path::Path;

impl SplitPlan {
    /// The data that this plan divides: for [`SplitPlan::CrossDataset`] `data` together with the file that is judged,
    /// which `open` reads; for every other plan `data` as it is.
    ///
    /// The contexts are named after the files, without folder and ending; `name` is that of `data`. If both are the
    /// same, `data` is called `NAME (training)`.
    ///
    /// # Errors
    /// A file that cannot be read; effects where cells are needed; no gene or no perturbation in common.
    pub fn joined(&self, data: Opened, name: &str, open: impl FnOnce(&Path) -> Result<Opened>) -> Result<Opened> {
        let (Some(file), Some(other)) = (self.other_file(), self.judged_dataset()) else { return Ok(data) };
        let Opened::Cells(data) = data else {
            return Err(Error::inapplicable(format!("the split {self} is for cells; an effects dataset has none")));
        };
        let Opened::Cells(judged) = open(file)? else {
            return Err(Error::inapplicable(format!(
                "the split {self} is for cells, but {} is an effects dataset",
                file.display()
            )));
        };
        let name = if name == other { format!("{name} (training)") } else { name.to_owned() };
        cross((&name, &data), (&other, &judged)).map(Opened::Cells)
    }

    /// The name of the judged dataset as a context: that of its file, without folder and ending.
    pub(super) fn judged_dataset(&self) -> Option<String> {
        let file = self.other_file()?;
        Some(file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned())
    }
}
