//! Simulated cells: they follow their truth, every interaction class is what it says, and a seed is all that matters.

use super::common::pearson;
use crate::common::real_data;
use genailab::{
    data::{
        Column, Dataset, Effects, InteractionClass, Perturbation, Simulation, SimulationConfig, Table, TargetSum,
        Truth, normalize::mean_effects,
    },
    ndarray::{Array1, Array2, Axis, s},
};
use std::process::Command;

fn simulate(config: SimulationConfig) -> Simulation {
    Simulation::new(&config).expect("valid settings")
}

fn small(seed: u64) -> SimulationConfig {
    SimulationConfig { n_cells: 1_500, n_genes: 300, seed, ..SimulationConfig::default() }
}

/// Sum and sum of squares of the counts of the cells of one perturbation, and their number.
fn sums(data: &Dataset, label: usize) -> (Array1<f64>, Array1<f64>, f64) {
    let (mut sum, mut squares, mut n) =
        (Array1::zeros(data.counts.n_genes()), Array1::zeros(data.counts.n_genes()), 0.0);
    for cell in (0..data.labels.len()).filter(|&cell| data.labels[cell] as usize == label) {
        let (genes, values) = data.counts.row(cell);
        for (&gene, &value) in genes.iter().zip(values) {
            sum[gene as usize] += f64::from(value);
            squares[gene as usize] += f64::from(value).powi(2);
        }
        n += 1.0;
    }
    (sum, squares, n)
}

#[test]
fn counts_follow_their_truth() {
    // One library size for all cells and no damaged ones: then the counts have exactly the true moments.
    let config = SimulationConfig {
        n_cells: 16_000,
        n_genes: 400,
        library_size_sd: 0.0,
        damaged_fraction: 0.0,
        control_fraction: 0.5,
        ..SimulationConfig::default()
    };
    let Simulation { dataset, truth, .. } = simulate(config);
    let size = dataset.library_size.iter().map(|&x| f64::from(x)).sum::<f64>() / dataset.labels.len() as f64;
    let scale = size / f64::from(truth.library_size);
    for label in [0, 1, 12] {
        let (sum, squares, n) = sums(&dataset, label);
        let (mut z_squared, mut variance_ratios) = (0.0, Vec::new());
        for gene in 0..dataset.counts.n_genes() {
            let (mean, variance) = (f64::from(truth.means[[label, gene]]), f64::from(truth.variances[[label, gene]]));
            // The variance beyond Poisson's goes with the square of the library size.
            let (mean, variance) = (scale * mean, scale * mean + scale * scale * (variance - mean));
            let seen = sum[gene] / n;
            let z = (seen - mean) / (variance / n).sqrt();
            assert!(z.abs() < 6.0, "{} gene {gene}: mean {seen}, truth {mean}", dataset.perturbations[label]);
            z_squared += z * z / dataset.counts.n_genes() as f64;
            if mean * n > 200.0 {
                variance_ratios.push((squares[gene] / n - seen * seen) / variance);
            }
        }
        println!("{}: mean squared z {z_squared}, {} variances", dataset.perturbations[label], variance_ratios.len());
        assert!((0.7..1.4).contains(&z_squared), "deviations are those of sampling: mean squared z {z_squared}");
        variance_ratios.sort_by(f64::total_cmp);
        let median = variance_ratios[variance_ratios.len() / 2];
        assert!((median - 1.0).abs() < 0.08, "median ratio of variances {median}");
    }
    assert!(truth.relative_error < 0.01, "{}", truth.relative_error);
}

