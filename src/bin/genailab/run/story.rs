//! The report of a run: data, training, what held-out cells say, what the latents look like.

use super::{Outcome, Raw};
use genailab::{
    Result,
    bench::TruthAgreement,
    data::{Perturbation, QcConfig},
    eval::{FEWEST_CELLS_OF_A_GUIDE, GuideAgreement, Guides, Umap, umap},
    math::Pca,
    ndarray::{Array2, Axis},
    show::{
        Align, EmbeddingAxes, Figure, Grid, Panel, Report, Series, Verdict, effect_scatter, embedding, histogram,
        ranked, training_curves,
    },
    train::History,
};
use std::path::Path;

/// Cells shown in a picture of the latents; more hide each other.
const CELLS_SHOWN: usize = 3000;
/// Perturbations shown there beside control: as many as have a colour and a mark of their own.
const PERTURBATIONS_SHOWN: usize = 7;

/// What a reader should take away, best known first.
pub fn verdicts(outcome: &Outcome) -> Vec<(Verdict, String)> {
    let held_out = &outcome.held_out;
    let mut lines = vec![(
        Verdict::Plain,
        format!(
            "Held-out cells: ELBO {:.1} nats a cell (likelihood {:.1}, KL {:.1}), {} cells; mean squared error of reconstructed \
             log1p counts {:.3}, of the mean profile at each cell's library size {:.3}.",
            held_out.elbo.elbo,
            -held_out.elbo.nll,
            held_out.elbo.kl,
            held_out.elbo.cells,
            held_out.reconstruction_mse,
            held_out.mean_profile_mse
        ),
    )];
    if let Some(pearson) = held_out.evaluation.summary_of("pearson").and_then(|summary| summary.median) {
        lines.push((
            Verdict::Plain,
            format!(
                "Effects of perturbations on held-out cells are predicted with a median Pearson correlation of \
                 {pearson:.2}; these perturbations were seen in training, on other cells."
            ),
        ));
    }
    let latent = outcome.collapse.variance.len();
    let active = outcome.collapse.active;
    lines.push(match active {
        0 => (
            Verdict::Warning,
            format!(
                "All {latent} latents have collapsed: z says nothing about a cell. Set free_nats = 10 in the table [model] of \
                 --config, or give more cells; training longer does not help."
            ),
        ),
        _ => (Verdict::Plain, format!("{active} of {latent} latents are in use; the others stay at the prior.")),
    });
    if let Some(worst) = outcome.truth.as_ref().and_then(|rows| worst_mean(rows)) {
        let good = worst.1 >= 0.95;
        lines.push((
            if good { Verdict::Good } else { Verdict::Warning },
            format!(
                "Counterfactual means agree with the simulation's true means at a Pearson correlation of at least \
                 {:.3} (worst: {}).",
                worst.1, worst.0
            ),
        ));
    }
    lines.extend(outcome.later.verdicts());
    lines
}

