//! What an encoder of cells has learnt: embeddings before and after, what they tell of a label, how training went.

use super::{Args, say, write_json};
use genailab::{
    Error, Result,
    data::{Dataset, Split, TargetSum, normalize::log_normalize},
    device::Device,
    eval::{EmbeddingComparison, EmbeddingScore, ProbeConfig, Umap, compare_embeddings, umap},
    math::Pca,
    model::{Trained, registry::Registry},
    ndarray::{Array2, Axis},
    show::{Align, EmbeddingAxes, Figure, Grid, Panel, Report, Series, Verdict, embedding, training_curves},
    train::History,
};
use serde_json::{Value, json};
use std::path::Path;

/// Components of the linear embedding that others are compared with.
const COMPONENTS: usize = 50;
/// Cells shown in a picture; more hide each other.
const CELLS_SHOWN: usize = 3000;
/// The names of the embeddings in tables and verdicts.
const JEPA: &str = "JEPA";
const VAE: &str = "VAE";

/// The report's inputs, checked before the training begins.
pub struct Prepared {
    labels: Labels,
    other: Option<Box<dyn Trained>>,
}

impl Prepared {
    /// Reads the labels and the model to compare with.
    pub fn new(args: &Args, data: &Dataset, split: &Split) -> Result<Self> {
        let other = args.compare_vae.as_deref().map(|dir| other_model(dir, data, split, args.device)).transpose()?;
        Ok(Self { labels: Labels::of(data, args.label.as_deref())?, other })
    }

    /// Writes figures and report.html into `out`, and gives the content of metrics.json.
    pub fn write(&self, facts: &Facts<'_>, out: &Path) -> Result<Value> {
        let embeddings = Embeddings::of(facts.data, facts.split, facts.model, self.other.as_deref())?;
        let comparison = embeddings.compared(&self.labels, facts.split);
        match &comparison {
            Ok(comparison) => say(comparison)?,
            Err(reason) => say(format_args!("the embeddings are not compared: {reason}"))?,
        }
        let figures = figures(facts.history, &embeddings, &self.labels, facts.split)?;
        let folder = out.join("figures");
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("create the folder", &folder, e))?;
        for (name, figure) in &figures {
            figure.save(folder.join(name).with_extension("svg"))?;
        }
        let metrics = json!({
            "label": self.labels.name,
            "held_out_cells": facts.split.test.len(),
            "probe": comparison.as_ref().ok(),
            "no_probe_because": comparison.as_ref().err().map(ToString::to_string),
            "last_epoch": facts.history.last().map(|record| &record.train.parts),
            "training_seconds": facts.history.epochs.iter().map(|record| record.seconds).sum::<f64>(),
        });
        write_json(&out.join("metrics.json"), &metrics)?;
        report(facts, &self.labels, &comparison, figures)?.save(out.join("report.html"))?;
        say(format_args!("report: {}", out.join("report.html").display()))?;
        Ok(metrics)
    }
}

/// A trained model to compare with, which must not have been trained on the cells that are held out here.
fn other_model(dir: &Path, data: &Dataset, split: &Split, device: Device) -> Result<Box<dyn Trained>> {
    let other = Registry::default().load(dir, device).map_err(|e| e.at("--compare-vae"))?;
    if other.abilities().embeddings.is_none() || other.genes() != data.gene_names() {
        return Err(Error::config(format!(
            "--compare-vae {}: it was trained on other genes or on effects; train it on the same file, with the same [qc]",
            dir.display()
        )));
    }
    // Beside the weights, or one folder up where `genailab run` writes it.
    let places = [dir.join("split.json"), dir.join("../split.json")];
    let Some(path) = places.iter().find(|path| path.exists()) else {
        return Err(Error::config(format!(
            "--compare-vae {}: there is no split.json that says which cells it was trained on",
            dir.display()
        )));
    };
    let trained_on = Split::load(path)?;
    trained_on.check(data.n_cells()).map_err(|e| e.at(path.display()))?;
    let seen = [trained_on.train, trained_on.validation].concat();
    split.refuse_test_cells("the VAE of --compare-vae", &seen).map_err(|e| {
        Error::config(format!("{e}; train it with the same --seed, and validation = and test = of [split] as here"))
    })?;
    Ok(other)
}

