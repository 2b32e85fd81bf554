//! `log_rate_sum` against a plain computation of its equations.

use super::common::{condition, reason, training};
use genailab::{
    data::{Condition, Counts, Dataset, Perturbation, Split, Table, TrainingCells, TrainingData},
    ndarray::{Array1, Array2},
    predict::{
        Predictor,
        baselines::{LogRateSum, SimilarityWeighted},
    },
};
use std::{collections::BTreeMap, sync::Arc};

const GENES: usize = 12;

/// Counts of cells, their conditions, and their library sizes (more than the genes of the file have).
struct Cells {
    counts: Array2<f32>,
    conditions: Vec<Condition>,
    library: Vec<f32>,
}

/// 30 cells of each condition, of other rates in each, with sizes that vary.
fn cells(conditions: &[Condition]) -> Cells {
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1_u32 << 24)
    };
    let each = 30;
    let mut counts = Array2::zeros((0, GENES));
    let (mut of, mut library) = (Vec::new(), Vec::new());
    for condition in conditions {
        let rates: Vec<f64> = (0..GENES)
            .map(|gene| {
                let own = condition.perturbation.genes().iter().map(|name| f64::from(name.as_bytes()[0] - b'A' + 1));
                let shift: f64 = own.map(|a| ((a * (gene as f64 + 1.0)).sin()) * 0.9).sum();
                let place = f64::from(condition.context.as_deref().map_or(0, |c| c.as_bytes()[0]) % 5);
                (1.5 + (gene as f64 * 0.7).cos() + 0.3 * place * (gene as f64).sin() + shift).exp()
            })
            .collect();
        for _ in 0..each {
            let size = 0.5 + random();
            // Uneven counts around the mean, some of them zero.
            let cell: Vec<f32> = rates.iter().map(|rate| (rate * size * 2.0 * random()).round() as f32).collect();
            library.push(cell.iter().sum::<f32>() + 20.0 + (30.0 * random()) as f32);
            counts.push_row(Array1::from(cell).view()).expect("a count per gene");
            of.push(condition.clone());
        }
    }
    Cells { counts, conditions: of, library }
}

fn data(cells: &Cells) -> TrainingData {
    let n = cells.conditions.len();
    let labels: Vec<Perturbation> = cells.conditions.iter().map(|condition| condition.perturbation.clone()).collect();
    let genes = Table::from_names((0..GENES).map(|gene| format!("g{gene}")).collect());
    let names = Table::from_names((0..n).map(|cell| format!("c{cell}")).collect());
    let counts = Counts::from_dense(&cells.counts);
    let mut dataset = Dataset::new(counts, genes, names, &labels, None, None).expect("the parts fit");
    dataset.library_size = cells.library.clone();
    let split = Split { train: (0..n).collect(), validation: Vec::new(), test: Vec::new() };
    let cells = TrainingCells::new(Arc::new(dataset), cells.conditions.clone(), &split).expect("they fit");
    TrainingData::of_cells(cells, 3)
}

/// The rates of a condition and the inverse dispersion, by the module's equations, plainly.
struct Plain {
    control: BTreeMap<Option<String>, Vec<f64>>,
    shifts: BTreeMap<Condition, Vec<f64>>,
    theta: Vec<f64>,
}

