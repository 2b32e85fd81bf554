//! What several commands share: how a data file is read, a configuration file, what is printed, Ctrl-C.

use crate::{
    provenance,
    sources::{DataSource, together},
};
use genailab::{
    Error, ErrorKind, Result,
    data::fetch::{FetchOptions, Manifest, cache_dir, fetch_source},
    data::{
        AnnData, Dataset, Effects, Expression, GeneChoice, Naming, OpenOptions, Opened, QcConfig, Split, SplitPlan,
        is_effects,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
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
    /// Column of obs that holds the dose of each cell (a number, or "10 uM"), which is joined onto its perturbation as NAME@DOSE;
    /// control keeps none. Not used unless named. world-model, static-dynamic: the dose that acted in the interval that ends at the cell's time
    /// [default: dose, if it is there]
    #[arg(long, value_name = "COLUMN")]
    pub dose_column: Option<String>,
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
    /// What the values are: counts; log (log-normalised, a microarray); or z (z-scores and other values around 0), which are used
    /// as they are by all that needs no counts [default: found out]
    #[arg(long, value_name = "counts|log|z")]
    pub expression: Option<Expression>,
}

impl DataArgs {
    /// The same for the library, with those of `genailab.toml` beside the file.
    pub fn options(&self, file: &Path) -> Result<OpenOptions> {
        if let (true, Some(expression)) = (self.round_counts, self.expression.filter(|kind| !kind.is_counts())) {
            return Err(Error::config(format!(
                "--round-counts makes counts of fractions, and --expression {expression} says that the values are none; leave one out"
            )));
        }
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
            dose_column: self.dose_column.clone(),
            naming,
            round_counts: self.round_counts,
            expression: self.expression,
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

    /// The options that were given on the command line and say nothing of how a perturbation is spelled.
    fn of_values(&self) -> [(&'static str, bool); 4] {
        [
            ("--counts-layer", self.counts_layer.is_some()),
            ("--lane-column", self.lane_column.is_some()),
            ("--round-counts", self.round_counts),
            ("--expression", self.expression.is_some()),
        ]
    }

    /// Refuses options that have no effect where no data file is opened; --separator may have one for names that are typed.
    pub fn refuse_without_data(&self, why: &str) -> Result<()> {
        let of_labels = [
            ("--perturbation-column", self.perturbation_column.is_some()),
            ("--dose-column", self.dose_column.is_some()),
            ("--obs", !self.obs.is_empty()),
            ("--control", !self.control.is_empty()),
            ("--guide-suffix", self.guide_suffix),
            ("--drop-label", !self.drop_label.is_empty()),
        ];
        refuse_given(of_labels.into_iter().chain(self.of_values()), why)
    }

    /// As [`Self::open`], with the genes that are asked for, so that those of a whole transcriptome never stand in memory;
    /// `training` names the cells that variable genes are chosen by.
    pub fn open_genes<D: DataSource + ?Sized>(
        &self,
        data: &D,
        choice: &GeneChoice,
        labels_optional: bool,
        training: impl FnOnce(&Dataset) -> Result<Vec<usize>>,
    ) -> Result<Opened> {
        let files = data.files();
        let [file] = files[..] else {
            return match self.read(&files, labels_optional)? {
                Opened::Cells(cells) => cells.with_genes(choice, training).map(|cells| told(Opened::Cells(cells))),
                effects => Ok(effects),
            };
        };
        fetch_if_public(file)?;
        let options = self.options_of(0, file, labels_optional)?;
        let anndata = AnnData::open_with_obs(file, options.obs.as_deref())?;
        if is_effects(&anndata) {
            return self.open_with(&files, labels_optional);
        }
        Dataset::open_genes(&anndata, &options, choice, training).map(|data| told(Opened::Cells(data)))
    }

    /// As [`Self::open`], with the genes of a model, as far as the file has them.
    pub fn open_for(&self, file: &Path, genes: &[String], labels_optional: bool) -> Result<Opened> {
        self.open_genes(file, &GeneChoice::Named(genes.to_vec()), labels_optional, |_| Ok(Vec::new()))
    }

    fn open_with(&self, files: &[&Path], labels_optional: bool) -> Result<Opened> {
        self.read(files, labels_optional).map(told)
    }

    /// Reads the files, and puts several together.
    fn read(&self, files: &[&Path], labels_optional: bool) -> Result<Opened> {
        self.check_tables(files)?;
        let open = |(place, file): (usize, &&Path)| {
            fetch_if_public(file)?;
            genailab::data::open_with(file, &self.options_of(place, file, labels_optional)?)
        };
        let mut all = files.iter().enumerate().map(open).collect::<Result<Vec<_>>>()?;
        let opened = if all.len() == 1 { all.remove(0) } else { together(files, all)? };
        if let Opened::Effects(_) = &opened {
            let why = format!("{} is an effects dataset, which has no cells, counts or lanes", files[0].display());
            refuse_given(self.of_values().into_iter(), &why)?;
        }
        Ok(opened)
    }

    /// Refuses a number of --obs that does not fit that of --data.
    pub fn check_tables(&self, files: &[&Path]) -> Result<()> {
        if files.len() > 1 && !self.obs.is_empty() && self.obs.len() != files.len() {
            return Err(Error::config(format!(
                "there are {} --data and {} --obs; give one --obs for each --data, in the same order",
                files.len(),
                self.obs.len()
            )));
        }
        Ok(())
    }

    /// The options of one of several files, which has a table of cells of its own.
    pub fn options_of(&self, place: usize, file: &Path, labels_optional: bool) -> Result<OpenOptions> {
        let options = self.options(file)?;
        let obs = self.obs.get(place).cloned().or_else(|| options.obs.clone());
        obs.iter().try_for_each(|table| provenance::reads(table))?;
        Ok(OpenOptions { labels_optional, obs, ..options })
    }
}

/// Reads the path of a data file. The name of a public dataset is the path that it is fetched to when it is opened.
pub fn data_file(text: &str) -> Result<PathBuf> {
    let path = PathBuf::from(text);
    match Manifest::current()?.find(text) {
        Ok(source) if !path.exists() => Ok(cache_dir()?.join(&source.file)),
        _ => Ok(path),
    }
}

/// Fetches a public dataset that was asked for by its name, or verifies it where it is there. Every data file passes here.
pub fn fetch_if_public(file: &Path) -> Result<()> {
    provenance::reads(file)?;
    let Ok(dir) = cache_dir() else { return Ok(()) };
    if file.parent() != Some(&dir) {
        return Ok(());
    }
    let manifest = Manifest::current()?;
    let public = manifest.datasets.iter().find(|source| file.ends_with(&source.file));
    public.map_or(Ok(()), |source| fetch_source(source, &dir, &FetchOptions::default()).map(drop))
}

fn told(opened: Opened) -> Opened {
    if let Opened::Cells(data) = &opened {
        tell(data);
    }
    opened
}

/// Says on stderr what was chosen and repaired while the cells were read.
pub fn tell(data: &Dataset) {
    data.notes.iter().for_each(|note| warn(format_args!("note: {note}")));
}

/// Which genes of a file of cells are used.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct GenesArg {
    /// Genes of a cells dataset that are used: the N that vary most among the training cells (and the perturbed ones), all, or a
    /// FILE with a gene a line [default: 5000, where the file has more]
    #[arg(long, value_name = "N|all|FILE")]
    genes: Option<String>,
}

impl GenesArg {
    /// What is asked for, the default where nothing is.
    pub fn choice(&self) -> Result<GeneChoice> {
        self.genes.as_deref().map_or_else(|| Ok(GeneChoice::default()), str::parse)
    }

    /// As it was typed.
    pub fn asked(&self) -> Option<&str> {
        self.genes.as_deref()
    }

    /// Refuses the option where it has no effect.
    pub fn refuse(&self, why: &str) -> Result<()> {
        refuse_given([("--genes", self.genes.is_some())].into_iter(), why)
    }

    /// Refuses the option for data that has no cells.
    pub fn check(&self, opened: &Opened) -> Result<()> {
        match (&self.genes, opened) {
            (Some(genes), Opened::Effects(_)) => Err(Error::config(format!(
                "--genes {genes}: an effects dataset has no cells to choose genes by, and all its genes are used; leave the option \
                 out"
            ))),
            _ => Ok(()),
        }
    }
}

/// The training cells of the usual split, after quality control.
pub fn usual_training_cells(
    data: &Dataset,
    qc: Option<&QcConfig>,
    Fractions { validation, test }: Fractions,
    seed: u64,
) -> Result<Vec<usize>> {
    let good = match qc {
        Some(qc) => qc.good_cells(data)?.0,
        None => (0..data.n_cells()).collect(),
    };
    let split = data.select_cells(&good).split(&SplitPlan::Stratified { validation, test, seed })?;
    Ok(split.train.into_iter().map(|row| good[row]).collect())
}

fn refuse_given(mut options: impl Iterator<Item = (&'static str, bool)>, why: &str) -> Result<()> {
    match options.find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::config(format!("{name} has no effect here: {why}; leave it out"))),
        None => Ok(()),
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
    /// The shares of validation and test.
    pub fn held_out(&self) -> [f64; 2] {
        [self.validation, self.test]
    }

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

/// Raised by Ctrl-C where [`interrupt_flag`] was asked for.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static IS_ASKED_FOR: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C (and the signal to terminate) ends the program with one line, and leaves nothing half-written.
pub fn listen_for_interrupts() {
    #[cfg(unix)]
    let survives_hangup = is_ignored(libc::SIGHUP);
    let listening = ctrlc::set_handler(|| {
        if IS_ASKED_FOR.load(Ordering::SeqCst) && !INTERRUPTED.swap(true, Ordering::SeqCst) {
            // For the person at the keyboard; a script is told once, when the program ends.
            if std::io::stderr().is_terminal() {
                warn("stopping; press Ctrl-C again to stop at once");
            }
            return;
        }
        genailab::files::remove_unfinished();
        warn("error: interrupted");
        end_at_once();
    });
    // Without a handler the signal ends the program all the same; the next command removes what it leaves.
    drop(listening);
    #[cfg(unix)]
    if survives_hangup {
        // Started by nohup, it goes on when the terminal is closed.
        // SAFETY: it sets how a signal is met, and nothing else.
        unsafe {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
        }
    }
}

#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: without a new action it only reads the present one into `action`, for which all zeros are a value.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Ends the program while other threads work. What the C library would do at the end is left out: HDF5 would close files that are in
/// use.
fn end_at_once() -> ! {
    #[cfg(unix)]
    // SAFETY: it takes a number and does not come back.
    unsafe {
        libc::_exit(1)
    }
    #[cfg(not(unix))]
    std::process::exit(1)
}

/// A flag that Ctrl-C raises: the first asks the training to stop at its last checkpoint, the second ends the program.
pub fn interrupt_flag() -> Arc<AtomicBool> {
    IS_ASKED_FOR.store(true, Ordering::SeqCst);
    Arc::clone(&INTERRUPTED)
}

/// Ends a command between two of its parts if Ctrl-C was pressed; `kept` says what is left of it.
pub fn check_interrupt(flag: &AtomicBool, kept: impl Display) -> Result<()> {
    match flag.load(Ordering::SeqCst) {
        true => Err(Error::new(ErrorKind::Interrupted, format!("interrupted; {kept}"))),
        false => Ok(()),
    }
}

/// Says a line on stderr. Where that cannot be written (a log on a full disk), the work matters more.
pub fn warn(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
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
    data.require_counts("the model")?;
    with_genes(data, genes)
}

/// The genes of a model, in its order, of counts or of other values.
pub fn with_genes(data: &Dataset, genes: &[String]) -> Result<Dataset> {
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