/// Most numbers that are read as classes.
const MOST_CLASSES: usize = 20;

/// The label of each cell: what the probe predicts and what colours the pictures.
struct Labels {
    /// The column of obs.
    name: String,
    /// The distinct labels, sorted.
    classes: Vec<String>,
    /// Index into `classes`, one per cell.
    of_cell: Vec<u32>,
    control: Option<String>,
}

impl Labels {
    /// The values of a column of obs, or the perturbations.
    fn of(data: &Dataset, column: Option<&str>) -> Result<Self> {
        let Some(name) = column else {
            return Ok(Self {
                name: "perturbation".to_owned(),
                classes: data.perturbations.iter().map(ToString::to_string).collect(),
                of_cell: data.labels.clone(),
                control: data.perturbations.iter().find(|p| p.is_control()).map(ToString::to_string),
            });
        };
        let values = data.cells.column(name).ok_or_else(|| {
            Error::config(format!(
                "--label {name}: obs has no such column; there are {}",
                data.cells.column_names().join(", ")
            ))
        })?;
        let values: Vec<String> =
            values.to_text().into_iter().map(|value| value.unwrap_or_else(|| "missing".to_owned())).collect();
        let mut classes = values.clone();
        classes.sort_unstable();
        classes.dedup();
        if classes.len() > MOST_CLASSES && classes.iter().filter(|class| class.parse::<f64>().is_err()).count() <= 1 {
            return Err(Error::config(format!(
                "--label {name} holds {} different numbers, and the probe tells classes apart; give a column of categories",
                classes.len()
            )));
        }
        let of_cell = values.iter().map(|value| classes.binary_search(value).expect("it is one of them") as u32);
        Ok(Self { name: name.to_owned(), of_cell: of_cell.collect(), classes, control: None })
    }

    fn name_of(&self, cell: usize) -> &str {
        &self.classes[self.of_cell[cell] as usize]
    }
}

/// Embeddings of all cells, each a name and `(cells, width)`.
struct Embeddings(Vec<(String, Array2<f32>)>);

impl Embeddings {
    /// Principal components of the training cells' expression, the JEPA's, and a VAE's where there is one.
    fn of(data: &Dataset, split: &Split, model: &dyn Trained, other: Option<&dyn Trained>) -> Result<Self> {
        let expression = log_normalize(data, TargetSum::default())?.to_dense();
        let components = COMPONENTS.min(data.n_genes()).min(split.train.len().saturating_sub(1)).max(1);
        let pca = Pca::fit(expression.select(Axis(0), &split.train).view(), components, 0)?;
        let rows: Vec<usize> = (0..data.n_cells()).collect();
        let mut all = vec![
            (format!("PCA({components})"), pca.transform(expression.view())?),
            (JEPA.to_owned(), model.embed(data, &rows)?),
        ];
        if let Some(other) = other {
            all.push((VAE.to_owned(), other.embed(data, &rows)?));
        }
        Ok(Self(all))
    }

    /// How well each predicts the label of held-out cells.
    fn compared(&self, labels: &Labels, split: &Split) -> Result<EmbeddingComparison> {
        let named: Vec<_> = self.0.iter().map(|(name, z)| (name.as_str(), z.view())).collect();
        let config = ProbeConfig::default();
        let config = ProbeConfig { neighbours: config.neighbours.min(split.train.len()), ..config };
        compare_embeddings(&named, &labels.of_cell, &split.train, &split.test, &config)
    }
}

