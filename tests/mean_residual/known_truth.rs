//! On simulated samples: intervals hold what they say, interactions are found, and draws have the true residual's covariance.

use super::{divided, fitted, settings, simulated};
use genailab::{
    bench::evaluate_metadata,
    data::BulkSimulation,
    device::Device,
    model::{
        FromMetadata, HoldOut, Model, Trained,
        mean_residual::{MeanConfig, MeanResidual, MeanResidualSettings},
    },
    ndarray::{Array2, Axis},
};

/// Root mean square distance of predictions to the true means, of some samples.
fn distance_to_truth(world: &BulkSimulation, rows: &[usize], predicted: &Array2<f32>) -> f64 {
    let error = predicted - &world.true_mean.select(Axis(0), rows);
    error.mapv(|e| f64::from(e * e)).mean().expect("several values").sqrt()
}

#[test]
fn intervals_cover_and_the_mean_is_nearer_to_the_truth_than_an_additive_one() {
    let world = simulated(600, 1);
    let settings = settings(HoldOut::Rows);
    let split = divided(&world.dataset, &settings);
    assert_eq!((split.test.len(), split.validation.len()), (120, 0));
    let model = fitted(&world.dataset, &split, &settings);
    let found = evaluate_metadata(&model, &world.dataset, &split).expect("held-out rows");
    assert!((0.86..=0.94).contains(&found.coverage), "coverage {:.3}", found.coverage);
    let rmse = |name: &str| found.score(name).unwrap_or_else(|| panic!("{name} is an opponent")).rmse;
    let own = rmse("mean-residual");
    for name in ["training mean", "mean per tissue", "mean per disease", "mean per combination", "additive ridge"] {
        assert!(own < rmse(name), "{own:.4} against {:.4} of {name}", rmse(name));
    }
    assert_eq!(model.total(), 1e6, "ten million counts are normalised to a million");
    let held_out = world.dataset.cells.select(&split.test);
    let full = distance_to_truth(&world, &split.test, &model.expected(&held_out).expect("known metadata").mean);
    let linear = distance_to_truth(&world, &split.test, &model.linear_part(&held_out).expect("known metadata"));
    assert!(full < 0.8 * linear, "interactions are found: {full:.4} from the truth, the linear part {linear:.4}");
}

#[test]
fn means_per_combination_lose_to_the_additive_part_where_effects_add_and_combinations_are_unseen() {
    let world = simulated(400, 2);
    let settings = MeanResidualSettings {
        mean: MeanConfig { network: false, ..MeanConfig::default() },
        ..settings(HoldOut::Combinations)
    };
    let split = divided(&world.dataset, &settings);
    let combination = |row: &usize| {
        let of = |name: &str| world.dataset.cells.column(name).expect("simulated").to_text()[*row].clone();
        ["tissue", "disease", "sex", "batch"].map(of)
    };
    let seen: Vec<_> = split.train.iter().map(combination).collect();
    assert!(split.test.len() > 50 && split.test.iter().all(|row| !seen.contains(&combination(row))));
    let model = fitted(&world.dataset, &split, &settings);
    let found = evaluate_metadata(&model, &world.dataset, &split).expect("held-out rows");
    let rmse = |name: &str| found.score(name).expect("an opponent").rmse;
    assert!(rmse("mean-residual") < 0.9 * rmse("mean per combination"), "{:?}", found.scores);
    assert!((0.86..=0.94).contains(&found.coverage), "coverage of unseen combinations {:.3}", found.coverage);
}

#[test]
fn draws_scatter_about_the_mean_as_real_samples_do() {
    let world = simulated(500, 3);
    let settings = settings(HoldOut::Rows);
    let split = divided(&world.dataset, &settings);
    let model = fitted(&world.dataset, &split, &settings);
    let one = world.dataset.cells.select(&[0]);
    let drawn = model.draw(&one, 2000, 5).expect("known metadata");
    assert!(drawn.are_counts && drawn.values.iter().all(|x| x.fract() == 0.0 && *x >= 0.0));
    assert_eq!(drawn.values, model.draw(&one, 2000, 5).expect("known metadata").values, "the same seed");
    let mut log = drawn.values.clone();
    for (mut row, library) in log.rows_mut().into_iter().zip(&drawn.library_size) {
        row.mapv_inplace(|x| (x / library * 1e6).ln_1p());
    }
    let expected = model.expected(&one).expect("known metadata");
    let inside = log.rows().into_iter().map(|row| {
        let within = |gene: usize| (expected.lower[[0, gene]]..=expected.upper[[0, gene]]).contains(&row[gene]);
        (0..row.len()).filter(|&gene| within(gene)).count() as f64 / row.len() as f64
    });
    let coverage = inside.sum::<f64>() / log.nrows() as f64;
    assert!((coverage - 0.9).abs() < 0.01, "its own draws: {coverage:.3}");
    // The residual's covariance against the simulator's: correlated genes stay correlated.
    let truth = world.loadings.t().dot(&world.loadings);
    let log = log.mapv(f64::from);
    let centred = &log - &log.mean_axis(Axis(0)).expect("2000 draws");
    let own = centred.t().dot(&centred) / 1999.0;
    let pairs = || (0..100).flat_map(|a| (0..a).map(move |b| (a, b)));
    let of = |m: &Array2<f64>| pairs().map(|pair| m[pair] as f32).collect::<Vec<f32>>();
    let agreement = genailab::eval::pearson(&of(&own), &of(&truth)).expect("they vary");
    assert!(agreement > 0.8, "covariances of gene pairs: r = {agreement:.3}");
}

#[test]
fn a_loaded_model_predicts_the_same() {
    let world = simulated(200, 4);
    let settings = settings(HoldOut::Rows);
    let split = divided(&world.dataset, &settings);
    let model = fitted(&world.dataset, &split, &settings);
    let dir = tempfile::tempdir().expect("a folder");
    model.save(dir.path()).expect("it can be written");
    let loaded = MeanResidual::load(dir.path(), Device::Cpu).expect("it can be read");
    let rows = world.dataset.cells.select(&split.test);
    let (own, read) = (model.expected(&rows).expect("known"), loaded.expected(&rows).expect("known"));
    for (own, read) in [(own.mean, read.mean), (own.lower, read.lower), (own.upper, read.upper)] {
        let worst = (&own - &read).iter().fold(0.0_f32, |worst, e| worst.max(e.abs()));
        assert!(worst < 1e-4, "{worst}");
    }
    assert!(model.abilities() == genailab::model::Abilities::default() && model.metadata_model().is_some());
}
