//! The report of a benchmark: what its sentences say, what is bold, that every name stands in it and nothing breaks out.
//!
//! To look at one: `GENAILAB_FIGURES=folder cargo test --test integration report::` keeps the reports of a simulated and, where
//! `../shared/data` (or `GENAILAB_TEST_DATA`) is there, of a real benchmark.

use crate::common::real_data;
use genailab::{
    Error, Result,
    bench::{
        self, Absent, Benchmark, BenchmarkData, Better, Comparison, MetricSummary, ModelFacts, Role, Row, Significance,
        SplitFacts,
    },
    data::{Condition, Effects, Perturbation, SplitPlan, Table, TrainingData},
    ndarray::{Array1, Array2},
    predict::{Fitted, Predictor, baselines::baselines},
    show::{Report, Verdict, verdict},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Distribution, Normal};
use std::path::PathBuf;

// ---- sentences, from numbers written down here ----

fn comparison(
    model: &str,
    (difference, low, high): (f64, f64, f64),
    conditions: usize,
    verdict: Significance,
) -> Comparison {
    Comparison {
        model: model.to_owned(),
        reference: "additive".to_owned(),
        metric: "l2".to_owned(),
        better: Some(Better::Lower),
        difference,
        low: (verdict != Significance::None).then_some(low),
        high: (verdict != Significance::None).then_some(high),
        ratio: Some((20.0 + difference) / 20.0),
        won: Some(0.75),
        verdict,
        conditions,
        pairs: conditions,
    }
}

fn facts(name: &str, role: Role) -> ModelFacts {
    ModelFacts {
        name: name.to_owned(),
        description: format!("What {name} does"),
        role,
        settings: serde_json::Value::Null,
        draws_cells: false,
        fit_seconds: Some(0.01),
        predict_seconds: None,
    }
}

fn role(name: &str) -> Role {
    match name {
        "no_change" => Role::Floor,
        "noise_ceiling" => Role::Ceiling,
        "mine" => Role::File,
        _ => Role::Model,
    }
}

/// A benchmark of doubles with these mean L2 values, the comparisons of which are given.
fn told(means: &[(&str, f64)], comparisons: Vec<Comparison>, seeds: usize) -> Benchmark {
    let splits = (0..seeds as u64).map(|seed| SplitFacts {
        seed,
        train: 90,
        validation: 0,
        test: 40,
        groups: Default::default(),
    });
    Benchmark {
        models: means.iter().map(|(name, _)| facts(name, role(name))).collect(),
        splits: splits.collect(),
        summary: means.iter().map(|(name, mean)| summary(name, "l2", *mean)).collect(),
        rows: means.iter().map(|(name, mean)| row(name, *mean)).collect(),
        comparisons,
        ..Benchmark::default()
    }
}

/// All models predict the same condition.
fn row(model: &str, value: f64) -> Row {
    Row { seed: 0, model: model.to_owned(), perturbation: "A+B".to_owned(), metric: "l2".to_owned(), value }
}

fn summary(model: &str, metric: &str, mean: f64) -> MetricSummary {
    MetricSummary {
        model: model.to_owned(),
        metric: metric.to_owned(),
        mean,
        sd: Some(1.0),
        n: 40,
        median: mean,
        sd_of_seeds: Some(0.3),
    }
}

/// The verdict, with ordinary spaces before `%`.
fn spoken(benchmark: &Benchmark) -> Vec<(Verdict, String)> {
    verdict(benchmark, "l2").into_iter().map(|(tone, text)| (tone, text.replace('\u{a0}', " "))).collect()
}

fn sentences(benchmark: &Benchmark) -> Vec<String> {
    spoken(benchmark).into_iter().map(|(_, text)| text).collect()
}

fn holds(benchmark: &Benchmark, sentence: &str) {
    let all = sentences(benchmark);
    assert!(all.iter().any(|text| text == sentence), "not there: {sentence}\nbut: {all:#?}");
}

