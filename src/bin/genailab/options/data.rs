//! How a data file is read: the options that all commands with data have.

use super::{fetch_if_public, messages::told, refuse_given};
use crate::{
    provenance,
    sources::{DataSource, together},
};
use genailab::{
    Error, Result,
    data::{AnnData, Dataset, Expression, GeneChoice, Naming, OpenOptions, Opened, is_effects},
};
use std::path::{Path, PathBuf};

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