#[test]
fn the_built_in_dataset_is_what_it_says() {
    let data = Dataset::simulated(7);
    assert_eq!((data.counts.n_cells(), data.counts.n_genes()), (6_000, 1_000));
    let n_of = |n: usize| data.perturbations.iter().filter(|p| p.genes().len() == n).count();
    assert_eq!((n_of(0), n_of(1), n_of(2)), (1, 20, 16));
    let density = data.counts.nnz() as f64 / 6e6;
    assert!((density - 0.25).abs() < 0.03, "density {density}");
    assert_eq!(data.library_size, data.counts.row_sums());
    assert!(data.counts.values().iter().all(|&x| x >= 1.0 && x.fract() == 0.0));
    for name in ["perturbation", "gem_group", "ncounts", "n_genes_perturbed", "damaged"] {
        assert!(data.cells.column(name).is_some(), "{name}");
    }
    let names = data.cells.column("perturbation").expect("just seen").to_text();
    for (name, &label) in names.iter().zip(&data.labels) {
        let perturbation = &data.perturbations[label as usize];
        assert_eq!(*name, Some(perturbation.to_string()));
        assert!(perturbation.genes().iter().all(|gene| data.genes.names.contains(gene)), "{perturbation} is measured");
    }
    // Damaged cells are what QC is for.
    let (kept, report) = genailab::data::QcConfig::for_dataset(&data).apply(&data).expect("most cells are healthy");
    println!("{report}");
    assert!((60..200).contains(&report.cells_high_mito), "{report}");
    assert_eq!(kept.perturbations, data.perturbations);
}

/// True log-effects on the genes that are not perturbed, centred: `ln(mean / control mean)`.
fn log_effect(truth: &Truth, perturbation: &Perturbation) -> Array1<f64> {
    let known = |p: &Perturbation| truth.mean_of(p).expect("it was simulated").mapv(|x| f64::from(x).ln());
    let effect = known(perturbation) - known(&Perturbation::control());
    let perturbed: Vec<&String> = truth.perturbations.iter().flat_map(Perturbation::genes).collect();
    let kept: Vec<usize> = (0..truth.genes.len()).filter(|&gene| !perturbed.contains(&&truth.genes[gene])).collect();
    let effect = effect.select(Axis(0), &kept);
    &effect - effect.mean().expect("not empty")
}

#[test]
fn doubles_are_made_by_the_recipe_of_their_class() {
    let Simulation { truth, .. } = simulate(SimulationConfig { doubles_per_class: 3, n_singles: 22, ..small(3) });
    let mut seen = std::collections::BTreeMap::new();
    for (perturbation, class) in truth.perturbations.iter().zip(&truth.classes) {
        assert_eq!(class.is_some(), perturbation.genes().len() == 2, "{perturbation}");
        let Some(class) = *class else { continue };
        *seen.entry(class).or_insert(0) += 1;
        let [a, b] = [0, 1].map(|i| log_effect(&truth, &Perturbation::of([perturbation.genes()[i].clone()])));
        let ab = log_effect(&truth, perturbation);
        // The two normal equations of ab = first * a + second * b.
        let (aa, bb, across) = (a.dot(&a), b.dot(&b), a.dot(&b));
        let determinant = aa * bb - across * across;
        let first = (ab.dot(&a) * bb - ab.dot(&b) * across) / determinant;
        let second = (ab.dot(&b) * aa - ab.dot(&a) * across) / determinant;
        let residual = &ab - &(first * &a + second * &b);
        let left = residual.dot(&residual) / ab.dot(&ab);
        let similarity = pearson(&a, &b);
        println!("{perturbation} {class}: {first:.2} {second:.2}, left {left:.3}, similarity {similarity:.2}");
        let (low, high) = if first < second { (first, second) } else { (second, first) };
        let (expected_low, expected_high, novel, similar) = match class {
            InteractionClass::Additive => (1.0, 1.0, false, false),
            InteractionClass::SynergySimilar => (1.4, 1.4, false, true),
            InteractionClass::SynergyDissimilar => (1.4, 1.4, false, false),
            InteractionClass::Suppression => (0.4, 0.4, false, false),
            InteractionClass::Epistasis => (0.1, 1.0, false, false),
            InteractionClass::Redundancy => (0.5, 0.5, false, true),
            InteractionClass::Potentiation => (0.5, 2.0, false, false),
            InteractionClass::Neomorphism => (0.5, 0.5, true, false),
        };
        let tolerance = if novel { 0.15 } else { 0.05 };
        assert!((low - expected_low).abs() < tolerance && (high - expected_high).abs() < tolerance, "{class}");
        assert_eq!(left > 0.2, novel, "{class} {left}");
        assert!(if similar { similarity > 0.75 } else { similarity.abs() < 0.5 }, "{class} {similarity}");
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), InteractionClass::ALL.map(|class| (class, 3)));
}