/// The figures, by the names of their files.
fn figures(
    history: &History,
    embeddings: &Embeddings,
    labels: &Labels,
    split: &Split,
) -> Result<Vec<(String, Figure)>> {
    let mut figures =
        vec![("training".to_owned(), losses(history)?), ("diagnostics".to_owned(), diagnostics(history)?)];
    let held_out = if split.test.is_empty() { &split.train } else { &split.test };
    let step = held_out.len().div_ceil(CELLS_SHOWN).max(1);
    let rows: Vec<usize> = held_out.iter().copied().step_by(step).collect();
    let names: Vec<&str> = rows.iter().map(|&row| labels.name_of(row)).collect();
    let neighbours = Umap::default().n_neighbors.min(rows.len().saturating_sub(1));
    if neighbours < 2 {
        return Ok(figures);
    }
    for (name, z) in &embeddings.0 {
        let layout = umap(z.select(Axis(0), &rows).view(), Umap { n_neighbors: neighbours, ..Umap::default() })?;
        let part = if split.test.is_empty() { "training" } else { "held-out" };
        let title = format!("{name} of {part} cells, UMAP");
        let axes = EmbeddingAxes::Arbitrary("UMAP 1", "UMAP 2");
        let file = name.to_lowercase().replace(['(', ')'], "");
        figures
            .push((format!("umap_{file}"), embedding(&title, axes, layout.view(), &names, labels.control.as_deref())?));
    }
    Ok(figures)
}

/// A part of the loss over the epochs, of the training and the validation cells.
fn part(history: &History, name: &str) -> Vec<Series> {
    let x: Vec<f64> = history.epochs.iter().map(|record| record.epoch as f64).collect();
    let train = history.epochs.iter().map(|record| record.train.parts.get(name).copied().unwrap_or(f64::NAN)).collect();
    let of = |record: &genailab::train::EpochRecord| record.validation.as_ref()?.parts.get(name).copied();
    let validation: Vec<f64> = history.epochs.iter().map(|record| of(record).unwrap_or(f64::NAN)).collect();
    let both = [Series::new("training", x.clone(), train), Series::new("validation", x, validation)];
    both.into_iter().filter(|series| series.y.iter().any(|value| value.is_finite())).collect()
}

fn losses(history: &History) -> Result<Figure> {
    let panels = [("prediction", "prediction loss"), ("variance", "variance term"), ("covariance", "covariance term")];
    let panels: Vec<Panel> = panels
        .into_iter()
        .map(|(name, label)| Panel { y_label: label.to_owned(), series: part(history, name) })
        .filter(|panel| !panel.series.is_empty())
        .collect();
    training_curves("The loss and what keeps embeddings apart", "epoch", &panels)
}

fn diagnostics(history: &History) -> Result<Figure> {
    let panels = [
        ("spread", "spread over cells (0 to 1)"),
        ("effective_rank", "effective rank"),
        ("embedding_std", "standard deviation"),
        ("teacher_distance", "distance to the teacher"),
    ];
    let panels: Vec<Panel> = panels
        .into_iter()
        .map(|(name, label)| Panel { y_label: label.to_owned(), series: part(history, name) })
        .filter(|panel| !panel.series.is_empty())
        .collect();
    training_curves("Are the embeddings collapsing?", "epoch", &panels)
}

/// What the report says beside its figures.
pub struct Facts<'a> {
    pub source: String,
    pub data: &'a Dataset,
    pub split: &'a Split,
    pub model: &'a dyn Trained,
    pub settings: Value,
    pub history: &'a History,
}

