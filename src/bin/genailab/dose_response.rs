//! `genailab dose-response`.

use crate::{
    contexts::AskedContext,
    options::{DataArgs, data_file, say, warn},
    output::{OutputFolder, csv_field},
    predict::at_commas,
    provenance,
};
use genailab::{
    Error, Result,
    data::{Condition, Conditions, Dataset, Effects, Opened, Perturbation, dose::name_and_dose},
    device::Device,
    model::{Sampling, Trained, registry::Registry},
    ndarray::{Array1, Axis},
    show::{DosePanel, DoseSeries, dose_response},
    train::write_atomically,
};
use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

/// Doses of a curve, from the lowest to the highest of training.
const POINTS: usize = 9;
/// Genes of a curve that is not told which.
const GENES: usize = 4;
/// Panels of the figure; the table has all.
const MOST_PANELS: usize = 6;

/// Predict the response of genes against the dose
///
/// For a model that was trained on names with doses (`drug@dose`, --dose-column). Writes DIR/dose_response.csv (perturbation, dose,
/// gene, predicted, measured) and DIR/dose_response.svg. A response is the difference to control in mean log-normalised expression;
/// of a model of mean effects, in the unit of its training data. The measured doses of --data are points beside the curves.
#[derive(clap::Args, Clone)]
pub struct Args {
    /// Folder that `genailab train` wrote
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Names without doses, separated by commas; A+B is both at the same dose. A name of the model that holds a comma is one name
    #[arg(long, value_name = "A,B", required = true)]
    perturbations: Vec<String>,
    /// Doses to predict [default: 9 from the lowest to the highest of training, evenly on a log scale]
    #[arg(long, value_name = "D,…", value_delimiter = ',')]
    doses: Vec<f64>,
    /// Genes to show, separated by commas [default: the 4 that a perturbation is predicted to change most]
    #[arg(long, value_name = "GENE,…", value_delimiter = ',')]
    show_genes: Vec<String>,
    /// Measured cells or effects: their doses are added to the table and the figure
    #[arg(long, value_name = "FILE", value_parser = data_file)]
    data: Option<PathBuf>,
    /// Context (cell type, donor) to predict for, of a model that was trained on contexts; of several columns, the level of each, as
    /// in `genailab predict`
    #[arg(long, value_name = "NAME|COLUMN=LEVEL")]
    context: Vec<String>,
    /// The name of the same context.
    #[arg(skip)]
    asked_context: Option<String>,
    /// Column of --data that names contexts: the measured doses are those of --context. Several columns are written COLUMN+COLUMN
    #[arg(long, value_name = "COLUMN", requires_all = ["context", "data"])]
    context_column: Option<String>,
    /// Cells behind each predicted mean (models of cells)
    #[arg(long, value_name = "N", default_value_t = 1000)]
    cells: usize,
    /// The same seed gives the same curves
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, default_value = "auto")]
    pub device: Device,
    #[command(flatten)]
    columns: DataArgs,
}

/// Measured effects of one name: by gene, dose and effect.
type Measured = BTreeMap<String, Vec<(f64, f64)>>;

pub fn run(args: &Args) -> Result<()> {
    if let Some(dose) = args.doses.iter().find(|dose| !dose.is_finite() || **dose <= 0.0) {
        return Err(Error::config(format!("--doses: {dose} is no dose; give numbers above 0")));
    }
    if args.cells == 0 {
        return Err(Error::config("--cells 0: a mean needs at least one cell"));
    }
    if args.data.is_none() {
        let why = "it says how a file of --data is read, and none is given";
        args.columns.refuse_without_data(why)?;
        if args.columns.separator.is_some() {
            return Err(Error::config(format!("--separator: {why}")));
        }
    }
    if !args.context.is_empty() && args.data.is_some() && args.context_column.is_none() {
        return Err(Error::config("--context with --data: name the column of its contexts by --context-column"));
    }
    provenance::reads(&args.model)?;
    let model = Registry::default().load(&args.model, args.device)?;
    let asked_context = AskedContext::of(model.as_ref(), &args.context, false)?.name;
    let args = &Args { asked_context, ..args.clone() };
    let names = names(model.as_ref(), args)?;
    let measured = args.data.as_deref().map(|file| measured(file, args)).transpose()?;
    if let (Some(file), Some(measured)) = (&args.data, &measured) {
        let unknown: Vec<String> =
            names.iter().filter(|name| !measured.contains_key(name)).map(ToString::to_string).collect();
        if !unknown.is_empty() {
            warn(format_args!("note: {} has no measured dose of {}", file.display(), unknown.join(", ")));
        }
    }
    let mut panels = Vec::new();
    for name in &names {
        panels.push(panel(model.as_ref(), name, measured.as_ref(), args)?);
    }
    let out = OutputFolder::for_results(&args.out)?;
    write_atomically(&out.join("dose_response.csv"), table(&panels).as_bytes())?;
    if panels.len() > MOST_PANELS {
        say(format_args!("note: the figure shows the first {MOST_PANELS} of {} perturbations", panels.len()))?;
    }
    let shown = &panels[..panels.len().min(MOST_PANELS)];
    let figure = dose_response("Dose-response curves", "difference to control", shown)?;
    figure.save(out.join("dose_response.svg"))?;
    say(figure.caption())?;
    say(args.out.display())
}

