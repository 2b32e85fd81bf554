//! `genailab adapt`.

use crate::{
    options::{DataArgs, interrupt_flag, say},
    output::OutputFolder,
    provenance,
    sources::DataFiles,
    train::write_json,
};
use genailab::{
    Error, ErrorKind, Result,
    bench::{Curve, CurveConfig, adaptation_curve},
    data::{Condition, Dataset, Opened},
    device::Device,
    model::{
        Model, Trained,
        jepa::{AdaptConfig, AdaptMethod, AdaptReport, Jepa, Target},
    },
    nn::{AdapterFile, LoraConfig},
    show::{Align, Grid, Report},
    train::{Progress, Run},
};
use rand::{SeedableRng, seq::SliceRandom};
use serde_json::json;
use std::path::PathBuf;

/// The file of what was trained, beside the model.
const ADAPTER: &str = "adapter.safetensors";
/// What another adaptation left in the folder.
const RESULTS: [&str; 2] = ["curve.json", "report.html"];

/// Adapt a trained jepa to another dataset, of which few perturbations were measured
///
/// The perturbations that the model knows carry over to the new data, and those measured in both teach how the new cells differ
/// (another cell line, donor or screen). Genes are matched by name. Learning rate and epochs are chosen on a quarter of the
/// perturbations that is left out; an adaptation that does not predict them better than the base is not used.
///
/// Writes an ordinary model folder into --out, for `genailab predict --context NAME` and `embed`; adapt.json (what was
/// chosen, the share of trained numbers), and adapter.safetensors: what was trained and nothing else, from which
/// `--adapter FILE` makes the model again over the same base.
///
/// With --curve no model is kept: a third of the perturbations is held out, and curve.json and report.html tell their error
/// against the number of perturbations seen, for each of --methods.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the jepa to begin with
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataFiles,
    /// Folder for the adapted model, or the curve
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What is trained: lora, adapter, film, head, full, scratch or none
    #[arg(long, value_name = "METHOD", default_value_t = AdaptMethod::Lora, conflicts_with = "curve")]
    method: AdaptMethod,
    /// Rank of the low-rank additions of lora [default: 8]
    #[arg(long, value_name = "R")]
    rank: Option<usize>,
    /// lora: the addition is multiplied by alpha / rank [default: 16]
    #[arg(long, value_name = "A")]
    alpha: Option<f32>,
    /// Width of the bottlenecks of adapter [default: 8]
    #[arg(long, value_name = "W")]
    bottleneck: Option<usize>,
    /// full: share of the epochs before the encoder is trained too, between 0 and 1 [default: 0]
    #[arg(long, value_name = "SHARE", conflicts_with = "curve")]
    unfreeze: Option<f64>,
    /// Use this many of the new data's perturbations, drawn at random [default: all that the model knows]
    #[arg(long, value_name = "N", conflicts_with = "curve")]
    perturbations: Option<usize>,
    /// Name of the new data as a context of the model
    #[arg(long, value_name = "NAME", default_value = "target")]
    name: String,
    /// Column of cells that names contexts within the new data (cell types); they become NAME/CONTEXT
    #[arg(long, value_name = "COLUMN")]
    context: Option<String>,
    /// Largest number of passes over the training data
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of the perturbations that are drawn and of the training
    #[arg(long, value_name = "S", default_value_t = 0, conflicts_with = "curve")]
    seed: u64,
    /// Train nothing: apply this adapter, of the same base
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["curve", "perturbations", "epochs", "method", "rank", "alpha", "bottleneck", "unfreeze"]
    )]
    adapter: Option<PathBuf>,
    /// Compare methods by the error of held-out perturbations, and keep no model
    #[arg(long)]
    curve: bool,
    /// --curve: the methods, separated by commas
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "none,film,lora,adapter,head,full,scratch",
        requires = "curve"
    )]
    methods: Vec<AdaptMethod>,
    /// --curve: numbers of perturbations that are seen, separated by commas [default: 1, 2, 4, ... and all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "curve")]
    seen: Vec<usize>,
    /// --curve: number of seeds, from 0
    #[arg(long, value_name = "N", default_value_t = 3, requires = "curve")]
    seeds: u64,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    let config = args.config()?;
    if args.curve && args.seeds == 0 {
        return Err(Error::config("--seeds is 0; give at least 1"));
    }
    if args.perturbations == Some(0) {
        return Err(Error::config("--perturbations is 0; give at least 1, or --method none to train nothing"));
    }
    args.adapter.iter().chain([&args.model]).try_for_each(|file| provenance::reads(file))?;
    if args.out.canonicalize().is_ok_and(|out| args.model.canonicalize().is_ok_and(|model| out == model)) {
        return Err(Error::config(format!(
            "--out {} is the folder of --model, which the adapted model would overwrite; give another --out",
            args.out.display()
        )));
    }
    let base = Jepa::load(&args.model, Device::Cpu)?;
    let adapter = args.adapter.as_deref().map(AdapterFile::read).transpose()?;
    let of_file = |e: Error| match e.kind() {
        ErrorKind::Data | ErrorKind::Inapplicable => e.at(args.data.display()),
        _ => e,
    };
    let data = cells(args)?;
    let target = Target::new(&data, base.genes(), &args.name, args.context.as_deref()).map_err(of_file)?;
    say(&target.note)?;
    let out = OutputFolder::new(&args.out)?;
    if args.curve {
        return args.compare(&base, &target, config, &out).map_err(of_file);
    }
    match adapter {
        Some(adapter) => {
            let (model, report) = base.with_adapter(&target, &adapter, &args.run()?).map_err(|e| match e.kind() {
                ErrorKind::Config => e.at(args.adapter.as_deref().expect("it was read").display()),
                _ => of_file(e),
            })?;
            args.kept(&model, &report, Some(&adapter), &out)
        }
        None => {
            let seen = args.seen_of(&base, &target)?;
            let adapted = base.adapt(&target, &seen, &config, &args.run()?).map_err(of_file)?;
            adapted.history.write(&out.join("history.jsonl"))?;
            let adapter = args.method.has_file().then_some(&adapted.adapter);
            args.kept(&adapted.model, &adapted.report, adapter, &out)
        }
    }
}

