//! What several commands share: how a data file is read, a configuration file, where output goes, Ctrl-C.

use crate::sources::{DataSource, together};
use genailab::{
    Error, ErrorKind, Result,
    data::{Dataset, Effects, Naming, OpenOptions, Opened, Split},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// How the columns of a data file are read; found by their usual names if not given.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct DataArgs {
    /// Column of obs that names the perturbation of each cell [default: perturbation, condition, target_gene, …]
    #[arg(long, value_name = "COLUMN")]
    pub perturbation_column: Option<String>,
    /// Layer that holds the counts [default: layer "counts", else X, else raw]
    #[arg(long, value_name = "LAYER")]
    pub counts_layer: Option<String>,
    /// Column of obs that names the lane, batch or replicate [default: gem_group, batch, replicate, …]
    #[arg(long, value_name = "COLUMN")]
    pub lane_column: Option<String>,
    /// Labels of control cells beside the usual ones (control, non-targeting, DMSO, …): NAME, NAME* (all that begin so), '' (an
    /// empty label), NaN (a missing one); may be given several times, or separated by commas
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub control: Vec<String>,
    /// What joins the genes of a combination in the labels: + _ | ; , … [default: found out]
    #[arg(long, value_name = "TEXT")]
    pub separator: Option<String>,
    /// Read GENE_1 and GENE_2 as two guides against GENE, not as two perturbations
    #[arg(long)]
    pub guide_suffix: bool,
    /// Labels whose cells are left out, written as those of --control
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub drop_label: Vec<String>,
    /// A table of cells (.csv, .tsv) whose columns are added to obs, matched by barcode: for 10x, MatrixMarket and other files that
    /// name no perturbation; with several --data, once for each
    #[arg(long, value_name = "FILE.csv")]
    pub obs: Vec<PathBuf>,
    /// Round fractions to whole counts: ambient-corrected counts (SoupX, CellBender)
    #[arg(long)]
    pub round_counts: bool,
}

impl DataArgs {
    /// The same for the library, with those of `genailab.toml` beside the file.
    pub fn options(&self, file: &Path) -> Result<OpenOptions> {
        let naming = Naming {
            separator: self.separator.clone(),
            guide_suffix: self.guide_suffix,
            control_names: self.control.clone(),
            drop_labels: self.drop_label.clone(),
        };
        OpenOptions {
            perturbation_column: self.perturbation_column.clone(),
            counts_layer: self.counts_layer.clone(),
            lane_column: self.lane_column.clone(),
            naming,
            round_counts: self.round_counts,
            obs: self.obs.first().cloned(),
            labels_optional: false,
        }
        .or_beside(file)
    }

    /// Opens a cells or an effects dataset, and says on stderr what was chosen and repaired: the one place where all commands
    /// do.
    pub fn open<D: DataSource + ?Sized>(&self, data: &D) -> Result<Opened> {
        self.open_with(&data.files(), false)
    }

    /// As [`Self::open`], of a file that need not name perturbations or control.
    pub fn open_unlabelled<D: DataSource + ?Sized>(&self, data: &D) -> Result<Opened> {
        self.open_with(&data.files(), true)
    }

    fn open_with(&self, files: &[&Path], labels_optional: bool) -> Result<Opened> {
        if files.len() > 1 && !self.obs.is_empty() && self.obs.len() != files.len() {
            return Err(Error::config(format!(
                "there are {} --data and {} --obs; give one --obs for each --data, in the same order",
                files.len(),
                self.obs.len()
            )));
        }
        let open = |(place, file): (usize, &&Path)| {
            let obs = self.obs.get(place).cloned();
            let options = OpenOptions { labels_optional, ..self.options(file)? };
            genailab::data::open_with(file, &OpenOptions { obs: obs.or(options.obs.clone()), ..options })
        };
        let mut all = files.iter().enumerate().map(open).collect::<Result<Vec<_>>>()?;
        let opened = if all.len() == 1 { all.remove(0) } else { together(files, all)? };
        if let Opened::Cells(data) = &opened {
            data.notes.iter().for_each(|note| eprintln!("note: {note}"));
        }
        Ok(opened)
    }
}

/// Says in one line what the labels of cells were read as, before anything is trained on them.
///
/// # Errors
/// No cell is perturbed: nothing could be learnt of a perturbation.
pub fn say_labels(opened: &Opened) -> Result<()> {
    let Opened::Cells(data) = opened else { return Ok(()) };
    let cells = data.cells_per_perturbation();
    let of = |fits: &dyn Fn(usize) -> bool| -> (usize, usize) {
        let kept = data.perturbations.iter().zip(&cells).filter(|(set, n)| **n > 0 && fits(set.genes().len()));
        (kept.clone().count(), kept.map(|(_, n)| n).sum())
    };
    let ((singles, of_singles), (combined, of_combined)) = (of(&|n| n == 1), of(&|n| n > 1));
    let controls = of(&|n| n == 0).1;
    if singles + combined == 0 {
        return Err(Error::data(format!(
            "no cell is perturbed: all {controls} cells are control, so no effect can be learnt or predicted; see `genailab \
             inspect` for what the labels are read as, and name the column of perturbations by --perturbation-column"
        )));
    }
    say(format_args!(
        "labels: {singles} single perturbations ({of_singles} cells), {combined} combined ({of_combined} cells), control \
         ({controls} cells)"
    ))
}