impl Plain {
    fn of(cells: &Cells) -> Self {
        let mut sums: BTreeMap<Condition, (Vec<f64>, f64, Vec<usize>)> = BTreeMap::new();
        for (row, condition) in cells.conditions.iter().enumerate() {
            let sum = sums.entry(condition.clone()).or_insert((vec![0.0; GENES], 0.0, Vec::new()));
            (0..GENES).for_each(|gene| sum.0[gene] += f64::from(cells.counts[[row, gene]]));
            sum.1 += f64::from(cells.library[row]);
            sum.2.push(row);
        }
        // What the library holds beside these genes is one more.
        sums.values_mut().for_each(|(x, n, _)| x.push(*n - x.iter().sum::<f64>()));
        let g = GENES as f64 + 1.0;
        let controls = sums.iter().filter(|(condition, _)| condition.perturbation.is_control());
        let control: BTreeMap<Option<String>, Vec<f64>> = controls
            .map(|(condition, (x, n, _))| (condition.context.clone(), x.iter().map(|x| (x + 1.0) / (n + g)).collect()))
            .collect();
        let shifts =
            sums.iter().filter(|(condition, _)| !condition.perturbation.is_control()).map(|(condition, of)| {
                let control = &control[&condition.context];
                let shift =
                    (0..=GENES).map(|gene| ((of.0[gene] + g * control[gene]) / (of.1 + g) / control[gene]).ln());
                (condition.clone(), shift.collect())
            });
        let shifts = shifts.collect();
        let theta = (0..GENES).map(|gene| {
            let (mut excess, mut squares) = (0.0, 0.0);
            for (x, n, rows) in sums.values() {
                let mean = |row: usize| f64::from(cells.library[row]) * x[gene] / n;
                let deviations: f64 =
                    rows.iter().map(|&row| (f64::from(cells.counts[[row, gene]]) - mean(row)).powi(2)).sum();
                let cells = rows.len() as f64;
                excess += deviations * cells / (cells - 1.0) - rows.iter().map(|&row| mean(row)).sum::<f64>();
                squares += rows.iter().map(|&row| mean(row).powi(2)).sum::<f64>();
            }
            if excess > 0.0 { (squares / excess).clamp(0.01, 1e6) } else { 1e6 }
        });
        let theta = theta.collect();
        Self { control, shifts, theta }
    }

    /// Rates after a shift, renormalised.
    fn rates(&self, context: &Option<String>, shift: &[f64]) -> Vec<f64> {
        let control = &self.control[context];
        let rates: Vec<f64> = control.iter().zip(shift).map(|(rate, shift)| rate * shift.exp()).collect();
        let sum: f64 = rates.iter().sum();
        rates[..GENES].iter().map(|rate| rate / sum).collect()
    }

    /// Mean log1p of the counts normalised to 10,000, over the library sizes of the control cells: the sum over all counts.
    fn mean(&self, rates: &[f64], sizes: &[f64]) -> Vec<f64> {
        let mean_of = |rate: f64, theta: f64| -> f64 {
            let of_size = |&size: &f64| -> f64 {
                let mu = size * rate;
                let mut probability = (-theta * (mu / theta).ln_1p()).exp();
                let (mut sum, mut k) = (0.0, 0.0_f64);
                while k < 100_000.0 && (k < mu || probability > 1e-14) {
                    sum += probability * (1e4 * k / size).ln_1p();
                    probability *= (k + theta) / (k + 1.0) * mu / (mu + theta);
                    k += 1.0;
                }
                sum
            };
            sizes.iter().map(of_size).sum::<f64>() / sizes.len() as f64
        };
        rates.iter().zip(&self.theta).map(|(&rate, &theta)| mean_of(rate, theta)).collect()
    }
}

fn control(context: &str) -> Condition {
    let context = (!context.is_empty()).then(|| context.to_owned());
    Condition { perturbation: Perturbation::control(), context }
}