fn cells(args: &Args) -> Result<Dataset> {
    match args.columns.open(&args.data)? {
        Opened::Cells(cells) => Ok(cells),
        Opened::Effects(_) => Err(Error::config(format!(
            "{} is an effects dataset, and a jepa is adapted by single cells; give a cells dataset",
            args.data.display()
        ))),
    }
}

impl Args {
    /// Refuses options of a method that is not asked for.
    fn check_method_options(&self) -> Result<()> {
        let asked = |method| if self.curve { self.methods.contains(&method) } else { self.method == method };
        let given = [
            ("--rank", self.rank.is_some(), AdaptMethod::Lora),
            ("--alpha", self.alpha.is_some(), AdaptMethod::Lora),
            ("--bottleneck", self.bottleneck.is_some(), AdaptMethod::Adapter),
            ("--unfreeze", self.unfreeze.is_some(), AdaptMethod::Full),
        ];
        match given.into_iter().find(|&(_, given, method)| given && !asked(method)) {
            Some((option, _, method)) => {
                Err(Error::config(format!("{option} is for the method {method}, which is not asked for; leave it out")))
            }
            None => Ok(()),
        }
    }

    fn config(&self) -> Result<AdaptConfig> {
        self.check_method_options()?;
        let usual = AdaptConfig::default();
        let mut config = AdaptConfig {
            method: self.method,
            lora: LoraConfig {
                rank: self.rank.unwrap_or(usual.lora.rank),
                alpha: self.alpha.unwrap_or(usual.lora.alpha),
            },
            bottleneck: self.bottleneck.unwrap_or(usual.bottleneck),
            unfreeze: self.unfreeze.unwrap_or(usual.unfreeze),
            ..usual
        };
        config.training.epochs = self.epochs.unwrap_or(config.training.epochs);
        config.validate()?;
        Ok(config)
    }