#[test]
fn perturbed_genes_go_up() {
    let Simulation { truth, .. } = simulate(small(1));
    for perturbation in &truth.perturbations[1..] {
        for gene in perturbation.genes() {
            let column = truth.genes.iter().position(|known| known == gene).expect("measured");
            let fold = truth.mean_of(perturbation).expect("simulated")[column] / truth.means[[0, column]];
            assert!(fold > 2.0, "{perturbation} raises {gene} {fold}-fold");
        }
    }
}

#[test]
fn the_seed_alone_decides() {
    let threads = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("threads");
    let one = threads(1).install(|| simulate(small(5)));
    let four = threads(4).install(|| simulate(small(5)));
    assert_eq!(one.dataset.counts, four.dataset.counts);
    assert_eq!(one.dataset.cells, four.dataset.cells);
    assert_eq!(one.truth, four.truth);
    assert_ne!(one.dataset.counts, simulate(small(6)).dataset.counts);
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    for (what, config) in [
        ("singles are too few", SimulationConfig { n_singles: 9, ..small(0) }),
        ("genes are too few", SimulationConfig { n_genes: 30, ..small(0) }),
        ("cells are too few", SimulationConfig { n_cells: 30, ..small(0) }),
        ("density is 0", SimulationConfig { density: 0.0, ..small(0) }),
        ("n_lanes is 0", SimulationConfig { n_lanes: 0, ..small(0) }),
        ("control_fraction is NaN", SimulationConfig { control_fraction: f64::NAN, ..small(0) }),
    ] {
        let message = Simulation::new(&config).expect_err(what).to_string();
        assert!(message.contains(what), "{message}");
    }
}

/// Effects of four perturbations on 200 genes.
fn some_effects() -> Effects {
    let names = ["KLF1", "CEBPA+KLF1", "CEBPA", "SPI1"];
    let mut table = Table::from_names(names.map(String::from).to_vec());
    table.set("n_cells", Column::Integer(vec![Some(120), Some(60), Some(100), Some(0)]));
    let classes = [None, Some("EPISTASIS"), None, None].map(|class| class.map(String::from));
    table.set("gi_class", Column::Text(classes.to_vec()));
    Effects {
        // Waves of different length: unrelated, and both up and down.
        values: Array2::from_shape_fn((4, 200), |(p, g)| 1.5 * (0.7 * g as f32 * (p + 1) as f32).sin().powi(3)),
        genes: Table::from_names((0..200).map(|gene| format!("gene{gene}")).collect()),
        perturbations: names.iter().map(|name| Perturbation::of(name.split('+'))).collect(),
        table,
    }
}

/// Difference to control of `ln(1 + CPM)` of the true means, `(genes,)`.
fn true_effect(truth: &Truth, row: usize) -> Array1<f64> {
    let log_cpm = |row: usize| truth.means.row(row).mapv(|x| (100.0 * f64::from(x)).ln_1p());
    log_cpm(row) - log_cpm(0)
}

