//! The spread of mean effects, learned from left-out predictions.

use genailab::{
    Error, ErrorKind,
    bench::uncertainty::judge_means,
    data::{Condition, EffectTable, Perturbation, TrainingData},
    device::Device,
    model::{
        Model, Trained,
        combination::CombinationConfig,
        latent_diffusion::{
            DiffusionModel, DiffusionSettings, EffectDiffusion, EffectDiffusionConfig, MeanPredictor, Novelty, Spread,
            SpreadConfig, leave_out,
        },
    },
    train::{Progress, Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::path::Path;

const GENES: usize = 60;
const PERTURBED: usize = 14;

fn quiet() -> Run<'static> {
    Run { progress: Progress::Silent, ..Run::default() }
}

fn named(gene: usize) -> String {
    format!("P{gene:02}")
}

/// Singles, and doubles that are the sum of them and a departure: 0.4 of the sum's size, along two directions and noise.
fn world(seed: u64) -> EffectTable {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let singles =
        Array2::<f64>::from_shape_simple_fn((PERTURBED, GENES), || 0.5 * rng.sample::<f64, _>(StandardNormal));
    let directions = Array2::<f64>::from_shape_simple_fn((2, GENES), || rng.sample(StandardNormal));
    let (mut conditions, mut effects) = (Vec::new(), Array2::zeros((0, GENES)));
    for a in 0..PERTURBED {
        conditions.push(Condition::of(Perturbation::of([named(a)])));
        effects.push_row(singles.row(a).mapv(|v| v as f32).view()).unwrap();
        for b in a + 1..PERTURBED {
            let sum = &singles.row(a) + &singles.row(b);
            let mut off: Array1<f64> = (0..GENES).map(|_| rng.sample::<f64, _>(StandardNormal)).collect();
            for direction in directions.rows() {
                off.scaled_add(rng.sample::<f64, _>(StandardNormal), &direction);
            }
            let size = 0.4 * sum.dot(&sum).sqrt() / off.dot(&off).sqrt();
            conditions.push(Condition::of(Perturbation::of([named(a), named(b)])));
            effects.push_row((sum + off * size).mapv(|v| v as f32).view()).unwrap();
        }
    }
    let n_cells = vec![500; conditions.len()];
    let genes: Vec<String> = (0..GENES).map(|gene| format!("G{gene}")).collect();
    EffectTable { genes: genes.into(), conditions, effects, n_cells }
}

/// Some rows of a world.
fn part(data: &EffectTable, kept: impl Fn(usize) -> bool) -> EffectTable {
    let rows: Vec<usize> = (0..data.conditions.len()).filter(|&row| kept(row)).collect();
    EffectTable {
        genes: data.genes.clone(),
        conditions: rows.iter().map(|&row| data.conditions[row].clone()).collect(),
        effects: data.effects.select(Axis(0), &rows),
        n_cells: rows.iter().map(|&row| data.n_cells[row]).collect(),
    }
}

/// Adds single effects: a mean predictor whose error on these doubles is known.
struct Sums(EffectTable);

impl MeanPredictor for Sums {
    fn effects(&self, conditions: &[Condition]) -> genailab::Result<Array2<f64>> {
        let mut effects = Array2::zeros((0, GENES));
        for condition in conditions {
            let mut sum = Array1::<f64>::zeros(GENES);
            for gene in condition.perturbation.genes() {
                let alone = Condition::of(Perturbation::of([gene.as_str()]));
                let row = self.0.conditions.iter().position(|known| *known == alone);
                let row = row.ok_or_else(|| Error::inapplicable(format!("{gene} is not known")))?;
                sum += &self.0.effects.row(row).mapv(f64::from);
            }
            effects.push_row(sum.view()).unwrap();
        }
        Ok(effects)
    }
}

fn quick() -> SpreadConfig {
    let mut config = SpreadConfig::default();
    config.training.epochs = 60;
    config
}

#[test]
fn left_out_predictions_never_see_what_they_predict() {
    let data = world(1);
    let left = leave_out(&data, 4, 0, |fold| Ok(Sums(fold.clone()))).unwrap();
    let doubles = data.conditions.iter().filter(|c| c.perturbation.genes().len() == 2).count();
    // A gene that is left out has no single effect any more, so that a sum of it cannot be predicted: only doubles remain.
    assert_eq!(left.novelty, vec![Novelty::Combination; doubles]);
    let fold_without = |out: &Condition| Sums(part(&data, |row| data.conditions[row] != *out));
    let row = data.conditions.iter().position(|c| c.perturbation.genes().len() == 2).unwrap();
    let predicted = fold_without(&data.conditions[row]).effects(&data.conditions[row..=row]).unwrap();
    assert!(left.predicted.rows().into_iter().any(|one| one == predicted.row(0)), "each double is predicted once");
}

#[test]
fn intervals_of_a_known_error_hold_what_they_should() {
    let data = world(2);
    let left = leave_out(&data, 4, 0, |fold| Ok(Sums(fold.clone()))).unwrap();
    let (spread, _) = Spread::fit(&left, &quick(), 0, &mut quiet()).unwrap();
    // Other doubles of the same kind, by the same predictor: their residuals were drawn as those of the training.
    let other = world(3);
    let sums = Sums(other.clone());
    let (mut coverage, mut n, mut better) = (0.0, 0.0, 0);
    for (row, condition) in other.conditions.iter().enumerate().filter(|(_, c)| c.perturbation.genes().len() == 2) {
        let predicted = sums.effects(std::slice::from_ref(condition)).unwrap().row(0).to_owned();
        let draws = spread.draws(predicted.view(), Novelty::Combination, 200, row as u64).unwrap();
        let observed = other.effects.row(row).mapv(f64::from);
        let judged = judge_means(&observed, &predicted, &draws, spread.deviation(), 0).unwrap();
        coverage += judged.coverage[8];
        better += usize::from(judged.crps < judged.crps_point);
        n += 1.0;
    }
    // 91 doubles x 60 genes whose errors are of four times as many draws: a standard error of some 0.01.
    assert!((coverage / n - 0.9_f64).abs() < 0.05, "90 % intervals hold {}", coverage / n);
    assert!(better as f64 > 0.95 * n, "a spread is worth more than a point for {better} of {n}");
}

#[test]
fn the_mean_of_draws_is_the_prediction_and_the_same_seed_gives_the_same_draws() {
    let data = world(4);
    let held_out = |row: usize| row.is_multiple_of(3) && data.conditions[row].perturbation.genes().len() == 2;
    let train = part(&data, |row| !held_out(row));
    let config = EffectDiffusionConfig {
        combination: CombinationConfig { network: false, ..CombinationConfig::default() },
        spread: quick(),
    };
    let model = EffectDiffusion::fit(&train, &config, &Run::quiet(1)).unwrap();
    let asked = &data.conditions[(0..data.conditions.len()).find(|&row| held_out(row)).unwrap()];
    let draws = model.draws(asked, 100, 7).unwrap();
    assert_eq!(draws, model.draws(asked, 100, 7).unwrap());
    assert_ne!(draws, model.draws(asked, 100, 8).unwrap());
    let off = draws.mean_axis(Axis(0)).unwrap() - model.mean().effect(asked).unwrap();
    assert!(off.iter().all(|value| value.abs() < 1e-9), "draws come in opposite pairs");
    assert_eq!(model.draws(asked, 7, 7).unwrap().nrows(), 7, "an odd number, too");
    let deviation = draws.var_axis(Axis(0), 1.0).mean().unwrap().sqrt();
    let expected = model.expected_error(asked).unwrap();
    assert!((deviation / expected - 1.0).abs() < 0.25, "draws scatter by {deviation}, {expected} is expected");

    let dir = tempfile::tempdir().unwrap();
    let model = DiffusionModel::Effects(Box::new(model));
    model.save(dir.path()).unwrap();
    let again = DiffusionModel::load(dir.path(), Device::Cpu).unwrap().effect_draws(asked, 100, 7).unwrap();
    let DiffusionModel::Effects(model) = model else { unreachable!() };
    let furthest = (&again - &draws).iter().fold(0.0_f64, |most, d| most.max(d.abs()));
    assert!(furthest < 1e-3, "saved in single precision, it draws the same: off by {furthest}");

    let known = Condition::of(Perturbation::of([named(0)]));
    let refused = model.draws(&known, 10, 0).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Inapplicable);
    assert_eq!(model.expected_error(&known).unwrap(), 0.0, "what was measured is not expected to be off");
    let stranger = Condition::of(Perturbation::of(["NOSUCH"]));
    assert!(model.draws(&stranger, 10, 0).unwrap_err().to_string().contains("NOSUCH"));
}

