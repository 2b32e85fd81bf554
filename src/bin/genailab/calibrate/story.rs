//! What a study says in words, tables and figures.

use genailab::{
    Result,
    bench::uncertainty::{LEVELS, Opponent, SHIFTED_CONTROL, Study, StudySummary, order_note},
    show::{Align, Figure, Grid, Panel, Report, Series, Verdict, training_curves},
};

/// Experiments that are listed.
const NEXT_SHOWN: usize = 20;

/// What a reader should take away.
pub fn verdicts(study: &Study) -> Vec<(Verdict, String)> {
    let mut lines = Vec::new();
    for (seen, summary) in [(true, study.cells(true)), (false, study.cells(false))] {
        if let Some(summary) = summary {
            lines.push(spread_of_cells(study, seen, &summary));
        }
    }
    if let Some(summary) = study.effects() {
        let covered = summary.coverage[LEVELS.len() - 1];
        let [draws, point, gaussian] = summary.crps;
        let good = (0.85..=0.95).contains(&covered) && draws < point && draws < gaussian;
        lines.push((
            if good { Verdict::Good } else { Verdict::Warning },
            format!(
                "Mean effects never seen: 90 % intervals hold {:.0} % of the observed values ({} conditions); CRPS \
                 {draws:.4}, of the point prediction {point:.4}, of a normal spread that is the same for all {gaussian:.4}.",
                100.0 * covered,
                summary.n
            ),
        ));
    }
    if let Some(correlation) = study.error_correlation() {
        let good = correlation > 0.3;
        lines.push((
            if good { Verdict::Good } else { Verdict::Warning },
            format!(
                "Expected and actual errors of predictions rank alike by {correlation:.2} (Spearman, {} conditions): {}.",
                study.rows.iter().filter(|row| row.means.is_some()).count(),
                if good {
                    "setting unsure predictions aside lowers the error"
                } else {
                    "the model hardly knows which predictions are worse"
                }
            ),
        ));
    }
    lines
}

fn spread_of_cells(study: &Study, seen: bool, summary: &StudySummary) -> (Verdict, String) {
    let covered = summary.coverage[LEVELS.len() - 1];
    let [draws, point, gaussian] = summary.crps;
    let of_cells = |of: fn(&genailab::bench::uncertainty::CellCalibration) -> Option<f64>| {
        study.mean(seen, |row| row.cells.as_ref().and_then(of))
    };
    let correlation = of_cells(|row| row.variance_correlation);
    let ratio = of_cells(|row| row.e_distance).zip(of_cells(|row| row.e_distance_halves)).map(|(got, half)| got / half);
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let opponents = study.opponents(seen);
    let best = opponents.iter().all(|opponent| draws < opponent.crps);
    let good = (0.86..=0.94).contains(&covered) && draws < point && draws < gaussian && best;
    let others: String =
        opponents.iter().map(|Opponent { name, crps, .. }| format!(", of the {name} {crps:.4}")).collect();
    let ratios = of_cells(|row| row.log_variance_ratio_correlation);
    let entropy = |side: usize| study.mean(seen, |row| row.cells.as_ref()?.entropy.map(|of| of[side]));
    let entropies = entropy(0).zip(entropy(1)).map_or_else(String::new, |(drawn, observed)| {
        format!("; drawn cells have {drawn:+.2} nats more entropy than control cells, observed ones {observed:+.2}")
    });
    let which = if seen { "Perturbations that were trained on, other cells" } else { "Perturbations never seen" };
    (
        if good { Verdict::Good } else { Verdict::Warning },
        format!(
            "{which}: 90 % intervals hold {:.1} % of the held-out cells ({} conditions); CRPS {draws:.4}, of a point at the \
             predicted mean {point:.4}, of a normal spread around it {gaussian:.4}{others}; drawn and observed variances of genes \
             correlate by {}, their log ratios to the variances of control cells by {}; the E-distance to held-out cells is {} times \
             that between two halves of them{entropies}.",
            100.0 * covered,
            summary.n,
            number(correlation),
            number(ratios),
            number(ratio)
        ),
    )
}

/// The whole report.
pub fn report(study: &Study, verdicts: &[(Verdict, String)]) -> Result<Report> {
    let mut report = Report::new("Is the predicted spread the true one?");
    for (verdict, line) in verdicts {
        report = report.verdict(*verdict, line.clone());
    }
    sections(report, study)
}

