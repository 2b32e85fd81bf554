//! What the comparison says: verdicts, tables, figures.

use super::Facts;
use genailab::{
    Result,
    eval::synthetic::{COPY, SyntheticEvaluation},
    show::{Align, Figure, Grid, Panel, PlanePanel, Report, Series, Verdict, plane, training_curves},
};

/// A probe that loses more of its accuracy than this by synthetic training is worth a warning.
const LOST_ACCURACY: f64 = 0.05;
/// The score of held-out real records stands in the column of real ones.
const INCEPTION: &str = "Inception score by the probe (real: held-out records)";
/// Points of a distribution function that are drawn.
const POINTS: usize = 60;

pub fn verdicts(found: &SyntheticEvaluation, facts: &Facts) -> Vec<(Verdict, String)> {
    let privacy = &found.privacy;
    let mut all = Vec::new();
    let preference = format!(
        "{:.1} % of the generated records are nearer to a training record than to a held-out one (50 ± {:.1} % if none is memorised)",
        100.0 * privacy.preference,
        100.0 * privacy.preference_error
    );
    all.push(match privacy.is_suspect() {
        true => (
            Verdict::Warning,
            format!(
                "Training records were memorised: {:.1} % of the generated records are copies (held-out real records: {:.1} %); \
                 {preference}.",
                100.0 * privacy.copies,
                100.0 * privacy.copies_of_real
            ),
        ),
        false => {
            // Far below one half the halves themselves differ, so that the test says nothing.
            let differ = privacy.preference < 0.5 - 3.0 * privacy.preference_error;
            let (verdict, why) = match differ {
                true => (Verdict::Warning, "; training and held-out records are not alike, so this says nothing of copies"),
                false => (Verdict::Good, ""),
            };
            (
                verdict,
                format!(
                    "{:.1} % of the generated records are copies (held-out real records: {:.1} %); {preference}{why}. This proves no \
                     privacy.",
                    100.0 * privacy.copies,
                    100.0 * privacy.copies_of_real
                ),
            )
        }
    });
    if let (Some(probe), Some(label)) = (&found.utility, &facts.label) {
        let lost = probe.real.balanced_accuracy - probe.generated.balanced_accuracy;
        let verdict = if lost > LOST_ACCURACY { Verdict::Warning } else { Verdict::Good };
        all.push((
            verdict,
            format!(
                "A probe of {label} that is trained on generated records finds {:.3} of the held-out real ones (balanced over {} \
                 classes); trained on real records {:.3}, on shuffled labels {:.3}.",
                probe.generated.balanced_accuracy, facts.classes, probe.real.balanced_accuracy, probe.shuffled.balanced_accuracy
            ),
        ));
        let scores = &probe.inception_score;
        all.push((
            Verdict::Plain,
            format!(
                "Inception score by the probe of real records: {:.2} of generated, {:.2} of held-out real records, of at most {}.",
                scores.generated, scores.real, facts.classes
            ),
        ));
    }
    all.push((
        Verdict::Plain,
        format!(
            "Fréchet distance to held-out real records {:.2}; of as many real training records {:.2}.",
            found.generated.frechet, found.real.frechet
        ),
    ));
    if !facts.split_known {
        let text = "The generator's training records are not known (--split): each half of the real records is a random one, and the \
                    preference says nothing of a generator that was trained on both.";
        all.push((Verdict::Warning, text.to_owned()));
    }
    all.extend(facts.notes.iter().map(|note| (Verdict::Plain, format!("Note: {note}."))));
    all
}

