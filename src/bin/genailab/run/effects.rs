//! `genailab run` on an effects dataset: doubles that were held out, beside the sum of their singles.

use super::{Settings, Stages, stages::Later, story};
use crate::{
    options::{Fractions, say, say_division},
    train::{QC_WITHOUT_CELLS, split_effects, write_json},
};
use genailab::{
    Result,
    bench::{Evaluation, evaluate_effects},
    data::{DataKind, Effects, Split, TrainingData},
    model::{CountVae, ModelConfig, VaeSettings, registry::train},
    show::{Grid, Report, Verdict, ranked},
    train::{History, TrainConfig},
};
use serde_json::json;
use std::path::Path;

/// Epochs without a better validation loss after which training stops: there are few doubles to watch, so their loss is
/// noisy.
const PATIENCE: usize = 20;

/// The trained VAE of effects, and its scores on the doubles that it has not seen.
struct Fitted {
    model: CountVae,
    split: Split,
    history: History,
    /// Of the model and of the additive prediction; none where no double was held out.
    scores: Option<Vec<Evaluation>>,
}

pub fn run(data: &Effects, file: &Path, mut stages: Stages<'_>) -> Result<()> {
    let usual = VaeSettings::default_for(DataKind::Effects);
    let doubles = data.perturbations.iter().any(|perturbation| perturbation.genes().len() > 1);
    // Without doubles nothing is held out, and there is nothing to validate on.
    let train_config = TrainConfig { early_stopping: doubles.then_some(PATIENCE), ..usual.train.clone() };
    stages.settings = stages.args.settings(VaeSettings { train: train_config, ..usual }, Fractions::default())?;
    let Stages { args, settings, start, .. } = &stages;
    if settings.qc.is_some() {
        say(QC_WITHOUT_CELLS)?;
    }
    let split = split_effects(data, settings.split, settings.seed);
    say_division(data, &split)?;
    let training = TrainingData::of_effects(data, &split, settings.seed)?;
    let (model, history) = train::<CountVae>(&training, &settings.vae, &mut stages.run("vae"))?;
    split.save(args.out.join("split.json"))?;
    let scores = evaluate_effects("vae", data, &split.test, |perturbations| model.predict_effects(perturbations))?;
    let fitted = Fitted { model, split, history, scores };
    let later = Later::of_effects(data, &fitted.split, &stages)?;
    let source = file.display().to_string();
    let results = json!({
        "genailab": env!("CARGO_PKG_VERSION"),
        "source": source,
        "perturbations": data.perturbations.len(),
        "genes": data.genes.len(),
        "split": {
            "train": fitted.split.train.len(),
            "validation": fitted.split.validation.len(),
            "test": fitted.split.test.len(),
        },
        "model": fitted.model.config(),
        "training": settings.vae.train,
        "history": fitted.history.epochs,
        "held_out": { "unit": "difference to control", "effects": fitted.scores },
        "stages": later.to_json(),
        "seconds": start.elapsed().as_secs_f64(),
    });
    let report = report(data, &source, settings, &fitted, &later)?;
    write_json(&args.out.join("results.json"), &results)?;
    report.save(args.out.join("report.html"))?;
    for evaluation in fitted.scores.iter().flatten() {
        say(evaluation)?;
    }
    let (_, line) = verdict(fitted.scores.as_deref());
    say(line)?;
    later.verdicts().iter().try_for_each(|(_, line)| say(line))
}

/// Whether the model is better than adding two effects, in size and in direction: shrinking every effect lowers L2, too.
fn verdict(scores: Option<&[Evaluation]>) -> (Verdict, String) {
    let Some([vae, additive, ..]) = scores else {
        let line = "No double of two known single perturbations was held out, so nothing says how good the model is.";
        return (Verdict::Warning, line.to_owned());
    };
    let mean = |evaluation: &Evaluation, metric: &str| evaluation.summary_of(metric).and_then(|summary| summary.mean);
    let both = |evaluation: &Evaluation| mean(evaluation, "l2").zip(mean(evaluation, "pearson"));
    let (Some((l2, pearson)), Some((sum_l2, sum_pearson))) = (both(vae), both(additive)) else {
        return (Verdict::Warning, "The held-out doubles could not be scored.".to_owned());
    };
    let better = l2 < sum_l2 && pearson > sum_pearson;
    let line = format!(
        "Unseen doubles are predicted at a mean L2 error of {l2:.2} and a Pearson correlation of {pearson:.3}; adding \
         the two single effects gives {sum_l2:.2} and {sum_pearson:.3} ({} doubles).",
        vae.scores.len()
    );
    (if better { Verdict::Good } else { Verdict::Warning }, line)
}

fn report(data: &Effects, source: &str, settings: &Settings, fitted: &Fitted, later: &Later) -> Result<Report> {
    let (kind, line) = verdict(fitted.scores.as_deref());
    let facts = [
        ("source", source.to_owned()),
        ("perturbations", data.perturbations.len().to_string()),
        ("genes", data.genes.len().to_string()),
        ("to train on", fitted.split.train.len().to_string()),
        ("doubles to validate on", fitted.split.validation.len().to_string()),
        ("doubles held out", fitted.split.test.len().to_string()),
    ];
    let mut report =
        Report::new("Predicted effects of unseen doubles").verdict(kind, format!("Stage 1, the VAE. {line}"));
    for (kind, line) in later.verdicts() {
        report = report.verdict(kind, line);
    }
    report = report
        .section("Data")
        .table(Grid::facts("", facts))
        .section("Stage 1: the VAE")
        .paragraph("A Gaussian variational autoencoder of effects, conditioned on the set of perturbed genes; losses are in nats per perturbation.")
        .figure(story::curves(&fitted.history, "nats")?)
        .section("Stage 1: held-out doubles");
    for evaluation in fitted.scores.iter().flatten() {
        let items: Vec<(&str, Option<f64>)> =
            evaluation.scores.iter().map(|score| (score.perturbation.as_str(), score.pearson)).collect();
        let title = format!("{}: agreement of predicted with observed effects", evaluation.model);
        report = report.figure(ranked(&title, "Pearson correlation over genes", &items)?).table(evaluation.to_grid());
    }
    Ok(later
        .report(report)?
        .section("Settings")
        .code(toml::to_string_pretty(fitted.model.config()).expect("settings always serialise"))
        .code(toml::to_string_pretty(&settings.vae.train).expect("settings always serialise")))
}