#[test]
fn an_interrupted_spread_is_resumed_bit_for_bit() {
    let data = TrainingData::of_table(world(6), None, 3);
    let dir = tempfile::tempdir().unwrap();
    let fit = |epochs, dir: Option<&Path>| {
        let mut settings = DiffusionSettings::default();
        settings.effects.combination.network = false;
        settings.effects.spread.training = TrainConfig { epochs, ..TrainConfig::default() };
        let mut run = Run { dir: dir.map(Path::to_owned), resume: epochs > 2, ..Run::quiet(3) };
        DiffusionModel::fit(&data, &settings, &mut run).unwrap()
    };
    let (whole, history) = fit(5, None);
    assert_eq!(history.epochs.len(), 5, "the history is that of the spread");
    // As if it had been stopped after the second epoch: the learning rate is the same at every step.
    let (_, begun) = fit(2, Some(dir.path()));
    let (resumed, history) = fit(5, Some(dir.path()));
    assert_eq!(history.epochs[..2], begun.epochs, "what was done is not done again: it has the same times");
    assert_eq!(resumed.state().unwrap(), whole.state().unwrap());
}

#[test]
fn too_little_to_learn_a_spread_from_is_said() {
    let data = part(&world(5), |row| row < 2);
    let refused = EffectDiffusion::fit(&data, &EffectDiffusionConfig::default(), &Run::quiet(0)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Inapplicable);
    assert!(refused.to_string().contains("at least 6"), "{refused}");
}