/// Every quantity beside its value for real training records.
pub fn table(found: &SyntheticEvaluation) -> Result<Grid> {
    let headings =
        [("against held-out real records", Align::Left), ("generated", Align::Right), ("real", Align::Right)];
    let caption = format!("{} generated and as many real training records", found.generated.records);
    let mut grid = Grid::new(caption, headings);
    let (own, real) = (&found.generated, &found.real);
    let agreement = |of: Option<f64>| of.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let (own_genes, real_genes) = (&own.marginals, &real.marginals);
    let rows = [
        ("Fréchet distance (lower is better)", format!("{:.2}", own.frechet), format!("{:.2}", real.frechet)),
        ("precision", format!("{:.3}", own.manifold.precision), format!("{:.3}", real.manifold.precision)),
        ("recall", format!("{:.3}", own.manifold.recall), format!("{:.3}", real.manifold.recall)),
        ("density", format!("{:.3}", own.manifold.density), format!("{:.3}", real.manifold.density)),
        ("coverage", format!("{:.3}", own.manifold.coverage), format!("{:.3}", real.manifold.coverage)),
        ("Kolmogorov-Smirnov of a gene (lower)", format!("{:.3}", own_genes.ks), format!("{:.3}", real_genes.ks)),
        (
            "Wasserstein of a gene, in sd (lower)",
            format!("{:.3}", own_genes.wasserstein),
            format!("{:.3}", real_genes.wasserstein),
        ),
        (
            "share of zeros of a gene (lower)",
            format!("{:.4}", own_genes.zero_share),
            format!("{:.4}", real_genes.zero_share),
        ),
        (
            "gene-gene correlations, Pearson",
            agreement(own_genes.correlation_agreement),
            agreement(real_genes.correlation_agreement),
        ),
        (
            "gene-gene correlations, RMSE (lower)",
            format!("{:.3}", own_genes.correlation_rmse),
            format!("{:.3}", real_genes.correlation_rmse),
        ),
    ];
    for (name, own, real) in rows {
        grid.push([name.to_owned(), own, real])?;
    }
    if let Some(probe) = &found.utility {
        let scores = [probe.inception_score.generated, probe.inception_score.real].map(|score| format!("{score:.2}"));
        grid.push([INCEPTION.to_owned()].into_iter().chain(scores))?;
    }
    Ok(grid)
}

pub fn report(found: &SyntheticEvaluation, facts: &Facts) -> Result<Report> {
    let mut report = Report::new(format!("Generated records of {}", facts.generated));
    for (verdict, text) in verdicts(found, facts) {
        report = report.verdict(verdict, text);
    }
    let [train, held_out, generated] = facts.records;
    let rows = [
        ("real", facts.real.clone()),
        ("generated", facts.generated.clone()),
        ("records", format!("{train} real for training, {held_out} held out, {generated} generated")),
        ("genes", facts.genes.to_string()),
        (
            "space of distances",
            format!("{} principal components ({:.0} % of the variance)", found.components, 100.0 * found.explained),
        ),
    ];
    let [held_out, generated] = &found.scores;
    let clouds = [("real, held out", held_out.clone()), ("generated", generated.clone())];
    let panels = [PlanePanel::new("first two components", clouds)];
    report = report
        .section("Data")
        .table(Grid::facts("", rows))
        .section("Fidelity")
        .table(table(found)?)
        .figure(plane("Generated and held-out real records", ("component 1", "component 2"), &panels)?)
        .section("Copies")
        .paragraph(format!(
            "A generated record is a copy if its distance to the nearest training record is below {COPY} times the median of held-out \
             real records. These tests find memorised records; that they find none proves no privacy."
        ))
        .figure(distances(found)?);
    Ok(report)
}

/// Distribution functions of the distance to the nearest training record.
fn distances(found: &SyntheticEvaluation) -> Result<Figure> {
    let privacy = &found.privacy;
    let series = |name: &str, values: &[f64]| {
        let last = values.len() - 1;
        let places: Vec<usize> = (0..POINTS).map(|point| point * last / (POINTS - 1)).collect();
        let shares = places.iter().map(|&place| 100.0 * (place + 1) as f64 / values.len() as f64).collect();
        Series::new(name, places.iter().map(|&place| values[place]).collect(), shares)
    };
    let [generated, held_out] = &privacy.distances;
    let series = vec![series("generated", generated), series("real, held out", held_out)];
    let panel = Panel { y_label: "share of records below (%)".into(), series };
    let [own, real] = privacy.median_distance;
    let title = "Distance to the nearest training record";
    Ok(training_curves(title, "distance in principal components", &[panel])?
        .with_caption(format!("Median {own:.2} of generated and {real:.2} of held-out real records.")))
}
