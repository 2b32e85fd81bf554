//! Where a simulated file keeps its truth: the group `uns/truth`, in AnnData's encoding, so that Python reads it too.
//!
//! | entry | what |
//! |---|---|
//! | `means`, `variances` | `(perturbations, genes)`, counts at `library_size` |
//! | `perturbations`, `genes` | names of rows and columns; control is `control` |
//! | `classes` | interaction class of each row, empty where it has none |
//! | `library_size`, `relative_error` | see [`Truth`] |

use super::super::Perturbation;
use super::{InteractionClass, Truth};
use crate::{Error, Result};
use hdf5::{File, Group, H5Type, Location, types::VarLenUnicode};
use ndarray::Array2;
use std::path::Path;

/// Where the truth is in the file.
const PLACE: &str = "uns/truth";
/// Compression of the two matrices: gzip's fastest level halves them, higher ones take longer for little.
const GZIP: u8 = 1;

impl Truth {
    /// Reads the truth of a file that [`Simulation::write`](super::Simulation::write) wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds no truth because it was not simulated.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if let Err(error) = std::fs::metadata(path) {
            return Err(Error::io("read", path, error));
        }
        let file = File::open(path).map_err(|error| damaged(path, &error))?;
        if !file.link_exists("uns") || !file.link_exists(PLACE) {
            return Err(Error::data(format!(
                "{} holds no {PLACE}: only files that `genailab simulate` wrote hold the true means",
                path.display()
            )));
        }
        let truth = file.group(PLACE).and_then(|group| read(&group)).map_err(|error| damaged(path, &error))?;
        let shape = (truth.perturbations.len(), truth.genes.len());
        if truth.means.dim() != shape || truth.variances.dim() != shape || truth.classes.len() != shape.0 {
            return Err(Error::data(format!(
                "{PLACE} in {} is damaged: means {:?} and variances {:?} for {} perturbations and {} genes",
                path.display(),
                truth.means.dim(),
                truth.variances.dim(),
                shape.0,
                shape.1
            )));
        }
        Ok(truth)
    }

    /// Adds the truth to an `.h5ad` file that has none yet.
    pub(super) fn append_to(&self, path: &Path) -> Result<()> {
        let write = || {
            let file = File::open_rw(path)?;
            let uns = if file.link_exists("uns") { file.group("uns")? } else { dict(&file, "uns")? };
            write(&dict(&uns, "truth")?, self)?;
            file.flush()
        };
        write()
            .map_err(|error: hdf5::Error| Error::data(format!("cannot write {PLACE} to {}: {error}", path.display())))
    }
}

fn damaged(path: &Path, error: &hdf5::Error) -> Error {
    Error::data(format!("cannot read {PLACE} from {}: {error}", path.display()))
}

fn read(group: &Group) -> hdf5::Result<Truth> {
    let strings = |name: &str| -> hdf5::Result<Vec<String>> {
        Ok(group.dataset(name)?.read_raw::<VarLenUnicode>()?.iter().map(ToString::to_string).collect())
    };
    let perturbation = |name: &String| {
        if name == "control" { Perturbation::control() } else { Perturbation::of(name.split('+')) }
    };
    Ok(Truth {
        perturbations: strings("perturbations")?.iter().map(perturbation).collect(),
        genes: strings("genes")?,
        means: group.dataset("means")?.read_2d()?,
        variances: group.dataset("variances")?.read_2d()?,
        classes: strings("classes")?.iter().map(|name| InteractionClass::parse(name)).collect(),
        library_size: group.dataset("library_size")?.read_scalar()?,
        relative_error: group.dataset("relative_error")?.read_scalar()?,
    })
}

fn write(group: &Group, truth: &Truth) -> hdf5::Result<()> {
    matrix(group, "means", &truth.means)?;
    matrix(group, "variances", &truth.variances)?;
    let names: Vec<String> = truth.perturbations.iter().map(ToString::to_string).collect();
    strings(group, "perturbations", names.iter().map(String::as_str))?;
    strings(group, "genes", truth.genes.iter().map(String::as_str))?;
    strings(group, "classes", truth.classes.iter().map(|class| class.map_or("", InteractionClass::name)))?;
    scalar(group, "library_size", truth.library_size)?;
    scalar(group, "relative_error", truth.relative_error)
}

fn dict(parent: &Group, name: &str) -> hdf5::Result<Group> {
    let group = parent.create_group(name)?;
    encode(&group, "dict", "0.1.0")?;
    Ok(group)
}

fn matrix(group: &Group, name: &str, values: &Array2<f32>) -> hdf5::Result<()> {
    let dataset = group.new_dataset_builder().shuffle().deflate(GZIP).with_data(values).create(name)?;
    encode(&dataset, "array", "0.2.0")
}

fn strings<'a>(group: &Group, name: &str, values: impl Iterator<Item = &'a str>) -> hdf5::Result<()> {
    let values: Vec<VarLenUnicode> = values.map(unicode).collect::<hdf5::Result<_>>()?;
    let dataset = group.new_dataset_builder().with_data(&values).create(name)?;
    encode(&dataset, "string-array", "0.2.0")
}

fn scalar<T: H5Type>(group: &Group, name: &str, value: T) -> hdf5::Result<()> {
    let dataset = group.new_dataset::<T>().create(name)?;
    dataset.write_scalar(&value)?;
    encode(&dataset, "numeric-scalar", "0.2.0")
}

fn unicode(text: &str) -> hdf5::Result<VarLenUnicode> {
    text.parse().map_err(|error| hdf5::Error::from(format!("{text:?} cannot be written: {error}")))
}

/// AnnData's two attributes that say how to read an entry.
fn encode(place: &Location, kind: &str, version: &str) -> hdf5::Result<()> {
    for (name, text) in [("encoding-type", kind), ("encoding-version", version)] {
        place.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&unicode(text)?)?;
    }
    Ok(())
}
