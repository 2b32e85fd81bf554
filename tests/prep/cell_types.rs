//! Simulated cell types, triples and counterfactuals: the stated equations, written out.

use crate::common::python;
use genailab::{
    bench::Setup,
    data::{
        OpenOptions, Paired, Perturbation, Simulation, SimulationConfig, Truth, open, simulate::landscape::Landscape,
    },
    ndarray::{Array1, Array2, Axis, s},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::process::Command;

fn config() -> SimulationConfig {
    SimulationConfig {
        n_cells: 3_000,
        n_genes: 250,
        seed: 11,
        n_cell_types: 3,
        n_triples: 4,
        n_paired: 20,
        damaged_fraction: 0.0,
        ..SimulationConfig::default()
    }
}

/// The world behind a simulation.
fn landscape(config: &SimulationConfig) -> Landscape {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(1);
    Landscape::built_in(config, &mut rng).expect("valid settings")
}

fn rms(values: impl IntoIterator<Item = f64>) -> f64 {
    let squares: Vec<f64> = values.into_iter().map(|value| value * value).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// Numbers of a file that was simulated before there were cell types.
#[test]
fn a_simulation_without_them_is_what_it_was() {
    let plain = SimulationConfig {
        n_cells: 1_500,
        n_genes: 300,
        density: SimulationConfig::usual_density(300),
        seed: 5,
        ..SimulationConfig::default()
    };
    let Simulation { dataset, truth, paired, .. } = Simulation::new(&plain).expect("valid settings");
    let mut weighted = 0_u64;
    for cell in 0..dataset.n_cells() {
        let (genes, values) = dataset.counts.row(cell);
        weighted +=
            genes.iter().zip(values).map(|(&g, &v)| v as u64 * (u64::from(g) + 1)).sum::<u64>() * (cell as u64 + 1);
    }
    assert_eq!((dataset.counts.nnz(), weighted), (178_035, 72_834_869_056));
    assert!((truth.means.iter().map(|&mean| f64::from(mean)).sum::<f64>() - 370_000.0001534894).abs() < 1e-6);
    assert!(paired.is_none() && truth.cell_types.is_empty() && dataset.cells.column("cell_type").is_none());
}

#[test]
fn counterfactuals_are_the_stated_function_of_the_control_state() {
    let config = config();
    let world = landscape(&config);
    let types = world.cell_types.as_ref().expect("three were asked for");
    let Simulation { dataset, paired, .. } = Simulation::new(&config).expect("valid settings");
    let paired = paired.expect("asked for");
    let type_of = dataset.cells.column("cell_type").expect("there are types").to_text();
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for (place, name) in paired.cells.iter().enumerate() {
        let cell = dataset.cells.names.iter().position(|known| known == name).expect("a cell of the file");
        assert!(dataset.perturbation_of(cell).is_control());
        let cell_type = types.names.iter().position(|t| Some(t) == type_of[cell].as_ref()).expect("a type");
        let state: Vec<f64> = paired.states.row(place).iter().map(|&s| f64::from(s)).collect();
        for perturbation in 0..paired.perturbations.len() {
            let along: f64 = types.directions.row(perturbation).iter().zip(&state).map(|(q, s)| q * s).sum();
            let m = 2.0 / (1.0 + (-along).exp());
            (least, most) = (least.min(m), most.max(m));
            let weight = |gene: usize| {
                let base: f64 = world.log_base[gene] + world.lanes[[dataset.lane_of[cell] as usize, gene]];
                let programs: f64 = state.iter().zip(world.loadings.column(gene)).map(|(s, w)| s * w).sum();
                let response =
                    m * world.log_effects[[perturbation, gene]] + types.irreducible[[cell_type, perturbation, gene]];
                (base + programs + response).exp()
            };
            let weights: Vec<f64> = (0..paired.genes.len()).map(weight).collect();
            let total: f64 = weights.iter().sum();
            for (gene, weight) in weights.iter().enumerate() {
                let expected = f64::from(paired.library_size[place]) * weight / total;
                let got = f64::from(paired.means[[place, perturbation, gene]]);
                assert!((got - expected).abs() < 1e-4 * expected, "{name}, {perturbation}, {gene}: {got}, {expected}");
            }
        }
    }
    assert!(least < 0.6 && most > 1.4, "responses differ between cells: m from {least:.2} to {most:.2}");
}

#[test]
fn what_no_state_tells_has_the_stated_size() {
    let world = landscape(&config());
    let types = world.cell_types.as_ref().expect("three were asked for");
    let single = |p: &Perturbation| world.perturbations.iter().position(|known| known == p).expect("it is simulated");
    for (row, perturbation) in world.perturbations.iter().enumerate() {
        let q = types.directions.row(row);
        let length = if perturbation.is_control() { 0.0 } else { 1.0 };
        assert!((q.dot(&q) - length).abs() < 1e-9, "{perturbation}");
        for of_type in types.irreducible.index_axis(Axis(1), row).rows() {
            match perturbation.genes() {
                [] => assert!(of_type.iter().all(|&part| part == 0.0)),
                [_] => {
                    let ratio = rms(of_type.to_vec()) / rms(world.log_effects.row(row).to_vec());
                    assert!((ratio - 0.3).abs() < 1e-9, "{perturbation}: {ratio}");
                }
                _ => {}
            }
        }
        let parts: Vec<usize> =
            perturbation.genes().iter().map(|gene| single(&Perturbation::of([gene.as_str()]))).collect();
        if parts.len() > 1 {
            let sum = parts.iter().fold(Array2::zeros((3, world.genes.len())), |sum: Array2<f64>, &part| {
                sum + types.irreducible.index_axis(Axis(1), part)
            });
            let apart = &sum - &types.irreducible.index_axis(Axis(1), row);
            assert!(apart.iter().all(|apart| apart.abs() < 1e-12), "{perturbation}");
        }
    }
}

#[test]
fn a_triple_is_made_of_its_singles_and_the_interactions_of_its_doubles() {
    let world = landscape(&config());
    let triples = world.perturbations.iter().filter(|p| p.genes().len() == 3);
    assert_eq!(triples.clone().count(), 4);
    for triple in triples {
        let effect = |genes: &[&str]| -> Option<Array1<f64>> {
            let row = world.perturbations.iter().position(|known| *known == Perturbation::of(genes.iter().copied()))?;
            Some(world.log_effects.row(row).to_owned())
        };
        let genes: Vec<&str> = triple.genes().iter().map(String::as_str).collect();
        let singles: Vec<Array1<f64>> = genes.iter().map(|&gene| effect(&[gene]).expect("a single")).collect();
        let mut expected = &singles[0] + &singles[1] + &singles[2];
        let mut doubles = 0;
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            if let Some(double) = effect(&[genes[i], genes[j]]) {
                expected += &(double - &singles[i] - &singles[j]);
                doubles += 1;
            }
        }
        assert!(doubles >= 1, "{triple} holds a double that was simulated");
        let found = effect(&genes).expect("the triple");
        // The activated genes themselves are set, not added.
        for gene in (0..world.genes.len()).filter(|&gene| !genes.contains(&world.genes[gene].as_str())) {
            assert!((found[gene] - expected[gene]).abs() < 1e-9, "{triple}, {}", world.genes[gene]);
        }
    }
}

#[test]
fn cells_of_a_type_follow_the_truth_of_the_type() {
    let config = SimulationConfig { n_cells: 6_000, control_fraction: 0.5, ..config() };
    let Simulation { dataset, truth, .. } = Simulation::new(&config).expect("valid settings");
    let of_types = truth.means_of_type.mean_axis(Axis(0)).expect("there are types");
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs();
    assert!(of_types.iter().zip(&truth.means).all(close), "the means over all are the means of the types");
    let type_of = dataset.cells.column("cell_type").expect("there are types").to_text();
    let control = Perturbation::control();
    let observed = |cell_type: &str| -> Array1<f64> {
        let of = |&cell: &usize| dataset.labels[cell] == 0 && type_of[cell].as_deref() == Some(cell_type);
        let cells: Vec<usize> = (0..dataset.n_cells()).filter(of).collect();
        assert!((850..1_150).contains(&cells.len()), "{cell_type}: {} of 3000", cells.len());
        // The library size is independent of the state, so that the ratio of the sums has the mean share as its limit.
        let mut sum = Array1::<f64>::zeros(truth.genes.len());
        for &cell in &cells {
            let (genes, values) = dataset.counts.row(cell);
            genes.iter().zip(values).for_each(|(&gene, &value)| sum[gene as usize] += f64::from(value));
        }
        sum * (1e4 / cells.iter().map(|&cell| f64::from(dataset.library_size[cell])).sum::<f64>())
    };
    let logs = |values: &Array1<f64>| values.mapv(|value| (value + 1.0).ln());
    for (place, own) in truth.cell_types.iter().enumerate() {
        let observed = logs(&observed(own));
        let distance = |cell_type: &String| {
            let expected = truth.mean_in(&control, cell_type).expect("a type").mapv(f64::from);
            rms((&observed - &logs(&expected)).to_vec())
        };
        let distances: Vec<f64> = truth.cell_types.iter().map(distance).collect();
        // A gene has about 0.3 counts per cell: the log of its mean over 1,000 cells is known to about 0.08.
        assert!(distances[place] < 0.12, "{own}: {distances:?}");
        assert!((0..3).filter(|&other| other != place).all(|other| distances[other] > 0.4), "{own}: {distances:?}");
    }
}

#[test]
fn the_file_holds_them_and_python_reads_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cells.h5ad");
    let simulation = Simulation::new(&config()).expect("valid settings");
    simulation.write(&path).expect("a writable folder");
    assert_eq!(Truth::read(&path).expect("just written"), simulation.truth);
    assert_eq!(Some(Paired::read(&path).expect("just written")), simulation.paired);
    let some = simulation.truth.select_genes(&[&simulation.truth.genes[7]]).expect("a gene");
    assert_eq!(some.means_of_type.index_axis(Axis(2), 0), simulation.truth.means_of_type.slice(s![.., .., 7]));
    let opened = open(&path).expect("just written");
    let setup = Setup::new(opened, "cells", "context:cell_type=T2", 1, &OpenOptions::default()).expect("a type");
    assert_eq!(setup.data.context(), Some("cell_type"));
    let Some(python) = python(&["anndata"]) else { return };
    let script = "import sys, anndata, numpy as np\n\
                  a = anndata.read_h5ad(sys.argv[1]); p = a.uns['paired']\n\
                  assert p['means'].shape == (20, len(p['perturbations']), a.n_vars), p['means'].shape\n\
                  assert set(p['cells']) <= set(a.obs_names) and p['perturbations'][0] == 'control'\n\
                  assert np.allclose(p['means'].sum(axis=2), np.array(p['library_size'])[:, None], rtol=1e-4)\n\
                  assert a.uns['truth']['means_of_type'].shape == (3, len(p['perturbations']), a.n_vars)\n\
                  assert sorted(a.obs['cell_type'].unique()) == ['T1', 'T2', 'T3']\n";
    let said = Command::new(python).args(["-c", script]).arg(&path).output().expect("python starts");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    for (parts, config) in [
        (["counterfactuals of 2000 control cells", "more cells"], SimulationConfig { n_paired: 2_000, ..config() }),
        (["99999 triples", "make "], SimulationConfig { n_triples: 99_999, ..config() }),
        (["n_cell_types is 0", "between 1"], SimulationConfig { n_cell_types: 0, ..config() }),
    ] {
        let message = Simulation::new(&config).expect_err("it cannot be").to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} is missing: {message}"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = folder.path().join("cells.h5ad");
    let small = SimulationConfig { n_cells: 1_000, n_genes: 60, ..SimulationConfig::default() };
    Simulation::new(&small).expect("valid settings").write(&plain).expect("a writable folder");
    let message = Paired::read(&plain).expect_err("it has none").to_string();
    assert!(message.contains("--paired"), "{message}");
}
