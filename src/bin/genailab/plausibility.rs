//! `genailab plausibility`: how plausible are generated cells, by a trained energy?

use crate::{
    options::{DataArgs, aligned, say},
    output::OutputFolder,
    provenance,
    train::write_json,
};
use genailab::{
    Error, ErrorKind, Result,
    data::{Dataset, Opened, Perturbation, Split},
    device::Device,
    eval::{EnergySummary, Plausibility},
    model::{Trained, ebm::shares, registry::Registry},
    ndarray::Array1,
    show::{Align, Figure, Grid, Panel, Report, Series, Verdict, training_curves},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Fewest real and generated cells of a perturbation that are judged on their own.
const FEWEST_CELLS: usize = 10;
/// Bins of the energy histogram.
const BINS: usize = 40;
/// Share of energies on each side that the histogram's range leaves out; they count in its outer bins.
const CUT: f64 = 0.005;
/// An AUROC that is less than this many standard errors from one half is not told from it.
const ERRORS: f64 = 2.0;

/// Say how plausible generated cells are beside real ones, by the energy of a trained ebm
///
/// Real cells are those of --data that the model was not trained on: the held-out cells of split.json in --model if --data is
/// the file that it was trained on, else all. Only real cells of the generated perturbations are compared, where there are any.
///
/// Writes results.json and report.html into --out: the energies of both, the share of generated cells beyond the 95 % quantile
/// of real cells (5 % where both are alike), the share below the 5 % quantile (more than 5 % where generated cells are too
/// alike), and the AUROC of real against generated cells (0.5 where the energy does not tell them apart).
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the ebm that `genailab train --model ebm` wrote
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The .h5ad file with real cells
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The .h5ad file with generated cells, such as `genailab predict` writes
    #[arg(long, value_name = "FILE.h5ad")]
    generated: PathBuf,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, default_value = "auto")]
    pub device: Device,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    args.device.check()?;
    provenance::reads(&args.model)?;
    let model = Registry::default().load(&args.model, args.device)?;
    if !model.abilities().energies {
        return Err(Error::config(format!(
            "{} holds a model of kind {}, which gives no energies; train one with `genailab train --model ebm`",
            args.model.display(),
            model.kind()
        )));
    }
    let real = cells_of(args.columns.open(&args.data)?, &args.data, model.as_ref())?;
    let of_generated = DataArgs { separator: args.columns.separator.clone(), ..DataArgs::default() };
    let generated = cells_of(of_generated.open_unlabelled(&args.generated)?, &args.generated, model.as_ref())?;
    let rows = unseen(&args.model, &args.data, &real)?;
    let rows = of_same_perturbations(rows, &real, &generated)?;
    let out = OutputFolder::for_results(&args.out)?;
    let judged = Judged::new(model.as_ref(), (&real, &rows, &args.data), (&generated, &args.generated))?;
    write_json(&out.join("results.json"), &judged.to_json(args))?;
    judged.report(args)?.save(out.join("report.html"))?;
    judged.verdicts().iter().try_for_each(|(_, text)| say(text))?;
    say(out.join("report.html").display())
}

fn cells_of(opened: Opened, file: &Path, model: &dyn Trained) -> Result<Dataset> {
    match opened {
        Opened::Cells(data) => aligned(&data, model.genes()).map_err(|e| e.at(file.display())),
        Opened::Effects(_) => {
            Err(Error::config(format!("{} is an effects dataset; give one of cells", file.display())))
        }
    }
}

/// The cells of `data` that the model was not trained on.
fn unseen(model: &Path, file: &Path, data: &Dataset) -> Result<Vec<usize>> {
    let path = model.join("split.json");
    let split = if path.exists() { Some(Split::load(&path)?) } else { None };
    match split.filter(|split| split.check(data.n_cells()).is_ok()) {
        Some(split) if split.test.is_empty() => Err(Error::config(format!(
            "{}: the split of the training held out no cell; give a file of other real cells, or train again with test cells \
             (table [split] of --config)",
            path.display()
        ))),
        Some(split) => {
            say(format_args!("real cells: the {} that {} holds out", split.test.len(), path.display()))?;
            Ok(split.test)
        }
        None => {
            say(format_args!(
                "real cells: all {} of {}; it must not be a part of the file that the model was trained on",
                data.n_cells(),
                file.display()
            ))?;
            Ok((0..data.n_cells()).collect())
        }
    }
}