    fn run(&self) -> Result<Run<'static>> {
        Ok(Run { seed: self.seed, interrupt: Some(interrupt_flag()), progress: Progress::default(), ..Run::default() })
    }

    /// The conditions to adapt by.
    fn seen_of(&self, base: &Jepa, target: &Target) -> Result<Vec<Condition>> {
        let mut seen = target.singles(|gene| base.knows(gene));
        let all = target.singles(|_| true).len();
        say(format_args!("{} of {all} perturbations of one gene are known to the model", seen.len()))?;
        if let Some(n) = self.perturbations {
            if n > seen.len() {
                return Err(Error::config(format!(
                    "--perturbations {n}: only {} are in the data and known to the model",
                    seen.len()
                )));
            }
            seen.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(self.seed));
            seen.truncate(n);
        }
        Ok(seen)
    }

    /// Writes a model.
    fn kept(
        &self,
        model: &Jepa,
        report: &AdaptReport,
        adapter: Option<&AdapterFile>,
        out: &OutputFolder,
    ) -> Result<()> {
        for old in RESULTS.iter().chain([&ADAPTER]) {
            let _ = std::fs::remove_file(out.join(old));
        }
        model.save(out)?;
        if let Some(adapter) = adapter {
            adapter.write(&out.join(ADAPTER))?;
        }
        write_json(
            &out.join("adapt.json"),
            &json!({ "base": self.model, "data": self.data.display(), "report": report }),
        )?;
        say(report)?;
        let contexts = model.contexts();
        let within = format!("{}/", self.name);
        let is_own = |context: &&String| **context == self.name || context.starts_with(&within);
        let own: Vec<&str> = contexts.iter().filter(is_own).map(String::as_str).collect();
        say(format_args!("contexts of the new data, for `predict --context`: {}", own.join(", ")))?;
        say(format_args!("model: {}", out.display()))
    }

    /// The adaptation curve.
    fn compare(&self, base: &Jepa, target: &Target, adapt: AdaptConfig, out: &OutputFolder) -> Result<()> {
        let config = CurveConfig { methods: self.methods.clone(), seen: self.seen.clone(), seeds: self.seeds, adapt };
        let curve = adaptation_curve(base, target, &config, &self.run()?, |row| {
            say(format_args!(
                "seed {} {:<8} {:>3} seen: L2 {:.3}, Pearson {:.3} ({:.1} s)",
                row.seed, row.method, row.seen, row.l2, row.pearson, row.seconds
            ))
        })?;
        write_json(
            &out.join("curve.json"),
            &json!({ "base": self.model, "data": self.data.display(), "adapt": config.adapt, "curve": curve }),
        )?;
        for n in self.seen.iter().filter(|n| !(1..=curve.pool).contains(*n)) {
            say(format_args!("note: --seen {n} is left out: from 1 to {} perturbations can be seen", curve.pool))?;
        }
        report(&curve, &self.data.display())?.save(out.join("report.html"))?;
        say(format_args!("report: {}", out.join("report.html").display()))
    }
}

/// The curve, its table, and what it took.
fn report(curve: &Curve, data: &str) -> Result<Report> {
    let seen = curve.seen();
    let numbers: Vec<String> = seen.iter().map(|n| format!("{n} seen")).collect();
    let headings = [("method", Align::Left), ("trained", Align::Right)];
    let headings = headings.into_iter().chain(numbers.iter().map(|number| (number.as_str(), Align::Right)));
    let mut grid = Grid::new("L2 error of held-out effects, mean over seeds", headings);
    for method in AdaptMethod::ALL {
        let Some(row) = curve.rows.iter().find(|row| row.method == method) else { continue };
        let errors = seen.iter().map(|&n| curve.l2(method, n).map_or("-".to_owned(), |error| format!("{error:.3}")));
        grid.push([method.to_string(), format!("{:.1} %", 100.0 * row.trained_share)].into_iter().chain(errors))?;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let lines = format!(
        "No change has an error of {:.3}; the true effects would have {:.3} by the noise of the \
         perturbed cells (noise ceiling; that of the control cells is not counted). {} conditions are held out of {}, \
         in {} seeds.",
        mean(&curve.no_change),
        mean(&curve.ceiling),
        curve.held_out,
        curve.held_out + curve.pool,
        curve.no_change.len()
    );
    Ok(Report::new("Adaptation curve")
        .paragraph(format!("Data: {data}. {lines}"))
        .figure(curve.plot("Adaptation curve")?)
        .table(grid))
}