/// The predicted effect must be the expected value of the plain rates, within the noise of 2,000 drawn cells.
#[track_caller]
fn near(cells: &Cells, asked: &Condition, shift: &[f64]) {
    let (data, plain) = (data(cells), Plain::of(cells));
    let fitted = LogRateSum.fit(&data).expect("it fits");
    let effect = fitted.effect(asked).expect("it applies");
    let sizes: Vec<f64> = (0..cells.conditions.len())
        .filter(|&row| {
            cells.conditions[row].perturbation.is_control() && cells.conditions[row].context == asked.context
        })
        .map(|row| f64::from(cells.library[row]))
        .collect();
    let expected = plain.mean(&plain.rates(&asked.context, shift), &sizes);
    let controls = data.controls().expect("controls").expect("cells have some");
    let from = controls.of(asked.context.as_deref()).expect("a context");
    for gene in 0..GENES {
        let predicted = f64::from(effect[gene] + from[gene]);
        // The standard deviation of log1p of 10,000 per cell is below 3, over sqrt(2,000) cells.
        assert!((predicted - expected[gene]).abs() < 0.25, "{asked}, gene {gene}: {predicted}, {}", expected[gene]);
    }
    let drawn = fitted.cells(asked, 400, 9).expect("it draws cells").expect("it applies");
    assert_eq!(drawn.dim(), (400, GENES));
    assert!(drawn.iter().all(|value| value.is_finite() && *value >= 0.0));
    let counts =
        |gene: usize| drawn.column(gene).iter().map(|value| f64::from(value.exp_m1())).sum::<f64>() / 400.0 / 1e4;
    let rates = plain.rates(&asked.context, shift);
    for (gene, (&rate, theta)) in rates.iter().zip(&plain.theta).enumerate() {
        let spread = (1.0 / theta + 1.0).sqrt() * rate.max(0.005) / 20.0;
        assert!((counts(gene) - rate).abs() < 6.0 * spread, "{asked}: {} of {rate}", counts(gene));
    }
    assert_eq!(effect, fitted.effect(asked).expect("it applies"), "the same every time");
    assert_ne!(drawn, fitted.cells(asked, 400, 10).expect("draws").expect("applies"), "another seed, other cells");
}

#[test]
fn shifts_of_singles_add_up() {
    let cells = cells(&[control(""), condition("A", ""), condition("B", ""), condition("A+C", ""), condition("C", "")]);
    let shifts = Plain::of(&cells).shifts;
    let of = |name: &str| shifts[&condition(name, "")].clone();
    let sum: Vec<f64> = of("A").iter().zip(of("B")).map(|(a, b)| a + b).collect();
    near(&cells, &condition("A+B", ""), &sum);
    near(&cells, &condition("A", ""), &of("A"));
    // Trained as a combination, it has its own shift.
    near(&cells, &condition("A+C", ""), &of("A+C"));
}

#[test]
fn an_unseen_context_has_the_weighted_shifts_of_the_others() {
    let conditions = [
        control("x"),
        control("y"),
        control("z"),
        condition("A", "x"),
        condition("A", "y"),
        condition("B", "y"),
        condition("A+B", "x"),
    ];
    let cells = cells(&conditions);
    let (data, shifts) = (data(&cells), Plain::of(&cells).shifts);
    let controls = data.controls().expect("controls").expect("cells have some");
    let squared = |a: &str, b: &str| -> f64 {
        let (a, b) = (controls.of(Some(a)).expect("known"), controls.of(Some(b)).expect("known"));
        a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    };
    let (to_x, to_y) = (squared("z", "x"), squared("z", "y"));
    let weight = |d: f64| (-d / (2.0 * to_x.min(to_y))).exp();
    let (x, y) = (&shifts[&condition("A", "x")], &shifts[&condition("A", "y")]);
    let mix = |(x, y): (&f64, &f64)| (weight(to_x) * x + weight(to_y) * y) / (weight(to_x) + weight(to_y));
    near(&cells, &condition("A", "z"), &x.iter().zip(y).map(mix).collect::<Vec<_>>());
    near(&cells, &condition("B", "z"), &shifts[&condition("B", "y")]);
    near(&cells, &condition("A+B", "z"), &shifts[&condition("A+B", "x")]);
    assert!(SimilarityWeighted.fit(&data).is_ok());
    assert!(reason(&LogRateSum, &data, &condition("C", "z")).contains('C'));
    assert!(reason(&LogRateSum, &data, &condition("A", "w")).contains("no control cell"));
}

#[test]
fn effects_have_no_counts() {
    let effects = training(&["A", "B"], &[(condition("A", ""), [1.0, 0.0])], &[]);
    assert!(reason(&LogRateSum, &effects, &condition("A", "")).contains("no counts"));
}