/// The perturbations that were asked for, once each.
fn names(model: &dyn Trained, args: &Args) -> Result<Vec<Perturbation>> {
    let mut names: Vec<Perturbation> = Vec::new();
    for text in args.perturbations.iter().flat_map(|list| at_commas(list, |name| model.perturbs(name))) {
        let name: Perturbation = text.parse::<Perturbation>().map_err(|e| e.at("--perturbations"))?;
        if name.is_control() {
            return Err(Error::config("--perturbations control: it has no dose; leave it out"));
        }
        if name.has_dose() {
            return Err(Error::config(format!("--perturbations {text}: give names without doses; --doses says which")));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The curves of one perturbation.
fn panel(
    model: &dyn Trained,
    name: &Perturbation,
    measured: Option<&BTreeMap<Perturbation, Measured>>,
    args: &Args,
) -> Result<DosePanel> {
    let known = measured.and_then(|measured| measured.get(name));
    let mut doses = doses(model, name, args)?;
    // At measured doses, curve and points can be compared.
    doses.extend(known.into_iter().flat_map(|known| known.values().next()).flatten().map(|(dose, _)| *dose));
    doses.sort_by(f64::total_cmp);
    doses.dedup();
    let control = effect_base(model, args)?;
    let mut effects = Vec::with_capacity(doses.len());
    for &dose in &doses {
        let condition = Condition { perturbation: name.at_dose(dose), context: args.asked_context.clone() };
        model.check(std::slice::from_ref(&condition)).map_err(|e| e.at("--perturbations"))?;
        effects.push(match &control {
            None => model.effects(&[condition])?.row(0).to_owned(),
            Some(control) => mean(model, &condition, args)? - control,
        });
    }
    let series = genes(model, &effects, args)?.into_iter().map(|gene| {
        let symbol = &model.genes()[gene];
        DoseSeries {
            gene: symbol.clone(),
            predicted: doses.iter().zip(&effects).map(|(&dose, effect)| (dose, effect[gene])).collect(),
            measured: known.and_then(|known| known.get(symbol)).cloned().unwrap_or_default(),
        }
    });
    Ok(DosePanel { name: name.to_string(), series: series.collect() })
}

/// The doses to predict.
fn doses(model: &dyn Trained, name: &Perturbation, args: &Args) -> Result<Vec<f64>> {
    let ranges: Vec<(f64, f64)> = name.genes().iter().filter_map(|name| model.dose_range(name)).collect();
    if ranges.len() < name.genes().len() {
        return Err(Error::config(format!(
            "{name}: this model (a {}) has no curve over doses of it; train a vae or a jepa on names with doses (--dose-column)",
            model.kind()
        )));
    }
    if !args.doses.is_empty() {
        note_outside(name, &args.doses, &ranges)?;
        return Ok(args.doses.clone());
    }
    let (low, high) =
        ranges.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), range| (low.min(range.0), high.max(range.1)));
    let place = |point: usize| low * (high / low).powf(point as f64 / (POINTS - 1) as f64);
    // The ends as they are, without the error of a power.
    Ok(std::iter::once(low).chain((1..POINTS - 1).map(place)).chain([high]).collect())
}

/// Says which doses lie outside those of training.
fn note_outside(name: &Perturbation, doses: &[f64], ranges: &[(f64, f64)]) -> Result<()> {
    let outside = |dose: f64| ranges.iter().any(|(low, high)| !(*low..=*high).contains(&dose));
    let texts: Vec<String> = doses.iter().filter(|dose| outside(**dose)).map(ToString::to_string).collect();
    if texts.is_empty() {
        return Ok(());
    }
    let (low, high) = ranges[0];
    say(format_args!("note: {name} was trained on from {low} to {high}; {} is extrapolated", texts.join(", ")))
}

/// What predicted means are differences to; `None` where the model predicts effects.
fn effect_base(model: &dyn Trained, args: &Args) -> Result<Option<Array1<f64>>> {
    let control = Condition { perturbation: Perturbation::control(), context: args.asked_context.clone() };
    match model.abilities().effects {
        true => Ok(None),
        false => mean(model, &control, args).map(Some),
    }
}

/// The mean of drawn cells, log-normalised; the same random numbers for every condition.
fn mean(model: &dyn Trained, condition: &Condition, args: &Args) -> Result<Array1<f64>> {
    let cells = model.cells(condition, &Sampling::new(args.cells, args.seed))?.log_normalised();
    Ok(cells.mapv(f64::from).mean_axis(Axis(0)).expect("at least one cell was drawn"))
}

/// The columns of the genes that were named, or of those that change most.
fn genes(model: &dyn Trained, effects: &[Array1<f64>], args: &Args) -> Result<Vec<usize>> {
    if args.show_genes.is_empty() {
        let last = effects.last().expect("there is a dose");
        let mut order: Vec<usize> = (0..last.len()).collect();
        order.sort_by(|&a, &b| last[b].abs().total_cmp(&last[a].abs()));
        order.truncate(GENES);
        return Ok(order);
    }
    let place = |gene: &String| {
        model
            .genes()
            .iter()
            .position(|known| known == gene)
            .ok_or_else(|| Error::config(format!("--show-genes {gene}: the model has no gene of this name")))
    };
    args.show_genes.iter().map(place).collect()
}

/// The measured effects of each name at its doses.
fn measured(file: &Path, args: &Args) -> Result<BTreeMap<Perturbation, Measured>> {
    let effects = match args.columns.open(file)? {
        Opened::Cells(cells) => {
            let cells = in_context(cells, args)?;
            Effects::of_cells(&cells).map_err(|e| e.at(file.display()))?
        }
        Opened::Effects(_) if args.context_column.is_some() => {
            return Err(Error::config(
                "--context-column: --data is an effects dataset, which has no cells to choose from",
            ));
        }
        Opened::Effects(effects) => effects,
    };
    let mut found: BTreeMap<Perturbation, Measured> = BTreeMap::new();
    for (perturbation, values) in effects.perturbations.iter().zip(effects.values.rows()) {
        let mut doses: Vec<f64> = perturbation.genes().iter().map(|name| name_and_dose(name).1).collect();
        doses.dedup();
        // Curves have one dose for all names.
        let [dose] = doses[..] else { continue };
        let of_name = found.entry(perturbation.without_doses()).or_default();
        for (gene, &value) in effects.genes.names.iter().zip(values) {
            of_name.entry(gene.clone()).or_default().push((dose, value.into()));
        }
    }
    Ok(found)
}

/// The cells of the context, where one is asked for.
fn in_context(cells: Dataset, args: &Args) -> Result<Dataset> {
    let (Some(name), Some(context)) = (&args.context_column, &args.asked_context) else { return Ok(cells) };
    let conditions = Conditions::of(&cells, Some(name)).map_err(|e| e.at("--context-column"))?;
    let here = |&cell: &usize| conditions.of_row(cell).context.as_ref() == Some(context);
    let rows: Vec<usize> = (0..cells.n_cells()).filter(here).collect();
    match rows.is_empty() {
        true => Err(Error::config(format!("--context {context}: no cell of --data has this value in {name}"))),
        false => Ok(cells.select_cells(&rows)),
    }
}

/// One row per perturbation, gene and dose.
fn table(panels: &[DosePanel]) -> String {
    let mut text = "perturbation,dose,gene,predicted,measured\n".to_owned();
    for panel in panels {
        for series in &panel.series {
            for (dose, predicted) in &series.predicted {
                let measured = series.measured.iter().find(|(at, _)| at == dose);
                let measured = measured.map_or(String::new(), |(_, effect)| effect.to_string());
                let (name, gene) = (csv_field(&panel.name), csv_field(&series.gene));
                writeln!(text, "{name},{dose},{gene},{predicted},{measured}").expect("a text takes any line");
            }
        }
    }
    text
}