#[test]
fn cells_have_the_effects_of_the_file() {
    let effects = some_effects();
    let config = SimulationConfig { n_cells: 500, ..SimulationConfig::like_norman() };
    let Simulation { dataset, truth, .. } = Simulation::from_effects(&effects, &config).expect("finite effects");
    let names: Vec<String> = dataset.perturbations.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["control", "CEBPA", "CEBPA+KLF1", "KLF1", "SPI1"]);
    assert_eq!(truth.classes, [None, None, Some(InteractionClass::Epistasis), None, None]);
    assert_eq!(dataset.genes.names, effects.genes.names);
    let cells: Vec<usize> = (0..5).map(|label| dataset.labels.iter().filter(|&&l| l == label).count()).collect();
    assert_eq!(cells, [120, 100, 60, 120, 100], "published numbers, the median for the unknown one, control the rest");
    for (row, of) in [(1, 2), (2, 1), (3, 0), (4, 3)] {
        let (seen, wanted) = (true_effect(&truth, row), effects.values.row(of).mapv(f64::from));
        let worst = (&seen - &wanted).iter().fold(0.0_f64, |worst, x| worst.max(x.abs()));
        println!("{}: worst {worst}, Pearson {}", names[row], pearson(&seen, &wanted));
        assert!(pearson(&seen, &wanted) > 0.995, "{}", names[row]);
    }
    assert!(dataset.library_size.iter().zip(dataset.counts.row_sums()).all(|(&all, panel)| all > 5.0 * panel));
    let few = SimulationConfig { n_genes: 50, ..config };
    assert_eq!(Simulation::from_effects(&effects, &few).expect("finite effects").dataset.counts.n_genes(), 50);
}

#[test]
fn effects_that_are_none_are_refused() {
    let config = SimulationConfig { n_cells: 500, ..SimulationConfig::like_norman() };
    for (what, value) in [("NaN", f32::NAN), ("no difference in ln(1 + CPM) can be", 250.0)] {
        let mut effects = some_effects();
        effects.values[[2, 7]] = value;
        let message = Simulation::from_effects(&effects, &config).expect_err(what).to_string();
        assert!(message.contains(what) && message.contains("CEBPA on gene7"), "{message}");
    }
    let mut effects = some_effects();
    effects.perturbations = vec![Perturbation::control()];
    effects.values = effects.values.slice(s![..1, ..]).to_owned();
    assert!(Simulation::from_effects(&effects, &config).is_err());
}

#[test]
fn norman_like_cells_show_normans_effects() {
    let Some(path) = real_data("norman_pseudobulk.h5ad") else { return };
    let effects = Effects::open(path).expect("a valid effects dataset");
    let Simulation { dataset, truth, .. } =
        Simulation::from_effects(&effects, &SimulationConfig::like_norman()).expect("finite effects");
    assert_eq!((dataset.counts.n_cells(), dataset.counts.n_genes()), (91_205, 2_000));
    let density = dataset.counts.nnz() as f64 / (91_205.0 * 2_000.0);
    assert!((0.05..0.15).contains(&density), "density {density}");

    // ln(1 + CPM) of the pooled cells of each perturbation, and the mean over cells of ln(1 + CPM).
    let n = dataset.perturbations.len();
    let mut pooled = Array2::<f64>::zeros((n, 2_000));
    let (mut totals, mut cells) = (vec![0.0; n], vec![0; n]);
    for cell in 0..dataset.labels.len() {
        let label = dataset.labels[cell] as usize;
        let (genes, values) = dataset.counts.row(cell);
        genes.iter().zip(values).for_each(|(&gene, &value)| pooled[[label, gene as usize]] += f64::from(value));
        totals[label] += f64::from(dataset.library_size[cell]);
        cells[label] += 1;
    }
    for (label, mut row) in pooled.rows_mut().into_iter().enumerate() {
        row.mapv_inplace(|count| (1e6 * count / totals[label]).ln_1p());
    }
    let by_cell = mean_effects(&dataset, TargetSum::Fixed(1e6)).expect("there is control");

    let published = effects.table.column("n_cells").and_then(Column::to_f64).expect("the file gives cell numbers");
    let (mut of_pooled, mut of_cells) = (Vec::new(), Vec::new());
    for (label, perturbation) in dataset.perturbations.iter().enumerate().skip(1) {
        let row = effects.perturbations.iter().position(|known| known == perturbation).expect("simulated");
        if published[row] >= 1.0 {
            assert_eq!(f64::from(cells[label]), published[row], "{perturbation}");
        }
        let wanted = effects.values.row(row).mapv(f64::from);
        assert!(pearson(&true_effect(&truth, label), &wanted) > 0.99, "{perturbation}");
        if wanted.dot(&wanted).sqrt() > 25.0 {
            of_pooled.push(pearson(&(&pooled.row(label) - &pooled.row(0)), &wanted));
            of_cells.push(pearson(&by_cell.row(label).mapv(f64::from), &wanted));
        }
    }
    for (what, mut correlations) in [("pooled cells", of_pooled), ("mean over cells", of_cells)] {
        correlations.sort_by(f64::total_cmp);
        let (worst, median) = (correlations[0], correlations[correlations.len() / 2]);
        println!("{what}: {} strong perturbations, Pearson median {median:.3}, worst {worst:.3}", correlations.len());
        assert!(median > 0.9 && worst > 0.8, "{what}: median {median}, worst {worst}");
    }
    assert!(truth.classes.iter().flatten().count() > 40, "the file gives classes");
}

