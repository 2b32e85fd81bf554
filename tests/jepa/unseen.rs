//! Perturbations that were never measured, known by their features: a planted case, files, and what is refused.

use super::response::settings;
use genailab::{
    ErrorKind,
    data::{
        Condition, Counts, Dataset, FeatureKind, FeatureSources, Perturbation, Split, Table, TrainingCells,
        TrainingData,
    },
    device::Device,
    model::{
        Model, Sampling, Trained,
        jepa::{Jepa, JepaSettings},
    },
    ndarray::{Array1, Array2},
    train::Run,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use std::{collections::BTreeSet, fmt::Write, fs, path::Path, sync::Arc};

const GENES: usize = 60;
const PROGRAMS: usize = 4;
const TRAINED: usize = 12;
const CONTROLS: usize = 150;
const CELLS: usize = 40;

fn name(gene: usize) -> String {
    format!("P{gene:02}")
}

/// Mean counts under a perturbation: that of program k raises or lowers the 12 genes of its own.
fn means(perturbed: Option<usize>) -> Array1<f64> {
    Array1::from_shape_fn(GENES, |gene| {
        let usual = 2.0 + (gene % 5) as f64;
        match perturbed {
            Some(by) if gene / 12 == by % PROGRAMS => usual * if gene % 2 == 0 { 4.0 } else { 0.25 },
            _ => usual,
        }
    })
}

/// Log-normalised expression of mean counts, roughly: enough to compare two predictions by.
fn effect(perturbed: usize) -> Array1<f64> {
    let logs = |means: Array1<f64>| (&means * (1e4 / means.sum())).mapv(f64::ln_1p);
    logs(means(Some(perturbed))) - logs(means(None))
}

fn data() -> TrainingData {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let conditions: Vec<Option<usize>> = std::iter::repeat_n(None, CONTROLS)
        .chain((0..TRAINED).flat_map(|gene| std::iter::repeat_n(Some(gene), CELLS)))
        .collect();
    let mut counts = Array2::<f32>::zeros((conditions.len(), GENES));
    for (mut cell, perturbed) in counts.rows_mut().into_iter().zip(&conditions) {
        let means = means(*perturbed);
        cell.iter_mut()
            .zip(&means)
            .for_each(|(count, mean)| *count = Poisson::new(*mean).expect("positive").sample(&mut rng) as f32);
    }
    let label = |perturbed: &Option<usize>| Perturbation::of(perturbed.iter().map(|&gene| name(gene)));
    let labels: Vec<Perturbation> = conditions.iter().map(label).collect();
    // The perturbed genes are measured too: the first genes of the panel have their names.
    let genes = (0..GENES).map(|gene| if gene < 20 { name(gene) } else { format!("G{gene}") }).collect();
    let cells = (0..labels.len()).map(|cell| format!("c{cell}")).collect();
    let data = Dataset::new(
        Counts::from_dense(&counts),
        Table::from_names(genes),
        Table::from_names(cells),
        &labels,
        None,
        None,
    )
    .expect("parts fit");
    let split = Split { train: (0..labels.len()).collect(), validation: Vec::new(), test: Vec::new() };
    let conditions = labels.into_iter().map(Condition::of).collect();
    TrainingData::of_cells(TrainingCells::new(Arc::new(data), conditions, &split).expect("its own split"), 0)
}

/// The program of each perturbation as columns of 0 and 1, of those in `genes`.
fn table(genes: impl Iterator<Item = usize>) -> String {
    genes.fold("gene,p0,p1,p2,p3\n".to_owned(), |mut text, gene| {
        let columns: Vec<String> = (0..PROGRAMS).map(|k| u8::from(k == gene % PROGRAMS).to_string()).collect();
        writeln!(text, "{},{}", name(gene), columns.join(",")).expect("a string takes all");
        text
    })
}

fn with(table: &Path) -> JepaSettings {
    let mut settings = settings();
    settings.response.features =
        FeatureSources { table: Some(table.to_owned()), co_expression: true, ..FeatureSources::default() };
    settings.response.training.epochs = 6;
    settings
}

fn of(genes: &[&str]) -> Condition {
    Condition::of(Perturbation::of(genes.iter().copied()))
}

#[test]
fn an_unseen_perturbation_is_predicted_by_its_features() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), data());
    let file = folder.path().join("table.csv");
    // P12 to P15 were never perturbed; P16 is measured, but not in the table.
    fs::write(&file, table(0..16)).expect("a file");
    let model = Jepa::fit(&data, &with(&file), &mut Run::quiet(0)).expect("it trains").0;
    let choice = model.unseen().expect("it was given features").clone();
    assert!(choice.used.contains(&FeatureKind::Table), "{choice:?}");
    assert!(choice.error < 0.6 * choice.error_of_mean, "{choice:?}");
    assert!(model.notes().iter().any(|note| note.contains("error with left-out ones")), "{:?}", model.notes());

    let cells = &data.cells.as_ref().expect("cells").data;
    let controls: Vec<usize> = (0..CONTROLS).collect();
    let control = model.mean_from(cells, &controls, &of(&[]), 0).expect("it decodes");
    let predicted =
        |model: &Jepa, genes: &[&str]| model.mean_from(cells, &controls, &of(genes), 0).expect("known") - &control;
    let mean = (0..TRAINED).map(effect).fold(Array1::zeros(GENES), |sum, effect| sum + effect) / TRAINED as f64;
    for unseen in 12..16 {
        let (truth, predicted) = (effect(unseen), predicted(&model, &[&name(unseen)]));
        let distance = |a: &Array1<f64>| (a - &truth).mapv(|d| d * d).sum().sqrt();
        assert!(distance(&predicted) < 0.6 * distance(&mean), "{unseen}: {} {}", distance(&predicted), distance(&mean));
    }
    assert!(model.perturbs("P13") && model.rests_on("P01").is_none());
    let rests_on = model.rests_on("P13").expect("never perturbed");
    let like: BTreeSet<&str> = rests_on.rsplit("like ").next().expect("a list").split(", ").collect();
    assert_eq!(like, BTreeSet::from(["P01", "P05", "P09"]), "{rests_on}");
    model.check(&[of(&["P13", "P02"]), of(&["P13", "P14"])]).expect("combinations too");
    let both = predicted(&model, &["P13", "P02"]);
    assert!((both - effect(13) - effect(2)).mapv(|d| d * d).sum() < (effect(13) + effect(2)).mapv(|d| d * d).sum());

    // Co-expression knows measured genes, the table its rows, and nothing knows this one.
    let error = model.check(&[of(&["NOSUCH"])]).expect_err("no features");
    assert_eq!(error.kind(), ErrorKind::Inapplicable);
    for part in ["NOSUCH", "table of features", "--perturbation-features"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    model.save(folder.path()).expect("written");
    let again = Jepa::load(folder.path(), Device::Cpu).expect("read");
    assert_eq!((again.unseen(), again.rests_on("P13")), (Some(&choice), Some(rests_on)));
    let cells = |model: &Jepa| model.cells(&of(&["P13", "P02"]), &Sampling::new(20, 3)).expect("known").values;
    assert_eq!(cells(&again), cells(&model));
}