#[test]
fn a_beaten_reference_is_told_with_its_margin() {
    let means = [("kernel_ridge", 16.6), ("scaled", 17.0), ("nearest", 24.0), ("pca", 20.1), ("additive", 20.0)];
    let told = told(
        &means,
        vec![
            comparison("scaled", (-3.0, -3.6, -2.2), 40, Significance::Better),
            comparison("kernel_ridge", (-3.4, -4.4, -2.4), 40, Significance::Better),
            comparison("nearest", (4.0, 3.0, 5.0), 40, Significance::Worse),
            comparison("pca", (0.1, -0.1, 0.3), 40, Significance::Unclear),
        ],
        20,
    );
    assert_eq!(
        spoken(&told)[0],
        (
            Verdict::Good,
            "kernel_ridge beats additive by 17 % in L2 (95 % interval 12 to 22 %), nearer on 30 of 40 doubles.".into()
        )
    );
    holds(&told, "So does scaled (−15 %).");
    holds(&told, "2 models do not beat additive (not distinguishable from it: pca; worse: nearest).");
    assert!(sentences(&told).iter().all(|text| !text.contains("not beaten")));
}

#[test]
fn an_unbeaten_reference_is_told_with_the_nearest() {
    let means = [("deep", 21.0), ("deeper", 23.0), ("additive", 20.0)];
    let worse = |name, d| comparison(name, (d, d - 0.5, d + 0.5), 40, Significance::Worse);
    let lost = told(&means, vec![worse("deep", 1.0), worse("deeper", 3.0)], 20);
    assert_eq!(spoken(&lost)[0], (Verdict::Warning, "None of the 2 other models beats additive.".into()));
    holds(&lost, "The nearest, deep, loses to it by 5 % in L2 (95 % interval 3 to 8 %), nearer on 30 of 40 doubles.");
    holds(&lost, "Worse than additive by their interval: deep, deeper.");

    // A lower mean is no win where the interval holds zero.
    let close = vec![comparison("deep", (-0.2, -0.8, 0.4), 40, Significance::Unclear), worse("deeper", 3.0)];
    let unclear = told(&[("deep", 19.8), ("deeper", 23.0), ("additive", 20.0)], close, 20);
    holds(&unclear, "None of the 2 other models beats additive.");
    holds(
        &unclear,
        "The nearest, deep, is not distinguishable from it in L2 (1.0 % better, 95 % interval from -2 to 4 %, where \
         negative is worse), nearer on 30 of 40 doubles.",
    );
    assert!(sentences(&unclear).iter().all(|text| !text.contains("beats") || text.starts_with("None of the 2")));
}

#[test]
fn few_conditions_and_few_seeds_are_said() {
    let few = told(
        &[("deep", 19.0), ("additive", 20.0)],
        vec![comparison("deep", (-1.0, 0.0, 0.0), 3, Significance::None)],
        1,
    );
    holds(
        &few,
        "Whether additive is beaten cannot be said: with 3 doubles judged there is no interval. deep has the lowest mean \
         L2 (−5 %), which may be chance.",
    );
    holds(&few, "Only 3 doubles judged: an interval of so few is too narrow.");
    holds(&few, "One split: how much the choice of what is held out matters is not known. Run with --seeds 5 or more.");
    let enough = told(&[("deep", 19.0)], vec![comparison("deep", (-1.0, -2.0, -0.5), 40, Significance::Better)], 5);
    assert!(sentences(&enough).iter().all(|text| !text.contains("seeds") && !text.contains("too narrow")));
}

#[test]
fn without_additive_another_reference_is_named_with_the_reason() {
    let mut other = comparison("nearest", (-1.0, -2.0, -0.1), 40, Significance::Better);
    other.reference = "mean".into();
    let mut told = told(&[("nearest", 19.0), ("mean", 20.0)], vec![other], 5);
    told.absent.push(Absent {
        model: "additive".into(),
        metric: "l2".into(),
        reason: "the single perturbation of KLF1 was not trained on".into(),
        n: 40,
    });
    holds(
        &told,
        "There is no additive prediction to compare with (the single perturbation of KLF1 was not trained on); \
         mean is the reference instead.",
    );
    assert!(sentences(&told)[1].starts_with("nearest beats mean by 5 % in L2"));
}