fn report(
    facts: &Facts<'_>,
    labels: &Labels,
    comparison: &Result<EmbeddingComparison>,
    figures: Vec<(String, Figure)>,
) -> Result<Report> {
    let Facts { source, data, split, model, settings, history } = facts;
    let mut report = Report::new("What an encoder of cells has learnt without labels");
    report = match comparison {
        Ok(comparison) => report.verdict(verdict(comparison), comparison.verdict()),
        Err(reason) => report.verdict(Verdict::Warning, format!("The embeddings are not compared: {reason}.")),
    };
    for note in &facts.data.notes {
        report = report.verdict(Verdict::Warning, format!("Data: {note}."));
    }
    let seconds: f64 = history.epochs.iter().map(|record| record.seconds).sum();
    if let Some(last) = history.last() {
        let figure = |name: &str| last.train.parts.get(name).copied().unwrap_or(f64::NAN);
        report = report.verdict(
            Verdict::Plain,
            format!(
                "No collapse: at the end the embeddings' spread over cells is {:.2} of at most 1, their effective rank \
                 {:.1}.",
                figure("spread"),
                figure("effective_rank")
            ),
        );
    }
    let rows = [
        ("source", source.clone()),
        (
            "cells",
            format!(
                "{} ({} to train on, {} to validate on, {} held out)",
                data.n_cells(),
                split.train.len(),
                split.validation.len(),
                split.test.len()
            ),
        ),
        ("genes", data.n_genes().to_string()),
        ("label of the probe", format!("{}, {} classes; training never sees it", labels.name, labels.classes.len())),
        ("stored numbers", model.state()?.n_values().to_string()),
        ("training", format!("{} epochs, {seconds:.0} s", history.epochs.len())),
    ];
    report = report.section("Data and training").table(Grid::facts("", rows));
    if let Ok(comparison) = comparison {
        report = report
            .section("What the embeddings tell")
            .paragraph(format!(
                "A linear probe (logistic regression) and the {} nearest neighbours, of training cells, are asked for the \
                 {} of {} cells that nothing was fitted to. A VAE's latent is that of each cell read as a control cell.",
                comparison.neighbours, labels.name, comparison.cells
            ))
            .table(table(comparison)?);
    }
    let (curves, pictures): (Vec<_>, Vec<_>) = figures.into_iter().partition(|(name, _)| !name.starts_with("umap"));
    report = report.section("Before and after").paragraph(
        "Before: principal components of log expression. After: the embedding. Distances between far groups in a UMAP mean \
         nothing.",
    );
    report = pictures.into_iter().fold(report, |report, (_, figure)| report.figure(figure));
    report = report.section("Diagnostics");
    report = curves.into_iter().fold(report, |report, (_, figure)| report.figure(figure));
    Ok(report.section("Settings").code(serde_json::to_string_pretty(settings).expect("JSON always serialises")))
}

/// Good where the embedding is at least as good as each other by both measures.
fn verdict(comparison: &EmbeddingComparison) -> Verdict {
    let Some(own) = comparison.score(JEPA) else { return Verdict::Warning };
    let behind = |other: &EmbeddingScore| own.accuracy < other.accuracy || own.purity < other.purity;
    if comparison.scores.iter().any(behind) { Verdict::Warning } else { Verdict::Good }
}

fn table(comparison: &EmbeddingComparison) -> Result<Grid> {
    let headings = [
        ("embedding", Align::Left),
        ("width", Align::Right),
        ("probe accuracy", Align::Right),
        ("balanced accuracy", Align::Right),
        ("kNN purity", Align::Right),
    ];
    let mut grid = Grid::new("on held-out cells; higher is better", headings);
    for score in &comparison.scores {
        let EmbeddingScore { name, width, accuracy, balanced_accuracy, purity } = score;
        grid.push([
            name.clone(),
            width.to_string(),
            format!("{accuracy:.3}"),
            format!("{balanced_accuracy:.3}"),
            format!("{purity:.3}"),
        ])?;
    }
    let nothing = [comparison.majority, comparison.chance_purity].map(|value| format!("{value:.3}"));
    let [accuracy, purity] = nothing;
    grid.push(["no knowledge".to_owned(), "-".to_owned(), accuracy, "-".to_owned(), purity])?;
    Ok(grid)
}
