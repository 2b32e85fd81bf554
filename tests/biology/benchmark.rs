//! The metrics inside the benchmark: planted interactions, predictors that know, add, guess or say nothing.

use super::close;
use crate::common::real_data;
use genailab::{
    Error, Result,
    bench::{ALL, BenchmarkData, MeasureOptions, ObservedEffects, Predicted, Scores, Task, interaction_curve, measure},
    data::{Condition, Effects, GeneSets, Opened, Perturbation, SplitPlan, Table, TrainingData},
    ndarray::{Array1, Array2},
    predict::{Fitted, Predictor},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const GENES: usize = 500;
const SINGLES: usize = 12;

/// Twelve singles and their 66 doubles: sums with noise of 0.1; in each double, five genes rise by 2 and five fall by 2.
fn planted() -> BenchmarkData {
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let noise = |rng: &mut ChaCha8Rng| -> f32 { StandardNormal.sample(rng) };
    let singles = Array2::from_shape_fn((SINGLES, GENES), |_| 0.5 * noise(&mut rng));
    let mut values = singles.clone();
    let mut names: Vec<Perturbation> = (0..SINGLES).map(|i| Perturbation::of([format!("P{i:02}")])).collect();
    for first in 0..SINGLES {
        for second in first + 1..SINGLES {
            let mut double: Array1<f32> = &singles.row(first) + &singles.row(second);
            double.mapv_inplace(|value| value + 0.1 * noise(&mut rng));
            for k in 0..10 {
                double[rng.random_range(0..GENES)] += if k < 5 { 2.0 } else { -2.0 };
            }
            values.push_row(double.view()).expect("a row of genes");
            names.push(Perturbation::of([format!("P{first:02}"), format!("P{second:02}")]));
        }
    }
    let rows = names.iter().map(ToString::to_string).collect();
    let genes = (0..GENES).map(|gene| format!("G{gene}")).collect();
    let data =
        Effects { values, genes: Table::from_names(genes), perturbations: names, table: Table::from_names(rows) };
    BenchmarkData::new(Opened::Effects(data), None).expect("valid")
}

fn task(data: &BenchmarkData, seed: u64) -> Task {
    let conditions = data.rows();
    let split = SplitPlan::Doubles { test: 0.5, seed }.divide(&conditions).expect("there are doubles");
    let rows = split.split(&conditions).expect("fits");
    Task::new(data, &rows, &split.groups, seed).expect("valid")
}

/// Predicts by a function of what is observed, which no true predictor sees.
fn predicted(observed: &ObservedEffects, effect: impl Fn(usize) -> Result<Array1<f32>, String>) -> Predicted {
    let n = observed.conditions.len();
    Predicted {
        model: "test".to_owned(),
        effects: (0..n).map(effect).collect(),
        cells: vec![Err("means only".to_owned()); n],
    }
}

fn value(scores: &Scores, metric: &str) -> Option<f64> {
    scores.rows.iter().find(|row| row.metric == metric && row.perturbation == ALL).map(|row| row.value)
}

fn reason<'a>(scores: &'a Scores, metric: &str) -> &'a str {
    scores.absent.iter().find(|absent| absent.metric == metric).map_or("", |absent| absent.reason.as_str())
}