#[test]
fn floor_and_ceiling_are_told() {
    let means = [("deep", 16.0), ("bad", 30.0), ("additive", 20.0), ("no_change", 24.0), ("noise_ceiling", 14.0)];
    let comparisons = vec![
        comparison("deep", (-4.0, -5.0, -3.0), 40, Significance::Better),
        comparison("bad", (10.0, 9.0, 11.0), 40, Significance::Worse),
    ];
    let mut benchmark = told(&means, comparisons, 5);
    holds(&benchmark, "Worse than no_change in mean L2 (24.000): bad.");
    holds(
        &benchmark,
        "deep goes 80 % of the way from no change (L2 24.000) to the noise ceiling (14.000: half of the held-out cells \
         against the other half).",
    );
    // Passed: too few cells.
    benchmark.summary.iter_mut().filter(|s| s.model == "noise_ceiling").for_each(|s| s.mean = 18.0);
    let passed = sentences(&benchmark);
    assert!(passed.iter().any(|text| text.contains("is passed by deep (16.000)")), "{passed:#?}");
    // The reference itself is no better than nothing: that must be said, whoever beats it.
    benchmark.comparisons.push(comparison("no_change", (0.2, -1.0, 1.4), 40, Significance::Unclear));
    let text = "no_change is not distinguishable from additive in L2 (1.0 % worse, 95 % interval from -7 to 5 %, where \
                negative is worse), nearer on 30 of 40 doubles.";
    holds(&benchmark, text);
    // Absent: with its reason.
    benchmark.summary.retain(|s| s.model != "noise_ceiling");
    benchmark.absent.push(Absent {
        model: "noise_ceiling".into(),
        metric: "l2".into(),
        reason: "an effects dataset holds no cells that could be halved".into(),
        n: 40,
    });
    holds(
        &benchmark,
        "There is no noise ceiling: an effects dataset holds no cells that could be halved. How good a prediction could \
         be is not known.",
    );
}

#[test]
fn the_mean_baseline_is_unmasked_by_systemas_reference() {
    let mut benchmark = told(
        &[("deep", 16.0), ("mean", 22.0), ("additive", 20.0)],
        vec![comparison("deep", (-4.0, -5.0, -3.0), 40, Significance::Better)],
        5,
    );
    benchmark.summary.extend([
        summary("mean", "pearson", 0.55),
        summary("deep", "pearson", 0.6),
        summary("deep", "pearson_systema", 0.5),
        summary("mean", "pearson_systema", 0.01),
    ]);
    holds(
        &benchmark,
        "The reference matters: correlated against control, the mean of the training perturbations (mean) has \
         Pearson 0.55 without knowing what was perturbed, and deep 0.60; against the mean of the training perturbations \
         (systema) deep has 0.50 and the mean has 0.01.",
    );
}

#[test]
fn a_users_file_has_its_own_sentence() {
    let means = [("mine", 21.0), ("deep", 18.0), ("additive", 20.0)];
    let best = comparison("deep", (-2.0, -3.0, -1.0), 40, Significance::Better);
    let lost = told(&means, vec![comparison("mine", (1.0, 0.4, 1.6), 40, Significance::Worse), best], 5);
    let text = "Your mine loses to additive by 5 % in L2 (95 % interval 2 to 8 %), nearer on 30 of 40 doubles.";
    assert!(spoken(&lost).contains(&(Verdict::Warning, text.into())), "{:#?}", sentences(&lost));
    // It is the best: told once, not twice.
    let won = told(&means, vec![comparison("mine", (-1.0, -1.6, -0.4), 40, Significance::Better)], 5);
    assert_eq!(sentences(&won).iter().filter(|text| text.contains("mine")).count(), 1, "{:#?}", sentences(&won));
    let mut none = told(&[("deep", 19.0)], vec![comparison("deep", (-1.0, -2.0, -0.5), 40, Significance::Better)], 5);
    none.models.push(facts("mine", Role::File));
    none.absent.push(Absent {
        model: "mine".into(),
        metric: "l2".into(),
        reason: "no row is called A+B".into(),
        n: 40,
    });
    holds(&none, "Your mine has no L2: no row is called A+B.");
}