fn worst_mean(rows: &[TruthAgreement]) -> Option<(&str, f64)> {
    rows.iter()
        .filter_map(|row| Some((row.perturbation.as_str(), row.mean_pearson?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
}

/// The figures of a run, which stand in the report and as files beside it.
pub struct Figures {
    library_size: Figure,
    genes_per_cell: Figure,
    training: Figure,
    strongest_effect: Figure,
    per_perturbation: Figure,
    latent_umap: Figure,
    latent_pca: Figure,
}

impl Figures {
    /// Draws them.
    pub fn of(outcome: &Outcome) -> Result<Self> {
        let Raw { library_size, detected, .. } = &outcome.raw;
        let QcConfig { min_genes, .. } = outcome.qc.config;
        let (latent_pca, latent_umap) = latents(outcome)?;
        Ok(Self {
            library_size: histogram("Library size", "library size (UMI counts)", "cells", library_size, &[])?,
            genes_per_cell: histogram(
                "Genes detected in a cell",
                "genes detected in this file",
                "cells",
                detected,
                &[("quality control", min_genes as f64)],
            )?,
            training: curves(&outcome.history, "nats per cell")?,
            strongest_effect: effects(outcome)?,
            per_perturbation: per_perturbation(outcome)?,
            latent_umap,
            latent_pca,
        })
    }

    /// Writes each as `NAME.svg` into a folder.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| genailab::Error::io("create the folder", dir, e))?;
        for (name, figure) in [
            ("library_size", &self.library_size),
            ("genes_per_cell", &self.genes_per_cell),
            ("training", &self.training),
            ("strongest_effect", &self.strongest_effect),
            ("per_perturbation", &self.per_perturbation),
            ("latent_umap", &self.latent_umap),
            ("latent_pca", &self.latent_pca),
        ] {
            figure.save(dir.join(name).with_extension("svg"))?;
        }
        Ok(())
    }
}

/// The whole report.
pub fn report(outcome: &Outcome, figures: Figures) -> Result<Report> {
    let Outcome { data, held_out, .. } = outcome;
    let mut report = Report::new("What the three stages learned");
    for (verdict, line) in verdicts(outcome) {
        report = report.verdict(verdict, line);
    }
    for note in &outcome.raw.notes {
        report = report.verdict(Verdict::Warning, format!("Data: {note}."));
    }

    let facts = [
        ("source", outcome.source.clone()),
        ("cells", format!("{} ({} before quality control)", data.n_cells(), outcome.raw.library_size.len())),
        ("genes", format!("{} ({} before)", data.n_genes(), outcome.raw.genes)),
        ("perturbations", format!("{}, control included", data.perturbations.len())),
        ("lanes", data.lanes.len().to_string()),
        ("non-zero counts", format!("{:.1} %", 100.0 * density(outcome))),
    ];
    report = report
        .section("Data")
        .table(Grid::facts("", facts))
        .figure(figures.library_size)
        .figure(figures.genes_per_cell)
        .code(outcome.qc.to_string());
    if let Some(guides) = &outcome.guides {
        report = report.paragraph(guide_story(guides)).table(guide_table(guides)?);
    }

    report = report
        .section("Stage 1: the count VAE")
        .paragraph(format!(
            "A conditional variational autoencoder of counts, trained on {} cells and watched on {}; {} cells were held \
             out for what follows. All losses are in nats a cell, summed over genes and latents.",
            outcome.split.train.len(),
            outcome.split.validation.len(),
            outcome.split.test.len()
        ))
        .figure(figures.training);

    report = report
        .section("Stage 1: held-out cells")
        .paragraph(
            "An effect is the difference to control in mean log1p expression at 10,000 counts a cell. It is observed on \
             held-out cells alone, whose sampling noise bounds what any prediction can reach; a gene counts as changed \
             where a Wilcoxon test among those cells finds it at a false discovery rate of 5 %.",
        )
        .figure(figures.strongest_effect)
        .figure(figures.per_perturbation)
        .table(held_out.evaluation.to_grid());

    if let Some(rows) = &outcome.truth {
        report = report
            .section("Stage 1: against the simulation's truth")
            .paragraph(
                "Held-out control cells, decoded under each perturbation, against the true conditional means, over \
                 expressed genes. The mean says whether the cell is right; the effect (log fold change to control) is \
                 the harder question.",
            )
            .table(truth_table(rows)?);
    }
    report = report
        .section("Stage 1: latents")
        .paragraph(
            "Each point is a held-out cell of control or of one of the perturbations that change most genes, encoded as \
             if it were a control cell, so that what its perturbation did is left in its latent. Distances between far groups in a UMAP mean nothing.",
        )
        .figure(figures.latent_umap)
        .figure(figures.latent_pca);
    Ok(outcome
        .later
        .report(report)?
        .section("Settings")
        .code(toml::to_string_pretty(outcome.model.config()).expect("settings always serialise"))
        .code(toml::to_string_pretty(&outcome.train_config).expect("settings always serialise")))
}

fn density(outcome: &Outcome) -> f64 {
    outcome.data.counts.nnz() as f64 / (outcome.data.n_cells() * outcome.data.n_genes()) as f64
}

/// Both terms of the loss over the epochs, in `unit`.
pub fn curves(history: &History, unit: &str) -> Result<Figure> {
    let epochs = &history.epochs;
    let x: Vec<f64> = epochs.iter().map(|record| record.epoch as f64).collect();
    let part = |name: &str| {
        let train = epochs.iter().map(|record| record.train.parts[name]).collect();
        let validation =
            epochs.iter().map(|record| record.validation.as_ref().map_or(f64::NAN, |v| v.parts[name])).collect();
        vec![Series::new("training", x.clone(), train), Series::new("validation", x.clone(), validation)]
    };
    let panels = [
        Panel { y_label: format!("-log likelihood ({unit})"), series: part("nll") },
        Panel { y_label: format!("KL ({unit})"), series: part("kl") },
    ];
    training_curves("Training", "epoch", &panels)
}

/// Rows of the held-out effects, the one with the most changed genes first (then by the size of the effect: weak effects
/// of few cells are large by noise alone).
fn by_strength(outcome: &Outcome) -> Vec<usize> {
    let held_out = &outcome.held_out;
    let size = |row: usize| held_out.observed.row(row).mapv(|v| v * v).sum();
    let changed = |row: usize| held_out.evaluation.scores[row].n_changed;
    let mut rows: Vec<usize> = (0..held_out.perturbations.len()).collect();
    rows.sort_by(|&a, &b| changed(b).cmp(&changed(a)).then(size(b).total_cmp(&size(a))));
    rows
}

/// Predicted against observed, for the perturbation that does most.
fn effects(outcome: &Outcome) -> Result<Figure> {
    let held_out = &outcome.held_out;
    let strongest = *by_strength(outcome)
        .first()
        .ok_or_else(|| genailab::Error::data("no perturbation has two held-out cells to judge the model by"))?;
    effect_scatter(
        &format!("Effect of {} (the strongest)", held_out.perturbations[strongest]),
        &outcome.data.genes.names,
        &held_out.predicted.row(strongest).to_vec(),
        &held_out.observed.row(strongest).to_vec(),
        8,
    )
}

fn per_perturbation(outcome: &Outcome) -> Result<Figure> {
    let scores = &outcome.held_out.evaluation.scores;
    let items: Vec<(&str, Option<f64>)> =
        scores.iter().map(|score| (score.perturbation.as_str(), score.pearson)).collect();
    ranked("Agreement of predicted with observed effects", "Pearson correlation over genes", &items)
}

/// Guides shown of those that agree least.
const GUIDES_SHOWN: usize = 10;

fn guide_story(guides: &Guides) -> String {
    let median = |of: fn(&GuideAgreement) -> f64| {
        let mut values: Vec<f64> = guides.agreement.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    format!(
        "Guides (column {:?}): {} perturbations have two guides or more with at least {FEWEST_CELLS_OF_A_GUIDE} cells. The effects \
         of two guides against the same gene correlate at {:.2} (median); {:.2} is what the same cells reach when they are dealt out \
         to the guides at random, as if all guides did the same. Those that agree least are shown: an effect that only one guide \
         has may be that guide's own.",
        guides.column,
        guides.agreement.len(),
        median(|one| one.pearson),
        median(|one| one.at_random),
    )
}

fn guide_table(guides: &Guides) -> Result<Grid> {
    let columns = [
        ("perturbation", Align::Left),
        ("guides (cells)", Align::Left),
        ("agreement", Align::Right),
        ("at random", Align::Right),
    ];
    let mut grid = Grid::new("", columns);
    let mut least: Vec<&GuideAgreement> = guides.agreement.iter().collect();
    least.sort_by(|a, b| (a.pearson - a.at_random).total_cmp(&(b.pearson - b.at_random)));
    for one in least.into_iter().take(GUIDES_SHOWN) {
        let of = one.guides.iter().map(|(name, cells)| format!("{name} ({cells})")).collect::<Vec<_>>().join(", ");
        let [agreement, at_random] = [one.pearson, one.at_random].map(|value| format!("{value:.2}"));
        grid.push([one.perturbation.to_string(), of, agreement, at_random])?;
    }
    Ok(grid)
}

fn truth_table(rows: &[TruthAgreement]) -> Result<Grid> {
    let mut grid = Grid::new(
        "",
        [
            ("perturbation", Align::Left),
            ("class", Align::Left),
            ("Pearson of the mean", Align::Right),
            ("Pearson of the effect", Align::Right),
        ],
    );
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
    for row in rows {
        let class = row.class.clone().unwrap_or_else(|| "single".to_owned());
        grid.push([row.perturbation.clone(), class, number(row.mean_pearson), number(row.effect_pearson)])?;
    }
    Ok(grid)
}

/// PCA and UMAP of held-out cells.
fn latents(outcome: &Outcome) -> Result<(Figure, Figure)> {
    let strongest: Vec<&Perturbation> = by_strength(outcome)
        .into_iter()
        .take(PERTURBATIONS_SHOWN)
        .map(|row| &outcome.held_out.perturbations[row])
        .collect();
    let shown = |&row: &usize| {
        let perturbation = outcome.data.perturbation_of(row);
        perturbation.is_control() || strongest.contains(&perturbation)
    };
    let rows: Vec<usize> = outcome.split.test.iter().copied().filter(shown).collect();
    let step = rows.len().div_ceil(CELLS_SHOWN).max(1);
    let rows: Vec<usize> = rows.into_iter().step_by(step).collect();
    let latent = outcome.model.embed_as_control(&outcome.data, &rows)?;
    let names: Vec<String> = rows.iter().map(|&row| outcome.data.perturbation_of(row).to_string()).collect();
    let pca = Pca::fit(latent.view(), 2, 0)?;
    let share = |component: usize| 100.0 * pca.explained_variance_ratio[component];
    let labels = [format!("PC 1 ({:.0} % of variance)", share(0)), format!("PC 2 ({:.0} % of variance)", share(1))];
    let scores: Array2<f32> = pca.transform(latent.view())?;
    let neighbours = Umap::default().n_neighbors.min(rows.len().saturating_sub(1));
    let layout = umap(latent.view(), Umap { n_neighbors: neighbours, ..Umap::default() })?;
    debug_assert_eq!(layout.len_of(Axis(0)), rows.len());
    Ok((
        embedding(
            "Latents of held-out cells, principal components",
            EmbeddingAxes::Measured(&labels[0], &labels[1]),
            scores.view(),
            &names,
            Some("control"),
        )?,
        embedding(
            "Latents of held-out cells, UMAP",
            EmbeddingAxes::Arbitrary("UMAP 1", "UMAP 2"),
            layout.view(),
            &names,
            Some("control"),
        )?,
    ))
}