/// Fractions of each perturbation's cells (or of the perturbations, for effects) that are held out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fractions {
    /// The training is validated on it.
    pub validation: f64,
    /// Judged at the end.
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Self { validation: 0.1, test: 0.1 }
    }
}

impl Fractions {
    /// Refuses what leaves nothing to train on.
    pub fn validate(&self) -> Result<()> {
        let Self { validation, test } = *self;
        match validation >= 0.0 && test >= 0.0 && validation + test < 1.0 {
            true => Ok(()),
            false => Err(Error::config(format!(
                "the split holds out validation = {validation} and test = {test}; each must be 0 or more, and their sum \
                 below 1"
            ))),
        }
    }
}

/// A flag that Ctrl-C raises: the first asks the training to stop at its last checkpoint, the second ends the program.
pub fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(1);
        }
        // For the person at the keyboard; a script is told once, when the program ends.
        if std::io::stderr().is_terminal() {
            eprintln!("stopping; press Ctrl-C again to stop at once");
        }
    })
    .map_err(|e| Error::config(format!("cannot listen for Ctrl-C: {e}")))?;
    Ok(flag)
}

/// Ends a command between two of its parts if Ctrl-C was pressed; `kept` says what is left of it.
pub fn check_interrupt(flag: &AtomicBool, kept: impl Display) -> Result<()> {
    match flag.load(Ordering::SeqCst) {
        true => Err(Error::new(ErrorKind::Interrupted, format!("interrupted; {kept}"))),
        false => Ok(()),
    }
}

/// The output folder of a command. It is removed again if the command made it and left nothing in it.
pub struct OutputFolder {
    path: PathBuf,
    made: bool,
}

impl OutputFolder {
    /// Makes the folder, so that one that cannot be written is known before any work is done.
    pub fn new(path: &Path) -> Result<Self> {
        let made = !path.exists();
        std::fs::create_dir_all(path).map_err(|e| Error::io("create the folder", path, e))?;
        let folder = Self { path: path.to_owned(), made };
        writable(path).map_err(|e| Error::io("write into the folder", path, e))?;
        Ok(folder)
    }
}

impl Deref for OutputFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        if self.made {
            // Refused, as it should be, unless the folder is empty.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Checks that a file can be written at `path`, before the work that fills it.
pub fn check_output_file(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fails = |why: String| Err(Error::config(format!("cannot write {}: {why}", path.display())));
    if path.is_dir() {
        return fails("it is a folder; give a file name".to_owned());
    }
    if !folder.is_dir() {
        return fails(format!("there is no folder {}; make it first, or write elsewhere", folder.display()));
    }
    writable(folder).map_err(|e| Error::io("write into the folder", folder, e))
}

fn writable(folder: &Path) -> std::io::Result<()> {
    // `open` names the file that it tried; the folder is what the user knows.
    let plain = |e: std::io::Error| e.raw_os_error().map_or_else(|| e.kind().into(), std::io::Error::from_raw_os_error);
    tempfile::Builder::new().prefix(".genailab-").tempfile_in(folder).map(drop).map_err(plain)
}

/// Prints a line. A reader that has gone (`| head`) is no reason to stop; a disk that is full is one.
pub fn say(line: impl Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("write to", "stdout", error)),
        _ => Ok(()),
    }
}

/// Says how an effects dataset is divided.
pub fn say_division(data: &Effects, split: &Split) -> Result<()> {
    say(format_args!(
        "{} perturbations x {} genes; {} to train on, {} doubles to validate on, {} held out",
        data.perturbations.len(),
        data.genes.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len()
    ))
}

/// A dataset with the genes of a model, in its order.
///
/// # Errors
/// Genes that it lacks.
pub fn aligned(data: &Dataset, genes: &[String]) -> Result<Dataset> {
    if data.genes.names == genes {
        return Ok(data.clone());
    }
    let known: std::collections::HashMap<&str, usize> = data.genes.names.iter().map(String::as_str).zip(0..).collect();
    let places: Vec<usize> = genes.iter().filter_map(|gene| known.get(gene.as_str()).copied()).collect();
    match genes.iter().find(|gene| !known.contains_key(gene.as_str())) {
        None => data.select_genes(&places),
        Some(first) => Err(Error::data(format!(
            "it lacks {} of the model's {} genes, {first} among them; the model cannot read its cells",
            genes.len() - places.len(),
            genes.len()
        ))),
    }
}