#[test]
fn nothing_and_one_model_are_told_as_such() {
    holds(&Benchmark::default(), "Nothing was measured: no model has a score.");
    holds(
        &told(&[("additive", 20.0)], Vec::new(), 5),
        "Only additive was measured (L2 20.000): there is no other model to compare it with.",
    );
    let report = Benchmark::default().report().expect("an empty benchmark has a report");
    assert!(report.to_html().contains("Nothing was measured"));
}

// ---- whole reports, from benchmarks that were run ----

const GENES: usize = 60;

/// Doubles that are 0.7 times the sum of their singles, with noise and some interactions.
fn effects(singles: usize, doubles: usize, hostile: bool) -> Effects {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut noise = |sd: f64| Normal::new(0.0, sd).expect("a spread").sample(&mut rng) as f32;
    let gene = |i: usize| if hostile && i == 0 { "<b>&\"K'1".to_owned() } else { format!("GENE{i}") };
    let mut perturbations: Vec<Perturbation> = (0..singles).map(|i| Perturbation::of([gene(i)])).collect();
    let mut rows: Vec<Vec<f32>> =
        (0..singles).map(|_| (0..GENES).map(|_| noise(1.0).powi(3) * 0.2).collect()).collect();
    let pairs = (0..singles).flat_map(|i| (i + 1..singles).map(move |j| (i, j)));
    for (i, j) in pairs.take(doubles) {
        perturbations.push(Perturbation::of([gene(i), gene(j)]));
        rows.push((0..GENES).map(|g| 0.7 * (rows[i][g] + rows[j][g]) + noise(0.05)).collect());
    }
    let values = Array2::from_shape_vec((rows.len(), GENES), rows.concat()).expect("rows of one length");
    let names = |n: usize, of: &str| (0..n).map(|i| format!("{of}{i}")).collect::<Vec<_>>();
    Effects {
        values,
        genes: Table::from_names(names(GENES, "gene")),
        table: Table::from_names(names(perturbations.len(), "row")),
        perturbations,
    }
}

/// The additive prediction times a factor; without an answer for conditions of one gene, if it is told so.
struct Scaled {
    name: &'static str,
    factor: f32,
    refuses: Option<&'static str>,
}

impl Predictor for Scaled {
    fn name(&self) -> &str {
        self.name
    }
    fn description(&self) -> &str {
        "The sum of the single effects <i>times</i> a factor"
    }
    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "factor": self.factor })
    }
    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        struct Of(TrainingData, f32, Option<&'static str>);
        impl Fitted for Of {
            fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
                let genes = condition.perturbation.genes();
                if let Some(gene) = self.2.filter(|gene| genes.iter().any(|g| g == gene)) {
                    return Err(Error::inapplicable(format!("{gene} is <not> known")));
                }
                let mut sum = Array1::zeros(self.0.genes.len());
                for gene in genes {
                    sum += &self.0.effects()?.single(gene, None)?;
                }
                Ok(sum * self.1)
            }
        }
        Ok(Box::new(Of(training.clone(), self.factor, self.refuses)))
    }
}

fn scaled(name: &'static str, factor: f32) -> Box<dyn Predictor> {
    Box::new(Scaled { name, factor, refuses: None })
}

fn simulated(models: Vec<Box<dyn Predictor>>, doubles: usize, seeds: u64, hostile: bool) -> Benchmark {
    let plans: Vec<(u64, SplitPlan)> = (0..seeds).map(|seed| (seed, SplitPlan::Doubles { test: 0.5, seed })).collect();
    let data = BenchmarkData::Effects(effects(14, doubles, hostile));
    let mut found = bench::run(&data, &plans, &models).expect("the benchmark runs");
    let unnamed = found.to_grid().to_string();
    assert!(!unnamed.contains("split ,") && !unnamed.contains(" ()"), "{unnamed}");
    (found.dataset, found.split) = ("simulated <effects>".into(), "doubles".into());
    found
}

