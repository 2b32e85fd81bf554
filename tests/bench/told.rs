//! What the report says beyond the headline: singles apart from doubles, populations of cells, each perturbation.

use genailab::{
    bench::{Benchmark, Comparison, ConditionFacts, MetricSummary, ModelFacts, Role, Row},
    show::{Verdict, verdict},
};

/// Eight singles and eight doubles, or more; the value of a model by a metric as `of(condition, its number)` says.
struct Told {
    rows: Vec<Row>,
    conditions: Vec<String>,
}

impl Told {
    fn new(conditions: Vec<String>) -> Self {
        Self { rows: Vec::new(), conditions }
    }

    fn with(mut self, model: &str, metric: &str, of: impl Fn(&str, usize) -> f64) -> Self {
        for (number, perturbation) in self.conditions.iter().enumerate() {
            self.rows.push(Row {
                seed: 0,
                model: model.to_owned(),
                perturbation: perturbation.clone(),
                metric: metric.to_owned(),
                value: of(perturbation, number),
            });
        }
        self
    }

    fn benchmark(self, reference: &str) -> Benchmark {
        let mut names: Vec<(String, String)> = Vec::new();
        for row in &self.rows {
            let name = (row.model.clone(), row.metric.clone());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut models: Vec<String> = names.iter().map(|(model, _)| model.clone()).collect();
        models.sort();
        models.dedup();
        let models = models.into_iter().map(|name| ModelFacts {
            description: format!("What {name} does"),
            role: if name == "no_change" { Role::Floor } else { Role::Model },
            settings: serde_json::Value::Null,
            draws_cells: ["jepa", "scgen"].contains(&name.as_str()),
            fit_seconds: None,
            predict_seconds: None,
            name,
        });
        let mut found = Benchmark { models: models.collect(), rows: self.rows, ..Benchmark::default() };
        found.summary = names
            .iter()
            .map(|(model, metric)| {
                let of = found.rows.iter().filter(|row| row.model == *model && row.metric == *metric);
                let values: Vec<f64> = of.map(|row| row.value).collect();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let (model, metric, n) = (model.clone(), metric.clone(), values.len());
                MetricSummary { model, metric, mean, sd: Some(1.0), n, median: mean, sd_of_seeds: None }
            })
            .collect();
        let compared = |(model, metric): &(String, String)| -> Option<Comparison> {
            (model != reference).then(|| found.compare(model, reference, metric)).flatten()
        };
        found.comparisons = names.iter().filter_map(compared).collect();
        found.conditions = self
            .conditions
            .into_iter()
            .enumerate()
            .map(|(number, name)| {
                let class = name.contains('+').then(|| "SYNERGY".to_owned());
                ConditionFacts { name, cells: Some(100 + number), class }
            })
            .collect();
        found
    }
}

fn mixed() -> Vec<String> {
    let doubles = (0..8).map(|i| format!("A{i}+B{i}"));
    (0..8).map(|i| format!("A{i}")).chain(doubles).collect()
}

/// Better on doubles by a lot, on singles by nothing.
fn apart() -> Benchmark {
    let double = |name: &str| name.contains('+');
    let noise = |number: usize| (number % 3) as f64 - 1.0;
    Told::new(mixed())
        .with("no_change", "l2", |name, i| if double(name) { 24.0 } else { 16.0 } + 0.1 * noise(i))
        .with("mean", "l2", |name, _| if double(name) { 20.0 } else { 15.0 })
        .with("combination", "l2", |name, i| if double(name) { 15.0 } else { 15.0 + 0.5 * noise(i) })
        .with("combination", "pearson_systema", |name, i| if double(name) { 0.5 } else { 0.2 + 0.02 * noise(i) })
        .with("no_change", "pearson_systema", |name, i| if double(name) { 0.1 } else { 0.2 - 0.02 * noise(i) })
        .benchmark("mean")
}

fn sentences(found: &Benchmark, metric: &str) -> Vec<(Verdict, String)> {
    verdict(found, metric).into_iter().map(|(tone, text)| (tone, text.replace('\u{a0}', " "))).collect()
}

#[test]
fn singles_are_judged_apart_from_doubles() {
    let found = apart();
    let told = sentences(&found, "l2");
    let of = |start: &str| told.iter().find(|(_, text)| text.starts_with(start)).unwrap_or_else(|| panic!("{told:#?}"));
    let (tone, singles) = of("On single perturbations alone (8): combination is not distinguishable from mean");
    assert_eq!(*tone, Verdict::Warning);
    assert!(singles.contains("0.19") && singles.contains("not distinguishable from the 0.20"), "{singles}");
    let (tone, doubles) = of("On doubles alone (8): combination beats mean by 25 % in L2");
    assert_eq!(*tone, Verdict::Good);
    assert!(doubles.contains("0.500") && doubles.contains("above the 0.100 of no change"), "{doubles}");
    let report = found.report().expect("a report").to_html();
    assert!(report.contains("Singles apart from combinations") && report.contains("L2 of doubles"));
    // Where all are doubles there is nothing to take apart.
    let doubles = Told::new((0..8).map(|i| format!("A{i}+B{i}")).collect())
        .with("additive", "l2", |_, _| 20.0)
        .with("combination", "l2", |_, i| 15.0 + 0.1 * i as f64)
        .benchmark("additive");
    assert!(sentences(&doubles, "l2").iter().all(|(_, text)| !text.contains("alone (")));
}

#[test]
fn a_mean_with_its_interval_is_that_of_the_kept_conditions() {
    let found = apart();
    let doubles = found.mean_where("mean", "l2", |name| name.contains('+')).expect("there are some");
    assert_eq!((doubles.mean, doubles.low, doubles.high, doubles.conditions), (20.0, Some(20.0), Some(20.0), 8));
    assert!(found.mean_where("mean", "l2", |_| false).is_none());
    assert!(found.mean_where("mean", "pearson_systema", |_| true).is_none(), "the mean has none");
    let few = found.mean_where("combination", "l2", |name| ["A0", "A1"].contains(&name)).expect("two");
    assert_eq!((few.low, few.conditions), (None, 2));
}

#[test]
fn populations_of_cells_are_told_in_words() {
    let noise = |number: usize| (number % 5) as f64 - 2.0;
    let found = Told::new((0..10).map(|i| format!("A{i}+B{i}")).collect())
        .with("additive", "l2", |_, _| 20.0)
        .with("jepa", "l2", |_, i| 19.0 + noise(i))
        .with("no_change", "edistance", |_, i| 60.0 + noise(i))
        .with("additive", "edistance", |_, i| 47.0 + noise(i))
        .with("vae_conditional", "edistance", |_, i| 47.0 - noise(i))
        .with("jepa", "edistance", |_, i| 50.0 + noise(i))
        .with("scgen", "edistance", |_, _| 40.0)
        .benchmark("additive");
    let told = sentences(&found, "l2");
    let of = |start: &str| told.iter().find(|(_, text)| text.starts_with(start)).unwrap_or_else(|| panic!("{told:#?}"));
    let (tone, sets) = of("jepa: squared E-distance of its cells to the observed ones 50.00");
    assert_eq!(*tone, Verdict::Warning);
    assert!(sets.contains("lower than no change (−17 %)") && sets.contains("higher than the additive shift (+6 %)"));
    assert!(sets.ends_with("higher than the count VAE (+6 %)."), "{sets}");
    assert_eq!(of("scgen: squared E-distance").0, Verdict::Good);
}

#[test]
fn each_perturbation_has_a_row_and_a_point() {
    let found = apart();
    let report = found.report().expect("a report").to_string();
    let row = report.lines().find(|line| line.starts_with("A3+B3")).expect("a row");
    let cells: Vec<&str> = row.split_whitespace().collect();
    // Cells, size of the effect (the error of no change), the errors, no correlation, the class.
    assert_eq!(cells, ["A3+B3", "111", "24.10", "15.00", "20.00", "–", "–", "SYNERGY"], "{report}");
    let figure = found.per_perturbation().expect("a figure");
    assert!(figure.caption().starts_with("combination is better on"), "{}", figure.caption());
    assert!(figure.to_svg().contains("L2 of mean") && figure.to_svg().contains("L2 of combination"));
}
