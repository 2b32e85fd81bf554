//! `genailab train`.

mod args;
mod embedding_report;
mod settings;
mod training;

pub use self::{args::Args, settings::shared, training::split_effects};
use self::{
    settings::{PREDICTED_COLUMNS, check_settings, settings, usual_split},
    training::Training,
};
use crate::{
    options::{say, say_labels, usual_training_cells},
    output::OutputFolder,
    provenance,
};
use genailab::{
    Error, ErrorKind, Result,
    data::{DataKind, Effects, Opened, QcConfig},
    device::Resources,
    model::{
        SettingsFile, check_folder,
        presets::{largest_for, suited},
        registry::{Family, Registry},
    },
    train::write_atomically,
};
use serde_json::Value;
use std::path::Path;

/// Said where a configuration has the table `[qc]` and the data no cells.
pub const QC_WITHOUT_CELLS: &str = "note: [qc] has no meaning for an effects dataset, which holds no cells";

pub fn run(args: &Args) -> Result<()> {
    args.config
        .iter()
        .chain(&args.from)
        .chain(&args.compare_vae)
        .chain(&args.static_files)
        .try_for_each(|file| provenance::reads(file))?;
    // Cheap questions first: a large file takes long to read.
    let registry = Registry::default();
    let family = registry.family(&args.model)?;
    family.check_device(args.device)?;
    check_context(args, family, &registry)?;
    let file = args.config.as_deref().map(SettingsFile::read).transpose()?;
    let (split, qc) = shared(file.as_ref())?;
    check_settings(family, file.as_ref(), args)?;
    // Before its checkpoints are looked at, which may be those of a training at work there.
    let out = OutputFolder::new(&args.out)?;
    check_folder(&args.out, args.resume)?;
    let of_file = |e: Error| match e.kind() {
        ErrorKind::Data | ErrorKind::Inapplicable => e.at(args.data.display()),
        _ => e,
    };
    let of_cells = family.learns_from().contains(&DataKind::Cells);
    let needs_labels = !of_cells || settings(family, file.as_ref(), (DataKind::Cells, 1), args)?.needs_labels();
    if !needs_labels && args.columns.dose_column.is_some() {
        return Err(Error::config(format!(
            "--dose-column: {} is trained without labels; where it reads metadata, name the column in --metadata",
            family.kind()
        )));
    }
    let opened = args.labels_of(family).open_genes(&args.data, &args.genes.choice()?, !needs_labels, |cells| {
        let settings = settings(family, file.as_ref(), (DataKind::Cells, cells.n_cells()), args)?;
        let seed = args.seed.unwrap_or_else(|| settings.seed());
        let split = split.unwrap_or_else(|| usual_split(settings.as_ref()));
        match settings.divide(cells, split.held_out(), seed).map_err(of_file)? {
            Some(split) => Ok(split.train),
            None => usual_training_cells(cells, qc.as_ref(), split, seed).map_err(of_file),
        }
    })?;
    args.genes.check(&opened)?;
    args.note_without_time(&opened, family)?;
    let opened = args.beside_static(opened, family).map_err(of_file)?;
    if needs_labels {
        say_labels(&opened).map_err(of_file)?;
    }
    let opened = prepared(opened, family, qc.as_ref(), args).map_err(of_file)?;
    if let (Opened::Cells(cells), true) = (&opened, family.needs_counts()) {
        cells.require_counts(family.kind()).map_err(of_file)?;
    }
    let kind = match &opened {
        Opened::Cells(_) => DataKind::Cells,
        Opened::Effects(_) => DataKind::Effects,
    };
    let cells = match &opened {
        Opened::Cells(data) => data.n_cells(),
        Opened::Effects(_) => 0,
    };
    let settings = settings(family, file.as_ref(), (kind, cells), args)?;
    if let (Some("auto"), Some(by_data)) = (args.preset.as_deref(), settings.size_for(cells)) {
        let (largest, why) = largest_for(args.device, Resources::detect());
        let size = suited(by_data, largest);
        say(format_args!(
            "preset: {size} ({cells} cells ask for {by_data}; this machine, {why}, is meant for {largest})"
        ))?;
    }
    let seed = args.seed.unwrap_or_else(|| settings.seed());
    let split = split.unwrap_or_else(|| usual_split(settings.as_ref()));
    let training = Training { args, family, settings, split, seed, out };
    let metrics = match opened {
        Opened::Cells(data) => training.on_cells(data),
        Opened::Effects(data) => training.on_effects(&data),
    }
    .map_err(of_file)?;
    write_json(&training.out.join("metrics.json"), &metrics)?;
    say(format_args!("model: {}", training.out.display()))
}

/// Refuses contexts that the model does not know, several columns where it knows one, and names that predictions use for columns of
/// their own.
fn check_context(args: &Args, family: &dyn Family, registry: &Registry) -> Result<()> {
    let kinds = |knows: fn(&dyn Family) -> bool| {
        registry.families().filter(|&family| knows(family)).map(Family::kind).collect::<Vec<_>>().join(" or ")
    };
    match args.context.as_slice() {
        [] => Ok(()),
        [column, ..] if !family.knows_contexts() => Err(Error::config(format!(
            "--context {column}: {} knows no contexts; leave the option out, or train {}",
            family.kind(),
            kinds(|family| family.knows_contexts())
        ))),
        [_] => Ok(()),
        [_, second, ..] if !family.combines_contexts() => Err(Error::config(format!(
            "--context {second}: {} takes one column as the context; give the option once, or train {}",
            family.kind(),
            kinds(|family| family.combines_contexts())
        ))),
        columns => match columns.iter().find(|name| PREDICTED_COLUMNS.contains(&name.as_str())) {
            Some(name) => Err(Error::config(format!(
                "--context {name}: predictions have a column of this name of their own, beside the columns of a context; rename it"
            ))),
            None => Ok(()),
        },
    }
}

/// The data after quality control, in the form that the model learns from best: cells are averaged for a model of mean
/// effects.
fn prepared(opened: Opened, family: &dyn Family, qc: Option<&QcConfig>, args: &Args) -> Result<Opened> {
    let opened = match (opened, qc) {
        (Opened::Cells(cells), Some(qc)) => {
            let (kept, report) = qc.apply(&cells)?;
            say(report)?;
            Opened::Cells(kept)
        }
        (opened, Some(_)) => {
            say(QC_WITHOUT_CELLS)?;
            opened
        }
        (opened, None) => opened,
    };
    match (opened, family.learns_from()) {
        (Opened::Cells(cells), [DataKind::Effects, ..]) => {
            say("a dataset of cells: trained on the mean effect of each perturbation")?;
            Ok(Opened::Effects(Effects::of_cells(&cells)?))
        }
        (Opened::Effects(_), [DataKind::Cells]) => Err(Error::config(format!(
            "{} is an effects dataset, and {} learns from single cells; give a cells dataset, or train --model combination",
            args.data.display(),
            family.kind()
        ))),
        (opened, _) => Ok(opened),
    }
}

/// Writes a JSON file whole or not at all.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    write_atomically(path, format!("{value:#}\n").as_bytes())
}