fn field() -> Vec<Box<dyn Predictor>> {
    let mut models = baselines();
    models.push(scaled("seven_tenths", 0.7));
    models.push(scaled("three_quarters", 0.75));
    models.push(scaled("double", 2.0));
    models.push(Box::new(Scaled { name: "picky", factor: 0.9, refuses: Some("GENE1") }));
    models
}

/// The text of a report between its tags, entities kept.
fn text_of(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => (inside, text) = (false, text + " "),
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text
}

fn keep(name: &str, report: &Report) {
    if let Some(folder) = std::env::var_os("GENAILAB_FIGURES").map(PathBuf::from) {
        report.save(folder.join(format!("{name}.html"))).expect("the folder is there");
    }
}

#[test]
fn the_report_holds_every_model_and_number() {
    let found = simulated(field(), 40, 4, false);
    let report = found.report().expect("a report");
    keep("simulated", &report);
    let html = report.to_html();
    for model in found.models.iter().filter(|model| model.role != Role::Ceiling) {
        assert!(html.contains(&format!("<details id=\"card-{}\">", model.name)), "no card of {}", model.name);
    }
    for model in found.models.iter().filter(|model| model.role != Role::Ceiling) {
        assert!(html.contains(&format!("href=\"#card-{}\"", model.name)), "{} is not in the summary", model.name);
    }
    // The scatter plot has room for a dozen models only.
    assert!(found.scatter().expect("a figure").to_svg().contains("additive"));
    for figure in [found.l2_ratio(), found.condition_dots("l2"), found.model_heatmap("t", &["l2"])] {
        let svg = figure.expect("a figure").to_svg();
        // A model without any L2 (it did not apply) has no place in a figure of it.
        for model in found.models.iter().filter(|model| found.summary_of(&model.name, "l2").is_some()) {
            assert!(svg.contains(&model.name), "{} is not in {}", model.name, &svg[..200]);
        }
    }
    assert!(text_of(&html).contains("seven_tenths beats additive by"));
    assert!(html.contains("GENE1 is &lt;not&gt; known"), "the reason for what is absent");
    for summary in found.summary.iter().filter(|summary| summary.metric == "l2") {
        assert!(html.contains(&format!("{:.2} ±", summary.mean)), "mean L2 {} of {}", summary.mean, summary.model);
    }
    // Nothing is fetched, nothing runs.
    assert!(!html.contains("<script") && !html.contains(" src=") && !html.contains("url("));
    // The same in plain text.
    assert!(report.to_string().contains("seven_tenths beats additive"));
}

#[test]
fn bold_is_the_best_only_where_it_beats_the_second() {
    let bold = |found: &Benchmark| {
        let html = found.report().expect("a report").to_html();
        let summary = html.split_once("<table>").and_then(|(_, rest)| rest.split_once("</table>")).expect("a table").0;
        let rows: Vec<String> = summary
            .split("<tr>")
            .filter(|row| row.contains("<strong>"))
            .map(|row| text_of(row).trim().to_owned())
            .collect();
        rows
    };
    // 0.7 is the truth: clearly better than 0.9.
    let clear = simulated(vec![scaled("right", 0.7), scaled("off", 0.9), scaled("additive", 1.0)], 40, 2, false);
    let rows = bold(&clear);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].starts_with("right"), "{rows:?}");
    // Two that are the same: neither.
    let tied = simulated(vec![scaled("one", 0.7), scaled("other", 0.7), scaled("additive", 1.0)], 40, 2, false);
    let l2_of = |html: Vec<String>| html.len();
    assert_eq!(l2_of(bold(&tied)), 0);
    // Too few conditions for an interval: none.
    let few = simulated(vec![scaled("right", 0.7), scaled("off", 0.9), scaled("additive", 1.0)], 6, 1, false);
    assert_eq!(bold(&few).len(), 0);
}

