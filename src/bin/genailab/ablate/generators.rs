//! `genailab ablate --generators`: generators of expression against each other.

use super::Args;
use crate::{
    options::{check_interrupt, interrupt_flag, say},
    output::OutputFolder,
};
use genailab::{
    Error, ErrorKind, Result,
    bench::ablation::{Ablation, GeneratorStudy, Trial, compare_generators, evaluations_figure},
    data::{Dataset, Opened},
    model::{ModelConfig, SettingsFile, diffusion::net::Tokenization, expression_flow::ExpressionFlowSettings},
    show::Report,
    train::write_atomically,
};
use serde_json::json;
use std::cell::Cell;

pub fn run(args: &Args, what: &str) -> Result<()> {
    let study = match what {
        "objectives" => GeneratorStudy::Objectives,
        "tokens" => GeneratorStudy::Tokens,
        _ => {
            let there_are = "there are objectives and tokens";
            return Err(Error::config(format!("--generators {what}: {there_are}")));
        }
    };
    let mut settings = ExpressionFlowSettings::default();
    if let Some(file) = &args.config {
        let given = SettingsFile::read(file)?;
        refuse_shared(&given)?;
        settings = given.over(&settings, ExpressionFlowSettings::validate)?;
    }
    if let Some(epochs) = args.epochs {
        settings.set_epochs(epochs);
    }
    settings.validate()?;
    match study {
        GeneratorStudy::Objectives => refuse_for_objectives(&settings)?,
        GeneratorStudy::Tokens => refuse_for_tokens(&settings)?,
    }
    let of_training =
        |cells: &Dataset| GeneratorStudy::training_cells(args.seeds, cells).map_err(|e| e.at(args.data.display()));
    let opened = args.columns.open_genes(&args.data, &args.genes.choice()?, false, of_training)?;
    args.genes.check(&opened)?;
    let Opened::Cells(data) = opened else {
        return Err(Error::config("--generators compares generators of cells, and this is an effects dataset"));
    };
    data.require_counts("--generators")?;
    let out = OutputFolder::for_results(&args.out)?;
    let interrupt = interrupt_flag();
    let told = json!({ "generators": what, "expression-flow": settings, "genes": args.genes.asked() });
    let mut done = Ablation { dataset: args.data.display().to_string(), settings: told, trials: Vec::new() };
    let file = out.join("ablation.json");
    if args.resume {
        done.resume(&file)?;
    }
    let earlier = done.trials.clone();
    let finished = Cell::new(earlier.len());
    let kept = || match finished.get() {
        0 => "no trial was finished".to_owned(),
        _ => format!("the trials so far are in {}", file.display()),
    };
    let wanted = |variant: &str, seed: u64| !earlier.iter().any(|trial| trial.variant == variant && trial.seed == seed);
    let mut report = |trial: Trial| {
        let figures: Vec<String> = trial.figures.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        say(format_args!("seed {}, {}: {}", trial.seed, trial.variant, figures.join(", ")))?;
        done.trials.retain(|known| (known.seed, &known.variant) != (trial.seed, &trial.variant));
        done.trials.push(trial);
        let text = serde_json::to_string_pretty(&done).expect("names and numbers always serialise");
        write_atomically(&file, text.as_bytes())?;
        finished.set(done.trials.len());
        check_interrupt(&interrupt, kept())
    };
    compare_generators(&data, (study, &settings), (args.seeds, Some(&interrupt)), &wanted, &mut report).map_err(
        |e| match e.kind() {
            ErrorKind::Data => e.at(args.data.display()),
            ErrorKind::Interrupted => check_interrupt(&interrupt, kept()).err().unwrap_or(e),
            _ => e,
        },
    )?;
    let table = done.table()?;
    say(&table)?;
    let page = match study {
        GeneratorStudy::Objectives => Report::new("Rectified flow and DDPM")
            .section("At equal compute")
            .table(table)
            .figure(evaluations_figure(&done.trials)?),
        GeneratorStudy::Tokens => Report::new("Tokens of genes").section("At equal training time").table(table),
    };
    page.save(out.join("report.html"))?;
    say(format_args!("report: {}", out.join("report.html").display()))
}

/// Refuses the tables of a training command, and its seed.
fn refuse_shared(file: &SettingsFile) -> Result<()> {
    let what = match ["split", "qc"].into_iter().find(|table| file.gives(&[table])) {
        Some(table) => {
            format!(
                "[{table}] is no setting of a comparison, which holds out a fifth of the cells of each perturbation"
            )
        }
        None if file.gives(&["train", "seed"]) => "[train] seed: a comparison has the seeds 0 to --seeds".to_owned(),
        None => return Ok(()),
    };
    Err(Error::config(format!("{}: {what}; leave it out", file.path().display())))
}

/// Refuses what a comparison of objectives decides itself.
fn refuse_for_objectives(settings: &ExpressionFlowSettings) -> Result<()> {
    let usual = ExpressionFlowSettings::default();
    let what = match settings {
        _ if settings.sampling != usual.sampling => {
            "[sampling]: each generator draws with 1 to 50 evaluations, without guidance"
        }
        _ if (settings.model.objective, settings.model.parameterization)
            != (usual.model.objective, usual.model.parameterization) =>
        {
            "[model] objective and parameterization: all of them are compared"
        }
        _ => return Ok(()),
    };
    Err(Error::config(format!("--generators objectives: {what}; leave it out of --config")))
}

/// Refuses what a comparison of tokenisations decides itself.
fn refuse_for_tokens(settings: &ExpressionFlowSettings) -> Result<()> {
    let usual = ExpressionFlowSettings::default().model;
    let what = match &settings.model {
        model if model.objective != usual.objective => {
            "[model] objective: all tokenisations are trained by rectified flow"
        }
        model if model.net.tokens.name() == Tokenization::Genes.name() => {
            "[model.net.tokens] kind = \"genes\" gives no number of tokens for the other tokenisations"
        }
        _ => return Ok(()),
    };
    Err(Error::config(format!("--generators tokens: {what}; leave it out of --config")))
}