#[test]
fn wrong_features_are_refused_before_the_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table.csv");
    let read = |text: &str| {
        fs::write(&file, text).expect("a file");
        FeatureSources { table: Some(file.clone()), ..FeatureSources::default() }.read()
    };
    for (text, parts) in [
        ("gene,a\nP00,1\nP00,2\n", ["\"P00\" stands in two rows", "once"]),
        ("gene,a\nP00,1\nP01,high\n", ["column \"a\" of \"P01\" is \"high\"", "no number"]),
        ("gene,a\nP00,1\nP01,\n", ["column \"a\" of \"P01\" is empty", "leave"]),
        ("gene,a\nP00,1\n", ["two rows or more", "header"]),
        ("gene\nP00\nP01\n", ["no table", "commas"]),
    ] {
        let error = read(text).expect_err(text).to_string();
        assert!(error.contains("table.csv") && parts.iter().all(|part| error.contains(part)), "{error}");
    }
    fs::write(&file, "gene,a\nX,1\nY,2\n").expect("a file");
    let error = Jepa::fit(&data(), &with(&file), &mut Run::quiet(0)).err().expect("no shared name").to_string();
    for part in ["table.csv", "none of its 2 names", "X, Y", "P00"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn gene_sets_of_other_names_are_refused_before_the_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sets.gmt");
    fs::write(&file, "A\t\tENSG1\tENSG2\nB\t\tENSG3\tENSG4\n").expect("a file");
    let mut settings = settings();
    settings.response.features.gene_sets = Some(file);
    let error = Jepa::fit(&data(), &settings, &mut Run::quiet(0)).err().expect("no shared name").to_string();
    for part in ["sets.gmt", "none of its 4 names", "ENSG1", "P00"] {
        assert!(error.contains(part), "{error}");
    }
}
