//! Where a simulated file keeps its truth: the dictionary `uns["truth"]`, which Python's anndata reads too.
//!
//! | entry | what |
//! |---|---|
//! | `means`, `variances` | `(perturbations, genes)`, counts at `library_size` |
//! | `perturbations`, `genes` | names of rows and columns; control is `control` |
//! | `classes` | interaction class of each row, empty where it has none |
//! | `library_size`, `relative_error` | see [`Truth`] |

use super::super::{AnnData, Perturbation, Uns};
use super::{InteractionClass, Truth};
use crate::{Error, Result};
use ndarray::{Array2, Ix2};
use std::path::Path;

/// The key in `uns`.
pub(super) const KEY: &str = "truth";

impl Truth {
    /// Reads the truth of a file that [`Simulation::write`](super::Simulation::write) wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds no truth because it was not simulated.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let entries = AnnData::open(path)?.uns(KEY).map_err(|error| error.at(path.display()))?;
        let entries = entries.ok_or_else(|| {
            Error::data(format!(
                "{} holds no uns[\"{KEY}\"]: only files that `genailab simulate` wrote hold the true means",
                path.display()
            ))
        })?;
        Self::from_uns(&entries).map_err(|error| error.at(path.display()))
    }

    pub(super) fn to_uns(&self) -> Uns {
        let names = self.perturbations.iter().map(ToString::to_string).collect();
        let classes = self.classes.iter().map(|class| class.map_or("", InteractionClass::name).to_owned()).collect();
        [
            ("means", Uns::from(self.means.clone())),
            ("variances", Uns::from(self.variances.clone())),
            ("perturbations", Uns::Texts(names)),
            ("genes", Uns::Texts(self.genes.clone())),
            ("classes", Uns::Texts(classes)),
            ("library_size", Uns::Number(self.library_size.into())),
            ("relative_error", Uns::Number(self.relative_error.into())),
        ]
        .into_iter()
        .collect()
    }

    fn from_uns(entries: &Uns) -> Result<Self> {
        let truth = Self {
            perturbations: texts(entries, "perturbations")?.iter().map(|name| perturbation(name)).collect(),
            genes: texts(entries, "genes")?.to_vec(),
            means: matrix(entries, "means")?,
            variances: matrix(entries, "variances")?,
            classes: texts(entries, "classes")?.iter().map(|name| InteractionClass::parse(name)).collect(),
            library_size: number(entries, "library_size")?,
            relative_error: number(entries, "relative_error")?,
        };
        let shape = (truth.perturbations.len(), truth.genes.len());
        if truth.means.dim() != shape || truth.variances.dim() != shape || truth.classes.len() != shape.0 {
            return Err(Error::data(format!(
                "uns[\"{KEY}\"] is damaged: means {:?}, variances {:?} and {} classes for {} perturbations and {} genes",
                truth.means.dim(),
                truth.variances.dim(),
                truth.classes.len(),
                shape.0,
                shape.1
            )));
        }
        Ok(truth)
    }
}

fn perturbation(name: &str) -> Perturbation {
    if name == "control" { Perturbation::control() } else { Perturbation::of(name.split('+')) }
}

fn damaged(key: &str, expected: &str) -> Error {
    Error::data(format!("uns[\"{KEY}\"][\"{key}\"] is missing or not {expected}; the file is damaged"))
}

fn texts<'a>(entries: &'a Uns, key: &str) -> Result<&'a [String]> {
    entries.get(key).and_then(Uns::as_texts).ok_or_else(|| damaged(key, "a list of texts"))
}

fn matrix(entries: &Uns, key: &str) -> Result<Array2<f32>> {
    let array = entries.get(key).and_then(Uns::as_array).cloned();
    array.and_then(|array| array.into_dimensionality::<Ix2>().ok()).ok_or_else(|| damaged(key, "a matrix"))
}

fn number(entries: &Uns, key: &str) -> Result<f32> {
    entries.get(key).and_then(Uns::as_number).map(|x| x as f32).ok_or_else(|| damaged(key, "a number"))
}