#[test]
fn planted_interactions_are_found_by_the_truth_and_by_nobody_else() {
    let data = planted();
    let Task { observed, .. } = task(&data, 1);
    let options = MeasureOptions::default();
    let of = |predicted: &Predicted| measure(&observed, predicted, &options, 1);

    let truth = predicted(&observed, |row| Ok(observed.effects.row(row).to_owned()));
    let scores = of(&truth);
    for metric in [
        "interaction_auprc",
        "interaction_auroc",
        "interaction_auprc_suppressive",
        "interaction_f1_synergy",
        "interaction_f1_suppressive",
        "gi_magnitude_spearman",
        "gi_model_fit_spearman",
        "gi_class_accuracy",
    ] {
        assert_eq!(value(&scores, metric), Some(1.0), "{metric}: {}", reason(&scores, metric));
    }
    // Five of 500 genes of each double rise: that many are called, or a few less where two are planted on one gene.
    let curve = interaction_curve(&observed, &truth).expect("the truth departs");
    assert!((0.008..0.0105).contains(&curve.prevalence()), "{}", curve.prevalence());
    assert_eq!(curve.recall_and_fdp()[0].1, 0.0);

    let adds = predicted(&observed, |row| Ok(observed.additive.row(row).to_owned()));
    let scores = of(&adds);
    assert_eq!(value(&scores, "interaction_auprc"), None);
    assert!(reason(&scores, "interaction_auprc").contains("the model adds"), "{:?}", scores.absent);
    assert_eq!(value(&scores, "gi_magnitude_spearman"), None);
    let scaled = of(&predicted(&observed, |row| Ok(0.63 * &observed.additive.row(row))));
    assert_eq!(value(&scaled, "gi_magnitude_spearman"), None, "one factor says the same of all doubles");
    assert!(value(&scaled, "interaction_auprc").is_some());

    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let guesses: Vec<Array1<f32>> =
        (0..observed.conditions.len()).map(|_| (0..GENES).map(|_| StandardNormal.sample(&mut rng)).collect()).collect();
    let scores = of(&predicted(&observed, |row| Ok(&observed.additive.row(row) + &guesses[row])));
    let auroc = value(&scores, "interaction_auroc").expect("it ranks");
    assert!((auroc - 0.5).abs() < 0.1, "{auroc}");
    let auprc = value(&scores, "interaction_auprc").expect("it ranks");
    assert!((auprc - curve.prevalence()).abs() < 0.02, "{auprc}");

    for (row, condition) in observed.conditions.iter().enumerate() {
        assert_eq!(
            observed.singles[row].len(),
            2,
            "{condition} of {:?}",
            observed.conditions.iter().map(|c| c.to_string()).collect::<Vec<_>>()
        );
    }
    // One double that is not predicted takes the ranking with it, and says why.
    let scores = of(&predicted(&observed, |row| match row {
        3 => Err("P03 was never seen".to_owned()),
        _ => Ok(observed.effects.row(row).to_owned()),
    }));
    assert!(reason(&scores, "interaction_auprc").contains("P03 was never seen"), "{:?}", scores.absent);
}

#[test]
fn gene_sets_are_asked_for_and_agreement_is_measured() {
    let data = planted();
    let Task { observed, .. } = task(&data, 2);
    let text: String = (0..50)
        .map(|set| {
            let genes: Vec<String> = (0..10).map(|k| format!("G{}", 10 * set + k)).collect();
            format!("SET{set}\t\t{}\n", genes.join("\t"))
        })
        .collect();
    let truth = predicted(&observed, |row| Ok(observed.effects.row(row).to_owned()));
    let without = measure(&observed, &truth, &MeasureOptions::default(), 2);
    assert!(reason(&without, "enrichment_spearman").contains("--gene-sets"));

    let options = MeasureOptions { gene_sets: Some(GeneSets::parse(&text).expect("valid")) };
    let observed = observed.clone(); // with an empty memory
    let with = measure(&observed, &truth, &options, 2);
    let values = |scores: &Scores, metric: &str| -> Vec<f64> {
        scores.rows.iter().filter(|row| row.metric == metric).map(|row| row.value).collect()
    };
    let n = observed.conditions.len();
    let own = values(&with, "enrichment_spearman");
    assert!(own.len() == n && own.iter().all(|value| (value - 1.0).abs() < 1e-9), "{own:?}");
    assert!(values(&with, "overrepresentation_jaccard").iter().all(|&value| value == 1.0));
    let opposite = measure(&observed, &predicted(&observed, |row| Ok(-&observed.effects.row(row))), &options, 2);
    assert!(values(&opposite, "enrichment_spearman").iter().all(|&value| (value + 1.0).abs() < 1e-6));
    let nothing = measure(&observed, &predicted(&observed, |_| Ok(Array1::zeros(GENES))), &options, 2);
    assert!(values(&nothing, "enrichment_spearman").is_empty());
    assert!(reason(&nothing, "enrichment_spearman").contains("same for all genes"));
    let other = MeasureOptions { gene_sets: Some(GeneSets::parse("A\t\tENSG1\tENSG2\n").expect("valid")) };
    let scores = measure(&observed.clone(), &truth, &other, 2);
    assert!(reason(&scores, "enrichment_jaccard").contains("no gene set can be tested"));
}