/// The real cells of generated perturbations, or all where there is none of these.
fn of_same_perturbations(rows: Vec<usize>, real: &Dataset, generated: &Dataset) -> Result<Vec<usize>> {
    let wanted: BTreeSet<&Perturbation> =
        (0..generated.n_cells()).map(|cell| generated.perturbation_of(cell)).collect();
    let same: Vec<usize> = rows.iter().copied().filter(|&row| wanted.contains(real.perturbation_of(row))).collect();
    if same.is_empty() {
        say("note: no real cell has one of the generated perturbations; all real cells are compared with")?;
        return Ok(rows);
    }
    Ok(same)
}

/// Generated beside real cells.
struct Judged {
    real: Array1<f64>,
    generated: Array1<f64>,
    all: Plausibility,
    of_perturbations: Vec<(Perturbation, Plausibility)>,
    settings: Value,
}

impl Judged {
    fn new(
        model: &dyn Trained,
        (real, rows, real_file): (&Dataset, &[usize], &Path),
        (generated, file): (&Dataset, &Path),
    ) -> Result<Self> {
        let located = |file: &Path| {
            let place = file.display().to_string();
            move |e: Error| match e.kind() {
                ErrorKind::Data | ErrorKind::Inapplicable | ErrorKind::Numeric => e.at(place.clone()),
                _ => e,
            }
        };
        let every: Vec<usize> = (0..generated.n_cells()).collect();
        let of_real = model.energies(real, rows).map_err(located(real_file))?;
        let of_generated = model.energies(generated, &every).map_err(located(file))?;
        let all = Plausibility::of(&of_real.to_vec(), &of_generated.to_vec())?;
        let (real_groups, groups) = (grouped(real, rows, &of_real), grouped(generated, &every, &of_generated));
        let mut of_perturbations = Vec::new();
        for (perturbation, energies) in &groups {
            let Some(of_real) = real_groups.get(perturbation) else { continue };
            if of_real.len() >= FEWEST_CELLS && energies.len() >= FEWEST_CELLS {
                of_perturbations.push(((*perturbation).clone(), Plausibility::of(of_real, energies)?));
            }
        }
        let settings = model.state()?.description::<Value>()?["settings"].clone();
        Ok(Self { real: of_real, generated: of_generated, all, of_perturbations, settings })
    }

    fn to_json(&self, args: &Args) -> Value {
        let rows = self
            .of_perturbations
            .iter()
            .map(|(perturbation, found)| json!({ "perturbation": perturbation, "found": found }));
        let (low, high) = self.range();
        let (real, generated) = self.histogram();
        json!({
            "model": args.model, "data": args.data, "generated": args.generated, "settings": self.settings,
            "all": self.all, "perturbations": rows.collect::<Vec<_>>(),
            "histogram": { "low": low, "high": high, "real": real, "generated": generated },
        })
    }

