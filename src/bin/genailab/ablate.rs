//! `genailab ablate`: what each part of a model is worth.

use crate::{
    options::{DataArgs, GenesArg, check_interrupt, interrupt_flag, say},
    output::OutputFolder,
    provenance,
    sources::DataFiles,
};
use genailab::{
    Error, ErrorKind, Result,
    bench::{
        BenchmarkData, Setup,
        ablation::{
            Ablation, MaskModules, ScalingPoint, Trial, ablate_cells, ablate_effects, ablate_jepa,
            names_of_jepa_variants, option_of_jepa_variant, scale_jepa,
        },
    },
    data::{Dataset, Opened, SplitPlan},
    model::{
        ModelConfig,
        combination::CombinationConfig,
        jepa::{JepaSettings, PretrainingConfig, Size},
    },
    show::Report,
    train::{TrainConfig, write_atomically},
};
use serde_json::json;
use std::{cell::Cell, path::PathBuf};

mod figures;
mod generators;

/// Train a model with one part changed at a time, over several seeds
///
/// On an effects dataset: the combination model, judged on doubles that it has not seen. On a cells dataset: the JEPA at size
/// tiny, judged on conditions that it has not seen; or, by --phase a, the pretraining of a perceptron alone, judged on held-out cells by
/// how well a linear probe and nearest neighbours tell the perturbation; or, by --generators, rectified flow and DDPM, or tokens of genes,
/// judged by the cells that they draw.
///
/// Where conditions are judged one by one, the table has beside each variant its difference to the unchanged model on the same
/// conditions, with a 95 % bootstrap interval over conditions.
///
/// Writes ablation.json, after each training, and report.html into --out.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// Cells: `ab`, the whole JEPA, or `a`, pretraining alone, of a perceptron, without labels [default: ab]
    #[arg(long, value_name = "PHASE")]
    phase: Option<String>,
    /// The whole JEPA: what is held out, as in `genailab bench`: doubles, context:COLUMN, ... [default: doubles]
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
    /// The whole JEPA: the variants to train, separated by commas, a space as `_`; an unknown name lists all [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    variants: Vec<String>,
    /// The whole JEPA: add the variants whose masks hide gene sets of this GMT file in place of random genes: on the tokens of the
    /// unchanged model, and with a token for each gene
    #[arg(long, value_name = "GMT", conflicts_with_all = ["scaling", "generators"])]
    gene_sets: Option<PathBuf>,
    /// The same with the targets of transcription factors from a TSV file, `tf<TAB>target[<TAB>weight]`, which may be compressed with
    /// gzip
    #[arg(long, value_name = "TSV", conflicts_with_all = ["scaling", "generators"])]
    regulons: Option<PathBuf>,
    /// The whole JEPA: in place of variants, three widths of its encoder and three shares of the training cells, at equal compute:
    /// cells x passes x weights of the encoder
    #[arg(long, conflicts_with = "variants")]
    scaling: bool,
    /// Cells: generators of expression in place of the JEPA: `objectives`, rectified flow and DDPM at equal compute with 1 to 50
    /// evaluations of the network per drawn cell, or `tokens`, the tokenisations of genes at equal training time
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["phase", "split", "variants", "scaling"])]
    generators: Option<String>,
    /// --generators: settings of the expression-flow that is varied, a TOML file as for `genailab train`
    #[arg(long, value_name = "TOML", requires = "generators")]
    config: Option<PathBuf>,
    /// The whole JEPA, or --generators: go on with the trainings that ablation.json in --out does not have yet
    #[arg(long)]
    resume: bool,
    /// Number of seeds, from 0
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Passes over the training data [default: 60 for effects, those of size tiny for the whole JEPA, 15 for --phase a, 100 for --generators]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "genailab-ablation")]
    out: PathBuf,
    #[command(flatten)]
    genes: GenesArg,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    if args.seeds == 0 {
        return Err(Error::config("--seeds is 0; give at least 1"));
    }
    if let Some(what) = &args.generators {
        return generators::run(args, what);
    }
    let encoder_alone = match args.phase.as_deref() {
        Some("a") => true,
        None | Some("ab") => false,
        Some(phase) => {
            let there_are = "there are a, the encoder alone, and ab, the whole JEPA";
            return Err(Error::config(format!("--phase {phase}: {there_are}")));
        }
    };
    let modules = MaskModules { gene_sets: args.gene_sets.clone(), regulons: args.regulons.clone() };
    let files = || args.gene_sets.iter().chain(&args.regulons);
    files().try_for_each(|file| provenance::reads(file))?;
    let of_whole =
        args.split.is_some() || args.resume || args.scaling || !args.variants.is_empty() || files().next().is_some();
    if encoder_alone && of_whole {
        return Err(Error::config(
            "--split, --variants, --gene-sets, --regulons, --scaling and --resume are for the whole JEPA, not for --phase a; leave \
             them out",
        ));
    }
    if encoder_alone {
        args.genes.refuse("--phase a uses all genes of the file")?;
    }
    let variants: Vec<String> = args.variants.iter().map(|name| name.replace('_', " ")).collect();
    let known = names_of_jepa_variants(&modules);
    if let Some(unknown) = variants.iter().find(|name| !known.contains(&name.as_str())) {
        if let Some(option) = option_of_jepa_variant(unknown) {
            return Err(Error::config(format!("--variants: {unknown:?} needs {option}")));
        }
        return Err(Error::config(format!("--variants: there is no {unknown:?}; there are {}", known.join(", "))));
    }
    let split = args.split.as_deref().unwrap_or("doubles");
    let plan = SplitPlan::parse(split, 0)?;
    let opened = match encoder_alone {
        true => args.columns.open_unlabelled(&args.data)?,
        false => {
            let plans = Setup::plans(split, args.seeds)?;
            let of_training =
                |cells: &Dataset| Setup::training_cells(&plans, cells).map_err(|e| e.at(args.data.display()));
            args.columns.open_genes(&args.data, &args.genes.choice()?, false, of_training)?
        }
    };
    args.genes.check(&opened)?;
    if matches!(opened, Opened::Effects(_)) && (args.phase.is_some() || of_whole) {
        return Err(Error::config(
            "--phase, --split, --variants, --gene-sets, --regulons, --scaling and --resume are for cells; leave them out",
        ));
    }
    let mut jepa = JepaSettings::preset(Size::Tiny);
    if let Some(epochs) = args.epochs {
        jepa.set_epochs(epochs);
    }
    jepa.validate()?;
    if let Opened::Cells(cells) = &opened {
        modules.notes(cells.gene_names())?.iter().try_for_each(say)?;
    }
    let out = OutputFolder::for_results(&args.out)?;
    let interrupt = interrupt_flag();
    let dataset = args.data.display().to_string();
    let settings = match opened {
        Opened::Cells(_) if !encoder_alone => {
            let mut settings = json!({ "split": split, "jepa": jepa });
            for (name, file) in [("gene_sets", &modules.gene_sets), ("regulons", &modules.regulons)] {
                if let Some(file) = file {
                    settings[name] = json!(file);
                }
            }
            settings
        }
        _ => serde_json::Value::Null,
    };
    let mut done = Ablation { dataset, settings, trials: Vec::new() };
    if args.resume {
        done.resume(&out.join("ablation.json"))?;
    }
    let earlier = done.trials.clone();
    let file = out.join("ablation.json");
    let finished = Cell::new(done.trials.len());
    let kept = || match finished.get() {
        0 => "no trial was finished".to_owned(),
        _ => format!("the trials so far are in {}", file.display()),
    };
    let mut told = |trial: Trial| {
        let figures: Vec<String> = trial.figures.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        let outcome = trial.failure.clone().unwrap_or_else(|| figures.join(", "));
        say(format_args!("seed {}, {}: {outcome}", trial.seed, trial.variant))?;
        done.trials.push(trial);
        let text = serde_json::to_string_pretty(&done).expect("names and numbers always serialise");
        write_atomically(&file, text.as_bytes())?;
        finished.set(done.trials.len());
        check_interrupt(&interrupt, kept())
    };
    match opened {
        Opened::Effects(data) => {
            let mut config = CombinationConfig::default();
            config.training.epochs = args.epochs.unwrap_or(config.training.epochs);
            config.training.validate()?;
            ablate_effects(&BenchmarkData::new(Opened::Effects(data), None)?, &config, args.seeds, &mut told)
        }
        Opened::Cells(data) if !encoder_alone => {
            let data = BenchmarkData::new(Opened::Cells(data), plan.context_column())?;
            let wanted = |variant: &str, seed: u64| {
                let done = earlier.iter().any(|trial| trial.variant == variant && trial.seed == seed);
                !done && (variants.is_empty() || variants.iter().any(|name| name == variant))
            };
            let runs = (args.seeds, Some(&interrupt));
            match args.scaling {
                true => scale_jepa(&data, split, &jepa, runs, &wanted, &mut told),
                false => ablate_jepa(&data, split, (&jepa, &modules), runs, &wanted, &mut told),
            }
        }
        Opened::Cells(data) => {
            let config = PretrainingConfig { width: 64, ..PretrainingConfig::mlp(Size::Small) };
            let training = TrainConfig { epochs: args.epochs.unwrap_or(15), ..TrainConfig::default() };
            training.validate()?;
            ablate_cells(&data, &config, &training, args.seeds, Some(&interrupt), &mut told)
        }
    }
    .map_err(|e| match e.kind() {
        ErrorKind::Data => e.at(args.data.display()),
        // Within a training as well as between two.
        ErrorKind::Interrupted => check_interrupt(&interrupt, kept()).err().unwrap_or(e),
        _ => e,
    })?;
    let table = done.table()?;
    say(&table)?;
    let report = match args.scaling {
        true => {
            Report::new("Size and data").section("At equal compute").table(table).figure(ScalingPoint::figure(&done)?)
        }
        false => {
            let title = "What each part of the model is good for";
            let report = Report::new(title).section("One thing changed at a time").table(table);
            figures::figures(&done)?.into_iter().fold(report, Report::figure)
        }
    };
    report.save(out.join("report.html"))?;
    say(format_args!("report: {}", out.join("report.html").display()))
}
