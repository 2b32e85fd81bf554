//! Data whose effects are known, and predictors whose scores are.

use genailab::{
    Error, Result,
    bench::{Benchmark, BenchmarkData, Task},
    data::{Column, Condition, Counts, Dataset, Effects, Opened, Perturbation, SplitPlan, Table, TrainingData},
    ndarray::{Array1, Array2},
    predict::{Fitted, Predictor},
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Single perturbations of the data; every pair of them is a double.
pub const SINGLES: usize = 7;
pub const GENES: usize = 120;
const CELLS_EACH: usize = 16;
const CONTROLS: usize = 60;

/// A stream of numbers between 0 and 1 (splitmix64).
pub struct Uniform(pub u64);

impl Uniform {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// About a standard normal.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.next()).sum::<f32>() - 6.0
    }
}

/// Singles, then all doubles.
fn perturbations() -> Vec<Perturbation> {
    let gene = |index: usize| format!("G{index}");
    let singles = (0..SINGLES).map(|i| Perturbation::of([gene(i)]));
    let doubles = (0..SINGLES).flat_map(|i| (i + 1..SINGLES).map(move |j| Perturbation::of([gene(i), gene(j)])));
    singles.chain(doubles).collect()
}

fn genes() -> Table {
    Table::from_names((0..GENES).map(|gene| format!("G{gene}")).collect())
}

/// Singles at random; a double is 0.7 times the sum of its singles, and noise: shrinking the sum must win.
pub fn effects() -> Effects {
    let perturbations = perturbations();
    let mut random = Uniform(1);
    let mut values = Array2::zeros((perturbations.len(), GENES));
    for (row, perturbation) in perturbations.iter().enumerate() {
        for gene in 0..GENES {
            let sum: f32 = match perturbation.genes().len() {
                1 => 0.0,
                _ => perturbation.genes().iter().map(|g| values[[g[1..].parse::<usize>().unwrap(), gene]]).sum(),
            };
            values[[row, gene]] = 0.7 * sum + if sum == 0.0 { 1.0 } else { 0.1 } * random.normal();
        }
    }
    let mut table = Table::from_names(perturbations.iter().map(ToString::to_string).collect());
    table.set("n_cells", Column::Integer(vec![Some(50); perturbations.len()]));
    Effects { values, genes: genes(), perturbations, table }
}

/// Cells with such effects, in two batches: counts around `exp(base + effect)`.
pub fn cells() -> Dataset {
    let effects = effects();
    let mut random = Uniform(2);
    let base: Vec<f32> = (0..GENES).map(|_| 1.0 + 0.7 * random.normal()).collect();
    let mut labels = vec![Perturbation::control(); CONTROLS];
    effects.perturbations.iter().for_each(|perturbation| labels.extend(vec![perturbation.clone(); CELLS_EACH]));
    let counts = Array2::from_shape_fn((labels.len(), GENES), |(cell, gene)| {
        let row = effects.perturbations.iter().position(|perturbation| *perturbation == labels[cell]);
        let effect = row.map_or(0.0, |row| effects.values[[row, gene]]);
        ((base[gene] + 0.6 * effect).exp() + 0.8 * random.normal()).round().max(0.0)
    });
    let mut cells = Table::from_names((0..labels.len()).map(|cell| format!("c{cell}")).collect());
    let batches = (0..labels.len()).map(|cell| Some(if cell % 2 == 0 { "even" } else { "odd" }.to_owned()));
    cells.set("batch", Column::Text(batches.collect()));
    Dataset::new(Counts::from_dense(&counts), genes(), cells, &labels, None, None).expect("the parts fit")
}

pub fn effects_data() -> BenchmarkData {
    BenchmarkData::new(Opened::Effects(effects()), None).expect("valid")
}

pub fn cells_data() -> BenchmarkData {
    BenchmarkData::new(Opened::Cells(cells()), None).expect("valid")
}

pub fn plans(n: u64) -> Vec<(u64, SplitPlan)> {
    (0..n).map(|seed| (seed, SplitPlan::parse("doubles", seed).expect("there is such a split"))).collect()
}

/// What is observed under a plan.
pub fn task(data: &BenchmarkData, plan: &SplitPlan, seed: u64) -> Task {
    Task::of_plan(data, plan, seed).expect("the plan fits")
}

/// A predictor from a function.
pub struct Known<F> {
    pub name: &'static str,
    /// Counts the fits.
    pub fits: Arc<AtomicUsize>,
    pub setting: f64,
    pub answer: Arc<F>,
}

impl<F: Fn(&Condition, &TrainingData) -> Result<Array1<f32>> + Send + Sync + 'static> Known<F> {
    pub fn new(name: &'static str, answer: F) -> Self {
        Self { name, fits: Arc::default(), setting: 0.0, answer: Arc::new(answer) }
    }
}

impl<F: Fn(&Condition, &TrainingData) -> Result<Array1<f32>> + Send + Sync + 'static> Predictor for Known<F> {
    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        "a predictor of a test"
    }

    fn settings(&self) -> serde_json::Value {
        self.setting.into()
    }

    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        self.fits.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FittedKnown { answer: Arc::clone(&self.answer), training: training.clone() }))
    }
}

struct FittedKnown<F> {
    answer: Arc<F>,
    training: TrainingData,
}

impl<F: Fn(&Condition, &TrainingData) -> Result<Array1<f32>> + Send + Sync> Fitted for FittedKnown<F> {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        (self.answer)(condition, &self.training)
    }
}

/// Returns the test truth.
pub fn cheat(data: &BenchmarkData, n: u64) -> Box<dyn Predictor> {
    let mut truth: HashMap<Condition, Array1<f32>> = HashMap::new();
    for (seed, plan) in plans(n) {
        let observed = task(data, &plan, seed).observed;
        observed.conditions.iter().zip(observed.effects.rows()).for_each(|(condition, effect)| {
            truth.insert(condition.clone(), effect.to_owned());
        });
    }
    Box::new(Known::new("cheat", move |condition: &Condition, _: &TrainingData| {
        truth.get(condition).cloned().ok_or_else(|| Error::inapplicable("was never held out"))
    }))
}

/// Noise that has nothing to do with the truth.
pub fn random() -> Box<dyn Predictor> {
    Box::new(Known::new("random", |condition: &Condition, training: &TrainingData| {
        let name = format!("{condition} {}", training.seed);
        let mut random = Uniform(name.bytes().fold(5, |hash, byte| hash * 31 + u64::from(byte)));
        Ok((0..training.genes.len()).map(|_| random.normal()).collect())
    }))
}

/// The same for every gene and condition.
pub fn constant() -> Box<dyn Predictor> {
    Box::new(Known::new("constant", |_: &Condition, training: &TrainingData| {
        Ok(Array1::from_elem(training.genes.len(), 0.3))
    }))
}

/// The mean of a metric of a model.
#[track_caller]
pub fn mean(benchmark: &Benchmark, model: &str, metric: &str) -> f64 {
    benchmark.summary_of(model, metric).unwrap_or_else(|| panic!("no {metric} of {model}")).mean
}

/// The scores of a benchmark without what a clock says.
pub fn scores(benchmark: &Benchmark) -> String {
    let parts = (&benchmark.rows, &benchmark.absent, &benchmark.summary, &benchmark.groups, &benchmark.comparisons);
    serde_json::to_string(&parts).expect("plain data")
}
