//! The settings of a training: those of a size, of the configuration file and of the command line, in this order.

use super::args::{Args, HeldOutArg};
use crate::options::{DataArgs, Fractions, say};
use genailab::{
    Error, Result,
    data::{Condition, CourseColumns, CourseLabels, DataKind, Dataset, Opened, QcConfig, with_static},
    device::{Device, Resources},
    model::{
        SettingsFile,
        presets::{largest_for, suited},
        registry::{Family, Registry, Settings},
    },
};
use std::{collections::HashSet, path::PathBuf};

/// Columns that `genailab predict` writes.
pub const PREDICTED_COLUMNS: [&str; 6] = ["perturbation", "sample", "context", "control_cell", "ncounts", "dose"];

/// What is held out where the configuration says nothing; an encoder is judged by a probe, and
/// expression from metadata per gene, which want more test cells.
pub fn usual_split(settings: &dyn Settings) -> Fractions {
    match settings.needs_labels() {
        false => Fractions { validation: 0.1, test: 0.2 },
        true => Fractions::default(),
    }
}

/// The tables of a configuration file that every model shares.
pub fn shared(file: Option<&SettingsFile>) -> Result<(Option<Fractions>, Option<QcConfig>)> {
    let Some(file) = file else { return Ok((None, None)) };
    Ok((file.shared("split", |split: &Fractions| split.validate())?, file.shared("qc", |_: &QcConfig| Ok(()))?))
}

/// Refuses settings before the data is read, whatever kind it turns out to be.
pub fn check_settings(family: &dyn Family, file: Option<&SettingsFile>, args: &Args) -> Result<()> {
    for &kind in family.learns_from() {
        let settings = settings(family, file, (kind, 1), args)?;
        if !settings.encoder_alone() && (args.label.is_some() || args.compare_vae.is_some()) {
            return Err(Error::config(
                "--label and --compare-vae are for an encoder that is trained alone (--model jepa --phase a); leave them out",
            ));
        }
        if settings.encoder_alone() && !args.context.is_empty() {
            return Err(Error::config(
                "--context: an encoder that is trained alone (--phase a) uses none; leave it out",
            ));
        }
    }
    Ok(())
}

/// The settings of a size, with those of the configuration and of the command line over them.
pub fn settings(
    family: &dyn Family,
    file: Option<&SettingsFile>,
    (kind, cells): (DataKind, usize),
    args: &Args,
) -> Result<Box<dyn Settings>> {
    let mut settings = family.settings(None, kind)?;
    match (args.preset.as_deref(), settings.size_for(cells)) {
        (Some("auto"), Some(by_data)) => settings.set_size(auto_size(by_data, args.device))?,
        (Some(size), _) | (None, Some(size)) => settings.set_size(size)?,
        (None, None) => {}
    }
    if let Some(file) = file {
        settings.configure(file)?;
    }
    if let Some(dir) = &args.from {
        settings.set_from(dir)?;
        settings.set_phase("b")?;
    }
    if let Some(phase) = &args.phase {
        settings.set_phase(phase)?;
    }
    if let Some(columns) = args.course_columns(family) {
        settings.set_course_columns(&columns)?;
    }
    if !args.metadata.is_empty() || args.hold_out.is_some() {
        settings.set_metadata(&args.metadata, args.hold_out.map(HeldOutArg::into_hold_out))?;
    }
    if !args.covariate.is_empty() {
        settings.set_covariates(&args.covariate)?;
    }
    if let Some(epochs) = args.epochs {
        settings.set_epochs(epochs);
        settings.validate()?;
    }
    Ok(settings)
}