    /// Where the energies of both lie, but for the outermost.
    fn range(&self) -> (f64, f64) {
        let mut all: Vec<f64> = self.real.iter().chain(&self.generated).copied().collect();
        all.sort_by(f64::total_cmp);
        let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize];
        let (low, high) = (at(CUT), at(1.0 - CUT));
        if high > low { (low, high) } else { (low - 0.5, low + 0.5) }
    }

    fn histogram(&self) -> (Vec<f64>, Vec<f64>) {
        let (low, high) = self.range();
        (shares(&self.real, low, high, BINS), shares(&self.generated, low, high, BINS))
    }

    fn figure(&self) -> Result<Figure> {
        let (low, high) = self.range();
        let middles: Vec<f64> = (0..BINS).map(|bin| low + (bin as f64 + 0.5) * (high - low) / BINS as f64).collect();
        let (real, generated) = self.histogram();
        let percent = |shares: Vec<f64>| shares.into_iter().map(|share| 100.0 * share).collect();
        let series = vec![
            Series::new("real, not trained on", middles.clone(), percent(real)),
            Series::new("generated", middles, percent(generated)),
        ];
        let panel = Panel { y_label: "share of cells per bin (%)".into(), series };
        Ok(training_curves("Energies of real and generated cells", "energy (nats)", &[panel])?.with_caption(format!(
            "{:.1} % of the generated cells lie beyond the 95 % quantile of real cells ({:.2} nats); AUROC {:.3}.",
            100.0 * self.all.beyond,
            self.all.real.high,
            self.all.auroc
        )))
    }

    fn verdicts(&self) -> Vec<(Verdict, String)> {
        let Plausibility { real, generated, beyond, below, auroc, auroc_error } = self.all;
        let told_apart = (auroc - 0.5).abs() > ERRORS * auroc_error;
        let side = match (told_apart, auroc > 0.5) {
            (false, _) => "the energy does not tell them apart",
            (true, true) => "generated cells are less plausible",
            (true, false) => "generated cells lie where the energy is lower: too near to the centre of the data",
        };
        vec![
            (
                if told_apart { Verdict::Warning } else { Verdict::Good },
                format!("AUROC of generated against real cells {auroc:.3} ± {auroc_error:.3}: {side}."),
            ),
            (
                Verdict::Plain,
                format!(
                    "{:.1} % of {} generated cells have a higher energy than 95 % of {} real cells, and {:.1} % a lower one \
                     than 95 % of them (5 % each where both are alike).",
                    100.0 * beyond,
                    generated.cells,
                    real.cells,
                    100.0 * below
                ),
            ),
            (
                Verdict::Plain,
                format!(
                    "Mean energy {:.2} nats (sd {:.2}) of generated cells, {:.2} ({:.2}) of real ones.",
                    generated.mean, generated.sd, real.mean, real.sd
                ),
            ),
        ]
    }

    fn report(&self, args: &Args) -> Result<Report> {
        let title = format!("Plausibility of {}", args.generated.display());
        let mut report = Report::new(title);
        for (verdict, text) in self.verdicts() {
            report = report.verdict(verdict, text);
        }
        let settings = serde_json::to_string_pretty(&self.settings).expect("it was read from JSON");
        Ok(report
            .section("Energies")
            .figure(self.figure()?)
            .paragraph(
                "An energy is minus a log density, up to a constant, in the space that the model was trained in. Equal energies \
                 do not prove equal distributions: compare `genailab distances` too.",
            )
            .table(self.summaries()?)
            .section("By perturbation")
            .table(self.table()?)
            .section("Settings of the model")
            .code(settings))
    }

    fn summaries(&self) -> Result<Grid> {
        let headings = ["cells", "mean", "sd", "5 %", "median", "95 %"].map(|name| (name, Align::Right));
        let mut table = Grid::new("Energies in nats", [("", Align::Left)].into_iter().chain(headings));
        for (name, of) in [("real", self.all.real), ("generated", self.all.generated)] {
            let EnergySummary { cells, mean, sd, low, median, high } = of;
            let numbers = [mean, sd, low, median, high].map(|value| format!("{value:.2}"));
            table.push([name.to_owned(), cells.to_string()].into_iter().chain(numbers))?;
        }
        Ok(table)
    }

    fn table(&self) -> Result<Grid> {
        let headings =
            ["real", "generated", "beyond (%)", "below (%)", "AUROC", "its error"].map(|name| (name, Align::Right));
        let caption =
            format!("Perturbations with at least {FEWEST_CELLS} real and generated cells, highest AUROC first");
        let mut table = Grid::new(caption, [("perturbation", Align::Left)].into_iter().chain(headings));
        let mut rows: Vec<&(Perturbation, Plausibility)> = self.of_perturbations.iter().collect();
        rows.sort_by(|a, b| b.1.auroc.total_cmp(&a.1.auroc));
        for (perturbation, found) in rows {
            table.push([
                perturbation.to_string(),
                found.real.cells.to_string(),
                found.generated.cells.to_string(),
                format!("{:.1}", 100.0 * found.beyond),
                format!("{:.1}", 100.0 * found.below),
                format!("{:.3}", found.auroc),
                format!("{:.3}", found.auroc_error),
            ])?;
        }
        Ok(table)
    }
}

/// The energies of the cells of each perturbation.
fn grouped<'a>(data: &'a Dataset, rows: &[usize], energies: &Array1<f64>) -> BTreeMap<&'a Perturbation, Vec<f64>> {
    let mut groups: BTreeMap<&Perturbation, Vec<f64>> = BTreeMap::new();
    for (&row, &energy) in rows.iter().zip(energies) {
        groups.entry(data.perturbation_of(row)).or_default().push(energy);
    }
    groups
}