/// What the cells of a condition are drawn from.
struct Draws {
    name: &'static str,
    spread: f32,
}

struct FittedDraws {
    spread: f32,
    genes: usize,
}

impl Predictor for Draws {
    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        "control's profile with a normal spread"
    }

    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        match training.cells {
            Some(_) => Ok(Box::new(FittedDraws { spread: self.spread, genes: training.genes.len() })),
            None => Err(Error::inapplicable("needs cells")),
        }
    }
}

impl Fitted for FittedDraws {
    fn effect(&self, _: &Condition) -> Result<Array1<f32>> {
        Ok(Array1::zeros(self.genes))
    }

    fn cells(&self, _: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let spread = self.spread;
        Some(Ok(Array2::from_shape_fn((n, self.genes), |_| {
            let draw: f32 = StandardNormal.sample(&mut rng);
            (spread * draw).abs()
        })))
    }
}

#[test]
fn cells_of_norman_are_judged_as_distributions() {
    let Some(path) = real_data("norman_cells.h5ad") else { return };
    let data = BenchmarkData::new(genailab::data::open(path).expect("a valid file"), None).expect("valid");
    let BenchmarkData::Cells(cells) = &data else { panic!("the file holds cells") };
    let split = SplitPlan::Doubles { test: 0.5, seed: 0 }.divide(&cells.conditions).expect("there are doubles");
    let rows = split.split(&cells.conditions).expect("fits");
    let task = Task::new(&data, &rows, &split.groups, 0).expect("valid");
    let options = MeasureOptions::default();
    let mean = |scores: &Scores, metric: &str| -> f64 {
        let values: Vec<f64> = scores.rows.iter().filter(|row| row.metric == metric).map(|row| row.value).collect();
        assert_eq!(values.len(), task.observed.conditions.len(), "{metric}: {}", reason(scores, metric));
        values.iter().sum::<f64>() / values.len() as f64
    };
    let of = |name, spread| measure(&task.observed, &task.predict(&Draws { name, spread }).expect("runs"), &options, 0);
    let (narrow, wide) = (of("narrow", 0.01), of("wide", 3.0));
    assert!(mean(&narrow, "crps") < mean(&wide, "crps"));
    assert!(mean(&narrow, "coverage_90") < 0.5, "no interval of positive values holds the zeros");
    // A predictor of means is given shifted control cells: they are the right spread, or nearly.
    let none = genailab::predict::baselines::baselines()
        .into_iter()
        .find(|model| model.name() == "no_change")
        .expect("there is one");
    let control = measure(&task.observed, &task.predict(none.as_ref()).expect("runs"), &options, 0);
    assert!(mean(&control, "coverage_90") > 0.9, "{}", mean(&control, "coverage_90"));
    assert!(mean(&control, "crps") < mean(&control, "crps_point"), "the spread between cells is worth something");
    // The ceiling knows the other half of the cells.
    let (observed, ceiling) = task.ceiling();
    let ceiling = measure(&observed, &ceiling, &options, 0);
    assert!(mean(&ceiling, "crps") < mean(&control, "crps"), "{}", mean(&ceiling, "crps"));
    close(mean(&ceiling, "coverage_90"), mean(&control, "coverage_90"), 0.06, "coverage");
}