/// What `--preset auto` is for data that asks for this size.
fn auto_size(by_data: &'static str, device: Device) -> &'static str {
    suited(by_data, largest_for(device, Resources::detect()).0)
}

impl Args {
    /// How the file is read; a model of courses takes doses as they change in time, not as parts of names.
    pub fn labels_of(&self, family: &dyn Family) -> DataArgs {
        let dose_column = self.columns.dose_column.clone().filter(|_| !family.learns_courses());
        DataArgs { dose_column, ..self.columns.clone() }
    }

    /// Says how many cells of the courses have no time, to a model that takes them for static profiles.
    pub fn note_without_time(&self, opened: &Opened, family: &dyn Family) -> Result<()> {
        let (Opened::Cells(data), Some(columns)) = (opened, self.course_columns(family)) else { return Ok(()) };
        let conditions: Vec<Condition> =
            (0..data.n_cells()).map(|cell| Condition::of(data.perturbation_of(cell).clone())).collect();
        // Columns that are missing or no numbers are the training's to refuse.
        let Ok(labels) = CourseLabels::of(data, &conditions, &columns) else { return Ok(()) };
        match labels.time.iter().filter(|time| time.is_nan()).count() {
            cells if cells > 0 && family.takes_static() => say(format_args!(
                "note: {cells} of {} cells have no time: they are taken for static profiles",
                data.n_cells()
            )),
            _ => Ok(()),
        }
    }

    /// The cells with those of --static, whose times are missing.
    pub fn beside_static(&self, opened: Opened, family: &dyn Family) -> Result<Opened> {
        let Some(first) = self.static_files.first() else { return Ok(opened) };
        if !family.takes_static() {
            let registry = Registry::default();
            let with: Vec<&str> = registry.families().filter(|known| known.takes_static()).map(Family::kind).collect();
            return Err(Error::config(format!(
                "--static {}: {} takes no profiles without a time; leave the option out, or train {}",
                first.display(),
                family.kind(),
                with.join(" or ")
            )));
        }
        let Opened::Cells(courses) = &opened else { return Ok(opened) };
        let labels = self.labels_of(family);
        // Bulk samples need no control beside them, and those that name no perturbation had none.
        let read = |file: &PathBuf| match labels.open_for(file, courses.gene_names(), true)? {
            Opened::Cells(cells) => Ok((file.display().to_string(), cells)),
            Opened::Effects(_) => {
                Err(Error::config("--static: it is an effects dataset; give one of samples or cells")
                    .at(file.display()))
            }
        };
        let statics = self.static_files.iter().map(read).collect::<Result<Vec<_>>>()?;
        let named: Vec<(&str, &Dataset)> = statics.iter().map(|(name, cells)| (name.as_str(), cells)).collect();
        let columns = self.course_columns(family).unwrap_or_default();
        let name = self.data.display();
        let joined = with_static((&name, courses), &named, &columns)?;
        // The files' own notes were said when they were opened.
        let of_files = std::iter::once((name.as_str(), courses)).chain(named);
        let said: HashSet<String> =
            of_files.flat_map(|(name, data)| data.notes.iter().map(move |note| format!("{name}: {note}"))).collect();
        joined
            .notes
            .iter()
            .filter(|note| !said.contains(*note))
            .try_for_each(|note| say(format_args!("note: {note}")))?;
        Ok(Opened::Cells(joined))
    }

    /// Refuses covariates that tell the perturbation, which would then have two conditions, and names that predictions use for
    /// columns of their own.
    pub fn check_covariates(&self, data: &Dataset) -> Result<()> {
        for asked in &self.covariate {
            let name = asked.strip_suffix(":categorical").or(asked.strip_suffix(":continuous")).unwrap_or(asked);
            if PREDICTED_COLUMNS.contains(&name) {
                return Err(Error::config(format!(
                    "--covariate {name}: predictions have a column of this name of their own; leave it out, or rename it"
                )));
            }
            let Some(column) = data.cells.column(name) else { continue };
            let pairs: HashSet<(Option<String>, u32)> =
                column.to_text().into_iter().zip(data.labels.iter().copied()).collect();
            let values: HashSet<&Option<String>> = pairs.iter().map(|(value, _)| value).collect();
            // Numbers that are all different tell everything and are no labels.
            if values.len() > 1 && pairs.len() == values.len() && 2 * values.len() <= data.n_cells() {
                return Err(Error::config(format!(
                    "--covariate {name}: it tells the perturbation of every cell, which is a condition already; leave it out"
                )));
            }
        }
        Ok(())
    }

    /// The columns of a time course that were named, for a model that learns from one.
    fn course_columns(&self, family: &dyn Family) -> Option<CourseColumns> {
        let named = [&self.time_column, &self.course_column].into_iter().any(Option::is_some);
        if !named && !family.learns_courses() {
            return None;
        }
        Some(CourseColumns {
            time: self.time_column.clone(),
            dose: self.columns.dose_column.clone(),
            course: self.course_column.clone(),
            context: self.context.first().cloned(),
        })
    }
}