/// The sections of a study, after what a report says already.
pub fn sections(mut report: Report, study: &Study) -> Result<Report> {
    report = report
        .section("Calibration")
        .paragraph(
            "A central interval of 90 % should hold 90 % of what is observed, and so for every level: a curve below the \
             diagonal means intervals that are too narrow, one above it intervals that are too wide.",
        )
        .figure(coverage(study)?);
    if study.rows.iter().any(|row| row.cells.is_some()) {
        report = report.table(cells(study)?).table(sets(study)?);
    }
    if study.rows.iter().any(|row| row.means.is_some()) {
        report = report.table(means(study)?);
    }
    if let Some(curve) = study.selective() {
        let (share, error): (Vec<f64>, Vec<f64>) = curve.into_iter().unzip();
        let overall = vec![*error.last().expect("a curve has a point"); error.len()];
        let series = vec![
            Series::new("surest predictions", share.clone(), error),
            Series::new("all predictions", share, overall),
        ];
        let panel = Panel { y_label: "mean error (RMS)".to_owned(), series };
        report = report
            .section("What to trust")
            .paragraph(
                "Predictions are taken in, the surest first. If the model knows what it does not know, the error of the \
                 surest is below that of all.",
            )
            .figure(
                training_curves("Selective prediction", "share of predictions kept, the surest first", &[panel])?
                    .with_caption("Error of a prediction: root mean square over genes of predicted less observed effect."),
            );
    }
    if !study.next.is_empty() {
        report = report
            .section("What to measure next")
            .paragraph(
                "Pairs of perturbed genes that were not measured, by how far the prediction of their mean effect is \
                 expected to be off (root mean square over genes): the experiment that would remove most error is first. The \
                 expected error depends on the size of the predicted effect alone, so the order is that of the effects.",
            );
        if let Some(note) = order_note(&study.next) {
            report = report.paragraph(note);
        }
        report = report.table(next(study)?);
    }
    if !study.notes.is_empty() {
        let shown: Vec<&str> = study.notes.iter().take(20).map(String::as_str).collect();
        report = report.section("Not judged").code(shown.join("\n"));
    }
    Ok(report)
}

fn coverage(study: &Study) -> Result<Figure> {
    let mut series = vec![Series::new("calibrated", LEVELS.to_vec(), LEVELS.to_vec())];
    let curves = [
        ("cells, perturbations trained on", study.cells(true)),
        ("cells, perturbations never seen", study.cells(false)),
        ("mean effects never seen", study.effects()),
    ];
    for (name, summary) in curves {
        if let Some(summary) = summary {
            series.push(Series::new(name, LEVELS.to_vec(), summary.coverage));
        }
    }
    let panel = Panel { y_label: "share of observed values inside".to_owned(), series };
    Ok(training_curves("Coverage of central intervals", "level of the interval", &[panel])?
        .with_caption("By randomised transforms, so that zeros, which many cells share, do not lift it."))
}

/// The cells of each condition.
fn cells(study: &Study) -> Result<Grid> {
    let mut grid = Grid::new(
        "Drawn cells against held-out cells",
        [
            ("condition", Align::Left),
            ("trained on", Align::Left),
            ("cells", Align::Right),
            ("in 90 %", Align::Right),
            ("CRPS", Align::Right),
            ("of a point", Align::Right),
            ("variance r", Align::Right),
            ("zeros off", Align::Right),
        ],
    );
    for row in &study.rows {
        let Some(cells) = &row.cells else { continue };
        grid.push([
            row.condition.clone(),
            if row.seen { "yes" } else { "no" }.to_owned(),
            cells.cells.to_string(),
            number(Some(cells.coverage[LEVELS.len() - 1])),
            number(Some(cells.crps)),
            number(Some(cells.crps_point)),
            number(cells.variance_correlation),
            number(cells.zero_fraction_error),
        ])?;
    }
    Ok(grid)
}

/// The cells of each condition as a set.
fn sets(study: &Study) -> Result<Grid> {
    let mut grid = Grid::new(
        "Drawn cells against held-out cells, as sets: plain E-distance",
        [
            ("condition", Align::Left),
            ("drawn cells", Align::Right),
            ("another half of the held-out cells", Align::Right),
            ("shifted control cells", Align::Right),
        ],
    );
    for row in &study.rows {
        let Some(cells) = &row.cells else { continue };
        let shifted = cells.opponents.iter().find(|opponent| opponent.name == SHIFTED_CONTROL);
        let distances = [cells.e_distance, cells.e_distance_halves, shifted.and_then(|opponent| opponent.e_distance)];
        let [drawn, half, shifted] = distances.map(number);
        grid.push([row.condition.clone(), drawn, half, shifted])?;
    }
    Ok(grid)
}

/// The mean effect of each condition that was not trained on.
fn means(study: &Study) -> Result<Grid> {
    let mut grid = Grid::new(
        "Drawn mean effects against held-out effects",
        [
            ("condition", Align::Left),
            ("in 90 %", Align::Right),
            ("CRPS", Align::Right),
            ("of a point", Align::Right),
            ("expected error", Align::Right),
            ("error", Align::Right),
        ],
    );
    for row in &study.rows {
        let Some(means) = &row.means else { continue };
        let covered = means.coverage[LEVELS.len() - 1];
        let [covered, crps, point, expected, error] =
            [covered, means.crps, means.crps_point, means.expected_error, means.error].map(|value| number(Some(value)));
        grid.push([row.condition.clone(), covered, crps, point, expected, error])?;
    }
    Ok(grid)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn next(study: &Study) -> Result<Grid> {
    let mut grid = Grid::new(
        "Next experiments",
        [
            ("pair", Align::Left),
            ("expected error", Align::Right),
            ("predicted effect", Align::Right),
            ("error / effect", Align::Right),
        ],
    );
    for next in study.next.iter().take(NEXT_SHOWN) {
        let numbers = [next.expected_error, next.effect, next.relative].map(|value| format!("{value:.3}"));
        let [error, effect, relative] = numbers;
        grid.push([next.perturbation.clone(), error, effect, relative])?;
    }
    Ok(grid)
}
