//! The data of the course: the built-in simulation, or a file that the reader names.
//!
//! ```text
//! make lab                                     the simulation, with the truth behind it
//! GENAILAB_DATA=cells.h5ad make lab            the cells of that file
//! ```

use super::fetch::{Manifest, cache_dir};
use super::{
    AnnData, Dataset, GeneChoice, HvgFlavour, OpenOptions, Perturbation, QcConfig, Simulation, SimulationConfig, Split,
    SplitPlan, Truth, highly_variable, split::shuffle,
};
use crate::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// The environment variable that names a file of cells.
pub const DATA_VARIABLE: &str = "GENAILAB_DATA";
/// Seed of the simulation, so that everybody reads the same numbers.
const SEED: u64 = 7;
/// A notebook is to end within two minutes: of a larger file it sees a sample.
const MOST_CELLS: usize = 12_000;
/// And of its genes this many.
const MOST_GENES: usize = 1_000;
/// What the notebooks on pairs need.
const LEAST_DOUBLES: usize = 24;

/// What a notebook of the course works on.
#[derive(Debug, Clone)]
pub struct CourseData {
    /// The cells.
    pub data: Dataset,
    /// What is really true of them; nobody knows it of real cells.
    pub truth: Option<Truth>,
    /// Where they come from, in words.
    pub source: String,
}

impl CourseData {
    /// The file that the environment variable `GENAILAB_DATA` names, or the built-in simulation without it. Of a file
    /// with more than 12,000 cells it is a sample of about that many, the same fraction of each perturbation.
    ///
    /// A relative path is looked up in the working folder (of a notebook: the notebooks' folder), then in the one above.
    ///
    /// # Errors
    /// A file that is not there; those of [`Dataset::open`].
    pub fn load() -> Result<Self> {
        match std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()) {
            Some(path) => Self::open(Path::new(&path)),
            None => Self::simulated(),
        }
    }

    /// The cells after quality control, with their split. Of more than 1,000 genes those are kept that vary most among
    /// the split's training cells (Seurat v3).
    ///
    /// # Errors
    /// Those of [`QcConfig::apply`], [`Dataset::split`] and [`highly_variable`].
    pub fn prepared(&self, plan: &SplitPlan) -> Result<(Dataset, Split)> {
        let clean = QcConfig::for_dataset(&self.data).apply(&self.data)?.0;
        let split = clean.split(plan)?;
        if clean.n_genes() <= MOST_GENES {
            return Ok((clean, split));
        }
        let table = highly_variable(&clean, HvgFlavour::SeuratV3, MOST_GENES, Some(&split.train))?;
        Ok((clean.select_genes(&table.genes())?, split))
    }

    /// A screen of pairs: the file that `GENAILAB_DATA` names; without it Norman 2019, where `genailab fetch norman` has
    /// put it; otherwise the simulation of `world`. Of a file's genes those are kept that were perturbed, and of the others
    /// the 1,000 that vary most. A file of fewer than 24 doubles whose genes were perturbed alone too is passed over, and
    /// `source` says so.
    ///
    /// # Errors
    /// As [`Self::load`]; a simulation without cells or genes.
    pub fn screen(world: &SimulationConfig) -> Result<Self> {
        let named = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let fetched = || Some(cache_dir().ok()?.join(&Manifest::current().ok()?.find("norman").ok()?.file));
        let mut passed_over = String::new();
        if let Some(file) = named.or_else(|| fetched().filter(|path| path.is_file())) {
            let course = Self::open(&file)?;
            let doubles = course.data.doubles_with_singles().len();
            if doubles >= LEAST_DOUBLES {
                return course.of_fewer_genes();
            }
            passed_over =
                format!("; {} has {doubles} doubles whose genes were perturbed alone, too few", course.source);
        }
        let Simulation { dataset, truth, .. } = Simulation::new(world)?;
        let source = format!("a simulated screen (seed {}){passed_over}", world.seed);
        Ok(Self { data: dataset, truth: Some(truth), source })
    }

    fn of_fewer_genes(self) -> Result<Self> {
        let clean = QcConfig::for_dataset(&self.data).apply(&self.data)?.0;
        if clean.n_genes() <= MOST_GENES {
            return Ok(Self { data: clean, ..self });
        }
        let table = highly_variable(&clean, HvgFlavour::SeuratV3, MOST_GENES, None)?;
        let perturbed: HashSet<&String> = clean.perturbations.iter().flat_map(Perturbation::genes).collect();
        let names = clean.gene_names();
        let kept: Vec<usize> =
            (0..clean.n_genes()).filter(|&gene| table.selected[gene] || perturbed.contains(&names[gene])).collect();
        let source = format!("{}, {} of its {} genes", self.source, kept.len(), clean.n_genes());
        Ok(Self { data: clean.select_genes(&kept)?, truth: None, source })
    }

    fn simulated() -> Result<Self> {
        let config = SimulationConfig { seed: SEED, ..SimulationConfig::default() };
        let Simulation { dataset, truth, .. } = Simulation::new(&config)?;
        Ok(Self { data: dataset, truth: Some(truth), source: format!("the built-in simulation (seed {SEED})") })
    }

    #[doc(hidden)]
    pub fn open(path: &Path) -> Result<Self> {
        let candidates: [PathBuf; 2] = [path.to_owned(), Path::new("..").join(path)];
        let found = candidates.iter().find(|candidate| candidate.is_file()).ok_or_else(|| {
            Error::config(format!(
                "{DATA_VARIABLE} names {}, and there is no such file; give the path of an .h5ad file of cells, or unset \
                 {DATA_VARIABLE} for the built-in simulation",
                path.display()
            ))
        })?;
        // Of a whole transcriptome the genes that vary among control cells, which no split judges.
        let file = AnnData::open(found)?;
        let of_control = |data: &Dataset| Ok(data.control_cells());
        let data = Dataset::open_genes(&file, &OpenOptions::default(), &GeneChoice::default(), of_control)?;
        let n_cells = data.n_cells();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if n_cells <= MOST_CELLS {
            return Ok(Self { data, truth: None, source: format!("{name}, all {n_cells} cells") });
        }
        let data = data.select_cells(&sample(&data, MOST_CELLS));
        let source = format!("{name}, a sample of {} of its {n_cells} cells", data.n_cells());
        Ok(Self { data, truth: None, source })
    }
}

