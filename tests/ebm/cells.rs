//! Energies of simulated cells: held-out cells are plausible, cells whose genes do not go together are not.

use genailab::{
    data::{Counts, Dataset, Simulation, SimulationConfig, SplitPlan, TrainingData},
    device::Device,
    eval::Plausibility,
    model::{
        Model, Trained,
        ebm::{CellEbm, CellSpace, EbmSettings},
    },
    ndarray::Array2,
    train::{Run, TrainConfig},
};
use std::sync::Arc;

/// Each gene of a perturbation's cells from another of these cells.
fn shuffled(data: &Dataset, rows: &[usize]) -> Dataset {
    let values = data.counts.select_cells(rows).to_dense();
    let mixed = Array2::from_shape_fn(values.dim(), |(cell, gene)| values[[(cell + 1 + gene * 7) % rows.len(), gene]]);
    Dataset { counts: Counts::from_dense(&mixed), ..data.select_cells(rows) }
}

#[test]
fn real_cells_are_plausible_and_shuffled_genes_are_not() {
    let config = SimulationConfig {
        n_cells: 1500,
        n_genes: 150,
        seed: 7,
        n_cell_types: 3,
        density: 0.5,
        ..SimulationConfig::default()
    };
    let data = Arc::new(Simulation::new(&config).expect("valid settings").dataset);
    let plan = SplitPlan::Stratified { validation: 0.1, test: 0.3, seed: 0 };
    let split = data.split(&plan).expect("enough cells");
    let training = TrainingData::of_dataset(Arc::clone(&data), &split, 0).expect("its own split");
    let train = TrainConfig { epochs: 40, batch_size: 64, learning_rate: 3e-3, ..EbmSettings::default().train };
    let settings = EbmSettings { space: CellSpace::Pca { components: 6 }, train, ..EbmSettings::default() };
    let (ebm, history) = CellEbm::fit(&training, &settings, &mut Run::quiet(0)).expect("it trains");

    // A classifier that knows nothing has a loss of ln 5 + 4 ln (5 / 4), for 4 samples of noise per row.
    let nothing = 5.0_f64.ln() + 4.0 * 1.25_f64.ln();
    let best = history.best().expect("epochs").monitored_loss();
    assert!(best < nothing - 0.2, "{best} {nothing}");
    assert!(ebm.sampling_check().acceptance > 0.9, "{:?}", ebm.sampling_check());

    let energies = |data: &Dataset, rows: &[usize]| ebm.energies(data, rows).expect("its genes").to_vec();
    let (of_train, of_test) = (energies(&data, &split.train), energies(&data, &split.test));
    let same = Plausibility::of(&of_test, &of_train).expect("finite");
    assert!((same.auroc - 0.5).abs() < 0.08, "{same:?}");
    let mixed = shuffled(&data, &split.test);
    let every: Vec<usize> = (0..mixed.n_cells()).collect();
    let found = Plausibility::of(&of_test, &energies(&mixed, &every)).expect("finite");
    assert!(found.auroc - 0.5 > 3.0 * found.auroc_error, "{found:?}");
    assert!(found.beyond + found.below < 0.05, "they lie between real cells, in neither tail: {found:?}");

    let folder = tempfile::tempdir().expect("a folder");
    ebm.save(folder.path()).expect("it can be written");
    let loaded = CellEbm::load(folder.path(), Device::Cpu).expect("it can be read");
    let again = loaded.energies(&data, &split.test).expect("its genes");
    assert!(of_test.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-4), "arrays are kept in single precision");
}

/// AUROC and quantiles against numbers worked out by hand.
#[test]
fn plausibility_counts_both_tails() {
    let real: Vec<f64> = (0..101).map(f64::from).collect();
    let alike = Plausibility::of(&real, &real).expect("finite");
    assert_eq!((alike.real.low, alike.real.median, alike.real.high), (5.0, 50.0, 95.0));
    assert!((alike.auroc - 0.5).abs() < 1e-6 && (alike.beyond - 5.0 / 101.0).abs() < 1e-9);
    assert!((alike.below - 5.0 / 101.0).abs() < 1e-9);
    let far = Plausibility::of(&real, &[200.0, 300.0]).expect("finite");
    assert_eq!((far.auroc, far.beyond, far.below, far.auroc_error), (1.0, 1.0, 0.0, 0.0));
    let low = Plausibility::of(&real, &[-1.0, 2.0]).expect("finite");
    assert_eq!((low.beyond, low.below), (0.0, 1.0));
    assert!(Plausibility::of(&real, &[]).expect_err("none").to_string().contains("no cells"));
    assert!(Plausibility::of(&[f64::NAN], &real).expect_err("not finite").to_string().contains("cell 0"));
}