fn genailab(arguments: &[&str], out: &std::path::Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_genailab"))
        .arg("simulate")
        .args(arguments)
        .arg("--out")
        .arg(out)
        .output()
        .expect("the program starts")
}

#[test]
fn a_written_file_holds_cells_and_truth() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cells.h5ad");
    let done = genailab(&["--cells", "1500", "--genes", "300", "--density", "0.25", "--seed", "5"], &path);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1500 cells x 300 genes"));
    assert_eq!(std::fs::read_dir(&folder).expect("it exists").count(), 1, "no temporary file stays");
    let Simulation { dataset, truth, .. } = simulate(small(5));
    let read = Dataset::open(&path).expect("just written");
    assert_eq!(read.counts, dataset.counts);
    assert_eq!((read.perturbations, read.labels), (dataset.perturbations, dataset.labels));
    assert_eq!((read.lanes, read.lane_of), (dataset.lanes, dataset.lane_of));
    assert_eq!(read.library_size, dataset.library_size);
    assert_eq!(Truth::read(&path).expect("just written"), truth);
    let some = truth.select_genes(&[&truth.genes[7], &truth.genes[2]]).expect("known genes");
    assert_eq!(some.means.column(0), truth.means.column(7));
    assert!(truth.select_genes(&["nobody"]).is_err());
}

#[test]
fn effects_of_a_file_leave_no_room_for_types_and_triples() {
    for config in [SimulationConfig { n_cell_types: 2, ..small(0) }, SimulationConfig { n_triples: 1, ..small(0) }] {
        let message = Simulation::from_effects(&some_effects(), &config).expect_err("made up only").to_string();
        assert!(message.contains("cell types, triples and doses"), "{message}");
    }
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("cells.h5ad");
    std::fs::write(folder.path().join("text.h5ad"), "no HDF5").expect("writable");
    let text = folder.path().join("text.h5ad").display().to_string();
    for (arguments, out) in [
        (vec!["--cells", "10"], out.clone()),
        (vec!["--genes", "5"], out.clone()),
        (vec!["--effects", "absent.h5ad"], out.clone()),
        (vec!["--effects", &text], out.clone()),
        (vec![], folder.path().join("absent/cells.h5ad")),
    ] {
        let done = genailab(&arguments, &out);
        let message = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {message}");
        assert!(message.starts_with("error: ") && message.trim_end().lines().count() == 1, "{message}");
        assert_eq!(std::fs::read_dir(&folder).expect("it exists").count(), 1, "nothing half-written: {message}");
    }
    let message = Truth::read(folder.path().join("text.h5ad")).expect_err("not HDF5").to_string();
    assert!(message.contains("text.h5ad"), "{message}");
    assert!(Truth::read(folder.path().join("absent.h5ad")).is_err());
}