/// About `wanted` cells: the same fraction of each perturbation, rounded up so that none loses all its cells.
pub fn sample(data: &Dataset, wanted: usize) -> Vec<usize> {
    let fraction = wanted as f64 / data.n_cells() as f64;
    let mut groups = vec![Vec::new(); data.perturbations.len()];
    data.labels.iter().enumerate().for_each(|(cell, &label)| groups[label as usize].push(cell));
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut chosen: Vec<usize> = groups
        .into_iter()
        .flat_map(|mut cells| {
            shuffle(&mut cells, &mut rng);
            cells.truncate((fraction * cells.len() as f64).ceil() as usize);
            cells
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

/// A double perturbation whose two singles were measured too; all are indices into the dataset's `perturbations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Double {
    /// The double.
    pub double: usize,
    /// Its two singles, in the order of the double's genes.
    pub singles: [usize; 2],
}

impl Dataset {
    /// The doubles whose two singles have cells as well, those with most cells first.
    pub fn doubles_with_singles(&self) -> Vec<Double> {
        let sizes = self.cells_per_perturbation();
        let label_of = |gene: &String| {
            let single = Perturbation::of([gene.as_str()]);
            self.perturbations.iter().position(|known| *known == single).filter(|&label| sizes[label] > 0)
        };
        let mut doubles: Vec<Double> = (0..self.perturbations.len())
            .filter(|&label| sizes[label] > 0)
            .filter_map(|double| match self.perturbations[double].genes() {
                [a, b] => Some(Double { double, singles: [label_of(a)?, label_of(b)?] }),
                _ => None,
            })
            .collect();
        doubles.sort_by_key(|double| std::cmp::Reverse(sizes[double.double]));
        doubles
    }
}