#[test]
fn names_from_files_do_not_break_out() {
    let hostile = "</title><script>alert('&\u{7}')</script>";
    let mut found = simulated(vec![scaled(hostile, 0.7), scaled("additive", 1.0)], 30, 1, true);
    (found.dataset, found.split) = (hostile.into(), hostile.into());
    found.notes.push(hostile.into());
    let html = found.report().expect("a report").to_html();
    assert!(!html.contains("<script") && !html.contains("<b>&") && !html.contains("<i>times"));
    assert!(html.contains("&lt;script&gt;alert(&#39;&amp; &#39;)"));
    for id in html.split("id=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()) {
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{id:?}");
    }
    for (name, card) in found.model_cards().expect("cards") {
        assert!(name.ends_with(".html") && !name.contains(['/', '<', '\'']), "{name:?}");
        assert!(!card.to_html().contains("<script"));
    }
}

#[test]
fn one_model_and_few_conditions_still_make_a_report() {
    for (models, doubles) in [
        (vec![scaled("additive", 1.0)], 40),
        (vec![scaled("alone", 0.7)], 4),
        (vec![scaled("additive", 1.0), scaled("other", 0.7)], 2),
    ] {
        let found = simulated(models, doubles, 1, false);
        let html = found.report().expect("a report").to_html();
        assert!(html.contains("</html>") && !html.contains("NaN"), "{html}");
        assert!(html.contains("<figure>"));
    }
}

#[test]
fn a_card_names_the_best_and_the_worst_conditions() {
    let found = simulated(field(), 40, 3, false);
    let card = found.model_card("double").expect("a card").to_string();
    assert!(card.contains("On this split: worse than additive in L2"), "{card}");
    assert!(card.contains("Nearer to the truth than additive on 0 of"), "{card}");
    let card = found.model_card("picky").expect("a card").to_string();
    assert!(card.contains("It has no answer where: GENE1 is <not> known"), "{card}");
    // The best and the worst rows are those of the rows themselves.
    let mean = |model: &str, condition: &str| {
        let of = found.rows.iter().filter(|r| r.model == model && r.metric == "l2" && r.perturbation == condition);
        let values: Vec<f64> = of.map(|row| row.value).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let conditions: std::collections::BTreeSet<&str> =
        found.rows.iter().filter(|row| row.model == "double").map(|row| row.perturbation.as_str()).collect();
    let gain = |condition: &&str| mean("double", condition) - mean("additive", condition);
    let worst = conditions.iter().copied().max_by(|a, b| gain(a).total_cmp(&gain(b))).expect("conditions");
    let card = found.model_card("double").expect("a card").to_string();
    let line = card.lines().rfind(|line| line.trim_end().ends_with("worst")).expect("a worst row");
    assert!(line.starts_with(worst) && line.contains(&format!("{:.3}", mean("double", worst))), "{line} for {worst}");
    let message = found.model_card("nobody").expect_err("no such model").to_string();
    assert!(message.contains("there is no model \"nobody\""), "{message}");
}

#[test]
fn real_effects_make_a_report() {
    let Some(path) = real_data("norman_pseudobulk.h5ad") else { return };
    let plans: Vec<(u64, SplitPlan)> = (0..3).map(|seed| (seed, SplitPlan::Doubles { test: 0.5, seed })).collect();
    let data = BenchmarkData::Effects(Effects::open(&path).expect("readable"));
    let mut found = bench::run(&data, &plans, &baselines()).expect("the benchmark runs");
    (found.dataset, found.split) = ("norman_pseudobulk.h5ad".into(), "doubles".into());
    let report = found.report().expect("a report");
    keep("norman_pseudobulk", &report);
    let html = report.to_html();
    assert!(text_of(&html).contains("doubles"), "its conditions are doubles");
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
}
